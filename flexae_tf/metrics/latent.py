"""Statistics of latent codes: distance of the prior from the codes of data, scale and rank.

`z` are codes of data, `z_hat` codes of the prior; float arrays [n, m], computed in float64.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import distance

from flexae_tf import shutdown
from flexae_tf.metrics.checks import checked_pair, checked_samples
from flexae_tf.metrics.frechet import moments

MMD_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def sliced_wasserstein(
    z: np.ndarray, z_hat: np.ndarray, *, num_projections: int = 500, seed: int = 0
) -> float:
    """Returns the Wasserstein-1 distance along a line, averaged over random directions.

    In one dimension the optimal transport keeps the order, so sorting computes it
    (Bonneel et al. 2015). Two samples of one distribution have a positive distance: 0.04 for 2000
    codes of 50 dimensions with unit variances.

    Args:
        z: [n, m].
        z_hat: [n, m].
        num_projections: number of directions.
        seed: determines the directions.

    Raises:
        ValueError: different shapes, fewer than two codes, or a value that is not finite.
    """
    z, z_hat = _equally_many(z, z_hat)
    from flexae_tf import noise  # imports TensorFlow

    key = noise.key(seed, 0, noise.Role.PROJECTION)
    directions = noise.normal(key, [z.shape[1], num_projections]).numpy().astype(np.float64)
    directions /= np.linalg.norm(directions, axis=0)  # [m, num_projections]
    gaps = np.sort(z @ directions, axis=0) - np.sort(z_hat @ directions, axis=0)
    return float(np.abs(gaps).mean())


def wasserstein(z: np.ndarray, z_hat: np.ndarray) -> float:
    """Returns the Wasserstein-1 distance of two samples, with Euclidean distances as costs.

    The optimal transport of equally many points is an assignment (Peyre and Cuturi 2019,
    Proposition 2.1), which is computed exactly. As an estimate of the distance of both
    distributions it is biased upwards, and strongly in high dimension: two samples of one
    distribution have the distance 7.4 for 2000 codes of 50 dimensions with unit variances. So
    compare it with the distance of two samples of one side.

    2000 codes need 64 MB and up to 8 s; see SPEED.md.

    Args:
        z: [n, m].
        z_hat: [n, m].

    Raises:
        ValueError: different shapes, fewer than two codes, or a value that is not finite.
    """
    z, z_hat = _equally_many(z, z_hat)
    shutdown.check('between assignments')
    costs = distance.cdist(z, z_hat)
    # Constants of rows and columns do not change the optimum; without them it is found sooner.
    reduced = costs - costs.min(axis=0)
    reduced -= reduced.min(axis=1, keepdims=True)
    return float(costs[linear_sum_assignment(reduced)].mean())


def _equally_many(z: np.ndarray, z_hat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z, z_hat = checked_pair(z, z_hat)
    if len(z) != len(z_hat):
        raise ValueError(
            f'both sides must have equal numbers of codes, not {len(z)} and {len(z_hat)}'
        )
    return z, z_hat


def scale(z: np.ndarray) -> float:
    """Returns the root of the total variance of codes [n, m].

    Distances divided by the scale do not decrease if a method only shrinks its codes.

    Raises:
        ValueError: fewer than two codes, or a value that is not finite.
    """
    return float(np.sqrt(checked_samples(z).var(axis=0, ddof=1).sum()))


def effective_rank(z: np.ndarray) -> float:
    """Returns the effective number of dimensions of codes [n, m]: 1 to m, 0 if all are equal.

    This is the exponential of the entropy of the normalized eigenvalues of the covariance
    (Roy and Vetterli 2007, Definition 1).

    Raises:
        ValueError: fewer than two codes, or a value that is not finite.
    """
    values = np.maximum(np.linalg.eigvalsh(moments(z).covariance), 0.0)
    if not values.any():
        return 0.0
    shares = values[values > 0.0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def mmd(z: np.ndarray, z_hat: np.ndarray) -> float:
    """Returns the unbiased squared maximum mean discrepancy.

    It can be slightly negative if the distributions are equal.

    The kernel is WAE's (Tolstikhin et al. 2018): the sum over MMD_SCALES of C / (C + |a - b|^2),
    C = scale * 2 m sigma^2. A learned prior has no sigma, so m sigma^2 is the total variance of
    `z_hat`. All pairs are held in memory, which limits it to a few thousand codes.

    Args:
        z: [n, m].
        z_hat: [k, m].

    Raises:
        ValueError: different m, fewer than two codes, or a value that is not finite.
    """
    z, z_hat = checked_pair(z, z_hat)
    # For a prior collapsed to a point, the limit of the kernel: 1 at equality, 0 elsewhere.
    spread = max(2.0 * scale(z_hat) ** 2, np.finfo(np.float64).tiny / MMD_SCALES[0])

    def mean_kernel(squares: np.ndarray) -> float:
        return sum((s * spread / (s * spread + squares)).mean() for s in MMD_SCALES)

    within = mean_kernel(distance.pdist(z, 'sqeuclidean'))
    within_hat = mean_kernel(distance.pdist(z_hat, 'sqeuclidean'))
    across = mean_kernel(distance.cdist(z, z_hat, 'sqeuclidean'))
    return float(within + within_hat - 2.0 * across)
