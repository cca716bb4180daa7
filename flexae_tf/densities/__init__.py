"""Densities fitted to the codes of a trained run, to sample from instead of its prior.

This module is the table of densities; it does not import TensorFlow.
"""

import dataclasses

from flexae_tf.errors import UsageError

OWN_PRIOR = 'none'  # the value of --density that selects the method's own prior


@dataclasses.dataclass(frozen=True)
class DensitySpec:
    """A row of the table of densities.

    Attributes:
        module: module of this package with `build(name, run, tensors) -> Prior` and
            `fit(name, run, dataset, folder, steps) -> tensors`.
        trained_by_steps: whether the density is trained by gradient steps (`--density_steps`).
    """

    module: str
    trained_by_steps: bool


DENSITIES = {
    'gaussian_mixture': DensitySpec('gaussian_mixture', trained_by_steps=False),
    'second_stage': DensitySpec('latent_models', trained_by_steps=True),
    'latent_gan': DensitySpec('latent_models', trained_by_steps=True),
}


def find(name: str) -> DensitySpec:
    """Returns the row of a density.

    Raises:
        UsageError: there is no density of this name.
    """
    if name not in DENSITIES:
        choices = ', '.join((*DENSITIES, OWN_PRIOR))
        raise UsageError(f'--density={name}: unknown density. Choose one of {choices}.')
    return DENSITIES[name]


def check_name(density: str | None) -> None:
    """Raises `UsageError` if a value of `--density` is neither None, 'none' nor in the table."""
    if density not in (None, OWN_PRIOR):
        find(density)
