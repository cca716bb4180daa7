"""Tables of scores as Markdown: `TABLES[artifact](scores)` returns the tables of each data set."""

import functools
import json
import operator
import statistics
from collections import namedtuple
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from flexae_tf import methods
from flexae_tf.evaluation.markdown_table import markdown_table
from flexae_tf.experiments import paper, results
from flexae_tf.experiments.results import Claim, Column, Score
from flexae_tf.experiments.runner import duration
from flexae_tf.methods.table import title
from flexae_tf.metrics import comparison
from flexae_tf.metrics.comparison import Mean
from flexae_tf.networks.architectures import CAPACITIES, perceptron_parameters

MODELS = {i: f'Model {i}' for i in CAPACITIES}  # of P-GEN, Table 8
ORDER = "order: pairs with other rows in the paper's order / contradicting / undecided / one seed."
CRITIC = (
    "Critic: each checkpoint's own critic. It bounds the distance from below; claims of negative "
    'estimates are not tested.'
)
RANK = 'rank: effective rank of codes and of prior samples; they should agree.'
GANS = (
    'GAN: FIDs that Lucic et al. 2018 found for tuned GANs. The paper calls FlexAE comparable to '
    'GANs, and its training takes {hours} h (130000 iterations, GTX 1080 Ti).'
)
UNTUNED = '†: the open weights were not chosen on validation examples of this data set and scale.'
LEARNED = 0.3  # of the untrained method's Gen.; a method that is below it has learned
JOINT = {
    'flexae': 'FlexAE: its prior',
    'flexae+gaussian_mixture': 'FlexAE: mixture fitted afterwards',
    'ae_gmm': 'AE: mixture fitted afterwards',
    'ae_gmm+latent_gan': 'AE: P-GEN trained afterwards',
}

# A column of a table: head, set and stem of its scores, best value (min, max or None), and split.
Measure = namedtuple('Measure', 'head set stem best split', defaults=(None, 'test'))
FD = {'rec': Measure('Rec.', 'reconstructions', 'fd', min)}
FD |= {'gen': Measure('Gen.', 'samples', 'fd', min)}
PRD = {k: Measure(k.capitalize(), 'samples', f'prd_{k}', max) for k in ('precision', 'recall')}
SLICED = {
    'sliced': Measure('W1 / scale', 'latents', 'sliced_wasserstein_scaled', min),
    'floor': Measure('floor', 'latents', 'sliced_wasserstein_floor_scaled'),
}
_RANKS = {'rank z': 'z_rank', 'rank prior': 'z_hat_rank'}
RANKS = {head: Measure(head, 'latents', stem) for head, stem in _RANKS.items()}
EXACT = {
    'exact': Measure('Exact W1', 'latents', 'wasserstein', min),
    'exact floor': Measure('floor', 'latents', 'wasserstein_floor'),
    'exact_scaled': Measure('Exact W1 / scale', 'latents', 'wasserstein_scaled', min),
    'exact_scaled floor': Measure('floor', 'latents', 'wasserstein_floor_scaled'),
}
EXACT_SCALED = {key: m for key, m in EXACT.items() if 'scaled' in key}
PAIRED = {
    'psnr': Measure('PSNR', 'reconstructions', 'psnr', max),
    'ssim': Measure('SSIM', 'reconstructions', 'ssim', max),
}
MEMORIZATION = {
    'rec': Measure('z of reconstructions', 'reconstructions', 'memorization_z'),
    'gen': Measure('z of samples', 'samples', 'memorization_z'),
    'rec distance': Measure('Distance of reconstructions', 'reconstructions', 'train_distance'),
    'gen distance': Measure('of samples', 'samples', 'train_distance'),
    'test distance': Measure('of test images', 'samples', 'train_distance_real'),
}
FIG_2 = FD | {
    'critic': Measure('Critic', 'latents', 'critic_distance'),
    'sliced': Measure('Sliced W1', 'latents', 'sliced_wasserstein', min),
    'sliced floor': Measure('floor', 'latents', 'sliced_wasserstein_floor'),
    'critic_scaled': Measure('Critic / scale', 'latents', 'critic_distance_scaled'),
    'sliced_scaled': SLICED['sliced'],
    'sliced_scaled floor': SLICED['floor'],
}
FIG_5 = {
    f'{key} {split}': Measure(f'{measure.head} {split}', measure.set, 'fd', best, split)
    for key, measure in FD.items()
    for split, best in (('test', min), ('train', None))
}
CRITICS = {key: FIG_2[key] for key in ('critic', 'critic_scaled')}
AT_END_2 = FIG_2 | EXACT  # the exact distance is only computed for the last checkpoint
THEOREM_1 = FD | SLICED | EXACT_SCALED | RANKS
THEOREM_2 = {'gen': FD['gen'], **SLICED, **CRITICS}

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
    return {key: results.gather(_select(scores, m), row) for key, m in measures.items()}


