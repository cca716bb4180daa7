"""Nearest neighbours of a few images among many, exactly."""

from typing import NamedTuple

import numpy as np

_BLOCK = 2**23  # values of the images held as float64 at a time: 64 MB


class Neighbours(NamedTuple):
    """The nearest of some images, the nearest first: int64 [q, num] both."""

    indices: np.ndarray
    squared_distances: np.ndarray


def nearest(queries: np.ndarray, x: np.ndarray, *, num: int) -> Neighbours:
    """The `num` images of `x` nearest to each query in Euclidean distance; of equals, the first.

    Sums of products of uint8 values are integers far below 2^53, so float64 computes them exactly,
    in whatever order; float32 would not. Only a block of `x` at a time is turned into float64.

    Args:
        queries: uint8 [q, ...]; a few, they are held as float64.
        x: uint8 [n, ...].
        num: how many neighbours.

    Raises:
        ValueError: values that are not uint8, different shapes, or fewer than `num` images.
    """
    if not queries.dtype == x.dtype == np.uint8:
        raise ValueError(f'images must be uint8, not {queries.dtype} and {x.dtype}')
    if queries.shape[1:] != x.shape[1:]:
        raise ValueError(f'images of different shapes: {queries.shape[1:]} and {x.shape[1:]}')
    if len(x) < num:
        raise ValueError(f'{num} neighbours among {len(x)} images')
    a = queries.reshape([len(queries), -1]).astype(np.float64)
    norms = np.sum(a * a, axis=1)[:, None]
    indices, squares = np.zeros([len(a), 0], np.int64), np.zeros([len(a), 0])
    rows = max(1, _BLOCK // a.shape[1])
    for start in range(0, len(x), rows):
        b = x[start : start + rows].reshape([-1, a.shape[1]]).astype(np.float64)
        new = norms - 2.0 * (a @ b.T) + np.einsum('ij,ij->i', b, b)
        squares = np.concatenate([squares, new], axis=1)
        numbers = np.broadcast_to(np.arange(start, start + len(b)), new.shape)
        indices = np.concatenate([indices, numbers], axis=1)
        # Those found before come first: of equals, a stable sort keeps the lower index in front.
        order = np.argsort(squares, axis=1, kind='stable')[:, :num]
        squares, indices = (np.take_along_axis(v, order, axis=1) for v in (squares, indices))
    return Neighbours(indices, squares.astype(np.int64))
