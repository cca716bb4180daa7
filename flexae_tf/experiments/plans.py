"""Plans: the jobs that an artifact (a table, a figure or an experiment) needs.

A job is one training, the densities fitted to its codes, and its evaluations, as flags of the
programs. Artifacts share jobs. Its progress is defined by the files in its workdir.
"""

import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from flexae_tf import data, densities, methods
from flexae_tf.config import EvaluateConfig, ReproduceConfig, ResolvedConfig, TrainConfig
from flexae_tf.config.options import find_flagfile, from_arguments, path_flag, to_flag
from flexae_tf.config.train import training_flagfiles
from flexae_tf.errors import UsageError, UserError
from flexae_tf.evaluation import score_log
from flexae_tf.experiments import grids, paper
from flexae_tf.files import stat_digest
from flexae_tf.methods.resolve import train_config
from flexae_tf.training.workdir import Workdir

VECTORS = ('synthetic_2d', 'synthetic_5d')
IMAGES = tuple(paper.DATASETS)
NETWORK = ('features', 'feature_layer', 'data_dir', 'inception_path')  # flags for scores of images
REPEATED = (
    'flexae',
    'wae_gan',
    'ae_gmm',
    'rae_gmm',
    'two_stage_vae',
)  # three seeds in Tables 1 and 2
# Text and citation of the paper disagree on VAE + FLOW, so both readings are rows.
IN_TABLE_1 = (*paper.METHODS, 'vae_flow_prior')
SEEDS = 3  # the paper reports three executions of FlexAE
SNAPSHOTS = {'snapshot_every_steps': 500}  # points of Fig. 2's curves
MMD = {'divergence': 'mmd'}
SUBSET = 5000  # training images of Fig. 5
ALL_SETS = 'reconstructions,samples,train,latents'
TABLE_1 = {'metrics': 'fd,kid,prd'}  # an evaluation


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

    def commands(self, *, missing: bool = False) -> list[tuple[str, ...]]:
        """See `Job.commands`."""
        output = path_flag('output_file', self.workdir.scores)
        evaluations = (e for e in self.evaluations if not missing or self.scores(e) is None)
        return [('evaluate', *evaluation.flags, output) for evaluation in evaluations]


def plan(config: ReproduceConfig) -> list[Job]:
    """Returns the jobs of `config.artifact`, restricted to the share of `config.shard`."""
    planned: dict[str, Job] = {}
    for name in config.artifact.split(','):
        for job in _jobs(config, name):
            known = planned.get(job.name, job)
            both = tuple(dict.fromkeys(known.evaluations + job.evaluations))
            planned[job.name] = dataclasses.replace(known, evaluations=both)
    # One run of everything comes before a second seed of anything.
    ordered = sorted(planned.values(), key=lambda job: job.config.seed)
    index, count = config.share()
    return ordered[index::count]


def _jobs(config: ReproduceConfig, name: str) -> Iterator[Job]:
    artifact = ARTIFACTS[name]
    chosen = config.method_names() if config.methods else artifact.methods
    yield from (samples(config, name, *row) for row in config.samples().items())
    for dataset, method in itertools.product(datasets(config, name), chosen):
        fitted_from = methods.find(method).fitted_from if artifact.shared else None
        trained, density = fitted_from or (method, None)
        seeds = artifact.seeds or (SEEDS if method in REPEATED else 1)
        for options, evaluations in artifact.runs(config, dataset, method):
            # Images of networks show one seed.
            for seed in range((config.seeds or seeds) if evaluations else 1):
                planned = job(config, trained, dataset, seed=config.seed + seed, options=options)
                for flags in evaluations:
                    planned = evaluated(config, planned, **{'density': density} | flags)
                yield planned


def samples(config: ReproduceConfig, name: str, row: str, path: str) -> Samples:
    """Returns the evaluation of samples from files as a row of an artifact."""
    dataset, *others = datasets(config, name)
    if others:
        raise UsageError(f'--methods={row}={path}: samples of one data set. Set --dataset.')
    base = evaluated(config, job(config, paper.FLEXAE, dataset), **TABLE_1)
    flags = (f for f in base.evaluations[0].flags if not f.startswith(('--checkpoint', '--sets')))
    flags = (f'--dataset={dataset}', path_flag('fake', path), *flags)
    digest = stat_digest(pathlib.Path(path), flag=f'--methods={row}')
    name = f'{row}-{dataset}-{config.scale}-{digest}'  # changed samples have another name
    return Samples(
        name, base.output, base.train, (Evaluation(row, None, (), flags),), digest=digest
    )


