"""Choice of a baseline's weight, which the paper omits, on a small grid.

The criterion is the Fréchet distance of samples from validation examples, never test examples.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from flexae_tf.checked_files import write_json
from flexae_tf.config import ReproduceConfig
from flexae_tf.environment import code_version
from flexae_tf.errors import UsageError
from flexae_tf.evaluation import score_log
from flexae_tf.evaluation.markdown_table import markdown_table
from flexae_tf.experiments import plans, runner


class Grid(NamedTuple):
    """Values to try."""

    options: tuple[str, ...]  # training options that all get the value
    values: tuple[float, ...]
    times: bool = False  # whether the values are factors of the flagfile's values
    # Excludes values whose reconstructions' distance is above this many times the smallest one.
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

    Raises `UsageError` if there is nothing to tune, and otherwise like `reproduce`.
    """
    grid = _grid(config)
    by_value = plan(config, grid)
    jobs = list(by_value.values())
    if config.dry_run:
        runner.show(jobs)
        return
    name = '-'.join(filter(None, (config.tune, config.dataset, config.scale, config.tuned_options)))
    path = pathlib.Path(config.output_dir) / 'tune' / f'{name}.json'
    runner.prepare(config, jobs, path.parent)
    failures = runner.execute(jobs)
    found = {
        value: {row['set']: row for row in job.scores(job.evaluations[0])}
        for value, job in by_value.items()
        if job.name not in failures
    }
    if found:
        score_log.check_comparable([row for rows in found.values() for row in rows.values()])
        distances = {v: {s: row['value'] for s, row in rows.items()} for v, rows in found.items()}
        winner = choose(distances, grid.rec_within)
        sets, record = distances[winner], found[winner]['samples']
        cells, trials = [], []
        for value, job in by_value.items():
            ours = [f'{distances[value][s]:.5g}' if value in found else 'failed' for s in sets]
            cells.append((f'{value:g}', *ours, str(job.workdir.path)))
            trial = {'value': value, 'failure': failures.get(job.name), 'steps': job.steps}
            trial['workdir'] = os.path.relpath(job.workdir.path, path.parent)
            trial['commands'] = [runner.text(command) for command in job.commands()]
            trials.append(trial | {'records': list(found.get(value, {}).values())})
        print(f'\n{config.tune} on {config.dataset}, scale {config.scale}, validation examples:\n')
        heads = [found[winner][name]['metric'] for name in sets]
        print(markdown_table(('value', *heads, 'workdir'), cells))
        flags = [f'--{n}={getattr(by_value[winner].config, n):.6g}' for n in grid.options]
        print(f'\nwinner: {" ".join(flags)}   ({record["metric"]}, protocol {record["protocol"]})')
        if winner in (min(grid.values), max(grid.values)):
            print(f'WARNING: {winner:g} is at the end of the grid. Try --values beyond it.')
        document = {'method': config.tune, 'dataset': config.dataset, 'scale': config.scale}
        document |= {'seed': config.seed, 'code': code_version(), 'grid': grid._asdict()}
        document |= {'protocol': record['protocol'], 'protocol_fields': record['fields']}
        document |= {'winner': {'value': winner, 'flags': flags}, 'trials': trials}
        write_json(path, document)
        print(f'written to {path}')
    runner.raise_failures(failures, jobs, hint='; --values omits a value')


def choose(
    distances: Mapping[float, Mapping[str, float]], rec_within: float | None = None
) -> float:
    """Returns the value whose samples are nearest, among those with good reconstructions.

    `distances` has, by value, one of 'samples' and, with `rec_within`, of 'reconstructions'.
    """
    values = list(distances)
    if rec_within is not None:
        limit = rec_within * min(found['reconstructions'] for found in distances.values())
        values = [value for value in values if distances[value]['reconstructions'] <= limit]
    return min(values, key=lambda value: distances[value]['samples'])


def plan(config: ReproduceConfig, grid: Grid) -> dict[float, plans.Job]:
    """Returns the job of each value."""
    flagfile = plans.train_config(plans.flagfiles(config.tune, config.dataset, 'paper'))
    sets = 'samples' if grid.rec_within is None else 'reconstructions,samples'
    planned = {}
    for value in grid.values:
        factors = {name: getattr(flagfile, name) if grid.times else 1.0 for name in grid.options}
        options = {name: value * factor for name, factor in factors.items()}
        job = plans.job(config, config.tune, config.dataset, options=options)
        planned[value] = plans.evaluated(config, job, split='validation', sets=sets)
    return planned


def _grid(config: ReproduceConfig) -> Grid:
    if other := SAME_AS.get(config.tune):
        raise UsageError(f'--tune={config.tune}: uses the weight of {other}. Give --tune={other}.')
    if config.tune not in GRIDS and not (config.values and config.tuned_options):
        raise UsageError(f'--tune={config.tune}: no grid. Choose one of {", ".join(GRIDS)}.')
    grid = GRIDS.get(config.tune, Grid((), ()))
    if config.values:
        grid = grid._replace(values=tuple(dict.fromkeys(map(float, config.values.split(',')))))
    if config.tuned_options:
        grid = grid._replace(options=tuple(config.tuned_options.split(',')), times=False)
        flagfiles = plans.flagfiles(config.tune, config.dataset, config.scale)
        for name in grid.options:
            if name not in vars(plans.train_config(flagfiles)):
                raise UsageError(f'--tuned_options={name}: not a training option. Check the name.')
    return grid
