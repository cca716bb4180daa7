"""The evaluation program: images -> features -> scores in scores.jsonl."""

import dataclasses
import functools
import pathlib
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import EvaluateConfig
from flexae_tf.data import fingerprint
from flexae_tf.data.batches import as_float
from flexae_tf.densities import densities
from flexae_tf.errors import CorruptRunError, MissingDataError, NonFiniteLossError, UsageError
from flexae_tf.evaluation import archives, image_sets, statistics_file
from flexae_tf.evaluation.feature_network import FeatureNetwork
from flexae_tf.evaluation.features import BLOCK, NetworkFeatures, RawFeatures
from flexae_tf.evaluation.image_sets import ImageSet, ModelId
from flexae_tf.evaluation.score_log import ScoreLog, score_id
from flexae_tf.evaluation.summaries import ScoreSummaries
from flexae_tf.metrics import table
from flexae_tf.metrics.frechet import Moments, moments
from flexae_tf.metrics.pixels import postprocess_images
from flexae_tf.metrics.protocol import CODES, Protocol, raw_protocol
from flexae_tf.metrics.table import SELECTION_METRIC, Features, Metric, MetricResult
from flexae_tf.training import distribution
from flexae_tf.training.restore import Run, open_run, saved_steps
from flexae_tf.training.shutdown import GracefulShutdown
from flexae_tf.training.workdir import Workdir

# First step of the "late" checkpoints as a share of the newest: the authors select among the
# checkpoints of iterations 80000 to 130000.
LATE = 8 / 13


def evaluate(config: EvaluateConfig) -> None:
    """Scores a run, or two sets of images.

    Reconstructions, samples and as many training examples are each compared with the same real
    examples. Codes of the real examples are compared with codes of the prior. Features and scores
    are stored, so the same command continues an interrupted evaluation and prints recorded scores.

    Raises:
        UserError: an error that the user can fix.
        Interrupted: SIGTERM or Ctrl-C was received.
    """
    for name in _metric_names(config):
        table.find(name)
    print(distribution.choose_devices(config.device), flush=True)
    with GracefulShutdown() as shutdown:
        check_interrupt = functools.partial(shutdown.check, 'between batches')
        if config.workdir:
            _evaluate_run(config, check_interrupt)
        else:
            _evaluate_files(config, check_interrupt)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f'peak memory {peak:.1f} GB')


@dataclasses.dataclass(frozen=True)
class Context:
    """The parts that all sets of an evaluation share.

    Attributes:
        config: options of the evaluation.
        log: receives the scores.
        summaries: writes the scores to TensorBoard.
        network: feature network; None for raw values.
        real_features: extracts features of real examples, stored for all runs.
        own_features: extracts features of the scored examples.
        check_interrupt: called between batches and metrics; raises `Interrupted` after a signal.
    """

    config: EvaluateConfig
    log: ScoreLog
    summaries: ScoreSummaries
    network: FeatureNetwork | None
    real_features: Callable[..., Features]
    own_features: Callable[..., Features]
    check_interrupt: Callable[[], None]


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


