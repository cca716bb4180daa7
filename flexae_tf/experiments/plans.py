"""Plans: the jobs that an artifact (a table, a figure or an experiment) needs.

A job is one training, the densities fitted to its codes and its evaluations, as flags of the
programs. Artifacts that need the same training share the job, so it is trained once. Nothing here
imports TensorFlow: flags tell what a job is, its workdir tells how far it is.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from flexae_tf import data, densities, methods
from flexae_tf.config import EvaluateConfig, ReproduceConfig, ResolvedConfig, TrainConfig
from flexae_tf.errors import UsageError, UserError
from flexae_tf.evaluation import score_log
from flexae_tf.experiments import paper
from flexae_tf.experiments.seam import find_flagfile, from_arguments
from flexae_tf.files import read_jsonl
from flexae_tf.training.workdir import Workdir

VECTORS = ('synthetic_2d', 'synthetic_5d')
IMAGES = tuple(paper.DATASETS)
NETWORK = ('features', 'feature_layer', 'data_dir', 'inception_path')  # flags for scores of images
REPEATED = ('flexae', 'wae_gan', 'rae_gmm', 'two_stage_vae')  # three seeds in Tables 1 and 2
SEEDS = 3  # the paper reports three executions of FlexAE
SNAPSHOT_STEPS = 500  # between the points of Fig. 2's curves
SUBSET = 5000  # training images of Fig. 5


class Scale(NamedTuple):
    """Size of the runs of an experiment.

    Attributes:
        flagfile: training flags of all methods, after their own flagfiles; None for none. Files
            `SCALE/METHOD_DATASET.flags` follow it.
        num_examples: on each side of a score, at most.
        datasets: default data sets.
        subset_steps: iterations of trainings on few examples (Fig. 5).
        density_steps: iterations of densities that are trained; None for their default.
    """

    flagfile: str | None
    num_examples: int
    datasets: tuple[str, ...]
    subset_steps: int
    density_steps: int | None = None


SCALES = {
    'paper': Scale(None, 10_000, ('mnist', 'cifar10', 'celeba', *VECTORS), subset_steps=30_000),
    'small': Scale('small/all.flags', 5_000, ('mnist', *VECTORS), 3000, density_steps=3000),
    'smoke': Scale('smoke.flags', 50, ('digits', *VECTORS), subset_steps=6, density_steps=6),
}


class Command(NamedTuple):
    """A program and its flags."""

    program: str
    flags: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """An evaluation of a job.

    Attributes:
        method: row of tables that its scores belong to.
        density: density that is fitted for it; None for none.
        fit: flags of the fit program; empty if no density is fitted.
        flags: flags of the evaluation program, without `--workdir`.
    """

    method: str
    density: str | None
    fit: tuple[str, ...]
    flags: tuple[str, ...]

    @functools.cached_property
    def config(self) -> EvaluateConfig:
        """Configuration that the flags give."""
        return from_arguments(EvaluateConfig, ('--workdir=.', *self.flags))

    @property
    def request(self) -> str:
        """Hash of the configuration, as in scores.jsonl."""
        return self.config.identity_hash()


@dataclasses.dataclass(frozen=True)
class Job:
    """One training and its evaluations.

    Attributes:
        name: unique name; the workdir is OUTPUT_DIR/runs/NAME.
        output: folder of the experiments, absolute.
        train: flags of the training program, without `--workdir`.
        evaluations: in the order in which they are run.

    Raises:
        UsageError: invalid flags.
    """

    name: str
    output: pathlib.Path
    train: tuple[str, ...]
    evaluations: tuple[Evaluation, ...] = ()

    def __post_init__(self) -> None:
        _ = self.config, [evaluation.request for evaluation in self.evaluations]

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
        defaults = {field.name: field.default for field in dataclasses.fields(self.config)}
        identity = self.resolved.identity()
        changed = {name: v for name, v in identity.items() if v != defaults[name]}
        return changed | {'training_steps': self.steps}

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
        path = self.workdir.checkpoints / f'ckpt-{self.steps:09d}.manifest.json'
        try:
            self.check()
            return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        except (UserError, OSError):
            return None

    def check(self) -> None:
        """Raises `UserError` if the workdir holds a run of another configuration."""
        self.workdir.check(self.resolved)

    def scores(self, evaluation: Evaluation) -> list[dict[str, Any]] | None:
        """Returns the lines of an evaluation of the last checkpoint; None if it is not complete."""
        digest = self.digest
        if digest is None:
            return None
        return score_log.completed(self.workdir.scores, evaluation.request, digest)

    def commands(self) -> list[Command]:
        """Returns all commands of the job, complete or not."""
        return self._commands(self.evaluations)

    def missing(self) -> list[Command]:
        """Returns the commands still to be run.

        The training comes first even if it is complete: it verifies its last checkpoint.
        """
        left = [e for e in self.evaluations if self.scores(e) is None]
        return self._commands(left) if left or not self.digest else []

    def _commands(self, evaluations: Iterable[Evaluation]) -> list[Command]:
        workdir = f'--workdir={self.workdir.path}'
        found = [Command('train', (*self.train, workdir))]
        for evaluation in evaluations:
            if evaluation.fit:
                found.append(Command('fit', (workdir, *evaluation.fit)))
            found.append(Command('evaluate', (workdir, *evaluation.flags)))
        return found

    def step(self) -> int:
        """Returns the step of the newest checkpoint; 0 if there is none."""
        paths = self.workdir.checkpoints.glob('ckpt-*.manifest.json')
        return max((int(path.name[5:14]) for path in paths), default=0)

    def state(self) -> str:
        """Returns the progress in words."""
        try:
            self.check()
        except UserError as error:
            return str(error)
        if not self.missing():
            return 'finished'
        if self.digest:
            return 'trained, not evaluated'
        step = self.step()
        return f'at step {step} of {self.steps}' if step else 'not started'

    def pace(self, density: str | None = None) -> float | None:
        """Returns the median iterations per second of the training, or of a density's.

        None if nothing was recorded.
        """
        folder = self.workdir.path
        if density:
            folder = folder / 'densities' / f'{self.steps:09d}' / density
        lines = read_jsonl(folder / 'perf.jsonl')
        paces = [line['perf/steps_per_sec'] for line in lines if 'perf/steps_per_sec' in line]
        return statistics.median(paces) if paces else None

    def info(self) -> dict[str, Any]:
        """Returns the line about the run that precedes its scores in recorded results."""
        try:
            noted = json.loads((self.workdir.path / 'environment.json').read_text())
            packages = {name: v for name, v in noted['packages'].items() if v}
            environment = {'code': noted['code'], 'Python': noted['python'], **packages}
            machine = noted['device'] or 'unknown'
        except (OSError, ValueError, KeyError):
            environment, machine = {}, 'unknown'
        pace = self.pace()
        seconds = {}
        for evaluation in self.evaluations:
            name = evaluation.density
            if name and densities.find(name).trained_by_steps:
                speed = self.pace(name)
                path = self.workdir.path / 'densities' / f'{self.steps:09d}' / name / 'perf.jsonl'
                steps = read_jsonl(path)[-1]['step'] if speed else 0
                seconds[name] = round(steps / speed, 1) if speed else None
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
            'seconds': round(self.steps / pace, 1) if pace else None,
            'density_seconds': seconds,
        }


class Artifact(NamedTuple):
    """A table, a figure, or an experiment on a claim of the paper.

    Attributes:
        title: short title.
        datasets: default data sets.
        methods: default methods.
        plan: yields the jobs of one method on one data set.
    """

    title: str
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    plan: Callable[[ReproduceConfig, str, str], Iterator[Job]]


def plan(config: ReproduceConfig) -> list[Job]:
    """Returns the jobs of `config.artifact`, restricted to the share of `config.shard`.

    Raises:
        UsageError: the artifact does not apply to `config.dataset`, or invalid flags.
    """
    planned: dict[str, Job] = {}
    for name in config.artifact.split(','):
        artifact = ARTIFACTS[name]
        chosen = config.methods.split(',') if config.methods else artifact.methods
        for dataset in datasets(config, name):
            for method in chosen:
                for job in artifact.plan(config, dataset, method):
                    known = planned.get(job.name, job)
                    both = tuple(dict.fromkeys(known.evaluations + job.evaluations))
                    planned[job.name] = dataclasses.replace(known, evaluations=both)
    # One run of everything comes before a second seed of anything.
    ordered = sorted(planned.values(), key=lambda job: job.config.seed)
    index, count = config.share()
    return ordered[index::count]


def datasets(config: ReproduceConfig, name: str) -> list[str]:
    """Returns the data sets of an artifact: `config.dataset`, or the default ones of the scale.

    Raises:
        UsageError: the artifact does not apply to `config.dataset`.
    """
    known = ARTIFACTS[name].datasets
    if config.dataset is None:
        available = SCALES[config.scale].datasets
        found = [dataset for dataset in known if dataset in available]
        return found or [dataset for dataset in available if dataset not in VECTORS][:1]
    vectors = config.dataset in VECTORS
    if vectors != (known[0] in VECTORS) or (vectors and config.dataset not in known):
        needed = ', '.join(known) if known[0] in VECTORS else 'a data set of images'
        raise UsageError(f'--dataset={config.dataset}: {name} needs {needed}. Choose another one.')
    return [config.dataset]


def job(
    config: ReproduceConfig,
    method: str,
    dataset: str,
    *,
    seed: int | None = None,
    options: Mapping[str, float | str] | None = None,
    evaluations: Iterable[Evaluation] = (),
) -> Job:
    """Returns the job of a method on a data set as their flagfiles and the scale define it.

    Its name states only what differs from these, so equal trainings have equal names.

    Args:
        config: scale, seed and paths.
        method: name of a method.
        dataset: name of a data set.
        seed: of the run; `config.seed` if None.
        options: training options.
        evaluations: of the job.

    Raises:
        UsageError: a flagfile is missing, or invalid flags.
    """
    name = scale_of(config, dataset)
    files = flagfiles(method, dataset, name)
    planned = train_config(files)
    wanted = {'training_steps': config.training_steps} if config.training_steps else {}
    wanted |= options or {}
    changed = {k: v for k, v in wanted.items() if _text(v) != _text(getattr(planned, k))}
    changed['seed'] = config.seed if seed is None else seed
    stated = {*planned.identity(), 'training_steps'}
    parts = [f'{key}={_text(value)}' for key, value in changed.items() if key in stated]
    paths = () if dataset in VECTORS else ('data_dir', 'download')
    return Job(
        '-'.join([method.replace(':', '.'), dataset, name, *parts]),
        pathlib.Path(os.path.abspath(config.output_dir)),
        (*files, *_flags(changed), *_given(config, *paths, 'device', 'jit_compile')),
        tuple(evaluations),
    )


def evaluation(
    config: ReproduceConfig,
    method: str,
    job_config: TrainConfig,
    *,
    sets: str,
    metrics: str,
    split: str = 'test',
    density: str | None = None,
    checkpoint: str | None = None,
    num_examples: int | None = None,
) -> Evaluation:
    """Returns an evaluation of a job.

    Args:
        config: scale and paths.
        method: method of the run.
        job_config: configuration of the run.
        sets, metrics, split, density: as in the evaluation program; None for the method's own
            density.
        checkpoint: 'all'; the last one if None.
        num_examples: on each side of a score; the scale's if None.
    """
    steps, dataset = job_config.training_steps, job_config.dataset
    scale = SCALES[scale_of(config, dataset)]
    own = methods.find(method).density
    used = density or own
    trained = used is not None and densities.find(used).trained_by_steps
    length = [f'--density_steps={scale.density_steps}'] if trained and scale.density_steps else []
    chosen = [f'--density={density}'] if density else []
    fit = (f'--checkpoint={steps}', f'--density={used}', *length) if used else ()
    where = () if dataset in VECTORS else NETWORK
    flags = (
        f'--checkpoint={checkpoint or steps}',
        f'--split={split}',
        f'--sets={sets}',
        f'--metrics={metrics}',
        f'--num_examples={num_examples or config.num_examples or scale.num_examples}',
        *chosen,
        *_given(config, *where, 'cache_dir', 'device'),
    )
    fit += _given(config, *(() if dataset in VECTORS else ('data_dir',)), 'device') if fit else ()
    return Evaluation(row_name(method, density), used, fit, flags)


def row_name(method: str, density: str | None) -> str:
    """Returns the row of tables for a method evaluated with a density (None for its own)."""
    if density in (None, methods.find(method).density):
        return method
    names = {spec.fitted_from: spec.name for spec in methods.METHODS.values() if spec.fitted_from}
    return names.get((method, density), f'{method}+{density}')


def scale_of(config: ReproduceConfig, dataset: str) -> str:
    """Returns the scale of runs on a data set; synthetic data have the paper's size at any but
    the smoke scale.
    """
    return 'paper' if dataset in VECTORS and config.scale == 'small' else config.scale


def flagfiles(method: str, dataset: str, scale: str) -> tuple[str, ...]:
    """Returns the `--flagfile` flags of a method on a data set at a scale.

    A method from outside the package needs no flagfile: `--method` stands in its place.

    Raises:
        UsageError: a flagfile is missing.
    """
    own = f'methods/{method}_{dataset}.flags'
    if ':' in method:
        files = [f'--method={method}', f'datasets/{dataset}.flags']
    elif find_flagfile(own):
        files = [own]
    else:
        files = [f'methods/{method}.flags', f'datasets/{dataset}.flags']
    if SCALES[scale].flagfile:
        tuned = f'{scale}/{method}_{dataset}.flags'
        files += [SCALES[scale].flagfile, *([tuned] if find_flagfile(tuned) else [])]
    if scale == 'smoke':  # its own flagfile names a data set
        files.append(f'--dataset={dataset}')
    for file in files:
        if not file.startswith('--') and not find_flagfile(file):
            raise UsageError(f'--flagfile={file}: missing. Write it, or choose another method.')
    return tuple(file if file.startswith('--') else f'--flagfile={file}' for file in files)


def train_config(flags: Iterable[str]) -> TrainConfig:
    """Returns the configuration that flags of the training program give."""
    named = [flag.partition('=')[2] for flag in flags if flag.startswith('--method=')]
    options = methods.config_class(named[-1]) if named else TrainConfig
    return from_arguments(options, tuple(flags))


def method_config(method: str, dataset: str, **options: float | str | bool) -> TrainConfig:
    """Returns the configuration that the flagfiles of a method and a data set give."""
    return train_config((*flagfiles(method, dataset, 'paper'), *_flags(options)))


def _seeds(config: ReproduceConfig, count: int = 1) -> range:
    return range(config.seed, config.seed + (config.seeds or count))


def _on_images(
    config: ReproduceConfig,
    method: str,
    dataset: str,
    *,
    seed: int,
    options: Mapping[str, float | str] | None = None,
    densities: Iterable[str | None] = (None,),
    sets: str = 'reconstructions,samples,train,latents',
    metrics: str = 'fd,kid,prd',
) -> Job:
    """Returns a job that is evaluated like Tables 1 to 3, once with each density."""
    base = job(config, method, dataset, seed=seed, options=options)
    found = [
        evaluation(config, method, base.config, sets=sets, metrics=metrics, density=density)
        for density in densities
    ]
    return dataclasses.replace(base, evaluations=tuple(found))


def _on_vectors(
    config: ReproduceConfig,
    method: str,
    dataset: str,
    *,
    sets: str,
    options: Mapping[str, float | str] | None = None,
    checkpoint: str | None = None,
) -> Iterator[Job]:
    """Yields jobs of some seeds, evaluated by Fréchet distance."""
    # Snapshots are small here, and jobs that two artifacts share must have them.
    options = {'snapshot_every_steps': SNAPSHOT_STEPS} | dict(options or {})
    for seed in _seeds(config, SEEDS):
        base = job(config, method, dataset, seed=seed, options=options)
        scored = evaluation(
            config, method, base.config, sets=sets, metrics='fd', checkpoint=checkpoint
        )
        yield dataclasses.replace(base, evaluations=(scored,))


def _base(method: str) -> tuple[str, tuple[str | None, ...]]:
    """Returns the method that is trained, and the densities to evaluate it with."""
    fitted_from = methods.find(method).fitted_from
    return (fitted_from[0], fitted_from[1:]) if fitted_from else (method, (None,))


def _tables_1_and_2(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    trained, densities = _base(method)
    for seed in _seeds(config, SEEDS if method in REPEATED else 1):
        yield _on_images(config, trained, dataset, seed=seed, densities=densities)


def _methods(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    """Yields every method, and the same method untrained."""
    trained, densities = _base(method)
    for seed in _seeds(config):
        shared = dict(seed=seed, densities=densities)
        yield _on_images(config, trained, dataset, **shared)
        untrained = {'training_steps': 0}
        yield _on_images(
            config, trained, dataset, options=untrained, sets='samples', metrics='fd', **shared
        )


def _table_3(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    base = base_latent_dim(config, dataset)
    for multiple in paper.TABLE_3:
        for seed in _seeds(config):
            options = {'latent_dim': multiple * base}
            yield _on_images(config, method, dataset, seed=seed, options=options)


def base_latent_dim(config: ReproduceConfig, dataset: str) -> int:
    """Returns m_b of Table 3; half the data set's latent size where the paper has none."""
    if dataset in paper.BASE_LATENT_DIMS:
        return paper.BASE_LATENT_DIMS[dataset]
    return max(1, job(config, paper.FLEXAE, dataset).resolved.latent_dim // 2)


def _figure_5(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    scale = SCALES[config.scale]
    steps = config.training_steps or scale.subset_steps
    # Distances of fewer examples are larger, and there are at most SUBSET training examples.
    num = min(SUBSET, config.num_examples or scale.num_examples)
    subset = SUBSET if config.scale != 'smoke' else num
    for capacity in range(1, 7):  # models 1 to 6 of Table 8
        for seed in _seeds(config):
            options = {'generator_capacity': capacity, 'train_examples': subset}
            options['training_steps'] = steps
            base = _on_images(
                dataclasses.replace(config, num_examples=num),
                method,
                dataset,
                seed=seed,
                options=options,
            )
            against_training = evaluation(
                config,
                method,
                base.config,
                split='train',
                sets='reconstructions,samples',
                metrics='fd',
                num_examples=num,
            )
            yield dataclasses.replace(base, evaluations=(*base.evaluations, against_training))


def _joint(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    """Yields runs evaluated with their own prior and with another one fitted afterwards."""
    own = methods.find(method).density
    other = 'latent_gan' if own == 'gaussian_mixture' else 'gaussian_mixture'
    for seed in _seeds(config, SEEDS):
        yield _on_images(config, method, dataset, seed=seed, densities=(None, other))


def _gallery(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    yield job(config, method, dataset)


def _figure_2(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    yield from _on_vectors(config, method, dataset, sets='samples,latents', checkpoint='all')


def _figure_3(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    mixtures = [{'mixture': name} for name in ('data', 'circle')]
    for options in mixtures if method == 'wae_gmm_prior' else [{}]:
        sets = 'reconstructions,samples,train,latents'
        yield from _on_vectors(config, method, dataset, options=options, sets=sets)


def _theorem_2(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    sets = 'reconstructions,samples,latents'
    for noise_dim in paper.NOISE_DIMS:
        yield from _on_vectors(config, method, dataset, options={'noise_dim': noise_dim}, sets=sets)


_FLEXAE = ('flexae',)
ARTIFACTS = {
    'table1': Artifact('Fréchet distances of 13 methods', IMAGES, paper.METHODS, _tables_1_and_2),
    'table2': Artifact('Precision and recall', IMAGES, paper.METHODS, _tables_1_and_2),
    'table3': Artifact(
        'Fréchet distance by latent size',
        tuple(paper.BASE_LATENT_DIMS),
        (paper.WAE, paper.FLEXAE),
        _table_3,
    ),
    'fig2': Artifact(
        'A fixed and a learned prior over training',
        ('synthetic_5d',),
        ('wae_normal', 'flexae'),
        _figure_2,
    ),
    'fig3': Artifact(
        'Latent spaces of six Gaussians',
        ('synthetic_2d',),
        ('vae', 'wae_normal', 'wae_gmm_prior', 'flexae'),
        _figure_3,
    ),
    'fig5': Artifact('Six capacities of P-GEN on few examples', IMAGES, _FLEXAE, _figure_5),
    'fig4': Artifact('Attributes, interpolations, neighbours', IMAGES, _FLEXAE, _gallery),
    'fig6': Artifact('Reconstructions and samples', IMAGES, _FLEXAE, _gallery),
    'fig7': Artifact('First attribute', IMAGES, _FLEXAE, _gallery),
    'fig8': Artifact('Second attribute', IMAGES, _FLEXAE, _gallery),
    'fig9': Artifact('Third attribute', IMAGES, _FLEXAE, _gallery),
    'fig10': Artifact('Fourth attribute', IMAGES, _FLEXAE, _gallery),
    'fig11': Artifact('Fifth attribute', IMAGES, _FLEXAE, _gallery),
    'fig12': Artifact('Nearest training examples of samples', IMAGES, _FLEXAE, _gallery),
    'theorem2': Artifact('P-GEN input sizes', ('synthetic_5d',), _FLEXAE, _theorem_2),
    'joint': Artifact('Joint and later training', IMAGES, ('flexae', 'ae_gmm'), _joint),
    'methods': Artifact('Every method side by side', IMAGES, methods.AUTOENCODERS, _methods),
}


def _flags(options: Mapping[str, float | str]) -> tuple[str, ...]:
    return tuple(f'--{name}={_text(value)}' for name, value in options.items())


def _text(value: float | str | None) -> str:
    return f'{value:.6g}' if isinstance(value, float) else str(value)


def _given(config: ReproduceConfig, *names: str) -> tuple[str, ...]:
    """Returns flags of the options that differ from their defaults, with absolute paths."""
    given = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in names and value != field.default:
            value = os.path.abspath(value) if field.metadata['path'] else value
            given.append(f'--{field.name}={value}')
    return tuple(given)
