"""The pictures of notebook 09: what the penalty's weight and the discount change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from .. import plotting

PANELS = {
    "score": plotting.LABELS["score"],
    "agreement": "agreement with the log",
    "td_loss": "TD loss (standardised reward²)",
}


def panels(
    table: pd.DataFrame, name: str, shown: Sequence[str], chosen: Mapping[str, float], paper: float | None = None
) -> Figure:
    """Two measurements over the weight or the discount, equally spaced.

    Args:
        table: columns value, method, and each of `shown` with <name>_low and <name>_high.
        name: of the value, such as "α".
        shown: two of `PANELS`.
        chosen: the tuned value of each method, in the order of the legend; framed.
        paper: the paper's value, a dotted line.
    """
    values = sorted(table.value.unique())
    table = table.assign(place=table.value.map(values.index))
    fig, axes = plotting.figure(columns=2, width=plotting.PAGE_IN, height=2.6)
    for ax, column in zip(axes, shown, strict=True):
        plotting.curve(ax, table, "place", column, list(chosen))
        for k, (method, value) in enumerate(chosen.items()):
            point = table[(table.method == method) & (table.value == value)]
            label = "chosen by tuning" if k == 0 else ""
            ax.plot(point.place, point[column], "o", markersize=10, color="0.2", markerfacecolor="none", label=label)
        if paper is not None:
            ax.axvline(values.index(paper), color="0.3", linestyle=":", linewidth=1, label=f"the paper's {name}")
        ax.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        ax.set(xlabel=name, ylabel=PANELS[column])
    plotting.panel_letters(axes)
    plotting.legend_below(fig, axes[0], 4)
    return fig
