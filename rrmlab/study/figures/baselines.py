"""The pictures of notebook 02: what was tuned, the schedulers and the oracles, and what each must know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .. import plotting


def itlinq(surface: pd.DataFrame) -> Figure:
    """R_score over the grid of (M, eta), with frames around the best point and the lineage's: columns m_db, eta,
    score."""
    best = surface.loc[surface.score.idxmax()]
    framed = {"tuned": (best.m_db, best.eta), "literature": (25.0, 0.7)}
    return _surface(surface, {"m_db": "M (dB)", "eta": "η"}, framed)


def threshold(surface: pd.DataFrame) -> Figure:
    """R_score over the grid of (c, b), with frames around the best point and the best one with b = 1: columns b, c,
    score."""
    best, one = (part.loc[part.score.idxmax()] for part in (surface, surface[surface.b == 1]))
    framed = {"tuned": (best.c, best.b), "tuned with b = 1": (one.c, one.b)}
    return _surface(surface, {"c": "c", "b": "b"}, framed)


def _surface(surface: pd.DataFrame, axes: dict[str, str], framed: dict[str, tuple[float, float]]) -> Figure:
    """R_score over a grid of two arguments, with a solid and a dashed frame around two points.

    Args:
        axes: columns of the horizontal and of the vertical argument, and their labels.
        framed: the points, by what they are.
    """
    (x, x_label), (y, y_label) = axes.items()
    grid = surface.pivot(index=y, columns=x, values="score").sort_index(ascending=False)
    fig, ax = plotting.figure(height=2.8)
    image = ax.imshow(grid, aspect="auto", cmap="cividis")
    middle = (grid.min().min() + grid.max().max()) / 2
    for row, column in np.ndindex(grid.shape):
        value = grid.iloc[row, column]
        colour = "white" if value < middle else "black"
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=plotting.SMALL, color=colour)
    ax.set_xticks(range(grid.shape[1]), [f"{value:g}" for value in grid.columns])
    ax.set_yticks(range(grid.shape[0]), [f"{value:g}" for value in grid.index])
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    ax.grid(visible=False)
    for (name, point), line in zip(framed.items(), ("-", "--"), strict=True):
        column, row = grid.columns.get_loc(point[0]), grid.index.get_loc(point[1])
        left, right, low, high = column - 0.45, column + 0.45, row - 0.45, row + 0.45
        colour = "white" if grid.iloc[row, column] < middle else "black"
        ax.plot([left, right, right, left, left], [low, low, high, high, low], line, color=colour, linewidth=1.4)
        ax.plot([], [], line, color="black", linewidth=1.4, label=name)
    fig.colorbar(image, label=f"{plotting.R_SCORE}, validation (bit/s/Hz)")
    plotting.legend_below(fig, ax, 2)
    return fig


def summary(table: pd.DataFrame) -> Figure:
    """The three scores of every method, best R_score on top: columns of `tables.summary`."""
    order = table.sort_values("score", ascending=False).method
    return plotting.score_panels(table, order, height=0.6 + 0.2 * len(table))


def cdf(quantiles: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """CDFs of the users' mean rates, up to a rate of 0.5: columns method, probability, rate."""
    fig, ax = plotting.figure(height=2.8)
    plotting.cdf_lines(ax, quantiles, methods, markevery=10)
    ax.set(xlim=(0, 0.5), ylim=(0, 0.85))
    plotting.five_percent(ax)
    ends = {name: (0.5, np.interp(0.5, part.rate, part.probability)) for name, part in quantiles.groupby("method")}
    fig.draw_without_rendering()  # the labels need the axes' height
    plotting.end_labels(ax, {name: ends[name] for name in methods}, plotting.style_of)
    return fig


def knowledge(known: pd.DataFrame) -> Figure:
    """R_score of each method, put together by the numbers that it exchanges between cells: columns method, exchanged,
    score with score_low and score_high; methods without a score are left out."""
    points = known.dropna(subset=["score"])
    fig, ax = plotting.figure(height=0.7 + 0.2 * len(points))
    plotting.grouped_points([ax], ["score"], points, "exchanged")
    ax.set_xlabel(plotting.LABELS["score"])
    ax.set_title("numbers exchanged in a TTI", loc="right", fontsize=plotting.SMALL)
    return fig
