"""Scores of runs, gathered over seeds into columns of a table."""

import dataclasses
import math
import re
import statistics
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

from flexae_tf.errors import UsageError

ROUNDING = 1e-9  # of differences of decimal numbers
PAPERS = r'(fid|prd_precision|prd_recall)10k_(rec|gen)(_min)?'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """One number about one run.

    Attributes:
        method: one of `config.METHODS`.
        dataset: one of `config.DATASETS`.
        latent_dim: m.
        seed: of the run.
        kind: 'rec' or 'gen', as in `Protocol.name`.
        stem: what is measured: 'fd', 'prd_precision', 'prd_recall'.
        metric: the name that states the protocol: 'fid10k_gen', 'fd_mixed_7_5000_gen'.
        value: the number.
        protocol: `Protocol.id`, eight digits.
        seconds: how long the run was trained; None where nobody knows.
        machine: what trained it, empty where nobody knows.
    """

    method: str
    dataset: str
    latent_dim: int
    seed: int
    kind: str
    stem: str
    metric: str
    value: float
    protocol: str
    seconds: float | None = None
    machine: str = ''


class OverSeeds(NamedTuple):
    """Mean, standard deviation (with n - 1; None for one seed) and number of seeds."""

    mean: float
    sd: float | None
    n: int


class Column(NamedTuple):
    """Scores that may be compared.

    Attributes:
        metric: their name; None in a column without scores.
        protocol: their `Protocol.id`.
        values: by row, a row being a method and latent size unless `gather` was told otherwise.
    """

    metric: str | None
    protocol: str | None
    values: dict[Hashable, OverSeeds]

    @property
    def is_papers(self) -> bool:
        """Whether these are what the paper reports: by FID's own network, of 10000 images."""
        return bool(self.metric and re.fullmatch(PAPERS, self.metric))


def over_seeds(values: Sequence[float]) -> OverSeeds:
    """Gathers one score of at least one seed."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return OverSeeds(statistics.fmean(values), sd, len(values))


def _method_and_size(score: Score) -> tuple[str, int]:
    return score.method, score.latent_dim


def gather(
    scores: Iterable[Score], *, row: Callable[[Score], Hashable] = _method_and_size
) -> Column:
    """The column of scores of one data set, kind and stem.

    Args:
        scores: one for each row and seed.
        row: that a score is of.

    Raises:
        UsageError: they are of two protocols, or a run has two.
    """
    scores = list(scores)
    seen: dict[tuple[Hashable, int], Score] = {}
    for score in scores:
        first, run = scores[0], (row(score), score.seed)
        if score.protocol != first.protocol:
            raise UsageError(
                f'{_run(first)} has {first.metric} by protocol {first.protocol}, {_run(score)} '
                f'{score.metric} by {score.protocol}: score both by one of them'
            )
        if run in seen:
            raise UsageError(
                f'{_run(score)} has two values of {score.metric}, {seen[run].value:g} and '
                f'{score.value:g}: keep that of one checkpoint and sample'
            )
        seen[run] = score
    rows: dict[Hashable, list[float]] = {}
    for score in scores:
        rows.setdefault(row(score), []).append(score.value)
    metric, protocol = (scores[0].metric, scores[0].protocol) if scores else (None, None)
    return Column(metric, protocol, {name: over_seeds(values) for name, values in rows.items()})


def pooled_sd(rows: Iterable[OverSeeds]) -> float | None:
    """The standard deviation over seeds that the rows share; None when none has two seeds."""
    known = [row for row in rows if row.sd is not None]
    if not known:
        return None
    squares = sum((row.n - 1) * row.sd**2 for row in known)
    return math.sqrt(squares / sum(row.n - 1 for row in known))


def margin(a: OverSeeds, b: OverSeeds, *, pooled: float | None) -> float:
    """How far two means must be apart to differ: two standard errors of their difference.

    Args:
        a: one row.
        b: another.
        pooled: `pooled_sd` of their column, for a row of one seed; where None too, 0.
    """
    sds = [pooled if row.sd is None else row.sd for row in (a, b)]
    if None in sds:
        return 0.0
    return 2.0 * math.sqrt(sds[0] ** 2 / a.n + sds[1] ** 2 / b.n)


def _run(score: Score) -> str:
    return f'{score.method} on {score.dataset} (m={score.latent_dim}, seed {score.seed})'
