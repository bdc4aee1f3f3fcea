"""The pictures of notebook 06: scores and their spread over the number of transitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from .. import plotting


def summary(table: pd.DataFrame, seeds: pd.DataFrame, tdm: float, methods: Sequence[str]) -> Figure:
    """R_score over the number of transitions, a panel for each log; a cross for each seed that ends below TDM.

    Args:
        table: columns of `tables.summary`, dataset, num_samples.
        seeds: columns dataset, num_samples, method, score, a row per seed.
        tdm: R_score of TDM, bit/s/Hz.
        methods: in the order of the legend.
    """
    fig, axes = _panels(table)
    for ax, log in zip(axes, table.dataset.unique(), strict=True):
        plotting.curve(ax, table[table.dataset == log], "num_samples", "score", methods)
        ax.axhline(tdm, color="0.5", linewidth=0.9, label="TDM")
        failed = seeds[(seeds.dataset == log) & seeds.method.isin(methods) & (seeds.score < tdm)]
        for k, seed in enumerate(failed.itertuples()):
            look = {"color": plotting.style_of(seed.method)["color"], "label": "a seed below TDM" if k == 0 else ""}
            ax.plot(seed.num_samples, seed.score, "x", markersize=6, **look)
    plotting.y_label(axes, plotting.LABELS["score"])
    plotting.legend_below(fig, axes[0], 5)
    return fig


def spread(table: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Spread of R_score over seeds, a panel for each log.

    Args:
        table: columns dataset, num_samples, method, spread (standard deviation over seeds, bit/s/Hz).
        methods: in the order of the legend.
    """
    fig, axes = _panels(table, yscale="log")
    for ax, log in zip(axes, table.dataset.unique(), strict=True):
        for method in methods:
            part = table[(table.dataset == log) & (table.method == method)]
            ax.plot(part.num_samples, part.spread, label=method, **plotting.style_of(method))
    plotting.y_label(axes, f"standard deviation of {plotting.R_SCORE}\nover seeds (bit/s/Hz)")
    plotting.legend_below(fig, axes[0], 3)
    return fig


def _panels(table: pd.DataFrame, **options: Any) -> tuple[Figure, Any]:
    """A panel for each log, over the number of transitions."""
    logs, sizes = list(table.dataset.unique()), sorted(table.num_samples.unique())
    fig, axes = plotting.figure(columns=len(logs), width=plotting.PAGE_IN, height=2.6, sharey=True)
    for ax, log in zip(axes, logs, strict=True):
        ax.set(xscale="log", xlabel="transitions", title=f"log: {log}", **options)
        ax.set_xticks(sizes[::2], [f"{size / 1000:g}k" for size in sizes[::2]])
        ax.minorticks_off()
    plotting.panel_letters(axes)
    return fig, axes