def model(score: Score) -> str:
    """Returns the model of Figs. 2 and 3, as in `paper.MODELS`."""
    return paper.model_of(score.method, score.options)


def models(scores: Iterable[Score]) -> dict[str, str]:
    """Returns the titles of the models of Figs. 2 and 3, in their order; others follow."""
    found = dict.fromkeys(map(model, scores))
    known = {name: text for name, text in paper.MODELS.items() if name in found}
    return known | {name: title(name) for name in found if name not in known}


def curves(scores: Iterable[Score], measure: Measure) -> dict[tuple[str, int], dict[int, float]]:
    """Returns the values of a measure by step for each (model, seed)."""
    found: dict[tuple[str, int], dict[int, float]] = {}
    for score in _select(scores, measure):
        found.setdefault((model(score), score.seed), {})[score.step] = score.value
    return found


def _select(scores: Iterable[Score], measure: Measure) -> list[Score]:
    return [s for s in scores if (s.set, s.stem, s.split) == (*measure[1:3], measure.split)]


def _cells(head: str, values: Mapping[Hashable, Mean | float], best: Callable | None) -> Cells:
    """Formats our means, or single numbers, with the best value in bold."""
    means = {row: v.mean if isinstance(v, Mean) else v for row, v in values.items()}
    decimals = comparison.decimals_for(means.values())
    mark = best(means.values()) if best and len(means) > 1 else None
    texts = {r: v.text(decimals) if isinstance(v, Mean) else f'{v:.2f}' for r, v in values.items()}
    return head, {r: f'**{text}**' if means[r] == mark else text for r, text in texts.items()}


def _measured(columns: Mapping[str, Column], measures: Measures) -> list[Cells]:
    return [_cells(m.head, columns[key].values, m.best) for key, m in measures.items()]


def _protocols(columns: dict[str, Column], measures: Measures, floor: float | None = None) -> list:
    pairs = [(m.head, columns[key]) for key, m in measures.items() if 'critic' not in m.stem]
    found = [f'{head}: `{c.metric}`, protocol `{c.protocol}`.' for head, c in pairs if c.metric]
    return found + ([f'Floor (training against test images): {floor:.3g}.'] if floor else [])


def _times(scores: Iterable[Score], row: Row, head: str = 'Training') -> list[Cells]:
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


def _marked(names: Mapping[str, str], scores: Iterable[Score], notes: list[str]) -> dict[str, str]:
    """Marks the methods whose weights were not tuned, and explains the mark in the notes."""
    untuned = {score.method for score in scores if not score.is_tuned} & set(names)
    notes += [UNTUNED] if untuned else []
    return {row: f'{name} †' if row in untuned else name for row, name in names.items()}


def _layout(first: str, rows: Mapping[Hashable, str], columns: Sequence[Cells]) -> tuple:
    body = [(name, *(cells.get(row, '-') for _, cells in columns)) for row, name in rows.items()]
    return (first, *(head for head, _ in columns)), body


