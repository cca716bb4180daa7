"""FlexAE: a deterministic auto-encoder and its learned latent prior, trained jointly."""

import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import Method, adam, minimize
from flexae_tf.networks.autoencoder import Decoder, Encoder
from flexae_tf.networks.latent import Critic, Generator
from flexae_tf.networks.tables import choose_row
from flexae_tf.noise import Role


class FlexAE(Method):
    """Algorithm 1 and Eqs. 4-7 of the paper.

    E_phi is `encoder`, D_theta `decoder`, G_psi (P-GEN) `generator`, C_kappa `critic`.
    """

    tags = (
        'loss/ae',
        'loss/critic',
        'loss/gen',
        'loss/enc',
        'loss/gradient_penalty',
        'latent/wasserstein',
        'grad_norm/ae',
        'grad_norm/critic',
        'grad_norm/gen',
        'grad_norm/enc',
    )

    def __init__(self, config: TrainConfig, spec: DatasetSpec) -> None:
        super().__init__(config, spec)
        row = choose_row(config, spec.shape)
        shape, latent_dim, noise_dim = spec.shape, config.latent_dim, config.noise_dim
        dtype = 'mixed_bfloat16' if config.precision == 'mixed_bfloat16' else 'float32'
        seeds = noise.integers(noise.key(config.seed, 0, Role.WEIGHTS), [4], 2**31 - 64)
        e, d, g, c = (int(seed) for seed in seeds)
        self.encoder = Encoder(row, shape=shape, latent_dim=latent_dim, seed=e, dtype=dtype)
        self.decoder = Decoder(row, shape=shape, latent_dim=latent_dim, seed=d, dtype=dtype)
        self.generator = Generator(
            row.generator, noise_dim=noise_dim, latent_dim=latent_dim, seed=g
        )
        self.critic = Critic(row.critic, latent_dim=latent_dim, seed=c)

        self.ae_optimizer = adam(
            config.ae_learning_rate, 0.9, 0.999, self._autoencoder_variables, 'ae'
        )
        self.critic_optimizer = adam(
            config.critic_learning_rate, 0.0, 0.9, self.critic.trainable_variables, 'critic'
        )
        self.gen_optimizer = adam(
            config.gen_learning_rate, 0.0, 0.9, self.generator.trainable_variables, 'gen'
        )
        self.enc_optimizer = adam(
            config.enc_learning_rate, 0.0, 0.9, self.encoder.trainable_variables, 'enc'
        )

    @property
    def _autoencoder_variables(self) -> list:
        return self.encoder.trainable_variables + self.decoder.trainable_variables

    @property
    def image_blocks(self) -> int:
        """The auto-encoder step's batch, and one for each critic step unless they share it."""
        return 1 + self.options.critic_steps if self.options.critic_batches == 'fresh' else 1

    def train_step(self, blocks: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """One turn of Algorithm 1's loop: L_AE, five times L_Critic, L_Gen, L_Enc."""
        # 1. Minimize L_AE (Eq. 4) and update phi, theta.
        x = blocks[0]
        with tf.GradientTape() as tape:
            x_hat = self.decoder(self.encoder(x, training=True), training=True)
            ae_loss = losses.reconstruction(x, x_hat)
        ae_norm = minimize(ae_loss, tape, self.ae_optimizer, self._autoencoder_variables)

        # 2. Minimize L_Critic (Eq. 5) and update kappa, `critic_steps` times.
        fresh = self.options.critic_batches == 'fresh'
        for i in range(self.options.critic_steps):
            if fresh or i == 0:
                with tf.GradientTape() as encoder_tape:
                    z = self.encoder(blocks[1 + i] if fresh else x, training=True)
            n = noise.normal(
                self.key(step, Role.CRITIC_NOISE, i), [x.shape[0], self.options.noise_dim]
            )
            z_hat = self.generator(n)
            mix = noise.uniform(self.key(step, Role.CRITIC_MIX, i), [x.shape[0], 1])
            with tf.GradientTape() as tape:
                distance = -losses.critic(self.critic(z), self.critic(z_hat))
                penalty = losses.gradient_penalty(self.critic, z, z_hat, mix)
                critic_loss = -distance + self.options.gradient_penalty_weight * penalty
            critic_norm = minimize(
                critic_loss, tape, self.critic_optimizer, self.critic.trainable_variables
            )

        # 3. Minimize L_Gen (Eq. 6) and update psi, on the noise of the last critic step.
        with tf.GradientTape() as tape:
            gen_loss = losses.generator(self.critic(self.generator(n)))
        gen_norm = minimize(gen_loss, tape, self.gen_optimizer, self.generator.trainable_variables)

        # 4. Minimize L_Enc (Eq. 7) and update phi, on the images of the last critic step.
        with encoder_tape:  # phi has not moved since, so z is still its code of them
            enc_loss = losses.encoder(self.critic(z))
        enc_norm = minimize(
            enc_loss, encoder_tape, self.enc_optimizer, self.encoder.trainable_variables
        )

        if self.options.bn_mix_generated:
            # Only the decoder's batch-norm averages feel this pass.
            self.decoder(self.generator(n), training=True)
        return {
            'loss/ae': ae_loss,
            'loss/critic': critic_loss,
            'loss/gen': gen_loss,
            'loss/enc': enc_loss,
            'loss/gradient_penalty': penalty,
            'latent/wasserstein': distance,
            'grad_norm/ae': ae_norm,
            'grad_norm/critic': critic_norm,
            'grad_norm/gen': gen_norm,
            'grad_norm/enc': enc_norm,
        }

    def sample_latent(self, num: int | tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """z_hat = G(n), n ~ N(0, I): [num, latent_dim]."""
        n = noise.normal(noise.key(seed, 0, Role.SAMPLE), [num, self.options.noise_dim])
        return self.generator(n)

    def critic_distance(self, z: tf.Tensor, z_hat: tf.Tensor) -> tf.Tensor:
        """The critic's lower bound of the Wasserstein-1 distance (Eq. 5 without its penalty)."""
        return -losses.critic(self.critic(z), self.critic(z_hat))
