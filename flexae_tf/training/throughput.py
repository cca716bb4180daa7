"""How fast a training is and what it takes."""

import resource
import time

import tensorflow as tf


class Throughput:
    """Speed and memory between two laps.

    Args:
        step: iterations done.
        batch_size: images in an iteration's auto-encoder step.

    Attributes:
        flop: floating-point operations of an iteration, once they have been counted.
    """

    flop = 0

    def __init__(self, step: int, *, batch_size: int) -> None:
        self._batch_size = batch_size
        self.restart(step)

    def restart(self, step: int) -> None:
        """Begins a lap: what went before does not count."""
        self._step, self._time = step, time.monotonic()

    def lap(self, step: int) -> dict[str, float]:
        """What was measured since the lap began, by TensorBoard tag; begins the next one."""
        speed = (step - self._step) / max(time.monotonic() - self._time, 1e-9)
        self.restart(step)
        measured = {
            'perf/steps_per_sec': speed,
            'perf/images_per_sec': speed * self._batch_size,
            'perf/tflops': speed * self.flop / 1e12,
            'resources/cpu_mem_gb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        if tf.config.list_logical_devices('GPU'):
            peak = tf.config.experimental.get_memory_info('GPU:0')['peak']
            measured['resources/peak_gpu_mem_gb'] = peak / 2**30
        return measured


def eta(steps: int, steps_per_sec: float) -> str:
    """How long so many iterations will take: `1:02:03`."""
    minutes, seconds = divmod(int(steps / steps_per_sec), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}'
