"""Real sides: real examples, codes of real examples, or statistics from a file."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from flexae_tf.config import EvaluateConfig
from flexae_tf.data import fingerprint
from flexae_tf.data.batches import as_float
from flexae_tf.data.stored_rows import StoredRows
from flexae_tf.evaluation import image_sets, statistics_file
from flexae_tf.evaluation.context import Context
from flexae_tf.evaluation.feature_network import FeatureNetwork
from flexae_tf.evaluation.image_sets import ImageSet
from flexae_tf.metrics import table
from flexae_tf.metrics.frechet import Moments, moments
from flexae_tf.metrics.pixels import nearest_distances, postprocess_images
from flexae_tf.metrics.protocol import CODES, Protocol
from flexae_tf.metrics.table import Features, Metric
from flexae_tf.training.restore import Run


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """The real side of a comparison, and the metrics that compare.

    Attributes:
        protocol: protocol of the scores; each metric fills in its `estimator`.
        metrics: the metrics to compute.
        make: returns features or moments of the real side; called once, if a score needs them.
        extract: (examples, image set) -> features of a set that is compared with the real side.
    """

    protocol: Protocol
    metrics: Sequence[Metric]
    make: Callable[[], Features | Moments]
    extract: Callable[[np.ndarray, ImageSet], Features]

    @functools.cached_property
    def features(self) -> Features | Moments:
        """Features or moments of the real side, computed once."""
        features = self.make()
        biased = [metric.name for metric in self.metrics if metric.needs_full_rank]
        if isinstance(features, Features):
            dim, action = features.rows.shape[1], 'Score more examples or use --metrics=kid.'
        else:
            dim, action = features.mean.size, 'Use statistics of more examples.'
        num = self.protocol.num
        if biased and num <= dim:
            print(
                f'WARNING: {", ".join(biased)}: {num} examples on each side, but features have '
                f'{dim} dimensions, so the distance is mostly bias. {action}',
                flush=True,
            )
        return features


def example_reference(context: Context, raw: Protocol, x: np.ndarray | None) -> Reference:
    """Returns the reference for scores against real examples, by features of the network if any.

    Writes `--write_statistics`, and uses `--reference_statistics` instead of the real features.

    Args:
        context: shared parts of the evaluation.
        raw: protocol of scores on raw values.
        x: the real examples [n, ...]; None if only their statistics are known.
    """
    config, network = context.config, context.network
    protocol = _treated(config, raw)
    if network:
        protocol = dataclasses.replace(protocol, **_network_fields(network))

    def extract(examples: np.ndarray, image_set: ImageSet) -> Features:
        compute = context.real_features if image_set.is_real else context.own_features
        return compute(_postprocess(examples, protocol), label=image_set.label)

    reference = Reference(
        protocol,
        _metrics_of_examples(context, protocol.num),
        lambda: context.real_features(x, label=f'{raw.split} examples'),
        extract,
    )
    if config.write_statistics:
        statistics_file.save_statistics(
            config.write_statistics, moments(reference.features.rows), protocol
        )
    if not config.reference_statistics:
        return reference
    return _with_statistics(config, reference)


def _with_statistics(config: EvaluateConfig, reference: Reference) -> Reference:
    """Returns the reference with `--reference_statistics` in place of features of real examples."""
    path = config.reference_statistics
    statistics = statistics_file.read_statistics(
        path, allow_unverified=config.allow_unverified_statistics
    )
    protocol = reference.protocol
    if statistics.protocol:
        statistics_file.check_statistics(path, statistics.protocol, protocol)
    else:
        protocol = protocol.against_unverified(statistics.digest)
    return dataclasses.replace(reference, protocol=protocol, make=lambda: statistics.moments)


def pair_reference(context: Context, raw: Protocol, x: np.ndarray) -> Reference:
    """Returns the reference for scores of pairs: pixels of the real images, for every network."""
    protocol = _treated(context.config, raw)
    return Reference(
        protocol,
        table.select_of_pairs(context.config.metric_names(), x.shape[1:]),
        lambda: Features(x),
        lambda x_hat, _: Features(_postprocess(x_hat, protocol)),
    )


def training_reference(
    context: Context, raw: Protocol, x: np.ndarray, train: np.ndarray | StoredRows
) -> Reference:
    """Returns the reference for scores of memorization: distances to the nearest training images.

    All images are rounded and not stretched, for every network and every treatment of fakes.

    Args:
        context: shared parts of the evaluation.
        raw: protocol of scores on raw values.
        x: the real examples [n, ...].
        train: the training examples [k, ...].
    """
    names = context.config.metric_names()
    metrics = table.select_of_training_distances(names, x.shape[1:], split=raw.split)

    def distances(images: np.ndarray) -> Features:
        return Features(nearest_distances(images, train)[:, None])

    return Reference(
        dataclasses.replace(raw, train=fingerprint(train)) if metrics else raw,
        metrics,
        lambda: distances(x),
        lambda examples, _: distances(_postprocess(examples, raw)),
    )


def code_reference(context: Context, run: Run, raw: Protocol, x: np.ndarray) -> Reference:
    """Returns the reference for scores of the prior: codes of the real examples `x`."""
    method = run.method
    deterministic = method.method_spec.posterior == 'deterministic'
    critic = method.critic_distance if method.has_critic else None
    return Reference(
        dataclasses.replace(raw, features=CODES[deterministic]),
        table.select_of_codes(context.config.metric_names(), has_critic=method.has_critic),
        lambda: Features(image_sets.codes_of_data(run, x, context.config)),
        lambda z_hat, _: Features(z_hat, critic_distance=critic),
    )


def _metrics_of_examples(context: Context, num: int) -> list[Metric]:
    """Returns the metrics of sets of `num` examples."""
    config, network = context.config, context.network
    return table.select(
        config.metric_names(),
        num=num,
        has_logits=network is not None and network.has_logits,
        moments=config.reference_statistics is not None,
    )


def _network_fields(network: FeatureNetwork) -> dict[str, Any]:
    """Returns the fields of a protocol that a feature network determines."""
    return dict(
        features='network' if network.name else 'inception',
        layer=network.layer,
        network=network.checksum,
        network_name=network.name,
        resize=network.resize,
        tfgan_network=network.is_tfgan,
    )


def _treated(config: EvaluateConfig, raw: Protocol) -> Protocol:
    """Returns the protocol with the treatment of scored images; vectors are not treated."""
    if raw.features == 'vectors':
        return raw
    authors = config.protocol == 'authors'
    stretched = authors if config.minmax_normalize is None else config.minmax_normalize
    rounding = config.quantization or ('none' if authors else 'uint8_round')
    return dataclasses.replace(raw, minmax_normalize=stretched, quantization=rounding)


def _postprocess(x: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Treats scored examples, or real ones in their place, as the protocol says."""
    if x.dtype == np.uint8:
        if not protocol.minmax_normalize:
            return x
        x = as_float(tf.constant(x)).numpy()
    return postprocess_images(
        x, quantization=protocol.quantization, minmax_normalize=protocol.minmax_normalize
    )
