"""One colour, marker and line style per method, in every figure; and the few kinds of picture the study is drawn with.

All functions draw into a given Axes from a table (a DataFrame) and never compute a result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .methods import COLOURS, find

COLUMN_IN, PAGE_IN = 3.5, 7.16  # widths of an IEEE column and page, inches
WIDTHS = {"column": COLUMN_IN, "page": PAGE_IN}
WIDTH = "RRMLAB_FIGURE_WIDTH"  # environment variable: one of WIDTHS for all figures; without it each has its own
R_SCORE = r"$R_\mathrm{score}$"
LABELS = {  # of the scores, by their columns
    "sum_rate": "sum rate (bit/s/Hz)",
    "tail_rate": "5-percentile rate (bit/s/Hz)",
    "score": f"{R_SCORE} (bit/s/Hz)",
}
SMALL = 7  # pt: the smallest text of a figure
_DATASETS = {
    "sac": ("orange", "o", "-"),
    "dqn": ("purple", "D", "--"),
    "random": ("black", "x", ":"),
    "mixture": ("cyan", "s", "-."),
    "sac + random": ("brown", "v", "--"),
    "sac + mixture": ("green", "P", ":"),
}


def dataset_style(name: str) -> dict[str, Any]:
    """Colour, marker and line style of a dataset, as keyword arguments of `plot`."""
    colour, marker, line = _DATASETS[name]
    return {"color": COLOURS.get(colour, colour), "marker": marker, "linestyle": line}


def style_of(method: str) -> dict[str, Any]:
    """Colour, marker and line style of a method, as keyword arguments of `plot`.

    Raises:
        ValueError: a method without a record, see `methods.add`.
    """
    style = find(method).style
    colour = COLOURS.get(style.colour, style.colour)
    fill = "white" if style.hollow else colour
    return {"color": colour, "marker": style.marker, "linestyle": style.line, "markerfacecolor": fill}


def figure(
    columns: int = 1, rows: int = 1, width: float = COLUMN_IN, height: float = 2.4, **options: Any
) -> tuple[Figure, Any]:
    """A figure of an IEEE width with a grid of axes: (figure, axes). Where `WIDTH` asks for a narrower one, the panels
    stand one below the other."""
    wanted = WIDTHS.get(os.environ.get(WIDTH, ""), width)
    if wanted >= width or columns == 1:
        return plt.subplots(rows, columns, figsize=(wanted, height), **options)
    fig, axes = plt.subplots(rows * columns, 1, figsize=(wanted, 0.9 * height * columns), **options)
    return fig, axes.reshape(rows, columns) if rows > 1 else axes


def y_label(axes: Iterable[Axes], text: str) -> None:
    """The label of panels that share it: at the first of a row, at all of a column."""
    for ax in axes:
        spec = ax.get_subplotspec()
        if spec is not None and spec.is_first_col():
            ax.set_ylabel(text)


def legend_below(fig: Figure, ax: Axes, columns: int, **options: Any) -> None:
    """The legend of the axes below all panels, in fewer columns where the figure is narrow."""
    columns = columns if fig.get_figwidth() > COLUMN_IN * 1.5 else min(columns, 2)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=columns, **options)


def end_labels(ax: Axes, ends: Mapping[str, tuple[float, float]], style: Callable[[str], dict[str, Any]]) -> None:
    """Write each name at the right end (x, y) of its line, moved apart where they would touch. The limits of the axes
    must be set."""
    low, high = ax.get_ylim()
    height = ax.get_window_extent().height / ax.figure.dpi * 72  # pt
    step = (SMALL + 1.5) * (high - low) / height
    place = -np.inf
    for name, (x, y) in sorted(ends.items(), key=lambda item: item[1][1]):
        place = max(y, place + step)
        where: dict[str, Any] = {"xytext": (x, place), "va": "center", "fontsize": SMALL, "annotation_clip": False}
        ax.annotate(f" {name}", (x, y), color=style(name)["color"], **where)


def five_percent(ax: Axes) -> None:
    """A line at the share of users that the tail rate is about."""
    ax.axhline(0.05, color="0.6", linewidth=0.6)
    ax.text(0.99, 0.052, "5%", ha="right", va="bottom", fontsize=SMALL, color="0.3", transform=ax.get_yaxis_transform())


def panel_letters(axes: Iterable[Axes]) -> None:
    """(a), (b), ... above the panels."""
    for letter, ax in zip("abcdefgh", axes, strict=False):
        ax.set_title(f"({letter}) {ax.get_title()}".rstrip(), loc="left")
        ax.set_title("")


def errors(table: pd.DataFrame, value: str) -> np.ndarray:
    """Lengths of the error bars (2, rows) of the interval in the columns <value>_low and <value>_high."""
    return np.abs(table[[f"{value}_low", f"{value}_high"]].to_numpy().T - table[value].to_numpy())


def interval_bars(ax: Axes, table: pd.DataFrame, value: str, methods: Sequence[str] | None = None) -> None:
    """Horizontal bars with 95% intervals, in the order of `methods` or best on top.

    Columns: method, <value>, <value>_low, <value>_high.
    """
    table = table.set_index("method")
    table = table.loc[list(methods)] if methods is not None else table.sort_values(value, ascending=False)
    y = np.arange(len(table))[::-1]
    colours = [style_of(m)["color"] for m in table.index]
    agents = [find(m).agent for m in table.index]
    hatches = ["////" if agent is not None and agent.backbone == "dqn" and not agent.clones else "" for agent in agents]
    ax.barh(y, table[value], color=colours, height=0.7, hatch=hatches, edgecolor="white", linewidth=0)
    error = errors(table, value)
    # White below, dark above: the interval shows on every bar, the oracles' black ones included.
    for colour, width in (("white", 2.4), ("0.15", 0.9)):
        ax.errorbar(table[value], y, xerr=error, fmt="none", ecolor=colour, elinewidth=width, capthick=width, capsize=2)
    for height, length in zip(y, table[value], strict=True):
        if length < 0.005 * table[value].max():  # or it would look as if it were not measured
            ax.text(0, height, " 0", va="center", fontsize=SMALL)
    ax.set_yticks(y, table.index)
    ax.grid(axis="y", visible=False)
    ax.set_xlim(left=0)


def score_panels(table: pd.DataFrame, methods: Sequence[str], height: float) -> Figure:
    """Sum rate, 5-percentile rate and R_score as bars with intervals, side by side on a page's width: the figure."""
    fig, axes = figure(columns=3, width=PAGE_IN, height=height, sharey=True)
    for ax, (value, label) in zip(axes, LABELS.items(), strict=True):
        interval_bars(ax, table, value, methods)
        ax.set_xlabel(label)
    return fig


