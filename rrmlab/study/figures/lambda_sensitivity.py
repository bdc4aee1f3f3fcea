"""The picture of notebook 07: sum rate against tail rate, and R_score, as the exponent λ of the weights varies."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import plotting

BESIDE = {"TDM": (5, 0), "Full reuse": (5, -8), "ITLinQ (tuned)": (-6, 6)}  # schedulers, and where their name stands


def _label_lambdas(ax: Axes, part: pd.DataFrame, method: str, shift: tuple[int, int], align: str) -> None:
    """Write λ beside some points of a method's frontier."""
    colour = plotting.style_of(method)["color"]
    for _, point in part[part.lam.isin([0.0, 0.5, 0.8, 1.0])].iterrows():
        label = f"λ = {point.lam:g}" if point.lam in (0, 1) else f"{point.lam:g}"
        place = (point.sum_rate, point.tail_rate)
        look = {"fontsize": plotting.SMALL, "color": colour, "ha": align}
        ax.annotate(label, place, shift, textcoords="offset points", **look)


def summary(table: pd.DataFrame, schedulers: pd.DataFrame, learners: Sequence[str]) -> Figure:
    """Frontiers of the learners and of the exhaustive oracle with schedulers as points, and R_score over λ. Between
    λ = 0 and the next value no line is drawn.

    Args:
        table: columns of `tables.summary` and lam.
        schedulers: columns of `tables.summary`.
        learners: in the order of the legend.
    """
    fig, (front, by_lam) = plotting.figure(columns=2, width=plotting.PAGE_IN, height=3.3)
    shown = [*learners, "Exhaustive"]
    for method in shown:
        part = table[table.method == method].sort_values("lam")
        for piece, label in ((part[part.lam > 0], method), (part[part.lam == 0], "")):
            bars = {"xerr": plotting.errors(piece, "sum_rate"), "yerr": plotting.errors(piece, "tail_rate")}
            look = {"elinewidth": 0.6, "capsize": 0, "label": label} | plotting.style_of(method)
            front.errorbar(piece.sum_rate, piece.tail_rate, **bars, **look)
            error = plotting.errors(piece, "score")
            by_lam.errorbar(piece.lam, piece.score, yerr=error, elinewidth=0.8, **plotting.style_of(method))
        if method == "C-MARL-CQL":
            _label_lambdas(front, part, method, (-5, -9), "right")
        elif method == "Exhaustive":
            _label_lambdas(front, part, method, (5, 3), "left")
    for method, shift in BESIDE.items():
        point = schedulers.set_index("method").loc[method]
        style = plotting.style_of(method) | {"linestyle": "none"}
        front.plot(point.sum_rate, point.tail_rate, **style)
        align = "left" if shift[0] > 0 else "right"
        look = {"fontsize": plotting.SMALL, "ha": align, "va": "center"}
        front.annotate(method, (point.sum_rate, point.tail_rate), shift, textcoords="offset points", **look)
    front.set(xlabel=plotting.LABELS["sum_rate"], ylabel=plotting.LABELS["tail_rate"])
    front.set_ylim(bottom=-0.03)
    by_lam.set(xlabel="λ", ylabel=plotting.LABELS["score"])
    plotting.panel_letters((front, by_lam))
    plotting.legend_below(fig, front, 4)
    return fig
