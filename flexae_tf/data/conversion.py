"""Conversion of image files to a file of uint8 rows, once; a later start only opens the result.

`NAME.rows` holds image i of a list of files as row i, and `NAME.json` records the progress. NAME
contains a digest of everything that determines the rows.
"""

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from flexae_tf.checked_files import read_json, write_json
from flexae_tf.data.image_formats import PLAIN, ImageFile
from flexae_tf.data.stored_rows import StoredRows
from flexae_tf.errors import CorruptRunError, UsageError
from flexae_tf.files import lock

BLOCK = 4096  # images between two records of the progress
_RECORD = {'finished': int, 'bad': {'*': str}}  # number of files, problems of unreadable files


def convert(
    folder: Path,
    files: Sequence[ImageFile],
    prepare: Callable,
    bad: dict[str, str],
    *,
    shape: tuple[int, int, int],
    converted_dir: Path,
) -> tuple[StoredRows, np.ndarray]:
    """Converts image files, or continues or opens an earlier conversion of the same files.

    Args:
        folder: folder of the files.
        files: image files.
        prepare: see `decoding.decode_files`; determined by `shape`.
        bad: the problems of unreadable files are added, by path.
        shape: shape of an image.
        converted_dir: folder of conversions.

    Returns:
        The readable images [n, *shape], and the index of the file of each, [n].

    Raises:
        UsageError: not enough disk space.
        Interrupted: a signal was received.
    """
    conversion = _Conversion(folder, files, shape, converted_dir)
    record = conversion.read_record()
    if record is None or record['finished'] < len(files):
        record = conversion.finish(prepare)
    unreadable = {
        path: record['bad'][name]
        for path, name in conversion.names.items()
        if name in record['bad']
    }
    bad |= unreadable
    rows = np.array([i for i, file in enumerate(files) if file.path not in unreadable], np.int64)
    return StoredRows(conversion.path.open('rb', buffering=0), shape, rows), rows


class _Conversion:
    """A conversion of image files; arguments as for `convert`.

    Attributes:
        path: file of the rows.
        names: path in the folder by path of a file.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[ImageFile],
        shape: tuple[int, int, int],
        converted_dir: Path,
    ) -> None:
        self.names = {file.path: file.path.removeprefix(str(folder)) for file in files}
        name = f'{"x".join(map(str, shape))}_{self._digest(shape)}'
        self.path = converted_dir / f'{name}.rows'
        self._record_path = converted_dir / f'{name}.json'
        self._files, self._row_size = files, math.prod(shape)

    def read_record(self) -> dict[str, Any] | None:
        """Returns the progress; None if nothing valid is converted."""
        try:
            record = read_json(self._record_path, _RECORD)
        except (FileNotFoundError, CorruptRunError):
            return None
        num = len(self._files)
        is_whole = self.path.exists() and self.path.stat().st_size == num * self._row_size
        return record if is_whole and 0 <= record['finished'] <= num else None

    def finish(self, prepare: Callable) -> dict[str, Any]:
        """Converts the files that are left, unless another process does; returns the record."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        with self.path.open('r+b') as file:
            try:
                lock(file)
            except BlockingIOError:
                print(f'{self.path}: waiting for another process that converts', flush=True)
                lock(file, wait=True)
            record = self.read_record() or self._start(file)
            if record['finished'] < len(self._files):
                self._check_disk(file)
                self._convert(file, record, prepare)
        return record

    def _start(self, file: BinaryIO) -> dict[str, Any]:
        """Gives the file its size, without contents; returns the first record."""
        if os.fstat(file.fileno()).st_size or self._record_path.exists():
            print(f'{self.path}: changed since it was written. Converting again.', flush=True)
        record = {'finished': 0, 'bad': {}}
        file.truncate(0)
        file.truncate(len(self._files) * self._row_size)
        write_json(self._record_path, record)
        return record

    def _convert(self, file: BinaryIO, record: dict[str, Any], prepare: Callable) -> None:
        """Converts the files that `record` does not count as finished, and updates it."""
        from flexae_tf.data import decoding

        files, start = self._files, record['finished']
        # In the order of `decode_files`, so that the number of finished files identifies them.
        order = sorted(range(len(files)), key=lambda i: files[i].kind != PLAIN)[start:]
        print(f'converting {len(order)} of {len(files)} images into {self.path}', flush=True)
        bad, bits = {}, decoding.bits_in_use(files)

        def save(finished: int) -> None:
            file.flush()
            os.fsync(file.fileno())  # the record must not count rows that a power cut can lose
            record['finished'] = finished
            record['bad'] |= {self.names[path]: problem for path, problem in bad.items()}
            write_json(self._record_path, record)

        todo = [files[i] for i in order]
        for k, image in decoding.decode_files(todo, prepare, bits=bits, bad=bad):
            file.seek(order[k] * self._row_size)
            file.write(image)
            if start + k + 1 - record['finished'] >= BLOCK:
                save(start + k + 1)
        save(len(files))

    def _check_disk(self, file: BinaryIO) -> None:
        """Raises `UsageError` if the rest of the rows does not fit on the disk."""
        folder, stat = self.path.parent, os.fstat(file.fileno())
        missing = stat.st_size - 512 * stat.st_blocks
        free = shutil.disk_usage(folder).free
        if missing > free:
            raise UsageError(
                f'--converted_dir={folder}: {missing / 2**30:.1f} GiB needed, '
                f'{free / 2**30:.1f} GiB free. Free disk space, or use fewer or smaller images '
                '(--image_size).'
            )

    def _digest(self, shape: tuple[int, ...]) -> str:
        """Returns twelve hexadecimal digits of the files and of the way they are decoded."""
        from flexae_tf.data import decoding

        digest = hashlib.sha256(f'{decoding.DECODER} {shape}\n'.encode())
        for path, name in self.names.items():
            stat = os.stat(path)
            digest.update(os.fsencode(f'{name}\0{stat.st_size} {stat.st_mtime_ns}\n'))
        return digest.hexdigest()[:12]
