"""WAE-GAN: a Wasserstein auto-encoder with an adversarial penalty on codes."""

import functools

import keras
import tensorflow as tf

from flexae_tf import losses
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import (
    Method,
    NetworkRole,
    adam,
    minimize,
    piecewise_constant,
)
from flexae_tf.methods.table import MethodSpec
from flexae_tf.networks.autoencoder import Encoder
from flexae_tf.networks.latent import Discriminator
from flexae_tf.noise import Role


class Wae(Method):
    """WAE-GAN (Tolstikhin et al. 2018, Algorithm 1).

    Encoder and decoder minimize |x - x_hat|^2 + adversarial_weight * (cross-entropy of the
    discriminator with the label of the prior). Then the discriminator is trained on the same codes
    and as many samples of the prior. With `--discriminator=celeba` its logit is the output of the
    network plus ln p(z) of the prior, so that the network only has to learn the density of codes.
    The authors lower the learning rates manually; here they are halved after 30 % of the iterations
    and reduced to a tenth after 50 %.
    """

    tags = ('loss/ae', 'loss/critic', 'loss/enc', 'grad_norm/ae', 'grad_norm/critic')

    def __init__(self, config: ResolvedConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        # One optimizer minimizes the sum, so that a bias of the codes has an adversarial gradient.
        self.build_autoencoder(functools.partial(Encoder, code_bias=True))
        self.known_prior = config.discriminator == 'celeba'
        self.discriminator = Discriminator(
            units=1024 if self.known_prior else 512,
            latent_dim=config.latent_dim,
            seed=self.weight_seed(NetworkRole.CRITIC),
        )
        self.ae_optimizer = adam(
            self._rate(config.ae_learning_rate), 0.5, 0.999, self.autoencoder_variables, 'ae'
        )
        self.critic_optimizer = adam(
            self._rate(config.critic_learning_rate),
            0.5,
            0.999,
            self.discriminator.trainable_variables,
            'critic',
        )

    def _rate(self, start: float) -> keras.optimizers.schedules.LearningRateSchedule:
        return piecewise_constant(start, self.config.training_steps, ((0.3, 1 / 2), (0.5, 1 / 10)))

    def train_step(self, batches: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Updates the auto-encoder, then the discriminator on the same codes."""
        x = batches[0]
        with tf.GradientTape() as tape:
            z = self.encoder(x, training=True)
            ae_loss = losses.reconstruction(x, self.decoder(z, training=True))
            enc_loss = losses.sigmoid_cross_entropy(self.logit(z), real=True)
            total = ae_loss + self.config.adversarial_weight * enc_loss
        ae_norm = minimize(total, tape, self.ae_optimizer, self.autoencoder_variables)

        z_hat = self.prior.sample_with_key(x.shape[0], self.key(step, Role.CRITIC_NOISE))
        with tf.GradientTape() as tape:
            critic_loss = losses.sigmoid_cross_entropy(self.logit(z_hat), real=True)
            critic_loss += losses.sigmoid_cross_entropy(self.logit(z), real=False)
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

    def logit(self, z: tf.Tensor) -> tf.Tensor:
        """Returns the logit [n, 1] of the probability that codes [n, m] are from the prior."""
        logit = self.discriminator(z)
        return logit + self.prior.log_prob(z)[:, None] if self.known_prior else logit
