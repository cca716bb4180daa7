import numpy as np
import pytest

from flexae_tf import data
from flexae_tf.config import TrainConfig


def test_digits_have_the_format_of_mnist():
    dataset = data.load(TrainConfig(dataset='digits'))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (1294, 143, 360)
    x = np.concatenate([dataset.train.x, dataset.validation.x, dataset.test.x])
    frame = x.copy()
    frame[:, 4:24, 4:24] = 0
    assert x.shape == (1797, 28, 28, 1) and not frame.any()
    assert (x.max(axis=(1, 2, 3)) > 200).all()
    ink = (x > 0).mean()
    assert 0.15 < ink < 0.25  # MNIST: 0.19
    assert x.mean() == pytest.approx(39.943, abs=0.01)
    assert dataset.test.labels[:10].tolist() == [2, 8, 7, 8, 3, 7, 0, 2, 1, 5]
