"""The choice of open weights."""

import dataclasses
import json
import pathlib
import re

import pytest

from flexae_tf import methods
from flexae_tf.checked_files import write_json
from flexae_tf.config import ReproduceConfig
from flexae_tf.errors import FailedRunError, MissingDataError, UsageError
from flexae_tf.experiments import grids, tune
from flexae_tf.experiments.jobs import flagfiles, make_job
from flexae_tf.methods.resolve import train_config
from flexae_tf.metrics.comparison import Mean


def result(tmp_path, name='beta_vae-synthetic_2d-paper'):
    return json.loads((tmp_path / 'out' / 'tune' / f'{name}.json').read_text())


def planned(tuning, text, **options):
    """Returns the options of each cell's first job."""
    config = tuning(grid=text, **options)
    axes = grids.parse(text, train_config(flagfiles(config.tune, 'mnist', 'paper')))
    return {cell: jobs[0].config for cell, jobs in tune.plan(config, axes).items()}


@pytest.mark.parametrize('method', grids.GRIDS)
def test_grids_have_options_of_their_methods(tuning, method):
    assert method in methods.METHODS
    configs = planned(tuning, grids.GRIDS[method], tune=method, dataset='mnist')
    assert len({config.identity_hash() for config in configs.values()}) == len(configs) > 1


def test_axes_are_combined_and_factors_multiply_the_flagfiles(tuning):
    text = 'kl_weight+ae_learning_rate=x0.5,3;critic_steps=5,10;divergence=mmd'
    configs = planned(tuning, text)
    assert [cell[:2] for cell in configs] == [
        ('x0.5', '5'),
        ('x0.5', '10'),
        ('3', '5'),
        ('3', '10'),
    ]
    rates = {(c.kl_weight, c.ae_learning_rate) for c in configs.values()}
    assert rates == {(0.05, 0.0005), (3.0, 3.0)}
    assert {c.critic_steps for c in configs.values()} == {5, 10}
    assert {c.divergence for c in configs.values()} == {'mmd'}


def test_seeds_are_planned_and_scored_on_validation_examples(tuning):
    config = tuning(seeds=2, seed=4)
    axes = grids.parse(config.grid, train_config(flagfiles('beta_vae', 'mnist', 'paper')))
    by_cell = tune.plan(config, axes)
    assert [[job.config.seed for job in jobs] for jobs in by_cell.values()] == [[4, 5], [4, 5]]
    evaluations = {e.config for jobs in by_cell.values() for job in jobs for e in job.evaluations}
    assert {(e.split, e.sets) for e in evaluations} == {('validation', 'reconstructions,samples')}


def test_ranking_has_the_nearest_samples_with_good_reconstructions_first():
    def cells(**values):
        return {
            name: dict(zip(('reconstructions', 'samples'), map(Mean, pair), strict=True))
            for name, pair in values.items()
        }

    one = cells(a=((2.0,), (9.0,)), b=((2.1,), (7.0,)), c=((2.3,), (3.0,)))
    assert tune.ranked(one) == ['c', 'b', 'a']
    assert tune.ranked(one, rec_within=1.1) == ['b', 'a']
    # A geometric mean; and cells with fewer seeds are not compared with others.
    several = cells(a=((1.0, 1.0), (1.0, 9.0)), b=((1.0, 1.0), (4.0, 4.0)), c=((1.0,), (1.0,)))
    assert tune.ranked(several) == ['a', 'b']
    assert tune.ranked({}) == []


def test_tune_writes_the_table_and_the_winner(stubs, tuning, tmp_path, capsys):
    tune.tune(tuning(dry_run=True))
    assert '2 runs, ' in capsys.readouterr().out and not (tmp_path / 'out').exists()
    tune.tune(tuning(grid='kl_weight=0.5,0.1,0.02'))
    text = capsys.readouterr().out
    assert 'winner: --kl_weight=0.1' in text and 'WARNING' not in text
    cells = [line.strip('| ').split(' | ') for line in text.splitlines() if line.startswith('| ')]
    assert cells[0] == ['kl_weight', 'reconstructions', 'samples']
    assert cells[2:] == [[v, s, s] for v, s in zip(
        ('0.5', '0.1', '0.02'), ('1.40 (1)', '1.00 (1)', '1.08 (1)'), strict=True
    )]  # fmt: skip
    kept = result(tmp_path)
    assert kept['winner'] == {'options': {'kl_weight': 0.1}, 'flags': ['--kl_weight=0.1']}
    assert re.fullmatch('[0-9a-f]{8}', kept['protocol']) and kept['code']
    assert [trial['values'] for trial in kept['trials']] == [
        {'kl_weight': value} for value in ('0.5', '0.1', '0.02')
    ]
    for trial in kept['trials']:
        assert (tmp_path / 'out' / 'tune' / trial['workdir'] / 'scores.jsonl').exists()
        assert trial['steps'] == 6 and trial['failure'] is None and len(trial['records']) == 2
    tune.tune(tuning(grid='kl_weight=0.5,0.2;critic_steps=5'))
    text = capsys.readouterr().out
    assert (
        'WARNING: kl_weight=0.2 is at the end of the grid' in text
        and 'critic_steps=5 is' not in text
    )


