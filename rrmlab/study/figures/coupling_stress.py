"""The pictures of notebook 12: what decomposition costs over the share of interactions and over the interference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import plotting

STANDARD = (500, 0)  # side in m, factor in dB
MARKERS = "*soD^vP<X"  # of the networks, in the order of the first predictor


def _name(side: float, db: float) -> str:
    return f"{side:g} m, {db:+g} dB" if db else f"{side:g} m"


def ratios(points: pd.DataFrame, predictors: pd.DataFrame, level: float) -> Figure:
    """CTDE over C against the share of interactions and against the interference, a point for each network.

    Args:
        points: columns side_m, cross_gain_db, kappa, inr_db, and ctde_over_c with its interval.
        predictors: threshold and rank with intervals, indexed by the predictor.
        level: of the threshold.
    """
    fig, axes = plotting.figure(columns=2, width=plotting.PAGE_IN, height=3.2, sharey=True)
    labels = {"kappa": "κ, share of the variance that no sum over APs explains",
              "inr_db": "median interference-to-noise ratio (dB)"}  # fmt: skip
    points = points.sort_values("kappa")
    colours = sns.color_palette("colorblind", len(points))
    for ax, (name, label) in zip(axes, labels.items(), strict=True):
        for place, colour, marker in zip(points.itertuples(index=False), colours, MARKERS, strict=False):
            bar = [[place.ctde_over_c - place.ctde_over_c_low], [place.ctde_over_c_high - place.ctde_over_c]]
            look = {"color": colour, "marker": marker, "elinewidth": 0.8, "markersize": 6, "linestyle": "none"}
            text = _name(place.side_m, place.cross_gain_db)
            ax.errorbar(getattr(place, name), place.ctde_over_c, bar, label=text, **look)
        ax.axhline(level, color="0.4", linestyle="--", linewidth=0.9)
        row = predictors.loc[name]
        ax.axvspan(row.threshold_low, row.threshold_high, color="0.85", zorder=0)
        rank = f"{row['rank']:.2f} [{row['rank_low']:.2f}, {row['rank_high']:.2f}]"
        ax.set(xlabel=label, title=f"rank correlation {rank}")
    axes[0].set_ylabel(f"{plotting.R_SCORE}, CTDE over C")
    plotting.panel_letters(axes)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return fig


def orders(table: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Shares of the reward's variance by the number of APs that interact, stacked, in the order of the first share.

    Args:
        table: columns side_m, cross_gain_db and the shares.
        names: of the shares, in the order of the number of APs.
    """
    table = table.sort_values(names[0])
    fig, ax = plotting.figure(width=plotting.PAGE_IN * 0.75, height=2.6)
    words = ("one AP (a sum over APs)", "two", "three", "four")
    left = np.zeros(len(table))
    shades = sns.color_palette("Greys", len(names) + 1)[::-1]
    for name, word, shade, hatch in zip(names, words, shades, ("", "//", "..", ""), strict=False):
        ax.barh(np.arange(len(table)), table[name], left=left, color=shade, hatch=hatch, edgecolor="white", label=word)
        left += table[name].to_numpy()
    ax.set_yticks(
        np.arange(len(table)), [_name(*place) for place in zip(table.side_m, table.cross_gain_db, strict=True)]
    )
    ax.set(xlim=(0, 1), xlabel="share of the reward's variance over joint actions, by how many APs interact")
    ax.grid(axis="y", visible=False)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=len(names))
    return fig


def scores(table: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """R_score as a share of the exhaustive search's, along the side and along the factor.

    Args:
        table: columns side_m, cross_gain_db, method, score.
        methods: in the order of the legend.
    """
    fig, axes = plotting.figure(columns=2, width=plotting.PAGE_IN, height=3.4, sharey=True)
    best = table[table.method == "Exhaustive"].set_index(["side_m", "cross_gain_db"]).score
    keys = pd.MultiIndex.from_frame(table[["side_m", "cross_gain_db"]])
    table = table.assign(share=table.score / best.reindex(keys).to_numpy())
    axes[0].set(xlabel="side of the square (m)", xscale="log", ylabel=f"{plotting.R_SCORE} over Exhaustive")
    _along(axes[0], table[table.cross_gain_db == STANDARD[1]], "side_m", methods)
    _along(axes[1], table[table.side_m == STANDARD[0]], "cross_gain_db", methods)
    axes[1].set_xlabel("factor on the gains between cells (dB)")
    axes[0].minorticks_off()
    axes[0].invert_xaxis()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def _along(ax: Axes, table: pd.DataFrame, x: str, methods: Sequence[str]) -> None:
    for method in methods:
        part = table[table.method == method].sort_values(x)
        ax.plot(part[x], part.share, label=method, **plotting.style_of(method))
    ticks = sorted(table[x].unique())
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def cells(table: pd.DataFrame, learned: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """R_score by what is known, from an additive and from a joint value, a panel for each network.

    Args:
        table: columns side_m, cross_gain_db, known, represented, and score with its interval.
        learned: columns side_m, cross_gain_db, method, score.
        names: of what is known, the method that learned from a log on it.
    """
    places = list(table.groupby(["side_m", "cross_gain_db"], sort=False).groups)
    fig, axes = plotting.figure(columns=len(places), width=plotting.PAGE_IN, height=2.8)
    known = list(table.known.unique())
    looks = {"additive": ("C0", "o", -0.12), "joint": ("black", "s", 0.12)}
    for ax, place in zip(axes, places, strict=True):
        there = table[(table.side_m == place[0]) & (table.cross_gain_db == place[1])]
        for represented, (colour, marker, shift) in looks.items():
            part = there[there.represented == represented].set_index("known").loc[known].reset_index()
            x, bars = np.arange(len(known)) + shift, plotting.errors(part, "score")
            style = {"color": colour, "marker": marker, "linestyle": "none"}
            ax.errorbar(x, part.score, bars, label=f"{represented} value, exact rewards", **style)
        scored = learned[(learned.side_m == place[0]) & (learned.cross_gain_db == place[1])].set_index("method").score
        for (name, method), marker in zip(names.items(), "x+", strict=True):
            style = {"color": plotting.style_of(method)["color"], "marker": marker, "linestyle": "none"}
            ax.plot(known.index(name), scored[method], label=f"{method}, from a log", **style)
        ax.set_xticks(np.arange(len(known)), known)
        ax.set(title=_name(*place), ylim=(0, None), xlim=(-0.5, len(known) - 0.5), xlabel="what an AP's decision knows")
    axes[0].set_ylabel(plotting.LABELS["score"])
    plotting.panel_letters(axes)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig
