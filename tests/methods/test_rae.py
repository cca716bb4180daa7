"""Tests of AE and RAE, and of summaries without a prior."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import losses
from flexae_tf.config import TrainConfig
from flexae_tf.data import Dataset, DatasetSpec, Split
from flexae_tf.training.restore import initial_state
from flexae_tf.training.run_log import WorkdirLog
from flexae_tf.training.summaries import Summaries
from flexae_tf.training.workdir import Workdir
from tests.methods.building import build

IMAGES = DatasetSpec('mnist', 'images', (28, 28, 1), 60_000, 10_000, (0.0, 1.0))
VECTORS = DatasetSpec('synthetic_2d', 'vectors', (128,), 15_000, 10_000, (-1.0, 1.0))
WEIGHTS = dict(code_weight=0.3, decoder_weight=0.07)


def floats(values):
    return {tag: float(value) for tag, value in values.items()}


def make(method, spec=VECTORS, **options):
    small = dict(method=method, width_multiplier=0.05, latent_dim=4, batch_size=6)
    return build(TrainConfig(**{**small, **options}), spec)


@pytest.mark.parametrize(('spec', 'count'), [(VECTORS, 1), (IMAGES, 6)], ids=['vectors', 'images'])
def test_decoder_kernels_are_all_kernels_of_the_decoder(spec, count):
    method = make('rae_gmm', spec, **WEIGHTS)
    rng = np.random.default_rng(0)
    for v in method.weights:  # biases and batch-norm weights start as zeros and ones
        v.assign(rng.uniform(0.5, 1.5, v.shape))
    kernels = [v.numpy() for v in method.decoder.weights if len(v.shape) > 1]
    assert len(kernels) == count  # FC_base, four transposed convolutions, the last convolution
    expected = sum(np.sum(k.astype(np.float64) ** 2) for k in kernels)
    found = losses.decoder_penalty(method.decoder_kernels)
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(('name', 'a', 'b'), [('ae_gmm', 0.0, 0.0), ('rae_gmm', 0.3, 0.07)])
def test_rae_losses_equal_their_equations(name, a, b):
    method = make(name, **(WEIGHTS if a else {}))
    x = tf.constant(np.random.RandomState(0).uniform(-1.0, 1.0, [6, 128]), tf.float32)
    with tf.GradientTape() as tape:
        z = method.encoder(x)
        x_hat = method.decoder(z)
        kernel, _ = method.decoder.trainable_variables
        total = tf.reduce_sum((x - x_hat) ** 2) / 6
        total += a * tf.reduce_sum(z**2) / 6 + b * tf.reduce_sum(tf.square(kernel))
    gradients = tape.gradient(total, method.autoencoder_variables)
    norm = np.sqrt(sum(np.sum(g.numpy() ** 2) for g in gradients))
    sse = np.mean(np.sum((x.numpy() - x_hat.numpy()) ** 2, axis=1))
    expected = {
        'loss/ae': sse,
        'loss/code_penalty': np.mean(np.sum(z.numpy() ** 2, axis=1)),
        'loss/decoder_penalty': np.sum(kernel.numpy() ** 2),
        'loss/total': total,
        'grad_norm/ae': norm,
    }
    found = method.train_step(x[None], tf.constant(0, tf.int64))
    assert floats(found) == pytest.approx(floats(expected), rel=1e-5)


def test_summaries_of_a_method_without_prior_have_no_samples(short_networks, tmp_path):
    rng = np.random.RandomState(0)
    split = Split(rng.randint(0, 256, [20, 8, 8, 1]).astype(np.uint8))
    spec = dataclasses.replace(IMAGES, shape=(8, 8, 1))
    dataset = Dataset(spec, split, split, split)
    for name, options in (('ae_gmm', {}), ('injflow', dict(volume_weight=0.01))):
        method = make(name, spec, dataset='mnist', **options)
        workdir = Workdir(tmp_path / name)
        log = WorkdirLog(workdir, method.config, method, initial_state(method))
        with log.opened(dataset):
            summaries = Summaries(method, dataset, log)
            statistics = summaries.sample(3)
            scores = summaries.evaluate()
        assert np.isfinite([*statistics.values(), *scores.values()]).all()
        images = {path.name.split('_')[0] for path in workdir.samples.iterdir()}
        own = {'validation/ae', 'latent/z_norm', 'latent/z_scale', 'latent/z_rank'}
        kinds = {tag.split('/')[1].rsplit('_', 1)[1] for tag in scores}
        if name == 'ae_gmm':
            assert set(statistics) == own and images == {'recon'} and kinds == {'rec'}
        else:
            assert set(statistics) > own and kinds == {'rec', 'gen'}
            assert images == {'recon', 'fakes', 'interp'}
