"""Image files -> uint8 arrays: decoding, cropping and resizing in parallel."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flexae_tf.data import memory
from flexae_tf.errors import MissingDataError

# Identifies the pixel values that an image file decodes to. Protocols of scores contain it.
DECODER = 'islow_exif_white_16bit'
MAX_LISTED = 10  # unreadable files that an error lists


def file_contents(paths: Sequence[str]) -> tf.data.Dataset:
    """Returns the contents of files, scalar strings, read in parallel but in order."""
    # As bytes: names need not be UTF-8.
    dataset = tf.data.Dataset.from_tensor_slices([os.fsencode(path) for path in paths])
    return dataset.map(tf.io.read_file, num_parallel_calls=tf.data.AUTOTUNE)


def read_images(
    encoded: tf.data.Dataset,
    names: Sequence[str],
    *,
    size: int,
    crop: int | None = None,
    shape: tuple[int | None, int | None] = (None, None),
) -> np.ndarray:
    """Decodes, crops and resizes images, in parallel, into one array.

    Args:
        encoded: contents of PNG or JPEG files, scalar strings.
        names: name of each file in error messages.
        size: height and width of the results.
        crop: see `crop_and_resize`.
        shape: required height and width of every image; None allows any size.

    Returns:
        uint8 [n, size, size, 3].

    Raises:
        MissingDataError: unreadable images, or images of another shape.
        UsageError: not enough memory.
    """
    # Twice: the parts of the data set are copies.
    memory.check(2 * len(names) * size**2 * 3, f'{len(names)} images of {size}x{size}')

    def decode_and_resize(content: tf.Tensor) -> tf.Tensor:
        image = tf.ensure_shape(decode(content), [*shape, 3])
        return crop_and_resize(image, size=size, crop=crop)

    images = np.empty([len(names), size, size, 3], np.uint8)
    label = 'image' if None in shape else f'image of {shape[1]}x{shape[0]}'
    for i, image in decode_all(encoded, names, decode_and_resize, label=label):
        images[i] = image
    return images


def decode(content: tf.Tensor) -> tf.Tensor:
    """Returns the image of a PNG or JPEG file, uint8 [h, w, 3]; alpha and EXIF are ignored."""
    return tf.io.decode_image(content, channels=3, expand_animations=False)


def decode_all(
    encoded: tf.data.Dataset,
    names: Sequence[str],
    function: Callable[[tf.Tensor], tf.Tensor],
    *,
    label: str = 'image',
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index, image) in order; reads all files before it raises an error.

    Args:
        encoded: contents of PNG or JPEG files, scalar strings.
        names: name of each file in error messages.
        function: maps the contents of a file to an image.
        label: required kind of image, for the error message.

    Raises:
        MissingDataError: at the end, if `function` failed for some files.
    """
    decoded = encoded.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    images, unreadable = decoded.as_numpy_iterator(), []
    for i, name in enumerate(tqdm(names, desc='reading images', disable=not sys.stderr.isatty())):
        try:
            image = next(images)
        except tf.errors.OpError:
            unreadable.append(name)
            continue
        except StopIteration:  # a generator of contents ends after an error
            break
        yield i, image
    if unreadable:
        listed = ', '.join(unreadable[:MAX_LISTED])
        listed += ', ...' if len(unreadable) > MAX_LISTED else ''
        count = f'{len(unreadable)} files: ' if len(unreadable) > 1 else ''
        raise MissingDataError(
            f'{count}{listed}: not a readable PNG or JPEG {label}. Remove or replace it.'
        )


def crop_and_resize(image: tf.Tensor, *, size: int, crop: int | None = None) -> tf.Tensor:
    """Crops the central square of images and resizes it with an antialiasing triangle filter.

    The filter is Pillow's `BILINEAR`. Plain bilinear sampling, TensorFlow's default, skips pixels
    when it shrinks an image and shifts a Fréchet distance by several points.

    Args:
        image: uint8 [..., h, w, c].
        size: height and width of the result.
        crop: side of the square, at most h and w; None for the largest square.

    Returns:
        uint8 [..., size, size, c], rounded.
    """
    height, width = tf.shape(image)[-3], tf.shape(image)[-2]
    side = tf.minimum(height, width) if crop is None else crop
    top, left = (height - side) // 2, (width - side) // 2
    square = image[..., top : top + side, left : left + side, :]
    resized = tf.image.resize(square, [size, size], antialias=True)
    return tf.saturate_cast(tf.round(resized), tf.uint8)
