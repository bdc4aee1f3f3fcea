"""The pictures of notebook 03: the online agents' training, and what the logs hold."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from .. import plotting


def curves(learning: pd.DataFrame, levels: pd.Series) -> Figure:
    """Score along the online training in the colours of the logs that it writes.

    Args:
        learning: columns method, eval_update (transitions), eval_score with eval_score_low and eval_score_high.
        levels: R_score of schedulers, by name, as horizontal lines.
    """
    wrote = {"Online SAC": "sac", "Online DQN": "dqn"}
    fig, ax = plotting.figure()
    plotting.curve(
        ax, learning, "eval_update", "eval_score", list(wrote), style=lambda name: plotting.dataset_style(wrote[name])
    )
    right = learning.eval_update.max()
    for name, level in levels.items():
        style = plotting.style_of(name)
        ax.axhline(level, color=style["color"], linestyle=style["linestyle"], linewidth=1)
        ax.text(right, level, name, ha="right", va="bottom", fontsize=plotting.SMALL)
    ax.set_xlabel("transitions seen online")
    ax.set_ylabel(f"{plotting.R_SCORE} (bit/s/Hz)")
    ax.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k")
    plotting.legend_below(fig, ax, 2)
    return fig


def contents(table: pd.DataFrame) -> Figure:
    """Rewards, actions and joint actions of the logs: columns panel ("reward", "action", "joint action"), dataset, x
    (reward, action, or rank of the joint action), share (of transitions below, of actions, of transitions)."""
    names, drawn = table.dataset.unique(), table.set_index(["panel", "dataset"])
    fig, axes = plotting.figure(columns=3, width=plotting.PAGE_IN, height=2.5)
    left, middle, right = axes
    for k, (name, hatch) in enumerate(zip(names, ("", "//", "..", "\\\\"), strict=True)):
        look = plotting.dataset_style(name)
        style, line = {"color": look["color"], "label": name}, look["linestyle"]
        part = drawn.loc["reward", name]
        left.plot(part.x, part.share, linestyle=line, **style)
        part = drawn.loc["action", name]
        place = part.x + 0.2 * (k - 1.5)
        middle.bar(place, part.share, width=0.2, hatch=hatch, edgecolor="white", linewidth=0.3, **style)
        part = drawn.loc["joint action", name]
        part = part[part.share > 0]
        right.plot(part.x, part.share, linestyle=line, **style)
    left.set(xlabel="reward of a TTI ((bit/s/Hz)$^{0.2}$)", ylabel="share of transitions below")
    left.set_xlim(0, drawn.loc["reward"].x.quantile(0.995))
    middle.set(xlabel="action of an AP", ylabel="share of actions")
    middle.set_xticks(range(4), ["silent", "1st", "2nd", "3rd"])
    right.set(xlabel="rank of the joint action", ylabel="share of transitions", xscale="log", yscale="log")
    plotting.panel_letters(axes)
    plotting.legend_below(fig, left, 4)
    return fig
