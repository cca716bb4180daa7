"""Plans: the jobs that an artifact (a table, a figure or an experiment) needs.

A job is one training, the densities fitted to its codes, and its evaluations, as flags of the
programs. Artifacts that need the same training share the job. Nothing here imports TensorFlow: a
job is defined by its flags, and its progress by the files in its workdir.
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
from flexae_tf.config.options import find_flagfile, from_arguments
from flexae_tf.config.train import training_flagfiles
from flexae_tf.errors import UsageError, UserError
from flexae_tf.evaluation import score_log
from flexae_tf.experiments import paper
from flexae_tf.files import read_jsonl
from flexae_tf.training.workdir import Workdir

VECTORS = ('synthetic_2d', 'synthetic_5d')
IMAGES = tuple(paper.DATASETS)
NETWORK = ('features', 'feature_layer', 'data_dir', 'inception_path')  # flags for scores of images
REPEATED = ('flexae', 'wae_gan', 'rae_gmm', 'two_stage_vae')  # three seeds in Tables 1 and 2
SEEDS = 3  # the paper reports three executions of FlexAE
SNAPSHOTS = {'snapshot_every_steps': 500}  # points of Fig. 2's curves
SUBSET = 5000  # training images of Fig. 5
ALL_SETS = 'reconstructions,samples,train,latents'


class Scale(NamedTuple):
    """Size of the runs of an experiment.

    Attributes:
        flagfile: training flags that follow the flags of method and data set; or None.
            A file SCALE/METHOD_DATASET.flags follows it.
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
    'paper': Scale(None, 10_000, ('mnist', 'cifar10', 'celeba', *VECTORS), 30_000),
    'small': Scale('small/all.flags', 5_000, ('mnist', *VECTORS), 3000, 3000),
    'smoke': Scale('smoke.flags', 50, ('digits', *VECTORS), 6, 6),
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
        changed = {k: v for k, v in self.resolved.identity().items() if v != defaults[k]}
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
        path = self.workdir.scores
        return score_log.completed(path, evaluation.request, digest) if digest else None

    def commands(self, *, missing: bool = False) -> list[Command]:
        """Returns the commands of the job, or only those that are still `missing`.

        A missing evaluation needs the training, which verifies its last checkpoint.
        """
        workdir = f'--workdir={self.workdir.path}'
        found = [Command('train', (*self.train, workdir))]
        for evaluation in self.evaluations:
            if missing and self.scores(evaluation) is not None:
                continue
            if evaluation.fit:
                found.append(Command('fit', (workdir, *evaluation.fit)))
            found.append(Command('evaluate', (workdir, *evaluation.flags)))
        return found if not missing or len(found) > 1 or not self.digest else []

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
        if not self.commands(missing=True):
            return 'finished'
        if self.digest:
            return 'trained, not evaluated'
        step = self.step()
        return f'at step {step} of {self.steps}' if step else 'not started'

    def pace(self, density: str | None = None) -> tuple[float, int] | None:
        """Returns median iterations per second and last step of the training, or of a density's.

        None if nothing was recorded.
        """
        part = pathlib.Path('densities', f'{self.steps:09d}', density) if density else ''
        lines = read_jsonl(self.workdir.path / part / 'perf.jsonl')
        paces = [line['perf/steps_per_sec'] for line in lines if 'perf/steps_per_sec' in line]
        return (statistics.median(paces), lines[-1]['step']) if paces else None

    def info(self) -> dict[str, Any]:
        """Returns the line about the run that precedes its scores in recorded results."""
        try:
            noted = json.loads((self.workdir.path / 'environment.json').read_text())
            packages = {name: v for name, v in noted['packages'].items() if v}
            environment = {'code': noted['code'], 'Python': noted['python'], **packages}
            machine = noted['device'] or 'unknown'
        except (OSError, ValueError, KeyError):
            environment, machine = {}, 'unknown'
        pace, seconds = self.pace(), {}
        for name in {e.density for e in self.evaluations if e.density}:
            if densities.find(name).trained_by_steps:
                own = self.pace(name)
                seconds[name] = round(own[1] / own[0], 1) if own else None
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
            'density_seconds': seconds,
        }


