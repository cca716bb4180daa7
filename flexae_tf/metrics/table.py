"""The table of metrics: one row for each metric, with everything that the evaluation needs."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from flexae_tf.config.external import import_object
from flexae_tf.errors import UsageError
from flexae_tf.metrics import (
    frechet,
    inception_score,
    kid,
    latent,
    memorization,
    paired,
    prd,
    prdc,
)
from flexae_tf.metrics.frechet import Moments
from flexae_tf.metrics.protocol import FRECHET


class Features(NamedTuple):
    """Features of a set of examples, or what metrics of another kind compare.

    Attributes:
        rows: float32 [n, d]; for metrics of pairs the images, [n, h, w, c] in 0..255; for metrics
            of training distances float64 [n, 1].
        logits: class logits of the feature network, float32 [n, classes]; None if the network has
            no logits of known meaning.
        critic_distance: `Method.critic_distance` of the model that the codes come from; None if the
            model has no critic, or for features of examples.
    """

    rows: np.ndarray
    logits: np.ndarray | None = None
    critic_distance: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None


class MetricResult(NamedTuple):
    """Scores of one set, by stem of their name.

    Attributes:
        values: the scores.
        estimator_sd: standard deviation over the estimator's own parts (subsets, splits), for the
            stems that have one.
        curve: recall and precision, each [angles]; None if the metric has no curve.
    """

    values: dict[str, float]
    estimator_sd: dict[str, float] = {}
    curve: tuple[np.ndarray, np.ndarray] | None = None


@dataclasses.dataclass(frozen=True)
class Metric:
    """A row of the table.

    Attributes:
        name: value of `--metrics`.
        estimator: field `estimator` of the protocol. It must differ from the estimators of other
            metrics and change when a parameter of the computation changes. `{checkpoint}` in it is
            replaced by the digest of the scored checkpoint.
        minimum: smallest number of examples on each side.
        compute: (reference, scored set) -> scores.
        needs_logits: whether `Features.logits` of the scored set are used.
        accepts_moments: whether the reference may be `Moments` instead of `Features`.
        compares: 'features' of examples; 'pairs', image i with its reconstruction i, where
            `Features.rows` of both sides hold the images; latent 'codes', where the reference
            holds n codes of data and the scored set 2 n codes of the prior; or
            'training_distances' of images to the nearest training images.
        by_default: whether the metric is computed without `--metrics`.
        needs_critic: whether `Features.critic_distance` of the scored set is used.
        smallest_side: smallest side of the images of a metric of pairs.
        needs_full_rank: whether the metric is mostly bias if there are no more examples than
            features.
        bootstrap_sd: (reference rows, scored rows, num_resamples=, paired=) -> standard deviation
            by the bootstrap; None if the metric has none.
    """

    name: str
    estimator: str
    minimum: int
    compute: Callable[[Features | Moments, Features], MetricResult]
    needs_logits: bool = False
    accepts_moments: bool = False
    compares: str = 'features'
    by_default: bool = True
    needs_critic: bool = False
    smallest_side: int = 1
    needs_full_rank: bool = False
    bootstrap_sd: Callable[..., float] | None = None


def find(name: str) -> Metric:
    """Returns the metric called `name`.

    Args:
        name: a key of `METRICS`, or `package.module:NAME` for a `Metric` from outside this package.

    Raises:
        UsageError: the metric is unknown, or an outside metric cannot be imported.
    """
    if ':' not in name:
        if name not in METRICS:
            choices = ', '.join(METRICS)
            raise UsageError(
                f'--metrics={name}: unknown metric. Choose from {choices}, or package.module:NAME.'
            )
        return METRICS[name]
    metric = import_object(name, flag='--metrics')
    if not isinstance(metric, Metric):
        raise UsageError(f'--metrics={name}: not a flexae_tf.metrics.table.Metric. Give a Metric.')
    if metric.estimator in {row.estimator for row in METRICS.values()}:
        raise UsageError(
            f'--metrics={name}: estimator {metric.estimator!r} belongs to a metric of flexae_tf. '
            'Give the metric another estimator.'
        )
    return metric


def select(
    names: Sequence[str], *, num: int, has_logits: bool = False, moments: bool = False
) -> list[Metric]:
    """Returns the metrics of sets of examples among `names`; all that apply if `names` is empty.

    Args:
        names: metrics for `find`.
        num: number of examples on each side.
        has_logits: whether the features have logits.
        moments: whether the reference is `Moments`.

    Raises:
        UsageError: a named metric does not apply.
    """
    if not names:
        return [
            metric
            for metric in _defaults('features')
            if num >= metric.minimum
            and (has_logits or not metric.needs_logits)
            and (metric.accepts_moments or not moments)
        ]
    found = _named(names, 'features')
    for metric in found:
        if num < metric.minimum:
            raise UsageError(
                f'--metrics={metric.name}: needs at least {metric.minimum} examples on each side, '
                f'not {num}. Score more examples or leave the metric out.'
            )
        if metric.needs_logits and not has_logits:
            raise UsageError(
                f'--metrics={metric.name}: needs the logits of the Inception graph of 2015. '
                'Leave it out, or use that network.'
            )
        if moments and not metric.accepts_moments:
            accepting = ','.join(row.name for row in METRICS.values() if row.accepts_moments)
            raise UsageError(
                f'--metrics={metric.name}: needs features, but --reference_statistics holds '
                f'mean and covariance. Use --metrics={accepting}.'
            )
    return found


def select_of_pairs(names: Sequence[str], shape: tuple[int, ...]) -> list[Metric]:
    """Returns the metrics of pairs among `names`; all that apply if `names` is empty.

    Args:
        names: metrics for `find`.
        shape: of one example, (h, w, c) of images or (d,) of vectors.

    Raises:
        UsageError: a named metric needs images or larger images.
    """
    side = min(shape[:2]) if len(shape) == 3 else 0
    if not names:
        return [metric for metric in _defaults('pairs') if side >= metric.smallest_side]
    found = _named(names, 'pairs')
    for metric in found:
        if side < metric.smallest_side:
            raise UsageError(
                f'--metrics={metric.name}: needs images with sides of at least '
                f'{metric.smallest_side}, not {list(shape)}. Leave it out.'
            )
    return found


def select_of_codes(names: Sequence[str], *, has_critic: bool) -> list[Metric]:
    """Returns the metrics of codes among `names`; without any, all that apply.

    Raises:
        UsageError: a named metric needs a critic and the model has none.
    """
    found = _named(names, 'codes')
    for metric in found:
        if metric.needs_critic and not has_critic:
            raise UsageError(f'--metrics={metric.name}: the method has no critic. Leave it out.')
    return found or [m for m in _defaults('codes') if has_critic or not m.needs_critic]


def select_of_training_distances(
    names: Sequence[str], shape: tuple[int, ...], *, split: str
) -> list[Metric]:
    """Returns the metrics of training distances among `names`; all that apply if it is empty.

    Args:
        names: metrics for `find`.
        shape: of one example, (h, w, c) of images or (d,) of vectors.
        split: split of the real examples.

    Raises:
        UsageError: a named metric needs images, or images that were not trained on.
    """
    images = len(shape) == 3
    if not names:
        return _defaults('training_distances') if images and split != 'train' else []
    found = _named(names, 'training_distances')
    for metric in found:
        if not images:
            raise UsageError(
                f'--metrics={metric.name}: needs images, not {list(shape)}. Leave it out.'
            )
        if split == 'train':
            raise UsageError(
                f'--metrics={metric.name}: needs real images that were not trained on. Use '
                '--split=test.'
            )
    return found


def _named(names: Sequence[str], compares: str) -> list[Metric]:
    return [metric for metric in map(find, names) if metric.compares == compares]


def _defaults(compares: str) -> list[Metric]:
    return [m for m in METRICS.values() if m.compares == compares and m.by_default]


def _frechet(reference: Features | Moments, scored: Features) -> MetricResult:
    if isinstance(reference, Moments):
        if reference.mean.size != scored.rows.shape[1]:
            raise UsageError(
                f'--reference_statistics: {reference.mean.size} dimensions, but features have '
                f'{scored.rows.shape[1]}. Correct the file or --feature_layer.'
            )
        value = frechet.frechet_distance_of_moments(reference, frechet.moments(scored.rows))
    else:
        value = frechet.frechet_distance(reference.rows, scored.rows)
    return MetricResult({'fd': value})


def _frechet_infinity(reference: Features, scored: Features) -> MetricResult:
    value = frechet.frechet_distance_infinity(reference.rows, scored.rows)
    return MetricResult({'fd_infinity': value})


def _kernel(reference: Features, scored: Features) -> MetricResult:
    result = kid.kernel_distance(reference.rows, scored.rows)
    sds = {} if result.sd is None else {'kd': result.sd}
    return MetricResult({'kd': result.mean}, sds)


def _prd(reference: Features, scored: Features) -> MetricResult:
    result = prd.precision_recall(reference.rows, scored.rows)
    return MetricResult(
        {'prd_precision': result.precision, 'prd_recall': result.recall},
        curve=(result.recalls, result.precisions),
    )


def _improved_precision_recall(reference: Features, scored: Features) -> MetricResult:
    result = prdc.improved_precision_recall(reference.rows, scored.rows)
    return MetricResult({'improved_precision': result.precision, 'improved_recall': result.recall})


def _density_coverage(reference: Features, scored: Features) -> MetricResult:
    result = prdc.density_coverage(reference.rows, scored.rows)
    return MetricResult({'density': result.density, 'coverage': result.coverage})


def _inception_score(_: Features, scored: Features) -> MetricResult:
    result = inception_score.inception_score(scored.logits)
    return MetricResult({'inception_score': result.mean}, {'inception_score': result.sd})


def _psnr(reference: Features, scored: Features) -> MetricResult:
    return MetricResult({'psnr': paired.psnr(reference.rows, scored.rows)})


def _ssim(reference: Features, scored: Features) -> MetricResult:
    return MetricResult({'ssim': paired.ssim(reference.rows, scored.rows)})


def _memorization(reference: Features, scored: Features) -> MetricResult:
    real, fake = reference.rows[:, 0], scored.rows[:, 0]
    return MetricResult(
        {
            'memorization_z': memorization.copying_z_score(real, fake),
            'train_distance': float(np.median(fake)),
            'train_distance_real': float(np.median(real)),
        }
    )


def _codes(reference: Features, scored: Features) -> MetricResult:
    """Distance of codes [n, m] to the prior's first n of [2 n, m]; floor: between its halves."""
    z, z_hat, other = reference.rows, *np.split(scored.rows, 2)
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
    return MetricResult(_with_scaled(distances, z) | shapes)


