"""PSNR and SSIM of pairs of images, by hand and by an independent computation."""

import math

import numpy as np
import pytest
from scipy.ndimage import convolve1d

from flexae_tf.metrics.paired import psnr, ssim


def grey(*levels, shape=(16, 16, 1)):
    """Constant images uint8 [n, h, w, c]."""
    return np.stack([np.full(shape, level, np.uint8) for level in levels])


def test_psnr_by_hand():
    assert psnr(grey(100), grey(105)) == pytest.approx(20 * math.log10(255 / 5), abs=1e-4)
    assert psnr(grey(0), grey(255)) == pytest.approx(0.0, abs=1e-4)
    x_hat = grey(100)
    x_hat[0, 3, 4, 0] = 116  # mean squared error 16^2 / 256 = 1
    assert psnr(grey(100), x_hat) == pytest.approx(20 * math.log10(255), abs=1e-4)


def test_psnr_is_the_mean_over_pairs():
    values = [psnr(grey(100), grey(100 + step)) for step in (1, 10, 50)]
    assert psnr(grey(100, 100, 100), grey(101, 110, 150)) == pytest.approx(np.mean(values))


def test_psnr_of_equal_images_is_of_the_smallest_difference():
    nearly = grey(100)
    nearly[0, 0, 0, 0] += 1
    largest = 20 * math.log10(255) + 10 * math.log10(256)
    assert psnr(grey(100), grey(100)) == pytest.approx(largest)
    assert psnr(grey(100), nearly) == pytest.approx(largest, abs=1e-4)
    assert psnr(grey(100, 0), grey(100, 255)) == pytest.approx(largest / 2, abs=1e-4)


def test_ssim_by_hand():
    # Without variance only the term of the means remains: (2 a b + C1) / (a^2 + b^2 + C1).
    c1 = (0.01 * 255) ** 2
    for a, b in ((100, 150), (0, 255), (7, 7)):
        expected = (2 * a * b + c1) / (a * a + b * b + c1)
        assert ssim(grey(a), grey(b)) == pytest.approx(expected, abs=1e-4)
    expected = [ssim(grey(100), grey(150)), ssim(grey(0), grey(255))]
    assert ssim(grey(100, 0), grey(150, 255)) == pytest.approx(np.mean(expected))


def ssim_by_definition(x, x_hat):
    """Equation 13 of Wang et al. 2004 in float64, window positions inside the image."""
    window = np.exp(-0.5 * (np.arange(11) - 5.0) ** 2 / 1.5**2)
    window /= window.sum()

    def mean(values):  # [n, h, w, c]
        for axis in (1, 2):
            values = convolve1d(values, window, axis=axis)
        return values[:, 5:-5, 5:-5]

    x, x_hat = x.astype(np.float64), x_hat.astype(np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    a, b = mean(x), mean(x_hat)
    covariance = mean(x * x_hat) - a * b
    variances = mean(x**2) - a**2 + mean(x_hat**2) - b**2
    return np.mean(
        (2 * a * b + c1) * (2 * covariance + c2) / ((a**2 + b**2 + c1) * (variances + c2))
    )


@pytest.mark.parametrize('shape', [(28, 28, 1), (32, 32, 3), (11, 11, 1)])
def test_ssim_by_definition(shape):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (3, *shape)).astype(np.uint8)
    x_hat = np.clip(x + rng.normal(0, 40, x.shape), 0, 255).astype(np.uint8)
    assert ssim(x, x_hat) == pytest.approx(ssim_by_definition(x, x_hat), abs=1e-5)
    assert ssim(x, x) == pytest.approx(1.0)


def test_pairs_may_be_unrounded():
    x = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 1)).astype(np.float32)
    expected = np.mean(20 * np.log10(255 / np.sqrt(np.mean((x - np.rint(x)) ** 2, (1, 2, 3)))))
    assert psnr(x, np.rint(x)) == pytest.approx(expected, abs=1e-4)
    assert ssim(x, np.rint(x)) == pytest.approx(ssim_by_definition(x, np.rint(x)), abs=1e-4)


def test_pairs_are_processed_in_batches(monkeypatch):
    rng = np.random.default_rng(0)
    x, x_hat = rng.integers(0, 256, (2, 7, 12, 12, 3)).astype(np.uint8)
    expected = psnr(x, x_hat), ssim(x, x_hat)
    monkeypatch.setattr('flexae_tf.metrics.paired._BATCH', 3)
    assert (psnr(x, x_hat), ssim(x, x_hat)) == pytest.approx(expected)


def test_pairs_must_have_one_shape():
    for metric in (psnr, ssim):
        with pytest.raises(ValueError, match='one shape'):
            metric(grey(1), grey(1, 2))
    with pytest.raises(ValueError, match='smaller than the window'):
        ssim(grey(1, shape=(10, 16, 1)), grey(1, shape=(10, 16, 1)))
