"""What an iteration costs, counted in the graph that TensorFlow traced of it."""

import tensorflow as tf
from tensorflow.python.framework import ops
from tensorflow.python.profiler.internal import flops_registry  # noqa: F401 (knows each operation)
from tensorflow.python.util import deprecation


def graph_flop(graph: tf.Graph) -> int:
    """Floating-point operations of one run of `graph` and of each function it calls.

    A multiplication and an addition are two. Counted are products, convolutions and their
    gradients, and most element-wise arithmetic, which weighs little beside them. Of a loop, one
    turn counts.
    """
    total = 0
    for operation in graph.get_operations():
        with deprecation.silence():  # TensorFlow's table of costs calls what it deprecates
            statistics = ops.get_stats_for_node_def(graph, operation.node_def, 'flops')
        total += statistics.value or 0
        for attribute in ('body', 'f'):  # of loops, and of calls
            if attribute in operation.node_def.attr:
                name = operation.get_attr(attribute).name
                total += graph_flop(graph._get_function(name).graph)
    return total
