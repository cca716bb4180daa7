import numpy as np
import pytest
import scipy.linalg

from flexae_tf.evaluation.tfgan import tfgan_eval
from flexae_tf.metrics import frechet
from flexae_tf.metrics.frechet import (
    Moments,
    frechet_distance,
    frechet_distance_infinity,
    frechet_distance_of_moments,
    frechet_distance_sd,
    moments,
)


def full_route(real, fake):
    return frechet_distance_of_moments(moments(real), moments(fake))


def correlated(rng, num, d, rank=None):
    """Returns correlated features with a mean and a spectrum over three orders of magnitude."""
    mixing = rng.normal(size=(rank or d, d)) * np.geomspace(1.0, 0.03, rank or d)[:, None]
    return rng.normal(size=(num, rank or d)) @ mixing + rng.normal(size=d)


def with_moments(rng, num, mean, covariance):
    """Returns samples with exactly this mean and covariance."""
    white = rng.normal(size=(num, len(mean)))
    white -= white.mean(axis=0)
    white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white.T))).T
    return white @ np.linalg.cholesky(covariance).T + mean


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_moments_by_hand():
    result = moments(np.array([[0.0, 0.0], [2.0, 4.0], [4.0, 2.0]]))
    np.testing.assert_allclose(result.mean, [2.0, 2.0])
    np.testing.assert_allclose(result.covariance, [[4.0, 2.0], [2.0, 4.0]])  # divided by 3 - 1
    assert result.num == 3
    assert result.covariance.dtype == result.mean.dtype == np.float64


def test_distance_by_hand_in_one_dimension():
    # Means 1 and 4, deviations sqrt(2) and 3 sqrt(2): 3^2 + (2 sqrt(2))^2.
    distance = frechet_distance(np.array([[0.0], [2.0]]), np.array([[1.0], [7.0]]))
    assert distance == pytest.approx(17.0, rel=1e-12)


@pytest.mark.parametrize('num', [6, 200])  # rows are roots of the covariance; eigenvalues
@pytest.mark.parametrize(('shift', 'factor'), [(0.0, 1.0), (3.0, 1.0), (0.0, 2.5), (1.5, 0.0)])
def test_distance_of_shifted_and_scaled_sets(rng, num, shift, factor):
    real = correlated(rng, num, 10)
    mean = real.mean(axis=0)
    fake = mean + factor * (real - mean) + shift
    trace = np.trace(np.cov(real.T))
    # S_f = factor^2 S_r, so the roots commute: d shift^2 + (1 - factor)^2 tr(S_r).
    expected = 10 * shift**2 + (1.0 - factor) ** 2 * trace
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-9, abs=1e-9 * trace)


def test_distance_with_noncommuting_covariances(rng):
    # For 2 x 2 matrices tr(M^{1/2}) = sqrt(tr M + 2 sqrt(det M)).
    a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[4.0, -1.5], [-1.5, 1.0]])
    real = with_moments(rng, 50, np.array([1.0, 2.0]), a)
    fake = with_moments(rng, 70, np.array([1.0, 5.0]), b)
    overlap = np.sqrt(np.trace(a @ b) + 2.0 * np.sqrt(np.linalg.det(a @ b)))
    expected = 9.0 + 5.0 + 5.0 - 2.0 * overlap
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(('num', 'rank'), [(300, 40), (300, 5), (40, 40), (12, 40), (2, 40)])
def test_distance_of_equal_sets_is_zero(rng, num, rank):
    features = correlated(rng, num, 40, rank)
    trace = np.trace(np.cov(features.T))
    for route in (frechet_distance, full_route):
        assert 0.0 <= route(features, features) <= 1e-9 * trace


@pytest.mark.parametrize(('n', 'm'), [(20, 20), (20, 63), (2, 30), (33, 500), (500, 33)])
def test_distance_with_few_samples_agrees_with_moments(rng, n, m):
    real, fake = correlated(rng, n, 64), correlated(rng, m, 64)
    assert frechet_distance(real, fake) == pytest.approx(full_route(real, fake), rel=1e-8)


