"""CelebA: aligned faces of 178 x 218, cropped and resized to 64 x 64, with 40 attributes.

The source is the three official files if `--data_dir` has them, else tensorflow-datasets, whose
download often fails because Google Drive limits downloads. Both sources have the same images, but
tensorflow-datasets shuffles them, so different images are held out for validation.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from flexae_tf.config import TrainConfig
from flexae_tf.data import tfds
from flexae_tf.data.dataset import DatasetSpec, Split
from flexae_tf.errors import MissingDataError, UsageError

HEIGHT, WIDTH, SIZE = 218, 178, 64  # HEIGHT x WIDTH in the files, SIZE after resizing
ATTRIBUTES = tuple(
    """
    5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose
    Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee
    Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes
    No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling
    Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace
    Wearing_Necktie Young
    """.split()  # noqa: SIM905
)
IMAGES = 'img_align_celeba'  # IMAGES.zip, or a folder with its contents
PARTITION_FILE = 'list_eval_partition.txt'
ATTRIBUTES_FILE = 'list_attr_celeba.txt'
TRAIN, TEST = 0, 2  # numbers in PARTITION_FILE; its validation part, 1, is not used


def describe(config: TrainConfig) -> DatasetSpec:
    """Returns the spec of CelebA.

    Raises:
        UsageError: `celeba_crop` is wider than the images.
    """
    if config.celeba_crop > WIDTH:
        raise UsageError(
            f'--celeba_crop={config.celeba_crop}: images are {WIDTH}x{HEIGHT}. Use {WIDTH} or less.'
        )
    shape = (SIZE, SIZE, 3)
    return DatasetSpec(
        'celeba', 'images', shape, 162_770, 19_962, (0.0, 1.0), attributes=ATTRIBUTES
    )


def load(config: TrainConfig) -> tuple[Split, Split]:
    """Loads training and test examples of the official partition.

    Returns:
        x uint8 [n, 64, 64, 3] and attributes bool [n, 40], in the order of `ATTRIBUTES`.

    Raises:
        MissingDataError: files are missing, corrupt, or inconsistent with the partition.
    """
    folder = Path(config.data_dir) if config.data_dir else None
    if folder and ((folder / IMAGES).is_dir() or (folder / f'{IMAGES}.zip').is_file()):
        return _load_official(folder, config.celeba_crop)
    builder = tfds.prepared_builder(
        'celeb_a',
        config,
        hint=f'; or put {IMAGES}.zip, {PARTITION_FILE} and {ATTRIBUTES_FILE} of '
        f'mmlab.ie.cuhk.edu.hk/projects/CelebA.html into {folder or "a folder for --data_dir"}',
    )
    train, test = (_load_tfds(builder, split, config.celeba_crop) for split in ('train', 'test'))
    return train, test


def _load_tfds(builder: Any, split: str, crop: int) -> Split:
    """Loads one split from tensorflow-datasets, one full-size image at a time."""
    import tensorflow as tf

    from flexae_tf.data.decoding import crop_and_resize

    def prepare(example: dict) -> tuple[tf.Tensor, tf.Tensor]:
        attributes = [example['attributes'][name] for name in ATTRIBUTES]
        return crop_and_resize(example['image'], size=SIZE, crop=crop), tf.stack(attributes)

    num = builder.info.splits[split].num_examples
    x = np.empty([num, SIZE, SIZE, 3], np.uint8)
    attributes = np.empty([num, len(ATTRIBUTES)], bool)
    try:
        examples = builder.as_dataset(split=split)
        examples = examples.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        for i, (image, row) in enumerate(examples.as_numpy_iterator()):
            x[i], attributes[i] = image, row
    except tf.errors.OpError as error:
        raise tfds.corrupt(builder) from error
    return Split(x, attributes=attributes)


def _load_official(folder: Path, crop: int) -> tuple[Split, Split]:
    """Loads both splits from the official files in a folder."""
    import tensorflow as tf

    from flexae_tf.data.decoding import file_contents

    unpacked, packed = folder / IMAGES, folder / f'{IMAGES}.zip'
    if unpacked.is_dir():
        found = {path.name: str(path) for path in unpacked.rglob('*.jpg')}
        return _read_splits(folder, unpacked, found, file_contents, crop=crop)
    try:
        archive = zipfile.ZipFile(packed)
    except (zipfile.BadZipFile, OSError) as error:
        raise MissingDataError(f'{packed}: corrupt ({error}). Download it again.') from error
    with archive:
        found = {Path(m).name: m for m in archive.namelist() if m.endswith('.jpg')}

        def member_contents(members: list[str]) -> tf.data.Dataset:
            return tf.data.Dataset.from_generator(
                lambda: map(archive.read, members), output_signature=tf.TensorSpec([], tf.string)
            )

        return _read_splits(folder, packed, found, member_contents, crop=crop)


def _read_splits(
    folder: Path,
    source: Path,
    found: dict[str, str],
    contents: Callable[[list[str]], Any],
    *,
    crop: int,
) -> tuple[Split, Split]:
    """Reads the training and the test split.

    Args:
        folder: folder of the two text files.
        source: folder or archive of the images, for error messages.
        found: name of an image -> its path or archive member.
        contents: maps paths or members to a `tf.data.Dataset` of file contents.
        crop: side of the centre crop.
    """
    from flexae_tf.data.decoding import read_images

    partition = _read_table(folder / PARTITION_FILE, columns=1, header_lines=0)
    attributes = _read_table(folder / ATTRIBUTES_FILE, columns=len(ATTRIBUTES), header_lines=2)
    for path, names in ((folder / ATTRIBUTES_FILE, attributes.keys()), (source, found.keys())):
        if differing := names ^ partition.keys():
            raise MissingDataError(
                f'{path}: {len(names)} images, but {len(partition)} in {PARTITION_FILE} '
                f'({min(differing)} is only in one of them). Download both again.'
            )
    splits = []
    for number in (TRAIN, TEST):
        names = sorted(name for name in partition if partition[name] == number)
        if not names:
            raise MissingDataError(
                f'{folder / PARTITION_FILE}: part {number} is empty. Download it again.'
            )
        x = read_images(
            contents([found[name] for name in names]),
            [f'{source}: {name}' for name in names],
            size=SIZE,
            crop=crop,
            shape=(HEIGHT, WIDTH),
        )
        rows = np.stack([attributes[name] for name in names])
        splits.append(Split(x, attributes=rows > 0))
    return splits[0], splits[1]


def _read_table(path: Path, *, columns: int, header_lines: int) -> dict[str, np.ndarray]:
    """Reads an official text file: name of an image -> its integers, [columns]."""
    try:
        lines = path.read_text().splitlines()[header_lines:]
        table = {words[0]: np.array(words[1:], int) for words in map(str.split, lines) if words}
    except OSError as error:
        raise MissingDataError(
            f'{path}: {error.strerror}. Put the official {path.name} there.'
        ) from error
    except ValueError as error:
        raise MissingDataError(f'{path}: corrupt ({error}). Download it again.') from error
    for name, row in table.items():
        if len(row) != columns:
            raise MissingDataError(
                f'{path}: {name} has {len(row)} values, not {columns}. Download it again.'
            )
    return table
