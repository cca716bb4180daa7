"""CelebA: aligned faces of 178 x 218, cropped and resized to 64 x 64, with 40 attributes.

The source is the official files if `--data_dir` has them, else tensorflow-datasets, whose download
often fails because Google Drive limits downloads. Both sources have the same images, but
tensorflow-datasets shuffles them, so different images are held out for validation.

The files have many layouts: of Google Drive (Img, Anno, Eval), Kaggle (nested folder, .csv lists),
torchvision, packed or not. They are found by their names in `--data_dir` and its subfolders.
`tests/data/faces.py` draws faces in the same files, to try everything without the data.
"""

import contextlib
import os
import re
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from flexae_tf.checked_files import UNREADABLE
from flexae_tf.config import TrainConfig
from flexae_tf.data import tfds
from flexae_tf.data.dataset import DatasetSpec, Split
from flexae_tf.data.folder_layout import is_hidden
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
IMAGES = 'img_align_celeba'  # folder or .zip file of the images
PARTITION, ATTRIBUTE_LIST = 'list_eval_partition', 'list_attr_celeba'  # .txt or .csv files
TRAIN, VALIDATION, TEST = 0, 1, 2  # numbers in PARTITION; the validation part is not used
MAX_DEPTH = 4  # of folders in which the files are searched


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
    with contextlib.ExitStack() as stack:
        places = _find_places(folder, stack) if folder else []
        files = _Files.of(places)
        prepared = folder and (folder / 'celeb_a').is_dir()
        wanted = any(files) and not prepared and (files.images or not config.download)
        if all(files) or wanted:
            return _load_official(folder, files, config.celeba_crop)
    where = folder or 'a folder for --data_dir'
    if folder and folder.is_dir() and (entries := sorted(os.listdir(folder))):
        where = f'{folder}, which holds {", ".join(entries[:5])}{", ..." if entries[5:] else ""}'
    builder = tfds.prepared_builder(
        'celeb_a',
        config,
        hint=f'; or put {IMAGES}.zip, {PARTITION}.txt and {ATTRIBUTE_LIST}.txt of '
        f'mmlab.ie.cuhk.edu.hk/projects/CelebA.html into {where}',
    )
    train, test = (_load_tfds(builder, split, config.celeba_crop) for split in ('train', 'test'))
    return train, test


def _load_tfds(builder: Any, split: str, crop: int) -> Split:
    """Loads one split from tensorflow-datasets, one full-size image at a time."""
    import tensorflow as tf
    import tensorflow_datasets

    from flexae_tf.data.decoding import crop_and_resize
    from flexae_tf.data.image_pixels import decode_plain

    def prepare(example: dict) -> tuple[tf.Tensor, tf.Tensor]:
        attributes = [example['attributes'][name] for name in ATTRIBUTES]
        image = crop_and_resize(decode_plain(example['image']), size=SIZE, crop=crop)
        return image, tf.stack(attributes)

    num = builder.info.splits[split].num_examples
    x = np.empty([num, SIZE, SIZE, 3], np.uint8)
    attributes = np.empty([num, len(ATTRIBUTES)], bool)
    try:
        # Decoded here, because tensorflow-datasets decodes with another transform.
        encoded = {'image': tensorflow_datasets.decode.SkipDecoding()}
        examples = builder.as_dataset(split=split, decoders=encoded)
        examples = examples.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        for i, (image, row) in enumerate(examples.as_numpy_iterator()):
            x[i], attributes[i] = image, row
    except tf.errors.OpError as error:
        raise tfds.corrupt(builder) from error
    return Split(x, attributes=attributes)


class _Place(NamedTuple):
    """A folder or an archive with files of CelebA.

    Attributes:
        path: the folder or archive.
        names: paths of the files in it.
        archive: the open archive; None for a folder.
    """

    path: Path
    names: list[str]
    archive: zipfile.ZipFile | None

    def images(self) -> dict[str, str]:
        """Returns name -> path of every image."""
        paths = {PurePosixPath(n) for n in self.names if re.search(r'(^|/)\d{6}\.jpg$', n)}
        if self.path.stem != IMAGES:  # other folders may hold other images of the same names
            paths = {path for path in paths if IMAGES in path.parts} or paths
        return {path.name: str(path) for path in paths}

    def read(self, name: str) -> bytes:
        """Returns the contents of a file."""
        return self.archive.read(name) if self.archive else (self.path / name).read_bytes()

    def contents(self, names: list[str]) -> Any:
        """Returns the contents of files as a `tf.data.Dataset`."""
        import tensorflow as tf

        from flexae_tf.data.decoding import file_contents

        if self.archive is None:
            return file_contents([str(self.path / name) for name in names])
        return tf.data.Dataset.from_generator(
            lambda: map(self.read, names), output_signature=tf.TensorSpec([], tf.string)
        )


