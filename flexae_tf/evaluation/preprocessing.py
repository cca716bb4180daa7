"""Images -> input of a feature network: three channels, its size, its range of values.

The resize of small images has the largest effect on a score in this module, so its method is part
of the protocol.
"""

import numpy as np
import tensorflow as tf


def _tf1_bilinear(images: tf.Tensor, sides: list[int]) -> tf.Tensor:
    # `tf.image.resize` aligns centres of pixels; TensorFlow 1 aligned their corners.
    return tf.raw_ops.ResizeBilinear(images=images, size=sides, half_pixel_centers=False)


def _half_pixel_bilinear(images: tf.Tensor, sides: list[int]) -> tf.Tensor:
    return tf.image.resize(images, sides, 'bilinear')


def _antialiased_bicubic(images: tf.Tensor, sides: list[int]) -> tf.Tensor:
    resized = tf.image.resize(images, sides, 'bicubic', antialias=True)
    return tf.clip_by_value(resized, 0.0, 255.0)  # cubic interpolation overshoots


RESIZES = {
    'tf1_bilinear': _tf1_bilinear,  # the Inception graph of 2015, hence the literature
    'half_pixel_bilinear': _half_pixel_bilinear,  # pytorch-fid
    'antialiased_bicubic': _antialiased_bicubic,  # clean-fid
}


def check_images(images: np.ndarray) -> None:
    """Checks that an array holds images in 0..255, [n, h, w, 1 or 3] of uint8 or float32.

    Raises:
        ValueError: another shape, type or range.
    """
    shape = images.shape
    valid = len(shape) == 4 and shape[0] > 0 and shape[3] in (1, 3)
    if not valid or images.dtype not in (np.uint8, np.float32):
        raise ValueError(
            f'images must be uint8 or float32 [n, h, w, 1 or 3], not {images.dtype} {shape}'
        )
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 255):  # false for NaN too
        raise ValueError(f'images must be in 0..255, not in {low}..{high}')


def preprocess(
    images: tf.Tensor, resize: str, size: int, value_range: tuple[float, float]
) -> tf.Tensor:
    """Returns the input of the network.

    Args:
        images: float32 [n, h, w, 1 or 3] in 0..255 with static n; grey is copied to three channels.
        resize: a key of `RESIZES`.
        size: height and width of the result.
        value_range: results for 0 and 255.

    Returns:
        float32 [n, size, size, 3].
    """
    images = RESIZES[resize](images, [size, size])
    images = tf.broadcast_to(images, [images.shape[0], size, size, 3])
    low, high = value_range
    return images * ((high - low) / 255.0) + low
