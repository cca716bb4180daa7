"""Run logs: destinations of the messages, statistics, images and checkpoints of a training."""

import contextlib
import functools
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from flexae_tf import image_grid
from flexae_tf.checked_files import append_jsonl, read_jsonl, truncate_jsonl, write_json
from flexae_tf.config import ResolvedConfig
from flexae_tf.config.options import to_flagfile
from flexae_tf.data import Dataset, catalog
from flexae_tf.errors import CorruptRunError, UsageError
from flexae_tf.methods.base import Method
from flexae_tf.methods.table import METHODS
from flexae_tf.training import disk_space, event_files
from flexae_tf.training.checkpoints import Checkpoints
from flexae_tf.training.distribution import describe_devices
from flexae_tf.training.event_files import EventFile
from flexae_tf.training.restore import State, stores
from flexae_tf.training.workdir import Workdir

# Options that only methods with a part use.
_OPTIONS = {
    'ae_optimizer': ('ae_learning_rate',),
    'critic_optimizer': ('critic_learning_rate', 'critic_steps', 'gradient_penalty_weight'),
    'gen_optimizer': ('gen_learning_rate', 'noise_dim'),
    'enc_optimizer': ('enc_learning_rate',),
    'smooth_optimizer': ('smooth_learning_rate',),
}


class Log:
    """The log of a process that is not the chief: nothing is printed or stored.

    Attributes:
        stop_note: state of the files after a signal, for the message.
        unsaved_note: state of the files without a checkpoint, for the message.
    """

    stop_note = unsaved_note = 'see the first process'

    @contextlib.contextmanager
    def opened(self, dataset: Dataset) -> Iterator[None]:
        """Opens the log for a training on `dataset`."""
        del dataset
        yield

    def resume(self) -> None:
        """Restores the newest valid checkpoint, if there is one."""

    def restore(self, step: int, dataset: Dataset) -> int:
        """Restores the newest valid checkpoint at or before `step`; returns its step, or 0."""
        del step, dataset
        return 0

    def saved_steps(self) -> list[int]:
        """Returns the steps that have a checkpoint, in rising order."""
        return []

    def write_environment(self) -> None:
        """Writes environment.json: device, packages, command."""

    def message(self, text: str) -> None:
        """Prints one line."""

    def append(
        self,
        name: str,
        step: int,
        values: dict[str, float],
        descriptions: Mapping[str, str] | None = None,
    ) -> None:
        """Logs scalars by TensorBoard tag.

        Args:
            name: the kind: stats or perf.
            step: number of finished iterations.
            values: values by tag.
            descriptions: descriptions of some tags for TensorBoard; None for none.
        """

    def histogram(self, tag: str, step: int, values: np.ndarray) -> None:
        """Adds a histogram to TensorBoard."""

    def image(self, tag: str, file_name: str, step: int, image: np.ndarray) -> None:
        """Writes an image [h, w, c] (uint8) to TensorBoard and as a PNG file."""

    def save_checkpoint(self, step: int, *, required: bool) -> None:
        """Saves everything that training needs."""

    def save_snapshot(self, step: int, *, required: bool) -> None:
        """Saves the weights."""

    def write_non_finite(self, record: dict[str, Any]) -> None:
        """Records values that are not finite."""

    def finish(self, step: int) -> None:
        """Notes that the training is complete."""


class PrintLog(Log):
    """The log of a training without workdir: prints messages and stores nothing."""

    stop_note = 'not saved: it has no workdir'
    unsaved_note = 'nothing is saved yet'

    def message(self, text: str) -> None:
        """Prints one line."""
        print(text, flush=True)


