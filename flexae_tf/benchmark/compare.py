"""Variants of a training, each in a process of its own, that take turns."""

import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import flexae_tf
from flexae_tf import shutdown
from flexae_tf.benchmark.training import Training
from flexae_tf.benchmark.variants import variants
from flexae_tf.config import BenchmarkConfig
from flexae_tf.errors import UserError
from flexae_tf.training.distribution import describe_devices

PROGRAM = (sys.executable, '-m', 'flexae_tf.cli', 'benchmark')
PACKAGE = pathlib.Path(flexae_tf.__file__).resolve().parents[1]  # folder of the package


class FailedVariantError(UserError):
    """A variant failed; the exit code is the one of its process."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Variant:
    """A process that trains one variant.

    Args:
        name: the flags of the variant, for the report.
        process: the process, with pipes; it answers a line by one iteration and a line of JSON.
        errors: its standard error.

    Attributes:
        facts: results that do not change from turn to turn.
        seconds: seconds of an iteration in each turn.
        failure: exit code and message; None if it runs.
    """

    def __init__(self, name: str, process: subprocess.Popen, errors: IO[str]) -> None:
        self.name = name
        self.seconds: list[float] = []
        self.failure: tuple[int, str] | None = None
        self._process, self._errors = process, errors
        self.facts: dict[str, Any] = self._read() or {}

    def take_turn(self) -> None:
        """Runs one timed call of its training loop, unless it failed."""
        if not self.failure:
            with contextlib.suppress(BrokenPipeError):  # it ended; `_read` finds the reason
                self._process.stdin.write('\n')
                self._process.stdin.flush()
            seconds = self._read()
            self.seconds += [] if seconds is None else [seconds]

    def _read(self) -> Any:
        """Returns the next line; if there is none, records the failure and returns None."""
        if line := self._process.stdout.readline():
            return json.loads(line)
        code = self._process.wait()
        self._errors.seek(0)
        lines = list(filter(None, map(str.strip, self._errors)))
        last = next((line for line in lines if ': error: ' in line), [*lines, 'no message'][-1])
        message = last.partition(': error: ')[2] or last
        if code < 0:
            message = f'killed by signal {-code} (out of memory?). Use a smaller variant.'
        self.failure = code if code > 0 else 128 - code, message
        return None


def compare(config: BenchmarkConfig) -> tuple[dict[str, Any], FailedVariantError | None]:
    """Measures the variants of `--compare`; they start one after another, then take turns.

    Returns:
        A report with a row for each variant: seconds of an iteration, and the ratio to the first
        variant that runs, the median over the turns with minimum and maximum; and the error of the
        first variant that failed, None if all ran.

    Raises:
        Interrupted: a signal was received.
    """
    started: list[Variant] = []
    with contextlib.ExitStack() as stack:
        for name, flags in variants(config):
            if not shutdown.requested():
                started.append(stack.enter_context(_started(name, flags)))
        for _ in range(config.iterations):
            for variant in started:
                if not shutdown.requested():
                    variant.take_turn()
    shutdown.check('between turns', 'nothing is saved')
    running = [variant for variant in started if not variant.failure]
    failed = [variant for variant in started if variant.failure]
    report: dict[str, Any] = {}
    if running:
        report['device'] = [variant.facts.pop('device') for variant in running][0]
        report['variants'] = [_row(variant, running[0].seconds) for variant in running]
    if failed:
        report['failed'] = [{'variant': v.name, 'problem': v.failure[1]} for v in failed]
        code, message = failed[0].failure
        return report, FailedVariantError(f'--compare={failed[0].name}: {message}', code)
    return report, None


def take_turns(config: BenchmarkConfig) -> None:
    """Trains one variant for `compare`: answers each line of standard input by an iteration."""
    training = Training(config)
    facts = {
        'device': describe_devices(),
        'compile_seconds': training.loop.first_call - training.loop.seconds(),
        'tflop': training.flop / 1e12,
        **training.memory,
    }
    print(json.dumps(facts), flush=True)
    for _ in sys.stdin:
        print(json.dumps(training.loop.seconds()), flush=True)


@contextlib.contextmanager
def _started(name: str, flags: list[str]) -> Iterator[Variant]:
    """Context of a variant; its process ends at the end of its standard input."""
    path = os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get('PYTHONPATH')]))
    with (
        tempfile.TemporaryFile('w+', errors='replace') as errors,
        shutdown.child(
            [*PROGRAM, *flags, '--subject=turns'],
            env=os.environ | {'PYTHONPATH': path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            process_group=0,  # Ctrl-C reaches it only as a signal that is sent on
        ) as process,
    ):
        yield Variant(name, process, errors)


def _row(variant: Variant, first: list[float]) -> dict[str, Any]:
    ratios = [own / other for own, other in zip(variant.seconds, first, strict=True)]
    median = statistics.median(variant.seconds)
    facts = dict(variant.facts)
    tflop = facts.pop('tflop')
    return {
        'variant': variant.name,
        'seconds': median,
        'minimum': min(variant.seconds),
        'maximum': max(variant.seconds),
        'ratio': statistics.median(ratios),
        'ratio_minimum': min(ratios),
        'ratio_maximum': max(ratios),
        'tflop_per_second': tflop / median,
        **facts,
    }
