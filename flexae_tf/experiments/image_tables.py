"""Tables of the experiments on images."""

import functools
import json
import operator
from collections.abc import Hashable, Iterator, Mapping, Sequence

from flexae_tf import methods
from flexae_tf.experiments import paper, results
from flexae_tf.experiments.results import Claim, Score
from flexae_tf.experiments.tables import (
    FD,
    RANK,
    RANKS,
    SLICED,
    Measure,
    Measures,
    Table,
    cells_of,
    columns_of,
    for_each_dataset,
    layout,
    marked,
    measured,
    noise_dim,
    protocols,
    times_of,
)
from flexae_tf.methods.table import title
from flexae_tf.metrics import comparison
from flexae_tf.metrics.comparison import Mean
from flexae_tf.networks.architectures import CAPACITIES, perceptron_parameters

MODELS = {i: f'Model {i}' for i in CAPACITIES}  # of P-GEN, Table 8
ORDER = "order: pairs with other rows in the paper's order / contradicting / undecided / one seed."
GANS = (
    'GAN: FIDs that Lucic et al. 2018 found for tuned GANs. The paper calls FlexAE comparable to '
    'GANs, and its training takes {hours} h (130000 iterations, GTX 1080 Ti).'
)
HAS_LEARNED = 0.3  # of the untrained method's Gen.; a method that is below it has learned
JOINT = {
    'flexae': 'FlexAE: its prior',
    'flexae+gaussian_mixture': 'FlexAE: mixture fitted afterwards',
    'ae_gmm': 'AE: mixture fitted afterwards',
    'ae_gmm+latent_gan': 'AE: P-GEN trained afterwards',
}
PRD = {k: Measure(k.capitalize(), 'samples', f'prd_{k}', max) for k in ('precision', 'recall')}
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
FIG_5 = {
    f'{key} {split}': Measure(f'{measure.head} {split}', measure.set, 'fd', best, split)
    for key, measure in FD.items()
    for split, best in (('test', min), ('train', None))
}


def _beside_paper(
    measures: Measures,
    published: Mapping,
    claims: Sequence[paper.Order],
    caption: str,
    scores: list,
    name: str,
) -> Iterator[Table]:
    columns = columns_of(scores, measures)
    shown, notes, agreed = [], [ORDER, *protocols(columns, measures)], []
    if not any(results.PAPERS.fullmatch(c.metric or '') for c in columns.values()):
        notes.append("Not the paper's scores (FID): only the order is comparable.")
    for key, (head, *_, best, _) in measures.items():
        column = columns[key]
        theirs = {m: r.get(scores[0].dataset) for m, r in published.items()}
        theirs = {method: getattr(fid, key) for method, fid in theirs.items() if fid}
        pairs = comparison.agreement(theirs, column.values, best is min)
        shown += [cells_of(head, column.values, best), cells_of('paper', theirs, best)]
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
    shown += times_of(scores, lambda s: s.method)
    names = {row: title(row) for row in rows}
    values = {key: column.values for key, column in columns.items()}
    if 'gap' in (claim.column for claim in claims):
        values['gap'] = {
            row: comparison.over_seeds(map(operator.truediv, gen.values, values['rec'][row].values))
            for row, gen in values['gen'].items()
            if row in values['rec']
        }
    judged = [results.judge_order(claim, values[claim.column], names) for claim in claims]
    names = marked(names, scores, notes)
    if measures is FD and scores[0].dataset in paper.DATASETS:
        index = list(paper.DATASETS).index(scores[0].dataset)
        for gan, distances in paper.GANS.items():
            names[gan] = f'{gan} (GAN)'
            shown[2 + list(measures).index('gen')][1][gan] = f'{distances[index]:.2f}'
        notes.append(GANS.format(hours=paper.HOURS[scores[0].dataset]))
    yield Table(caption.format(name), *layout('Method', names, shown), notes, judged)
    heads = ('Column', 'pairs', "paper's order", 'contradicting', 'undecided', 'one seed', 'tau-b')
    yield Table(f'Order of the rows, {name}', heads, agreed)


