"""Images -> features of an Inception network: TF-GAN's own, or any network with its interface.

The only module that uses TF-GAN. TF-GAN's network is the Inception graph of 2015-12-05, whose
pool_3 gives the FID of the literature (Heusel et al. 2017).
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

_ACTION = f'Give --inception_path a SavedModel folder or a {", ".join(archives.SUFFIXES)} file'


class Outputs(NamedTuple):
    """Outputs of a network for n images.

    Attributes:
        features: float32 [n, d].
        logits: of ImageNet's classes, float32 [n, classes]; None if the network is not TF-GAN's
            own, because the meaning of its logits is unknown.
    """

    features: np.ndarray
    logits: np.ndarray | None = None


class FeatureNetwork:
    """A network [n, 299, 299, 3] in [-1, 1) -> dict of outputs, loaded and traced once.

    Args:
        path: folder or archive (`archives.SUFFIXES`) of a SavedModel; None for TF-GAN's own network
            from its hub or from a filled TFHUB_CACHE_DIR.
        layer: name of any output of the network: 'pool_3', 'mixed_7', ...
        batch_size: images per call of the network; changes features by rounding only.
        resize: method of the resize to the network's size, a key of `preprocessing.RESIZES`.
        cache: folder kept between evaluations; None for `archives.default_cache()`.

    Attributes:
        source: handle or path of the network.
        layer: name of the output.
        resize: method and size of the resize, as in protocols: 'tf1_bilinear_299'.
        checksum: twelve hexadecimal digits of the SHA-256 of the files that TensorFlow reads from
            the SavedModel: graph, variables and assets.
        is_tfgan: whether this is TF-GAN's own network, the only one whose pool_3 gives an FID:
            loaded by its handle, or with the checksum of a network that was.

    Raises:
        ValueError: unknown resize.
        MissingDataError: the network is missing, or has another interface or no such output.
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
        self._network = network  # the graph does not keep the variables alive
        self.checksum = saved_model_checksum(folder)
        by_handle = self.source == tfgan.INCEPTION_TFHUB
        self.is_tfgan = by_handle or verification.is_tfgan(self.checksum, self._cache)
        names = [layer, tfgan.INCEPTION_OUTPUT] if self.is_tfgan else [layer]

        # Without autograph the errors below stay one line.
        @functools.partial(tf.function, autograph=False)
        def extract(images: tf.Tensor) -> list[tf.Tensor]:  # [batch_size, h, w, 1 or 3]
            outputs = _call(network, preprocessing.preprocess(images, resize, size))
            return [_vectors(outputs, name, batch_size) for name in names]  # [batch_size, d]

        # Traced here, so that an unusable network is refused before images are generated.
        signature = tf.TensorSpec([batch_size, None, None, None], tf.float32)
        self._extract = extract.get_concrete_function(signature)

    def describe(self) -> str:
        """Returns a description of the network and of the names of its scores."""
        own = "TF-GAN's own" if self.is_tfgan else "not TF-GAN's own"
        named = '' if self.is_tfgan else f' (scores are named fd_{self.layer}_..., not FID)'
        return (
            f'Inception network {self.source}: checksum {self.checksum}, layer {self.layer}, '
            f'resize {self.resize}, {own}{named}'
        )

    def verify(self) -> None:
        """Checks before any score that golden images give their golden values.

        Raises:
            MissingDataError: the values differ.
            UsageError: the values of a new network cannot be written to the cache.
        """
        verification.verify_preprocessing(self._resize)
        identity = verification.NetworkId(
            self.source, self.checksum, self.is_tfgan, self.layer, self.resize
        )
        features = self.features(verification.golden_images(4, (32, 32, 3)))
        verification.verify_features(features, identity, self._cache)

    def features(self, images: np.ndarray) -> np.ndarray:
        """Returns the features of images as `outputs` does, float32 [n, d]."""
        return self.outputs(images).features

    def outputs(self, images: np.ndarray) -> Outputs:
        """Returns the outputs of the network for images.

        Args:
            images: [n, h, w, 1 or 3], uint8, or float32 in 0..255 for unrounded images; grey is
                copied to three channels.

        Raises:
            ValueError: no images, or another type, shape or range.
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
    """Returns TF-GAN's `eval` sub-package: handle, size and output names of Inception; metrics.

    TF-GAN 2.1 as a whole needs `tf.estimator`, which TensorFlow 2.16 removed. So `eval` is imported
    below two parent packages that exist in `sys.modules` without being executed. They are removed
    afterwards, so a later `import tensorflow_gan` behaves as without this function.

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
    """Returns the local folder of a network's SavedModel, and the network."""
    # The hub's default is in /tmp, where cleaners remove single files.
    os.environ.setdefault('TFHUB_CACHE_DIR', str(cache / 'tfhub'))
    packed = source.endswith(archives.SUFFIXES) and os.path.isfile(source)
    folder = source
    try:
        if packed:
            folder = str(archives.unpack(pathlib.Path(source), cache))
        else:
            folder = tensorflow_hub.resolve(source)
        return folder, tensorflow_hub.load(folder)
    except tf.errors.ResourceExhaustedError:  # not an error of the network
        raise
    except Exception as error:  # urllib, tarfile, hub and TensorFlow each raise their own errors
        action = _ACTION
        if folder != source and packed:
            shutil.rmtree(folder, ignore_errors=True)  # no corrupt network stays in the cache
        elif folder != source:
            action = f'Remove {folder} to download it again. {_ACTION}'
        raise MissingDataError(
            f'{source!r}: cannot load an Inception network ({_one_line(error)}). {action}.'
        ) from error


def _call(network: Callable, images: tf.Tensor) -> Mapping[str, tf.Tensor]:
    try:
        outputs = network(images)
    except (TypeError, ValueError) as error:
        raise MissingDataError(
            f'--inception_path: the network does not take images {images.shape} '
            f'({_one_line(error)}). Choose another network.'
        ) from error
    return outputs if isinstance(outputs, Mapping) else {}


def _vectors(outputs: Mapping[str, tf.Tensor], name: str, num: int) -> tf.Tensor:
    """Returns the output `name` for `num` images, float32 [num, d]."""
    if name not in outputs:
        names = ', '.join(sorted(outputs)) or 'no named outputs'
        raise MissingDataError(
            f'--feature_layer={name}: the Inception network has no such output, only {names}. '
            'Choose one of these, or another --inception_path.'
        )
    output = outputs[name]
    sides = output.shape[1:-1] if output.shape.rank else ()
    if any(side not in (1, None) for side in sides):
        raise MissingDataError(
            f'--feature_layer={name}: the output is a map {output.shape}, not a vector for each '
            'image. Choose another layer, or another --inception_path.'
        )
    return tf.reshape(tf.cast(output, tf.float32), [num, -1])


def _one_line(error: Exception) -> str:
    return ' '.join(f'{type(error).__name__}: {error}'.split())[:300]


@contextlib.contextmanager
def _exact_products() -> Iterator[None]:
    """Computes in full float32, so that scores do not depend on the precision of training."""
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(enabled)


def saved_model_checksum(folder: str) -> str:
    """Returns `FeatureNetwork.checksum` of the SavedModel in a folder."""
    # `fingerprint.pb` holds a random number of each export and is left out.
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
