import math

import numpy as np
import pytest

from flexae_tf.metrics import prdc
from flexae_tf.metrics.prdc import density_coverage, improved_precision_recall


@pytest.fixture
def rng():
    return np.random.default_rng(13)


def squared(a, b):
    return float(np.sum((a - b) ** 2))


def radius(rows, i, k):
    return sorted(squared(rows[i], rows[j]) for j in range(len(rows)) if j != i)[k - 1]


def naive_precision(real, fake, k):
    """Returns the scores by definition, in loops."""
    radii = [radius(real, i, k) for i in range(len(real))]
    inside = [any(squared(x, y) <= r for y, r in zip(real, radii, strict=True)) for x in fake]
    return sum(inside) / len(fake)


def naive_density_coverage(real, fake, k):
    radii = [radius(real, i, k) for i in range(len(real))]
    inside = [[squared(x, y) < r for x in fake] for y, r in zip(real, radii, strict=True)]
    density = sum(sum(row) for row in inside) / (k * len(fake))
    return density, sum(any(row) for row in inside) / len(real)


def check(real, fake, k):
    expected = naive_precision(real, fake, k), naive_precision(fake, real, k)
    assert improved_precision_recall(real, fake, k=k) == expected
    assert density_coverage(real, fake, k=k) == naive_density_coverage(real, fake, k)


@pytest.mark.parametrize('k', [1, 4])
@pytest.mark.parametrize(('n', 'm', 'd'), [(40, 40, 2), (50, 23, 7), (19, 44, 2048)])
def test_prdc_by_definition(rng, n, m, d, k):
    check(rng.normal(size=(n, d)), 0.8 * rng.normal(size=(m, d)) + 0.3 / np.sqrt(d), k)


@pytest.mark.parametrize('k', [1, 3])
def test_prdc_with_ties(rng, k):
    # With few different values nearly every comparison is a tie.
    check(rng.integers(0, 4, size=(60, 2)), rng.integers(1, 5, size=(45, 2)), k)
    check(rng.integers(0, 2, size=(40, 12)) + 1e6, rng.integers(0, 2, size=(30, 12)) + 1e6, k)


def test_prdc_does_not_depend_on_blocks(rng, monkeypatch):
    real, fake = rng.normal(size=(50, 3)), rng.normal(size=(34, 3))
    whole = improved_precision_recall(real, fake), density_coverage(real, fake)
    monkeypatch.setattr(prdc, 'BLOCK', 7)
    assert (improved_precision_recall(real, fake), density_coverage(real, fake)) == whole


def test_prdc_balls_are_closed_or_open():
    # On a line, balls of radius 1 around 0, 1 and 2: a fake at 3 lies on the last one's surface.
    real, fake = np.array([[0.0], [1.0], [2.0]]), np.array([[3.0], [9.0]])
    assert improved_precision_recall(real, fake, k=1).precision == 0.5
    assert density_coverage(real, fake, k=1) == (0.0, 0.0)
    # A fake slightly inside counts for both.
    fake[0] -= 0.01
    assert improved_precision_recall(real, fake, k=1).precision == 0.5
    assert density_coverage(real, fake, k=1) == (0.5, 1.0 / 3.0)


def test_precision_concerns_fakes():
    # The fakes cover one of two groups of reals.
    real = np.concatenate([np.arange(6.0), np.arange(100.0, 106.0)])[:, None]
    fake = np.arange(6.0)[:, None] + 0.1
    assert improved_precision_recall(real, fake) == (1.0, 0.5)
    assert improved_precision_recall(fake, real) == (0.5, 1.0)
    assert density_coverage(real, fake, k=2).coverage == 0.5


def test_prdc_of_equal_sets(rng):
    features = rng.normal(size=(60, 9))
    assert improved_precision_recall(features, features) == (1.0, 1.0)
    # The open ball to the k-th neighbour holds the nearer neighbours and the centre.
    assert density_coverage(features, features) == (1.0, 1.0)


