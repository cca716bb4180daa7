"""From runs to what is shown, with programs that are stubs."""

import dataclasses
import functools
import json
import os
import signal

import numpy as np
import pytest

from flexae_tf import data
from flexae_tf.config import ReproduceConfig
from flexae_tf.densities import densities
from flexae_tf.errors import FailedRunError, MissingDataError, UsageError
from flexae_tf.experiments import artifacts, paper, records, reproduce
from flexae_tf.experiments.exhibits import galleries, readme, strips
from tests.experiments.conftest import wait_for
from tests.experiments.exhibits.test_figures import records as scores

RUNS = 12  # of Table 1, with a seed each; InjFlow's is scored twice


@pytest.fixture
def table_1(tmp_path):
    """`table_1(**options)`: Table 1 in miniature, of one seed each."""

    def run(**options):
        options = dict(scale='small', output_dir=str(tmp_path / 'out'), seeds=1) | options
        reproduce.reproduce(ReproduceConfig(artifact='table1', **options))

    return run


@pytest.fixture
def shown(tmp_path):
    """`shown('table1.md')`: a file of the artifact."""
    return lambda name: (tmp_path / 'out' / 'artifacts' / 'table1-small' / name).read_text()


def test_runs_become_records_and_a_table(clone, table_1, shown, calls, tmp_path, capsys):
    table_1()
    assert [call.split()[0] for call in calls()].count('train') == RUNS
    assert 'table1.md' in capsys.readouterr().out
    text = shown('table1.md')
    assert '--artifact=table1 --scale=small --seeds=1 --output_dir=OUTPUT' in text
    assert text.count('\n| ') == 1 + 1 + 13 and 'fd_vectors_50_gen, protocol 0123abcd' in text
    kept = records.read(tmp_path / 'out' / 'artifacts' / 'table1-small' / 'records.jsonl')
    assert {record.method for record in kept} >= {'injflow', 'injflow_gmm', 'flexae'}
    (record,) = [r for r in kept if (r.method, r.kind) == ('injflow_gmm', 'gen')]
    assert record.run == 'injflow-mnist-small-seed=0' and record.latent_dim == 32
    assert record.options['width_multiplier'] == 0.125 and record.step == 3000
    # Again: nothing is left to do but to render, and that gives the same.
    table_1()
    assert calls() == [] and shown('table1.md') == text


def test_rendering_runs_nothing(clone, table_1, calls, tmp_path, capsys):
    table_1(render=True)
    assert 'nothing is trained yet' in capsys.readouterr().out
    assert calls() == [] and not (tmp_path / 'out').exists()
    table_1()
    calls()
    (clone / 'bin' / 'train.py').unlink()
    table_1(render=True)
    assert 'table1.md' in capsys.readouterr().out and calls() == []


def test_listing_runs_nothing_and_tells_what_it_needs(clone, table_1, calls, tmp_path, capsys):
    table_1(dry_run=True)
    said = capsys.readouterr().out
    assert f'{RUNS} runs' in said
    assert 'ae_gmm-mnist-small-seed=0: not begun; needs 25 min of training, ? of scoring, ' in said
    assert 'all of it: ' in said.splitlines()[-1]
    # A short trial tells how fast the machine is.
    assert calls() == ['benchmark'] and not (tmp_path / 'out').exists()


def test_what_there_is_is_shown_when_a_run_fails(clone, table_1, shown, calls):
    (clone / 'bad').write_text('vae_flow-')
    with pytest.raises(FailedRunError, match='1 of 12 runs failed, vae_flow-mnist-small-seed=0: '):
        table_1()
    lines = {line.split(' | ')[0]: line for line in shown('table1.md').splitlines()}
    assert ' | - | 8.62 | ' in lines['| VAE + FLOW'] and '(1)' in lines['| FlexAE']
    calls()
    (clone / 'bad').unlink()
    table_1()
    assert calls() == ['train 0.5', 'evaluate 0.5']  # tuned at this scale
    assert ' | - | 8.62 | ' not in shown('table1.md')


def test_shards_share_a_folder(clone, table_1, shown, calls):
    for index in (1, 2, 3):
        table_1(shard=f'{index}/3')
    assert [call.split()[0] for call in calls()].count('train') == RUNS
    whole = shown('table1.md')
    table_1()
    assert calls() == [] and shown('table1.md') == whole


