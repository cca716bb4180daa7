import numpy as np
import pytest
from scipy import stats

from flexae_tf.metrics.memorization import copying_z_score
from flexae_tf.metrics.pixels import nearest_distances


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def test_copying_z_score_by_hand():
    # Of six pairs the sample is farther in two, and one pair counts half: U = 2.5, expected 3.
    real, fake = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0])
    assert copying_z_score(real, fake) == pytest.approx((2.5 - 3.0) / np.sqrt(6 * 6 / 12))
    assert copying_z_score(fake, real) == pytest.approx(-copying_z_score(real, fake))


def test_copying_z_score_is_the_test_of_mann_and_whitney(rng):
    real, fake = rng.exponential(size=60), 0.8 * rng.exponential(size=90)
    z = copying_z_score(real, fake)
    test = stats.mannwhitneyu(fake, real, method='asymptotic', use_continuity=False)
    assert z < 0.0 and 2.0 * stats.norm.sf(-z) == pytest.approx(test.pvalue)


def test_copying_z_score_of_one_distribution_is_normal(rng):
    scores = [copying_z_score(*rng.exponential(size=(2, 50))) for _ in range(400)]
    assert abs(np.mean(scores)) < 3.0 / np.sqrt(400)
    assert np.std(scores) == pytest.approx(1.0, abs=0.12)


def test_copies_have_the_lowest_score_and_new_images_none(rng):
    # Images of ten classes, with noise.
    classes = rng.integers(0, 256, size=[10, 4, 4, 1])
    x = classes[rng.integers(0, 10, size=1500)] + rng.normal(0.0, 20.0, size=[1500, 4, 4, 1])
    train, real, fresh = np.split(np.uint8(np.clip(x, 0, 255)), 3)
    copies = train[rng.integers(0, 500, size=500)]
    scattered = rng.integers(0, 256, size=real.shape, dtype=np.uint8)
    of_real = nearest_distances(real, train)

    def score(samples):
        return copying_z_score(of_real, nearest_distances(samples, train))

    extreme = np.sqrt(3 * 500 * 500 / 1001)
    assert score(copies) == pytest.approx(-extreme) and nearest_distances(copies, train).max() == 0
    assert score(scattered) == pytest.approx(extreme, rel=0.01)
    assert abs(score(fresh)) < 3.0


@pytest.mark.parametrize('sets', [([], [1.0]), ([1.0], []), ([1.0, np.nan], [1.0])])
def test_copying_z_score_refuses_distances(sets):
    with pytest.raises(ValueError, match='distances must be finite'):
        copying_z_score(*map(np.asarray, sets))
