"""Keras layers for the entries of the architecture tables."""

import keras

from flexae_tf.networks.architectures import Conv, Dense, TConv
from flexae_tf.networks.batch_norm import BatchNorm


def glorot(seed: int) -> keras.initializers.Initializer:
    """Returns the initializer of every kernel, Glorot normal (Glorot and Bengio 2010)."""
    return keras.initializers.GlorotNormal(seed)


def hidden_layers(
    table: tuple[Conv | Dense, ...], shape: tuple[int, ...], seed: int, dtype: str
) -> list[keras.layers.Layer]:
    """Returns layers from examples to flat features; images are flattened before the first FC.

    Args:
        table: the hidden layers; layer i, counted from 1, has the seed `seed` + i.
        shape: shape of one example.
        seed: seed of the initial weights.
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
    """Returns the Keras layers of one entry of a table.

    Args:
        layer: the entry.
        index: position of the entry, part of the names, by which snapshots store weights.
        seed: seed of the initial weights; `index` is added.
        dtype: Keras dtype policy.
    """
    has_batch_norm = isinstance(layer, TConv) or layer.batch_norm
    options = dict(
        # No bias before batch norm: its gradient would be rounding error, which Adam scales up to
        # a full step.
        use_bias=not has_batch_norm,
        activation=None if has_batch_norm else layer.activation,
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
    if not has_batch_norm:
        return [linear]
    name = f'{layer.activation}_{index}'
    return [
        linear,
        BatchNorm(dtype=dtype, name=f'bn_{index}'),
        keras.layers.Activation(layer.activation, dtype=dtype, name=name),
    ]
