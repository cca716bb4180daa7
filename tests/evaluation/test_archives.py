"""Unpacking of SavedModels from archives."""

import gzip
import io
import multiprocessing
import os
import pathlib
import pwd
import random
import shutil
import tarfile
import tempfile
import zipfile

import pytest

from flexae_tf.evaluation import archives

NOISE = random.Random(0).randbytes(8000)  # incompressible
FILES = {
    'saved_model.pb': NOISE[:2000],
    'variables/variables.index': NOISE[2000:3000],
    'variables/variables.data-00000-of-00001': NOISE[3000:],
}


@pytest.fixture
def pack(tmp_path):
    """`pack('net.tgz', {name: contents})`: an archive of these files."""

    def make(name, files=FILES):
        archive = tmp_path / name
        if archive.suffix == '.zip':
            with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as members:
                for path, contents in files.items():
                    members.writestr(path, contents)
        else:
            with tarfile.open(archive, 'w' if archive.suffix == '.tar' else 'w:gz') as members:
                for path, contents in files.items():
                    member = tarfile.TarInfo(path)
                    member.size = len(contents)
                    members.addfile(member, io.BytesIO(contents))
        return archive

    return make


@pytest.fixture
def cache(tmp_path):
    return tmp_path / 'cache'


def contents_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


def in_cache(cache):
    return [path for path in cache.rglob('*') if path != cache / 'networks']


def refusal(archive, cache):
    with pytest.raises(Exception) as error:
        archives.unpack(archive, cache)
    assert in_cache(cache) == []
    return f'{error.type.__name__}: {error.value}'


@pytest.mark.parametrize('name', [f'net{suffix}' for suffix in archives.SUFFIXES])
@pytest.mark.parametrize('folder', ['', './', 'inception/'])
def test_unpack_finds_root_or_folder(pack, cache, name, folder):
    files = {f'{folder}{path}': contents for path, contents in FILES.items()}
    unpacked = archives.unpack(pack(name, files), cache)
    assert contents_of(unpacked) == FILES
    assert in_cache(cache)[0] == unpacked and len(list((cache / 'networks').iterdir())) == 1


def test_unpack_ignores_other_files(pack, cache):
    files = {f'net/{path}': contents for path, contents in FILES.items()}
    files |= {'README.md': b'from a friend', '__MACOSX/net/._saved_model.pb': b''}
    assert contents_of(archives.unpack(pack('net.zip', files), cache)) == FILES


@pytest.mark.parametrize('folder', ['', 'inception/'])
def test_unpack_finds_the_frozen_graph(pack, cache, folder):
    files = {f'{folder}{archives.FROZEN_GRAPH}': NOISE, f'{folder}labels.pbtxt': b'1'}
    unpacked = archives.unpack(pack('inception-2015-12-05.tgz', files), cache)
    assert unpacked.name == archives.FROZEN_GRAPH and unpacked.read_bytes() == NOISE


def test_is_archive_by_content_or_name(pack, tmp_path):
    assert archives.is_archive(pack('net.tgz').rename(tmp_path / 'download'))
    assert archives.is_archive(pack('net.zip').rename(tmp_path / 'archive (1)'))
    (tmp_path / 'graph.pb').write_bytes(NOISE)
    assert not archives.is_archive(tmp_path / 'graph.pb')
    (tmp_path / 'net.tgz').write_bytes(NOISE)  # corrupt
    assert archives.is_archive(tmp_path / 'net.tgz')


def test_unpack_runs_once_per_archive(pack, cache, monkeypatch):
    archive = pack('net.tar.gz')
    unpacked = archives.unpack(archive, cache)
    monkeypatch.setattr(archives, '_extract', None)
    moved = archive.rename(archive.with_name('other.tgz'))
    assert archives.unpack(moved, cache) == unpacked
    monkeypatch.undo()
    other = archives.unpack(pack('net.tar.gz', {**FILES, 'saved_model.pb': b'another'}), cache)
    assert other != unpacked
    assert contents_of(unpacked) == FILES


