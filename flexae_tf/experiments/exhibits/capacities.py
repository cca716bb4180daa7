"""Fig. 5: six capacities of P-GEN on few training images."""

from collections.abc import Collection, Mapping, Sequence

from flexae_tf.experiments import paper
from flexae_tf.experiments.columns import Column, OverSeeds, gather, pooled_sd
from flexae_tf.experiments.exhibits import claims, drawing
from flexae_tf.experiments.exhibits.layout import Cell, Head, Parts, Picture, Table
from flexae_tf.experiments.exhibits.showing import Shown, alone, assemble, times
from flexae_tf.experiments.exhibits.trends import FALLS, RISES, Trend, trend
from flexae_tf.experiments.exhibits.verdicts import chance
from flexae_tf.experiments.records import Record, latest
from flexae_tf.networks.architectures import CAPACITIES, perceptron_parameters

MODELS = {name: f'Model {i}' for i, name in enumerate(CAPACITIES, 1)}
MODERATE = ('capacity_3', 'capacity_4')  # "moderate capacity models (Model 3 or Model 4)"
TOP = ('capacity_4', 'capacity_5', 'capacity_6')
KINDS = {'rec': 'Rec.', 'gen': 'Gen.'}
SPLITS = {'test': 'test', 'train': 'training'}
STYLES = {
    'test': {'color': drawing.BLUE, 'marker': 'o'},
    'train': {'color': drawing.VERMILLION, 'marker': 's'},
}
Columns = Mapping[tuple[str, str], Column]  # by kind and split


def figure_5(records: Sequence[Record], *, commands: Sequence[str] = ()) -> Parts:
    """Distances from test and training images by capacity: a table and a picture per data set.

    Args:
        records: of the last checkpoints, by split.
        commands: that made them.

    Raises:
        UsageError: scores cannot be compared.
    """
    taken = [r for r in latest(records) if r.options.get('generator_capacity') in MODELS]
    tables, pictures = [], []
    for dataset in dict.fromkeys(r.dataset for r in taken):
        here = [r for r in taken if r.dataset == dataset]
        columns = {
            (kind, split): gather(
                (r for r in here if (r.kind, r.stem, r.split) == (kind, 'fd', split)),
                row=lambda r: r.options['generator_capacity'],
            )
            for kind in KINDS
            for split in SPLITS
        }
        floor = claims.floor((r for r in here if r.split == 'test'), columns['gen', 'test'])
        sizes = {r.options['generator_capacity']: parameters(r) for r in here}
        title = paper.DATASETS.get(dataset, dataset)
        head = Head('Training', numeric=True)
        trained = times(here, head, row=lambda r: r.options['generator_capacity'])
        tables.append(_table(title, columns, sizes, floor, trained, commands))
        pictures.append(_picture(dataset, title, columns, sizes, floor))
    return Parts(tuple(tables), tuple(pictures))


def parameters(record: Record) -> int:
    """How many weights and biases the P-GEN of a run has, its last layer's among them."""
    first = record.options.get('noise_dim', record.latent_dim)
    hidden = CAPACITIES[record.options['generator_capacity']]
    return perceptron_parameters(first, *hidden, record.latent_dim)


def _table(
    title: str,
    columns: Columns,
    sizes: Mapping[str, int],
    floor: OverSeeds | None,
    trained: Sequence[Shown],
    commands: Sequence[str],
) -> Table:
    shown = [
        Shown(Head('P-GEN parameters', numeric=True), {k: Cell(f'{n:,}') for k, n in sizes.items()})
    ]
    notes = [claims.OURS]
    for (kind, split), column in columns.items():
        against = f'against {SPLITS[split]} images'
        # Near to what it was trained on is no merit of a model.
        best = min if split == 'test' else None
        shown.append(alone(column.values, Head(KINDS[kind], against, numeric=True), best=best))
        notes += claims.about(f'{KINDS[kind]} {against}', column)
    shown += trained
    if floor:
        notes.append(f'As many training images are at {floor.mean:.3g} from the test images.')
    gen, train = columns['gen', 'test'].values, columns['gen', 'train'].values
    notes += [
        _best_is_moderate(gen),
        _rec_falls(columns['rec', 'test'].values),
        _gen_rises(gen),
        _over_fits(gen, train),
        'The paper has its values in a picture alone: what is judged is what its text says.',
        chance(*(column.values for column in columns.values())),
    ]
    caption = f'Fig. 5: Frechet distance by capacity of P-GEN, {title}; lower is better'
    return assemble(caption, MODELS, shown, notes=notes, commands=commands, first='P-GEN')


