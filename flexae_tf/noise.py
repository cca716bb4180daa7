"""Stateless random numbers: (seed, step, role) -> normals, uniforms, integers, masks, permutations.

All random numbers of training, sampling and splits come from this module, also the seeds of initial
weights. It has no state, so any step can be repeated, and a resumed run receives the same numbers
as an uninterrupted run.

TensorFlow's float generators give different numbers under XLA. Its integer generator does not, if
the algorithm is given. So this module converts random bits to floats itself.

Inside `tf.distribute`, a replica receives its slice of the sample for the global batch, so the
numbers do not depend on the number of replicas. The first axis of every shape is the batch.
"""

import enum

import tensorflow as tf

Key = tf.Tensor  # int32 [2]


class Role(enum.IntEnum):
    """Uses of random numbers. Values must not change: every recorded run depends on them."""

    WEIGHTS = 0
    BATCH = 1
    CRITIC_NOISE = 2
    CRITIC_MIX = 3
    SAMPLE = 4
    SYNTHETIC_DATA = 5
    SPLIT = 6
    PROJECTION = 7
    POSTERIOR = 8
    DROPOUT = 9
    DIRECTION = 10
    IMAGE_MIX = 11


def key(seed: int, step: int | tf.Tensor, role: Role, index: int = 0) -> Key:
    """Returns the key of the random numbers of a role at a step.

    Args:
        seed: seed of the run.
        step: number of the step.
        role: use of the numbers.
        index: distinguishes several samples of one role at one step.
    """
    key_ = tf.stack([tf.cast(seed, tf.int32), int(role)])
    # `fold_in` hashes the old key to 32 bits and keeps the new number unchanged. With the step
    # last, no two steps share a key.
    key_ = tf.random.fold_in(key_, index, alg='philox')
    return tf.random.fold_in(key_, tf.cast(step, tf.int32), alg='philox')


def uniform(key_: Key, shape: tuple | list) -> tf.Tensor:
    """Returns uniform float32 in the open interval (0, 1), out of 2^23 equally spaced values."""
    return _as_uniform(_bits(key_, shape))


def normal(key_: Key, shape: tuple | list) -> tf.Tensor:
    """Returns standard normal float32 by the inverse distribution function; |value| < 5.4."""
    return tf.math.ndtri(uniform(key_, shape))


def shared_normal(key_: Key, shape: tuple | list) -> tf.Tensor:
    """Returns standard normal float32, the same on every replica; no axis is the batch."""
    return tf.math.ndtri(_as_uniform(_global_bits(key_, shape)))


def dropout(key_: Key, shape: tuple | list, *, rate: float) -> tf.Tensor:
    """Returns a dropout mask: 0 with probability `rate`, else 1 / (1 - rate), float32."""
    return tf.cast(uniform(key_, shape) > rate, tf.float32) / (1.0 - rate)


def integers(key_: Key, shape: tuple | list, limit: int) -> tf.Tensor:
    """Returns uniform int32 in [0, limit), with replacement; bias at most limit / 2^31."""
    return _positive(_bits(key_, shape)) % limit


def permutation(key_: Key, num: int) -> tf.Tensor:
    """Returns a uniformly sampled permutation of 0 .. num - 1, int32 [num]."""
    # Ties of 31-bit values keep their order, a negligible bias.
    return tf.argsort(_positive(_bits(key_, [num])), stable=True)


def _as_uniform(bits: tf.Tensor) -> tf.Tensor:
    """Converts the upper 23 of 32 random bits to float32 in (0, 1)."""
    upper = tf.cast(tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32)), tf.float32)
    return (upper + 0.5) * 2.0**-23


def _positive(bits: tf.Tensor) -> tf.Tensor:
    """Converts the upper 31 of 32 random bits to int32."""
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(1, tf.uint32)), tf.int32)


def _bits(key_: Key, shape: tuple | list) -> tf.Tensor:
    """Returns random uint32 of a shape: this replica's slice of the sample of all replicas."""
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync if context else 1
    if replicas == 1:
        return _global_bits(key_, shape)
    batch = shape[0]
    bits = _global_bits(key_, [replicas * batch, *shape[1:]])
    start = context.replica_id_in_sync_group * batch
    return bits[start : start + batch]


def _global_bits(key_: Key, shape: tuple | list) -> tf.Tensor:
    return tf.random.stateless_uniform(shape, key_, None, None, tf.uint32, alg='philox')
