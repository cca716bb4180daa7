"""The only training loop. It knows nothing of a method but its public face."""

import math
import time

import tensorflow as tf

from flexae_tf.config import TrainConfig
from flexae_tf.data import Dataset
from flexae_tf.data.batches import Batches
from flexae_tf.errors import CorruptRunError, Interrupted, NonFiniteLossError, UsageError
from flexae_tf.files import append_jsonl, truncate_jsonl
from flexae_tf.methods import build_method, resolve
from flexae_tf.methods.base import Method
from flexae_tf.training.checkpoints import Checkpoints
from flexae_tf.training.distribution import (
    check_shares,
    choose_strategy,
    describe_devices,
    mean_over_replicas,
)
from flexae_tf.training.flops import graph_flop
from flexae_tf.training.restore import initial_state, stores
from flexae_tf.training.shutdown import GracefulShutdown
from flexae_tf.training.summaries import Summaries
from flexae_tf.training.throughput import Throughput, eta
from flexae_tf.training.workdir import Workdir

SECONDS_PER_CALL = 1.0  # about how long the loop stays inside TensorFlow, deaf to signals


class Trainer:
    """Trains a method until `config.training_steps`.

    Everything that the next iteration depends on is a variable in the checkpoint or a function of
    (seed, step), so a resumed run is the uninterrupted one: bit for bit on a CPU, and on a GPU with
    `deterministic`, without which some of its kernels add in any order.

    Args:
        config: the configuration; sizes the data set decides may be left open.
        dataset: what to train on.
        strategy: how to use several devices; all visible GPUs when not given.

    Attributes:
        method: what is trained.

    Raises:
        UsageError: a configuration that cannot be run on this data set or these devices.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        *,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self.config = resolve(config, dataset.spec)
        self._dataset = dataset
        self._strategy = strategy or choose_strategy()
        check_shares(
            config.batch_size,
            self._strategy.num_replicas_in_sync,
            jit_compile=config.jit_compile,
        )
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        with self._strategy.scope():
            self.method: Method = build_method(self.config, dataset.spec)
            self._state = initial_state(self.method)
        self._batches = Batches(
            dataset.train.x,
            batches_per_step=self.method.batches_per_step,
            batch_size=config.batch_size // self._strategy.num_replicas_in_sync,
            seed=config.seed,
        )
        # A function of its own only for XLA: with several devices, none may stand inside `run`.
        self._iterate = (
            tf.function(self._iteration, jit_compile=True)
            if config.jit_compile
            else self._iteration
        )
        self._workdir = Workdir(config.workdir) if config.workdir else None
        if self._workdir:
            self._checkpoints, self._snapshots = stores(
                self._workdir, self.config, self.method, self._state
            )
        self._summaries = Summaries(self.method, dataset, self.config, self._workdir)
        self._seconds_per_step = math.inf

    def train(self) -> None:
        """Resumes from the newest whole checkpoint, and trains until `training_steps`.

        Raises:
            NonFiniteLossError: a loss or gradient is not finite; nothing is saved after it.
            Interrupted: SIGTERM or Ctrl-C was heard; the state is saved.
            UsageError: the workdir is not ours to write, or the device's memory is too small.
            CorruptRunError: no checkpoint there is whole, or the disk is full.
        """
        with GracefulShutdown() as signals:
            if not self._workdir:
                self._train(signals)
                return
            self._workdir.open(self.config, self._dataset)
            try:
                self._resume()
                self._train(signals)
            except OSError as error:
                raise CorruptRunError(
                    f'{self._workdir.path} cannot be written any more ({error}): mend that, '
                    'and the same command resumes'
                ) from None
            finally:
                self._workdir.close()

    def _resume(self) -> None:
        restored = self._checkpoints.restore_latest(self._log)
        snapshot = max(self._snapshots.steps(), default=0)
        # A run that is killed before its first checkpoint may have snapshots up to there.
        if restored is None and snapshot > self.config.save_every_steps:
            raise CorruptRunError(
                f'{self._workdir.path} has a snapshot of step {snapshot}, but no checkpoint to go '
                'on from: take another --workdir to start at 0, this one is left as it is'
            )
        step = restored or 0
        if restored is not None:
            self._log(f'resuming at step {step}')
        for path in (self._workdir.stats, self._workdir.perf):
            truncate_jsonl(path, step)

    def _train(self, signals: GracefulShutdown) -> None:
        total = self.config.training_steps
        step = int(self._state.step.read_value())
        if step >= total:
            self._log(f'already at step {step} of {total}: nothing to do')
            if self._workdir and not self._checkpoints.steps():  # an untrained method was asked for
                self._workdir.note_environment(describe_devices())
                self._save(self._checkpoints, step, must=True)
            return
        if self._workdir:
            self._workdir.note_environment(describe_devices())
        if step == 0:
            self._summaries.write_reals()
        self._log('compiling the first iteration')
        meter, compiled = Throughput(step, batch_size=self.config.batch_size), False
        while step < total:
            step = self._advance(step)
            record = {}
            if self._due(step, self.config.log_every_steps):
                losses = self._take_means()
                record |= losses
                self._report(step, losses, meter)
            elif not compiled:
                meter.restart(step)  # so that compilation does not count as training
            if not compiled:
                meter.flop, compiled = self._flop(), True
            if self._due(step, self.config.sample_every_steps):
                record |= self._summaries.sample(step)
            if self._due(step, self.config.eval_every_steps):
                record |= self._summaries.evaluate()
            if record:
                self._write(step, record)
            stopping = signals.requested is not None
            if self._workdir:
                # The snapshot first: a run that is killed in between comes here again.
                if self._due(step, self.config.snapshot_every_steps):
                    self._save(self._snapshots, step, must=step == total)
                if self._due(step, self.config.save_every_steps) or stopping:
                    self._save(self._checkpoints, step, must=stopping or step == total)
            if stopping:
                when = f'after step {step}'
                if not self._workdir:
                    raise Interrupted(signals.requested, when, 'not saved: it has no workdir')
                raise Interrupted(signals.requested, when)

    def _due(self, step: int, every: int) -> bool:
        """Whether something done every so many steps, and at the end, is to be done now."""
        return bool(every) and (step % every == 0 or step == self.config.training_steps)

    def _advance(self, step: int) -> int:
        """Runs some iterations, at most to the next step where something is due."""
        config = self.config
        ends = [config.training_steps]
        for every in (
            config.log_every_steps,
            config.sample_every_steps,
            config.eval_every_steps,
            config.save_every_steps,
            config.snapshot_every_steps,
        ):
            if every:
                ends.append(step - step % every + every)
        count = min(ends) - step
        count = min(count, max(1, int(SECONDS_PER_CALL / self._seconds_per_step)))
        started = time.monotonic()
        try:
            bad_step = int(
                self.run_steps(tf.constant(step, tf.int64), tf.constant(count, tf.int64))
            )
        except tf.errors.ResourceExhaustedError:
            if self._workdir and self._checkpoints.steps():
                raise UsageError(
                    f'the device has too little memory at step {step}: free it of what else runs '
                    f'there, and the same command resumes at {self._checkpoints.steps()[-1]}'
                ) from None
            raise UsageError(
                f'the device has too little memory for --batch_size={config.batch_size}: lower it, '
                'or --width_multiplier, or use --critic_batches=shared or more GPUs'
            ) from None
        if math.isfinite(self._seconds_per_step):
            self._seconds_per_step = (time.monotonic() - started) / count
        else:
            self._seconds_per_step = SECONDS_PER_CALL  # the first call was mostly compilation
        if bad_step >= 0:
            raise NonFiniteLossError(self._describe_bad(bad_step))
        return step + count

    @tf.function
    def run_steps(self, start: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Iterations start .. start + count - 1; returns the first non-finite one, or -1."""
        bad_step = tf.constant(-1, tf.int64)
        for step in tf.range(start, start + count):
            values = mean_over_replicas(
                self._strategy,
                lambda: self._iterate(self._batches(step), step),  # noqa: B023
            )
            self._state.totals.assign_add(tf.concat([values, [1.0]], axis=0))
            self._state.step.assign_add(1)
            if not tf.reduce_all(tf.math.is_finite(values)):
                bad_step = step
                break
        return bad_step

    def _flop(self) -> int:
        scalar = tf.TensorSpec([], tf.int64)
        return graph_flop(self.run_steps.get_concrete_function(scalar, scalar).graph)

    def _iteration(self, blocks: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """One `train_step`; its values stacked in the order of the method's tags."""
        values = self.method.train_step(blocks, step)
        return tf.stack([tf.cast(values[tag], tf.float32) for tag in self.method.tags])

    def _take_means(self) -> dict[str, float]:
        """Means since the last call, by tag."""
        *sums, count = self._state.totals.read_value().numpy().tolist()
        self._state.totals.assign(tf.zeros_like(self._state.totals))
        return {tag: s / count for tag, s in zip(self.method.tags, sums, strict=True)}

    def _describe_bad(self, step: int) -> str:
        *sums, _ = self._state.totals.read_value().numpy().tolist()
        names = [t for t, s in zip(self.method.tags, sums, strict=True) if not math.isfinite(s)]
        saved = self._checkpoints.steps() if self._workdir else []
        kept = f'the checkpoint of step {saved[-1]} is kept' if saved else 'nothing was saved yet'
        return (
            f'{", ".join(names)} not finite at step {step}; {kept}: try lower learning rates, '
            '--precision=float32 or another --seed, in another --workdir'
        )

    def _report(self, step: int, losses: dict[str, float], meter: Throughput) -> None:
        measured = meter.lap(step)
        steps_per_sec = measured['perf/steps_per_sec']
        total = self.config.training_steps
        shown = '  '.join(
            f'{tag.removeprefix("loss/")} {value:.4g}'
            for tag, value in losses.items()
            if tag.startswith('loss/')
        )
        self._log(
            f'step {step:>{len(str(total))}}/{total}  {steps_per_sec:.3g} steps/s  '
            f'{measured["perf/images_per_sec"]:.0f} images/s  '
            f'ETA {eta(total - step, steps_per_sec)}  {shown}'
        )
        if self._workdir:
            append_jsonl(self._workdir.perf, {'step': step, **measured})
        self._summaries.scalars(step, measured)

    def _write(self, step: int, record: dict[str, float]) -> None:
        self._summaries.scalars(step, record)
        if self._workdir:
            append_jsonl(self._workdir.stats, {'step': step, **record})

    def _save(self, store: Checkpoints, step: int, *, must: bool) -> None:
        """Saves; a failure (a full disk, say) stops the run only when `must`."""
        started = time.monotonic()
        try:
            store.save(step)
        except CorruptRunError as error:
            if must:
                raise
            self._log(f'WARNING: {error}; training goes on without it')
        self._summaries.scalars(step, {'checkpoint/seconds': time.monotonic() - started})

    def _log(self, message: str) -> None:
        if self._workdir:
            self._workdir.log(message)
        else:
            print(message, flush=True)
