"""The pictures of notebook 04: what the learners reach, how they train, and what late and noisy reports cost."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from .. import plotting


def summary(table: pd.DataFrame, exchanged: Sequence[int]) -> Figure:
    """The three scores of every method, put together by what is exchanged: columns of `tables.summary`, and for each
    row the numbers that its method exchanges between cells in a TTI."""
    table = table.assign(exchanged=list(exchanged))
    fig, axes = plotting.figure(columns=3, width=plotting.PAGE_IN, height=0.8 + 0.17 * len(table), sharey=True)
    plotting.grouped_points(axes, list(plotting.LABELS), table, "exchanged")
    for ax, label in zip(axes, plotting.LABELS.values(), strict=True):
        ax.set_xlabel(label)
    axes[-1].set_title("numbers exchanged in a TTI", loc="right", fontsize=plotting.SMALL)
    return fig


def cdf(quantiles: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """The lowest fifth of the CDFs of the users' mean rates: columns method, probability, rate."""
    fig, ax = plotting.figure(height=3.2)
    plotting.cdf_lines(ax, quantiles, methods, markevery=4)
    ax.set(xlim=(0, 0.5), ylim=(0, 0.2))
    plotting.five_percent(ax)
    plotting.legend_below(fig, ax, 2)
    return fig


def curves(along: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """R_score along the training: columns method, update, eval_score with eval_score_low and eval_score_high."""
    fig, ax = plotting.figure()
    plotting.curve(ax, along.dropna(subset=["eval_score"]), "update", "eval_score", methods)
    ax.set(xlabel="gradient steps", ylabel=f"{plotting.R_SCORE}, validation (bit/s/Hz)")
    ax.legend(loc="lower right")
    return fig


def defaults(shares: pd.DataFrame, tuned: pd.DataFrame) -> Figure:
    """CTDE's score over the centralized agent's, against the latter, with usual defaults and tuned.

    Args:
        shares: columns learning_rate, rewards, gamma, updates, seeds, centralized and share with its interval.
        tuned: rows of `tables.summary` of both learners.
    """
    fig, axes = plotting.figure(columns=2, width=plotting.PAGE_IN, height=2.9)
    colours = dict(zip(sorted(shares.learning_rate.unique()), ("black", "0.45", "0.7"), strict=False))
    score = tuned.set_index("method").score
    for ax, rewards, marker in zip(axes, ("standardised", "raw"), ("o", "s"), strict=True):
        for rate, colour in colours.items():
            part = shares[(shares.rewards == rewards) & (shares.learning_rate == rate)]
            look = {"color": colour, "marker": marker, "linestyle": "none", "elinewidth": 0.6}
            bars = plotting.errors(part, "share")
            ax.errorbar(part.centralized, part.share, yerr=bars, label=f"learning rate {rate:g}", **look)
        for level, style in ((0.98, "-"), (0.95, "--")):
            ax.axhline(level, color="0.5", linewidth=0.7, linestyle=style, label=f"{level:.0%}", zorder=0)
        ax.set(xlabel=f"{plotting.R_SCORE} of C-MARL-CQL (bit/s/Hz)", title=f"{rewards} rewards")
    look = {"color": "crimson", "markersize": 9, "linestyle": "none", "label": "both tuned"}
    axes[0].plot(score["C-MARL-CQL"], score["CTDE-MARL-CQL"] / score["C-MARL-CQL"], "*", **look)
    axes[0].set_ylabel(f"CTDE / C in {plotting.R_SCORE}")
    plotting.panel_letters(axes)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7)
    return fig


def reports(table: pd.DataFrame) -> Figure:
    """Score over the age of the reports, and over their noise: columns reports ("exact", "... TTIs late", "... dB
    noise"), method, score, score_low, score_high."""
    number = table.reports.str.extract(r"^(\d+)")[0].astype(float).fillna(0)
    fig, (late, noisy) = plotting.figure(columns=2, width=plotting.PAGE_IN, height=2.6, sharey=True)
    for ax, kind, label in ((late, "late", "age of the reports (TTIs of 1 ms)"), (noisy, "noise", "noise (dB)")):
        part = table.assign(number=number)[table.reports.str.endswith(kind) | (table.reports == "exact")]
        levels = sorted(part.number.unique())
        part = part.assign(place=part.number.map(levels.index))
        plotting.curve(ax, part, "place", "score", list(table.method.unique()))
        ax.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
        ax.set_xlabel(label)
    plotting.y_label((late, noisy), plotting.LABELS["score"])
    plotting.panel_letters((late, noisy))
    plotting.legend_below(fig, late, 4)
    return fig
