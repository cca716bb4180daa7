"""Inverse autoregressive flow of masked perceptrons."""

import keras
import numpy as np

STEPS = 4
HIDDEN = (512, 512)
# Initial gates are near 0.82, so that every step is near the identity; otherwise training diverges.
GATE_BIAS = 1.5


class InverseAutoregressiveFlow(keras.Model):
    """(z_0, context) -> (z_T, ln |det dz_T/dz_0|), Kingma et al. 2016, Section 4.

    z_t = g z_{t-1} + (1 - g) m, g = sigmoid(s + 1.5). A masked perceptron (Germain et al. 2015)
    computes (m, s). Its coordinate i depends on the coordinates of z_{t-1} before i and on the
    whole context. The order of coordinates is reversed between steps.

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
    z: keras.KerasTensor, context: keras.KerasTensor, *, seed: int, name: str
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Returns (m, s), [batch, latent_dim] each; coordinate i depends on coordinates before i."""
    latent_dim = z.shape[1]
    degrees = np.arange(1, latent_dim + 1)
    hidden, input_degrees = z, degrees
    for index, units in enumerate(HIDDEN, start=1):
        # From 0: units that do not depend on z pass the context to the first coordinate.
        unit_degrees = np.arange(units) % latent_dim
        layer = MaskedDense(
            unit_degrees >= input_degrees[:, None], seed=seed + index, name=f'{name}_fc_{index}'
        )
        hidden = layer(hidden)
        if index == 1:
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
