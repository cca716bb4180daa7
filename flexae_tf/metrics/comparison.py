"""Comparison of scores over seeds: means, significant differences and rank agreement."""

import itertools
import math
import statistics
from collections import namedtuple
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import scipy  # loads scipy.stats, which takes seconds, at the first use

ROUNDING = 1e-9  # of differences of decimal numbers


class Mean(NamedTuple):
    """Mean, standard deviation (n - 1; None for one seed) and number of seeds."""

    mean: float
    sd: float | None
    n: int

    def text(self, decimals: int) -> str:
        """Formats as `4.69 ± 0.12 (3)`."""
        sd = '' if self.sd is None else f' ± {self.sd:.{decimals}f}'
        return f'{self.mean:.{decimals}f}{sd} ({self.n})'


Values = Mapping[Hashable, Mean]  # by row
Pair = tuple[Hashable, Hashable]  # of rows
# Pairs of rows, each as (better here, worse here), compared with the paper's order; tau-b.
Agreement = namedtuple('Agreement', 'kept contradicted undecided tau')


def over_seeds(values: Sequence[float]) -> Mean:
    """Returns mean and standard deviation of at least one value."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Mean(statistics.fmean(values), sd, len(values))


def fill(values: Values) -> dict[Hashable, Mean]:
    """Gives rows with one seed the pooled standard deviation, or 0 if no row has two seeds."""
    known = [row for row in values.values() if row.sd is not None]
    squares = sum((row.n - 1) * row.sd**2 for row in known)
    pooled = math.sqrt(squares / sum(row.n - 1 for row in known)) if known else 0.0
    return {k: row._replace(sd=pooled) if row.sd is None else row for k, row in values.items()}


def difference(a: Mean, b: Mean) -> float:
    """Returns mean(b) - mean(a), or 0 if it is within two standard errors."""
    gap, error = b.mean - a.mean, math.hypot(a.sd / a.n**0.5, b.sd / b.n**0.5)
    return 0.0 if abs(gap) <= 2.0 * error + ROUNDING else gap


def growth(first: Mean, last: Mean) -> Mean:
    """Returns the ratio of two positive means with its standard error as `sd` of one value."""
    ratio = last.mean / first.mean
    errors = (end.sd / end.n**0.5 / end.mean for end in (first, last))
    return Mean(ratio, ratio * math.hypot(*errors), 1)


def welch_p(a: Mean, b: Mean) -> float | None:
    """Returns the two-sided p-value of Welch's t-test; None if a row has one seed."""
    if a.sd is None or b.sd is None or not a.sd + b.sd:
        return None
    return float(scipy.stats.ttest_ind_from_stats(*a, *b, equal_var=False).pvalue)


def compare(pairs: Iterable[Pair], values: Values, sign: float = 1.0) -> tuple[list[Pair], ...]:
    """Splits pairs: first mean lower (higher if `sign` is -1), the reverse, not different."""
    found, values = ([], [], []), fill(values)
    for a, b in pairs:
        gap = sign * difference(values[a], values[b])
        found[2 if not gap else 0 if gap > 0.0 else 1].append((a, b))
    return found


def agreement(
    published: Mapping[str, float], ours: Values, lower_is_better: bool = True, spread: float = 0.0
) -> Agreement:
    """Compares orders; undecided: our means, or the paper's values by `spread`, do not differ."""
    sign = 1.0 if lower_is_better else -1.0
    rows = [row for row in published if row in ours]
    pairs = itertools.combinations(rows, 2)
    gaps = {(a, b): sign * (published[b] - published[a]) for a, b in pairs}
    tied = [pair for pair, gap in gaps.items() if abs(gap) <= spread + ROUNDING]
    pairs = [pair if gap > 0.0 else pair[::-1] for pair, gap in gaps.items() if pair not in tied]
    kept, contradicted, undecided = compare(pairs, ours, sign)
    both = [(published[row], ours[row].mean) for row in rows]
    tau = scipy.stats.kendalltau(*zip(*both, strict=True)).statistic if len(rows) > 1 else math.nan
    contradicted = [(b, a) for a, b in contradicted]
    return Agreement(kept, contradicted, tied + undecided, None if math.isnan(tau) else tau)


def decimals_for(values: Iterable[float]) -> int:
    """Returns the decimals that show three digits of the largest value, at least two."""
    largest = max(values, default=1.0)
    return max(2, 2 - math.floor(math.log10(largest))) if largest > 0.0 else 2
