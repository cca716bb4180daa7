"""Scores as they are kept and shown."""

import contextlib
import functools
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flexae_tf.environment import code_version
from flexae_tf.errors import UsageError
from flexae_tf.files import append_jsonl, read_jsonl
from flexae_tf.training.summaries import recording


class ScoreLog:
    """Scores as JSON lines, TensorBoard scalars, and lines on standard output.

    Args:
        path: of the JSON lines; None keeps none.
        tensorboard: folder of the events; None for none.
        told: a file that gets what is shown, recorded before or not; None for none.

    Raises:
        UsageError: a file cannot be written, or holds something else.
    """

    def __init__(
        self,
        path: pathlib.Path | None,
        tensorboard: pathlib.Path | None = None,
        *,
        told: pathlib.Path | None = None,
    ) -> None:
        self._path = path
        self._tensorboard = tensorboard
        self._told = told
        self._records = _read(path)
        _read(told)
        self._code = code_version()

    @functools.cached_property
    def _writer(self) -> tf.summary.SummaryWriter:
        if not self._tensorboard:
            return tf.summary.create_noop_writer()
        return tf.summary.create_file_writer(str(self._tensorboard), filename_suffix='.scores')

    def find(self, key: dict[str, Any]) -> list[dict[str, Any]]:
        """The records of exactly this, if all its parts are there."""
        found = {
            r['stem']: r for r in self._records if all(k in r and r[k] == v for k, v in key.items())
        }
        return list(found.values()) if found and len(found) == _parts(found) else []

    def add(self, records: Sequence[dict[str, Any]]) -> None:
        """Keeps and shows the scores that belong together.

        Raises:
            UsageError: the file cannot be written.
        """
        with self._summaries():
            for record in records:
                record |= {'parts': len(records), 'code': self._code}
                if self._path:
                    _append(self._path, record)
                self._records.append(record)
                tag = f'metrics/{record["metric"]}/{record["protocol"]}'
                if record['density']:
                    tag += f'/{record["density"]}'
                tf.summary.scalar(tag, record['value'], step=record['step'])
                self.show(record)

    def show(self, record: dict[str, Any], *, note: str = '') -> None:
        """Prints a score with what is known of its uncertainty, and tells it to the file."""
        if self._told:
            _append(self._told, record)
        spreads = [
            f'{record[name]:.2g} {what}'
            for name, what in (
                ('sd', f'over {record["repeats"]} repeats'),
                ('estimator_sd', "of the estimator's parts"),
                ('bootstrap_sd', 'by bootstrap'),
            )
            if record[name] is not None
        ]
        sd = f' +- {", ".join(spreads)}' if spreads else ''
        where = f'step {record["step"]}, ' if record['step'] else ''
        density = f' {record["density"]}' if record['density'] else ''
        print(
            f'{record["metric"]} {record["value"]:.5g}{sd}  '
            f'({where}{record["protocol_name"]} protocol {record["protocol"]}{density}{note})',
            flush=True,
        )

    def draw_curve(self, tag: str, step: int, curve: tuple[np.ndarray, np.ndarray]) -> None:
        """A precision-recall curve as a picture in TensorBoard."""
        figure = Figure(figsize=(4, 4), dpi=100)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.15, 0.12, 0.8, 0.8), xlim=(0, 1), ylim=(0, 1))
        axes.plot(*curve)
        axes.set(xlabel='recall', ylabel='precision', title=tag.split('/')[1])
        canvas.draw()
        with self._summaries(step):
            tf.summary.image(tag, np.asarray(canvas.buffer_rgba())[None, :, :, :3])

    @contextlib.contextmanager
    def _summaries(self, step: int | None = None) -> Iterator[None]:
        try:
            with recording(self._writer, step):
                yield
        except OSError as error:
            raise UsageError(
                f'{self._tensorboard} cannot be written ({error}): mend that'
            ) from None


def _read(path: pathlib.Path | None) -> list[dict[str, Any]]:
    """The records of a file, which must be one that can be written."""
    try:
        records = read_jsonl(path) if path else []
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f'{path} holds no scores ({error}): give another file') from None
    # Known now, not after an hour of computing.
    if path and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(
            f'{path} cannot be written: make it writable, give another file, or score a copy of '
            'the run (its config.json and checkpoints/)'
        )
    return records


def _append(path: pathlib.Path, record: dict[str, Any]) -> None:
    try:
        append_jsonl(path, record)
    except OSError as error:
        raise UsageError(f'{path} cannot be written ({error.strerror}): mend that') from None


def _parts(records: dict[str, dict[str, Any]]) -> int | None:
    """How many scores were made together with these."""
    return next(iter(records.values())).get('parts')
