import numpy as np
import pytest

from flexae_tf.metrics import latent
from flexae_tf.metrics.latent import (
    effective_rank,
    mmd,
    scale,
    sliced_wasserstein,
    wasserstein,
)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def test_sliced_wasserstein_by_hand():
    # Sorted: 0-1, 1-3, 5-5. In one dimension every direction is +1 or -1.
    z, z_hat = np.array([[5.0], [0.0], [1.0]]), np.array([[3.0], [5.0], [1.0]])
    assert sliced_wasserstein(z, z_hat) == pytest.approx(1.0, rel=1e-12)


def test_sliced_wasserstein_of_shifted_points(rng):
    z = rng.normal(size=(50, 2))
    shifted = z + np.array([3.0, 4.0])
    # |shift| times the mean of |cos| over the circle.
    distance = sliced_wasserstein(z, shifted[::-1], num_projections=20_000)
    assert distance == pytest.approx(5.0 * 2.0 / np.pi, rel=0.01)
    assert sliced_wasserstein(z, z[::-1]) == pytest.approx(0.0, abs=1e-12)


def test_sliced_wasserstein_scales_with_units(rng):
    z, z_hat = rng.normal(size=(40, 7)), rng.normal(size=(40, 7)) + 0.5
    distance = sliced_wasserstein(z, z_hat)
    assert sliced_wasserstein(z_hat, z) == pytest.approx(distance, rel=1e-12)
    assert sliced_wasserstein(3.0 * z, 3.0 * z_hat) == pytest.approx(3.0 * distance, rel=1e-12)


def test_sliced_wasserstein_depends_on_the_seed(rng):
    z, z_hat = rng.normal(size=(40, 7)), rng.normal(size=(40, 7))
    first = sliced_wasserstein(z, z_hat, num_projections=5, seed=3)
    assert sliced_wasserstein(z, z_hat, num_projections=5, seed=3) == first
    assert sliced_wasserstein(z, z_hat, num_projections=5, seed=4) != first


def test_sliced_wasserstein_floor(rng):
    # The number in the docstring.
    z, z_hat = rng.normal(size=(2, 2000, 50))
    assert sliced_wasserstein(z, z_hat) == pytest.approx(0.04, rel=0.2)


def test_wasserstein_on_a_line_keeps_the_order(rng):
    z, z_hat = np.array([[5.0], [0.0], [1.0]]), np.array([[3.0], [5.0], [1.0]])
    assert wasserstein(z, z_hat) == pytest.approx(1.0, rel=1e-12)  # 0-1, 1-3, 5-5
    z, z_hat = rng.normal(size=(100, 1)), rng.exponential(size=(100, 1))
    expected = np.abs(np.sort(z, axis=0) - np.sort(z_hat, axis=0)).mean()
    assert wasserstein(z, z_hat) == pytest.approx(expected, rel=1e-12)


def test_wasserstein_in_a_plane_by_hand():
    # Straight 1 + 1; crossed 2 sqrt(1 + 4^2).
    z, z_hat = np.array([[0.0, 0.0], [4.0, 0.0]]), np.array([[4.0, 1.0], [0.0, -1.0]])
    assert wasserstein(z, z_hat) == pytest.approx(1.0, rel=1e-12)


def test_wasserstein_of_shifted_points_is_the_shift(rng):
    z = rng.normal(size=(60, 7))
    shift = np.array([3.0, 4.0, 0.0, 0.0, 0.0, 12.0, 0.0])
    assert wasserstein(z, (z + shift)[::-1]) == pytest.approx(13.0, rel=1e-12)
    assert wasserstein(z, z[::-1]) == 0.0


def test_wasserstein_bounds_the_sliced_distance(rng):
    z, z_hat = rng.normal(size=(200, 5)), 2.0 * rng.normal(size=(200, 5)) + 0.5
    assert wasserstein(z, z_hat) > sliced_wasserstein(z, z_hat)
    assert wasserstein(z, z_hat) > wasserstein(z, rng.normal(size=(200, 5)))


def test_wasserstein_floor(rng):
    # The number in the docstring.
    z, z_hat = rng.normal(size=(2, 2000, 50))
    assert wasserstein(z, z_hat) == pytest.approx(7.4, abs=0.05)


def test_scale_by_hand():
    # Variances 4/3 and 16/3.
    z = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0]])
    assert scale(z) == pytest.approx(np.sqrt(20.0 / 3.0))
    assert scale(10.0 * z + 5.0) == pytest.approx(10.0 * np.sqrt(20.0 / 3.0))


