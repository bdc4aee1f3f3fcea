"""The pictures of notebook 10: R_score by size and author of the log, what tells it beforehand, choices of α and λ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .. import plotting
from ..convergence import CHOICES, MEASURES, smallest
from ..statistics import t_interval
from ..tables import columns
from ..thresholds import author_names


def sizes(table: pd.DataFrame, learners: Mapping[str, Sequence[str]]) -> Figure:
    """R_score over the size of the log, a panel for each author with its learners, the first with all of them: columns
    method, author, num_samples, score, lead with its interval, baseline, verdict. Filled markers have converged,
    crossed ones have not."""
    fig, axes = plotting.figure(columns=len(learners), width=plotting.PAGE_IN, height=3.0, sharey=True)
    level = float((table.score - table.lead).iloc[0])
    for ax, (author, methods) in zip(axes, learners.items(), strict=True):
        for k, method in enumerate(methods):
            part = table[(table.author == author) & (table.method == method)].sort_values("num_samples")
            look, place = plotting.style_of(method), part.num_samples * 1.12 ** (k - len(methods) // 2)
            bars = {"elinewidth": 0.7, "label": method, **look, "marker": ""}
            ax.errorbar(place, part.score, plotting.errors(part, "lead"), **bars)
            for x, row in zip(place, part.itertuples(), strict=True):
                fill = look["color"] if row.verdict == "converged" else "white"
                mark = "X" if row.verdict.startswith("not") else look["marker"]
                ax.plot(x, row.score, mark, color=look["color"], markerfacecolor=fill, markersize=6)
        ax.axhline(level, color="0.4", linewidth=1, linestyle="--", label=f"best baseline: {table.baseline.iloc[0]}")
        ticks = sorted(table.num_samples.unique())
        ax.set(xscale="log", xlabel="transitions in a row", title=f"author: {author}")
        ax.set_xticks(ticks, [f"{tick / 1000:g}k" for tick in ticks])
        ax.minorticks_off()
    shown = table[table.author.isin(learners)]
    axes[0].set(ylabel=plotting.LABELS["score"], ylim=(min(shown.score.min(), level) - 0.15, shown.score.max() + 0.15))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def at_one_size(table: pd.DataFrame, rows: pd.DataFrame, size: int, methods: Sequence[str]) -> pd.DataFrame:
    """R_score of learners from all authors at one size, and of the authors ("author"): columns author, method, score
    with its interval over logs, verdict."""
    found = []
    for author in author_names():
        logs = rows[(rows.author == author) & (rows.num_samples == size)]
        own = logs.drop_duplicates("log").author_score.to_numpy()
        found.append({"author": author, "method": "author", "verdict": ""} | columns("score", t_interval(own)))
        for method in methods:
            values = logs[logs.method == method].score.to_numpy()
            cell = table[(table.author == author) & (table.num_samples == size) & (table.method == method)].iloc[0]
            facts = {"author": author, "method": method, "verdict": cell.verdict}
            found.append(facts | columns("score", t_interval(values)) | {"baseline": cell.score - cell.lead})
    return pd.DataFrame(found)


def authors(table: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """R_score from the logs of each author, and of the author: columns of `at_one_size`."""
    fig, ax = plotting.figure(width=plotting.PAGE_IN, height=2.9)
    order = author_names()
    for k, method in enumerate(["author", *methods]):
        part = table[table.method == method].set_index("author").loc[order]
        look: dict[str, Any] = {"color": "0.5", "marker": "_"} if method == "author" else plotting.style_of(method)
        place = np.arange(len(order)) + 0.2 * (k - 1)
        bars = plotting.errors(part, "score")
        ax.errorbar(place, part.score, bars, elinewidth=0.8, label=method, **(look | {"linestyle": "none"}))
    ax.axhline(table.baseline.dropna().iloc[0], color="0.4", linewidth=1, linestyle="--", label="best baseline")
    ax.set_xticks(range(len(order)), order, rotation=20)
    shown = table.score
    ax.set(ylabel=plotting.LABELS["score"], xlabel="author of the log", ylim=(shown.min() - 0.2, shown.max() + 0.2))
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def correlations(table: pd.DataFrame) -> Figure:
    """Rank correlation of each measure with R_score: columns method, measure, correlation with its interval."""
    methods = list(table.method.unique())
    fig, ax = plotting.figure(width=plotting.PAGE_IN * 0.75, height=2.9)
    for k, method in enumerate(methods):
        part = table[table.method == method].set_index("measure").reindex(MEASURES)
        place = np.arange(len(part)) + 0.25 * (k - 0.5)
        look = plotting.style_of(method) | {"linestyle": "none"}
        error = plotting.errors(part, "correlation")
        ax.errorbar(part.correlation, place, xerr=error, label=method, elinewidth=1, **look)
    ax.axvline(0, color="0.4", linewidth=0.8)
    ax.set_yticks(range(len(MEASURES)), list(MEASURES.values()))
    ax.invert_yaxis()
    ax.set(xlabel=f"rank correlation with {plotting.R_SCORE}", xlim=(-1, 1))
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def regrets(table: pd.DataFrame, averages: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Regret of each way to choose α on each log, and the mean: columns method, choice, regret (with interval)."""
    choices = [*dict.fromkeys(table.choice)]
    fig, axes = plotting.figure(columns=len(methods), width=plotting.PAGE_IN, height=2.6, sharey=True, sharex=True)
    for ax, method in zip(axes, methods, strict=True):
        look = plotting.style_of(method)
        for k, choice in enumerate(choices):
            part = table[(table.method == method) & (table.choice == choice)]
            ax.plot(100 * part.regret, np.full(len(part), k), "|", color="0.4", markersize=7)
            mean = averages[(averages.method == method) & (averages.choice == choice)]
            error = 100 * plotting.errors(mean, "regret")
            ax.errorbar(100 * mean.regret, [k], xerr=error, color=look["color"], marker="o", capsize=2, elinewidth=1)
        ax.axvline(2, color="0.4", linewidth=0.8, linestyle="--")
        ax.set(title=method, xlabel=f"regret in {plotting.R_SCORE} (%)")
        ax.set_xscale("symlog", linthresh=1)
        ax.set_xticks([0, 1, 2, 5, 10, 20, 50], ["0", "1", "2", "5", "10", "20", "50"])
        ax.minorticks_off()
        ax.set_xlim(-0.3, max(10, 120 * table.regret.max()))
    axes[0].set_yticks(range(len(choices)), choices)
    axes[0].invert_yaxis()
    return fig


