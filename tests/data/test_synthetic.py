import numpy as np
import pytest

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data import synthetic

VARIANCES = (1.0, 1.0, 0.5, 0.95, 0.5, 0.75)
PINNED = {
    2: dict(
        x=[-0.860013, -0.994937, 0.016968, 0.134621],
        latents=[6.953643, 4.872252],
        components=[1, 4, 5],
    ),
    5: dict(
        x=[-0.755620, -0.314543, 0.885295, -0.733404],
        latents=[0.222940, 0.916757, 0.432465, 0.200764, -1.068617],
        components=[0, 3, 2],
    ),
}


@pytest.fixture(scope='module', params=[2, 5])
def dim(request):
    return request.param


@pytest.fixture(scope='module')
def dataset(dim):
    return data.load(TrainConfig(dataset=f'synthetic_{dim}d'))


def test_latents_follow_the_gaussians_of_the_paper(dim, dataset):
    means = {
        2: [[0, 0], [5, 5], [-5, 5], [5, -1.5], [-2, -7], [-4, -3]],
        5: [
            [0, 0, 0, 0, 0],
            [5, 5, 5, 5, 5],
            [-5, 5, 3, 4.5, -6],
            [5, -1.5, -6.5, 3, 1],
            [-2, -7, 9, -1.5, -4.5],
            [-4, -3, -5.5, 2, 4],
        ],
    }[dim]
    latents, labels = dataset.train.latents, dataset.train.labels
    assert latents.shape == (15_000, dim) and latents.dtype == np.float32
    # Bounds of five standard errors with 2500 samples per component.
    assert np.abs(np.bincount(labels) / 15_000 - 1 / 6).max() < 5 * 0.0031
    for k, (mean, variance) in enumerate(zip(means, VARIANCES, strict=True)):
        own = latents[labels == k]
        assert np.abs(own.mean(axis=0) - mean).max() < 5 * np.sqrt(variance / 2500)
        covariance = np.cov(own.T)
        assert np.abs(covariance - variance * np.eye(dim)).max() < 5 * variance * np.sqrt(2 / 2500)


def test_network_has_the_standard_deviations_of_the_paper(dim):
    mixture = synthetic.six_gaussians(dim)
    assert [w.shape for w in mixture.weights] == [(128, dim), (128, 128), (128, 128)]
    for weight, bias, stddev in zip(mixture.weights, mixture.biases, (0.05, 0.2, 0.1), strict=True):
        for values in (weight, bias):
            assert values.dtype == np.float32
            assert values.std() == pytest.approx(stddev, rel=4 / np.sqrt(2 * values.size))
            assert abs(values.mean()) < 4 * stddev / np.sqrt(values.size)


def test_observe_is_the_network_of_the_latents(dim, dataset):
    mixture = synthetic.six_gaussians(dim)
    (w1, w2, w3), (b1, b2, b3) = mixture.weights, mixture.biases
    z = dataset.test.latents[17].astype(np.float64)
    x = np.tanh(w3 @ np.exp(w2 @ np.tanh(w1 @ z + b1) + b2) + b3)
    np.testing.assert_allclose(dataset.test.x[17], x, atol=1e-6)
    np.testing.assert_array_equal(mixture.observe(dataset.test.latents), dataset.test.x)


def test_observations_are_rarely_saturated(dim, dataset):
    """With the paper's numbers as variances, 99 % of the outputs would be saturated."""
    x = dataset.train.x
    assert x.shape == (15_000, 128) and x.dtype == np.float32 and np.abs(x).max() <= 1
    assert 0.1 < (np.abs(x) > 0.99).mean() < 0.3
    low, high = {2: (19, 30), 5: (39, 52)}[dim]
    assert low < x.var(axis=0).sum() < high


def frechet(x, y):
    mean = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    a, b = np.cov(x.T), np.cov(y.T)
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    return mean + np.trace(a + b) - 2 * cross


def test_splits_have_one_distribution_but_no_common_examples(dim, dataset):
    train, validation, test = (
        split.x.astype(np.float64) for split in (dataset.train, dataset.validation, dataset.test)
    )
    # Ten pairs of 10k samples: 0.003 .. 0.03 in 2-D, 0.016 .. 0.07 in 5-D.
    assert 0.002 < frechet(train[:10_000], test) < {2: 0.04, 5: 0.08}[dim]
    rows = [set(map(bytes, split)) for split in (train, validation, test)]
    assert not rows[0] & rows[1] and not rows[0] & rows[2] and not rows[1] & rows[2]


def test_sample_is_pinned(dim):
    x, latents, components = synthetic.six_gaussians(dim).sample(3, synthetic.TRAIN)
    expected = PINNED[dim]
    np.testing.assert_allclose(x[0, :4], expected['x'], atol=2e-5)
    np.testing.assert_allclose(latents[0], expected['latents'], atol=2e-5)
    assert components.tolist() == expected['components']


def test_load_is_the_same_for_every_seed(dim, dataset):
    other = data.load(TrainConfig(dataset=f'synthetic_{dim}d', seed=3))
    np.testing.assert_array_equal(other.train.x, dataset.train.x)
    np.testing.assert_array_equal(other.test.x, dataset.test.x)
