"""Array files: one array in an .npy file, or arrays by name in an .npz file.

Splits and roles of arrays are recognized by the names of public archives. Pickled objects are never
read.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from flexae_tf.checked_files import UNREADABLE
from flexae_tf.data.folder_layout import SPLITS
from flexae_tf.errors import MissingDataError
from flexae_tf.foreign_files import BoundedReader, check_unpacked, open_regular

CURE = 'Write it again with numpy.savez, or give a folder of images'
NPY_MAGIC, SUFFIX = b'\x93NUMPY', '.npy'
MAX_HEADER = 2**14  # bytes
MAX_LISTED, MAX_SHOWN = 10, 60  # arrays, and characters of a name, in a message
MAX_RATIO = 250  # of unpacked to packed bytes; 113 for the images of dSprites, masks of shapes

# Names in public archives: x_train, trainX, train_images, test_labels, imgs, samples, y, ...
_NAME = re.compile(
    rf'(?P<prefix>({"|".join(SPLITS)})?)'
    r'((?P<images>images?|imgs?|x|data|samples?|)|(?P<labels>labels?|y|targets?))'
    rf'(?P<suffix>({"|".join(SPLITS)})?)'
)


class Array(NamedTuple):
    """The header of an array.

    Attributes:
        name: name in an .npz file; of an .npy file its stem.
        shape: shape.
        dtype: type of the values.
        rows_are_mapped: whether reading some rows needs memory for these rows only.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    rows_are_mapped: bool = False

    def __str__(self) -> str:
        name = self.name if self.name.isprintable() else ascii(self.name)
        return f'{name[:MAX_SHOWN]} ({self.dtype} {list(self.shape)})'

    @property
    def num_bytes(self) -> int:
        """Bytes in memory."""
        return math.prod(self.shape) * self.dtype.itemsize


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
    arrays = headers(path)
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
            f'{path}: holds {_listed(arrays)}. Save the images as the '
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


def _listed(arrays: Sequence[Array]) -> str:
    """Returns names and shapes of the first arrays."""
    others = ', ...' if len(arrays) > MAX_LISTED else ''
    return (', '.join(map(str, arrays[:MAX_LISTED])) or 'no arrays') + others


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


def headers(path: Path, *, label: str = '', cure: str = CURE) -> list[Array]:
    """Reads the headers of all arrays of a file.

    Args:
        path: the file.
        label: text in front of the path in error messages.
        cure: their last sentence.

    Raises:
        MissingDataError: the file is unreadable, or smaller than its headers announce.
    """
    with _missing_if_unreadable(path, label, cure), open_regular(path) as file:
        if file.read(len(NPY_MAGIC)) == NPY_MAGIC:
            file.seek(0)
            return [_read_header(file, path.stem, os.fstat(file.fileno()).st_size, mapped=True)]
        arrays = []
        with zipfile.ZipFile(BoundedReader(file)) as archive:
            for member in archive.infolist():
                if member.filename.endswith(SUFFIX):
                    name = member.filename.removesuffix(SUFFIX)
                    with archive.open(member) as content:
                        arrays.append(_read_header(content, name, member.file_size))
        return arrays


def _read_header(file: IO[bytes], name: str, num_bytes: int, *, mapped: bool = False) -> Array:
    """Reads the header of an array in a file of `num_bytes` bytes."""
    head = io.BytesIO(file.read(MAX_HEADER))  # numpy would read any size that a file announces
    read = (
        np.lib.format.read_array_header_1_0
        if np.lib.format.read_magic(head) == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran_order, dtype = read(head)
    array = Array(name, shape, dtype, mapped and not fortran_order)
    held = num_bytes - head.tell()
    # Checked up front: numpy would allocate whatever size a corrupt header announces.
    if min(shape, default=0) < 0 or (array.num_bytes > held and not dtype.hasobject):
        raise ValueError(f'{held} bytes for {array}')
    return array


def read(path: Path, array: Array, *, label: str = '', cure: str = CURE) -> np.ndarray:
    """Reads one array; an .npy file is mapped into memory.

    Args:
        path: the file.
        array: one of its `headers`.
        label: text in front of the path in error messages.
        cure: their last sentence.

    Raises:
        MissingDataError: the file is unreadable, or so small that its contents are no data.
    """
    with _missing_if_unreadable(path, label, cure), open_regular(path) as file:
        if file.read(len(NPY_MAGIC)) == NPY_MAGIC:
            return np.lib.format.open_memmap(path, mode='r')
        size = os.fstat(file.fileno()).st_size
        with zipfile.ZipFile(BoundedReader(file)) as archive:
            member = archive.getinfo(array.name + SUFFIX)
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f'{array} is compressed in another way than by numpy')
            # Either size may be a lie.
            check_unpacked(array.num_bytes, min(member.compress_size, size), ratio=MAX_RATIO)
            with archive.open(member) as content:
                return np.lib.format.read_array(content, allow_pickle=False)


@contextlib.contextmanager
def _missing_if_unreadable(path: Path, label: str, cure: str) -> Iterator[None]:
    """Turns the exceptions of numpy and zipfile into `MissingDataError`."""
    try:
        yield
    except UNREADABLE as error:
        problem = getattr(error, 'strerror', None) or str(error).partition('\n')[0]
        problem = problem[:200] or type(error).__name__
        raise MissingDataError(
            f'{label}{path}: not a readable .npy or .npz file ({problem}). {cure}.'
        ) from error
