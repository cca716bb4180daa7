"""Mean and covariance of real features in an .npz file with the keys of TTUR and pytorch-fid."""

import hashlib
import json
import os
import pathlib
from typing import NamedTuple

import numpy as np

from flexae_tf.data.array_files import UNREADABLE
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.files import atomic_path
from flexae_tf.metrics.frechet import Moments
from flexae_tf.metrics.protocol import Protocol


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


def save_statistics(path: str | os.PathLike, moments: Moments, protocol: Protocol) -> None:
    """Writes `mu`, `sigma`, `n`, `protocol` (JSON) and `id` to an .npz file, atomically.

    Raises:
        UsageError: the file cannot be written.
    """
    path, protocol = pathlib.Path(os.path.abspath(path)), protocol.real_side()
    try:
        with atomic_path(path) as temporary:
            np.savez(
                temporary,
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
    try:
        with np.load(path) as arrays:
            mean, covariance = np.float64(arrays['mu']), np.float64(arrays['sigma'])
            verified = 'protocol' in arrays
            # Without a count the covariance is assumed to have full rank.
            num = int(arrays['n']) if verified or 'n' in arrays else mean.size + 1
            found = Protocol(**json.loads(str(arrays['protocol']))) if verified else None
    except UNREADABLE as error:
        raise _invalid(path, f'not a readable .npz file with mu and sigma ({error})') from None
    if mean.ndim != 1 or covariance.shape != 2 * mean.shape:
        raise _invalid(path, f'mu {mean.shape} and sigma {covariance.shape} do not fit each other')
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise _invalid(path, 'mu or sigma hold values that are not finite')
    if found is None and not allow_unverified:
        raise UsageError(
            f'--reference_statistics={path}: does not state which images it describes. Add '
            '--allow_unverified_statistics to use it; names of scores then end in _unverified.'
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return Statistics(Moments(mean, covariance, num), found, digest)


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
