"""Scores with all that is to be known of them: what tables and figures are rendered from."""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.config.names import FITTED, STAGED, STAGES
from flexae_tf.experiments.columns import Score
from flexae_tf.experiments.runs import Run
from flexae_tf.files import read_jsonl, write_text
from flexae_tf.networks.architectures import resolve

FOLDER = pathlib.Path(__file__).with_name('recorded')  # of what was really run, package data
RECORDED = FOLDER / 'scores.jsonl'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record(Score):
    """A score, and where it comes from.

    `method` is that of the run, or where a density was asked for in the place of its own: that
    method's name (`FITTED`), or 'METHOD+DENSITY'.

    Attributes:
        run: name of the run.
        split: what was compared with.
        step: of the checkpoint; 0 for what belongs to none.
        options: training options that are not at their default, and how long the training is.
        checkpoint: digest of the run's last checkpoint.
        scoring: hash of the options of the evaluation.
        fields: of the protocol.
        code: version of the package, with the commit, that scored.
        environment: versions of what trained the run (a density may have been trained by
            others): 'code', with its commit, 'Python' and packages; empty where nobody knows.
    """

    run: str
    split: str
    step: int
    options: dict[str, Any]
    checkpoint: str
    scoring: str
    fields: dict[str, Any]
    code: str
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


# What the scores of one evaluation share, and what each has of its own; `protocol` has the fields.
_OF_SCORING = (
    *('run', 'method', 'dataset', 'latent_dim', 'seed', 'options', 'seconds', 'machine'),
    *('checkpoint', 'split', 'scoring', 'code', 'environment'),
)
_OF_SCORE = ('kind', 'stem', 'step', 'metric', 'value', 'protocol')


def collect(runs: Iterable[Run]) -> list[Record]:
    """The records of the scores that runs have so far."""
    return [record for run in runs for record in _of_run(run)]


def recorded(runs: Iterable[Run], known: Iterable[Record] | None = None) -> dict[str, list[Record]]:
    """Of runs, by name, their records, where all their scorings are recorded.

    A run whose options are others than when it was recorded is another run, whatever its name.

    Args:
        runs: as they are planned.
        known: where to look; the records that come with the package when None.
    """
    there: dict[str, list[Record]] = {}
    for record in read(RECORDED) if known is None else known:
        there.setdefault(record.run, []).append(record)
    found = {}
    for run in runs:
        options, scorings = _options(_resolved(run)), {scoring(run, f) for f in run.scorings}
        same = [
            r for r in there.get(run.name, ()) if r.options == options and r.scoring in scorings
        ]
        if scorings and scorings == {r.scoring for r in same}:
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
    found, shared = [], {}
    for line in read_jsonl(path):
        if 'fields' in line:
            fields[line['protocol']] = line['fields']
        elif 'run' in line:
            shared = line
        else:
            found.append(Record(**shared, **line, fields=fields[line['protocol']]))
    return found


def write(path: pathlib.Path, records: Sequence[Record]) -> None:
    """Writes records in a fixed order, so that a file shows what changed.

    First a line for each protocol, then one for each evaluation of a run, with the lines of its
    scores below it: curves over training have thousands of these.
    """
    protocols = {r.protocol: r.fields for r in records}
    lines = [{'protocol': name, 'fields': protocols[name]} for name in sorted(protocols)]
    evaluations: dict[str, list[Record]] = {}
    for r in records:
        shared = json.dumps({name: getattr(r, name) for name in _OF_SCORING})
        evaluations.setdefault(shared, []).append(r)
    for shared, rows in sorted(evaluations.items()):
        lines.append(json.loads(shared))
        rows.sort(key=lambda r: (r.kind, r.stem, r.step))
        lines += [{name: getattr(r, name) for name in _OF_SCORE} for r in rows]
    write_text(path, ''.join(json.dumps(line) + '\n' for line in lines))


def merge(old: Iterable[Record], fresh: Iterable[Record]) -> list[Record]:
    """All of them, but for those old ones of which there are fresh ones.

    These are of the same run and evaluation, or of a run that was trained anew since.
    """
    fresh = list({(r.run, r.scoring, r.kind, r.stem, r.step): r for r in fresh}.values())
    trained = {r.run: (r.options, r.checkpoint) for r in fresh}
    scored_again = {(r.run, r.scoring) for r in fresh}
    kept = [
        r
        for r in old
        if trained.get(r.run) in (None, (r.options, r.checkpoint))
        and (r.run, r.scoring) not in scored_again
    ]
    return [*kept, *fresh]


def scored(run: Run, flags: tuple[str, ...]) -> tuple[str, str]:
    """(method, split) of the records of one of a run's scorings."""
    options, method = run.scoring(flags).options(), run.config.method
    if options.density:
        method = FITTED.get((method, options.density), f'{method}+{options.density}')
    return method, options.split


def scoring(run: Run, flags: tuple[str, ...]) -> str:
    """What `Record.scoring` is of one of a run's scorings."""
    return run.scoring(flags).options().identity_hash()


def pace(path: pathlib.Path) -> float | None:
    """Iterations per second that a training had most of the time; None where nobody knows."""
    paces = [line['perf/steps_per_sec'] for line in read_jsonl(path)]
    return statistics.median(paces) if paces else None


def _of_run(run: Run) -> Iterable[Record]:
    config, digest = _resolved(run), run.digest
    machine, environment = _trained_by(run.workdir.path / 'environment.json')
    for flags in run.scorings:
        method, split = scored(run, flags)
        seconds = _seconds(run, flags)
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
                seconds=seconds,
                run=run.name,
                split=split,
                step=score['step'],
                options=_options(config),
                checkpoint=digest,
                scoring=scoring(run, flags),
                fields=score['fields'],
                code=score['code'],
                machine=machine,
                environment=environment,
            )


def _seconds(run: Run, flags: tuple[str, ...]) -> float | None:
    """How long a run was trained, and the stage it samples from; None where nobody knows.

    By their speed: without the time that they were stopped, but with whatever ran beside them.
    """
    steps = run.config.training_steps
    trained = [(run.workdir.perf, steps)]
    options = run.scoring(flags).options()
    stage = options.density or STAGED.get(run.config.method)
    if stage in STAGES:
        folder = run.workdir.path / 'densities' / f'{steps:09d}' / stage
        trained.append((folder / run.workdir.perf.name, None))
    seconds = 0.0
    for path, length in trained:
        speed = pace(path)
        if speed is None:
            return None
        seconds += (length or read_jsonl(path)[-1]['step']) / speed
    return round(seconds, 1)


def environments(records: Iterable[Record]) -> dict[str, str]:
    """Versions of what trained runs, by name: all of them where they were not the same."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in record.environment.items():
            found.setdefault(name, set()).add(version)
    return {name: ', '.join(sorted(versions)) for name, versions in found.items()}


def _resolved(run: Run) -> TrainConfig:
    return resolve(run.config, data.describe(run.config).shape)


def _options(config: TrainConfig) -> dict[str, Any]:
    """Training options that are not at their default, and how long the training is."""
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    changed = {k: v for k, v in config.identity().items() if v != defaults[k]}
    return changed | {'training_steps': config.training_steps}


def _trained_by(path: pathlib.Path) -> tuple[str, dict[str, str]]:
    """(machine, environment) of a record, from what a training notes."""
    try:
        noted = json.loads(path.read_text())
        packages = {name: version for name, version in noted['packages'].items() if version}
        environment = {'code': noted['code'], 'Python': noted['python'], **packages}
        return noted['device'] or 'unknown', environment
    except (OSError, ValueError, KeyError):
        return 'unknown', {}
