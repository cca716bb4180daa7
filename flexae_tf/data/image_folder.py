"""Picture files: decoding, cropping, shrinking; and a folder of them as a data set."""

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flexae_tf.data import memory
from flexae_tf.data.dataset import Split, fixed_order, hold_out_test, share_for_test
from flexae_tf.errors import MissingDataError

SUFFIXES = ('.png', '.jpg', '.jpeg')
LISTED = 10  # of the files that cannot be read, in the error


def load_folder(folder: Path, *, size: int) -> tuple[Split, Split]:
    """Every picture in `folder` and below, a fixed random tenth of them (at least 2) for testing.

    Args:
        folder: PNG and JPEG files, taken in the order of their paths.
        size: height and width of the results.

    Returns:
        training and test examples, x uint8 [n, size, size, 3]: of every picture the largest centre
        square, resized with antialiasing. Transparency and EXIF rotation are ignored.

    Raises:
        MissingDataError: there is no picture, or some cannot be read.
        UsageError: there is not the memory for them.
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
        MissingDataError: there is no picture, some cannot be read, or they differ in size.
        UsageError: there is not the memory for them.
    """
    paths = _paths(folder, '--real or --fake')
    paths = [paths[i] for i in fixed_order(len(paths), index=2)[:most]]
    images = None
    for i, image in _decoded(file_contents(paths), paths, _decode):
        if images is None:
            first, shape = paths[i], [len(paths), *image.shape]
            memory.check(math.prod(shape), f'{len(paths)} pictures as large as {first}')
            images = np.empty(shape, np.uint8)
        if image.shape != images.shape[1:]:
            raise MissingDataError(
                f'{paths[i]} is {image.shape[1]}x{image.shape[0]}, but {first} is '
                f'{images.shape[2]}x{images.shape[1]}: make all pictures of one size'
            )
        images[i] = image
    return images


def _paths(folder: Path, flag: str) -> list[str]:
    """The PNG and JPEG files in `folder` and below, but for what runs left there, in order.

    Args:
        folder: the topmost.
        flag: that names it.

    Raises:
        MissingDataError: there is none, or a folder cannot be read.
    """
    seen = set()  # a link may lead back, or to what another one leads to

    def refuse(error: OSError) -> None:
        raise MissingDataError(f'{error.filename}: {error.strerror}; mend that, or move it away')

    found, others = [], 0
    for where, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        known = os.path.realpath(where) in seen
        seen.add(os.path.realpath(where))
        folders.sort()  # of two ways to one folder the same is taken everywhere
        if known or ('config.json' in files and 'checkpoints' in folders):  # a workdir's grids
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
        MissingDataError: pictures that cannot be read or have another shape.
        UsageError: there is not the memory for them.
    """
    need = 2 * len(names) * size**2 * 3  # a part of them is cut out of the whole
    memory.check(need, f'{len(names)} pictures of {size}x{size}')

    def decode(content: tf.Tensor) -> tf.Tensor:
        return shrink(tf.ensure_shape(_decode(content), [*shape, 3]), size=size, crop=crop)

    images = np.empty([len(names), size, size, 3], np.uint8)
    what = 'picture' if None in shape else f'picture of {shape[1]}x{shape[0]}'
    for i, image in _decoded(encoded, names, decode, what=what):
        images[i] = image
    return images


def _decode(content: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(content, channels=3, expand_animations=False)


def _decoded(
    encoded: tf.data.Dataset,
    names: Sequence[str],
    decode: Callable[[tf.Tensor], tf.Tensor],
    *,
    what: str = 'picture',
) -> Iterator[tuple[int, np.ndarray]]:
    """Which picture and what it is, in order. All are tried before any is complained of."""
    decoded = encoded.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    images, bad = decoded.as_numpy_iterator(), []
    bar = tqdm(names, desc='reading pictures', disable=not sys.stderr.isatty())
    for i, name in enumerate(bar):
        try:
            image = next(images)
        except tf.errors.OpError:
            bad.append(name)
            continue
        except StopIteration:  # what reads them gave up after an error
            break
        yield i, image
    if bad:
        listed = ', '.join(bad[:LISTED]) + (', ...' if len(bad) > LISTED else '')
        count = f'{len(bad)} files: ' if len(bad) > 1 else ''
        raise MissingDataError(
            f'{count}{listed}: not a readable PNG or JPEG {what}; remove or replace it'
        )


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
