"""Tables of scores as Markdown: one function per artifact, `TABLES`.

Each function takes the scores of the artifact's jobs and returns the tables of each data set.
"""

import dataclasses
import functools
import statistics
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from flexae_tf import methods
from flexae_tf.experiments import paper, results
from flexae_tf.experiments.results import Claim, Column, Mean, Score
from flexae_tf.experiments.runner import duration
from flexae_tf.networks.architectures import CAPACITIES, perceptron_parameters

MODELS = {i: f'Model {i}' for i in CAPACITIES}  # of P-GEN, Table 8
MODERATE = (3, 4)  # "moderate capacity models (Model 3 or Model 4)"
ORDER = "order: pairs with other rows in the paper's order / contradicting / undecided."
CRITIC = (
    "Critic: each checkpoint's own critic. It bounds the distance from below, so a negative "
    'estimate makes a claim inconclusive.'
)
LEARNED = 0.3  # of the untrained method's Gen.; a method that is below it has learned
JOINT = {
    'flexae': 'FlexAE: its prior',
    'flexae+gaussian_mixture': 'FlexAE: mixture fitted afterwards',
    'ae_gmm': 'AE: mixture fitted afterwards',
    'ae_gmm+latent_gan': 'AE: P-GEN trained afterwards',
}
# FlexAE's Gen. in the paper: the largest ratio that it calls almost constant.
_GEN = [[r[d][paper.FLEXAE].gen for r in paper.TABLE_3.values()] for d in paper.BASE_LATENT_DIMS]
CONSTANT = max(max(values) / min(values) for values in _GEN)


class Measure(NamedTuple):
    """A column of a table: head, set and stem of its scores, best value (min, max), split."""

    head: str
    set: str
    stem: str
    best: Callable[..., float] | None = None
    split: str = 'test'


REC, GEN = Measure('Rec.', 'reconstructions', 'fd', min), Measure('Gen.', 'samples', 'fd', min)
FD = {'rec': REC, 'gen': GEN}
TABLE_2 = {
    'precision': Measure('Precision', 'samples', 'prd_precision', max),
    'recall': Measure('Recall', 'samples', 'prd_recall', max),
}
SCALED = Measure('W1 / scale', 'latents', 'sliced_wasserstein_scaled', min)
SCALED_FLOOR = Measure('floor', 'latents', 'sliced_wasserstein_floor_scaled')
FIG_2 = {
    'critic': Measure('Critic', 'latents', 'critic_distance'),
    'sliced': Measure('Sliced W1', 'latents', 'sliced_wasserstein', min),
    'sliced floor': Measure('floor', 'latents', 'sliced_wasserstein_floor'),
    'gen': GEN,
    'critic_scaled': Measure('Critic / scale', 'latents', 'critic_distance_scaled'),
    'sliced_scaled': SCALED,
    'sliced_scaled floor': SCALED_FLOOR,
}
FIG_5 = {
    f'{key} {split}': Measure(f'{measure.head} {split}', measure.set, 'fd', best, split)
    for key, measure in FD.items()
    for split, best in (('test', min), ('train', None))
}
THEOREM_2 = {'gen': GEN, 'sliced': SCALED, 'floor': SCALED_FLOOR}
CODES = (SCALED, SCALED_FLOOR, Measure('rank z', 'latents', 'z_rank'))
CODES += (Measure('rank prior', 'latents', 'z_hat_rank'),)


