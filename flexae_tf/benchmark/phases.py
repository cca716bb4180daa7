"""The phases of an iteration, without changes to a method: each optimizer update ends one.

`train_step` is traced up to the last update of a phase. The differences of the times of successive
traces are the phases' times. They are meaningful because phases of FlexAE cannot overlap: each one
reads variables that the phase before updated. In other methods a part that does not may overlap.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from flexae_tf.methods.base import Method


class Phase(NamedTuple):
    """An iteration up to the end of a phase.

    Attributes:
        name: name of the optimizer whose updates end the phase.
        run: traced function of batches [batches_per_step, batch, ...] and step. The last phase of
            an iteration includes everything after its update.
    """

    name: str
    run: Any


class _EndOfPhase(BaseException):
    """Ends the tracing of `train_step`; no handler of errors inside it catches this exception."""


def trace_phases(method: Method, batch_size: int, *, jit_compile: bool) -> list[Phase]:
    """Returns the phases of an iteration; consecutive updates of an optimizer are one phase.

    Args:
        method: the method, on one device.
        batch_size: examples of a batch.
        jit_compile: whether XLA compiles the functions.
    """
    names: list[str] = []
    whole = _trace(method, batch_size, jit_compile, names, math.inf)
    ends = [end for end, name in enumerate(names, start=1) if names[end : end + 1] != [name]]
    cut = [_trace(method, batch_size, jit_compile, [], end) for end in ends[:-1]]
    return [Phase(names[end - 1], run) for end, run in zip(ends, [*cut, whole], strict=True)]


def _trace(
    method: Method, batch_size: int, jit_compile: bool, names: list[str], limit: float
) -> Any:
    """Returns `train_step`, traced until update number `limit`; adds optimizers to `names`."""

    def run(batches: tf.Tensor, step: tf.Tensor) -> None:
        # The graph keeps the updates, because they change variables.
        with contextlib.suppress(_EndOfPhase):
            method.train_step(batches, step)

    batches = tf.TensorSpec([method.batches_per_step, batch_size, *method.spec.shape], tf.float32)
    function = tf.function(run, jit_compile=jit_compile or None)
    with _updates_counted(method, names, limit):
        return function.get_concrete_function(batches, tf.TensorSpec([], tf.int64))


@contextlib.contextmanager
def _updates_counted(method: Method, names: list[str], limit: float) -> Iterator[None]:
    """Context in which each update adds its optimizer's name, and number `limit` raises."""
    optimizers = [v for v in vars(method).values() if isinstance(v, keras.optimizers.Optimizer)]

    def count_updates(optimizer: keras.optimizers.Optimizer) -> None:
        apply_gradients = optimizer.apply_gradients

        def counted(*args: Any, **kwargs: Any) -> Any:
            result = apply_gradients(*args, **kwargs)
            names.append(optimizer.name)
            if len(names) == limit:
                raise _EndOfPhase
            return result

        optimizer.apply_gradients = counted

    for optimizer in optimizers:
        count_updates(optimizer)
    try:
        yield
    finally:
        for optimizer in optimizers:
            del optimizer.apply_gradients