def test_effective_rank_by_hand(rng):
    axes = np.concatenate([np.eye(6), -np.eye(6)])
    assert effective_rank(axes) == pytest.approx(6.0)
    assert effective_rank(0.01 * axes + 3.0) == pytest.approx(6.0)
    # Eigenvalues 3 : 1, so the shares are 3/4 and 1/4.
    uneven = axes[[0, 1, 6, 7]] * np.array([np.sqrt(3.0), 1.0, 0, 0, 0, 0])
    assert effective_rank(uneven) == pytest.approx(4.0 / 3.0**0.75)
    line = rng.normal(size=(30, 1)) * np.arange(1.0, 6.0)
    assert effective_rank(line) == pytest.approx(1.0)
    assert effective_rank(np.full((30, 5), 0.7)) == 0.0


def test_effective_rank_with_few_codes(rng):
    assert 8.0 < effective_rank(rng.normal(size=(10, 500))) < 9.0


def test_mmd_by_hand():
    # Two equal pairs at distance 1, variance 1/2, so C = scale and k(0, 1) = scale / (scale + 1):
    # k + k - 2 (7 + 7 + k + k) / 4 = k - 7.
    z = np.array([[0.0], [1.0]])
    k = 0.1 / 1.1 + 0.2 / 1.2 + 0.5 / 1.5 + 1.0 / 2.0 + 2.0 / 3.0 + 5.0 / 6.0 + 10.0 / 11.0
    assert mmd(z, z) == pytest.approx(k - 7.0)


def test_mmd_by_definition(rng):
    z, z_hat = rng.normal(size=(6, 3)), 2.0 * rng.normal(size=(9, 3)) + 0.3
    base = 2.0 * z_hat.var(axis=0, ddof=1).sum()

    def kernel(a, b):
        return sum(s * base / (s * base + np.sum((a - b) ** 2)) for s in latent.MMD_SCALES)

    def mean_of_others(codes):
        pairs = [(i, j) for i in range(len(codes)) for j in range(len(codes)) if i != j]
        return np.mean([kernel(codes[i], codes[j]) for i, j in pairs])

    across = np.mean([kernel(a, b) for a in z for b in z_hat])
    expected = mean_of_others(z) + mean_of_others(z_hat) - 2.0 * across
    assert mmd(z, z_hat) == pytest.approx(expected, rel=1e-10)


def test_mmd_is_unbiased(rng):
    equal = np.array([mmd(*rng.normal(size=(2, 40, 3))) for _ in range(200)])
    error = equal.std() / np.sqrt(len(equal))
    assert abs(equal.mean()) < 3.0 * error
    # A biased estimate would be about (7 - k) / 40 higher on each side.
    assert error < 0.02
    z, z_hat = rng.normal(size=(2, 40, 3))
    assert mmd(z, z_hat + 1.0) > 10.0 * error


def test_mmd_ignores_units(rng):
    z, z_hat = rng.normal(size=(30, 4)), rng.normal(size=(20, 4)) + 1.0
    assert mmd(1e3 * z, 1e3 * z_hat) == pytest.approx(mmd(z, z_hat), rel=1e-10)


def test_mmd_of_a_collapsed_prior():
    z = np.arange(10.0)[:, None]
    assert mmd(z, np.full((5, 1), 0.5)) == pytest.approx(7.0)


@pytest.mark.parametrize('statistic', [scale, effective_rank])
def test_statistics_refuse_codes(statistic):
    with pytest.raises(ValueError, match='at least 2'):
        statistic(np.zeros((1, 3)))
    with pytest.raises(ValueError, match='not finite'):
        statistic(np.full((4, 3), np.nan))


@pytest.mark.parametrize('statistic', [sliced_wasserstein, wasserstein, mmd])
def test_distances_refuse_pairs(statistic):
    with pytest.raises(ValueError, match='3 and 4'):
        statistic(np.zeros((5, 3)), np.zeros((5, 4)))
    with pytest.raises(ValueError, match='not finite'):
        statistic(np.zeros((5, 3)), np.full((5, 3), np.inf))


@pytest.mark.parametrize('statistic', [sliced_wasserstein, wasserstein])
def test_wasserstein_distances_need_equal_numbers(statistic):
    with pytest.raises(ValueError, match='5 and 6'):
        statistic(np.zeros((5, 3)), np.zeros((6, 3)))
