"""Figures that are drawn from scores, and Fig. 3 from codes: PNG bytes by name.

matplotlib is imported when a figure is drawn.
"""

import io
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from flexae_tf import data
from flexae_tf.experiments import paper, tables
from flexae_tf.experiments.results import Mean, Score, floor
from flexae_tf.networks.architectures import CAPACITIES

# Okabe and Ito (2008): distinguishable to colour-blind readers; without their yellow.
COLOURS = ('#0072B2', '#E69F00', '#009E73', '#D55E00', '#CC79A7', '#56B4E9')
BLUE, GREEN, VERMILLION = COLOURS[0], COLOURS[2], COLOURS[3]
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
    figure, axes = _panels(2, 3, width=3.4, height=2.6)
    styles = {'wae_normal': VERMILLION, 'flexae': BLUE}
    columns = tables.columns_of(scores, tables.FIG_2, lambda s: (s.method, s.step))
    drawn_keys = [key for key in tables.FIG_2 if 'floor' not in key]
    for panel, key in zip(axes, drawn_keys, strict=False):
        measure, drawn = tables.FIG_2[key], []
        for (method, _), curve in tables.curves(scores, measure).items():
            _curve(panel, curve, color=styles.get(method, GREEN), linewidth=0.6, alpha=0.5)
            drawn += curve.values()
        for name, width, line in ((key, 2.0, '-'), (f'{key} floor', 1.2, ':')):
            means: dict[str, dict[int, float]] = {}
            for (method, step), value in columns[name].values.items() if name in columns else ():
                means.setdefault(method, {})[step] = value.mean
            for method, curve in means.items():
                colour = styles.get(method, GREEN)
                _curve(panel, curve, color=colour, linewidth=width, linestyle=line)
                drawn += curve.values() if name != key else ()
        _fit_y(panel, drawn)
        latents = measure.set == 'latents'
        heading = f'{measure.head}, P_z to Q_z' if latents else 'Fréchet distance of samples'
        _title(panel, heading, x='training step')
    legend = axes[-1]
    for method in dict.fromkeys(score.method for score in scores):
        label = f'{tables.title(method)}, mean of seeds'
        legend.plot([], [], color=styles.get(method, GREEN), linewidth=2.0, label=label)
    legend.plot([], [], color=GREY, linewidth=0.6, label='one seed')
    legend.plot([], [], color=GREY, linewidth=1.2, linestyle=':', label='floor: prior and itself')
    legend.set_axis_off()
    legend.legend(loc='center', fontsize=9, frameon=False)
    caption = (
        'Distance of the prior P_z and the codes Q_z over training, and Fréchet distance of '
        'samples, on synthetic_5d. Dotted: two samples of one prior.'
    )
    yield Image('fig2', caption, _png(figure))


def fig5(scores: Sequence[Score]) -> Iterable[Image]:
    """Yields Fréchet distances by capacity of P-GEN for each data set."""
    for name in dict.fromkeys(score.dataset for score in scores):
        here = [score for score in scores if score.dataset == name]
        title = paper.DATASETS.get(name, name)
        columns = tables.columns_of(here, tables.FIG_5, tables.fig5_row)
        sizes = {tables.fig5_row(s): tables.generator_parameters(s) for s in here}
        models = [model for model in CAPACITIES if model in sizes]
        level = floor([s for s in here if s.split == 'test'], columns['gen test'])
        figure, axes = _panels(1, 2, width=4.8, height=3.4)
        for panel, kind in zip(axes, ('rec', 'gen'), strict=True):
            drawn = [] if level is None else [level]
            for split, colour, marker in (('test', BLUE, 'o'), ('train', VERMILLION, 's')):
                values = columns[f'{kind} {split}'].values
                points = {sizes[model]: value for model, value in values.items()}
                label = f'against {"training" if split == "train" else split} images'
                _errors(panel, points, label=label, color=colour, marker=marker)
                drawn += [value.mean for value in values.values()]
            if level is not None:
                label = 'floor: training against test images'
                panel.axhline(level, color=GREY, linestyle=':', label=label)
            ticks = [f'{model}\n{_short(sizes[model])}' for model in models]
            _log_x(panel, [sizes[model] for model in models], ticks)
            _fit_y(panel, drawn)
            heading = f'{"Rec." if kind == "rec" else "Gen."} of {title}'
            _title(panel, heading, x='model, P-GEN parameters', y='Fréchet distance')
        _legend_below(figure, axes[1])
        caption = (
            f'Fréchet distance of reconstructions and samples of {title} by capacity of P-GEN, '
            'trained on few images; bars: standard deviation over seeds.'
        )
        yield Image(f'fig5_{name}', caption, _png(figure))


