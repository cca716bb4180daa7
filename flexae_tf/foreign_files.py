"""Files from elsewhere, opened so that no content can block the program or fill its memory."""

import errno
import io
import os
import stat
from typing import BinaryIO

MAX_READ = 2**20  # bytes that formats may request at a time, such as a table of contents
FREE = 2**26  # bytes that any file may unpack to
_NOT_REGULAR = 'not a regular file'


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Opens a file for reading; links are followed.

    Raises:
        OSError: the file is missing or unreadable; or it is a folder, or a pipe or a device, which
            may have no end.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, _NOT_REGULAR, os.fspath(path))
    return open(path, 'rb')


def check_unpacked(num_bytes: int, packed: int, *, ratio: int) -> None:
    """Refuses a small file that unpacks to a large one.

    Args:
        num_bytes: number of unpacked bytes.
        packed: number of bytes in the file.
        ratio: largest ratio of both for contents of this kind.

    Raises:
        ValueError: the ratio is larger, and `num_bytes` more than `FREE`.
    """
    if num_bytes > max(FREE, ratio * packed):
        raise ValueError(f'{packed} bytes unpack to {num_bytes}, too many for this kind of file')


class BoundedReader:
    """A file whose reader gets at most `MAX_READ` bytes at a time, and `size` bytes in total.

    zipfile and tarfile read a table or a header at once, with the size that the file announces.

    Args:
        file: an open file that can be searched, such as an uncompressed view of another file.
        size: number of bytes that may be read; None for no limit.
    """

    def __init__(self, file: BinaryIO, size: int | None = None) -> None:
        self._file, self._size = file, size
        self.tell, self.close, self.seekable = file.tell, file.close, file.seekable

    def read(self, num: int = -1) -> bytes:
        """Returns the next `num` bytes, or the rest; fewer at the end.

        Raises:
            ValueError: more bytes than allowed.
        """
        content = self._file.read(min(num, MAX_READ + 1) if num >= 0 else MAX_READ + 1)
        if len(content) > MAX_READ:
            raise ValueError(f'a header or a table of more than {MAX_READ} bytes')
        self._check(self._file.tell())
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a position.

        Raises:
            ValueError: bytes behind the limit would have to be unpacked.
        """
        if whence == io.SEEK_SET:
            self._check(offset)
        return self._file.seek(offset, whence)

    def _check(self, position: int) -> None:
        if self._size is not None and position > self._size:
            raise ValueError(f'unpacks to more than {self._size} bytes')
