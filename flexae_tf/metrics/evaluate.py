"""The evaluation program: examples -> features, once per set -> scores in scores.jsonl."""

import dataclasses
import pathlib
import resource
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import EvaluateConfig
from flexae_tf.data import DatasetSpec, fingerprint, fixed_order, npz, pictures
from flexae_tf.data.batches import as_float, map_batches
from flexae_tf.errors import MissingDataError, NonFiniteLossError, Stopped, UsageError
from flexae_tf.metrics import archives, reference
from flexae_tf.metrics.features import Features, NetworkFeatures, RawFeatures
from flexae_tf.metrics.frechet import moments
from flexae_tf.metrics.inception import Inception
from flexae_tf.metrics.judge import Judge, ScoreLog, Subject
from flexae_tf.metrics.protocol import Protocol, raw_protocol
from flexae_tf.metrics.raw import finish
from flexae_tf.metrics.scores import METRICS, Metric, code_metric
from flexae_tf.training import distribution
from flexae_tf.training.runs import Run, open_run, saved_steps
from flexae_tf.training.signals import StopSignals
from flexae_tf.training.workdir import Workdir

# Of a training: the authors choose among the checkpoints of iterations 80000 to 130000.
LATE = 8 / 13


def evaluate(config: EvaluateConfig) -> None:
    """Scores a run, or two sets of pictures.

    A run's reconstructions (`rec`), its samples (`gen`) and as many training examples (`floor`:
    what sampling alone costs, which no model can be expected to beat) are each compared with the
    same real examples. Finished parts, features and scores, are kept: the same command again goes
    on where a killed one was.

    Raises:
        UserError: whatever the user can mend.
        Stopped: SIGTERM or Ctrl-C was heard.
    """
    print(distribution.choose_devices(config.device), flush=True)
    with StopSignals() as signals:

        def check() -> None:
            if signals.heard is not None:
                raise Stopped(signals.heard, 'between batches')

        if config.workdir:
            _RunEvaluation(config, check).evaluate()
        else:
            _evaluate_pictures(config, check)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f'peak memory {peak:.1f} GB')