def theorem2(scores: Sequence[Score]) -> Iterable[Image]:
    """Yields distances by the size of P-GEN's input."""
    if not scores:
        return
    columns = tables.columns_of(scores, tables.THEOREM_2, tables.noise_dim)
    figure, axes = _panels(1, 2, width=4.2, height=3.2)
    titles = ('Fréchet distance of samples', 'Sliced W1 of P_z and Q_z over scale of Q_z')
    for panel, key, heading in zip(axes, ('gen', 'sliced'), titles, strict=True):
        values = columns[key].values
        _errors(panel, values, label='FlexAE', color=BLUE, marker='o')
        drawn = [value.mean for value in values.values()]
        if key == 'sliced':
            floors = {size: value.mean for size, value in columns['floor'].values.items()}
            _curve(panel, floors, color=GREY, linestyle=':', label='floor: prior and itself')
            drawn += floors.values()
        label = f'true dimension {paper.TRUE_DIM}'
        panel.axvline(paper.TRUE_DIM, color=GREEN, linestyle='--', label=label)
        sizes = sorted(values)
        _log_x(panel, sizes, [str(size) for size in sizes])
        _fit_y(panel, drawn)
        _title(panel, heading, x="size m' of P-GEN's input")
    _legend_below(figure, axes[1])
    caption = (
        "FlexAE on synthetic_5d (m = 50) by the size of P-GEN's input; bars: standard deviation "
        'over seeds. Dotted: two samples of one prior.'
    )
    yield Image('theorem2', caption, _png(figure))


FIGURES = {'fig2': fig2, 'fig5': fig5, 'theorem2': theorem2}