def _evaluate_run(config: EvaluateConfig, check_interrupt: Callable[[], None]) -> None:
    started = time.monotonic()

    # 1. The run, its data and the feature network.
    workdir = Workdir(config.workdir)
    run_config, spec = workdir.read()
    if config.data_dir:
        run_config = dataclasses.replace(run_config, data_dir=config.data_dir)
    selection = config.checkpoint or ('late' if config.protocol == 'authors' else 'last')
    steps = _candidate_steps(selection, saved_steps(config.workdir))
    context = _prepare(config, workdir, check_interrupt, images=spec.kind == 'images')
    dataset = data.load(run_config)
    workdir.check_examples(dataset)

    # 2. The real side.
    x = image_sets.real_examples(dataset, config.split, config.num_examples)
    metrics = _metrics(context, len(x))
    raw = raw_protocol(run_config, spec, split=config.split, x=x)
    reference = _with_statistics(context, _image_reference(context, raw, x))

    # 3. The checkpoint, if validation examples select it.
    selected_by = None
    if selection == 'best_validation':
        selected_by = selection
        held_out = image_sets.real_examples(dataset, 'validation', config.num_examples)
        protocol = raw_protocol(run_config, spec, split='validation', x=held_out)
        validation = _image_reference(context, protocol, held_out)
        steps = [_best_step(context, steps, dataset, held_out, validation)]

    # 4. Reconstructions, samples and codes of every checkpoint.
    newest = ModelId()
    distances: dict[str, list[dict[str, Any]]] = {'reconstructions': [], 'samples': []}
    for run in _open_runs(config, steps):
        if {'samples', 'latents'} & set(_sets(config)):
            run = _with_density(context, run, dataset)
        newest = ModelId(run.step, run.digest, run.config.seed, selected_by, run.density)
        for image_set in image_sets.of_run(run, x, newest, config, check_interrupt):
            values = _score(context, image_set, reference, metrics)
            if SELECTION_METRIC.name in values:
                identity = _identity(image_set, reference.protocol, bootstrap=config.bootstrap)
                value = {'value': values[SELECTION_METRIC.name]}
                distances[image_set.name].append(identity | value)
        if 'latents' in _sets(config):
            codes = image_sets.codes_of_prior(run, 2 * len(x), newest, config)
            code_metrics = table.select_of_codes(
                _metric_names(config), has_critic=run.method.has_critic
            )
            _score(context, codes, _code_reference(context, run, raw, x), code_metrics)

    # 5. The minimum over checkpoints, as the authors report it.
    if config.protocol == 'authors' and selection in ('late', 'all'):
        for candidates in filter(None, distances.values()):
            _record_minimum(context, candidates, reference.protocol, among=selection)

    # 6. Training examples, a practical lower bound.
    if 'train' in _sets(config):
        train = image_sets.train_examples(dataset, len(x), split=config.split, seed=run_config.seed)
        if train:
            _score(context, train, reference, metrics)

    context.log.complete(
        step=newest.step, checkpoint=newest.checkpoint, seconds=time.monotonic() - started
    )


def _evaluate_files(config: EvaluateConfig, check_interrupt: Callable[[], None]) -> None:
    real, fake, others = image_sets.from_files(config)
    context = _prepare(config, None, check_interrupt, images=True)
    if not context.network and real.shape[1:] != fake.shape[1:]:
        raise UsageError(
            f'--real={config.real}: images {real.shape[1:]}, but {fake.shape[1:]} in '
            f'--fake={config.fake}. Make the shapes equal or use --features=inception.'
        )
    metrics = _metrics(context, len(real))
    raw = Protocol(dataset='folder', split='all', num=len(real), data=fingerprint(real))
    reference = _with_statistics(context, _image_reference(context, raw, real))
    model = ModelId(checkpoint=fingerprint(fake))
    _score(context, ImageSet('fake', 'images', model, lambda _: fake), reference, metrics)
    if others is not None:
        further = ImageSet('real', 'further real images', ModelId(), lambda _: others)
        _score(context, further, reference, metrics)


def _score(
    context: Context, image_set: ImageSet, reference: Reference, metrics: Sequence[Metric]
) -> dict[str, float]:
    """Scores a set by every metric: prints recorded scores, computes and records the others.

    Returns:
        Values by stem.

    Raises:
        NonFiniteLossError: a score is not finite; no score of its metric is recorded.
    """
    values: dict[str, float] = {}
    missing = []
    for metric in metrics:
        estimator = metric.estimator.replace('{checkpoint}', str(image_set.model.checkpoint))
        protocol = dataclasses.replace(reference.protocol, estimator=estimator)
        resamples = context.config.bootstrap if metric.bootstrap_sd else 0
        identity = _identity(image_set, protocol, bootstrap=resamples)
        recorded = context.log.show_recorded(identity)
        values |= recorded
        if not recorded:
            missing.append((metric, protocol, identity))
    if not missing:
        return values

    sets = [
        reference.extract(image_set.make(repeat), image_set) for repeat in range(image_set.repeats)
    ]
    for metric, protocol, identity in missing:
        context.check_interrupt()
        real, started = reference.features, time.monotonic()
        results = [metric.compute(real, features) for features in sets]
        bootstrap_sd = None
        if identity['bootstrap'] and isinstance(real, Features):
            bootstrap_sd = metric.bootstrap_sd(
                real.rows,
                sets[0].rows,
                num_resamples=identity['bootstrap'],
                paired=image_set.paired,
            )
        seconds = time.monotonic() - started
        if results[0].curve:
            name = protocol.name(image_set.name, metric.name)
            context.summaries.write_curve(name, protocol.id, image_set.model.step, results[0].curve)
        values |= _record(context, identity, protocol, results, bootstrap_sd, seconds)
    return values


