"""Picture files: decoding, cropping, shrinking; and a folder of them as a data set."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from flexae_tf.data.dataset import Split, fixed_order, hold_out_test, share_for_test
from flexae_tf.errors import MissingDataError, UsageError

SUFFIXES = ('.png', '.jpg', '.jpeg')


def load_folder(folder: Path, *, size: int) -> tuple[Split, Split]:
    """Every picture in `folder` and below, a fixed random tenth of them (at least 2) for testing.

    Args:
        folder: PNG and JPEG files, taken in the order of their paths.
        size: height and width of the results.

    Returns:
        training and test examples, x uint8 [n, size, size, 3]: of every picture the largest centre
        square, resized with antialiasing. Transparency and EXIF rotation are ignored.

    Raises:
        MissingDataError: there is no picture, or one cannot be read.
        UsageError: this machine has not the memory for them.
    """
    paths = _paths(folder, '--data_dir')
    pictures = Split(read_pictures(file_contents(paths), paths, size=size))
    return hold_out_test(pictures, share_for_test(len(paths)))


def load_alike(folder: Path, *, most: int) -> np.ndarray:
    """Pictures in `folder` and below as they are: uint8 [n, h, w, 3].

    Args:
        folder: PNG and JPEG files, all of one size.
        most: how many are read, those that come first in a fixed random order of the paths.

    Raises:
        MissingDataError: there is no picture, one cannot be read, or they differ in size.
    """
    paths = _paths(folder, '--real or --fake')
    paths = [paths[i] for i in fixed_order(len(paths), index=2)[:most]]
    images, done = None, 0
    try:
        for content in file_contents(paths):
            image = tf.io.decode_image(content, channels=3, expand_animations=False).numpy()
            if images is None:
                images = np.empty([len(paths), *image.shape], np.uint8)
            if image.shape != images.shape[1:]:
                raise MissingDataError(
                    f'{paths[done]} is {image.shape[1]}x{image.shape[0]}, but {paths[0]} is '
                    f'{images.shape[2]}x{images.shape[1]}: make all pictures of one size'
                )
            images[done] = image
            done += 1
    except tf.errors.OpError:
        raise MissingDataError(
            f'{paths[done]}: not a readable PNG or JPEG picture; remove or replace it'
        ) from None
    return images


def _paths(folder: Path, flag: str) -> list[str]:
    """The PNG and JPEG files in `folder` and below, but for what runs left there, in order.

    Args:
        folder: the topmost.
        flag: that names it.

    Raises:
        MissingDataError: there is none, or a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise MissingDataError(f'{error.filename}: {error.strerror}; mend that, or move it away')

    found, others = [], 0
    for where, folders, files in os.walk(folder, onerror=refuse):
        if 'config.json' in files and 'checkpoints' in folders:  # a workdir, with its grids
            folders.clear()
            continue
        pictures = [name for name in files if name.lower().endswith(SUFFIXES)]
        found += [os.path.join(where, name) for name in pictures]
        others += len(files) - len(pictures)
    if not found:
        raise MissingDataError(
            f'{folder}: no {", ".join(SUFFIXES)} file in it or below; correct {flag}'
        )
    aside = f'; {others} files that are none are passed over' if others else ''
    print(f'{len(found)} pictures in {folder}{aside}', flush=True)
    return sorted(found)


def file_contents(paths: Sequence[str]) -> tf.data.Dataset:
    """The contents of files, scalar strings, read in parallel but in order."""
    # As bytes: names need not be UTF-8.
    dataset = tf.data.Dataset.from_tensor_slices([os.fsencode(path) for path in paths])
    return dataset.map(tf.io.read_file, num_parallel_calls=tf.data.AUTOTUNE)


def read_pictures(
    encoded: tf.data.Dataset,
    names: Sequence[str],
    *,
    size: int,
    crop: int | None = None,
    shape: tuple[int | None, int | None] = (None, None),
) -> np.ndarray:
    """Decodes, crops and resizes pictures, in parallel, into one array.

    Args:
        encoded: the contents of PNG or JPEG files, scalar strings.
        names: what to call each of them in an error.
        size: height and width of the results.
        crop: as in `shrink`.
        shape: height and width that every picture must have, where they are known.

    Returns:
        uint8 [n, size, size, 3]

    Raises:
        MissingDataError: the first picture that cannot be read or has another shape.
        UsageError: this machine has not the memory for them.
    """
    need = 2 * len(names) * size**2 * 3  # a part of them is cut out of the whole
    there = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    if need > there:
        raise UsageError(
            f'{len(names)} pictures of {size}x{size} need {need / 2**30:.0f} GiB of memory, there '
            f'are {there / 2**30:.0f}: take fewer, or a smaller --image_size'
        )

    def decode(content: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_image(content, channels=3, expand_animations=False)
        return shrink(tf.ensure_shape(image, [*shape, 3]), size=size, crop=crop)

    images = np.empty([len(names), size, size, 3], np.uint8)
    done = 0
    try:
        # The order is kept, so the picture after the last good one is the bad one.
        decoded = encoded.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        for image in decoded.as_numpy_iterator():
            images[done] = image
            done += 1
    except tf.errors.OpError as error:
        what = 'picture' if None in shape else f'picture of {shape[1]}x{shape[0]}'
        raise MissingDataError(
            f'{names[done]}: not a readable PNG or JPEG {what}; remove or replace it'
        ) from error
    return images


def shrink(image: tf.Tensor, *, size: int, crop: int | None = None) -> tf.Tensor:
    """The centre square of a picture, resized with an antialiasing triangle filter.

    The filter is that of Pillow's `BILINEAR`. Plain bilinear sampling, TensorFlow's default, skips
    pixels when it shrinks and shifts a Frechet distance by points.

    Args:
        image: uint8 [h, w, c].
        size: height and width of the result.
        crop: side of the square, at most h and w; None takes the largest.

    Returns:
        uint8 [size, size, c], rounded.
    """
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    side = tf.minimum(height, width) if crop is None else crop
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    resized = tf.image.resize(square, [size, size], antialias=True)
    return tf.saturate_cast(tf.round(resized), tf.uint8)