def test_distance_route_follows_number_of_samples(rng, monkeypatch):
    used = []
    monkeypatch.setattr(
        frechet, 'frechet_distance_of_moments', lambda a, b: used.append((a.num, b.num)) or 0.0
    )
    for n, m in [(8, 100), (100, 8), (9, 100), (100, 9)]:
        frechet_distance(correlated(rng, n, 8), correlated(rng, m, 8))
    assert used == [(9, 100), (100, 9)]


def test_distance_of_rank_deficient_sets(rng):
    # Two orthogonal planes of R^12 that share one line: only this line overlaps.
    axes = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    flat = with_moments(rng, 400, np.zeros(2), np.diag([4.0, 1.0]))
    real, fake = flat @ axes[:2], flat[:, ::-1] @ axes[1:3]
    # real: 4 along axis 0, 1 along axis 1. fake: 1 along axis 1, 4 along axis 2.
    expected = 5.0 + 5.0 - 2.0 * 1.0
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize('num', [15, 400])
def test_distance_of_constant_sets(rng, num):
    zeros, threes = np.zeros((num, 20)), np.full((num, 20), 3.0)
    assert frechet_distance(zeros, zeros) == 0.0
    assert frechet_distance(zeros, threes) == pytest.approx(180.0)
    assert not moments(np.full((num, 3), 0.7)).covariance.any()  # not even by rounding
    # The distance of a constant set is the total variance.
    real = correlated(rng, num, 20)
    mean = np.repeat(real.mean(axis=0, keepdims=True), num, axis=0)
    assert frechet_distance(real, mean) == pytest.approx(np.trace(np.cov(real.T)), rel=1e-10)


@pytest.mark.parametrize('num', [20, 300])
def test_distance_is_symmetric(rng, num):
    real, fake = correlated(rng, num, 30), correlated(rng, 250, 30)
    assert frechet_distance(real, fake) == pytest.approx(frechet_distance(fake, real), rel=1e-10)


def test_distance_is_computed_in_float64(rng):
    # With a mean of 1000, float32 keeps four digits of the variance; float64 keeps all.
    real = (correlated(rng, 300, 16) + 1000.0).astype(np.float32)
    fake = (correlated(rng, 300, 16) + 1000.0).astype(np.float32)
    exact = frechet_distance(real.astype(np.float64), fake.astype(np.float64))
    assert frechet_distance(real, fake) == exact


def test_distance_does_not_change_arguments(rng):
    real, fake = correlated(rng, 10, 16), correlated(rng, 10, 16)
    before = real.copy(), fake.copy()
    frechet_distance(real, fake)
    np.testing.assert_array_equal(real, before[0])
    np.testing.assert_array_equal(fake, before[1])


def test_distance_agrees_with_tfgan(rng):
    real, fake = correlated(rng, 500, 48), correlated(rng, 400, 48)
    oracle = tfgan_eval().frechet_classifier_distance_from_activations(real, fake)
    assert frechet_distance(real, fake) == pytest.approx(float(oracle), rel=1e-5)


def test_distance_agrees_with_matrix_square_root(rng):
    real, fake = correlated(rng, 500, 48), correlated(rng, 400, 48)
    root = scipy.linalg.sqrtm(np.cov(real.T) @ np.cov(fake.T)).real
    gap = real.mean(axis=0) - fake.mean(axis=0)
    oracle = gap @ gap + np.trace(np.cov(real.T) + np.cov(fake.T) - 2.0 * root)
    assert frechet_distance(real, fake) == pytest.approx(oracle, rel=1e-6)


