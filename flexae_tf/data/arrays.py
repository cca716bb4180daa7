"""Images in an .npy file (one array) or an .npz file (images, labels and splits by name)."""

from __future__ import annotations

import contextlib
import lzma
import math
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from flexae_tf.data import memory
from flexae_tf.data.dataset import (
    DatasetSpec,
    Purpose,
    Split,
    default_test_size,
    fixed_permutation,
    hold_out_test,
)
from flexae_tf.data.folder_layout import SPLITS
from flexae_tf.errors import MissingDataError

# Exceptions that numpy and zipfile raise for a file that is corrupt, encrypted or of another type.
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
    OSError,
)
NPY_MAGIC = b'\x93NUMPY'
VALUE_LIMITS = {'0..255': (0, 255), '0..1': (0, 1), '-1..1': (-1, 1)}  # choices of --value_range
NUMBERS = 'buif'  # kinds of types: bool, unsigned, int and float
MIN_SIDE = 4  # side of the smallest image that is stored as one row of values
BLOCK = 100  # images that are converted at a time

# Names in public archives: x_train, trainX, train_images, test_labels, imgs, samples, y, ...
_NAME = re.compile(
    rf'(?P<prefix>({"|".join(SPLITS)})?)'
    r'((?P<images>images?|imgs?|x|data|samples?|)|(?P<labels>labels?|y|targets?))'
    rf'(?P<suffix>({"|".join(SPLITS)})?)'
)


