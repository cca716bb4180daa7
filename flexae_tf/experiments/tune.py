"""Choice of the open weights of a method, which the paper omits, on a small grid.

The criterion is the Fréchet distance of samples from validation examples, never test examples. With
several seeds it is the geometric mean.
"""

import os
import pathlib
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from flexae_tf.checked_files import write_json
from flexae_tf.config import ReproduceConfig
from flexae_tf.environment import code_version
from flexae_tf.errors import UsageError
from flexae_tf.evaluation import score_log
from flexae_tf.evaluation.markdown_table import markdown_table
from flexae_tf.experiments import grids, runner
from flexae_tf.experiments.grids import GRIDS, REC_WITHIN, SAME_AS, Axis
from flexae_tf.experiments.jobs import (
    Job,
    evaluated,
    flagfiles,
    make_job,
    option_text,
    scale_of,
)
from flexae_tf.methods.resolve import train_config
from flexae_tf.metrics.comparison import Mean, decimals_for

Cell = tuple[str, ...]  # a value of each axis


def tune(config: ReproduceConfig) -> None:
    """Trains and scores the grid, prints the table and the winner, and writes both as JSON.

    With `--finalists` only the best cells of the first seed get the other seeds.

    Raises `UsageError` if there is nothing to tune, and otherwise like `reproduce`.
    """
    axes = _axes(config)
    by_cell = plan(config, axes)
    jobs = _in_turns(by_cell.values())
    if config.dry_run:
        runner.show(jobs)
        return
    path = pathlib.Path(config.output_dir) / 'tune'
    scale = scale_of(config, config.dataset)
    path = grids.winner_path(path, config.tune, config.dataset, scale)
    runner.prepare(config, jobs, path.parent)
    within = REC_WITHIN.get(config.tune)
    failures = {}
    if config.finalists:
        failures = runner.execute([of_cell[0] for of_cell in by_cell.values()])
        first = {cell: of_cell[:1] for cell, of_cell in by_cell.items()}
        best = ranked(_distances(first), within)[: config.finalists]
        jobs = _in_turns(by_cell[cell] for cell in best)
    failures |= runner.execute([job for job in jobs if job.name not in failures])
    if found := _distances(by_cell):
        _write(config, path, axes, by_cell, found, failures)
    everything = [job for of_cell in by_cell.values() for job in of_cell]
    runner.raise_failures(failures, everything, hint='; --grid can omit a value')


def ranked(
    distances: Mapping[Cell, Mapping[str, Mean]], rec_within: float | None = None
) -> list[Cell]:
    """Returns the cells with the most seeds, the nearest samples first.

    Args:
        distances: by cell, of 'samples' and, with `rec_within`, of 'reconstructions'.
        rec_within: excludes reconstructions that are this many times farther than the best.
    """

    def centre(cell: Cell, name: str) -> float:
        return statistics.geometric_mean(distances[cell][name].values)

    most = max((len(found['samples'].values) for found in distances.values()), default=0)
    known = [cell for cell, found in distances.items() if len(found['samples'].values) == most]
    if rec_within is not None and known:
        limit = rec_within * min(centre(cell, 'reconstructions') for cell in known)
        known = [cell for cell in known if centre(cell, 'reconstructions') <= limit]
    return sorted(known, key=lambda cell: centre(cell, 'samples'))


def plan(config: ReproduceConfig, axes: tuple[Axis, ...]) -> dict[Cell, list[Job]]:
    """Returns the jobs of each cell, one for each seed."""
    base = train_config(flagfiles(config.tune, config.dataset, 'paper'))
    seeds = range(config.seed, config.seed + (config.seeds or 1))
    planned: dict[Cell, list[Job]] = {}
    for cell, options in grids.cells(axes, base):
        for seed in seeds:
            job = make_job(config, config.tune, config.dataset, seed=seed, options=options)
            job = evaluated(config, job, split='validation', sets='reconstructions,samples')
            planned.setdefault(cell, []).append(job)
    return planned


