"""Keras' batch norm, computed by TensorFlow's fused kernel while training."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


class BatchNorm(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with its variables and results, several times as fast.

    Keras 3 computes moments and normalises in separate operations, which read the feature map
    many times over; on feature maps [batch, h, w, c] the fused kernel (cuDNN's on a GPU) does it
    in one. Elsewhere, and in inference, this is the Keras layer. On several devices it is the
    Keras layer too, whose moments are those of the global batch: the number of devices does not
    change what is computed.
    """

    def __init__(self, *, dtype: str, name: str) -> None:
        super().__init__(dtype=dtype, name=name, synchronized=True)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalises; while training by the batch's statistics, which also move the averages."""
        context = tf.distribute.get_replica_context()
        alone = context is None or context.num_replicas_in_sync == 1
        if not (training and alone and inputs.shape.rank == 4):
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
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + value * (1.0 - self.momentum))
        return outputs


def set_momentum(network: keras.Model, momentum: float) -> None:
    """How much of the averages stays when a batch moves them; nothing is traced yet."""
    for layer in _layers(network):
        layer.momentum = momentum


@contextlib.contextmanager
def preserve_moving_averages(network: keras.Sequential) -> Iterator[None]:
    """After it, the averages are what they were before, whatever passes `network` made within.

    They are put back, not held by a switch in the layers: replicas take turns within a step, and
    would see each other's switches.
    """
    averages = [v for layer in _layers(network) for v in (layer.moving_mean, layer.moving_variance)]
    before = [tf.convert_to_tensor(v) for v in averages]
    yield
    for v, value in zip(averages, before, strict=True):
        v.assign(value)


def _layers(network: keras.Model) -> list[BatchNorm]:
    return [layer for layer in network.layers if isinstance(layer, BatchNorm)]
