"""Frechet distance between Gaussians fitted to two sets of features.

FD = |mu_r - mu_f|^2 + tr(S_r) + tr(S_f) - 2 tr((S_r S_f)^{1/2})    (Heusel et al. 2017, Eq. 6)

With S_r = A A^T and S_f = B B^T the last trace is the sum of the singular values of A^T B, for
whatever roots A and B. Those of a real matrix are never complex; nothing is added to a diagonal.
"""

import dataclasses

import numpy as np
import scipy.linalg

from flexae_tf.metrics.samples import checked_pair, checked_samples


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
    # Fewer samples, lower rank: no eigenvalue below is then zero but for rounding.
    a, b = sorted((a, b), key=lambda m: m.num)
    root = _covariance_root(a.covariance)  # [d, rank]
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
    """The A [d, rank] with A A^T = covariance."""
    values, vectors = scipy.linalg.eigh(covariance)
    # What is left of a zero eigenvalue is 1e-16 of the largest; its square root would be 1e-8.
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])
