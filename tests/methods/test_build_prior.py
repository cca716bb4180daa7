"""Tests that a method has the prior of its row of the table."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from flexae_tf import priors
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec, synthetic
from flexae_tf.errors import UsageError
from flexae_tf.methods import METHODS, resolve
from flexae_tf.methods.base import six_gaussians
from tests.methods.building import REQUIRED

VECTORS = DatasetSpec('synthetic_2d', 'vectors', (128,), 15_000, 10_000, (-1.0, 1.0))
CODES = DatasetSpec('codes', 'vectors', (4,), None, None, (-9.0, 9.0))
PRIORS = (
    None,
    'StandardNormal',
    'GaussianMixture',
    'LearnedPrior',
    'VampPrior',
    'FlowPrior',
    'ImplicitPrior',
    'MaskedNormal',
)
ALLOWED = {  # of the classes that can have a prior beside their row's
    'FlexAE': {'LearnedPrior', 'StandardNormal', 'GaussianMixture'},
    'Vae': {'VampPrior', 'FlowPrior', 'StandardNormal', 'GaussianMixture'},
    'Wae': {'StandardNormal', 'GaussianMixture'},
}


def build_with(name, prior, **options):
    """Builds a method whose row has another prior."""
    row = METHODS[name]
    sizes = dict(dataset='synthetic_2d', batch_size=6, latent_dim=4, critic_steps=1)
    spec = VECTORS
    if row.trains_on_codes:
        sizes |= dict(dataset='codes', network='synthetic')
        spec = CODES
    config = resolve(TrainConfig(method=name, **REQUIRED.get(name, {}), **sizes), spec)
    config = dataclasses.replace(config, **options)
    return row.load_class()(config, spec, dataclasses.replace(row, prior=prior))


@pytest.mark.parametrize('name', METHODS)
def test_build_prior_builds_the_prior_of_the_row(name):
    expected = METHODS[name].prior
    prior = build_with(name, expected).prior
    assert type(prior) is (getattr(priors, expected) if expected else type(None))


@pytest.mark.parametrize('prior', PRIORS)
@pytest.mark.parametrize(
    'name', ['flexae', 'flexae_sr', 'vae', 'vae_iop', 'wae_gan', 'rae_gmm', 'injflow', 'mask_aae']
)
def test_build_prior_follows_a_swapped_row_or_refuses_it(name, prior):
    row = METHODS[name]
    options = dict(mixture='circle', num_pseudo_inputs=3)
    if prior in ALLOWED.get(row.load_class().__name__, {row.prior}):
        method = build_with(name, prior, **options)
        assert type(method.prior) is (getattr(priors, prior) if prior else type(None))
        batches = tf.zeros([method.batches_per_step, 6, 128])
        values = method.train_step(batches, tf.constant(1, tf.int64))
        assert set(values) == set(method.tags)
        assert all(np.isfinite(value) for value in values.values())
    else:
        with pytest.raises(UsageError, match=f'--method={name}: .* cannot have the prior {prior}'):
            build_with(name, prior, **options)


@pytest.mark.parametrize(
    ('name', 'prior', 'flag'),
    [('vae', 'VampPrior', 'num_pseudo_inputs'), ('wae_gan', 'GaussianMixture', 'mixture')],
)
def test_build_prior_refuses_a_row_without_the_options_of_its_prior(name, prior, flag):
    with pytest.raises(UsageError, match=f'--{flag}: missing, --method={name} has the prior'):
        build_with(name, prior)


def test_mixture_data_is_the_distribution_of_the_latent_vectors():
    prior = six_gaussians(TrainConfig(method='wae_gmm_prior', mixture='data', latent_dim=2))
    _, latents, _ = synthetic.six_gaussians(2).sample(4000, 5)
    codes = prior.sample(4000, seed=0).numpy()
    for i in range(2):
        assert scipy.stats.ks_2samp(latents[:, i], codes[:, i]).pvalue > 1e-3
    assert float(tf.reduce_mean(prior.log_prob(latents))) == pytest.approx(
        float(tf.reduce_mean(prior.log_prob(codes))), abs=0.06
    )


def test_mixture_circle_has_six_components():
    prior = six_gaussians(TrainConfig(method='wae_gmm_prior', mixture='circle', latent_dim=3))
    z = prior.sample(6000, seed=0).numpy()
    angles = np.arctan2(z[:, 1], z[:, 0])
    sixths = np.round(angles / (np.pi / 3)).astype(int) % 6
    assert scipy.stats.chisquare(np.bincount(sixths)).pvalue > 1e-3
    centers = 6 * np.stack([np.cos(sixths * np.pi / 3), np.sin(sixths * np.pi / 3)], axis=1)
    np.testing.assert_allclose((z[:, :2] - centers).std(axis=0), np.ones(2), atol=0.04)
    assert scipy.stats.kstest(z[:, 2], 'norm').pvalue > 1e-3