Plan = Callable[[ReproduceConfig, str, str], Iterator[Job]]


class Artifact(NamedTuple):
    """A table, a figure, or an experiment on a claim of the paper.

    Attributes:
        title: short title.
        plan: (config, data set, method) -> jobs.
        methods: default methods.
        datasets: default data sets.
    """

    title: str
    plan: Plan
    methods: tuple[str, ...] = ('flexae',)
    datasets: tuple[str, ...] = IMAGES


def plan(config: ReproduceConfig) -> list[Job]:
    """Returns the jobs of `config.artifact`, restricted to the share of `config.shard`.

    Raises:
        UsageError: the artifact does not apply to `config.dataset`, or invalid flags.
    """
    planned: dict[str, Job] = {}
    for name in config.artifact.split(','):
        chosen = config.methods.split(',') if config.methods else ARTIFACTS[name].methods
        for dataset in datasets(config, name):
            for job in (j for m in chosen for j in ARTIFACTS[name].plan(config, dataset, m)):
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
    known, dataset = ARTIFACTS[name].datasets, config.dataset
    of_vectors = known[0] in VECTORS
    if dataset is None:
        available = SCALES[config.scale].datasets
        found = [name for name in known if name in available]
        return found or [name for name in available if name not in VECTORS][:1]
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
    """Returns the job of a method on a data set as their flagfiles and the scale define it.

    Its name states only what differs from these, so equal trainings have equal names.

    Args:
        config: scale, seed and paths.
        method: name of a method.
        dataset: name of a data set.
        seed: of the run; `config.seed` if None.
        options: training options.

    Raises:
        UsageError: a flagfile is missing, or invalid flags.
    """
    scale = scale_of(config, dataset)
    files = flagfiles(method, dataset, scale)
    planned = train_config(files)
    wanted = {'training_steps': config.training_steps} if config.training_steps else {}
    wanted |= options or {}
    changed = {k: v for k, v in wanted.items() if _text(v) != _text(getattr(planned, k))}
    changed['seed'] = config.seed if seed is None else seed
    stated = {*planned.identity(), 'training_steps'}
    parts = [f'{key}={_text(value)}' for key, value in changed.items() if key in stated]
    paths = () if dataset in VECTORS else ('data_dir', 'download')
    flags = (*_flags(changed), *_given(config, *paths, 'device', 'jit_compile'))
    name = '-'.join([method.replace(':', '.'), dataset, scale, *parts])
    return Job(name, pathlib.Path(os.path.abspath(config.output_dir)), (*files, *flags))


def evaluated(
    config: ReproduceConfig,
    base: Job,
    *,
    sets: str,
    metrics: str = 'fd',
    split: str = 'test',
    density: str | None = None,
    checkpoint: str | None = None,
    num_examples: int | None = None,
) -> Job:
    """Returns a job with one more evaluation.

    Args:
        config: scale and paths.
        base: the job.
        sets, metrics, split, density: as in the evaluation program; None for the method's own
            density.
        checkpoint: 'all'; the last one if None.
        num_examples: on each side of a score; the scale's if None.
    """
    method, dataset = base.config.method, base.config.dataset
    scale = SCALES[scale_of(config, dataset)]
    own = methods.find(method).density
    used = density or own
    on_vectors = dataset in VECTORS
    fit: tuple[str, ...] = ()
    if used:
        fit = (f'--checkpoint={base.steps}', f'--density={used}')
        if scale.density_steps and densities.find(used).trained_by_steps:
            fit += (f'--density_steps={scale.density_steps}',)
        fit += _given(config, *(() if on_vectors else ('data_dir',)), 'device')
    flags = (
        f'--checkpoint={checkpoint or base.steps}',
        f'--split={split}',
        f'--sets={sets}',
        f'--metrics={metrics}',
        f'--num_examples={num_examples or config.num_examples or scale.num_examples}',
        *([f'--density={density}'] if density else []),
        *_given(config, *(() if on_vectors else NETWORK), 'cache_dir', 'device'),
    )
    row = method
    if density not in (None, own):
        specs = methods.METHODS.values()
        fitted = {spec.fitted_from: spec.name for spec in specs if spec.fitted_from}
        row = fitted.get((method, density), f'{method}+{density}')
    found = (*base.evaluations, Evaluation(row, used, fit, flags))
    return dataclasses.replace(base, evaluations=found)


