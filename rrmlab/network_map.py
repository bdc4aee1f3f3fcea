"""The map of a network at one TTI: who transmits to whom. The environments' `render` and the notebooks draw it.

Shapes: I APs, J users.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .game.env import RRMEnv
from .game.radio import user_position
from .game.views import SILENT

PALETTE, MARKERS = sns.color_palette("colorblind"), "osDv^P"  # of an AP and its users


def map_nodes(
    ap_xy: np.ndarray, user_xy: np.ndarray, serving: np.ndarray, users: np.ndarray, rates: np.ndarray
) -> pd.DataFrame:
    """One row per AP and per user.

    Args:
        ap_xy, user_xy: positions (I, 2) and (J, 2) in m.
        serving: (J,), each user's AP, -1 of one who is not there and gets no row.
        users: (I,), the user that each AP serves, -1 for silence.
        rates: (J,) in bit/s/Hz.

    Returns:
        the columns index, kind ("AP" or "user"), x_m, y_m, ap (itself, or the serving one), on (transmits, or is
        served); of users also rate and, if served, sinr_db.
    """
    on = users != SILENT
    aps = {"kind": "AP", "x_m": ap_xy[:, 0], "y_m": ap_xy[:, 1], "ap": range(len(on)), "on": on}
    served = np.isin(np.arange(len(serving)), users[on])
    of_users = {"kind": "user", "x_m": user_xy[:, 0], "y_m": user_xy[:, 1], "ap": serving, "on": served, "rate": rates}
    table = pd.concat([pd.DataFrame(aps).reset_index(), pd.DataFrame(of_users).reset_index()], ignore_index=True)
    table["sinr_db"] = 10 * np.log10(2 ** table.rate[table.on & (table.kind == "user")] - 1)
    return table[table.ap >= 0]  # who is not there has no AP


def draw_map(ax: Axes, nodes: pd.DataFrame, area_m: float) -> None:
    """The network at one TTI, from `map_nodes`; see `map_legend`. Users have their AP's colour and marker."""
    line: dict[str, Any]
    edge: dict[str, Any]
    text: dict[str, Any]
    aps, users = (nodes[nodes.kind == kind].set_index("index") for kind in ("AP", "user"))
    for user in users.itertuples():
        ap, colour, marker = aps.loc[user.ap], PALETTE[user.ap % len(PALETTE)], MARKERS[user.ap % len(MARKERS)]
        line = {"linewidth": 2.2, "zorder": 3} if user.on else {"linewidth": 0.6, "zorder": 1, "alpha": 0.5}
        ax.plot([ap.x_m, user.x_m], [ap.y_m, user.y_m], color=colour, **line)
        edge = {"markeredgecolor": "black" if user.on else "white", "markersize": 6.5 if user.on else 4.8}
        ax.plot(user.x_m, user.y_m, marker, color=colour, markeredgewidth=0.7, zorder=4, **edge)
    for ap in aps.itertuples():
        colour = PALETTE[ap.Index % len(PALETTE)]
        box = {"boxstyle": "square,pad=0.35", "edgecolor": colour, "facecolor": colour if ap.on else "white"}
        text = {"ha": "center", "va": "center", "weight": "bold", "size": 7, "color": "white" if ap.on else colour}
        ax.text(ap.x_m, ap.y_m, ap.Index, bbox=box, zorder=5, **text)
    box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
    for user in users[users.on].itertuples():
        away = np.array([user.x_m - aps.x_m[user.ap], user.y_m - aps.y_m[user.ap]])  # beyond the end of the line
        text = {"textcoords": "offset points", "ha": "center", "va": "center", "size": 7, "zorder": 6, "bbox": box}
        ax.annotate(
            f"{user.sinr_db:.0f} dB", (user.x_m, user.y_m), tuple(away / max(np.hypot(*away), 1e-9) * (16, 11)), **text
        )
    margin = 0.03 * area_m  # a user at the edge is seen whole
    limits = (-margin, area_m + margin)
    ax.set(xlim=limits, ylim=limits, aspect="equal", xlabel="x (m)", ylabel="y (m)")
    ax.grid(visible=False)


def map_legend() -> list[Line2D]:
    """Handles of a legend for `draw_map`."""
    looks: dict[str, dict[str, Any]]
    box, dot = {"linestyle": "", "marker": "s", "markersize": 7}, {"marker": "o", "linewidth": 0.6}
    looks = {"AP, transmitting": box, "AP, silent": box | {"markerfacecolor": "white"}, "user and its AP": dot}
    looks["user being served, with its SINR"] = dot | {"linewidth": 2.2, "markersize": 6.5, "markeredgecolor": "black"}
    return [Line2D([], [], label=label, color="0.5", **look) for label, look in looks.items()]


def picture(env: RRMEnv, last: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    """The map of a single network in its last TTI, (770, 700, 3) uint8.

    Args:
        env: the network, E = 1.
        last: the user that each AP served (I,), -1 for silence, and the rates (J,) in bit/s/Hz; None before the first
            TTI.

    Raises:
        RuntimeError: before `reset`.
        ValueError: a deployment without positions, made of gains.
    """
    if not hasattr(env, "deployment"):
        raise RuntimeError("the environment was not started: call reset() before render()")
    config, deployment = env.config, env.deployment
    if deployment.gains:
        raise ValueError("render_mode = 'rgb_array': a deployment made of gains has no positions to draw")
    users, rates = last or (np.full(config.num_aps, SILENT), np.zeros(config.num_users))
    now_xy = user_position(config, deployment, config.warmup_ttis + max(0, env.ttis - 1), 1)[0, :, 0]
    ap_xy, user_xy, serving = (each.cpu().numpy() for each in (deployment.ap_xy[0], now_xy, env.serving[0]))
    nodes = map_nodes(ap_xy, user_xy, serving, users, rates.astype(float))
    num_on, total = (users != SILENT).sum(), rates.sum()
    now = f"TTI {env.ttis - 1}: {num_on} of {len(users)} APs transmit, {total:.1f} bit/s/Hz in sum"
    # A figure with a canvas of its own: pyplot, which keeps a list of figures, does not know it.
    fig = Figure(figsize=(5, 5.5), dpi=140, layout="constrained")
    canvas = FigureCanvasAgg(fig)
    draw_map(fig.add_subplot(title=now if last else "before the first TTI"), nodes, config.area_m)
    fig.legend(handles=map_legend(), loc="outside lower center", ncols=2)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
