"""Tables 1 to 3 of the paper: its numbers beside ours, and what ours tell of its claims.

Verdicts are computed from both, never typed in. Whatever scores there are may be given: each table
takes its own, and leaves out data sets without any.
"""

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
from flexae_tf.experiments.exhibits.layout import Cell, Head, Table
from flexae_tf.experiments.exhibits.showing import Shown, assemble, beside, times
from flexae_tf.experiments.exhibits.trends import STAYS, trend
from flexae_tf.experiments.exhibits.verdicts import (
    HOLDS,
    LEVEL,
    Judgement,
    chance,
    is_lower,
    judge,
)

KINDS = {'rec': 'Rec.', 'gen': 'Gen.'}
SIDES = {'precision': 'Precision', 'recall': 'Recall'}
OURS = 'Ours: mean ± standard deviation over seeds (how many); -: not run, or not in the paper.'
UNDECIDED = (
    'A pair is undecided where our means are no further apart than two standard errors of their '
    "difference over seeds (a row of one seed has the other rows' deviation), or the paper's "
)
EQUAL = f'{UNDECIDED}values are equal. {LEVEL}'
NEAR = (
    f'{UNDECIDED}values no further than the {paper.SPREAD} that it states for three executions of '
    f'FlexAE, taken here for all rows. {LEVEL}'
)
# Of FlexAE's samples, the largest over the smallest where the paper calls them almost constant.
CONSTANT = max(
    trend([over_seeds([row[dataset][paper.FLEXAE].gen]) for row in paper.TABLE_3.values()]).factor
    for dataset in paper.BASE_LATENT_DIMS
)


def table_1(scores: Sequence[Score], *, commands: Sequence[str] = ()) -> Table:
    """Distances of the paper's 13 methods: reconstructions and samples.

    Args:
        scores: those of stem 'fd', of the paper's methods and latent sizes, are taken.
        commands: that made them.

    Raises:
        UsageError: scores of a column cannot be compared.
    """
    shown, notes = [], []
    for dataset, title in paper.DATASETS.items():
        taken = [s for s in _at_its_size(scores, dataset) if s.stem == 'fd' and s.kind in KINDS]
        if not taken:
            continue
        for kind, name in KINDS.items():
            column = gather(s for s in taken if s.kind == kind)
            published = {m: getattr(row[dataset], kind) for m, row in paper.TABLE_1.items()}
            judgement = _judge(column, published, spread=paper.SPREAD)
            shown += beside(
                _by_method(column), published, Head(name, title, numeric=True), best=min
            )
            notes += _about(f'{title} {name}', column, judgement, pairs=kind == 'rec')
            if kind == 'gen':
                shown.append(_verdicts(judgement, Head('Verdict on Gen.', title)))
        shown += times(taken, Head('Training', title, numeric=True), row=_method)
    return assemble(
        'Table 1: Frechet distance (in the paper FID): reconstructions, samples; lower is better',
        paper.METHODS,
        shown,
        notes=(OURS, *notes, NEAR),
        commands=commands,
    )


