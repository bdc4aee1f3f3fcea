"""The pictures of notebook 11: averaging windows against coherence times, stays and newcomers, other conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...config import NetworkConfig
from .. import plotting

LEARNER, RULES = "CTDE-MARL-CQL", ("Threshold", "Full reuse")
TOLERATED = 0.05  # loss of R_score from which an average counts as unfit, `study`
# Of the averaging constants, from the longest window to the shortest: the printed lines are told apart without colour.
LINES = ("-", "--", ":")
# Of policies by what they were trained on.
TRAINED: dict[str, dict[str, Any]] = {
    "no arrivals, 1 m/s": {"color": "C2", "marker": "o", "markerfacecolor": "C2"},
    "there": {"color": "C0", "marker": "s", "markerfacecolor": "white"},
    "mixture": {"color": "C1", "marker": "D", "markerfacecolor": "white"},
    "tuned, no arrivals, 1 m/s": {"color": "0.25", "marker": "^", "markerfacecolor": "0.25"},
    "tuned there": {"color": "0.25", "marker": "v", "markerfacecolor": "white"},
}


def coherence_ttis(network: NetworkConfig) -> float:
    """Coherence time of the fading, 0.423 / f_d (Rappaport), in TTIs; infinite where nobody moves."""
    return 0.423 / (network.doppler_hz * network.tti_s) if network.doppler_hz else np.inf


def losses(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `table` with `loss`, the share of R_score lost against the best averaging constant at that speed.

    Args:
        table: columns method, speed, averaging, score.
    """
    best = table.groupby(["method", "speed"]).score.transform("max")
    return table.assign(loss=1 - table.score / best)


def crossing(table: pd.DataFrame) -> pd.DataFrame:
    """Where the loss passes `TOLERATED`: method and ratio, coherence time over averaging window.

    The ratio is interpolated along its logarithm between the last point before the loss passes for good and the first
    after it; NaN where it never does. Points of the best constant are left out: the loss is taken against them.

    Args:
        table: columns method, ratio, loss.
    """
    rows = []
    for method, part in table[np.isfinite(table.ratio) & (table.loss > 0)].groupby("method", sort=False):
        x, loss = part.groupby("ratio").loss.mean().pipe(lambda means: (means.index.to_numpy(), means.to_numpy()))
        above = loss > TOLERATED
        last = len(above) - int(np.argmin(above[::-1])) - 1 if not above.all() else -1
        ratio = np.nan
        if 0 <= last < len(x) - 1:
            share = (TOLERATED - loss[last]) / (loss[last + 1] - loss[last])
            ratio = float(np.exp(np.log(x[last]) + share * np.log(x[last + 1] / x[last])))
        rows.append({"method": method, "ratio": ratio})
    return pd.DataFrame(rows)


def windows(table: pd.DataFrame, passed: pd.DataFrame) -> Figure:
    """R_score over the speed for each averaging constant, and the loss over coherence time / averaging window.

    Args:
        table: columns method, speed, averaging, score with interval, ratio, loss.
        passed: of `crossing`.
    """
    fig, (left, right) = plotting.figure(columns=2, width=plotting.PAGE_IN, height=3.0)
    constants = sorted(table.averaging.unique())
    for method, averaging in ((m, a) for m in (LEARNER, RULES[0]) for a in constants):
        part = table[(table.method == method) & (table.averaging == averaging)].sort_values("speed")
        style = plotting.style_of(method) | {"linestyle": LINES[constants.index(averaging)]}
        label = f"{method}, window {1 / averaging:.0f} TTIs"
        left.errorbar(part.speed, part.score, plotting.errors(part, "score"), elinewidth=0.7, label=label, **style)
        lost = part[part.loss > 0]  # without the best one, against which the loss is taken
        right.plot(lost.ratio, 100 * lost.loss, **(style | {"linestyle": "none"}))
    left.set_xscale("symlog", linthresh=1)
    speeds = sorted(table.speed.unique())
    left.set_xticks(speeds, [f"{speed:g}" for speed in speeds])
    left.minorticks_off()
    left.set(xlabel="speed of all users (m/s)", ylabel=plotting.LABELS["score"])
    right.axhline(100 * TOLERATED, color="0.4", linewidth=0.8)
    (ratio,) = passed[passed.method == LEARNER].ratio
    if np.isfinite(ratio):
        right.axvline(ratio, color="0.4", linewidth=0.8)
        right.annotate(f" {ratio:.2f}", (ratio, 0.97), xycoords=("data", "axes fraction"), fontsize=7, va="top")
    right.set_xscale("log")
    right.set(xlabel="coherence time / averaging window", ylabel="loss against the best window (%)")
    plotting.panel_letters((left, right))
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def stays(table: pd.DataFrame, names: dict[float, str]) -> Figure:
    """R_score over the averaging constant for each mean stay, and where a newcomer's average starts.

    Args:
        table: columns method, stay, averaging, newcomer, score with interval.
        names: of the stays, in the order of the panels.
    """
    fig, axes = plotting.figure(columns=len(names), width=plotting.PAGE_IN, height=2.9, sharey=True)
    for ax, (stay, name) in zip(axes, names.items(), strict=True):
        at = table[(table.stay == stay) & (table.newcomer == "share")]
        plotting.curve(ax, at, "averaging", "score", [*RULES[::-1], LEARNER])
        for rule, marker, aside in (("cell", "<", 0.93), ("floor", ">", 1.07)):
            part = table[(table.stay == stay) & (table.newcomer == rule) & (table.method == LEARNER)]
            look = {"color": "black", "markersize": 5, "linestyle": "none", "label": f"newcomers start at {rule}"}
            ax.plot(aside * part.averaging, part.score, marker, **look)
        ax.set_xscale("log")
        ticks = sorted(table.averaging.unique())
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
        ax.set(xlabel="averaging constant", title=name)
    axes[0].set_ylabel(plotting.LABELS["score"])
    fig.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def training(table: pd.DataFrame, conditions: Sequence[str]) -> Figure:
    """R_score in each condition by what a policy was trained on, and of the threshold rule.

    Args:
        table: columns condition, trained, score with interval.
        conditions: from top to bottom.
    """
    fig, ax = plotting.figure(width=plotting.PAGE_IN, height=0.42 * len(conditions) + 1.0)
    for k, (trained, style) in enumerate(TRAINED.items()):
        part = table[table.trained == trained].set_index("condition").reindex(conditions).dropna(subset="score")
        y = np.array([conditions.index(name) for name in part.index]) + 0.13 * (k - 2)
        bars = plotting.errors(part, "score")
        rule = "Threshold, " if trained.startswith("tuned") else f"{LEARNER}, trained: "
        ax.errorbar(part.score, y, xerr=bars, label=rule + trained, linestyle="none", elinewidth=0.8, **style)
    _rows(ax, conditions)
    ax.set_xlabel(plotting.LABELS["score"])
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def _rows(ax: Axes, conditions: Sequence[str]) -> None:
    ax.set_yticks(range(len(conditions)), conditions)
    ax.set_ylim(len(conditions) - 0.5, -0.5)
