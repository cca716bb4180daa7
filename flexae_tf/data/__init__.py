"""Data sets: what they are (`describe`), and loading them into memory (`load`).

What a data set is can be told without TensorFlow, so wrong sizes are refused at once.
"""

import dataclasses

import numpy as np

from flexae_tf.config import TrainConfig
from flexae_tf.data.catalog import DATASETS, Source
from flexae_tf.data.dataset import Dataset, DatasetSpec, Split, fingerprint, fixed_order
from flexae_tf.errors import UsageError

__all__ = [
    'DATASETS',
    'Dataset',
    'DatasetSpec',
    'Source',
    'Split',
    'describe',
    'fingerprint',
    'fixed_order',
    'load',
]

MAX_VALIDATION = 5000


def describe(config: TrainConfig) -> DatasetSpec:
    """What `config.dataset` is, without loading it and without TensorFlow.

    Raises:
        UsageError: options that do not fit the data set, such as more examples than it has.
        MissingDataError: your own pictures (`folder`) are not where `--data_dir` says.
    """
    if config.image_size is not None and config.dataset != 'folder':
        raise UsageError(
            f'--image_size={config.image_size}: {config.dataset} has its own size; leave it out, '
            'or use --dataset=folder'
        )
    spec = DATASETS[config.dataset].describe(config)
    if spec.train_size is not None:
        _split_sizes(config, spec.train_size)
    return spec


def load(config: TrainConfig) -> Dataset:
    """Loads `config.dataset` into memory and cuts it.

    Validation examples are the same whatever the seed of a run. While the sets are cut, twice the
    training images are in memory (4 GB for CelebA).

    Returns:
        the data set; the sizes of its spec are those of what was read.

    Raises:
        UsageError: more examples asked for than there are, or fewer than a batch.
        MissingDataError: data absent or unreadable.
    """
    source = DATASETS[config.dataset]
    spec = describe(config)
    train, test = source.load(config)
    spec = dataclasses.replace(spec, train_size=len(train), test_size=len(test))
    num_train, num_validation = _split_sizes(config, len(train))
    if source.draw_validation is None:
        order = fixed_order(len(train), index=0)
        validation = train.take(order[:num_validation])
        train = train.take(order[num_validation : num_validation + num_train])
    else:
        validation = source.draw_validation(num_validation)
        train = train.take(np.arange(num_train))
    return Dataset(spec, train, validation, test)


def _split_sizes(config: TrainConfig, available: int) -> tuple[int, int]:
    """Sizes of the training and the validation set, out of `available` training examples."""
    if DATASETS[config.dataset].draw_validation is None:
        num_validation = config.validation_examples or max(2, min(MAX_VALIDATION, available // 10))
        left = available - num_validation
    else:
        num_validation = config.validation_examples or MAX_VALIDATION
        left = available
    num_train = config.train_examples or max(left, 1)
    if num_train > left:
        raise UsageError(
            f'{config.dataset} has {available} training examples; with {available - left} of them '
            f'held out for validation there are not {num_train} to train on: lower '
            '--train_examples or --validation_examples, or add data'
        )
    if config.batch_size > num_train:
        raise UsageError(
            f'--batch_size={config.batch_size}: there are only {num_train} training examples; '
            f'use --batch_size={num_train} or less, or train on more'
        )
    return num_train, num_validation
