"""Figures of scores, and Fig. 3 of codes. matplotlib is imported when a figure is drawn."""

import io
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from flexae_tf import data
from flexae_tf.experiments import paper
from flexae_tf.experiments.image_tables import FIG_5, fig5_row, generator_parameters
from flexae_tf.experiments.results import Score, floor
from flexae_tf.experiments.synthetic_tables import FIG_2, THEOREM_2, curves, model_of, models_of
from flexae_tf.experiments.tables import columns_of, noise_dim
from flexae_tf.methods.table import title
from flexae_tf.metrics.comparison import Mean

# Okabe and Ito (2008): distinguishable to colour-blind readers; without their yellow.
COLOURS = ('#0072B2', '#E69F00', '#009E73', '#D55E00', '#CC79A7', '#56B4E9')
BLUE, ORANGE, GREEN, VERMILLION, PINK = COLOURS[:5]
GREY, FAINT = '#666666', '#C4C4C4'
CODES = 3000  # in a panel of Fig. 3


class Image(NamedTuple):
    """A PNG with the stem of its file name and a caption."""

    name: str
    caption: str
    png: bytes


def fig2(scores: Sequence[Score]) -> Iterable[Image]:
    """Yields the distances of prior and codes over training steps."""
    if not scores:
        return
    measures = {key: m for key, m in FIG_2.items() if not key.endswith('floor')}
    heads = {key: f'{m.head}, $P_z$ to $Q_z$' for key, m in measures.items()}
    heads['gen'] = 'Fréchet distance of samples'
    heads['rec'] = 'Fréchet distance of reconstructions'
    figure, axes = _panels([*heads.values()], 4, width=3.2, height=2.6, x='training step')
    columns = columns_of(scores, FIG_2, lambda s: (model_of(s), s.step))
    known = {'wae_normal': VERMILLION, 'wae_normal-mmd': ORANGE, 'wae_gan': PINK, 'flexae': BLUE}
    titles = models_of(scores)
    colours = {model: known.get(model, GREEN) for model in titles}
    seed, mean, prior = dict(lw=0.6), dict(lw=2.0), dict(lw=1.2, ls=':')
    for panel, (key, measure) in zip(axes, measures.items(), strict=False):
        lines = [
            (curve, seed | dict(color=colours[model], alpha=0.5))
            for (model, _), curve in curves(scores, measure).items()
        ]
        for name, style in ((key, mean), (f'{key} floor', prior)):
            values = columns[name].values if name in columns else {}
            for model, colour in colours.items():
                curve = {step: v.mean for (m, step), v in values.items() if m == model}
                lines.append((curve, style | dict(color=colour)))
        _plot(panel, lines)
    for model, colour in colours.items():
        axes[-1].plot([], color=colour, label=f'{titles[model]}, mean of seeds', **mean)
    axes[-1].plot([], color=GREY, label='one seed', **seed)
    axes[-1].plot([], color=GREY, label='floor: prior and itself', **prior)
    axes[-1].legend(loc='center', fontsize=9, frameon=False)
    caption = (
        'Distance of the prior P_z and the codes Q_z over training, and Fréchet distance of '
        'samples, on synthetic_5d. Dotted: two samples of one prior.'
    )
    yield Image('fig2', caption, _png(figure))


def fig5(scores: Sequence[Score]) -> Iterable[Image]:
    """Yields Fréchet distances by capacity of P-GEN for each data set."""
    for name in dict.fromkeys(score.dataset for score in scores):
        here = [score for score in scores if score.dataset == name]
        dataset = paper.DATASETS.get(name, name)
        columns = columns_of(here, FIG_5, generator_parameters)
        models = {generator_parameters(s): fig5_row(s) for s in here}
        short = {n: f'{n / 1e6:.3g}M' if n >= 1e6 else f'{n / 1e3:.3g}k' for n in sorted(models)}
        ticks = {size: f'{models[size]}\n{text}' for size, text in short.items()}
        level = floor([s for s in here if s.split == 'test'], columns['gen test'])
        heads, x = (f'Rec. of {dataset}', f'Gen. of {dataset}'), 'model, P-GEN parameters'
        figure, axes = _panels(heads, 2, width=4.8, height=3.4, x=x, y='Fréchet distance')
        styles = {'test': dict(color=BLUE, marker='o', label='against test images')}
        styles['train'] = dict(color=VERMILLION, marker='s', label='against training images')
        for panel, kind in zip(axes, ('rec', 'gen'), strict=True):
            lines = [(columns[f'{kind} {split}'].values, style) for split, style in styles.items()]
            _plot(panel, lines, ticks, [] if level is None else [level])
        caption = (
            f'Fréchet distance of reconstructions and samples of {dataset} by capacity of P-GEN, '
            'trained on few images; bars: standard deviation over seeds.'
        )
        yield Image(f'fig5_{name}', caption, _png(figure, axes[1], ncols=3))


