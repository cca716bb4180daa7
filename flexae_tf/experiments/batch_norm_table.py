"""Table of averages of batch norm by momentum, on validation images."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

from flexae_tf.config import TrainConfig
from flexae_tf.experiments import paper, results
from flexae_tf.experiments.results import Score
from flexae_tf.experiments.tables import (
    FD,
    Measure,
    Table,
    cells_of,
    columns_of,
    for_each_dataset,
    layout,
    protocols,
    select,
)
from flexae_tf.methods.table import title
from flexae_tf.metrics.comparison import Mean

DEFAULT = TrainConfig.bn_momentum
_PSNR = Measure('PSNR', 'reconstructions', 'psnr', max)
MEASURES = {key: m._replace(split='validation') for key, m in (FD | {'psnr': _PSNR}).items()}


class Averages(NamedTuple):
    """Averages of batch norm with which a run is scored."""

    method: str
    momentum: float
    mixed: bool  # whether the decoder's averages include generated codes
    recalibrated: bool


def _batch_norm(scores: list[Score], name: str) -> Iterator[Table]:
    values: dict[str, dict[Averages, Mean]] = {key: {} for key in MEASURES}
    notes: list[str] = []
    for is_stored in (True, False):  # these have protocols of their own
        taken = [s for s in scores if bool(s.fields.get('batch_norm')) != is_stored]
        columns = columns_of(taken, MEASURES, _averages)
        for key, column in columns.items():
            values[key] |= column.values
        notes += protocols(columns, MEASURES)
    rows = {row: _title_of_averages(row) for row in values['rec'] | values['gen']}
    claims = []
    bases = {row.method: row for row in rows if row.momentum == DEFAULT and not row.recalibrated}
    for row, base in ((row, bases.get(row.method, row)) for row in rows):
        for key, measure in FD.items() if row != base else ():
            ratios = _ratios(scores, MEASURES[key], row, base)
            text = f'{rows[row]}: lower {measure.head} than momentum {DEFAULT:g} (ratio by seed)'
            claim = paper.Order(text, ((row, base),))
            claims.append(results.judge_order(claim, ratios, rows))
    notes.append(
        'Averages take part in no training except of VampPrior and InjFlow. So runs of one seed '
        "have equal weights, and their ratio is tested: Welch's test against 1 is the paired "
        't-test.'
    )
    shown = [cells_of(m.head, values[key], m.best) for key, m in MEASURES.items()]
    caption = f'Averages of batch norm, validation images of {name}'
    yield Table(caption, *layout('Averages', rows, shown), notes, claims)


def _ratios(
    scores: list[Score], measure: Measure, row: Averages, base: Averages
) -> dict[Averages, Mean]:
    """Returns the ratios of a row to its base, and ones, over the seeds that both have."""
    values: dict[Averages, dict[int, float]] = {row: {}, base: {}}
    for score in select(scores, measure):
        values.get(_averages(score), {})[score.seed] = score.value
    ratios = [value / values[base][s] for s, value in values[row].items() if s in values[base]]
    return {row: Mean(tuple(ratios)), base: Mean((1.0,) * len(ratios))} if ratios else {}


def _averages(score: Score) -> Averages:
    options = score.options
    mixed, again = options.get('bn_mix_generated', False), score.fields.get('batch_norm')
    return Averages(score.method, options.get('bn_momentum', DEFAULT), mixed, bool(again))


def _title_of_averages(row: Averages) -> str:
    text = f'{title(row.method)}, momentum {row.momentum:g}'
    text += ', with generated codes' if row.mixed else ''
    return f'{text}, recalibrated' if row.recalibrated else text


TABLES = {'batch_norm': functools.partial(for_each_dataset, _batch_norm)}
