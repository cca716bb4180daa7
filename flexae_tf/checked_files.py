"""Files that notice when their content was changed: JSON, JSON lines, arrays and folders.

Every writer adds a checksum, and every reader compares it. Files that earlier versions wrote have
no checksum and are accepted; JSON must then still fit its schema.

A schema describes JSON values:

- a type such as `int`, `str | None` or `int | float`; `object` accepts any value;
- `[schema]`, a list of such values;
- `{key: schema}`, an object with exactly these keys. A key that ends in `?` is optional, and the
  key `*` stands for all other keys;
- a function from an object to its schema.
"""

import contextlib
import hashlib
import json
import lzma
import math
import os
import pathlib
import re
import struct
import tokenize
import typing
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from flexae_tf.errors import CorruptRunError, UserError
from flexae_tf.files import atomic_path, write_text
from flexae_tf.foreign_files import open_regular

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
MANIFEST = 'manifest.json'  # of a folder
SCALARS = {'step': int, '*': int | float}  # schema of statistics by step
_CURE = 'Restore it from a copy, or remove it'
_CURE_LINE = 'Restore the file from a copy, or remove that line'
_MAX_DOCUMENT = 2**26  # bytes; the largest documents have some hundred kilobytes

_MAX_INT = 2**63

Schema = Any


class _InvalidError(Exception):
    """A JSON value that a reader does not accept.

    Attributes:
        keys: keys that lead to the value.
        problem: description of the problem.
        line: line of the text; None to search the keys.
    """

    def __init__(self, problem: str, *, keys: Sequence = (), line: int | None = None) -> None:
        super().__init__(problem)
        self.problem, self.keys, self.line = problem, keys, line