class _RunEvaluation:
    def __init__(self, config: EvaluateConfig, check: Callable[[], None]) -> None:
        self._config = config
        self._check = check
        workdir = Workdir(config.workdir)
        run_config, self._spec = workdir.read()
        steps = saved_steps(config.workdir)
        overrides = {'data_dir': config.data_dir} if config.data_dir else {}
        self._run_config = dataclasses.replace(run_config, **overrides)
        self._steps = self._candidates(steps)
        self._dataset = data.load(self._run_config)
        workdir.check_examples(self._dataset)
        self._log = ScoreLog(workdir.scores, workdir.tensorboard)
        network = _network(config, self._spec)
        cache = _cache(config)
        self._real_features = _extractor(config, network, cache / 'features', check)
        self._features = _extractor(config, network, workdir.path / 'features', check)
        self._network = network
        self._metrics = _metrics(config, network)

    def evaluate(self) -> None:
        config = self._config
        if config.checkpoint == 'best_validation' and len(self._steps) > 1:
            self._steps = [self._best_on_validation()]
        x = self._real(config.split)
        protocol = self._protocol(config.split, x)
        judge = self._judge(protocol, x)
        kinds = config.kinds.split(',')
        values: dict[str, dict[Subject, float]] = {'rec': {}, 'gen': {}}
        for step in self._steps:
            run = self._open(step)
            subject = self._subject(run)
            draws = {
                'rec': lambda _, run=run: self._reconstructions(run, x, protocol),
                'gen': lambda repeat, run=run: self._samples(run, len(x), repeat, protocol),
            }
            for kind, draw in draws.items():
                if kind not in kinds:
                    continue
                repeats = config.repeats if kind == 'gen' else 1
                found = judge.score(kind, draw, subject, metrics=self._metrics, repeats=repeats)
                if 'fd' in found:
                    values[kind][subject] = found['fd']
            if 'codes' in kinds:
                self._score_codes(run, x, subject)
        if config.protocol == 'authors' and config.checkpoint in (None, 'late', 'all'):
            for kind, by_subject in values.items():
                if by_subject:
                    judge.record_minimum(kind, by_subject)
        train = self._dataset.train.x
        if 'floor' in kinds and len(train) >= len(x):
            judge.score(
                'floor',
                lambda _: self._real_features(train[: len(x)], what='training examples'),
                Subject(seed=self._run_config.seed),
                metrics=self._metrics,
            )

    def _candidates(self, steps: list[int]) -> list[int | None]:
        """The checkpoints to score, or to choose from; None is the newest whole one."""
        chosen = self._config.checkpoint or (
            'late' if self._config.protocol == 'authors' else 'last'
        )
        if chosen == 'late':
            return [step for step in steps if step >= LATE * steps[-1]]
        if chosen in ('all', 'best_validation'):
            return list(steps)
        return [None if chosen == 'last' else int(chosen)]

    def _best_on_validation(self) -> int:
        """The checkpoint whose samples are nearest to the validation examples."""
        x = self._real('validation')
        protocol = self._protocol('validation', x)
        judge = self._judge(protocol, x)
        distances = {}
        for step in self._steps:
            run = self._open(step)
            distances[step] = judge.score(
                'gen',
                lambda repeat, run=run: self._samples(run, len(x), repeat, protocol),
                self._subject(run)._replace(selection=None),
                metrics={'fd': METRICS['fd']},
            )['fd']
        best = min(distances, key=distances.__getitem__)
        print(f'step {best} is best on {len(x)} validation examples', flush=True)
        return best

    def _real(self, split: str) -> np.ndarray:
        """The examples of a split that are scored."""
        if split == 'validation':  # drawn at random already
            return self._dataset.validation.x[: self._config.num_examples]
        test = self._dataset.test.x
        # A random choice, the same for every run: the paper scores 10000 of CelebA's test images.
        return test[fixed_order(len(test), index=2)[: self._config.num_examples]]

    def _protocol(self, split: str, x: np.ndarray) -> Protocol:
        protocol = raw_protocol(self._run_config, self._spec, split=split, x=x)
        if self._spec.kind == 'images':
            protocol = dataclasses.replace(protocol, **_finishing(self._config))
        return protocol.on_network(self._network) if self._network else protocol

    def _judge(self, protocol: Protocol, x: np.ndarray) -> Judge:
        return _judge(
            self._config,
            protocol,
            lambda: self._real_features(x, what=f'{protocol.split} examples'),
            log=self._log,
            check=self._check,
        )

    def _open(self, step: int | None) -> Run:
        return open_run(self._config.workdir, 'last' if step is None else step)

    def _subject(self, run: Run) -> Subject:
        selection = 'best_validation' if self._config.checkpoint == 'best_validation' else None
        return Subject(run.step, run.digest, run.config.seed, selection)

    def _reconstructions(self, run: Run, x: np.ndarray, protocol: Protocol) -> Features:
        x_hat = self._map(run.method.reconstruct, x)
        return self._features(self._finished(x_hat, run, protocol), what='reconstructions')

    def _samples(self, run: Run, num: int, repeat: int, protocol: Protocol) -> Features:
        z = run.method.sample_latent(num, self._config.sample_seed + repeat).numpy()
        x_hat = self._map(run.method.decode, z)
        return self._features(self._finished(x_hat, run, protocol), what='samples')

    def _finished(self, x_hat: np.ndarray, run: Run, protocol: Protocol) -> np.ndarray:
        if not np.isfinite(x_hat).all():
            raise NonFiniteLossError(
                f'what the run decodes at step {run.step} is not finite: score an earlier '
                '--checkpoint'
            )
        return finish(x_hat, quantisation=protocol.quantisation, stretch=protocol.stretch)

    def _map(self, function: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray) -> np.ndarray:
        compiled = tf.function(function)

        def checked(batch: tf.Tensor) -> tf.Tensor:
            self._check()
            return compiled(batch)

        return map_batches(checked, x, self._config.batch_size)

    def _score_codes(self, run: Run, x: np.ndarray, subject: Subject) -> None:
        """How far the codes of the real examples are from the prior."""
        base = raw_protocol(self._run_config, self._spec, split=self._config.split, x=x)
        protocol = dataclasses.replace(base, features='codes')
        # Twice as many codes of the prior: how far they are from each other is the floor.
        num, seed = 2 * len(x), self._config.sample_seed
        judge = Judge(
            self._config,
            protocol,
            lambda: Features(self._map(run.method.encode, x)),
            log=self._log,
            check=self._check,
        )
        judge.score(
            'codes',
            lambda _: Features(run.method.sample_latent(num, seed).numpy()),
            subject,
            metrics={'codes': code_metric(run.method.critic_distance)},
        )


