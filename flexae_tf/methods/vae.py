"""Variational auto-encoders: VAE, beta-VAE, VampPrior, two flows, first stage of 2-S VAE."""

import functools
import math

import keras
import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import UsageError
from flexae_tf.methods.base import (
    LOG_VARIANCE_LIMITS,
    Method,
    NetworkRole,
    adam,
    linear_warmup,
    minimize,
    piecewise_constant,
    sample_normal,
)
from flexae_tf.methods.table import MethodSpec
from flexae_tf.networks.autoencoder import CONTEXT, FlowEncoder, GaussianEncoder
from flexae_tf.networks.flow import InverseAutoregressiveFlow, MaskedAutoregressiveFlow
from flexae_tf.noise import Role
from flexae_tf.priors import FlowPrior, Prior, StandardNormal, VampPrior, normal_log_prob

# Narrower limits of VampPrior's authors, whose prior is a mixture of posteriors.
VAMP_LOG_VARIANCE_LIMITS = (-6.0, 2.0)


class Vae(Method):
    """A VAE (Kingma and Welling 2014) and its variants in Table 1.

    Minimizes |x - x_hat|^2 / 2 + kl_weight KL(q(z given x) || p(z)), with one z per image and a
    Gaussian decoder of unit variance. With a weight below 1 it is the beta-VAE of Table 1,
    equivalent to a decoder of variance `kl_weight`.

    - The divergence has a closed form for a Gaussian posterior and the prior N(0, I). Otherwise it
      is estimated by ln q(z given x) - ln p(z) at the z that is decoded.
    - With `VampPrior` its weight rises from 0 to `kl_weight` (1 if not set) over the first tenth of
      the iterations. The pseudo-inputs have the shape of an example; the same encoder, in inference
      mode, encodes them.
    - A flow posterior transforms the Gaussian sample by an inverse autoregressive flow. With
      `FlowPrior` the posterior is Gaussian, and the prior a masked autoregressive flow.
    - With a learned scale the decoder's variance is a parameter (Dai and Wipf 2019), and the
      learning rate is halved after each third of the iterations.
    """

    priors = ('VampPrior', 'FlowPrior', *Method.priors)
    pseudo_inputs: keras.Variable | None = None
    log_variance_limits = LOG_VARIANCE_LIMITS

    def __init__(self, config: ResolvedConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        flow = method_spec.posterior == 'flow'
        self.build_autoencoder(
            functools.partial(
                FlowEncoder if flow else GaussianEncoder,
                mean_bias=method_spec.prior != 'VampPrior',  # encodes its pseudo-inputs
            )
        )
        self.flow: InverseAutoregressiveFlow | None = None
        if flow:
            self.flow = InverseAutoregressiveFlow(
                config.latent_dim, context_dim=CONTEXT, seed=self.weight_seed(NetworkRole.OTHER)
            )
        self.log_scale = None
        rate = config.ae_learning_rate
        if method_spec.learned_scale:
            self.log_scale = self.add_weight(shape=(), initializer='zeros', name='log_scale')
            rate = piecewise_constant(rate, config.training_steps, ((1 / 3, 1 / 2), (2 / 3, 1 / 4)))
        self.ae_optimizer = adam(rate, 0.9, 0.999, self.trainable_variables, 'ae')

    def build_prior(self) -> Prior | None:
        """See `Method.build_prior`."""
        if self.method_spec.prior == 'VampPrior':
            if self.config.num_pseudo_inputs is None:
                raise UsageError(
                    f'--num_pseudo_inputs: missing, --method={self.config.method} has the prior '
                    'VampPrior. Give it.'
                )
            self.log_variance_limits = VAMP_LOG_VARIANCE_LIMITS
            self.pseudo_inputs = self._new_pseudo_inputs()
            return VampPrior(self._pseudo_posteriors)
        if self.method_spec.prior == 'FlowPrior':
            size = self.config.latent_dim
            self.prior_flow = MaskedAutoregressiveFlow(
                size, seed=self.weight_seed(NetworkRole.OTHER)
            )
            return FlowPrior(self.prior_flow, size)
        return super().build_prior()

    @property
    def tags(self) -> tuple[str, ...]:
        """See `Method.tags`."""
        scale = ('decoder/log_scale',) if self.method_spec.learned_scale else ()
        return ('loss/ae', 'loss/kl', 'loss/total', 'grad_norm/ae', *scale)

    def train_step(self, batches: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Takes one step of Adam on the weighted evidence lower bound."""
        x = batches[0]
        with tf.GradientTape() as tape:
            z, kl = self._sample_with_divergence(x, self.key(step, Role.POSTERIOR))
            ae_loss = losses.reconstruction(x, self.decoder(z, training=True))
            total = self._distortion(ae_loss) + self._kl_weight(step) * kl
        norm = minimize(total, tape, self.ae_optimizer, self.trainable_variables)
        values = {'loss/ae': ae_loss, 'loss/kl': kl, 'loss/total': total, 'grad_norm/ae': norm}
        return values if self.log_scale is None else values | {'decoder/log_scale': self._log_scale}

    def posterior(self, x: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, ...]:
        """Returns mean and log variance [batch, latent_dim], then the context of a flow."""
        mean, log_variance, *context = self.encoder(x, training=training)
        return mean, tf.clip_by_value(log_variance, *self.log_variance_limits), *context

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the mean of the Gaussian [batch, latent_dim], transformed by the flow if any."""
        mean, _, *context = self.posterior(x, training=False)
        return self.flow([mean, *context])[0] if self.flow else mean

    def sample_posterior(self, x: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """Samples codes [batch, latent_dim] from q(z given x)."""
        mean, log_variance, *context = self.posterior(x, training=False)
        z = sample_normal(mean, log_variance, noise.key(seed, 0, Role.POSTERIOR))
        return self.flow([z, *context])[0] if self.flow else z

    def _sample_with_divergence(self, x: tf.Tensor, key: noise.Key) -> tuple[tf.Tensor, tf.Tensor]:
        """Samples z from q(z given x) in training mode; also returns the mean divergence."""
        mean, log_variance, *context = self.posterior(x, training=True)
        z = sample_normal(mean, log_variance, key)
        if not self.flow and isinstance(self.prior, StandardNormal):
            return z, losses.kl_to_standard_normal(mean, log_variance)
        log_q = normal_log_prob(z, mean, log_variance)
        if self.flow:
            z, log_determinant = self.flow([z, *context])
            log_q -= log_determinant
        return z, tf.reduce_mean(log_q - self.prior.log_prob(z))

    def _distortion(self, ae_loss: tf.Tensor) -> tf.Tensor:
        """Returns minus the log likelihood, without its constant if the variance is 1."""
        if self.log_scale is None:
            return 0.5 * ae_loss
        return losses.gaussian_nll(ae_loss, self._log_scale, size=math.prod(self.spec.shape))

    @property
    def _log_scale(self) -> tf.Tensor:
        return losses.limited_log_scale(self.log_scale)

    def _kl_weight(self, step: tf.Tensor) -> tf.Tensor | float:
        weight = self.config.kl_weight or 1.0
        if self.pseudo_inputs is None:
            return weight
        return weight * linear_warmup(step, self.config.training_steps)

    def _new_pseudo_inputs(self) -> keras.Variable:
        low, high = self.spec.value_range
        # Near the lower end of the range, as in the authors' code; outside there is no gradient.
        initializer = keras.initializers.RandomNormal(
            low + 0.05 * (high - low), 0.01 * (high - low), seed=self.weight_seed(NetworkRole.OTHER)
        )
        shape = (self.config.num_pseudo_inputs, *self.spec.shape)
        return self.add_weight(shape=shape, initializer=initializer, name='pseudo_inputs')

    def _pseudo_posteriors(self) -> tuple[tf.Tensor, tf.Tensor]:
        inputs = tf.clip_by_value(self.pseudo_inputs, *self.spec.value_range)
        return self.posterior(inputs, training=False)