def _table3(scores: list[Score], name: str) -> Iterator[Table]:
    dataset = scores[0].dataset
    published = paper.BASE_LATENT_DIMS.get(dataset)
    base = published or 1  # without a published m_b the rows are latent sizes
    sizes = list(paper.TABLE_3) if published else sorted({s.latent_dim for s in scores})
    columns = columns_of(scores, FD, lambda s: (s.method, s.latent_dim // base))
    used = sorted({s.method for s in scores}, key=lambda m: (m != paper.WAE, m != paper.FLEXAE))
    short = {m: title(m) for m in used} | {paper.FLEXAE: 'FlexAE', paper.WAE: 'WAE'}
    pairs = tuple(((paper.FLEXAE, k), (paper.WAE, k)) for k in sizes)
    rows = {k: ('m_b' if k == 1 else f'{k} m_b') if published else str(k) for k in sizes}
    names = {row: f'{short[row[0]]} at {rows[row[1]]}' for pair in pairs for row in pair}
    shown, claims, grown = [], [], {}
    for key, column in columns.items():
        head = FD[key].head
        order = paper.Order(f'{head}: FlexAE below WAE at each size', pairs)
        claims.append(results.judge_order(order, column.values, names))
        for method in used:
            ours = {k: v for (m, k), v in column.values.items() if m == method}
            shown.append(cells_of(f'{head} {short[method]}', ours, None))
            direction = paper.TABLE_3_TRENDS.get((key, method))
            if not direction or not published:
                continue
            theirs = {k: getattr(r[dataset][method], key) for k, r in paper.TABLE_3.items()}
            shown.append(cells_of('paper', theirs, None))
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
        shown += times_of(taken, lambda s: s.latent_dim // base, f'Time {short[method]}')
    name = f'{name}, m_b = {published}' if published else name
    caption = f'Table 3, Fréchet distance by latent size m, {name}; lower is better'
    notes = protocols(columns, FD)
    claims += [contrast] if published else []
    yield Table(caption, *layout('m', rows, shown), notes, claims)


def _fig5(scores: list[Score], name: str) -> Iterator[Table]:
    columns = columns_of(scores, FIG_5, fig5_row)
    gen = columns['gen test'].values
    sizes = {fig5_row(s): f'{generator_parameters(s):,}' for s in scores}
    shown = [('Parameters', sizes), *measured(columns, FIG_5), *times_of(scores, fig5_row)]
    claims = [results.judge_order(paper.FIG_5_ORDER, gen, MODELS)]
    claims += [results.judge_trend(c, columns[c.column].values) for c in paper.FIG_5]
    if claims[-2].outcome not in (results.SUPPORTED, results.NOT_RUN):  # no rise to explain
        claims[-1] = claims[-1]._replace(outcome=results.INCONCLUSIVE)
    notes = protocols(columns, FIG_5, results.floor(scores, columns['gen test']))
    caption = f'Fig. 5, Fréchet distance by capacity of P-GEN, {name}; lower is better'
    yield Table(caption, *layout('P-GEN', MODELS, shown), notes, claims)


def fig5_row(score: Score) -> int:
    """Returns the capacity of P-GEN."""
    return score.options['generator_capacity']


def generator_parameters(score: Score) -> int:
    """Returns the number of weights and biases of the run's P-GEN."""
    return perceptron_parameters(noise_dim(score), *CAPACITIES[fig5_row(score)], score.latent_dim)


def _joint(scores: list[Score], name: str) -> Iterator[Table]:
    measures = FD | PRD | SLICED
    columns = columns_of(scores, measures)
    rows = JOINT | {s.method: title(s.method) for s in scores if s.method not in JOINT}
    shown = [*measured(columns, measures), *times_of(scores, lambda s: s.method)]
    notes = protocols(columns, measures, results.floor(scores, columns['gen']))
    notes.append('Training includes the sampler that is trained afterwards.')
    claims = [results.judge_order(c, columns['gen'].values, rows) for c in paper.JOINT]
    caption = f'Joint training and samplers fitted afterwards, {name}'
    yield Table(caption, *layout('Codes and sampler', rows, shown), notes, claims)


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
    shown = [cells_of('Gen. untrained', before, None), cells_of('Gen.', gen, min)]
    shown.append(cells_of('ratio', share, None))
    shown += [
        cells_of(m.head, trained[key], m.best) for key, m in (FD | PRD).items() if key != 'gen'
    ]
    notes = protocols(columns, FD | PRD)
    codes: dict[str, dict[Hashable, Mean]] = {}
    for features in ('codes', 'posterior_samples'):  # these have protocols of their own
        taken = [s for s in scores if s.fields['features'] == features]
        columns = columns_of([s for s in taken if s.options['training_steps']], SLICED | RANKS)
        for key, column in columns.items():
            codes.setdefault(key, {}).update(column.values)
        head = f'W1 / scale of {features.replace("_", " ")}'
        notes += protocols(columns, {'sliced': SLICED['sliced']._replace(head=head)})
    shown += [cells_of(m.head, codes[key], None) for key, m in (SLICED | RANKS).items()]
    speed = json.loads((results.FOLDER / 'benchmark.json').read_text())
    shown.append(cells_of('time', speed['over_flexae'], None))
    notes.append(
        f"time: an iteration over FlexAE's {speed['seconds'][paper.FLEXAE]:.2f} s, median of "
        f'{speed["iterations"]} on {speed["dataset"]} at width {speed["width_multiplier"]} '
        f'({speed["device"]}).'
    )
    notes.append(RANK)
    if above := ', '.join(title(m) for m, value in share.items() if value > HAS_LEARNED):
        notes.append(f'Gen. stays above {HAS_LEARNED} of the untrained value: {above}.')
    rows = {m: title(m) for m in [*methods.AUTOENCODERS, *(s.method for s in scores)]}
    rows = marked(rows, scores, notes)
    caption = f'Every method on {name}, before and after training'
    yield Table(caption, *layout('Method', rows, shown), notes)


def _plain(
    measures: Measures, caption: str, more_notes: Sequence[str], scores: list[Score], name: str
) -> Iterator[Table]:
    """Yields a table of measures by method, without claims."""
    columns = columns_of(scores, measures)
    notes = [*more_notes, *protocols(columns, measures)]
    names = marked({s.method: title(s.method) for s in scores}, scores, notes)
    yield Table(caption.format(name), *layout('Method', names, measured(columns, measures)), notes)


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
    **dict(table3=_table3, fig5=_fig5, joint=_joint, methods=_methods),
    'reconstructions': functools.partial(_plain, PAIRED, _CAPTION_PAIRED, ()),
    'fig12': functools.partial(_plain, MEMORIZATION, _CAPTION_12, [_NOTE_12]),
}
TABLES = {name: functools.partial(for_each_dataset, make) for name, make in _MAKE.items()}
