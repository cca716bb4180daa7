"""Whether a score goes where the paper says it goes, as something grows."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from flexae_tf.experiments.columns import ROUNDING, OverSeeds, margin

RISES, FALLS, STAYS = 'rises', 'falls', 'stays'


class Trend(NamedTuple):
    """What becomes of a score.

    Attributes:
        direction: RISES or FALLS from first to last, or STAYS where these do not differ.
        every_step: whether every step goes there.
        factor: the largest over the smallest.
    """

    direction: str
    every_step: bool
    factor: float

    def text(self, claimed: str) -> str:
        """In words that answer a claim: RISES, FALLS or STAYS."""
        if claimed == STAYS:
            return f'stays within {100.0 * (self.factor - 1.0):.0f} %'
        factor = f'(largest over smallest {self.factor:.2f})'
        if self.direction == STAYS:
            return f'has ends that differ by no more than chance {factor}'
        return f'{self.direction} {"at" if self.every_step else "but not at"} every step {factor}'

    def agrees(self, claimed: str, *, constant: float = 1.0) -> bool | None:
        """Whether a claim holds; None where it cannot be told.

        Args:
            claimed: RISES, FALLS or STAYS.
            constant: the largest factor that STAYS allows.
        """
        if claimed == STAYS:
            return self.factor <= constant + ROUNDING
        return None if self.direction == STAYS else self.direction == claimed


def trend(
    values: Sequence[OverSeeds], *, pooled: float | None = None, spread: float = 0.0
) -> Trend:
    """The trend of positive values, one at least.

    Args:
        values: in order.
        pooled: as in `margin`, by which the first and the last have to differ.
        spread: by which they have to differ besides.
    """
    means = [value.mean for value in values]
    rise = means[-1] - means[0]
    factor = max(means) / min(means) if min(means) > 0.0 else math.inf
    if abs(rise) <= max(margin(values[0], values[-1], pooled=pooled), spread) + ROUNDING:
        return Trend(STAYS, False, factor)
    every_step = all((b - a) * rise > 0.0 for a, b in itertools.pairwise(means))
    return Trend(RISES if rise > 0.0 else FALLS, every_step, factor)
