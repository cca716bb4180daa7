"""Disk space that the checkpoints of a run need."""

import math
import os
import pathlib
import shutil
from collections.abc import Iterable

import tensorflow as tf

from flexae_tf.config import ResolvedConfig
from flexae_tf.errors import UsageError
from flexae_tf.methods.base import Method

HINT = 'lower --keep_checkpoints or raise --snapshot_every_steps'


def num_bytes(variables: Iterable) -> int:
    """Returns the size of variables in bytes."""
    return 4 * sum(int(tf.size(v.value)) for v in variables)


def needed(config: ResolvedConfig, method: Method) -> int:
    """Returns the bytes of all checkpoints and snapshots of a run."""
    every = config.snapshot_every_steps
    snapshots = math.ceil(config.training_steps / every) if every else 0  # the last step has one
    # One more than are kept: the new checkpoint is written before the oldest is removed.
    written = max(1, math.ceil(config.training_steps / config.save_every_steps))
    checkpoints = (min(config.keep_checkpoints, written) + 1) * num_bytes(method.state)
    return checkpoints + snapshots * num_bytes(method.weights)


def free(path: str | os.PathLike) -> int:
    """Returns the free bytes of the disk of a folder, which may be missing."""
    folder = pathlib.Path(os.path.abspath(path))
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check(folder: pathlib.Path, config: ResolvedConfig, method: Method) -> None:
    """Raises `UsageError` if the rest of a run does not fit on the disk.

    Args:
        folder: folder of the checkpoints; its files count as written.
        config: the resolved configuration.
        method: the method that is saved.
    """
    written = sum(path.lstat().st_size for path in folder.iterdir())
    missing = needed(config, method) - written
    if missing > free(folder):
        raise UsageError(
            f'{folder}: {mib(free(folder))} free, but the run writes {mib(missing)} of '
            f'checkpoints. Free disk space, {HINT}.'
        )


def mib(size: int) -> str:
    """Formats a number of bytes."""
    return f'{size / 2**20:,.0f} MiB'
