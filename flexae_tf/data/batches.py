"""Batches of a training step, and application of a function to an array in batches."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from flexae_tf import noise, shutdown
from flexae_tf.data.stored_rows import StoredRows
from flexae_tf.errors import MissingDataError, UsageError

MARGIN = 0.5  # images with added noise may leave [0, 1]; images in another range leave it further


def batch_indices(
    step: tf.Tensor, *, num: int, batches_per_step: int, batch_size: int, seed: int
) -> tf.Tensor:
    """Returns the indices of step `step` into `num` examples, int32 [batches_per_step, batch_size].

    In a replica they are its part; `batch_size` is then the size of the part.
    """
    keys = (noise.key(seed, step, noise.Role.BATCH, index) for index in range(batches_per_step))
    return tf.stack([noise.integers(key, [batch_size], num) for key in keys])


class Batches:
    """The batches of every step, as a function of (seed, step).

    Indices are sampled with replacement, like in the authors' code, so there are no epochs, no
    shuffle buffer and no state to save. The data stay in host memory (images as uint8) or on disk,
    and only the sampled examples are copied to the device.

    Args:
        x: uint8 images [n, h, w, c] or float32 vectors [n, d].
        batches_per_step: number of batches in a step.
        batch_size: examples in a batch, on this replica.
        seed: seed of the run.

    Attributes:
        read_error: the error of a read from disk, after which batches are zeros, for the caller to
            raise; None without one.
    """

    def __init__(
        self, x: np.ndarray | StoredRows, *, batches_per_step: int, batch_size: int, seed: int
    ) -> None:
        self._x, self.read_error = x, None
        if not isinstance(x, StoredRows):
            # A variable, because only its handle enters the graph of the training loop. A constant
            # would be a value of the loop, which TensorFlow may place on, and copy to, any device.
            with tf.device('CPU:0'):
                self._x = tf.Variable(x, trainable=False)
        self._batches_per_step = batches_per_step
        self._batch_size = batch_size
        self._seed = seed

    def indices(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the indices into `x` of step `step`, int32 [batches_per_step, batch_size]."""
        return batch_indices(
            step,
            num=self._x.shape[0],
            batches_per_step=self._batches_per_step,
            batch_size=self._batch_size,
            seed=self._seed,
        )

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the batches of step `step`.

        Returns:
            float32 [batches_per_step, batch_size, ...], images in [0, 1].
        """
        with tf.device('CPU:0'):
            examples = self._gather(self.indices(step))
        return as_float(examples)

    def _gather(self, indices: tf.Tensor) -> tf.Tensor:
        if not isinstance(self._x, StoredRows):
            return tf.gather(self._x, indices)
        # Not stateful: the rows do not change.
        examples = tf.numpy_function(self._read, [indices], self._x.dtype, stateful=False)
        return tf.ensure_shape(examples, [*indices.shape, *self._x.shape[1:]])

    def _read(self, indices: np.ndarray) -> np.ndarray:
        try:
            return self._x[indices]
        except MissingDataError as error:  # TensorFlow would print its traceback
            self.read_error = error
            return np.zeros([*indices.shape, *self._x.shape[1:]], np.uint8)


def as_float(x: tf.Tensor) -> tf.Tensor:
    """Converts examples for networks: uint8 images to float32 in [0, 1]; vectors are unchanged."""
    return tf.cast(x, tf.float32) / 255.0 if x.dtype == tf.uint8 else x


def as_input(x: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """Converts and checks a batch that may come from outside the package.

    Args:
        x: uint8 images in 0 .. 255, float images in [0, 1], or float vectors.
        shape: shape of one example.

    Returns:
        Floats [batch, ...]; images in [0, 1].

    Raises:
        UsageError: another shape or type, or, outside a `tf.function`, images in another range.
    """
    x = tf.convert_to_tensor(x)
    is_image = len(shape) == 3
    converted = as_float(x) if is_image else x
    if not (x.shape.is_compatible_with([None, *shape]) and converted.dtype.is_floating):
        types = 'uint8, or float in [0, 1]' if is_image else 'float'
        raise UsageError(
            f'{x.dtype.name} {x.shape}: not a batch of examples. Give {types}, '
            f'[n, {", ".join(map(str, shape))}].'
        )
    if is_image and tf.executing_eagerly():
        low, high = tf.reduce_min(converted), tf.reduce_max(converted)
        if low < -MARGIN or high > 1.0 + MARGIN:
            raise UsageError(
                f'images with values {low:.6g} .. {high:.6g}: not in [0, 1]. Scale them, or give '
                'uint8 images.'
            )
    return converted


class ParallelFunction:
    """A function of a batch that several devices run at once, each on a batch of its own.

    A batch has the same size on every number of devices, so that results are equal.

    Args:
        function: maps a batch [batch, ...] to tensors; for several devices a `tf.function` with an
            input signature.
        strategy: devices of this process; the variables of `function` were created in its scope.
            None for one device.

    Attributes:
        function: the function.
        num_devices: number of devices.
    """

    def __init__(
        self, function: Callable[[tf.Tensor], Any], strategy: tf.distribute.Strategy | None = None
    ) -> None:
        self.function = function
        self._strategy = strategy
        several = strategy is not None and strategy.num_replicas_in_sync > 1
        self._devices = strategy.extended.worker_devices if several else (None,)
        self.num_devices = len(self._devices)
        if self.num_devices > 1:
            signature = [function.input_signature * self.num_devices]
            self._on_each = tf.function(self._replicate, input_signature=signature, autograph=False)

    def __call__(self, batch: tf.Tensor) -> Any:
        """Returns the result of one batch, computed by the default device."""
        return self.function(batch)

    def trace(self) -> None:
        """Traces the function, which raises its errors."""
        (self.function if self.num_devices == 1 else self._on_each).get_concrete_function()

    def on_each(self, rows: np.ndarray, batch_size: int) -> Sequence[Any]:
        """Returns the results of each device, in the order of the rows.

        Args:
            rows: at most `num_devices * batch_size` rows, which are padded to that number; uint8
                images, which `function` receives in [0, 1], or float32 arrays.
            batch_size: rows of a batch of one device.
        """
        padding = [(0, self.num_devices * batch_size - len(rows))] + [(0, 0)] * (rows.ndim - 1)
        batches = []
        for part, device in zip(
            np.split(np.pad(rows, padding), self.num_devices), self._devices, strict=True
        ):
            with tf.device(device):
                batches.append(as_float(tf.constant(part)))
        return [self.function(*batches)] if self.num_devices == 1 else self._on_each(tuple(batches))

    def _replicate(self, batches: Sequence[tf.Tensor]) -> Sequence[Any]:
        values = self._strategy.experimental_distribute_values_from_function(
            lambda context: batches[context.replica_id_in_sync_group]
        )
        # TensorFlow would give a `tf.function` all batches, which its signature does not take.
        results = self._strategy.run(lambda batch: self.function(batch), args=(values,))
        return self._strategy.experimental_local_results(results)


def map_batches(
    function: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray | StoredRows, batch_size: int
) -> np.ndarray:
    """Returns the results of `iterate_batches` as one array, float32 [n, ...]."""
    return np.concatenate(list(iterate_batches(function, x, batch_size)))


def iterate_batches(
    function: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray | StoredRows, batch_size: int
) -> Iterator[np.ndarray]:
    """Applies a function to all rows of an array, `batch_size` rows at a time on each device.

    Args:
        function: maps float32 [batch, ...] to [batch, ...]; a `ParallelFunction` uses its devices.
            The last batch is padded, so that the function receives one shape only and a
            `tf.function` is traced once.
        x: uint8 images, which `function` receives in [0, 1], or float32 arrays.
        batch_size: rows of a batch.

    Yields:
        The results of each batch without the padding, float32 [batch, ...].

    Raises:
        Interrupted: a signal was received.
    """
    if not isinstance(function, ParallelFunction):
        function = ParallelFunction(function)
    batch_size = min(batch_size, len(x))
    step = batch_size * function.num_devices
    for start in range(0, len(x), step):
        shutdown.check()
        results = function.on_each(x[start : start + step], batch_size)
        for first, result in zip(range(start, len(x), batch_size), results, strict=False):
            yield result.numpy()[: len(x) - first]
