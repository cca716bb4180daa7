import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.data.decoding import crop_and_resize, to_grey


@pytest.mark.parametrize('height, width', [(20, 50), (50, 20), (21, 50)])
def test_crop_and_resize_takes_the_largest_central_square(height, width):
    side = min(height, width)
    image = np.full([height, width, 1], 255, np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    image[top : top + side, left : left + side] = 10
    assert (crop_and_resize(tf.constant(image), size=10).numpy() == 10).all()


def test_crop_and_resize_uses_an_antialiasing_triangle_filter():
    """The filter is as wide as two pixels of the result."""
    image = np.random.default_rng(0).integers(0, 256, [140, 140, 3], np.uint8)
    scale = 140 / 64
    centres = (np.arange(64) + 0.5) * scale
    distance = np.abs(centres[:, None] - (np.arange(140) + 0.5)) / scale
    weights = np.maximum(0.0, 1.0 - distance)
    weights /= weights.sum(axis=1, keepdims=True)
    expected = np.einsum('ij,jkc,lk->ilc', weights, image, weights)
    resized = crop_and_resize(tf.constant(image), size=64).numpy()
    assert resized.dtype == np.uint8
    assert np.abs(resized - expected).max() <= 0.51  # rounded to the nearest value
    plain = tf.image.resize(image, [64, 64]).numpy()
    assert np.abs(plain - expected).mean() > 10


def test_crop_and_resize_keeps_an_image_of_the_requested_size():
    image = np.random.default_rng(1).integers(0, 256, [8, 8, 3], np.uint8)
    np.testing.assert_array_equal(crop_and_resize(tf.constant(image), size=8), image)


def test_to_grey_keeps_grey_and_weights_colours():
    grey = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, axis=2)
    np.testing.assert_array_equal(to_grey(grey), grey[..., :1])
    primaries = np.diag([255] * 3).astype(np.uint8)[None]
    assert to_grey(primaries).numpy().ravel().tolist() == [76, 150, 29]
