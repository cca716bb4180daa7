"""Completes a configuration as given: checks it against its method and fills in the sizes.

Importing this module does not import TensorFlow.
"""

import dataclasses
from collections.abc import Iterable

from flexae_tf.config import ResolvedConfig, TrainConfig
from flexae_tf.config.options import from_arguments
from flexae_tf.data import CODES, DatasetSpec
from flexae_tf.errors import UsageError
from flexae_tf.methods.table import METHODS, MethodSpec, config_class, find
from flexae_tf.networks.architectures import default_latent_dim


def train_config(flags: Iterable[str]) -> TrainConfig:
    """Returns the configuration that flags of the training program give."""
    return from_arguments(TrainConfig, tuple(flags), config_class=config_class)


def resolve(config: TrainConfig, spec: DatasetSpec) -> ResolvedConfig:
    """Returns the configuration with every size filled in; a resolved one comes back unchanged.

    Args:
        config: as given by flags or in Python.
        spec: the data set to train on.

    Raises:
        UsageError: unknown method, an option that the method needs or does not use, or networks
            that do not fit the examples.
    """
    row = find(config.method)
    _check_options(config, row)
    if row.trains_on_codes != (config.dataset == CODES):
        raise UsageError(
            f'--method={config.method}: cannot train on --dataset={config.dataset}. '
            + (
                f'Fit it to the codes of a finished run with bin/fit.py --density={config.method}.'
                if row.trains_on_codes
                else 'Choose a data set of examples.'
            )
        )
    default = default_latent_dim(config, spec.shape)
    latent_dim = config.latent_dim or default
    _check_mixture(config, latent_dim)
    return ResolvedConfig.of(
        config,
        depends_on_training_steps=row.depends_on_training_steps,
        latent_dim=latent_dim,
        noise_dim=config.noise_dim or latent_dim,
    )


def _check_options(config: TrainConfig, row: MethodSpec) -> None:
    """Raises `UsageError` for a missing option and for an option that the method does not use."""
    users: dict[str, list[str]] = {}
    for method in (*METHODS.values(), row):
        for name in (*method.required_options, *method.optional_options):
            users.setdefault(name, []).append(method.name)
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    for name, methods in users.items():
        value = getattr(config, name)
        if name in row.required_options and value is None:
            raise UsageError(
                f'--{name}: missing, --method={row.name} needs it. Give it, or use '
                f'--flagfile=flags/methods/{row.name}.flags.'
            )
        if value != defaults[name] and row.name not in methods:
            raise UsageError(
                f'--{name}={value}: not used by --method={row.name}, only by {", ".join(methods)}. '
                'Omit it.'
            )


def _check_mixture(config: TrainConfig, latent_dim: int) -> None:
    if config.mixture == 'data' and (config.dataset != 'synthetic_2d' or latent_dim != 2):
        raise UsageError(
            f'--mixture=data: only for --dataset=synthetic_2d with --latent_dim=2, not '
            f'--dataset={config.dataset} with --latent_dim={latent_dim}. Use --mixture=circle.'
        )
    if config.mixture == 'circle' and latent_dim == 1:
        raise UsageError('--latent_dim=1: too small for --mixture=circle. Use 2 or more.')
