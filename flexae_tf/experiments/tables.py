"""Parts of tables of scores, and their Markdown."""

import statistics
from collections import namedtuple
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from flexae_tf.evaluation.markdown_table import markdown_table
from flexae_tf.experiments import paper, results
from flexae_tf.experiments.results import Claim, Column, Score
from flexae_tf.experiments.runner import duration
from flexae_tf.metrics import comparison
from flexae_tf.metrics.comparison import Mean

# A column of a table: head, set and stem of its scores, best value (min, max or None), and split.
Measure = namedtuple('Measure', 'head set stem best split', defaults=(None, 'test'))
FD = {'rec': Measure('Rec.', 'reconstructions', 'fd', min)}
FD |= {'gen': Measure('Gen.', 'samples', 'fd', min)}
SLICED = {
    'sliced': Measure('W1 / scale', 'latents', 'sliced_wasserstein_scaled', min),
    'floor': Measure('floor', 'latents', 'sliced_wasserstein_floor_scaled'),
}
_RANKS = {'rank z': 'z_rank', 'rank prior': 'z_hat_rank'}
RANKS = {head: Measure(head, 'latents', stem) for head, stem in _RANKS.items()}
RANK = 'rank: effective rank of codes and of prior samples; they should agree.'
UNTUNED = '†: the open weights were not chosen on validation examples of this data set and scale.'
Cells = tuple[str, dict[Hashable, str]]  # a column: head, and text by row
Row = Callable[[Score], Hashable] | None  # row of a score; None for its method
Measures = Mapping[str, Measure]


class Table(NamedTuple):
    """A table with its notes and claims; a head that ends with '<' is aligned to the left."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    claims: Sequence[Claim] = ()

    def markdown(self) -> str:
        """Returns the table, a table of the claims, and a list of the notes."""
        parts = [f'**{self.caption}**', markdown_table(self.heads, self.rows)]
        if self.claims:
            heads = ('Claim', 'Paper<', 'Ours<', 'Ratio', 'p', 'Outcome<')
            parts.append(markdown_table(heads, map(_claim_cells, self.claims)))
        parts.append('\n'.join(f'- {note}' for note in self.notes))
        return '\n\n'.join(filter(None, parts)) + '\n'


def _claim_cells(claim: Claim) -> tuple[str, ...]:
    *texts, ratio, outcome = claim
    return (*texts, *((ratio.text(), f'{ratio.p:.2g}') if ratio else ('', '')), outcome)


def columns_of(scores: Iterable[Score], measures: Measures, row: Row = None) -> dict[str, Column]:
    """Returns the column of each measure, by key."""
    return {key: results.gather(select(scores, m), row) for key, m in measures.items()}


def noise_dim(score: Score) -> int:
    """Returns the size of P-GEN's input."""
    return score.options.get('noise_dim', score.latent_dim)


def select(scores: Iterable[Score], measure: Measure) -> list[Score]:
    """Returns the scores of a measure."""
    return [s for s in scores if (s.set, s.stem, s.split) == (*measure[1:3], measure.split)]


def cells_of(head: str, values: Mapping[Hashable, Mean | float], best: Callable | None) -> Cells:
    """Formats our means, or single numbers, with the best value in bold."""
    means = {row: v.mean if isinstance(v, Mean) else v for row, v in values.items()}
    decimals = comparison.decimals_for(means.values())
    mark = best(means.values()) if best and len(means) > 1 else None
    texts = {r: v.text(decimals) if isinstance(v, Mean) else f'{v:.2f}' for r, v in values.items()}
    return head, {r: f'**{text}**' if means[r] == mark else text for r, text in texts.items()}


def measured(columns: Mapping[str, Column], measures: Measures) -> list[Cells]:
    """Returns the column of each measure, formatted."""
    return [cells_of(m.head, columns[key].values, m.best) for key, m in measures.items()]


def protocols(columns: dict[str, Column], measures: Measures, floor: float | None = None) -> list:
    """Returns notes: the protocol of each column, and the floor if there is one."""
    pairs = [(m.head, columns[key]) for key, m in measures.items() if 'critic' not in m.stem]
    found = [f'{head}: `{c.metric}`, protocol `{c.protocol}`.' for head, c in pairs if c.metric]
    return found + ([f'Floor (training against test images): {floor:.3g}.'] if floor else [])


def times_of(scores: Iterable[Score], row: Row, head: str = 'Training') -> list[Cells]:
    """Returns a column of mean training times, a mean for each machine if there are several."""
    runs: dict[tuple, dict[int, float]] = {}
    for score in scores:
        if score.seconds is not None:  # 'CPU, 2 cores' -> 'CPU'; '1 x GPU NVIDIA H200' -> 'H200'
            machine = score.machine.partition(',')[0].split()[-1]
            runs.setdefault((row(score), machine), {})[score.seed] = score.seconds
    several = len({machine for _, machine in runs}) > 1
    times: dict[Hashable, list[str]] = {}
    for (name, machine), seeds in runs.items():
        time = duration(statistics.fmean(seeds.values()))
        times.setdefault(name, []).append(f'{time} ({machine})' if several else time)
    return [(head, {name: ', '.join(texts) for name, texts in times.items()})] if times else []


def marked(names: Mapping[str, str], scores: Iterable[Score], notes: list[str]) -> dict[str, str]:
    """Marks the methods whose weights were not tuned, and explains the mark in the notes."""
    untuned = {score.method for score in scores if not score.is_tuned} & set(names)
    notes += [UNTUNED] if untuned else []
    return {row: f'{name} †' if row in untuned else name for row, name in names.items()}


def layout(first: str, rows: Mapping[Hashable, str], columns: Sequence[Cells]) -> tuple:
    """Returns heads and rows of a table; `-` stands for a missing value."""
    body = [(name, *(cells.get(row, '-') for _, cells in columns)) for row, name in rows.items()]
    return (first, *(head for head, _ in columns)), body


def for_each_dataset(make: Callable, scores: Iterable[Score]) -> list[Table]:
    """Returns the tables that `make` yields for the scores and the title of each data set."""
    found: dict[str, list[Score]] = {}
    for score in scores:
        found.setdefault(score.dataset, []).append(score)
    made = [make(here, paper.DATASETS.get(dataset, dataset)) for dataset, here in found.items()]
    return [table for of_dataset in made for table in of_dataset]
