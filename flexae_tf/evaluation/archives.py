"""SavedModels in archives, unpacked atomically into a cache."""

import hashlib
import os
import pathlib
import tarfile
import tempfile
import zipfile

from flexae_tf.errors import UsageError

SUFFIXES = ('.tar', '.tar.gz', '.tgz', '.zip')


def default_cache() -> pathlib.Path:
    """Returns the package's folder in $XDG_CACHE_HOME, or in ~/.cache if that is not set.

    Raises:
        UsageError: neither is known, as for a user of a container who is in no list of users.
    """
    cache = os.path.expanduser(os.environ.get('XDG_CACHE_HOME') or '~/.cache')
    if cache.startswith('~'):
        raise UsageError('--cache_dir: needed, because the home folder is unknown. Give a folder.')
    return pathlib.Path(cache) / 'flexae_tf'


def unpack(archive: pathlib.Path, cache: pathlib.Path) -> pathlib.Path:
    """Returns the folder of the SavedModel in an archive, which is unpacked once.

    The folder is named by the SHA-256 of the archive. It is unpacked elsewhere and then renamed, so
    it is complete or absent, also when several processes unpack the archive at the same time.

    Args:
        archive: a file with a suffix of `SUFFIXES`, with a SavedModel at its root or in a folder.
        cache: folder that evaluations share; created if it is missing.

    Raises:
        Exception: the archive is missing or corrupt, has members outside of it, or does not hold
            exactly one SavedModel; the cache cannot be written. Each archive format raises its own
            errors; the caller reports them.
    """
    with open(archive, 'rb') as file:
        target = cache / 'networks' / hashlib.file_digest(file, 'sha256').hexdigest()
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix='.unpacking-') as temporary:
            folder = pathlib.Path(temporary, 'archive')
            folder.mkdir()
            _extract(archive, folder)
            _rename(_saved_model(folder), target)
    return target


def _extract(archive: pathlib.Path, folder: pathlib.Path) -> None:
    if archive.suffix == '.zip':
        with zipfile.ZipFile(archive) as members:
            for name in members.namelist():  # zipfile would rename these members
                if name.startswith('/') or '..' in name.split('/'):
                    raise zipfile.BadZipFile(f'{name!r} is outside the archive')
            members.extractall(folder)
        return
    with tarfile.open(archive) as members:
        members.extractall(folder, filter='data')
        # tarfile stops at anything that is not a member and does not read gzip's checksum.
        members.fileobj.seek(members.offset)
        if members.fileobj.read()[:1024] != bytes(1024):
            raise tarfile.ReadError('unexpected end of data')


def _saved_model(folder: pathlib.Path) -> pathlib.Path:
    """Returns the only SavedModel: `folder` itself or a folder in it."""
    name = 'saved_model.pb'
    found = [path.parent for path in (*folder.glob(name), *folder.glob(f'*/{name}'))]
    if len(found) != 1:
        raise FileNotFoundError(f'the archive holds {len(found) or "no"} {name}, not one')
    return found[0]


def _rename(folder: pathlib.Path, target: pathlib.Path) -> None:
    try:
        os.rename(folder, target)
    except OSError:
        if not target.is_dir():  # otherwise another process was faster, with equal contents
            raise