def table_2(scores: Sequence[Score], *, commands: Sequence[str] = ()) -> Table:
    """Precision and recall of samples: the paper's five methods, and others that were scored.

    Args:
        scores: those of stems 'prd_precision' and 'prd_recall', of kind 'gen', of the paper's
            methods and latent sizes, are taken.
        commands: that made them.

    Raises:
        UsageError: scores of a column cannot be compared.
    """
    shown, notes, methods = [], [], set(paper.TABLE_2)
    stems = {f'prd_{side}': side for side in SIDES}
    for dataset, title in paper.DATASETS.items():
        taken = [s for s in _at_its_size(scores, dataset) if s.stem in stems and s.kind == 'gen']
        if not taken:
            continue
        methods |= {score.method for score in taken}
        for stem, side in stems.items():
            column = gather(s for s in taken if s.stem == stem)
            published = {m: getattr(row[dataset], side) for m, row in paper.TABLE_2.items()}
            judgement = _judge(column, published, lower_is_better=False)
            head = Head(SIDES[side], title, numeric=True)
            shown += beside(_by_method(column), published, head, best=max)
            shown.append(_verdicts(judgement, Head(f'Verdict on {side}', title)))
            notes += _about(f'{title} {side}', column, judgement)
        shown += times(taken, Head('Training', title, numeric=True), row=_method)
    return assemble(
        'Table 2: precision (F_1/8) and recall (F_8) of samples; higher is better',
        {method: name for method, name in paper.METHODS.items() if method in methods},
        shown,
        notes=(OURS, *notes, EQUAL),
        commands=commands,
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
        title, methods = paper.DATASETS[dataset], {paper.WAE: 'WAE', paper.FLEXAE: 'FlexAE'}
        sizes = {multiple: multiple * base for multiple in paper.TABLE_3}
        grown: dict[str, Growth] = {}
        taken = [
            score
            for score in scores
            if (score.dataset, score.stem) == (dataset, 'fd')
            and score.kind in KINDS
            and score.method in methods
            and score.latent_dim in sizes.values()
        ]
        if not taken:
            continue
        for kind, name in KINDS.items():
            column = gather(s for s in taken if s.kind == kind)
            notes += _about(f'{title} {name}', column)
            columns.append(column.values)
            judged.append(_below(f'{title}: {name} is lower', kind, dataset, sizes, column))
            for method, short in methods.items():
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
        for method, short in methods.items():
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


def _at_its_size(scores: Sequence[Score], dataset: str) -> list[Score]:
    """The scores that Tables 1 and 2 are of."""
    run = dataset, paper.LATENT_DIMS[dataset]
    return [s for s in scores if (s.dataset, s.latent_dim) == run and s.method in paper.METHODS]


def _method(score: Score) -> str:
    return score.method


def _by_method(column: Column) -> dict[str, OverSeeds]:
    return {method: value for (method, _), value in column.values.items()}


def _judge(
    column: Column,
    published: Mapping[str, float],
    *,
    lower_is_better: bool = True,
    spread: float = 0.0,
) -> Judgement:
    return judge(
        published,
        _by_method(column),
        lower_is_better=lower_is_better,
        spread=spread,
        comparable=spread > 0.0 and column.is_papers,
    )


def _verdicts(judgement: Judgement, head: Head) -> Shown:
    texts = {row: verdict.text(paper.METHODS) for row, verdict in judgement.verdicts.items()}
    return Shown(head, {row: Cell(text) for row, text in texts.items()})


def _about(
    what: str, column: Column, judgement: Judgement | None = None, *, pairs: bool = False
) -> list[str]:
    """What is to be known of a column, if it has anything; `pairs` that contradict, by name."""
    if column.metric is None:
        return []
    scale = (
        "scores as the paper's, which may be compared with them"
        if column.is_papers
        else "not on the scale of the paper's scores, so only the order may be compared"
    )
    note = f'{what}: {column.metric}, protocol {column.protocol}, {scale}'
    if judgement and (count := judgement.kept + judgement.contradicted + judgement.undecided):
        tau = '' if judgement.tau is None else f"; Kendall's tau-b {judgement.tau:.2f}"
        better = [
            f'{paper.METHODS[row]} here better than {paper.METHODS[other]}'
            for row, verdict in judgement.verdicts.items()
            for other in verdict.better
        ]
        named = f' ({"; ".join(better)})' if pairs and better else ''
        note += (
            f"; of {count} pairs {judgement.kept} in the paper's order, "
            f'{judgement.contradicted} in the other{named}, {judgement.undecided} undecided{tau}'
        )
        if pooled_sd(column.values.values()) is None:
            note += '; by one seed of each row, so chance may have decided the nearer pairs'
    return [f'{note}.']


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


def _below(what: str, kind: str, dataset: str, sizes: Mapping[int, int], column: Column) -> str:
    """Whether FlexAE is below WAE at each latent size, as it is in the paper."""
    values, pooled = column.values, pooled_sd(column.values.values())
    found = [
        is_lower(values[paper.FLEXAE, m], values[paper.WAE, m], pooled=pooled)
        for m in sizes.values()
        if {(paper.FLEXAE, m), (paper.WAE, m)} <= set(values)
    ]
    note = f'{what} with FlexAE than with WAE at each size, in the paper. '
    if not found:
        return f'{note}Not judged.'
    holds = False if False in found else (None if None in found else True)
    verdict = HOLDS[holds] if len(found) == len(sizes) or holds is False else 'undecided'
    note += f'Here at {found.count(True)} of {len(found)} that were run: {verdict}'
    if column.is_papers:
        near = [
            abs(values[method, m].mean - getattr(paper.TABLE_3[k][dataset][method], kind))
            <= paper.SPREAD + ROUNDING
            for k, m in sizes.items()
            for method in (paper.WAE, paper.FLEXAE)
            if (method, m) in values
        ]
        note += f"; {sum(near)} of {len(near)} values are within the paper's spread"
    return f'{note}.'


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
