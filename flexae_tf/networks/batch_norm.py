"""Keras' batch norm, computed by TensorFlow's fused kernel in training mode."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf


class BatchNorm(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with the same results, several times faster.

    Keras 3 computes moments and normalizes in separate operations that read the feature map many
    times. For feature maps [batch, h, w, c] the fused kernel (cuDNN on a GPU) is one operation. For
    other shapes and in inference this class calls the Keras layer. With several devices it
    computes the moments of the global batch, so results do not depend on the number of devices. One
    collective reduces both moments, where Keras uses two.

    Args:
        dtype: Keras dtype policy.
        name: name of the layer.
    """

    def __init__(self, *, dtype: str, name: str) -> None:
        super().__init__(dtype=dtype, name=name, synchronized=True)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalizes; in training mode with batch statistics, which also update the averages."""
        context = tf.distribute.get_replica_context()
        if training and context and context.num_replicas_in_sync > 1:
            return self._normalize_global_batch(context, inputs)
        if not training or inputs.shape.rank != 4:
            return super().call(inputs, training=training)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.cast(self.gamma, tf.float32),
            offset=tf.cast(self.beta, tf.float32),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel returns the unbiased variance; Keras averages the biased one.
        count = tf.cast(tf.size(inputs) / inputs.shape[-1], tf.float32)
        variance *= (count - 1.0) / count
        self._update_averages(mean, variance)
        return outputs

    def _normalize_global_batch(
        self, context: tf.distribute.ReplicaContext, inputs: tf.Tensor
    ) -> tf.Tensor:
        x = tf.cast(inputs, tf.float32)
        axes = list(range(x.shape.rank - 1))
        moments = tf.stack([tf.reduce_mean(x, axes), tf.reduce_mean(tf.square(x), axes)])
        mean, mean_square = tf.unstack(context.all_reduce(tf.distribute.ReduceOp.MEAN, moments))
        variance = tf.maximum(mean_square - tf.square(mean), 0.0)
        self._update_averages(mean, variance)
        outputs = tf.nn.batch_normalization(
            x,
            mean,
            variance,
            tf.cast(self.beta, tf.float32),
            tf.cast(self.gamma, tf.float32),
            self.epsilon,
        )
        return tf.cast(outputs, inputs.dtype)

    def _update_averages(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + value * (1.0 - self.momentum))


def set_momentum(network: keras.Model, momentum: float) -> None:
    """Sets the momentum of all moving averages. Call it before the network is traced."""
    for layer in _layers(network):
        layer.momentum = momentum


@contextlib.contextmanager
def preserve_moving_averages(network: keras.Sequential) -> Iterator[None]:
    """Restores the moving averages of a network when the context ends.

    The layers have no switch for this, because replicas take turns within a step and would share
    the switch.

    Args:
        network: network whose passes inside the context must not change its averages.
    """
    before = [tf.convert_to_tensor(v) for v in moving_averages(network)]
    try:
        yield
    finally:
        set_moving_averages(network, before)


def moving_averages(network: keras.Model) -> list:
    """Returns moving mean and variance, variables, of every batch norm; [] without batch norm."""
    return [v for layer in _layers(network) for v in (layer.moving_mean, layer.moving_variance)]


def set_moving_averages(
    network: keras.Model, values: Sequence[np.ndarray] | Sequence[tf.Tensor]
) -> None:
    """Assigns values in the order of `moving_averages`."""
    for v, value in zip(moving_averages(network), values, strict=True):
        v.assign(value)


def pooled_moments(network: keras.Model, batches: Iterable[tf.Tensor]) -> list[np.ndarray]:
    """Returns the moments of all batches together, in the order of `moving_averages`.

    Every batch is normalized by its own statistics, as in training, so one pass is enough for all
    layers. The moments replace averages that lag behind the weights: precise batch norm (Wu and
    Johnson 2021, "Rethinking Batch in BatchNorm"). The pooled variance is the mean of the batches'
    variances plus the variance of their means.

    Args:
        network: network whose averages and momentum do not change.
        batches: inputs [batch, ...] of the network, all of the same size.
    """
    layers = _layers(network)
    momenta = [layer.momentum for layer in layers]
    set_momentum(network, 0.0)  # an average becomes the moment of the newest batch
    run = tf.function(lambda batch: network(batch, training=True))
    found: list[list[np.ndarray]] = []
    try:
        with preserve_moving_averages(network):
            for batch in batches:
                run(batch)
                found.append([v.numpy() for v in moving_averages(network)])
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    moments = [np.array(of_batches, np.float64) for of_batches in zip(*found, strict=True)]
    pooled: list[np.ndarray] = []
    for means, variances in zip(moments[::2], moments[1::2], strict=True):  # [batches, channels]
        pooled += [np.mean(means, axis=0), np.mean(variances, axis=0) + np.var(means, axis=0)]
    return pooled


def _layers(network: keras.Model) -> list[BatchNorm]:
    return [layer for layer in network.layers if isinstance(layer, BatchNorm)]
