"""The pictures of notebook 08: SAC and DQN side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from .. import plotting

Pairs = Mapping[str, tuple[str, str]]  # by paradigm ("C", "I", "CTDE"): the methods with SAC and with DQN


def cdf(quantiles: pd.DataFrame, table: pd.DataFrame, pairs: Mapping[str, Pairs]) -> Figure:
    """CDFs of the users' mean rates, the lowest quarter.

    Args:
        quantiles: columns method, probability, rate.
        table: columns method, seeds.
        pairs: "offline" and "online" methods, a panel each, in the styles of the offline ones.
    """
    fig, axes = plotting.figure(columns=2, width=plotting.PAGE_IN, height=2.8, sharey=True)
    for ax, (how, by_paradigm) in zip(axes, pairs.items(), strict=True):
        for paradigm, pair in by_paradigm.items():
            look = plotting.style_of(pairs["offline"][paradigm][0])
            for name, backbone, line in zip(pair, ("SAC", "DQN"), ("-", "--"), strict=True):
                part = quantiles[quantiles.method == name]
                look |= {"linestyle": line, "fillstyle": "full" if backbone == "SAC" else "none"}
                ax.plot(part.rate, part.probability, markevery=5, label=f"{paradigm}, {backbone}", **look)
        ax.axhline(0.05, color="0.6", linewidth=0.6)
        ax.set(xlabel="mean rate of a user (bit/s/Hz)", title=f"{how}, the lowest quarter")
        ax.set(xlim=(0.1, 0.5), ylim=(0, 0.25))
    axes[0].set_ylabel("share of users")
    axes[1].text(0.5, 0.053, "5%", ha="right", va="bottom", fontsize=6, color="0.3")
    seeds = f"{table.seeds.max()} training seeds (C and I online: {table.seeds.min()})"
    fig.suptitle(f"pooled over deployments and {seeds}; I lies under CTDE", fontsize=7)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return fig


def differences(table: pd.DataFrame, pairs: Pairs) -> Figure:
    """SAC minus DQN in the three scores.

    Args:
        table: columns training ("offline", "matched", "online"), paradigm, figure ("sum_rate", "tail_rate", "score"),
            seeds, difference with difference_low and difference_high.
        pairs: the first method of each paradigm gives its style.
    """
    labels = {"sum_rate": "sum rate", "tail_rate": "5-percentile rate", "score": "R_score"}
    fills = {"offline": "full", "matched": "left", "online": "none"}
    fig, axes = plotting.figure(columns=3, width=plotting.PAGE_IN, height=2.2, sharey=True)
    places = list(table.set_index(["training", "paradigm"]).index.unique())
    heights = range(len(places))[::-1]
    for ax, (name, label) in zip(axes, labels.items(), strict=True):
        part = table[table.figure == name].set_index(["training", "paradigm"])
        for y, (how, paradigm) in zip(heights, places, strict=True):
            one = part.loc[[(how, paradigm)]]
            style = plotting.style_of(pairs[paradigm][0]) | {"linestyle": "none", "fillstyle": fills[how]}
            ax.errorbar(one.difference, y, xerr=plotting.errors(one, "difference"), elinewidth=1, **style)
        ax.axvline(0, color="0.5", linewidth=0.8)
        ax.set_xlabel(f"{label}, SAC − DQN (bit/s/Hz)")
        ax.set_yticks(heights, [f"{paradigm}, {how}" for how, paradigm in places])
    few, many = table.seeds.min(), table.seeds.max()
    fig.suptitle(f"paired on deployments, 95% intervals, {many} training seeds; C and I online: {few}", fontsize=7)
    return fig