def test_killed_it_loses_nothing_and_repeats_nothing(clone, start, calls, tmp_path):
    flags = ['--scale=small', '--seeds=1']
    (clone / 'slow').write_text('0.5')  # beta-VAE's, the second run
    process = start(*flags, artifact='table1')
    wait_for((clone / 'pid').exists)
    process.kill()
    process.wait()
    (clone / 'slow').unlink()
    os.kill(int((clone / 'pid').read_text()), signal.SIGKILL)  # the orphan has the run until then
    assert calls() == ['train 0.1', 'evaluate 0.1', 'train 0.5']
    done = start(*flags, artifact='table1').communicate(timeout=120)[0]
    assert 'table1.md' in done
    made = calls()
    kinds = [call.split()[0] for call in made]
    # All but the first run, which was finished; InjFlow's is scored twice.
    assert kinds.count('train') == RUNS - 1 and kinds.count('evaluate') == RUNS
    assert 'finished before' in start(*flags, artifact='table1').communicate(timeout=120)[0]
    assert calls() == []


def test_places_are_checked_first(clone, table_1, calls):
    with pytest.raises(MissingDataError, match='--inception_path=nowhere: there is nothing'):
        table_1(inception_path='nowhere')
    assert calls() == []


def test_pictures_of_a_network_are_drawn_once(clone, tmp_path, monkeypatch, capsys):
    drawn = []

    def draw(name, gallery):
        drawn.append((name, gallery))
        return {f'{name}a': np.full([4, 4, 1], len(drawn), np.uint8)}

    def load(workdir, checkpoint):
        loaded.append((workdir.name, checkpoint))
        return workdir.name

    loaded = []
    for name in ('fig4', 'fig6'):
        monkeypatch.setitem(galleries.GALLERIES, name, functools.partial(draw, name))
    monkeypatch.setattr(galleries, 'Gallery', lambda method, dataset: method)
    monkeypatch.setattr(densities, 'load_run', load)
    monkeypatch.setattr(data, 'load', lambda config: None)
    config = ReproduceConfig(artifact='fig4,fig6', scale='small', output_dir=str(tmp_path / 'out'))
    folder = tmp_path / 'out' / 'artifacts' / 'fig4-small'
    reproduce.reproduce(config)
    run = 'flexae-mnist-small-seed=0'
    first = (folder / f'fig4a-{run}.png').read_bytes()
    assert drawn == [('fig4', run), ('fig6', run)] and first.startswith(b'\x89PNG')
    page = (folder / 'fig4.md').read_text()
    assert f'![fig4a-{run}](fig4a-{run}.png)' in page and 'class 0, class 1, ' in page
    reproduce.reproduce(config)
    assert len(drawn) == 2 and (folder / f'fig4a-{run}.png').read_bytes() == first
    # What somebody removed is drawn again.
    (folder / f'fig4a-{run}.png').unlink()
    reproduce.reproduce(config)
    assert drawn.pop() == ('fig4', run) and (folder / f'fig4a-{run}.png').exists()
    first = (folder / f'fig4a-{run}.png').read_bytes()
    # Another run has pictures of its own.
    reproduce.reproduce(dataclasses.replace(config, seed=1))
    assert len(drawn) == 4 and (folder / f'fig4a-{run}.png').read_bytes() == first
    loaded.clear()
    # Of another checkpoint, another picture.
    next((tmp_path / 'out' / 'runs' / run / 'checkpoints').iterdir()).write_text('0.3')
    reproduce.reproduce(config)
    assert len(drawn) == 6 and (folder / f'fig4a-{run}.png').read_bytes() != first
    # Of the step that stands below the picture, however far the run has gone on.
    assert loaded == [(run, 3000)]


def test_what_cannot_be_drawn_stops_no_other(clone, tmp_path, monkeypatch, capsys):
    def refuse(gallery):
        raise UsageError('these images cannot be drawn')

    monkeypatch.setitem(galleries.GALLERIES, 'fig4', refuse)
    monkeypatch.setitem(
        galleries.GALLERIES, 'fig6', lambda _: {'fig6a': np.ones([4, 4, 1], np.uint8)}
    )
    monkeypatch.setattr(galleries, 'Gallery', lambda method, dataset: method)
    monkeypatch.setattr(densities, 'load_run', lambda workdir, checkpoint: workdir.name)
    monkeypatch.setattr(data, 'load', lambda config: None)
    output = tmp_path / 'out'
    config = ReproduceConfig(
        artifact='fig4,fig6', scale='small', output_dir=str(output), report=True
    )
    with pytest.raises(UsageError, match='these images'):
        reproduce.reproduce(config)
    assert 'fig4: these images cannot be drawn' in capsys.readouterr().out
    assert (output / 'artifacts' / 'fig6-small' / 'fig6.md').exists()
    assert 'these images cannot be drawn' in (output / 'report.html').read_text()


