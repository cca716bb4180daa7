"""Postprocessing of examples before they are scored, and raw values as features."""

import numpy as np

from flexae_tf.image_grid import to_uint8


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
