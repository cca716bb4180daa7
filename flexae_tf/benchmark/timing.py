"""Timers of a function and of the training loop, which take turns."""

import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from flexae_tf import shutdown
from flexae_tf.data import Dataset, DatasetSpec, Split
from flexae_tf.errors import NonFiniteLossError
from flexae_tf.training.trainer import Trainer

EXAMPLES = 10_000  # number of random examples; their values do not change the speed
SERIES_SECONDS = 0.2  # duration of a timed series of calls, in which the start of one is hidden


class Timer(Protocol):
    """Anything that can be timed again and again."""

    def seconds(self) -> float:
        """Returns the seconds of a call, the mean of a series."""


class FunctionTimer:
    """Times series of calls of a function; the constructor calls it twice.

    Args:
        function: called without arguments; it may return before the device has finished.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._series(1)  # compiles
        self._calls = _calls(self._series(1))

    def seconds(self) -> float:
        """See `Timer.seconds`."""
        return self._series(self._calls) / self._calls

    def _series(self, calls: int) -> float:
        shutdown.check('between timed calls')
        started = time.perf_counter()
        for _ in range(calls):
            self._function()
        tf.test.experimental.sync_devices()
        return time.perf_counter() - started


class LoopTimer:
    """Times calls of the compiled training loop; the constructor warms it up.

    Args:
        trainer: an untrained trainer.
        warmup: iterations after the compilation that are not timed, at least 1.

    Attributes:
        start_up: seconds from the start of the process to the first call; None if unknown.
        first_call: seconds of the first iteration, compilation included.

    Raises:
        NonFiniteLossError: an iteration diverged, so the loop ended early.
    """

    def __init__(self, trainer: Trainer, warmup: int) -> None:
        self._trainer, self._step = trainer, 0
        self.start_up = process_seconds()
        self.first_call = self._run(1)
        self._iterations = _calls([self._run(1) for _ in range(warmup)][-1])

    def seconds(self) -> float:
        """Returns the seconds of an iteration, the mean of one call of the loop."""
        return self._run(self._iterations) / self._iterations

    def _run(self, count: int) -> float:
        shutdown.check('between steps')
        started = time.perf_counter()
        arguments = (tf.constant(number, tf.int64) for number in (self._step, count))
        finished = int(self._trainer.run_steps(*arguments))
        tf.test.experimental.sync_devices()
        elapsed = time.perf_counter() - started
        self._step += count
        if finished != self._step:
            raise NonFiniteLossError(
                f'--dataset={self._trainer.config.dataset}: not finite on random examples, at '
                f'step {finished - 1} or before. Use lower learning rates or --precision=float32.'
            )
        return elapsed


def in_turns(timers: Sequence[Timer], rounds: int) -> list[list[float]]:
    """Returns the seconds of each timer in each round, [timers, rounds].

    The timers take turns, so that other load on the machine affects all of them.
    """
    found = [[timer.seconds() for timer in timers] for _ in range(rounds)]
    return [list(seconds) for seconds in zip(*found, strict=True)]


def random_dataset(spec: DatasetSpec) -> Dataset:
    """Returns random examples of the shape and range of a data set."""
    rng = np.random.RandomState(0)
    if spec.kind == 'images':
        x = rng.randint(0, 256, [EXAMPLES, *spec.shape]).astype(np.uint8)
    else:
        x = rng.rand(EXAMPLES, *spec.shape).astype(np.float32)
    return Dataset(spec, Split(x), Split(x[:100]), Split(x[:100]))


def process_seconds() -> float | None:
    """Returns the seconds since this process started; None if the system does not tell."""
    try:
        fields = pathlib.Path('/proc/self/stat').read_text().rpartition(')')[2].split()
        started = int(fields[19]) / os.sysconf('SC_CLK_TCK')  # 22nd field: ticks since the boot
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError):
        return None


def _calls(seconds: float) -> int:
    """Returns how many calls of so many seconds make a series."""
    return max(1, int(SERIES_SECONDS / seconds))
