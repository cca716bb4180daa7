"""Tables 1 and 2 of the paper: its numbers beside ours, and what ours tell of its order.

Verdicts are computed from both, never typed in. Whatever scores there are may be given: each table
takes its own, and leaves out data sets without any.
"""

from collections.abc import Mapping, Sequence

from flexae_tf.experiments import paper
from flexae_tf.experiments.columns import Column, OverSeeds, Score, gather, pooled_sd
from flexae_tf.experiments.exhibits.layout import Cell, Head, Table
from flexae_tf.experiments.exhibits.showing import Shown, assemble, beside, times
from flexae_tf.experiments.exhibits.verdicts import LEVEL, Judgement, judge

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
            notes += about(f'{title} {name}', column, judgement, pairs=kind == 'rec')
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
            notes += about(f'{title} {side}', column, judgement)
        shown += times(taken, Head('Training', title, numeric=True), row=_method)
    return assemble(
        'Table 2: precision (F_1/8) and recall (F_8) of samples; higher is better',
        {method: name for method, name in paper.METHODS.items() if method in methods},
        shown,
        notes=(OURS, *notes, EQUAL),
        commands=commands,
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


def about(
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
