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


def interrupt(subject, command, phases, reset=lambda: None):
    """Sends each signal in each phase, and two signals once; reports the longest time to exit.

    `reset` is called after every run.
    """
    for phase in phases:
        counts, longest = Counter(), 0.0
        for number in SIGNALS:
            seconds = ended_by(command, phase, number)
            assert seconds < SECONDS, f'{subject}, {phase.name}: {seconds:.1f} s after {number!r}'
            reset()
            longest = max(longest, seconds)
            counts[number.name] += 1
        seconds = ended_by(command, phase, signal.SIGTERM, signal.SIGINT)
        assert seconds < SECOND_SIGNAL_SECONDS, f'{subject}, {phase.name}: {seconds:.1f} s'
        reset()
        counts['twice'] += 1
        note = f'; longest {longest:.1f} s, second signal {seconds:.1f} s'
        campaign.report('signals', f'{subject}, {phase.name}', counts, note)


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
    reference, run = tmp_path / 'reference', tmp_path / 'run'
    command = campaign.training('flexae', run)
    interrupt('train', command, campaign.training_phases(run))
    complete(command, campaign.training('flexae', reference))
    assert not differing(reference, run)


@pytest.mark.parametrize('density', ['gaussian_mixture', 'second_stage'])
def test_density_fit(density, vectors, tmp_path):
    (run,) = campaign.copies(vectors, tmp_path, 1)
    # So many steps that no signal comes after the last one.
    command = campaign.fit(run, density, steps=100_000)
    interrupt(f'fit {density}', command, campaign.fit_phases(density))


@pytest.mark.parametrize('data', ['vectors', 'images'])
def test_evaluation(data, request, network, tmp_path):
    images = data == 'images'
    other, reference, run = campaign.copies(request.getfixturevalue(data), tmp_path, 3)
    command = campaign.evaluation(run, network, cache=tmp_path / 'cache')
    interrupt(
        f'evaluate {data}',
        [*command, '--num_examples=10000'],
        campaign.evaluation_phases(run, images=images),
    )
    resamples = [*command, f'--workdir={other}', '--metrics=fd', '--bootstrap=1000000']
    interrupt(f'evaluate {data}', resamples, [Phase('bootstrap', printed('CPU'), 12.0)])
    (run / 'scores.jsonl').unlink(missing_ok=True)
    complete(command, campaign.evaluation(reference, network, cache=tmp_path / 'cache'))
    assert not differing(reference, run)


def test_export(vectors, tmp_path):
    (run,) = campaign.copies(vectors, tmp_path, 1)
    phases = [campaign.start(), Phase('save', changed(run / 'export'), 0.5)]
    interrupt(
        'export',
        campaign.export(run),
        phases,
        reset=lambda: shutil.rmtree(run / 'export', ignore_errors=True),
    )


def test_sampling(vectors, tmp_path):
    command = ['sample', f'--source={vectors}', '--num_samples=1000000', '--device=cpu']
    command += [f'--output_file={tmp_path}/samples.npz']
    interrupt('sample', command, [campaign.start(), Phase('sampling', printed('CPU'), 8.0)])
    assert not list(tmp_path.iterdir())


def test_reproduce(tmp_path):
    reference, output = tmp_path / 'reference', tmp_path / 'output'
    command = campaign.reproduce(output)
    interrupt(
        'reproduce', command, [campaign.start(2.0), Phase('train', printed('compiling'), 1.0)]
    )
    complete(command, campaign.reproduce(reference))
    assert not differing(reference, output)


def test_doctor_and_dry_run(tmp_path):
    interrupt('doctor', ['doctor', '--device=cpu'], [campaign.start()])
    command = [*campaign.training('flexae', tmp_path / 'run'), '--dry_run']
    interrupt('train --dry_run', command, [campaign.start(), Phase('sizes', printed('CPU'), 1.0)])
