"""Values that are not finite: their names, and the operation that produces the first of them."""

import contextlib
import linecache
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_callbacks

_LIBRARIES = {'tensorflow', 'keras', *sys.stdlib_module_names}


class NonFiniteValues(ArithmeticError):
    """Values of a training are not finite.

    Args:
        names: tags of losses or statistics, paths of variables, or names of outputs.

    Attributes:
        names: the same.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(', '.join(names))
        self.names = list(names)


@tf.autograph.experimental.do_not_convert  # faster to trace, for hundreds of variables
def are_finite(variables: Sequence) -> tf.Tensor:
    """Returns whether all values of each variable are finite, bool [variables]."""
    return tf.stack([_is_finite(tf.convert_to_tensor(v)) for v in variables])


@contextlib.contextmanager
def trace_non_finite(found: list[str]) -> Iterator[None]:
    """Appends a description of the first value of this thread that is not finite to an empty list.

    This is the first result with a value that is not finite of an operation whose inputs are all
    finite, in the order of the program: forward pass, gradients, updates of variables. Functions of
    TensorFlow run eagerly. In contrast to `tf.debugging.enable_check_numerics`, the statistics of
    batch norm and the variables after an update are checked, and the description names the layer
    (not for gradients, whose layer TensorFlow does not record).
    """

    def check(
        kind: str | bytes,
        inputs: Sequence,
        attributes: Any,
        outputs: Sequence,
        name: Any = None,
        graph: tf.Graph | None = None,
    ) -> None:
        del attributes, name
        if found or graph or not inputs:
            return
        kind = tf.compat.as_str(kind)
        if kind in ('AssignAddVariableOp', 'AssignSubVariableOp'):  # no output, but a new value
            variable, change = inputs
            outputs = [tf.raw_ops.ReadVariableOp(resource=variable, dtype=change.dtype)]
        for output in outputs:
            if not _is_finite(output) and all(map(_is_finite, inputs)):
                found.append(_describe(kind, output))
                return

    tf.config.run_functions_eagerly(True)
    op_callbacks.add_op_callback(check)
    try:
        yield
    finally:
        op_callbacks.remove_op_callback(check)
        tf.config.run_functions_eagerly(False)


def _is_finite(values: tf.Tensor) -> tf.Tensor | bool:
    return not values.dtype.is_floating or tf.reduce_all(tf.math.is_finite(values))


def _describe(kind: str, output: tf.Tensor) -> str:
    """Returns a description of a value, and the source lines that lead to its operation."""
    scope = tf.get_current_name_scope()
    nan, infinite = (
        int(tf.math.count_nonzero(test(output))) for test in (tf.math.is_nan, tf.math.is_inf)
    )
    lines = [
        f'{kind}{scope and f" of {scope}"}: {nan} NaN and {infinite} infinite of '
        f'{tf.size(output)} values, {output.dtype.name} {output.shape}'
    ]
    for frame, line in traceback.walk_stack(None):  # from the operation to its callers
        module = frame.f_globals['__name__']
        if module == __name__ or module.split('.')[0] in _LIBRARIES:
            continue
        if module.startswith('flexae_tf.training'):
            break
        path = frame.f_code.co_filename
        lines.append(f'  {path}:{line}: {linecache.getline(path, line).strip()}')
    return '\n'.join(lines)
