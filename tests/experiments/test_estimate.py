"""What runs need of time and disk."""

import dataclasses
import json

import pytest

from flexae_tf.config import METHODS, ReproduceConfig
from flexae_tf.errors import FailedRunError
from flexae_tf.experiments import artifacts, estimate, execution
from flexae_tf.training.workdir import append_json

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
        options = dict(scale='small', output=str(tmp_path / 'out'), seeds=1) | options
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
        append_json(first.workdir.perf, {'step': 1, 'perf/steps_per_sec': pace})
    for seconds in (40.0, 60.0):
        first.journal.add('evaluate', seconds=seconds, exit_code=0)
    calls()
    found = estimate.needs(list(runs.values()))
    assert calls() == [] and found[first.name] == (0.0, 0.0, DISK)
    train, score, _ = found['vae-mnist-small-seed=1']
    assert (train, score) == (1500.0, 40.0)  # medians; the stub itself took no time
    # FlexAE costs twice as much; how long its scoring takes nobody knows yet, nor of everything.
    assert found['flexae-mnist-small-seed=0'] == (3000.0, None, DISK)
    assert estimate.total(found.values()).score_seconds is None
    both = [found[first.name], found['vae-mnist-small-seed=1']]
    assert estimate.total(both) == (1500.0, score, 2 * DISK)


def test_what_is_half_done_needs_half(plan):
    (run,) = [run for run in plan('table1') if run.config.method == 'vae']
    run.workdir.checkpoints.mkdir(parents=True)
    (run.workdir.checkpoints / 'ckpt-000001000.manifest.json').touch()
    append_json(run.workdir.perf, {'step': 1000, 'perf/steps_per_sec': 4.0})
    assert estimate.needs([run])[run.name].train_seconds == 500.0


def test_a_machine_that_cannot_be_timed(plan, clone):
    (clone / 'bin' / 'benchmark.py').write_text('import sys; sys.exit("no such data")')
    with pytest.raises(FailedRunError, match='could not time ae_gmm: no such data'):
        estimate.needs(plan('table1'))
