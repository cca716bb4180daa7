"""Autoregressive flows of masked perceptrons: a posterior (inverse) and a density of codes."""

import keras
import numpy as np
import tensorflow as tf

STEPS = 4
HIDDEN = (512, 512)
# Initial gates are near 0.82, so that every step is near the identity; otherwise training diverges.
GATE_BIAS = 1.5
# Factor of the outputs of a density's perceptrons, as in the authors' code, so that every step is
# near the identity initially.
DENSITY_FACTOR = 0.1


class InverseAutoregressiveFlow(keras.Model):
    """(z_0, context) -> (z_T, ln |det dz_T/dz_0|), Kingma et al. 2016, Section 4.

    z_t = g z_{t-1} + (1 - g) m, g = sigmoid(s + 1.5). A masked perceptron (Germain et al. 2015)
    computes (m, s). Its coordinate i depends on the coordinates of z_{t-1} before i (with more than
    512, on some of them) and on the whole context. The order of coordinates is reversed between
    steps.

    The input is a list of [batch, latent_dim] and [batch, context_dim], the output a list of
    [batch, latent_dim] and [batch]. Always float32.

    Args:
        latent_dim: m.
        context_dim: size of the context.
        seed: seed of the initial weights.
    """

    def __init__(self, latent_dim: int, *, context_dim: int, seed: int) -> None:
        start, context = keras.Input([latent_dim]), keras.Input([context_dim])
        z, log_determinant = start, 0.0
        for step in range(STEPS):
            if step:
                z = keras.ops.flip(z, axis=1)
            mean, score = _masked_perceptron(z, context, seed=seed + 8 * step, name=f'step_{step}')
            gate = keras.ops.sigmoid(score + GATE_BIAS)
            z = gate * z + (1.0 - gate) * mean
            log_gate = -keras.ops.softplus(-(score + GATE_BIAS))
            log_determinant += keras.ops.sum(log_gate, axis=1)
        super().__init__([start, context], [z, log_determinant], name='flow')


class MaskedAutoregressiveFlow(keras.Model):
    """z -> (u, ln |det du/dz|), a density of z if u ~ N(0, I); Papamakarios et al. 2017.

    A step is u = (z - m) exp(-s). A masked perceptron of z without context computes (m, s), with
    the connections of `InverseAutoregressiveFlow`. Unlike its gates, exp(-s) can also expand, so
    that the density can be narrower than N(0, I). s is between -1 and 1: without limits, rare codes
    have infinite gradients. The density of codes takes one pass, the inverse of a step one pass for
    each coordinate.

    The input is [batch, latent_dim], the output a list of [batch, latent_dim] and [batch]. Always
    float32.

    Args:
        latent_dim: m.
        seed: seed of the initial weights.
    """

    def __init__(self, latent_dim: int, *, seed: int) -> None:
        start = keras.Input([latent_dim])
        z, log_determinant = start, 0.0
        for step in range(STEPS):
            if step:
                z = keras.ops.flip(z, axis=1)
            shift, log_scale = _density_step(latent_dim, seed + 8 * step, f'step_{step}')(z)
            z = (z - shift) * keras.ops.exp(-log_scale)
            log_determinant -= keras.ops.sum(log_scale, axis=1)
        super().__init__(start, [z, log_determinant], name='density_flow')

    def invert(self, u: tf.Tensor) -> tf.Tensor:
        """Returns z [batch, latent_dim] of u [batch, latent_dim]."""
        for step in reversed(range(STEPS)):
            u = _invert_step(self.get_layer(f'step_{step}'), u)
            if step:
                u = tf.reverse(u, axis=[1])
        return u


def _density_step(latent_dim: int, seed: int, name: str) -> keras.Model:
    """Returns z -> (m, s), [batch, latent_dim] each."""
    z = keras.Input([latent_dim])
    shift, score = _masked_perceptron(z, None, seed=seed, name=name)
    log_scale = keras.ops.tanh(DENSITY_FACTOR * score)
    return keras.Model(z, [DENSITY_FACTOR * shift, log_scale], name=name)


def _invert_step(step: keras.Model, u: tf.Tensor) -> tf.Tensor:
    """Returns z = u exp(s) + m, where (m, s) of a coordinate depend on the coordinates before."""
    coordinates = tf.range(u.shape[1])

    def set_coordinate(i: tf.Tensor, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = step(z)
        return i + 1, tf.where(coordinates == i, u * tf.exp(log_scale) + shift, z)

    return tf.while_loop(lambda i, _: i < u.shape[1], set_coordinate, (0, tf.zeros_like(u)))[1]


class MaskedDense(keras.layers.Layer):
    """A fully connected layer without some of its connections.

    Args:
        mask: 1 for a connection of input i with output j, else 0: [inputs, outputs].
        seed: seed of the initial weights.
        name: name of the layer.
    """

    def __init__(self, mask: np.ndarray, *, seed: int, name: str) -> None:
        super().__init__(dtype='float32', name=name)
        self.connections = mask.astype(np.float32)
        self._initializer = keras.initializers.GlorotNormal(seed)

    def build(self, input_shape: tuple) -> None:
        """Creates kernel and bias; the weights of missing connections exist but are not used."""
        del input_shape
        self.kernel = self.add_weight(
            shape=self.connections.shape, initializer=self._initializer, name='kernel'
        )
        self.bias = self.add_weight(
            shape=self.connections.shape[1:], initializer='zeros', name='bias'
        )

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Maps [batch, inputs] to [batch, outputs]."""
        return keras.ops.matmul(inputs, self.kernel * self.connections) + self.bias


def _masked_perceptron(
    z: keras.KerasTensor, context: keras.KerasTensor | None, *, seed: int, name: str
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Returns (m, s), [batch, latent_dim] each; coordinate i depends on coordinates before i."""
    latent_dim = z.shape[1]
    degrees = np.arange(1, latent_dim + 1)
    hidden, input_degrees = z, degrees
    for index, units in enumerate(HIDDEN, start=1):
        # From 0: units that do not depend on z pass the context to the first coordinate.
        unit_degrees = np.arange(units) % latent_dim
        if latent_dim > units:  # spread over all coordinates
            unit_degrees = np.linspace(0, latent_dim - 1, units).astype(int)
        layer = MaskedDense(
            unit_degrees >= input_degrees[:, None], seed=seed + index, name=f'{name}_fc_{index}'
        )
        hidden = layer(hidden)
        if index == 1 and context is not None:
            hidden += keras.layers.Dense(
                units,
                use_bias=False,
                kernel_initializer=keras.initializers.GlorotNormal(seed),
                dtype='float32',
                name=f'{name}_context',
            )(context)
        hidden, input_degrees = keras.ops.elu(hidden), unit_degrees
    mask = degrees > input_degrees[:, None]  # strictly: a coordinate does not depend on itself
    mean, score = (
        MaskedDense(mask, seed=seed + 3 + index, name=f'{name}_{output}')(hidden)
        for index, output in enumerate(('mean', 'gate'))
    )
    return mean, score
