"""From runs to tables, reports and recorded results; most tests use stub programs."""

import dataclasses
import functools
import json
import re

import numpy as np
import pytest

from flexae_tf import data
from flexae_tf.config import EvaluateConfig, ReproduceConfig
from flexae_tf.densities import densities
from flexae_tf.errors import FailedRunError, MissingDataError, UsageError
from flexae_tf.evaluation import score_log
from flexae_tf.evaluation.score_log import requested_network
from flexae_tf.experiments import image_grids, plans, reproduce, results, runner
from tests.conftest import ROOT

METHODS = 'vae,beta_vae,vae_flow,ae_gmm,injflow,injflow_gmm,flexae'
RUNS = 6  # with a seed each; InjFlow is evaluated twice


@pytest.fixture
def table_1(tmp_path):
    """`table_1(**options)`: Table 1, or another artifact, with one seed each."""

    def run(**options):
        fixed = dict(artifact='table1', scale='small', output_dir=str(tmp_path / 'out'), seeds=1)
        reproduce.reproduce(ReproduceConfig(**fixed | dict(methods=METHODS) | options))

    return run


@pytest.fixture
def shown(tmp_path):
    """`shown()`: table1.md."""
    return lambda out='out': (tmp_path / out / 'artifacts/table1-small/table1.md').read_text()


@pytest.fixture
def galleries(monkeypatch):
    """Names of the galleries and strips that were drawn; they are grey."""
    drawn = []

    def grey(name):
        drawn.append(name)
        return np.full([4, 8, 1], len(drawn), np.uint8)

    def draw(name, of):
        return {f'{name}a': (grey((name, of)), 'a caption')}

    for name in ('fig4', 'fig6'):
        monkeypatch.setitem(image_grids.GALLERIES, name, functools.partial(draw, name))
    monkeypatch.setattr(image_grids, 'Gallery', lambda method, dataset: method)
    monkeypatch.setattr(image_grids, 'strip', lambda of: grey(('strip', of)))
    monkeypatch.setattr(densities, 'load_run', lambda workdir, *which: (workdir.name, *which))
    monkeypatch.setattr(data, 'load', lambda config: None)
    return drawn


def count(calls, program):
    return [call.split()[0] for call in calls].count(program)


def test_runs_become_a_table_and_a_report_and_are_not_repeated(
    table_1, shown, calls, tmp_path, capsys
):
    table_1()
    assert count(calls(), 'train') == RUNS
    assert 'table1.md' in capsys.readouterr().out
    text = shown()
    assert '--artifact=table1 ' in text and ' --scale=small --seeds=1 --output_dir=OUTPUT' in text
    assert re.search('fd_x_50_samples`, protocol `[0-9a-f]{8}`', text)
    assert re.search(r'\| InjFlow\^ln \+ GMM \| 1\.00 \(1\)|\| InjFlow.* \+ GMM \| .*\(1\)', text)
    table_1(report=True)
    assert calls() == [] and shown() == text
    page = (tmp_path / 'out' / 'report.html').read_text()
    for heading in re.findall(r'^## (.*)$', (ROOT / reproduce.HERE / 'DEVIATIONS.md').read_text()):
        assert f'>{heading}</h3>' in page
    assert '<h2 id="protocols">' in page and page.count('<h1') == 1


def test_scores_of_another_network_are_repeated(table_1, calls, stubs, tmp_path):
    (tmp_path / 'network').mkdir()
    (tmp_path / 'network' / 'saved_model.pb').write_bytes(b'a network')
    network = str(tmp_path / 'network')
    checksum = requested_network(EvaluateConfig(workdir='x', inception_path=network))
    table_1()
    calls()
    (stubs / 'network').write_text(checksum)  # of the stub's scores
    table_1(inception_path=network)
    assert count(calls(), 'evaluate') == RUNS + 1
    table_1(inception_path=network)
    assert calls() == []


