"""Array files: one array in an .npy file, or arrays by name in an .npz file.

Splits and roles of arrays are recognized by the names of public archives. Pickled objects are never
read.
"""

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

# Names in public archives: x_train, trainX, train_images, test_labels, imgs, samples, y, ...
_NAME = re.compile(
    rf'(?P<prefix>({"|".join(SPLITS)})?)'
    r'((?P<images>images?|imgs?|x|data|samples?|)|(?P<labels>labels?|y|targets?))'
    rf'(?P<suffix>({"|".join(SPLITS)})?)'
)


class Array(NamedTuple):
    """The header of an array."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        return f'{self.name} ({self.dtype} {list(self.shape)})'


class Part(NamedTuple):
    """The arrays of one split; `labels` is None without labels."""

    images: Array
    labels: Array | None


def find_parts(path: Path) -> list[Part]:
    """Returns the arrays of the splits: training, test, validation; the last two if present.

    Only headers are read.

    Raises:
        MissingDataError: the file is unreadable or its arrays are ambiguous.
    """
    arrays = _headers(path)
    if len(arrays) == 1:
        return [Part(arrays[0], None)]
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
        Part(found[split, 'images'], found.get((split, 'labels')))
        for split in ('', 'train', 'test', 'val')
        if split in splits
    ]


def only_part(path: Path) -> Array:
    """Returns the images or vectors of a file with one split.

    Raises:
        MissingDataError: as `find_parts`; or the file has several splits.
    """
    (array, _), *others = find_parts(path)
    if others:
        raise MissingDataError(
            f'{path}: holds a data set with {array} and {others[0].images}. Save the images to '
            'score as the only array.'
        )
    return array


def _split_and_role(array: Array) -> tuple[str, str] | None:
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


def _headers(path: Path) -> list[Array]:
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


def _read_header(file: IO[bytes], name: str, num_bytes: int) -> Array:
    """Reads the header of an array in a file of `num_bytes` bytes."""
    read = (
        np.lib.format.read_array_header_1_0
        if np.lib.format.read_magic(file) == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    array, held = Array(name, shape, dtype), num_bytes - file.tell()
    # Checked up front: numpy would allocate whatever size a corrupt header announces.
    if min(shape, default=0) < 0 or (
        math.prod(shape) * dtype.itemsize > held and not dtype.hasobject
    ):
        raise ValueError(f'{held} bytes for {array}')
    return array


def read(path: Path, array: Array) -> np.ndarray:
    """Reads one array; an .npy file is mapped into memory.

    Raises:
        MissingDataError: the file is unreadable.
    """
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