def checksum(document: Any) -> str:
    """Returns sixteen hexadecimal digits of a JSON value; the order of keys does not matter."""
    plain = json.loads(json.dumps(document))  # with texts as keys, which sort differently
    text = json.dumps(plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_json(path: pathlib.Path, document: dict[str, Any]) -> None:
    """Writes a JSON document with its checksum, atomically."""
    write_text(path, json.dumps(_sealed(document), indent=2, allow_nan=False) + '\n')


def read_json(
    path: pathlib.Path,
    schema: Schema,
    *,
    cure: str = _CURE,
    error: type[UserError] = CorruptRunError,
) -> dict[str, Any]:
    """Returns a JSON document without its checksum.

    Args:
        path: the file.
        schema: keys and types of the document.
        cure: the action that the error message names.
        error: class of the error for an invalid document.

    Raises:
        FileNotFoundError: the file does not exist.
        UserError: the file is unreadable or changed, or does not fit the schema; of class `error`.
    """
    content = _read(path, cure=cure, error=error, max_bytes=_MAX_DOCUMENT)
    return parse_json(path, content, schema, cure=cure, error=error)


def parse_json(
    path: str | os.PathLike,
    content: bytes,
    schema: Schema,
    *,
    cure: str = _CURE,
    error: type[UserError] = CorruptRunError,
) -> dict[str, Any]:
    """Returns the JSON document in the `content` of a file; like `read_json`."""
    try:
        return _parse(content, schema)
    except _InvalidError as invalid:
        line = invalid.line or _line_of(content, invalid.keys)
        raise error(f'{path}:{line}: {invalid.problem}. {cure}.') from None


def append_jsonl(path: pathlib.Path, record: dict[str, Any]) -> None:
    """Appends one record as a line, in place of an incomplete last line that a kill left.

    Processes that write to the same file must hold its lock (`files.lock`).
    """
    with open(path, 'a+b') as file:
        if file.tell() and file.seek(-1, os.SEEK_END) >= 0 and file.read() != b'\n':
            file.seek(0)
            lines, tail = _split(file.read())
            if tail:
                file.write(b'\n')
            else:
                file.truncate(sum(len(line) + 1 for line in lines))
        file.write(_line(record).encode())


def write_jsonl(path: pathlib.Path, records: Iterable[dict[str, Any]]) -> None:
    """Writes records as lines, each with its checksum, atomically."""
    write_text(path, ''.join(map(_line, records)))


def read_jsonl(path: pathlib.Path, schema: Schema = object) -> list[dict[str, Any]]:
    """Returns the records of a file without their checksums; [] if the file is missing.

    An incomplete last line, which a kill leaves, is ignored.

    Raises:
        CorruptRunError: the file is unreadable, or a line is changed or does not fit the schema.
    """
    try:
        content = _read(path, cure=_CURE, error=CorruptRunError)
    except (FileNotFoundError, NotADirectoryError):
        return []
    lines, tail = _split(content)
    records = []
    for number, line in enumerate([*lines, *tail], 1):
        try:
            records.append(_parse(line, schema))
        except _InvalidError as invalid:
            raise CorruptRunError(f'{path}:{number}: {invalid.problem}. {_CURE_LINE}.') from None
    return records


def truncate_jsonl(path: pathlib.Path, step: int) -> None:
    """Drops the records after `step`; the resumed run writes them again."""
    if path.exists():
        write_jsonl(path, (r for r in read_jsonl(path, SCALARS) if r['step'] <= step))


def write_arrays(path: pathlib.Path, **arrays: Any) -> None:
    """Writes arrays by name and their checksum to an .npz file, atomically."""
    with atomic_path(path) as temporary:
        # First: a flip in the directory of the file can hide the entries after another one.
        np.savez(temporary, checksum=arrays_checksum(arrays), **arrays)


def read_arrays(path: pathlib.Path, *names: str, cure: str = _CURE) -> dict[str, np.ndarray]:
    """Returns all arrays of an .npz file except the checksum.

    Args:
        path: the file.
        names: arrays that must be there.
        cure: the action that the error message names.

    Raises:
        FileNotFoundError: the file does not exist.
        CorruptRunError: the file is unreadable or changed.
    """
    try:
        with open_regular(path) as file, np.load(file) as loaded:
            arrays = dict(loaded)
        stored = arrays.pop('checksum', None)
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        raise CorruptRunError(f'{path}: cannot be read ({_reason(error)}). {cure}.') from None
    if stored is not None and str(stored) != arrays_checksum(arrays):
        raise CorruptRunError(f'{path}: changed since it was written. {cure}.')
    if missing := sorted({*names} - arrays.keys()):
        raise CorruptRunError(f'{path}: no array {missing[0]!r}. {cure}.')
    return arrays


def write_manifest(folder: pathlib.Path) -> None:
    """Writes the sizes and SHA-256 of all files of a folder to its `manifest.json`."""
    files = {name: fingerprint(path) for name, path in _files(folder).items()}
    write_json(folder / MANIFEST, {'files': files})


def check_manifest(folder: pathlib.Path, *, cure: str = _CURE) -> None:
    """Checks the files of a folder that has a manifest; the folder may hold further files.

    Raises:
        CorruptRunError: a file is missing or changed, or the manifest is invalid.
    """
    try:
        expected = read_json(folder / MANIFEST, {'files': {'*': [int | str]}}, cure=cure)['files']
    except FileNotFoundError:
        return
    # Names are compared, not opened, so that no file outside the folder is read.
    found = _files(folder)
    for name, recorded in expected.items():
        if name not in found:
            raise CorruptRunError(f'{folder}: {name} is missing. {cure}.')
        try:
            changed = fingerprint(found[name]) != recorded
        except OSError as error:
            raise CorruptRunError(
                f'{found[name]}: cannot be read ({error.strerror}). {cure}.'
            ) from None
        if changed:
            raise CorruptRunError(f'{found[name]}: changed since it was written. {cure}.')


def fingerprint(path: pathlib.Path) -> list:
    """Returns [size in bytes, SHA-256] of a file."""
    with open_regular(path) as file:
        return [os.fstat(file.fileno()).st_size, hashlib.file_digest(file, 'sha256').hexdigest()]


def _files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the files of a folder, by name, except its manifest."""
    paths = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob('*')) if p.is_file()}
    paths.pop(MANIFEST, None)
    return paths


def _sealed(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, 'checksum': checksum(document)}


def _line(record: dict[str, Any]) -> str:
    return json.dumps(_sealed(record), allow_nan=False) + '\n'


def _read(
    path: pathlib.Path, *, cure: str, error: type[UserError], max_bytes: int | None = None
) -> bytes:
    try:
        with open_regular(path) as file:
            content = file.read(max_bytes and max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as problem:
        raise error(f'{path}: cannot be read ({problem.strerror}). {cure}.') from None
    if max_bytes and len(content) > max_bytes:
        raise error(f'{path}: has more than {max_bytes} bytes. {cure}.')
    return content


def _split(content: bytes) -> tuple[list[bytes], list[bytes]]:
    """Returns the lines that end in a newline, and [the last line] if it is complete without."""
    *lines, tail = content.split(b'\n')
    # A kill leaves the beginning of a record. Anything else without a newline was changed.
    with contextlib.suppress(ValueError, RecursionError):
        json.JSONDecoder().raw_decode(tail.decode(errors='replace'))
        return lines, [tail]
    return lines, []


def _parse(content: bytes, schema: Schema) -> dict[str, Any]:
    """Returns a JSON object without its checksum after all checks."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = 1 + content[: error.start].count(b'\n')
        raise _InvalidError('not UTF-8', line=line) from None
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise _InvalidError(f'no valid JSON ({error.msg})', line=error.lineno) from None
    except RecursionError:
        raise _InvalidError('nested too deeply', line=1) from None
    except ValueError as error:
        raise _InvalidError(f'no valid JSON ({error})', line=1) from None
    if not isinstance(document, dict):
        raise _InvalidError('no JSON object', line=1)
    found = document.pop('checksum', None)
    _check(document, schema, ())
    # A flip in the key itself leaves the checksum under another name.
    renamed = found is None and any(
        isinstance(value, str) and len(value) == 16 and value == checksum(_without(document, key))
        for key, value in list(document.items())[-1:]
    )
    if renamed or (found is not None and found != checksum(document)):
        raise _InvalidError('changed since it was written', keys=('checksum',))
    return document


def _without(document: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != key}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object whose keys occur once."""
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise _InvalidError(f'key {_short(repeated)} occurs twice', keys=(repeated,))
    return document


def _check(value: Any, schema: Schema, keys: tuple) -> None:
    """Raises `_InvalidError` if a value does not fit a schema, or is a number out of range."""
    if callable(schema) and not isinstance(schema, type):
        _check_type(value, dict, keys)
        schema = schema(value)
    if schema is object:
        containers = {dict: {'*': object}, list: [object]}
        schema = containers.get(type(value), type(value))
    if isinstance(schema, dict):
        _check_type(value, dict, keys)
        for name in schema:
            if name != '*' and not name.endswith('?') and name not in value:
                raise _InvalidError(f'no key {_short(name)}', keys=keys)
        for key, item in value.items():
            expected = schema.get(key) or schema.get(f'{key}?') or schema.get('*')
            if expected is None:
                raise _InvalidError(f'unknown key {_short(key)}', keys=(*keys, key))
            _check(item, expected, (*keys, key))
    elif isinstance(schema, list):
        _check_type(value, list, keys)
        for item in value:
            _check(item, schema[0], keys)
    else:
        _check_type(value, schema, keys)
        if isinstance(value, float) and not math.isfinite(value):
            raise _InvalidError(f'{_short(keys[-1])} is not finite', keys=keys)
        if isinstance(value, int) and abs(value) >= _MAX_INT:
            raise _InvalidError(f'{_short(keys[-1])} is too large', keys=keys)


def _check_type(value: Any, expected: Any, keys: tuple) -> None:
    # Not isinstance, because True is no number.
    if type(value) not in (typing.get_args(expected) or (expected,)):
        name = expected.__name__ if isinstance(expected, type) else expected
        raise _InvalidError(f'{_short(keys[-1])} is no {name}', keys=keys)


def _line_of(content: bytes, keys: Sequence[str]) -> int:
    """Returns the line of a value in the text of a document."""
    text, position = content.decode(), 0
    for key in keys:
        match = re.compile(re.escape(json.dumps(key)) + r'\s*:').search(text, position)
        position = match.start() if match else position
    return 1 + text[:position].count('\n')


def arrays_checksum(arrays: dict[str, Any]) -> str:
    """Returns sixteen hexadecimal digits of names, types, shapes and values of arrays."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        array = np.asarray(array)
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def _short(key: str) -> str:
    text = repr(key)
    return text if len(text) <= 60 else f'{text[:60]}...'


def _reason(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return getattr(error, 'strerror', None) or lines[0]
