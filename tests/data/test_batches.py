import signal

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.data.batches import Batches, ParallelFunction, batch_indices, map_batches
from flexae_tf.errors import Interrupted
from flexae_tf.shutdown import GracefulShutdown

STEPS = [tf.constant(step, tf.int64) for step in (5, 6)]


def make(x, *, batch_size=64, seed=0):
    return Batches(x, batches_per_step=3, batch_size=batch_size, seed=seed)


def test_indices_depend_on_seed_step_and_batch():
    x = np.arange(2000, dtype=np.float32).reshape(1000, 2)
    batches = make(x)
    indices = batches.indices(STEPS[0]).numpy()
    assert indices.shape == (3, 64) and indices.min() >= 0 and indices.max() < 1000
    np.testing.assert_array_equal(make(x).indices(STEPS[0]), indices)
    np.testing.assert_array_equal(batches(STEPS[0]), x[indices])
    others = [batches.indices(STEPS[1]), make(x, seed=1).indices(STEPS[0])]
    rows = np.concatenate([indices, *others])
    assert len({row.tobytes() for row in rows}) == 9


def test_indices_are_uniform():
    batches = make(np.zeros([20, 1], np.float32), batch_size=500)
    counts = np.bincount(batches.indices(STEPS[0]).numpy().ravel(), minlength=20)
    assert counts.min() > 40 and counts.max() < 115  # 75 on average


def test_batches_of_images_are_scaled_to_the_unit_interval():
    images = np.random.default_rng(0).integers(0, 256, [30, 4, 4, 3]).astype(np.uint8)
    batches = make(images)
    x = batches(STEPS[0])
    assert x.dtype == tf.float32
    expected = images[batches.indices(STEPS[0]).numpy()] / 255.0
    np.testing.assert_allclose(x, expected, rtol=1e-6)


def test_replicas_receive_slices_of_the_global_batch(mirrored):
    x = np.arange(1000, dtype=np.float32)[:, None]
    whole, halves, strategy = make(x), make(x, batch_size=32), mirrored(2)
    slices = strategy.experimental_local_results(strategy.run(halves.indices, [STEPS[0]]))
    joined = np.concatenate([part.numpy() for part in slices], axis=1)
    np.testing.assert_array_equal(joined, whole.indices(STEPS[0]))
    sizes = dict(num=1000, batches_per_step=3, batch_size=64, seed=0)
    with strategy.scope():  # outside the replicas
        np.testing.assert_array_equal(batch_indices(STEPS[0], **sizes), joined)


@pytest.mark.parametrize('num', [1, 7, 8, 9])
def test_map_batches_pads_the_last_batch_and_traces_once(num):
    images = np.random.default_rng(0).integers(0, 256, [num, 2, 2, 1]).astype(np.uint8)
    function = tf.function(lambda x: 2.0 * x)
    results = map_batches(function, images, batch_size=4)
    np.testing.assert_allclose(results, 2.0 * images / 255.0, rtol=1e-6)
    assert function.experimental_get_tracing_count() == 1


def test_map_batches_stops_after_the_batch_of_a_signal():
    batches = []

    def function(batch):
        batches.append(batch)
        if len(batches) == 2:
            signal.raise_signal(signal.SIGTERM)
        return batch

    with GracefulShutdown(), pytest.raises(Interrupted):
        map_batches(function, np.zeros([7, 2], np.float32), 2)
    assert len(batches) == 2


@pytest.mark.parametrize('num', [1, 3, 4, 5, 8, 9, 17])
def test_devices_share_the_batches(num, mirrored):
    strategy = mirrored(2)
    with strategy.scope():
        weights = tf.Variable(np.random.default_rng(0).normal(size=[12, 5]).astype(np.float32))
    function = tf.function(
        lambda x: tf.reshape(x, [-1, 12]) @ weights,
        input_signature=[tf.TensorSpec([None, 2, 2, 3], tf.float32)],
    )
    images = np.random.default_rng(1).integers(0, 256, [num, 2, 2, 3]).astype(np.uint8)
    expected = map_batches(function, images, batch_size=4)
    parallel = ParallelFunction(function, strategy)
    for _ in range(2):
        shared = map_batches(parallel, images, batch_size=4)
        np.testing.assert_array_equal(shared, expected)
    assert function.experimental_get_tracing_count() == 1 + 2  # of one device, and of each
    # Only the second device reads its copy of the weights.
    strategy.experimental_local_results(weights)[1].assign(tf.zeros([12, 5]))
    second = np.arange(num) // min(num, 4) % 2 == 1
    expected[second] = 0.0
    np.testing.assert_array_equal(map_batches(parallel, images, batch_size=4), expected)
