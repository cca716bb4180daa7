"""The table of data sets: one row per name, free of TensorFlow.

A row refers to the module of its source. Source modules import TensorFlow when they load data.
"""

import dataclasses
from collections.abc import Callable

from flexae_tf.config import TrainConfig
from flexae_tf.config.external import import_object
from flexae_tf.data import celeba, digits, image_folder, synthetic, tfds
from flexae_tf.data.dataset import CODES, DatasetSpec, Split
from flexae_tf.errors import UsageError

# Options of a training that only some data sets read.
OPTIONS_OF_IMAGES = ('image_size', 'value_range', 'channels', 'skip_bad_images', 'converted_dir')
OPTIONS = (*OPTIONS_OF_IMAGES, 'celeba_crop')


@dataclasses.dataclass(frozen=True)
class Source:
    """A row of the table. `config.dataset` is the name of the row.

    Attributes:
        describe: returns the spec without loading the data and without importing TensorFlow.
        load: returns training examples, test examples and, if the source has them, validation
            examples.
        load_validation: (config, num) -> `num` examples that `load` does not return, for a source
            with unlimited examples. None: validation examples that `load` does not return are held
            out of the training examples.
        options: the options of `OPTIONS` that apply.
        fixed_content: whether the test examples are the same on every machine, in the same order.
            Protocols use it only for rows of this table.
    """

    describe: Callable[[TrainConfig], DatasetSpec]
    load: Callable[[TrainConfig], tuple[Split, ...]]
    load_validation: Callable[[TrainConfig, int], Split] | None = None
    options: tuple[str, ...] = ()
    fixed_content: bool = False


_TFDS = Source(tfds.describe, tfds.load, fixed_content=True)
_SYNTHETIC = Source(
    synthetic.describe, synthetic.load, synthetic.load_validation, fixed_content=True
)

DATASETS: dict[str, Source] = {
    'digits': Source(digits.describe, digits.load, fixed_content=True),
    'mnist': _TFDS,
    'fashion_mnist': _TFDS,
    'cifar10': _TFDS,
    'celeba': Source(celeba.describe, celeba.load, options=('celeba_crop',)),
    'synthetic_2d': _SYNTHETIC,
    'synthetic_5d': _SYNTHETIC,
    'folder': Source(image_folder.describe, image_folder.load, options=OPTIONS_OF_IMAGES),
}


def check_options(config: TrainConfig) -> None:
    """Checks that no option is set which the data set would ignore.

    Raises:
        UsageError: an option of another data set is set.
    """
    ignored = unused_options(config.dataset)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in ignored and value != field.default:
            users = [name for name, source in DATASETS.items() if field.name in source.options]
            raise UsageError(
                f'--{field.name}={value}: not an option of --dataset={config.dataset}. Leave it '
                f'out, or use --dataset={users[0]}.'
            )


def unused_options(name: str) -> set[str]:
    """Returns the options of `OPTIONS` that a data set, or `CODES`, would ignore."""
    return set(OPTIONS) - set(() if name == CODES else find(name).options)


def find(name: str) -> Source:
    """Returns the row of a data set.

    Args:
        name: a name of `DATASETS`, or `package.module:NAME` of a `Source` outside the package.

    Raises:
        UsageError: unknown name, or the object outside the package is not a `Source`.
    """
    if name in DATASETS:
        return DATASETS[name]
    if ':' not in name:
        raise UsageError(
            f'--dataset={name}: unknown data set. Choose one of {", ".join(DATASETS)}, or give '
            'package.module:NAME.'
        )
    source = import_object(name, flag='--dataset')
    if not isinstance(source, Source):
        raise UsageError(
            f'--dataset={name}: a {type(source).__name__} object. Make it a flexae_tf.data.Source.'
        )
    return source
