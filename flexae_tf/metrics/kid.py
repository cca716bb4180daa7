"""Kernel distance of two sets of features; the KID if the features are Inception's pool_3.

k(a, b) = (a.b / d + 1)^3    (Binkowski et al. 2018)
"""

from typing import NamedTuple

import numpy as np

from flexae_tf import shutdown
from flexae_tf.metrics.checks import checked_pair


class KernelDistance(NamedTuple):
    """Mean and standard deviation over subsets; `sd` is None for a single estimate."""

    mean: float
    sd: float | None


def kernel_distance(
    real: np.ndarray,
    fake: np.ndarray,
    *,
    num_subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> KernelDistance:
    """Returns the unbiased squared maximum mean discrepancy under k, averaged over subsets.

    The estimate can be slightly negative if the distributions are equal. The standard deviation
    over the subsets is not the standard error of the mean, because subsets overlap.

    Args:
        real: [n, d] features of the reference.
        fake: [m, d] features of the scored set.
        num_subsets: number of estimates; a single one if neither set is larger than `subset_size`.
        subset_size: samples of each set per subset, without replacement; all if there are not more.
        seed: determines the subsets.

    Raises:
        ValueError: fewer than two samples, different d, or a value that is not finite.
    """
    real, fake = checked_pair(real, fake)
    if max(len(real), len(fake)) <= subset_size:
        num_subsets = 1
    rng = np.random.default_rng(seed)

    def subset(samples: np.ndarray) -> np.ndarray:
        shutdown.check('between subsets')
        return samples[rng.choice(len(samples), min(subset_size, len(samples)), replace=False)]

    estimates = [_mmd(subset(real), subset(fake)) for _ in range(num_subsets)]
    sd = float(np.std(estimates)) if num_subsets > 1 else None
    return KernelDistance(float(np.mean(estimates)), sd)


def _mmd(a: np.ndarray, b: np.ndarray) -> float:
    across = _sum_of_kernel(a @ b.T, a.shape[1]) / (len(a) * len(b))
    return _mean_within(a) + _mean_within(b) - 2.0 * across


def _mean_within(a: np.ndarray) -> float:
    """Returns the mean of k over pairs of different rows of a [n, d], which makes it unbiased."""
    num, d = a.shape
    own = np.sum(a * a, axis=1)
    return (_sum_of_kernel(a @ a.T, d) - _sum_of_kernel(own, d)) / (num * (num - 1))


def _sum_of_kernel(products: np.ndarray, d: int) -> float:
    base = products / d + 1.0
    return np.vdot(base, base * base)  # faster than a power
