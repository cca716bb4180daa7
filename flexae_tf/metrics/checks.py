"""Checks of feature arrays that every metric shares."""

import numpy as np


def checked_samples(samples: np.ndarray) -> np.ndarray:
    """Returns the samples as float64 [n, d].

    Raises:
        ValueError: not two dimensions, fewer than two samples, or a value that is not finite.
    """
    samples = np.asarray(samples, np.float64)
    if samples.ndim != 2:
        raise ValueError(f'samples must be an array [n, d], not {list(samples.shape)}')
    if len(samples) < 2:
        raise ValueError(f'at least 2 samples are needed, not {len(samples)}')
    if not np.isfinite(samples).all():
        raise ValueError('samples hold values that are not finite')
    return samples


def checked_pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns two sets of samples as float64 [n, d] and [m, d].

    Raises:
        ValueError: as `checked_samples`, or different d.
    """
    a, b = checked_samples(a), checked_samples(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f'samples of different sizes: {a.shape[1]} and {b.shape[1]}')
    return a, b
