"""Table 3 of the paper: WAE and FlexAE as the latent size grows."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flexae_tf.experiments import paper
from flexae_tf.experiments.columns import (
    ROUNDING,
    Column,
    OverSeeds,
    Score,
    gather,
    over_seeds,
    pooled_sd,
)
from flexae_tf.experiments.exhibits import claims
from flexae_tf.experiments.exhibits.layout import Head, Table
from flexae_tf.experiments.exhibits.showing import assemble, beside, times
from flexae_tf.experiments.exhibits.tables import KINDS, OURS, about
from flexae_tf.experiments.exhibits.trends import STAYS, trend
from flexae_tf.experiments.exhibits.verdicts import HOLDS, chance, is_lower

NAMES = {paper.WAE: 'WAE', paper.FLEXAE: 'FlexAE'}
# Of FlexAE's samples, the largest over the smallest where the paper calls them almost constant.
CONSTANT = max(
    trend([over_seeds([row[dataset][paper.FLEXAE].gen]) for row in paper.TABLE_3.values()]).factor
    for dataset in paper.BASE_LATENT_DIMS
)


def table_3(scores: Sequence[Score], *, commands: Sequence[str] = ()) -> Table:
    """Distances of WAE and FlexAE as the latent size grows: do they go where the paper says?

    Args:
        scores: those of stem 'fd', of the two methods and the three sizes, are taken.
        commands: that made them.

    Raises:
        UsageError: scores of a data set and kind cannot be compared.
    """
    shown, notes, judged, columns = [], [], [], []
    for dataset, base in paper.BASE_LATENT_DIMS.items():
        title = paper.DATASETS[dataset]
        sizes = {multiple: multiple * base for multiple in paper.TABLE_3}
        grown: dict[str, Growth] = {}
        taken = [
            score
            for score in scores
            if (score.dataset, score.stem) == (dataset, 'fd')
            and score.kind in KINDS
            and score.method in NAMES
            and score.latent_dim in sizes.values()
        ]
        if not taken:
            continue
        for kind, name in KINDS.items():
            column = gather(s for s in taken if s.kind == kind)
            notes += about(f'{title} {name}', column)
            columns.append(column.values)
            judged += _below(f'{title}: {name}', kind, dataset, sizes, column)
            for method, short in NAMES.items():
                ours = {k: column.values.get((method, m)) for k, m in sizes.items()}
                ours = {k: value for k, value in ours.items() if value}
                published = {
                    k: getattr(row[dataset][method], kind) for k, row in paper.TABLE_3.items()
                }
                head = Head(f'{name} {short}', f'{title}, m_b = {base}', numeric=True)
                shown += beside(ours, published, head)
                what, claimed = f'{title}: {name} of {short}', paper.CLAIMS[method, kind]
                pooled = pooled_sd(column.values.values())
                judged.append(_claim(what, claimed, ours, published, pooled=pooled))
                if kind == 'gen':
                    grown[short] = _growth(ours, published, pooled=pooled)
        judged.append(_contrast(title, grown))
        for method, short in NAMES.items():
            shown += times(
                (s for s in taken if s.method == method),
                Head(f'Training {short}', f'{title}, m_b = {base}', numeric=True),
                row=lambda s, base=base: s.latent_dim // base,
            )
    return assemble(
        'Table 3: Frechet distance (in the paper FID) as the latent size m grows; lower is better',
        {multiple: f'{multiple} m_b' if multiple > 1 else 'm_b' for multiple in paper.TABLE_3},
        shown,
        notes=(OURS, *notes, *judged, *([chance(*columns)] if columns else [])),
        commands=commands,
        first='m',
    )


class Growth(NamedTuple):
    """The last value over the first, here (None where one was not run) and in the paper."""

    ours: OverSeeds | None
    papers: float


def _growth(
    ours: Mapping[int, OverSeeds], published: Mapping[int, float], *, pooled: float | None
) -> Growth:
    first, last = min(published), max(published)
    papers = published[last] / published[first]
    if not {first, last} <= set(ours):
        return Growth(None, papers)
    ratio = ours[last].mean / ours[first].mean
    ends = [(ours[m], pooled if ours[m].sd is None else ours[m].sd) for m in (first, last)]
    # Of a ratio, relative squared errors add up.
    known = None not in [sd for _, sd in ends]
    squares = sum((sd / end.mean) ** 2 / end.n for end, sd in ends) if known else None
    return Growth(OverSeeds(ratio, ratio * math.sqrt(squares) if known else None, 1), papers)


def _contrast(title: str, grown: Mapping[str, Growth]) -> str:
    """Whether the samples of WAE suffer more from a large latent space than those of FlexAE."""
    wae, flexae = grown['WAE'], grown['FlexAE']
    note = (
        f'{title}: from m_b to 4 m_b Gen. of WAE becomes {wae.papers:.2f} times what it was, of '
        f'FlexAE {flexae.papers:.2f} times, in the paper. '
    )
    if None in (wae.ours, flexae.ours):
        return f'{note}Not judged.'
    holds = HOLDS[is_lower(flexae.ours, wae.ours, pooled=None)]
    here = f'{wae.ours.mean:.2f} and {flexae.ours.mean:.2f}'
    return f'{note}Here {here}; that WAE loses more: {holds}.'


def _below(
    what: str, kind: str, dataset: str, sizes: Mapping[int, int], column: Column
) -> list[str]:
    """Whether FlexAE is below WAE at each latent size, as it is in the paper, and how far off."""
    names = {(row, m): f'{NAMES[row]} m={m}' for row in NAMES for m in sizes.values()}
    pairs = [((paper.FLEXAE, m), (paper.WAE, m)) for m in sizes.values()]
    claim = f'{what} is lower with FlexAE than with WAE at each size'
    notes = [claims.ordered(claim, pairs, column.values, names=names)]
    if column.is_papers:
        near = [
            abs(column.values[row, m].mean - getattr(paper.TABLE_3[k][dataset][row], kind))
            <= paper.SPREAD + ROUNDING
            for k, m in sizes.items()
            for row in NAMES
            if (row, m) in column.values
        ]
        notes.append(f"{what}: {sum(near)} of {len(near)} are within the paper's spread.")
    return notes


def _claim(
    what: str,
    claimed: str,
    ours: Mapping[int, OverSeeds],
    published: Mapping[int, float],
    *,
    pooled: float | None,
) -> str:
    """What the paper says of a trend, what its numbers show of it, and ours."""
    there = trend([over_seeds([value]) for value in published.values()], spread=paper.SPREAD)
    says = 'stays almost constant' if claimed == STAYS else claimed
    note = f'{what} {says} with m, says the paper, where it {there.text(claimed)}. '
    if len(ours) < len(published):
        return f'{note}Not judged: {len(ours)} of {len(published)} sizes were run.'
    here = trend(list(ours.values()), pooled=pooled)
    verdict = here.verdict(claimed, constant=CONSTANT)
    return f'{note}Here it {here.text(claimed)}: {verdict}.'
