"""The training loop. It knows nothing about a method except its public interface."""

import contextlib
import hashlib
import math
import signal
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from flexae_tf import data, shutdown
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import Dataset, DatasetSpec
from flexae_tf.data.batches import Batches, batch_indices
from flexae_tf.errors import Interrupted, NonFiniteLossError, UsageError
from flexae_tf.methods import build_method, set_precision
from flexae_tf.shutdown import GracefulShutdown
from flexae_tf.training import dry_run
from flexae_tf.training.compiled_programs import keep as keep_programs
from flexae_tf.training.distribution import (
    Cluster,
    check_shares,
    choose_devices,
    choose_strategy,
    mean_over_replicas,
    num_devices,
    processes_of,
    uses_xla,
)
from flexae_tf.training.flops import graph_flop
from flexae_tf.training.numerics import NonFiniteValues, are_finite, trace_non_finite
from flexae_tf.training.restore import initial_state, initialize, pin_source
from flexae_tf.training.run_log import Log, PrintLog, WorkdirLog
from flexae_tf.training.summaries import Summaries
from flexae_tf.training.throughput import Throughput, eta, report_duration
from flexae_tf.training.workdir import Workdir, examples_fingerprint

SECONDS_PER_CALL = 1.0  # target duration of a compiled call; signals are handled between calls


def train(config: ResolvedConfig, spec: DatasetSpec) -> None:
    """Trains a checked request; with `--dry_run` only prints its sizes and requirements.

    Args:
        config: the resolved configuration, from `workdir.check_request`.
        spec: description of its data, from the same function.

    Raises:
        UserError: see `Trainer.train`, `data.load` and `dry_run.show`.
    """
    processes = processes_of(config.distribution)
    if processes and config.replay_step is not None:
        raise UsageError(
            '--replay_step: works in one process. Start one, without srun and TF_CONFIG.'
        )
    device = choose_devices(config.device, config.distribution, processes)
    xla = 'on' if uses_xla(config.jit_compile, config.precision) else 'off'
    print(f'{device}, precision {config.precision}, XLA {xla}', flush=True)
    check_shares(config.batch_size, num_devices(config.distribution, processes))
    if config.dry_run:
        dry_run.show(pin_source(config), spec)
        return
    strategy = choose_strategy(config.distribution, processes)
    with Cluster(strategy).connected():
        trainer = Trainer(config, data.load(config), strategy=strategy)
    if config.replay_step is None:
        trainer.train()
    else:
        trainer.replay(config.replay_step)