def _evaluate_pictures(config: EvaluateConfig, check: Callable[[], None]) -> None:
    """Scores `fake` against `real`, and as many other real pictures, if there are, as the floor."""
    sets = [_load_pictures(pathlib.Path(path)) for path in (config.real, config.fake)]
    num = min(config.num_examples, *map(len, sets))
    if num < 2:
        raise UsageError(f'{config.real} and {config.fake}: at least 2 pictures are needed in each')
    orders = [fixed_order(len(x), index=2) for x in sets]
    real, fake = (x[order[:num]] for x, order in zip(sets, orders, strict=True))
    spec = DatasetSpec('folder', 'images', real.shape[1:], None, None, (0.0, 1.0))
    network = _network(config, spec)
    if not network and real.shape[1:] != fake.shape[1:]:
        raise UsageError(
            f'pictures of {config.real} are {real.shape[1:]}, of {config.fake} {fake.shape[1:]}: '
            'make them alike, or use --features=inception'
        )
    protocol = Protocol(
        dataset='folder', split='all', num=num, data=fingerprint(real), **_finishing(config)
    )
    if network:
        protocol = protocol.on_network(network)
    features = _extractor(config, network, _cache(config) / 'features', check)
    log = ScoreLog(pathlib.Path(config.output) if config.output else None, None)
    judge = _judge(
        config, protocol, lambda: features(real, what='real pictures'), log=log, check=check
    )
    metrics = _metrics(config, network)
    finished = finish(
        as_float(tf.constant(fake)).numpy(),
        quantisation=protocol.quantisation,
        stretch=protocol.stretch,
    )
    # The fakes' own name stands where a run's checkpoint does.
    subject = Subject(checkpoint=fingerprint(fake))
    judge.score('fake', lambda _: features(finished, what='fakes'), subject, metrics=metrics)
    others = sets[0][orders[0][num : 2 * num]]
    if len(others) == num:
        judge.score(
            'floor',
            lambda _: features(others, what='other real pictures'),
            Subject(),
            metrics=metrics,
        )


def _load_pictures(path: pathlib.Path) -> np.ndarray:
    """Pictures of a folder or an .npz file, uint8 [n, h, w, c]."""
    if not path.exists():
        raise MissingDataError(f'{path} does not exist: correct --real or --fake')
    return pictures.load_alike(path) if path.is_dir() else npz.load_images(path)


def _cache(config: EvaluateConfig) -> pathlib.Path:
    return pathlib.Path(config.cache_dir) if config.cache_dir else archives.default_cache()


def _finishing(config: EvaluateConfig) -> dict[str, str | bool]:
    """What becomes of fakes before they are scored: the protocol's choice, or the flags'."""
    authors = config.protocol == 'authors'
    return {
        'stretch': authors if config.stretch is None else config.stretch,
        'quantisation': config.quantisation or ('none' if authors else 'uint8_round'),
    }


def _network(config: EvaluateConfig, spec: DatasetSpec) -> Inception | None:
    """The network that images are compared by, verified; None for their raw values."""
    if config.features == 'pixels' or (config.features == 'auto' and spec.kind == 'vectors'):
        return None
    if spec.kind == 'vectors':
        raise UsageError('--features=inception is for images; vectors have --features=pixels')
    network = Inception(
        config.inception_path,
        config.feature_layer,
        config.batch_size,
        resize=config.resize,
        cache=_cache(config),
    )
    print(network.describe(), flush=True)
    network.verify()
    return network


def _extractor(
    config: EvaluateConfig,
    network: Inception | None,
    folder: pathlib.Path,
    check: Callable[[], None],
) -> Callable[..., Features]:
    if not network:
        return RawFeatures()
    return NetworkFeatures(network, folder, batch_size=config.batch_size, check=check)


def _metrics(config: EvaluateConfig, network: Inception | None) -> dict[str, Metric]:
    """The metrics on features that were asked for, or that apply."""
    classifies = network is not None and network.is_tfgan
    if config.metrics:
        chosen = config.metrics.split(',')
        if 'inception_score' in chosen and not classifies:
            raise UsageError(
                "--metrics=inception_score is of TF-GAN's own network alone: leave it out"
            )
    elif config.protocol == 'authors':
        chosen = ['fd']
    else:
        chosen = [name for name in METRICS if name != 'inception_score' or classifies]
    return {name: METRICS[name] for name in chosen}


def _judge(
    config: EvaluateConfig,
    protocol: Protocol,
    real: Callable[[], Features],
    *,
    log: ScoreLog,
    check: Callable[[], None],
) -> Judge:
    """The judge of `protocol`, whose real side is a file of statistics or features."""
    if config.write_statistics:
        reference.save_statistics(config.write_statistics, moments(real().rows), protocol)
    if not config.real_statistics:
        return Judge(config, protocol, real, log=log, check=check)
    statistics, digest = reference.load_statistics(
        config.real_statistics, protocol, foreign=config.foreign_statistics
    )
    protocol = dataclasses.replace(protocol, statistics=digest)
    return Judge(config, protocol, lambda: statistics, log=log, check=check)
