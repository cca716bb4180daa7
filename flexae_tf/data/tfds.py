"""MNIST, Fashion-MNIST and CIFAR-10, read with tensorflow-datasets."""

import logging
import pathlib
import threading
from typing import Any

from flexae_tf.config import TrainConfig
from flexae_tf.data.dataset import DatasetSpec, Split
from flexae_tf.errors import MissingDataError
from flexae_tf.files import lock

ANSWER_SECONDS = 8.0  # a server that has not answered by then is unreachable
SIZES = {  # shape of an image, number of training images; each has 10,000 test images
    'mnist': ((28, 28, 1), 60_000),
    'fashion_mnist': ((28, 28, 1), 60_000),
    'cifar10': ((32, 32, 3), 50_000),
}


def describe(config: TrainConfig) -> DatasetSpec:
    """Returns the spec of `config.dataset`, one of `SIZES`."""
    shape, num_train = SIZES[config.dataset]
    return DatasetSpec(
        config.dataset, 'images', shape, num_train, 10_000, (0.0, 1.0), num_classes=10
    )


def load(config: TrainConfig) -> tuple[Split, Split]:
    """Loads training and test examples of a labelled data set.

    Returns:
        x uint8 [n, h, w, c] and labels, in the order of the prepared files.

    Raises:
        MissingDataError: see `prepared_builder`, or the prepared files are corrupt.
    """
    builder = prepared_builder(config.dataset, config)
    train, test = (_read(builder, split) for split in ('train', 'test'))
    return train, test


def prepared_builder(name: str, config: TrainConfig, *, hint: str = '') -> Any:
    """Opens a prepared data set of tensorflow-datasets, after a download if `config` allows it.

    Args:
        name: name of the data set in tensorflow-datasets.
        config: `data_dir` and `download` are used.
        hint: an alternative action, appended to the error messages.

    Returns:
        The `tensorflow_datasets.core.DatasetBuilder` with its files on disk.

    Raises:
        MissingDataError: the data are corrupt, not on disk without `download`, or the download
            failed.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=config.data_dir)
    except Exception as error:  # corrupt metadata cause errors of many classes
        raise MissingDataError(
            f'{config.data_dir or "the folder of tensorflow-datasets"}: {name} cannot be read '
            f'({_summary(error)}). Remove the corrupt files there, or give another --data_dir.'
        ) from error
    if builder.info.splits:
        return builder
    if not config.download:
        raise MissingDataError(
            f'{builder.data_path}: {name} is missing. Run bin/train.py with --download, or give '
            f'the folder of tensorflow-datasets that holds it as --data_dir{hint}.'
        )
    # Hides a warning for each of the many retries; the error below reports their failure.
    logging.getLogger('urllib3.connectionpool').setLevel(logging.ERROR)
    folder = _root(builder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / '.flexae_tf.lock', 'w') as file:
            lock(file, wait=True)
            builder = tfds.builder(name, data_dir=config.data_dir)
            if not builder.info.splits:  # no other process has prepared them meanwhile
                for url in _missing_urls(builder)[:1]:
                    _check_server(url)
                builder.download_and_prepare()
    except Exception as error:  # network, server, checksum and disk cause errors of many classes
        raise MissingDataError(
            f'{builder.data_path}: download failed ({_summary(error)}). Try again later, or '
            f'prepare {name} with tensorflow-datasets on another machine and give its folder as '
            f'--data_dir{hint}.'
        ) from error
    return builder


def corrupt(builder: Any) -> MissingDataError:
    """Returns the error for prepared files that cannot be read."""
    return MissingDataError(
        f'{builder.data_path}: corrupt. Remove this folder and run bin/train.py with --download.'
    )


def _root(builder: Any) -> pathlib.Path:
    """Returns the folder of all data sets."""
    return pathlib.Path(builder.data_path).parents[1]


def _missing_urls(builder: Any) -> list[str]:
    """Returns the addresses of the files that an earlier download has not left in `downloads`."""
    from tensorflow_datasets.core.download.resource import get_dl_fname

    folder = _root(builder) / 'downloads'
    urls = builder.url_infos or {}
    names = {url: get_dl_fname(url, info.checksum) for url, info in urls.items()}
    return [url for url, name in names.items() if not any(folder.rglob(name))]


def _check_server(url: str) -> None:
    """Requests a file once; without a network tensorflow-datasets repeats that for minutes.

    Raises:
        OSError: no answer.
    """
    import requests  # as tensorflow-datasets, so that the same proxies are used

    outcome: list[Exception | None] = []

    def request() -> None:
        try:
            requests.get(url, stream=True, allow_redirects=False, timeout=ANSWER_SECONDS).close()
            outcome.append(None)
        except requests.RequestException as error:
            outcome.append(error)

    # In a thread, because the time limit of a request does not include the look-up of its address.
    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    error = outcome[0] if outcome else TimeoutError(f'{url} did not answer')
    if error:
        raise error


def _summary(error: Exception) -> str:
    return f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}'


def _read(builder: Any, split: str) -> Split:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    try:
        examples = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
    except tf.errors.OpError as error:
        raise corrupt(builder) from error
    return Split(examples['image'], labels=examples['label'])
