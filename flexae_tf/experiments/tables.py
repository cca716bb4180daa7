"""Tables of scores as Markdown: one function per artifact, `TABLES`.

Each function takes the scores of the artifact's jobs and returns a table for each data set.
"""

import dataclasses
import statistics
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from flexae_tf import methods
from flexae_tf.experiments import paper, results
from flexae_tf.experiments.results import Claim, Column, Mean, Score, gather
from flexae_tf.experiments.runner import duration
from flexae_tf.networks.architectures import CAPACITIES, perceptron_parameters

MODELS = {i: f'Model {i}' for i in CAPACITIES}  # of P-GEN, Table 8
SLICED, SLICED_FLOOR = 'sliced_wasserstein', 'sliced_wasserstein_floor'
MODERATE = (3, 4)  # "moderate capacity models (Model 3 or Model 4)"
ORDER = "order: pairs with other rows in the paper's order / contradicting / undecided."
CRITIC = (
    "Critic: each checkpoint's own critic. It bounds the distance from below, so a negative "
    'estimate makes a claim inconclusive.'
)
JOINT_TIME = 'Training includes the sampler that is trained afterwards.'
LEARNED = 0.3  # of the untrained method's Gen.; a method that is below it has learned
JOINT = {
    'flexae': 'FlexAE: its prior',
    'flexae+gaussian_mixture': 'FlexAE: mixture fitted afterwards',
    'ae_gmm': 'AE: mixture fitted afterwards',
    'ae_gmm+latent_gan': 'AE: P-GEN trained afterwards',
}


class Measure(NamedTuple):
    """A column of a table: head, set and stem of its scores, best value (min, max), split."""

    head: str
    set: str
    stem: str
    best: Callable[..., float] | None = None
    split: str = 'test'


REC, GEN = Measure('Rec.', 'reconstructions', 'fd', min), Measure('Gen.', 'samples', 'fd', min)
PRECISION = Measure('Precision', 'samples', 'prd_precision', max)
RECALL = Measure('Recall', 'samples', 'prd_recall', max)
SCALED = Measure('W1 / scale', 'latents', f'{SLICED}_scaled', min)
SCALED_FLOOR = Measure('floor', 'latents', f'{SLICED_FLOOR}_scaled')
FIG_2 = {
    'critic': Measure('Critic', 'latents', 'critic_distance'),
    'sliced': Measure('Sliced W1', 'latents', SLICED, min),
    'sliced floor': Measure('floor', 'latents', SLICED_FLOOR),
    'gen': GEN,
    'critic_scaled': Measure('Critic / scale', 'latents', 'critic_distance_scaled'),
    'sliced_scaled': SCALED,
    'sliced_scaled floor': SCALED_FLOOR,
}
FIG_5 = {
    f'{key} {split}': measure._replace(
        head=f'{measure.head} {split}', split=split, best=min if split == 'test' else None
    )
    for key, measure in (('rec', REC), ('gen', GEN))
    for split in ('test', 'train')
}
THEOREM_2 = {'gen': GEN, 'sliced': SCALED, 'floor': SCALED_FLOOR}