def _beside_paper(
    measures: Measures,
    published: Mapping,
    claims: Sequence[paper.Order],
    caption: str,
    scores: list,
    name: str,
) -> Iterator[Table]:
    columns = columns_of(scores, measures)
    shown, notes, agreed = [], [ORDER, *_protocols(columns, measures)], []
    if not any(results.PAPERS.fullmatch(c.metric or '') for c in columns.values()):
        notes.append("Not the paper's scores (FID): only the order is comparable.")
    for key, (head, *_, best, _) in measures.items():
        column = columns[key]
        theirs = {m: r.get(scores[0].dataset) for m, r in published.items()}
        theirs = {method: getattr(fid, key) for method, fid in theirs.items() if fid}
        pairs = comparison.agreement(theirs, column.values, best is min)
        shown += [_cells(head, column.values, best), _cells('paper', theirs, best)]
        order = {}
        for row in column.values:
            counts = [sum(row in pair for pair in group) for group in pairs[:4]]
            if sum(counts):
                order[row] = ' / '.join(map(str, counts))
        shown += [('order', order)] if key != 'rec' else []
        counts = [len(group) for group in pairs[:4]]
        tau = '' if pairs.tau is None else f'{pairs.tau:.2f}'
        agreed.append((head, *map(str, [sum(counts), *counts]), tau))
        listed = '; '.join(
            f'{title(a)} better than {title(b)}, ratio {ratio.text()}'
            for (a, b), ratio in pairs.contradicted.items()
        )
        notes += [f'{head}, contradicting: {listed}.'] if listed else []
    ours = dict.fromkeys(s.method for s in scores)
    rows = [m for m in paper.METHODS if m in published or m in ours] + list(ours)
    shown += _times(scores, lambda s: s.method)
    names = {row: title(row) for row in rows}
    values = {key: column.values for key, column in columns.items()}
    if 'gap' in (claim.column for claim in claims):
        values['gap'] = {
            row: comparison.over_seeds(map(operator.truediv, gen.values, values['rec'][row].values))
            for row, gen in values['gen'].items()
            if row in values['rec']
        }
    judged = [results.judge_order(claim, values[claim.column], names) for claim in claims]
    names = _marked(names, scores, notes)
    if measures is FD and scores[0].dataset in paper.DATASETS:
        index = list(paper.DATASETS).index(scores[0].dataset)
        for gan, distances in paper.GANS.items():
            names[gan] = f'{gan} (GAN)'
            shown[2 + list(measures).index('gen')][1][gan] = f'{distances[index]:.2f}'
        notes.append(GANS.format(hours=paper.HOURS[scores[0].dataset]))
    yield Table(caption.format(name), *_layout('Method', names, shown), notes, judged)
    heads = ('Column', 'pairs', "paper's order", 'contradicting', 'undecided', 'one seed', 'tau-b')
    yield Table(f'Order of the rows, {name}', heads, agreed)


