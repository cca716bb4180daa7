"""The user's own images: a folder of image files, or a file of arrays (`arrays`)."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from flexae_tf.config import TrainConfig
from flexae_tf.data import arrays, memory
from flexae_tf.data.conversion import convert
from flexae_tf.data.dataset import (
    DatasetSpec,
    Purpose,
    Split,
    default_test_size,
    fixed_permutation,
    hold_out_test,
)
from flexae_tf.data.folder_layout import arrange, find_images
from flexae_tf.data.image_formats import ImageFile
from flexae_tf.errors import MissingDataError, UsageError

DEFAULT_SIZE, DEFAULT_CHANNELS = 64, 3
BAD_IMAGES = 'bad_images'  # stem of the list of unreadable files
CURE = 'Train with --converted_dir=DIR, or use fewer images, or smaller ones (--image_size)'


def describe(config: TrainConfig) -> DatasetSpec:
    """Returns the spec of `--data_dir`; sizes and classes of a folder are unknown until loaded.

    Raises:
        UsageError: no `--data_dir`, or options that do not fit it.
        MissingDataError: no such folder or file, or an unusable file of arrays.
    """
    path = _data_path(config)
    if config.channels not in (None, 1, 3):
        raise UsageError(f'--channels={config.channels}: unknown. Use 1 (grey) or 3 (colours).')
    if path.is_dir():
        if config.value_range is not None:
            raise UsageError(
                f'--value_range={config.value_range}: {path} is a folder of images. Leave it out.'
            )
        size = config.image_size or DEFAULT_SIZE
        shape = (size, size, config.channels or DEFAULT_CHANNELS)
        return DatasetSpec('folder', 'images', shape, None, None, (0.0, 1.0))
    for name in ('channels', 'skip_bad_images', 'converted_dir'):
        if value := getattr(config, name):
            raise UsageError(f'--{name}={value}: {path} is not a folder of images. Leave it out.')
    return arrays.describe(path, image_size=config.image_size, value_range=config.value_range)


def load(config: TrainConfig) -> tuple[Split, ...]:
    """Loads the splits of `--data_dir`; see `load_folder` and `arrays.load`."""
    path = _data_path(config)
    if path.is_file():
        return arrays.load(path, image_size=config.image_size, value_range=config.value_range)
    return load_folder(
        path,
        size=config.image_size or DEFAULT_SIZE,
        channels=config.channels or DEFAULT_CHANNELS,
        skip_bad_images=config.skip_bad_images,
        list_file=Path(config.workdir or '.', f'{BAD_IMAGES}.txt'),
        converted_dir=Path(config.converted_dir) if config.converted_dir else None,
    )


def load_folder(
    folder: Path,
    *,
    size: int,
    channels: int = DEFAULT_CHANNELS,
    skip_bad_images: bool = False,
    list_file: Path = Path(f'{BAD_IMAGES}.txt'),
    converted_dir: Path | None = None,
) -> tuple[Split, ...]:
    """Loads every image in a folder and its subfolders into memory, or converts them on disk.

    The largest centre square of every image is resized with antialiasing. Folders named train,
    test and val are splits. Without test, val is the test set; without both, a fixed random tenth
    of the images (at least 2). If every image of a split lies in a folder of its own class, the
    images have labels: numbers of the sorted names of the classes.

    Args:
        folder: folder of image files, read in the order of the bytes of their paths.
        size: height and width of the results.
        channels: 3, or 1 for grey.
        skip_bad_images: leave unreadable images out, in place of an error.
        list_file: where unreadable images are listed.
        converted_dir: folder of a file that holds the results, `StoredRows`; None to hold them in
            memory.

    Returns:
        Training and test examples, x uint8 [n, size, size, channels], and validation examples if
        the folder has both test and val.

    Raises:
        MissingDataError: there are no images, some are unreadable, or none is in a split.
        UsageError: not enough memory or disk space.
    """
    from flexae_tf.data import decoding

    files, bad = find_images(folder, '--data_dir')
    files, splits, labels = arrange(folder, files)

    def prepare(image):
        image = decoding.to_grey(image) if channels == 1 else image
        return decoding.crop_and_resize(image, size=size)

    shape = (size, size, channels)
    if converted_dir:
        x, rows = convert(folder, files, prepare, bad, shape=shape, converted_dir=converted_dir)
    else:
        label = f'{len(files)} images of {size}x{size}'
        # Twice: the parts of the data set are copies.
        memory.check(2 * len(files) * math.prod(shape), label, cure=CURE)
        bits = decoding.bits_in_use(files)
        x, rows = _read(files, prepare, bad, num=len(files), shape=shape, bits=bits)
    decoding.report_bad(bad, folder, list_file, skip=skip_bad_images and len(rows) > 0)
    for name in sorted(set(splits) - set(splits[rows])):
        raise MissingDataError(
            f'{folder}: no image of its {name} folder is readable. Restore one, or remove '
            'the folder.'
        )
    images = Split(x, labels=None if labels is None else labels[rows])
    parts = [np.flatnonzero(splits[rows] == name) for name in ('train', 'test', 'val')]
    parts = [images.take(part) for part in parts if len(part)]
    return tuple(parts) if len(parts) > 1 else hold_out_test(images, default_test_size(len(images)))


def load_unresized(
    folder: Path,
    *,
    flag: str,
    max_images: int,
    resize_to: int | None = None,
    skip_bad_images: bool = False,
    like: Path | None = None,
) -> tuple[np.ndarray, int | None]:
    """Loads images of one size, or resizes them to one size.

    Args:
        folder: folder of image files, searched with its subfolders.
        flag: flag that names it, for messages and the list of unreadable files.
        max_images: number of images to read, the first in a fixed random order of the paths.
        resize_to: height and width to which the largest centre square of every image is resized
            with antialiasing; None if the images have one size and keep it.
        skip_bad_images: replace unreadable images by the next in the order, in place of an error.
        like: another folder whose 16-bit files have the same scale; None for none.

    Returns:
        uint8 [n, h, w, 3], and the number of bits of the 16-bit files, None without such files.

    Raises:
        MissingDataError: there are no images, some are unreadable, or their sizes differ.
        UsageError: not enough memory.
    """
    from flexae_tf.data import decoding

    files, bad = find_images(folder, flag)
    files = [files[i] for i in fixed_permutation(len(files), Purpose.EVALUATION)]
    bits = decoding.bits_in_use(files)
    if bits and like:
        bits = max(bits, decoding.bits_in_use(find_images(like, '--real or --fake')[0]) or 0)

    def prepare(image):
        return decoding.crop_and_resize(image, size=resize_to) if resize_to else image

    shape = (resize_to, resize_to, 3) if resize_to else None
    images, rows = _read(files, prepare, bad, num=max_images, shape=shape, bits=bits)
    list_file = Path(f'{BAD_IMAGES}_{flag.lstrip("-")}.txt')
    decoding.report_bad(bad, folder, list_file, skip=skip_bad_images and len(rows) > 0)
    return images, bits


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


def _read(
    files: Sequence[ImageFile],
    prepare: Callable,
    bad: dict[str, str],
    *,
    num: int,
    shape: tuple[int, ...] | None,
    bits: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads `num` files; the next files replace unreadable ones.

    Args:
        files: image files.
        prepare: see `decoding.decode_files`.
        bad: the problems of unreadable files are added, by path.
        num: number of images to read.
        shape: shape of an image; None for the shape of the first one.
        bits: number of bits that 16-bit files use, of `decoding.bits_in_use`.

    Returns:
        uint8 [n, h, w, c], and the index of the file of each image, [n].

    Raises:
        MissingDataError: images of different sizes.
        UsageError: not enough memory.
    """
    from flexae_tf.data import decoding

    num = min(num, len(files))

    def allocate(height: int, width: int, channels: int) -> np.ndarray:
        label = f'{num} images of {width}x{height}'
        memory.check(math.prod((num, height, width, channels)), label)
        return np.empty((num, height, width, channels), np.uint8)

    images = allocate(*shape) if shape else None
    sources, start = np.full(num, -1), 0
    while start < len(files) and len(rows := np.flatnonzero(sources < 0)):
        chunk = files[start : start + len(rows)]
        for i, image in decoding.decode_files(chunk, prepare, bits=bits, bad=bad):
            if images is None:
                images, first = allocate(*image.shape), chunk[i].path
            if image.shape != images.shape[1:]:
                raise MissingDataError(
                    f'{chunk[i].path}: {image.shape[1]}x{image.shape[0]}, but {first} is '
                    f'{images.shape[2]}x{images.shape[1]}. Resize all images, or use --resize_to.'
                )
            images[rows[i]], sources[rows[i]] = image, start + i
        start += len(chunk)
    is_read = sources >= 0
    if is_read.all():
        return images, sources
    return images[is_read] if is_read.any() else images, sources[is_read]