def theorem2(scores: Sequence[Score]) -> Iterable[Image]:
    """Yields distances by the size of P-GEN's input."""
    if not scores:
        return
    columns = columns_of(scores, THEOREM_2, noise_dim)
    heads = 'Fréchet distance of samples', 'Sliced W1 of $P_z$ and $Q_z$ over scale of $Q_z$'
    figure, axes = _panels(heads, 2, width=4.2, height=3.2, x="size m' of P-GEN's input")
    true_dim, flexae = paper.TRUE_DIM, dict(label='FlexAE', color=BLUE, marker='o')
    prior = dict(color=GREY, linestyle=':', label='floor: prior and itself')
    floors = {size: value.mean for size, value in columns['floor'].values.items()}
    for panel, key, more in zip(axes, ('gen', 'sliced'), ([], [(floors, prior)]), strict=True):
        values = columns[key].values
        _plot(panel, [(values, flexae), *more], {size: str(size) for size in sorted(values)})
        panel.axvline(true_dim, color=GREEN, ls='--', label=f'true dimension {true_dim}')
    caption = (
        "FlexAE on synthetic_5d (m = 50) by the size of P-GEN's input; bars: standard deviation "
        'over seeds. Dotted: two samples of one prior.'
    )
    yield Image('theorem2', caption, _png(figure, axes[1], ncols=3))


FIGURES = {'fig2': fig2, 'fig5': fig5, 'theorem2': theorem2}


class LatentView(NamedTuple):
    """Codes of a run on synthetic_2d."""

    z: np.ndarray  # codes of test examples, [n, 2]; posterior samples for stochastic encoders
    labels: np.ndarray  # mixture components of the examples, int [n]
    z_hat: np.ndarray  # samples of the prior, [n, 2]
    latents: np.ndarray  # true latents of the examples, [n, 2]


def latent_view(workdir: pathlib.Path, checkpoint: int) -> LatentView:
    """Returns codes of the first evaluated test examples and as many samples of the prior."""
    from flexae_tf.densities.densities import open_sampler  # imports TensorFlow
    from flexae_tf.methods.posterior_samples import sample_codes

    run = open_sampler(workdir, checkpoint)
    test = data.load(run.config).test
    test = test.take(data.fixed_permutation(len(test), data.Purpose.EVALUATION)[:CODES])
    z, z_hat = sample_codes(run.method, test.x, seed=0), run.method.sample_latent(CODES, 0).numpy()
    return LatentView(z, test.labels, z_hat, test.latents)


def fig3(views: Mapping[str, LatentView], distances: Mapping[str, float]) -> Image:
    """Draws the latent spaces of models, at least one, with Fréchet distances of their samples."""
    models = [model for model in dict.fromkeys([*paper.MODELS, *views]) if model in views]
    heads = {model: paper.MODELS.get(model, model) for model in models}
    heads |= {m: f'{heads[m]}\nGen. FD {distances[m]:.3g}' for m in models if m in distances}
    figure, axes = _panels(['True latents', *heads.values()], 4, width=3.0, height=3.0)
    first = views[models[0]]
    for panel, model in zip(axes, [None, *models], strict=False):
        view = views.get(model, first)
        z = view.z if model else view.latents
        dots = [(view.z_hat, FAINT, 'prior')] if model else []
        for k in np.unique(view.labels):
            dots.append((z[view.labels == k], COLOURS[k % len(COLOURS)], f'component {k + 1}'))
        for points, colour, label in dots:
            panel.scatter(*points.T, s=3.0, linewidths=0, color=colour, label=label)
        panel.set_aspect('equal', 'datalim')
    caption = (
        f'Codes of {len(first.z)} test examples of synthetic_2d, coloured by component, over '
        f'{len(first.z_hat)} samples of the prior (grey), and the true latents. A panel shows the '
        'run of its model with the median Gen.'
    )
    return Image('fig3', caption, _png(figure, axes[1], ncols=7, markerscale=math.sqrt(10.0)))