def test_distance_is_never_negative():
    tiny = Moments(np.zeros(2), np.diag([1.0, 1e-3]) / 3.0, 10)
    assert frechet_distance_of_moments(tiny, tiny) >= 0.0
    for seed in range(10):  # rounding would give -1e-14 for several of them
        same = np.random.default_rng(seed).normal(size=[50, 20])
        assert frechet_distance(same, same) >= 0.0


@pytest.mark.parametrize(
    ('real', 'fake', 'message'),
    [
        (np.zeros((1, 3)), np.zeros((5, 3)), 'at least 2 samples'),
        (np.zeros((5, 3)), np.zeros((1, 3)), 'at least 2 samples'),
        (np.zeros((5, 3)), np.zeros((5, 4)), '3 and 4'),
        (np.zeros((5, 3)), np.full((5, 3), np.nan), 'not finite'),
        (np.full((5, 3), np.inf), np.zeros((5, 3)), 'not finite'),
        (np.zeros(5), np.zeros(5), r'\[5\]'),
    ],
)
def test_distance_refuses_features(real, fake, message):
    with pytest.raises(ValueError, match=message) as error:
        frechet_distance(real, fake)
    assert '\n' not in str(error.value)


def test_distance_refuses_moments():
    good = moments(np.eye(3))
    with pytest.raises(ValueError, match='3 and 2'):
        frechet_distance_of_moments(good, moments(np.eye(2)))
    with pytest.raises(ValueError):
        broken = Moments(good.mean, np.full((3, 3), np.nan), 3)
        frechet_distance_of_moments(good, broken)


def test_infinity_by_definition(rng):
    real, fake = correlated(rng, 60, 12), correlated(rng, 41, 12)
    generator = np.random.default_rng(5)
    inverses, distances = [], []
    for size in (20, 30, 41):  # half and a point in between, rounded down; all
        subset = fake[generator.choice(41, size, replace=False)]
        inverses.append(1.0 / size)
        distances.append(frechet_distance(real, subset))
    slope = np.cov(inverses, distances)[0, 1] / np.var(inverses, ddof=1)
    expected = np.mean(distances) - slope * np.mean(inverses)
    result = frechet_distance_infinity(real, fake, num_points=3, seed=5)
    assert result == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(('n', 'm'), [(400, 100), (30, 400), (400, 30)])
