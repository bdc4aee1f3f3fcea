"""One colour, marker and line style per method, in every figure; and the few kinds of picture the study is drawn with.

All functions draw into a given Axes from a table (a DataFrame) and never compute a result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .methods import COLOURS, find

COLUMN_IN, PAGE_IN = 3.5, 7.16  # widths of an IEEE column and page, inches
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
    """A figure of an IEEE width with a grid of axes: (figure, axes)."""
    return plt.subplots(rows, columns, figsize=(width, height), **options)


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
            ax.text(0, height, " 0", va="center", fontsize=6)
    ax.set_yticks(y, table.index)
    ax.grid(axis="y", visible=False)
    ax.set_xlim(left=0)


def score_panels(table: pd.DataFrame, methods: Sequence[str], height: float) -> Figure:
    """Sum rate, 5-percentile rate and R_score as bars with intervals, side by side on a page's width: the figure."""
    fig, axes = figure(columns=3, width=PAGE_IN, height=height, sharey=True)
    for ax, value, label in zip(
        axes, ("sum_rate", "tail_rate", "score"), ("sum rate", "5-percentile rate", "R_score"), strict=True
    ):
        interval_bars(ax, table, value, methods)
        ax.set_xlabel(f"{label} (bit/s/Hz)")
    return fig


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
