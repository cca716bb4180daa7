"""Comparison of scores over seeds: means, tests of ratios, and rank agreement.

Scores are positive, and their spread grows with their size. So their logarithms are compared: a
difference of mean logarithms is the logarithm of a ratio of geometric means.
"""

import itertools
import math
import statistics
from collections import namedtuple
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import scipy  # loads scipy.stats, which takes seconds, at the first use

LEVEL = 0.05  # of significance; an interval has the confidence 1 - LEVEL


class Mean(NamedTuple):
    """Values of a row by seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float | None:
        """Standard deviation (n - 1); None for one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def text(self, decimals: int) -> str:
        """Formats as `4.69 ± 0.12 (3)`: mean, standard deviation and number of seeds."""
        sd = '' if self.sd is None else f' ± {self.sd:.{decimals}f}'
        return f'{self.mean:.{decimals}f}{sd} ({len(self.values)})'


class Ratio(NamedTuple):
    """Ratio of geometric means with its interval and the two-sided p-value of the ratio 1."""

    value: float
    low: float
    high: float
    p: float

    @property
    def sign(self) -> int:
        """-1 if the ratio is below 1, 1 if it is above 1, and 0 if that is not significant."""
        return 0 if not self.p <= LEVEL else 1 if self.value > 1.0 else -1

    def text(self) -> str:
        """Formats as `0.85 (0.60 to 1.20)`."""
        return f'{self.value:.2f} ({self.low:.2f} to {self.high:.2f})'


Values = Mapping[Hashable, Mean]  # by row
Pair = tuple[Hashable, Hashable]  # of rows
# Ratios by pair of rows, each (better here, worse here), if the order of the pair is the paper's or
# contradicts it; pairs whose ratio is not significant; pairs with a row of one seed; tau-b.
Agreement = namedtuple('Agreement', 'kept contradicted undecided unjudged tau')


def over_seeds(values: Iterable[float]) -> Mean:
    """Returns the mean of at least one value."""
    return Mean(tuple(values))


def can_be_judged(row: Mean) -> bool:
    """Returns whether a row has two seeds or more, and positive values only."""
    return len(row.values) > 1 and min(row.values) > 0.0


def welch(above: Sequence[Mean], below: Sequence[Mean]) -> Ratio | None:
    """Tests a ratio of products of geometric means by a t-test with unequal variances.

    For one row above and one below it is Welch's t-test of their logarithms.

    Args:
        above: rows whose means are multiplied.
        below: rows whose means divide the product.

    Returns:
        The ratio; None if a row cannot be judged.
    """
    rows = [*above, *below]
    if not all(map(can_be_judged, rows)):
        return None
    logs = [list(map(math.log, row.values)) for row in rows]
    means = list(map(statistics.fmean, logs))
    gap = sum(means[: len(above)]) - sum(means[len(above) :])
    errors = [statistics.variance(values) / len(values) for values in logs]  # squared
    if not sum(errors):
        return _certain(gap)
    freedom = sum(errors) ** 2 / sum(
        error**2 / (len(values) - 1) for error, values in zip(errors, logs, strict=True)
    )
    error = math.sqrt(sum(errors))
    margin = error * scipy.stats.t.isf(LEVEL / 2.0, freedom)
    p = 2.0 * scipy.stats.t.sf(abs(gap) / error, freedom)
    return Ratio(*map(math.exp, (gap, gap - margin, gap + margin)), float(p))


def tukey(values: Values) -> dict[Pair, Ratio]:
    """Tests all pairs of rows by Tukey's HSD, in both orders.

    Its standard deviation is pooled over all rows, so three seeds of a row are enough.

    Returns:
        The ratio of each pair of rows that can be judged, first over second.
    """
    logs = {k: list(map(math.log, v.values)) for k, v in values.items() if can_be_judged(v)}
    pairs = list(itertools.permutations(range(len(logs)), 2))
    if not pairs:
        return {}
    means = list(map(statistics.fmean, logs.values()))
    if any(map(statistics.variance, logs.values())):
        found = scipy.stats.tukey_hsd(*logs.values())
        interval = found.confidence_interval(1.0 - LEVEL)
        ratios = {
            (i, j): Ratio(
                math.exp(means[i] - means[j]),
                math.exp(interval.low[i, j]),
                math.exp(interval.high[i, j]),
                float(found.pvalue[i, j]),
            )
            for i, j in pairs
        }
    else:
        ratios = {(i, j): _certain(means[i] - means[j]) for i, j in pairs}
    rows = list(logs)
    return {(rows[i], rows[j]): ratio for (i, j), ratio in ratios.items()}


def _certain(gap: float) -> Ratio:
    """Returns the ratio of values without any spread."""
    return Ratio(*[math.exp(gap)] * 3, 0.0 if gap else 1.0)


def agreement(
    published: Mapping[str, float], ours: Values, lower_is_better: bool = True
) -> Agreement:
    """Compares the order of all pairs of rows that differ in the paper, by Tukey's HSD."""
    rows = [row for row in published if row in ours]
    sign = -1 if lower_is_better else 1
    ratios = tukey({row: ours[row] for row in rows})
    found = Agreement({}, {}, [], [], None)
    for a, b in itertools.permutations(rows, 2):
        if sign * (published[a] - published[b]) <= 0.0:  # a must be better in the paper
            continue
        ratio = ratios.get((a, b))
        if ratio is None:
            found.unjudged.append((a, b))
        elif not ratio.sign:
            found.undecided.append((a, b))
        elif ratio.sign == sign:
            found.kept[a, b] = ratio
        else:
            found.contradicted[b, a] = ratios[b, a]
    both = [(published[row], ours[row].mean) for row in rows]
    tau = scipy.stats.kendalltau(*zip(*both, strict=True)).statistic if len(rows) > 1 else math.nan
    return found._replace(tau=None if math.isnan(tau) else tau)


def decimals_for(values: Iterable[float]) -> int:
    """Returns the decimals that show three digits of the largest value, at least two."""
    largest = max(values, default=1.0)
    return max(2, 2 - math.floor(math.log10(largest))) if largest > 0.0 else 2
