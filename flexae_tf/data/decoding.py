"""Image files -> uint8 arrays: decoding, cropping and resizing in parallel."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flexae_tf import shutdown
from flexae_tf.data import image_pixels, memory
from flexae_tf.data.image_formats import DEEP, PLAIN, ImageFile
from flexae_tf.errors import MissingDataError
from flexae_tf.files import write_bytes

# Identifies the pixels that image files decode to; protocols of scores contain it. Accurate DCT of
# JPEG files, EXIF rotation applied, transparency on white, 16-bit values by the bits in use.
DECODER = 'islow_exif_white_16bit'
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in grey (ITU-R BT.601)
MAX_LISTED = 10  # unreadable files that an error lists


def file_contents(paths: Sequence[str]) -> tf.data.Dataset:
    """Returns the contents of files, scalar strings, read in parallel but in order."""
    # As bytes: names need not be UTF-8.
    names = tf.constant([os.fsencode(path) for path in paths], tf.string, [len(paths)])
    return tf.data.Dataset.from_tensor_slices(names).map(
        tf.io.read_file, num_parallel_calls=tf.data.AUTOTUNE
    )


def read_images(
    encoded: tf.data.Dataset,
    names: Sequence[str],
    *,
    size: int,
    crop: int | None = None,
    shape: tuple[int | None, int | None] = (None, None),
) -> np.ndarray:
    """Decodes, crops and resizes plain images, in parallel, into one array.

    Args:
        encoded: contents of JPEG or PNG files, scalar strings.
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
        image = tf.ensure_shape(image_pixels.decode_plain(content), [*shape, 3])
        return crop_and_resize(image, size=size, crop=crop)

    images = np.empty([len(names), size, size, 3], np.uint8)
    label = 'image' if None in shape else f'image of {shape[1]}x{shape[0]}'
    bad = {}
    for i, image in _map_parallel(
        decode_and_resize, encoded, names, bad, f'not a readable {label}'
    ):
        images[i] = image
    if bad:
        raise MissingDataError(f'{_summary(bad)}. Remove or replace it.')
    return images


def decode_files(
    files: Sequence[ImageFile],
    prepare: Callable[[tf.Tensor], tf.Tensor],
    *,
    bits: int | None,
    bad: dict[str, str],
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index, image) of every readable file, plain files first.

    Args:
        files: image files.
        prepare: maps an image, uint8 [h, w, 3], to the result.
        bits: value of `bits_in_use`.
        bad: the problems of unreadable files are added, by path.
    """

    def decode_plain(content: tf.Tensor) -> tf.Tensor:
        return prepare(image_pixels.decode_plain(content))

    def decode(content: tf.Tensor) -> tf.Tensor:
        image = tf.numpy_function(
            lambda content: image_pixels.decode(content, bits), [content], tf.uint8
        )
        return prepare(tf.ensure_shape(image, [None, None, 3]))

    for function, is_plain in ((decode_plain, True), (decode, False)):
        rows = [i for i, file in enumerate(files) if (file.kind == PLAIN) == is_plain]
        paths = [files[i].path for i in rows]
        corrupt = 'a corrupt or truncated image'
        for k, image in _map_parallel(function, file_contents(paths), paths, bad, corrupt):
            yield rows[k], image


def bits_in_use(files: Sequence[ImageFile]) -> int | None:
    """Returns the bits that the 16-bit files among `files` use together; None without any."""

    def largest_value(content: tf.Tensor) -> tf.Tensor:
        return tf.reduce_max(tf.io.decode_png(content, channels=3, dtype=tf.uint16))

    paths = [file.path for file in files if file.kind == DEEP]
    values = _map_parallel(largest_value, file_contents(paths), paths, {}, '')
    if not paths:
        return None
    bits = image_pixels.depth(max((int(value) for _, value in values), default=0))
    print(f'{len(paths)} images of 16 bits: values 0 .. {2**bits - 1} ({bits} bits)')
    return bits


def to_grey(image: tf.Tensor) -> tf.Tensor:
    """Converts uint8 colours [h, w, 3] to grey [h, w, 1]; grey colours keep their values."""
    grey = tf.tensordot(tf.cast(image, tf.float32), tf.constant(LUMA), 1)
    return tf.saturate_cast(tf.round(grey), tf.uint8)[..., None]


def report_bad(bad: Mapping[str, str], folder: Path, list_file: Path, *, skip: bool) -> None:
    """Lists unreadable files in a text file, if there are any.

    Args:
        bad: problem of each unreadable file by path.
        folder: folder of the images.
        list_file: text file to write: path, tab, problem in each line.
        skip: whether the other images are used.

    Raises:
        MissingDataError: there are unreadable files, and `skip` is False.
    """
    if not bad:
        return
    lines = b''.join(os.fsencode(f'{path}\t{problem}\n') for path, problem in sorted(bad.items()))
    try:
        list_file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(list_file, lines)
        listed = f', listed in {list_file.absolute()}'
    except OSError:
        listed = ''
    if skip:
        print(f'{len(bad)} unreadable images of {folder} skipped{listed}', flush=True)
        return
    raise MissingDataError(
        f'{_summary(bad)}{listed}. Convert, replace or remove {"them" if len(bad) > 1 else "it"}, '
        'or use --skip_bad_images.'
    )


def _summary(bad: Mapping[str, str]) -> str:
    """Returns paths and problems, for an error message in one line."""
    first = [
        (path if path.isprintable() else ascii(path), bad[path])
        for path in sorted(bad)[:MAX_LISTED]
    ]
    if len(bad) == 1:
        return ': '.join(first[0])
    others = ', ...' if len(bad) > MAX_LISTED else ''
    return f'{len(bad)} files: ' + ', '.join(f'{path} ({text})' for path, text in first) + others


def _map_parallel(
    function: Callable[[tf.Tensor], tf.Tensor],
    encoded: tf.data.Dataset,
    names: Sequence[str],
    bad: dict[str, str],
    problem: str,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index, result) in order; adds files for which `function` fails to `bad`.

    Args:
        function: maps the contents of a file to a result.
        encoded: contents of files, scalar strings.
        names: name of each file.
        bad: problems by name.
        problem: the problem, unless `function` raises `UnreadableImageError`.
    """
    if not names:
        return
    results = encoded.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    results = results.as_numpy_iterator()
    for i, name in enumerate(tqdm(names, desc='reading images', disable=not sys.stderr.isatty())):
        shutdown.check('while reading images')
        try:
            result = next(results)
        except tf.errors.OpError as error:
            own = re.search(r'UnreadableImageError: (.*)', str(error))
            bad[name] = own[1] if own else problem
            continue
        except StopIteration:  # a generator of contents ends after an error
            break
        yield i, result


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
