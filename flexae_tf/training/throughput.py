"""Speed and memory of a training."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import tensorflow as tf

from flexae_tf.data import memory
from flexae_tf.errors import UserError

REPORT_SECONDS = 30.0


class Throughput:
    """Measures speed and memory between two calls of `lap`.

    Args:
        step: number of finished iterations.
        batch_size: images in the auto-encoder step of an iteration.

    Attributes:
        flop: floating-point operations of an iteration; 0 until they are counted.
    """

    flop = 0

    def __init__(self, step: int, *, batch_size: int) -> None:
        self._batch_size = batch_size
        self.restart(step)

    def restart(self, step: int) -> None:
        """Starts a lap at `step`; earlier iterations do not count."""
        self._step, self._time = step, time.monotonic()

    def lap(self, step: int) -> dict[str, float]:
        """Ends a lap at `step` and starts the next one.

        Returns:
            Measurements of the lap by TensorBoard tag: steps/s, images/s, TFLOP/s, and the peak
            memory of the process (and of the first GPU) in GiB.
        """
        speed = (step - self._step) / max(time.monotonic() - self._time, 1e-9)
        self.restart(step)
        measured = {
            'perf/steps_per_sec': speed,
            'perf/images_per_sec': speed * self._batch_size,
            'perf/tflops': speed * self.flop / 1e12,
            'resources/cpu_mem_gb': memory.peak(),
        }
        if tf.config.list_logical_devices('GPU'):
            peak = tf.config.experimental.get_memory_info('GPU:0')['peak']
            measured['resources/peak_gpu_mem_gb'] = peak / 2**30
        return measured


@contextlib.contextmanager
def report_duration(work: str, message: Callable[[str], None]) -> Iterator[None]:
    """Context of work that may take minutes: reports its start, its duration, and its end.

    Args:
        work: what is done, for the messages.
        message: receives one line at the start, every `REPORT_SECONDS`, and at the end.
    """
    started, ended = time.monotonic(), threading.Event()

    def report() -> None:
        message(f'{work}: {time.monotonic() - started:.0f} s')

    def report_often() -> None:
        # The next message of the training meets the same error.
        with contextlib.suppress(OSError, UserError):
            while not ended.wait(REPORT_SECONDS):
                report()

    message(work)
    thread = threading.Thread(target=report_often, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    report()


def eta(steps: int, steps_per_sec: float) -> str:
    """Returns the time that `steps` iterations take, as `1:02:03`."""
    minutes, seconds = divmod(int(steps / steps_per_sec), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}'