def scale_of(config: ReproduceConfig, dataset: str) -> str:
    """Returns the scale on a data set; small runs on synthetic data have the paper's size."""
    return 'paper' if dataset in VECTORS and config.scale == 'small' else config.scale


def flagfiles(method: str, dataset: str, scale: str) -> tuple[str, ...]:
    """Returns the `--flagfile` flags of a method on a data set at a scale.

    A method from outside the package needs no flagfile: `--method` stands in its place.

    Raises:
        UsageError: a flagfile is missing.
    """
    files = training_flagfiles(method, dataset)
    if SCALES[scale].flagfile:
        tuned = f'{scale}/{method}_{dataset}.flags'
        files += [SCALES[scale].flagfile, *([tuned] if find_flagfile(tuned) else [])]
    for file in files:
        if not find_flagfile(file):
            raise UsageError(f'--flagfile={file}: missing. Write it, or choose another method.')
    flags = [f'--flagfile={file}' for file in files]
    if scale == 'smoke':  # smoke.flags has another data set, and a latent size for images
        flags += [f'--dataset={dataset}', *(['--latent_dim=2'] if dataset in VECTORS else [])]
    return (*([f'--method={method}'] if ':' in method else []), *flags)


def train_config(flags: Iterable[str]) -> TrainConfig:
    """Returns the configuration that flags of the training program give."""
    flags = tuple(flags)
    named = [flag.partition('=')[2] for flag in flags if flag.startswith('--method=')]
    return from_arguments(methods.config_class(named[-1]) if named else TrainConfig, flags)


