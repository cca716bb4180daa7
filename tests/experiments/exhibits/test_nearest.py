import tracemalloc

import numpy as np
import pytest

from flexae_tf.experiments.exhibits import nearest as module
from flexae_tf.experiments.exhibits.nearest import nearest


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def images(rng, num, shape=(2, 2, 3), *, limit=256):
    return rng.integers(0, limit, size=(num, *shape), dtype=np.uint8)


def by_definition(queries, x, num):
    gaps = queries.astype(np.int64)[:, None] - x.astype(np.int64)
    squares = np.sum(gaps**2, axis=(2, 3, 4))
    ranked = [sorted((s, i) for i, s in enumerate(row))[:num] for row in squares.tolist()]
    return [[i for _, i in row] for row in ranked], [[s for s, _ in row] for row in ranked]


# Rows of a block: 1, 7 (the last one shorter), fewer than neighbours, all.
@pytest.mark.parametrize('block', [1, 12, 7 * 12 + 5, 3 * 12, 1000 * 12])
@pytest.mark.parametrize('limit', [2, 256])
def test_by_the_definition(rng, monkeypatch, block, limit):
    monkeypatch.setattr(module, '_BLOCK', block)
    # With two values only, nearly every distance has its equals in other blocks.
    queries, x = images(rng, 6, limit=limit), images(rng, 50, limit=limit)
    found = nearest(queries, x, num=5)
    indices, squares = by_definition(queries, x, 5)
    assert found.indices.tolist() == indices and found.squared_distances.tolist() == squares
    assert found.indices.dtype == found.squared_distances.dtype == np.int64


def test_of_equals_the_first(monkeypatch):
    monkeypatch.setattr(module, '_BLOCK', 4)
    x = np.array([9, 5, 1, 5, 1, 5, 3], np.uint8)[:, None, None, None]
    found = nearest(x[6:], x, num=7)
    assert found.indices.tolist() == [[6, 1, 2, 3, 4, 5, 0]]
    assert found.squared_distances.tolist() == [[0, 4, 4, 4, 4, 4, 36]]


def test_own_image_is_at_distance_zero(rng):
    x = images(rng, 30, (64, 64, 3))
    found = nearest(x[[17, 4]], x, num=1)
    assert found.indices.tolist() == [[17], [4]] and not found.squared_distances.any()


def test_large_images_are_told_apart_by_one_unit(rng):
    # 12288 values as large as they get: float32 holds such squares in steps of 64.
    x = np.full((4, 64, 64, 3), 255, np.uint8)
    for i in (0, 1, 3):
        x[i, 5, 6, 1] -= 4 - i  # at distances 4, 3, 0 and 1
    query = np.full((1, 64, 64, 3), 255, np.uint8)
    found = nearest(query, x, num=4)
    assert found.indices.tolist() == [[2, 3, 1, 0]]
    assert found.squared_distances.tolist() == [[0, 1, 9, 16]]
    black = nearest(np.zeros_like(query), x[2:], num=2)
    assert black.indices.tolist() == [[1, 0]]
    assert black.squared_distances.tolist() == [[12288 * 255**2 - 509, 12288 * 255**2]]


def test_a_block_is_all_that_is_held(rng, monkeypatch):
    monkeypatch.setattr(module, '_BLOCK', 2**16)  # half a megabyte

    def peak(num):
        x = images(rng, num, (8, 8, 3))
        tracemalloc.start()
        try:
            nearest(x[:3], x, num=4)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(2_000), peak(40_000)
    # As float64 the many are 61 MB, and as they are 8 MB.
    assert many < 2.5 * 2**19 and many < 1.05 * few


@pytest.mark.parametrize(
    ('queries', 'x', 'num', 'words'),
    [
        (np.zeros([1, 2, 2, 1]), np.zeros([3, 2, 2, 1], np.uint8), 1, 'not float64 and uint8'),
        (np.zeros([1, 2, 2, 1], np.uint8), np.zeros([3, 4, 1, 1], np.uint8), 1, r'\(2, 2, 1\)'),
        (np.zeros([1, 2, 2, 1], np.uint8), np.zeros([3, 2, 2, 1], np.uint8), 4, '4 .* among 3'),
    ],
)
def test_what_is_refused(queries, x, num, words):
    with pytest.raises(ValueError, match=words):
        nearest(queries, x, num=num)
