"""Frechet distance between Gaussians fitted to two sets of features.

FD = |mu_r - mu_f|^2 + tr(S_r) + tr(S_f) - 2 tr((S_r S_f)^{1/2})    (Heusel et al. 2017, Eq. 6)

With S_r = A A^T and S_f = B B^T the last trace is the sum of the singular values of A^T B, for
whatever roots A and B. Those of a real matrix are never complex; nothing is added to a diagonal.
"""

import contextlib
import dataclasses

import numpy as np
import scipy.linalg

from flexae_tf.metrics.checks import checked_pair, checked_samples


@dataclasses.dataclass(frozen=True)
class Moments:
    """All that the distance needs of a set: mean [d] and covariance [d, d], float64, and size."""

    mean: np.ndarray
    covariance: np.ndarray
    num: int


def moments(features: np.ndarray) -> Moments:
    """Mean and covariance (divided by n - 1) of features [n, d].

    Raises:
        ValueError: fewer than two samples, or a value that is not finite.
    """
    features = checked_samples(features)
    mean, root = _mean_and_root(features)
    return Moments(mean, root.T @ root, len(features))


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Frechet distance of two sets of features, in float64; never negative.

    Args:
        real: [n, d] features of the reference.
        fake: [m, d] features of what is judged.

    Raises:
        ValueError: fewer than two samples, different d, or a value that is not finite.
    """
    real, fake = checked_pair(real, fake)
    if min(len(real), len(fake)) > real.shape[1]:
        return frechet_distance_of_moments(moments(real), moments(fake))
    # Few samples are roots of their covariance themselves: quicker than the eigenvalues of a
    # rank-deficient matrix, and exact where the square root of their rounding would show.
    real_mean, real_root = _mean_and_root(real)
    fake_mean, fake_root = _mean_and_root(fake)
    variance = np.sum(real_root**2) + np.sum(fake_root**2)
    overlap = scipy.linalg.svdvals(real_root @ fake_root.T).sum()
    return _distance(real_mean - fake_mean, variance, overlap)


def frechet_distance_of_moments(a: Moments, b: Moments) -> float:
    """Frechet distance of two sets of which only the moments are kept; as `frechet_distance`.

    Raises:
        ValueError: different d, or a value that is not finite.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f'moments of different sizes: {a.mean.size} and {b.mean.size}')
    # Fewer samples, lower rank: no eigenvalue of the product is then zero but for rounding.
    a, b = sorted((a, b), key=lambda m: m.num)
    return _distance_by_root(_covariance_root(a.covariance), a, b)


def frechet_distance_infinity(
    real: np.ndarray, fake: np.ndarray, *, num_points: int = 15, seed: int = 0
) -> float:
    """What the distance would be from ever more fakes (Chong and Forsyth 2020).

    Few fakes are too far, by about a constant over their number. So the distances of random subsets
    of them, from half to all, are fitted by a line in 1 / size, whose value at 0 this is. Noise may
    make it negative, and the bias of the number of reals stays.

    Args:
        real: [n, d] features of the reference.
        fake: [m, d] features of what is judged, at least 4.
        num_points: how many sizes of subsets, equally spaced; at least 2.
        seed: of the subsets; the same seed, the same subsets.

    Raises:
        ValueError: too few samples, different d, or a value that is not finite.
    """
    real, fake = checked_pair(real, fake)
    if len(fake) < 4:
        raise ValueError(f'at least 4 fakes are needed, as half of them are, not {len(fake)}')
    sizes = np.linspace(len(fake) // 2, len(fake), num_points).astype(int)
    rng = np.random.default_rng(seed)
    subsets = (fake[rng.choice(len(fake), size, replace=False)] for size in sizes)
    if min(len(real), sizes[0]) > real.shape[1]:
        a = moments(real)
        root = _covariance_root(a.covariance)  # by far the longest step: once for all subsets
        distances = [_distance_by_root(root, a, moments(subset)) for subset in subsets]
    else:
        distances = [frechet_distance(real, subset) for subset in subsets]
    return float(np.polynomial.Polynomial.fit(1.0 / sizes, distances, 1)(0.0))


def frechet_distance_sd(
    real: np.ndarray,
    fake: np.ndarray,
    *,
    num_resamples: int = 20,
    seed: int = 0,
    paired: bool = False,
) -> float:
    """Standard deviation of the distance, by the bootstrap (Efron 1979): that of its resamples.

    Args:
        real: [n, d] features of the reference.
        fake: [m, d] features of what is judged.
        num_resamples: how often rows of both sides are drawn with replacement; at least 2.
        seed: of the draws; the same seed, the same draws.
        paired: whether row i of both belongs together, as an image and its reconstruction, and
            they are drawn together.

    Raises:
        ValueError: fewer than two samples, different d, different numbers of samples that are
            paired, or a value that is not finite.
    """
    real, fake = checked_pair(real, fake)
    if paired and len(real) != len(fake):
        raise ValueError(f'pairs need as many on each side, not {len(real)} and {len(fake)}')
    rng = np.random.default_rng(seed)
    distances = []
    for _ in range(num_resamples):
        rows = rng.integers(len(real), size=len(real))
        fake_rows = rows if paired else rng.integers(len(fake), size=len(fake))
        distances.append(frechet_distance(real[rows], fake[fake_rows]))
    return float(np.std(distances, ddof=1))


def _distance_by_root(root: np.ndarray, a: Moments, b: Moments) -> float:
    """Frechet distance, given a root [d, rank] of the covariance of a."""
    squares = scipy.linalg.eigvalsh(root.T @ b.covariance @ root)
    overlap = np.sqrt(np.maximum(squares, 0.0)).sum()
    return _distance(a.mean - b.mean, np.trace(a.covariance) + np.trace(b.covariance), overlap)


def _distance(gap: np.ndarray, variance: float, overlap: float) -> float:
    # Equal sets leave rounding of either sign.
    return max(0.0, float(gap @ gap + variance - 2.0 * overlap))


def _mean_and_root(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] and the R [n, d] with covariance R^T R."""
    # Seen from one of them, equal features are zeros, and so is their variance: not its rounding.
    origin = features[0]
    centred = features - origin
    offset = centred.mean(axis=0)
    centred -= offset
    centred /= np.sqrt(len(features) - 1)
    return origin + offset, centred


def _covariance_root(covariance: np.ndarray) -> np.ndarray:
    """An A [d, rank] with A A^T = covariance."""
    with contextlib.suppress(scipy.linalg.LinAlgError):
        root = scipy.linalg.cholesky(covariance, lower=True)
        pivots = np.diag(root)
        # A tenth of the time of eigenvectors, and as good while no direction is all but constant.
        if pivots.min() > 1e-4 * pivots.max():
            return root
    values, vectors = scipy.linalg.eigh(covariance)
    # What is left of a zero eigenvalue is 1e-16 of the largest; its square root would be 1e-8.
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])
