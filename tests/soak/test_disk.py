"""Disks that are full or read-only and folders that vanish end programs with one line."""

import contextlib
import shutil
import subprocess
from collections import Counter

import pytest

from tests.soak import campaign
from tests.soak.campaign import Process, complete, differing, printed

TRAINING_LIMITS = (
    20_000,
    120_000,
    300_000,
    560_000,
)  # bytes
LIMITS = (0, 300, 3_000, 30_000)


@contextlib.contextmanager
def mounted(folder, size):
    """Mounts a disk of `size` bytes in memory; skips the test without the right to do it."""
    folder.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', folder]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip('needs the right to mount a disk')
    try:
        yield folder
    finally:
        subprocess.run(['umount', '--lazy', folder], check=True)


def failed(process, *codes):
    """Asserts that a program ended with one line and one of the codes; returns the code."""
    code = process.wait()
    assert code in codes, process.output
    assert code == 0 or process.error()
    return f'exit {code}'


def test_training_with_a_limit_of_file_sizes(tmp_path):
    reference, run = tmp_path / 'reference', tmp_path / 'run'
    command, outcomes = campaign.training('vae', run), Counter()
    for limit in TRAINING_LIMITS:
        process = Process(command, prefix=['prlimit', f'--fsize={limit}'])
        outcomes[failed(process, 0, 4)] += 1
        if 'Only the snapshot' in process.output:
            shutil.rmtree(run)
    complete(command, campaign.training('vae', reference))
    assert not differing(reference, run)
    campaign.report('disk', 'train, file too large', outcomes, '; resumed, files identical')


def test_programs_with_a_limit_of_file_sizes(vectors, network, tmp_path):
    reference, run = campaign.copies(vectors, tmp_path, 2)
    output = f'--output_file={tmp_path}/samples.npz'
    programs = {
        'evaluate': lambda folder: campaign.evaluation(folder, network, cache=tmp_path / 'cache'),
        'fit': lambda folder: campaign.fit(folder, 'gaussian_mixture'),
        'sample': lambda folder: ['sample', f'--source={folder}', output, '--device=cpu'],
        'export': campaign.export,
    }
    for name, command in programs.items():
        outcomes = Counter()
        for limit in LIMITS:
            process = Process(command(run), prefix=['prlimit', f'--fsize={limit}'])
            outcomes[failed(process, 0, 2, 3, 4)] += 1
        complete(command(run), command(reference))
        campaign.report('disk', f'{name}, file too large', outcomes, '; repeated, files identical')
    assert not differing(reference, run)


def test_full_disk(tmp_path):
    reference = tmp_path / 'reference'
    complete(campaign.training('vae', reference))
    outcomes = Counter()
    with mounted(tmp_path / 'disk', 1_000_000) as disk:
        outcomes[failed(Process(campaign.training('vae', disk / 'run')), 2)] += 1
    shutil.rmtree(tmp_path / 'disk')
    with mounted(tmp_path / 'disk', 8_000_000) as disk:
        command = campaign.training('vae', disk / 'run')
        process = Process(command)
        assert process.reaches(printed('\nstep '))
        with contextlib.suppress(OSError), open(disk / 'other', 'wb') as other:
            other.write(bytes(8_000_000))
        outcomes[failed(process, 2, 4)] += 1
        outcomes[failed(Process(command), 2, 4)] += 1
        (disk / 'other').unlink()
        complete(command)
        assert not differing(reference, disk / 'run')
    campaign.report('disk', 'train, full disk', outcomes, '; resumed, files identical')


def test_read_only_disk(vectors, network, tmp_path):
    with mounted(tmp_path / 'disk', 20_000_000) as disk:
        (run,) = campaign.copies(vectors, disk, 1)
        subprocess.run(['mount', '-o', 'remount,ro', disk], check=True)
        longer = f'--training_steps={campaign.STEPS + 1}'
        outcomes = Counter(
            failed(Process(command), 2, 4)
            for command in (
                [*campaign.training('vae', run), longer],
                campaign.training('vae', disk / 'other'),
                campaign.evaluation(run, network, cache=tmp_path / 'cache'),
                campaign.fit(run, 'gaussian_mixture'),
                campaign.export(run),
                ['sample', f'--source={run}', f'--output_file={disk}/samples.npz'],
            )
        )
        complete(['sample', f'--source={run}', f'--output_file={tmp_path}/samples.npz'])
    campaign.report('disk', 'programs, read-only disk', outcomes)


@pytest.mark.parametrize('fault', ['workdir removed', 'workdir moved', 'checkpoints removed'])
def test_folder_that_vanishes(fault, tmp_path):
    reference, run = tmp_path / 'reference', tmp_path / 'run'
    process = Process(campaign.training('vae', run))
    assert process.reaches(campaign.changed(run / 'checkpoints'))
    process.reaches(printed('\nstep '))
    if fault == 'workdir moved':
        run.rename(tmp_path / 'moved')
    else:
        folder = run if fault == 'workdir removed' else run / 'checkpoints'
        folder.rename(tmp_path / 'trash')
        shutil.rmtree(tmp_path / 'trash')
    code = process.wait()
    outcomes = Counter([f'exit {code}'])
    if code:  # the line names the folder
        assert code == 4 and str(run) in process.error(), process.output
    else:
        assert 'WARNING' in process.output, process.output
    complete(campaign.training('vae', reference))
    if fault == 'workdir moved':
        complete(campaign.training('vae', tmp_path / 'moved'))
        assert not differing(reference, tmp_path / 'moved')
    else:
        complete(campaign.training('vae', run))
        last = f'checkpoints/ckpt-{campaign.STEPS:09d}.manifest.json'
        assert (run / last).read_bytes() == (reference / last).read_bytes()
    campaign.report('disk', f'train, {fault}', outcomes)
