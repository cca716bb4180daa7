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
    """Locks an open file until it is closed, also by the processes that inherit it.

    Some file systems of clusters have no locks: that is said, and goes on without.

    Raises:
        BlockingIOError: another process has it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        print(
            f'WARNING: {file.name} cannot be locked ({error.strerror}): see to it that no other '
            'process works in this folder',
            flush=True,
        )


def append_jsonl(path: pathlib.Path, record: dict[str, Any]) -> None:
    """Appends one record as a line of its own, also after a line that was torn by a kill."""
    with open(path, 'a+b') as file:
        if file.tell() and file.seek(-1, os.SEEK_END) >= 0 and file.read() != b'\n':
            file.write(b'\n')
        file.write(json.dumps(record).encode() + b'\n')


def read_jsonl(path: pathlib.Path) -> list[dict[str, Any]]:
    """The records of a file, none when there is no file; torn lines are left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(ValueError):
            records.append(json.loads(line))
    return records


def truncate_jsonl(path: pathlib.Path, step: int) -> None:
    """Drops the records after `step`, which the resumed run writes again."""
    if path.exists():
        kept = [r for r in read_jsonl(path) if r['step'] <= step]
        write_text(path, ''.join(json.dumps(r) + '\n' for r in kept))


def write_json(path: pathlib.Path, document: Any) -> None:
    """Writes a document so that readers see all of it or the old one."""
    write_text(path, json.dumps(document, indent=2) + '\n')


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text so that readers see all of it or the old one."""
    write_bytes(path, text.encode())


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes a file so that readers see all of it or the old one."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def atomic_path(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file to write, of the same suffix, that takes the place of `path` when it is whole.

    Whoever else writes `path` has another one; an error leaves nothing.
    """
    temporary = path.with_name(f'.{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
