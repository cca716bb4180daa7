"""What there is on this machine of what the programs need."""

import pathlib

import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import DATASETS, DoctorConfig, TrainConfig
from flexae_tf.environment import environment
from flexae_tf.errors import MissingDataError
from flexae_tf.evaluation.inception import Inception
from flexae_tf.training import distribution


def doctor(config: DoctorConfig) -> None:
    """Prints versions, device, and which data sets and networks can be loaded.

    Raises:
        MissingDataError: the Inception network given by `inception_path` cannot be loaded.
    """
    print(distribution.choose_devices(config.device))
    found = environment()
    print(f'code {found["code"]}, Python {found["python"]}, {found["platform"]}')
    print(', '.join(f'{name} {version}' for name, version in found['packages'].items()))
    product = tf.matmul(tf.ones([256, 256]), tf.ones([256, 256]))
    print(
        f'a matrix product on {product.device or "the default device"}: {product[0, 0]:.0f} of 256'
    )
    for name in DATASETS:
        if name == 'folder':
            continue  # your own pictures: only you know where
        print(f'data set {name}: {_state_of(name, config.data_dir)}')
    try:
        cache = pathlib.Path(config.cache_dir) if config.cache_dir else None
        network = Inception(config.inception_path, 'pool_3', batch_size=4, cache=cache)
        network.verify()
        print(f'{network.describe()}: golden features as they should be')
    except MissingDataError as error:
        if config.inception_path:
            raise
        print(f'Inception: {error}')


def _state_of(name: str, data_dir: str | None) -> str:
    try:
        dataset = data.load(TrainConfig(dataset=name, data_dir=data_dir, batch_size=2))
    except MissingDataError as error:
        return str(error)
    return f'{len(dataset.train)} training and {len(dataset.test)} test examples'
