"""Similarity of pairs of images: an image and its reconstruction.

Unlike the other metrics, which compare distributions, these compare image i with image i.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flexae_tf import shutdown

LEVELS = 255.0  # difference of the largest and smallest value
SSIM_WINDOW = 11  # side of the Gaussian window, and so the smallest side of an image
SSIM_SIGMA = 1.5
_BATCH = 500  # images per call


def psnr(x: np.ndarray, x_hat: np.ndarray) -> float:
    """Returns the mean peak signal-to-noise ratio of pairs in decibels: 20 log10(255 / RMSE).

    Equal images have no finite ratio. They count as if one value differed by one level, the
    smallest difference of rounded images.

    Args:
        x: images [n, h, w, c], uint8 or float in 0..255.
        x_hat: images of the same shape.

    Raises:
        ValueError: other shapes.
    """
    import tensorflow as tf

    values = _of_pairs(lambda a, b: tf.image.psnr(a, b, max_val=LEVELS), x, x_hat)
    largest = 20.0 * math.log10(LEVELS) + 10.0 * math.log10(math.prod(x.shape[1:]))
    return float(np.minimum(values, largest).mean())


def ssim(x: np.ndarray, x_hat: np.ndarray) -> float:
    """Returns the mean structural similarity of pairs (Wang et al. 2004), at most 1.

    A Gaussian window of 11 x 11 pixels and standard deviation 1.5 moves inside the image; K1 is
    0.01, K2 is 0.03. The mean is over positions, channels and pairs.

    Args:
        x: images [n, h, w, c] with sides of at least 11, uint8 or float in 0..255.
        x_hat: images of the same shape.

    Raises:
        ValueError: other shapes.
    """
    import tensorflow as tf

    if min(x.shape[1:3]) < SSIM_WINDOW:
        raise ValueError(f'images {x.shape[1:]} are smaller than the window of {SSIM_WINDOW}')

    def of_batch(a: Any, b: Any) -> Any:
        return tf.image.ssim(a, b, LEVELS, SSIM_WINDOW, SSIM_SIGMA, k1=0.01, k2=0.03)

    return float(_of_pairs(of_batch, x, x_hat).mean())


def _of_pairs(function: Callable[..., Any], x: np.ndarray, x_hat: np.ndarray) -> np.ndarray:
    """Returns a function of batches of pairs for all pairs, float64 [n]."""
    if x.ndim != 4 or x.shape != x_hat.shape or not len(x):
        raise ValueError(f'pairs must be images of one shape, not {x.shape} and {x_hat.shape}')
    values = []
    for start in range(0, len(x), _BATCH):
        shutdown.check()
        batch = [np.float32(a[start : start + _BATCH]) for a in (x, x_hat)]
        values.append(function(*batch).numpy().astype(np.float64))
    return np.concatenate(values)
