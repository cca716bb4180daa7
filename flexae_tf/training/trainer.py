"""The training loop. It knows nothing about a method except its public interface."""

import contextlib
import math
import time

import tensorflow as tf

from flexae_tf import data, shutdown
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import Dataset, DatasetSpec
from flexae_tf.data.batches import Batches
from flexae_tf.errors import Interrupted, NonFiniteLossError, UsageError
from flexae_tf.methods import build_method
from flexae_tf.shutdown import GracefulShutdown
from flexae_tf.training import dry_run
from flexae_tf.training.distribution import (
    check_shares,
    choose_devices,
    choose_strategy,
    mean_over_replicas,
)
from flexae_tf.training.flops import graph_flop
from flexae_tf.training.restore import initial_state, initialize, pin_source
from flexae_tf.training.run_log import PrintLog, WorkdirLog
from flexae_tf.training.summaries import Summaries
from flexae_tf.training.throughput import Throughput, eta
from flexae_tf.training.workdir import Workdir

SECONDS_PER_CALL = 1.0  # target duration of a compiled call; signals are handled between calls


def train(config: ResolvedConfig, spec: DatasetSpec) -> None:
    """Trains a checked request; with `--dry_run` only prints its sizes and requirements.

    Args:
        config: the resolved configuration, from `workdir.check_request`.
        spec: description of its data, from the same function.

    Raises:
        UserError: see `Trainer.train`, `data.load` and `dry_run.show`.
    """
    print(choose_devices(config.device), flush=True)
    if config.dry_run:
        dry_run.show(pin_source(config), spec)
        return
    replicas = choose_strategy().num_replicas_in_sync
    check_shares(config.batch_size, replicas, jit_compile=config.jit_compile)
    Trainer(config, data.load(config)).train()


