"""The pictures of notebook 05: scores by log, what the penalty changes, and learned values against realised returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import plotting


def summary(table: pd.DataFrame, writers: pd.DataFrame, methods: Sequence[str], logs: Sequence[str]) -> Figure:
    """R_score and 5-percentile rate of what is learned from each log, and of what wrote it.

    Args:
        table: columns of `tables.summary` and dataset.
        writers: the same of what wrote the logs, a row each.
        methods: in the order from left to right.
        logs: likewise.
    """
    fig, axes = plotting.figure(rows=2, width=plotting.PAGE_IN, height=4.4, sharex=True)
    for ax, value in zip(axes, ("score", "tail_rate"), strict=True):
        _points(ax, table, value, methods, logs)
        for k, (log, level) in enumerate(writers.set_index("dataset")[value].items()):
            x, label_once = logs.index(log), "what wrote the log" if k == 0 else ""
            ax.hlines(level, x - 0.42, x + 0.42, color="0.5", label=label_once, zorder=0)
        for x, log in enumerate(logs):
            if absent := [m for m in methods if table[(table.method == m) & (table.dataset == log)].empty]:
                where = {"xycoords": ("data", "axes fraction"), "ha": "center", "fontsize": plotting.SMALL}
                ax.annotate(f"{', '.join(absent)} not run", (x, 0.02), color="0.4", **where)
    plotting.panel_letters(axes)
    axes[1].set_xlabel("log learned from")
    plotting.legend_below(fig, axes[0], 5)
    return fig


def penalty(table: pd.DataFrame, pairs: Sequence[tuple[str, str]], logs: Sequence[str]) -> Figure:
    """R_score with the penalty (filled) and without it (hollow), by log.

    Args:
        table: columns of `tables.summary` and dataset.
        pairs: methods with and without the penalty.
        logs: in the order from left to right.
    """
    fig, ax = plotting.figure(height=2.8)
    _points(ax, table, "score", [method for pair in pairs for method in pair], logs)
    ax.set_xlabel("log learned from")
    plotting.legend_below(fig, ax, 3)
    return fig


def _points(ax: Axes, table: pd.DataFrame, value: str, methods: Sequence[str], logs: Sequence[str]) -> None:
    """Values with their intervals side by side at each log."""
    step = 0.7 / len(methods)
    for k, method in enumerate(methods):
        part = table[table.method == method].set_index("dataset").reindex(logs)
        place, style = np.arange(len(part)) + step * (k - (len(methods) - 1) / 2), plotting.style_of(method)
        error, look = plotting.errors(part, value), style | {"linestyle": "none"}
        ax.errorbar(place, part[value], yerr=error, elinewidth=0.8, label=method, **look)
    ax.set_ylabel(plotting.LABELS[value])
    ax.set_xticks(range(len(logs)), [log.replace(" + ", " +\n").replace("mixture by", "mixture\nby") for log in logs])
    ax.grid(axis="x", visible=False)


def values(gaps: pd.DataFrame) -> Figure:
    """Learned value minus realised return over the penalty weight, a panel for each log: columns dataset, alpha, gap
    with gap_low and gap_high (standardised reward)."""
    logs, alphas = list(gaps.dataset.unique()), sorted(gaps.alpha.unique())
    fig, axes = plotting.figure(columns=len(logs), width=plotting.PAGE_IN, height=2.3)
    for ax, log in zip(axes, logs, strict=True):
        part = gaps[gaps.dataset == log].sort_values("alpha")
        ax.errorbar(range(len(part)), part.gap, plotting.errors(part, "gap"), fmt="o-", color="black", elinewidth=1)
        ax.axhline(0, color="0.5", linewidth=0.8)
        ax.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
        ax.set(title=f"log: {log}", xlabel="penalty weight α")
    plotting.y_label(axes, "learned value − return\n(standardised reward)")
    plotting.panel_letters(axes)
    return fig
