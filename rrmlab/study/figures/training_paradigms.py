"""The pictures of notebook 04: what the learners reach, how they train, and what late and noisy reports cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .. import plotting


def summary(table: pd.DataFrame) -> Figure:
    """The three scores of every method, best R_score on top: columns of `tables.summary`."""
    order = table.sort_values("score", ascending=False).method
    fig = plotting.score_panels(table, order, height=0.2 * len(table))
    seeds = int(table.seeds.max())
    fig.suptitle(
        f"95% intervals over {seeds} training seeds × deployments; schedulers and oracles: deployments", fontsize=7
    )
    return fig


def cdf(quantiles: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """CDFs of the users' mean rates, and their lowest fifth: columns method, probability, rate."""
    fig, (whole, tail) = plotting.figure(columns=2, width=plotting.PAGE_IN, height=2.8)
    for ax, markevery in ((whole, 25), (tail, 4)):
        plotting.cdf_lines(ax, quantiles, methods, markevery)
    whole.set_xlim(0, 2)
    tail.set(xlim=(0, 0.5), ylim=(0, 0.2))
    tail.axhline(0.05, color="0.6", linewidth=0.6)
    tail.text(0.5, 0.052, "5%", ha="right", va="bottom", fontsize=6, color="0.3")
    fig.suptitle("pooled over deployments and training seeds; I-MARL-CQL lies under CTDE-MARL-CQL", fontsize=7)
    fig.legend(*whole.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return fig


def curves(along: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Score, TD loss and Q-gap along the training: columns method, seeds, update, and each of eval_score, td_loss and
    q_gap with <name>_low and <name>_high."""
    fig, axes = plotting.figure(columns=3, width=plotting.PAGE_IN, height=2.6)
    panels = {
        "eval_score": "R_score (bit/s/Hz), validation",
        "td_loss": "TD loss (std. reward²)",
        "q_gap": "Q(greedy) − Q(data)\n(std. reward)",
    }
    for ax, (column, label) in zip(axes, panels.items(), strict=True):
        part = along.dropna(subset=[column])
        plotting.curve(ax, part, "update", column, methods, markers=column == "eval_score")
        ax.set(xlabel="gradient steps", ylabel=label)
    note = "where a line is missing it lies under another"
    fig.suptitle(f"{int(along.seeds.max())} training seeds; 95% intervals; {note}", fontsize=7)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def defaults(shares: pd.DataFrame, tuned: pd.DataFrame) -> Figure:
    """CTDE's score over the centralized agent's, against the latter, with usual defaults and tuned.

    Args:
        shares: columns learning_rate, rewards, gamma, updates, seeds, centralized and share with its interval.
        tuned: rows of `tables.summary` of both learners.
    """
    fig, ax = plotting.figure(width=plotting.COLUMN_IN, height=3.3)
    colours = dict(zip(sorted(shares.learning_rate.unique()), ("black", "0.45", "0.7"), strict=True))
    for rewards, marker in (("standardised", "o"), ("raw", "s")):
        for rate, colour in colours.items():
            part = shares[(shares.rewards == rewards) & (shares.learning_rate == rate)]
            look = {"color": colour, "marker": marker, "linestyle": "none", "elinewidth": 0.6}
            fill = "white" if rewards == "raw" else colour
            label = f"{rewards} rewards, {rate:g}"
            bars = plotting.errors(part, "share")
            ax.errorbar(part.centralized, part.share, yerr=bars, label=label, markerfacecolor=fill, **look)
    score = tuned.set_index("method").score
    central = score["C-MARL-CQL"]
    ax.plot(
        central, score["CTDE-MARL-CQL"] / central, "*", color="crimson", markersize=9, label="tuned", linestyle="none"
    )
    for level, text, side in ((0.98, "paper: 98%", "bottom"), (0.95, "95%", "top")):
        ax.axhline(level, color="0.5", linewidth=0.7, linestyle=":")
        ax.text(0.995, level, text, transform=ax.get_yaxis_transform(), ha="right", va=side, fontsize=7)
    ax.set(xlabel="R_score of C-MARL-CQL (bit/s/Hz)", ylabel="CTDE / C in R_score")
    fig.suptitle(f"by rewards and learning rate; α = 1; {int(shares.seeds.max())} seeds; 95% intervals", fontsize=7)
    fig.legend(loc="outside lower center", ncols=2, fontsize=7)
    return fig


def reports(table: pd.DataFrame) -> Figure:
    """Score with late and noisy reports, and its change against exact ones: columns reports, method, seeds, score and
    change with <name>_low and <name>_high."""
    kinds = list(table.reports.unique())
    fig, (left, right) = plotting.figure(columns=2, width=plotting.PAGE_IN, height=2.6, sharex=True)
    for k, method in enumerate(table.method.unique()):
        part = table[table.method == method].set_index("reports").loc[kinds]
        style = plotting.style_of(method) | {"linestyle": "none"}
        for ax, value in ((left, "score"), (right, "change")):
            x, error = np.arange(len(part)) + 0.12 * (k - 1.5), plotting.errors(part, value)
            ax.errorbar(x, part[value], yerr=error, elinewidth=0.8, label=method, **style)
    left.set_ylabel("R_score (bit/s/Hz)")
    right.set_ylabel("R_score minus exact (bit/s/Hz)")
    right.axhline(0, color="0.5", linewidth=0.8)
    for ax in (left, right):
        ax.set_xticks(range(len(kinds)), ["\n".join(name.rsplit(" ", 1)) for name in kinds])
        ax.grid(axis="x", visible=False)
    fig.suptitle(f"95% intervals, right: paired; learners: {int(table.seeds.max())} training seeds", fontsize=7)
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig
