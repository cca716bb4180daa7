"""A prior learned after the auto-encoder: P-GEN and critic on codes of a trained encoder."""

import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.methods.base import minimize
from flexae_tf.methods.flexae import LatentMatching
from flexae_tf.noise import Role


class LatentGan(LatentMatching):
    """FlexAE's Eqs. 5 and 6 with a fixed encoder.

    The examples are codes [latent_dim] of another method. P-GEN and critic are the same as in
    FlexAE, so that only the joint training, which the paper argues for, differs.
    """

    priors = ('LearnedPrior',)

    @property
    def batches_per_step(self) -> int:
        """A batch of codes for each critic step."""
        return self.critic_steps

    def train_step(self, batches: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Minimizes L_Critic `critic_steps` times, then L_Gen."""
        divergence, values = self.divergence, {}

        # 1. Minimize L_Critic (Eq. 5) and update kappa, `critic_steps` times.
        for i in range(self.critic_steps):
            z = batches[i]
            noise_key = self.key(step, Role.CRITIC_NOISE, i)
            key = self.key(step, Role.CRITIC_MIX, i)
            z_hat = self.prior.sample_with_key(z.shape[0], noise_key)
            if self.critic:
                with tf.GradientTape() as tape:
                    critic_loss, distance = divergence.critic_loss(self.critic, z, z_hat)
                    if divergence.has_gradient_penalty:
                        mix = noise.uniform(key, [z.shape[0], 1])
                        penalty = losses.gradient_penalty(self.critic, z, z_hat, mix)
                        values['loss/gradient_penalty'] = penalty
                        critic_loss += self.config.gradient_penalty_weight * penalty
                kappa = self.critic.trainable_variables
                values['loss/critic'] = critic_loss
                values['grad_norm/critic'] = minimize(
                    critic_loss, tape, self.critic_optimizer, kappa
                )
            else:
                distance = divergence.distance(None, z, z_hat, key)
            values[divergence.tag] = distance

        # 2. Minimize L_Gen (Eq. 6) and update psi, on the noise of the last critic step.
        with tf.GradientTape() as tape:
            z_hat = self.prior.sample_with_key(z.shape[0], noise_key)
            gen_loss = divergence.generator_loss(self.critic, z, z_hat, key)
        psi = self.generator.trainable_variables
        values['loss/gen'] = gen_loss
        values['grad_norm/gen'] = minimize(gen_loss, tape, self.gen_optimizer, psi)
        return values

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the examples, which are codes already."""
        return x

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        """Returns the codes, which are examples."""
        return z
