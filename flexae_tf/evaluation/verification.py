"""Golden values: before any score, the same images must give the same numbers.

The network's input is compared with values stored in the package, which tests derive without
TensorFlow. The network's output is compared with its earlier output: values stored in the package
for known networks, and for all other networks the values of their first use, kept in the cache.
A record of the cache, `golden/CHECKSUM.json`, can be added to the package unchanged.
"""

import json
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.evaluation import preprocessing
from flexae_tf.files import write_text

CHECKED_IN = pathlib.Path(__file__).with_name('golden')
SHAPES = ((28, 28, 1), (32, 32, 3), (64, 64, 3))  # MNIST, CIFAR-10, CelebA
SIZE = 299
# Compared pixels of resized images: corners, edges, and positions between pixels of `SHAPES`.
POSITIONS = ((0, 0), (0, 298), (298, 0), (298, 298), (5, 150), (150, 7), (74, 75), (211, 133))
_PIXEL_TOLERANCE = 1e-4  # one grey level is 78 times as much
_FEATURE_TOLERANCE = 1e-3  # relative to the norm; devices and batch sizes differ by far less


class NetworkId(NamedTuple):
    """Identifies a network and the features taken from it.

    Attributes:
        source: handle or path of the network.
        checksum: checksum of the SavedModel.
        is_tfgan: whether the network is TF-GAN's own.
        layer: output of the network.
        resize: method and size of the resize.
    """

    source: str
    checksum: str
    is_tfgan: bool
    layer: str
    resize: str


class _Record(NamedTuple):
    source: str  # handle or path of the network when the record was written
    is_tfgan: bool
    features: dict[str, np.ndarray]  # layer and resize -> `_summary`


def golden_images(num: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Returns images uint8 [num, h, w, c] by a formula: slopes and edges, more in later images."""
    n, y, x, c = np.indices((num, *shape))
    return ((40 * n + 5 * x + 3 * y + (n + 1) * x * y // 4 + 60 * c) % 256).astype(np.uint8)


def prepared(resize: str) -> np.ndarray:
    """Returns the network's input for a golden image of each shape: [shapes, positions, 3]."""
    rows, columns = np.transpose(POSITIONS)
    batches = (tf.constant(golden_images(1, shape), tf.float32) for shape in SHAPES)
    resized = [preprocessing.preprocess(images, resize, SIZE).numpy() for images in batches]
    return np.stack([images[0, rows, columns] for images in resized])


def verify_preprocessing(resize: str) -> None:
    """Compares the network's input with the values stored in the package.

    Raises:
        MissingDataError: the values differ.
    """
    expected = json.loads((CHECKED_IN / 'preprocessing.json').read_text())[resize]
    difference = np.abs(prepared(resize) - expected).max()
    if not difference <= _PIXEL_TOLERANCE:
        raise MissingDataError(
            f'--resize={resize}: resized images are wrong by up to {difference:.2g} in [-1, 1). '
            f'Use another TensorFlow than {tf.__version__} or reinstall flexae_tf.'
        )


def verify_features(features: np.ndarray, network: NetworkId, cache: pathlib.Path) -> None:
    """Compares golden features of a network with earlier ones, or stores them at the first use.

    Args:
        features: features of `golden_images(4, (32, 32, 3))`, [4, d].
        network: identifies the network.
        cache: folder that evaluations share.

    Raises:
        MissingDataError: the features differ or are not finite, or a record cannot be read.
        UsageError: the record cannot be written.
    """
    key = f'{network.layer} {network.resize}'
    found = _summary(features)
    records = _records(network.checksum, cache)
    known = {path: r.features[key] for path, r in records.items() if key in r.features}
    for path, expected in known.items():
        _compare(found, expected, network.source, path)
    if known and network.is_tfgan <= any(record.is_tfgan for record in records.values()):
        return
    path = _path(network.checksum, cache)
    features = records[path].features if path in records else {}
    _write(path, _Record(network.source, network.is_tfgan, {key: found, **features}))
    values = ' '.join(f'{value:.4g}' for value in found[0, 1:6])
    print(
        f'first use of {network.source}, checksum {network.checksum}, {key}: golden features '
        f'{values} ... are kept in {path}'
    )


def is_tfgan(checksum: str, cache: pathlib.Path) -> bool:
    """Returns whether a network with this checksum has been loaded from TF-GAN's hub before.

    Raises:
        MissingDataError: a record cannot be read.
    """
    return any(record.is_tfgan for record in _records(checksum, cache).values())


def _summary(features: np.ndarray) -> np.ndarray:
    """Returns root mean square and 32 equally spaced values of each feature vector, [n, 33]."""
    if not np.isfinite(features).all():
        raise MissingDataError(
            '--inception_path: the network returns features that are not finite. Choose another '
            'network.'
        )
    features = features.astype(np.float64)
    sizes = np.sqrt(np.mean(features**2, axis=1))
    values = features[:, :: max(1, features.shape[1] // 32)][:, :32]
    return np.column_stack([sizes, values])


def _compare(found: np.ndarray, expected: np.ndarray, source: str, path: pathlib.Path) -> None:
    difference = np.linalg.norm(found - expected) if found.shape == expected.shape else np.inf
    size = np.linalg.norm(expected)
    if not difference <= _FEATURE_TOLERANCE * size:
        raise MissingDataError(
            f'{source}: golden features are {difference:.2g} away from the values in {path}, whose '
            f'norm is {size:.2g}. Try --device=cpu or another TensorFlow than {tf.__version__}, or '
            'remove that file if it is wrong.'
        )


def _path(checksum: str, cache: pathlib.Path) -> pathlib.Path:
    return cache / 'golden' / f'{checksum}.json'


def _records(checksum: str, cache: pathlib.Path) -> dict[pathlib.Path, _Record]:
    """Returns the records of a network by path."""
    records = {}
    for path in (CHECKED_IN / f'{checksum}.json', _path(checksum, cache)):
        try:
            document = json.loads(path.read_text())
            features = {key: np.array(rows, float) for key, rows in document['features'].items()}
            records[path] = _Record(document['source'], document['is_tfgan'], features)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise MissingDataError(
                f'{path}: golden features cannot be read ({type(error).__name__}: {error}). Remove '
                'that file; it is written again.'
            ) from None
    return records


def _write(path: pathlib.Path, record: _Record) -> None:
    features = {
        key: [[float(f'{value:.6g}') for value in row] for row in rows]
        for key, rows in record.features.items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({**record._asdict(), 'features': features}) + '\n')
    except OSError as error:
        raise UsageError(
            f'{path}: cannot be written ({error.strerror}). Make its folder writable or choose '
            'another --cache_dir.'
        ) from None
