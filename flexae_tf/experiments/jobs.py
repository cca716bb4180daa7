"""Jobs: one training, the densities fitted to its codes, and its evaluations.

A job is given as flags of the programs. Its progress is defined by the files in its workdir.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from flexae_tf import data, densities, methods
from flexae_tf.config import EvaluateConfig, ReproduceConfig, ResolvedConfig, TrainConfig
from flexae_tf.config.options import find_flagfile, from_arguments, path_flag, to_flag
from flexae_tf.config.train import training_flagfiles
from flexae_tf.errors import UsageError, UserError
from flexae_tf.evaluation import score_log
from flexae_tf.experiments import grids
from flexae_tf.methods.resolve import train_config
from flexae_tf.training.workdir import Workdir

VECTORS = ('synthetic_2d', 'synthetic_5d')
NETWORK = ('features', 'feature_layer', 'data_dir', 'inception_path')  # flags for scores of images
ALL_SETS = 'reconstructions,samples,train,latents'


class Scale(NamedTuple):
    """Size of the runs of an experiment; SCALE/METHOD_DATASET.flags follows its flagfile."""

    flagfile: str | None  # follows the flagfiles of method and data set
    num_examples: int  # at most, on each side of a score
    datasets: tuple[str, ...]  # default data sets
    subset_steps: int  # iterations of trainings on few examples (Fig. 5)
    density_steps: int | None = None  # iterations of trained densities; None for their default


SCALES = {
    'paper': Scale(None, 10_000, ('mnist', 'cifar10', 'celeba', *VECTORS), 30_000),
    'small': Scale('small/all.flags', 5_000, ('mnist', *VECTORS), 3000, 3000),
    'medium': Scale('medium/all.flags', 5_000, ('mnist', *VECTORS), 30_000, 40_000),
    'smoke': Scale('smoke.flags', 50, ('digits', *VECTORS), 6, 6),
}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """An evaluation of a job."""

    method: str  # row of tables that its scores belong to
    density: str | None  # density that is fitted for it
    fit: tuple[str, ...]  # flags of the fit program; empty without a density
    flags: tuple[str, ...]  # flags of the evaluation program, without `--workdir`

    @functools.cached_property
    def config(self) -> EvaluateConfig:
        """Configuration that the flags give."""
        run = () if any(f.startswith('--fake=') for f in self.flags) else ('--workdir=.',)
        return from_arguments(EvaluateConfig, (*run, *self.flags))

    @property
    def request(self) -> str:
        """Hash of the configuration, as in scores.jsonl."""
        return self.config.identity_hash()


@dataclasses.dataclass(frozen=True)
class Job:
    """One training and its evaluations; invalid flags raise `UsageError`."""

    name: str  # unique; the workdir is OUTPUT_DIR/runs/NAME
    output: pathlib.Path  # folder of the experiments, absolute
    train: tuple[str, ...]  # flags of the training program, without `--workdir`
    evaluations: tuple[Evaluation, ...] = ()  # in the order in which they are run
    is_tuned: bool = True  # whether validation examples chose all weights that the paper omits

    def __post_init__(self) -> None:
        _ = self.config, [evaluation.config for evaluation in self.evaluations]

    @functools.cached_property
    def config(self) -> TrainConfig:
        """Configuration as given by the flags."""
        return train_config(self.train)

    @functools.cached_property
    def resolved(self) -> ResolvedConfig:
        """Configuration with the sizes that depend on the data set."""
        return methods.resolve(self.config, data.describe(self.config))

    @functools.cached_property
    def options(self) -> dict[str, Any]:
        """Training options that differ from their defaults, and the number of steps."""
        return self.resolved.changed() | {'training_steps': self.config.training_steps}

    @property
    def steps(self) -> int:
        """Iterations of the training."""
        return self.config.training_steps

    @property
    def workdir(self) -> Workdir:
        """Workdir of the run."""
        return Workdir(self.output / 'runs' / self.name)

    @property
    def digest(self) -> str | None:
        """Digest of the last checkpoint; None before it is written."""
        try:
            self.check()
        except UserError:
            return None
        return self.workdir.digest(self.steps)

    def check(self) -> None:
        """Raises `UserError` if the workdir holds a run of another configuration."""
        self.workdir.check(self.resolved)

    def scores(self, evaluation: Evaluation) -> list[dict[str, Any]] | None:
        """Returns the lines of an evaluation of the last checkpoint; None if it is not complete."""
        if not (digest := self.digest):
            return None
        network = score_log.requested_network(evaluation.config)
        return score_log.completed(self.workdir.scores, evaluation.request, digest, network)

    def commands(self, *, missing: bool = False) -> list[tuple[str, ...]]:
        """Returns the commands (program, *flags) of the job, or only those still `missing`.

        A missing evaluation needs the training, which verifies its last checkpoint.
        """
        workdir = path_flag('workdir', self.workdir.path)
        found = [('train', *self.train, workdir)]
        for evaluation in self.evaluations:
            if not missing or self.scores(evaluation) is None:
                found += [('fit', workdir, *evaluation.fit)] if evaluation.fit else []
                found.append(('evaluate', workdir, *evaluation.flags))
        return found if not missing or len(found) > 1 or not self.digest else []

    def state(self) -> str:
        """Returns the progress in words."""
        try:
            self.check()
        except UserError as error:
            return str(error)
        if self.digest:
            return 'trained, not evaluated' if self.commands(missing=True) else 'finished'
        step = self.workdir.newest_step()
        return f'at step {step} of {self.steps}' if step else 'not started'

    def info(self) -> dict[str, Any]:
        """Returns the line about the run that precedes its scores in recorded results."""
        machine, environment = self.workdir.read_environment()
        pace, folder = self.workdir.read_pace(), self.workdir.path / f'densities/{self.steps:09d}'
        names = {e.density for e in self.evaluations if e.density}
        trained = {name for name in names if densities.find(name).trained_by_steps}
        paces = {name: Workdir(folder / name).read_pace() for name in trained}
        return {
            'run': self.name,
            'method': self.config.method,
            'dataset': self.config.dataset,
            'latent_dim': self.resolved.latent_dim,
            'seed': self.config.seed,
            'options': self.options,
            'checkpoint': self.digest or '',
            'machine': machine,
            'environment': environment,
            'seconds': round(self.steps / pace[0], 1) if pace else None,
            'density_seconds': {n: p and round(p[1] / p[0], 1) for n, p in paces.items()},
        }


@dataclasses.dataclass(frozen=True)
class Samples(Job):
    """The evaluation of samples from files by the protocol of other rows, without a run."""

    digest: str = ''  # of the files

    steps = 0  # of a training here

    def scores(self, evaluation: Evaluation) -> list[dict[str, Any]] | None:
        """Returns the lines of the evaluation as lines about samples of a run, or None."""
        network = score_log.requested_network(evaluation.config)
        rows = score_log.completed(self.workdir.scores, evaluation.request, None, network)
        return rows and [score_log.as_samples(row) for row in rows]

    def state(self) -> str:
        """See `Job.state`."""
        return 'not evaluated' if self.commands(missing=True) else 'finished'

    def commands(self, *, missing: bool = False) -> list[tuple[str, ...]]:
        """See `Job.commands`."""
        output = path_flag('output_file', self.workdir.scores)
        evaluations = (e for e in self.evaluations if not missing or self.scores(e) is None)
        return [('evaluate', *evaluation.flags, output) for evaluation in evaluations]


def make_job(
    config: ReproduceConfig,
    method: str,
    dataset: str,
    *,
    seed: int | None = None,
    options: Mapping[str, float | str] | None = None,
) -> Job:
    """Returns the job of a method on a data set; the seed is `config.seed` if None.

    Its name states only what differs from flagfiles and scale: equal trainings have equal names.
    """
    scale = scale_of(config, dataset)
    files = flagfiles(method, dataset, scale)
    planned = train_config(files)
    wanted = grids.winner(config.tuned, method, dataset, scale)
    options = options or {}
    if config.training_steps and 'training_steps' not in options:
        wanted['training_steps'] = config.training_steps
    wanted |= options
    changed = {
        k: v for k, v in wanted.items() if option_text(v) != option_text(getattr(planned, k))
    }
    changed['seed'] = config.seed if seed is None else seed
    stated = {*planned.identity(), 'training_steps'}
    parts = [f'{key}={option_text(value)}' for key, value in changed.items() if key in stated]
    paths = () if dataset in VECTORS else ('data_dir', 'download')
    flags = (*_flags(changed), *_given(config, *paths, 'device', 'jit_compile'))
    name = '-'.join([method.replace(':', '.'), dataset, scale, *parts])
    output = pathlib.Path(os.path.abspath(config.output_dir))
    is_tuned = grids.is_tuned(config.tuned, method, dataset, scale)
    return Job(name, output, (*files, *flags), is_tuned=is_tuned)


def evaluated(
    config: ReproduceConfig,
    base: Job,
    *,
    density: str | None = None,
    checkpoint: str | None = None,
    num_examples: int | None = None,
    **flags: str,
) -> Job:
    """Returns a job with one more evaluation, whose `flags` can be sets, metrics and split.

    None stands for the method's own density, the last checkpoint, and the scale's number.
    """
    method, dataset = base.config.method, base.config.dataset
    scale, images = SCALES[scale_of(config, dataset)], dataset not in VECTORS
    own = methods.find(method).density
    is_sampled = not {'samples', 'latents'}.isdisjoint(flags.get('sets', ALL_SETS).split(','))
    used = (density or own) if is_sampled else None
    fit: tuple[str, ...] = ()
    if used:
        chosen = dict(checkpoint=base.steps, density=used)
        if scale.density_steps and densities.find(used).trained_by_steps:
            chosen['density_steps'] = scale.density_steps
        fit = (*_flags(chosen), *_given(config, *(('data_dir',) if images else ()), 'device'))
    options = dict(checkpoint=checkpoint or base.steps, split='test', sets=ALL_SETS, metrics='fd')
    options |= flags
    options['num_examples'] = num_examples or config.num_examples or scale.num_examples
    options |= {'density': density} if density else {}
    given = _given(config, *(NETWORK if images else ()), 'cache_dir', 'device')
    row = method
    if density not in (None, own):
        specs = methods.METHODS.values()
        fitted = {spec.fitted_from: spec.name for spec in specs if spec.fitted_from}
        row = fitted.get((method, density), f'{method}+{density}')
    found = Evaluation(row, used, fit, (*_flags(options), *given))
    return dataclasses.replace(base, evaluations=(*base.evaluations, found))


def scale_of(config: ReproduceConfig, dataset: str) -> str:
    """Returns the scale of the runs on a data set."""
    # Synthetic data keep the paper's size.
    return 'paper' if dataset in VECTORS and config.scale != 'smoke' else config.scale


def flagfiles(method: str, dataset: str, scale: str) -> tuple[str, ...]:
    """Returns `--flagfile` flags; `--method` for a method from outside the package."""
    files = training_flagfiles(method, dataset)
    if SCALES[scale].flagfile:
        tuned = f'{scale}/{method}_{dataset}.flags'
        files += [SCALES[scale].flagfile, *([tuned] if find_flagfile(tuned) else [])]
    for file in files:
        if not find_flagfile(file):
            raise UsageError(f'--flagfile={file}: missing. Write it, or choose another method.')
    flags = [f'--flagfile={file}' for file in files]
    if scale == 'smoke':  # smoke.flags has another data set, and network and size for images
        vectors = ['--network=synthetic', '--latent_dim=2'] if dataset in VECTORS else []
        flags += [f'--dataset={dataset}', *vectors]
    return (*([f'--method={method}'] if ':' in method else []), *flags)


def _flags(options: Mapping[str, float | str]) -> tuple[str, ...]:
    return tuple(f'--{name}={option_text(value)}' for name, value in options.items())


def option_text(value: float | str | None) -> str:
    """Returns the value of an option as in a flag."""
    return f'{value:.6g}' if isinstance(value, float) else str(value)


def _given(config: ReproduceConfig, *names: str) -> tuple[str, ...]:
    """Returns flags of the options that differ from their defaults, with absolute paths."""
    given = {f: getattr(config, f.name) for f in dataclasses.fields(config) if f.name in names}
    return tuple(to_flag(field, value) for field, value in given.items() if value != field.default)
