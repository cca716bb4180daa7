"""Golden values: before any score, the same images must give the same numbers.

The network's input is compared with values stored in the package, which tests derive without
TensorFlow. The network's output is compared with its earlier output: values stored in the package
for known networks, and for all other networks the values of their first use, kept in the cache.

Records of the package also identify networks. A record of the cache never does.
"""

import functools
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from flexae_tf.checked_files import read_json, write_json
from flexae_tf.errors import MissingDataError
from flexae_tf.evaluation import preprocessing, tfgan
from flexae_tf.evaluation.network_files import NetworkFiles

CHECKED_IN = pathlib.Path(__file__).with_name('golden')
_SCHEMA = {'source': str, 'is_tfgan': bool, 'features': {'*': [[int | float]]}}
RECORDED_LAYERS = (tfgan.FINAL_POOL, tfgan.LOGITS, 'mixed_7', 'mixed_8')
SHAPES = ((28, 28, 1), (32, 32, 3), (64, 64, 3))  # MNIST, CIFAR-10, CelebA
SIZE = 299
# Compared pixels of resized images: corners, edges, and positions between pixels of `SHAPES`.
POSITIONS = ((0, 0), (0, 298), (298, 0), (298, 298), (5, 150), (150, 7), (74, 75), (211, 133))
IMAGES = 16
PROJECTIONS = 64
_PIXEL_TOLERANCE = 1e-4  # one grey level is 78 times as much
# Relative to the norm of the features. Devices and batch sizes differ by about 1e-5. Weights
# rounded to float16 differ by more than the second tolerance: such a network is another one.
_FEATURE_TOLERANCE = 1e-3
_IDENTITY_TOLERANCE = 1e-4


class Identity(NamedTuple):
    """Identity of a network.

    Attributes:
        proven: outputs that are proven to equal the outputs of the Inception graph of 2015.
        checksum: checksum of the network that these outputs belong to.
    """

    proven: frozenset[str]
    checksum: str