def test_dry_run_and_render_run_nothing(table_1, stubs, calls, tmp_path, capsys):
    table_1(dry_run=True)
    text = capsys.readouterr().out
    assert 'ae_gmm-mnist-small-seed=0: not started; training unknown' in text
    assert f'{RUNS} runs, ' in text.splitlines()[-1]
    table_1(render=True)
    assert 'nothing is trained yet' in capsys.readouterr().out
    with pytest.raises(MissingDataError, match='--inception_path=nowhere: '):
        table_1(inception_path='nowhere')
    assert calls() == [] and not (tmp_path / 'out').exists()
    table_1()
    calls()
    (stubs / 'stub.py').unlink()
    table_1(render=True)
    assert 'table1.md' in capsys.readouterr().out and calls() == []


def test_failed_run_leaves_the_other_rows(stubs, table_1, shown, calls):
    (stubs / 'bad').write_text('vae_flow-')
    with pytest.raises(FailedRunError, match=r'vae_flow-mnist-small-seed=0: .*\(1 of 6 runs'):
        table_1()
    lines = {line.split(' | ')[0]: line for line in shown().splitlines()}
    assert ' | - | 8.62 | ' in lines['| VAE + FLOW'] and '(1)' in lines['| FlexAE']
    calls()
    (stubs / 'bad').unlink()
    table_1()
    assert calls() == ['train 0.5', 'evaluate 0.5']  # tuned at this scale
    assert ' | - | 8.62 | ' not in shown()


def test_methods_and_shards_restrict_the_runs(table_1, shown, calls):
    table_1(methods='vae,flexae')
    trained = count(calls(), 'train')
    assert trained == 2
    assert re.search(r'\| VAE \| \**1.00 \(1\)', shown()) and '| MaskAAE | - |' in shown()
    for index in (1, 2, 3):
        table_1(shard=f'{index}/3')
    assert trained + count(calls(), 'train') == RUNS
    whole = shown()
    table_1()
    assert calls() == [] and shown() == whole


def test_workdir_of_another_run_is_not_taken(stubs, table_1, shown, tmp_path):
    table_1()
    options = dict(artifact='table1', scale='small', output_dir=str(tmp_path / 'out'), seeds=1)
    (job,) = plans.plan(ReproduceConfig(**options, methods='beta_vae'))
    assert job.digest and results.collect([job])
    changed = dataclasses.replace(job.resolved, kl_weight=0.7)
    document = {'config': changed, 'data': data.describe(job.config), 'examples': ''}
    text = json.dumps(document, default=dataclasses.asdict)
    (job.workdir.path / 'config.json').write_text(text)
    assert job.digest is None and results.collect([job]) == []
    with pytest.raises(FailedRunError, match='another configuration'):
        table_1()
    assert '| beta-VAE | - | 7.91 | - |' in shown()


def test_images_of_a_network_are_drawn_once(stubs, galleries, tmp_path):
    config = ReproduceConfig(artifact='fig4,fig6', scale='small', output_dir=str(tmp_path / 'out'))
    folder = tmp_path / 'out' / 'artifacts' / 'fig4-small'
    reproduce.reproduce(config)
    run = 'flexae-mnist-small-seed=0'
    path = folder / f'fig4a-{run}.png'
    first = path.read_bytes()
    assert galleries == [('fig4', (run, 3000, None)), ('fig6', (run, 3000, None))]
    page = (folder / 'fig4.md').read_text()
    assert f'![fig4a-{run}](fig4a-{run}.png)' in page and 'a caption' in page
    reproduce.reproduce(config)
    assert len(galleries) == 2 and path.read_bytes() == first
    path.unlink()  # a removed image is drawn again
    reproduce.reproduce(config)
    assert galleries[2:] == [('fig4', (run, 3000, None))]
    first = path.read_bytes()
    reproduce.reproduce(dataclasses.replace(config, seed=1))  # another run has its own images
    assert len(galleries) == 5 and path.read_bytes() == first
    # Another checkpoint has other images.
    next((tmp_path / 'out' / 'runs' / run / 'checkpoints').iterdir()).write_text('0.3')
    reproduce.reproduce(config)
    assert len(galleries) == 7 and path.read_bytes() != first


