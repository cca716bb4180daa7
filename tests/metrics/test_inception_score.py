import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.evaluation.tfgan import tfgan_eval
from flexae_tf.metrics.inception_score import inception_score


@pytest.fixture
def rng():
    return np.random.default_rng(17)


def test_score_by_hand():
    # p(y | x) is (3/4, 1/4) and (1/4, 3/4): p(y) is uniform, each KL is log 2 minus the entropy.
    logits = np.log([[3.0, 1.0], [1.0, 3.0]]) + np.array([[5.0], [-2.0]])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    score = inception_score(logits, num_splits=1)
    assert score.mean == pytest.approx(2.0 / np.exp(entropy), rel=1e-12)
    assert score.sd == 0.0


def test_score_agrees_with_tfgan(rng):
    logits = 3.0 * rng.normal(size=(200, 30)) + rng.normal(size=30)
    oracle = tfgan_eval().classifier_score_from_logits(tf.constant(logits))
    score = inception_score(logits, num_splits=1)
    assert score.mean == pytest.approx(float(oracle), rel=1e-9)


def test_score_by_definition(rng):
    logits = rng.normal(size=(23, 4))
    scores = []
    for start, stop in ((0, 8), (8, 16), (16, 23)):  # consecutive; the first parts have one more
        p = [np.exp(row) / np.exp(row).sum() for row in logits[start:stop]]
        q = sum(p) / len(p)
        kl = [sum(a * np.log(a / b) for a, b in zip(row, q, strict=True)) for row in p]
        scores.append(np.exp(sum(kl) / len(kl)))
    mean = sum(scores) / 3.0
    sd = np.sqrt(sum((score - mean) ** 2 for score in scores) / 3.0)
    assert inception_score(logits, num_splits=3) == pytest.approx((mean, sd), rel=1e-12)


def test_score_extremes(rng):
    sure = 1e4 * np.eye(5)[np.arange(100) % 5]  # other classes underflow to 0
    assert inception_score(sure) == pytest.approx((5.0, 0.0), abs=1e-12)
    assert inception_score(sure[np.arange(100) // 20], num_splits=5).mean == pytest.approx(1.0)
    assert inception_score(np.full((100, 7), 0.3)) == pytest.approx((1.0, 0.0), abs=1e-12)


def test_score_of_equal_images_is_one(rng):
    logits = np.repeat(rng.normal(size=(1, 9)), 40, axis=0)
    assert inception_score(logits).mean == pytest.approx(1.0, abs=1e-12)


def test_score_depends_on_order(rng):
    logits = 2.0 * rng.normal(size=(40, 6))
    first = inception_score(logits, num_splits=4)
    assert inception_score(logits, num_splits=4) == first
    within = logits.reshape([4, 10, 6])[:, ::-1].reshape([40, 6])
    assert inception_score(within, num_splits=4) == pytest.approx(first, rel=1e-12)
    assert inception_score(logits[rng.permutation(40)], num_splits=4).mean != first.mean


def test_score_of_two_samples():
    logits = np.log([[3.0, 1.0], [1.0, 3.0]])
    assert inception_score(logits, num_splits=2) == pytest.approx((1.0, 0.0), abs=1e-12)
    with pytest.raises(ValueError, match='fewer samples than splits: 2 and 10'):
        inception_score(logits)


def test_score_is_computed_in_float64(rng):
    logits = (rng.normal(size=(50, 8)) + 1000.0).astype(np.float32)
    assert inception_score(logits) == inception_score(logits.astype(np.float64))


@pytest.mark.parametrize(
    ('logits', 'message'),
    [
        (np.zeros((1, 3)), 'at least 2 samples'),
        (np.zeros(30), r'\[30\]'),
        (np.array([[0.0]] * 29 + [[np.inf]]), 'not finite'),
    ],
)
def test_score_refuses_logits(logits, message):
    with pytest.raises(ValueError, match=message):
        inception_score(logits)
