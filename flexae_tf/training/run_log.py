"""Run logs: destinations of the messages, statistics, images and checkpoints of a training."""

import contextlib
import functools
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from flexae_tf import image_grid
from flexae_tf.config import ResolvedConfig
from flexae_tf.config.options import to_flagfile
from flexae_tf.data import Dataset
from flexae_tf.errors import CorruptRunError
from flexae_tf.files import append_jsonl, truncate_jsonl
from flexae_tf.methods.base import Method
from flexae_tf.training.checkpoints import Checkpoints
from flexae_tf.training.distribution import describe_devices
from flexae_tf.training.restore import State, stores
from flexae_tf.training.workdir import Workdir


@contextlib.contextmanager
def recording(writer: tf.summary.SummaryWriter, step: int | None = None) -> Iterator[None]:
    """Sends the summaries made inside to `writer`; raises `OSError` if writing fails."""
    try:
        with writer.as_default(step=step):
            yield
        writer.flush()
    except tf.errors.OpError as error:
        raise OSError(str(error).partition('\n')[0]) from None


class PrintLog:
    """The log of a training without workdir: prints messages and stores nothing.

    Attributes:
        stop_note: arguments for `GracefulShutdown.check` besides the step.
    """

    stop_note = ('not saved: it has no workdir',)

    @contextlib.contextmanager
    def opened(self, dataset: Dataset) -> Iterator[None]:
        """Opens the log for a training on `dataset`."""
        del dataset
        yield

    def resume(self) -> None:
        """Restores the newest valid checkpoint, if there is one."""

    def saved_steps(self) -> list[int]:
        """Returns the steps that have a checkpoint, in rising order."""
        return []

    def write_environment(self) -> None:
        """Writes environment.json: device, packages, command."""

    def message(self, text: str) -> None:
        """Prints one line."""
        print(text, flush=True)

    def append(self, name: str, step: int, values: dict[str, float]) -> None:
        """Logs scalars by TensorBoard tag; `name` is the kind: stats or perf."""

    def histogram(self, tag: str, step: int, values: np.ndarray) -> None:
        """Adds a histogram to TensorBoard."""

    def image(self, tag: str, file_name: str, step: int, image: np.ndarray) -> None:
        """Writes an image [h, w, c] (uint8) to TensorBoard and as a PNG file."""

    def save_checkpoint(self, step: int, *, required: bool) -> None:
        """Saves everything that training needs."""

    def save_snapshot(self, step: int, *, required: bool) -> None:
        """Saves the weights."""


class WorkdirLog(PrintLog):
    """The log of a training in a workdir.

    Args:
        workdir: folder of the run.
        config: the resolved configuration.
        method: the method to save and restore.
        state: further variables to save and restore.
    """

    stop_note = ()

    def __init__(
        self, workdir: Workdir, config: ResolvedConfig, method: Method, state: State
    ) -> None:
        self._workdir = workdir
        self._config = config
        self._checkpoints, self._snapshots = stores(workdir, config, method, state)

    @contextlib.contextmanager
    def opened(self, dataset: Dataset) -> Iterator[None]:
        """Locks the workdir for a training on `dataset`.

        Raises:
            UsageError: the workdir cannot be used, see `Workdir.open`.
            CorruptRunError: a file could not be written later.
        """
        self._workdir.open(self._config, dataset)
        try:
            yield
        except OSError as error:
            raise CorruptRunError(
                f'{self._workdir.path}: cannot be written any more ({error}). Free disk space or '
                'fix its permissions; the same command resumes.'
            ) from None
        finally:
            self._workdir.close()

    def resume(self) -> None:
        """Restores the newest valid checkpoint and drops the log lines after its step.

        Raises:
            MissingDataError: the checkpoint was removed while it was read.
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
        for path in (self._workdir.stats, self._workdir.perf):
            truncate_jsonl(path, step or 0)

    def saved_steps(self) -> list[int]:
        """Returns the steps that have a checkpoint, valid or not, in rising order."""
        return self._checkpoints.steps()

    def write_environment(self) -> None:
        """Writes environment.json: device, packages, command."""
        self._workdir.write_environment(describe_devices())

    def message(self, text: str) -> None:
        """Prints one line and appends it to log.txt."""
        self._workdir.log(text)

    def append(self, name: str, step: int, values: dict[str, float]) -> None:
        """Appends scalars, by TensorBoard tag, to NAME.jsonl and to TensorBoard."""
        self._scalars(step, values)
        append_jsonl(self._workdir.path / f'{name}.jsonl', {'step': step, **values})

    def histogram(self, tag: str, step: int, values: np.ndarray) -> None:
        """Adds a histogram to TensorBoard."""
        with recording(self._writer, step):
            tf.summary.histogram(tag, values)

    def image(self, tag: str, file_name: str, step: int, image: np.ndarray) -> None:
        """Writes an image [h, w, c] (uint8) to TensorBoard and to samples/FILE_NAME."""
        image_grid.write_png(self._workdir.samples / file_name, image)
        with recording(self._writer, step):
            tf.summary.image(tag, image[None])

    def save_checkpoint(self, step: int, *, required: bool) -> None:
        """Saves everything that training needs; a failure is a warning unless `required`."""
        self._save(self._checkpoints, step, required=required)

    def save_snapshot(self, step: int, *, required: bool) -> None:
        """Saves the weights; a failure is a warning unless `required`."""
        self._save(self._snapshots, step, required=required)

    @functools.cached_property
    def _writer(self) -> tf.summary.SummaryWriter:
        writer = tf.summary.create_file_writer(str(self._workdir.tensorboard))
        with recording(writer, step=0):
            tf.summary.text('config', f'```\n{to_flagfile(self._config)}```')
        return writer

    def _scalars(self, step: int, values: dict[str, float]) -> None:
        with recording(self._writer, step):
            for tag, value in values.items():
                tf.summary.scalar(tag, value)

    def _save(self, store: Checkpoints, step: int, *, required: bool) -> None:
        started = time.monotonic()
        try:
            store.save(step)
        except CorruptRunError as error:
            if required:
                raise
            self.message(f'WARNING: {error} Training continues without this checkpoint.')
        self._scalars(step, {'checkpoint/seconds': time.monotonic() - started})
