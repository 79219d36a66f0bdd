"""How all figures look, and how one is saved.

The colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart. Every line
has its own marker too, so that a print in grey can be read. The same data give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogFormatter, NullLocator

from study.analysis.marks import Point, mark, points_of
from study.analysis.statistics.medians import ENOUGH
from study.analysis.words import SUPERSCRIPT

WIDTH = 5.6  # inches: one column; the page sets two side by side where there is room
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*"]
REFERENCE = "#777777"

RC: Any = {
    **sns.axes_style("ticks"),
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "axes.titlesize": 9.5,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 5.0,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name that holds dollars is a name
    "figure.dpi": 100,
}


@dataclass(frozen=True)
class Described:
    """What a page says of a figure.

    - `id`: its file name without suffix; answers refer to it.
    - `caption`: what is drawn, with n and interval. `alt`: the same for readers who cannot see it.
    """

    id: str
    title: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Plot(Described):
    """A figure, and in `data` exactly what is drawn."""

    data: pd.DataFrame
    figure: Figure


@dataclass(frozen=True)
class Drawn(Described):
    """A plot as the content of its files, which other processes can be sent; `size` in inches,
    `points` those that are cells."""

    size: tuple[float, float]
    svg: bytes
    png: bytes
    csv: str
    points: tuple[Point, ...] = ()


def canvas(
    rows: int = 1, columns: int = 1, height: float = 3.5, **more
) -> tuple[Figure, list[Axes]]:
    """An empty figure of `rows` by `columns` panels."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **more)
    return figure, list(axes.flat)


