"""Checkpoints with checksums.

TensorFlow's CheckpointManager relies on its state file: if that is truncated, training silently
starts from zero beside valid checkpoints. It also notices a corrupt bundle only when a variable
fails to load. Here, each checkpoint has a manifest with the sizes and SHA-256 of its files, written
last. Files without a matching manifest are not a checkpoint.
"""

import contextlib
import hashlib
import math
import os
import pathlib
import re
import shutil
from collections.abc import Callable

import tensorflow as tf

from flexae_tf.checked_files import fingerprint, parse_json, write_json
from flexae_tf.errors import CorruptRunError, MissingDataError, first_line
from flexae_tf.files import tensorflow_path
from flexae_tf.foreign_files import open_regular

# Key of the variable `step` in a checkpoint of TensorFlow; snapshots of weights have none.
_STEP = 'step/.ATTRIBUTES/VARIABLE_VALUE'
_MANIFEST = {'step': int, 'config': str, 'files': {'*': [int | str]}}


def steps_in(folder: pathlib.Path, *names: str) -> list[int]:
    """Returns the steps that have files of some kinds, valid or not, in rising order.

    Args:
        folder: folder of the files, which may be missing.
        names: the kinds: 'ckpt', 'weights'.

    Raises:
        CorruptRunError: the folder cannot be read.
    """
    try:
        files = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CorruptRunError(
            f'{folder}: cannot be read ({error.strerror}). Make it a readable folder.'
        ) from None
    pattern = re.compile(rf'(?:{"|".join(names)})-(\d{{9}})\.')
    return sorted({int(match.group(1)) for match in map(pattern.match, files) if match})


