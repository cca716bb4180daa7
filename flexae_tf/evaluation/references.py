"""Real sides: real examples, codes of real examples, or statistics from a file."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from flexae_tf.data.batches import as_float
from flexae_tf.evaluation import image_sets, statistics_file
from flexae_tf.evaluation.context import Context
from flexae_tf.evaluation.image_sets import ImageSet
from flexae_tf.metrics.frechet import Moments, moments
from flexae_tf.metrics.pixels import postprocess_images
from flexae_tf.metrics.protocol import CODES, Protocol
from flexae_tf.metrics.table import Features
from flexae_tf.training.restore import Run


@dataclasses.dataclass(frozen=True)
class Reference:
    """The real side of a comparison.

    Attributes:
        protocol: protocol of the scores; each metric fills in its `estimator`.
        make: returns features or moments of the real side; called once, if a score needs them.
        extract: (examples, image set) -> features of a set that is compared with the real side.
    """

    protocol: Protocol
    make: Callable[[], Features | Moments]
    extract: Callable[[np.ndarray, ImageSet], Features]

    @functools.cached_property
    def features(self) -> Features | Moments:
        """Features or moments of the real side, computed once."""
        return self.make()


def image_reference(context: Context, raw: Protocol, x: np.ndarray) -> Reference:
    """Returns the reference for scores against real examples.

    Args:
        context: shared parts of the evaluation.
        raw: protocol of scores on raw values.
        x: the real examples [n, ...].
    """
    config, network, authors = context.config, context.network, context.config.protocol == 'authors'
    protocol = raw
    if raw.features == 'pixels':
        protocol = dataclasses.replace(
            raw,
            minmax_normalize=(
                authors if config.minmax_normalize is None else config.minmax_normalize
            ),
            quantization=config.quantization or ('none' if authors else 'uint8_round'),
        )
    if network:
        protocol = dataclasses.replace(
            protocol,
            features='inception',
            layer=network.layer,
            network=network.checksum,
            resize=network.resize,
            tfgan_network=network.is_tfgan,
        )

    def extract(examples: np.ndarray, image_set: ImageSet) -> Features:
        compute = context.real_features if image_set.is_real else context.own_features
        return compute(_postprocess(examples, protocol), label=image_set.label)

    label = f'{raw.split} examples'
    return Reference(protocol, lambda: context.real_features(x, label=label), extract)


def code_reference(context: Context, run: Run, raw: Protocol, x: np.ndarray) -> Reference:
    """Returns the reference for scores of the prior: codes of the real examples `x`."""
    method = run.method
    deterministic = method.method_spec.posterior == 'deterministic'
    critic = method.critic_distance if method.has_critic else None
    return Reference(
        dataclasses.replace(raw, features=CODES[deterministic]),
        lambda: Features(image_sets.codes_of_data(run, x, context.config, context.check_interrupt)),
        lambda z_hat, _: Features(z_hat, critic_distance=critic),
    )


def with_statistics(context: Context, reference: Reference) -> Reference:
    """Writes `--write_statistics`; replaces the real side by `--reference_statistics`."""
    config = context.config
    if config.write_statistics:
        statistics_file.save_statistics(
            config.write_statistics, moments(reference.features.rows), reference.protocol
        )
    if not config.reference_statistics:
        return reference
    statistics, digest = statistics_file.load_statistics(
        config.reference_statistics,
        reference.protocol,
        allow_unverified=config.allow_unverified_statistics,
    )
    protocol = reference.protocol.against_unverified(digest) if digest else reference.protocol
    return Reference(protocol, lambda: statistics, reference.extract)


def _postprocess(x: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Treats scored examples, or real ones in their place, as the protocol says."""
    if x.dtype == np.uint8:
        if not protocol.minmax_normalize:
            return x
        x = as_float(tf.constant(x)).numpy()
    return postprocess_images(
        x, quantization=protocol.quantization, minmax_normalize=protocol.minmax_normalize
    )
