"""The picture of notebook 07: sum rate against tail rate, and R_score, as the exponent λ of the weights varies."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import plotting


def _label_lambdas(ax: Axes, part: pd.DataFrame, method: str, shift: tuple[int, int], align: str) -> None:
    """Write λ beside some points of a method's frontier."""
    colour = plotting.style_of(method)["color"]
    for _, point in part[part.lam.isin([0.0, 0.5, 0.8, 1.0])].iterrows():
        label = f"λ={point.lam:g}" if point.lam == 1 else f"{point.lam:g}"
        place = (point.sum_rate, point.tail_rate)
        ax.annotate(label, place, shift, textcoords="offset points", fontsize=6, color=colour, ha=align)


def summary(table: pd.DataFrame, schedulers: pd.DataFrame, learners: Sequence[str]) -> Figure:
    """Frontiers of the learners and of the exhaustive oracle with the other schedulers as points, and R_score over λ.

    Args:
        table: columns of `tables.summary` and lam.
        schedulers: columns of `tables.summary`.
        learners: in the order of the legend.
    """
    fig, (front, by_lam) = plotting.figure(columns=2, width=plotting.PAGE_IN, height=3.5)

    def points(part: pd.DataFrame, method: str, **more: str) -> None:
        bars = {"xerr": plotting.errors(part, "sum_rate"), "yerr": plotting.errors(part, "tail_rate")}
        style = plotting.style_of(method) | more
        front.errorbar(part.sum_rate, part.tail_rate, **bars, elinewidth=0.6, capsize=0, label=method, **style)

    shown = [*learners, "Exhaustive"]
    for method in shown:
        part = table[table.method == method].sort_values("lam")
        points(part, method)
        if method == "C-MARL-CQL":
            _label_lambdas(front, part, method, (-4, -8), "right")
        elif method == "Exhaustive":
            _label_lambdas(front, part, method, (4, 3), "left")
    for method in schedulers.method[~schedulers.method.str.startswith("Exhaustive")]:
        points(schedulers[schedulers.method == method], method, linestyle="none")
    front.set(xlabel="sum rate (bit/s/Hz)", ylabel="5-percentile rate (bit/s/Hz)")
    plotting.curve(by_lam, table, "lam", "score", shown)
    by_lam.set(xlabel="λ", ylabel="R_score (bit/s/Hz)")
    seeds = int(table[table.method.isin(learners)].seeds.max())
    note = "numbers: λ, for C-MARL-CQL and Exhaustive; 95% intervals"
    fig.suptitle(f"{note}; {seeds} training seeds; nothing was measured between λ = 0 and 0.5", fontsize=7)
    fig.legend(*front.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return fig