class Checkpoints:
    """The checkpoints of one kind in one folder: files `NAME-000001000.*`.

    Args:
        folder: folder of the files.
        checkpoint: the objects to save and restore.
        name: the kind: 'ckpt' (everything) or 'weights'.
        identity: hash of the configuration; stored in the manifest and checked.
        keep: number of checkpoints to keep; None for all.

    Attributes:
        restored: `digest` of the checkpoint that was restored last; None before that.
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
        self.restored: str | None = None

    def steps(self) -> list[int]:
        """Returns the steps that have files, valid or not, in rising order.

        The files of a first save that was killed are not counted: they have no manifest.

        Raises:
            CorruptRunError: the folder cannot be read.
        """
        steps = steps_in(self._folder, self._name)
        return [] if len(steps) == 1 and self._is_unfinished(steps[0]) else steps

    def save(self, step: int) -> None:
        """Writes the checkpoint of `step`, then removes the oldest ones beyond `keep`.

        Raises:
            CorruptRunError: the files could not be written, for example because the disk is full.
                They are removed; older checkpoints stay.
        """
        try:
            for other in {step, *filter(self._is_unfinished, steps_in(self._folder, self._name))}:
                self._remove(other)
            with tensorflow_path(self._folder) as folder:
                self._checkpoint.write(os.path.join(folder, self._prefix(step).name))
            files = {p.name: fingerprint(p) for p in self._files(step)}
            write_json(
                self._manifest_path(step), {'step': step, 'config': self._identity, 'files': files}
            )
        except (OSError, tf.errors.OpError) as error:
            with contextlib.suppress(OSError):  # a disk that became read-only keeps its files
                self._remove(step)
            raise CorruptRunError(
                f'{self._folder}: checkpoint of step {step} could not be written '
                f'({first_line(error)}). Free disk space, or make the folder writable.'
            ) from None
        if self._keep:
            # Corrupt files of a later step must not push out the checkpoint just written.
            for old in [s for s in self.steps() if s <= step][: -self._keep]:
                with contextlib.suppress(OSError):  # the next save tries again
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
        problem = self._load(step)
        if problem and step not in self.steps():
            raise MissingDataError(
                f'{self._folder}: checkpoint of step {step} was removed while it was read. '
                'Choose a later one.'
            )
        if problem:
            raise self._corrupt(step, problem, 'Choose another step')

    def restore_latest(self, log: Callable[[str], None], *, until: float = math.inf) -> int | None:
        """Restores the newest valid checkpoint.

        Args:
            log: called with a warning for every corrupt checkpoint that is skipped.
            until: the newest step to consider.

        Returns:
            Its step; None if there are no files.

        Raises:
            CorruptRunError: there are files, but no valid checkpoint.
        """
        warned = set()
        while True:
            found = {step: self.digest(step) for step in self.steps() if step <= until}
            for step in reversed(found):
                problem = self._load(step)
                if not problem:
                    return step
                if self.digest(step) == found[step] and step not in warned:
                    warned.add(step)
                    log(
                        f'WARNING: checkpoint of step {step} {problem}; falling back to the '
                        'previous one'
                    )
            # A training that runs beside this process may have replaced all of them meanwhile.
            if found == {step: self.digest(step) for step in self.steps() if step <= until}:
                break
        if found:
            raise CorruptRunError(
                f'{self._folder}: no checkpoint is valid. Move that folder away to start again.'
            )
        return None

    def digest(self, step: int) -> str | None:
        """Returns 12 hex digits that identify the contents of a checkpoint; None if missing."""
        try:
            return _digest(_read(self._manifest_path(step)))
        except OSError:
            return None

    def _load(self, step: int) -> str | None:
        """Restores a checkpoint and returns None, or returns its problem.

        Raises:
            CorruptRunError: the files are valid, but hold other variables than the code has.
        """
        name = self._prefix(step).name
        try:
            content = _read(self._manifest_path(step))
            manifest = parse_json(self._manifest_path(step), content, _MANIFEST)
        except FileNotFoundError:
            return 'is incomplete (it has no manifest)'
        except (OSError, CorruptRunError):
            return 'is corrupt (its manifest cannot be read)'
        if manifest['config'] != self._identity:
            return 'belongs to another configuration'
        if manifest['step'] != step:
            return f'is corrupt (its manifest is of step {manifest["step"]})'
        files = manifest['files']
        if f'{name}.index' not in files or not all(map(self._pattern(step).fullmatch, files)):
            return 'is corrupt (its manifest names other files)'
        for file, recorded in files.items():
            try:
                if fingerprint(self._folder / file) != recorded:
                    return f'is corrupt ({file} has changed)'
            except FileNotFoundError:
                return f'is corrupt ({file} is missing)'
            except OSError as error:
                return f'is corrupt ({file} cannot be read: {error.strerror})'
        try:
            with tensorflow_path(self._folder) as folder:
                prefix = os.path.join(folder, name)
                reader = tf.train.load_checkpoint(prefix)
                if reader.has_tensor(_STEP) and reader.get_tensor(_STEP) != step:
                    return f'is corrupt (it holds the state of step {reader.get_tensor(_STEP)})'
                self._checkpoint.read(prefix).assert_consumed()
        except (AssertionError, ValueError) as error:
            raise self._corrupt(
                step,
                f'holds other variables than this version of the code ({first_line(error)})',
                'Use the version that wrote it',
            ) from None
        except tf.errors.OpError as error:
            return f'cannot be read ({first_line(error)})'
        self.restored = _digest(content)
        return None

    def _corrupt(self, step: int, problem: str, action: str) -> CorruptRunError:
        return CorruptRunError(f'{self._folder}: checkpoint of step {step} {problem}. {action}.')

    def _is_unfinished(self, step: int) -> bool:
        """Returns whether a kill ended a save: the manifest is written last."""
        return not os.path.lexists(self._manifest_path(step))

    def _prefix(self, step: int) -> pathlib.Path:
        return self._folder / f'{self._name}-{step:09d}'

    def _manifest_path(self, step: int) -> pathlib.Path:
        return self._prefix(step).with_suffix('.manifest.json')

    def _files(self, step: int) -> list[pathlib.Path]:
        return [
            self._folder / name
            for name in sorted(os.listdir(self._folder))
            if self._pattern(step).fullmatch(name)
        ]

    def _pattern(self, step: int) -> re.Pattern:
        return re.compile(rf'{self._prefix(step).name}\.(?:index|data-\d{{5}}-of-\d{{5}})')

    def _remove(self, step: int) -> None:
        """Removes the files of a step, and what TensorFlow leaves behind if it fails."""
        left = self._folder.glob(f'{self._name}-*_temp')
        # The manifest first: it makes the files valid.
        for path in (self._manifest_path(step), *self._files(step), *left):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


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


def _digest(manifest: bytes) -> str:
    return hashlib.sha256(manifest).hexdigest()[:12]


def _read(path: pathlib.Path) -> bytes:
    with open_regular(path) as file:
        return file.read()
