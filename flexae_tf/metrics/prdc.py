"""Which features lie in balls that reach to the k-th nearest neighbour: precision, recall, density.

A radius is itself one of the distances compared with it, so ties are the rule: the k-th neighbour
lies on the ball it defines, and equal samples at equal distances. Rounded matrix products would
break them, in a way that depends on the machine. So the features are rounded first, to integers no
larger than 2^bits, with as many bits as keep d (2 * 2^bits)^2 within 2^53: 20 for d = 2048. Then
|a|^2 + |b|^2 - 2 a.b is exact in float64 in whatever order it is summed, and so is every count of
the rounded features. Their scale is that of the largest: an outlier some 10000 times as far as the
others leaves them too few digits.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from flexae_tf.metrics.checks import checked_pair

_BLOCK = 1000  # rows of distances held at a time


class ImprovedPrecisionRecall(NamedTuple):
    """Share of fakes in the balls of the reals, and of reals in the balls of the fakes."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """In how many balls of reals a fake lies, over k, and the share of these balls with a fake."""

    density: float
    coverage: float


def improved_precision_recall(
    real: np.ndarray, fake: np.ndarray, *, k: int = 3
) -> ImprovedPrecisionRecall:
    """Precision and recall of Kynkaanniemi et al. 2019, Eqs. 1 and 2; balls hold their surface.

    Args:
        real: [n, d] features of the reference.
        fake: [m, d] features of what is judged.
        k: which neighbour, in its own set, the ball of a sample reaches to.

    Raises:
        ValueError: no more than k samples, different d, or a value that is not finite.
    """
    real, fake = _on_grid(real, fake)
    real_radii, fake_radii = _radii(real, k), _radii(fake, k)
    precise, recalled = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    for rows, squares in _squared_distances(fake, real):
        precise[rows] = (squares <= real_radii).any(axis=1)
        recalled |= (squares <= fake_radii[rows, None]).any(axis=0)
    return ImprovedPrecisionRecall(float(precise.mean()), float(recalled.mean()))


def density_coverage(real: np.ndarray, fake: np.ndarray, *, k: int = 5) -> DensityCoverage:
    """Density and coverage of Naeem et al. 2020, Eqs. 4 and 5; balls do not hold their surface.

    For two samples of one continuous law the density is 1 on average; it may be larger.

    Args:
        real: [n, d] features of the reference.
        fake: [m, d] features of what is judged.
        k: which neighbour among the reals the ball of a real reaches to.

    Raises:
        ValueError: no more than k reals, fewer than two fakes, different d, or a value that is not
            finite.
    """
    real, fake = _on_grid(real, fake)
    radii = _radii(real, k)
    num_inside, covered = 0, np.zeros(len(real), bool)
    for _, squares in _squared_distances(fake, real):
        inside = squares < radii
        num_inside += int(inside.sum())
        covered |= inside.any(axis=0)
    return DensityCoverage(num_inside / (k * len(fake)), float(covered.mean()))


def _on_grid(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sets, checked, in integers of one scale: float64 [n, d] and [m, d]."""
    real, fake = checked_pair(real, fake)
    # Seen from a sample, in units of a power of two: what was on a grid of integers stays on one.
    origin = real[0]
    real, fake = real - origin, fake - origin
    bits = (51 - (len(origin) - 1).bit_length()) // 2
    exponent = np.frexp(max(np.abs(real).max(), np.abs(fake).max()))[1]
    return np.rint(np.ldexp(real, bits - exponent)), np.rint(np.ldexp(fake, bits - exponent))


def _radii(samples: np.ndarray, k: int) -> np.ndarray:
    """Squared distances [n] of the samples [n, d] to their k-th neighbours among the others."""
    if len(samples) <= k:
        raise ValueError(f'neighbour {k} needs more than {k} samples, not {len(samples)}')
    # The nearest of all, number 0, is the sample itself.
    blocks = _squared_distances(samples, samples)
    return np.concatenate([np.partition(squares, k)[:, k] for _, squares in blocks])


def _squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Some rows of a [n, d] and their squared distances [rows, m] to b [m, d], until all were."""
    norms = np.sum(b * b, axis=1)
    for start in range(0, len(a), _BLOCK):
        rows = slice(start, start + _BLOCK)
        squares = (-2.0 * a[rows]) @ b.T
        squares += np.sum(a[rows] * a[rows], axis=1)[:, None]
        squares += norms
        yield rows, squares
