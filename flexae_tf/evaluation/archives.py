"""SavedModels in archives, unpacked into a cache that never holds half of one."""

import hashlib
import os
import pathlib
import tarfile
import tempfile
import zipfile

SUFFIXES = ('.tar', '.tar.gz', '.tgz', '.zip')


def default_cache() -> pathlib.Path:
    """The package's folder in the user's cache: of $XDG_CACHE_HOME, or of ~/.cache."""
    return pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'flexae_tf'


def unpack(archive: pathlib.Path, cache: pathlib.Path) -> pathlib.Path:
    """The folder of the SavedModel in an archive, which is unpacked once.

    It lies in the cache under the SHA-256 of the archive. It is made elsewhere and then renamed, so
    that it is there as a whole or not at all, also when several processes make it at once.

    Args:
        archive: a file of one of `SUFFIXES`, with a SavedModel at its root or in a folder there.
        cache: a folder kept between evaluations; made if need be.

    Raises:
        Exception: the archive is absent, damaged, has members that lie outside of it, or does not
            hold exactly one SavedModel; the cache cannot be written. Each reader of archives has
            errors of its own, and all are for whoever wants the network to report.
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
            for name in members.namelist():  # it would make other names of them
                if name.startswith('/') or '..' in name.split('/'):
                    raise zipfile.BadZipFile(f'{name!r} is outside the archive')
            members.extractall(folder)
        return
    with tarfile.open(archive) as members:
        members.extractall(folder, filter='data')
        # tarfile takes whatever is no member for the end, and leaves the checksum of gzip unread.
        members.fileobj.seek(members.offset)
        if members.fileobj.read()[:1024] != bytes(1024):
            raise tarfile.ReadError('unexpected end of data')


def _saved_model(folder: pathlib.Path) -> pathlib.Path:
    """The one folder that is a SavedModel: `folder` itself, or one in it."""
    name = 'saved_model.pb'
    found = [path.parent for path in (*folder.glob(name), *folder.glob(f'*/{name}'))]
    if len(found) != 1:
        raise FileNotFoundError(f'the archive holds {len(found) or "no"} {name}, not one')
    return found[0]


def _rename(folder: pathlib.Path, target: pathlib.Path) -> None:
    try:
        os.rename(folder, target)
    except OSError:
        if not target.is_dir():  # else another process was faster, with the same contents
            raise