class LatentView(NamedTuple):
    """Codes of a run on synthetic_2d.

    Attributes:
        z: codes of test examples, [n, 2]; samples of their posteriors for stochastic encoders.
        labels: mixture components of the examples, int [n].
        z_hat: samples of the prior, [n, 2].
        latents: true latents of the examples, [n, 2].
    """

    z: np.ndarray
    labels: np.ndarray
    z_hat: np.ndarray
    latents: np.ndarray


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
    """Draws the latent spaces of the models of Fig. 3.

    Args:
        views: by model; not empty.
        distances: Fréchet distances of samples, by model.
    """
    models = [model for model in paper.FIG_3_MODELS if model in views]
    models += [model for model in views if model not in models]
    figure, axes = _panels(-(-(1 + len(models)) // 3), 3, width=3.0, height=3.0)
    first = views[models[0]]
    _scatter(axes[0], first.latents, first.labels)
    _title(axes[0], 'True latents')
    for model, panel in zip(models, axes[1:], strict=False):
        view = views[model]
        style = dict(s=3.0, color=FAINT, linewidths=0, zorder=1, label='prior')
        panel.scatter(*view.z_hat.T, **style)
        _scatter(panel, view.z, view.labels)
        heading = paper.FIG_3_MODELS.get(model, model)
        if model in distances:
            heading += f'\nGen. FD {distances[model]:.3g}'
        _title(panel, heading)
    for panel in axes:
        panel.set_aspect('equal', 'datalim')
    for panel in axes[1 + len(models) :]:
        panel.set_axis_off()
    _legend_below(figure, axes[1], columns=7)
    for handle in figure.legends[0].legend_handles:
        handle.set_sizes([30.0])
    caption = (
        f'Codes of {len(first.z)} test examples of synthetic_2d, coloured by component, over '
        f'{len(first.z_hat)} samples of the prior (grey), and the true latents; one run of each '
        'model.'
    )
    return Image('fig3', caption, _png(figure))


def strips(dataset: str, images: Mapping[str, np.ndarray]) -> Image:
    """Draws strips of images (uint8 [h, w, c]) of methods under each other."""
    height, width = next(iter(images.values())).shape[:2]
    rows = -(-len(images) // 2)
    figure, axes = _panels(rows, 2, width=5.0, height=5.0 * height / width + 0.2)
    for (method, image), panel in zip(images.items(), axes, strict=False):
        panel.imshow(image.squeeze(), cmap='gray', vmin=0, vmax=255, aspect='equal')
        _title(panel, tables.title(method))
    for panel in axes:
        panel.set_axis_off()
    caption = (
        f'Every method on {paper.DATASETS.get(dataset, dataset)}: a row of test images, a row of '
        'their reconstructions, and two rows of samples, not selected.'
    )
    return Image(f'methods_{dataset}', caption, _png(figure))


# Drawing ------------------------------------------------------------------------------------------


def _panels(rows: int, columns: int, *, width: float, height: float) -> tuple[Any, list[Any]]:
    """Returns a figure of axes, row by row, each of `width` x `height` inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * width, rows * height), dpi=150, layout='constrained')
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in axes:
        panel.grid(color='#E6E6E6', linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[['top', 'right']].set_visible(False)
        panel.tick_params(labelsize=8)
    return figure, axes


def _png(figure: Any) -> bytes:
    """Returns the PNG without dates or versions, so that equal figures have equal bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file, metadata={'Software': None})
    return file.getvalue()


def _title(axes: Any, text: str, *, x: str = '', y: str = '') -> None:
    for name in ('P_z', 'Q_z'):
        text = text.replace(name, f'${name}$')
    axes.set_title(text, fontsize=9)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)


def _fit_y(axes: Any, values: Iterable[float]) -> None:
    """Makes the axis logarithmic if positive values span a decade, else starts it at 0."""
    from matplotlib.ticker import LogLocator, NullFormatter

    values = list(values)
    if values and min(values) > 0.0 and max(values) >= 10.0 * min(values):
        axes.set_yscale('log')
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter('{x:g}')
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif values and min(values) >= 0.0:
        axes.set_ylim(bottom=0.0)


def _log_x(axes: Any, ticks: Sequence[float], labels: Sequence[str]) -> None:
    axes.set_xscale('log')
    axes.set_xticks(ticks, labels)
    axes.minorticks_off()


def _errors(axes: Any, values: Mapping[float, Mean], **style: Any) -> None:
    x = sorted(values)
    sds = [math.nan if values[at].sd is None else values[at].sd for at in x]
    means = [values[at].mean for at in x]
    axes.errorbar(x, means, yerr=sds, markersize=5, capsize=3, linewidth=1.5, **style)


def _curve(axes: Any, curve: Mapping[float, float], **style: Any) -> None:
    steps = sorted(curve)
    axes.plot(steps, [curve[step] for step in steps], **style)


def _scatter(axes: Any, z: np.ndarray, labels: np.ndarray) -> None:
    for k in np.unique(labels):
        style = dict(s=3.0, color=COLOURS[k % len(COLOURS)], linewidths=0, zorder=2)
        axes.scatter(*z[labels == k].T, label=f'component {k + 1}', **style)


def _legend_below(figure: Any, axes: Any, *, columns: int = 3) -> None:
    handles = axes.get_legend_handles_labels()
    style = dict(loc='outside lower center', ncols=columns, fontsize=8, frameon=False)
    figure.legend(*handles, **style)


def _short(number: int) -> str:
    if number >= 1_000_000:
        return f'{number / 1_000_000:.3g}M'
    return f'{number / 1000:.3g}k' if number >= 1000 else str(number)