def _transport(reference: Features, scored: Features) -> MetricResult:
    """As the distances of `_codes`, but exact, of the first codes of each of the three sets."""
    sets = reference.rows, *np.split(scored.rows, 2)
    z, z_hat, other = (codes[:_TRANSPORTED] for codes in sets)
    distances = {
        'wasserstein': latent.wasserstein(z, z_hat),
        'wasserstein_floor': latent.wasserstein(z_hat, other),
    }
    return MetricResult(_with_scaled(distances, reference.rows))


def _critic(reference: Features, scored: Features) -> MetricResult:
    z, z_hat = reference.rows, scored.rows[: len(reference.rows)]
    distance = float(scored.critic_distance(z, z_hat))
    return MetricResult(_with_scaled({'critic_distance': distance}, z))


def _with_scaled(distances: dict[str, float], z: np.ndarray) -> dict[str, float]:
    """Adds the distances divided by the scale of the codes of data, which a method may shrink."""
    scale = latent.scale(z)
    if scale == 0.0:
        return distances
    return distances | {f'{stem}_scaled': value / scale for stem, value in distances.items()}


_TRANSPORTED = 2000  # codes on each side: the time of an assignment grows with the third power

_ROWS = (
    Metric(
        'fd',
        FRECHET,
        2,
        _frechet,
        accepts_moments=True,
        needs_full_rank=True,
        bootstrap_sd=frechet.frechet_distance_sd,
    ),
    Metric('kid', 'kernel_cubic_unbiased_100x1000', 2, _kernel),
    Metric('prd', 'prd_k20_a1001_r10', 20, _prd),
    Metric('precision_recall', 'knn_3', 4, _improved_precision_recall),
    Metric('density_coverage', 'knn_5', 6, _density_coverage),
    Metric('fd_infinity', 'frechet_infinity_15', 30, _frechet_infinity, needs_full_rank=True),
    Metric('inception_score', 'inception_score_10', 10, _inception_score, needs_logits=True),
    Metric('psnr', 'psnr_255', 1, _psnr, compares='pairs'),
    Metric('ssim', 'ssim_11_1.5', 1, _ssim, compares='pairs', smallest_side=paired.SSIM_WINDOW),
    Metric(
        'memorization',
        'nearest_training_image_mann_whitney',
        1,
        _memorization,
        compares='training_distances',
        by_default=False,
    ),
    Metric('codes', 'codes_sliced_wasserstein_500', 2, _codes, compares='codes'),
    Metric(
        'transport',
        f'codes_wasserstein_{_TRANSPORTED}',
        2,
        _transport,
        compares='codes',
        by_default=False,
    ),
    Metric('critic', 'critic_of_{checkpoint}', 2, _critic, compares='codes', needs_critic=True),
)
METRICS = {metric.name: metric for metric in _ROWS}

# Selects checkpoints: `best_validation`, and the minimum of `--protocol=authors`.
SELECTION_METRIC = METRICS['fd']
