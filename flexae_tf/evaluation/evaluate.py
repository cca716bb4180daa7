"""The evaluation program: examples -> features, once per set -> scores in scores.jsonl."""

import dataclasses
import pathlib
import resource
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import EvaluateConfig
from flexae_tf.data import Purpose, fixed_permutation
from flexae_tf.data.batches import map_batches
from flexae_tf.densities import densities
from flexae_tf.errors import CorruptRunError, Interrupted, MissingDataError, NonFiniteLossError
from flexae_tf.evaluation import compare
from flexae_tf.evaluation.features import Features
from flexae_tf.evaluation.judge import Judge, Subject
from flexae_tf.evaluation.score_log import ScoreLog
from flexae_tf.evaluation.scorer import Scorer
from flexae_tf.methods.posterior_samples import draw_codes
from flexae_tf.metrics.protocol import CODES, Protocol, raw_protocol
from flexae_tf.metrics.table import METRICS, code_metric, critic_metric
from flexae_tf.training import distribution
from flexae_tf.training.restore import Run, open_run, saved_steps
from flexae_tf.training.shutdown import GracefulShutdown
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
        Interrupted: SIGTERM or Ctrl-C was heard.
    """
    print(distribution.choose_devices(config.device), flush=True)
    with GracefulShutdown() as signals:

        def check() -> None:
            if signals.requested is not None:
                raise Interrupted(signals.requested, 'between batches')

        if config.workdir:
            _RunEvaluation(config, check).evaluate()
        else:
            compare.compare(config, check)
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
        self._chosen = config.checkpoint or ('late' if config.protocol == 'authors' else 'last')
        self._steps = self._candidates(steps)
        told = pathlib.Path(config.output_file) if config.output_file else None
        self._scorer = Scorer(
            config,
            images=self._spec.kind == 'images',
            log=ScoreLog(workdir.scores, workdir.tensorboard, told=told),
            check=check,
            own=workdir.path / 'features',
        )
        self._dataset = data.load(self._run_config)
        workdir.check_examples(self._dataset)

    def evaluate(self) -> None:
        config = self._config
        x = self._real(config.split)
        protocol = self._protocol(config.split, x)
        judge = self._scorer.final_judge(protocol, self._real_features(protocol, x))
        metrics, kinds = self._scorer.metrics(len(x)), config.kinds.split(',')
        if self._chosen == 'best_validation':
            self._steps = [self._best_on_validation()]
        distances: dict[str, dict[Subject, float]] = {'rec': {}, 'gen': {}}
        for run in self._runs():
            if 'gen' in kinds or 'codes' in kinds:
                run = self._with_density(run)
            subject = self._subject(run)
            draws = {
                'rec': lambda _, run=run: self._reconstructions(run, x, protocol),
                'gen': lambda repeat, run=run: self._samples(run, len(x), repeat, protocol),
            }
            for kind, draw in draws.items():
                if kind in kinds:
                    repeats = config.repeats if kind == 'gen' else 1
                    found = judge.score(kind, draw, subject, metrics=metrics, repeats=repeats)
                    if 'fd' in found:
                        distances[kind][subject] = found['fd']
            if 'codes' in kinds:
                self._score_codes(run, x, subject)
        if config.protocol == 'authors' and self._chosen in ('late', 'all'):
            for kind, values in distances.items():
                if values:
                    judge.record_minimum(kind, values, among=self._chosen)
        if 'floor' in kinds:
            self._score_floor(judge, protocol, len(x))

    def _candidates(self, steps: list[int]) -> list[int | None]:
        """The checkpoints to score, or to choose from; None is the newest whole one."""
        if self._chosen == 'late':
            return [step for step in steps if step >= LATE * steps[-1]]
        if self._chosen in ('all', 'best_validation'):
            return list(steps)
        return [None if self._chosen == 'last' else int(self._chosen)]

    def _runs(self) -> Iterator[Run]:
        """The run at each checkpoint to score, one after the other.

        Of many, damaged ones pass, and those that a training has removed since.
        """
        whole = False
        for step in self._steps:
            try:
                run = open_run(self._config.workdir, 'last' if step is None else step)
            except (CorruptRunError, MissingDataError) as error:
                if len(self._steps) == 1:
                    raise
                print(f'{error}: passed over', flush=True)
                continue
            whole = True
            yield run
        if not whole:
            raise CorruptRunError(f'no checkpoint of {self._config.workdir} is whole')

    def _with_density(self, run: Run) -> Run:
        config = self._config
        return densities.fit(run, config.density, self._dataset, steps=config.density_steps)

    def _best_on_validation(self) -> int:
        """The checkpoint whose samples are nearest to the validation examples."""
        x = self._real('validation')
        protocol = self._protocol('validation', x)
        judge = self._scorer.judge(protocol, self._real_features(protocol, x))
        distances = {}
        for run in map(self._with_density, self._runs()):
            distances[run.step] = judge.score(
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
        if split != 'test':  # drawn at random already
            return getattr(self._dataset, split).x[: self._config.num_examples]
        test = self._dataset.test.x
        # A random choice, the same for every run: the paper scores 10000 of CelebA's test images.
        return test[fixed_permutation(len(test), Purpose.EVALUATION)[: self._config.num_examples]]

    def _protocol(self, split: str, x: np.ndarray) -> Protocol:
        return self._scorer.protocol(raw_protocol(self._run_config, self._spec, split=split, x=x))

    def _real_features(self, protocol: Protocol, x: np.ndarray) -> Callable[[], Features]:
        return lambda: self._scorer.real_features(x, what=f'{protocol.split} examples')

    def _subject(self, run: Run) -> Subject:
        selection = 'best_validation' if self._chosen == 'best_validation' else None
        return Subject(run.step, run.digest, run.config.seed, selection, run.density)

    def _reconstructions(self, run: Run, x: np.ndarray, protocol: Protocol) -> Features:
        x_hat = self._finite(self._map(run.method.reconstruct, x), run)
        return self._scorer.features(
            self._scorer.postprocess_images(x_hat, protocol), what='reconstructions'
        )

    def _samples(self, run: Run, num: int, repeat: int, protocol: Protocol) -> Features:
        z = run.method.sample_latent(num, self._config.sample_seed + repeat).numpy()
        x_hat = self._finite(self._map(run.method.decode, z), run)
        return self._scorer.features(
            self._scorer.postprocess_images(x_hat, protocol), what='samples'
        )

    def _score_floor(self, judge: Judge, protocol: Protocol, num: int) -> None:
        train = self._dataset.train.x
        if protocol.split == 'train':
            train = train[num:]  # others than those that the run is compared with
        if len(train) < num:
            print(f'no floor: there are only {len(train)} training examples for it', flush=True)
            return
        train = train[:num]
        judge.score(
            'floor',
            lambda _: self._scorer.real_features(
                self._scorer.postprocess_images(train, protocol), what='training examples'
            ),
            Subject(seed=self._run_config.seed),
            metrics=self._scorer.metrics(num),
        )

    def _score_codes(self, run: Run, x: np.ndarray, subject: Subject) -> None:
        """How far the codes of the real examples, draws of their posteriors, are from the prior."""
        base = raw_protocol(self._run_config, self._spec, split=self._config.split, x=x)
        method, seed = run.method, self._config.sample_seed
        deterministic = method.method_spec.posterior == 'deterministic'

        def codes() -> np.ndarray:
            if deterministic:
                return self._map(method.encode, x)
            return draw_codes(method, x, seed=seed)

        judge = self._scorer.judge(
            dataclasses.replace(base, features=CODES[deterministic]),
            lambda: Features(self._finite(codes(), run)),
        )
        # Twice as many codes of the prior: how far they are from each other is the floor.
        num = 2 * len(x)
        metrics = {'codes': code_metric()}
        if method.has_critic:
            metrics['critic'] = critic_metric(method.critic_distance, run.digest)
        judge.score(
            'codes',
            lambda _: Features(self._finite(method.sample_latent(num, seed).numpy(), run)),
            subject,
            metrics=metrics,
        )

    def _map(self, function: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray) -> np.ndarray:
        compiled = tf.function(function)

        def checked(batch: tf.Tensor) -> tf.Tensor:
            self._check()
            return compiled(batch)

        return map_batches(checked, x, self._config.batch_size)

    def _finite(self, values: np.ndarray, run: Run) -> np.ndarray:
        if not np.isfinite(values).all():
            raise NonFiniteLossError(
                f'what the run computes at step {run.step} is not finite: score an earlier '
                '--checkpoint'
            )
        return values