def _identity(image_set: ImageSet, protocol: Protocol, *, bootstrap: int) -> dict[str, Any]:
    """Returns everything except the stem that distinguishes a score from others of the run."""
    return {
        'set': image_set.name,
        'step': image_set.model.step,
        'checkpoint': image_set.model.checkpoint,
        'seed': image_set.model.seed,
        'density': image_set.model.density,
        'sample_seed': image_set.sample_seed,
        'repeats': image_set.repeats,
        'bootstrap': bootstrap,
        'n': protocol.num,
        'split': protocol.split,
        'selection': image_set.model.selection,
        'protocol': protocol.id,
    }


def _record(
    context: Context,
    identity: dict[str, Any],
    protocol: Protocol,
    results: Sequence[MetricResult],
    bootstrap_sd: float | None,
    seconds: float,
) -> dict[str, float]:
    """Records the scores of one metric; returns their values, means over the repeats, by stem."""
    single = len(results) == 1
    records = []
    for stem in results[0].values:
        values = [result.values[stem] for result in results]
        record = {
            'metric': protocol.name(identity['set'], stem),
            'stem': stem,
            'value': float(np.mean(values)),
            'sd': None if single else float(np.std(values, ddof=1)),
            'estimator_sd': results[0].estimator_sd.get(stem) if single else None,
            'bootstrap_sd': bootstrap_sd,  # only of the first set
            'seconds': round(seconds, 2),
            **identity,
            'protocol_name': protocol.label,
            'fields': protocol.fields(),
            'id': score_id(identity, stem),
        }
        if not np.isfinite(record['value']):
            raise NonFiniteLossError(
                f'{record["metric"]}: not finite and not recorded. Check the features of the '
                f'{identity["set"]}.'
            )
        records.append(record)
    context.log.add(records)
    for record in records:
        context.summaries.write_scalar(record)
    return {record['stem']: record['value'] for record in records}


def _record_minimum(
    context: Context, candidates: list[dict[str, Any]], protocol: Protocol, *, among: str
) -> None:
    """Records the smallest Frechet distance among checkpoints, as the authors report it.

    Args:
        context: shared parts of the evaluation.
        candidates: identity and `value` of the same set at every checkpoint.
        protocol: protocol of the distances.
        among: 'late' or 'all' checkpoints.
    """
    protocol = dataclasses.replace(protocol, selection=f'minimum_of_{among}')
    identity = min(candidates, key=lambda candidate: candidate['value']) | {
        'selection': 'test',
        'protocol': protocol.id,
        'candidates': sorted(candidate['step'] for candidate in candidates),
    }
    if not context.log.show_recorded(identity):
        result = MetricResult({SELECTION_METRIC.name: identity['value']})
        _record(context, identity, protocol, [result], None, 0.0)


def _best_step(
    context: Context,
    steps: Sequence[int],
    dataset: data.Dataset,
    held_out: np.ndarray,
    reference: Reference,
) -> int:
    """Returns the checkpoint whose samples are nearest to the validation examples."""
    distances = {}
    only_samples = dataclasses.replace(context.config, sets='samples', repeats=1)
    for run in _open_runs(context.config, steps):
        run = _with_density(context, run, dataset)
        model = ModelId(run.step, run.digest, run.config.seed, None, run.density)
        (samples,) = image_sets.of_run(run, held_out, model, only_samples, context.check_interrupt)
        values = _score(context, samples, reference, [SELECTION_METRIC])
        distances[run.step] = values[SELECTION_METRIC.name]
    best = min(distances, key=distances.__getitem__)
    print(f'step {best} is best on {len(held_out)} validation examples', flush=True)
    return best


def _candidate_steps(selection: str, steps: list[int]) -> list[int | None]:
    """Returns the checkpoints to score or to select from; None is the newest valid one."""
    if selection == 'late':
        return [step for step in steps if step >= LATE * steps[-1]]
    if selection in ('all', 'best_validation'):
        return list(steps)
    return [None if selection == 'last' else int(selection)]