def test_infinity_with_few_samples(rng, n, m):
    # 64 features: either side may have fewer samples, or only the smaller subsets of the fakes.
    # The root of a rounding error would appear at 1e-8.
    real, fake = correlated(rng, n, 64), correlated(rng, m, 64)
    sizes = np.linspace(m // 2, m, 15).astype(int)
    generator = np.random.default_rng(0)
    distances = [frechet_distance(real, fake[generator.choice(m, s, replace=False)]) for s in sizes]
    expected = np.polyfit(1.0 / sizes, distances, 1)[1]
    assert frechet_distance_infinity(real, fake) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize('factor', [1.0, 1.1])
def test_infinity_reduces_the_bias(rng, factor):
    real = with_moments(rng, 600, np.zeros(40), np.eye(40))
    fake = factor * rng.normal(size=(1000, 40))
    exact = 40.0 * (factor - 1.0) ** 2
    plain, infinity = frechet_distance(real, fake), frechet_distance_infinity(real, fake)
    assert plain - exact > 0.3
    assert abs(infinity - exact) < 0.3 * (plain - exact)


def test_infinity_can_be_negative(rng):
    real = with_moments(rng, 100, np.zeros(3), np.eye(3))
    values = [frechet_distance_infinity(real, rng.normal(size=(100, 3))) for _ in range(20)]
    assert min(values) < 0.0 < max(values)


def test_infinity_of_equal_sets(rng):
    features = correlated(rng, 300, 10)
    # All fakes give zero and half of them a positive distance: the line falls below zero.
    assert frechet_distance_infinity(features, features) < 0.0
    constant = np.full((20, 3), 0.7)
    assert frechet_distance_infinity(constant, constant) == pytest.approx(0.0, abs=1e-12)
    assert frechet_distance_infinity(constant, constant + 2.0) == pytest.approx(12.0)


@pytest.mark.parametrize('num', [20, 300])
def test_infinity_depends_on_the_seed(rng, num):
    real, fake = correlated(rng, num, 30), correlated(rng, num, 30)
    first = frechet_distance_infinity(real, fake)
    assert frechet_distance_infinity(real, fake) == first
    assert frechet_distance_infinity(real, fake, seed=1) != first


def test_infinity_needs_four_fakes(rng):
    with pytest.raises(ValueError, match='at least 4 fakes.*not 3'):
        frechet_distance_infinity(rng.normal(size=(9, 2)), rng.normal(size=(3, 2)))
    assert np.isfinite(frechet_distance_infinity(rng.normal(size=(2, 2)), rng.normal(size=(4, 2))))


def test_sd_by_definition(rng):
    real, fake = correlated(rng, 50, 6), correlated(rng, 70, 6)
    generator = np.random.default_rng(4)
    distances = []
    for _ in range(3):
        resampled = real[generator.integers(50, size=50)], fake[generator.integers(70, size=70)]
        distances.append(frechet_distance(*resampled))
    mean = sum(distances) / 3.0
    expected = np.sqrt(sum((distance - mean) ** 2 for distance in distances) / 2.0)
    result = frechet_distance_sd(real, fake, num_resamples=3, seed=4)
    assert result == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize('paired', [False, True])
def test_sd_agrees_with_new_samples(rng, paired):
    def sample_both():
        real = rng.normal(size=(300, 4))
        blurred = (real if paired else rng.normal(size=(300, 4))) * 0.6
        return real, blurred + 0.2 * rng.normal(size=(300, 4)) + 0.5

    true_sd = np.std([frechet_distance(*sample_both()) for _ in range(300)])
    estimates = [
        frechet_distance_sd(*sample_both(), num_resamples=60, seed=s, paired=paired)
        for s in range(5)
    ]
    assert np.mean(estimates) == pytest.approx(true_sd, rel=0.2)


def test_sd_resamples_pairs_together(rng):
    real = rng.normal(size=(200, 3))
    assert frechet_distance_sd(real, real + 1.0, paired=True) < 1e-9
    assert frechet_distance_sd(real, real + 1.0) > 0.1
    with pytest.raises(ValueError, match='200 and 150'):
        frechet_distance_sd(real, real[:150], paired=True)


def test_sd_with_few_samples(rng):
    real, fake = correlated(rng, 20, 64), correlated(rng, 20, 64)
    assert 0.0 < frechet_distance_sd(real, fake) < frechet_distance(real, fake)
    assert np.isfinite(frechet_distance_sd(real[:2], fake[:2]))
    assert frechet_distance_sd(np.zeros((5, 3)), np.ones((5, 3))) == 0.0


@pytest.mark.parametrize('num', [20, 300])
def test_sd_depends_on_the_seed(rng, num):
    real, fake = correlated(rng, num, 30), correlated(rng, num, 30)
    first = frechet_distance_sd(real, fake, num_resamples=4)
    assert frechet_distance_sd(real, fake, num_resamples=4) == first
    assert frechet_distance_sd(real, fake, num_resamples=4, seed=1) != first


@pytest.mark.parametrize('metric', [frechet_distance_infinity, frechet_distance_sd])
def test_infinity_and_sd_refuse_features(metric):
    one_nan = np.zeros((5, 3))
    one_nan[2, 1] = np.nan
    for fake, message in ((np.zeros((1, 3)), 'at least 2'), (one_nan, 'not finite')):
        with pytest.raises(ValueError, match=message):
            metric(np.zeros((5, 3)), fake)
    with pytest.raises(ValueError, match='3 and 4'):
        metric(np.zeros((5, 3)), np.zeros((5, 4)))
