"""Frechet distance between Gaussians fitted to two sets of features.

FD = |mu_r - mu_f|^2 + tr(S_r) + tr(S_f) - 2 tr((S_r S_f)^{1/2})    (Heusel et al. 2017, Eq. 6)

Let S_r = A A^T and S_f = B B^T. For any roots A and B, the last trace is the sum of the singular
values of A^T B. Singular values of a real matrix are real, so no term is added to a diagonal.

Decompositions are NumPy's, because SciPy's hold the lock of the interpreter: for minutes the thread
of `shutdown` could not receive a signal.
"""

import contextlib
import dataclasses
import math

import numpy as np

from flexae_tf import shutdown
from flexae_tf.metrics.checks import checked_pair, checked_samples


@dataclasses.dataclass(frozen=True)
class Moments:
    """Mean [d] and covariance [d, d] of a set, float64, and its size."""

    mean: np.ndarray
    covariance: np.ndarray
    num: int


def moments(features: np.ndarray) -> Moments:
    """Returns mean and covariance (divided by n - 1) of features [n, d].

    Raises:
        ValueError: fewer than two samples, or a value that is not finite.
    """
    features = checked_samples(features)
    mean, root = _mean_and_root(features)
    return Moments(mean, root.T @ root, len(features))


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Returns the Frechet distance of two sets of features, in float64; never negative.

    Args:
        real: [n, d] features of the reference.
        fake: [m, d] features of the scored set.

    Raises:
        ValueError: fewer than two samples, different d, or a value that is not finite.
    """
    real, fake = checked_pair(real, fake)
    if min(len(real), len(fake)) > real.shape[1]:
        return frechet_distance_of_moments(moments(real), moments(fake))
    # A few samples are a root of their covariance. This is faster than eigenvalues of a
    # rank-deficient matrix, whose rounding errors the square root would enlarge.
    real_mean, real_root = _mean_and_root(real)
    fake_mean, fake_root = _mean_and_root(fake)
    variance = np.sum(real_root**2) + np.sum(fake_root**2)
    overlap = np.linalg.svd(real_root @ fake_root.T, compute_uv=False).sum()
    return _distance(real_mean - fake_mean, variance, overlap)


def frechet_distance_of_moments(a: Moments, b: Moments) -> float:
    """Returns the Frechet distance of two sets given by their moments, as `frechet_distance`.

    Raises:
        ValueError: different d, or a value that is not finite.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f'moments of different sizes: {a.mean.size} and {b.mean.size}')
    # The root of the lower rank comes first, so that no eigenvalue of the product is zero except
    # for rounding.
    a, b = sorted((a, b), key=lambda m: m.num)
    return _distance_by_root(_covariance_root(a.covariance), a, b)


def frechet_distance_infinity(
    real: np.ndarray, fake: np.ndarray, *, num_points: int = 15, seed: int = 0
) -> float:
    """Returns the distance extrapolated to infinitely many fakes (Chong and Forsyth 2020).

    The bias of the distance is roughly proportional to 1 / number of fakes. A line in 1 / size is
    fitted to the distances of random subsets, from half of the fakes to all; its value at 0 is
    returned. Noise may make it negative, and the bias by the number of reals remains.

    Args:
        real: [n, d] features of the reference.
        fake: [m, d] features of the scored set, at least 4.
        num_points: number of subset sizes, equally spaced; at least 2.
        seed: determines the subsets.

    Raises:
        ValueError: too few samples, different d, or a value that is not finite.
    """
    real, fake = checked_pair(real, fake)
    if len(fake) < 4:
        raise ValueError(f'at least 4 fakes are needed, not {len(fake)}')
    sizes = np.linspace(len(fake) // 2, len(fake), num_points).astype(int)
    rng = np.random.default_rng(seed)

    def subset(size: int) -> np.ndarray:
        shutdown.check('between subsets')
        return fake[rng.choice(len(fake), size, replace=False)]

    if min(len(real), sizes[0]) > real.shape[1]:
        a = moments(real)
        root = _covariance_root(a.covariance)  # the slowest step, once for all subsets
        distances = [_distance_by_root(root, a, moments(subset(size))) for size in sizes]
    else:
        distances = [frechet_distance(real, subset(size)) for size in sizes]
    return float(np.polynomial.Polynomial.fit(1.0 / sizes, distances, 1)(0.0))


def frechet_distance_sd(
    real: np.ndarray,
    fake: np.ndarray,
    *,
    num_resamples: int = 20,
    seed: int = 0,
    paired: bool = False,
) -> float:
    """Returns the standard deviation of the distance by the bootstrap (Efron 1979).

    Args:
        real: [n, d] features of the reference.
        fake: [m, d] features of the scored set.
        num_resamples: number of resamples of both sides with replacement; at least 2.
        seed: determines the resamples.
        paired: whether row i of both sides belongs together, as an image and its reconstruction;
            pairs are resampled together.

    Raises:
        ValueError: fewer than two samples, different d, different numbers of paired samples, or a
            value that is not finite.
    """
    real, fake = checked_pair(real, fake)
    if paired and len(real) != len(fake):
        raise ValueError(f'paired sets must have equal sizes, not {len(real)} and {len(fake)}')
    rng = np.random.default_rng(seed)
    distances = []
    for _ in range(num_resamples):
        shutdown.check('between resamples')
        rows = rng.integers(len(real), size=len(real))
        fake_rows = rows if paired else rng.integers(len(fake), size=len(fake))
        distances.append(frechet_distance(real[rows], fake[fake_rows]))
    return float(np.std(distances, ddof=1))


def _distance_by_root(root: np.ndarray, a: Moments, b: Moments) -> float:
    """Returns the Frechet distance, given a root [d, rank] of the covariance of a."""
    squares = np.linalg.eigvalsh(root.T @ b.covariance @ root)
    overlap = np.sqrt(np.maximum(squares, 0.0)).sum()
    return _distance(a.mean - b.mean, np.trace(a.covariance) + np.trace(b.covariance), overlap)


def _distance(gap: np.ndarray, variance: float, overlap: float) -> float:
    distance = float(gap @ gap + variance - 2.0 * overlap)
    if not math.isfinite(distance):
        raise ValueError('moments hold values that are not finite')
    return max(0.0, distance)  # rounding makes the distance of equal sets slightly negative


def _mean_and_root(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean [d] and an R [n, d] with covariance R^T R."""
    # Relative to one sample, equal features are exactly zero, and so is their variance.
    origin = features[0]
    centred = features - origin
    offset = centred.mean(axis=0)
    centred -= offset
    centred /= np.sqrt(len(features) - 1)
    return origin + offset, centred


def _covariance_root(covariance: np.ndarray) -> np.ndarray:
    """Returns an A [d, rank] with A A^T = covariance."""
    with contextlib.suppress(np.linalg.LinAlgError):
        root = np.linalg.cholesky(covariance)
        pivots = np.diag(root)
        # Ten times faster than eigenvectors, with equal accuracy unless a direction is constant.
        if pivots.min() > 1e-4 * pivots.max():
            return root
    values, vectors = np.linalg.eigh(covariance)
    # A zero eigenvalue comes out as 1e-16 of the largest; its square root would be 1e-8.
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])
