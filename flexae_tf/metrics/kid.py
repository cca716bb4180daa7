"""Kernel distance of two sets of features: the KID, on whatever features.

k(a, b) = (a.b / d + 1)^3    (Binkowski et al. 2018)
"""

from typing import NamedTuple

import numpy as np

from flexae_tf.metrics.checks import checked_pair


class KernelDistance(NamedTuple):
    """Mean and standard deviation of the estimates from subsets; one estimate has none."""

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
    """Squared maximum mean discrepancy under k, unbiased, averaged over random subsets.

    A little negative when the two laws are equal. The deviation (divided by `num_subsets`) is that
    of one subset; as subsets overlap, it does not tell the error of the mean.

    Args:
        real: [n, d] features of the reference.
        fake: [m, d] features of what is judged.
        num_subsets: how many estimates; 1, without deviation, where neither set is larger than
            `subset_size`.
        subset_size: samples drawn of each set without replacement; all, where there are not more.
        seed: of the subsets; the same seed, the same subsets.

    Raises:
        ValueError: fewer than two samples, different d, or a value that is not finite.
    """
    real, fake = checked_pair(real, fake)
    if max(len(real), len(fake)) <= subset_size:
        num_subsets = 1
    rng = np.random.default_rng(seed)

    def draw(samples: np.ndarray) -> np.ndarray:
        return samples[rng.choice(len(samples), min(subset_size, len(samples)), replace=False)]

    estimates = [_mmd(draw(real), draw(fake)) for _ in range(num_subsets)]
    sd = float(np.std(estimates)) if num_subsets > 1 else None
    return KernelDistance(float(np.mean(estimates)), sd)


def _mmd(a: np.ndarray, b: np.ndarray) -> float:
    across = _sum_of_kernel(a @ b.T, a.shape[1]) / (len(a) * len(b))
    return _mean_within(a) + _mean_within(b) - 2.0 * across


def _mean_within(a: np.ndarray) -> float:
    """Mean of k over the pairs of different rows of a [n, d]: without them the bias would stay."""
    num, d = a.shape
    own = np.sum(a * a, axis=1)
    return (_sum_of_kernel(a @ a.T, d) - _sum_of_kernel(own, d)) / (num * (num - 1))


def _sum_of_kernel(products: np.ndarray, d: int) -> float:
    base = products / d + 1.0
    return np.vdot(base, base * base)  # a power would take longer than the products
