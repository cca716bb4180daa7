"""What runs need of time and disk."""

import dataclasses
import json

import pytest

from flexae_tf.config import METHODS, ReproduceConfig
from flexae_tf.errors import FailedRunError
from flexae_tf.experiments import artifacts, estimate, execution
from flexae_tf.files import append_jsonl
from flexae_tf.networks.architectures import CAPACITIES, perceptron_parameters

# Three checkpoints are kept, and the next one is written before one goes; and the features of 5000
# reconstructions and of as many samples.
DISK = 4 * 2**20 + 4 * 2 * 5000 * (2048 + 1008)


@pytest.fixture
def plan(clone, tmp_path, monkeypatch):
    """`plan('table1')`: its runs, where FlexAE costs four times and VAE twice a plain iteration."""
    costs = {method: 1.0 for method in METHODS} | {'ae_gmm': 0.25, 'vae': 0.5}
    size = dict.fromkeys(METHODS, 2**20)
    sizes = {'mnist-0.125': {'checkpoint_bytes': size, 'snapshot_bytes': size}}
    recorded = {'timed': {'over_flexae': costs}, 'sizes': sizes}
    (tmp_path / 'cost.json').write_text(json.dumps(recorded))
    monkeypatch.setattr(estimate, 'COST', tmp_path / 'cost.json')

    def runs(artifact, **options):
        options = dict(scale='small', output_dir=str(tmp_path / 'out'), seeds=1) | options
        return artifacts.plan(ReproduceConfig(artifact=artifact, **options))

    return runs


def test_what_comes_with_the_package_is_of_every_method():
    assert set(estimate.costs()) == set(METHODS) and estimate.costs()['flexae'] == 1.0
    config = ReproduceConfig(artifact='all', scale='paper', output='x')
    for run in artifacts.plan(config) + artifacts.plan(dataclasses.replace(config, scale='small')):
        assert estimate._disk(run) > 1000, run.name


def test_without_any_run_the_plain_autoencoder_is_timed_once(plan, calls):
    runs = plan('table1')
    found = estimate.needs(runs)
    assert calls() == ['benchmark']
    assert found['ae_gmm-mnist-small-seed=0'] == (1500.0, None, DISK)  # 3000 iterations of 0.5 s
    assert found['vae-mnist-small-seed=0'].train_seconds == 3000.0
    assert found['flexae-mnist-small-seed=0'].train_seconds == 6000.0
    assert str(found['ae_gmm-mnist-small-seed=0']) == (
        '25 min of training, ? of scoring, 121 MiB of disk'
    )


def test_what_was_run_tells_the_rest(plan, calls):
    runs = {run.name: run for run in plan('table1', seeds=2)}
    first = runs['vae-mnist-small-seed=0']
    execution.execute([first])
    for pace in (1.0, 2.0, 30.0):  # something else ran at first, nothing later
        append_jsonl(first.workdir.perf, {'step': 1, 'perf/steps_per_sec': pace})
    for seconds in (40.0, 60.0):
        first.journal.add('evaluate', seconds=seconds, exit_code=0)
    calls()
    found = estimate.needs(list(runs.values()))
    assert calls() == [] and found[first.name] == (0.0, 0.0, 0)
    train, score, _ = found['vae-mnist-small-seed=1']
    assert (train, score) == (1500.0, 40.0)  # medians; the stub itself took no time
    # FlexAE costs twice as much; the scoring is the same network's.
    assert found['flexae-mnist-small-seed=0'] == (3000.0, 40.0, DISK)
    both = [found[first.name], found['vae-mnist-small-seed=1']]
    assert estimate.total(both) == (1500.0, score, DISK)


def test_without_any_scoring_the_network_is_timed_once_where_it_is_here(plan, calls, tmp_path):
    unknown = estimate.needs(plan('table1'))
    assert calls() == ['benchmark']
    assert estimate.total(unknown.values()).score_seconds is None  # nothing is fetched for this
    missing = estimate.needs(plan('table1', inception_path=str(tmp_path / 'nowhere')))
    assert missing == unknown and calls() == ['benchmark']
    found = estimate.needs(plan('table1', inception_path=str(tmp_path)))
    assert sorted(calls()) == ['benchmark', 'benchmark network']
    images = 2 * 5000
    assert found['vae-mnist-small-seed=0'].score_seconds == estimate.START + images / 20.0
    # Of two densities, but once of reconstructions.
    assert found['injflow-mnist-small-seed=0'].score_seconds == 10.0 + 500.0 + 10.0 + 250.0
    pixels = estimate.needs(plan('table1', features='pixels', inception_path=str(tmp_path)))
    assert pixels['vae-mnist-small-seed=0'].score_seconds is None


def test_what_fig_5_shows_to_the_network(plan):
    run = plan('fig5')[0]
    images = [estimate._network_images(run, flags) for flags in run.scorings]
    assert images == [10_000, 5000]  # the samples are the same in both


def test_scores_of_vectors_take_as_long_as_there_are_checkpoints(plan):
    runs = {run.name: run for run in plan('fig2')}
    flags = runs['flexae-synthetic_5d-paper-seed=0'].scorings[0]
    seconds = estimate._scoring(runs['flexae-synthetic_5d-paper-seed=0'], flags, {})
    assert seconds == 10.0 + 1.5 * 20_000 / artifacts.SNAPSHOTS


def test_what_takes_more_disk_than_by_default(plan):
    runs = plan('fig5')
    disk = [estimate.needs([run])[run.name].disk_bytes for run in runs]
    base = estimate._disk(plan('table1', dataset='mnist')[0])
    assert disk[5] - disk[4] == 4 * 12 * (parameters('capacity_6') - parameters('capacity_5'))
    assert disk[0] < disk[1] < disk[2] < disk[3] < disk[4] and base < disk[5]
    (joint,) = [run for run in plan('joint') if run.config.method == 'ae_gmm']
    assert estimate._stages(joint) == {'latent_gan'}


def parameters(generator):
    return perceptron_parameters(32, *CAPACITIES[generator], 32)


def test_what_is_there_already_takes_no_more_disk(plan):
    (run,) = [run for run in plan('table1') if run.config.method == 'vae']
    run.workdir.checkpoints.mkdir(parents=True)
    (run.workdir.checkpoints / 'ckpt-000001000.data').write_bytes(bytes(1000))
    assert estimate._disk(run) == DISK - 1000


def test_what_is_half_done_needs_half(plan):
    (run,) = [run for run in plan('table1') if run.config.method == 'vae']
    run.workdir.checkpoints.mkdir(parents=True)
    (run.workdir.checkpoints / 'ckpt-000001000.manifest.json').touch()
    append_jsonl(run.workdir.perf, {'step': 1000, 'perf/steps_per_sec': 4.0})
    assert estimate.needs([run])[run.name].train_seconds == 500.0


def test_a_machine_that_cannot_be_timed(plan, clone):
    (clone / 'bin' / 'benchmark.py').write_text('import sys; sys.exit("no such data")')
    with pytest.raises(FailedRunError, match='could not time ae_gmm on mnist, .*: no such data'):
        estimate.needs(plan('table1'))
