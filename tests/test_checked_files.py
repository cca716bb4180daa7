"""JSON documents, JSON lines, arrays and folders notice every change of their content."""

import json
import os

import numpy as np
import pytest

from flexae_tf.checked_files import (
    append_jsonl,
    check_manifest,
    checksum,
    read_arrays,
    read_json,
    read_jsonl,
    truncate_jsonl,
    write_arrays,
    write_json,
    write_jsonl,
    write_manifest,
)
from flexae_tf.errors import CorruptRunError, MissingDataError

SCHEMA = {
    'rate': int | float,
    'config': {'seed': int, 'name?': str | None, 'on': bool},
    'shape': [int],
}
DOCUMENT = {'rate': 1e-05, 'config': {'seed': 3, 'name': None, 'on': True}, 'shape': [28, 1]}
TEXT = json.dumps(DOCUMENT)
LINES = [{'step': 1, 'ae': 0.5}, {'step': 2, 'ae': 1e-05}, {'step': 3}]
SCALARS = {'step': int, '*': int | float}


def flips(path):
    """Writes every single-bit flip of a file in turn; the file is restored at the end."""
    content = path.read_bytes()
    for position in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[position] ^= 1 << bit
            path.write_bytes(changed)
            yield
    path.write_bytes(content)


def cuts(path):
    """Writes every proper prefix of a file in turn; the file is restored at the end."""
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        yield
    path.write_bytes(content)


def refused(read, *arguments):
    """Returns whether a reader refuses a file; otherwise its value."""
    try:
        return read(*arguments)
    except CorruptRunError as error:
        assert '\n' not in str(error) and str(error).endswith('.')
        return None


def test_checksum_depends_on_values_only():
    assert checksum({'a': 1, 'b': [2.0, None]}) == checksum({'b': [2.0, None], 'a': 1})
    assert checksum({2: 0, 10: (1,)}) == checksum({'10': [1], '2': 0})
    assert len({checksum(value) for value in (1, 1.0, '1', [1], True, None)}) == 6
    assert checksum({}) == '44136fa355b3678a'  # SHA-256 of '{}'


def test_documents_find_every_flip_and_cut(tmp_path):
    path = tmp_path / 'config.json'
    write_json(path, DOCUMENT)
    assert read_json(path, SCHEMA) == DOCUMENT
    found = [refused(read_json, path, SCHEMA) for _ in flips(path)]
    assert [each for each in found if each] == [DOCUMENT]  # 1E-05
    found = [refused(read_json, path, SCHEMA) for _ in cuts(path)]
    assert found == [None] * (len(found) - 1) + [DOCUMENT]  # only the newline is missing


@pytest.mark.parametrize(
    ('text', 'line', 'problem'),
    [
        ('', 1, 'no valid JSON (Expecting value)'),
        ('{"rate": 1,\n"shape": [', 2, 'no valid JSON'),
        ('[]', 1, 'no JSON object'),
        (TEXT.replace('1e-05', '"1"'), 1, "'rate' is no int | float"),
        (TEXT.replace('1e-05', '\nNaN'), 1, "'rate' is not finite"),
        (TEXT.replace('1e-05', '-Infinity'), 1, "'rate' is not finite"),
        (TEXT.replace('1e-05', '1e999'), 1, "'rate' is not finite"),
        (TEXT.replace('3', '3.0').replace('"seed', '\n"seed'), 2, "'seed' is no int"),
        (TEXT.replace('3', 'true'), 1, "'seed' is no int"),
        (TEXT.replace('"on": true', '"on": 1'), 1, "'on' is no bool"),
        (TEXT.replace('"on"', '"onn"'), 1, "no key 'on'"),
        (TEXT.replace('"seed"', '\n"on": true, "seed"'), 2, "key 'on' occurs twice"),
        (TEXT.replace('{"rate"', '{"other": 1,\n "rate"'), 1, "unknown key 'other'"),
        (TEXT.replace('[28, 1]', '\n{"h": 28}'), 1, "'shape' is no list"),
        (TEXT.replace('28', 'null'), 1, "'shape' is no int"),
        (TEXT.replace('3', '9' * 5000), 1, 'no valid JSON'),
        (TEXT.replace('28', '9' * 50), 1, "'shape' is too large"),
        ('{"rate":\n' + '[' * 100_000, 1, 'nested too deeply'),
        (b'{"rate": 1,\n"\xff": 2}', 2, 'not UTF-8'),
        ('{"' + 'x' * 10**5 + '": 1}', 1, "no key 'rate'"),
    ],
)
def test_documents_must_fit_their_schema(tmp_path, text, line, problem):
    path = tmp_path / 'config.json'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CorruptRunError) as error:
        read_json(path, SCHEMA)
    message = str(error.value)
    assert message.startswith(f'{path}:{line}: {problem}'), message
    assert message.endswith('. Restore it from a copy, or remove it.') and len(message) < 400


def test_documents_without_checksum_are_read(tmp_path):
    path = tmp_path / 'config.json'
    path.write_text(TEXT)
    assert read_json(path, SCHEMA) == DOCUMENT
    path.write_text(TEXT.replace('"name": null, ', ''))
    assert read_json(path, SCHEMA)['config'] == {'seed': 3, 'on': True}


def test_read_json_states_the_caller_s_cure_and_error(tmp_path):
    path = tmp_path / 'x.json'
    with pytest.raises(FileNotFoundError):
        read_json(path, {})
    path.write_text('{}')
    with pytest.raises(MissingDataError, match=r"x.json:1: no key 'a'. Fit it again\.$"):
        read_json(path, {'a': int}, cure='Fit it again', error=MissingDataError)


