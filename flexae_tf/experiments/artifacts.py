"""The paper's tables and figures: which runs each of them needs, and how those are scored.

Runs that two of them need are the same run: it has the same name and workdir, and is trained once.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

from flexae_tf.config import ReproduceConfig
from flexae_tf.errors import UsageError
from flexae_tf.experiments import paper, runs

IMAGES = tuple(paper.DATASETS)
# The paper tells of three executions of its own method; its strongest rivals get as many.
REPEATED = ('flexae', 'wae_gan', 'rae_gmm', 'two_stage_vae')
SEEDS = 3
SNAPSHOTS = 500  # iterations between the points of Fig. 2's curves
NOISE_DIMS = (2, 3, 5, 10, 50)  # around the five true dimensions of synthetic_5d
CAPACITIES = tuple(f'capacity_{i}' for i in range(1, 7))
SUBSET = 5000  # training images of Fig. 5


class Artifact(NamedTuple):
    """A table, a figure, or an experiment on a claim of the paper.

    Attributes:
        title: what it shows.
        datasets: what it is about.
        plan: its runs on one data set.
    """

    title: str
    datasets: tuple[str, ...]
    plan: Callable[[ReproduceConfig, str], Iterator[runs.Run]]


def plan(config: ReproduceConfig) -> list[runs.Run]:
    """The runs of the artifacts asked for: all of them, or the share of `config.shard`.

    Raises:
        UsageError: an artifact is not about the data set asked for, or wrong flags.
    """
    planned: dict[str, runs.Run] = {}
    for name in config.artifact.split(','):
        for run in itertools.chain.from_iterable(
            ARTIFACTS[name].plan(config, dataset) for dataset in datasets(config, name)
        ):
            known = planned.get(run.name, run)
            scorings = tuple(dict.fromkeys(known.scorings + run.scorings))
            planned[run.name] = dataclasses.replace(known, scorings=scorings)
    # What is run first tells most: one run of everything, before a second seed of anything.
    ordered = sorted(planned.values(), key=lambda run: run.config.seed)
    index, count = config.share()
    return ordered[index::count]


def datasets(config: ReproduceConfig, name: str) -> list[str]:
    """The data sets of an artifact: those of the scale, or `config.dataset` alone.

    Raises:
        UsageError: the artifact is not about this one.
    """
    known = ARTIFACTS[name].datasets
    if config.dataset is None:
        return [d for d in known if d in runs.SCALES[config.scale].datasets]
    if config.dataset not in known:
        raise UsageError(
            f'--dataset={config.dataset}: {name} is about {", ".join(known)}; give one of these'
        )
    return [config.dataset]


def seeds(config: ReproduceConfig, method: str) -> range:
    """The seeds of the runs of a method, from `config.seed` on."""
    count = config.seeds or (SEEDS if method in REPEATED else 1)
    return range(config.seed, config.seed + count)


def _tables_1_and_2(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    for method in paper.METHODS:
        if method == 'injflow_gmm':
            continue  # a second scoring of the run of injflow
        scorings = [_on_images(config, dataset)]
        if method == 'injflow':
            scorings.append(_on_images(config, dataset, '--ex_post=gaussian_mixture'))
        for seed in seeds(config, method):
            yield runs.method_run(config, method, dataset, seed=seed, scorings=scorings)


def _table_3(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    for multiple, row in paper.TABLE_3.items():
        for method in row[dataset]:
            options = {'latent_dim': multiple * paper.BASE_LATENT_DIMS[dataset]}
            yield runs.method_run(
                config, method, dataset, options=options, scorings=[_on_images(config, dataset)]
            )


def _figure_5(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    scale = runs.SCALES[config.scale]
    test = _on_images(config, dataset)
    train = runs.scoring_flags(config, dataset, split='train', kinds='rec,gen', metrics='fd')
    for generator in CAPACITIES:
        options = {'generator': generator, 'train_examples': SUBSET}
        options['training_steps'] = config.training_steps or scale.subset_steps
        yield runs.method_run(
            config,
            'flexae',
            dataset,
            options=options,
            scorings=[test, (*train, f'--num_examples={SUBSET}')],
        )


def _figure_2(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    scoring = runs.scoring_flags(config, dataset, split='test', kinds='gen,codes', metrics='fd')
    for method in ('wae_normal', 'flexae'):
        for seed in _synthetic_seeds(config):
            yield runs.method_run(
                config,
                method,
                dataset,
                seed=seed,
                options={'snapshot_steps': SNAPSHOTS},
                scorings=[(*scoring, '--checkpoint=all')],
            )


def _figure_3(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    scoring = runs.scoring_flags(
        config, dataset, split='test', kinds='rec,gen,floor,codes', metrics='fd'
    )
    models = [('vae', {}), ('wae_normal', {})]
    models += [('wae_gmm_prior', {'mixture': mixture}) for mixture in ('data', 'circle')]
    for method, options in [*models, ('flexae', {})]:
        for seed in _synthetic_seeds(config):
            yield runs.method_run(
                config, method, dataset, seed=seed, options=options, scorings=[scoring]
            )


def _theorem_2(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    scoring = runs.scoring_flags(config, dataset, split='test', kinds='rec,gen,codes', metrics='fd')
    for noise_dim in NOISE_DIMS:
        for seed in _synthetic_seeds(config):
            yield runs.method_run(
                config,
                'flexae',
                dataset,
                seed=seed,
                options={'noise_dim': noise_dim, 'snapshot_steps': SNAPSHOTS},
                scorings=[scoring],
            )


def _joint(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    for seed in seeds(config, 'flexae'):
        for method, densities in (
            ('flexae', (None, 'gaussian_mixture')),
            ('ae_gmm', (None, 'latent_gan')),
        ):
            scorings = [
                _on_images(config, dataset, *([f'--ex_post={density}'] if density else []))
                for density in densities
            ]
            yield runs.method_run(config, method, dataset, seed=seed, scorings=scorings)


def _gallery(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    yield runs.method_run(config, 'flexae', dataset)


def _on_images(config: ReproduceConfig, dataset: str, *flags: str) -> tuple[str, ...]:
    """The scoring of Tables 1 to 3, and that of the codes."""
    common = runs.scoring_flags(
        config, dataset, split='test', kinds='rec,gen,floor,codes', metrics='fd,kd,prd'
    )
    return (*common, *flags)


def _synthetic_seeds(config: ReproduceConfig) -> range:
    return range(config.seed, config.seed + (config.seeds or SEEDS))


ARTIFACTS = {
    'table1': Artifact('Frechet distances of 13 methods', IMAGES, _tables_1_and_2),
    'table2': Artifact('Precision and recall', IMAGES, _tables_1_and_2),
    'table3': Artifact('Frechet distance by latent size', tuple(paper.BASE_LATENT_DIMS), _table_3),
    'fig2': Artifact('A fixed and a learned prior over training', ('synthetic_5d',), _figure_2),
    'fig3': Artifact('Latent spaces of six Gaussians', ('synthetic_2d',), _figure_3),
    'fig5': Artifact('Six capacities of P-GEN on few examples', IMAGES, _figure_5),
    'fig4': Artifact('Attributes, interpolations, neighbours', IMAGES, _gallery),
    'fig6': Artifact('Reconstructions and samples', IMAGES, _gallery),
    'fig7': Artifact('First attribute', IMAGES, _gallery),
    'fig8': Artifact('Second attribute', IMAGES, _gallery),
    'fig9': Artifact('Third attribute', IMAGES, _gallery),
    'fig10': Artifact('Fourth attribute', IMAGES, _gallery),
    'fig11': Artifact('Fifth attribute', IMAGES, _gallery),
    'fig12': Artifact('Nearest training examples of samples', IMAGES, _gallery),
    'theorem2': Artifact('P-GEN inputs around the true size', ('synthetic_5d',), _theorem_2),
    'joint': Artifact('Joint training and a sampler fitted afterwards', IMAGES, _joint),
}
