"""Long use of one process: memory, open files, threads and traces must not grow."""

import ctypes
import functools
import gc
import os
import pathlib
import shutil
from collections import Counter
from typing import NamedTuple

import pytest
import tensorflow as tf

from flexae_tf import data
from flexae_tf.checked_files import read_jsonl
from flexae_tf.config import EvaluateConfig
from flexae_tf.densities import densities
from flexae_tf.evaluation.evaluate import evaluate
from flexae_tf.methods.resolve import resolve, train_config
from flexae_tf.methods.table import AUTOENCODERS
from flexae_tf.training.restore import open_run
from flexae_tf.training.run_log import WorkdirLog
from flexae_tf.training.trainer import Trainer
from tests.conftest import ROOT, shorten_networks

STEPS = 5000
CALLS = 20


class Usage(NamedTuple):
    """Resources of a process: resident memory in MB, open files, threads."""

    memory: float
    files: int
    threads: int


def usage():
    ctypes.CDLL(None).malloc_trim(0)  # free blocks are no use
    lines = pathlib.Path('/proc/self/status').read_text().splitlines()
    status = dict(line.split(':', 1) for line in lines)
    memory = int(status['VmRSS'].split()[0]) / 1024
    return Usage(memory, len(os.listdir('/proc/self/fd')), int(status['Threads']))


def assert_flat(label, used, *, memory):
    """Asserts that the second half uses as much as the first, and at most `memory` MB more.

    The least use of each half counts: memory that is freed later is not lost.
    """
    half = len(used) // 2
    early, late = (Usage(*map(min, zip(*part, strict=True))) for part in (used[:half], used[half:]))
    growth = late.memory - early.memory
    print(
        f'SOAK flat {label}: memory {early.memory:.0f} MB, growth {growth:.1f} MB, '
        f'files {early.files} to {late.files}, threads {early.threads} to {late.threads}'
    )
    assert growth <= memory
    assert (late.files, late.threads) <= (early.files, early.threads)


@pytest.fixture
def traces(monkeypatch):
    """Numbers of traces of the functions that the package compiles, by name."""
    counts, function = Counter(), tf.function

    def counted(python_function=None, **options):
        if python_function is None:  # a decorator of Keras
            return function(**options)
        owner, name = getattr(python_function, '__self__', None), python_function.__name__
        name = f'{type(owner).__name__}.{name}' if owner else name

        @functools.wraps(python_function)
        def traced(*args, **kwargs):
            counts[name] += 1
            return python_function(*args, **kwargs)

        return function(traced, **options)

    monkeypatch.setattr(tf, 'function', counted)
    return counts


def assert_traced_once(label, traces):
    print(f'SOAK flat traces of {label}: {dict(traces)}')
    assert traces and set(traces.values()) == {1}


def trained(method, run, *flags):
    """Trains on digits; returns the trainer."""
    config = train_config(
        [
            f'--flagfile={ROOT}/flags/methods/{method}.flags',
            *('--dataset=digits', '--validation_examples=40', '--batch_size=4'),
            *('--critic_steps=1', f'--workdir={run}', *flags),
        ]
    )
    dataset = data.load(config)
    trainer = Trainer(resolve(config, dataset.spec), dataset)
    trainer.train()
    return trainer


@pytest.mark.parametrize('method', AUTOENCODERS)
def test_training_is_flat_and_traces_once(method, tmp_path, short_networks, traces, monkeypatch):
    used, append = [], WorkdirLog.append

    def measured(log, name, step, *args):
        append(log, name, step, *args)
        if name == 'stats' and step > STEPS // 5:
            used.append(usage())

    monkeypatch.setattr(WorkdirLog, 'append', measured)
    often = [f'--{kind}_every_steps={STEPS // 20}' for kind in ('sample', 'eval', 'save')]
    trainer = trained(method, tmp_path, f'--training_steps={STEPS}', '--log_every_steps=50', *often)
    assert_flat(f'{method} {STEPS} steps', used, memory=8.0)
    traces['Trainer.run_steps'] = trainer.run_steps.experimental_get_tracing_count()
    assert_traced_once(f'{method} training', traces)


