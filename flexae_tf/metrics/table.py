"""The table of metrics: what each computes from the features of two sets, and its protocol name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from flexae_tf.errors import UsageError
from flexae_tf.evaluation.features import Features
from flexae_tf.metrics import frechet, inception_score, kid, latent, prd, prdc
from flexae_tf.metrics.frechet import Moments
from flexae_tf.metrics.protocol import FRECHET


class Estimate(NamedTuple):
    """A number, and the spread that its estimator knows of: over subsets, or over splits."""

    value: float
    sd: float | None = None


class Scored(NamedTuple):
    """What a metric has to say of two sets."""

    estimates: dict[str, Estimate]  # by stem of their name
    curve: tuple[np.ndarray, np.ndarray] | None = None  # recall and precision, each [angles]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A row of the table.

    Attributes:
        estimator: as `Protocol.estimator`.
        minimum: the fewest examples on each side.
        compute: real side, other side -> scores.
    """

    estimator: str
    minimum: int
    compute: Callable[[Features | Moments, Features], Scored]


def _frechet(real: Features | Moments, fake: Features) -> Scored:
    if isinstance(real, Moments):
        if real.mean.size != fake.rows.shape[1]:
            raise UsageError(
                f'statistics of {real.mean.size} dimensions do not fit features of '
                f'{fake.rows.shape[1]}: correct --reference_statistics or --feature_layer'
            )
        value = frechet.frechet_distance_of_moments(real, frechet.moments(fake.rows))
    else:
        value = frechet.frechet_distance(real.rows, fake.rows)
    return Scored({'fd': Estimate(value)})


def _frechet_infinity(real: Features, fake: Features) -> Scored:
    value = frechet.frechet_distance_infinity(real.rows, fake.rows)
    return Scored({'fd_infinity': Estimate(value)})


def _kernel(real: Features, fake: Features) -> Scored:
    return Scored({'kd': Estimate(*kid.kernel_distance(real.rows, fake.rows))})


def _prd(real: Features, fake: Features) -> Scored:
    scores = prd.precision_recall(real.rows, fake.rows)
    estimates = {
        'prd_precision': Estimate(scores.precision),
        'prd_recall': Estimate(scores.recall),
    }
    return Scored(estimates, (scores.recalls, scores.precisions))


def _improved(real: Features, fake: Features) -> Scored:
    scores = prdc.improved_precision_recall(real.rows, fake.rows)
    return Scored(
        {
            'improved_precision': Estimate(scores.precision),
            'improved_recall': Estimate(scores.recall),
        }
    )


def _density(real: Features, fake: Features) -> Scored:
    scores = prdc.density_coverage(real.rows, fake.rows)
    return Scored({'density': Estimate(scores.density), 'coverage': Estimate(scores.coverage)})


def _inception_score(_: Features, fake: Features) -> Scored:
    score = inception_score.inception_score(fake.logits)
    return Scored({'inception_score': Estimate(*score)})


def code_metric() -> Metric:
    """Codes of data [n, m] against [2 n, m] of the prior: how far, of what scale and rank.

    The distance comes as it is and over the scale of the codes of data, since a method may shrink
    them. The floor is the distance of the two halves of the prior's codes.
    """

    def compute(real: Features, fake: Features) -> Scored:
        z, z_hat, other = real.rows, *np.split(fake.rows, 2)
        distances = {
            'sliced_wasserstein': latent.sliced_wasserstein(z, z_hat),
            'sliced_wasserstein_floor': latent.sliced_wasserstein(z_hat, other),
        }
        shapes = {
            'z_scale': latent.scale(z),
            'z_hat_scale': latent.scale(z_hat),
            'z_rank': latent.effective_rank(z),
            'z_hat_rank': latent.effective_rank(z_hat),
        }
        return Scored(_as_is_and_scaled(distances, z) | _estimates(shapes))

    return Metric('codes_sliced_wasserstein_500', 2, compute)


def critic_metric(
    critic_distance: Callable[[np.ndarray, np.ndarray], np.ndarray], checkpoint: str
) -> Metric:
    """The distance of codes as a method's own critic sees it.

    Args:
        critic_distance: as `Method.critic_distance`.
        checkpoint: the critic's; another critic's estimate cannot be compared with this.
    """

    def compute(real: Features, fake: Features) -> Scored:
        z, z_hat = real.rows, fake.rows[: len(real.rows)]
        distances = {'critic_distance': float(critic_distance(z, z_hat))}
        return Scored(_as_is_and_scaled(distances, z))

    return Metric(f'critic_of_{checkpoint}', 2, compute)


def _as_is_and_scaled(distances: dict[str, float], z: np.ndarray) -> dict[str, Estimate]:
    scale = latent.scale(z)
    if scale > 0.0:
        distances = distances | {f'{k}_scaled': v / scale for k, v in distances.items()}
    return _estimates(distances)


def _estimates(values: dict[str, float]) -> dict[str, Estimate]:
    return {stem: Estimate(value) for stem, value in values.items()}


METRICS = {
    'fd': Metric(FRECHET, 2, _frechet),
    'kd': Metric('kernel_cubic_unbiased_100x1000', 2, _kernel),
    'prd': Metric('prd_k20_a1001_r10', 20, _prd),
    'improved': Metric('knn_3', 4, _improved),
    'density': Metric('knn_5', 6, _density),
    'fd_infinity': Metric('frechet_infinity_15', 30, _frechet_infinity),
    'inception_score': Metric('inception_score_10', 10, _inception_score),
}
