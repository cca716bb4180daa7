"""FlexAE-SR: FlexAE whose interpolations are kept smooth, the variant its authors released."""

import contextlib

import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import Method, MethodSpec, NetworkRole, adam, minimize
from flexae_tf.methods.divergences import build_divergence
from flexae_tf.networks.batch_norm import preserve_moving_averages
from flexae_tf.networks.image_critic import ImageCritic
from flexae_tf.networks.latent import Critic, Generator
from flexae_tf.noise import Role
from flexae_tf.priors import LearnedPrior


class FlexAESR(Method):
    """Algorithm 1 with two steps more (dair-iitd/FlexAE, FlexAESR.py).

    Besides the critic of codes, an `image_critic` C_I learns to tell images x from decoded mixes of
    the codes of two images, x_mix = D(alpha E(x) + (1 - alpha) E(x')); a smoothing step moves
    encoder and decoder so that it cannot. Both are as Eqs. 5 and 6 are, on images.
    """

    IMAGE_TAGS = (
        'loss/image_critic',
        'loss/image_gradient_penalty',
        'image/wasserstein',
        'grad_norm/image_critic',
    )

    def __init__(self, config: TrainConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
        self.build_autoencoder()
        self.generator = Generator(
            self.architecture.generator,
            noise_dim=config.noise_dim,
            latent_dim=config.latent_dim,
            seed=self.weight_seed(NetworkRole.GENERATOR),
        )
        self.prior = LearnedPrior(self.generator, config.noise_dim)
        self.divergence = build_divergence(
            config,
            self.architecture.critic,
            latent_dim=config.latent_dim,
            seed=self.weight_seed(NetworkRole.CRITIC),
        )
        self.image_critic = ImageCritic(
            self.architecture, shape=spec.shape, seed=self.weight_seed(NetworkRole.OTHER)
        )
        self.ae_optimizer = adam(
            config.ae_learning_rate, 0.9, 0.999, self.autoencoder_variables, 'ae'
        )
        # Here too, so that checkpoints hold them.
        self.critic: Critic = self.divergence.critic
        self.critic_optimizer = self.divergence.optimizer
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
        self.gen_optimizer = adam(
            config.gen_learning_rate, 0.0, 0.9, self.generator.trainable_variables, 'gen'
        )
        self.enc_optimizer = adam(
            config.enc_learning_rate, 0.0, 0.9, self.encoder.trainable_variables, 'enc'
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """The names of what `train_step` returns."""
        steps = ('ae', 'smooth', 'gen', 'enc')
        own = [f'{what}/{step}' for step in steps for what in ('loss', 'grad_norm')]
        return (*own, *self.divergence.tags, *self.IMAGE_TAGS)

    @property
    def batches_per_step(self) -> int:
        """The auto-encoder step's batch and two for each critic step: x and the x' of its mixes.

        When the critic's steps share the auto-encoder's batch, only that and one x'.
        """
        return 1 + 2 * self.divergence.updates if self.config.critic_batches == 'fresh' else 2

    def train_step(self, blocks: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """L_AE, five times L_Critic and the image critic's, smoothing, L_Gen, L_Enc."""
        # 1. Minimize L_AE (Eq. 4) and update phi, theta.
        x = blocks[0]
        num = x.shape[0]
        with tf.GradientTape() as tape:
            x_hat = self.decoder(self.encoder(x, training=True), training=True)
            ae_loss = losses.reconstruction(x, x_hat)
        ae_norm = minimize(ae_loss, tape, self.ae_optimizer, self.autoencoder_variables)

        # 2. Minimize L_Critic (Eq. 5) and update kappa, then the same of images, `critic_steps`
        #    times.
        fresh = self.config.critic_batches == 'fresh'
        for i in range(self.divergence.updates):
            if fresh or i == 0:
                first = 1 + 2 * i if fresh else 0
                x = blocks[first]
                with tf.GradientTape() as smooth_tape:
                    z = self.encoder(x, training=True)
                    z_other = self.encoder(blocks[first + 1], training=True)
            n = self.key(step, Role.CRITIC_NOISE, i)
            key = self.key(step, Role.CRITIC_MIX, i)
            z_hat = self.prior.sample_with_key(num, n)
            values = self.divergence.update(z, z_hat, key)
            # Of codes, and of images in the penalty.
            mixes = noise.uniform(self.key(step, Role.IMAGE_MIX, i), [num, 2])
            with preserve_moving_averages(self.decoder):
                x_mix = self.decoder(_mixed(z, z_other, mixes[:, :1]), training=True)
            values |= self._update_image_critic(x, x_mix, mixes[:, 1])

        # 3. Minimize -mean C_I(x_mix) and update phi, theta, on the images of the last critic step
        #    and new mixes.
        mix = noise.uniform(self.key(step, Role.IMAGE_MIX, self.divergence.updates), [num, 1])
        with smooth_tape, self._averages_of_generated():  # phi has not moved since the codes
            x_mix = self.decoder(_mixed(z, z_other, mix), training=True)
            smooth_loss = losses.generator_loss(self.image_critic(x_mix))
        smooth_norm = minimize(
            smooth_loss, smooth_tape, self.smooth_optimizer, self.autoencoder_variables
        )

        # 4. Minimize L_Gen (Eq. 6) and update psi, on the noise of the last critic step.
        with tf.GradientTape() as tape:
            gen_loss = self.divergence.generator_loss(z, self.prior.sample_with_key(num, n), key)
        psi = self.generator.trainable_variables
        gen_norm = minimize(gen_loss, tape, self.gen_optimizer, psi)

        # 5. Minimize L_Enc (Eq. 7) and update phi, on the images of the last critic step. Their
        #    codes are others by now: phi moved with the smoothing.
        with tf.GradientTape() as tape:
            z = self.encoder(x, training=True)
            enc_loss = self.divergence.encoder_loss(z, z_hat, key)
        phi = self.encoder.trainable_variables
        enc_norm = minimize(enc_loss, tape, self.enc_optimizer, phi)

        if self.config.bn_mix_generated:
            # Only the decoder's batch-norm averages feel this pass.
            self.decoder(self.prior.sample_with_key(num, n), training=True)
        return values | {
            'loss/ae': ae_loss,
            'grad_norm/ae': ae_norm,
            'loss/smooth': smooth_loss,
            'grad_norm/smooth': smooth_norm,
            'loss/gen': gen_loss,
            'grad_norm/gen': gen_norm,
            'loss/enc': enc_loss,
            'grad_norm/enc': enc_norm,
        }

    def _update_image_critic(
        self, x: tf.Tensor, x_mix: tf.Tensor, mix: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """One step on mean C_I(x_mix) - mean C_I(x) + weight * penalty.

        Args:
            x: examples [batch, ...].
            x_mix: decoded mixes, same shape.
            mix: of the two, where the penalty is taken, in [0, 1]: [batch].
        """
        mix = tf.reshape(mix, [-1] + [1] * (x.shape.rank - 1))
        with tf.GradientTape() as tape:
            distance = -losses.critic_loss(self.image_critic(x), self.image_critic(x_mix))
            penalty = losses.gradient_penalty(self.image_critic, x, x_mix, mix)
            loss = -distance + self.config.gradient_penalty_weight * penalty
        norm = minimize(
            loss, tape, self.image_critic_optimizer, self.image_critic.trainable_variables
        )
        return dict(zip(self.IMAGE_TAGS, (loss, penalty, distance, norm), strict=True))

    def _averages_of_generated(self) -> contextlib.AbstractContextManager:
        """Whether the decoder's batch-norm averages feel a pass over codes of no example.

        Mixes are decoded by the batch's own statistics, as the release does and as the
        auto-encoder step decodes: by the averages, the smoothing step would train another function
        of the same weights, and in the first iterations, when averages are of no batch yet, one
        that decodes nothing. Yet the averages are for reconstructions alone, unless asked. Then the
        smoothing step's pass counts and the critic steps' do not: one of reconstructions, one of
        mixes, one of generated codes, the proportions of the release.
        """
        kept = not self.config.bn_mix_generated
        return preserve_moving_averages(self.decoder) if kept else contextlib.nullcontext()

    def critic_distance(self, z: tf.Tensor, z_hat: tf.Tensor) -> tf.Tensor:
        """The divergence of codes [n, m] from the prior's [n, m], by the critic of codes."""
        return self.divergence.distance(z, z_hat, self.key(tf.constant(0), Role.CRITIC_MIX))


def _mixed(z: tf.Tensor, z_other: tf.Tensor, mix: tf.Tensor) -> tf.Tensor:
    """The code between two codes [batch, latent_dim], by mix in [0, 1], [batch, 1]."""
    return mix * z + (1.0 - mix) * z_other
