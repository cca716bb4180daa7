"""The user's own images: a folder of PNG and JPEG files, or a file of arrays (`arrays`)."""

import math
import os
from pathlib import Path

import numpy as np

from flexae_tf.config import TrainConfig
from flexae_tf.data import arrays, memory
from flexae_tf.data.dataset import (
    DatasetSpec,
    Purpose,
    Split,
    default_test_size,
    fixed_permutation,
    hold_out_test,
)
from flexae_tf.errors import MissingDataError, UsageError

DEFAULT_SIZE = 64
SUFFIXES = ('.png', '.jpg', '.jpeg')


def describe(config: TrainConfig) -> DatasetSpec:
    """Returns the spec of `--data_dir`; the sizes of a folder are unknown until it is loaded.

    Raises:
        UsageError: no `--data_dir`.
        MissingDataError: no such folder or file, or an unusable file of arrays.
    """
    path = _data_path(config)
    if path.is_file():
        return arrays.describe(path, image_size=config.image_size, value_range=config.value_range)
    size = config.image_size or DEFAULT_SIZE
    return DatasetSpec('folder', 'images', (size, size, 3), None, None, (0.0, 1.0))


def load(config: TrainConfig) -> tuple[Split, Split]:
    """Loads training and test examples of `--data_dir`; see `load_folder` and `arrays.load`."""
    path = _data_path(config)
    if path.is_file():
        return arrays.load(path, image_size=config.image_size, value_range=config.value_range)
    return load_folder(path, size=config.image_size or DEFAULT_SIZE)


def load_folder(folder: Path, *, size: int) -> tuple[Split, Split]:
    """Loads every image in a folder and its subfolders.

    A fixed random tenth of the images (at least 2) is the test set. The largest centre square of
    every image is resized with antialiasing. Transparency and EXIF rotation are ignored.

    Args:
        folder: folder of PNG and JPEG files, read in the order of their paths.
        size: height and width of the results.

    Returns:
        Training and test examples, x uint8 [n, size, size, 3].

    Raises:
        MissingDataError: there are no images, or some are unreadable.
        UsageError: not enough memory.
    """
    from flexae_tf.data import decoding

    paths = _image_paths(folder, '--data_dir')
    images = Split(decoding.read_images(decoding.file_contents(paths), paths, size=size))
    return hold_out_test(images, default_test_size(len(paths)))


def load_unresized(
    folder: Path, *, max_images: int, resize_to: int | None = None, skip_bad_images: bool = False
) -> np.ndarray:
    """Loads images of one size without cropping or resizing them.

    Args:
        folder: folder of PNG and JPEG files, searched with its subfolders.
        max_images: number of images to read, the first in a fixed random order of the paths.
        resize_to: height and width to which the largest centre square of every image is resized
            with antialiasing; None if the images have one size and keep it.
        skip_bad_images: leave unreadable images out, in place of an error.

    Returns:
        uint8 [n, h, w, 3].

    Raises:
        MissingDataError: there are no images, some are unreadable, or their sizes differ.
        UsageError: not enough memory.
    """
    from flexae_tf.data import decoding

    paths = _image_paths(folder, '--real or --fake')
    paths = [paths[i] for i in fixed_permutation(len(paths), Purpose.EVALUATION)[:max_images]]
    if resize_to:
        return decoding.read_images(decoding.file_contents(paths), paths, size=resize_to)
    images = None
    for i, image in decoding.decode_all(decoding.file_contents(paths), paths, decoding.decode):
        if images is None:
            first, shape = paths[i], [len(paths), *image.shape]
            memory.check(math.prod(shape), f'{len(paths)} images as large as {first}')
            images = np.empty(shape, np.uint8)
        if image.shape != images.shape[1:]:
            raise MissingDataError(
                f'{paths[i]}: {image.shape[1]}x{image.shape[0]}, but {first} is '
                f'{images.shape[2]}x{images.shape[1]}. Resize all images to one size.'
            )
        images[i] = image
    return images


def _data_path(config: TrainConfig) -> Path:
    """Returns `--data_dir`, a folder or a file of arrays."""
    if config.data_dir is None:
        raise UsageError(
            '--data_dir: needed with --dataset=folder. Give a folder of images, or an .npy or '
            '.npz file.'
        )
    path = Path(config.data_dir)
    if not path.exists():
        raise MissingDataError(f'{path}: does not exist. Correct --data_dir.')
    return path


def _image_paths(folder: Path, flag: str) -> list[str]:
    """Returns the sorted paths of PNG and JPEG files in a folder, without the files of runs.

    Args:
        folder: the folder, searched with its subfolders; links are followed.
        flag: flag that names the folder, for error messages.

    Raises:
        MissingDataError: no images, or a folder cannot be read.
    """
    visited = set()  # a link may lead back, or to the target of another link

    def refuse(error: OSError) -> None:
        raise MissingDataError(
            f'{error.filename}: {error.strerror}. Fix its permissions or move it elsewhere.'
        )

    found, num_other = [], 0
    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real_path = os.path.realpath(parent)
        skip = real_path in visited
        visited.add(real_path)
        folders.sort()  # if two paths lead to one folder, every machine takes the same path
        if skip or ('config.json' in files and 'checkpoints' in folders):  # a workdir
            folders.clear()
            continue
        images = [name for name in files if name.lower().endswith(SUFFIXES)]
        found += [os.path.join(parent, name) for name in images]
        num_other += len(files) - len(images)
    if not found:
        raise MissingDataError(f'{folder}: no {", ".join(SUFFIXES)} files. Correct {flag}.')
    ignored = f'; {num_other} other files ignored' if num_other else ''
    print(f'{len(found)} images in {folder}{ignored}', flush=True)
    return sorted(found)