def test_artifact_that_cannot_be_drawn_stops_no_other(stubs, galleries, tmp_path, monkeypatch):
    def refuse(gallery):
        raise UsageError('these images cannot be drawn')

    monkeypatch.setitem(image_grids.GALLERIES, 'fig4', refuse)
    out = tmp_path / 'out'
    config = ReproduceConfig(artifact='fig4,fig6', scale='small', output_dir=str(out), report=True)
    with pytest.raises(UsageError, match='these images'):
        reproduce.reproduce(config)
    assert (out / 'artifacts' / 'fig6-small' / 'fig6.md').exists()
    assert 'these images cannot be drawn' in (out / 'report.html').read_text()


@pytest.fixture
def no_results(tmp_path, monkeypatch, recorded):
    """RESULTS.md, its template and its images in a temporary folder."""
    (tmp_path / 'RESULTS.template').write_text('# Results\n\n<!-- tables: methods -->\n')
    (tmp_path / 'images').mkdir()
    monkeypatch.setattr(reproduce, 'TEMPLATE', tmp_path / 'RESULTS.template')
    monkeypatch.setattr(reproduce, 'RESULTS', tmp_path / 'RESULTS.md')
    monkeypatch.setattr(reproduce, 'IMAGES', tmp_path / 'images')
    monkeypatch.setattr(reproduce, 'STRIPS', recorded.parent / 'strips')
    return tmp_path


def test_save_results_adds_and_replaces(stubs, table_1, no_results, recorded, tmp_path, capsys):
    (stubs / 'bad').write_text('vae_flow-')
    with pytest.raises(FailedRunError):
        table_1(save_results=True, report=True)
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert 'fd_x_50_samples' in page and re.search('protocol <code>[0-9a-f]{8}', page)
    assert 'table1: 1 of 6 runs missing (vae_flow-mnist-small-seed=0)' in page
    before = score_log.read_runs(results.RECORDED)
    names = {info['method'] for info, _ in before.values()}
    assert names == set(METHODS.split(',')) - {'vae_flow', 'injflow_gmm'}
    (stubs / 'bad').unlink()
    table_1(save_results=True)
    after = score_log.read_runs(results.RECORDED)
    assert set(after) - set(before) == {'vae_flow-mnist-small-seed=0'}
    assert {name: after[name] for name in before} == before
    # A run that was trained again replaces its lines; another evaluation is added.
    name = 'vae-mnist-small-seed=0'
    after[name][0]['checkpoint'] = 'old'
    score_log.write_runs(recorded, after)
    capsys.readouterr()
    table_1(save_results=True, methods='vae')
    assert f'{name}: recorded scores of other weights are removed' in capsys.readouterr().out
    info, lines = score_log.read_runs(results.RECORDED)[name]
    assert info['checkpoint'] != 'old'
    assert len([line for line in lines if 'complete' in line]) == 1
    table_1(save_results=True, methods='vae', num_examples=77)
    _, lines = score_log.read_runs(results.RECORDED)[name]
    assert len([line for line in lines if 'complete' in line]) == 2


def test_use_saved_results_runs_only_the_others(
    table_1, shown, calls, no_results, recorded, capsys, tmp_path
):
    table_1(save_results=True)
    calls()
    whole = shown()
    elsewhere = dict(output_dir=str(tmp_path / 'elsewhere'), use_saved_results=True)
    table_1(dry_run=True, **elsewhere)
    assert '0 runs, ' in capsys.readouterr().out
    table_1(**elsewhere)
    assert calls() == [] and shown('elsewhere') == whole
    # A recorded run of other options is another run.
    runs = score_log.read_runs(results.RECORDED)
    info = runs['beta_vae-mnist-small-seed=0'][0]
    info['options'] = info['options'] | {'kl_weight': 0.7}
    del runs['vae-mnist-small-seed=0']
    score_log.write_runs(recorded, runs)
    table_1(**elsewhere)
    assert count(calls(), 'train') == 2 and shown('elsewhere') == whole


