"""Speed and memory of one training."""

import functools
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from flexae_tf import data
from flexae_tf.benchmark.phases import Phase, trace_phases
from flexae_tf.benchmark.timing import FunctionTimer, LoopTimer, in_turns, random_dataset
from flexae_tf.config import BenchmarkConfig, ResolvedConfig
from flexae_tf.data import memory
from flexae_tf.data.batches import Batches
from flexae_tf.methods import resolve
from flexae_tf.methods.base import Method
from flexae_tf.training.distribution import choose_strategy, uses_xla
from flexae_tf.training.flops import graph_flop
from flexae_tf.training.restore import stores
from flexae_tf.training.trainer import Trainer
from flexae_tf.training.workdir import Workdir

MATRIX = 4096  # rows and columns of the matrices whose product is a ceiling
CEILING_ROUNDS = 3
CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.Conv2DTranspose)


class Training:
    """A training on random examples, compiled and warmed up.

    Args:
        config: its options, `warmup` included.

    Attributes:
        config: the resolved options.
        dataset: the examples.
        trainer: the trainer.
        loop: the timer of its loop.
        jit_compile: whether XLA compiles its iterations.
        replicas: number of devices.
        flop: floating-point operations of an iteration.
        memory: peak memory in GiB, of the process and, if there is one, of the first GPU.
    """

    def __init__(self, config: BenchmarkConfig) -> None:
        spec = data.describe(config)
        self.config: ResolvedConfig = resolve(config, spec)
        self.dataset = random_dataset(spec)
        self.jit_compile = uses_xla(config.jit_compile, config.precision)
        strategy = choose_strategy(config.distribution)
        self.replicas = strategy.num_replicas_in_sync
        self.trainer = Trainer(self.config, self.dataset, strategy=strategy)
        self.loop = LoopTimer(self.trainer, config.warmup)
        scalar = tf.TensorSpec([], tf.int64)
        self.flop = graph_flop(self.trainer.run_steps.get_concrete_function(scalar, scalar).graph)
        self.memory: dict[str, float] = {'peak_memory_gib': memory.peak()}
        if tf.config.list_logical_devices('GPU'):
            peak = tf.config.experimental.get_memory_info('GPU:0')['peak']
            self.memory['peak_gpu_memory_gib'] = peak / 2**30

    @property
    def batch_size(self) -> int:
        """Examples of a batch on one device."""
        return self.config.batch_size // self.replicas


def training_report(config: BenchmarkConfig) -> dict[str, Any]:
    """Measures iterations, their phases, ceilings of the device, memory, start and checkpoints.

    Everything that is timed takes turns for `iterations` rounds.

    Returns:
        A report. Each phase has a row; `batch` is the input, and `host` the rest of an iteration
        in the loop. With several devices there are no phases.
    """
    training = Training(config)
    phases = []
    if training.replicas == 1:
        phases = trace_phases(
            training.trainer.method, training.batch_size, jit_compile=training.jit_compile
        )
    timers = [training.loop, *(_phase_timers(training, phases) if phases else [])]
    rounds = in_turns(timers, config.iterations)
    seconds, medians = rounds[0], [statistics.median(values) for values in rounds]
    median = medians[0]
    speed = training.flop / median / 1e12
    report = {
        **_options(training),
        'iteration': {
            'seconds': median,
            'minimum': min(seconds),
            'maximum': max(seconds),
            'images_per_second': training.config.batch_size / median,
            'tflop': training.flop / 1e12,
            'tflop_per_second': speed,
        },
    }
    if phases:
        report['phases'] = _phase_rows(phases, *medians)
    report['ceilings'] = [
        {'operation': name, 'tflop_per_second': ceiling, 'share_reached': speed / ceiling}
        for name, ceiling in _ceilings(training).items()
    ]
    report['memory'] = training.memory
    report['start'] = {
        'start_up_seconds': training.loop.start_up,
        'first_call_seconds': training.loop.first_call,
        'compile_seconds': training.loop.first_call - median,
    }
    report['checkpoint'] = _checkpoint(training)
    return report


def _options(training: Training) -> dict[str, Any]:
    config = training.config
    names = ('method', 'dataset', 'width_multiplier', 'latent_dim', 'batch_size')
    names += ('critic_batches', 'precision')
    return {
        'tensorflow': tf.__version__,
        **{name: getattr(config, name) for name in names},
        'xla': 'on' if training.jit_compile else 'off',
        'devices': training.replicas,
    }


