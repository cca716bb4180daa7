"""Open weights of methods: the values to try, and the winners of earlier tunings.

A grid is written as `NAME=VALUE,VALUE;NAME=VALUE,VALUE`: all combinations are tried. `A+B=...`
gives two options the same value, and a value `x3` is three times the flagfiles' value.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from flexae_tf.checked_files import read_json
from flexae_tf.config import TrainConfig
from flexae_tf.config.options import find_flagfile, type_name
from flexae_tf.errors import MissingDataError, UsageError


class Axis(NamedTuple):
    """Options that take each of the values, as flags do."""

    options: tuple[str, ...]
    values: tuple[str, ...]


# The paper has 1e-5 and 1e-4 for images and no rates for synthetic data. A learned prior moves to
# the codes; with a fixed prior the codes have to move, and the critic has to follow them.
_FIXED_PRIOR = 'enc_learning_rate=0.0001,0.0003,0.001;critic_learning_rate=0.0001,0.0003,0.001'
GRIDS = {
    # Around the weights that Ghosh et al. 2020 tuned: 0.156, 0.036 and 0.135 for MNIST, CIFAR-10
    # and CelebA beside half the squared error. Table 1's reconstructions rule out more than 1.
    'beta_vae': 'kl_weight=1,0.5,0.2,0.1,0.05,0.02,0.01,0.005',
    # Beside the squared error of images in [0, 1]: the authors' weights are 200 for MNIST and 5 for
    # CelebA (Tolstikhin et al. 2018); a reproduction with their CelebA FID uses 20. Small trainings
    # prefer less.
    'wae_gan': 'adversarial_weight=1,2,5,20,100,200',
    # The rate of Dai and Wipf 2019, 0.0001, belongs to hundreds of epochs.
    'two_stage_vae': 'ae_learning_rate=0.0001,0.0003,0.001,0.002,0.004',
    # The flagfiles have the weights of Ghosh et al. 2020, whose images and losses differ in scale.
    'rae_gmm': 'code_weight+decoder_weight=x0.03,x0.1,x0.3,x1,x3',
    # Kumar et al. 2020 published none. Table 1's reconstructions are as good as the plain
    # auto-encoder's, so the weight is small.
    'injflow': 'volume_weight=0.0001,0.0003,0.001,0.003,0.01,0.03',
    # Mondal et al. 2020 have 1000 beside a mean cross-entropy; a mean squared error is smaller.
    'mask_aae': 'mask_fidelity_weight=1000,10000',
    'wae_normal': _FIXED_PRIOR,
    'wae_gmm_prior': _FIXED_PRIOR,
}
# Excludes values whose reconstructions' distance is above this many times the smallest one.
REC_WITHIN = {'injflow': 1.1}
# Same likelihood and divergence as in beta-VAE: the methods differ by prior or posterior only.
SAME_AS = dict.fromkeys(('vae_flow', 'vae_flow_prior', 'vae_vampprior', 'vae_iop'), 'beta_vae')
SAME_AS['injflow_gmm'] = 'injflow'  # the same training


def parse(text: str, config: TrainConfig) -> tuple[Axis, ...]:
    """Returns the axes of a grid.

    Args:
        text: the grid.
        config: configuration whose values factors multiply.

    Raises:
        UsageError: an unknown option, or a value that is no number where one is needed.
    """
    fields, axes, used = {field.name: field for field in dataclasses.fields(config)}, [], set()
    for part in filter(None, text.split(';')):
        names, _, values = part.partition('=')
        options, listed = tuple(names.split('+')), tuple(dict.fromkeys(values.split(',')))
        for name, value in itertools.product(options, listed):
            if name not in fields:
                raise UsageError(
                    f'--grid={part}: {name} is no training option. Use NAME=VALUE,VALUE;NAME=VALUE.'
                )
            if name == 'seed':
                raise UsageError(f'--grid={part}: seeds are no weights. Use --seeds.')
            try:
                _value(fields[name], value, config)
            except (ValueError, TypeError):
                raise UsageError(
                    f'--grid={part}: {value!r} is no value of --{name}. Use numbers, or x2 for '
                    "twice the flagfiles' value if they have one."
                ) from None
        if repeated := used & {*options}:
            raise UsageError(f'--grid={text}: {min(repeated)} has two axes. Give it one.')
        used |= {*options}
        axes.append(Axis(options, listed))
    if not axes:
        raise UsageError(f'--grid={text}: empty. Use NAME=VALUE,VALUE;NAME=VALUE.')
    return tuple(axes)


def cells(axes: tuple[Axis, ...], config: TrainConfig) -> Iterator[tuple[tuple, dict]]:
    """Yields each combination of values, and the training options that it stands for."""
    fields = {field.name: field for field in dataclasses.fields(config)}
    for values in itertools.product(*(axis.values for axis in axes)):
        pairs = zip(axes, values, strict=True)
        yield (
            values,
            {n: _value(fields[n], value, config) for axis, value in pairs for n in axis.options},
        )


def _value(field: dataclasses.Field, text: str, config: TrainConfig) -> float | str:
    """Returns the value of an option; `config` has the value that a factor multiplies."""
    kind = {'int': int, 'float': float}.get(type_name(field))
    if not kind:
        return text
    if text.startswith('x'):
        return kind(float(text[1:]) * getattr(config, field.name))
    return kind(text)


def winner_path(folder: str | pathlib.Path, method: str, dataset: str, scale: str) -> pathlib.Path:
    """Returns the file that a tuning writes its table and its winner to."""
    return pathlib.Path(folder) / f'{method}-{dataset}-{scale}.json'


def winner(folder: str | None, method: str, dataset: str, scale: str) -> dict[str, float | str]:
    """Returns the training options that a tuning in `folder` chose; {} if there is none.

    Raises:
        MissingDataError: the folder holds no tuning at all.
        UserError: the file is corrupt.
    """
    if folder is None:
        return {}
    if not next(pathlib.Path(folder).glob('*.json'), None):
        raise MissingDataError(
            f'--tuned={folder}: holds no tuning. Give tune/ in the --output_dir of --tune.'
        )
    path = winner_path(folder, SAME_AS.get(method, method), dataset, scale)
    schema = {'winner': {'options': {'*': bool | int | float | str}, '*': object}, '*': object}
    return read_json(path, schema)['winner']['options'] if path.exists() else {}


def is_tuned(folder: str | None, method: str, dataset: str, scale: str) -> bool:
    """Returns whether validation examples of the data set chose all weights that are open."""
    return (
        SAME_AS.get(method, method) not in GRIDS
        or bool(find_flagfile(f'{scale}/{method}_{dataset}.flags'))
        or bool(winner(folder, method, dataset, scale))
    )
