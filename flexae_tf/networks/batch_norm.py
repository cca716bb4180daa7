"""Keras' batch norm, computed by TensorFlow's fused kernel in training mode."""

import contextlib
from collections.abc import Iterator

import keras
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
    averages = [v for layer in _layers(network) for v in (layer.moving_mean, layer.moving_variance)]
    before = [tf.convert_to_tensor(v) for v in averages]
    yield
    for v, value in zip(averages, before, strict=True):
        v.assign(value)


def _layers(network: keras.Model) -> list[BatchNorm]:
    return [layer for layer in network.layers if isinstance(layer, BatchNorm)]
