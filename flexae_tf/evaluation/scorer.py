"""What every evaluation needs, made from its options: the network, features, metrics, judges."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from flexae_tf.config import EvaluateConfig
from flexae_tf.data.batches import as_float
from flexae_tf.errors import UsageError
from flexae_tf.evaluation import archives, statistics_file
from flexae_tf.evaluation.features import BLOCK, Features, NetworkFeatures, RawFeatures
from flexae_tf.evaluation.inception import Inception
from flexae_tf.evaluation.judge import Judge
from flexae_tf.evaluation.score_log import ScoreLog
from flexae_tf.metrics.frechet import moments
from flexae_tf.metrics.pixels import postprocess_images
from flexae_tf.metrics.protocol import Protocol
from flexae_tf.metrics.table import METRICS, Metric


class Scorer:
    """The parts of an evaluation.

    Args:
        config: the options.
        images: whether examples are images, not vectors.
        log: where scores go.
        check: called often; raises when the program is to stop.
        own: folder for features of what is judged; those of real images go to the cache.

    Raises:
        UsageError: a network was asked for to compare vectors.
        MissingDataError: no network, or not one that can be trusted.
    """

    def __init__(
        self,
        config: EvaluateConfig,
        *,
        images: bool,
        log: ScoreLog,
        check: Callable[[], None],
        own: pathlib.Path | None = None,
    ) -> None:
        self._config = config
        self._images = images
        self._log = log
        self._check = check
        cache = pathlib.Path(config.cache_dir or archives.default_cache())
        self.network = self._load_network(cache)
        self.real_features = self._extractor(cache / 'features')
        self.features = self._extractor(own or cache / 'features')

    def protocol(self, examples: Protocol) -> Protocol:
        """The protocol of scores of these examples: finished and compared as the options say."""
        config, authors = self._config, self._config.protocol == 'authors'
        if self._images:
            examples = dataclasses.replace(
                examples,
                minmax_normalize=authors
                if config.minmax_normalize is None
                else config.minmax_normalize,
                quantization=config.quantization or ('none' if authors else 'uint8_round'),
            )
        return examples.on_network(self.network) if self.network else examples

    def postprocess_images(self, x: np.ndarray, protocol: Protocol) -> np.ndarray:
        """Fakes, or real images in the place of fakes, as `protocol` has them scored."""
        if x.dtype == np.uint8:
            if not protocol.minmax_normalize:
                return x  # rounded or not, they are what they are
            x = as_float(tf.constant(x)).numpy()
        return postprocess_images(
            x, quantization=protocol.quantization, minmax_normalize=protocol.minmax_normalize
        )

    def metrics(self, num: int) -> dict[str, Metric]:
        """The metrics that were asked for, or that apply to sets of `num` examples.

        Raises:
            UsageError: one was asked for that does not apply.
        """
        classifies = self.network is not None and self.network.is_tfgan
        asked = self._config.metrics.split(',') if self._config.metrics else []
        if 'inception_score' in asked and not classifies:
            raise UsageError(
                "--metrics=inception_score is of TF-GAN's own network alone: leave it out"
            )
        for name in asked:
            if num < METRICS[name].minimum:
                raise UsageError(
                    f'--metrics={name} needs at least {METRICS[name].minimum} examples on each '
                    f'side, not {num}: score more, or choose others'
                )
        if not asked and (self._config.protocol == 'authors' or self._config.reference_statistics):
            asked = ['fd']
        applying = {
            name: metric
            for name, metric in METRICS.items()
            if num >= metric.minimum and (name != 'inception_score' or classifies)
        }
        return {name: applying[name] for name in asked or applying}

    def judge(self, protocol: Protocol, real: Callable[[], Features]) -> Judge:
        """The judge of `protocol`."""
        return Judge(self._config, protocol, real, log=self._log, check=self._check)

    def final_judge(self, protocol: Protocol, real: Callable[[], Features]) -> Judge:
        """The judge of the scores that were asked for.

        Its real side may be a file of statistics; or is written to one.

        Raises:
            UsageError: statistics of another protocol, or a file that cannot be written.
            MissingDataError: no statistics where they should be.
        """
        config = self._config
        if config.write_statistics:
            statistics_file.save_statistics(config.write_statistics, moments(real().rows), protocol)
        if not config.reference_statistics:
            return self.judge(protocol, real)
        statistics, digest = statistics_file.load_statistics(
            config.reference_statistics, protocol, foreign=config.allow_unverified_statistics
        )
        if digest:
            protocol = protocol.against_foreign(digest)
        return self.judge(protocol, lambda: statistics)

    def _load_network(self, cache: pathlib.Path) -> Inception | None:
        """The network that images are compared by, verified; None for their raw values."""
        config = self._config
        if config.features == 'pixels' or (config.features == 'auto' and not self._images):
            return None
        if not self._images:
            raise UsageError('--features=inception is for images; vectors have --features=pixels')
        network = Inception(
            config.inception_path,
            config.feature_layer,
            min(config.batch_size, BLOCK),
            resize=config.resize,
            cache=cache,
        )
        print(network.describe(), flush=True)
        network.verify()
        return network

    def _extractor(self, folder: pathlib.Path) -> Callable[..., Features]:
        if not self.network:
            return RawFeatures()
        return NetworkFeatures(
            self.network, folder, batch_size=self._config.batch_size, check=self._check
        )
