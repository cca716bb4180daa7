"""Files of feature networks: where they come from, and their identity, without TensorFlow.

Files are a SavedModel or the frozen Inception graph of 2015-12-05, in a folder or an archive. The
content identifies a network. The place that it came from does not.
"""

import contextlib
import errno
import hashlib
import importlib
import os
import pathlib
import shlex
import shutil
import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple

from flexae_tf.errors import MissingDataError
from flexae_tf.evaluation import archives, declaration, tfgan
from flexae_tf.evaluation.declaration import Declaration

# Git blob id of classify_image_graph_def.pb, the network that FID is defined with.
INCEPTION_2015 = 'f34cb9b774a4547b5e214ef4202e5775a9c0f436'
URL = 'http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz'
ARCHIVE = 'inception-2015-12-05.tgz'
KAGGLE_HANDLE = 'tensorflow/inception/tensorFlow1/tfgan-eval-inception/1'
MAX_GRAPH = 2**29  # bytes; the Inception graph has 96 million
REMEDY = f'Give the folder or archive of a SavedModel, or {ARCHIVE}.'
_TIMEOUT = 10.0  # seconds without an answer


class NetworkFiles(NamedTuple):
    """Files of a network.

    Attributes:
        flag: flag that the network was given by.
        source: path of the network as the user gave it, or where it was found.
        remedy: last sentence of an error message about the network.
        path: folder of a SavedModel, or file of a frozen graph.
        checksum: twelve hexadecimal digits that identify the content.
        is_inception_2015: whether the content is the frozen Inception graph of 2015-12-05.
    """

    flag: str
    source: str
    remedy: str
    path: pathlib.Path
    checksum: str
    is_inception_2015: bool


def download_command(cache: pathlib.Path) -> str:
    """Returns the shell command after which the default network is found in the cache."""
    return f'curl -fL --create-dirs -o {shlex.quote(os.fspath(cache / ARCHIVE))} {URL}'


def from_path(
    path: str, cache: pathlib.Path, *, flag: str = '--inception_path', remedy: str = REMEDY
) -> NetworkFiles:
    """Returns the files of the network at a path.

    Args:
        path: a folder or archive as for `archives.find_network`, or the file of a frozen graph.
        cache: folder for unpacked archives.
        flag: flag that the path was given by.
        remedy: last sentence of an error message about the network.

    Raises:
        MissingDataError: there is no network, or it cannot be unpacked.
    """
    with reported(flag, path, remedy):
        given = pathlib.Path(path)
        if not given.exists():
            raise FileNotFoundError('no such file or folder')
        if given.is_dir():
            found = archives.find_network(given)
        else:
            found = archives.unpack(given, cache) if archives.is_archive(given) else given
        if found.is_dir():
            checksum, is_inception_2015 = saved_model_checksum(found), False
        else:
            if found.stat().st_size > MAX_GRAPH:
                raise ValueError(f'a graph of more than {MAX_GRAPH} bytes')
            blob = git_blob_id(found)
            checksum, is_inception_2015 = blob[:12], blob == INCEPTION_2015
        return NetworkFiles(flag, path, remedy, found, checksum, is_inception_2015)


def from_declaration(folder: str, cache: pathlib.Path) -> tuple[Declaration, NetworkFiles]:
    """Returns the declaration and the files of a feature network other than Inception.

    Raises:
        MissingDataError: there is no network, or its declaration is invalid.
    """
    declared = declaration.read(folder)
    files = from_path(folder, cache, flag='--feature_network')
    return declared, files._replace(checksum=declared.checksum(files.checksum))


def default(cache: pathlib.Path) -> NetworkFiles:
    """Returns the files of the default Inception network: from the cache, Kaggle or the hub.

    Raises:
        MissingDataError: the network is nowhere; the message has the command that downloads it.
    """
    remedy = f'Run: {download_command(cache)}'
    if path := in_cache(cache):
        return from_path(path, cache, remedy=remedy)
    reasons = []
    for name, find in {'kagglehub': _from_kaggle, 'tensorflow_hub': _from_hub}.items():
        try:
            path = find(cache)
        except Exception as error:  # each package raises its own errors
            reasons.append(f'{name}: {one_line(error)[:120]}')
        else:
            return from_path(path, cache, remedy=remedy)
    raise MissingDataError(
        f'--inception_path: not set; no network in {cache} or by download '
        f'({"; ".join(reasons)}). {remedy}'
    )