class _Files(NamedTuple):
    """The official files that were found; None for missing files."""

    images: tuple[_Place, dict[str, str]] | None
    partition: tuple[_Place, str] | None
    attributes: tuple[_Place, str] | None

    @staticmethod
    def of(places: list[_Place]) -> '_Files':
        """Returns the files of all places; the images of the place that has most of them."""
        images = [(place, found) for place in places if (found := place.images())]

        def find(stem: str) -> tuple[_Place, str] | None:
            names = (f'{stem}.txt', f'{stem}.csv')
            found = ((p, n) for p in places for n in p.names if PurePosixPath(n).name in names)
            return next(found, None)

        largest = max(images, key=lambda pair: len(pair[1]), default=None)
        return _Files(largest, find(PARTITION), find(ATTRIBUTE_LIST))

    def describe(self) -> tuple[str, str]:
        """Returns the found and the missing files, for an error message."""
        image_files = f'{len(self.images[1])} images of {IMAGES}' if self.images else ''
        lists = [place[1] if place else '' for place in (self.partition, self.attributes)]
        names = (f'{IMAGES}.zip', f'{PARTITION}.txt or .csv', f'{ATTRIBUTE_LIST}.txt or .csv')
        found = [image_files, *lists]
        missing = [name for name, present in zip(names, found, strict=True) if not present]
        return ', '.join(filter(None, found)), ' and no '.join(missing)


def _find_places(folder: Path, stack: contextlib.ExitStack) -> list[_Place]:
    """Returns a folder with the files of CelebA in it and its subfolders, then its archives."""
    names, archives = [], []
    for parent, folders, files in os.walk(folder, followlinks=True):
        inside = Path(parent).relative_to(folder)
        is_deep = len(inside.parts) >= MAX_DEPTH
        folders[:] = [] if is_deep else sorted(f for f in folders if not is_hidden(f))
        names += [
            (inside / name).as_posix()
            for name in sorted(files)
            if not is_hidden(name) and os.path.isfile(os.path.join(parent, name))
        ]
    for name in names:
        if name.endswith('.zip'):
            path = folder / name
            try:
                archive = stack.enter_context(zipfile.ZipFile(path))
            except (zipfile.BadZipFile, OSError) as error:
                if path.stem != IMAGES:
                    continue
                raise MissingDataError(f'{path}: corrupt ({error}). Download it again.') from error
            members = [m for m in archive.namelist() if not any(map(is_hidden, m.split('/')))]
            archives.append(_Place(path, members, archive))
    return [_Place(folder, names, None), *archives]


def _load_official(folder: Path, files: _Files, crop: int) -> tuple[Split, Split]:
    """Loads both splits from the official files in a folder."""
    from flexae_tf.data.decoding import read_images

    if not all(files):
        found, missing = files.describe()
        raise MissingDataError(f'{folder}: holds {found}, but no {missing}. Add what is missing.')
    place, found = files.images
    partition_path, partition = _read_list(
        *files.partition, columns=1, values={TRAIN, VALIDATION, TEST}
    )
    attributes_path, attributes = _read_list(
        *files.attributes, columns=len(ATTRIBUTES), values={-1, 1}
    )
    for path, names in ((attributes_path, attributes.keys()), (place.path, found.keys())):
        if differing := names ^ partition.keys():
            raise MissingDataError(
                f'{path}: {len(names)} images, but {len(partition)} in {partition_path.name} '
                f'({min(differing)} is only in one of them). Download both again.'
            )
    splits = []
    for number in (TRAIN, TEST):
        names = sorted(name for name in partition if partition[name] == number)
        if not names:
            raise MissingDataError(f'{partition_path}: part {number} is empty. Download it again.')
        x = read_images(
            place.contents([found[name] for name in names]),
            [str(place.path / found[name]) for name in names],
            size=SIZE,
            crop=crop,
            shape=(HEIGHT, WIDTH),
        )
        rows = np.stack([attributes[name] for name in names])
        splits.append(Split(x, attributes=rows > 0))
    return splits[0], splits[1]


def _read_list(
    place: _Place, name: str, *, columns: int, values: set[int]
) -> tuple[Path, dict[str, np.ndarray]]:
    """Reads an official .txt list or Kaggle's .csv list, whose integers are all in `values`.

    Returns:
        Its path, and name of an image -> its integers, [columns].
    """
    path = place.path / name
    table = {}
    try:
        for line in place.read(name).decode('utf-8-sig').splitlines():
            words = re.split(r'[,\s]+', line.strip())
            if words[0].endswith('.jpg'):
                row = [int(word) for word in words[1:]]
                if not values.issuperset(row):
                    raise ValueError(f'the values of {words[0]} are not {sorted(values)}')
                table[words[0]] = np.array(row)
            elif len(words) >= columns > 1 and tuple(words[-columns:]) != ATTRIBUTES:
                raise ValueError('the attributes are not the official 40 in their order')
    except UNREADABLE as error:
        raise MissingDataError(f'{path}: corrupt ({error}). Download it again.') from error
    for image, row in table.items():
        if len(row) != columns:
            raise MissingDataError(
                f'{path}: {image} has {len(row)} values, not {columns}. Download it again.'
            )
    return path, table
