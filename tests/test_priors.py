"""Priors compared with the distributions of SciPy."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from flexae_tf import noise, priors
from flexae_tf.networks import flow as flow_lib
from flexae_tf.networks.latent import Generator
from flexae_tf.noise import Role

KEY = (7, 3, Role.SAMPLE)
NUM = 40_000  # samples; their mean is within 0.02 standard deviations of the true mean

WEIGHTS = np.array([2.0, 5.0, 1.0])  # of the mixture; they do not sum to 1
PROBABILITIES = WEIGHTS / 8.0
MEANS = np.array(
    [[0.0, 0.0], [20.0, -20.0], [-20.0, 20.0]]
)  # far apart, so that the nearest is the component
SCALE_TRIL = np.array(
    [[[1.0, 0.0], [0.0, 0.5]], [[2.0, 0.0], [-1.0, 0.3]], [[0.4, 0.0], [0.3, 1.0]]]
)


def mixture():
    return priors.GaussianMixture(WEIGHTS, MEANS, SCALE_TRIL)


def mixture_log_prob(z, probabilities, means, covariances):
    """Returns the log density of a mixture at codes [n, m] by SciPy, as [n]."""
    terms = [
        np.log(probability) + scipy.stats.multivariate_normal(mean, covariance).logpdf(z)
        for probability, mean, covariance in zip(probabilities, means, covariances, strict=True)
    ]
    return scipy.special.logsumexp(terms, axis=0)


def vamp(means, log_variances):
    posteriors = (tf.constant(means, tf.float32), tf.constant(log_variances, tf.float32))
    return priors.VampPrior(lambda: posteriors)


def tilted(mean, deviation):
    """Returns the implicit prior with the distribution N(mean, deviation^2)."""

    def log_ratio(z):
        log_variance = 2.0 * np.log(deviation).astype(np.float32)
        ratio = priors.normal_log_prob(z, mean, log_variance) - priors.normal_log_prob(z, 0.0, 0.0)
        return ratio[:, None]

    return priors.ImplicitPrior(log_ratio, len(mean))


def every_prior():
    """Returns a prior of each class, with codes in two dimensions."""
    mask = tf.Variable([1.0, 0.25])
    return {
        'normal': priors.StandardNormal(2),
        'learned': priors.LearnedPrior(Generator((8,), noise_dim=3, latent_dim=2, seed=0), 3),
        'masked': priors.MaskedNormal(lambda: mask, 2),
        'flow': priors.FlowPrior(flow_lib.MaskedAutoregressiveFlow(2, seed=0), 2),
        'mixture': mixture(),
        'vamp': vamp(MEANS, np.zeros_like(MEANS)),
        'implicit': tilted(np.float32([0.5, -0.5]), np.float32([0.8, 1.0])),
    }


@pytest.fixture(params=every_prior())
def prior(request):
    return every_prior()[request.param]


def test_sample_with_key_is_a_function_of_the_key(prior):
    codes = prior.sample_with_key(70, noise.key(*KEY))
    assert codes.shape == (70, 2) and codes.dtype == tf.float32
    np.testing.assert_array_equal(codes, prior.sample_with_key(70, noise.key(*KEY)))
    assert len(np.unique(codes.numpy()[:, 0])) == 70
    other = prior.sample_with_key(70, noise.key(7, 4, Role.SAMPLE)).numpy()
    assert not np.isin(other[:, 0], codes.numpy()[:, 0]).any()
    np.testing.assert_array_equal(
        prior.sample(70, seed=5), prior.sample_with_key(70, noise.key(5, 0, Role.SAMPLE))
    )


def test_sample_with_key_of_fewer_codes_is_a_prefix(prior):
    block = priors.ImplicitPrior.BLOCK
    longest = prior.sample_with_key(2 * block + 1, noise.key(*KEY)).numpy()
    for num in (1, block - 1, block, block + 1):
        codes = prior.sample_with_key(num, noise.key(*KEY)).numpy()
        assert codes.shape == (num, 2)
        # A matrix product may group its sums by the number of rows.
        np.testing.assert_allclose(codes, longest[:num], atol=1e-6)


def test_sample_with_key_takes_a_tensor_as_number(prior):
    function = tf.function(lambda num: prior.sample_with_key(num, noise.key(*KEY)))
    for num in (3, 65, 70):
        codes = function(tf.constant(num))
        np.testing.assert_allclose(codes, prior.sample_with_key(num, noise.key(*KEY)), atol=1e-5)
    assert function.experimental_get_tracing_count() == 1


def test_standard_normal_has_its_moments_and_density():
    prior = priors.StandardNormal(3)
    z = prior.sample_with_key(NUM, noise.key(*KEY)).numpy()
    np.testing.assert_allclose(z.mean(axis=0), np.zeros(3), atol=0.02)
    np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=0.03)
    expected = scipy.stats.multivariate_normal(np.zeros(3)).logpdf(z[:50])
    np.testing.assert_allclose(prior.log_prob(z[:50]), expected, rtol=1e-5)


def test_normal_log_prob_is_the_one_of_scipy():
    rng = np.random.default_rng(0)
    z, mean, log_variance = rng.normal(size=[3, 20, 4]).astype(np.float32)
    expected = scipy.stats.norm(mean, np.exp(log_variance / 2)).logpdf(z).sum(axis=1)
    np.testing.assert_allclose(priors.normal_log_prob(z, mean, log_variance), expected, rtol=1e-5)


def test_gaussian_mixture_has_its_probabilities_and_moments():
    z = mixture().sample_with_key(NUM, noise.key(*KEY)).numpy()
    nearest = np.argmin(np.linalg.norm(z[:, None] - MEANS, axis=2), axis=1)
    counts = np.bincount(nearest, minlength=3)
    assert scipy.stats.chisquare(counts, NUM * PROBABILITIES).pvalue > 1e-3
    for i, (mean, factor) in enumerate(zip(MEANS, SCALE_TRIL, strict=True)):
        own = z[nearest == i] - mean
        whitened = np.linalg.solve(factor, own.T)  # N(0, I) if mean and covariance are correct
        error = 4.0 / np.sqrt(counts[i])
        np.testing.assert_allclose(whitened.mean(axis=1), np.zeros(2), atol=error)
        np.testing.assert_allclose(np.cov(whitened), np.eye(2), atol=1.5 * error)
        assert scipy.stats.kstest(whitened[1], 'norm').pvalue > 1e-3


def test_gaussian_mixture_samples_component_and_position_independently():
    close = priors.GaussianMixture(np.ones(2), np.zeros([2, 2]), np.stack([np.eye(2)] * 2))
    z = close.sample_with_key(NUM, noise.key(*KEY)).numpy()
    assert scipy.stats.kstest(z[:, 0], 'norm').pvalue > 1e-3  # two halves of one Gaussian
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.02


def test_gaussian_mixture_log_prob_is_the_one_of_scipy():
    z = np.random.default_rng(0).normal(size=[60, 2]) * 12.0
    expected = mixture_log_prob(z, PROBABILITIES, MEANS, SCALE_TRIL @ SCALE_TRIL.transpose(0, 2, 1))
    np.testing.assert_allclose(mixture().log_prob(np.float32(z)), expected, rtol=1e-4)


def test_gaussian_mixture_of_one_component_is_a_gaussian():
    one = priors.GaussianMixture(np.array([3.0]), MEANS[1:2], SCALE_TRIL[1:2])
    z = one.sample_with_key(NUM, noise.key(*KEY)).numpy()
    np.testing.assert_allclose(z.mean(axis=0), MEANS[1], atol=0.04)
    np.testing.assert_allclose(np.cov(z.T), SCALE_TRIL[1] @ SCALE_TRIL[1].T, atol=0.1)


def test_vamp_prior_of_one_pseudo_input_is_its_posterior():
    mean, log_variance = np.array([[1.0, -2.0]]), np.array([[0.5, -1.0]])
    prior = vamp(mean, log_variance)
    z = prior.sample_with_key(NUM, noise.key(*KEY)).numpy()
    variance = np.exp(log_variance[0])
    np.testing.assert_allclose(z.mean(axis=0), mean[0], atol=0.03)
    np.testing.assert_allclose(np.cov(z.T), np.diag(variance), atol=0.04)
    expected = scipy.stats.multivariate_normal(mean[0], np.diag(variance)).logpdf(z[:50])
    np.testing.assert_allclose(prior.log_prob(z[:50]), expected, rtol=1e-4, atol=1e-5)


def test_vamp_prior_is_the_mixture_of_its_posteriors():
    log_variances = np.array([[0.0, 1.0], [-1.0, 0.5], [0.3, -2.0]])
    prior = vamp(MEANS, log_variances)
    z = prior.sample_with_key(NUM, noise.key(*KEY)).numpy()
    nearest = np.argmin(np.linalg.norm(z[:, None] - MEANS, axis=2), axis=1)
    assert scipy.stats.chisquare(np.bincount(nearest)).pvalue > 1e-3  # equal probabilities
    for i in range(3):
        own = (z[nearest == i] - MEANS[i]) / np.exp(log_variances[i] / 2)
        np.testing.assert_allclose(own.mean(axis=0), np.zeros(2), atol=0.04)
        np.testing.assert_allclose(np.cov(own.T), np.eye(2), atol=0.06)
    covariances = [np.diag(np.exp(row)) for row in log_variances]
    expected = mixture_log_prob(z[:60], np.full(3, 1 / 3), MEANS, covariances)
    np.testing.assert_allclose(prior.log_prob(z[:60]), expected, rtol=1e-4)


def test_vamp_prior_follows_changes_of_its_posteriors():
    mean = tf.Variable(np.float32([[1.0, 0.0]]))
    prior = priors.VampPrior(lambda: (mean.value(), tf.zeros([1, 2])))
    with tf.GradientTape() as tape:
        density = prior.log_prob(tf.constant([[3.0, -1.0]]))[0]
    np.testing.assert_allclose(tape.gradient(density, mean), [[2.0, -1.0]])  # (z - mean) / 1
    before = prior.sample_with_key(5, noise.key(*KEY)).numpy()
    mean.assign_add([[10.0, 0.0]])
    moved = prior.sample_with_key(5, noise.key(*KEY)) - before
    np.testing.assert_allclose(moved, [[10.0, 0.0]] * 5, atol=1e-5)


def test_implicit_prior_recovers_the_gaussian_of_its_ratio():
    mean, deviation = np.float32([1.0, -0.5]), np.float32([0.5, 1.2])
    z = tilted(mean, deviation).sample_with_key(1500, noise.key(*KEY)).numpy()
    for i in range(2):
        assert scipy.stats.kstest(z[:, i], 'norm', (mean[i], deviation[i])).pvalue > 1e-3
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.08)
    np.testing.assert_allclose(z.std(axis=0), deviation, rtol=0.06)
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.08


def test_implicit_prior_with_zero_log_ratio_is_standard_normal():
    prior = priors.ImplicitPrior(lambda z: tf.zeros([tf.shape(z)[0], 1]), 1)
    z = prior.sample_with_key(1000, noise.key(*KEY)).numpy()[:, 0]
    assert scipy.stats.kstest(z, 'norm').pvalue > 1e-3


def test_masked_normal_reads_the_mask_at_every_sample():
    mask = tf.Variable([1.0, 0.5, 0.0])
    prior = priors.MaskedNormal(lambda: mask.value(), 3)
    n = noise.normal(noise.key(*KEY), [NUM, 3]).numpy()
    np.testing.assert_allclose(
        prior.sample_with_key(NUM, noise.key(*KEY)), n * [1.0, 0.5, 0.0], atol=1e-6
    )
    mask.assign([0.0, 1.0, 1.0])
    np.testing.assert_allclose(
        prior.sample_with_key(NUM, noise.key(*KEY)), n * [0.0, 1.0, 1.0], atol=1e-6
    )


@pytest.fixture
def flow_prior(monkeypatch):
    """A flow prior far from N(0, I), of small networks."""
    monkeypatch.setattr(flow_lib, 'HIDDEN', (16, 16))
    flow, rng = flow_lib.MaskedAutoregressiveFlow(2, seed=0), np.random.default_rng(0)
    for v in flow.trainable_variables:
        v.assign(2.0 * (v + 0.2 * rng.normal(size=v.shape)))
    return priors.FlowPrior(flow, 2)


def test_flow_prior_log_prob_integrates_to_the_frequencies_of_samples(flow_prior):
    z = flow_prior.sample_with_key(NUM, noise.key(*KEY)).numpy()
    # A grid over all samples and a margin; its four quarters are separated by the medians.
    low, high = z.min(axis=0) - 3.0, z.max(axis=0) + 3.0
    axes = [np.linspace(a, b, 400) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1).reshape([-1, 2])
    density = np.exp(flow_prior.log_prob(np.float32(grid)))
    density *= np.prod((high - low) / 399)
    assert np.sum(density) == pytest.approx(1.0, abs=0.01)
    quarter, expected = (
        np.sum((points > np.median(z, axis=0)) * [1, 2], axis=1) for points in (z, grid)
    )
    shares = np.bincount(quarter) / NUM
    np.testing.assert_allclose(np.bincount(expected, density), shares, atol=0.015)
    assert np.ptp(shares) > 0.05  # no product of independent coordinates


def test_flow_prior_log_prob_is_the_change_of_variables_of_its_samples(flow_prior):
    n = noise.normal(noise.key(*KEY), [20, 2])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(n)
        z = flow_prior.transform(n)
        coordinates = tf.unstack(z, axis=1)
    jacobian = np.stack([tape.gradient(c, n) for c in coordinates], axis=1)
    expected = scipy.stats.norm.logpdf(n).sum(axis=1) - np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(flow_prior.log_prob(z), expected, rtol=1e-3, atol=1e-3)


def test_learned_prior_is_the_generator_of_normal_noise():
    generator = Generator((8,), noise_dim=3, latent_dim=2, seed=0)
    z = priors.LearnedPrior(generator, 3).sample_with_key(20, noise.key(*KEY))
    np.testing.assert_array_equal(z, generator(noise.normal(noise.key(*KEY), [20, 3])))
