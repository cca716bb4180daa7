"""Variational auto-encoders: VAE and beta-VAE."""

import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import Method, adam, minimize
from flexae_tf.networks.autoencoder import Decoder, GaussianEncoder
from flexae_tf.networks.tables import choose_row
from flexae_tf.noise import Role

# A variance outside of e^-10 .. e^10 is a training that is about to fail; there its gradient ends.
LOG_VARIANCE_LIMIT = 10.0


class Vae(Method):
    """A VAE with a Gaussian decoder of unit variance (Kingma and Welling 2014).

    Minimizes |x - x_hat|^2 / 2 + kl_weight KL(q(z given x) || N(0, I)), with one z per image. With
    a weight below 1 it is the beta-VAE of Table 1: the same as a decoder of variance `kl_weight`.
    """

    tags = ('loss/ae', 'loss/kl', 'loss/total', 'grad_norm/ae')

    def __init__(self, config: TrainConfig, spec: DatasetSpec) -> None:
        super().__init__(config, spec)
        row = choose_row(config, spec.shape)
        dtype = 'mixed_bfloat16' if config.precision == 'mixed_bfloat16' else 'float32'
        seeds = noise.integers(noise.key(config.seed, 0, Role.WEIGHTS), [4], 2**31 - 64)
        e, d, *_ = (int(seed) for seed in seeds)  # as FlexAE's, for equal initial weights
        options = dict(shape=spec.shape, latent_dim=config.latent_dim, dtype=dtype)
        self.encoder = GaussianEncoder(row, seed=e, **options)
        self.decoder = Decoder(row, seed=d, **options)
        self._kl_weight = config.kl_weight or 1.0
        self.ae_optimizer = adam(config.ae_learning_rate, 0.9, 0.999, self._variables, 'ae')

    @property
    def _variables(self) -> list:
        return self.encoder.trainable_variables + self.decoder.trainable_variables

    def train_step(self, blocks: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step of Adam on the weighted evidence bound."""
        x = blocks[0]
        with tf.GradientTape() as tape:
            mean, log_variance = self.posterior(x, training=True)
            z = _draw(mean, log_variance, self.key(step, Role.POSTERIOR))
            ae_loss = losses.reconstruction(x, self.decoder(z, training=True))
            kl = losses.normal_divergence(mean, log_variance)
            total = 0.5 * ae_loss + self._kl_weight * kl
        norm = minimize(total, tape, self.ae_optimizer, self._variables)
        return {'loss/ae': ae_loss, 'loss/kl': kl, 'loss/total': total, 'grad_norm/ae': norm}

    def posterior(self, x: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and log variance [batch, latent_dim] of q(z given x)."""
        mean, log_variance = self.encoder(x, training=training)
        limit = LOG_VARIANCE_LIMIT
        return mean, tf.clip_by_value(log_variance, -limit, limit)

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """The mean of q(z given x) [batch, latent_dim]."""
        return self.posterior(x, training=False)[0]

    def sample_posterior(self, x: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """A draw from q(z given x) [batch, latent_dim]."""
        return _draw(*self.posterior(x, training=False), noise.key(seed, 0, Role.POSTERIOR))

    def sample_latent(self, num: int | tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """z ~ N(0, I): [num, latent_dim]."""
        return noise.normal(noise.key(seed, 0, Role.SAMPLE), [num, self.options.latent_dim])


def _draw(mean: tf.Tensor, log_variance: tf.Tensor, key: noise.Key) -> tf.Tensor:
    shape = [tf.shape(mean)[0], mean.shape[1]]
    return mean + tf.exp(0.5 * log_variance) * noise.normal(key, shape)
