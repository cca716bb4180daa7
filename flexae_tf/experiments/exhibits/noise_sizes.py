"""Theorem 2: how large the input of P-GEN has to be, for data of five true dimensions."""

from collections.abc import Mapping, Sequence

from flexae_tf.experiments.artifacts import NOISE_DIMS
from flexae_tf.experiments.columns import Column, Score, gather
from flexae_tf.experiments.exhibits import claims, drawing
from flexae_tf.experiments.exhibits.layout import Head, Parts, Picture
from flexae_tf.experiments.exhibits.showing import alone, assemble
from flexae_tf.experiments.exhibits.verdicts import chance
from flexae_tf.experiments.records import Record, latest

TRUE_DIM = 5  # n of synthetic_5d
GEN, CODES, FLOOR = 'fd', 'sliced_wasserstein_scaled', 'sliced_wasserstein_floor_scaled'
NAMES = {GEN: 'Frechet distance of samples', CODES: 'P_z to Q_z, sliced W1 over scale of Q_z'}


def theorem_2(records: Sequence[Record], *, commands: Sequence[str] = ()) -> Parts:
    """What FlexAE's prior reaches from inputs of fewer and of more than the true dimensions.

    The theorem lets the distance of prior and codes go to 0 where m' >= n. The dimension of its
    input bounds that of the prior, so below n it cannot where the codes fill n dimensions.

    Args:
        records: of the last checkpoints.
        commands: that made them.

    Raises:
        UsageError: scores cannot be compared.
    """
    records = [r for r in latest(records) if r.method == 'flexae']
    columns = {
        stem: gather((r for r in records if (r.kind, r.stem) == (kind, stem)), row=_noise_dim)
        for kind, stem in (('gen', GEN), ('codes', CODES), ('codes', FLOOR))
    }
    there = sorted({size for column in columns.values() for size in column.values})
    sizes = sorted({*NOISE_DIMS, *there})
    names = {size: f"m' = {size}" for size in sizes}
    small, large = _parted(sizes)
    shown = [
        alone(columns[GEN].values, Head('Gen.', 'Frechet distance', numeric=True), best=min),
        alone(columns[CODES].values, Head('mean', 'Sliced W1 over scale', numeric=True), best=min),
        alone(columns[FLOOR].values, Head('floor', 'Sliced W1 over scale', numeric=True)),
    ]
    notes = [claims.OURS]
    for stem, name in NAMES.items():
        notes += claims.about(name, columns[stem])
    for stem, name in NAMES.items():
        claim = f'Inputs below n = {TRUE_DIM} are worse than those of at least n ({name})'
        notes.append(claims.lower(claim, large, small, columns[stem].values, names=names))
    notes.append(chance(columns[GEN].values, columns[CODES].values))
    caption = "Theorem 2: FlexAE on synthetic_5d by the size m' of P-GEN's input; lower is better"
    table = assemble(caption, names, shown, notes=notes, commands=commands, first='Input')
    pictures = (_picture(columns, there),) if there else ()
    return Parts((table,), pictures)


def _noise_dim(record: Score) -> int:
    return record.options.get('noise_dim', record.latent_dim)


def _parted(sizes: Sequence[int]) -> tuple[list[int], list[int]]:
    return [s for s in sizes if s < TRUE_DIM], [s for s in sizes if s >= TRUE_DIM]


def _picture(columns: Mapping[str, Column], sizes: Sequence[int]) -> Picture:
    figure, axes = drawing.panels(1, 2, width=4.2, height=3.2)
    for (stem, name), one in zip(NAMES.items(), axes, strict=True):
        values = columns[stem].values
        drawing.over(one, values, label='FlexAE', color=drawing.BLUE, marker='o')
        drawn = [value.mean for value in values.values()]
        if stem == CODES:
            floors = columns[FLOOR].values
            one.plot(
                sorted(floors),
                [floors[size].mean for size in sorted(floors)],
                color=drawing.GREY,
                linestyle=':',
                label='floor: prior and itself',
            )
            drawn += [value.mean for value in floors.values()]
        one.axvline(
            TRUE_DIM, color=drawing.GREEN, linestyle='--', label=f'true dimension {TRUE_DIM}'
        )
        one.set_xscale('log')
        one.set_xticks(sizes, [str(size) for size in sizes])
        one.minorticks_off()
        drawing.fit_y(one, drawn)
        drawing.title(one, name, x="size m' of P-GEN's input")
    drawing.legend_below(figure, axes[1], columns=3)
    caption = (
        "FlexAE on synthetic_5d (m=50) by the size of P-GEN's input, mean and standard deviation "
        'over seeds: Frechet distance of samples, and the sliced Wasserstein-1 distance of prior '
        'and codes over the scale of the codes. Dotted: two samples of one prior.'
    )
    return Picture('theorem2', caption, drawing.png(figure))
