"""FlexAE-SR: FlexAE with smooth interpolations, the variant that its authors released."""

import contextlib

import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import NetworkRole, adam, minimize
from flexae_tf.methods.flexae import FlexAE
from flexae_tf.methods.table import MethodSpec
from flexae_tf.networks.batch_norm import preserve_moving_averages
from flexae_tf.networks.image_critic import ImageCritic
from flexae_tf.noise import Role


class FlexAESR(FlexAE):
    """Algorithm 1 with two additional steps (dair-iitd/FlexAE, FlexAESR.py).

    A second critic C_I, `image_critic`, separates images x from decoded mixes of the codes of two
    images, x_mix = D(alpha E(x) + (1 - alpha) E(x')). A smoothing step trains encoder and decoder
    against it. Their losses are Eqs. 5 and 6 on images.
    """

    priors = ('LearnedPrior',)

    def __init__(self, config: ResolvedConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        self.image_critic = ImageCritic(
            self.architecture, shape=spec.shape, seed=self.weight_seed(NetworkRole.OTHER)
        )
        self.image_critic_optimizer = adam(
            config.smooth_learning_rate,
            0.5,
            0.9,
            self.image_critic.trainable_variables,
            'image_critic',
        )
        self.smooth_optimizer = adam(
            config.smooth_learning_rate, 0.5, 0.9, self.autoencoder_variables, 'smooth'
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """See `Method.tags`."""
        return (
            *super().tags,
            'loss/smooth',
            'grad_norm/smooth',
            'loss/image_critic',
            'loss/image_gradient_penalty',
            'image/wasserstein',
            'grad_norm/image_critic',
        )

    @property
    def batches_per_step(self) -> int:
        """The batch of the auto-encoder step, and two per critic step: x, and x' of the mixes.

        If the critic steps share the auto-encoder's batch, only that batch and one x'.
        """
        return 1 + 2 * self.critic_steps if self.config.critic_batches == 'fresh' else 2

    def train_step(self, batches: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Minimizes L_AE, `critic_steps` times both critics' losses, L_smooth, L_Gen, L_Enc."""
        divergence, weight = self.divergence, self.config.gradient_penalty_weight

        # 1. Minimize L_AE (Eq. 4) and update phi, theta.
        x = batches[0]
        num = x.shape[0]
        with tf.GradientTape() as tape:
            x_hat = self.decoder(self.encoder(x, training=True), training=True)
            ae_loss = losses.reconstruction(x, x_hat)
        ae_norm = minimize(ae_loss, tape, self.ae_optimizer, self.autoencoder_variables)

        # 2. `critic_steps` times:
        fresh = self.config.critic_batches == 'fresh'
        for i in range(self.critic_steps):
            if fresh or i == 0:
                first = 1 + 2 * i if fresh else 0
                x = batches[first]
                with tf.GradientTape() as smooth_tape:
                    z = self.encoder(x, training=True)
                    z_other = self.encoder(batches[first + 1], training=True)
            noise_key = self.key(step, Role.CRITIC_NOISE, i)
            key = self.key(step, Role.CRITIC_MIX, i)
            z_hat = self.prior.sample_with_key(num, noise_key)

            # 2a. Minimize L_Critic (Eq. 5) and update kappa.
            mix = noise.uniform(key, [num, 1])
            with tf.GradientTape() as tape:
                critic_loss, distance = divergence.critic_loss(self.critic, z, z_hat)
                penalty = losses.gradient_penalty(self.critic, z, z_hat, mix)
                critic_loss += weight * penalty
            kappa = self.critic.trainable_variables
            critic_norm = minimize(critic_loss, tape, self.critic_optimizer, kappa)

            # 2b. Minimize mean C_I(x_mix) - mean C_I(x) + weight * penalty and update C_I.
            mixes = noise.uniform(self.key(step, Role.IMAGE_MIX, i), [num, 2])  # codes, penalty
            with preserve_moving_averages(self.decoder):
                x_mix = self.decoder(_mix_codes(z, z_other, mixes[:, :1]), training=True)
            image_mix = tf.reshape(mixes[:, 1], [-1] + [1] * (x.shape.rank - 1))
            with tf.GradientTape() as tape:
                image_loss = losses.critic_loss(self.image_critic(x), self.image_critic(x_mix))
                image_distance = -image_loss
                image_penalty = losses.gradient_penalty(self.image_critic, x, x_mix, image_mix)
                image_loss += weight * image_penalty
            image_norm = minimize(
                image_loss, tape, self.image_critic_optimizer, self.image_critic.trainable_variables
            )

        # 3. Minimize L_smooth = -mean C_I(x_mix) and update phi, theta, on the images of the last
        #    critic step and new mixes.
        mix = noise.uniform(self.key(step, Role.IMAGE_MIX, self.critic_steps), [num, 1])
        with smooth_tape, self._moving_averages():  # phi has not changed since z was computed
            x_mix = self.decoder(_mix_codes(z, z_other, mix), training=True)
            smooth_loss = losses.generator_loss(self.image_critic(x_mix))
        smooth_norm = minimize(
            smooth_loss, smooth_tape, self.smooth_optimizer, self.autoencoder_variables
        )

        # 4. Minimize L_Gen (Eq. 6) and update psi, on the noise of the last critic step.
        with tf.GradientTape() as tape:
            z_hat_gen = self.prior.sample_with_key(num, noise_key)
            gen_loss = divergence.generator_loss(self.critic, z, z_hat_gen, key)
        psi = self.generator.trainable_variables
        gen_norm = minimize(gen_loss, tape, self.gen_optimizer, psi)

        # 5. Minimize L_Enc (Eq. 7) and update phi, on the images of the last critic step. They are
        #    encoded again, because the smoothing step changed phi.
        with tf.GradientTape() as tape:
            z = self.encoder(x, training=True)
            enc_loss = divergence.encoder_loss(self.critic, z, z_hat, key)
        phi = self.encoder.trainable_variables
        enc_norm = minimize(enc_loss, tape, self.enc_optimizer, phi)

        if self.config.bn_mix_generated:
            # Only moves the batch-norm averages of the decoder.
            self.decoder(self.prior.sample_with_key(num, noise_key), training=True)
        return {
            'loss/ae': ae_loss,
            'grad_norm/ae': ae_norm,
            'loss/critic': critic_loss,
            'loss/gradient_penalty': penalty,
            divergence.tag: distance,
            'grad_norm/critic': critic_norm,
            'loss/image_critic': image_loss,
            'loss/image_gradient_penalty': image_penalty,
            'image/wasserstein': image_distance,
            'grad_norm/image_critic': image_norm,
            'loss/smooth': smooth_loss,
            'grad_norm/smooth': smooth_norm,
            'loss/gen': gen_loss,
            'grad_norm/gen': gen_norm,
            'loss/enc': enc_loss,
            'grad_norm/enc': enc_norm,
        }

    def _moving_averages(self) -> contextlib.AbstractContextManager:
        """Returns the context in which the smoothing step decodes mixes.

        Mixes are decoded with batch statistics, like in the released code and in the auto-encoder
        step. With moving averages, the smoothing step would train another function of the same
        weights; the initial averages do not belong to any batch. The averages follow
        reconstructions only, except with `--bn_mix_generated`. Then they also move in the smoothing
        step, but not in critic steps: once for reconstructions, once for mixes, once for generated
        codes, the proportions of the released code.
        """
        kept = not self.config.bn_mix_generated
        return preserve_moving_averages(self.decoder) if kept else contextlib.nullcontext()


def _mix_codes(z: tf.Tensor, z_other: tf.Tensor, mix: tf.Tensor) -> tf.Tensor:
    """Interpolates two codes [batch, latent_dim] by mix in [0, 1], [batch, 1]."""
    return mix * z + (1.0 - mix) * z_other
