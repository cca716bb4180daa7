"""Precision, recall, density and coverage from balls that reach to the k-th nearest neighbour.

A radius is itself one of the compared distances, so ties are common: the k-th neighbour lies on the
ball that it defines, and equal samples have equal distances. Rounded matrix products would break
ties in a way that depends on the machine. So the features are first rounded to integers of at most
2^bits. The number of bits is the largest with d (2 * 2^bits)^2 within 2^53: 20 for d = 2048. Then
|a|^2 + |b|^2 - 2 a.b is exact in float64 in any order of summation, and so is every count. The
largest feature sets the scale: an outlier 10000 times as far as the other samples leaves them too
few digits.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from flexae_tf import shutdown
from flexae_tf.metrics.checks import checked_pair

BLOCK = 1000  # rows of distances held at a time


class ImprovedPrecisionRecall(NamedTuple):
    """Share of fakes in balls of reals (precision) and of reals in balls of fakes (recall)."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Mean number of real balls around a fake, divided by k; share of real balls with a fake."""

    density: float
    coverage: float


def improved_precision_recall(
    real: np.ndarray, fake: np.ndarray, *, k: int = 3
) -> ImprovedPrecisionRecall:
    """Returns precision and recall of Kynkaanniemi et al. 2019, Eqs. 1 and 2; balls are closed.

    Args:
        real: [n, d] features of the reference.
        fake: [m, d] features of the scored set.
        k: the ball of a sample reaches to its k-th neighbour in its own set.

    Raises:
        ValueError: at most k samples, different d, or a value that is not finite.
    """
    real, fake = on_grid(real, fake)
    real_radii, fake_radii = _radii(real, k), _radii(fake, k)
    precise, recalled = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    for rows, squares in squared_distances(fake, real):
        precise[rows] = (squares <= real_radii).any(axis=1)
        recalled |= (squares <= fake_radii[rows, None]).any(axis=0)
    return ImprovedPrecisionRecall(float(precise.mean()), float(recalled.mean()))


def density_coverage(real: np.ndarray, fake: np.ndarray, *, k: int = 5) -> DensityCoverage:
    """Returns density and coverage of Naeem et al. 2020, Eqs. 4 and 5; balls are open.

    The density of two samples of one continuous distribution is 1 on average; it may exceed 1.

    Args:
        real: [n, d] features of the reference.
        fake: [m, d] features of the scored set.
        k: the ball of a real reaches to its k-th neighbour among the reals.

    Raises:
        ValueError: at most k reals, fewer than two fakes, different d, or a value that is not
            finite.
    """
    real, fake = on_grid(real, fake)
    radii = _radii(real, k)
    num_inside, covered = 0, np.zeros(len(real), bool)
    for _, squares in squared_distances(fake, real):
        inside = squares < radii
        num_inside += int(inside.sum())
        covered |= inside.any(axis=0)
    return DensityCoverage(num_inside / (k * len(fake)), float(covered.mean()))


def on_grid(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both sets, checked, as integers of one scale: float64 [n, d] and [m, d]."""
    real, fake = checked_pair(real, fake)
    # Relative to a sample, in units of a power of two: integers stay integers.
    origin = real[0]
    real, fake = real - origin, fake - origin
    bits = (51 - (len(origin) - 1).bit_length()) // 2
    exponent = np.frexp(max(np.abs(real).max(), np.abs(fake).max()))[1]
    return np.rint(np.ldexp(real, bits - exponent)), np.rint(np.ldexp(fake, bits - exponent))


def _radii(samples: np.ndarray, k: int) -> np.ndarray:
    """Returns squared distances [n] of samples [n, d] to their k-th neighbours."""
    if len(samples) <= k:
        raise ValueError(f'neighbour {k} needs more than {k} samples, not {len(samples)}')
    # Neighbour 0 is the sample itself.
    blocks = squared_distances(samples, samples)
    return np.concatenate([np.partition(squares, k)[:, k] for _, squares in blocks])


def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields blocks of rows of a [n, d] and their squared distances [rows, m] to b [m, d]."""
    norms = np.sum(b * b, axis=1)
    for start in range(0, len(a), BLOCK):
        shutdown.check('between blocks of distances')
        rows = slice(start, start + BLOCK)
        squares = (-2.0 * a[rows]) @ b.T
        squares += np.sum(a[rows] * a[rows], axis=1)[:, None]
        squares += norms
        yield rows, squares