def in_cache(cache: pathlib.Path) -> str | None:
    """Returns the path of the default network in the cache or in the hub's; None if missing."""
    in_hub = _hub_cache(cache) / hashlib.sha1(tfgan.HANDLE.encode()).hexdigest()
    for path in (cache / ARCHIVE, cache / archives.FROZEN_GRAPH, in_hub / 'saved_model.pb'):
        if path.is_file():
            return os.fspath(in_hub if path.parent == in_hub else path)
    return None


def _hub_cache(cache: pathlib.Path) -> pathlib.Path:
    # The hub's default is in /tmp, where cleaners remove single files.
    return pathlib.Path(os.environ.get('TFHUB_CACHE_DIR') or cache / 'tfhub')


def _from_kaggle(_: pathlib.Path) -> str:
    return importlib.import_module('kagglehub').model_download(KAGGLE_HANDLE)


def _from_hub(cache: pathlib.Path) -> str:
    tensorflow_hub = importlib.import_module('tensorflow_hub')
    os.environ['TFHUB_CACHE_DIR'] = str(_hub_cache(cache))
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        return tensorflow_hub.resolve(tfgan.handle())
    finally:
        socket.setdefaulttimeout(before)


def discard_unpacked(files: NetworkFiles, cache: pathlib.Path) -> None:
    """Removes an unpacked network, so that no corrupt network stays in the cache."""
    folder = files.path if files.path.is_dir() else files.path.parent
    if folder.parent == cache / 'networks':
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def reported(flag: str, source: str, remedy: str) -> Iterator[None]:
    """Raises a one-line `MissingDataError` for any error while a network is read or loaded."""
    try:
        yield
    except MissingDataError:
        raise
    except Exception as error:  # tarfile, zipfile, protobuf and TensorFlow raise their own errors
        if type(error).__name__ == 'ResourceExhaustedError':  # not an error of the network
            raise
        raise MissingDataError(
            f'{flag}={source}: cannot load a network ({one_line(error)}). {remedy}'
        ) from error


def one_line(error: Exception) -> str:
    """Returns the type and the message of an error in one short line."""
    return ' '.join(f'{type(error).__name__}: {error}'.split())[:300]


def git_blob_id(path: pathlib.Path) -> str:
    """Returns the id that git gives to the content of a file, 40 hexadecimal digits."""
    digest = hashlib.sha1(b'blob %d\0' % path.stat().st_size)
    _update(digest.update, path)
    return digest.hexdigest()


def saved_model_checksum(folder: pathlib.Path) -> str:
    """Returns 12 digits of the SHA-256 of the files that TensorFlow reads from a SavedModel.

    Raises:
        OSError: as `saved_model_files`.
    """
    digest = hashlib.sha256()
    for relative, path in saved_model_files(folder).items():
        digest.update(f'{relative} {path.stat().st_size}\n'.encode())
        _update(digest.update, path)
    return digest.hexdigest()[:12]


def saved_model_files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the files that TensorFlow reads from a SavedModel, by sorted relative name.

    Raises:
        OSError: there is a pipe or a device, which TensorFlow would wait for; or a link to a
            folder, whose files would not be found here.
    """
    # `fingerprint.pb` holds a random number of each export and is left out.
    read = ('saved_model.pb', 'saved_model.pbtxt', 'variables', 'assets')
    found = {}
    for path in folder.rglob('*'):
        relative = os.fspath(path.relative_to(folder))
        if relative.split(os.sep)[0] in read and (path.is_symlink() or not path.is_dir()):
            if not path.is_file():
                raise OSError(errno.EINVAL, 'not a regular file', os.fspath(path))
            found[relative] = path
    return dict(sorted(found.items()))


def _update(update: Callable[[bytes], None], path: pathlib.Path) -> None:
    with open(path, 'rb') as file:
        while block := file.read(2**20):
            update(block)
