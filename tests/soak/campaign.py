"""Starts programs, stops them at chosen moments, and compares the runs that they leave."""

import fcntl
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from flexae_tf.checked_files import read_jsonl
from tests.conftest import ROOT

# Narrow networks that compile and train within seconds.
STEPS = 1000
VECTORS = ['--dataset=synthetic_2d', '--train_examples=500', '--validation_examples=100']
IMAGES = ['--dataset=digits', '--width_multiplier=0.05', '--latent_dim=8']
TRAINING = [f'--training_steps={STEPS}', '--log_every_steps=25', '--save_every_steps=50']
TRAINING += ['--sample_every_steps=400', '--eval_every_steps=200', '--snapshot_every_steps=200']
TRAINING += ['--batch_size=16', '--critic_steps=1', '--device=cpu']

COMPARED = ('stats.jsonl', 'scores.jsonl', 'checkpoints/*', 'samples/*')
COMPARED += ('densities/*/*/density.npz', 'densities/*/*/stats.jsonl', 'artifacts/**/*.md')
UNEQUAL = {'seconds', 'code', 'checksum'}  # parts of equal scores


class Process:
    """A program in a process of its own.

    Args:
        command: name of the program and its flags.
        prefix: command that runs it.
    """

    def __init__(self, command: Sequence[str], *, prefix: Sequence[str] = ()) -> None:
        self.name, *flags = command
        self.started = time.time()
        self._printed = ''
        # Not a file, because the prefix may limit the size of files.
        read, write = os.pipe()
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 20)  # takes all output of a program
        os.set_blocking(read, False)
        self._pipe = open(read, 'rb', buffering=0)  # noqa: SIM115 (read as long as it is used)
        self._process = subprocess.Popen(
            [*prefix, sys.executable, ROOT / 'bin' / f'{self.name}.py', *flags],
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=write,
            cwd=ROOT,
        )
        os.close(write)

    @property
    def output(self) -> str:
        """Everything printed so far."""
        while block := self._pipe.read(1 << 20):
            self._printed += block.decode(errors='replace')
        return self._printed

    def reaches(self, moment: Callable[['Process'], bool], *, timeout: float = 300.0) -> bool:
        """Waits for a moment; returns False if the program ended before."""
        deadline = time.monotonic() + timeout
        while not moment(self):
            if self._process.poll() is not None:
                return False
            assert time.monotonic() < deadline, self.output
            time.sleep(0.002)
        return True

    def send(self, number: int) -> None:
        """Sends a signal, unless the program has ended."""
        self._process.send_signal(number)

    def wait(self, *, timeout: float = 600.0) -> int:
        """Waits for the end without a traceback; returns the exit code."""
        try:
            code = self._process.wait(timeout)
        finally:
            self._process.kill()
        assert 'Traceback' not in self.output, self.output
        return code

    def error(self) -> str:
        """Returns the one line of the error that the program ended with."""
        lines = [
            text for text in self.output.splitlines() if text.startswith(f'{self.name}: error: ')
        ]
        assert len(lines) == 1, self.output
        return lines[0]


class Phase(NamedTuple):
    """A part of a program: it begins at a moment, and kills come within the seconds after it."""

    name: str
    begins: Callable[[Process], bool]
    seconds: float


def start(seconds: float = 4.0) -> Phase:
    """Returns the phase from the first moment of a program: flags, imports, data."""
    return Phase('start', lambda _: True, seconds)


def printed(text: str) -> Callable[[Process], bool]:
    """Returns the moment at which a text was printed."""
    return lambda process: text in process.output


def changed(folder: pathlib.Path) -> Callable[[Process], bool]:
    """Returns the moment at which a file was created in a folder."""

    def moment(process: Process) -> bool:
        try:
            return folder.stat().st_mtime > process.started and any(folder.iterdir())
        except OSError:
            return False

    return moment


def training(method: str, workdir: pathlib.Path, data: Sequence[str] = VECTORS) -> list[str]:
    """Returns the command of a training."""
    flagfile = f'--flagfile={ROOT}/flags/methods/{method}.flags'
    return ['train', flagfile, *data, *TRAINING, f'--workdir={workdir}']


def training_phases(workdir: pathlib.Path) -> list[Phase]:
    """Returns the phases of a training."""
    return [
        start(),
        Phase('compile', printed('compiling'), 3.0),
        Phase('steps', printed('\nstep '), 0.5),
        Phase('save', changed(workdir / 'checkpoints'), 0.1),
    ]


def fit(workdir: pathlib.Path, density: str, *, steps: int = 60) -> list[str]:
    """Returns the command that fits a density."""
    length = [] if density == 'gaussian_mixture' else [f'--density_steps={steps}']
    return ['fit', f'--workdir={workdir}', f'--density={density}', *length, '--device=cpu']


