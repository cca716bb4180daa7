"""Choice of a method's open weight on a small grid, by validation examples, never by test examples.

The paper gives these weights for none of its baselines. Each value of a grid is one training; the
criterion is the Fréchet distance of its samples from validation examples.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from flexae_tf.config import ReproduceConfig
from flexae_tf.environment import code_version
from flexae_tf.errors import UsageError
from flexae_tf.experiments import plans, runner, tables
from flexae_tf.files import write_json


class Grid(NamedTuple):
    """Values to try.

    Attributes:
        options: training options that all get the value.
        values: for the options.
        times: whether the values are factors of the flagfile's values.
        rec_within: a value is excluded if its reconstructions' distance is above this many times
            the smallest one of the grid; None excludes none.
    """

    options: tuple[str, ...]
    values: tuple[float, ...]
    times: bool = False
    rec_within: float | None = None


GRIDS = {
    # Around the weights that Ghosh et al. 2020 tuned: 0.156, 0.036 and 0.135 for MNIST, CIFAR-10
    # and CelebA beside half the squared error. Table 1's reconstructions rule out more than 1.
    'beta_vae': Grid(('kl_weight',), (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)),
    # Beside the squared error of images in [0, 1]: the authors' weights are 200 for MNIST and 5 for
    # CelebA (Tolstikhin et al. 2018); a reproduction with their CelebA FID uses 20.
    'wae_gan': Grid(('adversarial_weight',), (5.0, 20.0, 100.0, 200.0)),
    # The rate of Dai and Wipf 2019, 0.0001, belongs to hundreds of epochs.
    'two_stage_vae': Grid(('ae_learning_rate',), (0.0001, 0.0003, 0.001)),
    # The flagfiles have the weights of Ghosh et al. 2020, whose images and losses differ in scale.
    'rae_gmm': Grid(('code_weight', 'decoder_weight'), (0.3, 1.0, 3.0), times=True),
    # Kumar et al. 2020 published none. Table 1's reconstructions are as good as the plain
    # auto-encoder's, so the weight is small: of the values whose reconstructions are within a tenth
    # of the grid's best, the one with the best samples.
    'injflow': Grid(('volume_weight',), (0.001, 0.01, 0.03, 0.1), rec_within=1.1),
    # Mondal et al. 2020 have 1000 beside a mean cross-entropy; a mean squared error is smaller.
    'mask_aae': Grid(('mask_fidelity_weight',), (1000.0, 10000.0)),
    # Rate of the adversarial encoder step: 1e-5 in the paper, which gives none for synthetic data.
    # A learned prior moves to the codes; with a fixed prior the codes have to move.
    'wae_normal': Grid(('enc_learning_rate',), (0.0001, 0.0003, 0.001, 0.003)),
    'wae_gmm_prior': Grid(('enc_learning_rate',), (0.0001, 0.0003, 0.001, 0.003)),
    'flexae': Grid(('enc_learning_rate',), (0.00001, 0.0001, 0.0003, 0.001)),
}
SAME_AS = {'vae_flow': 'beta_vae'}  # Table 1's reconstructions on MNIST and CIFAR-10 are equal


def tune(config: ReproduceConfig) -> None:
    """Trains and scores the grid, prints the table and the winner, and writes both as JSON.

    Raises:
        UsageError: nothing to tune, invalid flags, or scores that are not comparable.
        MissingDataError: `--data_dir` or `--inception_path` does not exist.
        FailedRunError: a run failed; the others were completed.
        Interrupted: after SIGTERM or Ctrl-C.
    """
    grid = _grid(config)
    jobs = plan(config, grid)
    if config.dry_run:
        runner.show(list(jobs.values()))
        return
    name = '-'.join(
        [config.tune, config.dataset, config.scale, *filter(None, [config.tuned_options])]
    )
    path = pathlib.Path(config.output_dir) / 'tune' / f'{name}.json'
    runner.prepare(config, list(jobs.values()), path.parent)
    failures = runner.execute(list(jobs.values()))
    found = {
        value: {row['set']: row for row in job.scores(job.evaluations[0]) or ()}
        for value, job in jobs.items()
        if job.name not in failures
    }
    if found:
        _check_comparable(found)
        distances = {v: {s: row['value'] for s, row in rows.items()} for v, rows in found.items()}
        winner = choose(distances, grid.rec_within)
        _conclude(config, grid, jobs, found, failures, winner, path)
    runner.raise_failures(failures, list(jobs.values()), hint='; --values omits a value')


def choose(
    distances: Mapping[float, Mapping[str, float]], rec_within: float | None = None
) -> float:
    """Returns the value whose samples are nearest, among those with good reconstructions.

    Args:
        distances: by value, distances of 'samples' and, with `rec_within`, 'reconstructions'.
        rec_within: as in `Grid`.
    """
    values = list(distances)
    if rec_within is not None:
        limit = rec_within * min(found['reconstructions'] for found in distances.values())
        values = [value for value in values if distances[value]['reconstructions'] <= limit]
    return min(values, key=lambda value: distances[value]['samples'])


def _grid(config: ReproduceConfig) -> Grid:
    if config.tune in SAME_AS:
        other = SAME_AS[config.tune]
        raise UsageError(f'--tune={config.tune}: uses the weight of {other}. Give --tune={other}.')
    known = ', '.join(GRIDS)
    if config.tune not in GRIDS and not (config.values and config.tuned_options):
        raise UsageError(f'--tune={config.tune}: no grid. Choose one of {known}.')
    grid = GRIDS.get(config.tune, Grid((), ()))
    if config.values:
        values = dict.fromkeys(float(value) for value in config.values.split(','))
        grid = grid._replace(values=tuple(values))
    if config.tuned_options:
        names = tuple(config.tuned_options.split(','))
        planned = plans.train_config(plans.flagfiles(config.tune, config.dataset, config.scale))
        fields = [field.name for field in dataclasses.fields(planned)]
        for name in names:
            if name not in fields:
                raise UsageError(f'--tuned_options={name}: not a training option. Check the name.')
        grid = grid._replace(options=names, times=False)
    return grid


def plan(config: ReproduceConfig, grid: Grid) -> dict[float, plans.Job]:
    """Returns the job of each value."""
    files = plans.flagfiles(config.tune, config.dataset, 'paper')
    flagfile = plans.train_config(files)
    planned = {}
    for value in grid.values:
        options = {
            name: value * getattr(flagfile, name) if grid.times else value for name in grid.options
        }
        sets = 'samples' if grid.rec_within is None else 'reconstructions,samples'
        job = plans.job(config, config.tune, config.dataset, options=options)
        planned[value] = plans.evaluated(config, job, split='validation', sets=sets)
    return planned


def _check_comparable(found: Mapping[float, Mapping[str, dict]]) -> None:
    first, *others = [row for rows in found.values() for row in rows.values()]
    for row in others:
        if row['protocol'] != first['protocol']:
            ours, theirs = first['fields'], row['fields']
            differing = [f'{k}={ours[k]} and {theirs[k]}' for k in ours if ours[k] != theirs[k]]
            raise UsageError(
                f'protocols {first["protocol"]} and {row["protocol"]} are not comparable '
                f'({", ".join(differing)}). Remove scores.jsonl from the workdirs and repeat.'
            )


def _conclude(
    config: ReproduceConfig,
    grid: Grid,
    jobs: Mapping[float, plans.Job],
    found: Mapping[float, Mapping[str, dict]],
    failures: Mapping[str, str],
    winner: float,
    path: pathlib.Path,
) -> None:
    """Prints the table and the winner, and writes everything to `path`."""
    sets = list(found[winner])
    heads = ('value', *(found[winner][name]['metric'] for name in sets), 'workdir')
    rows = []
    for value, job in jobs.items():
        cells = [f'{found[value][s]["value"]:.5g}' if value in found else 'failed' for s in sets]
        rows.append((f'{value:g}', *cells, str(job.workdir.path)))
    print(f'\n{config.tune} on {config.dataset}, scale {config.scale}, validation examples:\n')
    print(tables.grid(heads, rows))
    record = found[winner]['samples']
    flags = [f'--{name}={getattr(jobs[winner].config, name):.6g}' for name in grid.options]
    print(f'\nwinner: {" ".join(flags)}   ({record["metric"]}, protocol {record["protocol"]})')
    if winner in (min(grid.values), max(grid.values)):
        print(f'WARNING: {winner:g} is at the end of the grid. Try --values beyond it.')
    document = {
        'method': config.tune,
        'dataset': config.dataset,
        'scale': config.scale,
        'seed': config.seed,
        'code': code_version(),
        'grid': grid._asdict(),
        'protocol': record['protocol'],
        'protocol_fields': record['fields'],
        'winner': {'value': winner, 'flags': flags},
        'trials': [
            {
                'value': value,
                'failure': failures.get(job.name),
                'steps': job.steps,
                'workdir': os.path.relpath(job.workdir.path, path.parent),
                'commands': [runner.text(command) for command in job.commands()],
                'records': list(found.get(value, {}).values()),
            }
            for value, job in jobs.items()
        ],
    }
    write_json(path, document)
    print(f'written to {path}')
