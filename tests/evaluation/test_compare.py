"""Tables of the scores of several runs."""

import csv
import itertools
import json
import os
import shutil
import statistics

import pytest

from flexae_tf.errors import MissingDataError
from flexae_tf.experiments import results
from flexae_tf.metrics.protocol import Protocol
from flexae_tf.training.trainer import Trainer

IDS = map(str, itertools.count())  # of different scores
PIXELS = Protocol(dataset='mnist', split='test', num=50)
STRETCHED = Protocol(dataset='mnist', split='test', num=50, minmax_normalize=True)
KERNEL = Protocol(dataset='mnist', split='test', num=50, estimator='kernel_cubic_unbiased_100x1000')


def score(value, protocol=PIXELS, image_set='samples', stem='fd', step=100, **changes):
    """Returns a line of scores.jsonl."""
    record = dict(
        metric=protocol.name(image_set, stem),
        stem=stem,
        value=value,
        sd=None,
        set=image_set,
        step=step,
        checkpoint='0123456789ab',
        density=None,
        sample_seed=0 if image_set in ('samples', 'latents') else None,
        n=protocol.num,
        split=protocol.split,
        protocol=protocol.id,
        fields=protocol.fields(),
        protocol_name=protocol.label,
        repeats=1,
        selection=None,
        id=next(IDS),
    )
    return record | changes


FLOOR = dict(image_set='train', step=0, checkpoint=None)


@pytest.fixture
def run(tmp_path):
    """`run(name, *scores, **config)`: writes the files of a run; returns its folder."""

    def write(name, *scores, **config):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        config = dict(method='flexae', dataset='mnist', seed=0, latent_dim=32) | config
        (folder / 'config.json').write_text(json.dumps({'config': config}))
        lines = [line if isinstance(line, str) else json.dumps(line) for line in scores]
        (folder / 'scores.jsonl').write_text('\n'.join(lines) + '\n')
        return str(folder)

    return write


def tables(text):
    """Returns the rows of each table of a Markdown text, as lists of cells."""
    found = []
    for block in text.split('\n\n'):
        if block.startswith('| '):
            rows = [line.strip('| ').split(' | ') for line in block.splitlines()]
            found.append([rows[0], *rows[2:]])
    return found


@pytest.fixture
def compare(here, capsys):
    """`compare(run, ...)`: returns the tables that are printed, and the warnings."""

    def call(*arguments):
        capsys.readouterr()
        here('compare', *map(str, arguments))
        printed = capsys.readouterr()
        return tables(printed.out), printed.err

    return call


def test_runs_are_rows_and_metrics_are_columns(run, compare):
    flexae = run('a', score(0.25), score(0.5, image_set='reconstructions'), score(0.1, **FLOOR))
    vae = run('b', score(0.75), score(0.001, KERNEL, stem='kd', sd=0.0002), method='vae')
    (table,), warnings = compare(flexae, vae)
    assert table == [
        ['run', 'method', 'step', 'fd_pixels_50_rec', 'fd_pixels_50_gen']
        + ['fd_pixels_50_floor', 'kd_pixels_50_gen'],
        ['a', 'flexae', '100', '0.5', '0.25', '0.1', '-'],
        ['b', 'vae', '100', '-', '0.75', '-', '0.001 ± 0.0002'],
    ]
    assert not warnings


def test_tables_are_separated_by_protocol(run, compare, capsys):
    both = [score(0.25), score(0.5, STRETCHED), score(0.125, KERNEL, stem='kd')]
    first, second = compare(run('a', *both), run('b', score(0.75)))[0]
    assert [row[0] for row in first] == ['run', 'a', 'b'] and [row[0] for row in second[1:]] == [
        'a'
    ]
    assert first[1][-2:] == ['0.25', '0.125'] and second[1][-1] == '0.5'


def test_protocol_ids_are_printed(run, here, capsys):
    folder = run('a', score(0.25), score(0.125, KERNEL, stem='kd'))
    here('compare', folder)
    printed = capsys.readouterr().out
    assert printed.startswith('**dataset mnist, split test, num 50, features pixels')
    assert f'Protocols: `{PIXELS.id}` fd; `{KERNEL.id}` kd.' in printed


def test_checkpoints_densities_and_sample_seeds_are_rows(run, compare):
    folder = run(
        'a',
        score(0.9, image_set='reconstructions', step=50),
        score(0.8, step=50),
        score(0.5, image_set='reconstructions'),
        score(0.4),
        score(0.3, density='gaussian_mixture-0123456789ab'),
        score(0.35, sample_seed=7),
        score(0.1, **FLOOR),
    )
    ((heads, *rows),), _ = compare(folder)
    assert heads[2:5] == ['step', 'density', 'sample seed']
    assert [row[2:] for row in rows] == [
        ['50', '-', '0', '0.9', '0.8', '0.1'],
        ['100', '-', '0', '0.5', '0.4', '0.1'],
        ['100', '-', '7', '0.5', '0.35', '0.1'],
        ['100', 'gaussian_mixture', '0', '0.5', '0.3', '0.1'],
    ]


