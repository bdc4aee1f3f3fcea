"""The pictures of notebook 05: scores by log, and learned values against realised returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from .. import plotting
from ..methods import find


def summary(table: pd.DataFrame, writers: pd.DataFrame, methods: Sequence[str], logs: Sequence[str]) -> Figure:
    """R_score and 5-percentile rate of what is learned from each log.

    Args:
        table: columns of `tables.summary` and dataset.
        writers: the same of what wrote the logs, a row each.
        methods: in the order from left to right.
        logs: likewise.
    """
    fig, axes = plotting.figure(rows=2, width=plotting.PAGE_IN, height=4.2, sharex=True)
    for ax, value, label in zip(axes, ("score", "tail_rate"), ("R_score", "5-percentile rate"), strict=True):
        for k, method in enumerate(methods):
            part = table[table.method == method].set_index("dataset").reindex(logs)
            style, agent = plotting.style_of(method) | {"linestyle": "none"}, find(method).agent
            if agent is not None and agent.alpha == 0:
                style["markerfacecolor"] = "white"
            place = np.arange(len(part)) + 0.11 * (k - len(methods) // 2)
            ax.errorbar(place, part[value], yerr=plotting.errors(part, value), elinewidth=0.8, label=method, **style)
        for k, (log, level) in enumerate(writers.set_index("dataset")[value].items()):
            x, label_once = logs.index(log), "behaviour" if k == 0 else ""
            ax.hlines(level, x - 0.42, x + 0.42, color="0.5", label=label_once, zorder=0)
        ax.set_ylabel(f"{label} (bit/s/Hz)")
        ax.grid(axis="x", visible=False)
    axes[1].set_xticks(range(len(logs)), [log.replace("mixture by", "mixture\nby") for log in logs])
    axes[1].set_xlabel("log learned from")
    seeds = int(table.seeds.max())
    fig.suptitle(
        f"95% intervals over {seeds} training seeds × deployments; hollow: without the penalty (α = 0)", fontsize=7
    )
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
    return fig


def values(table: pd.DataFrame, gamma: float) -> Figure:
    """Learned value over realised return, a panel for each log and a point for each seed: columns dataset, alpha, seed,
    learned, returned (standardised reward), a row per deployment."""
    means = table.groupby(["dataset", "alpha", "seed"])[["learned", "returned"]].mean()
    logs, alphas = table.dataset.unique(), table.alpha.unique()
    fig, axes = plotting.figure(columns=len(logs), width=plotting.PAGE_IN, height=2.6)
    for ax, log in zip(axes, logs, strict=True):
        for alpha, colour, marker in zip(alphas, sns.color_palette("viridis", len(alphas)), "os^", strict=True):
            part = means.loc[log, alpha]
            ax.plot(part.returned, part.learned, marker, color=colour, markersize=3.5, label=f"α = {alpha:g}")
        ax.axline((means.returned.mean(), means.returned.mean()), slope=1, color="0.5", linewidth=0.8)
        ax.set(title=f"log: {log}", xlabel="realised return")
    axes[0].set_ylabel("learned value")
    axes[0].legend()
    fig.suptitle(f"CTDE, γ = {gamma:g}; a point is one of {table.seed.nunique()} seeds; on the line: equal", fontsize=7)
    return fig
