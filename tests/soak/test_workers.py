"""Processes that train together end together after a fault, and the same commands resume."""

import json
import random
import shutil
import signal
import time
from collections import Counter

import pytest

from flexae_tf.checked_files import read_jsonl
from tests.conftest import ROOT
from tests.soak import campaign
from tests.soak.campaign import differing
from tests.training import workers
from tests.training.workers import assert_processes_equal_devices

STEPS = 4000
FLAGS = [f'--training_steps={STEPS}', '--log_every_steps=100', '--save_every_steps=100']
FLAGS += ['--sample_every_steps=2000', '--jit_compile=off']
# One of each class.
METHODS = ['flexae', 'flexae_sr', 'vae', 'vae_iop', 'wae_gan', 'rae_gmm', 'injflow', 'mask_aae']
SECONDS = 60.0  # to the exit of the other process
KILLS = 5


NOT_FINITE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from flexae_tf import cli
from flexae_tf.training.numerics import NonFiniteValues
from flexae_tf.training.summaries import Summaries

def refuse(*_):
    raise NonFiniteValues(['latent/mmd'])

Summaries.sample = refuse
cli.train()
"""


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    """The run of two processes that nothing disturbed."""
    run = tmp_path_factory.mktemp('uninterrupted') / 'run'
    codes, outputs = workers.finish(workers.start(run, flags=FLAGS))
    assert codes == [0, 0], outputs
    return run


def disturb(run, index, number, seconds):
    """Sends a signal to one process during training; returns codes, outputs and time to exit."""
    processes = workers.start(run, flags=FLAGS)
    while not (run / 'stats.jsonl').exists() or not (run / 'stats.jsonl').stat().st_size:
        assert [p.poll() for p in processes] == [None, None]
        time.sleep(0.05)
    time.sleep(seconds)
    processes[index].send_signal(number)
    sent = time.monotonic()
    processes[1 - index].wait(SECONDS)
    ended = time.monotonic() - sent
    processes[index].send_signal(signal.SIGCONT)
    codes, outputs = workers.finish(processes)
    assert 'Traceback' not in ''.join(outputs), outputs
    return codes, outputs, ended


def resume(run, uninterrupted):
    codes, outputs = workers.finish(workers.start(run, flags=FLAGS))
    assert codes == [0, 0] and 'resuming at step' in outputs[0], outputs
    assert not differing(uninterrupted, run)


@pytest.mark.parametrize('method, number', [*((method, 2) for method in METHODS), ('flexae', 4)])
def test_methods(method, number, mirrored, tmp_path):
    flags = [f'--flagfile={ROOT}/flags/methods/{method}.flags', *workers.FLAGS]
    flags += campaign.IMAGES if method == 'flexae_sr' else []
    assert_processes_equal_devices(mirrored, tmp_path, number, flags)
    note = f'; all variables equal {number} devices'
    campaign.report('workers', f'{method}, {number} processes', Counter(steps=5), note)


def test_other_number_of_processes_continues(tmp_path):
    run, saved = tmp_path / 'run', []
    for steps, number in ((100, 2), (200, 1), (300, 3), (400, 2)):
        flags = [*FLAGS, f'--training_steps={steps}']
        flags += ['--distribution=none'] if number == 1 else []
        flags += ['--batch_size=24']
        codes, outputs = workers.finish(workers.start(run, number, flags))
        assert codes == [0] * number, outputs
        saved.append((run / 'checkpoints' / f'ckpt-{steps:09d}.manifest.json').exists())
    steps = [record['step'] for record in read_jsonl(run / 'stats.jsonl')]
    assert all(saved) and steps == sorted(set(steps)) and steps[-1] == 400


def test_values_that_are_not_finite(tmp_path):
    records = []
    for number in (2, 1):
        run = tmp_path / str(number)
        flags = ['--training_steps=20', '--ae_learning_rate=1e30']
        codes, outputs = workers.finish(workers.start(run, number, flags))
        assert codes == [5] * number, outputs
        records.append(json.loads((run / 'nonfinite.json').read_text()))
    assert records[0] == records[1]  # with the examples of all processes


def test_statistic_that_is_not_finite(tmp_path):
    """Only the first process computes statistics, so only it has the error."""
    program, run = tmp_path / 'train.py', tmp_path / 'run'
    program.write_text(NOT_FINITE)
    codes, outputs = workers.finish(workers.start(run, 2, ['--training_steps=20'], program=program))
    assert codes == [5, 7] and 'latent/mmd: not finite at step 4' in outputs[0], outputs
    assert 'Traceback' not in ''.join(outputs), outputs
    record = json.loads((run / 'nonfinite.json').read_text())
    assert len(record['batch_indices'][0]) == 16  # of both processes


def test_other_run_to_start_from_is_not_needed_again(tmp_path):
    source, run = tmp_path / 'source', tmp_path / 'run'
    for folder, number, steps in ((source, 1, 3), (run, 2, 3), (run, 2, 6)):
        flags = [f'--training_steps={steps}']
        flags += [f'--init_from={source}'] if folder == run else []
        codes, outputs = workers.finish(workers.start(folder, number, flags))
        assert codes == [0] * number, outputs
        if folder == run:
            shutil.rmtree(source, ignore_errors=True)


def test_kills(uninterrupted, tmp_path):
    rng, run, slowest = random.Random(0), tmp_path / 'run', 0.0
    for kill in range(KILLS):
        index = kill % 2
        codes, outputs, ended = disturb(run, index, signal.SIGKILL, rng.uniform(0.0, 6.0))
        slowest = max(slowest, ended)
        assert codes[index] == -signal.SIGKILL and codes[1 - index] == 7, (codes, outputs)
        assert f'process {index} ended' in outputs[1 - index], outputs
        resume(run, uninterrupted)
        shutil.rmtree(run)
    note = f'; the other process ended after {slowest:.1f} s at most'
    campaign.report('workers', 'SIGKILL of one', Counter(killed=KILLS), note)


@pytest.mark.parametrize('index', [0, 1])
def test_process_that_hangs(index, uninterrupted, tmp_path):
    codes, outputs, ended = disturb(tmp_path / 'run', index, signal.SIGSTOP, 1.0)
    assert codes[1 - index] == 7, (codes, outputs)
    resume(tmp_path / 'run', uninterrupted)
    note = f'; the other process ended after {ended:.1f} s'
    campaign.report('workers', f'SIGSTOP of process {index}', Counter(stopped=1), note)


@pytest.mark.parametrize('index', [0, 1])
def test_signal_to_one_process(index, uninterrupted, tmp_path):
    run = tmp_path / 'run'
    codes, outputs, ended = disturb(run, index, signal.SIGTERM, 1.0)
    assert codes == [143, 143], (codes, outputs)
    assert [output.count('stopped by signal 15 after step') for output in outputs] == [1, 1]
    resume(run, uninterrupted)
    note = f'; the other process ended after {ended:.1f} s'
    campaign.report('workers', f'SIGTERM to process {index}', Counter(stopped=1), note)


def test_process_that_does_not_start(tmp_path):
    waiting, absent = workers.start(tmp_path / 'run', flags=FLAGS)
    absent.kill()
    assert 'device' in waiting.stdout.readline() and 'waiting' in waiting.stdout.readline()
    waiting.send_signal(signal.SIGTERM)
    codes, outputs = workers.finish([waiting])
    assert codes == [143] and 'while it waited for other processes' in outputs[0]
    assert not (tmp_path / 'run').exists()


def test_missing_data_of_one_process(tmp_path):
    flags = ['--dataset=digits', '--width_multiplier=0.05', '--training_steps=3']
    missing = ['--dataset=mnist', f'--data_dir={tmp_path}']
    started = workers.start(tmp_path / 'run', flags=flags, own_flags={1: missing})
    codes, outputs = workers.finish(started)
    assert codes == [7, 3] and 'Traceback' not in ''.join(outputs), outputs
    assert 'process 1 ended' in outputs[0] and 'mnist is missing' in outputs[1]