def _axes(config: ReproduceConfig) -> tuple[Axis, ...]:
    if other := SAME_AS.get(config.tune):
        raise UsageError(f'--tune={config.tune}: uses the weight of {other}. Give --tune={other}.')
    text = config.grid or GRIDS.get(config.tune)
    if not text:
        raise UsageError(
            f'--tune={config.tune}: no grid. Choose one of {", ".join(GRIDS)}, or give --grid.'
        )
    files = flagfiles(config.tune, config.dataset, 'paper')
    return grids.parse(text, train_config(files))


def _in_turns(by_cell: Iterable[list[Job]]) -> list[Job]:
    """Returns the first seed of each cell, then the second of each, ..."""
    return [job for of_seed in zip(*by_cell, strict=True) for job in of_seed]


def _distances(by_cell: Mapping[Cell, list[Job]]) -> dict[Cell, dict[str, Mean]]:
    """Returns the distances of each cell over the seeds that have scores, by set."""
    found: dict[Cell, dict[str, Mean]] = {}
    rows: dict[Cell, list[dict[str, Any]]] = {}
    for cell, jobs in by_cell.items():
        rows[cell] = [row for job in jobs for row in job.scores(job.evaluations[0]) or ()]
    if any(rows.values()):
        score_log.check_comparable([row for of_cell in rows.values() for row in of_cell])
    for cell, of_cell in rows.items():
        values: dict[str, list[float]] = {}
        for row in of_cell:
            values.setdefault(row['set'], []).append(row['value'])
        if values:
            found[cell] = {name: Mean(tuple(seeds)) for name, seeds in values.items()}
    return found


def _write(
    config: ReproduceConfig,
    path: pathlib.Path,
    axes: tuple[Axis, ...],
    by_cell: Mapping[Cell, list[Job]],
    found: Mapping[Cell, Mapping[str, Mean]],
    failures: Mapping[str, str],
) -> None:
    """Prints the table and the winner, and writes both."""
    best = ranked(found, REC_WITHIN.get(config.tune))[0]
    job = by_cell[best][0]
    record = next(row for row in job.scores(job.evaluations[0]) if row['set'] == 'samples')
    names = ['+'.join(axis.options) for axis in axes]
    decimals = decimals_for(mean.mean for means in found.values() for mean in means.values())
    lines, trials = [], []
    for cell, jobs in by_cell.items():
        means = found.get(cell, {})
        texts = [means[name].text(decimals) if means else 'failed' for name in found[best]]
        lines.append((*cell, *texts))
        for one in jobs:
            rows = one.scores(one.evaluations[0])
            if rows is None and one.name not in failures:
                continue  # not a finalist
            trial = {'values': dict(zip(names, cell, strict=True)), 'seed': one.config.seed}
            trial |= {'failure': failures.get(one.name), 'steps': one.steps}
            trial['workdir'] = os.path.relpath(one.workdir.path, path.parent)
            trial['commands'] = [runner.text(command) for command in one.commands()]
            trials.append(trial | {'records': rows or []})
    print(f'\n{config.tune} on {config.dataset}, scale {config.scale}, validation examples:\n')
    print(markdown_table((*names, *found[best]), lines))
    options = {n: getattr(job.config, n) for axis in axes for n in axis.options}
    flags = [f'--{name}={option_text(value)}' for name, value in options.items()]
    print(f'\nwinner: {" ".join(flags)}   ({record["metric"]}, protocol {record["protocol"]})')
    for axis, value in zip(axes, best, strict=True):
        if len(axis.values) > 1 and value in _ends(axis.values):
            name = '+'.join(axis.options)
            print(f'WARNING: {name}={value} is at the end of the grid. Try --grid beyond it.')
    document = {'method': config.tune, 'dataset': config.dataset, 'scale': config.scale}
    document |= {'code': code_version(), 'axes': [axis._asdict() for axis in axes]}
    document |= {'protocol': record['protocol'], 'protocol_fields': record['fields']}
    document |= {'winner': {'options': options, 'flags': flags}, 'trials': trials}
    write_json(path, document)
    print(f'written to {path}')


def _ends(values: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the smallest and the largest of numbers; () of words."""
    try:
        ordered = sorted(values, key=lambda value: float(value.removeprefix('x')))
    except ValueError:
        return ()
    return ordered[0], ordered[-1]
