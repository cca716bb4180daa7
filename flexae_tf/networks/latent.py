"""Networks in latent space: P-GEN and critic (Tables 5, 7, 8), and networks of the baselines."""

import keras


class _Perceptron(keras.Sequential):
    """Hidden FC layers with ReLU, then a linear layer.

    Variables and activations are float32 in every precision, because the gradient penalty
    differentiates through the critic twice.
    """

    def __init__(
        self, hidden: tuple[int, ...], *, inputs: int, outputs: int, seed: int, name: str
    ) -> None:
        layers = [
            _dense(units, 'relu' if index < len(hidden) else None, seed + index, f'fc_{index + 1}')
            for index, units in enumerate((*hidden, outputs))
        ]
        super().__init__([keras.Input([inputs]), *layers], name=name)


class Generator(_Perceptron):
    """P-GEN: noise [batch, noise_dim] -> z_hat [batch, latent_dim]."""

    def __init__(
        self, hidden: tuple[int, ...], *, noise_dim: int, latent_dim: int, seed: int
    ) -> None:
        super().__init__(hidden, inputs=noise_dim, outputs=latent_dim, seed=seed, name='generator')


class Critic(_Perceptron):
    """z [batch, latent_dim] -> score [batch, 1], unbounded; high for codes of images."""

    def __init__(self, hidden: tuple[int, ...], *, latent_dim: int, seed: int) -> None:
        super().__init__(hidden, inputs=latent_dim, outputs=1, seed=seed, name='critic')


class SkipPerceptron(keras.Model):
    """Three FC_1024 with ReLU, then linear layers on the concatenation of input and output.

    [batch, inputs] -> [batch, size] for each size of `outputs`, like the networks of the second
    stage of Dai and Wipf (2019).

    Args:
        inputs: size of the input.
        outputs: size of each output.
        seed: seed of the initial weights.
        name: prefix of the names of the layers.
    """

    def __init__(self, inputs: int, *, outputs: tuple[int, ...], seed: int, name: str) -> None:
        x = keras.Input([inputs])
        hidden = x
        for index in range(3):
            hidden = _dense(1024, 'relu', seed + index, f'{name}_fc_{index + 1}')(hidden)
        both = keras.layers.Concatenate(dtype='float32')([x, hidden])
        heads = [
            _dense(size, None, seed + 3 + index, f'{name}_out_{index + 1}')(both)
            for index, size in enumerate(outputs)
        ]
        super().__init__(x, heads[0] if len(heads) == 1 else heads, name=name)


class Discriminator(_Perceptron):
    """z [batch, latent_dim] -> logit [batch, 1] of the probability that z is from the prior.

    Four layers, like in WAE-GAN (Tolstikhin et al. 2018).
    """

    def __init__(self, *, units: int, latent_dim: int, seed: int) -> None:
        hidden = (units,) * 4
        super().__init__(hidden, inputs=latent_dim, outputs=1, seed=seed, name='discriminator')


class RatioEstimator(keras.Model):
    """z [batch, latent_dim] -> ln q(z) - ln N(z; 0, I) [batch, 1], a classifier's logit.

    Three layers of 500 with tanh, dropout and a linear layer, like the network of the implicit
    optimal prior (Takahashi et al. 2019). Always float32.

    Args:
        latent_dim: m.
        seed: seed of the initial weights.
    """

    UNITS = 500
    DROPOUT = 0.5  # dropout rate of the last hidden layer in training

    def __init__(self, *, latent_dim: int, seed: int) -> None:
        super().__init__(name='ratio_estimator')
        layers = [_dense(self.UNITS, 'tanh', seed + i, f'fc_{i + 1}') for i in range(3)]
        self.hidden = keras.Sequential([keras.Input([latent_dim]), *layers], name='ratio_hidden')
        self.last = _dense(1, None, seed + 3, 'ratio_last')
        self.last.build([None, self.UNITS])
        self.built = True

    def call(
        self, z: keras.KerasTensor, keep: keras.KerasTensor | None = None
    ) -> keras.KerasTensor:
        """Returns the log ratio.

        Args:
            z: [batch, latent_dim].
            keep: dropout mask of `noise.dropout` [batch, UNITS] in training; None for no dropout.
        """
        hidden = self.hidden(z)
        return self.last(hidden if keep is None else hidden * keep)


def _dense(units: int, activation: str | None, seed: int, name: str) -> keras.layers.Dense:
    return keras.layers.Dense(
        units,
        activation=activation,
        kernel_initializer=keras.initializers.GlorotNormal(seed),
        dtype='float32',
        name=name,
    )
