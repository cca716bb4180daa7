"""Columns of numbers as columns of a table."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from flexae_tf.experiments.columns import OverSeeds, Score
from flexae_tf.experiments.durations import duration
from flexae_tf.experiments.exhibits.layout import Cell, Head, Table

NOTHING = Cell('-')


class Shown(NamedTuple):
    """A column; rows without a cell show `NOTHING`."""

    head: Head
    cells: Mapping[str | int, Cell]


def alone(
    ours: Mapping[str | int, OverSeeds],
    head: Head,
    *,
    best: Callable[[Iterable[float]], float] | None = None,
) -> Shown:
    """Our column, `4.69 ± 0.12 (3)`; arguments as in `beside`."""
    means = {row: value.mean for row, value in ours.items()}
    decimals = decimals_for(means.values())
    texts = {row: number(value, decimals) for row, value in ours.items()}
    return Shown(head, _marked(means, texts, best))


def beside(
    ours: Mapping[str | int, OverSeeds],
    paper: Mapping[str | int, float],
    head: Head,
    *,
    best: Callable[[Iterable[float]], float] | None = None,
) -> list[Shown]:
    """Our column, `4.69 ± 0.12 (3)`, and the paper's.

    Args:
        ours: by row.
        paper: by row.
        head: of ours.
        best: min or max, to mark the best where there are several.
    """
    papers = {row: f'{value:.2f}' for row, value in paper.items()}
    return [
        alone(ours, head, best=best),
        Shown(head._replace(name=f'{head.name} paper'), _marked(paper, papers, best)),
    ]


def times(scores: Iterable[Score], head: Head, *, row: Callable[[Score], str | int]) -> list[Shown]:
    """The column of the mean time that the runs of a row were trained, if any is known.

    Where not all were trained by the same machine there is a mean for each: '8 min (CPU, 2 cores)'.

    Args:
        scores: of the rows' runs.
        head: of the column.
        row: that a score is of.
    """
    runs: dict[str | int, dict[str, dict[int, float]]] = {}
    for score in scores:
        if score.seconds is not None:
            machines = runs.setdefault(row(score), {})
            machines.setdefault(score.machine, {})[score.seed] = score.seconds
    several = len(set().union(*runs.values())) > 1
    cells = {}
    for name, machines in runs.items():
        means = {m: duration(statistics.fmean(taken.values())) for m, taken in machines.items()}
        shown = [f'{mean} ({m or "unknown"})' if several else mean for m, mean in means.items()]
        cells[name] = Cell(', '.join(shown))
    return [Shown(head, cells)] if cells else []


def assemble(
    caption: str,
    rows: Mapping[str | int, str],
    columns: Sequence[Shown],
    *,
    notes: Sequence[str],
    commands: Sequence[str],
    first: str = 'Method',
) -> Table:
    """The table of these columns.

    Args:
        caption: as in `Table`.
        rows: what to show, and under what name.
        columns: after the names.
        notes: as in `Table`.
        commands: as in `Table`.
        first: head of the names.
    """
    return Table(
        caption=caption,
        heads=(Head(first), *(column.head for column in columns)),
        rows=tuple(
            (Cell(name), *(column.cells.get(row, NOTHING) for column in columns))
            for row, name in rows.items()
        ),
        notes=tuple(notes),
        commands=tuple(commands),
    )


def _marked(
    values: Mapping[str | int, float],
    texts: Mapping[str | int, str],
    best: Callable[[Iterable[float]], float] | None,
) -> dict[str | int, Cell]:
    mark = best(values.values()) if best and len(values) > 1 else None
    return {row: Cell(texts[row], value == mark) for row, value in values.items()}


def decimals_for(values: Iterable[float]) -> int:
    """As many decimals as show three digits of the largest value, but two at least."""
    largest = max(values, default=1.0)
    return max(2, 2 - math.floor(math.log10(largest))) if largest > 0.0 else 2


def number(value: OverSeeds, decimals: int) -> str:
    """`4.69 ± 0.12 (3)`; without a deviation where there is one seed."""
    sd = '' if value.sd is None else f' ± {value.sd:.{decimals}f}'
    return f'{value.mean:.{decimals}f}{sd} ({value.n})'