class Table(NamedTuple):
    """A table with its notes and claims.

    Attributes:
        caption: one line above the table.
        heads: of the columns; a head that ends with '<' is aligned to the left.
        rows: a text for each head.
        notes: one line each.
        claims: shown as a table of their own.
    """

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()

    def markdown(self) -> str:
        """Returns the table as Markdown."""
        parts = [f'**{self.caption}**', grid(self.heads, self.rows)]
        if self.claims:
            rows = [
                (c.text, c.paper or '-', c.ours or '-', _p(c.p), c.outcome) for c in self.claims
            ]
            parts.append(grid(('Claim', 'Paper<', 'Ours<', 'p', 'Outcome<'), rows))
        parts.append('\n'.join(f'- {note}' for note in self.notes))
        return '\n\n'.join(filter(None, parts)) + '\n'


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table; the first column and heads that end with '<' are left-aligned."""
    rules = ['---' if i == 0 or h.endswith('<') else '---:' for i, h in enumerate(heads)]
    names = [head.removesuffix('<') for head in heads]
    lines = [names, rules, *([_cell(text) for text in row] for row in rows)]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _cell(text: str) -> str:
    return ' '.join(text.split()).replace('|', '\\|')


def _p(value: float | None) -> str:
    return '-' if value is None else f'{value:.2g}'


# Columns ------------------------------------------------------------------------------------------

Cells = tuple[str, dict[Hashable, str]]  # head, and text by row
Row = Callable[[Score], Hashable]


def _ours(
    head: str, values: Mapping[Hashable, Mean], best: Callable[..., float] | None = None
) -> Cells:
    means = {row: value.mean for row, value in values.items()}
    decimals = results.decimals_for(means.values())
    return head, _marked(means, {row: v.text(decimals) for row, v in values.items()}, best)


def _published(values: Mapping[Hashable, float], best: Callable[..., float] | None = None) -> Cells:
    return 'paper', _marked(values, {row: f'{v:.2f}' for row, v in values.items()}, best)


def _marked(
    values: Mapping[Hashable, float],
    texts: Mapping[Hashable, str],
    best: Callable[..., float] | None,
) -> dict[Hashable, str]:
    mark = best(values.values()) if best and len(values) > 1 else None
    return {row: f'**{text}**' if values[row] == mark else text for row, text in texts.items()}


def _times(
    scores: Iterable[Score], row: Callable[[Score], Hashable], head: str = 'Training'
) -> list[Cells]:
    """Returns a column of mean training times, a mean for each machine if there are several."""
    runs: dict[Hashable, dict[str, dict[int, float]]] = {}
    for score in scores:
        if score.seconds is not None:
            machines = runs.setdefault(row(score), {})
            machines.setdefault(short_machine(score.machine), {})[score.seed] = score.seconds
    several = len({name for machines in runs.values() for name in machines}) > 1
    cells = {}
    for name, machines in runs.items():
        means = {m: duration(statistics.fmean(s.values())) for m, s in machines.items()}
        cells[name] = ', '.join(f'{t} ({m})' if several else t for m, t in means.items())
    return [(head, cells)] if cells else []


def short_machine(name: str) -> str:
    """Returns 'CPU, 2 cores' as 'CPU' and '1 x GPU NVIDIA H200' as 'H200'."""
    return name.partition(',')[0].split()[-1] if name else 'unknown'


def _table(
    caption: str,
    first: str,
    rows: Mapping[Hashable, str],
    columns: Sequence[Cells],
    notes: Iterable[str] = (),
    claims: Iterable[Claim] = (),
) -> Table:
    body = ((name, *(cells.get(row, '-') for _, cells in columns)) for row, name in rows.items())
    heads = (first, *(head for head, _ in columns))
    return Table(caption, heads, tuple(body), tuple(notes), tuple(claims))


def title(row: str) -> str:
    """Returns the title of a row: of a method, or of METHOD+DENSITY."""
    method, _, density = row.partition('+')
    name = methods.find(method).title
    return f'{name} + {density.replace("_", " ")}' if density else name


def _by_dataset(scores: Iterable[Score]) -> Iterator[tuple[str, str, list[Score]]]:
    """Yields (name, title, scores) of each data set."""
    scores = list(scores)
    for name in dict.fromkeys(score.dataset for score in scores):
        here = [score for score in scores if score.dataset == name]
        yield name, paper.DATASETS.get(name, name), here


def select(scores: Iterable[Score], measure: Measure) -> list[Score]:
    """Returns the scores of a measure."""
    wanted = (measure.set, measure.stem, measure.split)
    return [s for s in scores if (s.set, s.stem, s.split) == wanted]


def columns_of(
    scores: Sequence[Score], measures: Mapping[str, Measure], row: Row | None = None
) -> dict[str, Column]:
    """Returns the column of each measure, by key.

    The protocol of a critic's estimate names its checkpoint, so it is not compared.
    """
    found = {}
    for key, measure in measures.items():
        taken = select(scores, measure)
        if measure.stem.startswith('critic'):
            taken = [dataclasses.replace(s, protocol='critic') for s in taken]
        found[key] = gather(taken, row)
    return found


def _shown(columns: Mapping[str, Column], measures: Mapping[str, Measure]) -> list[Cells]:
    return [_ours(m.head, columns[key].values, m.best) for key, m in measures.items()]


def _protocols(columns: Mapping[str, Column], measures: Mapping[str, Measure]) -> list[str]:
    """Returns a line for each measure that has a protocol."""
    found = []
    for key, measure in measures.items():
        column = columns[key]
        if column.metric and column.protocol != 'critic':
            found.append(f'{measure.head}: `{column.metric}`, protocol `{column.protocol}`.')
    return found


def _floor(scores: Iterable[Score], column: Column) -> list[str]:
    value = results.floor([s for s in scores if s.split == 'test'], column)
    return [] if value is None else [f'Floor (training against test images): {value:.3g}.']


# Tables -------------------------------------------------------------------------------------------


def table1(scores: Sequence[Score]) -> list[Table]:
    """Returns Table 1: Fréchet distances of reconstructions and samples."""
    measures = {'rec': REC, 'gen': GEN}
    return _beside_paper(scores, 'Table 1, Fréchet distance', measures, paper.TABLE_1)


def table2(scores: Sequence[Score]) -> list[Table]:
    """Returns Table 2: precision and recall of samples."""
    measures = {'precision': PRECISION, 'recall': RECALL}
    caption = 'Table 2, precision (F_1/8) and recall (F_8) of samples'
    return _beside_paper(scores, caption, measures, paper.TABLE_2)


def _beside_paper(
    scores: Sequence[Score],
    caption: str,
    measures: Mapping[str, Measure],
    published: Mapping[str, Mapping[str, NamedTuple]],
) -> list[Table]:
    """Returns a table of our and the paper's scores, and one of how their orders agree."""
    found = []
    for dataset, name, here in _by_dataset(scores):
        columns = columns_of(here, measures)
        shown, notes, agreed = [], [ORDER, *_protocols(columns, measures)], []
        if not any(column.is_papers for column in columns.values()):
            notes.append("Not the paper's scores (FID): only the order is comparable.")
        for key, measure in measures.items():
            column, lower = columns[key], measure.best is min
            theirs = {m: getattr(r[dataset], key) for m, r in published.items() if dataset in r}
            spread = paper.SPREAD if lower else 0.0
            pairs = results.agreement(theirs, column.values, lower_is_better=lower, spread=spread)
            shown += [
                _ours(measure.head, column.values, measure.best),
                _published(theirs, measure.best),
            ]
            if key != 'rec':
                shown.append(('order', _orders(pairs, column, theirs, spread)))
            counts = [len(group) for group in pairs[:3]]
            tau = '-' if pairs.tau is None else f'{pairs.tau:.2f}'
            agreed.append((measure.head, *map(str, [sum(counts), *counts]), tau))
            listed = '; '.join(f'{title(a)} better than {title(b)}' for a, b in pairs.contradicted)
            notes += [f'{measure.head}, contradicting: {listed}.'] if listed else []
        there = {s.method for s in here} | set(published)
        rows = [row for row in paper.METHODS if row in there] + [s.method for s in here]
        rows = {row: title(row) for row in rows}
        shown += _times(here, lambda s: s.method)
        better = 'lower' if 'gen' in measures else 'higher'
        full = f'{caption}, {name}; {better} is better'
        found.append(_table(full, 'Method', rows, shown, notes))
        heads = ('Column', 'pairs', "paper's order", 'contradicting', 'undecided', 'tau-b')
        found.append(Table(f'Order of the rows, {name}', heads, tuple(agreed)))
    return found


