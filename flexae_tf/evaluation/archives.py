"""Networks in archives, unpacked atomically into a cache; the cache itself."""

import contextlib
import functools
import gzip
import hashlib
import os
import pathlib
import tarfile
import tempfile
import zipfile
import zlib
from typing import BinaryIO

from flexae_tf import shutdown
from flexae_tf.foreign_files import FREE, MAX_READ, BoundedReader, check_unpacked, open_regular

SUFFIXES = ('.tar', '.tar.gz', '.tgz', '.zip')
FROZEN_GRAPH = 'classify_image_graph_def.pb'  # in inception-2015-12-05.tgz
MAX_BYTES = 2**32  # of an archive
MAX_MEMBERS = 1000  # a SavedModel has a few
MAX_RATIO = 10  # of unpacked to packed bytes; weights hardly compress
_UNREADABLE = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError)
NETWORKS = ('saved_model.pb', 'saved_model.pbtxt', FROZEN_GRAPH)


def default_cache() -> pathlib.Path:
    """Returns the package's folder in $XDG_CACHE_HOME, or in ~/.cache if that is not set.

    Without a home folder, or if the cache cannot be written, returns a temporary folder that is
    removed at exit.
    """
    try:
        parent = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser()
    except RuntimeError:  # neither HOME nor an entry in the password database
        return _temporary_cache('no home folder')
    cache = parent / 'flexae_tf'
    existing = next(folder for folder in (cache, *cache.parents) if os.path.exists(folder))
    if not os.access(existing, os.W_OK | os.X_OK):
        return _temporary_cache(f'{cache} cannot be written')
    return cache


@functools.cache
def _temporary_cache(reason: str) -> pathlib.Path:
    folder = tempfile.mkdtemp(prefix='flexae_tf-')
    shutdown.remove_at_exit(folder)
    print(f'WARNING: {reason}: nothing is kept between evaluations. Set --cache_dir.', flush=True)
    return pathlib.Path(folder)


def is_archive(path: pathlib.Path) -> bool:
    """Returns whether a file is a zip file or a tar file, by its name or by its content."""
    if path.name.endswith(SUFFIXES):
        return True
    with open_regular(path) as file:
        if zipfile.is_zipfile(BoundedReader(file)):
            return True
        with contextlib.suppress(*_UNREADABLE), _open_tar(file):
            return True
    return False


def find_network(folder: pathlib.Path) -> pathlib.Path:
    """Returns the only network at the root of a folder or in a folder in it.

    Returns:
        The folder of a SavedModel, or the file of a frozen graph.

    Raises:
        FileNotFoundError: there is no network, or more than one.
        OSError: the folder cannot be read.
    """
    folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    found = [path / name for path in folders for name in NETWORKS if (path / name).is_file()]
    if len(found) != 1:
        names = ', '.join(os.fspath(path.relative_to(folder)) for path in found)
        problem = f'several networks: {names}' if found else f'no {" or ".join(NETWORKS)}'
        raise FileNotFoundError(problem)
    return found[0] if found[0].name == FROZEN_GRAPH else found[0].parent


def unpack(archive: pathlib.Path, cache: pathlib.Path) -> pathlib.Path:
    """Returns the network in an archive, which is unpacked once.

    The folder is named by the SHA-256 of the archive. It is unpacked elsewhere and then renamed, so
    it is complete or absent, also when several processes unpack the archive at the same time.

    Args:
        archive: a file for which `is_archive` holds, with one network as `find_network` finds it.
        cache: folder that evaluations share; created if it is missing.

    Returns:
        The folder of a SavedModel, or the file of a frozen graph.

    Raises:
        Exception: the archive is missing or corrupt, has members outside of it, or does not hold
            exactly one network; the cache cannot be written. Each archive format raises its own
            errors; the caller reports them.
    """
    with open_regular(archive) as file:
        if _size(file) > MAX_BYTES:
            raise ValueError(f'more than {MAX_BYTES} bytes')
        target = cache / 'networks' / hashlib.file_digest(file, 'sha256').hexdigest()
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix='.unpacking-') as temporary:
            folder = pathlib.Path(temporary, 'archive')
            folder.mkdir()
            _extract(archive, folder)
            network = find_network(folder)
            _rename(network if network.is_dir() else network.parent, target)
    return find_network(target)


def _extract(archive: pathlib.Path, folder: pathlib.Path) -> None:
    with open_regular(archive) as file:
        if zipfile.is_zipfile(BoundedReader(file)):
            _extract_zip(file, folder)
        else:
            _extract_tar(file, folder)


def _extract_zip(file: BinaryIO, folder: pathlib.Path) -> None:
    with zipfile.ZipFile(BoundedReader(file)) as archive:
        members = archive.infolist()
        check_unpacked(sum(m.file_size for m in members), _size(file), ratio=MAX_RATIO)
        if len(members) > MAX_MEMBERS:
            raise zipfile.BadZipFile(f'more than {MAX_MEMBERS} files')
        for member in members:
            name = member.filename
            if name.startswith('/') or '..' in name.split('/'):  # zipfile would rename them
                raise zipfile.BadZipFile(f'{name[:80]!r} is outside the archive')
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise zipfile.BadZipFile(f'{name[:80]!r} is compressed by an unusual method')
        archive.extractall(folder)


def _extract_tar(file: BinaryIO, folder: pathlib.Path) -> None:
    with _open_tar(file) as archive:
        for number, member in enumerate(archive):
            if number == MAX_MEMBERS:
                raise tarfile.ReadError(f'more than {MAX_MEMBERS} files')
            if not (member.isreg() or member.isdir()) or member.size < 0:
                raise tarfile.ReadError(f'{member.name[:80]!r} is a link or no file')
            check_unpacked(member.size, _size(file), ratio=MAX_RATIO)
            archive.extract(member, folder, filter='data')
        # tarfile stops at anything that is not a member and does not read gzip's checksum.
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(1024) != bytes(1024):
            raise tarfile.ReadError('unexpected end of data')
        while archive.fileobj.read(MAX_READ):
            pass


def _open_tar(file: BinaryIO) -> tarfile.TarFile:
    """Opens a tar file, compressed by gzip or not, of bounded unpacked size."""
    file.seek(0)
    is_compressed = file.read(2) == b'\x1f\x8b'
    file.seek(0)
    size = max(FREE, MAX_RATIO * _size(file))
    unpacked = BoundedReader(gzip.GzipFile(fileobj=file) if is_compressed else file, size)
    return tarfile.open(fileobj=unpacked, mode='r:')


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _rename(folder: pathlib.Path, target: pathlib.Path) -> None:
    try:
        os.rename(folder, target)
    except OSError:
        if not target.is_dir():  # otherwise another process was faster, with equal contents
            raise
