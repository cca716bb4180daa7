"""Images in a file of uint8 rows, read by random access, so that they need not fit into memory."""

from __future__ import annotations

import math
import mmap
import os
from typing import Any, BinaryIO

import numpy as np

from flexae_tf.errors import MissingDataError


class StoredRows:
    """Rows of a file: like an array for a reader, but every access reads from the disk.

    The file is read by system calls. The touched pages of a memory map would count as memory of
    the process.

    Args:
        file: rows of equal size without a header; it stays open.
        shape: shape of a row.
        rows: numbers of the rows that form the array, in that order: int [n].
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, file: BinaryIO, shape: tuple[int, ...], rows: np.ndarray) -> None:
        self.shape = (len(rows), *shape)
        self._file, self._rows = file, rows

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, indices: np.ndarray) -> StoredRows:
        """Returns the rows `indices`, in that order, without reading them."""
        return StoredRows(self._file, self.shape[1:], self._rows[indices])

    def __getitem__(self, key: Any) -> np.ndarray:
        """Reads rows.

        Args:
            key: a number, a slice, or numbers of any shape, as for the first axis of an array.

        Returns:
            uint8 [..., *row], a new array.

        Raises:
            MissingDataError: the file cannot be read, or is shorter than it was.
        """
        rows = np.asarray(self._rows[key])
        x = np.empty([rows.size, *self.shape[1:]], np.uint8)
        size, file = math.prod(self.shape[1:]), self._file.fileno()
        offsets = [size * row for row in rows.ravel().tolist()]
        try:
            # The disk then reads many rows at a time; smaller rows share pages.
            if size >= mmap.PAGESIZE and hasattr(os, 'posix_fadvise'):
                for offset in offsets:
                    os.posix_fadvise(file, offset, size, os.POSIX_FADV_WILLNEED)
            counts = [os.preadv(file, [x_i], start) for x_i, start in zip(x, offsets, strict=True)]
        except OSError as error:
            raise MissingDataError(
                f'{self._file.name}: cannot be read ({error.strerror}). Check the disk, and rerun '
                'the same command.'
            ) from error
        if any(count != size for count in counts):
            raise MissingDataError(
                f'{self._file.name}: truncated. Rerun the same command; it converts the images '
                'again.'
            )
        return x.reshape([*rows.shape, *self.shape[1:]])
