"""What runs will need of time and disk on this machine, from what was measured here.

The pace of a run is that of runs of its method on its data set at its scale in the same output
folder; else that of another method there, times what the two cost beside each other where both were
timed (`recorded/cost.json`, of `bin/benchmark.py --subject=methods`, which also has the sizes of
checkpoints); else that of the plain auto-encoder, which is timed now. Expect a factor of two.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from flexae_tf import data
from flexae_tf.errors import FailedRunError
from flexae_tf.experiments import runs
from flexae_tf.experiments.durations import duration
from flexae_tf.experiments.records import FOLDER, pace
from flexae_tf.experiments.runs import Run

PROBED = 'ae_gmm'  # nothing but encoder and decoder
# Of each image; the logits beside pool_3 included.
FEATURES = {'pool_3': 2048 + 1008, 'mixed_7': 768, 'mixed_8': 1280}
COST = FOLDER / 'cost.json'


class Kind(NamedTuple):
    """Runs that take as long as each other, nearly."""

    method: str
    dataset: str
    width: float

    def other(self, method: str) -> 'Kind':
        """The same of another method."""
        return self._replace(method=method)


class Need(NamedTuple):
    """What a run still needs.

    Attributes:
        train_seconds: of training.
        score_seconds: of scoring; None before anything alike was scored.
        disk_bytes: that its checkpoints and the features of its scores take when it is done.
    """

    train_seconds: float
    score_seconds: float | None
    disk_bytes: int

    def __str__(self) -> str:
        scoring = '?' if self.score_seconds is None else duration(self.score_seconds)
        return (
            f'{duration(self.train_seconds)} of training, {scoring} of scoring, '
            f'{self.disk_bytes / 2**20:,.0f} MiB of disk'
        )


def needs(planned: Sequence[Run]) -> dict[str, Need]:
    """What each run, by name, still needs.

    Raises:
        FailedRunError: the plain auto-encoder could not be timed.
    """
    begun = [run for run in planned if pace(run.workdir.perf)]
    paces = _medians((_kind(run), pace(run.workdir.perf)) for run in begun)
    scored = _medians((_kind(run), seconds) for run in begun for seconds in run.journal.scorings())
    found = {}
    for run in planned:
        kind, left = _kind(run), run.config.training_steps - run.step()
        if left and not any(kind.other(method) in paces for method in costs()):
            paces[kind.other(PROBED)] = _probe(run)
        unscored = sum(run.scores(flags) is None for flags in run.scorings)
        found[run.name] = Need(
            left / _pace(kind, paces) if left else 0.0,
            unscored * scored[kind] if kind in scored else (None if unscored else 0.0),
            _disk(run),
        )
    return found


def total(found: Iterable[Need]) -> Need:
    """Of all runs, one after the other."""
    none = Need(0.0, 0.0, 0)
    train, score, disk = zip(none, *found, strict=True)
    return Need(sum(train), None if None in score else sum(score), sum(disk))


def costs() -> dict[str, float]:
    """Seconds of an iteration of every method, over those of FlexAE."""
    return _recorded()['timed']['over_flexae']


def timed() -> str:
    """How `costs` were measured, in words."""
    how = _recorded()['timed']
    return (
        f'median of {how["iterations"]} on {how["dataset"]} at width {how["width_multiplier"]:g}, '
        f'all methods in turns ({how["device"].removeprefix("device: ")})'
    )


def _kind(run: Run) -> Kind:
    return Kind(run.config.method, run.config.dataset, run.config.width_multiplier)


def _recorded() -> dict[str, Any]:
    return json.loads(COST.read_text())


def _pace(kind: Kind, paces: dict[Kind, float]) -> float:
    """Iterations per second."""
    if kind in paces:
        return paces[kind]
    over = costs()
    known = next(method for method in over if kind.other(method) in paces)
    return paces[kind.other(known)] * over[known] / over[kind.method]


def _probe(run: Run) -> float:
    """Iterations per second of the plain auto-encoder at the size of `run`."""
    config = run.config
    flags = [
        f'--method={PROBED}',
        f'--dataset={config.dataset}',
        f'--width_multiplier={config.width_multiplier:g}',
        '--iterations=3',
        f'--device={config.device}',
    ]
    print(f'timing {PROBED} on {config.dataset}, width {config.width_multiplier:g}', flush=True)
    done = subprocess.run(
        [sys.executable, 'bin/benchmark.py', *flags],
        cwd=runs.ROOT,
        capture_output=True,
        text=True,
    )
    try:
        return 1.0 / json.loads(done.stdout.splitlines()[-1])['median']
    except (IndexError, ValueError, KeyError):
        said = (done.stderr.splitlines() or ['it said nothing'])[-1]
        raise FailedRunError(f'bin/benchmark.py could not time {PROBED}: {said}') from None


def _disk(run: Run) -> int:
    """Bytes of the checkpoints of a run, one more than it keeps, of snapshots and features."""
    config = run.config
    sizes = _recorded()['sizes']
    own = sizes.get(f'{config.dataset}-{config.width_multiplier:g}') or sizes[config.dataset + '-1']
    snapshots = config.training_steps // config.snapshot_steps if config.snapshot_steps else 0
    checkpoint, snapshot = (own[k][config.method] for k in ('checkpoint_bytes', 'snapshot_bytes'))
    kept = (config.keep_checkpoints + 1) * checkpoint + snapshots * snapshot
    return kept + sum(_features(run, flags) for flags in run.scorings)


def _features(run: Run, flags: tuple[str, ...]) -> int:
    """Bytes of the features that a scoring keeps: float32, of generated and of decoded images."""
    options = run.scoring(flags).options()
    if data.describe(run.config).kind != 'images' or options.features == 'pixels':
        return 0
    made = {'rec', 'gen'} & set(options.kinds.split(','))
    return 4 * options.num_examples * len(made) * FEATURES[options.feature_layer]


def _medians(pairs: Iterable[tuple[Kind, float]]) -> dict[Kind, float]:
    values: dict[Kind, list[float]] = {}
    for kind, value in pairs:
        values.setdefault(kind, []).append(value)
    return {kind: statistics.median(group) for kind, group in values.items()}