def test_prdc_of_constant_sets():
    ones, twos = np.full((8, 3), 0.1), np.full((7, 3), 0.2)
    assert improved_precision_recall(ones, ones) == (1.0, 1.0)
    assert density_coverage(ones, ones) == (0.0, 0.0)  # nothing is inside a ball of radius 0
    assert improved_precision_recall(ones, twos) == (0.0, 0.0)
    assert density_coverage(ones, twos) == (0.0, 0.0)


def test_prdc_of_two_samples():
    real, fake = np.array([[0.0], [1.0]]), np.array([[0.5], [7.0]])
    assert improved_precision_recall(real, fake, k=1) == (0.5, 1.0)
    assert density_coverage(real, fake, k=1) == (1.0, 1.0)
    with pytest.raises(ValueError, match='neighbour 3 needs more than 3 samples, not 2'):
        improved_precision_recall(real, fake)
    with pytest.raises(ValueError, match='neighbour 2 needs more than 2 samples, not 2'):
        improved_precision_recall(real, np.zeros((5, 1)), k=2)
    with pytest.raises(ValueError, match='neighbour 5 needs more than 5 samples, not 2'):
        density_coverage(real, fake)


def test_prdc_of_equal_distributions(rng):
    # Naeem et al. 2020: the density is 1 on average, and 1 - coverage is the chance that none of
    # the 2n - 1 other samples nearest to a real, up to its k-th real, is a fake.
    n, k = 250, 5
    results = [density_coverage(*rng.normal(size=(2, n, 16)), k=k) for _ in range(30)]
    density, coverage = np.mean(results, axis=0)
    missed = math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    assert density == pytest.approx(1.0, abs=0.03)
    assert coverage == pytest.approx(1.0 - missed, abs=0.005)


@pytest.mark.parametrize('d', [1, 2, 5, 300, 2048])
def test_distances_are_exact(rng, d):
    # Extreme distances with odd numbers in the last bit.
    real, fake = 1.0 - 1e-6 * rng.random((2, 5, d))
    real[0], fake = 0.0, -fake
    real, fake = prdc.on_grid(real, fake)
    _, squares = next(prdc.squared_distances(fake, real))
    gaps = fake.astype(np.int64)[:, None] - real.astype(np.int64)
    np.testing.assert_array_equal(squares.astype(np.int64), np.sum(gaps**2, axis=2))
    assert 2**51 < squares.max() <= 2**53


@pytest.mark.parametrize('factor', [1e-300, 1.0, 1e300])
def test_prdc_does_not_depend_on_units(rng, factor):
    real, fake = rng.normal(size=(30, 4)), rng.normal(size=(30, 4))
    # A power of two keeps every bit.
    factor = 2.0 ** round(math.log2(factor))
    scaled = factor * real, factor * fake
    assert improved_precision_recall(*scaled) == improved_precision_recall(real, fake)
    assert density_coverage(*scaled) == density_coverage(real, fake)


@pytest.mark.parametrize('metric', [improved_precision_recall, density_coverage])
def test_prdc_does_not_change_arguments(rng, metric):
    real, fake = rng.normal(size=(2, 10, 4))
    before = real.copy(), fake.copy()
    assert metric(real, fake) == metric(real, fake)
    np.testing.assert_array_equal(real, before[0])
    np.testing.assert_array_equal(fake, before[1])


@pytest.mark.parametrize('metric', [improved_precision_recall, density_coverage])
@pytest.mark.parametrize(
    ('real', 'fake', 'message'),
    [
        (np.zeros((9, 3)), np.zeros((1, 3)), 'at least 2 samples'),
        (np.zeros((9, 3)), np.zeros((9, 4)), '3 and 4'),
        (np.zeros((9, 1)), np.array([[0.0]] * 8 + [[np.nan]]), 'not finite'),
    ],
)
def test_prdc_refuses_features(metric, real, fake, message):
    with pytest.raises(ValueError, match=message):
        metric(real, fake)
