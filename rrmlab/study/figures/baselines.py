"""The pictures of notebook 02: tuned ITLinQ, the schedulers and the oracles, and what each must know."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .. import plotting


def itlinq(surface: pd.DataFrame) -> Figure:
    """R_score over the grid of (M, eta), with frames around the best point (solid) and the lineage's (dashed): columns
    m_db, eta, score."""
    grid = surface.pivot(index="eta", columns="m_db", values="score").sort_index(ascending=False)
    best = surface.loc[surface.score.idxmax()]
    fig, ax = plotting.figure()
    image = ax.imshow(grid, aspect="auto", cmap="cividis")
    middle = (grid.min().min() + grid.max().max()) / 2
    for row, column in np.ndindex(grid.shape):
        value = grid.iloc[row, column]
        colour = "white" if value < middle else "black"
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6, color=colour)
    ax.set_xticks(range(grid.shape[1]), [f"{m:g}" for m in grid.columns])
    ax.set_yticks(range(grid.shape[0]), [f"{eta:g}" for eta in grid.index])
    ax.set_xlabel("M (dB)")
    ax.set_ylabel("η")
    ax.grid(visible=False)
    for m_db, eta, edge in ((best.m_db, best.eta, "-k"), (25, 0.7, "--w")):
        column, row = grid.columns.get_loc(m_db), grid.index.get_loc(eta)
        left, right, low, high = column - 0.45, column + 0.45, row - 0.45, row + 0.45
        ax.plot([left, right, right, left, left], [low, low, high, high, low], edge, linewidth=1)
    fig.colorbar(image, label="R_score (bit/s/Hz), validation")
    return fig


def summary(table: pd.DataFrame, episodes: int) -> Figure:
    """The three scores of every method, best R_score on top: columns of `tables.summary`; number of deployments."""
    order = table.sort_values("score", ascending=False).method
    fig = plotting.score_panels(table, order, height=2.6)
    fig.suptitle(f"95% intervals over {episodes} deployments", fontsize=7)
    return fig


def cdf(quantiles: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """CDFs of the users' mean rates, without Max-SINR: columns method, probability, rate; the summary gives the order
    of the legend."""
    order = table.sort_values("score", ascending=False).method
    fig, ax = plotting.figure(height=3.8)
    plotting.cdf_lines(ax, quantiles, [method for method in order if method != "Max-SINR"])
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
