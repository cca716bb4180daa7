"""Speed measurements: training steps, data pipeline, metrics and the Inception network."""

import dataclasses
import json
import statistics
import time
from typing import Any

import numpy as np
import tensorflow as tf

from flexae_tf import data, shutdown
from flexae_tf.config import BenchmarkConfig, TrainConfig
from flexae_tf.config.options import from_arguments
from flexae_tf.config.train import training_flagfiles
from flexae_tf.data import Dataset, DatasetSpec, Split, memory
from flexae_tf.data.batches import Batches
from flexae_tf.methods import AUTOENCODERS, resolve
from flexae_tf.metrics.table import METRICS, Features
from flexae_tf.training import disk_space, distribution, dry_run
from flexae_tf.training.trainer import Trainer

NETWORK_BATCH = 64  # images in a call of the Inception network
EXAMPLES = 10_000  # number of random examples; their values do not change the speed
IMAGE = (64, 64, 3)  # shape of the images of metrics of pairs
PIPELINE_STEPS = 200
PIPELINE_BATCHES = 6  # batches in an iteration of FlexAE


def benchmark(config: BenchmarkConfig) -> None:
    """Prints the measurements of `--subject` as one line of JSON.

    Raises:
        UsageError: the configuration cannot be trained.
        MissingDataError: the Inception network is missing, or images of `--dataset=folder` are.
    """
    measure = {
        'training': training_speed,
        'methods': methods_speed,
        'metrics': lambda _: metrics_speed(),
        'network': network_speed,
    }[config.subject]
    distribution.choose_devices(config.device)
    print(json.dumps({'device': distribution.describe_devices(), **measure(config)}))


def training_speed(config: BenchmarkConfig) -> dict[str, Any]:
    """Measures iterations of one training, and its data pipeline.

    Returns:
        Options, seconds of the first call (compilation included) and of each timed iteration,
        their median, images/s, TFLOP/s, and images/s of the pipeline.
    """
    spec = data.describe(config)
    config = resolve(config, spec)
    trainer = Trainer(config, _random_dataset(spec))
    seconds = [_step_seconds(trainer, step) for step in range(config.warmup + config.iterations)]
    median = statistics.median(seconds[config.warmup :])
    flop = dry_run.step_flop(trainer.method, config.batch_size)
    return {
        'tensorflow': tf.__version__,
        'method': config.method,
        'dataset': config.dataset,
        'width_multiplier': config.width_multiplier,
        'batch_size': config.batch_size,
        'critic_batches': config.critic_batches,
        'precision': config.precision,
        'jit_compile': config.jit_compile,
        'first_call_seconds': round(seconds[0], 2),
        'seconds_per_iteration': [round(s, 4) for s in seconds[config.warmup :]],
        'median': round(median, 4),
        'images_per_second': round(config.batch_size / median, 1),
        'tflop_per_second': round(flop / median / 1e12, 4),
        'pipeline_images_per_second': round(_pipeline_speed(config, spec)),
    }


def methods_speed(config: BenchmarkConfig) -> dict[str, Any]:
    """Measures iterations of every method with the values of its flagfiles.

    The methods take turns, so that other load on the machine affects all of them.

    Returns:
        By method: median seconds of an iteration, the same relative to FlexAE, and the bytes of a
        checkpoint and of a snapshot.
    """
    spec = data.describe(config)
    dataset = _random_dataset(spec)
    sizes = dict(width_multiplier=config.width_multiplier, batch_size=config.batch_size)
    sizes |= dict(precision=config.precision, jit_compile=config.jit_compile)
    trainers, seconds = {}, {}
    for name in AUTOENCODERS:
        flags = [f'--flagfile={path}' for path in training_flagfiles(name, config.dataset)]
        method_config = dataclasses.replace(from_arguments(TrainConfig, flags), **sizes)
        trainers[name], seconds[name] = Trainer(resolve(method_config, spec), dataset), []
    for step in range(config.iterations and config.warmup + config.iterations):
        for name, trainer in trainers.items():
            seconds[name].append(_step_seconds(trainer, step))
    report = {'dataset': config.dataset, 'iterations': config.iterations, **sizes}
    if config.iterations:
        medians = {m: statistics.median(found[config.warmup :]) for m, found in seconds.items()}
        flexae = medians['flexae']
        report['seconds'] = {m: round(median, 4) for m, median in medians.items()}
        report['over_flexae'] = {m: round(median / flexae, 3) for m, median in medians.items()}
    methods = {name: trainer.method for name, trainer in trainers.items()}
    report['checkpoint_bytes'] = {m: disk_space.num_bytes(x.state) for m, x in methods.items()}
    report['snapshot_bytes'] = {m: disk_space.num_bytes(x.weights) for m, x in methods.items()}
    return report


