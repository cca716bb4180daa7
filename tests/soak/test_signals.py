"""Every signal ends every program soon, with its exit code and one line; the work is kept."""

import shutil
import signal
import time
from collections import Counter

import pytest

from tests.soak import campaign
from tests.soak.campaign import Phase, Process, changed, complete, differing, printed

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SIGNALS += [signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU]
SECONDS = 10.0  # to the exit after the first signal
SECOND_SIGNAL_SECONDS = 2.0  # to the exit after the second signal


def interrupt(subject, command, phases, *, removed=()):
    """Sends each signal in each phase, and two signals once; reports the longest time to exit.

    The paths `removed` are removed before every run, which then repeats all its work.
    """
    for phase in phases:
        seconds = {}
        for signals in [*((number,) for number in SIGNALS), (signal.SIGTERM, signal.SIGINT)]:
            for path in removed:
                path.unlink(missing_ok=True) if path.is_file() else shutil.rmtree(path, True)
            seconds[signals] = ended_by(command, phase, *signals)
        *first, second = seconds.values()
        counts = Counter({'+'.join(number.name for number in signals): 1 for signals in seconds})
        note = f'; longest {max(first):.1f} s, second signal {second:.1f} s'
        campaign.report('signals', f'{subject}, {phase.name}', counts, note)
        assert max(first) < SECONDS and second < SECOND_SIGNAL_SECONDS, (phase.name, seconds)


def ended_by(command, phase, first, *second):
    """Returns the seconds from the last signal to the exit of a program."""
    process = Process(command)
    assert process.reaches(phase.begins), process.output
    time.sleep(phase.seconds / 2.0)
    process.send(first)
    for number in second:
        time.sleep(0.5)
        process.send(number)
    sent = time.monotonic()
    code = process.wait()
    # A program that had nothing left to do has succeeded.
    assert code in (0, 128 + first), process.output
    assert not code or f'signal {first}' in process.error()
    return time.monotonic() - sent


def test_training(tmp_path):
    # So many steps that no signal comes after the last one.
    flags = ['--training_steps=30000', '--log_every_steps=100', '--save_every_steps=500']
    flags += [f'--{name}_every_steps=5000' for name in ('sample', 'eval', 'snapshot')]
    reference, run = tmp_path / 'reference', tmp_path / 'run'
    command = [*campaign.training('flexae', run), *flags]
    interrupt('train', command, campaign.training_phases(run))
    complete(command, [*campaign.training('flexae', reference), *flags])
    assert not differing(reference, run)


@pytest.mark.parametrize('density', ['gaussian_mixture', 'second_stage'])
def test_density_fit(density, vectors, tmp_path):
    (run,) = campaign.copies(vectors, tmp_path, 1)
    command = campaign.fit(run, density, steps=100_000)
    phases = campaign.fit_phases(density)
    interrupt(f'fit {density}', command, phases, removed=[run / 'densities'])


@pytest.mark.parametrize('data', ['vectors', 'images'])
def test_evaluation(data, request, network, tmp_path):
    run, cache = tmp_path / 'run', tmp_path / 'cache'
    campaign.copies(request.getfixturevalue(data), tmp_path, 1)
    command = campaign.evaluation(run, network, cache=cache)
    command += ['--num_examples=10000']
    phases = campaign.evaluation_phases(run, images=data == 'images')
    removed = [cache, run / 'features', run / 'scores.jsonl']
    interrupt(f'evaluate {data}', command, phases, removed=removed)
    command += ['--metrics=fd', '--bootstrap=100000']
    interrupt(f'evaluate {data}', command, [Phase('bootstrap', printed('CPU'), 14.0)])


def test_export(vectors, tmp_path):
    (run,) = campaign.copies(vectors, tmp_path, 1)
    phases = [campaign.start(), Phase('save', changed(run / 'export'), 0.5)]
    interrupt('export', campaign.export(run), phases, removed=[run / 'export'])


def test_sampling(vectors, tmp_path):
    command = ['sample', f'--source={vectors}', '--num_samples=1000000', '--device=cpu']
    command += [f'--output_file={tmp_path}/samples.npz']
    interrupt('sample', command, [campaign.start(), Phase('sampling', printed('CPU'), 8.0)])
    assert not list(tmp_path.iterdir())


def test_reproduce(tmp_path):
    command = campaign.reproduce(tmp_path / 'output')
    phases = [campaign.start(2.0), Phase('train', printed('compiling'), 1.0)]
    interrupt('reproduce', command, phases, removed=[tmp_path / 'output'])


def test_doctor_and_dry_run(tmp_path):
    interrupt('doctor', ['doctor', '--device=cpu'], [campaign.start()])
    command = [*campaign.training('flexae', tmp_path / 'run'), '--dry_run']
    interrupt('train --dry_run', command, [campaign.start(), Phase('sizes', printed('CPU'), 1.0)])
