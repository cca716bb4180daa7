"""Whether a score goes where the paper says it goes, as something grows."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from flexae_tf.experiments.columns import ROUNDING, OverSeeds, margin
from flexae_tf.experiments.exhibits.verdicts import HOLDS

RISES, FALLS, STAYS = 'rises', 'falls', 'stays'


class Trend(NamedTuple):
    """What becomes of a score.

    Attributes:
        direction: RISES or FALLS from first to last, or STAYS where these do not differ.
        every_step: whether every step goes there.
        against: whether a step goes the other way, by more than chance.
        factor: the largest over the smallest.
    """

    direction: str
    every_step: bool
    against: bool
    factor: float

    def text(self, claimed: str) -> str:
        """In words that answer a claim: RISES, FALLS or STAYS."""
        if claimed == STAYS:
            return f'stays within {100.0 * (self.factor - 1.0):.0f} %'
        factor = f'(largest over smallest {self.factor:.2f})'
        if self.direction == STAYS:
            return f'has ends that differ by no more than chance {factor}'
        return f'{self.direction} {"at" if self.every_step else "but not at"} every step {factor}'

    def verdict(self, claimed: str, *, constant: float = 1.0) -> str:
        """Whether a claim holds, in words.

        Args:
            claimed: RISES, FALLS or STAYS.
            constant: the largest factor that STAYS allows.
        """
        if claimed == STAYS:
            return HOLDS[self.factor <= constant + ROUNDING]
        if self.direction == claimed and self.against:
            return 'holds from first to last alone'
        return HOLDS[None if self.direction == STAYS else self.direction == claimed]


def trend(
    values: Sequence[OverSeeds], *, pooled: float | None = None, spread: float = 0.0
) -> Trend:
    """The trend of positive values, one at least.

    Args:
        values: in order.
        pooled: as in `margin`, by which two values have to differ.
        spread: by which they have to differ besides.
    """
    means = [value.mean for value in values]
    factor = max(means) / min(means) if min(means) > 0.0 else math.inf
    rise = _rise(values[0], values[-1], pooled, spread)
    steps = list(itertools.pairwise(values))
    if not rise:
        return Trend(STAYS, False, False, factor)
    return Trend(
        RISES if rise > 0.0 else FALLS,
        all((b.mean - a.mean) * rise > 0.0 for a, b in steps),
        any(_rise(a, b, pooled, spread) * rise < 0.0 for a, b in steps),
        factor,
    )


def _rise(a: OverSeeds, b: OverSeeds, pooled: float | None, spread: float) -> float:
    """From `a` to `b`; 0 where they differ by no more than chance."""
    rise = b.mean - a.mean
    return rise if abs(rise) > max(margin(a, b, pooled=pooled), spread) + ROUNDING else 0.0
