"""Scores in TensorBoard: a view of `scores.jsonl`, with precision-recall curves as images."""

import io
import pathlib
import re
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flexae_tf.errors import UsageError
from flexae_tf.evaluation import score_log
from flexae_tf.files import make_folder, write_bytes
from flexae_tf.metrics.protocol import FRECHET, Protocol
from flexae_tf.metrics.table import METRICS
from flexae_tf.training import event_files
from flexae_tf.training.event_files import EventFile
from flexae_tf.training.workdir import Workdir

_CHECKPOINT = '{checkpoint}'
_ESTIMATORS = {metric.estimator for metric in METRICS.values()}


class ScoreSummaries:
    """Shows the scores of a run as sub-runs of its TensorBoard folder.

    TensorBoard drops points whose step is below the step of an earlier point, and evaluations come
    in any order and in several processes. Therefore every sub-run is one event file with all of its
    scores in the order of their steps, and a new file replaces it when scores are added.

    Args:
        workdir: the run; None shows nothing.
    """

    def __init__(self, workdir: Workdir | None) -> None:
        self._workdir = workdir
        self._shown: dict[str, list[dict[str, Any]]] = {}  # records by sub-run

    def save_curve(
        self, name: str, step: int, score_id: str, curve: tuple[np.ndarray, np.ndarray]
    ) -> None:
        """Draws a precision-recall curve to `curves/NAME-STEP-ID.png`; `update` shows it.

        Args:
            name: name of the metric's scores.
            step: step of the checkpoint.
            score_id: id of the first score of the metric.
            curve: recall and precision, each [angles].
        """
        if not self._workdir:
            return
        figure = Figure(figsize=(4, 4), dpi=100)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.15, 0.12, 0.8, 0.8), xlim=(0, 1), ylim=(0, 1))
        axes.plot(*curve)
        axes.set(xlabel='recall', ylabel='precision', title=name)
        png = io.BytesIO()
        figure.savefig(png, format='png')
        name = name.replace('/', '-')  # of a layer
        self._write(self._curves / f'{name}-{step:09d}-{score_id}.png', png.getvalue())

    def update(self) -> None:
        """Shows the scores that are not shown yet, other processes' scores included.

        Raises:
            UsageError: a file cannot be written.
            CorruptRunError: a line of `scores.jsonl` is corrupt.
        """
        if not self._workdir:
            return
        while True:
            sub_runs: dict[str, list[dict[str, Any]]] = {}
            for record in score_log.read(self._workdir.scores):
                if 'stem' in record:
                    sub_runs.setdefault(_sub_run(record), []).append(record)
            # Another process may have read the scores before this one, and have written its file
            # after it. So read again after every write.
            if sub_runs == self._shown:
                return
            for name, records in sub_runs.items():
                if records != self._shown.get(name):
                    self._write_sub_run(name, records)
            self._shown = sub_runs

    def _write_sub_run(self, name: str, records: list[dict[str, Any]]) -> None:
        """Replaces the event file of a sub-run."""
        drawn = {path.stem.rpartition('-')[2]: path for path in self._curves.glob('*.png')}
        content = io.BytesIO()
        events = EventFile(content, start=0)
        for tag, points in _by_tag(records).items():
            description = _describe(points)
            for step, record in sorted(points.items()):
                events.add(step, event_files.scalar(tag, record['value'], description))
                path = drawn.get(record['id'])
                if path:
                    curve = f'metrics/{path.stem.rsplit("-", 2)[0]}'
                    events.add(step, event_files.image(curve, path.read_bytes(), description))
        folder = self._workdir.tensorboard / 'scores' / name
        older = sorted(folder.glob('events.out.tfevents.*'))
        number = 1 + max((int(path.suffixes[-1][1:]) for path in older), default=0)
        # A new name: a running TensorBoard does not open a file again.
        self._write(folder / f'events.out.tfevents.{number:010d}', content.getvalue())
        for path in older:
            path.unlink(missing_ok=True)

    @property
    def _curves(self) -> pathlib.Path:
        return self._workdir.path / 'curves'

    def _write(self, path: pathlib.Path, content: bytes) -> None:
        try:
            make_folder(path.parent, self._workdir.path)
            write_bytes(path, content)
        except OSError as error:
            raise UsageError(
                f'{path}: cannot be written ({error.strerror}). Free disk space or fix its '
                'permissions.'
            ) from None


def _by_tag(records: list[dict[str, Any]]) -> dict[str, dict[int, dict[str, Any]]]:
    """Returns the records by tag and step; the last one of a step counts."""
    tags: dict[str, dict[int, dict[str, Any]]] = {}
    for record in records:
        tags.setdefault(f'metrics/{record["metric"]}', {})[record['step']] = record
    return tags


def _describe(points: dict[int, dict[str, Any]]) -> str:
    """Returns the description of a curve: its protocol, or the protocols of its steps."""
    first = next(iter(points.values()))
    ids = {step: record['protocol'] for step, record in sorted(points.items())}
    each = ', '.join(f'{protocol} at step {step}' for step, protocol in ids.items())
    fields = first['fields'] | {'estimator': _estimator(first)}
    one = len(set(ids.values())) == 1
    return event_files.describe_protocol(
        first['protocol_name'], first['protocol'] if one else each, fields
    )


def _estimator(record: dict[str, Any]) -> str:
    """Returns the estimator without the checkpoint of a critic."""
    return record['fields']['estimator'].replace(str(record['checkpoint']), _CHECKPOINT)


def _sub_run(record: dict[str, Any]) -> str:
    """Returns the sub-run of a score.

    Scores of a name are in one sub-run, in a run and across runs, only if their protocols are equal
    except for the checkpoint of a critic. The name ends in the protocol id of the sub-run's Frechet
    distances; a metric from outside the package has its own sub-run.
    """
    fields, estimator = record['fields'], _estimator(record)
    fields = fields | {'estimator': FRECHET if estimator in _ESTIMATORS else estimator}
    parts = [
        fields['split'],
        fields.get('network_name'),
        fields.get('layer') or fields['features'],
        None if record['protocol_name'] == 'standard' else record['protocol_name'],
        record['selection'],
        record.get('density'),
        f'seed{record["sample_seed"]}' if record.get('sample_seed') else None,
        f'{record["repeats"]}repeats' if record['repeats'] > 1 else None,
        Protocol(**fields).id,
    ]
    return re.sub(r'[^\w.-]', '-', '_'.join(filter(None, parts)))
