"""Precision and recall of distributions (PRD) of Sajjadi et al. 2018.

Both sets are clustered together, and the histograms of their clusters are compared. At a slope the
precision is sum_w min(slope * real_w, fake_w) and the recall is the precision / slope (Eqs. 7, 8).
Fakes in regions without reals lower the precision; reals in regions without fakes lower the recall.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import threadpoolctl
from sklearn.cluster import MiniBatchKMeans

from flexae_tf import shutdown
from flexae_tf.metrics.checks import checked_pair


class PrecisionRecall(NamedTuple):
    """Two scores in [0, 1] and the curve [num_angles] that they summarize.

    Attributes:
        precision: maximum F_1/8 of the curve.
        recall: maximum F_8 of the curve.
        precisions: increasing with the angle.
        recalls: decreasing with the angle.
    """

    precision: float
    recall: float
    precisions: np.ndarray
    recalls: np.ndarray


def precision_recall(
    real: np.ndarray,
    fake: np.ndarray,
    *,
    num_clusters: int = 20,
    num_angles: int = 1001,
    num_runs: int = 10,
    seed: int = 0,
) -> PrecisionRecall:
    """Returns F_1/8 and F_8 of the curve averaged over several clusterings.

    Scores depend on the numbers of clusters and samples; compare them at equal numbers only.

    Args:
        real: [n, d] features of the reference.
        fake: [n, d] features of the scored set.
        num_clusters: number of histogram bins.
        num_angles: number of points of the curve.
        num_runs: number of clusterings.
        seed: seed of the first clustering; the others have the following numbers.

    Raises:
        ValueError: different shapes, fewer samples than clusters, or a value that is not finite.
    """
    real, fake = checked_pair(real, fake)
    if len(real) != len(fake):
        raise ValueError(f'both sets must have equal sizes, not {len(real)} and {len(fake)}')
    if len(real) < num_clusters:
        raise ValueError(f'fewer samples than clusters: {len(real)} and {num_clusters}')
    curves = []
    for labels in _clusterings(real, fake, num_clusters, range(seed, seed + num_runs)):
        histograms = [np.bincount(part, minlength=num_clusters) / len(part) for part in labels]
        curves.append(curve(*histograms, num_angles))
    precisions, recalls = np.mean(curves, axis=0)
    return PrecisionRecall(
        f_score(precisions, recalls, 1.0 / 8.0),
        f_score(precisions, recalls, 8.0),
        precisions,
        recalls,
    )


def curve(
    real_histogram: np.ndarray, fake_histogram: np.ndarray, num_angles: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns precisions and recalls [num_angles] at angles equally spaced from 0 to pi / 2.

    Args:
        real_histogram: [num_clusters] shares that sum to 1.
        fake_histogram: [num_clusters] shares that sum to 1.
        num_angles: number of points of the curve.
    """
    slopes = np.tan(np.linspace(1e-10, np.pi / 2.0 - 1e-10, num_angles))
    precisions = np.minimum(slopes[:, None] * real_histogram, fake_histogram).sum(axis=1)
    # Rounding may push sums of shares above 1.
    return np.clip(precisions, 0.0, 1.0), np.clip(precisions / slopes, 0.0, 1.0)


def f_score(precisions: np.ndarray, recalls: np.ndarray, beta: float) -> float:
    """Returns the largest F_beta on a curve; recall weighs beta times as much as precision."""
    weight = beta**2
    scores = (1.0 + weight) * precisions * recalls / (weight * precisions + recalls + 1e-10)
    return float(scores.max())


def _clusterings(
    real: np.ndarray, fake: np.ndarray, num_clusters: int, seeds: Sequence[int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns for every seed the cluster indices [n] of the reals and of the fakes."""
    samples = np.concatenate([fake, real])
    labels = _equal_rows(samples, num_clusters)
    if labels is not None:
        return [(labels[len(fake) :], labels[: len(fake)])] * len(seeds)

    def cluster(seed: int) -> tuple[np.ndarray, np.ndarray]:
        shutdown.check('between clusterings')
        means = MiniBatchKMeans(
            num_clusters, n_init=10, batch_size=1024, random_state=seed, compute_labels=False
        ).fit(samples)
        # In two calls, so that equal sets get equal labels: ties are broken in the same way.
        return means.predict(real), means.predict(fake)

    # A clustering is many small steps, so one thread per clustering is faster than many threads in
    # each step. It also keeps the order of sums fixed.
    workers = min(len(seeds), os.cpu_count() or 1)
    with threadpoolctl.threadpool_limits(1), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(cluster, seeds))


def _equal_rows(samples: np.ndarray, limit: int) -> np.ndarray | None:
    """Returns labels [n] of equal rows of [n, d]; None if there are more than `limit` labels.

    With at most as many different points as clusters, each point is a cluster; k-means would split
    some of them.
    """
    labels = {}
    rows = []
    for row in samples:
        rows.append(labels.setdefault((row + 0.0).tobytes(), len(labels)))  # -0.0 becomes 0.0
        if len(labels) > limit:
            return None
    return np.array(rows)
