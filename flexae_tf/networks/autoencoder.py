"""Encoders and decoder of Tables 5 and 6."""

import keras

from flexae_tf.networks.batch_norm import BatchNorm
from flexae_tf.networks.tables import Conv, Dense, Row, TConv

CONTEXT = 128  # what a flow is told of an example, besides the mean and variance it begins with


class Encoder(keras.Sequential):
    """x [batch, h, w, c] or [batch, d] -> z [batch, latent_dim], float32.

    Args:
        row: its `encoder` layers, each convolution followed by BN and ELU, then Flatten and FC_m.
        shape: shape of one example.
        latent_dim: m.
        seed: of the initial weights.
        dtype: Keras dtype policy of the layers; the output is float32 always.
    """

    def __init__(
        self,
        row: Row,
        *,
        shape: tuple[int, ...],
        latent_dim: int,
        seed: int,
        dtype: str = 'float32',
    ) -> None:
        last = keras.layers.Dense(
            latent_dim,
            use_bias=len(shape) == 1,  # on images batch norm follows: the decoder's FC -> BN
            kernel_initializer=_glorot(seed),
            dtype='float32',
            name='fc_code',
        )
        hidden = _hidden_layers(row, shape, seed, dtype)
        super().__init__([keras.Input(shape), *hidden, last], name='encoder')


class GaussianEncoder(keras.Model):
    """x [batch, h, w, c] or [batch, d] -> mean and log variance of z, [batch, latent_dim] each.

    The encoder of the tables with two parallel FC_m at its end; float32. Both have a bias: the
    divergence from the prior gives it a gradient, whatever follows.

    Args:
        row: its `encoder` layers, as in `Encoder`.
        shape: shape of one example.
        latent_dim: m.
        seed: of the initial weights.
        dtype: Keras dtype policy of the layers; the outputs are float32 always.
    """

    context_dim = 0  # a third output of this size, that a flow takes

    def __init__(
        self,
        row: Row,
        *,
        shape: tuple[int, ...],
        latent_dim: int,
        seed: int,
        dtype: str = 'float32',
    ) -> None:
        x = keras.Input(shape)
        hidden = x
        for layer in _hidden_layers(row, shape, seed, dtype):
            hidden = layer(hidden)
        names = ['fc_mean', 'fc_log_variance', 'fc_context']
        sizes = [latent_dim, latent_dim, self.context_dim]
        later = seed + len(row.encoder)
        heads = [
            keras.layers.Dense(
                size, kernel_initializer=_glorot(head_seed), dtype='float32', name=name
            )(hidden)
            for name, size, head_seed in zip(
                names, sizes, (seed, later + 1, later + 2), strict=True
            )
            if size
        ]
        super().__init__(x, heads, name='encoder')


class FlowEncoder(GaussianEncoder):
    """A Gaussian encoder with a third output, the context [batch, CONTEXT] of a flow."""

    context_dim = CONTEXT


class Decoder(keras.Sequential):
    """z [batch, latent_dim] -> images [batch, h, w, c] in (0, 1), or vectors in (-1, 1); float32.

    The first batch norm of an image decoder acts on the flat FC output, before the reshape, as
    Table 6 orders them.

    Args:
        row: its `decoder` layers.
        shape: shape of one example.
        latent_dim: m.
        seed: of the initial weights.
        dtype: Keras dtype policy of the layers; the output is float32 always.
    """

    def __init__(
        self,
        row: Row,
        *,
        shape: tuple[int, ...],
        latent_dim: int,
        seed: int,
        dtype: str = 'float32',
    ) -> None:
        layers = [keras.Input([latent_dim])]
        if len(shape) == 1:
            layers.append(
                keras.layers.Dense(
                    shape[0],
                    activation='tanh',
                    kernel_initializer=_glorot(seed),
                    dtype='float32',
                    name='fc_vector',
                )
            )
        else:
            layers += self._image_layers(row, shape, seed, dtype)
        super().__init__(layers, name='decoder')

    @staticmethod
    def _image_layers(
        row: Row, shape: tuple[int, ...], seed: int, dtype: str
    ) -> list[keras.layers.Layer]:
        side = shape[0] // row.decoder_stride
        first = side * side * row.base_channels
        layers = [
            keras.layers.Dense(
                first,
                use_bias=False,
                kernel_initializer=_glorot(seed),
                dtype=dtype,
                name='fc_base',
            ),
            BatchNorm(dtype=dtype, name='bn_base'),
            keras.layers.ELU(dtype=dtype, name='elu_base'),
            keras.layers.Reshape([side, side, row.base_channels], dtype=dtype),
        ]
        for index, layer in enumerate(row.decoder, start=1):
            layers += _layers(layer, index, seed, dtype)
        last = keras.layers.Conv2D(
            shape[2],
            row.last_kernel,
            padding='same',
            kernel_initializer=_glorot(seed + len(row.decoder) + 1),
            dtype=dtype,
            name='conv_image',
        )
        # The sigmoid is taken in float32, also where the convolutions are not.
        return [*layers, last, keras.layers.Activation('sigmoid', dtype='float32')]


def _hidden_layers(
    row: Row, shape: tuple[int, ...], seed: int, dtype: str
) -> list[keras.layers.Layer]:
    """What an encoder has before its last FC."""
    layers = []
    for index, layer in enumerate(row.encoder, start=1):
        layers += _layers(layer, index, seed, dtype)
    if len(shape) == 3:
        layers.append(keras.layers.Flatten(dtype=dtype))
    return layers


def _glorot(seed: int) -> keras.initializers.Initializer:
    return keras.initializers.GlorotNormal(seed)


def _layers(
    layer: Conv | TConv | Dense, index: int, seed: int, dtype: str
) -> list[keras.layers.Layer]:
    """The Keras layers of the hidden entry `index` of a table.

    They are named, because weights-only snapshots are kept by name.
    """
    initializer = _glorot(seed + index)
    if isinstance(layer, Dense):
        activation = layer.activation
        return [
            keras.layers.Dense(
                layer.units,
                activation=activation,
                kernel_initializer=initializer,
                dtype=dtype,
                name=f'fc_{index}',
            )
        ]
    convolution = keras.layers.Conv2D if isinstance(layer, Conv) else keras.layers.Conv2DTranspose
    return [
        # No bias where batch norm follows: its gradient would be rounding noise, which Adam
        # blows up to a full step.
        convolution(
            layer.channels,
            layer.kernel,
            strides=layer.stride,
            padding='same',
            use_bias=False,
            kernel_initializer=initializer,
            dtype=dtype,
            name=f'conv_{index}',
        ),
        BatchNorm(dtype=dtype, name=f'bn_{index}'),
        keras.layers.ELU(dtype=dtype, name=f'elu_{index}'),
    ]