@pytest.fixture(scope='module')
def wide(tmp_path_factory):
    """A run with a snapshot of each of its steps; its state has 20 MB. Not to be changed."""
    run = tmp_path_factory.mktemp('wide') / 'run'
    sizes = (f'--training_steps={CALLS}', '--width_multiplier=0.3')
    trained('vae', run, *sizes, '--snapshot_every_steps=1')
    return run


def options(run, tmp_path, **others):
    """Returns the options of an evaluation of a copy of a run."""
    copy = shutil.copytree(run, tmp_path / 'run')
    small = dict(num_examples=50, metrics='fd')
    return dict(workdir=str(copy), cache_dir=str(tmp_path / 'cache')) | small | others


def test_evaluations_of_one_process_are_flat(wide, network, tmp_path):
    flags = options(wide, tmp_path, inception_path=str(network))
    used = []
    for step in range(1, CALLS + 1):
        evaluate(EvaluateConfig(**flags, checkpoint=str(step)))
        gc.collect()  # networks are in reference cycles; Python looks for them only now and then
        used.append(usage())
    assert_flat(f'{CALLS} evaluations', used, memory=40.0)


def test_checkpoints_of_one_evaluation_are_flat(wide, tmp_path, monkeypatch):
    from flexae_tf.evaluation import image_sets

    used, of_run = [], image_sets.of_run

    def measured(*args):
        used.append(usage())
        return of_run(*args)

    monkeypatch.setattr(image_sets, 'of_run', measured)
    evaluate(EvaluateConfig(**options(wide, tmp_path, features='pixels'), checkpoint='all'))
    assert len(used) == CALLS
    assert_flat(f'{CALLS} checkpoints', used[1:], memory=40.0)


def test_repeats_of_one_evaluation_are_flat(wide, tmp_path, monkeypatch):
    from flexae_tf.evaluation import image_sets

    used, finite = [], image_sets._finite

    def measured(*args):
        used.append(usage())
        return finite(*args)

    monkeypatch.setattr(image_sets, '_finite', measured)
    flags = options(wide, tmp_path, features='pixels', split='train')
    flags |= dict(num_examples=1000, repeats=CALLS, sets='samples')
    evaluate(EvaluateConfig(**flags))
    assert len(used) == CALLS
    assert_flat(f'{CALLS} repeats', used[1:], memory=10.0)


@pytest.fixture(scope='module')
def narrow(tmp_path_factory):
    """`narrow(method)`: a run with a snapshot of each of its steps."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        shorten_networks(monkeypatch)

        def train(method):
            run = tmp_path_factory.mktemp(method) / 'run'
            # Sampling of posteriors is traced once for each size of batches: at least one batch.
            sizes = (f'--training_steps={CALLS}', '--validation_examples=300')
            trained(method, run, *sizes, '--snapshot_every_steps=1')
            return run

        yield train


def test_evaluation_of_checkpoints_repeats_and_densities_traces_once(
    narrow, network, tmp_path, traces
):
    run = narrow('ae_gmm')
    traces.clear()
    flags = options(run, tmp_path, inception_path=str(network), fit_missing=True)
    evaluate(EvaluateConfig(**flags, checkpoint='all', repeats=2))
    steps = {
        record.get('step') for record in read_jsonl(pathlib.Path(flags['workdir'], 'scores.jsonl'))
    }
    assert steps >= set(range(1, CALLS + 1))
    assert_traced_once('an evaluation', traces)


@pytest.mark.parametrize('density', ['second_stage', 'latent_gan'])
def test_fit_of_a_density_traces_once(narrow, density, traces):
    run = open_run(narrow('vae'))
    traces.clear()
    densities.fit(run, density, data.load(run.config), steps=60)
    assert_traced_once(f'a fit of {density}', traces)
