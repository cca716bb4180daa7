"""(seed, step, role) -> normals, uniforms, integers, masks, permutations: the only randomness.

Nothing here keeps state, so any step can be replayed alone and a resumed run sees the draws of an
uninterrupted one. TensorFlow's float generators give other numbers under XLA than without; its
integer bits do not, provided the algorithm is named. So bits are drawn and turned into floats here.

Inside `tf.distribute` a draw is the replica's slice of the draw for the global batch: the number of
replicas does not change what is drawn. The first dimension of every shape is therefore the batch.
"""

import enum

import tensorflow as tf

Key = tf.Tensor  # int32 [2]


class Role(enum.IntEnum):
    """Who draws. Numbers are for ever: changing one changes every recorded run."""

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
    """The key of the draws of `role` at `step`; `index` tells repeated draws of a step apart."""
    key_ = tf.stack([tf.cast(seed, tf.int32), int(role)])
    # Folding hashes what was there to 32 bits and keeps the new number as it is: with the step
    # last, no two steps share a key.
    key_ = tf.random.fold_in(key_, index, alg='philox')
    return tf.random.fold_in(key_, tf.cast(step, tf.int32), alg='philox')


def uniform(key_: Key, shape: tuple | list) -> tf.Tensor:
    """Uniform float32 in (0, 1), never an end point; one of 2^23 equally spaced values."""
    return _as_uniform(_bits(key_, shape))


def normal(key_: Key, shape: tuple | list) -> tf.Tensor:
    """Standard normal float32, by the inverse of the distribution function; |value| < 5.4."""
    return tf.math.ndtri(uniform(key_, shape))


def shared_normal(key_: Key, shape: tuple | list) -> tf.Tensor:
    """Standard normal float32 that is the same on every replica: its first axis is no batch."""
    drawn = tf.random.stateless_uniform(shape, key_, None, None, tf.uint32, alg='philox')
    return tf.math.ndtri(_as_uniform(drawn))


def dropout(key_: Key, shape: tuple | list, *, rate: float) -> tf.Tensor:
    """What dropout multiplies by: 0 with probability `rate`, else 1 / (1 - rate), float32."""
    return tf.cast(uniform(key_, shape) > rate, tf.float32) / (1.0 - rate)


def integers(key_: Key, shape: tuple | list, limit: int) -> tf.Tensor:
    """Uniform int32 in [0, limit), with replacement; even to one part in 2^31 / limit."""
    return _positive(_bits(key_, shape)) % limit


def permutation(key_: Key, num: int) -> tf.Tensor:
    """A uniformly drawn order of 0 .. num - 1, int32 [num]."""
    # Ties among 31-bit values keep their order: a bias no split of a data set can feel.
    return tf.argsort(_positive(_bits(key_, [num])), stable=True)


def _as_uniform(bits: tf.Tensor) -> tf.Tensor:
    """The upper 23 of 32 random bits, as float32 in (0, 1)."""
    upper = tf.cast(tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32)), tf.float32)
    return (upper + 0.5) * 2.0**-23


def _positive(bits: tf.Tensor) -> tf.Tensor:
    """The upper 31 of 32 random bits, as int32."""
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(1, tf.uint32)), tf.int32)


def _bits(key_: Key, shape: tuple | list) -> tf.Tensor:
    """Random uint32 of the given shape: this replica's slice of the global draw."""
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync if context else 1
    if replicas == 1:
        return tf.random.stateless_uniform(shape, key_, None, None, tf.uint32, alg='philox')
    batch = shape[0]
    drawn = tf.random.stateless_uniform(
        [replicas * batch, *shape[1:]], key_, None, None, tf.uint32, alg='philox'
    )
    start = context.replica_id_in_sync_group * batch
    return drawn[start : start + batch]
