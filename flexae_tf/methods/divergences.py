"""D_Z of the paper: how far codes of examples are from the prior's, and who learns to tell.

Codes of examples are z, codes of the prior z_hat. A divergence may train a network of its own, the
critic of Table 7 (Table 5 on vectors), to tell them apart; encoder and prior then move to close the
gap, by `encoder_loss` and `generator_loss`.
"""

from __future__ import annotations

import abc

import keras
import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import TrainConfig
from flexae_tf.methods.base import adam, all_gather_batch, minimize
from flexae_tf.networks.latent import Critic


class Divergence(abc.ABC):
    """A divergence of two batches of codes.

    Attributes:
        critic: the network it learns, or None; optimizer: its optimizer, or None. The method holds
            both as its own, so that checkpoints do.
        tags: of what `update` returns.
    """

    critic: Critic | None = None
    optimizer: keras.optimizers.Optimizer | None = None
    tags: tuple[str, ...] = ()

    @property
    def updates(self) -> int:
        """How often in an iteration to call `update`, each time with other codes."""
        return 1

    @abc.abstractmethod
    def update(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> dict[str, tf.Tensor]:
        """Learns from codes [batch, latent_dim] of each kind; returns what `tags` names."""

    @abc.abstractmethod
    def encoder_loss(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """What the encoder that made `z` minimises."""

    @abc.abstractmethod
    def generator_loss(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """What the prior that made `z_hat` minimises."""

    @abc.abstractmethod
    def distance(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """The divergence as it is seen now; 0 when it sees none."""


class _Learned(Divergence):
    """A divergence that is the optimum of a network: the critic."""

    def __init__(self, critic: Critic, config: TrainConfig) -> None:
        self.critic = critic
        self.optimizer = adam(
            config.critic_learning_rate, 0.0, 0.9, critic.trainable_variables, 'critic'
        )
        self._config = config

    @property
    def updates(self) -> int:
        """As many as Algorithm 1 has: disc_training_ratio."""
        return self._config.critic_steps

    def _minimize(self, loss: tf.Tensor, tape: tf.GradientTape) -> tf.Tensor:
        return minimize(loss, tape, self.optimizer, self.critic.trainable_variables)


class Wasserstein(_Learned):
    """The paper's: a critic with a gradient penalty, Eqs. 5-7 (Gulrajani et al. 2017)."""

    tags = ('loss/critic', 'loss/gradient_penalty', 'latent/wasserstein', 'grad_norm/critic')

    def update(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> dict[str, tf.Tensor]:
        """One step on L_Critic (Eq. 5), which updates kappa."""
        mix = noise.uniform(key, [z.shape[0], 1])
        with tf.GradientTape() as tape:
            distance = -losses.critic_loss(self.critic(z), self.critic(z_hat))
            penalty = losses.gradient_penalty(self.critic, z, z_hat, mix)
            loss = -distance + self._config.gradient_penalty_weight * penalty
        norm = self._minimize(loss, tape)
        return dict(zip(self.tags, (loss, penalty, distance, norm), strict=True))

    def encoder_loss(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """L_Enc (Eq. 7)."""
        return losses.encoder_loss(self.critic(z))

    def generator_loss(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """L_Gen (Eq. 6)."""
        return losses.generator_loss(self.critic(z_hat))

    def distance(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """The critic's lower bound of the Wasserstein-1 distance (Eq. 5 without its penalty)."""
        return -losses.critic_loss(self.critic(z), self.critic(z_hat))


class _Classified(_Learned):
    """A divergence seen by a classifier whose logit is high on codes of examples."""

    def update(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> dict[str, tf.Tensor]:
        """One step on the classifier's cross-entropy."""
        with tf.GradientTape() as tape:
            loss = losses.sigmoid_cross_entropy(self.critic(z), real=True)
            loss += losses.sigmoid_cross_entropy(self.critic(z_hat), real=False)
        norm = self._minimize(loss, tape)
        distance = self.distance(z, z_hat, key)
        return dict(zip(self.tags, (loss, distance, norm), strict=True))


class JensenShannon(_Classified):
    """Adversarial training (Goodfellow et al. 2014), with losses that do not saturate."""

    tags = ('loss/critic', 'latent/jensen_shannon', 'grad_norm/critic')

    def encoder_loss(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """Cross-entropy with "these codes are the prior's"."""
        return losses.sigmoid_cross_entropy(self.critic(z), real=False)

    def generator_loss(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """Cross-entropy with "these codes are of examples"."""
        return losses.sigmoid_cross_entropy(self.critic(z_hat), real=True)

    def distance(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """The classifier's lower bound of the divergence, in nats: at most ln 2."""
        loss = losses.sigmoid_cross_entropy(self.critic(z), real=True)
        loss += losses.sigmoid_cross_entropy(self.critic(z_hat), real=False)
        return tf.math.log(2.0) - 0.5 * loss


class KullbackLeibler(_Classified):
    """KL(q(z) || p(z)) by a density ratio: the classifier's logit estimates ln q - ln p."""

    LIMIT = 20.0  # of the logit, above which exp() would outgrow all else in a batch

    tags = ('loss/critic', 'latent/kl', 'grad_norm/critic')

    def encoder_loss(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """The mean log ratio at codes of examples."""
        return tf.reduce_mean(self.critic(z))

    def generator_loss(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """Minus the mean ratio at the prior's codes (Nowozin et al. 2016, Table 2)."""
        return -tf.reduce_mean(tf.exp(tf.minimum(self.critic(z_hat), self.LIMIT)))

    def distance(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """The mean log ratio at codes of examples, in nats."""
        return tf.reduce_mean(self.critic(z))


class _Direct(Divergence):
    """A divergence of two batches that needs no network; of the global batch on many devices."""

    def update(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> dict[str, tf.Tensor]:
        """Nothing to learn: what the divergence is."""
        return {self.tags[0]: self.distance(z, z_hat, key)}

    def encoder_loss(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """The divergence."""
        return self.distance(z, z_hat, key)

    def generator_loss(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """The divergence."""
        return self.distance(z, z_hat, key)


class Mmd(_Direct):
    """Maximum mean discrepancy with kernels of many scales (Tolstikhin et al. 2018)."""

    tags = ('latent/mmd_batch',)

    def distance(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """The unbiased estimate: 0 on average for equal laws, and then often negative."""
        return losses.mmd(all_gather_batch(z), all_gather_batch(z_hat))


class SlicedWasserstein(_Direct):
    """Wasserstein-2 distance of projections (Kolouri et al. 2019)."""

    PROJECTIONS = 64

    tags = ('latent/sliced_wasserstein_batch',)

    def distance(self, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key) -> tf.Tensor:
        """The mean squared distance over the directions that `key` draws."""
        directions = noise.shared_normal(key, [z.shape[1], self.PROJECTIONS])
        directions /= tf.norm(directions, axis=0)
        return losses.sliced_wasserstein(all_gather_batch(z), all_gather_batch(z_hat), directions)


def build_divergence(
    config: TrainConfig, hidden: tuple[int, ...], *, latent_dim: int, seed: int
) -> Divergence:
    """The divergence that `config.divergence` names.

    Args:
        config: also its `critic_steps`, `critic_learning_rate`, `gradient_penalty_weight`.
        hidden: units of the critic, for those that learn one.
        latent_dim: m.
        seed: of the critic's initial weights.
    """
    kind = {
        'wasserstein': Wasserstein,
        'jensen_shannon': JensenShannon,
        'kl': KullbackLeibler,
        'mmd': Mmd,
        'sliced_wasserstein': SlicedWasserstein,
    }[config.divergence]
    if issubclass(kind, _Learned):
        return kind(Critic(hidden, latent_dim=latent_dim, seed=seed), config)
    return kind()
