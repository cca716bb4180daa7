"""How pictures are drawn: colours, panels, and their bytes. matplotlib is imported when needed."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from flexae_tf.experiments.columns import OverSeeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008), told apart by colour-blind readers; their yellow is lost on white.
COLOURS = ('#0072B2', '#E69F00', '#009E73', '#D55E00', '#CC79A7', '#56B4E9')
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY = COLOURS
GREY, FAINT = '#666666', '#C4C4C4'
DPI = 150
WIDE = 10.0  # largest over smallest, from which an axis is logarithmic


def panels(rows: int, columns: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of `rows` x `columns` axes, row by row, each of `width` x `height` inches."""
    from matplotlib.figure import Figure  # half a second, which a wrong flag must not wait for

    figure = Figure(figsize=(columns * width, rows * height), dpi=DPI, layout='constrained')
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for one in axes:
        one.grid(color='#E6E6E6', linewidth=0.6)
        one.set_axisbelow(True)
        one.spines[['top', 'right']].set_visible(False)
        one.tick_params(labelsize=8)
    return figure, axes


def png(figure: Figure) -> bytes:
    """The figure as a PNG, without dates or versions: the same picture, the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file, metadata={'Software': None})
    return file.getvalue()


def title(axes: Axes, text: str, *, x: str = '', y: str = '') -> None:
    """Names a panel and its axes."""
    for name in ('P_z', 'Q_z'):
        text = text.replace(name, f'${name}$')
    axes.set_title(text, fontsize=9)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)


def fit_y(axes: Axes, values: Iterable[float]) -> None:
    """A logarithmic axis where the values are positive and far apart; 0 in sight where not."""
    from matplotlib.ticker import LogLocator, NullFormatter

    values = list(values)
    if values and min(values) > 0.0 and max(values) >= WIDE * min(values):
        axes.set_yscale('log')
        # As numbers, not powers of ten; small ranges would have one label or none.
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter('{x:g}')
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif values and min(values) >= 0.0:
        axes.set_ylim(bottom=0.0)


def over(
    axes: Axes, values: Mapping[float, OverSeeds], *, label: str, color: str, marker: str
) -> None:
    """Means by what they are drawn over, with a deviation where there is one."""
    x = sorted(values)
    axes.errorbar(
        x,
        [values[at].mean for at in x],
        yerr=[math.nan if values[at].sd is None else values[at].sd for at in x],
        label=label,
        color=color,
        marker=marker,
        markersize=5,
        capsize=3,
        linewidth=1.5,
    )


def line(axes: Axes, y: float, *, label: str) -> None:
    """A level to compare with."""
    axes.axhline(y, color=GREY, linestyle=':', label=label)


def legend_below(figure: Figure, axes: Axes, *, columns: int) -> None:
    """What `axes` has labels for, below all panels."""
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc='outside lower center',
        ncols=columns,
        fontsize=8,
        frameon=False,
    )
