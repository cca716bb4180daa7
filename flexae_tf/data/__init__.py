"""Data sets: `describe` returns the spec of a data set, `load` reads it into memory.

Descriptions do not import TensorFlow, so that unusable sizes are refused at once.
"""

import dataclasses

import numpy as np

from flexae_tf.config import TrainConfig
from flexae_tf.data import catalog
from flexae_tf.data.catalog import DATASETS, Source
from flexae_tf.data.dataset import (
    CODES,
    Dataset,
    DatasetSpec,
    Purpose,
    Split,
    fingerprint,
    fixed_permutation,
)
from flexae_tf.errors import UsageError

__all__ = [
    'CODES',
    'DATASETS',
    'Dataset',
    'DatasetSpec',
    'Purpose',
    'Source',
    'Split',
    'describe',
    'fingerprint',
    'fixed_permutation',
    'load',
]

MAX_VALIDATION = 5000


def describe(config: TrainConfig) -> DatasetSpec:
    """Returns the spec of `config.dataset` without loading it and without TensorFlow.

    Raises:
        UsageError: unknown data set, or options that do not fit it, such as too many examples.
        MissingDataError: the user's own images (`folder`) are not at `--data_dir`.
    """
    catalog.check_options(config)
    source = catalog.find(config.dataset)
    spec = source.describe(config)
    if spec.train_size is not None:
        _split_sizes(config, source, spec.train_size, spec.validation_size)
    return spec


def load(config: TrainConfig) -> Dataset:
    """Loads `config.dataset` into memory and splits it.

    Validation examples do not depend on the seed of a run. Splitting needs memory for two copies
    of the training images (4 GB for CelebA).

    Returns:
        The data set; its spec has the sizes of the loaded data.

    Raises:
        UsageError: more examples are requested than available, or there are fewer than a batch; or
            a data set from outside the package returns other examples than it describes.
        MissingDataError: the data are missing or unreadable.
    """
    source = catalog.find(config.dataset)
    spec = describe(config)
    train, test, *own_validation = source.load(config)
    for split in (train, test, *own_validation):
        _check_examples(config, spec, split)
    available = len(own_validation[0]) if own_validation else None
    spec = dataclasses.replace(
        spec, train_size=len(train), test_size=len(test), validation_size=available
    )
    num_train, num_validation = _split_sizes(config, source, len(train), available)
    if train.labels is not None and spec.num_classes is None:  # classes of a folder
        labels = [s.labels for s in (train, test, *own_validation) if s.labels is not None]
        num_classes = 1 + max(int(array.max()) for array in labels)
        spec = dataclasses.replace(spec, num_classes=num_classes)
    if source.load_validation is not None:
        validation = source.load_validation(config, num_validation)
        return Dataset(spec, train.take(np.arange(num_train)), validation, test)
    order = fixed_permutation(len(train), Purpose.VALIDATION)
    if own_validation:
        validation = own_validation[0]
        chosen = fixed_permutation(len(validation), Purpose.VALIDATION)[:num_validation]
        return Dataset(spec, train.take(order[:num_train]), validation.take(chosen), test)
    validation = train.take(order[:num_validation])
    train = train.take(order[num_validation : num_validation + num_train])
    return Dataset(spec, train, validation, test)


def _check_examples(config: TrainConfig, spec: DatasetSpec, split: Split) -> None:
    """Raises `UsageError` for examples of another type or shape than `spec` describes."""
    dtype = np.dtype(np.uint8 if spec.kind == 'images' else np.float32)
    if split.x.dtype != dtype or split.x.shape[1:] != spec.shape:
        raise UsageError(
            f'--dataset={config.dataset}: loads {split.x.dtype} {list(split.x.shape)}, but '
            f'describes {spec.kind} {list(spec.shape)}. Return {dtype} [n, '
            f'{", ".join(map(str, spec.shape))}].'
        )


def _split_sizes(
    config: TrainConfig, source: Source, available: int, validation: int | None = None
) -> tuple[int, int]:
    """Returns the sizes of the training and validation sets.

    Args:
        config: options of the training.
        source: row of the data set.
        available: number of examples in the training split of the source.
        validation: number of examples in its validation split; None without one.
    """
    if validation is not None:
        num_validation = config.validation_examples or min(MAX_VALIDATION, validation)
        if validation < 2:
            raise UsageError(
                f'--dataset={config.dataset}: the data have {validation} validation example. Add '
                'another one, or remove it.'
            )
        if num_validation > validation:
            raise UsageError(
                f'--validation_examples={num_validation}: the data have {validation} validation '
                'examples. Lower it, or leave it out.'
            )
        remaining = available
    elif source.load_validation is None:
        num_validation = config.validation_examples or max(2, min(MAX_VALIDATION, available // 10))
        remaining = available - num_validation
    else:
        num_validation = config.validation_examples or MAX_VALIDATION
        remaining = available
    num_train = config.train_examples or max(remaining, 1)
    if num_train > remaining:
        raise UsageError(
            f'--dataset={config.dataset}: {num_train} examples to train on and '
            f'{available - remaining} for validation requested, but there are {available} training '
            'examples. Lower --train_examples or --validation_examples, or add data.'
        )
    if config.batch_size > num_train:
        raise UsageError(
            f'--batch_size={config.batch_size}: larger than the {num_train} training examples. '
            f'Use --batch_size={num_train} or less, or train on more examples.'
        )
    return num_train, num_validation
