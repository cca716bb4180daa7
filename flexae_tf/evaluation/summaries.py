"""Scores in TensorBoard: scalars and precision-recall curves."""

import contextlib
import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flexae_tf.errors import UsageError
from flexae_tf.training.run_log import recording


class ScoreSummaries:
    """Writes scores to TensorBoard event files.

    Args:
        folder: folder of the event files; None writes nothing.
    """

    def __init__(self, folder: pathlib.Path | None) -> None:
        self._folder = folder

    @functools.cached_property
    def _writer(self) -> tf.summary.SummaryWriter:
        if not self._folder:
            return tf.summary.create_noop_writer()
        return tf.summary.create_file_writer(str(self._folder), filename_suffix='.scores')

    def write_scalar(self, record: dict[str, Any]) -> None:
        """Writes a record of `scores.jsonl` as `metrics/NAME/PROTOCOL[/DENSITY]`."""
        tag = f'metrics/{record["metric"]}/{record["protocol"]}'
        if record['density']:
            tag += f'/{record["density"]}'
        with self._recording(record['step']):
            tf.summary.scalar(tag, record['value'])

    def write_curve(
        self, name: str, protocol: str, step: int, curve: tuple[np.ndarray, np.ndarray]
    ) -> None:
        """Writes a precision-recall curve as an image.

        Args:
            name: name of the metric's scores.
            protocol: id of the protocol.
            step: step of the checkpoint.
            curve: recall and precision, each [angles].
        """
        figure = Figure(figsize=(4, 4), dpi=100)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.15, 0.12, 0.8, 0.8), xlim=(0, 1), ylim=(0, 1))
        axes.plot(*curve)
        axes.set(xlabel='recall', ylabel='precision', title=name)
        canvas.draw()
        image = np.asarray(canvas.buffer_rgba())[None, :, :, :3]
        with self._recording(step):
            tf.summary.image(f'metrics/{name}/{protocol}', image)

    @contextlib.contextmanager
    def _recording(self, step: int) -> Iterator[None]:
        try:
            with recording(self._writer, step):
                yield
        except OSError as error:
            raise UsageError(
                f'{self._folder}: cannot be written ({error}). Free disk space or fix its '
                'permissions.'
            ) from None