class Trainer:
    """Trains a method until `config.training_steps`.

    Everything that the next iteration depends on is a variable in the checkpoint or a function of
    (seed, step). A resumed run is therefore bit-identical to an uninterrupted one, on a GPU only
    with `deterministic`, because some GPU kernels add in random order.

    Args:
        config: the resolved configuration, from `methods.resolve`.
        dataset: data to train on.
        strategy: distribution over devices and processes; None for all visible GPUs.

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
        self._strategy = strategy or choose_strategy(config.distribution)
        self._cluster = Cluster(self._strategy)
        replicas = self._strategy.num_replicas_in_sync
        check_shares(config.batch_size, replicas)
        if self._cluster.num_processes > 1:  # before variables, which could have other sizes
            self._cluster.check_equal(_digests(config, dataset))
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        with self._strategy.scope():
            self.method = build_method(config, dataset.spec)
            self.state = initial_state(self.method)
        self._variables = {v.path: v for v in self.method.state if tf.as_dtype(v.dtype).is_floating}
        self._batches = Batches(
            dataset.train.x,
            batches_per_step=self.method.batches_per_step,
            batch_size=config.batch_size // replicas,
            seed=config.seed,
        )
        # XLA compiles an iteration as a whole, but with several devices only the parts between the
        # collectives, which it chooses itself.
        self._iterate, compiled = self._iteration, uses_xla(config.jit_compile, config.precision)
        if compiled and replicas == 1:
            self._iterate = tf.function(self._iteration, jit_compile=True)
        elif compiled:
            tf.config.optimizer.set_jit('autoclustering')
        if not self._cluster.is_chief:
            self._log = Log()
        elif config.workdir:
            self._log = WorkdirLog(Workdir(config.workdir), config, self.method, self.state)
        else:
            self._log = PrintLog()
        self._origin = (
            initialize(self.method, config)
            if config.init_from and self._cluster.is_chief and not self._log.saved_steps()
            else None  # weights are random, from a checkpoint, or from the chief
        )
        set_precision(config)  # the run of `init_from` can have another one
        self._summaries = Summaries(self.method, dataset, self._log)
        self._seconds_per_step = math.inf

    def train(self) -> None:
        """Resumes from the newest valid checkpoint and trains until `training_steps`.

        Raises:
            NonFiniteLossError: a loss, a gradient, a variable, a statistic or an image of a grid is
                not finite; nothing is saved after it.
            Interrupted: a signal was received; the state is saved.
            UsageError: the workdir cannot be used, or the device has too little memory.
            MissingDataError: images on disk cannot be read any more.
            CorruptRunError: no checkpoint is valid, or the disk is full.
        """
        with GracefulShutdown(), self._log.opened(self._dataset), self._cluster.connected():
            try:
                with contextlib.ExitStack() as self._deferral:
                    self._train()
            except NonFiniteValues as found:
                raise self._non_finite_error(found.names) from None
            self._cluster.wait()

    def replay(self, step: int) -> None:
        """Prints the cause of values that are not finite in or before an iteration.

        Trains from the newest checkpoint at or before it. The first iteration after which a value
        is not finite is repeated, operation by operation. Nothing is written.

        Args:
            step: number of the iteration, as in the error message of the training.

        Raises:
            UsageError: every checkpoint is of a later step, or the run has other data.
            UserError: see `WorkdirLog.restore`.
            Interrupted: a signal was received.
        """
        start = self._log.restore(step, self._dataset)
        print(f'replaying from step {start}', flush=True)
        summaries = Summaries(self.method, self._dataset, PrintLog())
        with GracefulShutdown():
            for repeated in range(start, step + 1):
                shutdown.check(f'before step {repeated}', 'nothing is written')
                variables = [*self.method.state, *self.state]
                before = [tf.identity(tf.convert_to_tensor(v)) for v in variables]
                try:
                    self._run(repeated, 1)
                except NonFiniteValues as found:
                    for variable, value in zip(variables, before, strict=True):
                        variable.assign(value)
                    self._print_origin(repeated, found, self._iterate_on_replicas)
                    return
                if self._due(repeated + 1, self.config.log_every_steps):
                    self._take_means()
            try:
                summaries.sample(step + 1)
            except NonFiniteValues as found:
                self._print_origin(step, found, lambda _: summaries.sample(step + 1))
                return
        print(f'steps {start} to {step}: all values are finite')

    def _train(self) -> None:
        config, log, total = self.config, self._log, self.config.training_steps

        # Resume, or start from the weights of another run, which is not needed any more then.
        log.resume()
        self._cluster.broadcast([v.value for v in self.method.state] + list(self.state))
        self._require_finite()
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
        if step == 0 and self._cluster.is_chief:
            self._summaries.write_first()

        # The first call compiles, so it does not count in the measured speed.
        shutdown.check('before the first step')
        throughput, compiled = Throughput(step, batch_size=config.batch_size), False

        while step < total:
            # Train until the next step at which something is due.
            with contextlib.nullcontext() if compiled else self._report_compilation():
                step = self._advance(step)
            log_due = self._due(step, config.log_every_steps)
            if not compiled:
                self._deferral.enter_context(shutdown.deferred())  # from now on there is a state
                throughput.flop, compiled = self._count_flop(), True
                if self._cluster.is_chief:
                    keep_programs(config)
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
            if self._cluster.is_chief and self._due(step, config.sample_every_steps):
                record |= self._summaries.sample(step)
            if self._cluster.is_chief and self._due(step, config.eval_every_steps):
                record |= self._summaries.evaluate()
            if record:
                log.append('stats', step, record, self._summaries.descriptions)

            # Agree on the length of the next call, and on a signal that any process received.
            number, self._seconds_per_step = self._cluster.mean(
                shutdown.requested() or 0, self._seconds_per_step
            )

            # Save; the snapshot first, so that a run killed in between writes both again.
            last, stopping = step == total, number > 0
            if self._due(step, config.snapshot_every_steps):
                log.save_snapshot(step, required=last)
            if self._due(step, config.save_every_steps) or stopping:
                log.save_checkpoint(step, required=last or stopping)

            # Stop on a signal, when the chief has saved.
            if stopping and not last:
                self._cluster.wait()
                signal_number = shutdown.requested() or signal.SIGTERM
                raise Interrupted(signal_number, f'after step {step}', log.stop_note)
        log.finish(step)

    def _report_compilation(self) -> contextlib.AbstractContextManager[None]:
        return report_duration('compiling the first iteration', self._log.message)

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
            self._run(step, count)
        except tf.errors.ResourceExhaustedError:
            raise UsageError(self._describe_memory_error(step)) from None
        if math.isfinite(self._seconds_per_step):
            self._seconds_per_step = (time.monotonic() - started) / count
        else:
            self._seconds_per_step = SECONDS_PER_CALL  # the first call was mostly compilation
        return step + count

    def _run(self, step: int, count: int) -> None:
        """Runs `count` iterations from `step` on, and checks their values and the state."""
        self.run_steps(tf.constant(step, tf.int64), tf.constant(count, tf.int64))
        if self._batches.read_error:
            raise self._batches.read_error
        self._require_finite()

    def _require_finite(self) -> None:
        """Raises `NonFiniteValues` if a sum of values or a variable is not finite."""
        for names, finite in zip(
            (self.method.tags, self._variables), self._check_state(), strict=True
        ):
            bad = [name for name, ok in zip(names, finite.numpy(), strict=True) if not ok]
            if bad:
                raise NonFiniteValues(bad)

    @tf.function
    def _check_state(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns whether the sum of each value, and each variable of the method, is finite."""
        values = tf.math.is_finite(self.state.totals[:-1])
        return values, are_finite(list(self._variables.values()))

    @tf.function
    def run_steps(self, start: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Runs the iterations start .. start + count - 1, until one is not finite.

        The loop checks losses, gradient norms and batch-norm averages. Few losses depend on
        the averages, but a weight that is not finite makes the losses of the next iteration so.

        Args:
            start: number of the first iteration, int64.
            count: number of iterations, int64.

        Returns:
            Number of finished iterations since the start of the training.
        """
        averages = [v for v in self._variables.values() if not v.trainable]
        for step in tf.range(start, start + count):
            values = self._iterate_on_replicas(step)
            self.state.totals.assign_add(tf.concat([values, [1.0]], axis=0))
            self.state.step.assign_add(1)
            if not tf.reduce_all(are_finite([self.state.totals, *averages])):
                break
        return self.state.step.read_value()

    def _iterate_on_replicas(self, step: tf.Tensor) -> tf.Tensor:
        """Runs iteration `step` on every device; returns the means of its values."""
        return mean_over_replicas(self._strategy, lambda: self._iterate(self._batches(step), step))

    def _iteration(self, batches: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Runs one `train_step`; returns its values in the order of the method's tags."""
        values = self.method.train_step(batches, step)
        return tf.stack([tf.cast(values[tag], tf.float32) for tag in self.method.tags])

    def _count_flop(self) -> int:
        scalar = tf.TensorSpec([], tf.int64)
        # The graph holds all devices of this process, and none of the others.
        graph = self.run_steps.get_concrete_function(scalar, scalar).graph
        return graph_flop(graph) * self._cluster.num_processes

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

    def _non_finite_error(self, names: list[str]) -> NonFiniteLossError:
        """Records the last iteration in `nonfinite.json`; returns the error that names it."""
        step = max(int(self.state.step.read_value()) - 1, 0)
        self._log.write_non_finite(
            {
                'step': step,
                'seed': self.config.seed,
                'not_finite': names,
                'batch_indices': self._batch_indices(step),
            }
        )
        saved = self._log.saved_steps()
        kept = f'the checkpoint of step {saved[-1]} is kept' if saved else self._log.unsaved_note
        return NonFiniteLossError(
            f'{_listing(names)}: not finite at step {step}; {kept}. Use lower learning rates, '
            '--precision=float32 or another --seed, in another --workdir; add '
            f'--replay_step={step} to this command to find the cause.'
        )

    def _batch_indices(self, step: int) -> list[list[int]]:
        """Returns the indices of the training examples of a step, over all devices.

        Needs no other process, because an error may have stopped only this one.
        """
        indices = batch_indices(
            tf.constant(step, tf.int64),
            num=len(self._dataset.train),
            batches_per_step=self.method.batches_per_step,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
        )
        return indices.numpy().tolist()

    def _print_origin(
        self, step: int, found: NonFiniteValues, repeat: Callable[[tf.Tensor], Any]
    ) -> None:
        """Prints the first operation with a result that is not finite when `repeat` runs again."""
        print(f'{_listing(found.names)}: not finite at step {step} (seed {self.config.seed})')
        print(f'batch indices: {self._batch_indices(step)}', flush=True)
        origins: list[str] = []
        with contextlib.suppress(NonFiniteValues), trace_non_finite(origins):
            repeat(tf.constant(step, tf.int64))
        print(f'first value that is not finite: {"".join(origins) or "none, op by op"}')


def _digests(config: ResolvedConfig, dataset: Dataset) -> dict[str, str]:
    """Returns digests of what must be equal in all processes of a training, by its name."""
    own = ('data_dir', 'converted_dir', 'download', 'device')  # may differ between machines
    values = {f'--{k}': repr(v) for k, v in config.to_json().items() if k not in own}
    values |= {'data': examples_fingerprint(dataset.train.x), 'tensorflow': tf.__version__}
    return {name: hashlib.sha256(v.encode()).hexdigest() for name, v in values.items()}


def _listing(names: list[str]) -> str:
    more = f' and {len(names) - 10} more' if len(names) > 10 else ''
    return ', '.join(names[:10]) + more
