"""Images -> features of a network: Inception, or any network with a declaration.

Only pool_3 of the Inception graph of 2015-12-05 gives the FID of the literature (Heusel et al.
2017). Its content proves that a network is this graph; see `verification.identify`.
"""

import contextlib
import functools
import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flexae_tf import shutdown
from flexae_tf.data.batches import ParallelFunction
from flexae_tf.errors import MissingDataError
from flexae_tf.evaluation import (
    archives,
    declaration,
    network_files,
    network_graphs,
    preprocessing,
    tfgan,
    verification,
)


class Outputs(NamedTuple):
    """Outputs of a network for n images.

    Attributes:
        features: float32 [n, d].
        logits: of ImageNet's classes, float32 [n, classes]; None if they are not known to be the
            logits of the Inception graph of 2015.
    """

    features: np.ndarray
    logits: np.ndarray | None = None


class FeatureNetwork:
    """A network from images to features, loaded and traced once.

    Args:
        path: Inception network: SavedModel folder, frozen graph, or archive of one; None for the
            default network (`network_files.default`).
        layer: name of an output: 'pool_3', 'mixed_7', ...; None for the network's default.
        batch_size: images per call of the network on each device; changes features by rounding
            only.
        declared: folder of another network with a declaration, in place of Inception.
        resize: method of the resize to the size of Inception, a key of `preprocessing.RESIZES`.
        cache: folder kept between evaluations; None for `archives.default_cache()`.
        strategy: devices that share the images; None for one device.

    Attributes:
        files: files of the network.
        cache: folder kept between evaluations.
        name: name in the declaration; None for Inception.
        layer: name of the output.
        resize: method and size of the resize, as in protocols: 'tf1_bilinear_299'.
        checksum: twelve hexadecimal digits that identify the network by its content.
        is_tfgan: whether pool_3 is proven to be the one of the Inception graph of 2015, the only
            one that gives an FID.
        has_logits: whether logits are proven to be the ones of that graph.
        num_devices: number of devices that share the images.

    Raises:
        ValueError: unknown resize.
        MissingDataError: the network is missing, or has another interface or no such output.
    """

    def __init__(
        self,
        path: str | None,
        layer: str | None,
        batch_size: int,
        *,
        declared: str | None = None,
        resize: str = 'tf1_bilinear',
        cache: pathlib.Path | None = None,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        if resize not in preprocessing.RESIZES:
            choices = ', '.join(preprocessing.RESIZES)
            raise ValueError(f'resize={resize!r}: choose one of {choices}')
        self.cache = cache or archives.default_cache()
        self._batch_size = batch_size
        self._strategy = strategy or tf.distribute.get_strategy()
        if declared is not None:
            self._input, self.files = network_files.from_declaration(declared, self.cache)
        else:
            self._input = declaration.inception(resize)
            self.files = (
                network_files.default(self.cache)
                if path is None
                else network_files.from_path(path, self.cache)
            )
        self._network = self._load()
        self.name = self._input.name
        self.resize = f'{self._input.resize}_{self._input.image_size}'
        identity = verification.Identity(frozenset(), self.files.checksum)
        if declared is None:
            identity = verification.identify(self.files, self._golden_features)
        self.is_tfgan = tfgan.FINAL_POOL in identity.proven
        self.has_logits = tfgan.LOGITS in identity.proven
        # Traced here, so that an unusable network is refused before images are generated.
        self.layer = layer or self._input.layer or self._only_output()
        names = [self.layer, tfgan.LOGITS] if self.has_logits else [self.layer]
        self._extract = self._trace(names)
        self.num_devices = self._extract.num_devices
        self.checksum = identity.checksum if self.layer in identity.proven else self.files.checksum

    def describe(self) -> str:
        """Returns a description of the network and of the names of its scores."""
        if self.name:
            kind, names = 'Feature', f'scores are named fd_{self.name}_{self.layer}_...'
        elif self.is_tfgan:
            kind, names = 'Inception', 'identified as the Inception graph of 2015'
        else:
            kind = 'Inception'
            names = (
                f'not identified as the Inception graph of 2015 (scores are named fd_{self.layer}_'
                f'..., not FID; {network_files.ARCHIVE} and networks with a golden record in the '
                'package are identified)'
            )
        return (
            f'{kind} network {self.files.source}: checksum {self.checksum}, layer {self.layer}, '
            f'resize {self.resize}, {names}'
        )

    def verify(self) -> None:
        """Checks before any score that golden images give their golden values on every device.

        Raises:
            MissingDataError: the values differ.
        """
        verification.verify_preprocessing(self._input.resize)
        golden = verification.golden_inputs(self._input.image_size)
        for device in range(self.num_devices):
            before = device * self._batch_size
            images = np.pad(golden, [(before, 0), (0, 0), (0, 0), (0, 0)])
            features = self.features(images)[before:]
            verification.verify_features(features, self.layer, self.files, self.cache)

    def golden_record(self) -> str:
        """Returns a record of golden features that can be added to the package, as JSON."""
        features = {layer: self._golden_features(layer) for layer in verification.RECORDED_LAYERS}
        return verification.record(self.files, features, is_tfgan=self.is_tfgan)

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
        return Outputs(*self._run(self._extract, images))

    def _run(self, extract: ParallelFunction, images: np.ndarray) -> list[np.ndarray]:
        preprocessing.check_images(images)
        batches = []
        step = self._batch_size * extract.num_devices
        with _exact_products():
            for start in range(0, len(images), step):
                shutdown.check()
                rows = images[start : start + step].astype(np.float32)
                batches += self._checked(extract, rows)
        return [np.concatenate(parts)[: len(images)] for parts in zip(*batches, strict=True)]

    def _checked(self, extract: ParallelFunction, images: np.ndarray) -> list[list[np.ndarray]]:
        """Returns outputs of each device, padding included; a network may compute anything."""
        shape = (self._batch_size, *images.shape[1:])
        try:
            results = extract.on_each(images, self._batch_size)
            batches = [[output.numpy() for output in outputs] for outputs in results]
        except tf.errors.ResourceExhaustedError:
            raise
        except tf.errors.OpError as error:
            raise self._unusable(shape, network_files.one_line(error)) from error
        for output in itertools.chain(*batches):
            if len(output) != self._batch_size or not output.shape[1]:
                raise self._unusable(shape, f'it returns {list(output.shape)}')
        return batches

    def _unusable(self, shape: Sequence[int], problem: str) -> MissingDataError:
        return MissingDataError(
            f'{self.files.flag}: the network does not take images {shape} ({problem}). Choose '
            'another network.'
        )

    def _golden_features(self, layer: str) -> np.ndarray | None:
        """Returns the features of golden images; None if the network has no such layer."""
        try:
            extract = self._trace([layer])
        except MissingDataError:
            return None
        return self._run(extract, verification.golden_inputs(self._input.image_size))[0]

    def _load(self) -> network_graphs.Network:
        files = self.files
        try:
            with (
                network_files.reported(files.flag, files.source, files.remedy),
                self._strategy.scope(),
            ):
                return network_graphs.load(files.path)
        except MissingDataError:
            network_files.discard_unpacked(files, self.cache)
            raise

    def _trace(self, names: Sequence[str]) -> ParallelFunction:
        """Returns a function of images [batch_size, h, w, 1 or 3] that returns named outputs."""
        signature = tf.TensorSpec([self._batch_size, None, None, None], tf.float32)

        # Without autograph the errors below stay one line.
        @functools.partial(tf.function, autograph=False, input_signature=[signature])
        def extract(images: tf.Tensor) -> list[tf.Tensor]:
            outputs = self._call(images, names)
            return [self._vectors(outputs[name], name) for name in names]

        parallel = ParallelFunction(extract, self._strategy)
        parallel.trace()
        return parallel

    def _only_output(self) -> str:
        """Returns the name of the only output of the network."""
        found = []

        @functools.partial(tf.function, autograph=False)
        def look(images: tf.Tensor) -> None:
            found.extend(self._call(images, None))

        look.get_concrete_function(tf.TensorSpec([self._batch_size, 8, 8, 3], tf.float32))
        if len(found) != 1:
            raise MissingDataError(
                f'--feature_layer: not set, and the network has the outputs '
                f'{", ".join(sorted(found))}. Choose one of these.'
            )
        return found[0]

    def _call(self, images: tf.Tensor, names: Sequence[str] | None) -> dict[str, tf.Tensor]:
        size = self._input.image_size
        prepared = preprocessing.preprocess(
            images, self._input.resize, size, self._input.value_range
        )
        try:
            return self._network(prepared, names)
        except network_graphs.UnknownOutputError as error:
            raise MissingDataError(
                f'--feature_layer={",".join(names)}: the network has no such output, only {error}. '
                f'Choose one of these, or another {self.files.flag}.'
            ) from None
        except (TypeError, ValueError, tf.errors.OpError) as error:
            raise self._unusable(prepared.shape, network_files.one_line(error)) from error

    def _vectors(self, output: tf.Tensor, name: str) -> tf.Tensor:
        """Returns an output as float32 [batch_size, d]."""
        if not isinstance(output, tf.Tensor):
            raise MissingDataError(
                f'--feature_layer={name}: the output is a {type(output).__name__}, not a vector '
                f'for each image. Choose another layer, or another {self.files.flag}.'
            )
        shape = output.shape
        is_number = output.dtype.is_floating or output.dtype.is_integer
        is_vector = shape.rank is None or (
            shape.rank > 0
            and shape[0] in (self._batch_size, None)
            and all(side in (1, None) for side in shape[1:-1])
        )
        if not (is_number and is_vector):
            raise MissingDataError(
                f'--feature_layer={name}: the output is {output.dtype.name} {shape}, not a vector '
                f'for each image. Choose another layer, or another {self.files.flag}.'
            )
        sides = tf.shape(output)
        # The number of rows is checked later: -1 would hide a wrong one.
        rows = [sides[0], tf.reduce_prod(sides[1:])]
        return tf.reshape(tf.cast(output, tf.float32), rows)


@contextlib.contextmanager
def _exact_products() -> Iterator[None]:
    """Computes in full float32, so that scores do not depend on the precision of training."""
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(enabled)
