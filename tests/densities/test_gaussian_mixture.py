import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from sklearn import mixture

from flexae_tf.densities import densities
from flexae_tf.errors import NonFiniteLossError, UsageError
from flexae_tf.methods.posterior_samples import sample_codes


def test_gaussian_mixture_equals_that_of_scikit_learn(run, dataset):
    codes = sample_codes(run.method, dataset.train.x, seed=0).astype(np.float64)
    expected = mixture.GaussianMixture(10, max_iter=2000, random_state=0).fit(codes)
    prior = densities.fit(run, 'gaussian_mixture', dataset).method.prior
    log_prob = prior.log_prob(tf.constant(codes[:50], tf.float32))
    np.testing.assert_allclose(log_prob, expected.score_samples(codes[:50]), rtol=1e-3, atol=1e-3)
    z = run.method.sample_latent(20_000, seed=1).numpy()
    np.testing.assert_allclose(z.mean(axis=0), codes.mean(axis=0), atol=0.03 * codes.std())
    np.testing.assert_allclose(np.cov(z.T), np.cov(codes.T), atol=0.05 * codes.var())


def test_gaussian_mixture_refuses_steps(run, dataset):
    with pytest.raises(UsageError, match='--density_steps=6: .* not trained by steps'):
        densities.fit(run, 'gaussian_mixture', dataset, steps=6)


def test_gaussian_mixture_refuses_fewer_examples_than_components(run, dataset):
    few = dataclasses.replace(dataset, train=dataset.train.take(np.arange(9)))
    with pytest.raises(UsageError, match='9 training examples are too few'):
        densities.fit(run, 'gaussian_mixture', few)


def test_gaussian_mixture_refuses_codes_that_are_not_finite(run, dataset):
    for v in run.method.encoder.weights:
        v.assign(tf.fill(v.shape, np.nan))
    with pytest.raises(NonFiniteLossError, match='codes of step 30 .*NaN'):
        densities.fit(run, 'gaussian_mixture', dataset)
