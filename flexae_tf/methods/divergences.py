"""D_Z of the paper: divergences of codes z of examples and codes z_hat of the prior.

A divergence is a set of pure functions. The method has the critic of Table 7 (Table 5 for vectors)
and the optimizers; encoder and prior minimize `encoder_loss` and `generator_loss`.

All functions take these arguments:
    critic: network, codes [n, latent_dim] -> scores [n, 1]; None if `has_critic` is False.
    z: codes of examples [n, latent_dim].
    z_hat: codes of the prior [n, latent_dim].
    key: key of the noise that `SlicedWasserstein` uses.
"""

from __future__ import annotations

import abc

import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.methods.base import all_gather_batch
from flexae_tf.networks.latent import Critic


class Divergence(abc.ABC):
    """A divergence of two batches of codes.

    Attributes:
        tag: TensorBoard tag of `distance`.
        has_critic: whether a critic estimates the divergence.
        has_gradient_penalty: whether a gradient penalty is added to `critic_loss`.
    """

    tag: str
    has_critic = True
    has_gradient_penalty = False

    @abc.abstractmethod
    def critic_loss(
        self, critic: Critic, z: tf.Tensor, z_hat: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the loss of the critic without a gradient penalty, and its estimate `distance`.

        Both come from one evaluation of the critic.
        """

    @abc.abstractmethod
    def generator_loss(
        self, critic: Critic | None, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key
    ) -> tf.Tensor:
        """Returns the loss of the prior that produced `z_hat`."""

    @abc.abstractmethod
    def encoder_loss(
        self, critic: Critic | None, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key
    ) -> tf.Tensor:
        """Returns the loss of the encoder that produced `z`."""

    @abc.abstractmethod
    def distance(
        self, critic: Critic | None, z: tf.Tensor, z_hat: tf.Tensor, key: noise.Key
    ) -> tf.Tensor:
        """Returns the current estimate of the divergence; 0 if both distributions look equal."""


class Wasserstein(Divergence):
    """The paper's Wasserstein-1 distance, with a gradient penalty (Gulrajani et al. 2017)."""

    tag = 'latent/wasserstein'
    has_gradient_penalty = True

    def critic_loss(self, critic, z, z_hat):
        """Returns L_Critic (Eq. 5) without its gradient penalty, and the distance."""
        loss = losses.critic_loss(critic(z), critic(z_hat))
        return loss, -loss

    def generator_loss(self, critic, z, z_hat, key):
        """Returns L_Gen (Eq. 6)."""
        return losses.generator_loss(critic(z_hat))

    def encoder_loss(self, critic, z, z_hat, key):
        """Returns L_Enc (Eq. 7)."""
        return losses.encoder_loss(critic(z))

    def distance(self, critic, z, z_hat, key):
        """Returns the critic's lower bound of the distance."""
        return self.critic_loss(critic, z, z_hat)[1]


class _Classified(Divergence):
    """A divergence estimated by a classifier, whose logit is high for codes of examples."""

    def critic_loss(self, critic, z, z_hat):
        """Returns the cross-entropy of the classifier, and the divergence in nats."""
        logit = critic(z)
        loss = losses.sigmoid_cross_entropy(logit, real=True)
        loss += losses.sigmoid_cross_entropy(critic(z_hat), real=False)
        return loss, self.estimate(logit, loss)

    def distance(self, critic, z, z_hat, key):
        """Returns the classifier's estimate of the divergence in nats."""
        return self.critic_loss(critic, z, z_hat)[1]

    @abc.abstractmethod
    def estimate(self, logit: tf.Tensor, loss: tf.Tensor) -> tf.Tensor:
        """Returns the divergence in nats, from logits [n, 1] of examples and the cross-entropy."""


class JensenShannon(_Classified):
    """Adversarial training (Goodfellow et al. 2014) with its non-saturating losses."""

    tag = 'latent/jensen_shannon'

    def generator_loss(self, critic, z, z_hat, key):
        """Returns the cross-entropy with the label of examples."""
        return losses.sigmoid_cross_entropy(critic(z_hat), real=True)

    def encoder_loss(self, critic, z, z_hat, key):
        """Returns the cross-entropy with the label of the prior."""
        return losses.sigmoid_cross_entropy(critic(z), real=False)

    def estimate(self, logit, loss):
        """Returns the lower bound ln 2 - loss / 2."""
        return tf.math.log(2.0) - 0.5 * loss


class KullbackLeibler(_Classified):
    """KL(q(z) || p(z)) by a density ratio: the classifier's logit estimates ln q - ln p."""

    LIMIT = 20.0  # of the logit, so that exp() of one code does not dominate a batch

    tag = 'latent/kl'

    def generator_loss(self, critic, z, z_hat, key):
        """Returns minus the mean ratio at codes of the prior (Nowozin et al. 2016, Table 2)."""
        return -tf.reduce_mean(tf.exp(tf.minimum(critic(z_hat), self.LIMIT)))

    def encoder_loss(self, critic, z, z_hat, key):
        """Returns the mean log ratio at codes of examples."""
        return tf.reduce_mean(critic(z))

    def estimate(self, logit, loss):
        """Returns the mean log ratio at codes of examples."""
        return tf.reduce_mean(logit)


class _Direct(Divergence):
    """A divergence computed from two batches without a critic, the global ones on many devices."""

    has_critic = False

    def critic_loss(self, critic, z, z_hat):
        """Raises NotImplementedError, because there is no critic."""
        raise NotImplementedError(f'{type(self).__name__}: has no critic')

    def generator_loss(self, critic, z, z_hat, key):
        """Returns the divergence."""
        return self.distance(critic, z, z_hat, key)

    def encoder_loss(self, critic, z, z_hat, key):
        """Returns the divergence."""
        return self.distance(critic, z, z_hat, key)


class Mmd(_Direct):
    """Maximum mean discrepancy with kernels of several scales (Tolstikhin et al. 2018)."""

    tag = 'latent/mmd_batch'

    def distance(self, critic, z, z_hat, key):
        """Returns the unbiased estimate; for equal distributions its mean is 0."""
        return losses.mmd(all_gather_batch(z), all_gather_batch(z_hat))


class SlicedWasserstein(_Direct):
    """Squared Wasserstein-2 distance of projections (Kolouri et al. 2019)."""

    PROJECTIONS = 64

    tag = 'latent/sliced_wasserstein_batch'

    def distance(self, critic, z, z_hat, key):
        """Returns the mean squared distance over random directions, a function of `key`."""
        directions = noise.shared_normal(key, [z.shape[1], self.PROJECTIONS])
        directions /= tf.norm(directions, axis=0)
        return losses.sliced_wasserstein(all_gather_batch(z), all_gather_batch(z_hat), directions)


DIVERGENCES: dict[str, type[Divergence]] = {
    'wasserstein': Wasserstein,
    'jensen_shannon': JensenShannon,
    'kl': KullbackLeibler,
    'mmd': Mmd,
    'sliced_wasserstein': SlicedWasserstein,
}
