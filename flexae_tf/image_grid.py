"""Arrays of images -> one PNG grid."""

import math
import pathlib

import numpy as np

from flexae_tf.environment import import_tensorflow


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Converts float images in [0, 1] to uint8, rounded to the nearest value."""
    return np.round(np.clip(images, 0.0, 1.0) * 255.0).astype(np.uint8)


def grid(images: np.ndarray, *, columns: int | None = None) -> np.ndarray:
    """Arranges images row by row; the unused rest of the last row is black.

    Args:
        images: [n, h, w, c], or [rows, columns, h, w, c].
        columns: images per row; None for the columns of `images`, or a grid that is as square as
            possible.

    Returns:
        [rows * h, columns * w, c].
    """
    if images.ndim == 5:
        images, columns = images.reshape([-1, *images.shape[2:]]), images.shape[1]
    num, height, width, channels = images.shape
    rows, columns = _sides(num, columns)
    filled = np.zeros([rows * columns, height, width, channels], images.dtype)
    filled[:num] = images
    filled = filled.reshape([rows, columns, height, width, channels])
    return filled.transpose(0, 2, 1, 3, 4).reshape([rows * height, columns * width, channels])


def too_large(num: int, shape: tuple[int, ...]) -> bool:
    """Returns whether a grid of images [h, w, c] has too many values for a PNG file."""
    return math.prod((*_sides(num), *shape)) >= 2**31


def _sides(num: int, columns: int | None = None) -> tuple[int, int]:
    """Returns the rows and columns of a grid, as square as possible unless columns are given."""
    columns = columns or math.isqrt(num - 1) + 1
    return -(-num // columns), columns


def pairs(x: np.ndarray, x_hat: np.ndarray, *, columns: int = 8) -> np.ndarray:
    """Arranges images and reconstructions in alternating rows; incomplete rows are left out.

    Args:
        x: images [n, h, w, c], in the odd rows.
        x_hat: reconstructions, same shape, in the even rows.
        columns: images per row, at most n.

    Returns:
        [2 * rows * h, columns * w, c].
    """
    columns = min(columns, len(x))
    num = len(x) // columns * columns
    shape = [num // columns, columns, *x.shape[1:]]
    rows = np.stack([x[:num].reshape(shape), x_hat[:num].reshape(shape)], axis=1)
    return grid(rows.reshape([-1, *rows.shape[2:]]))


def to_png(image: np.ndarray) -> bytes:
    """Returns the contents of a PNG file of one uint8 image [h, w, 1 or 3]."""
    return import_tensorflow().io.encode_png(image).numpy()


def write_png(path: str | pathlib.Path, image: np.ndarray) -> None:
    """Writes one uint8 image [h, w, 1 or 3]."""
    pathlib.Path(path).write_bytes(to_png(image))


def read_png(path: str | pathlib.Path) -> np.ndarray:
    """Reads one image, uint8 [h, w, c]."""
    return import_tensorflow().io.decode_png(pathlib.Path(path).read_bytes()).numpy()