def test_newest_of_repeated_scores_counts(run, compare):
    (table,), _ = compare(run('a', score(0.25), score(0.5, checkpoint='ba9876543210')))
    assert table[1:] == [['a', 'flexae', '100', '0.5']]


def test_runs_that_differ_only_in_their_seed_are_averaged(run, compare):
    values = [0.25, 0.5, 0.75]
    folders = [run(f'{i}', score(v), seed=i, data_dir=f'/{i}') for i, v in enumerate(values)]
    other = run('other', score(0.1), seed=3, latent_dim=64)
    (table,), _ = compare(*folders, other)
    assert [row[0] for row in table[1:]] == ['0', '1', '2', 'other', 'mean of 3: 0, ...']
    assert table[-1][1:] == ['flexae', '-', '100', f'0.5 ± {statistics.stdev(values):.2g}']


def test_mean_of_fewer_runs_states_their_number(run, compare):
    both = [score(1.0), score(0.5, KERNEL, stem='kd')]
    names = [run('a', *both), run('b', score(2.0), seed=1), run('c', score(3.0), seed=2)]
    ((*_, mean),), _ = compare(*names)
    assert mean[0] == 'mean of 3: a, ...' and mean[-2:] == ['2 ± 1', '0.5 (1)']


def test_two_runs_of_one_seed_have_no_mean(run, compare):
    names = [run('a', score(4.0)), run('again', score(9.0)), run('b', score(5.0), seed=1)]
    ((_, *rows),), warnings = compare(*names)
    assert [row[0] for row in rows] == ['a', 'again', 'b']
    assert warnings == 'WARNING: a, again: one configuration and seed. No mean.\n'


@pytest.mark.parametrize('checkpoints', [('01', '02'), ('01', '01')])
def test_models_in_one_file_are_rows(compare, tmp_path, checkpoints):
    file, (first, second) = tmp_path / 'mine.jsonl', checkpoints
    scores = [
        score(4.0, checkpoint=first, seed=0),
        score(0.5, KERNEL, stem='kd', checkpoint=first, seed=0),
        score(9.0, checkpoint=second, seed=1),
        score(0.25, **FLOOR),
    ]
    file.write_text(''.join(json.dumps(line) + '\n' for line in scores))
    ((_, *rows),), _ = compare(file)
    names = ['mine.jsonl (01)', 'mine.jsonl (02)'] if first != second else ['mine.jsonl'] * 2
    assert rows == [
        [names[0], '0', '100', '4', '0.25', '0.5'],
        [names[1], '1', '100', '9', '0.25', '-'],
    ]


def test_changed_images_of_one_path_are_rows(compare, tmp_path):
    file = tmp_path / 'all.jsonl'
    changes = dict(image_set='fake', source='s.npy', step=0, sample_seed=None)
    scores = [score(5.0, checkpoint='01', **changes), score(9.0, checkpoint='02', **changes)]
    file.write_text(''.join(json.dumps(line) + '\n' for line in scores))
    ((_, *rows),), _ = compare(file)
    assert [row[0] for row in rows] == ['s.npy (01)', 's.npy (02)']


def test_csv_has_each_score_once(run, here, tmp_path):
    scores = [score(1.0), score(2.0, density='gaussian_mixture-0123456789ab'), score(9.0, **FLOOR)]
    scores.append(score(3.0, image_set='reconstructions'))
    here('compare', run('a', *scores), f'--output_file={tmp_path}/scores.csv')
    lines = list(csv.DictReader((tmp_path / 'scores.csv').open()))
    assert {(x['value'], x['step'], x['density']) for x in lines} == {
        ('1.0', '100', ''),
        ('2.0', '100', 'gaussian_mixture'),
        ('9.0', '', ''),
        ('3.0', '100', ''),
    }
    assert len(lines) == 4


