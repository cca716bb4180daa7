"""Checkpoints that say whether they are whole.

TensorFlow's CheckpointManager trusts its state file: with a truncated one it starts afresh beside
good checkpoints, and it does not notice a damaged bundle before some variable fails to load. Here
each checkpoint has a manifest with the sizes and SHA-256 of its files, written last. What has no
matching manifest is not a checkpoint.
"""

import hashlib
import json
import pathlib
import re
import shutil
from collections.abc import Callable

import tensorflow as tf

from flexae_tf.errors import CorruptRunError, MissingDataError
from flexae_tf.files import write_json


class Checkpoints:
    """The checkpoints of one kind in one folder, `NAME-000001000.*`.

    Args:
        folder: where they are.
        checkpoint: the objects to save and restore.
        name: the kind: `ckpt` (everything) or `weights`.
        identity: hash of the configuration, kept in the manifest and checked.
        keep: rolling checkpoints to keep; None keeps all.
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
        """The steps of which there are files, whole or not, in rising order."""
        pattern = re.compile(rf'{self._name}-(\d{{9}})\.')
        matches = (pattern.match(path.name) for path in self._folder.glob(f'{self._name}-*'))
        return sorted({int(match.group(1)) for match in matches if match})

    def save(self, step: int) -> None:
        """Writes the checkpoint of `step`, then removes the oldest beyond `keep`.

        Raises:
            CorruptRunError: the files could not be written (disk full, say); what was written
                of them is removed and the older checkpoints are left as they are.
        """
        manifest = self._manifest_path(step)
        manifest.unlink(missing_ok=True)
        self._clean()
        try:
            self._checkpoint.write(str(self._prefix(step)))
            files = {p.name: _fingerprint(p) for p in self._files(step)}
            write_json(manifest, {'step': step, 'config': self._identity, 'files': files})
        except (OSError, tf.errors.OpError) as error:
            self._remove(step)
            raise CorruptRunError(
                f'checkpoint of step {step} could not be written ({_first_line(error)}): '
                f'free some space in {self._folder}'
            ) from None
        if self._keep:
            # Damaged files of a later step must not push out the one just written.
            for old in [s for s in self.steps() if s <= step][: -self._keep]:
                self._remove(old)

    def restore(self, step: int) -> None:
        """Restores the checkpoint of `step`.

        Raises:
            MissingDataError: there is none, or it was removed while it was read.
            CorruptRunError: it is not whole, or of another configuration.
        """
        if step not in self.steps():
            raise MissingDataError(f'no checkpoint of step {step} in {self._folder}')
        problem = self._problem(step)
        if problem:
            raise CorruptRunError(f'checkpoint of step {step} in {self._folder} {problem}')
        self._read(step)

    def _read(self, step: int) -> None:
        try:
            self._checkpoint.read(str(self._prefix(step))).assert_consumed()
        except AssertionError as error:
            raise CorruptRunError(
                f'checkpoint of step {step} in {self._folder} holds other variables than this '
                f'version of the code has ({_first_line(error)}): use the version that wrote it'
            ) from None
        except tf.errors.OpError as error:
            if not self._manifest_path(step).exists():
                raise MissingDataError(
                    f'checkpoint of step {step} in {self._folder} was removed while it was read: '
                    'take a later one'
                ) from None
            raise CorruptRunError(
                f'checkpoint of step {step} in {self._folder} cannot be read '
                f'({_first_line(error)}): check the disk'
            ) from None

    def restore_latest(self, log: Callable[[str], None]) -> int | None:
        """Restores the newest whole checkpoint and returns its step; None when there are no files.

        Raises:
            MissingDataError: it was removed while it was read.
            CorruptRunError: there are files, but no checkpoint among them is whole.
        """
        steps = self.steps()
        for step in reversed(steps):
            problem = self._problem(step)
            if not problem:
                self._read(step)
                return step
            log(f'checkpoint of step {step} {problem}: falling back to the one before')
        if steps:
            raise CorruptRunError(
                f'no checkpoint in {self._folder} is whole: move that folder away to start again'
            )
        return None

    def digest(self, step: int) -> str | None:
        """Twelve hexadecimal digits that name the contents of the checkpoint of `step`, if any."""
        try:
            return hashlib.sha256(self._manifest_path(step).read_bytes()).hexdigest()[:12]
        except FileNotFoundError:
            return None

    def _problem(self, step: int) -> str | None:
        """What is wrong with the checkpoint of `step`; None when it is whole."""
        try:
            manifest = json.loads(self._manifest_path(step).read_text())
            identity, expected = manifest['config'], dict(manifest['files'])
        except FileNotFoundError:
            return 'was not finished (it has no manifest)'
        except (ValueError, KeyError, TypeError):
            return 'is damaged (its manifest cannot be read)'
        if identity != self._identity:
            return 'belongs to another configuration'
        for name, fingerprint in expected.items():
            try:
                if _fingerprint(self._folder / name) != fingerprint:
                    return f'is damaged ({name} has changed)'
            except FileNotFoundError:
                return f'is damaged ({name} is missing)'
        return None

    def _prefix(self, step: int) -> pathlib.Path:
        return self._folder / f'{self._name}-{step:09d}'

    def _manifest_path(self, step: int) -> pathlib.Path:
        return self._prefix(step).with_suffix('.manifest.json')

    def _files(self, step: int) -> list[pathlib.Path]:
        name = self._prefix(step).name
        return sorted([*self._folder.glob(f'{name}.index'), *self._folder.glob(f'{name}.data-*')])

    def _remove(self, step: int) -> None:
        self._manifest_path(step).unlink(missing_ok=True)  # first: without it nothing is trusted
        for path in self._files(step):
            path.unlink(missing_ok=True)
        self._clean()

    def _clean(self) -> None:
        """Removes what TensorFlow writes first, and leaves there when it fails or is killed."""
        for folder in self._folder.glob(f'{self._name}-*_temp'):
            shutil.rmtree(folder, ignore_errors=True)


def check_complete(checkpoint: tf.train.Checkpoint, variables: list) -> None:
    """Raises `RuntimeError` when a variable of a model would not be saved.

    Keras 3 lists the variables of layers held in a list or dict, but a checkpoint does not see
    them; restoring would then silently leave them as they were initialised.
    """
    reachable = {id(o) for o in tf.train.TrackableView(checkpoint).descendants()}
    missing = [v.path for v in variables if id(v) not in reachable]
    if missing:
        raise RuntimeError(f'variables that no checkpoint would hold: {", ".join(missing)}')


def check_names(variables: list) -> None:
    """Raises `RuntimeError` when two variables have one name, by which weights are kept.

    Keras names the layers of a functional model after themselves alone, not after the model.
    """
    names = [v.path for v in variables]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise RuntimeError(f'variables of the same name: {", ".join(repeated)}')


def _fingerprint(path: pathlib.Path) -> list:
    """[size in bytes, SHA-256] of a file."""
    with open(path, 'rb') as file:
        return [path.stat().st_size, hashlib.file_digest(file, 'sha256').hexdigest()]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
