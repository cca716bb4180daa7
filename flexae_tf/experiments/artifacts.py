"""The paper's tables and figures: which runs each of them needs, and how those are scored.

Runs that two of them need are the same run: it has the same name and workdir, and is trained once.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from flexae_tf.config import METHODS, ReproduceConfig
from flexae_tf.config.names import FITTED
from flexae_tf.errors import UsageError
from flexae_tf.experiments import paper, planning, runs

IMAGES = tuple(paper.DATASETS)
# The paper tells of three executions of its own method; its strongest rivals get as many.
REPEATED = ('flexae', 'wae_gan', 'rae_gmm', 'two_stage_vae')
SEEDS = 3
SNAPSHOTS = 500  # iterations between the points of Fig. 2's curves
NOISE_DIMS = (2, 3, 5, 10, 50)  # around the five true dimensions of synthetic_5d
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
        return [d for d in known if d in planning.SCALES[config.scale].datasets]
    if config.dataset not in known:
        raise UsageError(
            f'--dataset={config.dataset}: {name} is about {", ".join(known)}; give one of these'
        )
    return [config.dataset]


def seeds(config: ReproduceConfig, count: int = 1) -> range:
    """The seeds of runs, from `config.seed` on: as many as asked for, or `count`."""
    return range(config.seed, config.seed + (config.seeds or count))


def trained(methods: Iterable[str]) -> Iterator[tuple[str, tuple[str | None, ...]]]:
    """Of these methods those that are trained, and the densities, None for their own, to score.

    The others are theirs with a density.
    """
    for method in methods:
        if method not in FITTED.values():
            yield method, (None, *(density for of, density in FITTED if of == method))


def _tables_1_and_2(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    for method, densities in trained(paper.METHODS):
        for seed in seeds(config, SEEDS if method in REPEATED else 1):
            yield _on_images(config, method, dataset, seed=seed, densities=densities)


def _methods(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    """Every method, and what it is before it is trained."""
    for method, densities in trained(METHODS):
        scorings = [
            planning.scoring_flags(
                config, method, dataset, split='test', sets='samples', metrics='fd', density=density
            )
            for density in densities
        ]
        for seed in seeds(config):
            yield _on_images(config, method, dataset, seed=seed, densities=densities)
            yield planning.method_run(
                config,
                method,
                dataset,
                seed=seed,
                options={'training_steps': 0},
                scorings=scorings,
            )


def _table_3(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    for multiple, row in paper.TABLE_3.items():
        options = {'latent_dim': multiple * paper.BASE_LATENT_DIMS[dataset]}
        for method, seed in itertools.product(row[dataset], seeds(config)):
            yield _on_images(config, method, dataset, seed=seed, options=options)


def _figure_5(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    steps = config.training_steps or planning.SCALES[config.scale].subset_steps
    # Distances of fewer examples are larger, and there are no more training examples than these.
    num = min(SUBSET, planning.num_examples(config, dataset))
    config = dataclasses.replace(config, num_examples=num)
    trained_on = planning.scoring_flags(
        config, 'flexae', dataset, split='train', sets='reconstructions,samples', metrics='fd'
    )
    for generator, seed in itertools.product(range(1, 7), seeds(config)):  # Table 8's
        run = _on_images(
            config,
            'flexae',
            dataset,
            seed=seed,
            options={
                'generator_capacity': generator,
                'train_examples': SUBSET,
                'training_steps': steps,
            },
        )
        yield dataclasses.replace(run, scorings=(*run.scorings, trained_on))


def _joint(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    for seed in seeds(config, SEEDS):
        for method, density in (('flexae', 'gaussian_mixture'), ('ae_gmm', 'latent_gan')):
            yield _on_images(config, method, dataset, seed=seed, densities=(None, density))


def _gallery(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    yield planning.method_run(config, 'flexae', dataset)


def _figure_2(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    for method in ('wae_normal', 'flexae'):
        yield from _on_vectors(
            config, method, dataset, sets='samples,latents', scored=('--checkpoint=all',)
        )


def _figure_3(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    models = [('vae', {}), ('wae_normal', {})]
    models += [('wae_gmm_prior', {'mixture': mixture}) for mixture in ('data', 'circle')]
    for method, options in [*models, ('flexae', {})]:
        yield from _on_vectors(
            config, method, dataset, options=options, sets='reconstructions,samples,train,latents'
        )


def _theorem_2(config: ReproduceConfig, dataset: str) -> Iterator[runs.Run]:
    for noise_dim in NOISE_DIMS:
        options = {'noise_dim': noise_dim}
        yield from _on_vectors(
            config, 'flexae', dataset, options=options, sets='reconstructions,samples,latents'
        )


def _on_images(
    config: ReproduceConfig,
    method: str,
    dataset: str,
    *,
    seed: int | None = None,
    options: Mapping[str, float | str] | None = None,
    densities: Sequence[str | None] = (None,),
) -> runs.Run:
    """A run that is scored as Tables 1 to 3 are, and its codes; once with each density."""
    scorings = [
        planning.scoring_flags(
            config,
            method,
            dataset,
            split='test',
            sets='reconstructions,samples,train,latents',
            metrics='fd,kd,prd',
            density=density,
        )
        for density in densities
    ]
    return planning.method_run(
        config, method, dataset, seed=seed, options=options, scorings=scorings
    )


def _on_vectors(
    config: ReproduceConfig,
    method: str,
    dataset: str,
    *,
    sets: str,
    options: Mapping[str, float | str] | None = None,
    scored: tuple[str, ...] = (),
) -> Iterator[runs.Run]:
    """Runs of some seeds that are scored by Frechet distance, and their codes."""
    scoring = planning.scoring_flags(config, method, dataset, split='test', sets=sets, metrics='fd')
    # Snapshots cost next to nothing here, and runs that two artifacts share must have them.
    options = {'snapshot_every_steps': SNAPSHOTS} | dict(options or {})
    for seed in seeds(config, SEEDS):
        yield planning.method_run(
            config, method, dataset, seed=seed, options=options, scorings=[(*scoring, *scored)]
        )


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
    'methods': Artifact('Every method side by side', IMAGES, _methods),
}
