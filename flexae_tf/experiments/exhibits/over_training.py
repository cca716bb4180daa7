"""Fig. 2: a fixed and a learned prior over training, by how far the prior is from the codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from flexae_tf.experiments.columns import Column, OverSeeds, gather, over_seeds
from flexae_tf.experiments.exhibits import claims, drawing
from flexae_tf.experiments.exhibits.layout import Head, Parts, Picture
from flexae_tf.experiments.exhibits.showing import alone, assemble
from flexae_tf.experiments.exhibits.verdicts import chance
from flexae_tf.experiments.records import Record, distinct
from flexae_tf.metrics.protocol import Protocol

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METHODS = {'wae_normal': 'WAE (normal prior)', 'flexae': 'FlexAE'}
STYLES = {'wae_normal': drawing.VERMILLION, 'flexae': drawing.BLUE}


class _Measure(NamedTuple):
    """What is drawn over training.

    Attributes:
        kind: as in `Score`.
        stem: as in `Score`.
        name: in words.
        group: of the columns of the table.
        floor: stem of what it is between two samples of the prior.
    """

    kind: str
    stem: str
    name: str
    group: str
    floor: str | None = None


CRITIC = _Measure('codes', 'critic_distance', 'P_z to Q_z by its critic', 'Critic')
SLICED = _Measure(
    'codes', 'sliced_wasserstein', 'P_z to Q_z, sliced W1', 'Sliced W1', 'sliced_wasserstein_floor'
)
SAMPLES = _Measure('gen', 'fd', 'Frechet distance of samples', 'Frechet distance')


def _scaled(measure: _Measure) -> _Measure:
    return measure._replace(
        stem=f'{measure.stem}_scaled',
        name=f'{measure.name}, over scale of Q_z',
        group=f'{measure.group} over scale',
        floor=measure.floor and f'{measure.floor}_scaled',
    )


MEASURES = (CRITIC, SLICED, SAMPLES, _scaled(CRITIC), _scaled(SLICED))
CRITICS = (CRITIC, _scaled(CRITIC))
Curves = Mapping[tuple[str, int], Mapping[int, float]]  # by method and seed, then by step


def figure_2(records: Sequence[Record], *, commands: Sequence[str] = ()) -> Parts:
    """The distances over training steps, and what they tell at the last.

    The paper does not say how it measures the distance of P_z and Q_z. A method's own critic is
    what it trains by, and differs from checkpoint to checkpoint; the sliced distance can be
    compared. Over the scale of Q_z neither falls by shrinking the codes alone.

    Args:
        records: of `--checkpoint=all`, one for every snapshot.
        commands: that made them.

    Raises:
        UsageError: scores cannot be compared.
    """
    records = [r for r in distinct(records) if r.method in METHODS and r.step]
    columns = {measure: _column(records, measure) for measure in MEASURES}
    floors = {measure: _column(records, _floor(measure)) for measure in MEASURES if measure.floor}
    last = _last(columns[SAMPLES].values or columns[SLICED].values)
    shown, at = [], {}
    for measure, column in columns.items():
        at[measure] = _at(column, last)
        head = Head('mean', measure.group, numeric=True)
        # Two critics are two measures: the lower one is not the better.
        shown.append(alone(at[measure], head, best=None if measure in CRITICS else min))
        if measure in floors:
            shown.append(alone(_at(floors[measure], last), head._replace(name='floor')))
    notes = [f'At step {last}. {claims.OURS}'] if last else ['Nothing was run.']
    for measure in (SLICED, SAMPLES):
        notes += claims.about(measure.name, columns[measure])
    if columns[CRITIC].values:
        notes.append(f"{CRITIC.name}: by each checkpoint's own critic, a protocol of its own.")
    for measure, claim in (
        (SLICED, 'FlexAE reaches a lower distance of P_z and Q_z (sliced W1)'),
        (_scaled(SLICED), 'The same over the scale of the codes'),
        (CRITIC, 'The same by their critics, which are two networks'),
        (_scaled(CRITIC), 'The same by these over the scale of the codes'),
        (SAMPLES, 'Which leads to a lower Frechet distance of samples'),
    ):
        behind = [METHODS[m] for m, v in at[measure].items() if measure in CRITICS and v.mean < 0.0]
        if behind:
            notes.append(f'{claim}: undecided; {_behind(behind)}.')
        else:
            notes.append(
                claims.lower(claim, ['flexae'], ['wae_normal'], at[measure], names=METHODS)
            )
    for measure in (SLICED, _scaled(SLICED)):
        notes.append(_faster(measure, at[measure], _curves(records, measure)))
    notes.append(chance(*at.values()))
    title = 'Fig. 2: a fixed and a learned prior on synthetic_5d over training; lower is better'
    table = assemble(title, METHODS, shown, notes=notes, commands=commands)
    pictures = [_picture(records, columns, floors)] if records else []
    return Parts((table,), tuple(pictures))


def first_at(curve: Mapping[int, float], level: float) -> int:
    """The first step at which a curve is at or below `level`; raises `ValueError` for none."""
    return min(step for step, value in curve.items() if value <= level)


def _behind(methods: Sequence[str]) -> str:
    """Why an estimate below 0 tells nothing."""
    return (
        f'that of {", ".join(methods)} is negative, as no distance is: a critic bounds it from '
        'below, and one that is behind its encoder does not do even that'
    )


def _faster(measure: _Measure, at: Mapping[str, OverSeeds], curves: Curves) -> str:
    """Whether the distance comes down sooner with the learned prior."""
    claim = f'FlexAE is down sooner ({measure.group})'
    if len(at) < len(METHODS):
        return claims.lower(claim, ['flexae'], ['wae_normal'], at, names=METHODS)
    level = max(min(curve.values()) for curve in curves.values())  # every run comes to it
    steps: dict[str, list[float]] = {method: [] for method in METHODS}
    for (method, _), curve in curves.items():
        steps[method].append(first_at(curve, level))
    note = claims.lower(
        claim,
        ['flexae'],
        ['wae_normal'],
        {method: over_seeds(values) for method, values in steps.items()},
        names=METHODS,
        decimals=0,
    )
    return (
        f'{note} Counted is the first step at which it is at or below {level:.3g}, the highest of '
        'the lowest values of the runs.'
    )


def _floor(measure: _Measure) -> _Measure:
    return measure._replace(stem=measure.floor, floor=None)


def _taken(records: Sequence[Record], measure: _Measure) -> Iterator[Record]:
    return (r for r in records if (r.kind, r.stem) == (measure.kind, measure.stem))


def _column(records: Sequence[Record], measure: _Measure) -> Column:
    taken = list(_taken(records, measure))
    if measure.stem.startswith(CRITIC.stem):
        taken = [_by_any_critic(r) for r in taken]
    return gather(taken, row=lambda r: (r.method, r.step))


def _by_any_critic(record: Record) -> Record:
    """Its protocol names the critic, which is another one at every checkpoint by design."""
    protocol = dataclasses.replace(Protocol(**record.fields), estimator='critic')
    return dataclasses.replace(record, protocol=protocol.id)


def _curves(records: Sequence[Record], measure: _Measure) -> Curves:
    curves: dict[tuple[str, int], dict[int, float]] = {}
    for r in _taken(records, measure):
        curves.setdefault((r.method, r.seed), {})[r.step] = r.value
    return curves


def _last(values: Mapping[tuple[str, int], OverSeeds]) -> int:
    """The last step that all methods there are have; 0 where there is none."""
    steps = [{s for m, s in values if m == method} for method in METHODS]
    steps = [found for found in steps if found]
    return max(set.intersection(*steps), default=0) if steps else 0


def _at(column: Column, step: int) -> dict[str, OverSeeds]:
    return {method: value for (method, s), value in column.values.items() if s == step}


def _picture(
    records: Sequence[Record],
    columns: Mapping[_Measure, Column],
    floors: Mapping[_Measure, Column],
) -> Picture:
    figure, axes = drawing.panels(2, 3, width=3.4, height=2.6)
    for measure, one in zip(MEASURES, axes, strict=False):
        curves = _curves(records, measure)
        for (method, _), curve in curves.items():
            _line(one, curve, color=STYLES[method], linewidth=0.6, alpha=0.5)
        drawn = [value for curve in curves.values() for value in curve.values()]
        for method, colour in STYLES.items():
            _line(one, _mean(columns[measure], method), color=colour, linewidth=2.0)
            if measure in floors:
                floor = _mean(floors[measure], method)
                _line(one, floor, color=colour, linewidth=1.2, linestyle=':')
                drawn += floor.values()
        drawing.fit_y(one, drawn)
        drawing.title(one, measure.name, x='training step')
    *_, slot = axes
    for method, name in METHODS.items():
        slot.plot([], [], color=STYLES[method], linewidth=2.0, label=f'{name}, mean of seeds')
    slot.plot([], [], color=drawing.GREY, linewidth=0.6, label='one seed')
    slot.plot(
        [], [], color=drawing.GREY, linewidth=1.2, linestyle=':', label='floor: prior and itself'
    )
    slot.set_axis_off()
    slot.legend(loc='center', fontsize=9, frameon=False)
    caption = (
        'How far the prior P_z is from the codes Q_z over training with a fixed normal prior (WAE) '
        "and a learned one (FlexAE) on synthetic_5d: by each method's own critic and by the sliced "
        'Wasserstein-1 distance, as it is and over the scale of the codes; and the Frechet '
        'distance of samples. Dotted: two samples of one prior.'
    )
    return Picture('fig2', caption, drawing.png(figure))


def _mean(column: Column, method: str) -> dict[int, float]:
    return {step: value.mean for (m, step), value in column.values.items() if m == method}


def _line(axes: Axes, curve: Mapping[int, float], **style: object) -> None:
    steps = sorted(curve)
    axes.plot(steps, [curve[step] for step in steps], **style)
