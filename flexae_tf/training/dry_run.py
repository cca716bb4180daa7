"""Sizes and requirements of a run, printed before its first step (`--dry_run`)."""

import dataclasses

import keras
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.data.stored_rows import StoredRows
from flexae_tf.errors import MissingDataError
from flexae_tf.methods import build_method
from flexae_tf.methods.base import Method
from flexae_tf.training import disk_space
from flexae_tf.training.disk_space import mib, num_bytes
from flexae_tf.training.flops import graph_flop
from flexae_tf.training.restore import initialize
from flexae_tf.training.workdir import is_started


def show(config: ResolvedConfig, spec: DatasetSpec) -> None:
    """Prints the resolved configuration, sizes, cost, and missing data.

    Args:
        config: the resolved configuration.
        spec: description of its data.

    Raises:
        MissingDataError: the data are missing; raised after everything else is printed.
    """
    for name, value in dataclasses.asdict(config).items():
        print(f'--{name}={value}')
    method = build_method(config, spec)
    if config.init_from and not is_started(config):
        print(f'\n{initialize(method, config)}')
    row = method.method_spec
    print(f'\nmethod: {row.name} (prior {row.prior or row.density}, posterior {row.posterior})')
    print(
        f'\nexamples: {spec.kind} {spec.shape}, {spec.train_size} training, {spec.test_size} test'
    )
    print('trainable parameters:')
    for network in networks(method):
        print(f'  {network.name:<10} {count_parameters(network) / 1e6:.3f} million')
    flop = step_flop(method, config.batch_size)
    state = num_bytes(method.state)
    print(f'one iteration: {flop / 1e12:.4g} TFLOP')
    print(f'memory: {mib(state)} of weights and moments, {mib(_activations(method, config))}')
    print('        of activations in the auto-encoder step (an estimate)')
    disk, free = disk_space.needed(config, method), disk_space.free(config.workdir or '.')
    print(f'disk: {mib(disk)} of checkpoints; {mib(free)} free')
    if disk > free:
        print(f'WARNING: not enough disk: {disk_space.HINT}')
    try:
        dataset = data.load(dataclasses.replace(config, download=False))
    except MissingDataError as error:
        raise MissingDataError(f'{error} Nothing else is missing.') from None
    x = dataset.train.x
    print(
        f'data: {len(dataset.train)} training, {len(dataset.validation)} validation, '
        f'{len(dataset.test)} test examples, {mib(x.nbytes)} '
        f'{"on disk" if isinstance(x, StoredRows) else "in host memory"}'
    )
    print('nothing is missing')


def networks(method: Method) -> list[keras.Model]:
    """Returns the networks of a method in the order of their creation."""
    return [layer for layer in method.layers if isinstance(layer, keras.Model)]


def count_parameters(network: keras.Model) -> int:
    """Returns the number of trainable parameters; batch-norm averages do not count."""
    return sum(int(tf.size(v.value)) for v in network.trainable_variables)


def step_flop(method: Method, batch_size: int) -> int:
    """Returns the floating-point operations of one iteration, counted in its traced graph."""
    batches = tf.TensorSpec([method.batches_per_step, batch_size, *method.spec.shape], tf.float32)
    step = tf.TensorSpec([], tf.int64)
    return graph_flop(tf.function(method.train_step).get_concrete_function(batches, step).graph)


def _activations(method: Method, config: ResolvedConfig) -> int:
    """Returns the bytes of all layer outputs, kept for the backward pass of the AE step."""
    size = 2 if config.precision == 'mixed_bfloat16' else 4
    outputs = [
        layer.output.shape
        for network in (method.encoder, method.decoder)
        for layer in network.layers
    ]
    return sum(config.batch_size * size * tf.TensorShape(s[1:]).num_elements() for s in outputs)
