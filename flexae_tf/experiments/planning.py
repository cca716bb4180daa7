"""From a method, a data set and a scale to a run: flagfiles, what differs from them, scorings."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flexae_tf.config import ReproduceConfig, TrainConfig
from flexae_tf.errors import UsageError
from flexae_tf.experiments import runs
from flexae_tf.experiments.runs import Command, Run

NETWORK = ('features', 'feature_layer', 'data_dir', 'inception_path')  # what images are scored by


class Scale(NamedTuple):
    """How large the runs of an experiment are.

    Attributes:
        train: training options that differ from the flagfiles.
        tuned: others, by method and data set: open weights that --tune chose at this scale.
        num_examples: on each side of a score, at most.
        datasets: what is trained on, where an artifact is about more than one.
        subset_steps: iterations of trainings on few examples (Fig. 5).
    """

    train: Mapping[str, float | str]
    num_examples: int
    datasets: tuple[str, ...]
    subset_steps: int
    tuned: Mapping[tuple[str, str], Mapping[str, float]] = {}


SYNTHETIC = ('synthetic_2d', 'synthetic_5d')
SCALES = {
    'paper': Scale({}, 10_000, ('mnist', 'cifar10', 'celeba', *SYNTHETIC), subset_steps=30_000),
    # For two CPU cores. An eighth of the channels is 1/60 of the work. Vectors, which have none,
    # keep their size (`scale_of`).
    'small': Scale(
        {'width_multiplier': 0.125, 'training_steps': 3000},
        5_000,
        ('mnist', *SYNTHETIC),
        subset_steps=3000,
        tuned={
            # fd_mixed_7 of 1000 samples after 1000 iterations, from as many validation images:
            # 0.581, 0.600, 0.643, 0.710 with 0.5, 0.2, 0.1, 0.05.
            ('beta_vae', 'mnist'): {'kl_weight': 0.5},
            ('vae_flow', 'mnist'): {'kl_weight': 0.5},
            # Likewise: 1.241, 1.255, 1.305, 1.386 with 5, 20, 100, 200, at the authors' rate; then
            # 1.241, 0.740, 0.579, 0.653 with rates of 0.001, 0.003, 0.006, 0.012, since it falls
            # tenfold; after 3000 iterations 0.485, 0.460, 0.498 with 0.002, 0.003, 0.006, and 0.462
            # with 0.003 and a weight of 2. All that without a bias of the codes; with it 0.466 with
            # 0.003 and 5, held-out reconstructions at 7.2 in place of 12.3. With 0.9 as batch
            # norm's momentum, the authors', it is 0.659 with 0.006 after 1000 (with a rate of 0.003
            # 0.758, a weight of 20 0.758, a critic's rate of 0.003 0.654).
            ('wae_gan', 'mnist'): {'adversarial_weight': 5.0, 'ae_learning_rate': 0.003},
            # Likewise: 0.414, 0.453, 0.666 with 0.3, 1 and 3 times the flagfile's.
            ('rae_gmm', 'mnist'): {'code_weight': 0.00192, 'decoder_weight': 0.00003},
            # Likewise: 1.79, 0.581 with 0.0003, 0.001; the authors' 0.0001 is for long trainings.
            ('two_stage_vae', 'mnist'): {'ae_learning_rate': 0.001},
            # Likewise: 1.280, 0.992, 2.54 with 0.001, 0.01, 0.1; their reconstructions are at
            # 0.327, 0.371, 2.54, of which a tenth above the best is allowed (tune.GRIDS).
            ('injflow', 'mnist'): {'volume_weight': 0.001},
            # MaskAAE's rate stays as the authors have it: 0.664, 1.219, 1.280, 1.277 with 0.0005,
            # 0.002, 0.005, 0.01.
        },
    ),
}


def method_run(
    config: ReproduceConfig,
    method: str,
    dataset: str,
    *,
    seed: int | None = None,
    options: Mapping[str, float | str] | None = None,
    scorings: Sequence[tuple[str, ...]] = (),
) -> Run:
    """The run of a method on a data set as their flagfiles and the scale have it.

    Its name tells what differs from these, and nothing that does not: whatever plans the same
    training gets the same run.

    Args:
        config: scale, seed and places.
        method: one of `config.METHODS`.
        dataset: one of `config.DATASETS`.
        seed: of the run; that of `config` when not given.
        options: training options that may differ from these.
        scorings: as in `Run`.

    Raises:
        UsageError: no flagfile, or wrong flags.
    """
    files = flagfiles(method, dataset)
    name = scale_of(config, dataset)
    scale = SCALES[name].train | SCALES[name].tuned.get((method, dataset), {})
    planned = Command('train', (*files, *_as_flags(scale))).options()
    wanted = {'training_steps': config.training_steps} if config.training_steps else {}
    wanted |= options or {}
    changed = {k: v for k, v in wanted.items() if _text(v) != _text(getattr(planned, k))}
    changed['seed'] = config.seed if seed is None else seed
    # How long a run is tells it from others, though it may go on.
    telling = {*planned.identity(), 'training_steps'}
    shown = (f'{name}={_text(value)}' for name, value in changed.items() if name in telling)
    return Run(
        name='-'.join([method, dataset, name, *shown]),
        output=pathlib.Path(os.path.abspath(config.output_dir)),
        train=(
            *files,
            *_as_flags(scale | changed),
            *_given(config, *([] if dataset in SYNTHETIC else ['data_dir', 'download'])),
            *_given(config, 'device', 'jit_compile'),
        ),
        scorings=tuple(scorings),
    )


def method_config(method: str, dataset: str, **options: float | str | bool) -> TrainConfig:
    """The configuration of a method on a data set by their flagfiles, but for `options`.

    Raises:
        UsageError: no flagfile, or options that do not go together.
    """
    return Command('train', flagfiles(method, dataset) + _as_flags(options)).options()


def scoring_flags(
    config: ReproduceConfig,
    method: str,
    dataset: str,
    *,
    split: str,
    sets: str,
    metrics: str,
    density: str | None = None,
) -> tuple[str, ...]:
    """Flags of the evaluation program for one of `Run.scorings` of a method.

    Args:
        config: scale and places.
        method: one of `config.METHODS`.
        dataset: one of `config.DATASETS`.
        split: as of the evaluation program; so are `sets` and `metrics`.
        density: one of `config.DENSITIES`, in the place of the method's own.
    """
    flags = [
        f'--split={split}',
        f'--sets={sets}',
        f'--metrics={metrics}',
        f'--num_examples={num_examples(config, dataset)}',
    ]
    if density:
        flags.append(f'--density={density}')
    flags.append('--fit_missing')
    places = [] if dataset in SYNTHETIC else NETWORK
    return (*flags, *_given(config, *places, 'cache_dir', 'device'))


def num_examples(config: ReproduceConfig, dataset: str) -> int:
    """Examples on each side of a score, at most."""
    return config.num_examples or SCALES[scale_of(config, dataset)].num_examples


def scale_of(config: ReproduceConfig, dataset: str) -> str:
    """The scale of the runs on a data set: two cores train on vectors at the paper's size."""
    return 'paper' if dataset in SYNTHETIC else config.scale


