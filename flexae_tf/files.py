"""Paths, atomic writes and file locks."""

import contextlib
import errno
import functools
import hashlib
import os
import pathlib
import re
import tempfile
import uuid
from collections.abc import Iterator
from typing import IO

from flexae_tf.errors import MissingDataError, UsageError

try:
    import fcntl
except ModuleNotFoundError:
    raise UsageError('flexae_tf: supports Linux and macOS; on Windows use WSL2.') from None


def local_path(label: str, path: str | bytes | os.PathLike) -> str:
    """Returns the path of a file or folder of this machine, which may be missing.

    A leading `~` or `~USER` becomes a home folder. Every other character is part of a name.

    Args:
        label: the flag or argument that gave the path, for the error message.
        path: a path, absolute or relative to the working directory.

    Raises:
        UsageError: the path is empty or a URL, has control characters, or is relative to a
            working directory that was removed.
    """
    path = os.fsdecode(path)
    if not path:
        raise UsageError(f'{label}=: empty. Give a path, or leave it out.')
    if re.match(r'[A-Za-z][\w+.-]*://', path):
        raise UsageError(
            f'{label}={path}: a URL, not a path. Use a local path; mount or copy remote files.'
        )
    if re.search(r'[\x00-\x1f\x7f]', path):
        raise UsageError(f'{label}={path!r}: has control characters. Rename it, or use a link.')
    expanded = os.path.expanduser(path)
    if expanded.startswith('~'):
        raise UsageError(f'{label}={path}: unknown home folder. Give the whole path.')
    try:
        os.path.abspath(expanded)
    except FileNotFoundError:
        raise UsageError(
            f'{label}={path}: relative to a working directory that was removed. Change the '
            'directory.'
        ) from None
    return expanded


def stat_digest(path: pathlib.Path, *, flag: str) -> str:
    """Returns twelve hexadecimal digits of names, sizes and times of a file or of a folder's files.

    Raises:
        MissingDataError: the path, which `flag` gave, does not exist.
    """
    if not path.exists():
        raise MissingDataError(f'{flag}={path}: no such file or folder. Check the path.')
    found = ((file.relative_to(path), file.stat()) for file in sorted([path, *path.rglob('*')]))
    text = ''.join(f'{name} {stat.st_size} {stat.st_mtime_ns}\n' for name, stat in found)
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:12]


@contextlib.contextmanager
def tensorflow_path(path: str | os.PathLike) -> Iterator[str]:
    """Yields a name of an existing file or folder that TensorFlow takes literally.

    TensorFlow reads some names as patterns and refuses names that are not UTF-8. For such a name,
    a link in a temporary folder is used; it is removed at the end.

    Raises:
        UsageError: the folder for temporary files has such a name itself.
    """
    path = os.fspath(path)
    if _is_literal(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix='flexae_tf-') as folder:
        if not _is_literal(folder):
            raise UsageError(f'TMPDIR={folder}: TensorFlow cannot use this name. Set another one.')
        link = os.path.join(folder, 'link')
        os.symlink(pathlib.Path(path).absolute(), link)
        yield link


def _is_literal(path: str) -> bool:
    """Returns whether TensorFlow takes a path as it is: no pattern, and UTF-8."""
    return not re.search(r'[][*?\\\udc80-\udcff]', path)


def lock(file: IO, *, wait: bool = False) -> None:
    """Locks an open file until it is closed here and in all processes that inherit it.

    Prints a warning, once for a file, and continues on file systems without locks.

    Args:
        file: the file.
        wait: whether to wait for a process that holds the lock.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        _warn_without_locks(file.name, error.strerror)


@functools.cache
def _warn_without_locks(name: str, reason: str) -> None:
    print(
        f'WARNING: {name}: cannot be locked ({reason}). Run only one process in this folder.',
        flush=True,
    )


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text atomically; names of files in it need not be UTF-8."""
    write_bytes(path, text.encode(errors='surrogateescape'))


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes a file atomically: readers see the old content or all of the new content."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def make_folder(folder: pathlib.Path, root: pathlib.Path) -> None:
    """Makes a folder in `root`, and its parents except `root`, which may be gone meanwhile."""
    if folder != root:
        make_folder(folder.parent, root)
        folder.mkdir(exist_ok=True)


@contextlib.contextmanager
def atomic_path(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path with the same suffix, which replaces `path` on success.

    Every call has its own temporary path. An error removes the temporary file. If `path` is a link,
    its target is replaced.

    Raises:
        OSError: `path` is a device or a pipe, which a file must not replace.
    """
    path = pathlib.Path(os.path.realpath(path))
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, 'no regular file', os.fspath(path))
    temporary = path.with_name(f'.{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
