"""The choice of a method's open weight: a small grid, judged on validation examples, never on test.

The paper gives these weights for none of its rivals. Each value is one training; the criterion is
the Frechet distance of its samples from validation examples.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from flexae_tf.config import METHODS, ReproduceConfig, TrainConfig
from flexae_tf.environment import code_version
from flexae_tf.errors import FailedRunError, UsageError
from flexae_tf.experiments import execution, planning, runs
from flexae_tf.files import write_json


class Grid(NamedTuple):
    """What is tried.

    Attributes:
        options: training options that are open; all of them get the value.
        values: for them.
        times: whether the values are factors, by which those of the flagfile are multiplied.
        rec_within: values whose reconstructions are further from the examples than this many times
            the smallest such distance in the grid do not win, however good their samples.
    """

    options: tuple[str, ...]
    values: tuple[float, ...]
    times: bool = False
    rec_within: float | None = None


GRIDS = {
    # Around the weights that Ghosh et al. 2020 tuned, 0.156, 0.036 and 0.135 for MNIST, CIFAR-10
    # and CelebA beside half the squared error. Table 1's reconstructions rule out more than 1.
    'beta_vae': Grid(('kl_weight',), (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)),
    # Beside the squared error of images in [0, 1]: 200 is the weight of the authors for MNIST, 5
    # theirs for CelebA (Tolstikhin et al. 2018), 20 that of a reproduction with their CelebA FID.
    'wae_gan': Grid(('adversarial_weight',), (5.0, 20.0, 100.0, 200.0)),
    # The rate of Dai and Wipf 2019, 0.0001, goes with hundreds of epochs: it is open where a scale
    # trains less.
    'two_stage_vae': Grid(('ae_learning_rate',), (0.0001, 0.0003, 0.001)),
    # The flagfiles have the weights of Ghosh et al. 2020, whose images and losses have other sizes.
    'rae_gmm': Grid(('code_weight', 'decoder_weight'), (0.3, 1.0, 3.0), times=True),
    # Kumar et al. 2020 published none. Table 1's reconstructions are no worse than the plain
    # auto-encoder's, so the weight is small: of the values whose reconstructions are within a tenth
    # of the grid's best, which stand for that auto-encoder's, the one with the best samples.
    'injflow': Grid(('volume_weight',), (0.001, 0.01, 0.03, 0.1), rec_within=1.1),
    # Mondal et al. 2020 have 1000 beside a mean cross-entropy; a mean squared error is smaller.
    'mask_aae': Grid(('mask_fidelity_weight',), (1000.0, 10000.0)),
    # Of the adversarial encoder step: 1e-5 in the paper, which names none for synthetic data. A
    # learned prior comes to the codes; with a fixed one the codes have to come to it.
    'wae_normal': Grid(('enc_learning_rate',), (0.0001, 0.0003, 0.001, 0.003)),
    'wae_gmm_prior': Grid(('enc_learning_rate',), (0.0001, 0.0003, 0.001, 0.003)),
    'flexae': Grid(('enc_learning_rate',), (0.00001, 0.0001, 0.0003, 0.001)),
}
SAME_AS = {'vae_flow': 'beta_vae'}  # on MNIST and CIFAR-10 Table 1 has them reconstruct alike


class Trial(NamedTuple):
    """A value of the grid, and what came of it."""

    value: float
    run: runs.Run
    records: dict[str, dict[str, Any]]  # scores by kind, none when the run failed
    failure: str | None

    @property
    def distances(self) -> dict[str, float]:
        """The scores alone."""
        return {kind: record['value'] for kind, record in self.records.items()}


def tune(config: ReproduceConfig) -> None:
    """Trains and scores the grid, prints the table and the winner, and keeps both as JSON.

    Raises:
        UsageError: nothing to tune, wrong flags, or scores that cannot be compared.
        MissingDataError: `--data_dir` or `--inception_path` leads nowhere.
        FailedRunError: a run failed; the others were executed.
        Interrupted: SIGTERM or Ctrl-C was heard.
    """
    grid = _grid(config)
    planned = _plan(config, grid)
    if config.dry_run:
        runs.show(list(planned.values()), {})
        return
    runs.check_places(config, planned.values(), _path(config).parent)
    failures = execution.execute(list(planned.values()))
    trials = [_trial(value, run, failures.get(run.name)) for value, run in planned.items()]
    if len(failures) < len(trials):
        _check_comparable(trials)
        winner = choose({t.value: t.distances for t in trials if not t.failure}, grid.rec_within)
        _show(config, trials)
        _conclude(config, grid, trials, winner)
    if failures:
        name, reason = next(iter(failures.items()))
        raise FailedRunError(
            f'{len(failures)} of {len(trials)} runs failed, {name}: {reason}; the same command '
            'tries again what failed, --values leaves it out'
        )


def choose(
    distances: Mapping[float, Mapping[str, float]], rec_within: float | None = None
) -> float:
    """The value whose samples are nearest to the examples, reconstructions permitting.

    Args:
        distances: of each value, those of its samples, `gen`, and reconstructions, `rec`.
        rec_within: as in `Grid`; None asks nothing of the reconstructions.
    """
    values = list(distances)
    if rec_within is not None:
        limit = rec_within * min(found['rec'] for found in distances.values())
        values = [value for value in values if distances[value]['rec'] <= limit]
    return min(values, key=lambda value: distances[value]['gen'])


def _grid(config: ReproduceConfig) -> Grid:
    if config.tune in SAME_AS:
        other = SAME_AS[config.tune]
        raise UsageError(
            f'--tune={config.tune}: it takes the weight chosen for {other}; give --tune={other}'
        )
    known = [method for method in GRIDS if method in METHODS]
    if config.tune not in known:
        raise UsageError(f'--tune={config.tune}: choose one of {", ".join(known)}')
    grid = GRIDS[config.tune]
    if config.values:
        values = dict.fromkeys(float(value) for value in config.values.split(','))
        grid = grid._replace(values=tuple(values))
    if config.tuned_options:
        names = tuple(config.tuned_options.split(','))
        fields = [field.name for field in dataclasses.fields(TrainConfig)]
        for name in names:
            if name not in fields:
                raise UsageError(
                    f'--tuned_options={config.tuned_options}: training has no option {name!r}'
                )
        grid = grid._replace(options=names, times=False)
    return grid


def _plan(config: ReproduceConfig, grid: Grid) -> dict[float, runs.Run]:
    sets = 'samples' if grid.rec_within is None else 'reconstructions,samples'
    scoring = planning.scoring_flags(
        config, config.tune, config.dataset, split='validation', sets=sets, metrics='fd'
    )
    flagfile = planning.method_config(config.tune, config.dataset)
    planned = {}
    for value in grid.values:
        options = {
            name: value * getattr(flagfile, name) if grid.times else value for name in grid.options
        }
        planned[value] = planning.method_run(
            config, config.tune, config.dataset, options=options, scorings=[scoring]
        )
    return planned


def _path(config: ReproduceConfig) -> pathlib.Path:
    what = [config.tune, config.dataset, config.scale, *filter(None, [config.tuned_options])]
    return pathlib.Path(config.output_dir) / 'tune' / f'{"-".join(what)}.json'


def _trial(value: float, run: runs.Run, failure: str | None) -> Trial:
    found = [] if failure else run.scores(run.scorings[0])
    # In an order that does not depend on what had been scored before.
    records = {kind: r for kind in ('rec', 'gen') for r in found if r['kind'] == kind}
    return Trial(value, run, records, failure)


def _check_comparable(trials: list[Trial]) -> None:
    """Raises `UsageError` when scores are of different protocols."""
    first, *others = [record for trial in trials for record in trial.records.values()]
    for record in others:
        ours, theirs = first['fields'], record['fields']
        differing = [f'{k}={ours[k]} and {theirs[k]}' for k in ours if ours[k] != theirs[k]]
        if record['protocol'] != first['protocol']:
            raise UsageError(
                f'scores of protocols {first["protocol"]} and {record["protocol"]} cannot be '
                f'compared ({", ".join(differing)}): remove reproduce/ from the workdirs, '
                'and the same command scores all runs anew'
            )


def _show(config: ReproduceConfig, trials: list[Trial]) -> None:
    names = next([r['metric'] for r in t.records.values()] for t in trials if t.records)
    table = [['value', *names, 'steps', 'workdir']]
    for trial in trials:
        found = [f'{value:.5g}' for value in trial.distances.values()] or ['failed'] * len(names)
        steps, workdir = str(trial.run.config.training_steps), str(trial.run.workdir.path)
        table.append([f'{trial.value:g}', *found, steps, workdir])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    print(f'\n{config.tune} on {config.dataset}, scale {config.scale}, validation examples:\n')
    for line in table:
        print('  '.join(map(str.ljust, line, widths)).rstrip())


def _conclude(config: ReproduceConfig, grid: Grid, trials: list[Trial], winner: float) -> None:
    """Prints the winner, and keeps everything as JSON."""
    chosen = next(trial for trial in trials if trial.value == winner)
    record, path = chosen.records['gen'], _path(config)
    flags = [f'--{name}={getattr(chosen.run.config, name):.6g}' for name in grid.options]
    print(f'\nwinner: {" ".join(flags)}   ({record["metric"]}, protocol {record["protocol"]})')
    if winner in (min(grid.values), max(grid.values)):
        print(f'WARNING: {winner:g} is at the end of the grid: try --values beyond it')
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
                'value': trial.value,
                'failure': trial.failure,
                'distances': trial.distances,
                'steps': trial.run.config.training_steps,
                'seconds': trial.run.journal.seconds(),
                'workdir': os.path.relpath(trial.run.workdir.path, path.parent),
                'commands': list(map(str, trial.run.commands())),
                'records': list(trial.records.values()),
            }
            for trial in trials
        ],
    }
    write_json(path, document)
    print(f'kept in {path}')