def grouped_points(axes: Sequence[Axes], values: Sequence[str], table: pd.DataFrame, group: str) -> None:
    """Values with 95% intervals as points, a row per method, best last in its group; the DQN variant of a method stands
    hollow in the row of the other one.

    Args:
        axes: one for each value, sharing the vertical axis.
        values: columns, with <name>_low and <name>_high.
        table: columns method, `group` and those of the values.
        group: column by which rows are put together.
    """
    table = table.assign(row=table.method.str.replace(", DQN)", ")").str.removesuffix(" (DQN)"))
    order = table.sort_values([group, values[-1]]).drop_duplicates("row")
    gaps = order[group].ne(order[group].shift()).cumsum() - 1
    places = dict(zip(order.row, np.arange(len(order)) + 0.6 * gaps, strict=True))
    for ax, value in zip(axes, values, strict=True):
        for _, point in table.iterrows():
            lower = point.row != point.method and point.row in set(table.method)
            bars = [[point[value] - point[f"{value}_low"]], [point[f"{value}_high"] - point[value]]]
            style = style_of(point.method) | {"linestyle": "none"}
            ax.errorbar(point[value], places[point.row] + 0.3 * lower, xerr=bars, elinewidth=0.9, **style)
        for first in order[group].drop_duplicates().index[1:]:
            ax.axhline(places[order.row[first]] - 0.8, color="0.6", linewidth=0.6)
    axes[0].set_yticks(list(places.values()), list(places))
    axes[0].set_ylim(max(places.values()) + 0.7, -0.7)
    for level, part in order.groupby(group):
        middle = np.mean([places[row] for row in part.row])
        axes[-1].annotate(f"{level:g}", (1.02, middle), xycoords=("axes fraction", "data"), va="center", fontsize=SMALL)


def cdf_lines(ax: Axes, table: pd.DataFrame, methods: Sequence[str], markevery: int = 25) -> None:
    """Empirical CDFs from their quantiles: columns method, probability, rate."""
    for method in methods:
        part = table[table.method == method]
        ax.plot(part.rate, part.probability, label=method, markevery=markevery, **style_of(method))
    ax.set_ylabel("share of users")
    ax.set_xlabel("mean rate of a user (bit/s/Hz)")
    ax.set_ylim(0, 1)


def curve(
    ax: Axes,
    table: pd.DataFrame,
    x: str,
    value: str,
    names: Sequence[str],
    markers: bool = True,
    column: str = "method",
    style: Callable[[str], dict[str, Any]] = style_of,
) -> None:
    """Lines with shaded 95% intervals, one for each of the names in a column of the table, which also has <x>, <value>,
    <value>_low and <value>_high."""
    for name in names:
        part = table[table[column] == name].sort_values(x)
        look = style(name)
        if not markers:
            look.pop("marker")
        ax.plot(part[x], part[value], label=name, **look)
        band = part[f"{value}_low"], part[f"{value}_high"]
        ax.fill_between(part[x], *band, color=look["color"], alpha=0.15, linewidth=0)
