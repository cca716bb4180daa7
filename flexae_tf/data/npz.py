"""Images in an .npz file: one array, or `x_train`, `x_test` and labels like Keras data sets."""

import math
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flexae_tf.data import memory
from flexae_tf.data.dataset import DatasetSpec, Split, default_test_size, hold_out_test
from flexae_tf.errors import MissingDataError, UsageError

# Exceptions that numpy raises for a file that is corrupt or not an .npz file.
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    NotImplementedError,
    OSError,
)


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype


def describe(path: Path, image_size: int | None) -> DatasetSpec:
    """Returns the spec of a file from the headers of its arrays; only labels are read.

    Raises:
        UsageError: `image_size` is not the size of the images.
        MissingDataError: see `load`.
    """
    headers = _headers(path)
    parts = _parts(path, headers)
    train, *test = (_image_shape(path, images, headers[images]) for images, _ in parts)
    if test and test[0][1:] != train[1:]:
        raise MissingDataError(
            f'{path}: images of x_train are {train[1:]}, of x_test {test[0][1:]}. Make them equal.'
        )
    if image_size not in (None, train[1]):
        raise UsageError(
            f'--image_size={image_size}: images of {path} keep their size {train[1]}. '
            'Leave --image_size out.'
        )
    num_test = test[0][0] if test else default_test_size(train[0])
    labels = [_read_labels(path, name, headers[images].shape[0]) for images, name in parts if name]
    return DatasetSpec(
        'folder',
        'images',
        train[1:],
        train[0] if test else train[0] - num_test,
        num_test,
        (0.0, 1.0),
        num_classes=1 + max(int(array.max()) for array in labels) if labels else None,
    )


def load(path: Path) -> tuple[Split, Split]:
    """Loads training and test examples; without `x_test`, a fixed random tenth is the test set.

    Returns:
        x uint8 [n, h, w, c] with h = w and c 1 or 3; labels if the file has `y_train`, `y_test`.

    Raises:
        MissingDataError: the file is corrupt, or an array has another type or shape.
        UsageError: not enough memory.
    """
    headers = _headers(path)
    parts, splits = _parts(path, headers), []
    size = sum(math.prod(headers[images].shape) for images, _ in parts)
    memory.check(2 * size, f'images of {path}')  # twice: the parts of the data set are copies
    for images, labels in parts:
        shape = _image_shape(path, images, headers[images])
        x = _read(path, images).reshape(shape)
        splits.append(Split(x, labels=_read_labels(path, labels, len(x)) if labels else None))
    if len(splits) == 2:
        return splits[0], splits[1]
    return hold_out_test(splits[0], default_test_size(len(splits[0])))


def load_images(path: Path) -> np.ndarray:
    """Loads the array of images of a file, such as a file of bin/sample.py: uint8 [n, h, w, c].

    Raises:
        MissingDataError: the file is corrupt, or does not hold exactly one array of images.
    """
    headers = _headers(path)
    (images, _), *others = _parts(path, headers)
    if others or images == 'x_train':
        raise MissingDataError(f"{path}: holds a data set. Save the images to score as 'images'.")
    return _read(path, images).reshape(_image_shape(path, images, headers[images]))


def _headers(path: Path) -> dict[str, _Header]:
    """Reads shape and type of every array of the file, without their values."""
    headers = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as file:
                    version = np.lib.format.read_magic(file)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = read(file)
                    headers[member.removesuffix('.npy')] = _Header(shape, dtype)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    return headers


def _parts(path: Path, headers: dict[str, _Header]) -> list[tuple[str, str | None]]:
    """Returns names (images, labels or None) of the training and, if present, the test split."""
    if 'x_train' in headers:
        pairs = (('x_train', 'y_train'), ('x_test', 'y_test'))
        return [(x, y if y in headers else None) for x, y in pairs if x in headers]
    if 'images' in headers:
        return [('images', None)]
    if len(headers) == 1:
        return [(next(iter(headers)), None)]
    raise MissingDataError(
        f'{path}: holds {", ".join(sorted(headers)) or "nothing"}. Name the array of images '
        "'images', or 'x_train' and 'x_test'."
    )


def _image_shape(path: Path, name: str, header: _Header) -> tuple[int, int, int, int]:
    """Returns the shape (n, h, w, c) of an array of images."""
    if header.dtype != np.uint8:
        raise MissingDataError(
            f'{path}: {name} is {header.dtype}, not uint8. Save values 0 .. 255 '
            '(x in [0, 1] as np.rint(255 * x).astype(np.uint8)).'
        )
    shape = header.shape if len(header.shape) == 4 else (*header.shape, 1)
    if len(shape) != 4 or shape[3] not in (1, 3) or shape[0] == 0:
        raise MissingDataError(
            f'{path}: {name} has shape {header.shape}. Save it as [n, h, w], [n, h, w, 1] or '
            '[n, h, w, 3].'
        )
    if shape[1] != shape[2]:
        raise MissingDataError(
            f'{path}: images of {name} are {shape[1]} high and {shape[2]} wide. Crop or pad them '
            'to squares.'
        )
    return shape


def _read_labels(path: Path, name: str, num: int) -> np.ndarray:
    """Reads class numbers, int64 [num]."""
    labels = _read(path, name)
    if labels.shape not in ((num,), (num, 1)) or labels.dtype.kind not in 'iu' or labels.min() < 0:
        raise MissingDataError(
            f'{path}: {name} is {labels.dtype} {labels.shape}. Give every image one integer >= 0.'
        )
    return labels.reshape(num).astype(np.int64)


def _read(path: Path, name: str) -> np.ndarray:
    try:
        with np.load(path) as arrays:
            return arrays[name]
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> MissingDataError:
    return MissingDataError(
        f'{path}: not a readable .npz file ({error}). Write it again with numpy.savez.'
    )
