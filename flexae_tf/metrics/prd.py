"""Precision and recall of distributions, as Sajjadi et al. 2018 define them: PRD.

Both sets are clustered together; what is compared are the histograms of their clusters. At a slope
the precision is sum_w min(slope * real_w, fake_w) and the recall that over the slope (Eqs. 7, 8):
precision is lost by fakes where nothing is real, recall by what is real and not faked.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import threadpoolctl
from sklearn.cluster import MiniBatchKMeans

from flexae_tf.metrics.checks import checked_pair


class PrecisionRecall(NamedTuple):
    """Two scores in [0, 1], and the curve [num_angles] that they summarise.

    Attributes:
        precision: F_1/8, the largest of the curve.
        recall: F_8, likewise.
        precisions: rising with the angle.
        recalls: falling with the angle.
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
    """F_1/8 and F_8 of the curve averaged over several clusterings.

    Scores depend on the number of clusters and of samples: compare them at the same numbers only.

    Args:
        real: [n, d] features of the reference.
        fake: [n, d] features of what is judged, as many.
        num_clusters: bins of the histograms.
        num_angles: points of the curve.
        num_runs: clusterings averaged.
        seed: of the first clustering; the next have the numbers that follow.

    Raises:
        ValueError: different shapes, fewer samples than clusters, or a value that is not finite.
    """
    real, fake = checked_pair(real, fake)
    if len(real) != len(fake):
        raise ValueError(f'as many are needed on each side, not {len(real)} and {len(fake)}')
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
    """Precisions and recalls [num_angles], at slopes of angles equally spaced from 0 to pi / 2.

    Args:
        real_histogram: [num_clusters] shares that sum to 1.
        fake_histogram: likewise.
        num_angles: points of the curve.
    """
    slopes = np.tan(np.linspace(1e-10, np.pi / 2.0 - 1e-10, num_angles))
    precisions = np.minimum(slopes[:, None] * real_histogram, fake_histogram).sum(axis=1)
    # Sums of shares may pass 1 by rounding.
    return np.clip(precisions, 0.0, 1.0), np.clip(precisions / slopes, 0.0, 1.0)


def f_score(precisions: np.ndarray, recalls: np.ndarray, beta: float) -> float:
    """Largest F_beta on a curve; recall weighs beta times as much as precision."""
    weight = beta**2
    scores = (1.0 + weight) * precisions * recalls / (weight * precisions + recalls + 1e-10)
    return float(scores.max())


def _clusterings(
    real: np.ndarray, fake: np.ndarray, num_clusters: int, seeds: Sequence[int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For every seed the clusters [n], from 0 on, of the reals and of the fakes."""
    samples = np.concatenate([fake, real])
    labels = _equal_rows(samples, num_clusters)
    if labels is not None:
        return [(labels[len(fake) :], labels[: len(fake)])] * len(seeds)

    def cluster(seed: int) -> tuple[np.ndarray, np.ndarray]:
        means = MiniBatchKMeans(
            num_clusters, n_init=10, batch_size=1024, random_state=seed, compute_labels=False
        ).fit(samples)
        # One after the other, equal sets get equal labels: ties of two centres fall the same way.
        return means.predict(real), means.predict(fake)

    # A clustering is many small steps: a thread for each of several gains what threads within a
    # step would lose by waiting for each other, and leaves the order of its sums alone.
    workers = min(len(seeds), os.cpu_count() or 1)
    with threadpoolctl.threadpool_limits(1), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(cluster, seeds))


def _equal_rows(samples: np.ndarray, limit: int) -> np.ndarray | None:
    """Which rows of [n, d] are equal, as labels [n]; None where more than `limit` differ.

    Where no more points than clusters differ, each is a cluster; k-means would tear some apart.
    """
    labels = {}
    rows = []
    for row in samples:
        rows.append(labels.setdefault((row + 0.0).tobytes(), len(labels)))  # -0.0 becomes 0.0
        if len(labels) > limit:
            return None
    return np.array(rows)
