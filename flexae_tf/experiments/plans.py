"""Plans: the jobs that an artifact (a table, a figure or an experiment) needs.

Artifacts share jobs.
"""

import dataclasses
import itertools
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from flexae_tf import data, methods
from flexae_tf.config import ReproduceConfig
from flexae_tf.config.options import path_flag
from flexae_tf.errors import UsageError
from flexae_tf.experiments import paper
from flexae_tf.experiments.jobs import (
    SCALES,
    VECTORS,
    Evaluation,
    Job,
    Samples,
    evaluated,
    make_job,
)
from flexae_tf.files import stat_digest

IMAGES = tuple(paper.DATASETS)
# Text and citation of the paper disagree on VAE + FLOW, so both readings are rows.
IN_TABLE_1 = (*paper.METHODS, 'vae_flow_prior')
SEEDS = 3  # the paper reports three executions of FlexAE
SNAPSHOTS = {'snapshot_every_steps': 500}  # points of Fig. 2's curves
# MMD's encoder rates, chosen on validation examples (seed 0; Fréchet distance of samples): 44.3,
# 32.4, 3.30 and 4.82 on synthetic_2d with 0.001, 0.003, 0.01 and 0.03; 8.41, 5.00 and 10.4 on
# synthetic_5d with 0.001, 0.003 and 0.01.
MMD = {
    'synthetic_2d': {'divergence': 'mmd', 'enc_learning_rate': 0.01},
    'synthetic_5d': {'divergence': 'mmd', 'enc_learning_rate': 0.003},
}
SUBSET = 5000  # training images of Fig. 5
VALIDATION = 1000  # validation images that compare averages of batch norm
# Momentum with the effect of the release's 42 updates of 0.99 per iteration: 0.99^42 = 0.66 for one
# update per iteration, its square root and its cube root for two and for three updates.
RELEASED: dict[str, tuple[dict[str, float | bool], ...]] = {
    'flexae': ({'bn_momentum': 0.66}, {'bn_momentum': 0.81, 'bn_mix_generated': True}),
    'flexae_sr': ({'bn_momentum': 0.87},),
}
TABLE_1 = {'metrics': 'fd,kid,prd'}  # an evaluation


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
        spec = methods.find(method)
        if artifact.closed and method not in artifact.methods:
            raise UsageError(
                f'--methods={method}: {name} has rows for {", ".join(artifact.methods)} only. '
                'Leave it out.'
            )
        if artifact.of_codes and spec.posterior != 'deterministic':
            raise UsageError(
                f'--methods={method}: {name} compares codes of deterministic encoders, and this '
                'encoder draws samples of a posterior. Leave it out.'
            )
        fitted_from = spec.fitted_from if artifact.shared else None
        trained, density = fitted_from or (method, None)
        for options, evaluations in artifact.runs(config, dataset, method):
            # Images of networks show one seed.
            count = (config.seeds or artifact.seeds) if evaluations else 1
            for seed in range(config.seed, config.seed + count):
                planned = make_job(config, trained, dataset, seed=seed, options=options)
                for flags in evaluations:
                    planned = evaluated(config, planned, **{'density': density} | flags)
                yield planned


def samples(config: ReproduceConfig, name: str, row: str, path: str) -> Samples:
    """Returns the evaluation of samples from files as a row of an artifact."""
    dataset, *others = datasets(config, name)
    if others:
        raise UsageError(f'--methods={row}={path}: samples of one data set. Set --dataset.')
    base = evaluated(config, make_job(config, paper.FLEXAE, dataset), **TABLE_1)
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


Runs = Iterable[tuple[dict[str, float | str], list[dict]]]  # (training options, evaluations)


class Artifact(NamedTuple):
    """A table, a figure, or an experiment on a claim of the paper."""

    title: str
    runs: Callable[[ReproduceConfig, str, str], Runs]  # of (config, data set, method)
    methods: tuple[str, ...] = ('flexae',)  # default methods
    datasets: tuple[str, ...] = IMAGES  # default data sets
    seeds: int = 1  # default number
    closed: bool = False  # whether its table has no rows for other methods
    of_codes: bool = False  # whether its table has one protocol for the codes of all methods
    shared: bool = False  # whether a method fitted from another one is evaluated on its run


def _fixed(*runs: tuple[dict, list[dict]]) -> Callable[..., Runs]:
    return lambda *_: runs


