"""Codes of examples: draws of their posteriors, or these themselves."""

import itertools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from flexae_tf.data.batches import map_batches
from flexae_tf.methods.base import Method

BATCH = 256
# Of a code that has no spread: far below what any of the methods distinguishes.
NO_SPREAD = -20.0


def draw_codes(
    method: Method, x: np.ndarray, *, seed: int, compiled: Callable | None = None
) -> np.ndarray:
    """A draw of q(z given x) for each example [n, ...]: float32 [n, latent_dim].

    The code itself where the method is deterministic. Who draws often gives the `tf.function` of
    the method's `sample_posterior`, which is compiled for each call without.
    """
    seeds = itertools.count(seed)  # another one for every batch
    sample = compiled or tf.function(method.sample_posterior)

    def draw(batch: tf.Tensor) -> tf.Tensor:
        return sample(batch, tf.constant(next(seeds) % 2**31))

    return map_batches(draw, x, BATCH)


def posteriors(method: Method, x: np.ndarray, *, seed: int) -> np.ndarray:
    """Mean and log variance of q(z given x) side by side: float32 [n, 2 latent_dim].

    A posterior that is not Gaussian is represented by a draw without spread.
    """
    if method.method_spec.posterior != 'gaussian':
        codes = draw_codes(method, x, seed=seed)
        return np.concatenate([codes, np.full_like(codes, NO_SPREAD)], axis=1)

    @tf.function
    def both(batch: tf.Tensor) -> tf.Tensor:
        return tf.concat(method.posterior(batch, training=False), axis=1)

    return map_batches(both, x, BATCH)
