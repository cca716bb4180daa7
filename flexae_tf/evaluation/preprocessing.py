"""Images -> what an Inception network takes: three channels, its size, [-1, 1).

How small images are resized moves a score more than anything else here, so the kind of the resize
is part of what a score means.
"""

import numpy as np
import tensorflow as tf


def _tf1_bilinear(images: tf.Tensor, sides: list[int]) -> tf.Tensor:
    # `tf.image.resize` has left the corners of pixels for their centres.
    return tf.raw_ops.ResizeBilinear(images=images, size=sides, half_pixel_centers=False)


def _half_pixel_bilinear(images: tf.Tensor, sides: list[int]) -> tf.Tensor:
    return tf.image.resize(images, sides, 'bilinear')


def _antialiased_bicubic(images: tf.Tensor, sides: list[int]) -> tf.Tensor:
    resized = tf.image.resize(images, sides, 'bicubic', antialias=True)
    return tf.clip_by_value(resized, 0.0, 255.0)  # a cubic swings beyond what it connects


RESIZES = {
    'tf1_bilinear': _tf1_bilinear,  # of the graph of 2015 itself, and so of the literature
    'half_pixel_bilinear': _half_pixel_bilinear,  # of pytorch-fid
    'antialiased_bicubic': _antialiased_bicubic,  # of clean-fid
}


def check_images(images: np.ndarray) -> None:
    """Makes sure that an array holds images in 0..255, [n, h, w, 1 or 3] of uint8 or float32.

    Raises:
        ValueError: it does not.
    """
    shape = images.shape
    ours = len(shape) == 4 and shape[0] > 0 and shape[3] in (1, 3)
    if not ours or images.dtype not in (np.uint8, np.float32):
        raise ValueError(
            f'images must be uint8 or float32 [n, h, w, 1 or 3], not {images.dtype} {shape}'
        )
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 255):  # NaN is neither
        raise ValueError(f'images must be in 0..255, not in {low}..{high}')


def preprocess(images: tf.Tensor, resize: str, size: int) -> tf.Tensor:
    """What the network takes.

    Args:
        images: float32 [n, h, w, 1 or 3] in 0..255, n being known; grey is copied to three.
        resize: one of `RESIZES`.
        size: of the result.

    Returns:
        float32 [n, size, size, 3] in [-1, 1): 0 is -1, and 128 is 0, as in the graph of 2015.
    """
    images = RESIZES[resize](images, [size, size])
    images = tf.broadcast_to(images, [images.shape[0], size, size, 3])
    return (images - 128.0) / 128.0
