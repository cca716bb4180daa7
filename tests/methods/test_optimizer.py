"""Tests of the optimizers that methods use."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.methods.base import adam, piecewise_constant

SCHEDULE = (0.01, 8, ((0.5, 0.1),))  # a tenth of the rate from the fifth of eight updates on


@pytest.mark.parametrize('jit_compile', [False, True])
@pytest.mark.parametrize('betas', [(0.0, 0.9), (0.9, 0.999)])
def test_adam_equals_keras(betas, jit_compile):
    rng = np.random.default_rng(0)
    start = [rng.normal(size=shape).astype(np.float32) for shape in ([3, 4], [5])]
    fused, expected = ([keras.Variable(x) for x in start] for _ in range(2))
    optimizer = adam(piecewise_constant(*SCHEDULE), *betas, fused, 'ae')
    reference = keras.optimizers.Adam(piecewise_constant(*SCHEDULE), *betas, epsilon=1e-8)
    reference.build(expected)

    @tf.function(jit_compile=jit_compile)
    def update(gradients):
        optimizer.apply_gradients(zip(gradients, fused, strict=True))
        reference.apply_gradients(zip(gradients, expected, strict=True))

    for _ in range(8):
        update([tf.constant(rng.normal(size=x.shape), tf.float32) for x in start])
    variables = [*fused, *optimizer.variables[1:]]  # after the number of updates
    references = [*expected, *reference.variables[1:]]
    for variable, value in zip(variables, references, strict=True):
        np.testing.assert_allclose(variable.numpy(), value.numpy(), rtol=1e-5, atol=1e-7)
    assert int(optimizer.iterations.numpy()) == 8


def test_adam_is_one_operation_per_variable():
    variables = [keras.Variable(np.ones(n, np.float32)) for n in (2, 3)]
    optimizer = adam(0.1, 0.9, 0.999, variables, 'ae')

    @tf.function
    def update():
        optimizer.apply_gradients((tf.ones(v.shape), v) for v in variables)

    operations = update.get_concrete_function().graph.get_operations()
    assert [op.type for op in operations].count('ResourceApplyAdam') == 2
    assert not [op for op in operations if op.type in ('AssignSubVariableOp', 'Sqrt')]


def test_adam_accepts_sparse_gradients():
    table = keras.Variable(np.ones([3, 2], np.float32))
    optimizer = adam(0.1, 0.0, 0.9, [table], 'ae')
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.gather(table.value, [1]))
    optimizer.apply_gradients([(tape.gradient(loss, table.value), table)])
    np.testing.assert_allclose(table.numpy(), [[1, 1], [0.9, 0.9], [1, 1]], rtol=1e-5)
