"""The choice of open weights."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from flexae_tf.config import METHODS, TrainConfig
from flexae_tf.errors import FailedRunError, MissingDataError, UsageError
from flexae_tf.experiments import runs, tune
from flexae_tf.files import read_jsonl
from tests.conftest import ROOT


def result(tmp_path, name='beta_vae-synthetic_2d-small'):
    return json.loads((tmp_path / 'out' / 'tune' / f'{name}.json').read_text())


@pytest.mark.parametrize('method', [method for method in tune.GRIDS if method in METHODS])
def test_grids_are_of_options_that_the_methods_have(reproduce, method):
    grid = tune.GRIDS[method]
    assert set(grid.options) <= {field.name for field in dataclasses.fields(TrainConfig)}
    planned = tune._plan(reproduce(tune=method, dataset='mnist', values=None), grid)
    assert tuple(planned) == grid.values
    assert len({run.config.identity_hash() for run in planned.values()}) == len(grid.values)


def test_factors_multiply_the_flagfile(reproduce):
    grid = tune.Grid(('kl_weight', 'ae_learning_rate'), (0.5, 3.0), times=True)
    planned = tune._plan(reproduce(), grid)
    rates = {f: (r.config.kl_weight, r.config.ae_learning_rate) for f, r in planned.items()}
    assert rates == {0.5: (0.05, 0.0005), 3.0: (0.3, 0.003)}


def test_the_nearest_samples_win_if_reconstructions_permit():
    assert tune.choose({1.0: {'gen': 5.0}, 0.1: {'gen': 4.0}, 0.01: {'gen': 4.5}}) == 0.1
    both = {
        0.001: {'rec': 2.0, 'gen': 9.0},
        0.01: {'rec': 2.1, 'gen': 7.0},
        0.1: {'rec': 2.3, 'gen': 3.0},
    }
    assert tune.choose(both, rec_within=1.1) == 0.01
    assert tune.choose(both) == 0.1


def test_the_table_and_the_winner_are_kept(clone, reproduce, tmp_path, capsys):
    tune.tune(reproduce(values='0.5,0.1,0.02'))
    said = capsys.readouterr().out
    assert 'winner: --kl_weight=0.1' in said and 'WARNING' not in said
    assert [line.split()[:3] for line in said.splitlines() if line[:2] in ('va', '0.')] == [
        ['value', 'fd_vectors_50_gen', 'steps'],
        ['0.5', '1.4', '6'],
        ['0.1', '1', '6'],
        ['0.02', '1.08', '6'],
    ]
    kept = result(tmp_path)
    assert kept['winner'] == {'value': 0.1, 'flags': ['--kl_weight=0.1']}
    assert kept['protocol'] == '0123abcd' and kept['code']
    assert [t['value'] for t in kept['trials']] == [0.5, 0.1, 0.02]
    for trial in kept['trials']:
        assert (tmp_path / 'out' / 'tune' / trial['workdir'] / 'scores.jsonl').exists()
        assert trial['distances'] == {'gen': trial['records'][0]['value']}
        assert trial['seconds'] >= 0 and trial['steps'] == 6 and trial['failure'] is None
    tune.tune(reproduce(values='0.5,0.2'))
    assert 'WARNING: 0.2 is at the end of the grid' in capsys.readouterr().out


def test_another_option_can_be_tuned(clone, reproduce, tmp_path, capsys):
    tune.tune(reproduce(values='0.5,0.1'))
    tune.tune(reproduce(tuned_options='ae_learning_rate,enc_learning_rate', values='0.002,0.003'))
    assert 'winner: --ae_learning_rate=0.00' in capsys.readouterr().out
    kept = result(tmp_path, 'beta_vae-synthetic_2d-small-ae_learning_rate,enc_learning_rate')
    assert [trial['value'] for trial in kept['trials']] == [0.002, 0.003]
    for trial, value in zip(kept['trials'], ('0.002', '0.003'), strict=True):
        train = trial['commands'][0]
        assert f'--ae_learning_rate={value}' in train and f'--enc_learning_rate={value}' in train
    assert [trial['value'] for trial in result(tmp_path)['trials']] == [0.5, 0.1]


def test_reconstructions_are_scored_where_they_count(clone, reproduce, tmp_path, monkeypatch):
    grid = tune.GRIDS['beta_vae']._replace(rec_within=1.1)
    monkeypatch.setitem(tune.GRIDS, 'beta_vae', grid)
    tune.tune(reproduce())
    assert [set(trial['distances']) for trial in result(tmp_path)['trials']] == [{'rec', 'gen'}] * 2


def test_the_rest_is_judged_when_a_run_fails(clone, reproduce, tmp_path, capsys):
    with pytest.raises(FailedRunError, match='1 of 3 runs failed.*kl_weight=13-.*ae not finite'):
        tune.tune(reproduce(values='0.5,13,0.1'))
    said = capsys.readouterr().out
    assert 'winner: --kl_weight=0.1' in said and '13     failed' in said
    assert [trial['failure'] for trial in result(tmp_path)['trials']] == [
        None,
        'train.py: error: ae not finite',
        None,
    ]
    with pytest.raises(FailedRunError, match='1 of 1 runs failed'):
        tune.tune(reproduce(values='13', dataset='synthetic_5d'))
    assert not (tmp_path / 'out' / 'tune' / 'beta_vae-synthetic_5d-small.json').exists()


def test_scores_of_two_protocols_are_refused(clone, reproduce, calls):
    tune.tune(reproduce(values='0.5'))
    (clone / 'protocol').write_text('beef0123')
    with pytest.raises(UsageError, match='0123abcd and beef0123 .*network=0123abcd and beef0123'):
        tune.tune(reproduce(values='0.5,0.1'))
    calls()
    for path in (clone.parent / 'out' / 'runs').glob('*/reproduce'):
        shutil.rmtree(path)  # as the message says
    tune.tune(reproduce(values='0.5,0.1'))
    assert calls() == ['train 0.5', 'evaluate 0.5', 'train 0.1', 'evaluate 0.1']


@pytest.mark.parametrize(
    'options, error, words',
    [
        (dict(tune='vae_flow'), UsageError, '--tune=vae_flow: .*--tune=beta_vae'),
        (dict(tune='vae'), UsageError, '--tune=vae: choose one of beta_vae, wae_gan'),
        (dict(tune='nonsense'), UsageError, '--tune=nonsense: choose one of'),
        (dict(values='-1'), UsageError, '--kl_weight=-1'),
        (dict(values='0.1,,2'), UsageError, "--values=0.1,,2: '' is no number"),
        (
            dict(tuned_options='rate'),
            UsageError,
            "--tuned_options=rate: training has no option 'rate'",
        ),
        (
            dict(tuned_options='kl_weight', values=None),
            UsageError,
            '--tuned_options=kl_weight: needs --values',
        ),
        (dict(features='eyes'), UsageError, '--features=eyes: choose one of'),
        (dict(dataset='folder'), UsageError, '--dataset=folder needs --data_dir'),
        (dict(data_dir='nowhere'), MissingDataError, '--data_dir=nowhere'),
        (dict(inception_path='nowhere'), MissingDataError, '--inception_path=nowhere'),
        (dict(output='/dev/null/out'), UsageError, '--output_dir=/dev/null/out cannot be written'),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(
    clone, reproduce, calls, options, error, words
):
    with pytest.raises(error, match=words):
        tune.tune(reproduce(**options))
    assert calls() == []


def test_a_method_that_is_still_to_come_is_refused(reproduce, monkeypatch):
    monkeypatch.setattr(tune, 'METHODS', ('beta_vae',))
    with pytest.raises(UsageError, match='--tune=wae_gan: choose one of beta_vae$'):
        tune.tune(reproduce(tune='wae_gan'))


@pytest.mark.parametrize(
    'flags, words',
    [
        ([], '--artifact is needed, or --tune'),
        (['--tune=beta_vae', '--output_dir=x'], '--dataset is needed'),
        (['--tune=beta_vae', '--dataset=mnist'], '--output is needed'),
        (['--tune=vae', '--dataset=mnist', '--output_dir=x'], 'choose one of beta_vae'),
    ],
)
def test_wrong_flags_are_refused_before_tensorflow_is_imported(refused, quick, flags, words):
    with quick():
        refused(2, [words], 'reproduce', *flags)


@pytest.mark.skipif('FLEXAE_TF_SOAK' not in os.environ, reason='bin/test --soak')
def test_a_tuning_that_is_stopped_and_resumed(program, tmp_path):
    """The real programs, on the smallest networks there are."""
    flags = ['--tune=beta_vae', '--dataset=synthetic_2d', '--scale=small', '--training_steps=6']
    flags += ['--values=0.5', f'--output_dir={tmp_path}/out']
    command = [sys.executable, ROOT / 'bin' / 'reproduce.py', *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while 'compiling the first iteration' not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=1200)
    assert process.returncode == 143 and errors.count('error:') == 1
    assert 'stopped by signal 15 after step' in output

    done = program('reproduce', *flags, timeout=1200)
    assert done.returncode == 0, done.stderr
    assert 'resuming at step' in done.stdout and 'winner: --kl_weight=' in done.stdout
    kept = result(tmp_path)
    left = sorted((tmp_path / 'out').rglob('*.jsonl'))
    for trial in kept['trials']:
        (record,) = read_jsonl(tmp_path / 'out' / 'tune' / trial['workdir'] / 'scores.jsonl')
        assert trial['records'] == [record] and record['split'] == 'validation'
        assert (record['step'], record['n'], record['kind']) == (6, 5000, 'gen')
        assert record['protocol'] == kept['protocol'] and record['code'] == kept['code']
    before = {path: path.stat().st_mtime_ns for path in left}
    listed = program('reproduce', *flags, '--dry_run')
    assert listed.stdout.count(': finished\n') == 1 and 'bin/evaluate.py' in listed.stdout
    again = program('reproduce', *flags)
    assert again.returncode == 0 and again.stdout.count('finished before') == 1
    assert sorted((tmp_path / 'out').rglob('*.jsonl')) == left
    assert {path: path.stat().st_mtime_ns for path in left} == before
    assert result(tmp_path)['trials'] == kept['trials']
    assert runs.ROOT == ROOT
