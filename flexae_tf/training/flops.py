"""Floating-point operations of a traced graph."""

from collections.abc import Iterator

import tensorflow as tf
from tensorflow.python.framework import ops
from tensorflow.python.profiler.internal import flops_registry  # noqa: F401 (registers operations)
from tensorflow.python.util import deprecation


def graph_flop(graph: tf.Graph) -> int:
    """Returns the floating-point operations of one run of `graph` and of the functions it calls.

    A multiplication and an addition count as two. Matrix products, convolutions, their gradients
    and most element-wise arithmetic are counted. A loop counts as one pass through its body.
    """
    total = 0
    for operation in operations(graph):
        with deprecation.silence():  # TensorFlow's registry calls deprecated functions
            statistics = ops.get_stats_for_node_def(operation.graph, operation.node_def, 'flops')
        total += statistics.value or 0
    return total


def operations(graph: tf.Graph) -> Iterator[tf.Operation]:
    """Yields the operations of a graph, of the functions it calls and of the bodies of loops."""
    for operation in graph.get_operations():
        yield operation
        for attribute in ('body', 'f'):  # of loops and of calls
            if attribute in operation.node_def.attr:
                name = operation.get_attr(attribute).name
                yield from operations(graph._get_function(name).graph)