def flagfiles(method: str, dataset: str) -> tuple[str, ...]:
    """Flags of the flagfiles of a method on a data set: one of their own, or one of each.

    Raises:
        UsageError: a flagfile is missing.
    """
    if not (runs.ROOT / 'flags').is_dir():
        raise UsageError(
            f'there is no flags/ beside the package in {runs.ROOT}: it comes with a clone alone; '
            'run bin/reproduce.py of a clone'
        )
    own = f'flags/methods/{method}_{dataset}.flags'
    paths = [own]
    if not (runs.ROOT / own).is_file():
        paths = [f'flags/methods/{method}.flags', f'flags/datasets/{dataset}.flags']
    for path in paths:
        if not (runs.ROOT / path).is_file():
            raise UsageError(f'{path} is missing in {runs.ROOT}: write it, or choose what has one')
    return tuple(f'--flagfile={path}' for path in paths)


def _as_flags(options: Mapping[str, float | str]) -> tuple[str, ...]:
    return tuple(f'--{name}={_text(value)}' for name, value in options.items())


def _text(value: float | str | None) -> str:
    return f'{value:.6g}' if isinstance(value, float) else str(value)


def _given(config: ReproduceConfig, *names: str) -> tuple[str, ...]:
    """Flags of the options that are not at their default; commands do not run where we do."""
    given = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in names and value != field.default:
            value = os.path.abspath(value) if field.metadata['path'] else value
            given.append(f'--{field.name}={value}')
    return tuple(given)
