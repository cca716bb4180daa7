"""The evaluation program: examples -> features, once per set -> scores in scores.jsonl."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import EvaluateConfig, TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.data.batches import map_batches
from flexae_tf.errors import UsageError
from flexae_tf.metrics.frechet import frechet_distance
from flexae_tf.metrics.inception import Inception
from flexae_tf.metrics.protocol import Protocol, raw_protocol
from flexae_tf.metrics.raw import finish, raw_features
from flexae_tf.training import distribution
from flexae_tf.training.runs import Run, open_run
from flexae_tf.training.workdir import append_json, code_version


def evaluate(config: EvaluateConfig) -> None:
    """Scores a run and appends to its scores.jsonl.

    Three distances, all from the same test examples: of their reconstructions (`rec`), of as many
    samples (`gen`), and of as many training examples, if there are (`floor`: what sampling alone
    costs, which no model can be expected to beat).

    Raises:
        UserError: whatever the user can mend.
    """
    print(distribution.choose_devices(config.device), flush=True)
    run = open_run(config.workdir, config.checkpoint)
    overrides = {'data_dir': config.data_dir} if config.data_dir else {}
    run_config = dataclasses.replace(run.config, **overrides)
    dataset = data.load(run_config)
    run.workdir.check_examples(dataset)
    num = min(config.num_examples, len(dataset.test))
    # A random choice, the same for every run: the paper scores 10000 of CelebA's test images.
    x = dataset.test.x[data.fixed_order(len(dataset.test), index=2)[:num]]

    features, protocol = _features(config, run_config, run.spec, x)
    sets = {'rec': _reconstructions(run, x, config), 'gen': _samples(run, num, config)}
    if len(dataset.train) >= num:
        sets['floor'] = dataset.train.x[:num]
    started = time.monotonic()
    real = features(x)
    for kind, fake in sets.items():
        value = frechet_distance(real, features(fake))
        record = {
            'step': run.step,
            'metric': protocol.name(kind),
            'value': value,
            'n': num,
            'split': protocol.split,
            'protocol': protocol.id,
            'seed': run.config.seed,
            'sample_seed': config.sample_seed if kind == 'gen' else None,
            'checkpoint': run.digest,
            'code': code_version(),
            'seconds': round(time.monotonic() - started, 2),
        }
        append_json(run.workdir.scores, record)
        print(f'{record["metric"]} {value:.4f}  (step {run.step}, protocol {protocol.id})')
        started = time.monotonic()


def _features(
    config: EvaluateConfig, run_config: TrainConfig, spec: DatasetSpec, x: np.ndarray
) -> tuple[Callable[[np.ndarray], np.ndarray], Protocol]:
    """What turns examples into feature rows [n, d], and the protocol of the scores."""
    protocol = raw_protocol(run_config, spec, split='test', x=x)
    if config.features == 'pixels':
        return raw_features, protocol
    if spec.kind != 'images':
        raise UsageError('--features=inception is for images; vectors have --features=pixels')
    network = Inception(config.inception_path, config.feature_layer, config.batch_size)
    return network.features, protocol.on_network(network)


def _reconstructions(run: Run, x: np.ndarray, config: EvaluateConfig) -> np.ndarray:
    x_hat = map_batches(tf.function(run.method.reconstruct), x, config.batch_size)
    return finish(x_hat, run.spec)


def _samples(run: Run, num: int, config: EvaluateConfig) -> np.ndarray:
    z = run.method.sample_latent(num, config.sample_seed).numpy()
    return finish(map_batches(tf.function(run.method.decode), z, config.batch_size), run.spec)
