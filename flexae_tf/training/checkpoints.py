"""Checkpoints with checksums.

TensorFlow's CheckpointManager relies on its state file: if that is truncated, training silently
starts from zero beside valid checkpoints. It also notices a corrupt bundle only when a variable
fails to load. Here, each checkpoint has a manifest with the sizes and SHA-256 of its files, written
last. Files without a matching manifest are not a checkpoint.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable

import tensorflow as tf

from flexae_tf.errors import CorruptRunError, MissingDataError
from flexae_tf.files import tensorflow_path, write_json


class Checkpoints:
    """The checkpoints of one kind in one folder: files `NAME-000001000.*`.

    Args:
        folder: folder of the files.
        checkpoint: the objects to save and restore.
        name: the kind: 'ckpt' (everything) or 'weights'.
        identity: hash of the configuration; stored in the manifest and checked.
        keep: number of checkpoints to keep; None for all.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        checkpoint: tf.train.Checkpoint,
        *,
        name: str,
        identity: str,
        keep: int | None = None,
    ) -> None:
        self._folder = folder
        self._checkpoint = checkpoint
        self._name = name
        self._identity = identity
        self._keep = keep

    def steps(self) -> list[int]:
        """Returns the steps that have files, valid or not, in rising order."""
        pattern = re.compile(rf'{self._name}-(\d{{9}})\.')
        matches = (pattern.match(path.name) for path in self._folder.glob(f'{self._name}-*'))
        return sorted({int(match.group(1)) for match in matches if match})

    def save(self, step: int) -> None:
        """Writes the checkpoint of `step`, then removes the oldest ones beyond `keep`.

        Raises:
            CorruptRunError: the files could not be written, for example because the disk is full.
                They are removed; older checkpoints stay.
        """
        manifest = self._manifest_path(step)
        manifest.unlink(missing_ok=True)
        self._remove_temporary()
        try:
            with tensorflow_path(self._folder) as folder:
                self._checkpoint.write(os.path.join(folder, self._prefix(step).name))
            files = {p.name: _fingerprint(p) for p in self._files(step)}
            write_json(manifest, {'step': step, 'config': self._identity, 'files': files})
        except (OSError, tf.errors.OpError) as error:
            self._remove(step)
            raise CorruptRunError(
                f'{self._folder}: checkpoint of step {step} could not be written '
                f'({_first_line(error)}). Free disk space.'
            ) from None
        if self._keep:
            # Corrupt files of a later step must not push out the checkpoint just written.
            for old in [s for s in self.steps() if s <= step][: -self._keep]:
                self._remove(old)

    def restore(self, step: int) -> None:
        """Restores the checkpoint of `step`.

        Raises:
            MissingDataError: it does not exist, or was removed while it was read.
            CorruptRunError: it is corrupt, or of another configuration.
        """
        if step not in self.steps():
            raise MissingDataError(
                f'{self._folder}: no checkpoint of step {step}. Choose another step.'
            )
        problem = self._problem(step)
        if problem:
            raise self._corrupt(step, problem, 'Choose another step')
        self._read(step)

    def restore_latest(self, log: Callable[[str], None]) -> int | None:
        """Restores the newest valid checkpoint.

        Args:
            log: called with a warning for every corrupt checkpoint that is skipped.

        Returns:
            Its step; None if there are no files.

        Raises:
            MissingDataError: it was removed while it was read.
            CorruptRunError: there are files, but no valid checkpoint.
        """
        steps = self.steps()
        for step in reversed(steps):
            problem = self._problem(step)
            if not problem:
                self._read(step)
                return step
            log(f'WARNING: checkpoint of step {step} {problem}; falling back to the previous one')
        if steps:
            raise CorruptRunError(
                f'{self._folder}: no checkpoint is valid. Move that folder away to start again.'
            )
        return None

    def digest(self, step: int) -> str | None:
        """Returns 12 hex digits that identify the contents of a checkpoint; None if missing."""
        try:
            return hashlib.sha256(self._manifest_path(step).read_bytes()).hexdigest()[:12]
        except FileNotFoundError:
            return None

    def _problem(self, step: int) -> str | None:
        """Returns the problem of the checkpoint of `step`; None if it is valid."""
        try:
            manifest = json.loads(self._manifest_path(step).read_text())
            identity, expected = manifest['config'], dict(manifest['files'])
        except FileNotFoundError:
            return 'is incomplete (it has no manifest)'
        except (ValueError, KeyError, TypeError):
            return 'is corrupt (its manifest cannot be read)'
        if identity != self._identity:
            return 'belongs to another configuration'
        for name, fingerprint in expected.items():
            try:
                if _fingerprint(self._folder / name) != fingerprint:
                    return f'is corrupt ({name} has changed)'
            except FileNotFoundError:
                return f'is corrupt ({name} is missing)'
        return None

    def _read(self, step: int) -> None:
        try:
            with tensorflow_path(self._folder) as folder:
                prefix = os.path.join(folder, self._prefix(step).name)
                self._checkpoint.read(prefix).assert_consumed()
        except AssertionError as error:
            raise self._corrupt(
                step,
                f'holds other variables than this version of the code ({_first_line(error)})',
                'Use the version that wrote it',
            ) from None
        except tf.errors.OpError as error:
            if not self._manifest_path(step).exists():
                raise MissingDataError(
                    f'{self._folder}: checkpoint of step {step} was removed while it was read. '
                    'Choose a later one.'
                ) from None
            raise self._corrupt(
                step, f'cannot be read ({_first_line(error)})', 'Check the disk'
            ) from None

    def _corrupt(self, step: int, problem: str, action: str) -> CorruptRunError:
        return CorruptRunError(f'{self._folder}: checkpoint of step {step} {problem}. {action}.')

    def _prefix(self, step: int) -> pathlib.Path:
        return self._folder / f'{self._name}-{step:09d}'

    def _manifest_path(self, step: int) -> pathlib.Path:
        return self._prefix(step).with_suffix('.manifest.json')

    def _files(self, step: int) -> list[pathlib.Path]:
        name = self._prefix(step).name
        return sorted([*self._folder.glob(f'{name}.index'), *self._folder.glob(f'{name}.data-*')])

    def _remove(self, step: int) -> None:
        self._manifest_path(step).unlink(missing_ok=True)  # first: it makes the files valid
        for path in self._files(step):
            path.unlink(missing_ok=True)
        self._remove_temporary()

    def _remove_temporary(self) -> None:
        """Removes the folders that TensorFlow leaves behind if it fails or is killed."""
        for folder in self._folder.glob(f'{self._name}-*_temp'):
            shutil.rmtree(folder, ignore_errors=True)


def check_complete(checkpoint: tf.train.Checkpoint, variables: list) -> None:
    """Raises `RuntimeError` if a variable of a model would not be saved.

    Keras 3 lists the variables of layers in a list or dict, but a checkpoint does not include
    them; restoring would silently leave their initial values.
    """
    reachable = {id(o) for o in tf.train.TrackableView(checkpoint).descendants()}
    missing = [v.path for v in variables if id(v) not in reachable]
    if missing:
        raise RuntimeError(f'variables that no checkpoint would hold: {", ".join(missing)}')


def check_names(variables: list) -> None:
    """Raises `RuntimeError` if two variables have the same name, the key of a saved weight.

    Keras names the variables of a functional model after its layers, without the model's name.
    """
    names = [v.path for v in variables]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise RuntimeError(f'variables of the same name: {", ".join(repeated)}')


def _fingerprint(path: pathlib.Path) -> list:
    """Returns [size in bytes, SHA-256] of a file."""
    with open(path, 'rb') as file:
        return [path.stat().st_size, hashlib.file_digest(file, 'sha256').hexdigest()]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
