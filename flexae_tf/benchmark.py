"""How fast a training would run here, measured: the iteration, and the data pipeline alone."""

import json
import resource
import statistics
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import BenchmarkConfig
from flexae_tf.data import Dataset, DatasetSpec, Split
from flexae_tf.data.batches import Batches
from flexae_tf.experiments.plans import method_config
from flexae_tf.methods import AUTOENCODERS, resolve
from flexae_tf.metrics.table import METRICS, Features
from flexae_tf.training import distribution, dry_run
from flexae_tf.training.trainer import Trainer

NETWORK_BATCH = 64  # images in a call of the network
EXAMPLES = 10_000  # random examples stand in for the data: their values do not change the speed


def benchmark(config: BenchmarkConfig) -> None:
    """Prints one line of JSON: seconds per iteration, TFLOP/s, and the pipeline's images/s.

    With `subject='methods'` instead the seconds of an iteration of every method, with
    `subject='metrics'` those of every metric, with `subject='network'` its images/s.

    Raises:
        UsageError: a configuration that cannot be run.
        MissingDataError: no network where it should be.
    """
    device = distribution.choose_devices(config.device)
    if config.subject == 'metrics':
        print(json.dumps({'device': device, **_metrics_speed()}))
        return
    if config.subject == 'network':
        print(json.dumps({'device': device, **_network_speed(config)}))
        return
    if config.subject == 'methods':
        print(json.dumps({'device': device, **_methods_speed(config)}))
        return
    spec = data.describe(config)
    config = resolve(config, spec)
    trainer = Trainer(config, _random_dataset(spec))
    seconds = [_seconds(trainer, step) for step in range(config.warmup + config.iterations)]
    median = statistics.median(seconds[config.warmup :])
    report = {
        'device': device,
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
        'tflop_per_second': round(
            dry_run.step_flop(trainer.method, config.batch_size) / median / 1e12, 4
        ),
        'pipeline_images_per_second': round(_pipeline_speed(config, spec)),
    }
    print(json.dumps(report))


def _seconds(trainer: Trainer, step: int) -> float:
    """How long an iteration takes."""
    started = time.perf_counter()
    trainer.run_steps(tf.constant(step, tf.int64), tf.constant(1, tf.int64)).numpy()
    return time.perf_counter() - started


def _methods_speed(config: BenchmarkConfig) -> dict[str, Any]:
    """Seconds of an iteration of every method, over those of FlexAE too, and what is saved of it.

    They take turns, so that whatever else the machine does hits them alike.
    """
    spec = data.describe(config)
    dataset = _random_dataset(spec)
    sizes = dict(width_multiplier=config.width_multiplier, batch_size=config.batch_size)
    sizes |= dict(precision=config.precision, jit_compile=config.jit_compile)
    trainers, seconds = {}, {}
    for name in AUTOENCODERS:
        own = method_config(name, config.dataset, **sizes)
        trainers[name], seconds[name] = Trainer(resolve(own, spec), dataset), []
    for step in range(config.iterations and config.warmup + config.iterations):
        for name, trainer in trainers.items():
            seconds[name].append(_seconds(trainer, step))
    report = {'dataset': config.dataset, 'iterations': config.iterations, **sizes}
    if config.iterations:
        medians = {m: statistics.median(found[config.warmup :]) for m, found in seconds.items()}
        report['seconds'] = {m: round(median, 4) for m, median in medians.items()}
        flexae = medians['flexae']
        report['over_flexae'] = {m: round(median / flexae, 3) for m, median in medians.items()}
    methods = {name: trainer.method for name, trainer in trainers.items()}
    report['checkpoint_bytes'] = {m: _bytes(method.state) for m, method in methods.items()}
    report['snapshot_bytes'] = {m: _bytes(method.weights) for m, method in methods.items()}
    return report


def _bytes(variables: Iterable[Any]) -> int:
    return 4 * sum(int(tf.size(variable.value)) for variable in variables)


def _random_dataset(spec: DatasetSpec) -> Dataset:
    rng = np.random.RandomState(0)
    if spec.kind == 'images':
        x = rng.randint(0, 256, [EXAMPLES, *spec.shape]).astype(np.uint8)
    else:
        x = rng.rand(EXAMPLES, *spec.shape).astype(np.float32)
    return Dataset(spec, Split(x), Split(x[:100]), Split(x[:100]))


def _pipeline_speed(config: BenchmarkConfig, spec: DatasetSpec, steps: int = 200) -> float:
    """Examples per second of `Batches` alone, drawn, gathered and scaled."""
    x = _random_dataset(spec).train.x
    batches = Batches(x, batches_per_step=6, batch_size=config.batch_size, seed=0)

    @tf.function
    def run(count: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for step in tf.range(count):
            total += tf.reduce_sum(batches(step)[:, :, :1])  # makes sure that they were made
        return total

    run(tf.constant(2))
    started = time.perf_counter()
    run(tf.constant(steps)).numpy()
    return steps * 6 * config.batch_size / (time.perf_counter() - started)


def _network_speed(config: BenchmarkConfig) -> dict[str, float]:
    """Images per second of the network that images are compared by."""
    from flexae_tf.evaluation.inception import Inception  # what a training is timed without

    network = Inception(config.inception_path, config.feature_layer, batch_size=NETWORK_BATCH)
    x = np.random.RandomState(0).randint(0, 256, [NETWORK_BATCH, 28, 28, 1]).astype(np.uint8)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        network.features(x)
        seconds.append(time.perf_counter() - started)
    return {'images_per_second': round(NETWORK_BATCH / min(seconds), 2)}


def _metrics_speed() -> dict[str, float | dict[str, float]]:
    """Seconds of each metric, and the memory that all of them needed."""
    rng = np.random.default_rng(0)

    def draw(offset: float) -> Features:
        rows = rng.normal(offset, size=[EXAMPLES, 2048]).astype(np.float32)
        return Features(rows, rng.normal(size=[EXAMPLES, 1008]).astype(np.float32))

    real, fake = draw(0.0), draw(0.1)
    seconds = {}
    for name, metric in METRICS.items():
        if metric.of_codes:
            continue
        started = time.perf_counter()
        metric.compute(real, fake)
        seconds[name] = round(time.perf_counter() - started, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {'seconds': seconds, 'peak_memory_gb': round(peak, 2)}
