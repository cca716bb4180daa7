"""Images -> feature rows, computed once: kept on disk under what they are features of."""

import hashlib
import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from flexae_tf.data.npz import UNREADABLE
from flexae_tf.errors import NonFiniteLossError, UsageError
from flexae_tf.evaluation.inception import Inception
from flexae_tf.files import atomic_path
from flexae_tf.metrics.pixels import pixel_features

BLOCK = 500  # images in a file: what a kill can cost


class Features(NamedTuple):
    """What metrics see of a set of examples: a row for each."""

    rows: np.ndarray  # float32 [n, d]
    logits: np.ndarray | None = None  # float32 [n, classes], of networks that classify


class RawFeatures:
    """The values of the examples themselves; nothing worth keeping on disk."""

    def __call__(self, x: np.ndarray, *, what: str) -> Features:
        """Features of examples [n, ...]: uint8 images, or floats as they are."""
        del what
        return Features(pixel_features(x))


class NetworkFeatures:
    """Features of a network, kept in a folder block by block.

    A block's name is a hash of its images and of all that turns them into features, so whoever
    asks for the same features again, after a kill or in another run, finds them, and nothing else.

    Args:
        network: the network.
        folder: where blocks are kept; made when the first one is.
        batch_size: images in a call of the network.
        check: called before every batch; raises when the program is to stop.
    """

    def __init__(
        self,
        network: Inception,
        folder: pathlib.Path,
        *,
        batch_size: int,
        check: Callable[[], None],
    ) -> None:
        self._network = network
        self._folder = folder
        self._batch_size = batch_size
        self._check = check
        self._protocol = {
            'network': network.checksum,
            'layer': network.layer,
            'resize': network.resize,
            'logits': network.is_tfgan,
        }

    def __call__(self, x: np.ndarray, *, what: str) -> Features:
        """Features of images [n, h, w, c], uint8 or float32 in 0..255.

        Args:
            x: the images.
            what: they are, for the line or the bar that shows progress.

        Raises:
            UsageError: the folder cannot be written.
            NonFiniteLossError: a feature is not finite.
        """
        started, computed = time.monotonic(), 0
        bar = tqdm(total=len(x), desc=f'features of {what}', disable=not sys.stderr.isatty())
        blocks = []
        with bar:
            for start in range(0, len(x), BLOCK):
                block = x[start : start + BLOCK]
                path = self._path(block)
                features = _read(path)
                if features is None:
                    features = self._compute(block, bar)
                    self._write(path, features)
                    computed += len(block)
                else:
                    bar.update(len(block))
                blocks.append(features)
        if bar.disable:
            seconds = time.monotonic() - started
            speed = f', {computed / seconds:.1f} images/s' if computed else ''
            kept = len(x) - computed
            print(
                f'features of {what}: {computed} images in {seconds:.0f} s{speed}; {kept} were kept'
                f' from before',
                flush=True,
            )
        logits = [block.logits for block in blocks]
        return Features(
            np.concatenate([block.rows for block in blocks]),
            None if logits[0] is None else np.concatenate(logits),
        )

    def _compute(self, block: np.ndarray, bar: tqdm) -> Features:
        outputs = []
        for start in range(0, len(block), self._batch_size):
            self._check()
            batch = block[start : start + self._batch_size]
            outputs.append(self._network.outputs(batch))
            if not np.isfinite(outputs[-1].features).all():
                raise NonFiniteLossError('the network makes features of images that are not finite')
            bar.update(len(batch))
        logits = [output.logits for output in outputs]
        return Features(
            np.concatenate([output.features for output in outputs]),
            None if logits[0] is None else np.concatenate(logits),
        )

    def _path(self, block: np.ndarray) -> pathlib.Path:
        what = {**self._protocol, 'dtype': block.dtype.str, 'shape': block.shape}
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode())
        digest.update(np.ascontiguousarray(block).data)
        return self._folder / f'{digest.hexdigest()[:32]}.npz'

    def _write(self, path: pathlib.Path, features: Features) -> None:
        """Writes a block so that readers, other processes too, see all of it or nothing."""
        arrays = {name: array for name, array in features._asdict().items() if array is not None}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                np.savez(temporary, protocol=json.dumps(self._protocol), **arrays)
        except OSError as error:
            raise UsageError(
                f'features cannot be kept in {self._folder} ({error.strerror}): make room, or make '
                'it writable'
            ) from None


def _read(path: pathlib.Path) -> Features | None:
    """A block; None when there is none, or none that is whole."""
    try:
        with np.load(path) as arrays:
            return Features(arrays['rows'], arrays.get('logits'))
    except UNREADABLE:
        return None  # not there, or damaged: computed again
