"""The pictures of notebook 15: the site, what a log of it covers, and what is learned from it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from .. import plotting
from ..explore import draw_map
from ..methods import METHODS

LOG = "log"  # the name of its series
ACTIONS = ("silent", "1st", "2nd", "3rd")


def site(nodes: pd.DataFrame, area_m: float) -> Figure:
    """The map of a site: columns kind, name, index, x_m, y_m, ap (itself, or the serving one), on; its side in m."""
    fig, ax = plotting.figure(height=3.2)
    draw_map(ax, nodes, area_m)
    ax.set_title(", ".join(f"{ap.index}: {ap.name}" for ap in nodes[nodes.kind == "AP"].itertuples(index=False)))
    return fig


def coverage(table: pd.DataFrame, joint_actions: int) -> Figure:
    """What the log covers, and what the policy meets and does at the site.

    Args:
        table: columns series ("log" or the policy's name), panel ("action", "on", "sinr" or "joint"), what (the action
            or AP), x, share.
        joint_actions: how many there are.
    """
    names = [LOG, *(name for name in table.series.unique() if name != LOG)]
    looks: list[dict[str, Any]]
    looks = [{"color": "black", "linestyle": "-"}, {"color": plotting.style_of(names[1])["color"], "linestyle": "--"}]
    fig, axes = plotting.figure(2, 2, plotting.PAGE_IN, 4.4)
    (actions, on), (sinr, joint) = axes
    for k, (name, look) in enumerate(zip(names, looks, strict=True)):
        part = table[table.series == name].set_index("panel")
        for action, colour, marker in zip(range(len(ACTIONS)), sns.color_palette("colorblind"), "xosD", strict=False):
            drawn = part.loc["action"][part.loc["action"].what == action]
            style = look | {"color": colour, "marker": marker}
            actions.plot(drawn.x, drawn.share, label=ACTIONS[action] if k == 0 else "", **style)
        drawn_on = part.loc["on"]
        on.bar(drawn_on.what + 0.38 * (k - 0.5), drawn_on.share, 0.36, color=look["color"], label=name)
        drawn = part.loc["sinr"]
        sinr.plot(drawn.x, drawn.share, label=name, **look)
        drawn = part.loc["joint"]
        joint.plot(drawn.x, drawn.share, label=f"{name}: {len(drawn)} of {joint_actions}", **look)
        actions.plot([], [], label=name, **(look | {"color": "0.3"}))
    actions.legend(ncols=2, loc="upper right", bbox_to_anchor=(1, 0.82))
    actions.set(xlabel="SINR of the AP's best user (dB)", ylabel="share of decisions", ylim=(-0.02, 1.02))
    on.set(xlabel="AP", ylabel="share of TTIs on the air", ylim=(0, 1.3))
    on.set(xticks=sorted(set(drawn_on.what)), yticks=(0, 0.25, 0.5, 0.75, 1))
    on.legend(loc="upper center", ncols=2)
    sinr.set(xlabel="SINR of the AP's best user (dB)", ylabel="share of observations below", ylim=(0, 1))
    sinr.legend(loc="lower right")
    joint.set(xlabel="rank of the joint action", ylabel="share of TTIs", xscale="log", yscale="log")
    joint.legend(loc="lower left", title="joint actions taken", title_fontsize=plotting.SMALL)
    plotting.panel_letters(axes.flat)
    return fig


def summary(table: pd.DataFrame) -> Figure:
    """Sum rate, 5-percentile rate and R_score at the site, in the table's order from the top: columns method, seeds,
    and sum_rate, tail_rate, score with <name>_low and <name>_high."""
    fig, axes = plotting.figure(columns=3, width=plotting.PAGE_IN, height=2.1, sharey=True)
    for ax, (value, label) in zip(axes, plotting.LABELS.items(), strict=True):
        errors = plotting.errors(table, value)
        for k, row in enumerate(table.itertuples()):
            known = row.method in METHODS  # the rule that wrote the log is nobody's method but the site's
            look = plotting.style_of(row.method) if known else {"color": "0.4", "marker": "*"}
            ax.errorbar(getattr(row, value), k, xerr=errors[:, [k]], elinewidth=1.2, **(look | {"linestyle": "none"}))
        ax.set_xlabel(label)
    axes[0].set_yticks(range(len(table)), table.method)
    axes[0].invert_yaxis()
    return fig