class Trainer:
    """Trains a method until `config.training_steps`.

    Everything that the next iteration depends on is a variable in the checkpoint or a function of
    (seed, step). A resumed run is therefore bit-identical to an uninterrupted one, on a GPU only
    with `deterministic`, because some GPU kernels add in random order.

    Args:
        config: the resolved configuration, from `methods.resolve`.
        dataset: data to train on.
        strategy: distribution over devices; None for all visible GPUs.

    Attributes:
        config: the resolved configuration.
        method: the method that is trained.
        state: further variables of a checkpoint.

    Raises:
        TypeError: the configuration is not resolved.
        UsageError: the configuration does not fit the data set, the devices or the run `init_from`.
        UserError: see `restore.initialize`.
    """

    def __init__(
        self,
        config: ResolvedConfig,
        dataset: Dataset,
        *,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self.config = config = pin_source(config)
        self._dataset = dataset
        self._strategy = strategy or choose_strategy()
        replicas = self._strategy.num_replicas_in_sync
        check_shares(config.batch_size, replicas, jit_compile=config.jit_compile)
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        with self._strategy.scope():
            self.method = build_method(config, dataset.spec)
            self.state = initial_state(self.method)
        self._batches = Batches(
            dataset.train.x,
            batches_per_step=self.method.batches_per_step,
            batch_size=config.batch_size // replicas,
            seed=config.seed,
        )
        # XLA needs a function of its own; several devices need to have none inside `run`.
        self._iterate = (
            tf.function(self._iteration, jit_compile=True)
            if config.jit_compile
            else self._iteration
        )
        self._log = (
            WorkdirLog(Workdir(config.workdir), config, self.method, self.state)
            if config.workdir
            else PrintLog()
        )
        self._origin = (
            initialize(self.method, config)
            if config.init_from and not self._log.saved_steps()
            else None  # random weights, or weights of a checkpoint
        )
        self._summaries = Summaries(self.method, dataset, self._log)
        self._seconds_per_step = math.inf

    def train(self) -> None:
        """Resumes from the newest valid checkpoint and trains until `training_steps`.

        Raises:
            NonFiniteLossError: a loss or gradient is not finite; nothing is saved after it.
            Interrupted: a signal was received; the state is saved.
            UsageError: the workdir cannot be used, or the device has too little memory.
            CorruptRunError: no checkpoint is valid, or the disk is full.
        """
        with (
            GracefulShutdown(),
            self._log.opened(self._dataset),
            contextlib.ExitStack() as self._deferral,
        ):
            self._train()

    def _train(self) -> None:
        config, log, total = self.config, self._log, self.config.training_steps

        # Resume, or start from the weights of another run, which is not needed any more then.
        log.resume()
        step, started = int(self.state.step.read_value()), bool(log.saved_steps())
        if step < total or not started:
            log.write_environment()
        if self._origin and not started:
            log.message(self._origin)
            log.save_checkpoint(step, required=True)
        if step >= total:
            log.message(f'already at step {step} of {total}: nothing to do')
            if not log.saved_steps():  # --training_steps=0: an untrained method
                log.save_checkpoint(step, required=True)
            return
        if step == 0:
            self._summaries.write_first()

        # The first call compiles, so it does not count in the measured speed.
        shutdown.check('before the first step')
        log.message('compiling the first iteration')
        throughput, compiled = Throughput(step, batch_size=config.batch_size), False

        while step < total:
            # Train until the next step at which something is due.
            step = self._advance(step)
            log_due = self._due(step, config.log_every_steps)
            if not compiled:
                self._deferral.enter_context(shutdown.deferred())  # from now on there is a state
                throughput.flop, compiled = self._count_flop(), True
                if not log_due:
                    throughput.restart(step)

            # Log mean losses and speed.
            record = {}
            if log_due:
                losses, measured = self._take_means(), throughput.lap(step)
                record |= losses
                self._print_progress(step, losses, measured)
                log.append('perf', step, measured)

            # Evaluate on held-out examples.
            if self._due(step, config.sample_every_steps):
                record |= self._summaries.sample(step)
            if self._due(step, config.eval_every_steps):
                record |= self._summaries.evaluate()
            if record:
                log.append('stats', step, record, self._summaries.descriptions)

            # Save; the snapshot first, so that a run killed in between writes both again.
            last, stopping = step == total, shutdown.requested() is not None
            if self._due(step, config.snapshot_every_steps):
                log.save_snapshot(step, required=last)
            if self._due(step, config.save_every_steps) or stopping:
                log.save_checkpoint(step, required=last or stopping)

            # Stop on a signal.
            if stopping:
                raise Interrupted(shutdown.requested(), f'after step {step}', log.stop_note)
        log.finish(step)

    def _due(self, step: int, every: int) -> bool:
        """Returns whether `step` is the last one or a multiple of `every` (0: never)."""
        return bool(every) and (step % every == 0 or step == self.config.training_steps)

    def _advance(self, step: int) -> int:
        """Trains for about a second, at most until something is due; returns the new step."""
        config = self.config
        intervals = (
            config.log_every_steps,
            config.sample_every_steps,
            config.eval_every_steps,
            config.save_every_steps,
            config.snapshot_every_steps,
        )
        ends = [step - step % every + every for every in intervals if every]
        count = min(config.training_steps, *ends) - step
        count = min(count, max(1, int(SECONDS_PER_CALL / self._seconds_per_step)))
        started = time.monotonic()
        try:
            bad_step = int(
                self.run_steps(tf.constant(step, tf.int64), tf.constant(count, tf.int64))
            )
        except tf.errors.ResourceExhaustedError:
            raise UsageError(self._describe_memory_error(step)) from None
        if math.isfinite(self._seconds_per_step):
            self._seconds_per_step = (time.monotonic() - started) / count
        else:
            self._seconds_per_step = SECONDS_PER_CALL  # the first call was mostly compilation
        if bad_step >= 0:
            raise NonFiniteLossError(self._describe_non_finite(bad_step))
        return step + count

    @tf.function
    def run_steps(self, start: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Runs the iterations start .. start + count - 1, until one is not finite.

        Args:
            start: number of the first iteration, int64.
            count: number of iterations, int64.

        Returns:
            The iteration with a non-finite loss or gradient; -1 if there is none.
        """
        bad_step = tf.constant(-1, tf.int64)
        for step in tf.range(start, start + count):
            values = mean_over_replicas(
                self._strategy,
                lambda: self._iterate(self._batches(step), step),  # noqa: B023
            )
            self.state.totals.assign_add(tf.concat([values, [1.0]], axis=0))
            self.state.step.assign_add(1)
            if not tf.reduce_all(tf.math.is_finite(values)):
                bad_step = step
                break
        return bad_step

    def _iteration(self, batches: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Runs one `train_step`; returns its values in the order of the method's tags."""
        values = self.method.train_step(batches, step)
        return tf.stack([tf.cast(values[tag], tf.float32) for tag in self.method.tags])

    def _count_flop(self) -> int:
        scalar = tf.TensorSpec([], tf.int64)
        return graph_flop(self.run_steps.get_concrete_function(scalar, scalar).graph)

    def _take_means(self) -> dict[str, float]:
        """Returns means since the last call by tag, and resets the totals."""
        *sums, count = self.state.totals.read_value().numpy().tolist()
        self.state.totals.assign(tf.zeros_like(self.state.totals))
        return {tag: s / count for tag, s in zip(self.method.tags, sums, strict=True)}

    def _print_progress(
        self, step: int, losses: dict[str, float], measured: dict[str, float]
    ) -> None:
        total, steps_per_sec = self.config.training_steps, measured['perf/steps_per_sec']
        shown = '  '.join(
            f'{tag.removeprefix("loss/")} {value:.4g}'
            for tag, value in losses.items()
            if tag.startswith('loss/')
        )
        self._log.message(
            f'step {step:>{len(str(total))}}/{total}  {steps_per_sec:.3g} steps/s  '
            f'{measured["perf/images_per_sec"]:.0f} images/s  '
            f'ETA {eta(total - step, steps_per_sec)}  {shown}'
        )

    def _describe_memory_error(self, step: int) -> str:
        saved = self._log.saved_steps()
        if saved:
            return (
                f'--device: too little memory at step {step}. Free device memory, then rerun the '
                f'same command; it resumes at step {saved[-1]}.'
            )
        return (
            f'--batch_size={self.config.batch_size}: too little memory on the device. Lower it or '
            '--width_multiplier, use --critic_batches=shared, or use more GPUs.'
        )

    def _describe_non_finite(self, step: int) -> str:
        *sums, _ = self.state.totals.read_value().numpy().tolist()
        names = [t for t, s in zip(self.method.tags, sums, strict=True) if not math.isfinite(s)]
        saved = self._log.saved_steps()
        kept = f'the checkpoint of step {saved[-1]} is kept' if saved else 'nothing is saved yet'
        return (
            f'{", ".join(names)}: not finite at step {step}; {kept}. Use lower learning rates, '
            '--precision=float32 or another --seed, in another --workdir.'
        )
