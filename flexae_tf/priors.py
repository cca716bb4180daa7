"""Distributions of codes: TensorFlow functions of seeded noise, so that they can be exported."""

import abc
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from flexae_tf import noise
from flexae_tf.networks.flow import MaskedAutoregressiveFlow
from flexae_tf.noise import Role

LOG_TWO_PI = float(np.log(2.0 * np.pi))


class Prior(abc.ABC):
    """A distribution of codes.

    Attributes:
        variables: variables that sampling uses and an export must include; variables of the method
            need not be among them.
    """

    variables: tuple = ()

    @abc.abstractmethod
    def sample_with_key(self, num: int | tf.Tensor, key: noise.Key) -> tf.Tensor:
        """Samples codes as a function of the key.

        Args:
            num: number of codes; the first codes do not depend on it.
            key: key of the noise.

        Returns:
            float32 [num, latent_dim].
        """

    def sample(self, num: int | tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """Samples codes [num, latent_dim] as a function of the seed."""
        return self.sample_with_key(num, noise.key(seed, 0, Role.SAMPLE))


class TransformedNormal(Prior):
    """A function of standard normal noise: z = transform(n), n ~ N(0, I).

    Args:
        noise_dim: size of n.
    """

    def __init__(self, noise_dim: int) -> None:
        self.noise_dim = noise_dim

    @abc.abstractmethod
    def transform(self, n: tf.Tensor) -> tf.Tensor:
        """Returns codes [num, latent_dim] of noise [num, noise_dim], without random numbers."""

    def sample_with_key(self, num: int | tf.Tensor, key: noise.Key) -> tf.Tensor:
        """See `Prior.sample_with_key`."""
        return self.transform(noise.normal(key, [num, self.noise_dim]))


class StandardNormal(TransformedNormal):
    """z ~ N(0, I)."""

    def transform(self, n: tf.Tensor) -> tf.Tensor:
        """See `TransformedNormal.transform`."""
        return n

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Returns ln N(z; 0, I) of codes [n, latent_dim], as [n]."""
        return normal_log_prob(z, 0.0, 0.0)


class LearnedPrior(TransformedNormal):
    """z = G(n), n ~ N(0, I) with the paper's P-GEN G.

    Args:
        generator: noise [n, noise_dim] -> codes [n, latent_dim].
        noise_dim: m'.
    """

    def __init__(self, generator: keras.Model, noise_dim: int) -> None:
        super().__init__(noise_dim)
        self._generator = generator

    @property
    def variables(self) -> tuple:
        """Weights of P-GEN."""
        return tuple(self._generator.weights)

    def transform(self, n: tf.Tensor) -> tf.Tensor:
        """See `TransformedNormal.transform`."""
        return self._generator(n)


class MaskedNormal(TransformedNormal):
    """z = a * n, n ~ N(0, I), with a learned mask a.

    Args:
        mask: () -> a [latent_dim].
        latent_dim: m.
    """

    def __init__(self, mask: Callable[[], tf.Tensor], latent_dim: int) -> None:
        super().__init__(latent_dim)
        self._mask = mask

    def transform(self, n: tf.Tensor) -> tf.Tensor:
        """See `TransformedNormal.transform`."""
        return self._mask() * n


class FlowPrior(TransformedNormal):
    """z = f^-1(n), n ~ N(0, I), with a masked autoregressive flow f (Papamakarios et al. 2017).

    The density takes one pass through f, a sample latent_dim passes.

    Args:
        flow: codes [n, latent_dim] -> noise [n, latent_dim] and ln |det| [n].
        latent_dim: m.
    """

    def __init__(self, flow: MaskedAutoregressiveFlow, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self._flow = flow

    def transform(self, n: tf.Tensor) -> tf.Tensor:
        """See `TransformedNormal.transform`."""
        return self._flow.invert(n)

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Returns the log density of codes [n, latent_dim], as [n]."""
        n, log_determinant = self._flow(z)
        return normal_log_prob(n, 0.0, 0.0) + log_determinant


class GaussianMixture(Prior):
    """A fixed mixture of Gaussians.

    Args:
        weights: positive weights of the components [k]; they need not sum to 1.
        means: [k, latent_dim].
        scale_tril: lower triangular [k, latent_dim, latent_dim]; the covariance of a component is
            scale_tril times its transpose.
    """

    def __init__(self, weights: np.ndarray, means: np.ndarray, scale_tril: np.ndarray) -> None:
        self._probabilities = np.asarray(weights, np.float64) / np.sum(weights)
        self._means = np.asarray(means, np.float32)
        self._scale_tril = np.asarray(scale_tril, np.float32)

    def sample_with_key(self, num: int | tf.Tensor, key: noise.Key) -> tf.Tensor:
        """See `Prior.sample_with_key`."""
        uniform = noise.uniform(key, [num, 1 + self._means.shape[1]])
        ends = np.cumsum(self._probabilities)[:-1].astype(np.float32)
        component = tf.reduce_sum(tf.cast(uniform[:, :1] > ends, tf.int32), axis=1)  # [num]
        n = tf.math.ndtri(uniform[:, 1:])
        # Sample every component, then select: gathering scale_tril would need m times the memory.
        z = self._means + tf.einsum('kij,nj->nki', self._scale_tril, n)
        return tf.gather(z, component, axis=1, batch_dims=1)

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Returns the log density of codes [n, latent_dim], as [n]."""
        offsets = z[:, None] - self._means  # [n, k, latent_dim]
        scale_tril = tf.constant(self._scale_tril)
        whitened = tf.linalg.triangular_solve(scale_tril, tf.transpose(offsets, [1, 2, 0]))
        square = tf.transpose(tf.reduce_sum(tf.square(whitened), axis=1))  # [n, k]
        log_scales = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(scale_tril)), axis=1)
        constant = 0.5 * LOG_TWO_PI * self._means.shape[1]
        terms = (
            np.log(self._probabilities).astype(np.float32) - 0.5 * square - log_scales - constant
        )
        return tf.reduce_logsumexp(terms, axis=1)


class VampPrior(Prior):
    """The equal mixture of the posteriors of k pseudo-inputs (Tomczak and Welling 2018).

    Args:
        posteriors: () -> means and log variances of the posteriors, [k, latent_dim] each.
    """

    def __init__(self, posteriors: Callable[[], tuple[tf.Tensor, tf.Tensor]]) -> None:
        self._posteriors = posteriors

    def sample_with_key(self, num: int | tf.Tensor, key: noise.Key) -> tf.Tensor:
        """See `Prior.sample_with_key`."""
        means, log_variances = self._posteriors()
        count, latent_dim = means.shape
        uniform = noise.uniform(key, [num, 1 + latent_dim])
        component = tf.cast(uniform[:, 0] * count, tf.int32)  # [num]
        deviations = tf.exp(0.5 * tf.gather(log_variances, component))
        return tf.gather(means, component) + deviations * tf.math.ndtri(uniform[:, 1:])

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Returns the log density of codes [n, latent_dim], as [n]."""
        means, log_variances = self._posteriors()
        terms = normal_log_prob(z[:, None], means, log_variances)  # [n, k]
        return tf.reduce_logsumexp(terms, axis=1) - np.float32(np.log(means.shape[0]))


class ImplicitPrior(Prior):
    """The density proportional to N(z; 0, I) exp(log_ratio(z)), by importance resampling.

    For each code, `CANDIDATES` codes are sampled from N(0, I). One of them is selected with
    probability proportional to exp(log_ratio). Takahashi et al. 2019.

    Args:
        log_ratio: codes [n, latent_dim] -> [n, 1].
        latent_dim: m.
    """

    CANDIDATES = 256
    BLOCK = 64  # codes sampled together; bounds the memory in training and in an export

    def __init__(self, log_ratio: Callable[[tf.Tensor], tf.Tensor], latent_dim: int) -> None:
        self._log_ratio = log_ratio
        self._latent_dim = latent_dim

    def sample_with_key(self, num: int | tf.Tensor, key: noise.Key) -> tf.Tensor:
        """See `Prior.sample_with_key`."""
        blocks = tf.map_fn(
            lambda block: self._sample_block(tf.random.fold_in(key, block, alg='philox')),
            tf.range((num + self.BLOCK - 1) // self.BLOCK),
            fn_output_signature=tf.TensorSpec([self.BLOCK, self._latent_dim], tf.float32),
        )
        return tf.reshape(blocks, [-1, self._latent_dim])[:num]

    def _sample_block(self, key: noise.Key) -> tf.Tensor:
        uniform = noise.uniform(key, [self.BLOCK, self.CANDIDATES, self._latent_dim + 1])
        z = tf.math.ndtri(uniform[..., 1:])
        log_ratio = self._log_ratio(tf.reshape(z, [-1, self._latent_dim]))
        # The argmax of log weights plus Gumbel noise is a sample in proportion to the weights.
        gumbel = -tf.math.log(-tf.math.log(uniform[..., 0]))
        chosen = tf.argmax(tf.reshape(log_ratio, gumbel.shape) + gumbel, axis=1)
        return tf.gather(z, chosen, axis=1, batch_dims=1)


def normal_log_prob(z: tf.Tensor, mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """Returns ln N(z; mean, exp(log_variance)), summed over the last axis.

    Args:
        z: [..., latent_dim].
        mean: broadcasts with `z`.
        log_variance: broadcasts with `z`.

    Returns:
        [...].
    """
    terms = LOG_TWO_PI + log_variance + tf.square(z - mean) * tf.exp(-log_variance)
    return -0.5 * tf.reduce_sum(terms, axis=-1)