def _open_runs(config: EvaluateConfig, steps: Sequence[int | None]) -> Iterator[Run]:
    """Yields the run at each checkpoint.

    If several were requested, corrupt checkpoints and those that a running training has removed
    are skipped with a warning.
    """
    found = False
    for step in steps:
        try:
            run = open_run(config.workdir, 'last' if step is None else step)
        except (CorruptRunError, MissingDataError) as error:
            if len(steps) == 1:
                raise
            print(f'WARNING: skipped: {error}', flush=True)
            continue
        found = True
        yield run
    if not found:
        raise CorruptRunError(
            f'{config.workdir}: no requested checkpoint is valid. Train the run again.'
        )


def _with_density(context: Context, run: Run, dataset: data.Dataset) -> Run:
    """Returns the run sampling from the requested density, fitted only with `--fit_missing`."""
    density = context.config.density
    if context.config.fit_missing:
        return densities.fit(run, density, dataset, check_interrupt=context.check_interrupt)
    return densities.attach(run, density)


def _prepare(
    config: EvaluateConfig,
    workdir: Workdir | None,
    check_interrupt: Callable[[], None],
    *,
    images: bool,
) -> Context:
    """Opens the log, loads and verifies the feature network.

    Args:
        config: options of the evaluation.
        workdir: of the run; None for images from files, whose scores go to `--output_file`.
        check_interrupt: called between batches.
        images: whether examples are images, not vectors.
    """
    cache = pathlib.Path(config.cache_dir or archives.default_cache())
    output_file = pathlib.Path(config.output_file) if config.output_file else None
    log = ScoreLog(
        workdir.scores if workdir else output_file,
        request=config.identity_hash(),
        also_write_to=output_file if workdir else None,
    )
    network = _load_network(config, cache, images=images)
    if network:
        options = dict(batch_size=config.batch_size, check_interrupt=check_interrupt)
        own_folder = (workdir.path if workdir else cache) / 'features'
        real_features = NetworkFeatures(network, cache / 'features', **options)
        own_features = NetworkFeatures(network, own_folder, **options)
    else:
        real_features = own_features = RawFeatures()
    summaries = ScoreSummaries(workdir.tensorboard if workdir else None)
    return Context(config, log, summaries, network, real_features, own_features, check_interrupt)


def _load_network(
    config: EvaluateConfig, cache: pathlib.Path, *, images: bool
) -> FeatureNetwork | None:
    """Returns the feature network, verified; None if raw values are compared."""
    if config.features == 'pixels' or (config.features == 'auto' and not images):
        return None
    if not images:
        raise UsageError(
            '--features=inception: the run is on vectors, not images. Use --features=pixels.'
        )
    network = FeatureNetwork(
        config.inception_path,
        config.feature_layer,
        min(config.batch_size, BLOCK),
        resize=config.resize,
        cache=cache,
    )
    print(network.describe(), flush=True)
    network.verify()
    return network


def _metrics(context: Context, num: int) -> list[Metric]:
    """Returns the metrics to apply to sets of `num` examples."""
    names, config = _metric_names(context.config), context.config
    if not names and config.protocol == 'authors':
        names = [SELECTION_METRIC.name]
    return table.select(
        names,
        num=num,
        has_logits=context.network is not None and context.network.is_tfgan,
        moments=config.reference_statistics is not None,
    )


def _image_reference(context: Context, raw: Protocol, x: np.ndarray) -> Reference:
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


def _code_reference(context: Context, run: Run, raw: Protocol, x: np.ndarray) -> Reference:
    """Returns the reference for scores of the prior: codes of the real examples `x`."""
    method = run.method
    deterministic = method.method_spec.posterior == 'deterministic'
    critic = method.critic_distance if method.has_critic else None
    return Reference(
        dataclasses.replace(raw, features=CODES[deterministic]),
        lambda: Features(image_sets.codes_of_data(run, x, context.config, context.check_interrupt)),
        lambda z_hat, _: Features(z_hat, critic_distance=critic),
    )


def _with_statistics(context: Context, reference: Reference) -> Reference:
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


def _metric_names(config: EvaluateConfig) -> list[str]:
    return config.metrics.split(',') if config.metrics else []


def _sets(config: EvaluateConfig) -> list[str]:
    return config.sets.split(',')
