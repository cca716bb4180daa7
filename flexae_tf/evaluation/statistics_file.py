"""Mean and covariance of real features in an .npz file with the keys of TTUR and pytorch-fid."""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import NamedTuple

import numpy as np

from flexae_tf.checked_files import arrays_checksum, parse_json, write_arrays
from flexae_tf.config import RESIZES
from flexae_tf.data import array_files, memory
from flexae_tf.data.array_files import Array
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.metrics.frechet import Moments
from flexae_tf.metrics.protocol import Protocol

_FLAG, _CURE = '--reference_statistics=', 'Choose another file'
_MAX_TEXT = 2**16  # bytes
_BLOCK = 256  # rows that are compared at a time
_NAMES = ('mu', 'sigma', 'n', 'protocol', 'id', 'checksum')
# Types of the fields of a protocol; a file of an earlier version may lack some.
_PROTOCOL = {f'{field.name}?': str | None for field in dataclasses.fields(Protocol)}
_PROTOCOL |= {'num?': int, 'crop?': int | None, 'minmax_normalize?': bool, 'tfgan_network?': bool}
_PROTOCOL |= {'dataset?': str, 'split?': str}


class Statistics(NamedTuple):
    """Contents of a file.

    Attributes:
        moments: mean and covariance.
        protocol: protocol of the real side; None for an unverified file.
        digest: twelve hexadecimal digits that identify the file.
    """

    moments: Moments
    protocol: Protocol | None
    digest: str


def check_writable(path: str | os.PathLike) -> None:
    """Raises `UsageError` if `save_statistics` could not write a file, before the features."""
    path = pathlib.Path(os.path.abspath(path))
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(
            f'--write_statistics={path}: cannot be written (no such folder, or no permission). '
            'Choose another path.'
        )


def save_statistics(path: str | os.PathLike, moments: Moments, protocol: Protocol) -> None:
    """Writes `mu`, `sigma`, `n`, `protocol` (JSON), `id` and a checksum to an .npz file.

    Raises:
        UsageError: the file cannot be written.
    """
    path, protocol = pathlib.Path(os.path.abspath(path)), protocol.real_side()
    try:
        write_arrays(
            path,
            mu=moments.mean,
            sigma=moments.covariance,
            n=moments.num,
            protocol=json.dumps(protocol.fields()),
            id=protocol.id,
        )
    except OSError as error:
        raise UsageError(
            f'--write_statistics={path}: cannot be written ({error.strerror}). Choose another path.'
        ) from None


def read_statistics(path: str | os.PathLike, *, allow_unverified: bool) -> Statistics:
    """Reads a file of `save_statistics`, TTUR or pytorch-fid.

    Args:
        path: the file.
        allow_unverified: whether a file without a protocol is accepted.

    Raises:
        MissingDataError: the file is missing or holds no valid statistics.
        UsageError: the file has no protocol and `allow_unverified` is off.
    """
    path = pathlib.Path(path)
    arrays = {array.name: array for array in array_files.headers(path, label=_FLAG, cure=_CURE)}
    if missing := {'mu', 'sigma'} - arrays.keys():
        raise _invalid(path, f'holds no array {min(missing)}')
    shape = arrays['mu'].shape
    if len(shape) != 1 or not shape[0] or arrays['sigma'].shape != 2 * shape:
        raise _invalid(path, f'{arrays["mu"]} and {arrays["sigma"]} do not fit each other')
    memory.check(3 * arrays['sigma'].num_bytes, f'sigma of {path}')
    if any(arrays[name].dtype.kind not in 'fiu' for name in ('mu', 'sigma')):
        raise _invalid(path, f'{arrays["mu"]} and {arrays["sigma"]} are not real numbers')
    content = {name: _read(path, arrays[name]) for name in _NAMES if name in arrays}
    mean, covariance = (np.asarray(content[name], np.float64) for name in ('mu', 'sigma'))
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise _invalid(path, 'mu or sigma hold values that are not finite')
    if not _is_covariance(covariance):
        raise _invalid(path, 'sigma is not a covariance')
    recorded = content.pop('checksum', None)
    if recorded is not None and str(recorded) != arrays_checksum(content):
        raise _invalid(path, 'was changed since it was written')
    # Without a count the covariance is assumed to have full rank.
    num = _count(path, content['n']) if 'n' in content else mean.size + 1
    found = _protocol(path, content['protocol'], num) if 'protocol' in content else None
    if found is None and not allow_unverified:
        raise UsageError(
            f'--reference_statistics={path}: does not state which images it describes. Add '
            '--allow_unverified_statistics to use it; names of scores then end in _unverified.'
        )
    with array_files.open_regular(path) as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()[:12]
    return Statistics(Moments(mean, covariance, num), found, digest)


def _read(path: pathlib.Path, array: Array) -> np.ndarray:
    if array.name not in ('mu', 'sigma') and array.num_bytes > _MAX_TEXT:
        raise _invalid(path, f'{array} is no number or text')
    return array_files.read(path, array, label=_FLAG, cure=_CURE)


def _is_covariance(matrix: np.ndarray) -> bool:
    """Returns whether a matrix is symmetric and, up to rounding, positive semidefinite."""
    parts = [slice(start, start + _BLOCK) for start in range(0, len(matrix), _BLOCK)]
    if not all(np.allclose(matrix[part], matrix[:, part].T) for part in parts):
        return False
    eigenvalues = np.linalg.eigvalsh(matrix)
    return eigenvalues[0] >= -1e-5 * abs(eigenvalues[-1])  # float32 files have rounding errors


def _count(path: pathlib.Path, array: np.ndarray) -> int:
    """Returns the number of examples."""
    if array.shape or array.dtype.kind not in 'iu':
        raise _invalid(path, f'n ({array.dtype} {list(array.shape)}) is not a number of examples')
    num = int(array)
    if num < 2:
        raise _invalid(path, f'n is {num}, but statistics need 2 examples')
    return num


def _protocol(path: pathlib.Path, array: np.ndarray, num: int) -> Protocol:
    """Returns the protocol of statistics of `num` examples."""
    if array.shape or array.dtype.kind != 'U':
        raise _invalid(path, f'protocol ({array.dtype} {list(array.shape)}) is not a text')
    text = str(array).encode(errors='replace')
    label = f'{_FLAG}{path}: protocol'
    fields = parse_json(label, text, _PROTOCOL, cure=_CURE, error=MissingDataError)
    try:
        protocol = Protocol(**fields)
    except (ValueError, TypeError) as error:
        raise _invalid(path, f'the protocol is invalid ({str(error)[:200]})') from None
    if protocol.resize and protocol.resize.rpartition('_')[0] not in RESIZES:
        raise _invalid(path, f'the resize {protocol.resize} is unknown')
    if protocol.num != num:
        raise _invalid(path, f'n is {num}, but {protocol.num} in the protocol')
    return protocol


def check_statistics(path: str | os.PathLike, found: Protocol, protocol: Protocol) -> None:
    """Checks that statistics describe the real side of the scores to compute.

    Args:
        path: the file, for the error message.
        found: protocol in the file.
        protocol: of the scores.

    Raises:
        UsageError: the statistics have another protocol.
    """
    differences = found.differences(protocol.real_side())
    if differences:
        raise UsageError(
            f'--reference_statistics={path}: has another protocol ({differences}). Write it again '
            'with --write_statistics, or score with its options.'
        )


def _invalid(path: pathlib.Path, problem: str) -> MissingDataError:
    return MissingDataError(f'--reference_statistics={path}: {problem}. Choose another file.')