def finish(figure: Figure, legend: Axes | None = None, columns: int = 3) -> None:
    """Put the legend below the panels, where it covers nothing; the figure grows by its height.

    The page and the file's name have the title, not the picture.
    """
    for axis in figure.axes:
        sns.despine(ax=axis)
    if legend is None:
        return
    handles, labels = legend.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if not unique:
        return
    longest = max(len(line) for label in unique for line in label.splitlines())
    lines = max(label.count("\n") + 1 for label in unique)
    columns = max(1, min(columns, len(unique), 84 // (longest + 8)))
    rows = -(-len(unique) // columns)
    figure.set_figheight(figure.get_figheight() + 0.19 * rows * lines)
    figure.legend(
        list(unique.values()),
        list(unique),
        loc="outside lower center",
        ncols=columns,
        handlelength=2.4,
        columnspacing=1.4,
    )


def look(index: int, total: int) -> dict[str, Any]:
    """Colour and marker of line `index` of `total`; shades in order if the palette is too small."""
    if total <= len(COLOURS):
        colour = COLOURS[index]
    else:
        colour = mpl.colormaps["viridis"](0.9 * index / (total - 1))
    return {"color": colour, "marker": MARKERS[index % len(MARKERS)]}


def bars(low: np.ndarray, value: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of error bars; an infinite end is drawn at ten times the value."""
    low, high = np.minimum(low, value), np.where(np.isfinite(high), high, 10 * value)
    return value - low, np.maximum(high - value, 0)


def errorbars(
    axis: Axes,
    x: Any,
    table: pd.DataFrame,
    label: str | None = None,
    *,
    value: str = "median",
    horizontal: bool = False,
    **look: Any,
) -> None:
    """Draw the medians of a table with their intervals as bars; medians that are not finite are
    left out.

    - `x`: where each row of the table stands, or the name of its column; points are joined in the
      order of it.
    - `table`: columns `value`, `low` and `high`; with `cell` the page tells them of each point.
    - `horizontal`: errors along x, rows along y, points not joined.
    - `look`: of the points and their line, for `Axes.errorbar`.
    """
    places = np.asarray(table[x] if isinstance(x, str) else x, float)
    values, low, high = (table[name].to_numpy(float) for name in (value, "low", "high"))
    shown = np.flatnonzero(np.isfinite(values))
    shown = shown[np.argsort(places[shown], kind="stable")]
    lengths = bars(low[shown], values[shown], high[shown])
    look = {"capsize": 2.0, "elinewidth": 1.0, "label": label, **look}
    if horizontal:
        look = {"linestyle": "none", **look}
        axis.errorbar(values[shown], places[shown], xerr=lengths, **look)
        mark(axis, values[shown], places[shown], table.iloc[shown], value)
    else:
        axis.errorbar(places[shown], values[shown], yerr=lengths, **look)
        mark(axis, places[shown], values[shown], table.iloc[shown], value)


def lines(axis: Axes, x: str, tables: Mapping[str, pd.DataFrame], **look_of: Any) -> None:
    """Draw one line with error bars for each table along its column `x`, named in the legend."""
    for k, (label, table) in enumerate(tables.items()):
        errorbars(axis, x, table, label or "all", **look(k, len(tables)), **look_of)


def dot_plot(
    axis: Axes, labels: Sequence[str], tables: Mapping[str, pd.DataFrame], **look_of: Any
) -> np.ndarray:
    """Draw horizontal error bars on one line for each label, from the top; where the lines stand.

    - `tables`: name in the legend -> a table as for `errorbars` with one row for each label.
    """
    places = np.arange(len(labels))[::-1]
    for k, (name, table) in enumerate(tables.items()):
        y = places + 0.6 * ((len(tables) - 1) / 2 - k) / len(tables)
        style = {**look(k, len(tables)), **look_of}
        errorbars(axis, y, table, name or None, horizontal=True, **style)
    axis.set_yticks(places, labels)
    axis.set_ylim(-0.6, len(labels) - 0.4)
    return places


def legible(ground: Sequence[float]) -> str:
    """Black or white, whichever has more contrast on a colour of the range 0 to 1.

    It is at least 4.5, as the Web Content Accessibility Guidelines 2.2, criterion 1.4.3, ask; the
    relative luminance is theirs.
    """
    rgb = np.asarray(ground, float)[:3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return "black" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "white"


def ring(axis: Axes, x: float, y: float) -> None:
    """Draw a ring around a point."""
    ring = {"markersize": 13, "markerfacecolor": "none", "markeredgecolor": "black"}
    axis.plot(x, y, linestyle="none", marker="o", markeredgewidth=1.1, zorder=4, **ring)


def bars_are(replicates: Iterable[int]) -> str:
    """A caption's words on the bars of a figure, given the replicates of each."""
    if min(replicates) < ENOUGH:
        return "bars: range over replicates, too few for a 95 % interval"
    return "bars: 95 % bootstrap interval over replicates"


def ratio_axis(axis: Axes, x: np.ndarray) -> None:
    """Make the x axis logarithmic, marked in powers of two."""
    x = x[np.isfinite(x) & (x > 0)]
    axis.set_xscale("log", base=2)
    low, high = np.log2(x.min()), np.log2(x.max())
    if high - low < 3:  # a short range still gets its ticks
        low, high = np.floor(low), np.ceil(high)
    step = max(1, int(np.ceil((high - low) / 9)))
    powers = np.arange(step * np.floor(low / step), high + 1.01, step)
    axis.xaxis.set_major_locator(FixedLocator(list(2.0**powers)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(_power_of_two))
    pad = 0.05 * max(high - low, 1)
    axis.set_xlim(2 ** (low - pad), 2 ** (high + pad))


def _power_of_two(value: float, _position: int) -> str:
    return f"1/{round(1 / value)}" if value < 0.75 else f"{round(value)}"


def log_axis(axis: Axes, which: str) -> None:
    """Make an axis logarithmic, with matplotlib's marks."""
    getattr(axis, f"set_{which}scale")("log")
    target = getattr(axis, f"{which}axis")
    target.set_major_formatter(_Powers())
    target.set_minor_formatter(_Powers())


def decade_axis(axis: Axes, which: str = "y", most: int = 7) -> None:
    """Make an axis logarithmic, with the finest round labels of which at most `most` fit."""
    log_axis(axis, which)
    target = getattr(axis, f"{which}axis")
    low, high = sorted(getattr(axis, f"get_{which}lim")())
    if not low > 0:
        return
    fine = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
    for steps in (fine, (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        marks = [m * 10.0**k for k in range(-20, 21) for m in steps if low <= m * 10.0**k <= high]
        if len(marks) <= most:
            break
    if len(marks) < 2 or len(marks) > most:
        return
    target.set_major_locator(FixedLocator(marks))
    target.set_minor_locator(NullLocator())
    target.set_major_formatter(FuncFormatter(plain_or_power))
    getattr(axis, f"set_{which}lim")(low, high)


def plain_or_power(value: float, _position: int | None = None) -> str:
    """A label on a logarithmic axis: 0.02, or a power of ten if that would be long."""
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    exponent = int(np.floor(np.log10(value) + 1e-9))
    digit = round(value / 10.0**exponent, 1)
    power = "10" + str(exponent).translate(SUPERSCRIPT)
    return power if digit == 1 else f"{digit:g}·{power}"


_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Powers(LogFormatter):
    """Matplotlib's marks, labelled by `plain_or_power`."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return plain_or_power(x) if super().__call__(x, pos) else ""


def _give_range(axis: Axes) -> None:
    """A decade for each logarithmic axis on which nothing is drawn, which would have none."""
    for which in ("x", "y"):
        low, high = sorted(getattr(axis, f"get_{which}lim")())
        logarithmic = getattr(axis, f"get_{which}scale")() == "log"
        if logarithmic and not 0 < low < high < np.inf:
            getattr(axis, f"set_{which}lim")(0.1, 1.0)


def draw(plot: Plot) -> Drawn:
    """The plot in all its formats."""
    with mpl.rc_context({**RC, "svg.hashsalt": plot.id}):
        for axis in plot.figure.axes:
            _give_range(axis)
        plot.figure.draw_without_rendering()  # the layout is found once, not for each format
        plot.figure.set_layout_engine("none")
        points = points_of(plot.figure)
        svg, png = io.BytesIO(), io.BytesIO()
        # savefig would draw each twice, to find a layout
        FigureCanvasSVG(plot.figure).print_svg(svg, metadata={"Date": None})
        plot.figure.set_dpi(160)
        FigureCanvasAgg(plot.figure).print_png(png)
    width, height = plot.figure.get_size_inches().tolist()
    text = _NO_XML.sub("\ufffd", svg.getvalue().decode()).encode()
    described = (plot.id, plot.title, plot.caption, plot.alt)
    csv = plot.data.to_csv(index=False)
    return Drawn(*described, (width, height), text, png.getvalue(), csv, points)


def save(figures: Sequence[Drawn], folder: Path) -> None:
    """Write each figure as PNG, SVG and CSV, and remove the other figures of the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        (folder / f"{figure.id}.svg").write_bytes(figure.svg)
        (folder / f"{figure.id}.png").write_bytes(figure.png)
        (folder / f"{figure.id}.csv").write_text(figure.csv, encoding="utf-8")
    keep = {figure.id for figure in figures} | {"cells"}
    for path in folder.iterdir():
        if path.suffix in {".svg", ".png", ".csv"} and path.stem not in keep:
            path.unlink()
