"""Scores with all that is to be known of them: what tables and figures are rendered from."""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.config.names import FITTED
from flexae_tf.experiments.columns import Score
from flexae_tf.experiments.runs import Run
from flexae_tf.networks.tables import resolve
from flexae_tf.training.workdir import read_jsonl, write_text

RECORDED = pathlib.Path(__file__).with_name('recorded')  # what was really run, package data


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


_OF_RUN = ['run', 'dataset', 'latent_dim', 'seed', 'seconds', 'scale', 'options', 'code', 'machine']
_OF_SCORE = ['method', 'split', 'kind', 'stem', 'step', 'metric', 'value', 'protocol']


def collect(runs: Iterable[Run], *, scale: str) -> list[Record]:
    """The records of the scores that runs have so far."""
    return [record for run in runs for record in _of_run(run, scale)]


def recorded(runs: Iterable[Run], *, scale: str) -> dict[str, list[Record]]:
    """Of runs, by name, the records that come with the package, where it has all of a run's.

    A run whose options are others than when it was recorded is another run, whatever its name.
    """
    there: dict[str, list[Record]] = {}
    for record in read(RECORDED / f'{scale}.jsonl'):
        there.setdefault(record.run, []).append(record)
    found = {}
    for run in runs:
        options = _options(_resolved(run))
        same = [r for r in there.get(run.name, ()) if r.options == options]
        wanted = set().union(*(_parts(run, flags) for flags in run.scorings))
        if wanted and wanted <= {_part(r) for r in same}:
            found[run.name] = same
    return found


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
    """The records of a file that `write` wrote; none when there is no file."""
    fields: dict[str, dict[str, Any]] = {}
    found, run = [], {}
    for line in read_jsonl(path):
        if 'fields' in line:
            fields[line['protocol']] = line['fields']
        elif 'run' in line:
            run = line
        else:
            found.append(Record(**run, **line, fields=fields[line['protocol']]))
    return found


def write(path: pathlib.Path, records: Sequence[Record]) -> None:
    """Writes records in a fixed order, so that a file shows what changed.

    First a line for each protocol, then one for each run, with the lines of its scores below it:
    curves over training have thousands of these.
    """
    protocols = {r.protocol: r.fields for r in records}
    lines = [{'protocol': name, 'fields': protocols[name]} for name in sorted(protocols)]
    groups: dict[str, list[Record]] = {}
    for r in records:
        groups.setdefault(json.dumps({name: getattr(r, name) for name in _OF_RUN}), []).append(r)
    for run, rows in sorted(groups.items()):
        lines.append(json.loads(run))
        rows.sort(key=lambda r: (r.method, r.split, r.kind, r.stem, r.step))
        lines += [{name: getattr(r, name) for name in _OF_SCORE} for r in rows]
    write_text(path, ''.join(json.dumps(line) + '\n' for line in lines))


def update(path: pathlib.Path, records: Sequence[Record]) -> None:
    """Takes records into a file, in the place of what it has of the same parts of runs."""
    fresh = {(r.run, _part(r)) for r in records}
    kept = [r for r in read(path) if (r.run, _part(r)) not in fresh]
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, [*kept, *distinct(records)])


def _part(record: Record) -> tuple[str, str, str, int]:
    """What is scored at once."""
    return record.method, record.split, record.kind, record.step


def _parts(run: Run, flags: tuple[str, ...]) -> set[tuple[str, str, str, int]]:
    """The parts of one of a run's scorings."""
    options, config = run.scoring(flags).options(), run.config
    steps = {config.training_steps}
    if options.checkpoint == 'all':
        steps |= {*range(config.snapshot_steps, config.training_steps, config.snapshot_steps)}
    return {
        (*scored(run, flags), kind, step)
        for kind in options.kinds.split(',')
        for step in ({0} if kind == 'floor' else steps)
    }


def scored(run: Run, flags: tuple[str, ...]) -> tuple[str, str]:
    """(method, split) of the records of one of a run's scorings."""
    options, method = run.scoring(flags).options(), run.config.method
    if options.ex_post:
        method = FITTED.get((method, options.ex_post), f'{method}+{options.ex_post}')
    return method, options.split


def pace(path: pathlib.Path) -> float | None:
    """Iterations per second that a training had most of the time; None where nobody knows."""
    paces = [line['perf/steps_per_sec'] for line in read_jsonl(path)]
    return statistics.median(paces) if paces else None


def _of_run(run: Run, scale: str) -> Iterable[Record]:
    config = _resolved(run)
    machine = _machine(run.workdir.path / 'environment.json')
    speed = pace(run.workdir.perf)
    for flags in run.scorings:
        method, split = scored(run, flags)
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
                options=_options(config),
                fields=score['fields'],
                code=score['code'],
                machine=machine,
            )


def _resolved(run: Run) -> TrainConfig:
    return resolve(run.config, data.describe(run.config).shape)


def _options(config: TrainConfig) -> dict[str, Any]:
    """Training options that are not at their default, and how long the training is."""
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    changed = {k: v for k, v in config.identity().items() if v != defaults[k]}
    return changed | {'training_steps': config.training_steps}


def _machine(path: pathlib.Path) -> str:
    try:
        return json.loads(path.read_text())['device'] or 'unknown'
    except (OSError, ValueError, KeyError):
        return 'unknown'
