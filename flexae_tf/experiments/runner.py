"""Runs the commands of jobs that are not complete, one subprocess each."""

import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

import flexae_tf
from flexae_tf import data, shutdown
from flexae_tf.config import ReproduceConfig
from flexae_tf.errors import FailedRunError, MissingDataError, UsageError, UserError
from flexae_tf.experiments.jobs import Job
from flexae_tf.files import lock
from flexae_tf.training.processes import without_processes

PROGRAMS = (sys.executable, '-m', 'flexae_tf.cli')
PACKAGE = pathlib.Path(flexae_tf.__file__).resolve().parents[1]  # folder of the package
POLL_SECONDS = 1.0


def execute(jobs: Sequence[Job]) -> dict[str, str]:
    """Trains and evaluates every job that is not complete; returns reasons of failures by name.

    Processes may share a folder: each job is run by one of them, and the others wait for it.
    A signal is relayed to the running command and raises `Interrupted`.
    """
    failures: dict[str, str] = {}
    waiting, announced = list(jobs), False
    while waiting:
        held = []
        for job in waiting:
            try:
                if not _run(job, f'[{jobs.index(job) + 1}/{len(jobs)}]'):
                    held.append(job)
            except (UserError, OSError) as error:
                failures[job.name] = str(error)
                print(f'FAILED {job.name}: {error}', flush=True)
        if held == waiting:
            for job in () if announced else held:
                print(f'{job.name}: waiting for another process', flush=True)
            announced = True
            time.sleep(POLL_SECONDS)
            shutdown.check('while waiting for another process')
        waiting = held
    return failures


def raise_failures(failures: dict[str, str], jobs: Sequence[Job], hint: str = '') -> None:
    """Raises `FailedRunError` if a job failed; `hint` ends the message."""
    for name, reason in failures.items():
        raise FailedRunError(
            f'{name}: {reason} ({len(failures)} of {len(jobs)} runs failed). Repeat the same '
            f'command to run only these{hint}.'
        )


def prepare(config: ReproduceConfig, jobs: Sequence[Job], folder: pathlib.Path) -> None:
    """Makes `folder`, and checks paths that would otherwise fail after hours of training."""
    for job in {job.config.dataset: job for job in jobs}.values():
        data.describe(job.config)
    for name in ('data_dir', 'inception_path'):
        path = getattr(config, name)
        if path and not pathlib.Path(path).exists():
            raise MissingDataError(f'--{name}={path}: no such file or folder. Check the path.')
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f'--output_dir={config.output_dir}: cannot be written ({error.strerror}). Choose '
            'another folder.'
        ) from None


def show(jobs: Sequence[Job]) -> None:
    """Prints state, commands, time and disk of jobs, by what jobs in the same folder recorded."""
    paces: dict[tuple, list[float]] = {}
    sizes: dict[str, list[int]] = {}
    total = 0.0
    for job in jobs:
        if found := job.workdir.read_pace():
            for key in _pace_keys(job):
                paces.setdefault(key, []).append(found[0])
        if job.digest:
            files = filter(pathlib.Path.is_file, job.workdir.path.rglob('*'))
            sizes.setdefault(job.config.dataset, []).append(sum(f.stat().st_size for f in files))
    for job in jobs:
        left = job.steps - job.workdir.newest_step()
        known = next((paces[key] for key in _pace_keys(job) if key in paces), None)
        total += (seconds := left / statistics.median(known) if known and left else 0.0)
        unit = duration(seconds) if known or not left else 'unknown'
        disk = sizes.get(job.config.dataset) if job.commands(missing=True) else [0]
        mib = f'{statistics.median(disk) / 2**20:,.0f} MiB' if disk else 'unknown'
        print(f'\n{job.name}: {job.state()}; training {unit}, disk {mib}')
        for command in job.commands():
            print(f'  {text(command)}')
    print(f'\n{len(jobs)} runs, {duration(total)} of training as far as the pace is known')


def _pace_keys(job: Job) -> list[tuple]:
    """Returns keys of jobs with about the same pace, from the same job to the same data set."""
    key = (job.config.dataset, job.config.width_multiplier)
    return [(job.name,), (job.config.method, *key), key]


def text(command: Sequence[str]) -> str:
    """Returns a command as a line for a shell."""
    return shlex.join(['python', *PROGRAMS[1:], *command])


def duration(seconds: float) -> str:
    """Formats a duration as `45 s`, `25 min` or `1.1 h`."""
    if seconds < 60.0:
        return f'{seconds:.0f} s'
    return f'{seconds / 60.0:.0f} min' if seconds < 3600.0 else f'{seconds / 3600.0:.1f} h'


def _run(job: Job, label: str) -> bool:
    """Runs the missing commands of a job; returns False if another process holds the job."""
    job.check()
    if not job.commands(missing=True):
        print(f'{label} {job.name}: already finished', flush=True)
        return True
    job.workdir.path.mkdir(parents=True, exist_ok=True)
    with open(job.workdir.path / '.reproduce.lock', 'w') as file:
        try:
            lock(file)
        except BlockingIOError:
            return False
        for command in job.commands(missing=True):
            print(f'{label} {text(command)}', flush=True)
            _call(job, command, label, file.fileno())
        if job.commands(missing=True):
            raise FailedRunError(
                f'{job.workdir.path}: no checkpoint of step {job.steps} or no scores, although '
                'all commands succeeded. Read the log there.'
            )
    return True


def _call(job: Job, command: Sequence[str], label: str, held: int) -> None:
    shutdown.check(f'before {job.name}')
    path = os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get('PYTHONPATH')]))
    lines = []
    with shutdown.child(
        [*PROGRAMS, *command],
        env=without_processes(os.environ) | {'PYTHONPATH': path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
        pass_fds=(held,),  # the job stays locked until the command ends, if this process is killed
        process_group=0,  # Ctrl-C reaches it only as a signal that is sent on
    ) as process:
        for line in map(str.rstrip, process.stdout):
            lines += [line] if line else []
            print(f'{label} {line}', flush=True)
    code = process.returncode
    shutdown.check(f'in {job.name}')
    if code < 0:
        hint = ' (out of memory?)' if code == -9 else ''
        raise FailedRunError(f'{command[0]}: killed by signal {-code}{hint}')
    if code:
        errors = [line for line in lines if ': error: ' in line]
        raise FailedRunError((errors or lines or [f'{command[0]}: exit code {code}'])[-1])
