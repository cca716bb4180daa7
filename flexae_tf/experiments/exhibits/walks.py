"""Walks through a latent space: along the direction of an attribute, and between two codes."""

import functools

import numpy as np

from flexae_tf import image_grid
from flexae_tf.data.batches import map_batches
from flexae_tf.methods.base import Method

BATCH = 256


def attribute_direction(z: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Mean code of the positives minus mean code of the others: float64 [latent_dim].

    Args:
        z: float [n, latent_dim], the codes of all training images.
        positive: bool [n].

    Raises:
        ValueError: all are positive, or none is.
    """
    num = np.count_nonzero(positive)
    if num in (0, len(z)):
        raise ValueError(f'{num} of {len(z)} codes are positive: there is no direction')
    mean = functools.partial(np.mean, z, axis=0, dtype=np.float64)
    return mean(where=positive[:, None]) - mean(where=~positive[:, None])


def traverse(
    method: Method, x: np.ndarray, direction: np.ndarray, *, reach: float, columns: int
) -> np.ndarray:
    """decode(encode(x) + t direction) for t from -reach to reach; the image itself in the middle.

    Args:
        method: decodes to images in [0, 1].
        x: uint8 [n, h, w, c].
        direction: [latent_dim], or one for each image [n, latent_dim].
        reach: the largest t.
        columns: how many t, odd.

    Returns:
        uint8 [n, columns, h, w, c].

    Raises:
        ValueError: `columns` is even.
    """
    if columns % 2 == 0:
        raise ValueError(f'an odd number of columns has a middle, {columns} has none')
    z = map_batches(method.encode, x, BATCH)
    t = np.linspace(-reach, reach, columns)[:, None]
    pictures = _decode(method, z[:, None] + t * np.broadcast_to(direction, z.shape)[:, None])
    pictures[:, columns // 2] = x
    return pictures


def interpolate(
    method: Method,
    z_a: np.ndarray,
    z_b: np.ndarray,
    *,
    columns: int,
    ends: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Decoded points of the straight lines from `z_a` to `z_b`, at equal distances.

    Args:
        method: decodes to images in [0, 1].
        z_a: [n, latent_dim].
        z_b: [n, latent_dim].
        columns: how many points, both ends included.
        ends: uint8 images [n, h, w, c] to show in place of the first and of the last ones.

    Returns:
        uint8 [n, columns, h, w, c].

    Raises:
        ValueError: fewer than 2 columns.
    """
    if columns < 2:
        raise ValueError(f'a line has 2 ends, more than {columns} columns')
    weights = np.linspace(0.0, 1.0, columns)[:, None]
    pictures = _decode(method, (1.0 - weights) * z_a[:, None] + weights * z_b[:, None])
    if ends:
        pictures[:, 0], pictures[:, -1] = ends
    return pictures


def _decode(method: Method, z: np.ndarray) -> np.ndarray:
    """Pictures uint8 [n, columns, h, w, c] of codes [n, columns, latent_dim]."""
    flat = z.reshape([-1, z.shape[-1]]).astype(np.float32)
    x = image_grid.to_uint8(map_batches(method.decode, flat, BATCH))
    return x.reshape([*z.shape[:2], *x.shape[1:]])