def _orders(
    pairs: results.Agreement, column: Column, theirs: Mapping[str, float], spread: float
) -> dict[str, str]:
    cells = {}
    for row in theirs:
        counts = [sum(row in pair for pair in group) for group in pairs[:3]]
        if row in column.values and sum(counts):
            cells[row] = ' / '.join(map(str, counts))
            if column.is_papers and abs(column.values[row].mean - theirs[row]) <= spread:
                cells[row] += f' (within ± {spread})'
    return cells


def table3(scores: Sequence[Score]) -> list[Table]:
    """Returns Table 3: Fréchet distance by latent size."""
    found = []
    for dataset, name, here in _by_dataset(scores):
        base = paper.BASE_LATENT_DIMS.get(dataset) or min(s.latent_dim for s in here)
        measures = {'rec': REC, 'gen': GEN}
        columns = columns_of(here, measures, lambda s, b=base: (s.method, s.latent_dim // b))
        rows = sorted({s.method for s in here}, key=lambda m: (m != paper.WAE, m != paper.FLEXAE))
        shown, claims, grown = [], [], {}
        for key, column in columns.items():
            head = measures[key].head
            pairs = tuple(((paper.FLEXAE, k), (paper.WAE, k)) for k in paper.TABLE_3)
            order = paper.Order(f'{head}: FlexAE below WAE at each size', pairs, key)
            names = {row: f'{short(row[0])} at {row[1]} m_b' for pair in pairs for row in pair}
            claims.append(results.judge_order(order, column.values, names))
            for method in rows:
                ours = {k: v for (m, k), v in column.values.items() if m == method}
                theirs = {k: row.get(dataset, {}).get(method) for k, row in paper.TABLE_3.items()}
                theirs = {k: getattr(fid, key) for k, fid in theirs.items() if fid}
                shown.append(_ours(f'{head} {short(method)}', ours))
                if not theirs:
                    continue
                shown.append(_published(theirs))
                direction = paper.TABLE_3_TRENDS[key, method]
                trend = paper.Trend(
                    f'{head} of {short(method)}: {direction} with m', key, (1, 2, 4), direction
                )
                judged = results.judge_trend(
                    trend, ours, published=tuple(theirs.values()), constant=CONSTANT
                )
                claims.append(judged)
                if key == 'gen' and {1, 4} <= set(ours):
                    pooled = results.pooled_sd(column.values.values())
                    ratio = results.growth(ours[1], ours[4], pooled)
                    grown[method] = ratio, theirs[4] / theirs[1]
        claims.append(_contrast(grown))
        for method in rows:
            of_method = [s for s in here if s.method == method]
            shown += _times(of_method, lambda s, b=base: s.latent_dim // b, f'Time {short(method)}')
        labels = {k: f'{k} m_b' if k > 1 else 'm_b' for k in paper.TABLE_3}
        caption = f'Table 3, Fréchet distance by latent size m, {name}, m_b = {base}'
        notes = _protocols(columns, measures)
        found.append(_table(f'{caption}; lower is better', 'm', labels, shown, notes, claims))
    return found


def short(method: str) -> str:
    """Returns the title of a method in Table 3, where WAE-GAN is called WAE."""
    return 'WAE' if method == paper.WAE else title(method)


# FlexAE's Gen. in the paper: the largest ratio that it calls almost constant.
_GEN = {d: [r[d][paper.FLEXAE].gen for r in paper.TABLE_3.values()] for d in paper.BASE_LATENT_DIMS}
CONSTANT = max(max(values) / min(values) for values in _GEN.values())


def _contrast(grown: Mapping[str, tuple[Mean, float]]) -> Claim:
    text = 'Gen. of WAE grows more from m_b to 4 m_b than Gen. of FlexAE'
    if not {paper.WAE, paper.FLEXAE} <= set(grown):
        return Claim(text, '', '', None, results.NOT_RUN)
    (wae, wae_paper), (flexae, flexae_paper) = grown[paper.WAE], grown[paper.FLEXAE]
    gap = results.difference(flexae, wae, None)
    outcome = results.SUPPORTED if gap > 0.0 else results.NOT_SUPPORTED
    return Claim(
        text,
        f'{wae_paper:.2f} vs {flexae_paper:.2f} times',
        f'{wae.mean:.2f} vs {flexae.mean:.2f} times',
        None,
        outcome if gap else results.INCONCLUSIVE,
    )


def fig2(scores: Sequence[Score]) -> list[Table]:
    """Returns the distances of Fig. 2 at the last step, and which prior comes down sooner."""
    columns = columns_of(scores, FIG_2, lambda s: (s.method, s.step))
    steps: dict[str, set[int]] = {}
    for method, step in columns['gen'].values or columns['sliced'].values:
        steps.setdefault(method, set()).add(step)
    last = max(set.intersection(*steps.values()), default=0) if steps else 0
    if not last:
        return []
    at = {
        key: column._replace(values={m: v for (m, s), v in column.values.items() if s == last})
        for key, column in columns.items()
    }
    claims = []
    for claim in paper.FIG_2:
        judged = results.judge_order(claim, at[claim.column].values, {})
        negative = any(value.mean < 0.0 for value in at[claim.column].values.values())
        if claim.column.startswith('critic') and negative and judged.ours:
            judged = judged._replace(outcome=results.INCONCLUSIVE)
        claims.append(judged)
    claims += [_sooner(scores, FIG_2[key]) for key in ('sliced', 'sliced_scaled')]
    rows = {row: title(row) for row in sorted(steps, key=lambda m: m == paper.FLEXAE)}
    notes = [f'At step {last}.', *_protocols(at, FIG_2), CRITIC]
    caption = 'Fig. 2, distances of prior and codes on synthetic_5d; lower is better'
    return [_table(caption, 'Method', rows, _shown(at, FIG_2), notes, claims)]


def curves(scores: Iterable[Score], measure: Measure) -> dict[tuple[str, int], dict[int, float]]:
    """Returns value by step of each method and seed."""
    found: dict[tuple[str, int], dict[int, float]] = {}
    for score in select(scores, measure):
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
    order = paper.Order(text, paper.LEARNED)
    return results.judge_order(order, values, {}, decimals=0)


def fig3(scores: Sequence[Score]) -> list[Table]:
    """Returns Fréchet distances of the models of Fig. 3."""
    measures = {'rec': REC, 'gen': GEN}
    columns = columns_of(scores, measures, fig3_row)
    gen, rows = columns['gen'].values, dict(paper.FIG_3_MODELS)
    rows |= {row: title(row) for row in gen if row not in rows}
    shown = _shown(columns, measures)
    claims = [results.judge_order(paper.FIG_3, gen, rows)]
    if (floor := results.floor(scores, columns['gen'])) is not None:
        rows['floor'] = 'Training examples (floor)'
        shown[1][1]['floor'] = f'{floor:.3g}'
    caption = 'Fig. 3, Fréchet distance by prior on synthetic_2d, m = 2; lower is better'
    return [_table(caption, 'Model', rows, shown, _protocols(columns, measures), claims)]


def fig3_row(score: Score) -> str:
    """Returns the model of Fig. 3 that a score belongs to."""
    mixture = score.options.get('mixture')
    return f'{score.method}-{mixture}' if mixture else score.method


def fig5(scores: Sequence[Score]) -> list[Table]:
    """Returns distances from test and training images by capacity of P-GEN."""
    found = []
    for _, name, here in _by_dataset(scores):
        columns = columns_of(here, FIG_5, fig5_row)
        gen = columns['gen test'].values
        sizes = {fig5_row(s): f'{generator_parameters(s):,}' for s in here}
        shown = [('Parameters', sizes), *_shown(columns, FIG_5), *_times(here, fig5_row)]
        best = min(filter(gen.__contains__, MODERATE), key=lambda m: gen[m].mean, default=3)
        text = 'Gen. test is lowest at moderate capacity (the better of models 3 and 4)'
        pairs = tuple((best, other) for other in MODELS if other not in MODERATE)
        claims = [results.judge_order(paper.Order(text, pairs), gen, MODELS)]
        claims += [results.judge_trend(c, columns[c.column].values) for c in paper.FIG_5]
        if claims[-2].outcome not in (results.SUPPORTED, results.NOT_RUN):  # no rise to explain
            claims[-1] = claims[-1]._replace(outcome=results.INCONCLUSIVE)
        notes = [*_protocols(columns, FIG_5), *_floor(here, columns['gen test'])]
        caption = f'Fig. 5, Fréchet distance by capacity of P-GEN, {name}; lower is better'
        found.append(_table(caption, 'P-GEN', MODELS, shown, notes, claims))
    return found


def fig5_row(score: Score) -> int:
    """Returns the capacity of P-GEN."""
    return score.options['generator_capacity']


def generator_parameters(score: Score) -> int:
    """Returns the number of weights and biases of the run's P-GEN."""
    first = score.options.get('noise_dim', score.latent_dim)
    return perceptron_parameters(first, *CAPACITIES[fig5_row(score)], score.latent_dim)


def theorem2(scores: Sequence[Score]) -> list[Table]:
    """Returns distances by the size of P-GEN's input."""
    columns = columns_of(scores, THEOREM_2, noise_dim)
    rows = {size: f"m' = {size}" for size in sorted({*paper.NOISE_DIMS, *columns['gen'].values})}
    claims = [
        results.judge_order(claim, columns[claim.column].values, rows) for claim in paper.THEOREM_2
    ]
    notes = _protocols(columns, THEOREM_2)
    caption = "Theorem 2, FlexAE on synthetic_5d by the size m' of P-GEN's input; lower is better"
    return [_table(caption, 'Input', rows, _shown(columns, THEOREM_2), notes, claims)]


def noise_dim(score: Score) -> int:
    """Returns the size of P-GEN's input."""
    return score.options.get('noise_dim', score.latent_dim)


def joint(scores: Sequence[Score]) -> list[Table]:
    """Returns scores of jointly trained priors and of samplers fitted afterwards."""
    found = []
    measures = (REC, GEN, PRECISION, RECALL, SCALED, SCALED_FLOOR)
    measures = {measure.head: measure for measure in measures}
    for _, name, here in _by_dataset(scores):
        columns = columns_of(here, measures)
        gen = columns[GEN.head]
        rows = JOINT | {s.method: title(s.method) for s in here if s.method not in JOINT}
        shown = [*_shown(columns, measures), *_times(here, lambda s: s.method)]
        notes = [*_protocols(columns, measures), *_floor(here, gen), JOINT_TIME]
        claims = [results.judge_order(claim, gen.values, rows) for claim in paper.JOINT]
        caption = f'Joint training and samplers fitted afterwards, {name}'
        found.append(_table(caption, 'Codes and sampler', rows, shown, notes, claims))
    return found


def all_methods(scores: Sequence[Score]) -> list[Table]:
    """Returns distances of every method before and after training, its codes and its cost."""
    found = []
    for _, name, here in _by_dataset(scores):
        trained = [s for s in here if s.options['training_steps']]
        untrained = [s for s in here if not s.options['training_steps']]
        measures = {'gen': GEN, 'rec': REC}
        columns = columns_of(trained, measures)
        gen, before = columns['gen'], gather(select(untrained, GEN))
        one = [*select(trained, GEN)[:1], *select(untrained, GEN)[:1]]
        gather(one, lambda s: s.options['training_steps'])  # refuses two protocols
        share = {
            m: v.mean / before.values[m].mean for m, v in gen.values.items() if m in before.values
        }
        shown = [
            _ours('Gen. untrained', before.values),
            _ours('Gen.', gen.values, min),
            ('ratio', {method: f'{value:.2f}' for method, value in share.items()}),
            _ours('Rec.', columns['rec'].values, min),
        ]
        notes = _protocols(columns, measures)
        ranks = (
            Measure('rank z', 'latents', 'z_rank'),
            Measure('rank prior', 'latents', 'z_hat_rank'),
        )
        for measure in (SCALED, SCALED_FLOOR, *ranks):
            values = {}
            for features in ('codes', 'posterior_samples'):  # these have protocols of their own
                taken = [s for s in select(trained, measure) if s.fields['features'] == features]
                column = gather(taken)
                values |= column.values
                if measure is SCALED:
                    head = f'{measure.head} of {features.replace("_", " ")}'
                    notes += _protocols({'': column}, {'': measure._replace(head=head)})
            shown.append(_ours(measure.head, values))
        if speed := results.benchmark():
            ratios = speed['over_flexae'].items()
            shown.append(('time', {method: f'{ratio:.2f}' for method, ratio in ratios}))
            base = speed['seconds'][paper.FLEXAE]
            notes.append(
                f"time: an iteration over FlexAE's {base:.2f} s, median of {speed['iterations']} "
                f'on {speed["dataset"]} at width {speed["width_multiplier"]} ({speed["device"]}).'
            )
        notes.append('rank: effective rank of codes and of prior samples; they should agree.')
        above = [title(method) for method, value in share.items() if value > LEARNED]
        ours = f'{len(share) - len(above)} of {len(share)} methods'
        outcome = results.NOT_SUPPORTED if above else results.SUPPORTED
        claim = Claim(
            f'Training brings Gen. to at most {LEARNED} of the untrained value',
            '',
            f'{ours} (not: {", ".join(above)})' if above else ours,
            None,
            outcome if share else results.NOT_RUN,
        )
        rows = {m: title(m) for m in [*methods.AUTOENCODERS, *(s.method for s in here)]}
        caption = f'Every method on {name}, before and after training; lower is better'
        found.append(_table(caption, 'Method', rows, shown, notes, [claim]))
    return found


TABLES = {
    'table1': table1,
    'table2': table2,
    'table3': table3,
    'fig2': fig2,
    'fig3': fig3,
    'fig5': fig5,
    'theorem2': theorem2,
    'joint': joint,
    'methods': all_methods,
}
