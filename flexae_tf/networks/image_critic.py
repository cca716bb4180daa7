"""The image critic of the authors' released variant, FlexAE-SR."""

import keras

from flexae_tf.networks.architectures import Architecture
from flexae_tf.networks.layers import glorot, hidden_layers


class ImageCritic(keras.Sequential):
    """x [batch, h, w, c] or [batch, d] -> score [batch, 1], unbounded; high for data.

    Initial weights are Glorot normal, like in all networks here. The released code uses its
    framework's default, Glorot uniform, with the same variance. Always float32, because the
    gradient penalty differentiates twice.

    Args:
        row: architecture; its `image_critic` layers are used, followed by FC_1.
        shape: shape of one example.
        seed: seed of the initial weights.
    """

    def __init__(self, row: Architecture, *, shape: tuple[int, ...], seed: int) -> None:
        last = keras.layers.Dense(
            1, kernel_initializer=glorot(seed), dtype='float32', name='fc_score'
        )
        hidden = hidden_layers(row.image_critic, shape, seed, 'float32')
        super().__init__([keras.Input(shape), *hidden, last], name='image_critic')
