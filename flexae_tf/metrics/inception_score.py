"""Inception score: confidence of a classifier in each image, and diversity of its labels.

exp(mean_x KL(p(y | x) || p(y)))    (Salimans et al. 2016)
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from flexae_tf.metrics.checks import checked_samples


class InceptionScore(NamedTuple):
    """Mean and standard deviation over the splits."""

    mean: float
    sd: float


def inception_score(logits: np.ndarray, *, num_splits: int = 10) -> InceptionScore:
    """Returns the score of class logits, from 1 to the number of classes.

    Each split has its own p(y), so the order of the images matters, and few images per split lower
    the score. Real images are not used.

    Args:
        logits: [n, classes] of images in random order.
        num_splits: number of consecutive parts, equal except for one image, that are scored.

    Raises:
        ValueError: fewer than two images, fewer images than splits, or a value that is not finite.
    """
    logits = checked_samples(logits)
    if len(logits) < num_splits:
        raise ValueError(f'fewer samples than splits: {len(logits)} and {num_splits}')
    scores = [_score(part) for part in np.array_split(logits, num_splits)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def _score(logits: np.ndarray) -> float:
    # In logarithms, because a probability that underflows would give 0 * log 0.
    log_p = special.log_softmax(logits, axis=1)
    log_marginal = special.logsumexp(log_p, axis=0) - np.log(len(logits))
    return np.exp(np.sum(np.exp(log_p) * (log_p - log_marginal), axis=1).mean())
