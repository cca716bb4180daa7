"""FlexAE: a deterministic auto-encoder and its learned latent prior, trained jointly."""

import numpy as np
import tensorflow as tf

from flexae_tf import losses
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec, synthetic
from flexae_tf.methods.base import Method, MethodSpec, NetworkRole, adam, minimize
from flexae_tf.methods.divergences import build_divergence
from flexae_tf.networks.latent import Critic, Generator
from flexae_tf.noise import Role
from flexae_tf.priors import GaussianMixture, LearnedPrior, StandardNormal


class FlexAE(Method):
    """Algorithm 1 and Eqs. 4-7 of the paper.

    E_phi is `encoder`, D_theta `decoder`, G_psi (P-GEN) `generator`, and `divergence` is D_Z, the
    paper's with C_kappa its `critic`. With a fixed prior in place of P-GEN this is the WAE of the
    synthetic experiments (Figs. 2 and 3), which has no step for the prior.
    """

    def __init__(self, config: TrainConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        self.build_autoencoder()
        self.ae_optimizer = adam(
            config.ae_learning_rate, 0.9, 0.999, self.autoencoder_variables, 'ae'
        )
        self.enc_optimizer = adam(
            config.enc_learning_rate, 0.0, 0.9, self.encoder.trainable_variables, 'enc'
        )
        self.generator: Generator | None = None
        if method_spec.prior == 'LearnedPrior':
            self.generator = Generator(
                self.architecture.generator,
                noise_dim=config.noise_dim,
                latent_dim=config.latent_dim,
                seed=self.weight_seed(NetworkRole.GENERATOR),
            )
            self.gen_optimizer = adam(
                config.gen_learning_rate, 0.0, 0.9, self.generator.trainable_variables, 'gen'
            )
            self.prior = LearnedPrior(self.generator, config.noise_dim)
        elif method_spec.prior == 'GaussianMixture':
            self.prior = six_gaussians(config)
        else:
            self.prior = StandardNormal(config.latent_dim)
        self.divergence = build_divergence(
            config,
            self.architecture.critic,
            latent_dim=config.latent_dim,
            seed=self.weight_seed(NetworkRole.CRITIC),
        )
        # Here too, so that checkpoints hold them.
        self.critic: Critic | None = self.divergence.critic
        self.critic_optimizer = self.divergence.optimizer

    @property
    def tags(self) -> tuple[str, ...]:
        """The names of what `train_step` returns."""
        ae = ('loss/ae', 'grad_norm/ae', 'loss/enc', 'grad_norm/enc')
        gen = ('loss/gen', 'grad_norm/gen') if self.generator else ()
        return (*ae, *gen, *self.divergence.tags)

    @property
    def batches_per_step(self) -> int:
        """The auto-encoder step's batch, and one for each critic step unless they share it."""
        return 1 + self.divergence.updates if self.config.critic_batches == 'fresh' else 1

    def train_step(self, blocks: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """One turn of Algorithm 1's loop: L_AE, five times L_Critic, L_Gen, L_Enc."""
        # 1. Minimize L_AE (Eq. 4) and update phi, theta.
        x = blocks[0]
        with tf.GradientTape() as tape:
            x_hat = self.decoder(self.encoder(x, training=True), training=True)
            ae_loss = losses.reconstruction(x, x_hat)
        ae_norm = minimize(ae_loss, tape, self.ae_optimizer, self.autoencoder_variables)

        # 2. Minimize L_Critic (Eq. 5) and update kappa, `critic_steps` times.
        fresh = self.config.critic_batches == 'fresh'
        for i in range(self.divergence.updates):
            if fresh or i == 0:
                with tf.GradientTape() as encoder_tape:
                    z = self.encoder(blocks[1 + i] if fresh else x, training=True)
            n = self.key(step, Role.CRITIC_NOISE, i)
            key = self.key(step, Role.CRITIC_MIX, i)
            z_hat = self.prior.sample_with_key(x.shape[0], n)
            values = self.divergence.update(z, z_hat, key)

        # 3. Minimize L_Gen (Eq. 6) and update psi, on the noise of the last critic step.
        if self.generator:
            with tf.GradientTape() as tape:
                gen_loss = self.divergence.generator_loss(
                    z, self.prior.sample_with_key(x.shape[0], n), key
                )
            psi = self.generator.trainable_variables
            values['loss/gen'] = gen_loss
            values['grad_norm/gen'] = minimize(gen_loss, tape, self.gen_optimizer, psi)

        # 4. Minimize L_Enc (Eq. 7) and update phi, on the images of the last critic step.
        with encoder_tape:  # phi has not moved since, so z is still its code of them
            enc_loss = self.divergence.encoder_loss(z, z_hat, key)
        phi = self.encoder.trainable_variables
        enc_norm = minimize(enc_loss, encoder_tape, self.enc_optimizer, phi)

        if self.config.bn_mix_generated:
            # Only the decoder's batch-norm averages feel this pass.
            self.decoder(self.prior.sample_with_key(x.shape[0], n), training=True)
        return values | {
            'loss/ae': ae_loss,
            'grad_norm/ae': ae_norm,
            'loss/enc': enc_loss,
            'grad_norm/enc': enc_norm,
        }

    @property
    def has_critic(self) -> bool:
        """Whether the divergence is one that a network learns."""
        return self.critic is not None

    def critic_distance(self, z: tf.Tensor, z_hat: tf.Tensor) -> tf.Tensor:
        """The divergence of codes [n, m] from the prior's [n, m], by the critic."""
        return self.divergence.distance(z, z_hat, self.key(tf.constant(0), Role.CRITIC_MIX))


def six_gaussians(config: TrainConfig) -> GaussianMixture:
    """The prior of `wae_gmm_prior`, of which the paper says no more than that it is a mixture.

    `--mixture=data` is the mixture that `synthetic_2d` is drawn from, the best that a fixed prior
    could be; `--mixture=circle` has six components of variance 1 around the origin, in the plane of
    the first two coordinates.
    """
    if config.mixture == 'data':
        means, deviations = np.array(synthetic.MEANS[2]), np.sqrt(synthetic.VARIANCES)
    else:
        angles = 2.0 * np.pi * np.arange(6) / 6
        means = np.zeros([6, config.latent_dim])
        means[:, :2] = 6.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        deviations = np.ones(6)
    factors = deviations[:, None, None] * np.eye(config.latent_dim)
    return GaussianMixture(np.ones(6), means, factors)
