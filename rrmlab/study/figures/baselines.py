"""The pictures of notebook 02: what was tuned, the schedulers and the oracles, and what each must know."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .. import plotting


def itlinq(surface: pd.DataFrame) -> Figure:
    """R_score over the grid of (M, eta), with frames around the best point (solid) and the lineage's (dashed): columns
    m_db, eta, score."""
    best = surface.loc[surface.score.idxmax()]
    return _surface(surface, {"m_db": "M (dB)", "eta": "η"}, [(best.m_db, best.eta), (25, 0.7)])


def threshold(surface: pd.DataFrame) -> Figure:
    """R_score over the grid of (c, b), with frames around the best point (solid) and the best one with b = 1 (dashed):
    columns b, c, score."""
    best, one = (part.loc[part.score.idxmax()] for part in (surface, surface[surface.b == 1]))
    return _surface(surface, {"c": "c", "b": "b"}, [(best.c, best.b), (one.c, one.b)])


def _surface(surface: pd.DataFrame, axes: dict[str, str], framed: list[tuple[float, float]]) -> Figure:
    """R_score over a grid of two arguments, with a solid and a dashed frame around two points.

    Args:
        axes: columns of the horizontal and of the vertical argument, and their labels.
    """
    (x, x_label), (y, y_label) = axes.items()
    grid = surface.pivot(index=y, columns=x, values="score").sort_index(ascending=False)
    fig, ax = plotting.figure()
    image = ax.imshow(grid, aspect="auto", cmap="cividis")
    middle = (grid.min().min() + grid.max().max()) / 2
    for row, column in np.ndindex(grid.shape):
        value = grid.iloc[row, column]
        colour = "white" if value < middle else "black"
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6, color=colour)
    ax.set_xticks(range(grid.shape[1]), [f"{value:g}" for value in grid.columns])
    ax.set_yticks(range(grid.shape[0]), [f"{value:g}" for value in grid.index])
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    ax.grid(visible=False)
    for point, line in zip(framed, ("-", "--"), strict=True):
        column, row = grid.columns.get_loc(point[0]), grid.index.get_loc(point[1])
        left, right, low, high = column - 0.45, column + 0.45, row - 0.45, row + 0.45
        colour = "white" if grid.iloc[row, column] < middle else "black"
        ax.plot([left, right, right, left, left], [low, low, high, high, low], line, color=colour, linewidth=1)
    fig.colorbar(image, label="R_score (bit/s/Hz), validation")
    return fig


def summary(table: pd.DataFrame, episodes: int) -> Figure:
    """The three scores of every method, best R_score on top: columns of `tables.summary`; number of deployments."""
    order = table.sort_values("score", ascending=False).method
    fig = plotting.score_panels(table, order, height=0.8 + 0.2 * len(table))
    fig.suptitle(f"95% intervals over {episodes} deployments", fontsize=7)
    return fig


def cdf(quantiles: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """CDFs of the users' mean rates, without Max-SINR and the threshold's simpler form: columns method, probability,
    rate; the summary gives the order of the legend."""
    left_out = ("Max-SINR", "Threshold (one parameter)")
    order = table.sort_values("score", ascending=False).method
    fig, ax = plotting.figure(height=3.8)
    plotting.cdf_lines(ax, quantiles, [method for method in order if method not in left_out])
    ax.axhline(0.05, color="0.6", linewidth=0.6)
    ax.text(2, 0.055, "5%", ha="right", va="bottom", fontsize=6, color="0.3")
    ax.set_xlim(0, 2)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=6)
    return fig


def knowledge(known: pd.DataFrame) -> Figure:
    """R_score of each method over the numbers that it exchanges between cells: columns method, exchanged, score with
    score_low and score_high; methods without a score are left out."""
    points = known.dropna(subset=["score"]).sort_values(["exchanged", "score"])
    levels = sorted(points.exchanged.unique())
    fig, ax = plotting.figure(height=3.2)
    for level, group in points.groupby("exchanged"):
        places = np.linspace(-0.3, 0.3, len(group)) if len(group) > 1 else [0.0]
        for place, (_, point) in zip(places, group.iterrows(), strict=True):
            style = plotting.style_of(point.method) | {"linestyle": "none"}
            bars = [[point.score - point.score_low], [point.score_high - point.score]]
            ax.errorbar(
                levels.index(level) + place, point.score, yerr=bars, elinewidth=0.9, label=point.method, **style
            )
    for edge in range(len(levels) - 1):
        ax.axvline(edge + 0.5, color="0.6", linewidth=0.6, linestyle=":")
    ax.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel("numbers exchanged between cells per TTI")
    ax.set_ylabel("R_score (bit/s/Hz)")
    ax.grid(axis="x", visible=False)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=6)
    return fig
