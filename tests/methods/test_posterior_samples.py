"""Tests of codes and posteriors of many examples."""

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.config import TrainConfig
from flexae_tf.config.shared import MAX_SEED
from flexae_tf.methods.posterior_samples import NO_SPREAD, posterior_parameters, sample_codes
from tests.methods.building import build


@pytest.fixture(scope='module')
def make_method(synthetic):
    return lambda name: build(TrainConfig(method=name, dataset='synthetic_2d'), synthetic.spec)


@pytest.fixture(scope='module')
def x(synthetic):
    return synthetic.train.x[:1000]


def test_posterior_parameters_of_a_vae_are_means_and_log_variances(make_method, x):
    method = make_method('vae')
    mean, log_variance = (t.numpy() for t in method.posterior(tf.constant(x), training=False))
    expected = np.concatenate([mean, log_variance], axis=1)
    np.testing.assert_allclose(posterior_parameters(method, x, seed=0), expected, atol=1e-5)


def test_sample_codes_of_a_vae_samples_its_posteriors(make_method, x):
    method = make_method('vae')
    mean, log_variance = (t.numpy() for t in method.posterior(tf.constant(x), training=False))
    standardized = (sample_codes(method, x, seed=0) - mean) / np.exp(0.5 * log_variance)
    assert np.abs(standardized.mean(axis=0)).max() < 0.1
    np.testing.assert_allclose(standardized.std(axis=0), 1.0, atol=0.07)
    assert len(np.unique(standardized.round(4))) > 1500  # batches do not share their noise


def test_posterior_parameters_of_a_deterministic_method_have_no_spread(make_method, x):
    method = make_method('flexae')
    z = method.encode(x[:5]).numpy()
    np.testing.assert_allclose(sample_codes(method, x[:5], seed=0), z, atol=1e-6)
    expected = np.concatenate([z, np.full_like(z, NO_SPREAD)], axis=1)
    np.testing.assert_allclose(posterior_parameters(method, x[:5], seed=0), expected, atol=1e-6)


def test_sample_codes_accepts_the_largest_seed(make_method, x):
    codes = sample_codes(make_method('vae'), x[:600], seed=MAX_SEED)  # more than one batch
    assert codes.shape == (600, 2)
