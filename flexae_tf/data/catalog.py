"""The table of data sets: what each one is, and where it comes from.

Nothing here imports TensorFlow; the modules that read data are imported when data are read.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from flexae_tf.config import TrainConfig
from flexae_tf.data.dataset import DatasetSpec, Split
from flexae_tf.errors import MissingDataError, UsageError

CELEBA_HEIGHT, CELEBA_WIDTH, CELEBA_SIZE = 218, 178, 64
CELEBA_ATTRIBUTES = tuple(
    """
    5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose
    Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee
    Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes
    No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling
    Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace
    Wearing_Necktie Young
    """.split()  # noqa: SIM905
)
FOLDER_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a data set comes from.

    Attributes:
        describe: its spec, without loading it.
        load: (training examples, test examples).
        draw_validation: a number of further examples, of a set that never runs out. Without it
            validation is held out of the training examples.
    """

    describe: Callable[[TrainConfig], DatasetSpec]
    load: Callable[[TrainConfig], tuple[Split, Split]]
    draw_validation: Callable[[int], Split] | None = None


def _catalogue(name: str, shape: tuple[int, int, int], train_size: int) -> Source:
    spec = DatasetSpec(name, 'images', shape, train_size, 10_000, (0.0, 1.0), num_classes=10)

    def load_images(config: TrainConfig) -> tuple[Split, Split]:
        from flexae_tf.data import tfds

        return tfds.load_catalogue(config)

    return Source(lambda config: spec, load_images)


def _load_digits(config: TrainConfig) -> tuple[Split, Split]:
    from flexae_tf.data import tfds

    return tfds.load_digits()


def _describe_celeba(config: TrainConfig) -> DatasetSpec:
    if config.celeba_crop > CELEBA_WIDTH:
        raise UsageError(
            f'--celeba_crop={config.celeba_crop}: the pictures are {CELEBA_WIDTH}x{CELEBA_HEIGHT}; '
            f'use {CELEBA_WIDTH} or less'
        )
    shape = (CELEBA_SIZE, CELEBA_SIZE, 3)
    return DatasetSpec(
        'celeba', 'images', shape, 162_770, 19_962, (0.0, 1.0), attributes=CELEBA_ATTRIBUTES
    )


def _load_celeba(config: TrainConfig) -> tuple[Split, Split]:
    from flexae_tf.data import celeba

    return celeba.load(config)


def _synthetic(dim: int) -> Source:
    spec = DatasetSpec(
        f'synthetic_{dim}d', 'vectors', (128,), 15_000, 10_000, (-1.0, 1.0), num_classes=6
    )

    def load_vectors(config: TrainConfig) -> tuple[Split, Split]:
        from flexae_tf.data import synthetic

        return synthetic.load(dim, num_train=spec.train_size, num_test=spec.test_size)

    def draw_validation(num: int) -> Split:
        from flexae_tf.data import synthetic

        return synthetic.draw_validation(dim, num)

    return Source(lambda config: spec, load_vectors, draw_validation)


def _own_data(config: TrainConfig) -> Path:
    """`--data_dir` of your own pictures: a folder, or an .npz file."""
    if config.data_dir is None:
        raise UsageError('--dataset=folder needs --data_dir: a folder of pictures or an .npz file')
    path = Path(config.data_dir)
    if not path.exists():
        raise MissingDataError(f'{path}: does not exist; correct --data_dir')
    if path.is_file() and path.suffix != '.npz':
        raise MissingDataError(f'{path}: --data_dir is to be a folder of pictures or an .npz file')
    return path


def _describe_folder(config: TrainConfig) -> DatasetSpec:
    from flexae_tf.data import npz

    path = _own_data(config)
    if path.is_file():
        return npz.describe(path, config.image_size)
    size = config.image_size or FOLDER_SIZE
    return DatasetSpec('folder', 'images', (size, size, 3), None, None, (0.0, 1.0))


def _load_folder(config: TrainConfig) -> tuple[Split, Split]:
    from flexae_tf.data import image_folder, npz

    path = _own_data(config)
    if path.is_file():
        return npz.load(path)
    return image_folder.load_folder(path, size=config.image_size or FOLDER_SIZE)


DATASETS = {
    'digits': Source(
        lambda config: DatasetSpec(
            'digits', 'images', (28, 28, 1), 1437, 360, (0.0, 1.0), num_classes=10
        ),
        _load_digits,
    ),
    'mnist': _catalogue('mnist', (28, 28, 1), 60_000),
    'fashion_mnist': _catalogue('fashion_mnist', (28, 28, 1), 60_000),
    'cifar10': _catalogue('cifar10', (32, 32, 3), 50_000),
    'celeba': Source(_describe_celeba, _load_celeba),
    'synthetic_2d': _synthetic(2),
    'synthetic_5d': _synthetic(5),
    'folder': Source(_describe_folder, _load_folder),
}
