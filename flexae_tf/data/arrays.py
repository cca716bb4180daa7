"""Images and vectors in array files (`array_files`)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from flexae_tf.config.shared import VALUE_RANGES
from flexae_tf.data import memory
from flexae_tf.data.array_files import Array, Part, find_parts, only_part, read
from flexae_tf.data.dataset import (
    DatasetSpec,
    Purpose,
    Split,
    default_test_size,
    fixed_permutation,
    hold_out_test,
)
from flexae_tf.errors import MissingDataError

NUMBERS = 'buif'  # kinds of types: bool, unsigned, int and float
MIN_SIDE = 4  # side of the smallest image that is stored as one row of values
MAX_EXAMPLES = 2**24  # 17 million; ImageNet-21k has 14 million
MAX_CLASSES = 2**31
BLOCK = 100  # images that are converted at a time
EVALUATION_CURE = 'Lower --num_examples, or save the array to an .npy file'


def describe(path: Path, *, image_size: int | None, value_range: str | None) -> DatasetSpec:
    """Returns the spec of a file from the headers of its arrays; only labels are read.

    Args:
        path: .npy or .npz file.
        image_size: height and width that images are resized to; None to keep them.
        value_range: range of the values, a key of `VALUE_RANGES`; None for uint8.

    Raises:
        MissingDataError: see `load`.
    """
    parts = find_parts(path)
    shapes = [_resized_shape(path, part.images, image_size, value_range) for part in parts]
    for part, shape in zip(parts, shapes, strict=True):
        if shape[1:] != shapes[0][1:]:
            raise MissingDataError(
                f'{path}: images of {parts[0].images.name} are {list(shapes[0][1:])}, of '
                f'{part.images.name} {list(shape[1:])}. Make them equal.'
            )
    labels = [_read_labels(path, part) for part in parts]
    train, *others = (shape[0] for shape in shapes)
    test, *validation = others or [default_test_size(train)]
    return DatasetSpec(
        'folder',
        'images',
        shapes[0][1:],
        train if others else train - test,
        test,
        (0.0, 1.0),
        num_classes=max((1 + int(y.max()) for y in labels if y is not None), default=None),
        validation_size=validation[0] if validation else None,
    )


def load(path: Path, *, image_size: int | None, value_range: str | None) -> tuple[Split, ...]:
    """Loads the splits of a file.

    Without a test split, the validation split is the test set; without both, a fixed random tenth.

    Args:
        path: .npy or .npz file.
        image_size: height and width that the largest centre squares are resized to; None to keep
            the size of square images.
        value_range: range of the values, a key of `VALUE_RANGES`; None for uint8.

    Returns:
        Training and test examples, and validation examples if the file has both test and
        validation: x uint8 [n, h, w, c] with h = w and c 1 or 3; labels if the file has them.

    Raises:
        MissingDataError: the file is corrupt, its arrays are ambiguous, or an array has another
            type, shape or range of values.
        UsageError: not enough memory.
    """
    splits = []
    for part in find_parts(path):
        x = _resize(_read_images(path, part.images, value_range), image_size)
        print(f'{len(x)} images in {path}: {part.images}', flush=True)
        splits.append(Split(x, labels=_read_labels(path, part)))
    if len(splits) > 1:
        return tuple(splits)
    return hold_out_test(splits[0], default_test_size(len(splits[0])))


def load_images(
    path: Path, *, max_images: int, value_range: str | None, resize_to: int | None
) -> np.ndarray:
    """Loads the images of a file with one split, such as a file of bin/sample.py.

    Args:
        path: .npy or .npz file.
        max_images: number of images to return, the first in a fixed random order.
        value_range: range of the values, a key of `VALUE_RANGES`; None for uint8.
        resize_to: height and width that the largest centre squares are resized to; None to keep
            the size.

    Returns:
        uint8 [n, h, w, c].

    Raises:
        MissingDataError: see `load`; or the file has several splits.
        UsageError: not enough memory.
    """
    images = only_part(path)
    _image_shape(path, images, value_range)  # refuses numbers that no permutation can have
    order = fixed_permutation(images.shape[0], Purpose.EVALUATION)[:max_images]
    return _resize(_read_images(path, images, value_range, order), resize_to)


def load_vectors(path: Path, *, max_vectors: int) -> np.ndarray:
    """Loads the vectors of a file with one split, float32 [n, d].

    Args:
        path: .npy or .npz file.
        max_vectors: number of vectors to return, the first in a fixed random order.

    Raises:
        MissingDataError: the file is corrupt, ambiguous, or does not hold finite vectors.
        UsageError: not enough memory.
    """
    vectors = only_part(path)
    if len(vectors.shape) != 2 or min(vectors.shape) < 1 or vectors.dtype.kind not in NUMBERS:
        raise MissingDataError(f'{path}: {vectors} are not vectors. Save an array [n, d].')
    _check_number(path, vectors)
    order = fixed_permutation(vectors.shape[0], Purpose.EVALUATION)[:max_vectors]
    held = len(order) if vectors.rows_are_mapped else vectors.shape[0]
    num_bytes = held * vectors.shape[1] * vectors.dtype.itemsize
    memory.check(num_bytes, f'vectors of {path}', cure=EVALUATION_CURE)
    x = read(path, vectors)[order].astype(np.float32)
    if not np.isfinite(x).all():
        raise MissingDataError(f'{path}: {vectors} has values that are not finite. Correct them.')
    return x


def to_uint8(x: np.ndarray, value_range: str | None) -> np.ndarray:
    """Maps a range of values to 0 .. 255 linearly and rounds to the nearest integer.

    uint8 arrays hold 0 .. 255 already, unless 1 is their largest value: then the range must be
    given.

    Args:
        x: numbers [n, ...]. They must be in the range after the rounding.
        value_range: a key of `VALUE_RANGES`; None for uint8.

    Raises:
        ValueError: values outside the range, or of an unknown range.
    """
    if x.dtype == np.uint8:
        if x.max() != 1 or value_range == '0..255':
            return x
        if value_range != '0..1':
            raise ValueError('values 0 and 1. State their range: --value_range=0..1 or 0..255')
    low, high = VALUE_RANGES[value_range]
    dtype = np.result_type(x.dtype, np.float32)
    result = np.empty(x.shape, np.uint8)
    for start in range(0, len(x), BLOCK):
        grey = (x[start : start + BLOCK].astype(dtype) - low) * (255.0 / (high - low))
        grey = np.rint(grey)
        if not (grey.min() >= 0 and grey.max() <= 255):  # NaN is refused, too
            raise ValueError(
                f'values {x.min():.6g} .. {x.max():.6g}, outside --value_range={value_range}. '
                'Correct the range or the values'
            )
        result[start : start + BLOCK] = grey
    return result


def _image_shape(path: Path, images: Array, value_range: str | None) -> tuple[int, int, int, int]:
    """Returns the shape (n, h, w, c) of images, which may be stored in another shape."""
    if images.dtype.kind not in NUMBERS:
        raise MissingDataError(f'{path}: {images} holds no numbers. Save one array of numbers.')
    if images.dtype != np.uint8 and value_range is None:
        raise MissingDataError(
            f'{path}: {images} is not uint8. State the range of its values: '
            f'--value_range={", ".join(VALUE_RANGES)}.'
        )
    match images.shape:
        case (n, d) if math.isqrt(d) ** 2 == d and d >= MIN_SIDE**2:
            shape = (n, math.isqrt(d), math.isqrt(d), 1)
        case (n, h, w):
            shape = (n, h, w, 1)
        case (n, h, w, (1 | 3) as c) | (n, (1 | 3) as c, h, w):
            shape = (n, h, w, c)
        case _:
            shape = ()
    if min(shape, default=0) < 1:
        raise MissingDataError(
            f'{path}: {images} has another shape than images. Save [n, h, w], [n, h, w, 1 or 3] or '
            '[n, 1 or 3, h, w].'
        )
    _check_number(path, images)
    return shape


def _check_number(path: Path, examples: Array) -> None:
    """Raises `MissingDataError` for more than `MAX_EXAMPLES` examples."""
    if examples.shape[0] > MAX_EXAMPLES:
        raise MissingDataError(
            f'{path}: {examples} are more than {MAX_EXAMPLES} examples. Save fewer.'
        )


def _resized_shape(
    path: Path, images: Array, image_size: int | None, value_range: str | None
) -> tuple[int, int, int, int]:
    """Returns the shape (n, h, w, c) of images for training."""
    n, h, w, c = _image_shape(path, images, value_range)
    if image_size is not None:
        return n, image_size, image_size, c
    if h != w:
        raise MissingDataError(
            f'{path}: images of {images} are not square. Crop and resize them by --image_size.'
        )
    return n, h, w, c


def _read_images(
    path: Path, images: Array, value_range: str | None, rows: np.ndarray | None = None
) -> np.ndarray:
    """Reads the images with the indices `rows`, or all images, uint8 [n, h, w, c]."""
    num, *shape = _image_shape(path, images, value_range)
    used = num if rows is None else len(rows)
    num_bytes = used * math.prod(shape)
    if images.dtype != np.uint8 or rows is not None:
        held = used if images.rows_are_mapped else num
        num_bytes += held * math.prod(shape) * images.dtype.itemsize // 2
    cure = memory.CURE if rows is None else EVALUATION_CURE
    # Twice: the parts of the data set are copies.
    memory.check(2 * num_bytes, f'images of {path}', cure=cure)
    x = read(path, images)
    if x.ndim == 4 and x.shape[3] not in (1, 3):
        x = x.transpose(0, 2, 3, 1)
    x = x.reshape([num, *shape])
    x = np.ascontiguousarray(x) if rows is None else x[rows]
    try:
        grey = to_uint8(x, value_range)
    except ValueError as error:
        raise MissingDataError(f'{path}: {images} has {error}.') from None
    if value_range is not None and grey is x:
        print(f'{path}: {images} holds 0 .. 255, so --value_range is not used', flush=True)
    return grey


def _resize(x: np.ndarray, size: int | None) -> np.ndarray:
    """Resizes the largest centre squares of images, like a folder's; None keeps the images."""
    import tensorflow as tf

    from flexae_tf.data.decoding import crop_and_resize

    if size is None or x.shape[1:3] == (size, size):
        return x
    memory.check(2 * (x.nbytes + len(x) * size**2 * x.shape[3]), f'{len(x)} resized images')
    with tf.device('CPU'):
        blocks = [
            crop_and_resize(x[start : start + BLOCK], size=size).numpy()
            for start in range(0, len(x), BLOCK)
        ]
    return np.concatenate(blocks)


def _read_labels(path: Path, part: Part) -> np.ndarray | None:
    """Reads class numbers, int64 [n]; None without labels, or if each image has several."""
    num, labels = part.images.shape[0], part.labels
    if labels is None:
        return None
    if len(labels.shape) == 2 and labels.shape[0] == num and labels.shape[1] > 1:
        print(f'{path}: {labels} is not used, because it is not one class of each image')
        return None
    if labels.shape in ((num,), (num, 1)) and labels.dtype.kind in 'iu':
        classes = read(path, labels).reshape(num)
        if classes.min() >= 0 and classes.max() < MAX_CLASSES:
            return classes.astype(np.int64)
    raise MissingDataError(
        f'{path}: labels {labels}. Give every image one integer >= 0 and < {MAX_CLASSES}.'
    )
