"""MNIST, Fashion-MNIST and CIFAR-10 through tensorflow-datasets, and scikit-learn's digits."""

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from flexae_tf.config import TrainConfig
from flexae_tf.data.dataset import Split, hold_out_test
from flexae_tf.errors import MissingDataError

NUM_DIGITS_TEST = 360


def load_catalogue(config: TrainConfig) -> tuple[Split, Split]:
    """Training and test examples of a labelled data set that fits in memory as it is.

    Returns:
        x uint8 [n, h, w, c] and labels, in the order of the prepared files.

    Raises:
        MissingDataError: as `prepared_builder`, or the prepared files are damaged.
    """
    builder = prepared_builder(config.dataset, config)
    train, test = (_read(builder, split) for split in ('train', 'test'))
    return train, test


def prepared_builder(
    name: str, config: TrainConfig, *, otherwise: str = ''
) -> tfds.core.DatasetBuilder:
    """The data set `name` of tensorflow-datasets, on disk; downloaded if `config` allows.

    Args:
        name: as tensorflow-datasets calls it.
        config: `data_dir` and `download` count.
        otherwise: one more way out, put at the end of the messages.

    Raises:
        MissingDataError: absent and not to be downloaded, or the download failed.
    """
    try:
        builder = tfds.builder(name, data_dir=config.data_dir)
    except Exception as error:  # each kind of damaged metadata has a class of its own
        reason = str(error).strip().partition('\n')[0]
        raise MissingDataError(
            f'{name}: {config.data_dir or "the folder of tensorflow-datasets"} cannot be read '
            f'({type(error).__name__}: {reason}); remove what is damaged there, or give another '
            '--data_dir'
        ) from error
    if builder.info.splits:
        return builder
    if not config.download:
        raise MissingDataError(
            f'{name}: not in {builder.data_path}; let bin/train.py --download fetch it, or give '
            f'--data_dir the folder of tensorflow-datasets that holds it{otherwise}'
        )
    try:
        builder.download_and_prepare()
    except Exception as error:  # network, server, checksum, disk: each with classes of its own
        reason = str(error).strip().partition('\n')[0]
        raise MissingDataError(
            f'{name}: download failed ({type(error).__name__}: {reason}); try again later, or '
            'prepare it on another machine with tensorflow-datasets and give --data_dir its '
            f'folder{otherwise}'
        ) from error
    return builder


def damaged(builder: tfds.core.DatasetBuilder) -> MissingDataError:
    """The error of prepared files that cannot be read."""
    return MissingDataError(
        f'{builder.data_path}: damaged; remove this folder, and let bin/train.py --download fetch '
        'it again'
    )


def load_digits() -> tuple[Split, Split]:
    """The 1797 handwritten digits that come with scikit-learn, made to look like MNIST.

    Returns:
        1437 training and 360 test examples: x uint8 [n, 28, 28, 1] and labels. The cut is random
        but fixed, since neighbours in the source are by one writer.
    """
    from scipy import ndimage
    from sklearn import datasets

    source = datasets.load_digits()
    # Ink of an 8x8 cell, 0..16, becomes a 20x20 digit. A cubic spline alone leaves blurred strokes;
    # stretching the middle of its range gives MNIST's crisp ones with soft edges.
    ink = np.stack(
        [
            ndimage.zoom(image, 20 / 8, order=3, mode='grid-constant', grid_mode=True)
            for image in source.images
        ]
    )
    ink = np.clip((ink - 4.0) / 8.0, 0.0, 1.0)
    x = np.pad(np.rint(255 * ink).astype(np.uint8), [(0, 0), (4, 4), (4, 4)])[..., None]
    return hold_out_test(Split(x, labels=source.target.astype(np.int64)), NUM_DIGITS_TEST)


def _read(builder: tfds.core.DatasetBuilder, split: str) -> Split:
    try:
        examples = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
    except tf.errors.OpError as error:
        raise damaged(builder) from error
    return Split(examples['image'], labels=examples['label'])
