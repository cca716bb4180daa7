"""Which runs the tables and figures need."""

import collections
import dataclasses

import pytest

from flexae_tf.config import METHODS, ReproduceConfig
from flexae_tf.config.names import ARTIFACTS
from flexae_tf.errors import UsageError
from flexae_tf.experiments import artifacts, paper


def planned(artifact, **options):
    options = dict(scale='small', output='out') | options
    return artifacts.plan(ReproduceConfig(artifact=artifact, **options))


def count(runs):
    return dict(collections.Counter(run.config.method for run in runs))


def test_every_name_has_an_artifact():
    assert set(artifacts.ARTIFACTS) == set(ARTIFACTS)
    for name in ARTIFACTS:
        assert planned(name) and planned(name, scale='paper'), name


def test_tables_1_and_2_are_of_the_same_runs():
    runs = planned('table1')
    assert runs == planned('table2') == planned('table1,table2')
    repeated = dict.fromkeys(artifacts.REPEATED, 3)
    once = dict.fromkeys(set(paper.METHODS) - {'injflow_gmm'}, 1)
    assert count(runs) == once | repeated
    assert {run.config.dataset for run in runs} == {'mnist'}
    assert len(planned('table1', scale='paper')) == 3 * len(runs)
    assert len(planned('table1', scale='paper', dataset='celeba')) == len(runs)
    assert set(paper.METHODS) <= set(METHODS)


def test_the_two_injective_flows_are_one_run_and_two_scorings():
    (run,) = [run for run in planned('table1') if run.config.method == 'injflow']
    assert [run.scoring(flags).options().density for flags in run.scorings] == [
        None,
        'gaussian_mixture',
    ]


def test_first_seeds_are_run_first():
    seeds = [run.config.seed for run in planned('table1', seed=5)]
    assert seeds == sorted(seeds) and set(seeds) == {5, 6, 7}
    assert {run.config.seed for run in planned('table1', seeds=1)} == {0}
    assert set(count(planned('table1', seeds=2)).values()) == {2}


def test_shards_are_a_partition():
    whole = [run.name for run in planned('table1,fig3')]
    parts = [[run.name for run in planned('table1,fig3', shard=f'{i}/4')] for i in (1, 2, 3, 4)]
    assert sorted(sum(parts, [])) == sorted(whole) and len(set(whole)) == len(whole)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_what_two_artifacts_need_is_one_run_with_the_scorings_of_both():
    both = {run.name: run for run in planned('fig2,theorem2')}
    for name in ('fig2', 'theorem2'):
        for run in planned(name):
            assert set(run.scorings) <= set(both[run.name].scorings)
            assert run.train == both[run.name].train
    shared = both['flexae-synthetic_5d-paper-seed=0']
    assert len(shared.scorings) == 2
    assert [command.options().checkpoint for command in shared.commands()[1:]] == ['all', '20000']


def test_table_3_is_of_the_papers_sizes():
    sizes = {(run.config.method, run.config.latent_dim) for run in planned('table3')}
    assert sizes == {(m, k) for m in ('wae_gan', 'flexae') for k in (20, 40, 80)}
    runs = planned('table3', scale='paper', dataset='celeba')
    # 2 m_b is Table 1's own size: the same run.
    assert 'flexae-celeba-paper-seed=0' in [run.name for run in runs]
    assert {run.config.latent_dim for run in runs} == {64, 128, 256}


def test_figure_5_is_scored_against_what_it_was_trained_on_too():
    runs = planned('fig5', scale='paper', dataset='mnist')
    assert [run.config.generator for run in runs] == [f'capacity_{i}' for i in range(1, 7)]
    for run in runs:
        assert (run.config.train_examples, run.config.training_steps) == (5000, 30_000)
        test, train = (run.scoring(flags).options() for flags in run.scorings)
        assert (test.split, test.num_examples) == ('test', 5000)  # no more than there is of train
        assert (train.split, train.num_examples) == ('train', 5000)


def test_xla_makes_no_other_run():
    plain, compiled = planned('table1,fig2'), planned('table1,fig2', jit_compile=True)
    assert [run.name for run in plain] == [run.name for run in compiled]
    for run, faster in zip(plain, compiled, strict=True):
        assert faster.config == dataclasses.replace(run.config, jit_compile=True)
        assert faster.config.identity_hash() == run.config.identity_hash()
        assert faster.scorings == run.scorings


def test_what_is_run_once_is_repeated_when_asked_for():
    for name in ('table3', 'fig5'):
        once, thrice = planned(name), planned(name, seeds=3)
        assert {run.config.seed for run in once} == {0}
        assert len(thrice) == 3 * len(once) and {r.name for r in once} < {r.name for r in thrice}
        assert {run.config.seed for run in thrice} == {0, 1, 2}


def test_an_artifact_named_twice_is_one():
    assert ReproduceConfig(artifact='fig2,table1,fig2', output='x').artifact == 'fig2,table1'


def test_synthetic_runs_are_the_same_at_both_scales():
    for name in ('fig2', 'fig3', 'theorem2'):
        small, whole = planned(name), planned(name, scale='paper')
        assert [run.name for run in small] == [run.name for run in whole]
        assert [run.commands() for run in small] == [run.commands() for run in whole]
    assert count(planned('fig3')) == dict(vae=3, wae_normal=3, wae_gmm_prior=6, flexae=3)
    dims = [run.config.noise_dim for run in planned('theorem2', seeds=1)]
    assert dims == [2, 3, 5, 10, 50]


def test_every_method_has_an_untrained_self():
    runs = planned('methods')
    trained = {run.config.method: run for run in runs if run.config.training_steps}
    untrained = {run.config.method: run for run in runs if not run.config.training_steps}
    # InjFlow + GMM is a second scoring of InjFlow.
    assert set(trained) == set(untrained) == set(METHODS) - {'injflow_gmm'}
    table_1 = {run.name: run for run in planned('table1', seeds=1)}
    for method, run in trained.items():
        before = untrained[method]
        assert len(before.scorings) == len(run.scorings) == (2 if method == 'injflow' else 1)
        assert {run.scoring(f).options().sets for f in before.scorings} == {'samples'}
        assert table_1.get(run.name, run) == run  # the same runs
        as_trained = dataclasses.replace(before.config, training_steps=3000, workdir=None)
        assert as_trained == dataclasses.replace(run.config, workdir=None)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(artifact='table9'), '--artifact=table9: choose of table1, '),
        (dict(artifact='table1,'), '--artifact=: choose of'),
        (dict(artifact='fig2', dataset='mnist'), '--dataset=mnist: fig2 is about synthetic_5d'),
        (dict(artifact='fig2', shard='3/2'), '--shard=3/2: give 2/8'),
        (dict(artifact='fig2', shard='0/2'), '--shard=0/2'),
        (dict(artifact='fig2', shard='x'), '--shard=x'),
        (dict(artifact='fig2', tune='vae'), 'one of the two'),
        (dict(artifact='fig2', output=None), '--output is needed'),
        (dict(artifact='fig2', values='1,2'), '--values=1,2 goes with --tune'),
        (dict(artifact=None, tune='vae', dataset='mnist', render=True), '--render goes with --art'),
        (dict(artifact=None, tune='vae', dataset='mnist', shard='2/8'), '--shard=2/8 goes with'),
    ],
)
def test_wrong_flags(options, words):
    with pytest.raises(UsageError, match=words):
        artifacts.plan(ReproduceConfig(**dict(output='x') | options))
