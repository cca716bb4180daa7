"""Wasserstein auto-encoders whose penalty is a discriminator: WAE-GAN."""

import keras
import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import Method, adam, minimize
from flexae_tf.networks.autoencoder import Decoder, Encoder
from flexae_tf.networks.latent import Discriminator
from flexae_tf.networks.tables import choose_row
from flexae_tf.noise import Role


class Wae(Method):
    """WAE-GAN (Tolstikhin et al. 2018, Algorithm 1), with prior N(0, I).

    Encoder and decoder minimize |x - x_hat|^2 + adversarial_weight * (cross-entropy of the
    discriminator with "this code is from the prior"), then the discriminator learns from the same
    codes and as many draws of the prior. The authors' rates fall by hand; here they are halved
    after 30 % of the iterations and divided by 5 once more after 50 %.
    """

    tags = ('loss/ae', 'loss/critic', 'loss/enc', 'grad_norm/ae', 'grad_norm/critic')

    def __init__(self, config: TrainConfig, spec: DatasetSpec) -> None:
        super().__init__(config, spec)
        row = choose_row(config, spec.shape)
        dtype = 'mixed_bfloat16' if config.precision == 'mixed_bfloat16' else 'float32'
        seeds = noise.integers(noise.key(config.seed, 0, Role.WEIGHTS), [4], 2**31 - 64)
        e, d, _, c = (int(seed) for seed in seeds)  # as FlexAE's, for equal initial weights
        options = dict(shape=spec.shape, latent_dim=config.latent_dim, dtype=dtype)
        self.encoder = Encoder(row, seed=e, **options)
        self.decoder = Decoder(row, seed=d, **options)
        self.discriminator = Discriminator(latent_dim=config.latent_dim, seed=c)
        self.ae_optimizer = adam(
            self._rate(config.ae_learning_rate), 0.5, 0.999, self._autoencoder_variables, 'ae'
        )
        self.critic_optimizer = adam(
            self._rate(config.critic_learning_rate),
            0.5,
            0.999,
            self.discriminator.trainable_variables,
            'critic',
        )

    def _rate(self, start: float) -> keras.optimizers.schedules.LearningRateSchedule:
        steps = self.options.training_steps
        return keras.optimizers.schedules.PiecewiseConstantDecay(
            [3 * steps // 10, steps // 2], [start, start / 2.0, start / 10.0]
        )

    @property
    def _autoencoder_variables(self) -> list:
        return self.encoder.trainable_variables + self.decoder.trainable_variables

    def train_step(self, blocks: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step of the auto-encoder, and one of the discriminator on the same codes."""
        x = blocks[0]
        with tf.GradientTape() as tape:
            z = self.encoder(x, training=True)
            ae_loss = losses.reconstruction(x, self.decoder(z, training=True))
            enc_loss = losses.adversarial(self.discriminator(z), real=True)
            total = ae_loss + self.options.adversarial_weight * enc_loss
        ae_norm = minimize(total, tape, self.ae_optimizer, self._autoencoder_variables)

        z_hat = noise.normal(self.key(step, Role.CRITIC_NOISE), [x.shape[0], z.shape[1]])
        with tf.GradientTape() as tape:
            critic_loss = losses.adversarial(self.discriminator(z_hat), real=True)
            critic_loss += losses.adversarial(self.discriminator(z), real=False)
        critic_norm = minimize(
            critic_loss, tape, self.critic_optimizer, self.discriminator.trainable_variables
        )
        return {
            'loss/ae': ae_loss,
            'loss/critic': critic_loss,
            'loss/enc': enc_loss,
            'grad_norm/ae': ae_norm,
            'grad_norm/critic': critic_norm,
        }

    def sample_latent(self, num: int | tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """z ~ N(0, I): [num, latent_dim]."""
        return noise.normal(noise.key(seed, 0, Role.SAMPLE), [num, self.options.latent_dim])
