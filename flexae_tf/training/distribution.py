"""Choice of devices, and running a step on all of them."""

import functools
import os
from collections.abc import Callable

import tensorflow as tf

from flexae_tf.errors import UsageError


def choose_devices(device: str) -> str:
    """Makes the devices of `--device` visible; must precede any other use of TensorFlow.

    Args:
        device: 'auto', 'gpu' or 'cpu'.

    Returns:
        A line for the user, such as 'device: 1 x GPU NVIDIA A100'.

    Raises:
        UsageError: 'gpu', and TensorFlow sees none.
    """
    gpus = tf.config.list_physical_devices('GPU')
    if device == 'gpu' and not gpus:
        raise UsageError(
            '--device=gpu: TensorFlow sees no GPU. Install it with pip install -e .[gpu] '
            'and check nvidia-smi, or use --device=cpu.'
        )
    if device == 'cpu' or not gpus:
        tf.config.set_visible_devices([], 'GPU')
        reason = 'as requested' if gpus else 'TensorFlow sees no GPU'
        return f'device: {describe_devices()} ({reason})'
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return f'device: {describe_devices()}'


def describe_devices() -> str:
    """Returns the visible devices: '2 x GPU NVIDIA A100' or 'CPU, 2 cores'."""
    gpus = tf.config.get_visible_devices('GPU')
    details = map(tf.config.experimental.get_device_details, gpus)
    names = ', '.join(sorted({detail.get('device_name', 'GPU') for detail in details}))
    return f'{len(gpus)} x GPU {names}' if gpus else f'CPU, {os.cpu_count()} cores'


def choose_strategy() -> tf.distribute.Strategy:
    """Returns a mirrored strategy if several GPUs are visible, else TensorFlow's default."""
    several = len(tf.config.list_logical_devices('GPU')) > 1
    return _mirrored() if several else tf.distribute.get_strategy()


@functools.cache  # TensorFlow confuses the collectives of two mirrored strategies in a process
def _mirrored() -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy()


def check_shares(batch_size: int, replicas: int, *, jit_compile: bool) -> None:
    """Raises `UsageError` if `replicas` devices cannot train on a batch together."""
    if batch_size % replicas:
        raise UsageError(
            f'--batch_size={batch_size}: cannot be split over {replicas} devices. Use a multiple '
            'of their number, or set CUDA_VISIBLE_DEVICES.'
        )
    if jit_compile and replicas > 1:
        raise UsageError(
            f'--jit_compile: works on one device, not on {replicas}. Leave it out, or set '
            'CUDA_VISIBLE_DEVICES.'
        )


def mean_over_replicas(
    strategy: tf.distribute.Strategy, function: Callable[[], tf.Tensor]
) -> tf.Tensor:
    """Runs `function` on every device and returns the mean of the results."""
    return strategy.reduce(tf.distribute.ReduceOp.MEAN, strategy.run(function), axis=None)
