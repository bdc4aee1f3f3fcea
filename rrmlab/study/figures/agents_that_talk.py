"""The pictures and the aims of notebook 14: scores against numbers exchanged, age of reports, size, and λ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import plotting

SHOWN = (  # in the frontier; the others lie on top of these
    "Random walk", "TDM", "Full reuse", "ITLinQ", "ITLinQ (tuned)", "Threshold", "BC", "I-MARL-CQL", "CTDE-MARL-CQL",
    "C-MARL-CQL", "Observed oracle (joint)", "Greedy marginal", "Best subset", "Exhaustive",
)  # fmt: skip
ONE_LABEL = 0.02  # R_score: methods that are nearer than this share a label


def frontier(table: pd.DataFrame, agent: str) -> Figure:
    """R_score against the numbers exchanged between cells in a TTI.

    Args:
        table: columns method, rounds, exchanged, score, score_low, score_high.
        agent: the learned agent; it and G-formula have a point for each number of rounds.
    """
    fig, ax = plotting.figure(width=plotting.PAGE_IN, height=3.4)
    lines = {"G-formula": 13, agent: 6}  # the hollow stars stand out behind the filled ones
    for method in (*SHOWN, *lines):
        part = table[table.method == method].sort_values("exchanged")
        look = {"markersize": lines[method]} if method in lines else {"linestyle": "none"}
        style = plotting.style_of(method) | look
        ax.errorbar(part.exchanged, part.score, plotting.errors(part, "score"), elinewidth=0.7, capsize=0, **style)
    points = table[table.method.isin(SHOWN)].sort_values(["exchanged", "score"])
    near = (points.exchanged.diff().ne(0) | points.score.diff().gt(ONE_LABEL)).cumsum()
    for _, group in points.groupby(near):
        place = (group.exchanged.iloc[0], group.score.mean())
        shift, align = ((-6, -2), "right") if place[0] == 24 else ((6, -2), "left")  # a column at 28 follows
        text = ", ".join(group.method[::-1])
        ax.annotate(text, place, shift, textcoords="offset points", ha=align, fontsize=plotting.SMALL)
    for _, point in table[table.method == agent].iterrows():
        text = f"{point['rounds']:g} round{'s' * (point['rounds'] != 1)}" + " of best response" * (point["rounds"] == 2)
        shift, align = ((8, -4), "left") if point["rounds"] == 0 else ((0, -9), "center")
        place = (point.exchanged, point.score if point["rounds"] == 0 else point.score_low)
        look = {"fontsize": plotting.SMALL, "color": plotting.style_of(agent)["color"], "textcoords": "offset points"}
        ax.annotate(text, place, shift, ha=align, **look)
        if point["rounds"] == 2:
            ax.annotate(f"{agent} (filled)\nand G-formula (hollow)", place, (0, -28), ha="center", **look)
    ax.set(xlabel="numbers that all APs together exchange in a TTI", ylabel=plotting.LABELS["score"], xlim=(-3, 90))
    return fig


def ages(table: pd.DataFrame, agent: str, rules: Sequence[str]) -> Figure:
    """R_score over the age of the reported gains: those of the other APs alone, and all.

    Args:
        table: columns kind, age_ttis, method, score, score_low, score_high.
        agent: the learned agent.
        rules: what it is compared with.
    """
    fig, axes = plotting.figure(columns=2, width=plotting.PAGE_IN, height=2.9, sharey=True)
    titles = {"neighbours": "gains of the other APs are late", "all": "all gains are late"}
    for ax, (kind, title) in zip(axes, titles.items(), strict=True):
        plotting.curve(ax, table[table.kind == kind], "age_ttis", "score", [*rules, agent])
        ax.set(xlabel="age of the reports (TTIs of 1 ms)", title=title)
        ax.set_xscale("symlog", linthresh=1)
        ticks = sorted(table.age_ttis.unique())
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
    plotting.y_label(axes, plotting.LABELS["score"])
    plotting.panel_letters(axes)
    plotting.legend_below(fig, axes[0], 4)
    return fig


def sizes(table: pd.DataFrame, agent: str, rules: Sequence[str]) -> Figure:
    """R_score over the number of APs, a panel for each density.

    Args:
        table: columns num_aps, density, method, score, score_low, score_high.
        agent: the learned agent.
        rules: what it is compared with.
    """
    densities = sorted(table.density.unique())
    fig, axes = plotting.figure(columns=len(densities), width=plotting.PAGE_IN, height=2.9, sharey=True)
    for ax, density in zip(axes, densities, strict=True):
        plotting.curve(ax, table[table.density == density], "num_aps", "score", [*rules, agent])
        ax.set_xscale("log", base=2)
        ticks = sorted(table.num_aps.unique())
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()
        ax.set(xlabel="APs", title=f"{density:g} × the density of training")
    plotting.y_label(axes, plotting.LABELS["score"])
    plotting.panel_letters(axes)
    plotting.legend_below(fig, axes[0], 3)
    return fig


def lambdas(table: pd.DataFrame, agent: str) -> Figure:
    """Sum rate against 5-percentile rate as λ varies.

    Args:
        table: columns method, lam, and sum_rate and tail_rate with intervals.
        agent: the learned agent.
    """
    fig, ax = plotting.figure(width=plotting.COLUMN_IN * 1.4, height=3.6)
    for method in ("I-MARL-CQL", "CTDE-MARL-CQL", "C-MARL-CQL", "Exhaustive", "G-formula", agent):
        part = table[table.method == method].sort_values("lam")
        if part.empty:
            continue
        alone = part.lam < part.lam[part.lam > 0].min() - 0.4  # nothing was measured between it and the next point
        for piece, label in ((part[~alone], method), (part[alone], "")):
            bars = {"xerr": plotting.errors(piece, "sum_rate"), "yerr": plotting.errors(piece, "tail_rate")}
            look = {"elinewidth": 0.6, "capsize": 0, "label": label} | plotting.style_of(method)
            ax.errorbar(piece.sum_rate, piece.tail_rate, **bars, **look)
    _label_lambdas(ax, table[table.method == agent])
    ax.set(xlabel=plotting.LABELS["sum_rate"], ylabel=plotting.LABELS["tail_rate"])
    plotting.legend_below(fig, ax, 2)
    return fig


def _label_lambdas(ax: Axes, part: pd.DataFrame) -> None:
    for _, point in part[part.lam.isin([0.0, 0.5, 0.8, 1.0])].iterrows():
        place = (point.sum_rate, point.tail_rate)
        ax.annotate(
            f"λ={point.lam:g}", place, (-5, -9), textcoords="offset points", fontsize=plotting.SMALL, ha="right"
        )


def aims(summary: pd.DataFrame, by_age: pd.DataFrame, by_size: pd.DataFrame, agent: str) -> pd.DataFrame:
    """What was aimed at before the runs, and what was reached: aim, wanted, value with its interval, reached.

    Args:
        summary: columns of `tables.condition_summary` of all conditions.
        by_age: columns kind, age_ttis, method, score and gain, the paired difference of the agent to the method.
        by_size: columns num_aps, density, method and ratio, that of the agent to the method.
        agent: the learned agent.
    """
    standard = {"rounds": 2, "own_age_ttis": 0, "neighbour_age_ttis": 0, "num_aps": 4, "density": 1.0, "log": "random"}
    own = summary[summary.method == agent]
    for name, value in standard.items():
        own = own[own[name] == value]
    own = own[own.transitions == own.transitions.max()].sort_values("seeds", ascending=False).drop_duplicates("lam")
    old = by_age[(by_age.kind == "all") & (by_age.age_ttis == 20)].set_index("method")
    rows: list[dict[str, Any]] = []

    def aim(text: str, wanted: float, row: pd.Series, name: str, low_counts: bool = False) -> None:
        value, low, high = (float(row[column]) for column in (name, f"{name}_low", f"{name}_high"))
        reached = (low if low_counts else value) >= wanted
        rows.append({"aim": text, "wanted": wanted, "value": value, "low": low, "high": high, "reached": reached})

    for lam, wanted in ((0.8, 1.70), (1.0, 1.74)):
        aim(f"R_score with fresh reports, λ = {lam:g}", wanted, own[own.lam == lam].iloc[0], "score")
    fresh = by_age[(by_age.kind == "all") & (by_age.age_ttis == 0)].set_index("method")
    share = fresh.loc["G-formula"].copy()
    share["ratio"] = fresh.score[agent] / share.score
    for end, gain in (("low", "gain_low"), ("high", "gain_high")):
        share[f"ratio_{end}"] = 1 + share[gain] / share.score
    aim("over G-formula with fresh reports", 0.98, share, "ratio")
    aim("R_score with all gains 20 TTIs late", 1.62, old.loc[agent], "score")
    for rule in ("G-formula", "Greedy marginal"):
        aim(f"above {rule} with all gains 20 TTIs late (lower end)", 0.0, old.loc[rule], "gain", low_counts=True)
    for num_aps in sorted(set(by_size.num_aps) - {4}):
        there = by_size[(by_size.num_aps == num_aps) & (by_size.density == 1.0)].set_index("method")
        aim(f"over G-formula at {num_aps} APs", 0.97, there.loc["G-formula"], "ratio")
        aim(f"over ITLinQ tuned anew at {num_aps} APs (lower end)", 1.0, there.loc["ITLinQ (tuned)"], "ratio", True)
    return pd.DataFrame(rows)