def fit_phases(density: str) -> list[Phase]:
    """Returns the phases of a fit."""
    phases = [start(), Phase('fit', printed('fitting'), 1.0)]
    if density == 'gaussian_mixture':
        return phases
    compile_phase = Phase('compile', printed('compiling'), 3.0)
    return [*phases, compile_phase, compile_phase._replace(name='steps', seconds=10.0)]


def evaluation(run: pathlib.Path, network: pathlib.Path, *, cache: pathlib.Path) -> list[str]:
    """Returns the command that evaluates a run with all metrics that apply."""
    images = 'digits' in (run / 'flags.txt').read_text()
    features = [f'--inception_path={network}'] if images else []
    flags = ['--num_examples=400', '--bootstrap=5', f'--cache_dir={cache}', '--device=cpu']
    return ['evaluate', f'--workdir={run}', *features, *flags]


def evaluation_phases(run: pathlib.Path, *, images: bool) -> list[Phase]:
    """Returns the phases of an evaluation."""
    features = [Phase('features', changed(run / 'features'), 1.0)] if images else []
    return [start(), *features, Phase('metrics', printed('standard protocol'), 2.0)]


def export(run: pathlib.Path) -> list[str]:
    """Returns the command that exports a run."""
    return ['export', f'--workdir={run}', '--device=cpu']


def reproduce(output: pathlib.Path) -> list[str]:
    """Returns the command that trains, fits and evaluates a method for a table."""
    flags = ['--artifact=methods', '--methods=two_stage_vae', '--dataset=digits', '--seeds=1']
    flags += ['--scale=smoke', '--features=pixels', '--device=cpu']
    return ['reproduce', *flags, f'--output_dir={output}']


def copies(run: pathlib.Path, folder: pathlib.Path, number: int) -> list[pathlib.Path]:
    """Returns copies of a run, named run, run1, ... in reverse order."""
    return [shutil.copytree(run, folder / f'run{i or ""}') for i in reversed(range(number))]


def complete(*commands: Sequence[str]) -> None:
    """Runs programs that must succeed."""
    for command in commands:
        process = Process(command)
        assert process.wait() == 0, process.output


def kill(
    command: Sequence[str],
    phases: Sequence[Phase],
    times: int,
    finished: Callable[[], None],
    *,
    before: Callable[[], None] = lambda: None,
    seed: int = 0,
) -> Counter:
    """Kills a program at random moments of its phases, `times` in each, and then completes it.

    Args:
        command: name of the program and its flags, the same after every kill.
        phases: phases in which the program is killed.
        times: number of kills in each phase.
        finished: called when the program has succeeded; compares what it left, and removes it.
        before: called before every start.
        seed: seed of the moments.

    Returns:
        Number of kills by phase.
    """
    rng, killed = random.Random(seed), Counter()
    plan = [phase for phase in phases for _ in range(times)]
    rng.shuffle(plan)
    missed = 0
    while plan:
        before()
        process = Process(command)
        if process.reaches(plan[-1].begins):
            time.sleep(rng.uniform(0.0, plan[-1].seconds))
            process.send(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            killed[plan.pop().name] += 1
            missed = 0
        else:
            missed += 1
            assert missed < 10, f'{plan[-1].name}: never reached: {process.output}'
            assert process.wait() == 0, process.output
            finished()
    before()
    complete(command)
    finished()
    return killed


def differing(a: pathlib.Path, b: pathlib.Path) -> list[str]:
    """Returns the files of two equal runs that differ, except for durations."""
    files = {path.relative_to(f) for f in (a, b) for g in COMPARED for path in f.glob(g)}
    visible = sorted(map(str, (file for file in files if file.name[0] != '.')))
    assert visible
    return [name for name in visible if _content(a / name) != _content(b / name)]


def _content(path: pathlib.Path) -> Any:
    """Returns the part of a file that is equal in equal runs; None if it is missing."""
    if not path.exists():
        return None
    if path.suffix == '.npz':
        with np.load(path) as arrays:
            return {name: arrays[name].tobytes() for name in arrays}
    if path.name == 'scores.jsonl':
        return [{k: r[k] for k in r.keys() - UNEQUAL} for r in read_jsonl(path)]
    return path.read_bytes()


def report(campaign: str, subject: str, counts: Counter, note: str = '') -> None:
    """Prints a row of the table of proofs in training/RUNS.md."""
    cases = ', '.join(f'{number} {name}' for name, number in counts.items())
    print(f'SOAK {campaign} {subject}: {counts.total()} cases ({cases}){note}')
