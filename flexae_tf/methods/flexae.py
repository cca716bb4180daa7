"""FlexAE: a deterministic auto-encoder and its learned latent prior, trained jointly."""

import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import Method, NetworkRole, adam, minimize
from flexae_tf.methods.divergences import DIVERGENCES
from flexae_tf.methods.table import MethodSpec
from flexae_tf.networks.latent import Critic, Generator
from flexae_tf.noise import Role
from flexae_tf.priors import Prior


class LatentMatching(Method):
    """Base of methods that match codes z and prior z_hat by D_Z (`--divergence`).

    E_phi is `encoder`, D_theta `decoder`, G_psi (P-GEN) `generator` and C_kappa `critic`. A fixed
    prior has no generator, and a divergence without a critic (MMD) has no critic.
    """

    priors = ('LearnedPrior', *Method.priors)
    generator: Generator | None = None

    def __init__(self, config: ResolvedConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        self.divergence = DIVERGENCES[config.divergence]()
        self.critic: Critic | None = None
        if self.divergence.has_critic:
            self.critic = Critic(
                self.architecture.critic,
                latent_dim=config.latent_dim,
                seed=self.weight_seed(NetworkRole.CRITIC),
            )
            self.critic_optimizer = adam(
                config.critic_learning_rate, 0.0, 0.9, self.critic.trainable_variables, 'critic'
            )

    def build_prior(self) -> Prior | None:
        """See `Method.build_prior`."""
        if self.method_spec.prior == 'LearnedPrior':
            return self.build_generator()
        return super().build_prior()

    @property
    def tags(self) -> tuple[str, ...]:
        """See `Method.tags`."""
        critic = ('loss/critic', 'grad_norm/critic') if self.critic else ()
        penalty = ('loss/gradient_penalty',) if self.divergence.has_gradient_penalty else ()
        gen = ('loss/gen', 'grad_norm/gen') if self.generator else ()
        return (*critic, *penalty, self.divergence.tag, *gen)

    @property
    def critic_steps(self) -> int:
        """Critic updates in an iteration; 1, for the codes, if there is no critic."""
        return self.config.critic_steps if self.critic else 1

    @property
    def has_critic(self) -> bool:
        """True if a critic estimates the divergence."""
        return self.critic is not None

    def critic_distance(self, z: tf.Tensor, z_hat: tf.Tensor) -> tf.Tensor:
        """See `Method.critic_distance`."""
        key = self.key(tf.constant(0), Role.CRITIC_MIX)
        return self.divergence.distance(self.critic, z, z_hat, key)


class FlexAE(LatentMatching):
    """Algorithm 1 and Eqs. 4-7 of the paper.

    With a fixed prior instead of P-GEN it is the WAE of the synthetic experiments (Figs. 2 and 3).
    """

    def __init__(self, config: ResolvedConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        self.build_autoencoder()
        self.ae_optimizer = adam(
            config.ae_learning_rate, 0.9, 0.999, self.autoencoder_variables, 'ae'
        )
        self.enc_optimizer = adam(
            config.enc_learning_rate, 0.0, 0.9, self.encoder.trainable_variables, 'enc'
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """See `Method.tags`."""
        return ('loss/ae', 'grad_norm/ae', 'loss/enc', 'grad_norm/enc', *super().tags)

    @property
    def batches_per_step(self) -> int:
        """The batch of the auto-encoder step, and one per critic step unless they share it."""
        return 1 + self.critic_steps if self.config.critic_batches == 'fresh' else 1

    def train_step(self, batches: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Runs one iteration of Algorithm 1: L_AE, `critic_steps` times L_Critic, L_Gen, L_Enc."""
        divergence, values = self.divergence, {}

        # 1. Minimize L_AE (Eq. 4) and update phi, theta.
        x = batches[0]
        with tf.GradientTape() as tape:
            x_hat = self.decoder(self.encoder(x, training=True), training=True)
            ae_loss = losses.reconstruction(x, x_hat)
        values['loss/ae'] = ae_loss
        values['grad_norm/ae'] = minimize(
            ae_loss, tape, self.ae_optimizer, self.autoencoder_variables
        )

        # 2. Minimize L_Critic (Eq. 5) and update kappa, `critic_steps` times.
        fresh = self.config.critic_batches == 'fresh'
        for i in range(self.critic_steps):
            if fresh or i == 0:
                with tf.GradientTape() as encoder_tape:
                    z = self.encoder(batches[1 + i] if fresh else x, training=True)
            noise_key = self.key(step, Role.CRITIC_NOISE, i)
            key = self.key(step, Role.CRITIC_MIX, i)
            z_hat = self.prior.sample_with_key(x.shape[0], noise_key)
            if self.critic:
                with tf.GradientTape() as tape:
                    critic_loss, distance = divergence.critic_loss(self.critic, z, z_hat)
                    if divergence.has_gradient_penalty:
                        mix = noise.uniform(key, [x.shape[0], 1])
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

        # 3. Minimize L_Gen (Eq. 6) and update psi, on the noise of the last critic step.
        if self.generator:
            with tf.GradientTape() as tape:
                z_hat_gen = self.prior.sample_with_key(x.shape[0], noise_key)
                gen_loss = divergence.generator_loss(self.critic, z, z_hat_gen, key)
            psi = self.generator.trainable_variables
            values['loss/gen'] = gen_loss
            values['grad_norm/gen'] = minimize(gen_loss, tape, self.gen_optimizer, psi)

        # 4. Minimize L_Enc (Eq. 7) and update phi, on the images of the last critic step.
        with encoder_tape:  # phi has not changed since, so z is still the code of these images
            enc_loss = divergence.encoder_loss(self.critic, z, z_hat, key)
        phi = self.encoder.trainable_variables
        values['loss/enc'] = enc_loss
        values['grad_norm/enc'] = minimize(enc_loss, encoder_tape, self.enc_optimizer, phi)

        if self.config.bn_mix_generated:
            # Only moves the batch-norm averages of the decoder.
            self.decoder(self.prior.sample_with_key(x.shape[0], noise_key), training=True)
        return values
