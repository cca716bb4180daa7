"""Test for samples that copy training images, by distances to the nearest training images."""

import numpy as np
from scipy.stats import rankdata


def copying_z_score(real: np.ndarray, fake: np.ndarray) -> float:
    """Returns the z-score of the Mann-Whitney U test of two sets of distances.

    This is the three-sample test of Meehan et al. 2020 with a single cell. The score is negative if
    samples are nearer to training images than real images are, and normal with variance 1 if
    samples and real images have one distribution. Its extremes are +-sqrt(3 n k / (n + k + 1)).

    Blur moves images nearer to others. So the samples of a decoder have a negative score without
    copies, and the score of reconstructions of real images is the fair comparison.

    Args:
        real: distances [n] of real images that were not trained on to their nearest training
            images.
        fake: distances [k] of samples to their nearest training images.

    Raises:
        ValueError: a set is empty, or a value is not finite.
    """
    n, k = len(real), len(fake)
    distances = np.concatenate([real, fake])
    if not n or not k or not np.isfinite(distances).all():
        raise ValueError(f'{n} and {k} distances must be finite and not empty')
    # Pairs whose sample is farther away than the real image; equal distances count half.
    farther = rankdata(distances)[n:].sum() - k * (k + 1) / 2
    return float((farther - n * k / 2) / np.sqrt(n * k * (n + k + 1) / 12))
