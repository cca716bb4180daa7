"""What a run would be and need, before its first step: `--dry_run`."""

import dataclasses
import os
import pathlib
import shutil

import keras
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import MissingDataError
from flexae_tf.methods import build_method
from flexae_tf.methods.base import Method
from flexae_tf.training.distribution import check_shares, choose_strategy
from flexae_tf.training.flops import graph_flop


def show(config: TrainConfig, spec: DatasetSpec) -> None:
    """Prints the resolved configuration, sizes, costs, and what is missing.

    Raises:
        MissingDataError: the data are not there, said after everything else.
        UsageError: a batch that the devices here cannot share.
    """
    replicas = choose_strategy().num_replicas_in_sync
    check_shares(config.batch_size, replicas, jit_compile=config.jit_compile)
    for name, value in dataclasses.asdict(config).items():
        print(f'--{name}={value}')
    method = build_method(config, spec)
    row = method.method_spec
    print(f'\nmethod: {row.name} (prior {row.prior or row.density}, posterior {row.posterior})')
    print(
        f'\nexamples: {spec.kind} {spec.shape}, {spec.train_size} training, {spec.test_size} test'
    )
    print('trainable parameters:')
    for network in networks(method):
        print(f'  {network.name:<10} {count_parameters(network) / 1e6:.3f} million')
    flop = step_flop(method, config.batch_size)
    state = 4 * sum(int(tf.size(v.value)) for v in method.state)
    print(f'one iteration: {flop / 1e12:.4g} TFLOP')
    print(f'memory: {_mib(state)} of weights and moments, {_mib(_activations(method, config))} ')
    print('        of activations in the auto-encoder step (an estimate)')
    snapshots = (
        config.training_steps // config.snapshot_every_steps if config.snapshot_every_steps else 0
    )
    weights = 4 * sum(int(tf.size(v.value)) for v in method.weights)
    # One more than are kept: the new checkpoint is written before the oldest is removed.
    disk = (config.keep_checkpoints + 1) * state + snapshots * weights
    free = shutil.disk_usage(_existing(config.workdir or '.')).free
    print(f'disk: {_mib(disk)} of checkpoints; {_mib(free)} free')
    if disk > free:
        print('WARNING: not enough disk: lower --keep_checkpoints or raise --snapshot_every_steps')
    try:
        dataset = data.load(dataclasses.replace(config, download=False))
    except MissingDataError as error:
        raise MissingDataError(f'nothing else is missing, but {error}') from None
    print(
        f'data: {len(dataset.train)} training, {len(dataset.validation)} validation, '
        f'{len(dataset.test)} test examples, {_mib(dataset.train.x.nbytes)} in host memory'
    )
    print('nothing is missing')


def networks(method: Method) -> list[keras.Model]:
    """The networks of a method, in the order they were made."""
    return [layer for layer in method.layers if isinstance(layer, keras.Model)]


def count_parameters(network: keras.Model) -> int:
    """Trainable parameters; batch-norm averages do not count."""
    return sum(int(tf.size(v.value)) for v in network.trainable_variables)


def step_flop(method: Method, batch_size: int) -> int:
    """Floating-point operations of one iteration, counted in its traced graph."""
    blocks = tf.TensorSpec([method.batches_per_step, batch_size, *method.spec.shape], tf.float32)
    step = tf.TensorSpec([], tf.int64)
    return graph_flop(tf.function(method.train_step).get_concrete_function(blocks, step).graph)


def _activations(method: Method, config: TrainConfig) -> int:
    """Bytes that the auto-encoder step keeps for its backward pass: every layer's output."""
    size = 2 if config.precision == 'mixed_bfloat16' else 4
    outputs = [
        layer.output.shape
        for network in (method.encoder, method.decoder)
        for layer in network.layers
    ]
    return sum(config.batch_size * size * tf.TensorShape(s[1:]).num_elements() for s in outputs)


def _existing(path: str) -> pathlib.Path:
    """The nearest folder above `path` that exists."""
    folder = pathlib.Path(os.path.abspath(path))
    while not folder.exists():
        folder = folder.parent
    return folder


def _mib(num_bytes: int) -> str:
    return f'{num_bytes / 2**20:,.0f} MiB'