def _table_3(config: ReproduceConfig, dataset: str, _: str) -> Runs:
    """Varies the latent size; m_b is half the data set's size where the paper has none."""
    base = paper.BASE_LATENT_DIMS.get(dataset)
    base = base or max(1, make_job(config, paper.FLEXAE, dataset).resolved.latent_dim // 2)
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


def _batch_norm(config: ReproduceConfig, dataset: str, method: str) -> Runs:
    """Varies the averages of batch norm, judged on validation examples like in tuning."""
    num = min(VALIDATION, config.num_examples or SCALES[config.scale].num_examples)
    scored = dict(split='validation', sets='reconstructions,samples', metrics='fd,psnr')
    scored |= {'num_examples': num}
    base = make_job(config, method, dataset)
    available = base.config.train_examples or data.describe(base.config).train_size or sys.maxsize
    batches = min(100, available * 9 // 10 // base.config.batch_size)  # a tenth is for validation
    yield {}, [scored | {'recalibrate_batch_norm': str(batches)}]
    for options in ({'bn_momentum': 0.9}, {'bn_momentum': 0.85}, *RELEASED.get(method, ())):
        yield options, [scored]


def _joint(config: ReproduceConfig, dataset: str, method: str) -> Runs:
    """Evaluates a method with its own prior, and with another one fitted afterwards."""
    own = methods.find(method).density
    other = 'latent_gan' if own == 'gaussian_mixture' else 'gaussian_mixture'
    return [({}, [TABLE_1, TABLE_1 | {'density': other}])]


def _variants(method: str, dataset: str) -> tuple[dict, ...]:
    """Returns the training options of the models of Figs. 2 and 3 that a method stands for."""
    of_data = ({'mixture': 'data'},) if dataset == 'synthetic_2d' else ()
    mixtures = (*of_data, {'mixture': 'circle'})
    return {'wae_gmm_prior': mixtures, 'wae_normal': ({}, MMD[dataset])}.get(method, ({},))


def _figure_2(config: ReproduceConfig, dataset: str, method: str) -> Runs:
    over_training = dict(sets='reconstructions,samples,latents', checkpoint='all')
    return [(SNAPSHOTS | m, [over_training, EXACT]) for m in _variants(method, dataset)]


def _figure_3(config: ReproduceConfig, dataset: str, method: str) -> Runs:
    return [(SNAPSHOTS | m, [{}]) for m in _variants(method, dataset)]


def _gallery(config: ReproduceConfig, dataset: str, method: str) -> Runs:
    """Needs no scores, but an evaluation fits the density that a method samples from."""
    return [({}, [_OF_MEMORIZATION] if methods.find(method).density else [])]


def _theorem_1(config: ReproduceConfig, dataset: str, method: str) -> Runs:
    sizes = ({'latent_dim': m, 'noise_dim': m} for m in paper.NOISE_DIMS)
    return [(SNAPSHOTS | size, [_OF_VECTORS, EXACT]) for size in sizes]


_table_1 = _fixed(({}, [TABLE_1]))
_methods = _fixed(({}, [TABLE_1]), ({'training_steps': 0}, [dict(sets='samples')]))
# Runs on synthetic data have snapshots, so that artifacts can share them.
_OF_VECTORS = dict(sets='reconstructions,samples,latents')
EXACT = dict(sets='latents', metrics='transport')  # an evaluation of the last checkpoint
_theorem_2 = _fixed(
    *((SNAPSHOTS | {'noise_dim': n}, [_OF_VECTORS, EXACT]) for n in paper.NOISE_DIMS)
)
_reconstructions = _fixed(({}, [dict(sets='reconstructions', metrics='psnr,ssim')]))
_OF_MEMORIZATION = dict(sets='reconstructions,samples', metrics='memorization')
_figure_12 = _fixed(({}, [_OF_MEMORIZATION]))
_IN_TABLE_3 = ((paper.WAE, paper.FLEXAE), tuple(paper.BASE_LATENT_DIMS))
_IN_FIGURE_2 = (('wae_normal', 'wae_gan', 'flexae'), ('synthetic_5d',))
_IN_FIGURE_3 = (('vae', 'wae_normal', 'wae_gan', 'wae_gmm_prior', 'flexae'), ('synthetic_2d',))
_5D = ('synthetic_5d',)
GALLERIES = ('fig4', *(f'fig{number}' for number in range(6, 13)))  # images of networks
_ORDINALS = {7: 'First', 8: 'Second', 9: 'Third', 10: 'Fourth', 11: 'Fifth'}
ARTIFACTS = {
    'table1': Artifact(
        'Fréchet distances of all methods', _table_1, IN_TABLE_1, seeds=SEEDS, shared=True
    ),
    'table2': Artifact('Precision and recall', _table_1, IN_TABLE_1, seeds=SEEDS, shared=True),
    'table3': Artifact('Fréchet distance by latent size', _table_3, *_IN_TABLE_3),
    'fig2': Artifact('Priors over training', _figure_2, *_IN_FIGURE_2, SEEDS, of_codes=True),
    'fig3': Artifact('Latent spaces of six Gaussians', _figure_3, *_IN_FIGURE_3, SEEDS),
    'fig4': Artifact('Attributes, interpolations, neighbours', _gallery),
    'fig5': Artifact('Six capacities of P-GEN on few examples', _figure_5, closed=True),
    'fig6': Artifact('Reconstructions and samples', _gallery),
    **{f'fig{n}': Artifact(f'{word} attribute', _gallery) for n, word in _ORDINALS.items()},
    'fig12': Artifact('Nearest training examples of samples', _figure_12),
    'theorem1': Artifact(
        'Latent sizes of a fixed and a learned prior',
        _theorem_1,
        (paper.FIXED, paper.FLEXAE),
        _5D,
        SEEDS,
        closed=True,
    ),
    'theorem2': Artifact('P-GEN input sizes', _theorem_2, datasets=_5D, seeds=SEEDS, closed=True),
    'reconstructions': Artifact(
        'Similarity of reconstructions', _reconstructions, paper.METHODS, seeds=SEEDS, shared=True
    ),
    'batch_norm': Artifact('Momentum of batch norm', _batch_norm, seeds=SEEDS),
    'joint': Artifact(
        'Joint and later training', _joint, ('flexae', 'ae_gmm'), seeds=SEEDS, of_codes=True
    ),
    'methods': Artifact('Every method side by side', _methods, methods.AUTOENCODERS, shared=True),
}
