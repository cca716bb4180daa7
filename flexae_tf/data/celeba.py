"""CelebA: aligned faces of 178x218, cropped and shrunk to 64, with 40 attributes.

Read from the three official files if `--data_dir` holds them, else from tensorflow-datasets, whose
download fails more often than not: Google Drive counts downloads. The two hold the same pictures,
but tensorflow-datasets shuffles them, so what is held out for validation differs.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from flexae_tf.config import TrainConfig
from flexae_tf.data.catalog import CELEBA_ATTRIBUTES, CELEBA_HEIGHT, CELEBA_SIZE, CELEBA_WIDTH
from flexae_tf.data.dataset import Split
from flexae_tf.data.image_folder import file_contents, read_pictures, shrink
from flexae_tf.data.tfds import damaged, prepared_builder
from flexae_tf.errors import MissingDataError

PICTURES = 'img_align_celeba'  # .zip, or unpacked
PARTITION = 'list_eval_partition.txt'
ATTRIBUTES = 'list_attr_celeba.txt'
TRAIN, TEST = 0, 2  # numbers of the official partition; 1 is its validation, which we do not use


def load(config: TrainConfig) -> tuple[Split, Split]:
    """Training and test examples of the official partition.

    Returns:
        x uint8 [n, 64, 64, 3] and attributes bool [n, 40], in the order of `CELEBA_ATTRIBUTES`.

    Raises:
        MissingDataError: files absent, damaged, or at odds with the partition.
    """
    folder = Path(config.data_dir) if config.data_dir else None
    if folder and ((folder / PICTURES).is_dir() or (folder / f'{PICTURES}.zip').is_file()):
        return _load_official(folder, config.celeba_crop)
    builder = prepared_builder(
        'celeb_a',
        config,
        otherwise=f'; or put {PICTURES}.zip, {PARTITION} and {ATTRIBUTES} of '
        f'mmlab.ie.cuhk.edu.hk/projects/CelebA.html into {folder or "a folder for --data_dir"}',
    )
    train, test = (_stream(builder, split, config.celeba_crop) for split in ('train', 'test'))
    return train, test


def _stream(builder: tfds.core.DatasetBuilder, split: str, crop: int) -> Split:
    """One split of tensorflow-datasets; full-size pictures pass one by one."""

    def prepare(example: dict) -> tuple[tf.Tensor, tf.Tensor]:
        attributes = [example['attributes'][name] for name in CELEBA_ATTRIBUTES]
        return shrink(example['image'], size=CELEBA_SIZE, crop=crop), tf.stack(attributes)

    num = builder.info.splits[split].num_examples
    x = np.empty([num, CELEBA_SIZE, CELEBA_SIZE, 3], np.uint8)
    attributes = np.empty([num, len(CELEBA_ATTRIBUTES)], bool)
    try:
        examples = builder.as_dataset(split=split)
        examples = examples.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        for i, (image, row) in enumerate(examples.as_numpy_iterator()):
            x[i], attributes[i] = image, row
    except tf.errors.OpError as error:
        raise damaged(builder) from error
    return Split(x, attributes=attributes)


def _load_official(folder: Path, crop: int) -> tuple[Split, Split]:
    unpacked, packed = folder / PICTURES, folder / f'{PICTURES}.zip'
    if unpacked.is_dir():
        found = {path.name: str(path) for path in unpacked.rglob('*.jpg')}
        return _read_parts(folder, unpacked, found, file_contents, crop=crop)
    try:
        archive = zipfile.ZipFile(packed)
    except (zipfile.BadZipFile, OSError) as error:
        raise MissingDataError(f'{packed}: damaged ({error}); fetch it again') from error
    with archive:
        found = {Path(m).name: m for m in archive.namelist() if m.endswith('.jpg')}

        def member_contents(members: list[str]) -> tf.data.Dataset:
            return tf.data.Dataset.from_generator(
                lambda: map(archive.read, members), output_signature=tf.TensorSpec([], tf.string)
            )

        return _read_parts(folder, packed, found, member_contents, crop=crop)


def _read_parts(
    folder: Path,
    source: Path,
    found: dict[str, str],
    contents: Callable[[list[str]], tf.data.Dataset],
    *,
    crop: int,
) -> tuple[Split, Split]:
    """Training and test part of the pictures `found` (name -> where it is) in `source`."""
    part = _read_table(folder / PARTITION, columns=1, header_lines=0)
    attributes = _read_table(folder / ATTRIBUTES, columns=len(CELEBA_ATTRIBUTES), header_lines=2)
    for path, names in ((folder / ATTRIBUTES, attributes.keys()), (source, found.keys())):
        if differing := names ^ part.keys():
            raise MissingDataError(
                f'{path}: {len(names)} pictures, but {len(part)} in {PARTITION} '
                f'({min(differing)} is in one of them only); fetch both again'
            )
    splits = []
    for number in (TRAIN, TEST):
        names = sorted(name for name in part if part[name] == number)
        if not names:
            raise MissingDataError(f'{folder / PARTITION}: part {number} is empty; fetch it again')
        paths = [found[name] for name in names]
        x = read_pictures(
            contents(paths),
            [f'{source}: {name}' for name in names],
            size=CELEBA_SIZE,
            crop=crop,
            shape=(CELEBA_HEIGHT, CELEBA_WIDTH),
        )
        rows = np.stack([attributes[name] for name in names])
        splits.append(Split(x, attributes=rows > 0))
    return splits[0], splits[1]


def _read_table(path: Path, *, columns: int, header_lines: int) -> dict[str, np.ndarray]:
    """An official text file: name of a picture -> its integers, [columns]."""
    try:
        lines = path.read_text().splitlines()[header_lines:]
        table = {words[0]: np.array(words[1:], int) for words in map(str.split, lines) if words}
    except OSError as error:
        raise MissingDataError(
            f'{path}: {error.strerror}; put the official {path.name} there'
        ) from error
    except ValueError as error:
        raise MissingDataError(f'{path}: damaged ({error}); fetch it again') from error
    for name, row in table.items():
        if len(row) != columns:
            raise MissingDataError(
                f'{path}: {name} has {len(row)} values, not {columns}; fetch it again'
            )
    return table