def test_the_report_and_the_records(clone, table_1, tmp_path, monkeypatch):
    monkeypatch.setattr(records, 'FOLDER', tmp_path / 'recorded')
    monkeypatch.setattr(records, 'RECORDED', tmp_path / 'recorded' / 'scores.jsonl')
    (clone / 'bad').write_text('vae_flow-')
    with pytest.raises(FailedRunError):
        table_1(report=True, save_results=True)
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert 'fd_vectors_50_gen' in page and '0123abcd' in page
    assert 'table1: 1 of 12 runs: vae_flow-mnist-small-seed=0' in page
    path = tmp_path / 'recorded' / 'scores.jsonl'
    before = records.read(path)
    assert {record.method for record in before} == set(paper.METHODS) - {'vae_flow'}
    (clone / 'bad').unlink()
    table_1(save_results=True)
    after = records.read(path)
    assert {record.method for record in after} == set(paper.METHODS)
    assert [record for record in after if record.method != 'vae_flow'] == before


def test_recorded_runs_are_not_run(clone, table_1, shown, calls, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(records, 'FOLDER', tmp_path / 'recorded')
    monkeypatch.setattr(records, 'RECORDED', tmp_path / 'recorded' / 'scores.jsonl')
    table_1(save_results=True)
    calls()
    whole = shown('table1.md')
    elsewhere = dict(output_dir=str(tmp_path / 'elsewhere'), use_saved_results=True)
    table_1(dry_run=True, **elsewhere)
    assert '0 runs' in capsys.readouterr().out
    table_1(**elsewhere)
    folder = tmp_path / 'elsewhere' / 'artifacts' / 'table1-small'
    assert calls() == [] and (folder / 'table1.md').read_text() == whole
    # What is run here comes first, what the package lacks is run, and a record of other options is
    # of another run.
    path = tmp_path / 'recorded' / 'scores.jsonl'
    lines = []
    for record in records.read(path):
        if record.method == 'beta_vae':
            record = dataclasses.replace(record, options=record.options | {'kl_weight': 0.7})
        if record.method != 'vae':
            lines.append(record)
    records.write(path, lines)
    table_1(**elsewhere)
    assert [call.split()[0] for call in calls()].count('train') == 2
    assert (folder / 'table1.md').read_text() == whole


def test_recording_replaces_what_was_scored_or_trained_again():
    curve = [*scores(1.0, step=500), *scores(2.0, step=1000), *scores(3.0, kind='rec', step=1000)]
    other = scores(9.0, step=1000, scoring='of other options')
    assert records.merge([], curve + curve) == curve
    assert records.merge(curve, other) == curve + other
    again = scores(5.0, step=1000)
    assert records.merge(curve + other, again) == other + again
    anew = scores(6.0, step=1000, checkpoint='another')
    assert records.merge(curve + other, anew) == anew
    changed = scores(7.0, step=1000, options={'kl_weight': 1.0})
    renamed = [dataclasses.replace(r, run=curve[0].run) for r in changed]
    assert records.merge(curve + other, renamed) == renamed


def test_records_are_read_as_they_were_written(tmp_path):
    path = tmp_path / 'scores.jsonl'
    some = [
        *scores(1.0, 2.0, options={'training_steps': 3}),
        *scores(3.0, kind='codes', scoring='other', seconds=4.0),
    ]
    records.write(path, some[::-1])
    found = records.read(path)
    assert sorted(found, key=lambda r: r.value) == some
    records.write(path, found)
    assert records.read(path) == found


@pytest.mark.parametrize('options', [dict(num_examples=77), dict(features='pixels'), dict(seed=3)])
def test_records_of_other_scorings_are_none(clone, table_1, calls, tmp_path, monkeypatch, options):
    monkeypatch.setattr(records, 'FOLDER', tmp_path / 'recorded')
    monkeypatch.setattr(records, 'RECORDED', tmp_path / 'recorded' / 'scores.jsonl')
    table_1(save_results=True)
    planned = artifacts.plan(
        ReproduceConfig(artifact='table1', scale='small', seeds=1, output='x', **options)
    )
    assert records.recorded(planned) == {}


def test_records_do_not_stand_for_networks(clone, table_1, calls, tmp_path, monkeypatch):
    monkeypatch.setattr(records, 'FOLDER', tmp_path / 'recorded')
    monkeypatch.setattr(records, 'RECORDED', tmp_path / 'recorded' / 'scores.jsonl')
    table_1(save_results=True)
    elsewhere = dict(scale='small', output_dir=str(tmp_path / 'b'), seeds=1, use_saved_results=True)
    both = ReproduceConfig(artifact='table1,fig6', **elsewhere)
    (run,) = reproduce._todo(both)
    # It is trained for the figure, and not scored again.
    assert run.name == 'flexae-mnist-small-seed=0' and run.scorings == ()
    assert reproduce._todo(both.only('table1')) == []
    # Once trained, the tables still have its row of the records, and it is still not scored.
    monkeypatch.setattr(
        galleries, 'GALLERIES', {'fig6': lambda _: {'fig6a': np.ones([4, 4, 1], np.uint8)}}
    )
    monkeypatch.setattr(galleries, 'Gallery', lambda method, dataset: method)
    monkeypatch.setattr(densities, 'load_run', lambda workdir, checkpoint: workdir.name)
    monkeypatch.setattr(data, 'load', lambda config: None)
    calls()
    for trained in (1, 0):
        reproduce.reproduce(both)
        assert [call.split()[0] for call in calls()] == ['train'] * trained
        table = (tmp_path / 'b' / 'artifacts' / 'table1-small' / 'table1.md').read_text()
        assert '| FlexAE | ' in table and '| FlexAE | - |' not in table


def test_another_run_in_a_workdir_is_never_taken_for_it(clone, table_1, shown, tmp_path):
    table_1()
    run = next(
        r
        for r in artifacts.plan(
            ReproduceConfig(
                artifact='table1', scale='small', output_dir=str(tmp_path / 'out'), seeds=1
            )
        )
        if r.config.method == 'beta_vae'
    )
    assert run.digest and len(records.collect([run])) > 0
    other = dataclasses.replace(run.config, kl_weight=0.7, workdir=None)
    document = {
        'config': dataclasses.asdict(other),
        'data': dataclasses.asdict(data.describe(other)),
        'examples': None,
    }
    (run.workdir.path / 'config.json').write_text(json.dumps(document))
    assert run.digest is None and records.collect([run]) == []
    with pytest.raises(FailedRunError, match='another configuration'):
        table_1()
    assert '| beta-VAE | - | 7.91 | - |' in shown('table1.md')


def test_strips_of_methods_are_drawn_once_and_recorded(clone, tmp_path, monkeypatch, calls):
    opened, grey = [], iter(range(10, 250, 5))
    methods = ('flexae', 'vae', 'injflow', 'injflow_gmm')
    monkeypatch.setattr(artifacts, 'METHODS', methods)

    def load(workdir, checkpoint, density):
        assert checkpoint == 3000
        opened.append((workdir.name.partition('-')[0], density))
        return workdir.name

    monkeypatch.setattr(galleries, 'Gallery', lambda method, dataset: method)
    monkeypatch.setattr(galleries, 'strip', lambda _: np.full([4, 8, 1], next(grey), np.uint8))
    monkeypatch.setattr(densities, 'load_run', load)
    monkeypatch.setattr(data, 'load', lambda config: None)
    (clone / 'README.md').write_text('<!-- recorded: methods -->\n<!-- end of recorded -->\n')
    (tmp_path / 'pictures').mkdir()
    monkeypatch.setattr(readme, 'PICTURES', tmp_path / 'pictures')
    monkeypatch.setattr(records, 'FOLDER', tmp_path / 'recorded')
    monkeypatch.setattr(records, 'RECORDED', tmp_path / 'recorded' / 'scores.jsonl')
    monkeypatch.setattr(strips, 'KEPT', tmp_path / 'recorded' / 'strips')
    options = dict(artifact='methods', scale='small', feature_layer='mixed_7', save_results=True)
    reproduce.reproduce(ReproduceConfig(output_dir=str(tmp_path / 'out'), **options))
    folder = tmp_path / 'out' / 'artifacts' / 'methods-small'
    first = (folder / 'methods_mnist.png').read_bytes()
    # Every trained method once, InjFlow with its mixture too; untrained ones are not drawn.
    assert len(opened) == len(set(opened)) == len(methods)
    assert ('injflow', 'gaussian_mixture') in opened and ('injflow', None) in opened
    reproduce.reproduce(ReproduceConfig(output_dir=str(tmp_path / 'out'), **options))
    assert len(opened) == len(methods) and (folder / 'methods_mnist.png').read_bytes() == first
    assert (tmp_path / 'pictures' / 'methods_mnist.png').read_bytes() == first
    assert '| InjFlow^ln + GMM | 1.' in (clone / 'README.md').read_text()
    assert len(list((tmp_path / 'recorded' / 'strips').glob('*-mnist-small-seed=0*.png'))) == len(
        methods
    )
    # Elsewhere the recorded ones serve.
    calls()
    elsewhere = ReproduceConfig(output_dir=str(tmp_path / 'b'), use_saved_results=True, **options)
    reproduce.reproduce(elsewhere)
    assert calls() == [] and len(opened) == len(methods)
    again = tmp_path / 'b' / 'artifacts' / 'methods-small' / 'methods_mnist.png'
    assert again.read_bytes() == first
    # But not one of another checkpoint than the records are of.
    (strips.KEPT / 'vae-mnist-small-seed=0.json').write_text('{"checkpoint": "of another run"}')
    reproduce.reproduce(elsewhere)
    assert again.read_bytes() != first
