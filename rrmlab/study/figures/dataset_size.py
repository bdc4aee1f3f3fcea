"""The pictures of notebook 06: scores, spread and losses over the number of transitions."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from .. import plotting


def summary(table: pd.DataFrame, spread: pd.DataFrame, tdm: float, methods: Sequence[str]) -> Figure:
    """R_score over the number of transitions, a panel for each log, and its spread over seeds.

    Args:
        table: columns of `tables.summary`, dataset, num_samples.
        spread: columns dataset, num_samples, method, spread (standard deviation over seeds).
        tdm: R_score of TDM, bit/s/Hz.
        methods: in the order of the legend.
    """
    logs, sizes = list(table.dataset.unique()), sorted(table.num_samples.unique())
    fig, axes = plotting.figure(columns=3, width=plotting.PAGE_IN, height=2.5)
    low, high = min(table.score_low.min(), tdm) - 0.03, table.score_high.max() + 0.03
    for ax, log in zip(axes[:2], logs, strict=True):
        plotting.curve(ax, table[table.dataset == log], "num_samples", "score", methods)
        ax.axhline(tdm, color="0.5", linewidth=0.9, label="TDM")
        ax.set(title=f"log: {log}", ylabel="R_score (bit/s/Hz)", ylim=(low, high))
    lines = dict(zip(logs, ("-", ":"), strict=True))
    for log, line in lines.items():
        for method in methods:
            part = spread[(spread.dataset == log) & (spread.method == method)]
            axes[2].plot(part.num_samples, part.spread, **plotting.style_of(method) | {"linestyle": line})
    axes[2].set(ylabel="spread of R_score over seeds", title=f"solid: {logs[0]}, dotted: {logs[1]}", yscale="log")
    for ax in axes:
        ax.set(xscale="log", xlabel="transitions")
        ax.set_xticks(sizes[::2], [f"{size / 1000:g}k" for size in sizes[::2]])
        ax.minorticks_off()
    seeds = int(table.seeds.max())
    fig.suptitle(f"{seeds} training seeds; left and middle with 95% intervals (seeds × deployments)", fontsize=7)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def losses(along: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """TD loss and Q-gap along the training on the smallest and the largest part of the log `sac`: columns dataset,
    num_samples, method, seeds, update, and each of td_loss and q_gap with <name>_low and <name>_high."""
    sizes = (along.num_samples.min(), along.num_samples.max())
    fig, axes = plotting.figure(columns=2, rows=2, width=plotting.PAGE_IN, height=3.8, sharex=True)
    labels = {"td_loss": "TD loss (std. reward²)", "q_gap": "Q(greedy) − Q(data)\n(std. reward)"}
    for line, (column, label) in zip(axes, labels.items(), strict=True):
        for ax, size in zip(line, sizes, strict=True):
            part = along[(along.dataset == "sac") & (along.num_samples == size)].dropna(subset=[column])
            plotting.curve(ax, part, "update", column, methods, markers=False)
            ax.set_title(f"log: sac, {size:,} transitions")
        line[0].set_ylabel(label)
        top = max(ax.get_ylim()[1] for ax in line)
        for ax in line:
            ax.set_ylim(0, top)
    for ax in axes[1]:
        ax.set_xlabel("gradient steps")
    fig.suptitle(f"{int(along.seeds.max())} training seeds, 95% intervals", fontsize=7)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
