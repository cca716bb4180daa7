"""step -> blocks of examples; and arrays through a network, batch by batch."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from flexae_tf import noise


class Batches:
    """The examples of every step, as a function of (seed, step) alone.

    Indices are drawn with replacement, as the authors do, so there is no epoch, no shuffle buffer
    and nothing to save. The examples stay in host memory as they are (uint8 images) and only the
    drawn ones travel to the device.

    Args:
        x: uint8 images [n, h, w, c] or float32 vectors [n, d].
        blocks: batches in a step.
        batch_size: examples in a batch, on this replica.
        seed: the run's seed.
    """

    def __init__(self, x: np.ndarray, *, blocks: int, batch_size: int, seed: int) -> None:
        # A variable, because only its handle enters the training loop's graph: a constant would
        # be one of the loop's values, free to be placed, and copied, anywhere.
        with tf.device('CPU:0'):
            self._x = tf.Variable(x, trainable=False)
        self._blocks = blocks
        self._batch_size = batch_size
        self._seed = seed

    def indices(self, step: tf.Tensor) -> tf.Tensor:
        """Which examples step `step` sees: int32 [blocks, batch_size]."""
        keys = (noise.key(self._seed, step, noise.Role.BATCH, b) for b in range(self._blocks))
        return tf.stack([noise.integers(key, [self._batch_size], self._x.shape[0]) for key in keys])

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The examples of step `step`: float32 [blocks, batch_size, ...], images in [0, 1]."""
        with tf.device('CPU:0'):
            drawn = tf.gather(self._x, self.indices(step))
        return as_float(drawn)


def as_float(x: tf.Tensor) -> tf.Tensor:
    """What networks see: uint8 images as float32 in [0, 1]; vectors as they are."""
    return tf.cast(x, tf.float32) / 255.0 if x.dtype == tf.uint8 else x


def map_batches(
    function: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray, batch_size: int
) -> np.ndarray:
    """`function` over all rows of `x`, `batch_size` at a time.

    Args:
        function: maps [batch, ...] float32 to [batch, ...]; called on one shape only (the last
            batch is padded), so that a `tf.function` is traced once for each `batch_size`.
        x: uint8 images (given to `function` in [0, 1]), or float32 arrays.
        batch_size: rows in a call.

    Returns:
        the results, float32 [n, ...].
    """
    batch_size = min(batch_size, len(x))
    results = []
    for start in range(0, len(x), batch_size):
        rows = x[start : start + batch_size]
        padding = [(0, batch_size - len(rows))] + [(0, 0)] * (x.ndim - 1)
        padded = as_float(tf.constant(np.pad(rows, padding)))
        results.append(function(padded).numpy()[: len(rows)])
    return np.concatenate(results)
