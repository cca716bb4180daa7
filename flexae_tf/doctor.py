"""The doctor program: checks device, packages, data sets and the feature network."""

import pathlib

import tensorflow as tf

from flexae_tf import data, shutdown
from flexae_tf.config import DoctorConfig, TrainConfig
from flexae_tf.data.catalog import DATASETS
from flexae_tf.environment import environment
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.evaluation.feature_network import FeatureNetwork
from flexae_tf.training import distribution

MATRIX_SIZE = 256


def doctor(config: DoctorConfig) -> None:
    """Prints versions, the device, the state of every data set and of the Inception network.

    Raises:
        UsageError: `--device=gpu` without a GPU.
        MissingDataError: the network given by a flag is missing or returns wrong features.
    """
    print(distribution.choose_devices(config.device, 'auto'))
    found = environment()
    print(f'code: {found["code"]}')
    print(f'Python: {found["python"]} on {found["platform"]}')
    for name, version in found['packages'].items():
        print(f'{name}: {version or "not installed"}')
    ones = tf.ones([MATRIX_SIZE, MATRIX_SIZE])
    product = tf.matmul(ones, ones)
    state = 'correct' if tf.reduce_all(product == float(MATRIX_SIZE)) else 'WRONG'
    print(f'matrix product: {state}')
    for name in DATASETS:
        shutdown.check('between data sets')
        print(f'data set {name}: {_dataset_state(name, config.data_dir)}')
    print(f'{"feature" if config.feature_network else "Inception"} network: {_network(config)}')


def _dataset_state(name: str, data_dir: str | None) -> str:
    if name == 'folder':  # --data_dir of the doctor is the folder of tensorflow-datasets
        return 'your own images, at --data_dir of a training'
    try:
        dataset = data.load(TrainConfig(dataset=name, data_dir=data_dir, batch_size=2))
    except (MissingDataError, UsageError) as error:  # such as too little memory
        return f'not available. {error}'
    return f'{len(dataset.train)} training and {len(dataset.test)} test examples'


def _network(config: DoctorConfig) -> str:
    """Returns the state of the feature network, and its golden record if requested."""
    cache = pathlib.Path(config.cache_dir) if config.cache_dir else None
    declared = config.feature_network
    try:
        network = FeatureNetwork(
            config.inception_path, None, batch_size=4, declared=declared, cache=cache
        )
        network.verify()
    except MissingDataError as error:
        if config.inception_path or declared or config.verify_inception:
            raise
        return f'not available. {error}'
    state = f'{network.describe()}. Features are correct.'
    if config.verify_inception:
        state += (
            f'\ngolden record, for flexae_tf/evaluation/golden/{network.checksum}.json: '
            f'{network.golden_record().strip()}'
        )
    return state
