"""The pictures of notebook 13: targets, the roofline, and how the time grows with the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from .. import plotting

SHORTER = {  # parts of the rows' names, as patterns
    "^environment steps": "steps",
    "share of the machine's limit": "share of limit",
    "collecting [0-9,]+ transitions": "log",
    "centralized DQN-CQL": "C, DQN",
    "as one program": "together",
    "an environment step": "a step",
    "of the graph, 1,000 updates": "of the graph",
    "time of the other notebooks": "time of the study",
}


def targets(margins: pd.DataFrame) -> Figure:
    """Margin of each row to its target on a logarithmic axis: columns label, margin, low, high, reached."""
    rows = margins.iloc[::-1].reset_index(drop=True)
    fig, ax = plotting.figure(width=plotting.PAGE_IN, height=3.4)
    missed = sns.color_palette("colorblind")[3]
    looks = ((rows.reached, "black", "o", "target reached"), (~rows.reached, missed, "X", "target missed"))
    for choice, colour, marker, label in looks:
        part = rows[choice]
        error = np.clip([part.margin - part.low, part.high - part.margin], 0, None)
        places = np.flatnonzero(choice)
        ax.errorbar(part.margin, places, xerr=error, fmt=marker, color=colour, elinewidth=1, label=label)
    for k in np.flatnonzero(rows.margin.isna()):
        ax.annotate("not measured", (1, k), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7)
    ax.axvline(1, color="0.3", linewidth=0.8)
    ax.set(xscale="log", xlabel="margin to the target (right of 1: reached)")
    ticks = [tick for tick in (0.5, 1, 2, 5, 20, 100, 500) if tick <= 1.2 * rows.high.max()]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(rows)), rows.label.replace(SHORTER, regex=True))
    ax.set_ylim(-0.6, len(rows) - 0.4)
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def roofline(points: pd.DataFrame, rate: pd.Series) -> Figure:
    """Work under the roofs of the machine.

    Args:
        points: a row each of an environment step, a DQN and a SAC update: what, flop_per_byte, gflops, gflops_low,
            gflops_high.
        rate: of "sgemm" and "dgemm" in GFLOP/s, of "copy" in GB/s.
    """
    fig, ax = plotting.figure(height=3)
    x = np.geomspace(0.1, 100 * max(1, points.flop_per_byte.max() / 50), 200)
    for name, line in (("sgemm", "-"), ("dgemm", "--")):
        ax.plot(x, np.minimum(rate["copy"] * x, rate[name]), color="0.4", linestyle=line)
        ax.text(x[-1], rate[name] * 1.1, name, ha="right", va="bottom", fontsize=plotting.SMALL)
    ax.text(x[0], rate["copy"] * x[0] * 2, "memory", fontsize=plotting.SMALL, rotation=35)
    step: dict[str, Any] = {"color": "black", "marker": "D"}
    styles = (step, plotting.style_of("C-MARL-CQL (DQN)"), plotting.style_of("CTDE-MARL-CQL"))
    for point, style in zip(points.itertuples(), styles, strict=True):
        error = [[point.gflops - point.gflops_low], [point.gflops_high - point.gflops]]
        style = {**style, "linestyle": "none"}
        ax.errorbar([point.flop_per_byte], [point.gflops], yerr=error, label=point.what, **style)
    plotting.legend_below(fig, ax, 1)
    ax.set(xscale="log", yscale="log", xlabel="arithmetic intensity (flop/byte)", ylabel="GFLOP/s")
    ax.set_ylim(bottom=0.2 * points.gflops_low.min())
    return fig


def growth(grown: pd.DataFrame) -> Figure:
    """Time of a step over the number of links, and of an update over that of the APs: columns kind, aps, users, ms with
    ms_low and ms_high, repeats."""
    fig, (left, right) = plotting.figure(columns=2, width=plotting.PAGE_IN, height=2.6)
    step: dict[str, Any] = {"color": "black", "marker": "D", "linestyle": "-"}
    looks = {
        "environment step": (left, step),
        "CTDE update": (right, plotting.style_of("CTDE-MARL-CQL")),
        "centralized update": (right, plotting.style_of("C-MARL-CQL")),
    }
    for kind, (ax, style) in looks.items():
        part = grown[grown.kind == kind]
        x = part.aps * part.users if ax is left else part.aps
        ax.errorbar(x, part.ms, yerr=plotting.errors(part, "ms"), elinewidth=0.8, **style)
        look = {"fontsize": plotting.SMALL, "color": style["color"], "textcoords": "offset points"}
        if kind == "centralized update":
            ax.annotate(kind, (x.iloc[-1], part.ms.iloc[-1]), (-6, 0), ha="right", **look)
            continue
        middle, grows = len(x) // 2, part.ms.iloc[0] * x / x.iloc[0]
        ax.annotate(kind, (x.iloc[middle], part.ms.iloc[middle]), (7, -9), ha="left", **look)
        ax.plot(x, grows, "--", color="0.5", linewidth=0.8, zorder=0)
        look["color"] = "0.4"
        ax.annotate("proportional", (x.iloc[-2], grows.iloc[-2]), (-6, 6), ha="right", **look)
    left.set(xscale="log", yscale="log", xlabel="links I·J", ylabel="ms per step of one environment")
    right.set(xscale="log", yscale="log", xlabel="access points I", ylabel="ms per update")
    ticks = sorted(set(grown.aps) - {3, 5})
    right.set_xticks(ticks, ticks)
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_major_formatter("{x:g}")
    right.minorticks_off()
    plotting.panel_letters((left, right))
    return fig
