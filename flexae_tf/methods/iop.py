"""VAE with the implicit optimal prior: the aggregated posterior, by a density ratio."""

import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import (
    LOG_VARIANCE_LIMITS,
    Method,
    NetworkRole,
    adam,
    all_gather_batch,
    linear_warmup,
    minimize,
    sample_normal,
)
from flexae_tf.methods.table import MethodSpec
from flexae_tf.networks.autoencoder import GaussianEncoder
from flexae_tf.networks.latent import RatioEstimator
from flexae_tf.noise import Role
from flexae_tf.priors import ImplicitPrior


class Iop(Method):
    """VAE with the implicit optimal prior (Takahashi et al. 2019).

    The optimal prior of a VAE is its aggregated posterior q(z), the mean over images of
    q(z given x). KL(q(z given x) || q(z)) is KL(q(z given x) || N(0, I)) minus the mean of
    ln q(z) - ln N(z; 0, I). A classifier of z ~ q(z) and z ~ N(0, I) estimates it as its logit T.

    An iteration is a step of the auto-encoder on |x - x_hat|^2 / 2 + w (KL - T(z)) and
    `critic_steps` steps of the classifier, each on new codes. The weight w rises from 0 to
    `kl_weight` (1 if not set) over the first tenth of the training. The authors alternate one epoch
    of the auto-encoder and ten of the classifier, the same proportion.

    Their code does not sample. Here codes are sampled from the prior, N(0, I) exp(T) normalized, by
    importance resampling.
    """

    LIMIT = 20.0  # of the logit, so that an inaccurate ratio cannot dominate

    priors = ('ImplicitPrior',)

    tags = (
        'loss/ae',
        'loss/kl',
        'loss/total',
        'grad_norm/ae',
        'loss/critic',
        'grad_norm/critic',
        'latent/kl',
        'latent/normalized_ess',
    )

    def __init__(self, config: ResolvedConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        self.build_autoencoder(GaussianEncoder)
        self.ratio = RatioEstimator(
            latent_dim=config.latent_dim, seed=self.weight_seed(NetworkRole.CRITIC)
        )
        self.ae_optimizer = adam(
            config.ae_learning_rate, 0.9, 0.999, self.autoencoder_variables, 'ae'
        )
        self.critic_optimizer = adam(
            config.critic_learning_rate, 0.9, 0.999, self.ratio.trainable_variables, 'critic'
        )

    def build_prior(self) -> ImplicitPrior:
        """See `Method.build_prior`."""
        return ImplicitPrior(self.log_ratio, self.config.latent_dim)

    @property
    def batches_per_step(self) -> int:
        """The batch of the auto-encoder step, and one per classifier step unless they share it."""
        return 1 + self.config.critic_steps if self.config.critic_batches == 'fresh' else 1

    def train_step(self, batches: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Updates the auto-encoder, then `critic_steps` times the classifier."""
        # 1. Minimize |x - x_hat|^2 / 2 + w (KL - T(z)) and update encoder and decoder.
        x = batches[0]
        with tf.GradientTape() as tape:
            mean, log_variance = self.posterior(x, training=True)
            z = sample_normal(mean, log_variance, self.key(step, Role.POSTERIOR))
            ae_loss = losses.reconstruction(x, self.decoder(z, training=True))
            kl = losses.kl_to_standard_normal(mean, log_variance)
            log_ratio = tf.reduce_mean(self.log_ratio(z))  # its gradient reaches z, not T's weights
            weight = self.config.kl_weight or 1.0
            weight *= linear_warmup(step, self.config.training_steps)
            total = 0.5 * ae_loss + weight * (kl - log_ratio)
        ae_norm = minimize(total, tape, self.ae_optimizer, self.autoencoder_variables)

        # 2. Minimize the cross-entropy of z ~ q(z) and z ~ N(0, I) and update T.
        fresh = self.config.critic_batches == 'fresh'
        for i in range(self.config.critic_steps):
            if fresh or i == 0:
                # In training mode, although this moves the averages: T is needed at the codes of
                # the step above, which are computed with batch statistics.
                x = batches[1 + i] if fresh else x
                mean, log_variance = self.posterior(x, training=True)
            z = sample_normal(mean, log_variance, self.key(step, Role.POSTERIOR, 1 + i))
            n = noise.normal(self.key(step, Role.CRITIC_NOISE, i), z.shape)
            keep, keep_n = self._keep(z, step, 2 * i), self._keep(n, step, 2 * i + 1)
            with tf.GradientTape() as tape:
                critic_loss = losses.sigmoid_cross_entropy(self.ratio(z, keep), real=True)
                critic_loss += losses.sigmoid_cross_entropy(self.ratio(n, keep_n), real=False)
            critic_norm = minimize(
                critic_loss, tape, self.critic_optimizer, self.ratio.trainable_variables
            )
        return {
            'loss/ae': ae_loss,
            'loss/kl': kl,
            'loss/total': total,
            'grad_norm/ae': ae_norm,
            'loss/critic': critic_loss,
            'grad_norm/critic': critic_norm,
            'latent/kl': log_ratio,  # T's estimate of KL(q(z) || N(0, I))
            # 1 / n if importance resampling always selects the same candidate.
            'latent/normalized_ess': losses.normalized_ess(all_gather_batch(self.log_ratio(n))),
        }

    def posterior(self, x: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns mean and log variance [batch, latent_dim] of q(z given x)."""
        mean, log_variance = self.encoder(x, training=training)
        return mean, tf.clip_by_value(log_variance, *LOG_VARIANCE_LIMITS)

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the mean of the posterior [batch, latent_dim]."""
        return self.posterior(x, training=False)[0]

    def sample_posterior(self, x: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """Samples codes [batch, latent_dim] from q(z given x)."""
        return sample_normal(*self.posterior(x, training=False), noise.key(seed, 0, Role.POSTERIOR))

    def log_ratio(self, z: tf.Tensor) -> tf.Tensor:
        """Returns T, the estimate of ln q(z) - ln N(z; 0, I) [n, 1], at codes [n, latent_dim]."""
        return tf.clip_by_value(self.ratio(z), -self.LIMIT, self.LIMIT)

    def _keep(self, z: tf.Tensor, step: tf.Tensor, index: int) -> tf.Tensor:
        """Returns the dropout mask of the classifier's last hidden layer."""
        key = self.key(step, Role.DROPOUT, index)
        return noise.dropout(key, [z.shape[0], self.ratio.UNITS], rate=self.ratio.DROPOUT)
