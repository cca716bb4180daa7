"""Scores with all that is to be known of them: what tables and figures are rendered from."""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.experiments.columns import Score
from flexae_tf.experiments.runs import Run
from flexae_tf.networks.tables import resolve
from flexae_tf.training.workdir import read_jsonl, write_text

RECORDED = pathlib.Path(__file__).with_name('recorded')  # what was really run, package data
# Methods of their own in the paper that are other methods with a density fitted to their codes.
FITTED = {('injflow', 'gaussian_mixture'): 'injflow_gmm'}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record(Score):
    """A score, and where it comes from.

    `method` is that of the run, or where a density was asked for in the place of its own: that
    method's name (`FITTED`), or 'METHOD+DENSITY'.

    Attributes:
        run: name of the run.
        scale: a name of `config.SCALES`.
        split: what was compared with.
        step: of the checkpoint; 0 for what belongs to none.
        options: training options that are not at their default.
        fields: of the protocol.
        code: version of the package, with the commit, that scored.
        machine: what trained.
    """

    run: str
    scale: str
    split: str
    step: int
    options: dict[str, Any]
    fields: dict[str, Any]
    code: str
    machine: str


def collect(runs: Iterable[Run], *, scale: str) -> list[Record]:
    """The records of the scores that runs have so far."""
    return [record for run in runs for record in _of_run(run, scale)]


def distinct(records: Iterable[Record]) -> list[Record]:
    """Each score once: two scorings of a run may share some."""
    seen: dict[tuple, Record] = {}
    for r in records:
        key = (r.run, r.method, r.split, r.kind, r.stem, r.step, r.protocol, r.value)
        seen.setdefault(key, r)
    return list(seen.values())


def latest(records: Iterable[Record]) -> list[Record]:
    """Of each run the scores of its last step, and those that belong to no step; each once."""
    records = distinct(records)
    last: dict[str, int] = {}
    for r in records:
        last[r.run] = max(r.step, last.get(r.run, 0))
    return [r for r in records if r.step in (0, last[r.run])]


def read(path: pathlib.Path) -> list[Record]:
    """The records of a file; none when there is no file."""
    return [Record(**line) for line in read_jsonl(path)]


def write(path: pathlib.Path, records: Sequence[Record]) -> None:
    """Writes records in a fixed order, so that a file shows what changed."""
    rows = sorted(records, key=lambda r: (r.run, r.method, r.split, r.kind, r.stem, r.step))
    write_text(path, ''.join(json.dumps(dataclasses.asdict(row)) + '\n' for row in rows))


def update(path: pathlib.Path, records: Sequence[Record]) -> None:
    """Takes records into a file, in the place of all that it has of the same runs and scorings."""
    fresh = {(r.run, r.method, r.split) for r in records}
    kept = [r for r in read(path) if (r.run, r.method, r.split) not in fresh]
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, [*kept, *distinct(records)])


def pace(path: pathlib.Path) -> float | None:
    """Iterations per second that a training had most of the time; None where nobody knows."""
    paces = [line['perf/steps_per_sec'] for line in read_jsonl(path)]
    return statistics.median(paces) if paces else None


def _of_run(run: Run, scale: str) -> Iterable[Record]:
    config = resolve(run.config, data.describe(run.config).shape)
    machine = _machine(run.workdir.path / 'environment.json')
    speed = pace(run.workdir.perf)
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    options = {k: v for k, v in config.identity().items() if v != defaults[k]}
    for flags in run.scorings:
        method, split = _scored(run, flags)
        for score in run.scores(flags) or ():
            yield Record(
                method=method,
                dataset=config.dataset,
                latent_dim=config.latent_dim,
                seed=config.seed,
                kind=score['kind'],
                stem=score['stem'],
                metric=score['metric'],
                value=score['value'],
                protocol=score['protocol'],
                # As long as it takes where nothing else runs, stopped and resumed or not.
                seconds=round(config.training_steps / speed, 1) if speed else None,
                run=run.name,
                scale=scale,
                split=split,
                step=score['step'],
                options=options | {'training_steps': config.training_steps},
                fields=score['fields'],
                code=score['code'],
                machine=machine,
            )


def _scored(run: Run, flags: tuple[str, ...]) -> tuple[str, str]:
    """(method, split) of the records of a scoring."""
    options, method = run.scoring(flags).options(), run.config.method
    if options.ex_post:
        method = FITTED.get((method, options.ex_post), f'{method}+{options.ex_post}')
    return method, options.split


def _machine(path: pathlib.Path) -> str:
    try:
        return json.loads(path.read_text())['device'] or 'unknown'
    except (OSError, ValueError, KeyError):
        return 'unknown'
