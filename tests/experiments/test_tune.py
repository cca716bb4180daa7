"""The choice of open weights."""

import dataclasses
import json

import pytest

from flexae_tf import methods
from flexae_tf.config import TrainConfig
from flexae_tf.errors import FailedRunError, MissingDataError, UsageError
from flexae_tf.experiments import tune


def result(tmp_path, name='beta_vae-synthetic_2d-small'):
    return json.loads((tmp_path / 'out' / 'tune' / f'{name}.json').read_text())


@pytest.mark.parametrize('method', tune.GRIDS)
def test_grids_have_options_of_their_methods(tuning, method):
    grid = tune.GRIDS[method]
    assert method in methods.METHODS
    assert set(grid.options) <= {field.name for field in dataclasses.fields(TrainConfig)}
    jobs = tune.plan(tuning(tune=method, dataset='mnist', values=None), grid)
    assert tuple(jobs) == grid.values
    assert len({job.config.identity_hash() for job in jobs.values()}) == len(grid.values)
    assert {e.config.split for job in jobs.values() for e in job.evaluations} == {'validation'}


def test_factors_multiply_the_flagfile(tuning):
    grid = tune.Grid(('kl_weight', 'ae_learning_rate'), (0.5, 3.0), times=True)
    jobs = tune.plan(tuning(), grid)
    rates = {f: (j.config.kl_weight, j.config.ae_learning_rate) for f, j in jobs.items()}
    assert rates == {0.5: (0.05, 0.0005), 3.0: (0.3, 0.003)}


def test_choose_takes_the_nearest_samples_with_good_reconstructions():
    samples = {1.0: {'samples': 5.0}, 0.1: {'samples': 4.0}, 0.01: {'samples': 4.5}}
    assert tune.choose(samples) == 0.1
    both = {0.001: (2.0, 9.0), 0.01: (2.1, 7.0), 0.1: (2.3, 3.0)}
    both = {k: dict(zip(('reconstructions', 'samples'), v, strict=True)) for k, v in both.items()}
    assert tune.choose(both, rec_within=1.1) == 0.01
    assert tune.choose(both) == 0.1


def test_tune_writes_the_table_and_the_winner(stubs, tuning, tmp_path, capsys):
    tune.tune(tuning(dry_run=True))
    assert '2 runs, ' in capsys.readouterr().out and not (tmp_path / 'out').exists()
    tune.tune(tuning(values='0.5,0.1,0.02'))
    text = capsys.readouterr().out
    assert 'winner: --kl_weight=0.1' in text and 'WARNING' not in text
    cells = [line.split(' | ')[:2] for line in text.splitlines() if line.startswith('| ')]
    assert cells[0] == ['| value', 'fd_vectors_50_samples']
    assert cells[2:] == [['| 0.5', '1.4'], ['| 0.1', '1'], ['| 0.02', '1.08']]
    kept = result(tmp_path)
    assert kept['winner'] == {'value': 0.1, 'flags': ['--kl_weight=0.1']}
    assert kept['protocol'] == '0123abcd' and kept['code']
    assert [trial['value'] for trial in kept['trials']] == [0.5, 0.1, 0.02]
    for trial in kept['trials']:
        assert (tmp_path / 'out' / 'tune' / trial['workdir'] / 'scores.jsonl').exists()
        assert trial['steps'] == 6 and trial['failure'] is None and len(trial['records']) == 1
    tune.tune(tuning(values='0.5,0.2'))
    assert 'WARNING: 0.2 is at the end of the grid' in capsys.readouterr().out


