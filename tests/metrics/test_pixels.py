"""Nearest images and their distances by definition."""

import os
import signal
import tracemalloc

import numpy as np
import pytest

from flexae_tf.errors import Interrupted
from flexae_tf.metrics import pixels
from flexae_tf.metrics.pixels import nearest_distances, nearest_images
from flexae_tf.shutdown import GracefulShutdown


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def images_of(rng, num, shape=(2, 2, 3), *, limit=256):
    return rng.integers(0, limit, size=(num, *shape), dtype=np.uint8)


# Rows of a block: 1, 7 (the last one shorter), fewer than neighbours, all.
@pytest.mark.parametrize('block', [1, 12, 7 * 12 + 5, 3 * 12, 1000 * 12])
@pytest.mark.parametrize('limit', [2, 256])
def test_nearest_images_by_definition(rng, monkeypatch, block, limit):
    monkeypatch.setattr(pixels, '_BLOCK', block)
    # With two values, nearly every distance has its equals in other blocks.
    queries, x = images_of(rng, 6, limit=limit), images_of(rng, 50, limit=limit)
    gaps = queries.astype(np.int64)[:, None] - x.astype(np.int64)
    squares = np.sum(gaps**2, axis=(2, 3, 4)).tolist()
    expected = [[i for _, i in sorted((s, i) for i, s in enumerate(r))[:5]] for r in squares]
    assert nearest_images(queries, x, num=5).tolist() == expected


def test_nearest_images_takes_the_first_of_equals(monkeypatch):
    monkeypatch.setattr(pixels, '_BLOCK', 4)
    x = np.array([9, 5, 1, 5, 1, 5, 3], np.uint8)[:, None, None, None]
    assert nearest_images(x[6:], x, num=7).tolist() == [[6, 1, 2, 3, 4, 5, 0]]


def test_nearest_images_distinguishes_large_images_by_one_unit():
    # 12288 values as large as possible: float32 holds such squares in steps of 64.
    x = np.full((4, 64, 64, 3), 255, np.uint8)
    for i in (0, 1, 3):
        x[i, 5, 6, 1] -= 4 - i  # at distances 4, 3, 0 and 1
    query = np.full((1, 64, 64, 3), 255, np.uint8)
    assert nearest_images(query, x, num=4).tolist() == [[2, 3, 1, 0]]
    assert nearest_images(np.zeros_like(query), x[2:], num=2).tolist() == [[1, 0]]


def test_nearest_images_holds_one_block(rng, monkeypatch):
    monkeypatch.setattr(pixels, '_BLOCK', 2**16)  # half a megabyte

    def peak(num):
        x = images_of(rng, num, (8, 8, 3))
        tracemalloc.start()
        try:
            nearest_images(x[:3], x, num=4)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(2_000), peak(40_000)
    # As float64 the many images take 61 MB, and as uint8 8 MB.
    assert many < 2.5 * 2**19 and many < 1.05 * few


@pytest.mark.parametrize('rows', [1, 7, 1000])
@pytest.mark.parametrize('block', [12, 5 * 12, 2**23])
@pytest.mark.parametrize('limit', [2, 256])
def test_nearest_distances_by_definition(rng, monkeypatch, rows, block, limit):
    monkeypatch.setattr(pixels, '_ROWS', rows)
    monkeypatch.setattr(pixels, '_BLOCK', block)
    queries, x = images_of(rng, 17, limit=limit), images_of(rng, 50, limit=limit)
    queries[3] = x[41]
    gaps = queries.astype(np.int64)[:, None] - x.astype(np.int64)
    expected = np.sqrt(np.sum(gaps**2, axis=(2, 3, 4)).min(axis=1)) / 255.0
    found = nearest_distances(queries, x)
    assert found.tolist() == expected.tolist() and found[3] == 0.0


def test_nearest_distances_of_large_images_are_exact(rng):
    # The sum of the squares of 12288 values needs more bits than float32 has.
    x = images_of(rng, 4, (64, 64, 3))
    near = x[[2, 0]]
    near[0, 5, 6, 1] ^= 1
    assert nearest_distances(near, x).tolist() == [1.0 / 255.0, 0.0]
    far = nearest_distances(np.zeros_like(near), np.full_like(x, 255))
    assert far.tolist() == [np.sqrt(12288.0 * 255.0**2) / 255.0] * 2


def test_nearest_distances_can_be_interrupted(rng, monkeypatch):
    monkeypatch.setattr(pixels, '_ROWS', 10)
    x = images_of(rng, 100)
    with GracefulShutdown(), pytest.raises(Interrupted, match='between blocks'):
        os.kill(os.getpid(), signal.SIGTERM)
        nearest_distances(x, x)


@pytest.mark.parametrize(
    ('queries', 'x', 'num', 'words'),
    [
        (np.zeros([1, 2, 2, 1]), np.zeros([3, 2, 2, 1], np.uint8), 1, 'not float64 and uint8'),
        (np.zeros([1, 2, 2, 1], np.uint8), np.zeros([3, 4, 1, 1], np.uint8), 1, r'2, 2, 1'),
        (np.zeros([1, 2, 2, 1], np.uint8), np.zeros([3, 2, 2, 1], np.uint8), 4, '4 .* among'),
    ],
)
def test_nearest_images_refuses_wrong_arrays(queries, x, num, words):
    with pytest.raises(ValueError, match=words):
        nearest_images(queries, x, num=num)
    if num == 1:
        with pytest.raises(ValueError, match=words):
            nearest_distances(queries, x)