def network_speed(config: BenchmarkConfig) -> dict[str, float]:
    """Measures images/s of the Inception network, which computes the features of scores."""
    # Slow to import; the other subjects do not need it.
    from flexae_tf.evaluation.feature_network import FeatureNetwork

    network = FeatureNetwork(config.inception_path, config.feature_layer, batch_size=NETWORK_BATCH)
    x = np.random.RandomState(0).randint(0, 256, [NETWORK_BATCH, 28, 28, 1]).astype(np.uint8)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        network.features(x)
        seconds.append(time.perf_counter() - started)
    return {'images_per_second': round(NETWORK_BATCH / min(seconds), 2)}


def metrics_speed() -> dict[str, float | dict[str, float]]:
    """Measures seconds of each metric except of codes, and the peak memory of all in GiB."""
    rng = np.random.default_rng(0)

    def random_features(mean: float) -> Features:
        rows = rng.normal(mean, size=[EXAMPLES, 2048]).astype(np.float32)
        return Features(rows, rng.normal(size=[EXAMPLES, 1008]).astype(np.float32))

    def random_images() -> Features:
        return Features(rng.integers(0, 256, [EXAMPLES, *IMAGE], dtype=np.uint8))

    features = random_features(0.0), random_features(0.1)
    images = random_images(), random_images()
    seconds = {}
    for name, metric in METRICS.items():
        if metric.of_codes:
            continue
        shutdown.check('between metrics')
        started = time.perf_counter()
        metric.compute(*(images if metric.of_pairs else features))
        seconds[name] = round(time.perf_counter() - started, 1)
    return {'seconds': seconds, 'peak_memory_gb': round(memory.peak(), 2)}


def _step_seconds(trainer: Trainer, step: int) -> float:
    shutdown.check('between steps')
    started = time.perf_counter()
    trainer.run_steps(tf.constant(step, tf.int64), tf.constant(1, tf.int64)).numpy()
    return time.perf_counter() - started


def _random_dataset(spec: DatasetSpec) -> Dataset:
    rng = np.random.RandomState(0)
    if spec.kind == 'images':
        x = rng.randint(0, 256, [EXAMPLES, *spec.shape]).astype(np.uint8)
    else:
        x = rng.rand(EXAMPLES, *spec.shape).astype(np.float32)
    return Dataset(spec, Split(x), Split(x[:100]), Split(x[:100]))


def _pipeline_speed(config: BenchmarkConfig, spec: DatasetSpec) -> float:
    """Measures examples/s of `Batches`: selecting, gathering and scaling."""
    x = _random_dataset(spec).train.x
    batches = Batches(x, batches_per_step=PIPELINE_BATCHES, batch_size=config.batch_size, seed=0)

    @tf.function
    def run(count: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for step in tf.range(count):
            total += tf.reduce_sum(batches(step)[:, :, :1])  # keeps TensorFlow from pruning them
        return total

    run(tf.constant(2))
    started = time.perf_counter()
    run(tf.constant(PIPELINE_STEPS)).numpy()
    elapsed = time.perf_counter() - started
    return PIPELINE_STEPS * PIPELINE_BATCHES * config.batch_size / elapsed
