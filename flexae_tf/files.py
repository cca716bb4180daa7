"""Atomic writes, JSON lines and file locks."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import uuid
from collections.abc import Iterator
from typing import IO, Any


def lock(file: IO) -> None:
    """Locks an open file until it is closed here and in all processes that inherit it.

    Prints a warning and continues on file systems without locks.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        print(
            f'WARNING: {file.name}: cannot be locked ({error.strerror}). Run only one process in '
            'this folder.',
            flush=True,
        )


def append_jsonl(path: pathlib.Path, record: dict[str, Any]) -> None:
    """Appends one record as a new line, also after an incomplete last line."""
    with open(path, 'a+b') as file:
        if file.tell() and file.seek(-1, os.SEEK_END) >= 0 and file.read() != b'\n':
            file.write(b'\n')
        file.write(json.dumps(record).encode() + b'\n')


def read_jsonl(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the records of a file without incomplete lines; [] if the file is missing."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(ValueError):
            records.append(json.loads(line))
    return records


def truncate_jsonl(path: pathlib.Path, step: int) -> None:
    """Drops the records after `step`; the resumed run writes them again."""
    if path.exists():
        kept = [r for r in read_jsonl(path) if r['step'] <= step]
        write_text(path, ''.join(json.dumps(r) + '\n' for r in kept))


def write_json(path: pathlib.Path, document: Any) -> None:
    """Writes a JSON document atomically."""
    write_text(path, json.dumps(document, indent=2) + '\n')


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text atomically."""
    write_bytes(path, text.encode())


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes a file atomically: readers see the old content or all of the new content."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def atomic_path(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path with the same suffix, which replaces `path` on success.

    Every call has its own temporary path. An error removes the temporary file.
    """
    temporary = path.with_name(f'.{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