def _best_is_moderate(gen: Mapping[str, OverSeeds]) -> str:
    claim = 'Gen. against test images is lowest at moderate capacity, the better of models 3 and 4'
    if len(gen) < len(MODELS):
        return _not_judged(claim, gen)
    moderate = min(MODERATE, key=lambda model: gen[model].mean)
    others = [model for model in MODELS if model not in MODERATE]
    return claims.lower(claim, [moderate], others, gen, names=MODELS)


def _rec_falls(rec: Mapping[str, OverSeeds]) -> str:
    return _goes('Rec. against test images falls with capacity', FALLS, rec, MODELS)


def _gen_rises(gen: Mapping[str, OverSeeds]) -> str:
    claim = 'Gen. against test images rises beyond moderate capacity, from model 4 to 6'
    return _goes(claim, RISES, gen, TOP)


def _over_fits(gen: Mapping[str, OverSeeds], train: Mapping[str, OverSeeds]) -> str:
    claim = (
        'That rise is over-fitting, as the paper says, if Gen. against training images falls '
        'there, which the paper does not show'
    )
    if not set(TOP) <= set(gen):
        return _not_judged(claim, gen)
    if _trend(gen, TOP).direction != RISES:
        return f'{claim}: not judged, since no rise is decided.'
    return _goes(claim, FALLS, train, TOP)


def _goes(
    claim: str, claimed: str, values: Mapping[str, OverSeeds], models: Collection[str]
) -> str:
    if not set(models) <= set(values):
        return _not_judged(claim, values)
    found = _trend(values, models)
    return f'{claim}: {found.verdict(claimed)}; it {found.text(claimed)}.'


def _trend(values: Mapping[str, OverSeeds], models: Collection[str]) -> Trend:
    return trend([values[model] for model in models], pooled=pooled_sd(values.values()))


def _not_judged(claim: str, values: Mapping[str, OverSeeds]) -> str:
    return f'{claim}: not judged, {len(values)} of {len(MODELS)} capacities were run.'


def _picture(
    dataset: str,
    title: str,
    columns: Columns,
    sizes: Mapping[str, int],
    floor: OverSeeds | None,
) -> Picture:
    figure, axes = drawing.panels(1, 2, width=4.8, height=3.4)
    models = [m for m in MODELS if m in sizes]
    for (kind, name), one in zip(KINDS.items(), axes, strict=True):
        drawn = []
        for split, what in SPLITS.items():
            values = columns[kind, split].values
            drawing.over(
                one,
                {sizes[m]: values[m] for m in models if m in values},
                label=f'against {what} images',
                **STYLES[split],
            )
            drawn += [value.mean for value in values.values()]
        if floor:
            drawing.line(one, floor.mean, label='floor: training against test images')
            drawn.append(floor.mean)
        one.set_xscale('log')
        one.set_xticks([sizes[m] for m in models], [f'{m[-1]}\n{_short(sizes[m])}' for m in models])
        one.minorticks_off()
        drawing.fit_y(one, drawn)
        drawing.title(one, f'{name} of {title}', x='model, P-GEN parameters', y='Frechet distance')
    drawing.legend_below(figure, axes[1], columns=3)
    caption = (
        f'Frechet distance of reconstructions (Rec.) and samples (Gen.) of {title} against the '
        'test images and against the few training images, by capacity of P-GEN: means over seeds, '
        'and their standard deviation where there are several. Over-fitting '
        'would be a Gen. that rises against the test while it falls against the training images.'
    )
    return Picture(f'fig5_{dataset}', caption, drawing.png(figure))


def _short(number: int) -> str:
    for size, unit in ((1_000_000, 'M'), (1_000, 'k')):
        if number >= size:
            return f'{number / size:.3g}{unit}'
    return str(number)
