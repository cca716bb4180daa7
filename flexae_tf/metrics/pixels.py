"""Examples as they are scored, and their raw values as features."""

import numpy as np

from flexae_tf.image_grid import to_uint8


def postprocess_images(
    x: np.ndarray, *, quantization: str = 'uint8_round', minmax_normalize: bool = False
) -> np.ndarray:
    """A decoder's output as it is scored.

    Args:
        x: images [n, h, w, c] in [0, 1]; or vectors [n, d], which stay what they are.
        quantization: as in `Protocol`: images become uint8, rounded, or stay unrounded.
        minmax_normalize: whether each image is stretched to [0, 1], as the authors do; one that
            is of one value all over cannot be.

    Returns:
        images uint8, or float32 in 0..255 when not rounded.
    """
    if x.ndim != 4:
        return x
    if minmax_normalize:
        low, high = x.min(axis=(1, 2, 3), keepdims=True), x.max(axis=(1, 2, 3), keepdims=True)
        x = np.where(high > low, (x - low) / np.where(high > low, high - low, 1.0), x)
    return to_uint8(x) if quantization == 'uint8_round' else np.float32(x * 255.0)


def pixel_features(x: np.ndarray) -> np.ndarray:
    """The values of each example as a feature row, float32 [n, d]; images 0..255 as in [0, 1]."""
    rows = x.reshape([len(x), -1]).astype(np.float32)
    return rows / 255.0 if x.ndim == 4 else rows