def test_use_saved_results_trains_runs_whose_network_is_drawn(
    table_1, shown, calls, no_results, galleries, tmp_path
):
    table_1(save_results=True)
    calls()
    both = dict(artifact='table1,fig6', use_saved_results=True, methods='flexae')
    for trained in (1, 0):  # trained for the figure and not evaluated again
        table_1(**both, output_dir=str(tmp_path / 'b'))
        assert [call.split()[0] for call in calls()] == ['train'] * trained
        assert '| FlexAE | ' in shown('b') and '| FlexAE | - |' not in shown('b')


def test_strips_of_methods_are_drawn_once_and_recorded(
    table_1, galleries, no_results, recorded, calls, tmp_path
):
    options = dict(artifact='methods', feature_layer='mixed_7', seeds=None)
    options |= dict(methods='flexae,vae,injflow,injflow_gmm')
    table_1(save_results=True, **options)
    image = tmp_path / 'out' / 'artifacts' / 'methods-small' / 'methods_mnist.png'
    first = image.read_bytes()
    # Every trained method once, InjFlow with its mixture too; untrained methods are not drawn.
    drawn = {(of[0].partition('-')[0], of[2]) for _, of in galleries}
    rows = {(method, None) for method in ('flexae', 'injflow', 'vae')}
    assert drawn == rows | {('injflow', 'gaussian_mixture')} and len(galleries) == 4
    table_1(save_results=True, **options)
    assert len(galleries) == 4 and image.read_bytes() == first
    assert '| InjFlow^ln + GMM | 1.00 (1)' in (tmp_path / 'RESULTS.md').read_text()
    assert len(list((recorded.parent / 'strips').glob('*-mnist-small-seed=0*.png'))) == 4
    # In another folder the recorded strips are taken, except of another checkpoint.
    calls()
    elsewhere = options | dict(output_dir=str(tmp_path / 'b'), use_saved_results=True)
    table_1(**elsewhere)
    again = tmp_path / 'b' / 'artifacts' / 'methods-small' / 'methods_mnist.png'
    assert calls() == [] and len(galleries) == 4 and again.read_bytes() == first
    (recorded.parent / 'strips' / 'vae-mnist-small-seed=0.json').write_text('{"checkpoint": "x"}')
    table_1(**elsewhere)
    assert again.read_bytes() != first


def test_saved_results_have_named_data_sets_and_galleries(
    stubs, table_1, galleries, no_results, tmp_path, monkeypatch
):
    (tmp_path / 'RESULTS.template').write_text('# Results\n\n<!-- tables: table1 cifar10 -->\n')
    options = dict(save_results=True, methods='vae', feature_layer='mixed_7')
    table_1(**options)
    assert '| VAE |' not in (tmp_path / 'RESULTS.md').read_text()
    table_1(**options, dataset='cifar10')
    text = (tmp_path / 'RESULTS.md').read_text()
    assert re.search(r'\| VAE \| \**1.00 \(1\)', text) and ' --dataset=cifar10 ' in text
    name = 'fig4a-flexae-cifar10-small-seed=0.png'
    options = dict(artifact='fig4', dataset='cifar10', methods=None, save_results=True)
    table_1(**options, seeds=1)
    assert not (tmp_path / 'images' / name).exists()  # not the whole artifact
    table_1(**options, seeds=None)
    path = tmp_path / 'images' / name
    assert path.exists()
    # Another scale is not shown; and RESULTS.md does not depend on a folder of its command's name.
    path.unlink()
    table_1(**options | dict(scale='medium'), seeds=None)
    assert not list(path.parent.glob('fig4*'))
    monkeypatch.chdir(tmp_path)
    table_1(**options, seeds=None, output_dir='OUTPUT')
    assert path.exists() and (tmp_path / 'RESULTS.md').read_text() == text


