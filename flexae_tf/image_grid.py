"""Pictures: many images in one PNG."""

import pathlib

import numpy as np
import tensorflow as tf


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Float images in [0, 1] as uint8, rounded (not cut off)."""
    return np.round(np.clip(images, 0.0, 1.0) * 255.0).astype(np.uint8)


def grid(images: np.ndarray, *, columns: int | None = None) -> np.ndarray:
    """Images [n, h, w, c] side by side, row by row: [rows * h, columns * w, c].

    Without `columns` the grid is as square as it gets; what is left of the last row is black.
    """
    num, height, width, channels = images.shape
    columns = columns or int(np.ceil(np.sqrt(num)))
    rows = -(-num // columns)
    filled = np.zeros([rows * columns, height, width, channels], images.dtype)
    filled[:num] = images
    filled = filled.reshape([rows, columns, height, width, channels])
    return filled.transpose(0, 2, 1, 3, 4).reshape([rows * height, columns * width, channels])


def pairs(x: np.ndarray, x_hat: np.ndarray, *, columns: int = 8) -> np.ndarray:
    """A grid whose odd rows are `x` and whose even rows are their reconstructions `x_hat`."""
    columns = min(columns, len(x))
    num = len(x) // columns * columns
    shape = [num // columns, columns, *x.shape[1:]]
    rows = np.stack([x[:num].reshape(shape), x_hat[:num].reshape(shape)], axis=1)
    return grid(rows.reshape([2 * num, *x.shape[1:]]), columns=columns)


def to_png(image: np.ndarray) -> bytes:
    """One uint8 image [h, w, 1 or 3] as the contents of a file."""
    return tf.io.encode_png(image).numpy()


def write_png(path: str | pathlib.Path, image: np.ndarray) -> None:
    """Writes one uint8 image [h, w, 1 or 3]."""
    pathlib.Path(path).write_bytes(to_png(image))


def read_png(path: str | pathlib.Path) -> np.ndarray:
    """One image as `write_png` wrote it."""
    return tf.io.decode_png(pathlib.Path(path).read_bytes()).numpy()
