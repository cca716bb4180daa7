"""Images -> features of an Inception network: TF-GAN's own, or any of its interface.

The only module that knows TF-GAN. Its network is the Inception graph of 2015-12-05, whose pool_3
gives the FID of the literature (Heusel et al. 2017).
"""

import contextlib
import functools
import hashlib
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf
import tensorflow_hub

from flexae_tf.errors import MissingDataError

_CURE = '--inception_path takes the folder of a SavedModel'


class Inception:
    """A network [n, 299, 299, 3] in [-1, 1) -> dict of outputs, loaded and traced once.

    Args:
        path: folder of a SavedModel; None for TF-GAN's own from its hub, or from a filled
            TFHUB_CACHE_DIR.
        layer: which output to take: 'pool_3', 'mixed_7', ...
        batch_size: images per call of the network; has no effect on the features but rounding.

    Attributes:
        layer: the output taken.
        is_tfgan: whether this is TF-GAN's own network, the only one whose pool_3 gives an FID.
        resize: how images get to the size of the network, as protocols call it.

    Raises:
        MissingDataError: no network there, or one of another interface or without this output.
    """

    resize = 'tf1_bilinear_299'

    def __init__(self, path: str | None, layer: str, batch_size: int) -> None:
        tfgan = tfgan_eval()
        self.layer = layer
        self.is_tfgan = path in (None, tfgan.INCEPTION_TFHUB)
        self._handle = tfgan.INCEPTION_TFHUB if path is None else path
        self._batch_size = batch_size
        self._network = _load(self._handle)  # a graph alone would not keep its variables
        size = tfgan.INCEPTION_DEFAULT_IMAGE_SIZE

        # Autograph would wrap the errors below in a report of many lines.
        @functools.partial(tf.function, autograph=False)
        def extract(images: tf.Tensor) -> tf.Tensor:  # [batch_size, h, w, 1 or 3]
            # As the graph of 2015 does it itself: `resize_bilinear` of TensorFlow 1.
            images = tf.raw_ops.ResizeBilinear(
                images=tf.cast(images, tf.float32), size=[size, size], half_pixel_centers=False
            )
            images = tf.broadcast_to(images, [batch_size, size, size, 3])
            return _output(self._network, (images - 128.0) / 128.0, layer)  # [batch_size, d]

        # Traced here, so that a wrong network is refused before any image is made.
        signature = tf.TensorSpec([batch_size, None, None, None], tf.uint8)
        self._extract = extract.get_concrete_function(signature)

    @functools.cached_property
    def checksum(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of what TensorFlow reads of the SavedModel.

        That is the graph, the variables and the assets. Of the rest, `fingerprint.pb` holds a
        random number of each export, so it would tell apart what computes the same.
        """
        return _checksum(tensorflow_hub.resolve(self._handle))

    def features(self, images: np.ndarray) -> np.ndarray:
        """Features float32 [n, d] of images uint8 [n, h, w, 1 or 3]; grey is copied to three.

        Raises:
            ValueError: no images, or of another type or shape.
        """
        shape = images.shape
        if images.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3) or not shape[0]:
            raise ValueError(f'images must be uint8 [n, h, w, 1 or 3], not {images.dtype} {shape}')
        starts = range(0, len(images), self._batch_size)
        with _exact_products():
            return np.concatenate([self._features(images, start) for start in starts])

    def _features(self, images: np.ndarray, start: int) -> np.ndarray:
        batch = images[start : start + self._batch_size]
        missing = self._batch_size - len(batch)
        padded = np.pad(batch, [(0, missing), (0, 0), (0, 0), (0, 0)])
        return self._extract(tf.constant(padded)).numpy()[: len(batch)]


@functools.cache
def tfgan_eval() -> types.ModuleType:
    """TF-GAN's `eval` sub-package: Inception's handle, size and output names, and its metrics.

    TF-GAN 2.1 as a whole needs `tf.estimator`, which left TensorFlow with 2.16. So `eval` is
    imported below two packages that are there but were never run. They are gone afterwards: who
    imports `tensorflow_gan` gets what they would have got without us.

    Raises:
        ModuleNotFoundError: TF-GAN is not installed.
    """
    before = _pop_tfgan_modules()
    try:
        for name in ('tensorflow_gan', 'tensorflow_gan.python'):
            spec = importlib.util.find_spec(name)
            if spec is None:
                raise ModuleNotFoundError(f'no {name}: pip install tensorflow-gan', name=name)
            sys.modules[name] = importlib.util.module_from_spec(spec)
        return importlib.import_module('tensorflow_gan.python.eval')
    finally:
        _pop_tfgan_modules()
        sys.modules.update(before)


def _pop_tfgan_modules() -> dict[str, types.ModuleType]:
    names = [name for name in sys.modules if name.partition('.')[0] == 'tensorflow_gan']
    return {name: sys.modules.pop(name) for name in names}


def _load(handle: str) -> Callable:
    try:
        return tensorflow_hub.load(handle)
    except Exception as error:  # urllib, tarfile, hub and TensorFlow each have errors of their own
        raise MissingDataError(
            f'cannot load an Inception network from {handle!r}: {_one_line(error)}; {_CURE}'
        ) from error


def _output(network: Callable, images: tf.Tensor, layer: str) -> tf.Tensor:
    """Output `layer` of the network as float32 [batch, d]."""
    try:
        outputs = network(images)
    except (TypeError, ValueError) as error:
        raise MissingDataError(
            f'the Inception network does not take images {images.shape}: {_one_line(error)}; '
            f'{_CURE} that does'
        ) from error
    if not isinstance(outputs, Mapping) or layer not in outputs:
        names = ', '.join(sorted(outputs)) if isinstance(outputs, Mapping) else 'no named outputs'
        raise MissingDataError(
            f'the Inception network has no output {layer!r}, only {names}; {_CURE} that has it'
        )
    output = outputs[layer]
    sides = output.shape[1:-1] if output.shape.rank else ()
    if any(side not in (1, None) for side in sides):
        raise MissingDataError(
            f'output {layer!r} of the Inception network is a map {output.shape}, not a vector for '
            f'each image; {_CURE} whose output is one'
        )
    return tf.reshape(tf.cast(output, tf.float32), [images.shape[0], -1])


def _one_line(error: Exception) -> str:
    return ' '.join(f'{type(error).__name__}: {error}'.split())[:300]


@contextlib.contextmanager
def _exact_products() -> Iterator[None]:
    """Products in full float32, or a score would depend on the precision of the training."""
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(enabled)


def _checksum(folder: str) -> str:
    read = ('saved_model.pb', 'saved_model.pbtxt', 'variables', 'assets')
    files = {}
    for parent, _, names in tf.io.gfile.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            files[os.path.relpath(path, folder)] = path
    digest = hashlib.sha256()
    for relative, path in sorted(files.items()):
        if relative.split(os.sep)[0] in read:
            with tf.io.gfile.GFile(path, 'rb') as file:
                contents = file.read()
            digest.update(f'{relative} {len(contents)}\n'.encode() + contents)
    return digest.hexdigest()[:12]
