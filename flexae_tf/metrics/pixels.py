"""Postprocessing of examples before they are scored, raw values as features, and neighbours."""

import numpy as np

from flexae_tf.image_grid import to_uint8

_BLOCK = 2**23  # values held as float64 by `nearest_images`: 64 MB


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

    Sums of products of uint8 values are integers far below 2^53, so float64 is exact. Of equal
    distances the lower index comes first.

    Args:
        queries: uint8 [q, ...].
        x: uint8 [n, ...].
        num: number of neighbours, at most n.

    Raises:
        ValueError: values that are not uint8, different shapes, or fewer than `num` images.
    """
    if not queries.dtype == x.dtype == np.uint8:
        raise ValueError(f'images must be uint8, not {queries.dtype} and {x.dtype}')
    if queries.shape[1:] != x.shape[1:] or len(x) < num:
        raise ValueError(f'{num} neighbours of {queries.shape} among {x.shape}')
    a = queries.reshape([len(queries), -1]).astype(np.float64)
    norms = np.sum(a * a, axis=1)[:, None]
    best = np.zeros([len(a), 0], np.int64)  # squared distance * n + index
    rows = max(1, _BLOCK // a.shape[1])
    for start in range(0, len(x), rows):
        b = x[start : start + rows].reshape([-1, a.shape[1]]).astype(np.float64)
        squares = norms - 2.0 * (a @ b.T) + np.einsum('ij,ij->i', b, b)
        new = squares.astype(np.int64) * len(x) + np.arange(start, start + len(b))
        best = np.sort(np.concatenate([best, new], axis=1), axis=1)[:, :num]
    return best % len(x)
