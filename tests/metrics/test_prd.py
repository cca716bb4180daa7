import math
import warnings

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans

from flexae_tf.metrics import prd
from flexae_tf.metrics.prd import curve, f_score, precision_recall


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        yield


def naive_curve(real_histogram, fake_histogram, num_angles):
    """Returns the curve by definition, in loops."""
    precisions, recalls = [], []
    for i in range(num_angles):
        slope = math.tan(1e-10 + (math.pi / 2.0 - 2e-10) * i / (num_angles - 1))
        pairs = list(zip(real_histogram, fake_histogram, strict=True))
        precisions.append(sum(min(slope * p, q) for p, q in pairs))
        recalls.append(sum(min(p, q / slope) for p, q in pairs))
    return precisions, recalls


def naive_f_score(precisions, recalls, beta):
    pairs = zip(precisions, recalls, strict=True)
    return max((1 + beta**2) * p * r / (beta**2 * p + r + 1e-10) for p, r in pairs)


def modes(rng, num, centres):
    """Returns `num` points around each centre."""
    return np.concatenate([rng.normal(size=(num, 2)) * 0.1 + centre for centre in centres])


def test_curve_by_hand():
    # Angles 0, 45 and 90 degrees: slopes 0, 1 and infinity.
    precisions, recalls = curve(np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.0, 0.75]), 3)
    np.testing.assert_allclose(precisions, [0.0, 0.25, 0.25], atol=1e-9)
    np.testing.assert_allclose(recalls, [0.5, 0.25, 0.0], atol=1e-9)


def test_curve_stays_within_one():
    even = np.full(20, 0.05)
    assert even.sum() > 1.0  # by rounding
    precisions, recalls = curve(even, even, 9)
    assert precisions.max() == 1.0 >= recalls.max()


def test_f_score_by_hand():
    # 5 p r / (4 p + r): 0.5 * 5 / 4.5 and 0.4 * 5 / 2.6.
    result = f_score(np.array([1.0, 0.5]), np.array([0.5, 0.8]), 2.0)
    assert result == pytest.approx(2.0 / 2.8, rel=1e-9)
    assert f_score(np.zeros(3), np.zeros(3), 8.0) == 0.0


def test_prd_by_definition(rng):
    real, fake = rng.normal(size=(60, 3)), 0.7 * rng.normal(size=(60, 3)) + 0.5
    curves = []
    for run in range(3):
        kmeans = MiniBatchKMeans(5, n_init=10, batch_size=1024, random_state=7 + run)
        labels = kmeans.fit(np.concatenate([fake, real])).labels_
        of_fake, of_real = (
            [list(part).count(w) / 60.0 for w in range(5)] for part in (labels[:60], labels[60:])
        )
        curves.append(naive_curve(of_real, of_fake, 201))
    precisions, recalls = np.mean(curves, axis=0)
    result = precision_recall(real, fake, num_clusters=5, num_angles=201, num_runs=3, seed=7)
    np.testing.assert_allclose(result.precisions, precisions, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(result.recalls, recalls, rtol=1e-9, atol=1e-12)
    assert result.precision == pytest.approx(naive_f_score(precisions, recalls, 0.125), rel=1e-9)
    assert result.recall == pytest.approx(naive_f_score(precisions, recalls, 8.0), rel=1e-9)
    assert 0.0 < result.recall < result.precision < 1.0  # the fakes are too narrow


def test_prd_recall_drops_for_a_missing_mode(rng):
    both, one = modes(rng, 50, [-5.0, 5.0]), modes(rng, 100, [-5.0])
    missing = precision_recall(both, one, num_clusters=2)
    # p = 1 and r = 1/2 at slope 2: F_1/8 and F_8 of this point, up to the grid of angles.
    assert missing.precision == pytest.approx(65.0 * 0.5 / (1.0 + 64.0 * 0.5), abs=1e-4)
    assert missing.recall == pytest.approx(65.0 * 0.5 / 64.5, abs=1e-4)
    invented = precision_recall(one, both, num_clusters=2)
    assert invented.precision == pytest.approx(missing.recall, abs=1e-9)
    assert invented.recall == pytest.approx(missing.precision, abs=1e-9)


def test_prd_of_disjoint_sets(rng):
    result = precision_recall(modes(rng, 80, [-9.0]), modes(rng, 80, [9.0]))
    assert result[:2] == (0.0, 0.0)


def test_prd_of_equal_sets(rng):
    features = rng.normal(size=(200, 8))
    result = precision_recall(features, features)
    assert result[:2] == pytest.approx((1.0, 1.0), abs=1e-9)
    assert max(result.precisions.max(), result.recalls.max()) <= 1.0
    shuffled = precision_recall(features, rng.permutation(features))
    assert shuffled[:2] == pytest.approx((1.0, 1.0), abs=1e-9)


def test_prd_of_few_different_points(rng):
    # 100 samples but 30 points, some of them centres twice: equal sets still have equal labels.
    repeated = rng.normal(size=(30, 4))[rng.integers(30, size=100)]
    assert precision_recall(repeated, repeated)[:2] == pytest.approx((1.0, 1.0), abs=1e-9)


def test_prd_of_fewer_points_than_clusters():
    zeros, threes = np.zeros((40, 5)), np.full((40, 5), 3.0)
    assert precision_recall(zeros, -zeros)[:2] == pytest.approx((1.0, 1.0), abs=1e-9)
    assert precision_recall(zeros, threes)[:2] == (0.0, 0.0)
    half = np.concatenate([zeros[:20], threes[:20]])
    expected = 65.0 * 0.5 / (1.0 + 64.0 * 0.5), 65.0 * 0.5 / 64.5
    assert precision_recall(half, zeros)[:2] == pytest.approx(expected, abs=1e-4)


def test_prd_treats_few_points_as_clusters(rng, monkeypatch):
    used = []
    monkeypatch.setattr(
        prd, 'MiniBatchKMeans', lambda *_, **options: used.append(1) or MiniBatchKMeans(5, n_init=1)
    )
    for num, expected in ((5, 0), (6, 1)):
        points = np.repeat(rng.normal(size=(num, 3)), 2, axis=0)
        precision_recall(points, points, num_clusters=5, num_runs=1)
        assert len(used) == expected


def test_prd_depends_on_the_seed(rng):
    real, fake = rng.normal(size=(2, 200, 4))
    first, again = (precision_recall(real, fake, num_runs=2) for _ in range(2))
    assert first[:2] == again[:2]
    np.testing.assert_array_equal(first.precisions, again.precisions)
    np.testing.assert_array_equal(first.recalls, again.recalls)
    assert precision_recall(real, fake, num_runs=2, seed=9)[:2] != first[:2]


@pytest.mark.parametrize(
    ('real', 'fake', 'message'),
    [
        (np.zeros((1, 3)), np.zeros((1, 3)), 'at least 2 samples'),
        (np.zeros((2, 3)), np.zeros((2, 3)), 'fewer samples than clusters: 2 and 20'),
        (np.zeros((30, 3)), np.zeros((31, 3)), '30 and 31'),
        (np.zeros((30, 3)), np.zeros((30, 4)), '3 and 4'),
        (np.zeros((30, 1)), np.array([[0.0]] * 29 + [[np.inf]]), 'not finite'),
    ],
)
def test_prd_refuses_features(real, fake, message):
    with pytest.raises(ValueError, match=message):
        precision_recall(real, fake)