def test_images_from_files_are_compared_like_samples(run, tmp_path, compare):
    lines = [
        score(v, image_set='fake', step=0, source=f'/data/{name}', checkpoint=name)
        for name, v in (('mine', 0.5), ('theirs', 0.75))
    ]
    (tmp_path / 'scores.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    (table,), _ = compare(run('a', score(0.25)), tmp_path / 'scores.jsonl')
    assert table == [
        ['run', 'method', 'step', 'fd_pixels_50_gen'],
        ['a', 'flexae', '100', '0.25'],
        ['/data/mine', '-', '-', '0.5'],
        ['/data/theirs', '-', '-', '0.75'],
    ]


def test_metrics_and_sets_are_selected(run, compare):
    scores = [score(0.25), score(0.5, image_set='reconstructions'), score(1.0, KERNEL, stem='kd')]
    folder = run('a', *scores)
    assert compare(folder, '--metrics=kid')[0][0][0][3:] == ['kd_pixels_50_gen']
    assert compare(folder, '--sets=reconstructions')[0][0][0][3:] == ['fd_pixels_50_rec']
    with pytest.raises(MissingDataError, match='no scores that can be compared'):
        compare(folder, '--metrics=kid', '--sets=reconstructions')


def test_scores_of_one_checkpoints_protocol_are_left_out(run, compare):
    critic = Protocol(
        dataset='mnist', split='test', num=50, features='codes', estimator='critic_of_0123456789ab'
    )
    folder = run('a', score(0.25), score(1.0, critic, 'latents', 'critic_distance'))
    assert len(compare(folder)[0]) == 1


def test_runs_without_scores_are_left_out_with_a_warning(run, tmp_path, compare):
    end = {'complete': 'x', 'scores': [], 'checkpoint': None, 'step': 0}
    (tmp_path / 'empty').mkdir()
    (table,), warnings = compare(run('a', score(0.25), end), tmp_path / 'empty')
    assert table[1:] == [['a', 'flexae', '100', '0.25']]
    assert warnings == 'WARNING: empty: no scores. Left out.\n'


@pytest.mark.parametrize(
    ('line', 'problem'),
    [
        ('{"metric": "fd', 'no valid JSON'),
        ('[]', 'no JSON object'),
        ({'stem': 'fd', 'value': 1.0}, "no key 'metric'"),
        (score(0.1) | {'fields': STRETCHED.fields()}, 'no score of protocol'),
        (score(0.1) | {'fields': {'colour': 1}}, 'no score of protocol'),
        (score(0.1) | {'fields': STRETCHED.fields() | {'data': None}}, 'no score of protocol'),
        (score(0.1) | {'set': 'others'}, 'no score of protocol'),
        (score(0.1) | {'value': '0.1'}, "'value' is no int | float"),
        (score(0.1) | {'checksum': 'f' * 16}, 'changed since it was written'),
    ],
)
def test_corrupt_lines_are_refused(run, refused_here, line, problem):
    folder = run('a', score(0.25), line)
    refused_here(4, [f'scores.jsonl:2: {problem}', 'emove that line'], 'compare', folder)


def test_missing_paths_and_scores_are_refused(run, tmp_path, refused_here):
    folder = run('a', score(0.25))
    missing = [str(tmp_path / name) for name in ('x', 'y')]
    refused_here(3, [', '.join(missing)], 'compare', folder, *missing)
    (tmp_path / 'empty').mkdir()
    refused_here(3, ['empty: no scores', 'bin/evaluate.py'], 'compare', str(tmp_path / 'empty'))
    (tmp_path / 'empty/scores.jsonl').mkdir()
    refused_here(4, ['scores.jsonl: cannot be read'], 'compare', str(tmp_path / 'empty'))


@pytest.mark.parametrize('name', ['a [1] *?', '$HOME', 'a=1,b=2', os.fsdecode(b'latin \xe9')])
def test_folders_can_have_any_name(run, compare, tmp_path, name):
    output = tmp_path / f'{name}.md'
    (table,), _ = compare(run(name, score(0.25)), '--', run('b', score(0.5)))
    assert table[1][0] == os.fsencode(name).decode('utf-8', 'backslashreplace')
    if '$' not in name:
        compare(str(tmp_path / name), f'--output_file={output}')
        assert tables(output.read_text()) == [[table[0], table[1]]]


def test_flags_and_runs_can_be_mixed(run, tmp_path, compare, refused_here):
    a, b = run('a', score(0.25)), run('b', score(0.5, sd=0.125))
    compare(a, f'--output_file={tmp_path}/x.csv', b, a)
    rows = list(csv.DictReader((tmp_path / 'x.csv').open()))
    assert [(row['run'], row['value'], row['sd']) for row in rows] == [
        ('a', '0.25', ''),
        ('b', '0.5', '0.125'),
    ]
    assert {row['protocol'] for row in rows} == {PIXELS.id}
    refused_here(2, ['.md or .csv'], 'compare', a, '--output_file=x.txt')
    refused_here(2, ['not writable'], 'compare', a, f'--output_file={tmp_path}/no/x.md')


def test_recorded_runs_are_sources(compare):
    found, _ = compare(results.RECORDED, '--metrics=fd', '--sets=samples')
    rows = {row[0]: row for table in found for row in table[1:]}
    assert rows['flexae-mnist-small-seed=0'][1] == 'flexae'
    assert rows['mean of 3: wae_gan-mnist-small-seed=0, ...'][-1].startswith('0.4523 ± ')


def test_compare_is_quick(run, program, quick):
    folder = run('a', score(0.25))
    with quick():
        done = program('compare', folder)
    assert (done.returncode, done.stderr) == (0, '')
    assert tables(done.stdout)[0][1] == ['a', 'flexae', '100', '0.25']


def test_scores_of_evaluations_are_compared(config, synthetic, tmp_path, here, compare):
    trainer = Trainer(config(workdir=str(tmp_path / 'run')), synthetic)
    trainer.train()
    here('evaluate', f'--workdir={tmp_path}/run', '--metrics=fd,codes', '--num_examples=50')
    shutil.copytree(tmp_path / 'run', tmp_path / 'copy')
    (images, codes), warnings = compare(tmp_path / 'run', tmp_path / 'copy')
    assert images[1][0] == 'run' and images[1][1:] == images[2][1:] and len(images[0]) == 6
    assert codes[0][3] == 'sliced_wasserstein_50_codes'
    assert set(warnings.splitlines()) == {
        'WARNING: run, copy: one configuration and seed. No mean.'
    }