class _Array(NamedTuple):
    """The header of an array."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        return f'{self.name} ({self.dtype} {list(self.shape)})'


class _Part(NamedTuple):
    """The arrays of one split; `labels` is None without labels."""

    images: _Array
    labels: _Array | None


def describe(path: Path, *, image_size: int | None, value_range: str | None) -> DatasetSpec:
    """Returns the spec of a file from the headers of its arrays; only labels are read.

    Args:
        path: .npy or .npz file.
        image_size: height and width that images are resized to; None to keep them.
        value_range: range of the values, a key of `VALUE_LIMITS`; None for uint8.

    Raises:
        MissingDataError: see `load`.
    """
    parts = _parts(path)
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
        value_range: range of the values, a key of `VALUE_LIMITS`; None for uint8.

    Returns:
        Training and test examples, and validation examples if the file has both test and
        validation: x uint8 [n, h, w, c] with h = w and c 1 or 3; labels if the file has them.

    Raises:
        MissingDataError: the file is corrupt, its arrays are ambiguous, or an array has another
            type, shape or range of values.
        UsageError: not enough memory.
    """
    splits = []
    for part in _parts(path):
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
        value_range: range of the values, a key of `VALUE_LIMITS`; None for uint8.
        resize_to: height and width that the largest centre squares are resized to; None to keep
            the size.

    Returns:
        uint8 [n, h, w, c].

    Raises:
        MissingDataError: see `load`; or the file has several splits.
        UsageError: not enough memory.
    """
    images = _only_part(path)
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
    vectors = _only_part(path)
    if len(vectors.shape) != 2 or min(vectors.shape) < 1 or vectors.dtype.kind not in NUMBERS:
        raise MissingDataError(f'{path}: {vectors} are not vectors. Save an array [n, d].')
    memory.check(math.prod(vectors.shape) * vectors.dtype.itemsize, f'vectors of {path}')
    order = fixed_permutation(vectors.shape[0], Purpose.EVALUATION)[:max_vectors]
    x = _read(path, vectors)[order].astype(np.float32)
    if not np.isfinite(x).all():
        raise MissingDataError(f'{path}: {vectors} has values that are not finite. Correct them.')
    return x


def to_uint8(x: np.ndarray, value_range: str | None) -> np.ndarray:
    """Maps a range of values to 0 .. 255 linearly and rounds to the nearest integer.

    uint8 arrays hold 0 .. 255 already, unless 1 is their largest value: then the range must be
    given.

    Args:
        x: numbers [n, ...]. They must be in the range after the rounding.
        value_range: a key of `VALUE_LIMITS`; None for uint8.

    Raises:
        ValueError: values outside the range, or of an unknown range.
    """
    if x.dtype == np.uint8:
        if x.max() != 1 or value_range == '0..255':
            return x
        if value_range != '0..1':
            raise ValueError('values 0 and 1. State their range: --value_range=0..1 or 0..255')
    low, high = VALUE_LIMITS[value_range]
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


def _parts(path: Path) -> list[_Part]:
    """Returns the arrays of the splits: training, test, validation; the last two if present."""
    arrays = _headers(path)
    if len(arrays) == 1:
        return [_Part(arrays[0], None)]
    found, ambiguous = {}, False  # (split, role) -> array
    for array in arrays:
        if key := _split_and_role(array):
            ambiguous |= key in found
            found[key] = array
    splits = {split for split, role in found if role == 'images'}
    if ambiguous or (splits != {''} and ('' in splits or 'train' not in splits)):
        raise MissingDataError(
            f'{path}: holds {", ".join(map(str, arrays)) or "no arrays"}. Save the images as the '
            "only array, as 'images' and 'labels', or as 'x_train', 'y_train', 'x_test' and "
            "'y_test'."
        )
    return [
        _Part(found[split, 'images'], found.get((split, 'labels')))
        for split in ('', 'train', 'test', 'val')
        if split in splits
    ]


def _only_part(path: Path) -> _Array:
    """Returns the images or vectors of a file with one split."""
    (array, _), *others = _parts(path)
    if others:
        raise MissingDataError(
            f'{path}: holds a data set with {array} and {others[0].images}. Save the images to '
            'score as the only array.'
        )
    return array


def _split_and_role(array: _Array) -> tuple[str, str] | None:
    """Returns split ('' if unknown) and role ('images' or 'labels') by the name of an array."""
    name = array.name.lower().replace('_', '')
    if re.fullmatch(r'arr\d+', name):  # numpy.savez(file, images, labels)
        is_labels = name == 'arr1' and math.prod(array.shape[1:]) == 1
        return '', 'labels' if is_labels else 'images'
    match = _NAME.fullmatch(name)
    if match is None or (match['prefix'] and match['suffix']):
        return None
    split = match['prefix'] or match['suffix']
    return SPLITS.get(split, ''), 'labels' if match['labels'] else 'images'


def _headers(path: Path) -> list[_Array]:
    """Reads the headers of all arrays of a file."""
    with _missing_if_unreadable(path), path.open('rb') as file:
        if file.read(len(NPY_MAGIC)) == NPY_MAGIC:
            file.seek(0)
            return [_read_header(file, path.stem, path.stat().st_size)]
        arrays = []
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if member.filename.endswith('.npy'):
                    name = member.filename.removesuffix('.npy')
                    with archive.open(member) as content:
                        arrays.append(_read_header(content, name, member.file_size))
        return arrays


def _read_header(file: IO[bytes], name: str, num_bytes: int) -> _Array:
    """Reads the header of an array in a file of `num_bytes` bytes."""
    read = (
        np.lib.format.read_array_header_1_0
        if np.lib.format.read_magic(file) == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    array, held = _Array(name, shape, dtype), num_bytes - file.tell()
    # Checked up front: numpy would allocate whatever size a corrupt header announces.
    if min(shape, default=0) < 0 or (
        math.prod(shape) * dtype.itemsize > held and not dtype.hasobject
    ):
        raise ValueError(f'{held} bytes for {array}')
    return array


def _image_shape(path: Path, images: _Array, value_range: str | None) -> tuple[int, int, int, int]:
    """Returns the shape (n, h, w, c) of images, which may be stored in another shape."""
    if images.dtype.kind not in NUMBERS:
        raise MissingDataError(f'{path}: {images} holds no numbers. Save one array of numbers.')
    if images.dtype != np.uint8 and value_range is None:
        raise MissingDataError(
            f'{path}: {images} is not uint8. State the range of its values: '
            f'--value_range={", ".join(VALUE_LIMITS)}.'
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
    return shape


def _resized_shape(
    path: Path, images: _Array, image_size: int | None, value_range: str | None
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
    path: Path, images: _Array, value_range: str | None, rows: np.ndarray | None = None
) -> np.ndarray:
    """Reads the images with the indices `rows`, or all images, uint8 [n, h, w, c]."""
    num, *shape = _image_shape(path, images, value_range)
    num_bytes = (num if rows is None else len(rows)) * math.prod(shape)
    if images.dtype != np.uint8 or rows is not None:
        num_bytes += num * math.prod(shape) * images.dtype.itemsize // 2
    memory.check(2 * num_bytes, f'images of {path}')  # twice: the parts of the data set are copies
    x = _read(path, images)
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


def _read_labels(path: Path, part: _Part) -> np.ndarray | None:
    """Reads class numbers, int64 [n]; None without labels, or if each image has several."""
    num, labels = part.images.shape[0], part.labels
    if labels is None:
        return None
    if len(labels.shape) == 2 and labels.shape[0] == num and labels.shape[1] > 1:
        print(f'{path}: {labels} is not used, because it is not one class of each image')
        return None
    if labels.shape in ((num,), (num, 1)) and labels.dtype.kind in 'iu':
        classes = _read(path, labels).reshape(num)
        if classes.min() >= 0:
            return classes.astype(np.int64)
    raise MissingDataError(f'{path}: labels {labels}. Give every image one integer >= 0.')


def _read(path: Path, array: _Array) -> np.ndarray:
    """Reads one array; an .npy file is mapped into memory."""
    with _missing_if_unreadable(path):
        loaded = np.load(path, mmap_mode='r')
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return loaded[array.name]


@contextlib.contextmanager
def _missing_if_unreadable(path: Path) -> Iterator[None]:
    """Turns the exceptions of numpy and zipfile into `MissingDataError`."""
    try:
        yield
    except UNREADABLE as error:
        problem = str(error).partition('\n')[0] or type(error).__name__
        raise MissingDataError(
            f'{path}: not a readable .npy or .npz file ({problem}). Write it again with '
            'numpy.savez, or give a folder of images.'
        ) from error
