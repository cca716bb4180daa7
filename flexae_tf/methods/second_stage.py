"""The second stage of a 2-Stage VAE: a VAE of another method's codes (Dai and Wipf 2019)."""

import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import (
    LOG_VARIANCE_LIMITS,
    Method,
    NetworkRole,
    adam,
    minimize,
    piecewise_constant,
    sample_normal,
)
from flexae_tf.methods.table import MethodSpec
from flexae_tf.networks.latent import SkipPerceptron
from flexae_tf.noise import Role
from flexae_tf.priors import TransformedNormal


class SecondStage(Method):
    """A VAE of the posteriors of a first stage.

    An example is [2 m], mean and log variance of q(z given x); each iteration samples z from it.
    Encoder (z -> u, of the size of z) and decoder are perceptrons whose last layer also receives
    the input. The decoder's variance is a learned scalar, and `decode` returns a mean and a log
    variance. The learning rate is halved after three and six eighths of the iterations, like in the
    authors' code, after 300 and 600 of 800 epochs.
    """

    priors = ('StandardNormal',)

    tags = ('loss/ae', 'loss/kl', 'loss/total', 'grad_norm/ae', 'decoder/log_scale')

    def __init__(self, config: ResolvedConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        size = config.latent_dim
        self.encoder = SkipPerceptron(
            size, outputs=(size, size), seed=self.weight_seed(NetworkRole.ENCODER), name='encoder'
        )
        self.decoder = SkipPerceptron(
            size, outputs=(size,), seed=self.weight_seed(NetworkRole.DECODER), name='decoder'
        )
        self.log_scale = self.add_weight(shape=(), initializer='zeros', name='log_scale')
        drops = ((3 / 8, 1 / 2), (6 / 8, 1 / 4))
        rate = piecewise_constant(config.ae_learning_rate, config.training_steps, drops)
        self.ae_optimizer = adam(rate, 0.9, 0.999, self.trainable_variables, 'ae')

    def train_step(self, batches: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Takes one step of Adam on the evidence lower bound of codes."""
        z = sample_normal(*tf.split(batches[0], 2, axis=1), self.key(step, Role.POSTERIOR, 0))
        with tf.GradientTape() as tape:
            mean, log_variance = self.posterior(z)
            u = sample_normal(mean, log_variance, self.key(step, Role.POSTERIOR, 1))
            ae_loss = losses.reconstruction(z, self.decoder(u))
            kl = losses.kl_to_standard_normal(mean, log_variance)
            log_scale = losses.limited_log_scale(self.log_scale)
            total = losses.gaussian_nll(ae_loss, log_scale, size=z.shape[1]) + kl
        norm = minimize(total, tape, self.ae_optimizer, self.trainable_variables)
        return {
            'loss/ae': ae_loss,
            'loss/kl': kl,
            'loss/total': total,
            'grad_norm/ae': norm,
            'decoder/log_scale': log_scale,
        }

    def posterior(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns mean and log variance [batch, m] of q(u given z)."""
        mean, log_variance = self.encoder(z)
        return mean, tf.clip_by_value(log_variance, *LOG_VARIANCE_LIMITS)

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the mean [batch, m] of q(u given z), z the mean of a posterior [batch, 2 m]."""
        return self.posterior(tf.split(x, 2, axis=1)[0])[0]

    def sample_posterior(self, x: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """Samples u [batch, m] of samples z of posteriors [batch, 2 m]."""
        z = sample_normal(*tf.split(x, 2, axis=1), noise.key(seed, 0, Role.POSTERIOR, 0))
        return sample_normal(*self.posterior(z), noise.key(seed, 0, Role.POSTERIOR, 1))

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        """Returns mean and log variance [batch, 2 m] of p(z given u), of u [batch, m]."""
        mean = self.decoder(z)
        log_variance = 2.0 * losses.limited_log_scale(self.log_scale)
        return tf.concat([mean, tf.fill(tf.shape(mean), log_variance)], axis=1)


class TwoStagePrior(TransformedNormal):
    """A second stage as the prior of the first: z ~ p(z given u), u ~ N(0, I)."""

    def __init__(self, stage: SecondStage) -> None:
        super().__init__(2 * stage.config.latent_dim)
        self._stage = stage

    @property
    def variables(self) -> tuple:
        """Weights of the second stage."""
        return tuple(self._stage.weights)

    def transform(self, n: tf.Tensor) -> tf.Tensor:
        """See `TransformedNormal.transform`: the noise of u, then the noise of z given u."""
        u, n = tf.split(n, 2, axis=1)
        mean, log_variance = tf.split(self._stage.decode(u), 2, axis=1)
        return mean + tf.exp(0.5 * log_variance) * n