def strips(dataset: str, images: Mapping[str, np.ndarray]) -> Image:
    """Draws strips of images (uint8 [h, w, c]) of methods under each other."""
    height, width = next(iter(images.values())).shape[:2]
    heads = [title(method) for method in images]
    figure, axes = _panels(heads, 2, width=5.0, height=5.0 * height / width + 0.2)
    for image, panel in zip(images.values(), axes, strict=False):
        panel.imshow(image.squeeze(), cmap='gray', vmin=0, vmax=255, aspect='equal')
        panel.set_axis_off()
    caption = (
        f'Every method on {paper.DATASETS.get(dataset, dataset)}: a row of test images, a row of '
        'their reconstructions, and two rows of samples, not selected.'
    )
    return Image(f'methods_{dataset}', caption, _png(figure))


def _panels(
    heads: Sequence[str], columns: int, *, width: float, height: float, x: str = '', y: str = ''
) -> tuple[Any, list[Any]]:
    """Returns a figure of axes of `width` x `height` inches; axes without a head are invisible."""
    from matplotlib.figure import Figure

    rows = -(-len(heads) // columns)
    figure = Figure(figsize=(columns * width, rows * height), dpi=150, layout='constrained')
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in axes[len(heads) :]:
        panel.set_axis_off()
    for panel, head in zip(axes, heads, strict=False):
        panel.set_title(head, fontsize=9)
        panel.set_xlabel(x, fontsize=8)
        panel.set_ylabel(y, fontsize=8)
        panel.grid(color='#E6E6E6', linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[['top', 'right']].set_visible(False)
        panel.tick_params(labelsize=8)
    return figure, axes


def _plot(axes: Any, lines: Iterable, ticks: Any = None, floors: Sequence[float] = ()) -> None:
    """Draws pairs of y by x and style; means get error bars.

    The x-axis is logarithmic if it has `ticks`, labels by x. The y-axis is logarithmic if positive
    values span a decade, and starts at 0 otherwise.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    drawn = list(floors)
    for points, style in lines:
        x, values = sorted(points), [points[at] for at in sorted(points)]
        if values and isinstance(values[0], Mean):
            sds = [math.nan if value.sd is None else value.sd for value in values]
            values = [value.mean for value in values]
            axes.errorbar(x, values, yerr=sds, markersize=5, capsize=3, linewidth=1.5, **style)
        else:
            axes.plot(x, values, **style)
        drawn += values
    for level in floors:
        axes.axhline(level, color=GREY, ls=':', label='floor: training against test images')
    if ticks is not None:
        axes.set_xscale('log')
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.minorticks_off()
    if drawn and min(drawn) > 0.0 and max(drawn) >= 10.0 * min(drawn):
        axes.set_yscale('log')
        axes.yaxis.set(major_locator=LogLocator(subs=(1.0, 2.0, 5.0)), major_formatter='{x:g}')
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif drawn and min(drawn) >= 0.0:
        axes.set_ylim(bottom=0.0)


def _png(figure: Any, labelled: Any = None, **legend: Any) -> bytes:
    """Returns a PNG with the legend of `labelled` axes; without dates, so its bytes are fixed."""
    if labelled:
        handles = labelled.get_legend_handles_labels()
        figure.legend(*handles, loc='outside lower center', fontsize=8, frameon=False, **legend)
    file = io.BytesIO()
    figure.savefig(file, format='png', metadata={'Software': None})
    return file.getvalue()
