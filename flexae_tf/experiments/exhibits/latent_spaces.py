"""Fig. 3: the latent spaces of five models of six Gaussians in two dimensions."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from flexae_tf import data
from flexae_tf.experiments.columns import gather
from flexae_tf.experiments.exhibits import claims, drawing
from flexae_tf.experiments.exhibits.layout import Cell, Head, Parts, Picture
from flexae_tf.experiments.exhibits.showing import alone, assemble
from flexae_tf.experiments.exhibits.verdicts import chance
from flexae_tf.experiments.records import Record, latest

MODELS = {
    'vae': 'VAE',
    'wae_normal': 'WAE (normal prior)',
    'wae_gmm_prior-data': "WAE (GMM prior: the data's)",
    'wae_gmm_prior-circle': 'WAE (GMM prior: circle)',
    'flexae': 'FlexAE',
}
UNIMODAL = ('vae', 'wae_normal')
MULTIMODAL = tuple(model for model in MODELS if model not in UNIMODAL)
FLOOR = 'floor'
SHOWN = 3000  # codes in a panel


class LatentView(NamedTuple):
    """What a panel shows of a run.

    Attributes:
        z: codes of test examples, [n, 2].
        labels: their components, int [n].
        z_hat: draws of the prior, [k, 2].
        latents: true latents of the examples, [n, 2].
        distance: Frechet distance of the run's samples; None where it is not known.
    """

    z: np.ndarray
    labels: np.ndarray
    z_hat: np.ndarray
    latents: np.ndarray
    distance: float | None = None


def model_of(record: Record) -> str:
    """The row, one of `MODELS`, that a record is of."""
    mixture = record.options.get('mixture')
    return f'{record.method}-{mixture}' if mixture else record.method


def latent_view(
    workdir: str | os.PathLike, checkpoint: int | str = 'last', *, distance: float | None = None
) -> LatentView:
    """Codes of the first of the test examples that are scored, and as many draws of the prior.

    Codes of a stochastic encoder are drawn, as those that are scored.

    Args:
        workdir: of a run on synthetic_2d.
        checkpoint: 'last' or a step.
        distance: Frechet distance of its samples.

    Raises:
        MissingDataError: no run there, or none with a checkpoint.
        CorruptRunError: the checkpoint is not whole.
    """
    from flexae_tf.densities.densities import open_sampler  # TensorFlow, which tables do without
    from flexae_tf.methods.posterior_samples import draw_codes

    run = open_sampler(workdir, checkpoint)
    test = data.load(run.config).test
    test = test.take(data.fixed_permutation(len(test), data.Purpose.EVALUATION)[:SHOWN])
    z, z_hat = draw_codes(run.method, test.x, seed=0), run.method.sample_latent(SHOWN, 0).numpy()
    return LatentView(z, test.labels, z_hat, test.latents, distance)


def figure_3(
    records: Sequence[Record],
    codes: Mapping[str, LatentView] | None = None,
    *,
    commands: Sequence[str] = (),
) -> Parts:
    """The Frechet distances of the models, and their latent spaces.

    Args:
        records: of the last checkpoints.
        codes: what to draw, by name of `MODELS`; nothing is drawn without.
        commands: that made the records.

    Raises:
        UsageError: scores cannot be compared.
    """
    records = [r for r in latest(records) if model_of(r) in MODELS]
    shown, columns = [], {}
    for kind, name in (('rec', 'Rec.'), ('gen', 'Gen.')):
        columns[kind] = gather(
            (r for r in records if (r.kind, r.stem) == (kind, 'fd')), row=model_of
        )
        head = Head(name, 'Frechet distance', numeric=True)
        shown.append(alone(columns[kind].values, head, best=min))
    rows = dict(MODELS)
    if floor := claims.floor(records, columns['gen']):
        rows[FLOOR] = 'Training examples (floor)'
        cells = {**shown[-1].cells, FLOOR: Cell(f'{floor.mean:.3g}')}
        shown[-1] = shown[-1]._replace(cells=cells)
    gen = columns['gen'].values
    notes = [
        claims.OURS,
        *claims.about('Rec.', columns['rec']),
        *claims.about('Gen.', columns['gen']),
        claims.lower(
            'Multimodal priors have lower Gen. than unimodal ones',
            MULTIMODAL,
            UNIMODAL,
            gen,
            names=MODELS,
        ),
        chance(gen),
    ]
    title = 'Fig. 3: Frechet distance by prior on synthetic_2d, m=2; lower is better'
    table = assemble(title, rows, shown, notes=notes, commands=commands, first='Model')
    pictures = (_picture(codes),) if codes and set(codes) & set(MODELS) else ()
    return Parts((table,), pictures)


def _picture(codes: Mapping[str, LatentView]) -> Picture:
    models = [model for model in MODELS if model in codes]
    any_view = codes[models[0]]
    figure, axes = drawing.panels(2, 3, width=3.0, height=3.0)
    _scatter(axes[0], any_view.latents, any_view.labels)
    drawing.title(axes[0], 'True latents')
    for model, one in zip(models, axes[1:], strict=False):
        view = codes[model]
        one.scatter(
            *view.z_hat.T, s=2.0, color=drawing.FAINT, linewidths=0, zorder=1, label='prior'
        )
        _scatter(one, view.z, view.labels)
        gen = '' if view.distance is None else f'\nGen. FD {view.distance:.3g}'
        drawing.title(one, f'{MODELS[model]}{gen}')
    for one in axes:
        one.set_aspect('equal', 'datalim')
    for one in axes[1 + len(models) :]:
        one.set_axis_off()
    drawing.legend_below(figure, axes[1], columns=7)
    for handle in figure.legends[0].legend_handles:
        handle.set_sizes([30.0])
    missing = [name for model, name in MODELS.items() if model not in codes]
    caption = (
        f'Codes of {len(any_view.z)} test examples of synthetic_2d, coloured by component, over '
        f'{len(any_view.z_hat)} draws of the prior (grey), and the true latents; one run of each '
        'model, with the Frechet distance of its samples.'
    )
    caption += f' Not there: {", ".join(missing)}.' if missing else ''
    return Picture('fig3', caption, drawing.png(figure))


def _scatter(axes, z: np.ndarray, labels: np.ndarray) -> None:
    for component in np.unique(labels):
        axes.scatter(
            *z[labels == component].T,
            s=3.0,
            color=drawing.COLOURS[component % len(drawing.COLOURS)],
            linewidths=0,
            zorder=2,
            label=f'component {component + 1}',
        )
