"""Communication of the replicas of a training: counted in the graph, its time predicted.

Every collective is an all-reduce. A ring of N GPUs on M machines reduces B bytes in

    base + 2 (N - M) hop + 2 (M - 1) network_hop + 2 (N - 1) / N * B / bandwidth

seconds, where `bandwidth` is the one of the slowest link. An iteration waits for the sum over its
collectives. The predicted efficiency is its time without communication over its time with it. It is
a lower bound as far as communication could overlap with computation.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from flexae_tf import data
from flexae_tf.benchmark.timing import random_dataset
from flexae_tf.config import BenchmarkConfig
from flexae_tf.methods import resolve
from flexae_tf.networks.batch_norm import BatchNorm
from flexae_tf.training import dry_run
from flexae_tf.training.flops import operations
from flexae_tf.training.trainer import Trainer

REPLICAS = 2  # the collectives of a replica do not depend on their number

# Seconds in NCCL's own model of a ring (src/graph/tuning.cc: `baseLat` and `hwLat` of the protocol
# LL, its choice for short messages; releases differ). Assumed: TensorFlow's launch costs nothing.
BASE_SECONDS = 6.6e-6
HOP_SECONDS = 0.6e-6
NETWORK_HOP_SECONDS = 2.7e-6

# Bytes per second in one direction.
NVLINK = 450e9  # H100 SXM: 900 GB/s in both directions (NVIDIA's data sheet)
NETWORK = 12.5e9  # 100 Gbit/s, shared by the GPUs of a machine
REACHED = 0.8  # share of the nominal bandwidth that a ring reaches; an assumption


class Cluster(NamedTuple):
    """Machines with GPUs; NVLink inside a machine, 100 Gbit/s between machines."""

    machines: int
    gpus: int  # of each machine


CLUSTERS = (Cluster(1, 2), Cluster(1, 4), Cluster(1, 8), Cluster(2, 8), Cluster(4, 8))


def start() -> None:
    """Gives TensorFlow `REPLICAS` logical CPUs, unless a caller did; precedes any other use."""
    tf.config.set_visible_devices([], 'GPU')
    (cpu,) = tf.config.list_physical_devices('CPU')
    if not tf.config.get_logical_device_configuration(cpu):
        devices = [tf.config.LogicalDeviceConfiguration()] * REPLICAS
        tf.config.set_logical_device_configuration(cpu, devices)


def communication_report(config: BenchmarkConfig) -> dict[str, Any]:
    """Counts what one replica exchanges in an iteration, and predicts times; trains nothing.

    Returns:
        A report: the collectives and bytes by kind, and a row for each of `CLUSTERS`.
    """
    spec = data.describe(config)
    config = resolve(config, spec)
    names = [device.name for device in tf.config.list_logical_devices('CPU')]
    strategy = tf.distribute.MirroredStrategy(names[:REPLICAS])
    trainer = Trainer(config, random_dataset(spec), strategy=strategy)
    sizes = collective_sizes(trainer)
    layers = [layer for network in dry_run.networks(trainer.method) for layer in network.layers]
    moments = {2 * layer.gamma.shape[0] for layer in layers if isinstance(layer, BatchNorm)}
    kinds = {
        'batch norm': [size for size in sizes if size in moments],
        'gradients and others': [size for size in sizes if size not in moments],
        'values for the log': [len(trainer.method.tags)],
    }
    total = [size for kind in kinds.values() for size in kind]
    return {
        'method': config.method,
        'dataset': config.dataset,
        'batch_size': config.batch_size,
        'step_seconds': config.step_seconds,
        'exchanged_by_a_replica': [
            {'kind': kind, 'collectives': len(values), 'bytes': 4 * sum(values)}
            for kind, values in [*kinds.items(), ('all', total)]
        ],
        'predicted': [_prediction(cluster, total, config.step_seconds) for cluster in CLUSTERS],
    }


def collective_sizes(trainer: Trainer) -> list[int]:
    """Returns the numbers of values, all float32, that one replica reduces in an iteration."""
    scalar = tf.TensorSpec([], tf.int64)
    graph = trainer.run_steps.get_concrete_function(scalar, scalar).graph
    return sorted(
        operation.inputs[0].shape.num_elements()
        for operation in operations(graph)
        if operation.type == 'CollectiveReduceV2' and operation.device.endswith('CPU:0')
    )


def all_reduce_seconds(cluster: Cluster, num_bytes: int) -> float:
    """Returns the predicted seconds of one all-reduce; see the module."""
    machines, replicas = cluster.machines, cluster.machines * cluster.gpus
    bandwidth = REACHED * (NVLINK if machines == 1 else NETWORK)
    hops = 2 * (replicas - machines) * HOP_SECONDS + 2 * (machines - 1) * NETWORK_HOP_SECONDS
    return BASE_SECONDS + hops + 2 * (replicas - 1) / replicas * num_bytes / bandwidth


def _prediction(cluster: Cluster, sizes: list[int], step_seconds: float | None) -> dict[str, Any]:
    seconds = sum(all_reduce_seconds(cluster, 4 * size) for size in sizes)
    return {
        'machines': cluster.machines,
        'gpus': cluster.machines * cluster.gpus,
        'seconds': seconds,
        'latency_share': sum(all_reduce_seconds(cluster, 0) for _ in sizes) / seconds,
        'efficiency': step_seconds and step_seconds / (step_seconds + seconds),
    }
