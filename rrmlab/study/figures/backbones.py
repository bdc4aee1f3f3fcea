"""The picture of notebook 08: SAC against DQN."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from .. import plotting

Pairs = Mapping[str, tuple[str, str]]  # by paradigm ("C", "I", "CTDE"): the methods with SAC and with DQN


def differences(table: pd.DataFrame, pairs: Pairs) -> Figure:
    """SAC minus DQN in the three scores.

    Args:
        table: columns training ("offline", "matched", "online"), paradigm, figure ("sum_rate", "tail_rate", "score"),
            difference with difference_low and difference_high.
        pairs: the first method of each paradigm gives its style.
    """
    fills = {"offline": "full", "matched": "left", "online": "none"}
    fig, axes = plotting.figure(columns=3, width=plotting.PAGE_IN, height=2.3, sharey=True)
    places = list(table.set_index(["training", "paradigm"]).index.unique())
    heights = range(len(places))[::-1]
    for ax, (name, label) in zip(axes, plotting.LABELS.items(), strict=True):
        part = table[table.figure == name].set_index(["training", "paradigm"])
        for y, (how, paradigm) in zip(heights, places, strict=True):
            one = part.loc[[(how, paradigm)]]
            style = plotting.style_of(pairs[paradigm][0]) | {
                "linestyle": "none",
                "fillstyle": fills[how],
                "markersize": 6,
            }
            ax.errorbar(one.difference, y, xerr=plotting.errors(one, "difference"), elinewidth=1, **style)
        ax.axvline(0, color="0.5", linewidth=0.8)
        ax.set_xlabel(f"Δ {label}")
        ax.set_title("SAC better →", loc="right", fontsize=plotting.SMALL)
        ax.set_yticks(heights, [f"{paradigm}, {how}" for how, paradigm in places])
    return fig
