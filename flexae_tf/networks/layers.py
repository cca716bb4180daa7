"""Keras layers of the tables' entries."""

import keras

from flexae_tf.networks.architectures import Conv, Dense, TConv
from flexae_tf.networks.batch_norm import BatchNorm


def glorot(seed: int) -> keras.initializers.Initializer:
    """The initializer of every kernel: Glorot and Bengio 2010, normal."""
    return keras.initializers.GlorotNormal(seed)


def hidden_layers(
    table: tuple[Conv | Dense, ...], shape: tuple[int, ...], seed: int, dtype: str
) -> list[keras.layers.Layer]:
    """Layers from examples of `shape` to flat features; images are flattened before the first FC.

    Args:
        table: the hidden layers, of which number i has the seed `seed` + i, counted from 1.
        shape: shape of one example.
        seed: of the initial weights.
        dtype: Keras dtype policy.
    """
    layers, flat = [], len(shape) == 1
    for index, layer in enumerate(table, start=1):
        if isinstance(layer, Dense) and not flat:
            layers.append(keras.layers.Flatten(dtype=dtype))
            flat = True
        layers += hidden_layer(layer, index, seed, dtype)
    return layers if flat else [*layers, keras.layers.Flatten(dtype=dtype)]


def hidden_layer(
    layer: Conv | TConv | Dense, index: int, seed: int, dtype: str
) -> list[keras.layers.Layer]:
    """The Keras layers of the hidden entry `index` of a table.

    They are named, because weights-only snapshots are kept by name.
    """
    normed = isinstance(layer, TConv) or layer.batch_norm
    options = dict(
        # No bias where batch norm follows: its gradient would be rounding noise, which Adam
        # blows up to a full step.
        use_bias=not normed,
        activation=None if normed else layer.activation,
        kernel_initializer=glorot(seed + index),
        dtype=dtype,
    )
    if isinstance(layer, Dense):
        linear = keras.layers.Dense(layer.units, name=f'fc_{index}', **options)
    else:
        transposed = isinstance(layer, TConv)
        convolution = keras.layers.Conv2DTranspose if transposed else keras.layers.Conv2D
        linear = convolution(
            layer.channels,
            layer.kernel,
            strides=layer.stride,
            padding='same',
            name=f'conv_{index}',
            **options,
        )
    if not normed:
        return [linear]
    name = f'{layer.activation}_{index}'
    return [
        linear,
        BatchNorm(dtype=dtype, name=f'bn_{index}'),
        keras.layers.Activation(layer.activation, dtype=dtype, name=name),
    ]
