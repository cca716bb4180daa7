"""Every method side by side: what training made of it, what it costs, and what it makes."""

from collections.abc import Mapping, Sequence

import numpy as np

from flexae_tf.config import METHODS
from flexae_tf.errors import UsageError
from flexae_tf.experiments import estimate, paper
from flexae_tf.experiments.columns import Column, gather
from flexae_tf.experiments.exhibits import claims, drawing
from flexae_tf.experiments.exhibits.layout import Cell, Head, Parts, Picture, Table
from flexae_tf.experiments.exhibits.showing import Shown, alone, assemble
from flexae_tf.experiments.exhibits.verdicts import HOLDS
from flexae_tf.experiments.records import Record, latest
from flexae_tf.metrics.protocol import CODES

OTHERS = {
    'flexae_sr': 'FlexAE-SR',
    'wae_normal': 'WAE (normal prior)',
    'wae_gmm_prior': 'WAE (GMM prior)',
}
ARCHITECTURES = {method: {**paper.METHODS, **OTHERS}.get(method, method) for method in METHODS}
GROUP = 'Prior and codes'
LATENT = {  # of trained methods, by stem
    'sliced_wasserstein_scaled': Head('Sliced W1 over scale', GROUP, numeric=True),
    'sliced_wasserstein_floor_scaled': Head('its floor', GROUP, numeric=True),
    'z_rank': Head('rank of codes', GROUP, numeric=True),
    'z_hat_rank': Head('rank of the prior', GROUP, numeric=True),
}
LEARNED = 0.3  # times the distance of the untrained method: below it, a method has learned


def side_by_side(
    records: Sequence[Record],
    strips: Mapping[tuple[str, str], np.ndarray] | None = None,
    *,
    commands: Sequence[str] = (),
) -> Parts:
    """Distances of every method before and after training, and a strip of its pictures.

    Args:
        records: of trained and of untrained methods.
        strips: `galleries.strip`, by data set and method; nothing is drawn without.
        commands: that made the records.

    Raises:
        UsageError: scores cannot be compared.
    """
    taken = [
        r
        for r in latest(records)
        if r.method in ARCHITECTURES and (r.stem == 'fd' or r.kind == 'codes')
    ]
    tables = [
        _table(dataset, [r for r in taken if r.dataset == dataset], commands)
        for dataset in dict.fromkeys(r.dataset for r in taken)
    ]
    drawn: dict[str, dict[str, np.ndarray]] = {}
    for (dataset, method), strip in (strips or {}).items():
        drawn.setdefault(dataset, {})[method] = strip
    pictures = tuple(_picture(dataset, of_methods) for dataset, of_methods in drawn.items())
    return Parts(tuple(tables), pictures)


def _table(dataset: str, records: Sequence[Record], commands: Sequence[str]) -> Table:
    untrained, gen, rec = (
        _column(records, 'gen', trained=False),
        _column(records, 'gen', trained=True),
        _column(records, 'rec', trained=True),
    )
    if gen.values and untrained.protocol not in (None, gen.protocol):
        raise UsageError(
            f'{gen.metric} is by protocol {gen.protocol}, that of untrained methods by '
            f'{untrained.protocol}: score both by one of them'
        )
    share = {
        method: value.mean / untrained.values[method].mean
        for method, value in gen.values.items()
        if method in untrained.values
    }
    latent, codes = _latent([r for r in records if r.options['training_steps']])
    group = 'Frechet distance'
    shown = [
        alone(untrained.values, Head('Gen. untrained', group, numeric=True)),
        alone(gen.values, Head('Gen.', group, numeric=True), best=min),
        _plain(share, Head('Gen. over untrained', group, numeric=True)),
        alone(rec.values, Head('Rec.', group, numeric=True), best=min),
        *latent,
        _plain(estimate.costs(), Head("Iteration over FlexAE's", 'Time', numeric=True)),
    ]
    notes = [
        claims.OURS,
        *claims.about('Gen.', gen),
        *claims.about('Rec.', rec),
        *codes,
        _learned(share),
        'Untrained methods are scored as trained ones: where samples come from a density that is '
        'fitted to the codes, it was fitted to those of the untrained encoder.',
        f'Time of an iteration: {estimate.timed()}.',
    ]
    title = paper.DATASETS.get(dataset, dataset)
    caption = (
        f'Every method on {title}, before and after training; lower is better, but of the two '
        'ranks, which are to agree'
    )
    return assemble(caption, ARCHITECTURES, shown, notes=notes, commands=commands)


def _column(records: Sequence[Record], kind: str, *, trained: bool) -> Column:
    return gather(
        (r for r in records if r.kind == kind and bool(r.options['training_steps']) == trained),
        row=lambda r: r.method,
    )


def _latent(records: Sequence[Record]) -> tuple[list[Shown], list[str]]:
    """Columns of how near the prior is to the codes, and notes on them.

    Codes that are drawn from posteriors have a protocol of their own, so nothing is best of all.
    """

    def column(stem: str, features: str) -> Column:
        return gather(
            (r for r in records if (r.stem, r.fields['features']) == (stem, features)),
            row=lambda r: r.method,
        )

    plain, drawn = CODES[True], CODES[False]
    shown = [
        alone({**column(stem, plain).values, **column(stem, drawn).values}, head)
        for stem, head in LATENT.items()
    ]
    stem, head = next(iter(LATENT.items()))
    notes = [
        *claims.about(head.name, column(stem, plain)),
        *claims.about(f'{head.name}, codes drawn from their posteriors', column(stem, drawn)),
    ]
    return shown, notes


def _plain(values: Mapping[str, float], head: Head) -> Shown:
    return Shown(head, {method: Cell(f'{value:.2f}') for method, value in values.items()})


def _learned(share: Mapping[str, float]) -> str:
    """Whether every method has learned to make what resembles the data."""
    claim = f'After training, Gen. is at most {LEARNED} of what it was'
    if not share:
        return f'{claim}: not judged.'
    above = [ARCHITECTURES[method] for method, value in share.items() if value > LEARNED]
    return (
        f'{claim}: {HOLDS[not above]}, for {len(share) - len(above)} of {len(share)} methods'
        f'{" (not: " + ", ".join(above) + ")" if above else ""}.'
    )


def _picture(dataset: str, strips: Mapping[str, np.ndarray]) -> Picture:
    drawn = [method for method in ARCHITECTURES if method in strips]
    height, width = strips[drawn[0]].shape[:2]
    figure, axes = drawing.panels(
        -(-len(drawn) // 2), 2, width=5.0, height=5.0 * height / width + 0.2
    )
    for method, one in zip(drawn, axes, strict=False):
        one.imshow(strips[method].squeeze(), cmap='gray', vmin=0, vmax=255, aspect='equal')
        drawing.title(one, ARCHITECTURES[method])
    for one in axes:
        one.set_axis_off()
    caption = (
        f'Every method on {paper.DATASETS.get(dataset, dataset)}: a row of test images, one of '
        'their reconstructions, and two of samples; nobody chose them.'
    )
    return Picture(f'methods_{dataset}', caption, drawing.png(figure))
