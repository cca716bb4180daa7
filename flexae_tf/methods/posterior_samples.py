"""Codes of many examples, sampled from their posteriors, or the posteriors themselves."""

import itertools

import numpy as np
import tensorflow as tf

from flexae_tf.data.batches import map_batches
from flexae_tf.methods.base import Method

BATCH = 256
# Log variance of a code without spread, far below the resolution of every method.
NO_SPREAD = -20.0


def sample_codes(method: Method, x: np.ndarray, *, seed: int) -> np.ndarray:
    """Samples q(z given x) once for each example; a deterministic method returns its codes.

    Args:
        method: the method.
        x: examples [n, ...].
        seed: seed of the first batch; each batch has a seed of its own.

    Returns:
        float32 [n, latent_dim].
    """
    seeds = itertools.count(seed)

    def sample_batch(batch: tf.Tensor) -> tf.Tensor:
        return method.traced.sample_posterior(batch, tf.constant(next(seeds) % 2**31))

    return map_batches(sample_batch, x, BATCH)


def posterior_parameters(method: Method, x: np.ndarray, *, seed: int) -> np.ndarray:
    """Returns mean and log variance of q(z given x) side by side, float32 [n, 2 latent_dim].

    A posterior that is not Gaussian is represented by a sample with log variance `NO_SPREAD`.

    Args:
        method: the method.
        x: examples [n, ...].
        seed: as for `sample_codes`.
    """
    if method.method_spec.posterior != 'gaussian':
        codes = sample_codes(method, x, seed=seed)
        return np.concatenate([codes, np.full_like(codes, NO_SPREAD)], axis=1)
    return map_batches(method.traced.posterior, x, BATCH)
