"""Inception score: how sure a classifier is of each image, and how varied its answers are.

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
    """Score of what a classifier says of images: from 1 to the number of classes.

    Each split has a p(y) of its own, so the order of the images matters, and few images to a split
    lower the score. No image of the data is looked at.

    Args:
        logits: [n, classes] of the classifier, images in random order.
        num_splits: how many parts, of neighbouring images and equal but for one image, are scored.

    Raises:
        ValueError: fewer images than splits or than two, or a value that is not finite.
    """
    logits = checked_samples(logits)
    if len(logits) < num_splits:
        raise ValueError(f'fewer samples than splits: {len(logits)} and {num_splits}')
    scores = [_score(part) for part in np.array_split(logits, num_splits)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def _score(logits: np.ndarray) -> float:
    # Logarithms throughout: a probability that underflows would make 0 * log 0.
    log_p = special.log_softmax(logits, axis=1)
    log_marginal = special.logsumexp(log_p, axis=0) - np.log(len(logits))
    return np.exp(np.sum(np.exp(log_p) * (log_p - log_marginal), axis=1).mean())
