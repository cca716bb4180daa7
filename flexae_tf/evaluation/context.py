"""The parts that all sets of an evaluation share: score log, feature network, feature folders."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable

from flexae_tf.config import EvaluateConfig
from flexae_tf.errors import UsageError
from flexae_tf.evaluation import statistics_file
from flexae_tf.evaluation.feature_network import FeatureNetwork
from flexae_tf.evaluation.features import BLOCK, NetworkFeatures, RawFeatures
from flexae_tf.evaluation.score_log import ScoreLog
from flexae_tf.evaluation.summaries import ScoreSummaries
from flexae_tf.metrics.protocol import Protocol
from flexae_tf.metrics.table import Features
from flexae_tf.training.distribution import choose_strategy
from flexae_tf.training.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Context:
    """The parts that all sets of an evaluation share.

    Attributes:
        config: options of the evaluation.
        log: receives the scores.
        summaries: shows the scores in TensorBoard.
        network: feature network; None for raw values.
        real_features: extracts features of real examples, stored for all runs.
        own_features: extracts features of the scored examples.
    """

    config: EvaluateConfig
    log: ScoreLog
    summaries: ScoreSummaries
    network: FeatureNetwork | None
    real_features: Callable[..., Features]
    own_features: Callable[..., Features]


def prepare(
    config: EvaluateConfig,
    workdir: Workdir | None,
    *,
    images: bool,
    measured: Protocol | None = None,
) -> Context:
    """Opens the log, loads and verifies the feature network.

    Args:
        config: options of the evaluation.
        workdir: of the run whose sets are scored; None for images from files, whose scores go only
            to `--output_file`.
        images: whether examples are images, not vectors.
        measured: protocol of statistics whose feature space is the default; None for the defaults
            of the options.
    """
    output_file = _output_file(config)
    if config.write_statistics:
        statistics_file.check_writable(config.write_statistics)
    log = ScoreLog(
        workdir.scores if workdir else output_file,
        request=config.identity_hash(),
        also_write_to=output_file if workdir else None,
    )
    network = _load_network(config, images=images, measured=measured)
    if network:
        with contextlib.suppress(OSError):  # a cache that is read-only may have all features
            network.cache.mkdir(parents=True, exist_ok=True)
        own_folder = (workdir.path if workdir else network.cache) / 'features'
        real_features = NetworkFeatures(network, network.cache / 'features', config.batch_size)
        own_features = NetworkFeatures(network, own_folder, config.batch_size)
    else:
        real_features = own_features = RawFeatures()
    summaries = ScoreSummaries(workdir)
    return Context(config, log, summaries, network, real_features, own_features)


def _output_file(config: EvaluateConfig) -> pathlib.Path | None:
    """Returns `--output_file`, which must not be the score log of a run."""
    if not config.output_file:
        return None
    path = pathlib.Path(config.output_file)
    owner = Workdir(path.resolve().parent)
    if path.resolve() == owner.scores and (owner.path / 'config.json').exists():
        raise UsageError(
            f'--output_file={path}: holds the scores of the run {owner.path}. Use another file.'
        )
    return path


def _load_network(
    config: EvaluateConfig, *, images: bool, measured: Protocol | None
) -> FeatureNetwork | None:
    """Returns the feature network, verified; None if raw values are compared."""
    raw = not images or (measured is not None and measured.network is None)
    if config.features == 'pixels' or (config.features == 'auto' and raw):
        return None
    if not images:
        raise UsageError(
            '--features=inception: the examples are vectors, not images. Use --features=pixels.'
        )
    layer, resize = config.feature_layer, config.resize
    if measured and measured.network_name and not config.feature_network:
        raise UsageError(
            f'--reference_statistics: describes features of {measured.network_name}. Add '
            '--feature_network.'
        )
    if measured and measured.network:
        given = config.changed()
        layer = given.get('feature_layer', measured.layer)
        resize = given.get('resize', measured.resize.rpartition('_')[0])
    network = FeatureNetwork(
        config.inception_path,
        layer,
        min(config.batch_size, BLOCK),
        declared=config.feature_network,
        resize=resize,
        cache=pathlib.Path(config.cache_dir) if config.cache_dir else None,
        strategy=choose_strategy(config.distribution),
    )
    print(network.describe(), flush=True)
    network.verify()
    return network
