"""Whether the rows of a column are in the paper's order."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from flexae_tf.experiments.columns import ROUNDING, OverSeeds, margin, pooled_sd

HOLDS = {True: 'holds', False: 'does not hold', None: 'undecided'}
# Of Student's t with four degrees of freedom (equal deviations) and with two (one of them zero).
LEVEL = 'By chance alone 12 to 18 % of pairs of three seeds each are as far apart.'
CHANCE = (
    'Two means differ where they are further apart than two standard errors of their difference '
    "over seeds (a row of one seed has the other rows' deviation); else it is undecided. "
    f'{LEVEL}'
)
ONE_SEED = 'No row has two seeds: what chance does is not known here, and any difference decides.'


def chance(*columns: Mapping[Hashable, OverSeeds]) -> str:
    """How the claims about these columns are judged."""
    several = any(value.sd is not None for column in columns for value in column.values())
    return CHANCE if several else ONE_SEED


class Verdict(NamedTuple):
    """What one row tells of the paper's order.

    Attributes:
        kept: rows it is on the paper's side of.
        better: rows it is better than here, and worse than in the paper.
        worse: rows it is worse than here, and better than in the paper.
        undecided: rows too near to it, here or in the paper.
        within: whether it is the paper's own score, within the spread the paper states.
    """

    kept: tuple[str, ...]
    better: tuple[str, ...]
    worse: tuple[str, ...]
    undecided: tuple[str, ...]
    within: bool

    @property
    def contradicted(self) -> tuple[str, ...]:
        """Rows it is on the other side of."""
        return self.better + self.worse

    def text(self, names: Mapping[str, str]) -> str:
        """A few words, '-' for a row that is alone; `names` are of the rows."""
        if self.within:
            return "within the paper's spread"
        pairs = len(self.kept + self.contradicted + self.undecided)
        undecided = f'{len(self.undecided)} of {pairs} pairs undecided'
        if not self.kept + self.contradicted:
            return undecided if pairs else '-'
        if not self.contradicted:
            return f'order kept ({undecided})' if self.undecided else 'order kept'
        listed = [
            f'{word} than {", ".join(names[row] for row in rows)}'
            for word, rows in (('better', self.better), ('worse', self.worse))
            if rows
        ]
        aside = f' ({len(self.undecided)} undecided)' if self.undecided else ''
        found = f'{len(self.contradicted)} of {pairs} pairs contradict{aside}'
        return f'{found}: {"; ".join(listed)}'


class Judgement(NamedTuple):
    """What a column tells of the paper's order.

    Attributes:
        verdicts: of the rows that have both values.
        tau: Kendall's tau-b of the two; None where it is not defined.
        kept: how many pairs of rows are in the paper's order.
        contradicted: how many are in the other.
        undecided: how many are too near each other, here or in the paper.
    """

    verdicts: dict[str, Verdict]
    tau: float | None
    kept: int
    contradicted: int
    undecided: int


def judge(
    paper: Mapping[str, float],
    ours: Mapping[str, OverSeeds],
    *,
    lower_is_better: bool = True,
    spread: float = 0.0,
    comparable: bool = False,
) -> Judgement:
    """Compares the order of the rows of a column with the paper's.

    Of two rows one is better here, and one in the paper: the same, or they contradict. They are
    undecided where our means are no further apart than `margin`, or the paper's than `spread`.

    Args:
        paper: values by row.
        ours: by row; rows that either lacks are passed over.
        lower_is_better: false where higher is.
        spread: of the paper's values.
        comparable: whether ours are the paper's kind of score, so that they may be within `spread`.
    """
    rows = [row for row in paper if row in ours]
    pooled = pooled_sd(ours.values())
    verdicts = {}
    for row in rows:
        kept, better, worse, undecided = [], [], [], []
        for other in rows:
            if other == row:
                continue
            here, there = ours[other].mean - ours[row].mean, paper[other] - paper[row]
            if (
                abs(here) <= margin(ours[row], ours[other], pooled=pooled) + ROUNDING
                or abs(there) <= spread + ROUNDING
            ):
                undecided.append(other)
            elif (here > 0.0) == (there > 0.0):
                kept.append(other)
            else:
                (better if (here > 0.0) == lower_is_better else worse).append(other)
        within = comparable and abs(ours[row].mean - paper[row]) <= spread + ROUNDING
        verdicts[row] = Verdict(*map(tuple, (kept, better, worse, undecided)), within)
    return Judgement(
        verdicts,
        _tau([paper[row] for row in rows], [ours[row].mean for row in rows]),
        # Each pair was seen from both its rows.
        sum(len(verdict.kept) for verdict in verdicts.values()) // 2,
        sum(len(verdict.contradicted) for verdict in verdicts.values()) // 2,
        sum(len(verdict.undecided) for verdict in verdicts.values()) // 2,
    )


def is_lower(a: OverSeeds, b: OverSeeds, *, pooled: float | None) -> bool | None:
    """Whether the mean of `a` is below that of `b`; None where they are within `margin`."""
    gap = b.mean - a.mean
    return None if abs(gap) <= margin(a, b, pooled=pooled) + ROUNDING else gap > 0.0


def _tau(paper: Sequence[float], ours: Sequence[float]) -> float | None:
    if len(paper) < 2:
        return None
    from scipy import stats  # takes seconds, which a wrong flag must not wait for

    tau = float(stats.kendalltau(paper, ours).statistic)
    return None if math.isnan(tau) else tau
