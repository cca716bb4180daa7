"""The benchmark program: its subjects, and the ones that need no more than a function."""

import dataclasses
import statistics
import time
from typing import Any

import numpy as np

from flexae_tf import data, shutdown
from flexae_tf.benchmark import communication
from flexae_tf.benchmark.compare import compare, take_turns
from flexae_tf.benchmark.report import to_json, to_text
from flexae_tf.benchmark.timing import FunctionTimer, LoopTimer, in_turns, random_dataset
from flexae_tf.benchmark.training import training_report
from flexae_tf.config import BenchmarkConfig, TrainConfig
from flexae_tf.config.options import from_arguments
from flexae_tf.config.train import training_flagfiles
from flexae_tf.data import memory
from flexae_tf.methods import AUTOENCODERS, resolve
from flexae_tf.metrics.table import METRICS, Features
from flexae_tf.training import disk_space, distribution
from flexae_tf.training.trainer import Trainer

NETWORK_BATCH = 64  # images in a call of the Inception network
EXAMPLES = 10_000  # rows of random features
IMAGE = (64, 64, 3)  # shape of the images of metrics of pairs


def benchmark(config: BenchmarkConfig) -> None:
    """Prints the measurements of `--subject` or `--compare`.

    Raises:
        UsageError: the configuration cannot be trained.
        MissingDataError: the Inception network is missing, or images of `--dataset=folder` are.
        NonFiniteLossError: a timed training diverged.
        FailedVariantError: a variant of `--compare` failed; the others are printed.
    """
    if config.compare:
        found, error = compare(config)
        _print(config, found)
        if error:
            raise error
        return
    if config.subject == 'communication':
        communication.start()
        _print(config, communication.communication_report(config))
        return
    distribution.choose_devices(config.device, config.distribution)
    if config.subject == 'turns':
        take_turns(config)
        return
    measure = {
        'training': training_report,
        'methods': methods_speed,
        'metrics': metrics_speed,
        'network': network_speed,
    }[config.subject]
    _print(config, {'device': distribution.describe_devices(), **measure(config)})


def _print(config: BenchmarkConfig, found: dict[str, Any]) -> None:
    print(to_json(found) if config.json else to_text(found), flush=True)


def methods_speed(config: BenchmarkConfig) -> dict[str, Any]:
    """Measures iterations of every method with the values of its flagfiles.

    The methods take turns, so that other load on the machine affects all of them.

    Returns:
        By method: median seconds of an iteration, the same relative to FlexAE, and the bytes of a
        checkpoint and of a snapshot.
    """
    spec = data.describe(config)
    dataset = random_dataset(spec)
    sizes = dict(width_multiplier=config.width_multiplier, batch_size=config.batch_size)
    sizes |= dict(precision=config.precision, jit_compile=config.jit_compile)
    trainers = {}
    for name in AUTOENCODERS:
        flags = [f'--flagfile={path}' for path in training_flagfiles(name, config.dataset)]
        method_config = dataclasses.replace(from_arguments(TrainConfig, flags), **sizes)
        trainers[name] = Trainer(resolve(method_config, spec), dataset)
    report = {'dataset': config.dataset, 'iterations': config.iterations, **sizes}
    if config.iterations:
        timers = [LoopTimer(trainer, config.warmup) for trainer in trainers.values()]
        rounds = in_turns(timers, config.iterations)
        medians = dict(zip(trainers, map(statistics.median, rounds), strict=True))
        report['seconds'] = medians
        report['over_flexae'] = {m: median / medians['flexae'] for m, median in medians.items()}
    methods = {name: trainer.method for name, trainer in trainers.items()}
    report['checkpoint_bytes'] = {m: disk_space.num_bytes(x.state) for m, x in methods.items()}
    report['snapshot_bytes'] = {m: disk_space.num_bytes(x.weights) for m, x in methods.items()}
    return report


def network_speed(config: BenchmarkConfig) -> dict[str, float]:
    """Measures images/s of the feature pass of evaluation, the Inception network."""
    # Slow to import; the other subjects do not need it.
    from flexae_tf.evaluation.feature_network import FeatureNetwork

    network = FeatureNetwork(config.inception_path, config.feature_layer, batch_size=NETWORK_BATCH)
    x = np.random.RandomState(0).randint(0, 256, [NETWORK_BATCH, 28, 28, 1]).astype(np.uint8)
    timer = FunctionTimer(lambda: network.features(x))
    (seconds,) = in_turns([timer], config.iterations)
    return {
        'images_in_a_call': NETWORK_BATCH,
        'images_per_second': NETWORK_BATCH / statistics.median(seconds),
        'minimum': NETWORK_BATCH / max(seconds),
        'maximum': NETWORK_BATCH / min(seconds),
    }


def metrics_speed(config: BenchmarkConfig) -> dict[str, Any]:
    """Measures seconds of each metric except of codes, and the peak memory of all in GiB."""
    del config
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
        if metric.compares not in ('features', 'pairs'):
            continue
        shutdown.check('between metrics')
        started = time.perf_counter()
        metric.compute(*(images if metric.compares == 'pairs' else features))
        seconds[name] = time.perf_counter() - started
    return {'peak_memory_gib': memory.peak(), 'seconds': seconds}