@pytest.mark.parametrize('make', ['folder', 'loop', 'pipe', 'device'])
def test_readers_need_a_regular_file(tmp_path, make):
    path = tmp_path / 'x'
    if make == 'folder':
        path.mkdir()
    elif make == 'pipe':
        os.mkfifo(path)
    else:
        path.symlink_to(path if make == 'loop' else '/dev/zero')
    for read in (read_arrays, read_jsonl, lambda path: read_json(path, {})):
        with pytest.raises(CorruptRunError, match='x: cannot be read'):
            read(path)


def test_lines_find_every_flip(tmp_path):
    path = tmp_path / 'stats.jsonl'
    write_jsonl(path, LINES)
    assert read_jsonl(path, SCALARS) == LINES and read_jsonl(path) == LINES
    assert {str(refused(read_jsonl, path)) for _ in flips(path)} == {'None', str(LINES)}
    ends = np.cumsum([0, *(len(line) for line in path.read_bytes().splitlines(keepends=True))])
    for size, _ in enumerate(cuts(path)):
        complete = sum(size >= end - 1 for end in ends[1:])  # a newline may be missing
        assert read_jsonl(path, SCALARS) == LINES[:complete]


def test_lines_name_the_invalid_line(tmp_path):
    path = tmp_path / 'stats.jsonl'
    path.write_text('{"step": 1}\n{"step": "2"}\n{"step": 3}\n')
    with pytest.raises(CorruptRunError, match=r"stats.jsonl:2: 'step' is no int. .*remove that"):
        read_jsonl(path, SCALARS)
    path.write_text('{"step": 1}\n\n{"step": 3}\n')
    with pytest.raises(CorruptRunError, match=r'stats.jsonl:2: no valid JSON'):
        read_jsonl(path, SCALARS)
    assert read_jsonl(tmp_path / 'missing.jsonl') == []


def test_append_replaces_what_a_kill_left(tmp_path):
    path, expected = tmp_path / 'stats.jsonl', tmp_path / 'expected.jsonl'
    write_jsonl(expected, LINES)
    first, second, _ = expected.read_bytes().splitlines(keepends=True)
    for left in range(len(second)):
        path.write_bytes(first + second[:left])
        if left < len(second) - 1:
            append_jsonl(path, LINES[1])
        append_jsonl(path, LINES[2])
        assert path.read_bytes() == expected.read_bytes()
    path.write_bytes(first + second[:-1] + b'\x0b')  # a flip of the newline is no kill
    append_jsonl(path, LINES[2])
    with pytest.raises(CorruptRunError, match=r'stats.jsonl:2: no valid JSON \(Extra data\)'):
        read_jsonl(path)


def test_truncate_drops_later_steps(tmp_path):
    path = tmp_path / 'stats.jsonl'
    truncate_jsonl(path, 2)
    assert not path.exists()
    path.write_text(''.join(json.dumps(line) + '\n' for line in LINES))
    truncate_jsonl(path, 2)
    assert read_jsonl(path) == LINES[:2]
    assert all('checksum' in json.loads(line) for line in path.read_text().splitlines())


def test_arrays_find_every_flip_and_cut(tmp_path):
    path = tmp_path / 'codes.npz'
    arrays = {'rows': np.float32([[1, 2]])}
    write_arrays(path, **arrays)

    def is_equal(found):
        return found.keys() == arrays.keys() and all(
            found[name].dtype == array.dtype and np.array_equal(found[name], array)
            for name, array in arrays.items()
        )

    assert is_equal(read_arrays(path))
    for _ in flips(path):
        found = refused(read_arrays, path)
        assert found is None or is_equal(found)
    assert not any(refused(read_arrays, path) for _ in cuts(path))


def test_arrays_find_replaced_values(tmp_path):
    path = tmp_path / 'codes.npz'
    write_arrays(path, rows=np.arange(3))
    with np.load(path) as loaded:
        np.savez(path, **{**loaded, 'rows': np.arange(3) + 1})
    with pytest.raises(CorruptRunError, match='codes.npz: changed since it was written'):
        read_arrays(path)
    np.savez(path, rows=np.arange(3))  # of an earlier version
    assert read_arrays(path)['rows'].tolist() == [0, 1, 2]
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / 'missing.npz')


def test_arrays_are_never_unpickled(tmp_path):
    np.savez(tmp_path / 'x.npz', rows=np.array([{}], object))
    with pytest.raises(CorruptRunError, match=r'x.npz: cannot be read \(Object arrays'):
        read_arrays(tmp_path / 'x.npz')


def test_manifests_find_every_flip(tmp_path):
    folder = tmp_path / 'export'
    (folder / 'variables').mkdir(parents=True)
    (folder / 'variables' / 'data').write_bytes(b'\0\1')
    (folder / 'model.pb').write_bytes(b'graph')
    check_manifest(folder)  # an earlier version wrote none
    write_manifest(folder)
    (folder / 'notes.txt').write_text('a later file')
    check_manifest(folder)
    for path in (folder / 'variables' / 'data', folder / 'model.pb', folder / 'manifest.json'):
        for _ in flips(path):
            with pytest.raises(CorruptRunError):
                check_manifest(folder)
    check_manifest(folder)
    (folder / 'model.pb').unlink()
    with pytest.raises(CorruptRunError, match='export: model.pb is missing'):
        check_manifest(folder)


@pytest.mark.parametrize('name', ['../secret', '/etc/passwd', 'missing', '.'])
def test_manifests_name_only_files_of_their_folder(tmp_path, name):
    (tmp_path / 'secret').write_text('x')
    (tmp_path / 'export').mkdir()
    write_json(tmp_path / 'export' / 'manifest.json', {'files': {name: [1, 'f' * 64]}})
    with pytest.raises(CorruptRunError, match='is missing'):
        check_manifest(tmp_path / 'export')