def _phase_timers(training: Training, phases: Sequence[Phase]) -> list[FunctionTimer]:
    """Returns timers of the input, and of an iteration on resident batches up to each phase."""
    step = tf.constant(0, tf.int64)
    batches = tf.function(
        Batches(
            training.dataset.train.x,
            batches_per_step=training.trainer.method.batches_per_step,
            batch_size=training.batch_size,
            seed=training.config.seed,
        )
    )
    resident = batches(step)
    functions = [functools.partial(batches, step)]
    functions += [functools.partial(phase.run, resident, step) for phase in phases]
    return [FunctionTimer(function) for function in functions]


def _phase_rows(
    phases: Sequence[Phase], loop: float, batch: float, *ends: float
) -> list[dict[str, Any]]:
    """Returns the rows of phases, input and host.

    Args:
        phases: the phases.
        loop: seconds of an iteration in the loop.
        batch: seconds of its input.
        ends: seconds of an iteration up to each phase.
    """
    rows, previous_end, previous_flop = [], 0.0, 0
    for phase, end in zip(phases, ends, strict=True):
        flop = graph_flop(phase.run.graph)
        rows.append((phase.name, end - previous_end, flop - previous_flop))
        previous_end, previous_flop = end, flop
    rows += [('batch', batch, None), ('host', loop - batch - previous_end, None)]
    return [
        {
            'phase': name,
            'seconds': seconds,
            'share': seconds / loop,
            'tflop': None if flop is None else flop / 1e12,
            'tflop_per_second': flop / seconds / 1e12 if flop and seconds > 0.0 else None,
        }
        for name, seconds, flop in rows
    ]


def _ceilings(training: Training) -> dict[str, float]:
    """Returns TFLOP/s of a matrix product, and of the forward convolutions if there are any.

    They have the precision and the compilation of the training, and random inputs.
    """
    mixed = training.config.precision == 'mixed_bfloat16'
    matrix = _random([MATRIX, MATRIX], 'bfloat16' if mixed else 'float32')
    operations = {'matrix product': [(tf.matmul, [matrix, matrix])]}
    layers = _convolutions(training.trainer.method)
    if layers:
        operations['forward convolutions'] = [
            (layer, [_random([training.batch_size, *layer.input.shape[1:]], layer.compute_dtype)])
            for layer in layers
        ]
    return {
        name: _speed(calls, jit_compile=training.jit_compile) for name, calls in operations.items()
    }


def _convolutions(method: Method) -> list[keras.layers.Layer]:
    networks = (method.encoder, method.decoder)
    return [x for network in networks for x in network.layers if isinstance(x, CONVOLUTIONS)]


def _random(shape: Sequence[int], dtype: str) -> tf.Tensor:
    return tf.cast(tf.random.stateless_normal(shape, [0, 0]), dtype)


def _speed(
    calls: Sequence[tuple[Callable[..., tf.Tensor], list[tf.Tensor]]], *, jit_compile: bool
) -> float:
    """Returns the TFLOP/s of calls one after another, each timed at its fastest."""
    flop, seconds = 0, 0.0
    for function, inputs in calls:
        run = tf.function(function, jit_compile=jit_compile or None, autograph=False)
        traced = run.get_concrete_function(*inputs)
        timer = FunctionTimer(functools.partial(traced, *inputs))
        flop += graph_flop(traced.graph)
        seconds += min(timer.seconds() for _ in range(CEILING_ROUNDS))
    return flop / seconds / 1e12


def _checkpoint(training: Training) -> dict[str, Any]:
    """Returns seconds of a save and a restore, checksums included, and the bytes on the disk."""
    trainer = training.trainer
    step = int(trainer.state.step.read_value())
    with tempfile.TemporaryDirectory() as folder:
        workdir = Workdir(folder)
        workdir.checkpoints.mkdir()
        store, _ = stores(workdir, training.config, trainer.method, trainer.state)
        started = time.perf_counter()
        store.save(step)
        saved = time.perf_counter()
        store.restore(step)
        restored = time.perf_counter()
        size = sum(pathlib.Path(file).stat().st_size for file in workdir.checkpoints.iterdir())
    return {
        'save_seconds': saved - started,
        'restore_seconds': restored - saved,
        'bytes': size,
    }