def golden_images(num: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Returns images uint8 [num, h, w, c] by a formula: slopes and edges, more in later images."""
    n, y, x, c = np.indices((num, *shape))
    return ((40 * n + 5 * x + 3 * y + (n + 1) * x * y // 4 + 60 * c) % 256).astype(np.uint8)


def golden_inputs(size: int) -> np.ndarray:
    """Returns golden images of the size of a network, uint8 [IMAGES, size, size, 3].

    Their pixels are repeated, so no method of resizing changes them.
    """
    nearest = np.arange(size) * 32 // size
    return golden_images(IMAGES, (32, 32, 3))[:, nearest][:, :, nearest]


def prepared(resize: str) -> np.ndarray:
    """Returns the network's input for a golden image of each shape: [shapes, positions, 3]."""
    rows, columns = np.transpose(POSITIONS)
    value_range = tfgan.VALUE_RANGE
    batches = (tf.constant(golden_images(1, shape), tf.float32) for shape in SHAPES)
    resized = [preprocessing.preprocess(x, resize, SIZE, value_range).numpy() for x in batches]
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


def identify(files: NetworkFiles, features: Callable[[str], np.ndarray | None]) -> Identity:
    """Returns the outputs of a network that are proven to equal the Inception graph of 2015.

    Proofs are the git blob id of the frozen graph, or a record of the package with `is_tfgan`,
    which has the checksum of the network or equal golden features.

    Args:
        files: files of the network.
        features: returns the features of `golden_inputs` by an output, [IMAGES, d]; None if the
            network has no such output. Called only for outputs of a record.
    """
    outputs = frozenset((tfgan.FINAL_POOL, tfgan.LOGITS))
    records = {path.stem: record for path, record in _checked_in().items() if record['is_tfgan']}
    if files.is_inception_2015 or files.checksum in records:
        return Identity(outputs, files.checksum)
    found = {name: summary(features(name)) for name in outputs} if records else {}
    for checksum, record in records.items():
        known = record['features']
        equal = frozenset(
            name
            for name in outputs & known.keys()
            if _difference(found[name], known[name]) <= _IDENTITY_TOLERANCE
        )
        if tfgan.FINAL_POOL in equal:
            return Identity(equal, checksum)
    return Identity(frozenset(), files.checksum)


def verify_features(
    features: np.ndarray, layer: str, files: NetworkFiles, cache: pathlib.Path
) -> None:
    """Compares golden features of a network with earlier ones, or stores them at the first use.

    Args:
        features: features of `golden_inputs`, [IMAGES, d].
        layer: output of the network.
        files: files of the network.
        cache: folder that evaluations share.

    Raises:
        MissingDataError: the features differ or are not finite, or a record cannot be read.
    """
    if not np.isfinite(features).all():
        raise MissingDataError(
            f'{files.flag}: the network returns features that are not finite. Choose another '
            'network.'
        )
    found = summary(features)
    own = cache / 'golden_features' / f'{files.checksum}.json'
    records = {path: r for path, r in _checked_in().items() if path.stem == files.checksum}
    records |= {own: _read(own)} if own.exists() else {}
    known = {path: r['features'][layer] for path, r in records.items() if layer in r['features']}
    for path, expected in known.items():
        difference = _difference(found, expected)
        if not difference <= _FEATURE_TOLERANCE:
            raise MissingDataError(
                f'{files.source}: golden features differ from {path} by {difference:.2g} of their '
                f'norm. Try --device=cpu or another TensorFlow than {tf.__version__}, or remove '
                'that file if it is wrong.'
            )
    if not known:
        earlier = records[own]['features'] if own in records else {}
        document = _document({**earlier, layer: found}, source=files.source, is_tfgan=False)
        values = ' '.join(f'{value:.4g}' for value in found[0, :5])
        print(
            f'first use of {files.source}, checksum {files.checksum}, {layer}: golden features '
            f'{values} ... {_keep(own, document)}'
        )


def record(
    files: NetworkFiles, features: Mapping[str, np.ndarray | None], *, is_tfgan: bool
) -> str:
    """Returns the text of a record for the package.

    Args:
        files: files of the network.
        features: features of `golden_inputs` by output; None for an output the network lacks.
        is_tfgan: whether the network is the Inception graph of 2015.
    """
    found = {name: summary(rows) for name, rows in features.items() if rows is not None}
    document = _document(found, source=pathlib.Path(files.source).name, is_tfgan=is_tfgan)
    return json.dumps(document) + '\n'


def summary(features: np.ndarray | None) -> np.ndarray | None:
    """Returns random projections of feature vectors, [n, PROJECTIONS]; None for None.

    The signs are random, so the distance of two summaries is about the distance of the features
    and depends on all of them.
    """
    if features is None:
        return None
    return features.astype(np.float64) @ _signs(features.shape[1])


@functools.cache
def _signs(size: int) -> np.ndarray:
    signs = 2.0 * np.random.RandomState(0).randint(0, 2, [size, PROJECTIONS]) - 1.0
    return signs / np.sqrt(PROJECTIONS)


def _difference(found: np.ndarray | None, expected: np.ndarray) -> float:
    """Returns the largest distance for an image relative to the mean norm, or infinity."""
    if found is None or found.shape != expected.shape:
        return np.inf
    distances = np.linalg.norm(found - expected, axis=1)
    difference = distances.max() / np.linalg.norm(expected, axis=1).mean()
    return difference if np.isfinite(difference) else np.inf


def _checked_in() -> dict[pathlib.Path, dict[str, Any]]:
    """Returns the records of the package by path."""
    paths = sorted(CHECKED_IN.glob('*.json'))
    return {path: _read(path) for path in paths if path.stem != 'preprocessing'}


def _read(path: pathlib.Path) -> dict[str, Any]:
    """Returns a record with arrays.

    Raises:
        MissingDataError: the file is corrupt.
    """
    cure = 'Remove that file of golden features; it is written again'
    document = read_json(path, _SCHEMA, cure=cure, error=MissingDataError)
    try:
        features = {name: np.array(rows, float) for name, rows in document['features'].items()}
    except ValueError as error:
        raise MissingDataError(f'{path}: {error}. {cure}.') from None
    return document | {'features': features}


def _document(features: Mapping[str, np.ndarray], *, source: str, is_tfgan: bool) -> dict[str, Any]:
    rows = {
        name: [[float(f'{value:.7g}') for value in row] for row in array]
        for name, array in features.items()
    }
    return {'source': source, 'is_tfgan': is_tfgan, 'features': rows}


def _keep(path: pathlib.Path, document: dict[str, Any]) -> str:
    """Writes a record; returns the end of a sentence about it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, document)
    except OSError as error:  # a network from a path needs no cache
        return f'are not kept: {path} cannot be written ({error.strerror})'
    return f'are kept in {path}'
