"""VAE with the implicit optimal prior: the aggregated posterior, known by a density ratio."""

import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import (
    LOG_VARIANCE_LIMITS,
    Method,
    MethodSpec,
    NetworkRole,
    adam,
    all_gather_batch,
    draw_normal,
    linear_warmup,
    minimize,
)
from flexae_tf.networks.autoencoder import GaussianEncoder
from flexae_tf.networks.latent import RatioEstimator
from flexae_tf.noise import Role
from flexae_tf.priors import ImplicitPrior


class Iop(Method):
    """VAE with the implicit optimal prior (Takahashi et al. 2019).

    The prior that suits a VAE best is its aggregated posterior q(z), the mean over images of
    q(z given x). KL(q(z given x) || q(z)) is KL(q(z given x) || N(0, I)) minus the mean of
    ln q(z) - ln N(z; 0, I), which a classifier of z ~ q(z) and z ~ N(0, I) learns as its logit T.

    An iteration is a step of the auto-encoder on |x - x_hat|^2 / 2 + w (KL - T(z)), w rising from 0
    to 1 over the first tenth of the training, and `critic_steps` steps of the classifier, each on
    codes that are drawn anew. The authors alternate by epochs, one of the auto-encoder and ten of
    the classifier: the same proportion.

    Their code does not sample. Here codes are drawn from the prior itself, N(0, I) exp(T)
    normalised, by importance resampling.
    """

    LIMIT = 20.0  # of the logit: a ratio that ran ahead of its classifier must not run away

    tags = (
        'loss/ae',
        'loss/kl',
        'loss/total',
        'grad_norm/ae',
        'loss/critic',
        'grad_norm/critic',
        'latent/kl',
        'latent/effective_share',
    )

    def __init__(self, config: TrainConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        self.build_autoencoder(GaussianEncoder)
        self.ratio = RatioEstimator(
            latent_dim=config.latent_dim, seed=self.weight_seed(NetworkRole.CRITIC)
        )
        self.prior = ImplicitPrior(self.log_ratio, config.latent_dim)
        self.ae_optimizer = adam(
            config.ae_learning_rate, 0.9, 0.999, self.autoencoder_variables, 'ae'
        )
        self.critic_optimizer = adam(
            config.critic_learning_rate, 0.9, 0.999, self.ratio.trainable_variables, 'critic'
        )

    @property
    def batches_per_step(self) -> int:
        """The auto-encoder step's batch, and one for each classifier step unless they share it."""
        return 1 + self.config.critic_steps if self.config.critic_batches == 'fresh' else 1

    def train_step(self, blocks: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step of the auto-encoder, then `critic_steps` of the classifier."""
        # 1. Minimize |x - x_hat|^2 / 2 + w (KL - T(z)) and update encoder and decoder.
        x = blocks[0]
        with tf.GradientTape() as tape:
            mean, log_variance = self.posterior(x, training=True)
            z = draw_normal(mean, log_variance, self.key(step, Role.POSTERIOR))
            ae_loss = losses.reconstruction(x, self.decoder(z, training=True))
            kl = losses.kl_to_standard_normal(mean, log_variance)
            log_ratio = tf.reduce_mean(self.log_ratio(z))  # through T into z, not into its weights
            weight = linear_warmup(step, self.config.training_steps)
            total = 0.5 * ae_loss + weight * (kl - log_ratio)
        ae_norm = minimize(total, tape, self.ae_optimizer, self.autoencoder_variables)

        # 2. Minimize the cross-entropy of z ~ q(z) and z ~ N(0, I) and update T.
        fresh = self.config.critic_batches == 'fresh'
        for i in range(self.config.critic_steps):
            if fresh or i == 0:
                # In training mode, although it moves the averages: T must know the codes that the
                # step above sees, whose batch norm is the batch's.
                x = blocks[1 + i] if fresh else x
                mean, log_variance = self.posterior(x, training=True)
            z = draw_normal(mean, log_variance, self.key(step, Role.POSTERIOR, 1 + i))
            n = noise.normal(self.key(step, Role.CRITIC_NOISE, i), z.shape)
            keep, keep_n = self._keep(z, step, 2 * i), self._keep(n, step, 2 * i + 1)
            with tf.GradientTape() as tape:
                critic_loss = losses.sigmoid_cross_entropy(self.ratio(z, keep), real=True)
                critic_loss += losses.sigmoid_cross_entropy(self.ratio(n, keep_n), real=False)
            phi = self.ratio.trainable_variables
            critic_norm = minimize(critic_loss, tape, self.critic_optimizer, phi)
        return {
            'loss/ae': ae_loss,
            'loss/kl': kl,
            'loss/total': total,
            'grad_norm/ae': ae_norm,
            'loss/critic': critic_loss,
            'grad_norm/critic': critic_norm,
            'latent/kl': log_ratio,  # T's estimate of KL(q(z) || N(0, I))
            # 1 / n when a single draw would be taken again and again.
            'latent/effective_share': losses.normalized_ess(all_gather_batch(self.log_ratio(n))),
        }

    def posterior(self, x: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and log variance [batch, latent_dim] of z given x."""
        mean, log_variance = self.encoder(x, training=training)
        return mean, tf.clip_by_value(log_variance, *LOG_VARIANCE_LIMITS)

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """The mean of the Gaussian [batch, latent_dim]."""
        return self.posterior(x, training=False)[0]

    def sample_posterior(self, x: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """A draw from q(z given x) [batch, latent_dim]."""
        return draw_normal(*self.posterior(x, training=False), noise.key(seed, 0, Role.POSTERIOR))

    def log_ratio(self, z: tf.Tensor) -> tf.Tensor:
        """T: the estimate of ln q(z) - ln N(z; 0, I) at codes [n, latent_dim], [n, 1]."""
        return tf.clip_by_value(self.ratio(z), -self.LIMIT, self.LIMIT)

    def _keep(self, z: tf.Tensor, step: tf.Tensor, index: int) -> tf.Tensor:
        """What dropout leaves of the classifier's last hidden layer."""
        key = self.key(step, Role.DROPOUT, index)
        return noise.dropout(key, [z.shape[0], self.ratio.UNITS], rate=self.ratio.DROPOUT)
