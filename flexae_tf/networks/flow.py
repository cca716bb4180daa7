"""An inverse autoregressive flow made of masked perceptrons."""

import keras
import numpy as np

STEPS = 4
HIDDEN = (512, 512)
# Gates begin near 0.82, so that every step begins near the identity; else training diverges.
GATE_BIAS = 1.5


class InverseAutoregressiveFlow(keras.Model):
    """(z_0, context) -> (z_T, ln |det dz_T/dz_0|), Kingma et al. 2016, Section 4.

    z_t = g z_{t-1} + (1 - g) m, g = sigmoid(s + 1.5), with (m, s) of a masked perceptron (Germain
    et al. 2015) whose coordinate i sees the coordinates before i of z_{t-1} and all of the context.
    The order of coordinates is reversed between steps. Call it on a list of [batch, latent_dim] and
    [batch, context_dim]; it returns [batch, latent_dim] and [batch]. Always float32.

    Args:
        latent_dim: m.
        context_dim: size of the context.
        seed: of the initial weights.
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
    """A fully connected layer, some of whose connections are cut.

    Args:
        mask: 1 where input i may reach output j, else 0: [inputs, outputs].
        seed: of the initial weights.
        name: of the layer.
    """

    def __init__(self, mask: np.ndarray, *, seed: int, name: str) -> None:
        super().__init__(dtype='float32', name=name)
        self._mask = mask.astype(np.float32)
        self._initializer = keras.initializers.GlorotNormal(seed)

    def build(self, input_shape: tuple) -> None:
        """Makes kernel and bias; the cut connections have weights that are never seen."""
        del input_shape
        self.kernel = self.add_weight(
            shape=self._mask.shape, initializer=self._initializer, name='kernel'
        )
        self.bias = self.add_weight(shape=self._mask.shape[1:], initializer='zeros', name='bias')

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """[batch, inputs] -> [batch, outputs]."""
        return keras.ops.matmul(inputs, self.kernel * self._mask) + self.bias


def _masked_perceptron(
    z: keras.KerasTensor, context: keras.KerasTensor, *, seed: int, name: str
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """(m, s) [batch, latent_dim] each, of which coordinate i depends on those before i."""
    latent_dim = z.shape[1]
    degrees = np.arange(1, latent_dim + 1)
    hidden, seen = z, degrees
    for index, units in enumerate(HIDDEN, start=1):
        # From 0 on: units that see none of z tell the first coordinate of the context.
        own = np.arange(units) % latent_dim
        layer = MaskedDense(own >= seen[:, None], seed=seed + index, name=f'{name}_fc_{index}')
        hidden = layer(hidden)
        if index == 1:
            hidden += keras.layers.Dense(
                units,
                use_bias=False,
                kernel_initializer=keras.initializers.GlorotNormal(seed),
                dtype='float32',
                name=f'{name}_context',
            )(context)
        hidden, seen = keras.ops.elu(hidden), own
    mask = degrees > seen[:, None]  # strictly: a coordinate does not see itself
    mean, score = (
        MaskedDense(mask, seed=seed + 3 + index, name=f'{name}_{output}')(hidden)
        for index, output in enumerate(('mean', 'gate'))
    )
    return mean, score
