"""Mean and covariance of the real side in a file, under the keys that TTUR and pytorch-fid use."""

import hashlib
import json
import os
import pathlib

import numpy as np

from flexae_tf.data.npz import UNREADABLE
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.files import atomic_path
from flexae_tf.metrics.frechet import Moments
from flexae_tf.metrics.protocol import Protocol


def save_statistics(path: str | os.PathLike, moments: Moments, protocol: Protocol) -> None:
    """Writes `mu`, `sigma`, `n`, `protocol` (JSON) and `id` to an .npz file, whole or not at all.

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
            f'{path} cannot be written ({error.strerror}): give another --write_statistics'
        ) from None


def load_statistics(
    path: str | os.PathLike, protocol: Protocol, *, foreign: bool
) -> tuple[Moments, str | None]:
    """Mean and covariance of the real side of `protocol`.

    Args:
        path: a file of `save_statistics`, or of TTUR or pytorch-fid.
        protocol: what is to be scored.
        foreign: whether a file that does not say what it was made of is taken.

    Returns:
        the moments, and twelve digits that name a foreign file, None for one of ours.

    Raises:
        MissingDataError: no such file, or not one of statistics.
        UsageError: statistics of another protocol, or of none where `foreign` does not allow it.
    """
    path = pathlib.Path(path)
    try:
        with np.load(path) as arrays:
            mean, covariance = np.float64(arrays['mu']), np.float64(arrays['sigma'])
            # Where nobody counted the samples, the covariance is taken to be of full rank.
            ours = 'protocol' in arrays
            num = int(arrays['n']) if ours or 'n' in arrays else mean.size + 1
            found = Protocol(**json.loads(str(arrays['protocol']))) if ours else None
    except UNREADABLE as error:
        raise MissingDataError(
            f'{path}: not a readable file of statistics, .npz with mu and sigma ({error}); '
            'correct --reference_statistics'
        ) from None
    if mean.ndim != 1 or covariance.shape != 2 * mean.shape:
        raise MissingDataError(
            f'{path}: mu {mean.shape} and sigma {covariance.shape} do not fit each other; '
            'correct --reference_statistics'
        )
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise MissingDataError(
            f'{path}: mu and sigma hold values that are not finite; correct --reference_statistics'
        )
    if found is None and not foreign:
        raise UsageError(
            f'{path} does not say which images it was made of: --allow_unverified_statistics takes it '
            'nevertheless, and its scores say so'
        )
    if found is None:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        return Moments(mean, covariance, num), digest
    differences = found.differences(protocol.real_side())
    if differences:
        raise UsageError(
            f'{path} holds statistics of another protocol ({differences}): write them again with '
            '--write_statistics, or score as they were made'
        )
    return Moments(mean, covariance, num), None
