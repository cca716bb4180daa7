"""MaskAAE: an adversarial auto-encoder with a learned mask of latent dimensions."""

import keras
import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import Method, NetworkRole, all_gather_batch, minimize
from flexae_tf.methods.table import MethodSpec
from flexae_tf.networks.latent import Critic
from flexae_tf.noise import Role
from flexae_tf.priors import MaskedNormal

VARIANCE_WEIGHT = 100.0
# Schedules count in units; a training has 72 units. The authors' unit is min(10000, 112.5 m) of
# 500000 iterations, with which the mask would not polarize within 130000 iterations.
UNITS = 72
DOUBLING = 4  # units after which the weight of the polarization penalty doubles, up to:
MAX_POLARIZATION_WEIGHT = 2048.0
DROP = 5  # units after which the losses of auto-encoder and mask are divided by 5
MAX_INITIAL_WEIGHT = 5.0
ACTIVE = 0.1  # smallest mask of a dimension that counts as active
MASK_WEIGHTS = 1  # index of this noise of Role.WEIGHTS; the networks' seeds use index 0


class MaskAae(Method):
    """MaskAAE (Mondal et al. 2020), with the networks of Tables 6 and 7.

    A mask a = 1 - exp(-v), v >= 0, with one value per latent dimension, multiplies codes and prior:
    z = a * E(x), z_hat = a * n with n ~ N(0, I). An iteration has four parts, each with RMSProp:

    1. encoder and decoder: reconstruction, and the variance of E(x) where the mask is 0;
    2. `critic_steps` times, the critic: WGAN-GP between z and z_hat;
    3. the encoder, against the critic;
    4. the mask: reconstruction, (1 + the critic's distance)^2, and a penalty on values between 0
       and 1, whose weight doubles at regular intervals.

    Reconstruction losses are means over pixels: the cross-entropy for images of one channel, else
    the squared error. The sign of critic and distance follows the FlexAE paper (high for codes of
    images), which is the opposite of the authors' sign.

    The decay of 0.9 and the epsilon of 1e-10 of RMSProp, inside the root, are the defaults of
    TensorFlow 1 (our choice). Its second moment starts at 0 (Keras), not at 1 (TensorFlow 1).
    """

    priors = ('MaskedNormal',)

    tags = (
        'loss/ae',
        'loss/total',
        'loss/critic',
        'loss/gradient_penalty',
        'latent/wasserstein',
        'loss/enc',
        'loss/mask',
        'latent/active_dims',
        'latent/mask_polarization',
        'grad_norm/ae',
        'grad_norm/critic',
        'grad_norm/enc',
        'grad_norm/mask',
    )

    def __init__(self, config: ResolvedConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        self.build_autoencoder()
        self.critic = Critic(
            self.architecture.critic,
            latent_dim=config.latent_dim,
            seed=self.weight_seed(NetworkRole.CRITIC),
        )
        self.mask_weights = self.add_weight(
            shape=(config.latent_dim,),
            initializer=self._initial_mask_weights,
            constraint=keras.constraints.NonNeg(),
            aggregation='only_first_replica',  # the constraint writes the same value on all
            name='mask',
        )
        phi, theta_phi = self.encoder.trainable_variables, self.autoencoder_variables
        kappa = self.critic.trainable_variables
        self.ae_optimizer = rmsprop(config.ae_learning_rate, theta_phi, 'ae')
        self.critic_optimizer = rmsprop(config.critic_learning_rate, kappa, 'critic')
        self.enc_optimizer = rmsprop(config.enc_learning_rate, phi, 'enc')
        self.mask_optimizer = rmsprop(config.ae_learning_rate, [self.mask_weights], 'mask')

    def build_prior(self) -> MaskedNormal:
        """See `Method.build_prior`."""
        return MaskedNormal(self.mask, self.config.latent_dim)

    @property
    def batches_per_step(self) -> int:
        """A batch per step of the four parts, unless they share the batch of the auto-encoder."""
        return 3 + self.config.critic_steps if self.config.critic_batches == 'fresh' else 1

    def train_step(self, batches: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Runs the four parts once."""
        fresh, steps = self.config.critic_batches == 'fresh', self.config.critic_steps
        mask, loss_scale = self.mask(), self.loss_scale(step)

        # 1. The auto-encoder.
        x = batches[0]
        with tf.GradientTape() as tape:
            code = self.encoder(x, training=True)
            x_hat = self.decoder(mask * code, training=True)
            variance = losses.masked_variance(all_gather_batch(code), mask)
            total = self._distortion(x, x_hat) + VARIANCE_WEIGHT * variance
            scaled_total = loss_scale * total
        ae_norm = minimize(scaled_total, tape, self.ae_optimizer, self.autoencoder_variables)

        # 2. The critic.
        for i in range(steps):
            if fresh or i == 0:
                z = mask * self.encoder(batches[1 + i] if fresh else x, training=True)
            z_hat = self.prior.sample_with_key(x.shape[0], self.key(step, Role.CRITIC_NOISE, i))
            mix = noise.uniform(self.key(step, Role.CRITIC_MIX, i), [x.shape[0], 1])
            with tf.GradientTape() as tape:
                distance = self.critic_distance(z, z_hat)
                penalty = losses.gradient_penalty(self.critic, z, z_hat, mix)
                critic_loss = -distance + self.config.gradient_penalty_weight * penalty
            kappa = self.critic.trainable_variables
            critic_norm = minimize(critic_loss, tape, self.critic_optimizer, kappa)

        # 3. The encoder.
        with tf.GradientTape() as tape:
            z = mask * self.encoder(batches[1 + steps] if fresh else x, training=True)
            enc_loss = losses.encoder_loss(self.critic(z))
        phi = self.encoder.trainable_variables
        enc_norm = minimize(enc_loss, tape, self.enc_optimizer, phi)

        # 4. The mask.
        x = batches[2 + steps] if fresh else x
        code = self.encoder(x, training=True)
        key = self.key(step, Role.CRITIC_NOISE, steps)
        with tf.GradientTape() as tape:
            mask = self.mask()
            z, z_hat = mask * code, self.prior.sample_with_key(x.shape[0], key)
            mask_loss = self.config.mask_fidelity_weight * self._distortion(
                x, self.decoder(z, training=True)
            )
            # The square of a mean needs the global batch.
            gap = -losses.critic_loss(
                all_gather_batch(self.critic(z)), all_gather_batch(self.critic(z_hat))
            )
            mask_loss += tf.square(1.0 + gap)
            mask_loss += self.polarization_weight(step) * losses.mask_polarization(mask)
            scaled_mask_loss = loss_scale * mask_loss
        mask_norm = minimize(scaled_mask_loss, tape, self.mask_optimizer, [self.mask_weights])

        mask = self.mask()
        return {
            'loss/ae': losses.reconstruction(batches[0], x_hat),
            'loss/total': total,
            'loss/critic': critic_loss,
            'loss/gradient_penalty': penalty,
            'latent/wasserstein': distance,
            'loss/enc': enc_loss,
            'loss/mask': mask_loss,
            'latent/active_dims': tf.reduce_sum(tf.cast(mask >= ACTIVE, tf.float32)),
            'latent/mask_polarization': losses.mask_polarization(mask),
            'grad_norm/ae': ae_norm,
            'grad_norm/critic': critic_norm,
            'grad_norm/enc': enc_norm,
            'grad_norm/mask': mask_norm,
        }

    def mask(self) -> tf.Tensor:
        """Returns a = 1 - exp(-v), in [0, 1], [latent_dim]."""
        return -tf.math.expm1(-tf.convert_to_tensor(self.mask_weights))

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """Returns masked codes a * E(x) [batch, latent_dim]."""
        return self.mask() * self.encoder(x, training=False)

    def critic_distance(self, z: tf.Tensor, z_hat: tf.Tensor) -> tf.Tensor:
        """Returns the critic's lower bound of the Wasserstein-1 distance of masked codes."""
        return -losses.critic_loss(self.critic(z), self.critic(z_hat))

    def polarization_weight(self, step: tf.Tensor) -> tf.Tensor:
        """Returns c_t: 2 / m at step 0, doubled every `DOUBLING` units."""
        doublings = step * UNITS // (DOUBLING * self.config.training_steps)
        weight = 2.0 / self.config.latent_dim * 2.0 ** tf.cast(doublings, tf.float32)
        return tf.minimum(weight, MAX_POLARIZATION_WEIGHT)

    def loss_scale(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the factor of the losses of auto-encoder and mask: 1, and 1/5 from `DROP` on.

        The authors call it a decay of the learning rate, but updates of RMSProp hardly depend on
        the scale of a loss: only gradients that are not far above the root of epsilon, 1e-5, are
        followed more slowly.
        """
        return tf.where(step * UNITS < DROP * self.config.training_steps, 1.0, 1 / 5)

    def _distortion(self, x: tf.Tensor, x_hat: tf.Tensor) -> tf.Tensor:
        """Returns the reconstruction loss: cross-entropy for gray images, like the authors."""
        gray = self.spec.kind == 'images' and self.spec.shape[-1] == 1
        return losses.cross_entropy(x, x_hat) if gray else losses.mean_squared_error(x, x_hat)

    def _initial_mask_weights(self, shape: tuple, dtype: str | None = None) -> tf.Tensor:
        """Samples v ~ U[0, 5]."""
        key = noise.key(self.config.seed, 0, Role.WEIGHTS, MASK_WEIGHTS)
        return MAX_INITIAL_WEIGHT * noise.uniform(key, shape)


def rmsprop(
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    variables: list,
    name: str,
) -> keras.optimizers.Optimizer:
    """Returns RMSProp for `variables` with the constants of TensorFlow 1."""
    optimizer = keras.optimizers.RMSprop(learning_rate, rho=0.9, epsilon=1e-10, name=name)
    optimizer.build(variables)
    return optimizer
