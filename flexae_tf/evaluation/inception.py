"""Images -> features of an Inception network: TF-GAN's own, or any of its interface.

The only module that knows TF-GAN. Its network is the Inception graph of 2015-12-05, whose pool_3
gives the FID of the literature (Heusel et al. 2017).
"""

import contextlib
import functools
import hashlib
import importlib.util
import os
import pathlib
import shutil
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_hub

from flexae_tf.errors import MissingDataError
from flexae_tf.evaluation import archives, preprocessing, verification

_CURE = f'--inception_path takes the folder of a SavedModel, or a {", ".join(archives.SUFFIXES)}'


class Outputs(NamedTuple):
    """What a network says of n images.

    Attributes:
        features: float32 [n, d].
        logits: of ImageNet's classes, float32 [n, classes]; None where the network is not TF-GAN's
            own, because then nobody knows what its logits mean.
    """

    features: np.ndarray
    logits: np.ndarray | None = None


class Inception:
    """A network [n, 299, 299, 3] in [-1, 1) -> dict of outputs, loaded and traced once.

    Args:
        path: a SavedModel: its folder, or an archive (`archives.SUFFIXES`) of it; None for TF-GAN's
            own from its hub, or from a filled TFHUB_CACHE_DIR.
        layer: which output to take: 'pool_3', 'mixed_7', ...
        batch_size: images per call of the network; has no effect on the features but rounding.
        resize: how images get to the size of the network, one of `preprocessing.RESIZES`.
        cache: folder kept between evaluations; `archives.default_cache()` when not given.

    Attributes:
        source: the handle or path of the network.
        layer: the output taken.
        resize: kind and size of the resize, as protocols call it: 'tf1_bilinear_299'.
        checksum: twelve hexadecimal digits of the SHA-256 of what TensorFlow reads of the
            SavedModel: the graph, the variables and the assets.
        is_tfgan: whether this is TF-GAN's own network, the only one whose pool_3 gives an FID:
            loaded by its handle, or equal to what once was.

    Raises:
        ValueError: no such kind of resize.
        MissingDataError: no network there, or one of another interface or without this output.
    """

    def __init__(
        self,
        path: str | None,
        layer: str,
        batch_size: int,
        *,
        resize: str = 'tf1_bilinear',
        cache: pathlib.Path | None = None,
    ) -> None:
        if resize not in preprocessing.RESIZES:
            choices = ', '.join(preprocessing.RESIZES)
            raise ValueError(f'resize={resize!r}: choose one of {choices}')
        tfgan = tfgan_eval()
        size = tfgan.INCEPTION_DEFAULT_IMAGE_SIZE
        self._batch_size = batch_size
        self._resize = resize
        self._cache = cache or archives.default_cache()
        self.source = tfgan.INCEPTION_TFHUB if path is None else path
        self.layer = layer
        self.resize = f'{resize}_{size}'
        folder, network = _load(self.source, self._cache)
        self._network = network  # a graph alone would not keep its variables
        self.checksum = _checksum(folder)
        by_handle = self.source == tfgan.INCEPTION_TFHUB
        self.is_tfgan = by_handle or verification.is_tfgan(self.checksum, self._cache)
        names = [layer, tfgan.INCEPTION_OUTPUT] if self.is_tfgan else [layer]

        # Autograph would wrap the errors below in a report of many lines.
        @functools.partial(tf.function, autograph=False)
        def extract(images: tf.Tensor) -> list[tf.Tensor]:  # [batch_size, h, w, 1 or 3]
            outputs = _call(network, preprocessing.preprocess(images, resize, size))
            return [_vectors(outputs, name, batch_size) for name in names]  # [batch_size, d]

        # Traced here, so that a wrong network is refused before any image is made.
        signature = tf.TensorSpec([batch_size, None, None, None], tf.float32)
        self._extract = extract.get_concrete_function(signature)

    def describe(self) -> str:
        """Which network this is, and what scores of its features may be called."""
        own = "TF-GAN's own" if self.is_tfgan else "not TF-GAN's own"
        named = '' if self.is_tfgan else f' (scores are named fd_{self.layer}_..., not FID)'
        return (
            f'Inception network {self.source}: checksum {self.checksum}, layer {self.layer}, '
            f'resize {self.resize}, {own}{named}'
        )

    def verify(self) -> None:
        """Makes sure, before any score, that golden images give their golden values.

        Raises:
            MissingDataError: they give others.
            UsageError: those of a network that is new here cannot be kept in the cache.
        """
        verification.verify_preprocessing(self._resize)
        verification.verify_features(self, self._cache)

    def features(self, images: np.ndarray) -> np.ndarray:
        """The features of `outputs`, float32 [n, d]."""
        return self.outputs(images).features

    def outputs(self, images: np.ndarray) -> Outputs:
        """What the network says of images.

        Args:
            images: [n, h, w, 1 or 3], uint8, or float32 in 0..255 where nothing was rounded; grey
                is copied to three channels.

        Raises:
            ValueError: no images, or of another type, shape or range.
        """
        preprocessing.check_images(images)
        starts = range(0, len(images), self._batch_size)
        with _exact_products():
            batches = [self._outputs(images[i : i + self._batch_size]) for i in starts]
        return Outputs(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))

    def _outputs(self, batch: np.ndarray) -> list[np.ndarray]:
        missing = self._batch_size - len(batch)
        padded = np.pad(batch.astype(np.float32), [(0, missing), (0, 0), (0, 0), (0, 0)])
        return [output.numpy()[: len(batch)] for output in self._extract(tf.constant(padded))]


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