def _table3(scores: list[Score], name: str) -> Iterator[Table]:
    dataset = scores[0].dataset
    base = paper.BASE_LATENT_DIMS.get(dataset) or min(s.latent_dim for s in scores)
    columns = columns_of(scores, FD, lambda s: (s.method, s.latent_dim // base))
    used = sorted({s.method for s in scores}, key=lambda m: (m != paper.WAE, m != paper.FLEXAE))
    short = {m: title(m) for m in used} | {paper.FLEXAE: 'FlexAE', paper.WAE: 'WAE'}
    pairs = tuple(((paper.FLEXAE, k), (paper.WAE, k)) for k in paper.TABLE_3)
    names = {row: f'{short[row[0]]} at {row[1]} m_b' for pair in pairs for row in pair}
    shown, claims, grown = [], [], {}
    for key, column in columns.items():
        head = FD[key].head
        order = paper.Order(f'{head}: FlexAE below WAE at each size', pairs)
        claims.append(results.judge_order(order, column.values, names))
        for method in used:
            ours = {k: v for (m, k), v in column.values.items() if m == method}
            shown.append(_cells(f'{head} {short[method]}', ours, None))
            direction = paper.TABLE_3_TRENDS.get((key, method))
            if not direction or dataset not in paper.BASE_LATENT_DIMS:
                continue
            theirs = {k: getattr(r[dataset][method], key) for k, r in paper.TABLE_3.items()}
            shown.append(_cells('paper', theirs, None))
            text = f'{head} of {short[method]}: {direction} with m'
            trend = paper.Trend(text, key, tuple(theirs), direction)
            claims.append(results.judge_trend(trend, ours, theirs.values(), paper.CONSTANT))
            if key == 'gen' and {1, 4} <= set(ours):
                grown[method] = (ours[4], ours[1]), theirs[4] / theirs[1]
    contrast = Claim('Gen. of WAE grows more from m_b to 4 m_b than Gen. of FlexAE')
    if len(grown) == 2:
        (wae, flexae), theirs = zip(grown[paper.WAE], grown[paper.FLEXAE], strict=True)
        growths = [last.mean / first.mean for last, first in (wae, flexae)]
        texts = [f'{a:.2f} vs {b:.2f} times' for a, b in (theirs, growths)]
        ratio = comparison.welch([wae[0], flexae[1]], [wae[1], flexae[0]])
        contrast = Claim(
            contrast.text, *texts, ratio, results.outcome_of(ratio.sign if ratio else 0)
        )
    for method in used:
        taken = [s for s in scores if s.method == method]
        shown += _times(taken, lambda s: s.latent_dim // base, f'Time {short[method]}')
    rows = {k: f'{k} m_b' if k > 1 else 'm_b' for k in paper.TABLE_3}
    caption = f'Table 3, Fréchet distance by latent size m, {name}, m_b = {base}; lower is better'
    notes = _protocols(columns, FD)
    yield Table(caption, *_layout('m', rows, shown), notes, [*claims, contrast])


def _fig2(scores: list[Score], name: str) -> Iterator[Table]:
    columns = columns_of(scores, AT_END_2, lambda s: (model(s), s.step))
    found = columns['gen'].values
    scored = {name for name, _ in found}
    names = {name: text for name, text in models(scores).items() if name in scored}
    common = [step for _, step in found if all((m, step) in found for m in names)]
    if not common:
        return
    last = max(common)
    for key, column in columns.items():
        values = {m: v for (m, step), v in column.values.items() if step == last}
        columns[key] = column._replace(values=values)
    claims = [results.judge_order(claim, columns[claim.column].values, {}) for claim in paper.FIG_2]
    compared = [s for s in scores if model(s) in (paper.FIXED, paper.FLEXAE)]
    for measure in (FIG_2['sliced'], FIG_2['sliced_scaled']):
        found = curves(compared, measure)
        level = max((min(curve.values()) for curve in found.values()), default=0.0)
        first: dict[str, list[int]] = {}
        for (method, _), curve in found.items():
            first.setdefault(method, []).append(min(s for s, v in curve.items() if v <= level))
        text = f'FlexAE: fewer steps to {measure.head} {level:.3g}, which every run attains'
        values = {method: comparison.over_seeds(of_seeds) for method, of_seeds in first.items()}
        claims.append(results.judge_order(paper.Order(text, paper.LEARNED), values, {}, decimals=0))
    notes = [f'At step {last}.', *_protocols(columns, AT_END_2), CRITIC]
    caption = f'Fig. 2, distances of prior and codes on {name}; lower is better'
    yield Table(caption, *_layout('Model', names, _measured(columns, AT_END_2)), notes, claims)


def _fig3(scores: list[Score], name: str) -> Iterator[Table]:
    columns = columns_of(scores, FD, model)
    gen, shown = columns['gen'].values, _measured(columns, FD)
    rows = paper.MODELS | {m: title(m) for m in gen if m not in paper.MODELS}
    claims = [results.judge_order(claim, gen, rows) for claim in paper.FIG_3]
    if (floor := results.floor(scores, columns['gen'])) is not None:
        rows['floor'] = 'Training examples (floor)'
        shown[1][1]['floor'] = f'{floor:.3g}'
    caption = f'Fig. 3, Fréchet distance by prior on {name}, m = 2; lower is better'
    yield Table(caption, *_layout('Model', rows, shown), _protocols(columns, FD), claims)


def _fig5(scores: list[Score], name: str) -> Iterator[Table]:
    columns = columns_of(scores, FIG_5, fig5_row)
    gen = columns['gen test'].values
    sizes = {fig5_row(s): f'{generator_parameters(s):,}' for s in scores}
    shown = [('Parameters', sizes), *_measured(columns, FIG_5), *_times(scores, fig5_row)]
    claims = [results.judge_order(paper.FIG_5_ORDER, gen, MODELS)]
    claims += [results.judge_trend(c, columns[c.column].values) for c in paper.FIG_5]
    if claims[-2].outcome not in (results.SUPPORTED, results.NOT_RUN):  # no rise to explain
        claims[-1] = claims[-1]._replace(outcome=results.INCONCLUSIVE)
    notes = _protocols(columns, FIG_5, results.floor(scores, columns['gen test']))
    caption = f'Fig. 5, Fréchet distance by capacity of P-GEN, {name}; lower is better'
    yield Table(caption, *_layout('P-GEN', MODELS, shown), notes, claims)


def fig5_row(score: Score) -> int:
    """Returns the capacity of P-GEN."""
    return score.options['generator_capacity']


def generator_parameters(score: Score) -> int:
    """Returns the number of weights and biases of the run's P-GEN."""
    return perceptron_parameters(noise_dim(score), *CAPACITIES[fig5_row(score)], score.latent_dim)


def noise_dim(score: Score) -> int:
    """Returns the size of P-GEN's input."""
    return score.options.get('noise_dim', score.latent_dim)


def _theorem1(scores: list[Score], name: str) -> Iterator[Table]:
    columns = columns_of(scores, THEOREM_1, lambda s: (s.method, s.latent_dim))
    rows = {
        (method, m): f'{paper.MODELS[method]}, m = {m}'
        for method in (paper.FIXED, paper.FLEXAE)
        for m in paper.NOISE_DIMS
    }
    claims = []
    for label, key in (('sliced W1', 'sliced'), ('exact W1', 'exact_scaled')):
        floors = columns['floor' if key == 'sliced' else 'exact_scaled floor'].values
        of_fixed = {('floor', m): v for (method, m), v in floors.items() if method == paper.FIXED}
        names = rows | {row: f'floor, m = {row[1]}' for row in of_fixed}
        for claim in paper.THEOREM_1:
            claim = claim._replace(text=f'{claim.text}, by {label}')
            claims.append(results.judge_order(claim, columns[key].values | of_fixed, names))
    notes = [*_protocols(columns, THEOREM_1), RANK]
    caption = f'Theorem 1, a fixed and a learned prior on {name} (n = 5) by the latent size m'
    yield Table(caption, *_layout('Model', rows, _measured(columns, THEOREM_1)), notes, claims)


def _theorem2(scores: list[Score], name: str) -> Iterator[Table]:
    columns = columns_of(scores, THEOREM_2, noise_dim)
    rows = {size: f"m' = {size}" for size in sorted({*paper.NOISE_DIMS, *columns['gen'].values})}
    values = {key: column.values for key, column in columns.items()}
    reached = (values['sliced'], values['floor'], paper.AT_FLOOR)
    claims = [results.judge_floor(paper.THEOREM_2_FLOOR, *reached)]
    claims += [results.judge_order(c, values[c.column], rows) for c in paper.THEOREM_2]
    shown, notes = _measured(columns, THEOREM_2), _protocols(columns, THEOREM_2)
    caption = f"Theorem 2, FlexAE on {name} by the size m' of P-GEN's input; lower is better"
    yield Table(caption, *_layout('Input', rows, shown), notes, claims)


def _joint(scores: list[Score], name: str) -> Iterator[Table]:
    measures = FD | PRD | SLICED
    columns = columns_of(scores, measures)
    rows = JOINT | {s.method: title(s.method) for s in scores if s.method not in JOINT}
    shown = [*_measured(columns, measures), *_times(scores, lambda s: s.method)]
    notes = _protocols(columns, measures, results.floor(scores, columns['gen']))
    notes.append('Training includes the sampler that is trained afterwards.')
    claims = [results.judge_order(c, columns['gen'].values, rows) for c in paper.JOINT]
    caption = f'Joint training and samplers fitted afterwards, {name}'
    yield Table(caption, *_layout('Codes and sampler', rows, shown), notes, claims)


def _methods(scores: list[Score], name: str) -> Iterator[Table]:
    columns = columns_of(scores, FD | PRD, lambda s: (s.method, s.options['training_steps'] > 0))
    before, trained = (
        {
            key: {m: v for (m, is_trained), v in column.values.items() if is_trained == wanted}
            for key, column in columns.items()
        }
        for wanted in (False, True)
    )
    before, gen = before['gen'], trained['gen']
    share = {m: v.mean / before[m].mean for m, v in gen.items() if m in before}
    shown = [_cells('Gen. untrained', before, None), _cells('Gen.', gen, min)]
    shown.append(_cells('ratio', share, None))
    shown += [_cells(m.head, trained[key], m.best) for key, m in (FD | PRD).items() if key != 'gen']
    notes = _protocols(columns, FD | PRD)
    codes: dict[str, dict[Hashable, Mean]] = {}
    for features in ('codes', 'posterior_samples'):  # these have protocols of their own
        taken = [s for s in scores if s.fields['features'] == features]
        columns = columns_of([s for s in taken if s.options['training_steps']], SLICED | RANKS)
        for key, column in columns.items():
            codes.setdefault(key, {}).update(column.values)
        head = f'W1 / scale of {features.replace("_", " ")}'
        notes += _protocols(columns, {'sliced': SLICED['sliced']._replace(head=head)})
    shown += [_cells(m.head, codes[key], None) for key, m in (SLICED | RANKS).items()]
    speed = json.loads((results.FOLDER / 'benchmark.json').read_text())
    shown.append(_cells('time', speed['over_flexae'], None))
    notes.append(
        f"time: an iteration over FlexAE's {speed['seconds'][paper.FLEXAE]:.2f} s, median of "
        f'{speed["iterations"]} on {speed["dataset"]} at width {speed["width_multiplier"]} '
        f'({speed["device"]}).'
    )
    notes.append(RANK)
    if above := ', '.join(title(m) for m, value in share.items() if value > LEARNED):
        notes.append(f'Gen. stays above {LEARNED} of the untrained value: {above}.')
    rows = {m: title(m) for m in [*methods.AUTOENCODERS, *(s.method for s in scores)]}
    rows = _marked(rows, scores, notes)
    caption = f'Every method on {name}, before and after training'
    yield Table(caption, *_layout('Method', rows, shown), notes)


def _plain(
    measures: Measures, caption: str, more_notes: Sequence[str], scores: list[Score], name: str
) -> Iterator[Table]:
    """Yields a table of measures by method, without claims."""
    columns = columns_of(scores, measures)
    notes = [*more_notes, *_protocols(columns, measures)]
    names = _marked({s.method: title(s.method) for s in scores}, scores, notes)
    yield Table(
        caption.format(name), *_layout('Method', names, _measured(columns, measures)), notes
    )


def _for_each_dataset(make: Callable, scores: Iterable[Score]) -> list[Table]:
    found: dict[str, list[Score]] = {}
    for score in scores:
        found.setdefault(score.dataset, []).append(score)
    made = [make(here, paper.DATASETS.get(dataset, dataset)) for dataset, here in found.items()]
    return [table for of_dataset in made for table in of_dataset]


_CAPTION_1 = 'Table 1, Fréchet distance, {}; lower is better'
_CAPTION_2 = 'Table 2, precision (F_1/8) and recall (F_8) of samples, {}; higher is better'
_CAPTION_12 = 'Fig. 12, median distance in pixels to the nearest training image, {}'
_NOTE_12 = (
    'z: test of Meehan et al. 2020; negative if images are nearer to training images than test '
    'images are. Blur makes it negative, too, so compare samples with reconstructions.'
)
_CAPTION_PAIRED = 'Reconstructions and their images, {}: PSNR in dB and SSIM; higher is better'
_MAKE = {
    'table1': functools.partial(_beside_paper, FD, paper.TABLE_1, paper.TABLE_1_CLAIMS, _CAPTION_1),
    'table2': functools.partial(
        _beside_paper, PRD, paper.TABLE_2, paper.TABLE_2_CLAIMS, _CAPTION_2
    ),
    **dict(table3=_table3, fig2=_fig2, fig3=_fig3, fig5=_fig5, theorem1=_theorem1),
    **dict(theorem2=_theorem2, joint=_joint, methods=_methods),
    'reconstructions': functools.partial(_plain, PAIRED, _CAPTION_PAIRED, ()),
    'fig12': functools.partial(_plain, MEMORIZATION, _CAPTION_12, [_NOTE_12]),
}
TABLES = {name: functools.partial(_for_each_dataset, make) for name, make in _MAKE.items()}
