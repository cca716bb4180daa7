import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.evaluation.tfgan import tfgan_eval
from flexae_tf.metrics.kid import kernel_distance


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_kernel_distance_by_hand():
    # k within the reals: 1^3; within the fakes: (1 * 3 + 1)^3; across: 1, 1, 1^3 and 1.
    real, fake = np.array([[0.0], [0.0]]), np.array([[1.0], [3.0]])
    assert kernel_distance(real, fake) == (1.0 + 64.0 - 2.0, None)


def test_kernel_distance_by_definition(rng):
    real, fake = rng.normal(size=(7, 3)), 2.0 * rng.normal(size=(5, 3)) + 0.3

    def kernel(a, b):
        return (sum(x * y for x, y in zip(a, b, strict=True)) / 3.0 + 1.0) ** 3

    def mean_of_others(rows):
        pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j]
        return np.mean([kernel(rows[i], rows[j]) for i, j in pairs])

    across = np.mean([kernel(a, b) for a in real for b in fake])
    expected = mean_of_others(real) + mean_of_others(fake) - 2.0 * across
    assert kernel_distance(real, fake).mean == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(('n', 'm'), [(300, 300), (300, 211)])
def test_kernel_distance_agrees_with_tfgan(rng, n, m):
    real, fake = rng.normal(size=(n, 64)) + 0.4, 1.1 * rng.normal(size=(m, 64)) + 0.5
    oracle = tfgan_eval().kernel_classifier_distance_from_activations(
        tf.constant(real), tf.constant(fake), max_block_size=300
    )
    result = kernel_distance(real, fake, num_subsets=1, subset_size=300)
    assert result.mean == pytest.approx(float(oracle), rel=1e-5)


def test_kernel_distance_is_unbiased(rng):
    equal = [kernel_distance(*rng.normal(size=(2, 40, 3))).mean for _ in range(300)]
    error = np.std(equal) / np.sqrt(len(equal))
    assert abs(np.mean(equal)) < 3.0 * error
    real, fake = rng.normal(size=(2, 40, 3))
    assert kernel_distance(real, fake + 1.0).mean > 10.0 * error


def test_subsets_estimate_the_whole(rng):
    real, fake = rng.normal(size=(2000, 8)), rng.normal(size=(2000, 8)) + 0.3
    whole = kernel_distance(real, fake, subset_size=2000)
    parts = kernel_distance(real, fake, subset_size=200)
    assert whole.sd is None and parts.sd > 0.0
    assert parts.mean == pytest.approx(whole.mean, abs=4.0 * parts.sd / np.sqrt(100))


def test_subsets_are_without_replacement():
    real = np.zeros((4, 4))
    fake = 2.0 * np.eye(4)
    # k = 1 between any two rows except a fake and itself: (4 / 4 + 1)^3.
    assert kernel_distance(real, fake, subset_size=3, num_subsets=50) == (0.0, 0.0)


def test_subsets_give_mean_and_deviation():
    # If the subset contains the 2, k across is (1 + 27) / 2; otherwise 1.
    real, fake = np.array([[0.0], [0.0], [2.0]]), np.array([[1.0], [1.0]])
    with_two, without = 1.0 + 8.0 - 2.0 * 14.0, 1.0 + 8.0 - 2.0
    result = kernel_distance(real, fake, subset_size=2, num_subsets=30)
    share = (result.mean - without) / (with_two - without)
    assert 0.4 < share < 0.9
    assert 30 * share == pytest.approx(round(30 * share), abs=1e-9)
    assert result.sd == pytest.approx((without - with_two) * np.sqrt(share * (1.0 - share)))


def test_subset_takes_a_small_side_completely(rng):
    real, fake = rng.normal(size=(20, 3)), rng.normal(size=(400, 3))
    result = kernel_distance(real, fake, subset_size=50, num_subsets=20)
    assert result.sd > 0.0
    assert kernel_distance(real, fake, subset_size=400).sd is None


def test_kernel_distance_of_equal_sets(rng):
    features = rng.normal(size=(50, 6))
    kernel = (features @ features.T / 6.0 + 1.0) ** 3
    diagonal = np.trace(kernel) / 50.0
    others = (kernel.sum() - np.trace(kernel)) / (50.0 * 49.0)
    # Unbiased, so not zero: pairs of a row with itself count only across the sets.
    expected = 2.0 / 50.0 * (others - diagonal)
    assert kernel_distance(features, features).mean == pytest.approx(expected, rel=1e-9)
    assert kernel_distance(np.full((9, 4), 0.7), np.full((9, 4), 0.7)).mean == pytest.approx(0.0)


def test_subsets_depend_on_the_seed(rng):
    real, fake = rng.normal(size=(2, 60, 4))
    options = dict(num_subsets=5, subset_size=20)
    first = kernel_distance(real, fake, **options)
    assert kernel_distance(real, fake, **options) == first
    assert kernel_distance(real, fake, seed=1, **options) != first


def test_kernel_distance_is_computed_in_float64(rng):
    real, fake = (rng.normal(size=(2, 50, 4)) + 100.0).astype(np.float32)
    exact = kernel_distance(real.astype(np.float64), fake.astype(np.float64))
    assert kernel_distance(real, fake) == exact


@pytest.mark.parametrize(
    ('real', 'fake', 'message'),
    [
        (np.zeros((1, 3)), np.zeros((5, 3)), 'at least 2 samples'),
        (np.zeros((5, 3)), np.zeros((5, 4)), '3 and 4'),
        (np.zeros((5, 3)), np.array([[0.0, 0.0, 0.0], [0.0, np.nan, 0.0]]), 'not finite'),
    ],
)
def test_kernel_distance_refuses_features(real, fake, message):
    with pytest.raises(ValueError, match=message):
        kernel_distance(real, fake)
