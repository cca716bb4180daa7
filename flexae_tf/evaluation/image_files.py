"""Images from files that are scored as they are: folders, .npz files and .npy files."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flexae_tf.data import arrays, image_folder
from flexae_tf.data.decoding import DECODER
from flexae_tf.errors import MissingDataError, UsageError

OF_BITS = '_of_'  # between the decoder and the bits that 16-bit files use


class ImageFiles(NamedTuple):
    """Images of a folder or of an array file.

    Attributes:
        x: uint8 [n, h, w, c], in a fixed random order.
        decoder: decoder of image files, a field of `Protocol`; None for arrays.
        resize_to: crop and resize of the images, a field of `Protocol`; None if unchanged.
        bits: bits that the 16-bit files use; None without such files.
    """

    x: np.ndarray
    decoder: str | None
    resize_to: str | None
    bits: int | None = None


def load(
    path: Path,
    *,
    flag: str,
    max_images: int,
    value_range: str | None = None,
    resize_to: int | None = None,
    skip_bad_images: bool = False,
    like: Path | None = None,
) -> ImageFiles:
    """Loads images of a folder, an .npz file or an .npy file.

    Args:
        path: the folder or file.
        flag: flag that names it, for error messages.
        max_images: number of images to load, the first in a fixed random order.
        value_range: range of the values of arrays, a choice of `--value_range`; None for uint8.
        resize_to: height and width of the results; None to keep the size.
        skip_bad_images: whether unreadable files of a folder are skipped.
        like: folder of the images to compare with; 16-bit files of both have one scale.

    Raises:
        MissingDataError: the path does not exist or holds no valid images.
        UsageError: not enough memory, or options that do not fit the kind of the path.
    """
    if not path.exists():
        raise MissingDataError(f'{path}: does not exist. Correct {flag}.')
    resized = None if resize_to is None else f'centre_antialiased_{resize_to}'
    if path.is_dir():
        x, bits = image_folder.load_unresized(
            path,
            flag=flag,
            max_images=max_images,
            resize_to=resize_to,
            skip_bad_images=skip_bad_images,
            like=like if like and like.is_dir() else None,
        )
        decoder = DECODER if bits in (None, 16) else f'{DECODER}{OF_BITS}{bits}'
        return ImageFiles(x, decoder=decoder, resize_to=resized, bits=bits)
    x = arrays.load_images(
        path, max_images=max_images, value_range=value_range, resize_to=resize_to
    )
    return ImageFiles(x, decoder=None, resize_to=resized)


def load_vectors(path: Path, *, flag: str, max_vectors: int) -> np.ndarray:
    """Loads vectors of an .npy or .npz file, such as a file of bin/sample.py: float32 [n, d].

    Args:
        path: the file, with the names of arrays that files of images may have.
        flag: flag that names it, for error messages.
        max_vectors: number of vectors to load, the first in a fixed random order.

    Raises:
        MissingDataError: the file is missing, corrupt or does not hold finite vectors.
    """
    if not path.is_file():
        raise MissingDataError(
            f'{path}: not a file. Correct {flag}; vectors come from an .npy or .npz file.'
        )
    return arrays.load_vectors(path, max_vectors=max_vectors)


def check_options(paths: Sequence[Path], *, value_range: str | None, skip_bad_images: bool) -> None:
    """Checks that every option applies to one of the paths.

    Raises:
        UsageError: an option that `load` would ignore for all paths.
    """
    folders = [path.is_dir() for path in paths]
    if value_range is not None and all(folders):
        raise UsageError(
            f'--value_range={value_range}: applies to .npy and .npz files only. Leave it out.'
        )
    if skip_bad_images and not any(folders):
        raise UsageError('--skip_bad_images: applies to folders of images only. Leave it out.')