def tails(frontier: pd.DataFrame, missed: pd.DataFrame) -> Figure:
    """Predicted and true 5-percentile rate at each λ on each log; and by how much targets are missed: columns author,
    log, lam, tail_rate, predicted_tail; choice, error."""
    fig, (ax, errors) = plotting.figure(columns=2, width=plotting.PAGE_IN, height=2.8)
    lams = sorted(frontier.lam.unique())
    for lam, marker in zip(lams, "xo^sD", strict=False):
        part = frontier[frontier.lam == lam]
        look = {"color": "black", "alpha": 0.7, "markersize": 4}
        ax.plot(part.predicted_tail, part.tail_rate, marker, label=f"λ = {lam:g}", **look)
    top = 1.1 * max(0.1, frontier.tail_rate.max())
    ax.plot([0, top], [0, top], color="0.5", linewidth=0.8)
    ax.set_xscale("symlog", linthresh=top)
    ax.set_xticks([0, round(top, 1), 1, 10], ["0", f"{top:.1f}", "1", "10"])
    ax.minorticks_off()
    ax.set(xlabel="predicted from the log (bit/s/Hz)", ylabel="5-percentile rate (bit/s/Hz)")
    ax.legend(ncols=1, loc="best")
    choices = list(missed.choice.unique())
    for k, choice in enumerate(choices):
        part = missed[missed.choice == choice].error
        errors.plot(part, np.full(len(part), k), "|", color="0.4", markersize=7)
        errors.plot(part.mean(), k, "o", color="black")
    errors.set_yticks(range(len(choices)), choices)
    errors.invert_yaxis()
    errors.set(xlabel="distance from the target (bit/s/Hz)")
    return fig


def _by_author(least: pd.DataFrame) -> str:
    parts = (", ".join(f"{size} ({author})" for author, size in row.dropna().items()) for _, row in least.iterrows())
    return "; ".join(f"{method} {part}" for method, part in zip(least.index, parts, strict=True))


def in_practice(
    table: pd.DataFrame, ranked: pd.DataFrame, alpha: pd.DataFrame, lam: pd.DataFrame, methods: Sequence[str]
) -> str:
    """What the tables say to somebody who has a log, as Markdown."""
    sized = table[table.author.isin(("random walk", "ε = 0.3"))]
    above, converged = smallest(sized, sized.lead_low > 0), smallest(sized, sized.verdict == "converged")
    undecided = table.parts.str.contains("undecided: .*flat").sum()
    flat = f"every training converged: {_by_author(converged)}"
    if (converged.fillna("none") == "none").all(axis=None):
        flat = (
            f"every training converged: none; whether R_score is flat is undecided in {undecided} of {len(table)} cases"
        )
    best = ranked.loc[ranked.groupby("method").correlation_low.idxmax()]
    told = [f"{MEASURES[row.measure]} ({row.correlation:.2f} [{row.correlation_low:.2f}, {row.correlation_high:.2f}], "
            f"{row.method})" for row in best.itertuples()]  # fmt: skip
    chosen = []
    for method in methods:
        part = alpha[alpha.method == method].set_index("choice")
        log, fixed = part[part.index.isin(CHOICES)].regret, part.regret["α = 1"]
        chosen.append(f"{method}: by {log.idxmin()} {log.min():.1%}, at α = 1 {fixed:.1%}")
    error = lam.set_index("choice").error
    fixed = error[error.index.str.startswith("λ")].iloc[0]
    return f"""
1. **Size.** The smallest log in a row from which on R_score is clearly above the best baseline:
{_by_author(above)}. The smallest log from which on {flat}.
2. **Beforehand.** What goes best with the score that is reached: {"; ".join(told)}.
3. **α.** Mean regret on ten logs by the best criterion from the log, and of the paper's: {"; ".join(chosen)}.
4. **λ.** A target 5-percentile rate is missed by {error["from the log"]:.3f} bit/s/Hz with λ from the log,
by {fixed:.3f} with λ = 0.8, and by {error["hindsight"]:.3f} with the best λ in hindsight.
"""
