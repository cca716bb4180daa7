"""Postprocessing of examples before they are scored, raw values as features, and neighbours."""

import math

import numpy as np

from flexae_tf import shutdown
from flexae_tf.image_grid import to_uint8

_BLOCK = 2**23  # values of images held as float32: 32 MB
_ROWS = 1024  # images of a block of `nearest_distances`, on each side
# Products of values in -128..127 are at most 2^14. float32 holds integers up to 2^24, so the sum of
# so many products is exact, in any order and at twice the speed of float64.
_EXACT = 1024


def postprocess_images(
    x: np.ndarray, *, quantization: str = 'uint8_round', minmax_normalize: bool = False
) -> np.ndarray:
    """Returns outputs of a decoder as they are scored.

    Args:
        x: images [n, h, w, c] in [0, 1]; vectors [n, d] are returned unchanged.
        quantization: as in `Protocol`: 'uint8_round' or 'none'.
        minmax_normalize: whether each image is stretched to fill [0, 1], as the authors do;
            constant images are not.

    Returns:
        uint8 images, or float32 images in 0..255 if they are not rounded.
    """
    if x.ndim != 4:
        return x
    if minmax_normalize:
        low, high = x.min(axis=(1, 2, 3), keepdims=True), x.max(axis=(1, 2, 3), keepdims=True)
        x = np.where(high > low, (x - low) / np.where(high > low, high - low, 1.0), x)
    return to_uint8(x) if quantization == 'uint8_round' else np.float32(x * 255.0)


def pixel_features(x: np.ndarray) -> np.ndarray:
    """Returns the values of each example as a row, float32 [n, d]; images 0..255 become [0, 1]."""
    rows = x.reshape([len(x), -1]).astype(np.float32)
    return rows / 255.0 if x.ndim == 4 else rows


def nearest_images(queries: np.ndarray, x: np.ndarray, *, num: int) -> np.ndarray:
    """Returns indices of the nearest images in Euclidean distance, nearest first: int [q, num].

    Distances are exact. Of equal distances the lower index comes first.

    Args:
        queries: uint8 [q, ...].
        x: uint8 [n, ...].
        num: number of neighbours, at most n.

    Raises:
        ValueError: values that are not uint8, different shapes, or fewer than `num` images.
    """
    _check_images(queries, x, num)
    a = _centred(queries)
    best = np.zeros([len(a), 0], np.int64)  # squared distance * n + index
    rows = max(1, _BLOCK // a.shape[1])
    for start in range(0, len(x), rows):
        squares = _squared_distances(a, _centred(x[start : start + rows]))
        new = squares.astype(np.int64) * len(x) + np.arange(start, start + squares.shape[1])
        best = np.sort(np.concatenate([best, new], axis=1), axis=1)[:, :num]
    return best % len(x)


def nearest_distances(queries: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns exact Euclidean distances to the nearest images, of values in [0, 1]: float64 [q].

    Args:
        queries: uint8 [q, ...].
        x: uint8 [n, ...].

    Raises:
        ValueError: values that are not uint8, different shapes, or no images.
        Interrupted: a signal was received.
    """
    _check_images(queries, x, 1)
    rows = min(max(1, _BLOCK // math.prod(x.shape[1:])), _ROWS)
    nearest = np.full(len(queries), np.inf)
    for start in range(0, len(x), rows):
        b = _centred(x[start : start + rows])
        for first in range(0, len(queries), rows):
            shutdown.check('between blocks of distances')
            part = slice(first, first + rows)
            squares = _squared_distances(_centred(queries[part]), b)
            nearest[part] = np.minimum(nearest[part], squares.min(axis=1))
    return np.sqrt(nearest) / 255.0


def _check_images(queries: np.ndarray, x: np.ndarray, num: int) -> None:
    if not queries.dtype == x.dtype == np.uint8:
        raise ValueError(f'images must be uint8, not {queries.dtype} and {x.dtype}')
    if queries.shape[1:] != x.shape[1:] or len(x) < num:
        raise ValueError(f'{num} neighbours of {queries.shape} among {x.shape}')


def _centred(x: np.ndarray) -> np.ndarray:
    """Returns uint8 images as rows in -128..127, float32 [n, d]."""
    return x.reshape([len(x), -1]).astype(np.float32) - np.float32(128)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns squared distances of rows of `_centred`, exact float64 [n, k]."""
    products = np.zeros([len(a), len(b)])
    for start in range(0, a.shape[1], _EXACT):
        columns = slice(start, start + _EXACT)
        products += a[:, columns] @ b[:, columns].T
    norms = [np.einsum('ij,ij->i', rows, rows, dtype=np.float64) for rows in (a, b)]
    return norms[0][:, None] + norms[1] - 2.0 * products