class WorkdirLog(Log):
    """The log of a training in a workdir.

    Args:
        workdir: folder of the run.
        config: the resolved configuration.
        method: the method to save and restore.
        state: further variables to save and restore.
    """

    stop_note = 'all saved: the same command resumes'
    unsaved_note = PrintLog.unsaved_note

    def __init__(
        self, workdir: Workdir, config: ResolvedConfig, method: Method, state: State
    ) -> None:
        self._workdir = workdir
        self._config = config
        self._hyperparameters = _hyperparameters(config, method)
        self._method = method
        self._event_paths: dict[str, pathlib.Path] = {}  # by name of the property
        self._resumed = 0
        self._saved: int | None = None  # step of the newest checkpoint
        self._checkpoints, self._snapshots = stores(workdir, config, method, state)

    @contextlib.contextmanager
    def opened(self, dataset: Dataset) -> Iterator[None]:
        """Locks the workdir for a training on `dataset`.

        Raises:
            UsageError: the workdir cannot be used, see `Workdir.open`.
            CorruptRunError: a file could not be written later, or the workdir was moved or removed.
        """
        self._workdir.open(self._config, dataset)
        try:
            with contextlib.ExitStack() as self._open_files:
                yield
        except OSError as error:
            raise self._describe(error) from None
        finally:
            self._workdir.close()

    def resume(self) -> None:
        """Restores the newest valid checkpoint and drops the log lines after its step.

        Raises:
            UsageError: the rest of the run does not fit on the disk.
            CorruptRunError: there are checkpoints, but none is valid; or there is only a snapshot
                of a step at which a checkpoint was due.
        """
        step = self._checkpoints.restore_latest(self.message)
        snapshot = max(self._snapshots.steps(), default=0)
        # A run that is killed before its first checkpoint may have snapshots of earlier steps.
        if step is None and snapshot > self._config.save_every_steps:
            raise CorruptRunError(
                f'{self._workdir.path}: has a snapshot of step {snapshot}, but no checkpoint to '
                'resume from. Use another --workdir to start at step 0; this one is not changed.'
            )
        if step is not None:
            self.message(f'resuming at step {step}')
        elif recorded := max((r['step'] for r in read_jsonl(self._workdir.stats)), default=0):
            self.message(
                f'WARNING: step {recorded} was recorded, but no checkpoint is left; starting at '
                'step 0 again'
            )
        if (step or 0) < self._config.training_steps:
            disk_space.check(self._workdir.checkpoints, self._config, self._method)
        self._saved = step
        for path in (self._workdir.stats, self._workdir.perf):
            truncate_jsonl(path, step or 0)
        for folder in (self._workdir.tensorboard, self._workdir.tensorboard / 'scores'):
            event_files.truncate_events(folder, -1 if step is None else step)
        self._workdir.non_finite.unlink(missing_ok=True)
        self._resumed = step or 0

    def restore(self, step: int, dataset: Dataset) -> int:
        """Restores the newest valid checkpoint at or before `step`, and writes nothing.

        Returns:
            Its step; 0 for the initial weights if the run has no checkpoint yet.

        Raises:
            UsageError: every checkpoint is of a later step, or the run has other data.
            MissingDataError: the workdir holds no run, or the checkpoint was just removed.
            CorruptRunError: no checkpoint at or before `step` is valid.
        """
        self._workdir.read()
        self._workdir.check_examples(dataset)
        saved = self.saved_steps()
        if saved and step < saved[0]:
            raise UsageError(
                f'--replay_step={step}: the oldest checkpoint is of step {saved[0]}. Use that step '
                'or a later one.'
            )
        return self._checkpoints.restore_latest(print, until=step) or 0

    def saved_steps(self) -> list[int]:
        """Returns the steps that have a checkpoint, valid or not, in rising order."""
        return self._checkpoints.steps()

    def write_environment(self) -> None:
        """Writes environment.json: device, packages, command."""
        self._workdir.write_environment(describe_devices())

    def message(self, text: str) -> None:
        """Prints one line and appends it to log.txt."""
        self._workdir.log(text)

    def append(
        self,
        name: str,
        step: int,
        values: dict[str, float],
        descriptions: Mapping[str, str] | None = None,
    ) -> None:
        """Appends scalars, by TensorBoard tag, to NAME.jsonl and to TensorBoard."""
        self._check_place()
        descriptions = descriptions or {}
        for tag, value in values.items():
            self._events.add(step, event_files.scalar(tag, value, descriptions.get(tag, '')))
        append_jsonl(self._workdir.path / f'{name}.jsonl', {'step': step, **values})

    def histogram(self, tag: str, step: int, values: np.ndarray) -> None:
        """Adds a histogram to TensorBoard."""
        self._events.add(step, event_files.histogram(tag, values))

    def image(self, tag: str, file_name: str, step: int, image: np.ndarray) -> None:
        """Writes an image [h, w, c] (uint8) to TensorBoard and to samples/FILE_NAME."""
        self._check_place()
        png = image_grid.to_png(image)
        (self._workdir.samples / file_name).write_bytes(png)
        self._events.add(step, event_files.image(tag, png))

    def save_checkpoint(self, step: int, *, required: bool) -> None:
        """Saves everything that training needs; a failure is a warning unless `required`."""
        self._save(self._checkpoints, step, 'perf/checkpoint_seconds', required=required)

    def save_snapshot(self, step: int, *, required: bool) -> None:
        """Saves the weights; a failure is a warning unless `required`."""
        self._save(self._snapshots, step, 'perf/snapshot_seconds', required=required)

    def write_non_finite(self, record: dict[str, Any]) -> None:
        """Writes `nonfinite.json`."""
        write_json(self._workdir.non_finite, record)

    def finish(self, step: int) -> None:
        """Writes the end of the run for TensorBoard."""
        self._session.add(step, event_files.session_end())

    @functools.cached_property
    def _events(self) -> EventFile:
        """Events of the training; the first ones are the configuration and the charts."""
        events = self._open_events('_events', self._workdir.tensorboard)
        if not self._resumed:
            config = event_files.text('config', f'```\n{to_flagfile(self._config)}```')
            events.add(0, config, event_files.layout())
            self._session.add(
                0, event_files.session_start(self._hyperparameters, self._workdir.path.name)
            )
        return events

    @functools.cached_property
    def _session(self) -> EventFile:
        """Start and end of the run; all scalars below that folder are metrics of "HParams"."""
        return self._open_events('_session', self._workdir.tensorboard / 'scores')

    def _open_events(self, name: str, folder: pathlib.Path) -> EventFile:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / event_files.new_name()
        self._event_paths[name] = path
        file = self._open_files.enter_context(path.open('ab'))
        return EventFile(file, start=self._resumed + 1 if self._resumed else 0)

    def _check_place(self) -> None:
        """Checks the folders, and opens event files again that were removed."""
        self._workdir.check_place()
        for name, path in list(self._event_paths.items()):
            if not path.exists():
                self.message(f'WARNING: {path}: was removed; later steps are in a new file')
                del self._event_paths[name], self.__dict__[name]

    def _save(self, store: Checkpoints, step: int, tag: str, *, required: bool) -> None:
        self._check_place()
        started = time.monotonic()
        try:
            store.save(step)
        except CorruptRunError as error:
            if required:
                raise CorruptRunError(f'{error} {self._describe_saved()}') from None
            self.message(f'WARNING: {error} Training continues without this checkpoint.')
        else:
            if store is self._checkpoints:
                self._saved = step
        self._events.add(step, event_files.scalar(tag, time.monotonic() - started))

    def _describe(self, error: OSError) -> CorruptRunError:
        """Returns the error that ends a training that cannot write any more."""
        reason = ': '.join(filter(None, (error.strerror or str(error), error.filename)))
        problem, action = (
            (f'cannot be written any more ({reason})', 'Free disk space or make it writable')
            if self._workdir.is_in_place()
            else ('was moved or removed during training', 'Move it back')
        )
        return CorruptRunError(
            f'{self._workdir.path}: {problem}. {action}. {self._describe_saved()}'
        )

    def _describe_saved(self) -> str:
        left = not self._workdir.is_in_place() or self._checkpoints.digest(self._saved or 0)
        if self._saved is None or not left:
            snapshot = max(self._snapshots.steps(), default=0)
            if snapshot > self._config.save_every_steps:  # `resume` refuses to overwrite it
                return (
                    f'Only the snapshot of step {snapshot} is left: it can be evaluated; start '
                    'again in another --workdir.'
                )
            return 'No checkpoint is left; the same command starts again.'
        return f'The steps after {self._saved} are lost; the same command resumes there.'


def _hyperparameters(config: ResolvedConfig, method: Method) -> dict[str, Any]:
    """Returns the options that change results, except those that the method does not use."""
    row = method.method_spec
    some = {name for m in METHODS.values() for name in m.required_options + m.optional_options}
    unused = some - {*row.required_options, *row.optional_options}
    for part, names in _OPTIONS.items():
        if not hasattr(method, part):
            unused.update(names)
    unused.update(catalog.unused_options(config.dataset))
    options = config.identity().items()
    return {name: value for name, value in options if value is not None and name not in unused}
