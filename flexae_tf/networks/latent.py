"""Networks that live in latent space: P-GEN and the critic (Tables 5, 7, 8), a discriminator."""

import keras


class _Perceptron(keras.Sequential):
    """Hidden FC layers with ReLU, then a linear one.

    Always float32: the gradient penalty differentiates through the critic twice.
    """

    def __init__(
        self, hidden: tuple[int, ...], *, inputs: int, outputs: int, seed: int, name: str
    ) -> None:
        layers = [
            keras.layers.Dense(
                units,
                activation='relu' if index < len(hidden) else None,
                kernel_initializer=keras.initializers.GlorotNormal(seed + index),
                dtype='float32',
                name=f'fc_{index + 1}',
            )
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
    """z [batch, latent_dim] -> score [batch, 1], unbounded, trained high on codes of images."""

    def __init__(self, hidden: tuple[int, ...], *, latent_dim: int, seed: int) -> None:
        super().__init__(hidden, inputs=latent_dim, outputs=1, seed=seed, name='critic')


class Discriminator(_Perceptron):
    """z [batch, latent_dim] -> logit [batch, 1] of its being from the prior.

    Four layers of 512, as the authors of WAE-GAN have it on MNIST (Tolstikhin et al. 2018).
    """

    def __init__(self, *, latent_dim: int, seed: int) -> None:
        super().__init__((512,) * 4, inputs=latent_dim, outputs=1, seed=seed, name='discriminator')
