"""Options and checks that several programs share."""

from __future__ import annotations

from typing import Any

from flexae_tf.config.options import option, path_option, runtime_option
from flexae_tf.errors import UsageError

MAX_SEED = 2**31 - 1
# Larger sizes are mistakes: no device holds them, or a graph of them is never complete.
MAX_BATCH_SIZE = 65_536
MAX_IMAGE_SIZE = 4096
MAX_LATENT_DIM = 65_536
VALUE_RANGES = {'0..255': (0, 255), '0..1': (0, 1), '-1..1': (-1, 1)}  # smallest, largest value
FEATURES = ('auto', 'inception', 'pixels')


def device_option() -> Any:
    """Returns `--device`."""
    return runtime_option(
        'auto',
        'Device to run on. auto: all GPUs, or the CPU without one. gpu: fail without a GPU.',
        choices=('auto', 'gpu', 'cpu'),
    )


def distribution_option(*, processes: bool = False) -> Any:
    """Returns `--distribution`.

    Args:
        processes: whether several processes can share the work.
    """
    others = 'the processes that TF_CONFIG or a Slurm step names, or ' if processes else ''
    several = ' multi_worker: one process for each GPU.' if processes else ''
    return runtime_option(
        'auto',
        f'Devices that share the work. auto: {others}all GPUs of the machine. none: one device. '
        f'mirrored: all GPUs of the machine in one process.{several}',
        choices=('auto', 'none', 'mirrored', *(('multi_worker',) if processes else ())),
    )


def jit_compile_option() -> Any:
    """Returns `--jit_compile`."""
    return runtime_option(
        'auto',
        'Compile training steps with XLA. auto: on GPUs. With several devices XLA compiles the '
        'parts between their collectives.',
        choices=('auto', 'on', 'off'),
    )


def density_option() -> Any:
    """Returns `--density`."""
    return option(
        None,
        'Density fitted to the codes of the training examples, to sample from instead of the '
        "prior (default: the method's own density, if any). none: sample from the prior.",
    )


def fit_missing_option() -> Any:
    """Returns `--fit_missing`."""
    return runtime_option(
        False, 'Fit a missing density first, as bin/fit.py does with its default flags.'
    )


def checkpoint_option() -> Any:
    """Returns `--checkpoint` of the programs that read one checkpoint."""
    return option('last', 'last, or the step of a checkpoint or snapshot.')


def value_range_option() -> Any:
    """Returns `--value_range`."""
    return option(
        None,
        'Range of the values of .npy and .npz files that are not uint8; values are rounded to '
        'uint8 (default: such files are refused).',
        choices=tuple(VALUE_RANGES),
    )


def skip_bad_images_option() -> Any:
    """Returns `--skip_bad_images`."""
    return option(False, 'Use the other images of a folder if some of its files are unreadable.')


def inception_path_option() -> Any:
    """Returns `--inception_path`."""
    return path_option(
        'Inception network: the frozen graph of 2015-12-05 or a SavedModel, as file, folder or '
        'archive (default: from --cache_dir, or downloaded from Kaggle or its hub).'
    )


def feature_network_option() -> Any:
    """Returns `--feature_network`."""
    return path_option(
        'Folder of another feature network in place of Inception: a SavedModel with a '
        'feature_network.json.'
    )


def cache_dir_option() -> Any:
    """Returns `--cache_dir`."""
    return path_option(
        'Folder of features of real images and of unpacked networks, shared by evaluations '
        '(default: flexae_tf in $XDG_CACHE_HOME or ~/.cache).'
    )


def features_option() -> Any:
    """Returns `--features`."""
    return option(
        'auto',
        'Features that the metrics compare. auto: inception for images, the values for vectors.',
        choices=FEATURES,
    )


def feature_layer_option(*, identity: bool = True) -> Any:
    """Returns `--feature_layer`."""
    return option(
        None,
        'Output of the feature network (default: pool_3 of Inception, or the default of the '
        'network).',
        identity=identity,
    )


def check_one_network(inception_path: str | None, feature_network: str | None) -> None:
    """Raises `UsageError` if both flags of a network are set."""
    if inception_path and feature_network:
        raise UsageError('--inception_path and --feature_network: two networks. Set only one.')


def checkpoint_step(checkpoint: str | int, others: str = '') -> int | None:
    """Returns the step that `--checkpoint` names; None for the last checkpoint.

    Args:
        checkpoint: value of the flag.
        others: further values that the program accepts, for the error message.

    Raises:
        UsageError: the value is neither 'last' nor a number.
    """
    if checkpoint == 'last':
        return None
    if not str(checkpoint).isdecimal():
        choices = f'last, {others}' if others else 'last'
        raise UsageError(f'--checkpoint={checkpoint}: unknown. Use {choices} or a step.')
    return int(checkpoint)
