"""The critic of images that the authors' released variant has beside the one of codes."""

import keras

from flexae_tf.networks.architectures import Architecture
from flexae_tf.networks.layers import glorot, hidden_layers


class ImageCritic(keras.Sequential):
    """x [batch, h, w, c] or [batch, d] -> score [batch, 1], unbounded, trained high on examples.

    Glorot normal like all networks here; the release leaves this one to its framework's default,
    Glorot uniform: the same variance. Always float32, as the gradient penalty needs.

    Args:
        row: its `image_critic` layers; FC_1 follows.
        shape: shape of one example.
        seed: of the initial weights.
    """

    def __init__(self, row: Architecture, *, shape: tuple[int, ...], seed: int) -> None:
        last = keras.layers.Dense(
            1, kernel_initializer=glorot(seed), dtype='float32', name='fc_score'
        )
        hidden = hidden_layers(row.image_critic, shape, seed, 'float32')
        super().__init__([keras.Input(shape), *hidden, last], name='image_critic')
