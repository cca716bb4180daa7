"""Devices and processes that train together, by tf.distribute."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from flexae_tf import shutdown
from flexae_tf.errors import LostWorkerError, UsageError
from flexae_tf.training.processes import Processes, find_processes, local_number

START_SECONDS = 600  # for all processes to start
CONNECT_SECONDS = 60  # for TensorFlow to connect them
# Errors of a collective whose other side is gone.
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)


def choose_devices(
    device: str, distribution: str = 'none', processes: Processes | None = None
) -> str:
    """Makes the devices of `--device` visible; must precede any other use of TensorFlow.

    If the environment names several processes, each gets the GPU of its number on its machine,
    also if they work independently of each other, except for 'mirrored'.

    Args:
        device: 'auto', 'gpu' or 'cpu'.
        distribution: 'auto' or 'mirrored' for all GPUs, 'none' for one.
        processes: processes that train together; None for one, or for independent processes.

    Returns:
        A line for the user, such as 'device: 1 x GPU NVIDIA A100'.

    Raises:
        UsageError: 'gpu', and TensorFlow sees none; or the machine has several GPUs, but fewer than
            processes that train together.
    """
    gpus = tf.config.list_physical_devices('GPU')
    if device == 'gpu' and not gpus:
        raise UsageError(
            '--device=gpu: TensorFlow sees no GPU. Install it with pip install -e .[gpu] '
            'and check nvidia-smi, or use --device=cpu.'
        )
    if device == 'cpu' or not gpus:
        tf.config.set_visible_devices([], 'GPU')
        reason = 'as requested' if gpus else 'TensorFlow sees no GPU'
        return f'device: {describe_devices()} ({reason})'
    if len(gpus) > 1:
        number = processes.local_index if processes else local_number()
        if processes and number >= len(gpus):
            raise UsageError(
                f'--distribution: more processes than the {len(gpus)} GPUs of this machine. Start '
                'one process for each GPU.'
            )
        if processes or distribution == 'none' or (distribution == 'auto' and number is not None):
            gpus = [gpus[(number or 0) % len(gpus)]]
        tf.config.set_visible_devices(gpus, 'GPU')
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return f'device: {describe_devices()}'


def describe_devices() -> str:
    """Returns the visible devices: '2 x GPU NVIDIA A100' or 'CPU, 2 cores'."""
    gpus = tf.config.get_visible_devices('GPU')
    details = map(tf.config.experimental.get_device_details, gpus)
    names = ', '.join(sorted({detail.get('device_name', 'GPU') for detail in details}))
    return f'{len(gpus)} x GPU {names}' if gpus else f'CPU, {os.cpu_count()} cores'


def processes_of(distribution: str) -> Processes | None:
    """Returns the processes that train together by `--distribution`; None if there is one.

    Raises:
        UsageError: `multi_worker` without other processes; or TF_CONFIG names some, and the value
            forbids them.
    """
    if distribution in ('none', 'mirrored'):
        if os.environ.get('TF_CONFIG') and find_processes():
            raise UsageError(
                f'--distribution={distribution}: TF_CONFIG names several processes. Use '
                '--distribution=auto, or unset TF_CONFIG.'
            )
        return None
    processes = find_processes()
    if distribution == 'multi_worker' and not processes:
        raise UsageError(
            '--distribution=multi_worker: there is one process only. Start several by srun, or '
            'set TF_CONFIG.'
        )
    return processes


def choose_strategy(
    distribution: str = 'auto', processes: Processes | None = None
) -> tf.distribute.Strategy:
    """Returns the strategy of `--distribution`; must precede any operation of several processes.

    Args:
        distribution: 'auto', 'none', 'mirrored' or 'multi_worker'.
        processes: value of `processes_of`.

    Returns:
        A strategy over the processes; over all visible GPUs, if there are several; or else the
        default of TensorFlow.
    """
    if processes:
        return _multi_worker(processes)
    gpus = tf.config.list_logical_devices('GPU')
    several = distribution == 'mirrored' or (distribution == 'auto' and len(gpus) > 1)
    return _mirrored() if several else tf.distribute.get_strategy()


@functools.cache  # TensorFlow confuses the collectives of two mirrored strategies in a process
def _mirrored() -> tf.distribute.Strategy:
    strategy = tf.distribute.MirroredStrategy()
    # With one device, its collectives cannot be compiled by XLA.
    return strategy if strategy.num_replicas_in_sync > 1 else tf.distribute.get_strategy()


@functools.cache  # a process can join others once
def _multi_worker(processes: Processes) -> tf.distribute.Strategy:
    print(f'waiting for {len(processes.addresses)} processes to start', flush=True)
    processes.meet(START_SECONDS)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({'worker': list(processes.addresses)}),
        task_type='worker',
        task_id=processes.index,
        rpc_layer='grpc',
        # Without the number, TensorFlow computes on the CPU.
        num_accelerators={'GPU': len(tf.config.get_visible_devices('GPU'))},
    )
    print(f'connecting them; ends with code 142 after {CONNECT_SECONDS} s', flush=True)
    # TensorFlow holds Python's lock until it has connected them.
    with shutdown.by_kernel(CONNECT_SECONDS):
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)


def prepare_devices(device: str, distribution: str) -> tf.distribute.Strategy:
    """Chooses and prints the devices of a program of one process; returns their strategy.

    If the environment names several processes, each does its own work, on the GPU of its number.

    Raises:
        UsageError: as `choose_devices` and `processes_of`.
    """
    if distribution != 'auto':
        processes_of(distribution)
    print(choose_devices(device, distribution), flush=True)
    return choose_strategy(distribution)


def num_devices(distribution: str, processes: Processes | None) -> int:
    """Returns the number of devices that share a batch; waits for no process."""
    if processes:
        return len(processes.addresses)
    return choose_strategy(distribution).num_replicas_in_sync


def uses_xla(jit_compile: str, precision: str) -> bool:
    """Returns whether XLA compiles training steps: 'on', or 'auto' on a GPU.

    Raises:
        UsageError: bfloat16 on a GPU without XLA.
    """
    on_gpu = bool(tf.config.get_visible_devices('GPU'))
    if on_gpu and precision == 'mixed_bfloat16' and jit_compile == 'off':
        raise UsageError(
            '--precision=mixed_bfloat16: needs XLA on a GPU; without it the first iteration did '
            'not end in minutes. Use --jit_compile=on.'
        )
    return jit_compile == 'on' or (jit_compile == 'auto' and on_gpu)


def check_shares(batch_size: int, replicas: int) -> None:
    """Raises `UsageError` if `replicas` devices cannot train on a batch together."""
    if batch_size % replicas:
        raise UsageError(
            f'--batch_size={batch_size}: cannot be split over {replicas} devices. Use a multiple '
            'of their number, or set CUDA_VISIBLE_DEVICES.'
        )


def mean_over_replicas(
    strategy: tf.distribute.Strategy, function: Callable[[], tf.Tensor]
) -> tf.Tensor:
    """Runs `function` on every device and returns the mean of the results."""
    return strategy.reduce(tf.distribute.ReduceOp.MEAN, strategy.run(function), axis=None)


class Cluster:
    """Communication between the processes of a training, outside the compiled steps.

    Every process must call the same methods in the same order.

    Args:
        strategy: strategy of the training.

    Attributes:
        num_processes: number of processes.
        is_chief: whether this process reads and writes the workdir.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        resolver = strategy.cluster_resolver
        self._strategy = strategy
        self.num_processes = len(resolver.cluster_spec().job_tasks('worker')) if resolver else 1
        self._index = resolver.task_id if resolver else 0
        self.is_chief = self._index == 0

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Context of what the processes do together.

        Raises:
            LostWorkerError: another process ended, or does not answer.
        """
        try:
            yield
        except (*_LOST, tf.errors.InternalError) as error:
            lost = isinstance(error, _LOST) or 'NCCL' in str(error)  # which has no other class
            if self.num_processes == 1 or not lost:
                raise
            raise LostWorkerError(
                f'--distribution: {self._lost_process(error)} ended, or does not answer. See its '
                'message, and start all processes again: the same commands resume.'
            ) from None

    def mean(self, *values: float) -> list[float]:
        """Returns the mean of each value over the processes; waits for them."""
        if self.num_processes == 1:
            return list(values)
        sums = self._sum(tf.constant(values, tf.float64)).numpy()
        return (sums / self.num_processes).tolist()

    def wait(self) -> None:
        """Waits until all processes call this method."""
        self.mean(0.0)

    def broadcast(self, variables: Sequence[tf.Variable]) -> None:
        """Gives the variables of every process the values of the chief."""
        if self.num_processes == 1:
            return
        for variable in variables:
            value = tf.convert_to_tensor(variable)
            variable.assign(self._sum(value if self.is_chief else tf.zeros_like(value)))

    def check_equal(self, digests: dict[str, str]) -> None:
        """Raises `UsageError` in every process if one has another digest than the chief.

        Args:
            digests: hexadecimal digests by what they identify, such as a flag.
        """
        own = tf.constant([int(digest[:12], 16) for digest in digests.values()], tf.int64)
        chief = self._sum(own if self.is_chief else tf.zeros_like(own))
        differ = self._sum(tf.cast(own != chief, tf.int64))
        for name, number in zip(digests, differ.numpy(), strict=True):
            if number:
                raise UsageError(
                    f'{name}: differs between the processes of this training. Start all processes '
                    'with the same flags, data and versions, or use --distribution=none.'
                )

    def _sum(self, value: tf.Tensor) -> tf.Tensor:
        """Returns the sum of the values of all processes."""
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)

    def _lost_process(self, error: tf.errors.OpError) -> str:
        """Returns the other process that an error of a collective names."""
        named = re.findall(r'/job:worker/replica:0/task:(\d+)', str(error))
        others = [number for number in named if int(number) != self._index]
        return f'process {others[0]}' if others else 'another process'