def datasets(config: ReproduceConfig, name: str) -> list[str]:
    """Returns the data sets of an artifact: `config.dataset`, or the default ones of the scale."""
    known, dataset = ARTIFACTS[name].datasets, config.dataset
    of_vectors = known[0] in VECTORS
    if dataset is None:
        available = SCALES[config.scale].datasets
        return [name for name in known if name in available] or [available[0]]
    if (dataset in VECTORS) != of_vectors or (of_vectors and dataset not in known):
        needed = ', '.join(known) if of_vectors else 'a data set of images'
        raise UsageError(f'--dataset={dataset}: {name} needs {needed}. Choose another one.')
    return [dataset]


def job(
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
    wanted |= {'training_steps': config.training_steps} if config.training_steps else {}
    wanted |= options or {}
    changed = {k: v for k, v in wanted.items() if text(v) != text(getattr(planned, k))}
    changed['seed'] = config.seed if seed is None else seed
    stated = {*planned.identity(), 'training_steps'}
    parts = [f'{key}={text(value)}' for key, value in changed.items() if key in stated]
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
    used = density or own
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
    return tuple(f'--{name}={text(value)}' for name, value in options.items())


def text(value: float | str | None) -> str:
    """Returns the value of an option as in a flag."""
    return f'{value:.6g}' if isinstance(value, float) else str(value)


def _given(config: ReproduceConfig, *names: str) -> tuple[str, ...]:
    """Returns flags of the options that differ from their defaults, with absolute paths."""
    given = {f: getattr(config, f.name) for f in dataclasses.fields(config) if f.name in names}
    return tuple(to_flag(field, value) for field, value in given.items() if value != field.default)


Runs = Iterable[tuple[dict[str, float | str], list[dict]]]  # (training options, evaluations)


class Artifact(NamedTuple):
    """A table, a figure, or an experiment on a claim of the paper."""

    title: str
    runs: Callable[[ReproduceConfig, str, str], Runs]  # of (config, data set, method)
    methods: tuple[str, ...] = ('flexae',)  # default methods
    datasets: tuple[str, ...] = IMAGES  # default data sets
    seeds: int | None = 1  # default number; None: three of REPEATED methods, one of the others
    shared: bool = False  # whether a method fitted from another one is evaluated on its run


def _fixed(*runs: tuple[dict, list[dict]]) -> Callable[..., Runs]:
    return lambda *_: runs


def _table_3(config: ReproduceConfig, dataset: str, _: str) -> Runs:
    """Varies the latent size; m_b is half the data set's size where the paper has none."""
    base = paper.BASE_LATENT_DIMS.get(dataset)
    base = base or max(1, job(config, paper.FLEXAE, dataset).resolved.latent_dim // 2)
    return [({'latent_dim': multiple * base}, [TABLE_1]) for multiple in paper.TABLE_3]


def _figure_5(config: ReproduceConfig, *_: str) -> Runs:
    """Varies the capacity of P-GEN: models 1 to 6 of Table 8."""
    scale = SCALES[config.scale]
    # Distances of fewer examples are larger, and there are at most SUBSET training examples.
    num = {'num_examples': min(SUBSET, config.num_examples or scale.num_examples)}
    options = {
        'train_examples': num['num_examples'] if config.scale == 'smoke' else SUBSET,
        'training_steps': config.training_steps or scale.subset_steps,
    }
    evaluations = [TABLE_1 | num, dict(sets='reconstructions,samples', split='train') | num]
    return [({'generator_capacity': n} | options, evaluations) for n in range(1, 7)]


def _joint(config: ReproduceConfig, dataset: str, method: str) -> Runs:
    """Evaluates a method with its own prior, and with another one fitted afterwards."""
    own = methods.find(method).density
    other = 'latent_gan' if own == 'gaussian_mixture' else 'gaussian_mixture'
    return [({}, [TABLE_1, TABLE_1 | {'density': other}])]


def _variants(method: str) -> tuple[dict, ...]:
    """Returns the training options of the models of Figs. 2 and 3 that a method stands for."""
    mixtures = ({'mixture': 'data'}, {'mixture': 'circle'})
    return {'wae_gmm_prior': mixtures, 'wae_normal': ({}, MMD)}.get(method, ({},))


def _figure_2(config: ReproduceConfig, dataset: str, method: str) -> Runs:
    over_training = dict(sets='reconstructions,samples,latents', checkpoint='all')
    return [(SNAPSHOTS | m, [over_training, EXACT]) for m in _variants(method)]


def _figure_3(config: ReproduceConfig, dataset: str, method: str) -> Runs:
    return [(SNAPSHOTS | m, [{}]) for m in _variants(method)]


def _theorem_1(config: ReproduceConfig, dataset: str, method: str) -> Runs:
    sizes = ({'latent_dim': m, 'noise_dim': m} for m in paper.NOISE_DIMS)
    return [(SNAPSHOTS | size, [_OF_VECTORS, EXACT]) for size in sizes]


_table_1 = _fixed(({}, [TABLE_1]))
_methods = _fixed(({}, [TABLE_1]), ({'training_steps': 0}, [dict(sets='samples')]))
_gallery = _fixed(({}, []))
# Runs on synthetic data have snapshots, so that artifacts can share them.
_OF_VECTORS = dict(sets='reconstructions,samples,latents')
EXACT = dict(sets='latents', metrics='transport')  # an evaluation of the last checkpoint
_theorem_2 = _fixed(*((SNAPSHOTS | {'noise_dim': n}, [_OF_VECTORS]) for n in paper.NOISE_DIMS))
_reconstructions = _fixed(({}, [dict(sets='reconstructions', metrics='psnr,ssim')]))
_figure_12 = _fixed(({}, [dict(sets='reconstructions,samples', metrics='memorization')]))
_IN_TABLE_3 = ((paper.WAE, paper.FLEXAE), tuple(paper.BASE_LATENT_DIMS))
_IN_FIGURE_2 = (('wae_normal', 'wae_gan', 'flexae'), ('synthetic_5d',))
_IN_FIGURE_3 = (('vae', 'wae_normal', 'wae_gan', 'wae_gmm_prior', 'flexae'), ('synthetic_2d',))
_5D = ('synthetic_5d',)
GALLERIES = ('fig4', *(f'fig{number}' for number in range(6, 13)))  # images of networks
_ORDINALS = {7: 'First', 8: 'Second', 9: 'Third', 10: 'Fourth', 11: 'Fifth'}
ARTIFACTS = {
    'table1': Artifact(
        'Fréchet distances of 13 methods', _table_1, IN_TABLE_1, seeds=None, shared=True
    ),
    'table2': Artifact('Precision and recall', _table_1, IN_TABLE_1, seeds=None, shared=True),
    'table3': Artifact('Fréchet distance by latent size', _table_3, *_IN_TABLE_3),
    'fig2': Artifact('Priors over training', _figure_2, *_IN_FIGURE_2, SEEDS),
    'fig3': Artifact('Latent spaces of six Gaussians', _figure_3, *_IN_FIGURE_3, SEEDS),
    'fig4': Artifact('Attributes, interpolations, neighbours', _gallery),
    'fig5': Artifact('Six capacities of P-GEN on few examples', _figure_5),
    'fig6': Artifact('Reconstructions and samples', _gallery),
    **{f'fig{n}': Artifact(f'{word} attribute', _gallery) for n, word in _ORDINALS.items()},
    'fig12': Artifact('Nearest training examples of samples', _figure_12),
    'theorem1': Artifact(
        'Latent sizes of a fixed and a learned prior',
        _theorem_1,
        (paper.FIXED, paper.FLEXAE),
        _5D,
        SEEDS,
    ),
    'theorem2': Artifact('P-GEN input sizes', _theorem_2, datasets=_5D, seeds=SEEDS),
    'reconstructions': Artifact(
        'Similarity of reconstructions', _reconstructions, paper.METHODS, seeds=None, shared=True
    ),
    'joint': Artifact('Joint and later training', _joint, ('flexae', 'ae_gmm'), seeds=SEEDS),
    'methods': Artifact('Every method side by side', _methods, methods.AUTOENCODERS, shared=True),
}