class Table(NamedTuple):
    """A table with its notes and claims; a head that ends with '<' is aligned to the left."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()

    def markdown(self) -> str:
        """Returns the table, a table of the claims, and a list of the notes."""
        parts = [f'**{self.caption}**', grid(self.heads, self.rows)]
        if self.claims:
            rows = [c._replace(p='' if c.p is None else f'{c.p:.2g}') for c in self.claims]
            parts.append(grid(('Claim', 'Paper<', 'Ours<', 'p', 'Outcome<'), rows))
        parts.append('\n'.join(f'- {note}' for note in self.notes))
        return '\n\n'.join(filter(None, parts)) + '\n'


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table; the first column and heads that end with '<' are left-aligned."""
    rules = ['---' if i == 0 or h.endswith('<') else '---:' for i, h in enumerate(heads)]
    lines = [[head.removesuffix('<') for head in heads], rules]
    lines += [[' '.join(text.split()).replace('|', '\\|') or '-' for text in row] for row in rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


# Columns ------------------------------------------------------------------------------------------

Cells = tuple[str, dict[Hashable, str]]  # head, and text by row
Row = Callable[[Score], Hashable]


def _cells(
    head: str,
    values: Mapping[Hashable, Mean | float],
    best: Callable[..., float] | None = None,
) -> Cells:
    """Formats our means, or single numbers, with the best value in bold."""
    means = {row: v.mean if isinstance(v, Mean) else v for row, v in values.items()}
    decimals = results.decimals_for(means.values())
    mark = best(means.values()) if best and len(means) > 1 else None
    cells = {}
    for row, value in values.items():
        text = value.text(decimals) if isinstance(value, Mean) else f'{value:.2f}'
        cells[row] = f'**{text}**' if means[row] == mark else text
    return head, cells


def _measured(columns: Mapping[str, Column], measures: Mapping[str, Measure]) -> list[Cells]:
    return [_cells(m.head, columns[key].values, m.best) for key, m in measures.items()]


def _protocols(columns: Mapping[str, Column], measures: Mapping[str, Measure]) -> list[str]:
    """Returns a line for each measure that has a protocol."""
    pairs = [(measure.head, columns[key]) for key, measure in measures.items()]
    known = [(h, c) for h, c in pairs if c.metric and c.protocol != 'critic']
    return [f'{h}: `{c.metric}`, protocol `{c.protocol}`.' for h, c in known]


def _floor(scores: Iterable[Score], column: Column) -> list[str]:
    value = results.floor([s for s in scores if s.split == 'test'], column)
    return [] if value is None else [f'Floor (training against test images): {value:.3g}.']


def _times(scores: Iterable[Score], row: Row, head: str = 'Training') -> list[Cells]:
    """Returns a column of mean training times, a mean for each machine if there are several."""
    runs: dict[Hashable, dict[str, dict[int, float]]] = {}
    for score in scores:
        if score.seconds is not None:  # 'CPU, 2 cores' -> 'CPU'; '1 x GPU NVIDIA H200' -> 'H200'
            machine = (score.machine.partition(',')[0].split() or ['unknown'])[-1]
            seeds = runs.setdefault(row(score), {}).setdefault(machine, {})
            seeds[score.seed] = score.seconds
    several = len({name for machines in runs.values() for name in machines}) > 1
    cells = {}
    for name, machines in runs.items():
        means = {m: duration(statistics.fmean(s.values())) for m, s in machines.items()}
        cells[name] = ', '.join(f'{t} ({m})' if several else t for m, t in means.items())
    return [(head, cells)] if cells else []


def _table(
    caption: str,
    rows: Mapping[Hashable, str],
    columns: Sequence[Cells],
    notes: Iterable[str],
    claims: Iterable[Claim] = (),
    first: str = 'Method',
) -> Table:
    body = ((name, *(cells.get(row, '-') for _, cells in columns)) for row, name in rows.items())
    heads = (first, *(head for head, _ in columns))
    return Table(caption, heads, tuple(body), tuple(notes), tuple(claims))


def title(row: str) -> str:
    """Returns the title of a row: of a method, or of METHOD+DENSITY."""
    method, _, density = row.partition('+')
    name = methods.find(method).title
    return f'{name} + {density.replace("_", " ")}' if density else name


def _titles(scores: Iterable[Score], first: Iterable[str] = ()) -> dict[str, str]:
    return {row: title(row) for row in [*first, *(score.method for score in scores)]}


def columns_of(
    scores: Sequence[Score], measures: Mapping[str, Measure], row: Row | None = None
) -> dict[str, Column]:
    """Returns the column of each measure, by key.

    The protocol of a critic's estimate names its checkpoint, so it is not compared.
    """
    found = {}
    for key, measure in measures.items():
        taken = _select(scores, measure)
        if measure.stem.startswith('critic'):
            taken = [dataclasses.replace(s, protocol='critic') for s in taken]
        found[key] = results.gather(taken, row)
    return found


def _select(scores: Iterable[Score], measure: Measure) -> list[Score]:
    wanted = (measure.set, measure.stem, measure.split)
    return [s for s in scores if (s.set, s.stem, s.split) == wanted]


# Tables -------------------------------------------------------------------------------------------

TABLES: dict[str, Callable[[Sequence[Score]], list[Table]]] = {}


def _artifact(name: str) -> Callable:
    """Registers a function of (scores, title) of one data set as the tables of an artifact."""

    def register(make: Callable[[list[Score], str], Iterator[Table]]) -> Callable:
        @functools.wraps(make)
        def tables(scores: Sequence[Score]) -> list[Table]:
            found: dict[str, list[Score]] = {}
            for score in scores:
                found.setdefault(score.dataset, []).append(score)
            made = (make(here, paper.DATASETS.get(d, d)) for d, here in found.items())
            return [table for of_dataset in made for table in of_dataset]

        return TABLES.setdefault(name, tables)

    return register


@_artifact('table1')
def table1(scores: Sequence[Score], name: str) -> Iterator[Table]:
    """Yields Table 1: Fréchet distances of reconstructions and samples."""
    caption = f'Table 1, Fréchet distance, {name}; lower is better'
    return _beside_paper(scores, name, caption, FD, paper.TABLE_1)


@_artifact('table2')
def table2(scores: Sequence[Score], name: str) -> Iterator[Table]:
    """Yields Table 2: precision and recall of samples."""
    caption = f'Table 2, precision (F_1/8) and recall (F_8) of samples, {name}; higher is better'
    return _beside_paper(scores, name, caption, TABLE_2, paper.TABLE_2)


def _beside_paper(
    scores: Sequence[Score],
    name: str,
    caption: str,
    measures: Mapping[str, Measure],
    published: Mapping[str, Mapping[str, NamedTuple]],
) -> Iterator[Table]:
    """Yields a table of our and the paper's scores, and one of how their orders agree."""
    columns = columns_of(scores, measures)
    shown, notes, agreed = [], [ORDER, *_protocols(columns, measures)], []
    if not any(column.is_papers for column in columns.values()):
        notes.append("Not the paper's scores (FID): only the order is comparable.")
    for key, (head, *_, best, _) in measures.items():
        column, spread = columns[key], paper.SPREAD if best is min else 0.0
        theirs = {m: r[scores[0].dataset] for m, r in published.items() if scores[0].dataset in r}
        theirs = {method: getattr(row, key) for method, row in theirs.items()}
        pairs = results.agreement(theirs, column.values, best is min, spread)
        shown += [_cells(head, column.values, best), _cells('paper', theirs, best)]
        order = {}
        for row, mean in column.values.items():
            counts = [sum(row in pair for pair in group) for group in pairs[:3]]
            if sum(counts):
                near = column.is_papers and abs(mean.mean - theirs[row]) <= spread
                order[row] = ' / '.join(map(str, counts)) + f' (within ± {spread})' * near
        shown += [('order', order)] if key != 'rec' else []
        counts = [len(group) for group in pairs[:3]]
        tau = '-' if pairs.tau is None else f'{pairs.tau:.2f}'
        agreed.append((head, *map(str, [sum(counts), *counts]), tau))
        listed = '; '.join(f'{title(a)} better than {title(b)}' for a, b in pairs.contradicted)
        notes += [f'{head}, contradicting: {listed}.'] if listed else []
    present = {s.method for s in scores} | set(published)
    rows = _titles(scores, [row for row in paper.METHODS if row in present])
    yield _table(caption, rows, [*shown, *_times(scores, lambda s: s.method)], notes)
    heads = ('Column', 'pairs', "paper's order", 'contradicting', 'undecided', 'tau-b')
    yield Table(f'Order of the rows, {name}', heads, tuple(agreed))


@_artifact('table3')
def table3(scores: Sequence[Score], name: str) -> Iterator[Table]:
    """Yields Table 3: Fréchet distance by latent size."""
    dataset = scores[0].dataset
    base = paper.BASE_LATENT_DIMS.get(dataset) or min(s.latent_dim for s in scores)
    columns = columns_of(scores, FD, lambda s: (s.method, s.latent_dim // base))
    used = sorted({s.method for s in scores}, key=lambda m: (m != paper.WAE, m != paper.FLEXAE))
    short = _titles((), used) | {paper.FLEXAE: 'FlexAE', paper.WAE: 'WAE'}  # as in the paper
    pairs = tuple(((paper.FLEXAE, k), (paper.WAE, k)) for k in paper.TABLE_3)
    names = {row: f'{short[row[0]]} at {row[1]} m_b' for pair in pairs for row in pair}
    shown, claims, grown = [], [], {}
    for key, column in columns.items():
        head = FD[key].head
        order = paper.Order(f'{head}: FlexAE below WAE at each size', pairs)
        claims.append(results.judge_order(order, column.values, names))
        for method in used:
            ours = {k: v for (m, k), v in column.values.items() if m == method}
            shown.append(_cells(f'{head} {short[method]}', ours))
            if dataset not in paper.BASE_LATENT_DIMS or (key, method) not in paper.TABLE_3_TRENDS:
                continue
            theirs = {k: getattr(r[dataset][method], key) for k, r in paper.TABLE_3.items()}
            shown.append(_cells('paper', theirs))
            direction = paper.TABLE_3_TRENDS[key, method]
            text = f'{head} of {short[method]}: {direction} with m'
            trend = paper.Trend(text, key, tuple(theirs), direction)
            claims.append(results.judge_trend(trend, ours, theirs.values(), CONSTANT))
            if key == 'gen' and {1, 4} <= set(ours):
                pooled = results.pooled_sd(column.values.values())
                grown[method] = results.growth(ours[1], ours[4], pooled), theirs[4] / theirs[1]
    contrast = Claim('Gen. of WAE grows more from m_b to 4 m_b than Gen. of FlexAE')
    if len(grown) == 2:
        (wae, flexae), theirs = zip(grown[paper.WAE], grown[paper.FLEXAE], strict=True)
        texts = [f'{a:.2f} vs {b:.2f} times' for a, b in (theirs, (wae.mean, flexae.mean))]
        outcome = results.outcome_of(results.difference(flexae, wae, None))
        contrast = Claim(contrast.text, *texts, None, outcome)
    for method in used:
        taken = [s for s in scores if s.method == method]
        shown += _times(taken, lambda s: s.latent_dim // base, f'Time {short[method]}')
    rows = {k: f'{k} m_b' if k > 1 else 'm_b' for k in paper.TABLE_3}
    caption = f'Table 3, Fréchet distance by latent size m, {name}, m_b = {base}; lower is better'
    yield _table(caption, rows, shown, _protocols(columns, FD), [*claims, contrast], 'm')


@_artifact('fig2')
def fig2(scores: Sequence[Score], name: str) -> Iterator[Table]:
    """Yields the distances of Fig. 2 at the last step, and which prior comes down sooner."""
    columns = columns_of(scores, FIG_2, lambda s: (s.method, s.step))
    steps: dict[str, set[int]] = {}
    for method, step in columns['gen'].values or columns['sliced'].values:
        steps.setdefault(method, set()).add(step)
    last = max(set.intersection(*steps.values()), default=0) if steps else 0
    if not last:
        return
    for key, column in columns.items():
        values = {m: v for (m, step), v in column.values.items() if step == last}
        columns[key] = column._replace(values=values)
    claims = []
    for claim in paper.FIG_2:
        values = columns[claim.column].values
        judged = results.judge_order(claim, values, {})
        negative = any(value.mean < 0.0 for value in values.values())
        if claim.column.startswith('critic') and negative and judged.ours:
            judged = judged._replace(outcome=results.INCONCLUSIVE)
        claims.append(judged)
    claims += [_sooner(scores, FIG_2[key]) for key in ('sliced', 'sliced_scaled')]
    rows = _titles((), sorted(steps, key=lambda m: m == paper.FLEXAE))
    notes = [f'At step {last}.', *_protocols(columns, FIG_2), CRITIC]
    caption = f'Fig. 2, distances of prior and codes on {name}; lower is better'
    yield _table(caption, rows, _measured(columns, FIG_2), notes, claims)


def curves(scores: Iterable[Score], measure: Measure) -> dict[tuple[str, int], dict[int, float]]:
    """Returns the values of a measure by step for each (method, seed)."""
    found: dict[tuple[str, int], dict[int, float]] = {}
    for score in _select(scores, measure):
        found.setdefault((score.method, score.seed), {})[score.step] = score.value
    return found


def _sooner(scores: Sequence[Score], measure: Measure) -> Claim:
    """Judges whether FlexAE needs fewer steps to the best value that every run attains."""
    found = curves(scores, measure)
    level = max((min(curve.values()) for curve in found.values()), default=0.0)
    steps: dict[str, list[float]] = {}
    for (method, _), curve in found.items():
        steps.setdefault(method, []).append(min(s for s, v in curve.items() if v <= level))
    values = {method: results.over_seeds(first) for method, first in steps.items()}
    text = f'FlexAE: fewer steps to {measure.head} {level:.3g}, which every run attains'
    return results.judge_order(paper.Order(text, paper.LEARNED), values, {}, decimals=0)


@_artifact('fig3')
def fig3(scores: Sequence[Score], name: str) -> Iterator[Table]:
    """Yields Fréchet distances of the models of Fig. 3."""

    def model(score: Score) -> str:
        mixture = score.options.get('mixture')
        return f'{score.method}-{mixture}' if mixture else score.method

    columns = columns_of(scores, FD, model)
    gen = columns['gen'].values
    rows = paper.FIG_3_MODELS | {m: title(m) for m in gen if m not in paper.FIG_3_MODELS}
    shown, claims = _measured(columns, FD), [results.judge_order(paper.FIG_3, gen, rows)]
    if (floor := results.floor(scores, columns['gen'])) is not None:
        rows['floor'] = 'Training examples (floor)'
        shown[1][1]['floor'] = f'{floor:.3g}'
    caption = f'Fig. 3, Fréchet distance by prior on {name}, m = 2; lower is better'
    yield _table(caption, rows, shown, _protocols(columns, FD), claims, 'Model')


@_artifact('fig5')
def fig5(scores: Sequence[Score], name: str) -> Iterator[Table]:
    """Yields distances from test and training images by capacity of P-GEN."""
    columns = columns_of(scores, FIG_5, fig5_row)
    gen = columns['gen test'].values
    sizes = {fig5_row(s): f'{generator_parameters(s):,}' for s in scores}
    shown = [('Parameters', sizes), *_measured(columns, FIG_5), *_times(scores, fig5_row)]
    best = min(filter(gen.__contains__, MODERATE), key=lambda m: gen[m].mean, default=3)
    text = 'Gen. test is lowest at moderate capacity (the better of models 3 and 4)'
    order = paper.Order(text, tuple((best, m) for m in MODELS if m not in MODERATE))
    claims = [results.judge_order(order, gen, MODELS)]
    claims += [results.judge_trend(c, columns[c.column].values) for c in paper.FIG_5]
    if claims[-2].outcome not in (results.SUPPORTED, results.NOT_RUN):  # no rise to explain
        claims[-1] = claims[-1]._replace(outcome=results.INCONCLUSIVE)
    notes = [*_protocols(columns, FIG_5), *_floor(scores, columns['gen test'])]
    caption = f'Fig. 5, Fréchet distance by capacity of P-GEN, {name}; lower is better'
    yield _table(caption, MODELS, shown, notes, claims, 'P-GEN')


def fig5_row(score: Score) -> int:
    """Returns the capacity of P-GEN."""
    return score.options['generator_capacity']


def generator_parameters(score: Score) -> int:
    """Returns the number of weights and biases of the run's P-GEN."""
    return perceptron_parameters(noise_dim(score), *CAPACITIES[fig5_row(score)], score.latent_dim)


@_artifact('theorem2')
def theorem2(scores: Sequence[Score], name: str) -> Iterator[Table]:
    """Yields distances by the size of P-GEN's input."""
    columns = columns_of(scores, THEOREM_2, noise_dim)
    rows = {size: f"m' = {size}" for size in sorted({*paper.NOISE_DIMS, *columns['gen'].values})}
    claims = [results.judge_order(c, columns[c.column].values, rows) for c in paper.THEOREM_2]
    shown, notes = _measured(columns, THEOREM_2), _protocols(columns, THEOREM_2)
    caption = f"Theorem 2, FlexAE on {name} by the size m' of P-GEN's input; lower is better"
    yield _table(caption, rows, shown, notes, claims, 'Input')


def noise_dim(score: Score) -> int:
    """Returns the size of P-GEN's input."""
    return score.options.get('noise_dim', score.latent_dim)


@_artifact('joint')
def joint(scores: Sequence[Score], name: str) -> Iterator[Table]:
    """Yields scores of jointly trained priors and of samplers fitted afterwards."""
    measures = FD | TABLE_2 | {'sliced': SCALED, 'floor': SCALED_FLOOR}
    columns = columns_of(scores, measures)
    rows = _titles(scores, JOINT) | JOINT
    shown = [*_measured(columns, measures), *_times(scores, lambda s: s.method)]
    notes = [*_protocols(columns, measures), *_floor(scores, columns['gen'])]
    notes.append('Training includes the sampler that is trained afterwards.')
    claims = [results.judge_order(c, columns['gen'].values, rows) for c in paper.JOINT]
    caption = f'Joint training and samplers fitted afterwards, {name}'
    yield _table(caption, rows, shown, notes, claims, 'Codes and sampler')


@_artifact('methods')
def all_methods(scores: Sequence[Score], name: str) -> Iterator[Table]:
    """Yields distances of every method before and after training, its codes and its cost."""
    measures = {'gen': GEN, 'rec': REC}
    columns = columns_of(scores, measures, lambda s: (s.method, s.options['training_steps'] > 0))
    gen, before, rec = (
        {method: value for (method, trained), value in columns[key].values.items() if trained == of}
        for key, of in (('gen', True), ('gen', False), ('rec', True))
    )
    share = {m: v.mean / before[m].mean for m, v in gen.items() if m in before}
    shown = [_cells('Gen. untrained', before), _cells('Gen.', gen, min)]
    shown += [_cells('ratio', share), _cells('Rec.', rec, min)]
    notes = _protocols(columns, measures)
    for measure in CODES:
        values: dict[Hashable, Mean] = {}
        for features in ('codes', 'posterior_samples'):  # these have protocols of their own
            taken = [s for s in scores if s.fields['features'] == features]
            taken = [s for s in taken if s.options['training_steps']]
            head = f'{measure.head} of {features.replace("_", " ")}'
            column = columns_of(taken, {head: measure})
            values |= column[head].values
            if measure is SCALED:
                notes += _protocols(column, {head: measure._replace(head=head)})
        shown.append(_cells(measure.head, values))
    if speed := results.benchmark():
        shown.append(_cells('time', speed['over_flexae']))
        notes.append(
            f"time: an iteration over FlexAE's {speed['seconds'][paper.FLEXAE]:.2f} s, median of "
            f'{speed["iterations"]} on {speed["dataset"]} at width {speed["width_multiplier"]} '
            f'({speed["device"]}).'
        )
    notes.append('rank: effective rank of codes and of prior samples; they should agree.')
    above = ', '.join(title(method) for method, value in share.items() if value > LEARNED)
    learned = sum(value <= LEARNED for value in share.values())
    claim = Claim(f'Training brings Gen. to at most {LEARNED} of the untrained value')
    if share:
        ours = f'{learned} of {len(share)} methods' + (f' (not: {above})' if above else '')
        outcome = results.NOT_SUPPORTED if above else results.SUPPORTED
        claim = claim._replace(ours=ours, outcome=outcome)
    caption = f'Every method on {name}, before and after training; lower is better'
    yield _table(caption, _titles(scores, methods.AUTOENCODERS), shown, notes, [claim])
