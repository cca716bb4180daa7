"""MaskAAE: an adversarial auto-encoder that learns which latent dimensions to use."""

import keras
import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import (
    Method,
    MethodSpec,
    NetworkRole,
    all_gather_batch,
    minimize,
    piecewise_constant,
)
from flexae_tf.networks.latent import Critic
from flexae_tf.noise import Role
from flexae_tf.priors import MaskedNormal

VARIANCE_WEIGHT = 100.0
# The authors' schedules, in a unit of their own that fits 72 times into a training here: they have
# min(10000, 112.5 m) of 500000 iterations, by which within 130000 the mask would stay undecided.
UNITS = 72
DOUBLING = 4  # units after which the weight of indecision doubles, up to ...
MAX_INDECISION_WEIGHT = 2048.0
DROP = 5  # units after which the rates of auto-encoder and mask are divided by 5
MAX_INITIAL_WEIGHT = 5.0
ACTIVE = 0.1  # dimensions whose mask is at least this count as used
MASK_WEIGHTS = 1  # tells these draws of Role.WEIGHTS from those of the networks' seeds


class MaskAae(Method):
    """MaskAAE (Mondal et al. 2020), with the networks of Tables 6 and 7.

    A mask a = 1 - exp(-v), v >= 0, one value for each latent dimension, multiplies codes and prior:
    z = a * E(x), z_hat = a * n with n ~ N(0, I). An iteration has four parts, each with RMSProp:

    1. encoder and decoder: reconstruction, and the variance of E(x) where the mask is closed;
    2. `critic_steps` times, the critic: WGAN-GP between z and z_hat;
    3. the encoder, against the critic;
    4. the mask: reconstruction, (1 + the critic's distance)^2, and a penalty on being neither
       closed nor open, whose weight doubles again and again.

    Reconstruction losses are means over pixels: the cross-entropy on images of one channel, else
    the squared error. The critic's sign is that of the paper here (high on codes of images), the
    opposite of the authors', with it that of its distance.

    RMSProp's decay of 0.9 and epsilon of 1e-10, inside the root, are the defaults of TensorFlow 1:
    our choice. Its second moment begins at 0, Keras' way; in TensorFlow 1 it began at 1.
    """

    tags = (
        'loss/ae',
        'loss/total',
        'loss/critic',
        'loss/gradient_penalty',
        'latent/wasserstein',
        'loss/enc',
        'loss/mask',
        'latent/active_dims',
        'latent/indecision',
        'grad_norm/ae',
        'grad_norm/critic',
        'grad_norm/enc',
        'grad_norm/mask',
    )

    def __init__(self, config: TrainConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
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
            aggregation='only_first_replica',  # the constraint writes what is equal on all
            name='mask',
        )
        self.prior = MaskedNormal(self.mask, config.latent_dim)
        falling = piecewise_constant(
            config.ae_learning_rate, config.training_steps, ((DROP / UNITS, 1 / 5),)
        )
        self.ae_optimizer = rmsprop(falling, self.autoencoder_variables, 'ae')
        self.critic_optimizer = rmsprop(
            config.critic_learning_rate, self.critic.trainable_variables, 'critic'
        )
        self.enc_optimizer = rmsprop(
            config.enc_learning_rate, self.encoder.trainable_variables, 'enc'
        )
        self.mask_optimizer = rmsprop(falling, [self.mask_weights], 'mask')

    @property
    def batches_per_step(self) -> int:
        """A batch for each step of the four parts, unless they share the auto-encoder's."""
        return 3 + self.config.critic_steps if self.config.critic_batches == 'fresh' else 1

    def train_step(self, blocks: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """One iteration of the four parts."""
        fresh, steps = self.config.critic_batches == 'fresh', self.config.critic_steps
        mask = self.mask()

        # 1. The auto-encoder.
        x = blocks[0]
        with tf.GradientTape() as tape:
            code = self.encoder(x, training=True)
            x_hat = self.decoder(mask * code, training=True)
            variance = losses.masked_variance(all_gather_batch(code), mask)
            total = self._distortion(x, x_hat) + VARIANCE_WEIGHT * variance
        ae_norm = minimize(total, tape, self.ae_optimizer, self.autoencoder_variables)

        # 2. The critic.
        for i in range(steps):
            if fresh or i == 0:
                z = mask * self.encoder(blocks[1 + i] if fresh else x, training=True)
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
            z = mask * self.encoder(blocks[1 + steps] if fresh else x, training=True)
            enc_loss = losses.encoder_loss(self.critic(z))
        phi = self.encoder.trainable_variables
        enc_norm = minimize(enc_loss, tape, self.enc_optimizer, phi)

        # 4. The mask.
        x = blocks[2 + steps] if fresh else x
        code = self.encoder(x, training=True)
        key = self.key(step, Role.CRITIC_NOISE, steps)
        with tf.GradientTape() as tape:
            mask = self.mask()
            z, z_hat = mask * code, self.prior.sample_with_key(x.shape[0], key)
            mask_loss = self.config.mask_fidelity_weight * self._distortion(
                x, self.decoder(z, training=True)
            )
            # A square of means: of the global batch.
            gap = -losses.critic_loss(
                all_gather_batch(self.critic(z)), all_gather_batch(self.critic(z_hat))
            )
            mask_loss += tf.square(1.0 + gap)
            mask_loss += self.indecision_weight(step) * losses.mask_polarization(mask)
        mask_norm = minimize(mask_loss, tape, self.mask_optimizer, [self.mask_weights])

        mask = self.mask()
        return {
            'loss/ae': losses.reconstruction(blocks[0], x_hat),
            'loss/total': total,
            'loss/critic': critic_loss,
            'loss/gradient_penalty': penalty,
            'latent/wasserstein': distance,
            'loss/enc': enc_loss,
            'loss/mask': mask_loss,
            'latent/active_dims': tf.reduce_sum(tf.cast(mask >= ACTIVE, tf.float32)),
            'latent/indecision': losses.mask_polarization(mask),
            'grad_norm/ae': ae_norm,
            'grad_norm/critic': critic_norm,
            'grad_norm/enc': enc_norm,
            'grad_norm/mask': mask_norm,
        }

    def mask(self) -> tf.Tensor:
        """a = 1 - exp(-v), in [0, 1], [latent_dim]."""
        return -tf.math.expm1(-tf.convert_to_tensor(self.mask_weights))

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """Masked codes a * E(x) [batch, latent_dim]."""
        return self.mask() * self.encoder(x, training=False)

    def critic_distance(self, z: tf.Tensor, z_hat: tf.Tensor) -> tf.Tensor:
        """The critic's lower bound of the Wasserstein-1 distance of masked codes."""
        return -losses.critic_loss(self.critic(z), self.critic(z_hat))

    def indecision_weight(self, step: tf.Tensor) -> tf.Tensor:
        """c_t: 2 / m at first, then doubled every `DOUBLING` units."""
        doublings = step * UNITS // (DOUBLING * self.config.training_steps)
        weight = 2.0 / self.config.latent_dim * 2.0 ** tf.cast(doublings, tf.float32)
        return tf.minimum(weight, MAX_INDECISION_WEIGHT)

    def _distortion(self, x: tf.Tensor, x_hat: tf.Tensor) -> tf.Tensor:
        """What is optimised of a reconstruction: the authors' cross-entropy where it applies."""
        gray = self.spec.kind == 'images' and self.spec.shape[-1] == 1
        return losses.cross_entropy(x, x_hat) if gray else losses.mean_squared_error(x, x_hat)

    def _initial_mask_weights(self, shape: tuple, dtype: str | None = None) -> tf.Tensor:
        """v ~ U[0, 5]."""
        key = noise.key(self.config.seed, 0, Role.WEIGHTS, MASK_WEIGHTS)
        return MAX_INITIAL_WEIGHT * noise.uniform(key, shape)


def rmsprop(
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    variables: list,
    name: str,
) -> keras.optimizers.Optimizer:
    """RMSProp with the constants of TensorFlow 1, built for `variables`."""
    optimizer = keras.optimizers.RMSprop(learning_rate, rho=0.9, epsilon=1e-10, name=name)
    optimizer.build(variables)
    return optimizer
