"""Scores of many sets against one real set, each computed once."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from flexae_tf.config import EvaluateConfig
from flexae_tf.errors import NonFiniteLossError
from flexae_tf.evaluation.features import Features
from flexae_tf.evaluation.score_log import ScoreLog
from flexae_tf.metrics.frechet import Moments, frechet_distance_sd
from flexae_tf.metrics.protocol import Protocol
from flexae_tf.metrics.table import Estimate, Metric, Scored


class Subject(NamedTuple):
    """Whose scores these are.

    Attributes:
        step: of the checkpoint; 0 for what belongs to no checkpoint.
        checkpoint: its digest; None likewise.
        seed: of the run.
        selection: how the checkpoint was chosen.
        density: fitted ex post, that samples come from; None for the method's own prior.
    """

    step: int = 0
    checkpoint: str | None = None
    seed: int | None = None
    selection: str | None = None
    density: str | None = None


class Judge:
    """Scores of sets against one real set, by one protocol.

    Args:
        config: which metrics, how many repeats.
        protocol: of the Frechet distance; other metrics have their own estimator in its place.
        real: makes the real side's features, or its moments, of which only Frechet distances are
            known; called when a score is missing.
        log: where scores go; what it has already is not computed again.
        check: called before every metric; raises when the program is to stop.
    """

    def __init__(
        self,
        config: EvaluateConfig,
        protocol: Protocol,
        real: Callable[[], Features | Moments],
        *,
        log: ScoreLog,
        check: Callable[[], None],
    ) -> None:
        self._config = config
        self._protocol = protocol
        self._make_real = real
        self._log = log
        self._check = check

    @functools.cached_property
    def _real(self) -> Features | Moments:
        return self._make_real()

    def score(
        self,
        kind: str,
        draw: Callable[[int], Features],
        subject: Subject,
        *,
        metrics: Mapping[str, Metric],
        repeats: int = 1,
    ) -> dict[str, float]:
        """Scores a set by every metric.

        Args:
            kind: as in `Protocol.name`.
            draw: repeat -> features of the set; called only when a score is missing.
            subject: whose set it is.
            metrics: rows of `scores.METRICS`, or like them, by name.
            repeats: how many sets to draw.

        Returns:
            values by stem.

        Raises:
            NonFiniteLossError: a score is not finite; nothing of its metric is kept.
        """
        found: dict[str, float] = {}
        missing = {}
        for name, metric in metrics.items():
            protocol = dataclasses.replace(self._protocol, estimator=metric.estimator)
            key = self._key(kind, name, protocol, subject, repeats)
            records = self._log.find(key)
            for record in records:
                self._log.show(record, note='; recorded before')
                found[record['stem']] = record['value']
            if not records:
                missing[name] = protocol, key
        sets = [draw(repeat) for repeat in range(repeats)] if missing else []
        for name, (protocol, key) in missing.items():
            self._check()
            real, started = self._real, time.monotonic()
            scored = [metrics[name].compute(real, features) for features in sets]
            spread = self._bootstrap(kind, sets[0]) if name == 'fd' else None
            seconds = time.monotonic() - started
            if scored[0].curve:
                tag = f'metrics/{protocol.name(kind, name)}/{protocol.id}'
                self._log.draw_curve(tag, subject.step, scored[0].curve)
            found |= self._add(key, kind, protocol, scored, bootstrap_sd=spread, seconds=seconds)
        return found

    def record_minimum(self, kind: str, values: dict[Subject, float], *, among: str) -> None:
        """Records the smallest Frechet distance of many checkpoints, as the authors report it.

        Args:
            kind: as in `Protocol.name`.
            values: of every checkpoint.
            among: 'late' or 'all' checkpoints.
        """
        subject = min(values, key=values.__getitem__)
        protocol = dataclasses.replace(self._protocol, selection=f'minimum_of_{among}')
        repeats = self._config.repeats if kind == 'gen' else 1
        key = self._key(kind, 'fd', protocol, subject._replace(selection='test'), repeats)
        key |= {'value': values[subject], 'candidates': sorted(s.step for s in values)}
        found = self._log.find(key)
        for record in found:
            self._log.show(record, note='; recorded before')
        if not found:
            self._add(key, kind, protocol, [Scored({'fd': Estimate(values[subject])})], seconds=0.0)

    def _key(
        self, kind: str, metric: str, protocol: Protocol, subject: Subject, repeats: int
    ) -> dict[str, Any]:
        """What tells a score from every other score of a run."""
        samples = kind in ('gen', 'codes')
        return {
            'step': subject.step,
            'kind': kind,
            'protocol': protocol.id,
            'selection': subject.selection,
            'checkpoint': subject.checkpoint,
            'seed': subject.seed,
            'density': subject.density if samples else None,
            'sample_seed': self._config.sample_seed if samples else None,
            'repeats': repeats,
            'bootstrap': self._config.bootstrap if metric == 'fd' else 0,
            'n': protocol.num,
            'split': protocol.split,
        }

    def _bootstrap(self, kind: str, fake: Features) -> float | None:
        if not self._config.bootstrap or isinstance(self._real, Moments):
            return None
        return frechet_distance_sd(
            self._real.rows,
            fake.rows,
            num_resamples=self._config.bootstrap,
            paired=kind == 'rec',  # reconstructions go with their images
        )

    def _add(
        self,
        key: dict[str, Any],
        kind: str,
        protocol: Protocol,
        scored: Sequence[Scored],
        *,
        bootstrap_sd: float | None = None,
        seconds: float,
    ) -> dict[str, float]:
        records = []
        for stem, first in scored[0].estimates.items():
            drawn = [s.estimates[stem].value for s in scored]
            alone = len(drawn) == 1
            record = {
                'metric': protocol.name(kind, stem),
                'stem': stem,
                'protocol_name': protocol.label,
                'value': float(np.mean(drawn)),
                'sd': None if alone else float(np.std(drawn, ddof=1)),
                'estimator_sd': first.sd if alone else None,
                'bootstrap_sd': bootstrap_sd,  # of the first set
                'seconds': round(seconds, 2),
                'fields': protocol.fields(),
            }
            if not np.isfinite(record['value']):
                raise NonFiniteLossError(f'{record["metric"]} is not finite: nothing was recorded')
            records.append(key | record)
        self._log.add(records)
        return {record['stem']: record['value'] for record in records}