def _load(source: str, cache: pathlib.Path) -> tuple[str, Callable]:
    """The folder of a network's SavedModel on this machine, and the network."""
    # The hub's own default is in /tmp, where cleaners leave half of it.
    os.environ.setdefault('TFHUB_CACHE_DIR', str(cache / 'tfhub'))
    packed = source.endswith(archives.SUFFIXES) and os.path.isfile(source)
    folder = source
    try:
        if packed:
            folder = str(archives.unpack(pathlib.Path(source), cache))
        else:
            folder = tensorflow_hub.resolve(source)
        return folder, tensorflow_hub.load(folder)
    except tf.errors.ResourceExhaustedError:  # says nothing of the network
        raise
    except Exception as error:  # urllib, tarfile, hub and TensorFlow each have errors of their own
        cure = _CURE
        if folder != source and packed:
            shutil.rmtree(folder, ignore_errors=True)  # nor does a bad one stay in the cache
        elif folder != source:
            cure = f'remove {folder} to have it fetched again; {_CURE}'
        raise MissingDataError(
            f'cannot load an Inception network from {source!r}: {_one_line(error)}; {cure}'
        ) from error


def _call(network: Callable, images: tf.Tensor) -> Mapping[str, tf.Tensor]:
    try:
        outputs = network(images)
    except (TypeError, ValueError) as error:
        raise MissingDataError(
            f'the Inception network does not take images {images.shape}: {_one_line(error)}; '
            f'{_CURE} that does'
        ) from error
    return outputs if isinstance(outputs, Mapping) else {}


def _vectors(outputs: Mapping[str, tf.Tensor], name: str, num: int) -> tf.Tensor:
    """The output of this name for `num` images, float32 [num, d]."""
    if name not in outputs:
        names = ', '.join(sorted(outputs)) or 'no named outputs'
        raise MissingDataError(
            f'the Inception network has no output {name!r}, only {names}; {_CURE} that has it'
        )
    output = outputs[name]
    sides = output.shape[1:-1] if output.shape.rank else ()
    if any(side not in (1, None) for side in sides):
        raise MissingDataError(
            f'output {name!r} of the Inception network is a map {output.shape}, not a vector for '
            f'each image; {_CURE} whose output is one'
        )
    return tf.reshape(tf.cast(output, tf.float32), [num, -1])


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
    # `fingerprint.pb` holds a random number of each export: it tells apart what computes the same.
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
