"""A sampler learned after the auto-encoder: P-GEN and critic on finished codes."""

import tensorflow as tf

from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import Method, MethodSpec, NetworkRole, adam, minimize
from flexae_tf.methods.divergences import build_divergence
from flexae_tf.networks.latent import Critic, Generator
from flexae_tf.noise import Role
from flexae_tf.priors import LearnedPrior


class LatentGan(Method):
    """FlexAE's Eqs. 5 and 6 with an encoder that stays as it is.

    Its examples are codes [m] of another method; P-GEN and critic are those of FlexAE, so that the
    two differ in nothing but joint training, which is what the paper argues for.
    """

    def __init__(self, config: TrainConfig, spec: DatasetSpec, method_spec: MethodSpec) -> None:
        super().__init__(config, spec, method_spec)
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
        self.divergence = build_divergence(
            config,
            self.architecture.critic,
            latent_dim=config.latent_dim,
            seed=self.weight_seed(NetworkRole.CRITIC),
        )
        # Here too, so that checkpoints hold them.
        self.critic: Critic = self.divergence.critic
        self.critic_optimizer = self.divergence.optimizer

    @property
    def tags(self) -> tuple[str, ...]:
        """The names of what `train_step` returns."""
        return ('loss/gen', 'grad_norm/gen', *self.divergence.tags)

    @property
    def batches_per_step(self) -> int:
        """A batch of codes for each critic step."""
        return self.divergence.updates

    def train_step(self, blocks: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """`critic_steps` times L_Critic, then L_Gen."""
        for i in range(self.divergence.updates):
            z = blocks[i]
            n = self.key(step, Role.CRITIC_NOISE, i)
            key = self.key(step, Role.CRITIC_MIX, i)
            values = self.divergence.update(z, self.prior.sample_with_key(z.shape[0], n), key)
        with tf.GradientTape() as tape:
            gen_loss = self.divergence.generator_loss(
                z, self.prior.sample_with_key(z.shape[0], n), key
            )
        psi = self.generator.trainable_variables
        values['loss/gen'] = gen_loss
        values['grad_norm/gen'] = minimize(gen_loss, tape, self.gen_optimizer, psi)
        return values

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """Its examples are codes already."""
        return x

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        """Its examples are codes."""
        return z
