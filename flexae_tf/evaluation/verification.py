"""Golden values, without which there is no score: the same images give the same numbers.

What reaches a network is compared with values checked in here, which tests derive without
TensorFlow. What leaves it is compared with what the same network gave before: with values checked
in for the networks that were at hand, and for all others with those of their first use, kept in
the cache. A record of the cache, `golden/CHECKSUM.json`, can be checked in as it is.
"""

from __future__ import annotations

import json
import pathlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.evaluation import preprocessing
from flexae_tf.files import write_text

if TYPE_CHECKING:
    from flexae_tf.evaluation.inception import Inception

CHECKED_IN = pathlib.Path(__file__).with_name('golden')
SHAPES = ((28, 28, 1), (32, 32, 3), (64, 64, 3))  # of MNIST, CIFAR-10 and CelebA
SIZE = 299
# Where resized images are looked at: corners, edges, and places between the pixels of `SHAPES`.
POSITIONS = ((0, 0), (0, 298), (298, 0), (298, 298), (5, 150), (150, 7), (74, 75), (211, 133))
_PIXEL_TOLERANCE = 1e-4  # a grey level is 78 of them
_FEATURE_TOLERANCE = 1e-3  # of their norm; other devices and batch sizes need far less


class _Record(NamedTuple):
    source: str  # handle or path of the network when this was written
    is_tfgan: bool
    features: dict[str, np.ndarray]  # layer and resize -> `_summary`


def golden_images(num: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Images uint8 [num, h, w, c] by a formula: slopes and edges, more of them in later images."""
    n, y, x, c = np.indices((num, *shape))
    return ((40 * n + 5 * x + 3 * y + (n + 1) * x * y // 4 + 60 * c) % 256).astype(np.uint8)


def prepared(resize: str) -> np.ndarray:
    """What reaches a network of a golden image of each shape: [shapes, positions, 3]."""
    rows, columns = np.transpose(POSITIONS)
    batches = (tf.constant(golden_images(1, shape), tf.float32) for shape in SHAPES)
    resized = [preprocessing.preprocess(images, resize, SIZE).numpy() for images in batches]
    return np.stack([images[0, rows, columns] for images in resized])


def verify_preprocessing(resize: str) -> None:
    """Compares what reaches a network with the values checked in.

    Raises:
        MissingDataError: they differ.
    """
    expected = json.loads((CHECKED_IN / 'preprocessing.json').read_text())[resize]
    difference = np.abs(prepared(resize) - expected).max()
    if not difference <= _PIXEL_TOLERANCE:
        raise MissingDataError(
            f'images resized by {resize} reach the Inception network wrong by up to '
            f'{difference:.2g}, in [-1, 1): try another TensorFlow than {tf.__version__}, or '
            'install flexae_tf again'
        )


def verify_features(network: Inception, cache: pathlib.Path) -> None:
    """Compares what leaves a network with what it gave before, or keeps it at the first use.

    Raises:
        MissingDataError: the features differ or are not finite, or a record cannot be read.
        UsageError: the record cannot be written.
    """
    key = f'{network.layer} {network.resize}'
    found = _summary(network.features(golden_images(4, (32, 32, 3))))
    records = _records(network.checksum, cache)
    known = {path: r.features[key] for path, r in records.items() if key in r.features}
    for path, expected in known.items():
        _compare(found, expected, f'{network.describe()}: its golden features', path)
    if known and network.is_tfgan <= any(record.is_tfgan for record in records.values()):
        return
    path = _path(network.checksum, cache)
    features = records[path].features if path in records else {}
    _write(path, _Record(network.source, network.is_tfgan, {key: found, **features}))
    values = ' '.join(f'{value:.4g}' for value in found[0, 1:6])
    print(f'first use of {network.describe()}: golden features {values} ... are kept in {path}')


def is_tfgan(checksum: str, cache: pathlib.Path) -> bool:
    """Whether a network of this checksum once came from TF-GAN's hub.

    Raises:
        MissingDataError: a record cannot be read.
    """
    return any(record.is_tfgan for record in _records(checksum, cache).values())


def _summary(features: np.ndarray) -> np.ndarray:
    """Of each image the root mean square and 32 values from all over the vector, [n, 33]."""
    if not np.isfinite(features).all():
        raise MissingDataError(
            'the Inception network gives features that are not finite: give --inception_path '
            'another one'
        )
    features = features.astype(np.float64)
    sizes = np.sqrt(np.mean(features**2, axis=1))
    values = features[:, :: max(1, features.shape[1] // 32)][:, :32]
    return np.column_stack([sizes, values])


def _compare(found: np.ndarray, expected: np.ndarray, what: str, path: pathlib.Path) -> None:
    difference = np.linalg.norm(found - expected) if found.shape == expected.shape else np.inf
    size = np.linalg.norm(expected)
    if not difference <= _FEATURE_TOLERANCE * size:
        raise MissingDataError(
            f'{what} are {difference:.2g} away from those of norm {size:.2g} in {path}: try '
            f'--device=cpu, or another TensorFlow than {tf.__version__}, or remove that file if it '
            'is what is wrong'
        )


def _path(checksum: str, cache: pathlib.Path) -> pathlib.Path:
    return cache / 'golden' / f'{checksum}.json'


def _records(checksum: str, cache: pathlib.Path) -> dict[pathlib.Path, _Record]:
    """What is known of a network, by the files that say so."""
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
                f'golden features cannot be read from {path} ({type(error).__name__}: {error}): '
                'remove that file, to have it written anew'
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
            f'{path} cannot be written ({error.strerror}): make its folder writable, or give '
            'another --cache_dir'
        ) from None
