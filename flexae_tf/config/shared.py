"""Options and checks that several programs have."""

from __future__ import annotations

from typing import Any

from flexae_tf.config.names import DENSITIES
from flexae_tf.config.options import option, runtime_option
from flexae_tf.errors import UsageError

INCEPTION_HELP = (
    "SavedModel of the network, a folder or an archive; TF-GAN's own from its hub when not given."
)
CACHE_HELP = (
    'Folder kept between evaluations: features of real images, unpacked networks; '
    '~/.cache/flexae_tf when not given.'
)


def device_option() -> Any:
    """`--device`."""
    return runtime_option(
        'auto',
        'What programs run on: auto uses every GPU there is, gpu fails when there is none.',
        choices=('auto', 'gpu', 'cpu'),
    )


def density_option() -> Any:
    """`--density`."""
    return option(
        None,
        "Sample from a density fitted to the codes of training examples; the method's own choice "
        'when not given, none for its prior.',
        choices=(*DENSITIES, 'none'),
    )


def checkpoint_option() -> Any:
    """`--checkpoint` of a program that takes one."""
    return option('last', 'last, or the step of a checkpoint or snapshot.')


def checkpoint_step(checkpoint: str | int, others: str = '') -> int | None:
    """The step that `--checkpoint` names; None for the last one.

    Args:
        checkpoint: what was given.
        others: what else may be given, for the error message.

    Raises:
        UsageError: neither 'last' nor a number.
    """
    if checkpoint == 'last':
        return None
    if not str(checkpoint).isdecimal():
        choices = f'last, {others}' if others else 'last'
        raise UsageError(f'--checkpoint={checkpoint}: give {choices}, or the number of a step')
    return int(checkpoint)
