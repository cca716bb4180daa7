"""Scores of one set: computed by every metric, recorded, printed and written to TensorBoard."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from flexae_tf import shutdown
from flexae_tf.errors import NonFiniteLossError
from flexae_tf.evaluation.context import Context
from flexae_tf.evaluation.image_sets import ImageSet
from flexae_tf.evaluation.references import Reference
from flexae_tf.evaluation.score_log import score_id
from flexae_tf.metrics.frechet import Moments
from flexae_tf.metrics.protocol import Protocol
from flexae_tf.metrics.table import SELECTION_METRIC, Features, Metric, MetricResult


def score(context: Context, image_set: ImageSet, *references: Reference) -> dict[str, float]:
    """Scores a set by the metrics of each reference.

    Recorded scores are printed. If all are recorded, the set is not made.

    Returns:
        Values by stem.

    Raises:
        NonFiniteLossError: a score is not finite; no score of its metric is recorded.
    """
    values: dict[str, float] = {}
    missing: dict[Reference, list[_PendingScore]] = {}
    for reference in references:
        for metric in reference.metrics:
            estimator = metric.estimator.replace('{checkpoint}', str(image_set.model.checkpoint))
            protocol = dataclasses.replace(
                reference.protocol, estimator=estimator, batch_norm=image_set.model.batch_norm
            )
            resamples = context.config.bootstrap if metric.bootstrap_sd else 0
            identity = identity_of(image_set, protocol, bootstrap=resamples)
            recorded = context.log.show_recorded(identity, protocol.name)
            values |= recorded
            if not recorded:
                missing.setdefault(reference, []).append(_PendingScore(metric, protocol, identity))
    if not missing:
        return values

    # One repeat after the other, so that memory does not grow with their number.
    for repeat in range(image_set.repeats):
        examples = image_set.make(repeat)
        for reference, scores in missing.items():
            features = reference.extract(examples, image_set)
            for pending in scores:
                shutdown.check('between metrics')
                pending.add(reference.features, features, image_set)
                if len(pending.results) == image_set.repeats:
                    values |= _finish(context, pending, image_set)
    context.summaries.update()
    return values


@dataclasses.dataclass
class _PendingScore:
    """The scores of one metric, while its repeats are computed."""

    metric: Metric
    protocol: Protocol
    identity: dict[str, Any]
    results: list[MetricResult] = dataclasses.field(default_factory=list)
    bootstrap_sd: float | None = None  # only of the first repeat
    seconds: float = 0.0

    def add(self, real: Features | Moments, features: Features, image_set: ImageSet) -> None:
        """Computes the metric for one repeat."""
        started = time.monotonic()
        self.results.append(self.metric.compute(real, features))
        resamples = self.identity['bootstrap']
        if len(self.results) == 1 and resamples and isinstance(real, Features):
            self.bootstrap_sd = self.metric.bootstrap_sd(
                real.rows, features.rows, num_resamples=resamples, paired=image_set.paired
            )
        self.seconds += time.monotonic() - started


def _finish(context: Context, pending: _PendingScore, image_set: ImageSet) -> dict[str, float]:
    """Records the scores of one metric; returns their values by stem."""
    protocol, identity, first = pending.protocol, pending.identity, pending.results[0]
    if first.curve:
        context.summaries.save_curve(
            protocol.name(image_set.name, pending.metric.name),
            image_set.model.step,
            score_id(identity, next(iter(first.values))),
            first.curve,
        )
    return _record(
        context,
        identity,
        protocol,
        pending.results,
        pending.bootstrap_sd,
        pending.seconds,
        source=image_set.source,
    )


def identity_of(image_set: ImageSet, protocol: Protocol, *, bootstrap: int) -> dict[str, Any]:
    """Returns everything except the stem that distinguishes a score from others of the run."""
    return {
        'set': image_set.name,
        'step': image_set.model.step,
        'checkpoint': image_set.model.checkpoint,
        'seed': image_set.model.seed,
        'density': image_set.model.density,
        'sample_seed': image_set.sample_seed,
        'repeats': image_set.repeats,
        'bootstrap': bootstrap,
        'n': protocol.num,
        'split': protocol.split,
        'selection': image_set.model.selection,
        'protocol': protocol.id,
    }


def _record(
    context: Context,
    identity: dict[str, Any],
    protocol: Protocol,
    results: Sequence[MetricResult],
    bootstrap_sd: float | None,
    seconds: float,
    *,
    source: str | None = None,
) -> dict[str, float]:
    """Records the scores of one metric; returns their values, means over the repeats, by stem."""
    single = len(results) == 1
    records = []
    for stem in results[0].values:
        values = [result.values[stem] for result in results]
        record = {
            'metric': protocol.name(identity['set'], stem),
            'stem': stem,
            'value': float(np.mean(values)),
            'sd': None if single else float(np.std(values, ddof=1)),
            'estimator_sd': results[0].estimator_sd.get(stem) if single else None,
            'bootstrap_sd': bootstrap_sd,  # only of the first set
            'seconds': round(seconds, 2),
            **identity,
            **({'source': source} if source else {}),
            'protocol_name': protocol.label,
            'fields': protocol.fields(),
            'id': score_id(identity, stem),
        }
        if not np.isfinite(record['value']):
            raise NonFiniteLossError(
                f'{record["metric"]}: not finite and not recorded. Check the features of the '
                f'{identity["set"]}.'
            )
        records.append(record)
    context.log.add(records)
    return {record['stem']: record['value'] for record in records}


def record_minimum(
    context: Context, candidates: list[dict[str, Any]], protocol: Protocol, *, among: str
) -> None:
    """Records the smallest Frechet distance among checkpoints, as the authors report it.

    Args:
        context: shared parts of the evaluation.
        candidates: identity and `value` of the same set at every checkpoint.
        protocol: protocol of the distances.
        among: 'late' or 'all' checkpoints.
    """
    protocol = dataclasses.replace(protocol, selection=f'minimum_of_{among}')
    identity = min(candidates, key=lambda candidate: candidate['value']) | {
        'selection': protocol.split,
        'protocol': protocol.id,
        'candidates': sorted(candidate['step'] for candidate in candidates),
    }
    if not context.log.show_recorded(identity, protocol.name):
        result = MetricResult({SELECTION_METRIC.name: identity['value']})
        _record(context, identity, protocol, [result], None, 0.0)
