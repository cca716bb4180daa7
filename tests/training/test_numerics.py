import pytest
import tensorflow as tf

from flexae_tf.training.numerics import are_finite, trace_non_finite


def origin(function):
    """Returns the lines that describe the first value of a function that is not finite."""
    found = []
    with trace_non_finite(found):
        function()
    return found[0].splitlines() if found else []


@tf.function
def normalized_log(x):
    with tf.name_scope('layer'):
        logarithm = tf.math.log(x)
    return logarithm - tf.reduce_mean(logarithm)


def test_trace_names_operation_layer_and_source_line():
    first, *lines = origin(lambda: normalized_log(tf.constant([1.0, 0.0, 2.0])))
    assert first == 'Log of layer: 0 NaN and 1 infinite of 3 values, float32 (3,)'
    assert lines[0].startswith(f'  {__file__}:')
    assert lines[0].endswith(': logarithm = tf.math.log(x)')
    assert origin(lambda: normalized_log(tf.constant([1.0, 3.0]))) == []


def test_trace_finds_gradients():
    x = tf.Variable([0.0, 4.0])

    def step():
        with tf.GradientTape() as tape:
            y = tf.sqrt(x)
        tape.gradient(y, x)

    first, *lines = origin(step)
    assert first == 'SqrtGrad: 0 NaN and 1 infinite of 2 values, float32 (2,)'
    assert lines[0].endswith('tape.gradient(y, x)')


def test_trace_finds_statistics_of_batch_norm():
    def step():
        tf.raw_ops.FusedBatchNormV3(
            x=tf.reshape([-1e30, 1e30], [2, 1, 1, 1]),
            scale=[1.0],
            offset=[0.0],
            mean=[],
            variance=[],
            is_training=True,
        )

    assert origin(step)[0].startswith('FusedBatchNormV3: ')


@pytest.mark.parametrize('name', ['assign_add', 'assign_sub'])
def test_trace_finds_variables_that_an_update_overflows(name):
    sign = 1.0 if name == 'assign_add' else -1.0
    variable = tf.Variable([3e38])
    first, *_ = origin(lambda: getattr(variable, name)([sign * 3e38]))
    assert 'VariableOp: 0 NaN and 1 infinite of 1 values' in first


def test_are_finite_checks_every_variable():
    values = ([1.0, 2.0], [1.0, float('nan')], [float('inf')])
    assert are_finite([tf.Variable(v) for v in values]).numpy().tolist() == [True, False, False]