def test_results_markdown_is_regenerated_and_a_report_is_one_file_without_scripts():
    text = reproduce.RESULTS.read_text()
    assert reproduce.results_markdown() == text, 'run the command at the top of RESULTS.md'
    assert len(re.findall('<!-- tables: ', text)) == 16 and '{{' not in text
    heads = re.findall(r'^\| (?:Method|Codes|m \|).*', text, re.M)
    assert max(map(len, heads)) <= 130  # fits the width of a laptop
    text = '## Title\n\n| a | b |\n| --- | ---: |\n| 1 | <2 |\n\n![x](data:image/png;base64,AA==)\n'
    page = reproduce.to_html(text)
    assert '<div class="scroll"><table>' in page and 'src="data:image/png;base64,AA=="' in page
    assert '<script' not in page and 'http-equiv="Content-Security-Policy"' in page
    assert 'href="#title"' in page and '<h2 id="title">' in page and '{{' not in page
    assert not re.findall(r'(?:src|href)="(?!data:|#|https://arxiv)', page)


def test_real_programs_make_table_1(tmp_path, here, capsys):
    """The real programs on smoke-sized networks: train, fit, evaluate, render, report, save."""
    options = dict(artifact='table1', scale='smoke', seeds=1, features='pixels', report=True)
    options |= dict(methods='vae,ae_gmm', output_dir=str(tmp_path), cache_dir=str(tmp_path / 'c'))
    config = ReproduceConfig(**options)
    reproduce.reproduce(config)
    jobs = plans.plan(config)
    assert [job.state() for job in jobs] == ['finished'] * 2
    found = results.collect(jobs)
    assert {s.set for s in found} == {'reconstructions', 'samples', 'train', 'latents'}
    stems = {'fd', 'kd', 'prd_precision', 'prd_recall'}
    assert {s.stem for s in found if s.set == 'samples'} == stems
    assert all(s.machine.startswith('CPU') and s.environment['tensorflow'] for s in found)
    text = (tmp_path / 'artifacts' / 'table1-smoke' / 'table1.md').read_text()
    for title in ('VAE', 'AE + GMM (L2)'):
        assert re.search(rf'^\| {re.escape(title)} \| \**[\d.]+ \(1\)', text, re.M), text
    assert '`fd_pixels_50_gen`' in text
    assert 'fd_pixels_50_gen' in (tmp_path / 'report.html').read_text()
    path = tmp_path / 'recorded.jsonl'
    results.save(jobs, path)
    saved = {s for of in results.recorded(jobs, path).values() for s in map(repr, of)}
    assert saved == {repr(score) for score in found}
    capsys.readouterr()
    reproduce.reproduce(config)
    assert capsys.readouterr().out.count('already finished') == 2
    runner.show(jobs)
    assert 'finished; training 0 s' in capsys.readouterr().out

    # Samples of a run are a row with the score of the run, and are not scored again.
    flags = [f'--source={jobs[0].workdir.path}', '--num_samples=50']
    here('sample', *flags, f'--output_dir={tmp_path}/samples')
    config = dataclasses.replace(config, methods=f'vae,mine={tmp_path}/samples', artifact='table1')
    for done in (3, 4):
        reproduce.reproduce(config)
        printed = capsys.readouterr().out
        assert printed.count('already finished') == done - 2
    text = (tmp_path / 'artifacts' / 'table1-smoke' / 'table1.md').read_text()
    vae, mine = (re.search(rf'^\| {name} \| (.*)', text, re.M)[1] for name in ('VAE', 'mine'))
    assert vae.split(' | ')[2] == mine.split(' | ')[2] != '-' and mine.startswith('- |')
    reproduce.reproduce(dataclasses.replace(config, artifact='table2,methods', render=True))
    for name in ('table2', 'methods'):
        text = (tmp_path / f'artifacts/{name}-smoke/{name}.md').read_text()
        assert re.search(r'^\| mine \| .*\d\.\d\d \(1\)', text, re.M)