def base_latent_dim(config: ReproduceConfig, dataset: str) -> int:
    """Returns m_b of Table 3; half the data set's latent size where the paper has none."""
    known = paper.BASE_LATENT_DIMS.get(dataset)
    return known or max(1, job(config, paper.FLEXAE, dataset).resolved.latent_dim // 2)


# Plans of the artifacts ---------------------------------------------------------------------------


def _seeds(config: ReproduceConfig, count: int = 1) -> range:
    return range(config.seed, config.seed + (config.seeds or count))


def _like_table_1(
    config: ReproduceConfig, base: Job, *densities: str | None, num: int | None = None
) -> Job:
    """Returns a job that is evaluated like Table 1, once with each density."""
    for density in densities or (None,):
        shared = dict(sets=ALL_SETS, metrics='fd,kid,prd', num_examples=num)
        base = evaluated(config, base, density=density, **shared)
    return base


def _base(method: str) -> tuple[str, tuple[str | None, ...]]:
    """Returns the method that is trained, and the densities to evaluate it with."""
    fitted_from = methods.find(method).fitted_from
    return (fitted_from[0], fitted_from[1:]) if fitted_from else (method, (None,))


def _tables_1_and_2(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    trained, densities = _base(method)
    for seed in _seeds(config, SEEDS if method in REPEATED else 1):
        yield _like_table_1(config, job(config, trained, dataset, seed=seed), *densities)


def _methods(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    """Yields a method as in Table 1, and the same method untrained."""
    trained, densities = _base(method)
    for seed in _seeds(config):
        yield _like_table_1(config, job(config, trained, dataset, seed=seed), *densities)
        untrained = job(config, trained, dataset, seed=seed, options={'training_steps': 0})
        for density in densities:
            untrained = evaluated(config, untrained, sets='samples', density=density)
        yield untrained


def _table_3(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    base = base_latent_dim(config, dataset)
    for multiple in paper.TABLE_3:
        for seed in _seeds(config):
            options = {'latent_dim': multiple * base}
            yield _like_table_1(config, job(config, method, dataset, seed=seed, options=options))


def _figure_5(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    scale = SCALES[config.scale]
    # Distances of fewer examples are larger, and there are at most SUBSET training examples.
    num = min(SUBSET, config.num_examples or scale.num_examples)
    options = {'train_examples': num if config.scale == 'smoke' else SUBSET}
    options['training_steps'] = config.training_steps or scale.subset_steps
    for capacity in range(1, 7):  # models 1 to 6 of Table 8
        for seed in _seeds(config):
            chosen = {'generator_capacity': capacity} | options
            base = job(config, method, dataset, seed=seed, options=chosen)
            base = _like_table_1(config, base, num=num)
            against = dict(split='train', num_examples=num)
            yield evaluated(config, base, sets='reconstructions,samples', **against)


def _joint(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    """Yields runs evaluated with their own prior and with another one fitted afterwards."""
    own = methods.find(method).density
    other = 'latent_gan' if own == 'gaussian_mixture' else 'gaussian_mixture'
    for seed in _seeds(config, SEEDS):
        yield _like_table_1(config, job(config, method, dataset, seed=seed), None, other)


def _gallery(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    yield job(config, method, dataset)


def _on_vectors(
    config: ReproduceConfig,
    dataset: str,
    method: str,
    *choices: Mapping[str, float | str],
    sets: str,
    checkpoint: str | None = None,
) -> Iterator[Job]:
    """Yields jobs for each choice of options; all have snapshots, so artifacts can share them."""
    for options in choices or ({},):
        for seed in _seeds(config, SEEDS):
            base = job(config, method, dataset, seed=seed, options=SNAPSHOTS | options)
            yield evaluated(config, base, sets=sets, checkpoint=checkpoint)


def _figure_2(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    return _on_vectors(config, dataset, method, sets='samples,latents', checkpoint='all')


def _figure_3(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    mixtures = ('data', 'circle') if method == 'wae_gmm_prior' else ()
    return _on_vectors(config, dataset, method, *({'mixture': m} for m in mixtures), sets=ALL_SETS)


def _theorem_2(config: ReproduceConfig, dataset: str, method: str) -> Iterator[Job]:
    sizes = ({'noise_dim': noise_dim} for noise_dim in paper.NOISE_DIMS)
    return _on_vectors(config, dataset, method, *sizes, sets='reconstructions,samples,latents')


_IN_FIG_3 = ('vae', 'wae_normal', 'wae_gmm_prior', 'flexae')
_IN_TABLE_3 = ((paper.WAE, paper.FLEXAE), tuple(paper.BASE_LATENT_DIMS))
_ORDINALS = {7: 'First', 8: 'Second', 9: 'Third', 10: 'Fourth', 11: 'Fifth'}
ARTIFACTS = {
    'table1': Artifact('Fréchet distances of 13 methods', _tables_1_and_2, paper.METHODS),
    'table2': Artifact('Precision and recall', _tables_1_and_2, paper.METHODS),
    'table3': Artifact('Fréchet distance by latent size', _table_3, *_IN_TABLE_3),
    'fig2': Artifact(
        'Two priors over training', _figure_2, ('wae_normal', 'flexae'), ('synthetic_5d',)
    ),
    'fig3': Artifact('Latent spaces of six Gaussians', _figure_3, _IN_FIG_3, ('synthetic_2d',)),
    'fig4': Artifact('Attributes, interpolations, neighbours', _gallery),
    'fig5': Artifact('Six capacities of P-GEN on few examples', _figure_5),
    'fig6': Artifact('Reconstructions and samples', _gallery),
    **{f'fig{n}': Artifact(f'{word} attribute', _gallery) for n, word in _ORDINALS.items()},
    'fig12': Artifact('Nearest training examples of samples', _gallery),
    'theorem2': Artifact('P-GEN input sizes', _theorem_2, datasets=('synthetic_5d',)),
    'joint': Artifact('Joint and later training', _joint, ('flexae', 'ae_gmm')),
    'methods': Artifact('Every method side by side', _methods, methods.AUTOENCODERS),
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