@pytest.mark.parametrize('suffix', archives.SUFFIXES)
def test_unpack_refuses_truncated_archive(pack, cache, tmp_path, suffix):
    whole = pack(f'net{suffix}').read_bytes()
    length = len(whole)
    if suffix == '.tar':
        length -= len(whole) - len(whole.rstrip(b'\0')) - 1024  # the rest is padding
    cuts = {0, 1, 100, 512, length - 1024, length - 512, length - 100, length - 8, length - 1}
    cuts |= set(range(0, length, length // 40))
    for cut in sorted(cuts):
        archive = tmp_path / f'cut{suffix}'
        archive.write_bytes(whole[:cut])
        assert refusal(archive, cache), cut


def test_unpack_refuses_missing_members(pack, cache, tmp_path):
    whole = pack('net.tar').read_bytes()
    with tarfile.open(tmp_path / 'net.tar') as members:
        offsets = [member.offset for member in members]
    for cut in offsets[1:]:
        for suffix, packed in [('.tar', whole[:cut]), ('.tgz', gzip.compress(whole[:cut]))]:
            archive = tmp_path / f'cut{suffix}'
            archive.write_bytes(packed)
            assert 'unexpected end of data' in refusal(archive, cache)


@pytest.mark.parametrize('suffix', ['.tgz', '.zip'])
def test_unpack_refuses_flipped_bit(pack, cache, tmp_path, suffix):
    whole = pack(f'net{suffix}').read_bytes()
    contents = range(100, len(whole) - 600, 97)
    for place in contents if suffix == '.tgz' else contents[:3]:
        archive = tmp_path / f'flipped{suffix}'
        archive.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert refusal(archive, cache), place


@pytest.mark.parametrize('suffix', archives.SUFFIXES)
def test_unpack_refuses_archive_without_one_network(pack, cache, suffix):
    assert 'no saved_model.pb' in refusal(pack(f'empty{suffix}', {}), cache)
    half = {path: contents for path, contents in FILES.items() if 'variables' in path}
    assert 'no saved_model.pb' in refusal(pack(f'half{suffix}', half), cache)
    two = {f'{folder}/saved_model.pb': b'' for folder in 'ab'}
    assert 'several networks: a/saved_model.pb, b/saved_model.pb' in refusal(
        pack(f'two{suffix}', two), cache
    )
    deep = {'a/b/saved_model.pb': b''}
    assert 'no saved_model.pb' in refusal(pack(f'deep{suffix}', deep), cache)


@pytest.mark.parametrize('suffix', archives.SUFFIXES)
@pytest.mark.parametrize('name', ['../escaped', 'variables/../../../escaped', '/escaped'])
def test_unpack_writes_inside_the_cache_only(pack, cache, tmp_path, suffix, name):
    archive = pack(f'net{suffix}', {**FILES, name: b'out'})
    if name == '/escaped' and suffix != '.zip':
        assert (archives.unpack(archive, cache) / 'escaped').read_bytes() == b'out'  # as tar does
    else:
        assert 'outside' in refusal(archive, cache)
    assert not list(tmp_path.glob('escaped')) and not pathlib.Path('/escaped').exists()


@pytest.mark.parametrize(
    'kind, target',
    [
        (tarfile.SYMTYPE, '../../../../secret'),
        (tarfile.LNKTYPE, '../secret'),
        (tarfile.SYMTYPE, 'variables'),
        (tarfile.CHRTYPE, ''),
        (tarfile.BLKTYPE, ''),
        (tarfile.FIFOTYPE, ''),
    ],
)
def test_unpack_refuses_links_and_devices(cache, tmp_path, kind, target):
    (tmp_path / 'secret').write_text('mine')
    archive = tmp_path / 'net.tar'
    with tarfile.open(archive, 'w') as members:
        member = tarfile.TarInfo('saved_model.pb')
        member.type, member.linkname = kind, target
        members.addfile(member)
    assert "'saved_model.pb' is a link or no file" in refusal(archive, cache)


@pytest.mark.parametrize('suffix', ['.tgz', '.zip'])
def test_unpack_refuses_bombs_by_ratio(pack, cache, suffix):
    files = {f'assets/{i}': bytes(2**24) for i in range(5)}
    archive = pack(f'net{suffix}', {**FILES, **files})
    assert archive.stat().st_size < 100_000
    words = {'.tgz': 'unpacks to more than 67108864', '.zip': 'bytes unpack to 8389'}[suffix]
    assert words in refusal(archive, cache)


@pytest.mark.parametrize('suffix', ['.tgz', '.zip'])
def test_unpack_refuses_bombs_by_count(pack, cache, suffix):
    files = {f'{i:x}': b'' for i in range(1001)}
    assert 'more than 1000 files' in refusal(pack(f'net{suffix}', files), cache)


def tar_header(kind, size, content=b''):
    """Returns a header of tar that announces a size, which may be negative, and its content."""
    member = tarfile.TarInfo('saved_model.pb')
    member.type = kind
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b'\x80' + size.to_bytes(11, 'big') if size >= 0 else b'\xff' * 12
    header[148:156] = b' ' * 8
    header[148:156] = b'%06o\0 ' % sum(header)
    return bytes(header) + content


@pytest.mark.parametrize('suffix', ['.tar', '.tgz'])
@pytest.mark.parametrize(
    'kind, size, content',
    [
        (tarfile.REGTYPE, 2**40, b''),
        (tarfile.REGTYPE, -1, bytes(2048)),
        (tarfile.XHDTYPE, 2**33, b''),  # tarfile reads these headers at once
        (tarfile.GNUTYPE_LONGNAME, 2**21, bytes(2**21)),
        (tarfile.GNUTYPE_SPARSE, 2**40, b''),
    ],
)
def test_unpack_refuses_sizes_that_cannot_be_meant(cache, tmp_path, suffix, kind, size, content):
    archive = tmp_path / f'net{suffix}'
    packed = tar_header(kind, size, content)
    archive.write_bytes(gzip.compress(packed, 1) if suffix == '.tgz' else packed)
    assert refusal(archive, cache)


def test_unpack_refuses_a_bomb_behind_the_members(pack, cache):
    archive = pack('net.tgz')
    archive.write_bytes(archive.read_bytes() + gzip.compress(bytes(2**27)))
    assert 'unpacks to more than 67108864 bytes' in refusal(archive, cache)


@pytest.mark.parametrize('name', ['net.tgz', 'net'])
def test_unpack_does_not_wait_for_a_pipe(cache, tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match='not a regular file'):
        assert archives.is_archive(tmp_path / name)
        archives.unpack(tmp_path / name, cache)


def test_unpack_refuses_missing_archive(cache, tmp_path):
    assert 'FileNotFoundError' in refusal(tmp_path / 'net.tgz', cache)


def test_unpack_needs_writable_cache(pack, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(NotADirectoryError):
        archives.unpack(pack('net.tgz'), tmp_path / 'file' / 'cache')


def test_unpack_reports_full_disk(pack, cache, monkeypatch):
    def no_space(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(shutil, 'copyfileobj', no_space)  # zipfile writes with it
    assert 'No space left' in refusal(pack('net.zip'), cache)


def test_unpack_accepts_result_of_another_process(pack, cache, monkeypatch):
    archive = pack('net.tgz')
    rename = os.rename

    def rename_later(*args):
        monkeypatch.setattr(os, 'rename', rename)
        archives.unpack(archive, cache)
        rename(*args)

    monkeypatch.setattr(os, 'rename', rename_later)
    assert contents_of(archives.unpack(archive, cache)) == FILES
    assert len(list((cache / 'networks').iterdir())) == 1


def die_at_the_last_moment(archive, cache):
    os.rename = lambda *args: os._exit(9)
    archives.unpack(archive, cache)


def test_unpack_recovers_from_kill(pack, cache):
    archive = pack('net.tgz')
    process = multiprocessing.get_context('spawn').Process(
        target=die_at_the_last_moment, args=(archive, cache)
    )
    process.start()
    process.join()
    assert process.exitcode == 9
    assert all(path.name.startswith('.') for path in (cache / 'networks').iterdir())
    assert contents_of(archives.unpack(archive, cache)) == FILES


def test_unpack_by_several_processes(pack, cache):
    archive = pack('net.tgz', {**FILES, 'assets/large': bytes(10_000_000)})
    with multiprocessing.get_context('spawn').Pool(3) as pool:
        folders = pool.starmap(archives.unpack, [(archive, cache)] * 6)
    assert len(set(folders)) == 1
    assert set(contents_of(folders[0])) == {*FILES, 'assets/large'}
    assert len(list((cache / 'networks').iterdir())) == 1


def test_default_cache_follows_environment(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert archives.default_cache() == tmp_path / 'flexae_tf'
    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert archives.default_cache() == tmp_path / '.cache' / 'flexae_tf'


@pytest.mark.parametrize('place', ['no home', 'read-only', 'file'])
def test_default_cache_is_temporary_where_none_can_be_written(monkeypatch, tmp_path, capsys, place):
    archives._temporary_cache.cache_clear()
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    monkeypatch.setattr(tempfile, 'tempdir', None)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file' if place == 'file' else tmp_path))
    if place == 'no home':
        monkeypatch.setenv('XDG_CACHE_HOME', '')
        monkeypatch.delenv('HOME')
        monkeypatch.setattr(pwd, 'getpwuid', no_user)
    elif place == 'read-only':  # root can write everywhere
        monkeypatch.setattr(os, 'access', lambda path, mode: False)
    else:
        (tmp_path / 'file').write_text('')
    cache = archives.default_cache()
    assert cache.parent == tmp_path and cache.is_dir() and list(cache.iterdir()) == []
    assert archives.default_cache() == cache
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith('WARNING: ') and '--cache_dir' in line


def no_user(number):
    raise KeyError(number)  # as in a container that runs as any user
