"""The pictures of notebook 09: what the penalty's weight and the discount change."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from .. import plotting

PANELS = {
    "score": "R_score (bit/s/Hz)",
    "agreement": "agreement with the log",
    "kl": "KL from the log (nats)",
    "q_gap": "Q(greedy) − Q(data)\n(standardised reward)",
    "td_loss": "TD loss\n(standardised reward²)",
    "oscillation": "oscillation of the TD loss",
}


def panels(table: pd.DataFrame, name: str, methods: Sequence[str]) -> Figure:
    """Score and five measurements over the weight or the discount, equally spaced.

    Args:
        table: columns value, method, seeds, and each of `PANELS` with <name>_low and <name>_high.
        name: of the value, such as "α".
        methods: in the order of the legend.
    """
    values = sorted(table.value.unique())
    table = table.assign(place=table.value.map(values.index))
    fig, axes = plotting.figure(columns=3, rows=2, width=plotting.PAGE_IN, height=3.6, sharex=True)
    for ax, (column, label) in zip(axes.flat, PANELS.items(), strict=True):
        plotting.curve(ax, table, "place", column, methods)
        ax.set_ylabel(label)
    for ax in axes[1]:
        ax.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        ax.set_xlabel(name)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    fig.suptitle(f"{int(table.seeds.max())} training seeds, 95% intervals", fontsize=7)
    return fig
