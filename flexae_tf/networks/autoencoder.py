"""Encoders and decoder of Tables 5 and 6."""

from typing import Any

import keras

from flexae_tf.data.batches import as_input
from flexae_tf.networks.architectures import Architecture, DenseReshape
from flexae_tf.networks.batch_norm import BatchNorm
from flexae_tf.networks.layers import glorot, hidden_layer, hidden_layers

CONTEXT = 128  # size of the context that a flow receives, besides the mean and variance


class _CheckedInput:
    """Base of the networks that the public functions of a method call first.

    The input is checked before Keras sees it, because Keras adds lines to messages of errors.
    """

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(as_input(x, self.input_shape[1:]), *args, **kwargs)


class Encoder(_CheckedInput, keras.Sequential):
    """x [batch, h, w, c] or [batch, d] -> z [batch, latent_dim], float32.

    Args:
        row: architecture; its `encoder` layers are used, followed by FC_m.
        shape: shape of one example.
        latent_dim: m.
        seed: seed of the initial weights.
        dtype: Keras dtype policy of the layers; the output is always float32.
        code_bias: whether FC_m has a bias for images, where the decoder begins with FC -> BN. The
            bias has a gradient only if another loss reads the codes.
    """

    def __init__(
        self,
        row: Architecture,
        *,
        shape: tuple[int, ...],
        latent_dim: int,
        seed: int,
        dtype: str = 'float32',
        code_bias: bool = False,
    ) -> None:
        last = keras.layers.Dense(
            latent_dim,
            use_bias=code_bias or len(shape) == 1,
            kernel_initializer=glorot(seed),
            dtype='float32',
            name='fc_code',
        )
        hidden = hidden_layers(row.encoder, shape, seed, dtype)
        super().__init__([keras.Input(shape), *hidden, last], name='encoder')


class GaussianEncoder(_CheckedInput, keras.Model):
    """x [batch, h, w, c] or [batch, d] -> mean and log variance of z, [batch, latent_dim] each.

    The encoder of the tables with two parallel FC_m at its end; float32.

    Args:
        row: architecture; its `encoder` layers are used, like in `Encoder`.
        shape: shape of one example.
        latent_dim: m.
        seed: seed of the initial weights.
        dtype: Keras dtype policy of the layers; the outputs are always float32.
        mean_bias: whether the mean has a bias for images. The divergence gives it a gradient only
            if the prior does not move with the codes.
    """

    context_dim = 0  # size of a third output, the context of a flow; 0 for none

    def __init__(
        self,
        row: Architecture,
        *,
        shape: tuple[int, ...],
        latent_dim: int,
        seed: int,
        dtype: str = 'float32',
        mean_bias: bool = True,
    ) -> None:
        x = keras.Input(shape)
        hidden = x
        for layer in hidden_layers(row.encoder, shape, seed, dtype):
            hidden = layer(hidden)
        names = ['fc_mean', 'fc_log_variance', 'fc_context']
        sizes = [latent_dim, latent_dim, self.context_dim]
        next_seed = seed + len(row.encoder) + 1
        heads = [
            keras.layers.Dense(
                size,
                use_bias=mean_bias or len(shape) == 1 or name != 'fc_mean',
                kernel_initializer=glorot(head_seed),
                dtype='float32',
                name=name,
            )(hidden)
            for name, size, head_seed in zip(
                names, sizes, (seed, next_seed, next_seed + 1), strict=True
            )
            if size
        ]
        super().__init__(x, heads, name='encoder')


class FlowEncoder(GaussianEncoder):
    """A Gaussian encoder with a third output, the context [batch, CONTEXT] of a flow."""

    context_dim = CONTEXT


class Decoder(_CheckedInput, keras.Sequential):
    """z [batch, latent_dim] -> images [batch, h, w, c] in (0, 1), or vectors in (-1, 1); float32.

    The first batch norm of an image decoder acts on the flat FC output, before the reshape, in the
    order of Table 6.

    Args:
        row: architecture; its `decoder` layers are used.
        shape: shape of one example.
        latent_dim: m.
        seed: seed of the initial weights.
        dtype: Keras dtype policy of the layers; the output is always float32.
    """

    def __init__(
        self,
        row: Architecture,
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
                    kernel_initializer=glorot(seed),
                    dtype='float32',
                    name='fc_vector',
                )
            )
        else:
            layers += self._image_layers(row, shape, seed, dtype)
        super().__init__(layers, name='decoder')

    @staticmethod
    def _image_layers(
        row: Architecture, shape: tuple[int, ...], seed: int, dtype: str
    ) -> list[keras.layers.Layer]:
        layers = []
        for index, layer in enumerate(row.decoder):
            if isinstance(layer, DenseReshape):
                side = shape[0] // row.decoder_stride
                layers += _dense_reshape(layer, side, index, seed, dtype)
            else:
                layers += hidden_layer(layer, index, seed, dtype)
        last = keras.layers.Conv2D(
            shape[2],
            row.last_kernel,
            padding='same',
            kernel_initializer=glorot(seed + len(row.decoder)),
            dtype=dtype,
            name='conv_image',
        )
        # The sigmoid is float32 in every precision.
        return [*layers, last, keras.layers.Activation('sigmoid', dtype='float32')]


def _dense_reshape(
    layer: DenseReshape, side: int, index: int, seed: int, dtype: str
) -> list[keras.layers.Layer]:
    """Returns the layers of a decoder's first feature map [batch, side, side, channels]."""
    return [
        keras.layers.Dense(
            side * side * layer.channels,
            use_bias=False,
            kernel_initializer=glorot(seed + index),
            dtype=dtype,
            name='fc_base',
        ),
        BatchNorm(dtype=dtype, name='bn_base'),
        keras.layers.Activation(layer.activation, dtype=dtype, name=f'{layer.activation}_base'),
        keras.layers.Reshape([side, side, layer.channels], dtype=dtype),
    ]