def test_tune_takes_other_options_and_scores_reconstructions_if_they_count(
    stubs, tuning, tmp_path, capsys, monkeypatch
):
    grid = tune.GRIDS['beta_vae']._replace(rec_within=1.1)
    monkeypatch.setitem(tune.GRIDS, 'beta_vae', grid)
    tune.tune(tuning())
    options = 'ae_learning_rate,enc_learning_rate'
    tune.tune(tuning(tuned_options=options, values='0.002,0.003'))
    assert 'winner: --ae_learning_rate=0.00' in capsys.readouterr().out
    kept = result(tmp_path, f'beta_vae-synthetic_2d-small-{options}')
    for trial, value in zip(kept['trials'], ('0.002', '0.003'), strict=True):
        train = trial['commands'][0]
        assert f'--ae_learning_rate={value}' in train and f'--enc_learning_rate={value}' in train
    assert [trial['value'] for trial in result(tmp_path)['trials']] == [0.5, 0.1]
    for trial in result(tmp_path)['trials']:
        assert {r['set'] for r in trial['records']} == {'reconstructions', 'samples'}


def test_tune_chooses_among_the_others_when_a_run_fails(stubs, tuning, tmp_path, capsys):
    with pytest.raises(FailedRunError, match='kl_weight=13-.*ae not finite .1 of 3 runs failed'):
        tune.tune(tuning(values='0.5,13,0.1'))
    text = capsys.readouterr().out
    assert 'winner: --kl_weight=0.1' in text and '| 13 | failed' in text
    failures = [trial['failure'] for trial in result(tmp_path)['trials']]
    assert failures == [None, 'train: error: ae not finite', None]
    with pytest.raises(FailedRunError, match='1 of 1 runs failed'):
        tune.tune(tuning(values='13', dataset='synthetic_5d'))
    assert not (tmp_path / 'out' / 'tune' / 'beta_vae-synthetic_5d-small.json').exists()


def test_tune_refuses_scores_of_two_protocols(stubs, tuning, calls, tmp_path):
    tune.tune(tuning(values='0.5'))
    (stubs / 'protocol').write_text('beef0123')
    with pytest.raises(UsageError, match='0123abcd and beef0123 differ in network'):
        tune.tune(tuning())
    calls()
    for path in (tmp_path / 'out' / 'runs').glob('*/scores.jsonl'):
        path.unlink()  # as the message says
    tune.tune(tuning())
    assert calls() == ['train 0.5', 'evaluate 0.5', 'train 0.1', 'evaluate 0.1']


@pytest.mark.parametrize(
    'options, error, words',
    [
        (dict(tune='vae_flow'), UsageError, '--tune=vae_flow: .*--tune=beta_vae'),
        (dict(tune='vae'), UsageError, '--tune=vae: .*beta_vae, wae_gan'),
        (dict(tune='nonsense'), UsageError, '--tune=nonsense: '),
        (dict(values='-1'), UsageError, '--kl_weight=-1'),
        (dict(values='0.1,,2'), UsageError, '--values=0.1,,2'),
        (dict(tuned_options='rate'), UsageError, '--tuned_options=rate'),
        (dict(tuned_options='kl_weight', values=None), UsageError, '--tuned_options=kl_weight'),
        (dict(features='eyes'), UsageError, '--features=eyes'),
        (dict(dataset='folder'), UsageError, '--data_dir'),
        (dict(data_dir='nowhere'), MissingDataError, '--data_dir=nowhere'),
        (dict(inception_path='nowhere'), MissingDataError, '--inception_path=nowhere'),
        (dict(output_dir='/dev/null/out'), UsageError, '--output_dir=/dev/null/out'),
    ],
)
def test_tune_refuses_wrong_flags_before_it_runs(stubs, tuning, calls, options, error, words):
    with pytest.raises(error, match=words):
        tune.tune(tuning(**options))
    assert calls() == []


@pytest.mark.parametrize(
    'flags, words',
    [
        (['--output_dir=x'], '--artifact'),
        (['--tune=beta_vae', '--output_dir=x'], '--dataset'),
        (['--tune=beta_vae', '--dataset=mnist'], '--output_dir'),
        (['--tune=vae', '--dataset=mnist', '--output_dir=x'], '--tune=vae'),
    ],
)
def test_reproduce_refuses_wrong_flags_before_tensorflow_is_imported(refused, quick, flags, words):
    with quick():
        refused(2, [words], 'reproduce', *flags)
