"""Statistics of latent codes: how far the prior is from the codes of data, and their shape.

Codes of data are `z`, codes of the prior `z_hat`; float arrays [n, m], computed in float64.
"""

import numpy as np
import scipy.linalg
from scipy.spatial import distance

from flexae_tf import noise
from flexae_tf.metrics.checks import checked_pair, checked_samples
from flexae_tf.metrics.frechet import moments

MMD_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def sliced_wasserstein(
    z: np.ndarray, z_hat: np.ndarray, *, num_projections: int = 500, seed: int = 0
) -> float:
    """Wasserstein-1 distance along a line, averaged over random directions.

    On a line the best transport keeps the order, so sorting is all there is to it
    (Bonneel et al. 2015). Two samples of one law are not at 0: for 2000 codes of 50 dimensions with
    unit variances the floor is 0.04.

    Args:
        z: [n, m].
        z_hat: [n, m], as many.
        num_projections: how many directions.
        seed: of the directions; the same seed, the same directions.

    Raises:
        ValueError: different shapes, fewer than two codes, or a value that is not finite.
    """
    z, z_hat = checked_pair(z, z_hat)
    if len(z) != len(z_hat):
        raise ValueError(f'as many codes are needed on each side, not {len(z)} and {len(z_hat)}')
    key = noise.key(seed, 0, noise.Role.PROJECTION)
    directions = noise.normal(key, [z.shape[1], num_projections]).numpy().astype(np.float64)
    directions /= np.linalg.norm(directions, axis=0)  # [m, num_projections]
    gaps = np.sort(z @ directions, axis=0) - np.sort(z_hat @ directions, axis=0)
    return float(np.abs(gaps).mean())


def scale(z: np.ndarray) -> float:
    """Root of the total variance of codes [n, m]; distances over it do not fall by shrinking alone.

    Raises:
        ValueError: fewer than two codes, or a value that is not finite.
    """
    return float(np.sqrt(checked_samples(z).var(axis=0, ddof=1).sum()))


def effective_rank(z: np.ndarray) -> float:
    """How many directions codes [n, m] fill: from 1 to m, or 0 when all codes are equal.

    The exponential of the entropy of the eigenvalues of the covariance, taken as shares
    (Roy and Vetterli 2007, Definition 1, of the covariance).

    Raises:
        ValueError: fewer than two codes, or a value that is not finite.
    """
    values = np.maximum(scipy.linalg.eigvalsh(moments(z).covariance), 0.0)
    if not values.any():
        return 0.0
    shares = values[values > 0.0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def mmd(z: np.ndarray, z_hat: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy; a little negative when the two laws are equal.

    The kernel is WAE's (Tolstikhin et al. 2018): the sum over MMD_SCALES of C / (C + |a - b|^2),
    C = scale * 2 m sigma^2. As a learned prior states no sigma, m sigma^2 is the total variance of
    `z_hat`. All pairs are held in memory, so this is for a few thousand codes.

    Args:
        z: [n, m].
        z_hat: [k, m].

    Raises:
        ValueError: different m, fewer than two codes, or a value that is not finite.
    """
    z, z_hat = checked_pair(z, z_hat)
    # A prior that has collapsed to a point has the limit of the kernel: 1 there, 0 elsewhere.
    spread = max(2.0 * scale(z_hat) ** 2, np.finfo(np.float64).tiny / MMD_SCALES[0])

    def mean_kernel(squares: np.ndarray) -> float:
        return sum((s * spread / (s * spread + squares)).mean() for s in MMD_SCALES)

    within = mean_kernel(distance.pdist(z, 'sqeuclidean'))
    within_hat = mean_kernel(distance.pdist(z_hat, 'sqeuclidean'))
    across = mean_kernel(distance.cdist(z, z_hat, 'sqeuclidean'))
    return float(within + within_hat - 2.0 * across)
