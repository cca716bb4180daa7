"""The examples of every step."""

import numpy as np
import tensorflow as tf

from flexae_tf.data.batches import Batches

STEPS = [tf.constant(step, tf.int64) for step in (5, 6)]


def batches(x, *, batch_size=64, seed=0):
    return Batches(x, batches_per_step=3, batch_size=batch_size, seed=seed)


def test_they_are_a_function_of_seed_step_and_block():
    x = np.arange(2000, dtype=np.float32).reshape(1000, 2)
    drawn = batches(x)
    indices = drawn.indices(STEPS[0]).numpy()
    assert indices.shape == (3, 64) and indices.min() >= 0 and indices.max() < 1000
    np.testing.assert_array_equal(batches(x).indices(STEPS[0]), indices)
    np.testing.assert_array_equal(drawn(STEPS[0]), x[indices])
    others = [drawn.indices(STEPS[1]), batches(x, seed=1).indices(STEPS[0])]
    rows = np.concatenate([indices, *others])
    assert len({row.tobytes() for row in rows}) == 9


def test_every_example_has_its_turn():
    drawn = batches(np.zeros([20, 1], np.float32), batch_size=500)
    counts = np.bincount(drawn.indices(STEPS[0]).numpy().ravel(), minlength=20)
    assert counts.min() > 40 and counts.max() < 115  # of 75 each


def test_images_come_in_the_unit_interval():
    images = np.random.default_rng(0).integers(0, 256, [30, 4, 4, 3]).astype(np.uint8)
    drawn = batches(images)
    found = drawn(STEPS[0])
    assert found.dtype == tf.float32
    expected = images[drawn.indices(STEPS[0]).numpy()] / 255.0
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_replicas_share_what_one_would_see(mirrored):
    x = np.arange(1000, dtype=np.float32)[:, None]
    whole, halves, strategy = batches(x), batches(x, batch_size=32), mirrored(2)
    shares = strategy.experimental_local_results(strategy.run(halves.indices, [STEPS[0]]))
    together = np.concatenate([share.numpy() for share in shares], axis=1)
    np.testing.assert_array_equal(together, whole.indices(STEPS[0]))