def test_only_finalists_get_further_seeds(stubs, tuning, tmp_path, calls):
    tune.tune(tuning(grid='kl_weight=0.5,0.1,0.02', seeds=3, finalists=2))
    trained = [call for call in calls() if call.startswith('train')]
    assert trained[:3] == ['train 0.5', 'train 0.1', 'train 0.02']
    assert sorted(trained[3:]) == sorted(['train 0.1', 'train 0.02'] * 2)
    trials = result(tmp_path)['trials']
    assert [trial['seed'] for trial in trials] == [0, 0, 1, 2, 0, 1, 2]


def test_finalists_are_chosen_by_first_seeds_however_many_are_scored(
    stubs, tuning, tmp_path, calls
):
    tune.tune(tuning(grid='kl_weight=0.5,0.3', seeds=3, finalists=1))
    assert result(tmp_path)['winner']['options'] == {'kl_weight': 0.3}
    calls()
    tune.tune(tuning(grid='kl_weight=0.5,0.3,0.1', seeds=3, finalists=1))
    assert [call for call in calls() if call.startswith('train')] == ['train 0.1'] * 3
    assert result(tmp_path)['winner']['options'] == {'kl_weight': 0.1}


def test_artifacts_use_the_winner_of_a_tuning(stubs, tuning, tmp_path):
    tune.tune(tuning())
    folder = str(tmp_path / 'out' / 'tune')
    common = dict(artifact='table1', scale='small', output_dir='x')
    tuned = ReproduceConfig(**common, tuned=folder)
    job = make_job(tuned, 'beta_vae', 'synthetic_2d')
    assert job.config.kl_weight == 0.1 and job.is_tuned
    assert make_job(tuned, 'vae_flow', 'synthetic_2d').config.kl_weight == 0.1  # beta-VAE's
    path = pathlib.Path(folder) / 'flexae-synthetic_2d-paper.json'
    write_json(path, {'winner': {'options': {'bn_mix_generated': True}}})
    assert make_job(tuned, 'flexae', 'synthetic_2d').config.bn_mix_generated
    other = make_job(tuned, 'beta_vae', 'cifar10')
    assert other.config.kl_weight == 0.03 and not other.is_tuned
    plain = ReproduceConfig(**common)
    assert not make_job(plain, 'beta_vae', 'synthetic_2d').is_tuned
    assert make_job(plain, 'beta_vae', 'mnist').is_tuned  # by flags/small
    assert make_job(plain, 'flexae', 'cifar10').is_tuned  # nothing is open
    (tmp_path / 'empty').mkdir()
    with pytest.raises(MissingDataError, match='--tuned=.*holds no tuning'):
        make_job(dataclasses.replace(tuned, tuned=str(tmp_path / 'empty')), 'beta_vae', 'mnist')


def test_tune_chooses_among_the_others_when_a_run_fails(stubs, tuning, tmp_path, capsys):
    with pytest.raises(FailedRunError, match='kl_weight=13-.*ae not finite .1 of 3 runs failed'):
        tune.tune(tuning(grid='kl_weight=0.5,13,0.1'))
    text = capsys.readouterr().out
    assert 'winner: --kl_weight=0.1' in text and '| 13 | failed' in text
    failures = [trial['failure'] for trial in result(tmp_path)['trials']]
    assert failures == [None, 'train: error: ae not finite', None]
    with pytest.raises(FailedRunError, match='1 of 1 runs failed'):
        tune.tune(tuning(grid='kl_weight=13', dataset='synthetic_5d'))
    assert not (tmp_path / 'out' / 'tune' / 'beta_vae-synthetic_5d-paper.json').exists()


def test_tune_refuses_scores_of_two_protocols(stubs, tuning, calls, tmp_path):
    tune.tune(tuning(grid='kl_weight=0.5'))
    (stubs / 'network').write_text('another network')
    with pytest.raises(UsageError, match='protocols .{8} and .{8} differ in network'):
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
        (dict(tune='vae_iop'), UsageError, '--tune=vae_iop: .*--tune=beta_vae'),
        (dict(tune='injflow_gmm'), UsageError, '--tune=injflow_gmm: .*--tune=injflow'),
        (dict(tune='vae', grid=None), UsageError, '--tune=vae: .*beta_vae, wae_gan'),
        (dict(tune='nonsense'), UsageError, '--flagfile=methods/nonsense.flags: missing'),
        (dict(grid='kl_weight=-1'), UsageError, '--kl_weight=-1'),
        (dict(grid='kl_weight=0.1,,2'), UsageError, "--grid=kl_weight=0.1,,2: '' is no value"),
        (dict(grid='kl_weight'), UsageError, "--grid=kl_weight: '' is no value of --kl_weight"),
        (dict(grid='critic_steps=2.5'), UsageError, "'2.5' is no value of --critic_steps"),
        (dict(grid='code_weight=x2'), UsageError, "'x2' is no value of --code_weight"),
        (dict(grid='kl_weight=1;kl_weight=2'), UsageError, 'kl_weight has two axes'),
        (dict(grid=';'), UsageError, '--grid=;: empty'),
        (dict(grid='rate=1'), UsageError, '--grid=rate=1: rate is no training option'),
        (dict(grid='seed=1,2'), UsageError, '--grid=seed=1,2: .*Use --seeds'),
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
