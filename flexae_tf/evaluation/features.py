"""Features of images or vectors; network features are computed once and stored in blocks."""

import hashlib
import json
import pathlib
import sys
import time

import numpy as np
from tqdm import tqdm

from flexae_tf.checked_files import read_arrays, write_arrays
from flexae_tf.errors import CorruptRunError, NonFiniteLossError, UsageError
from flexae_tf.evaluation.feature_network import FeatureNetwork
from flexae_tf.metrics.pixels import pixel_features
from flexae_tf.metrics.table import Features

BLOCK = 500  # images in a file; a kill loses at most one block for each device


class RawFeatures:
    """Raw values of the examples as features; not stored."""

    def __call__(self, x: np.ndarray, *, label: str) -> Features:
        """Returns the features of examples [n, ...]: uint8 images, or unchanged floats."""
        del label
        return Features(pixel_features(x))


class NetworkFeatures:
    """Features of a network, stored in a folder in blocks.

    The file name of a block is a hash of its images, network, layer and resize. So an interrupted
    evaluation and other runs reuse the features.

    Args:
        network: the network.
        feature_dir: folder of the blocks; created with the first block.
        batch_size: images per call of the network, on each device.
    """

    def __init__(self, network: FeatureNetwork, feature_dir: pathlib.Path, batch_size: int) -> None:
        self._network = network
        self._feature_dir = feature_dir
        self._batch_size = batch_size * network.num_devices
        self._protocol = {
            'network': network.checksum,
            'layer': network.layer,
            'resize': network.resize,
            'logits': network.has_logits,
        }

    def __call__(self, x: np.ndarray, *, label: str) -> Features:
        """Returns the features of images.

        Args:
            x: [n, h, w, c], uint8 or float32 in 0..255.
            label: description of the images for the progress bar or line.

        Raises:
            UsageError: the folder cannot be written.
            NonFiniteLossError: a feature is not finite.
            Interrupted: a signal was received; finished blocks are stored.
        """
        started, computed = time.monotonic(), 0
        bar = tqdm(total=len(x), desc=f'features of {label}', disable=not sys.stderr.isatty())
        features: list[Features] = []
        together = BLOCK * self._network.num_devices  # so that all devices have batches
        with bar:
            for start in range(0, len(x), together):
                part = x[start : start + together]
                blocks = np.split(part, range(BLOCK, len(part), BLOCK))
                stored = [self._read(self._path(block), len(block)) for block in blocks]
                missing = [blocks[n] for n, found in enumerate(stored) if found is None]
                num = sum(map(len, missing))
                bar.update(len(part) - num)
                fresh = iter(self._compute(missing, bar) if missing else ())
                features += [found or next(fresh) for found in stored]
                computed += num
        if bar.disable:
            seconds = time.monotonic() - started
            speed = f', {computed / seconds:.1f} images/s' if computed else ''
            print(
                f'features of {label}: {computed} images in {seconds:.0f} s{speed}; '
                f'{len(x) - computed} read from disk',
                flush=True,
            )
        return _concatenate(features)

    def _compute(self, blocks: list[np.ndarray], bar: tqdm) -> list[Features]:
        """Returns the features of each block, which are stored."""
        images, batches = np.concatenate(blocks), []
        for start in range(0, len(images), self._batch_size):
            outputs = self._network.outputs(images[start : start + self._batch_size])
            if not np.isfinite(outputs.features).all():
                raise NonFiniteLossError(
                    f'{self._network.files.flag}: features of layer {self._network.layer} are not '
                    'finite. Check the network or try --device=cpu.'
                )
            batches.append(Features(outputs.features, outputs.logits))
            bar.update(len(outputs.features))
        ends = np.cumsum([len(block) for block in blocks])[:-1]
        arrays = [np.split(array, ends) for array in _concatenate(batches) if array is not None]
        features = list(map(Features, *arrays))
        for block, found in zip(blocks, features, strict=True):
            self._write(self._path(block), found)
        return features

    def _path(self, block: np.ndarray) -> pathlib.Path:
        identity = {**self._protocol, 'dtype': block.dtype.str, 'shape': block.shape}
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
        digest.update(np.ascontiguousarray(block).data)
        return self._feature_dir / f'{digest.hexdigest()[:32]}.npz'

    def _read(self, path: pathlib.Path, num: int) -> Features | None:
        """Returns the features of `num` images; None if they are missing or corrupt."""
        names = ('rows', 'logits') if self._network.has_logits else ('rows',)
        cure = 'The features are computed again'
        try:
            arrays = read_arrays(path, *names, cure=cure)
            # Earlier versions stored no name.
            if str(arrays.get('name', path.stem)) != path.stem or len(arrays['rows']) != num:
                raise CorruptRunError(f'{path}: holds features of other images. {cure}.')
        except (FileNotFoundError, NotADirectoryError):
            return None
        except CorruptRunError as error:
            print(f'WARNING: {error}', flush=True)
            return None
        return Features(*(arrays[name] for name in names))

    def _write(self, path: pathlib.Path, features: Features) -> None:
        """Writes a block so that other processes read a complete block or none."""
        arrays = {name: array for name, array in features._asdict().items() if array is not None}
        try:
            self._feature_dir.mkdir(exist_ok=True)
            protocol = json.dumps(self._protocol)
            write_arrays(path, name=path.stem, protocol=protocol, **arrays)
        except OSError as error:
            raise UsageError(
                f'{self._feature_dir}: features cannot be written ({error.strerror}). Free disk '
                'space or make the folder writable.'
            ) from None


def _concatenate(parts: list[Features]) -> Features:
    rows = np.concatenate([part.rows for part in parts])
    if parts[0].logits is None:
        return Features(rows)
    return Features(rows, np.concatenate([part.logits for part in parts]))
