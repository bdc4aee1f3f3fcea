"""The pictures of notebook 01: what is simulated, against its closed form.

Most tables have the columns measured, low, high (mean over deployments and its 95% interval) and closed_form.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...config import NetworkConfig
from ...game import radio
from ...network_map import PALETTE
from .. import plotting

BLUE, ORANGE, GREEN, RED = PALETTE[:4]


def compare(
    ax: Axes,
    table: pd.DataFrame,
    x: str,
    label: str,
    color: tuple[float, float, float],
    marker: str = "o",
    every: int = 1,
    line: str = "",
) -> None:
    """Draw the closed form, if there is one, as a line and the measurements as points with their intervals.

    Args:
        ax: where.
        table: columns <x>, measured, low, high, closed_form.
        x: column of the horizontal axis.
        label: of the points in the legend, and of the line too if it has none.
        color, marker: of the line and the points.
        every: only each so-many-th measurement is drawn.
        line: label of the line.
    """
    ax.plot(table[x], table.closed_form, color=color, label=line)
    points = table.iloc[::every]
    error = [points.measured - points.low, points.high - points.measured]
    style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 3}
    style |= {"markerfacecolor": "white", "markeredgewidth": 0.8}
    ax.errorbar(points[x], points.measured, error, linestyle="", elinewidth=0.8, **style)
    drawn = "none" if line or table.closed_form.isna().all() else "-"
    ax.plot([], [], linestyle=drawn, label=label, **style)  # for the legend


def path_loss(loss: pd.DataFrame) -> Figure:
    """Path loss over distance: columns distance_m, and in dB shadowed_db, measured (without shadowing), closed_form."""
    fig, ax = plotting.figure()
    ax.plot(loss.distance_m, loss.shadowed_db, ".", color="0.7", markersize=2, label="with 7 dB shadowing")
    ax.plot(loss.distance_m, loss.closed_form, color=BLUE, label="dual slope")
    points = loss.iloc[np.unique(np.searchsorted(loss.distance_m, np.geomspace(12, 600, 25)).clip(max=len(loss) - 1))]
    ax.plot(points.distance_m, points.measured, "o", color=BLUE, markerfacecolor="white", label="without shadowing")
    ax.axvline(radio.BREAKPOINT_M, color="0.5", linewidth=0.6, linestyle=":")
    where = {"xycoords": ("data", "axes fraction"), "xytext": (4, 0), "textcoords": "offset points"}
    ax.annotate(f"break at {radio.BREAKPOINT_M:g} m", (radio.BREAKPOINT_M, 0.05), fontsize=plotting.SMALL, **where)
    ax.set(xscale="log", xlabel="distance (m)", ylabel="path loss (dB)")
    ax.set_xticks([10, 20, 50, 100, 200, 500], ["10", "20", "50", "100", "200", "500"])
    ax.minorticks_off()
    ax.legend()
    return fig


def shadowing(table: pd.DataFrame) -> Figure:
    """CDF of the shadowing: columns shadowing_db, those of `compare` for all links, and serving, the share of the
    serving links below."""
    fig, ax = plotting.figure()
    compare(ax, table, "shadowing_db", "all links, measured", BLUE, line="all links, theory: N(0, (7 dB)²)")
    ax.plot(table.shadowing_db, table.serving, "s", color=ORANGE, markersize=3, label="serving links, measured")
    ax.set(xlabel="shadowing (dB, added to the loss)", ylabel="share of links below", ylim=(-0.03, 1.03))
    plotting.legend_below(fig, ax, 1)
    return fig


def envelope(cdf: pd.DataFrame) -> Figure:
    """CDF of the fading power, and its deviation from Rayleigh fading: columns power_db, those of `compare`, and waves,
    the closed form for a sum of 16 waves."""
    fig, axes = plotting.figure(2, width=plotting.PAGE_IN)
    rayleigh: dict[str, Any] = {"color": "black", "linestyle": "--", "label": "Rayleigh"}
    compare(axes[0], cdf.assign(closed_form=np.nan), "power_db", "measured", BLUE)
    axes[0].plot(cdf.power_db, cdf.closed_form, **rayleigh)
    axes[0].set(yscale="log", ylabel="share of links below")
    percent = cdf[["measured", "low", "high"]].sub(cdf.closed_form, axis=0).mul(100)
    compare(axes[1], percent.assign(closed_form=np.nan, power_db=cdf.power_db), "power_db", "measured", BLUE)
    axes[1].plot(cdf.power_db, 100 * (cdf.waves - cdf.closed_form), color=ORANGE, label="sum of 16 waves")
    axes[1].axhline(0, **rayleigh)
    axes[1].set(ylabel="deviation from Rayleigh (% points)")
    for ax in axes:
        ax.set_xlabel("fading power |h|² (dB)")
        ax.legend()
    return fig


def autocorrelation(correlation: pd.DataFrame, config: NetworkConfig) -> Figure:
    """Autocorrelation of the fading over the lag, a panel for each speed: columns speed_mps, lag (TTIs), those of
    `compare`, and ar1, the correlation of the first-order recursion."""
    fig, axes = plotting.figure(correlation.speed_mps.nunique(), width=plotting.PAGE_IN, sharey=True)
    axes = np.atleast_1d(axes)
    for ax, (speed, part) in zip(axes, correlation.groupby("speed_mps"), strict=True):
        compare(ax, part, "lag", "measured", BLUE, every=5, line="J₀")
        ax.plot(part.lag, part.ar1, "--", color=RED, label="first-order autoregressive")
        doppler_hz = replace(config, speed_mps=speed).doppler_hz
        ax.set(xlabel="lag (TTIs of 1 ms)", title=f"{speed:g} m/s, Doppler {doppler_hz:.0f} Hz")
    plotting.y_label(axes, "autocorrelation of h")
    plotting.legend_below(fig, axes[0], 3)
    return fig


def trace(traces: pd.DataFrame) -> Figure:
    """Fading power of one link over time: columns tti, waves_db (as simulated), ar1_db (the recursion)."""
    fig, ax = plotting.figure()
    ax.plot(traces.tti, traces.waves_db, color=BLUE, label="sum of waves (simulated)")
    ax.plot(traces.tti, traces.ar1_db, "--", color=RED, linewidth=0.8, label="first-order autoregressive")
    ax.set(xlabel="TTI (ms)", ylabel="fading power (dB)", ylim=(-32, 14))
    plotting.legend_below(fig, ax, 2)
    return fig


def sinr(table: pd.DataFrame) -> Figure:
    """CDFs of the SINR and of the rate: columns condition ("alone", "full reuse", "served"), sinr_db, rate (bit/s/Hz),
    and those of `compare`."""
    fig, axes = plotting.figure(2, width=plotting.PAGE_IN, sharey=True)
    looks = {
        "alone": ("no interference", GREEN, "^"),
        "full reuse": ("all APs on, all users", BLUE, "o"),
        "served": ("all APs on, served users", ORANGE, "s"),
    }
    for ax, x, label in zip(axes, ("sinr_db", "rate"), ("SINR (dB)", "rate (bit/s/Hz)"), strict=True):
        for condition, (name, color, marker) in looks.items():
            compare(ax, table[table.condition == condition], x, name, color, marker)
        ax.set(xlabel=label, ylim=(-0.03, 1.03))
    plotting.y_label(axes, "share of users below")
    axes[0].set_xlim(-20, 65)
    axes[1].set_xlim(0, 20)
    axes[1].set_xticks(range(0, 21, 5))
    axes[1].legend(loc="lower right")
    return fig


def warm_up(relaxation: pd.DataFrame) -> Figure:
    """The users' averaged rate during the warm-up: columns start ("as it is", "from zero"), tti, those of `compare`."""
    fig, ax = plotting.figure()
    looks = {"as it is": ("with initial value", BLUE, "o"), "from zero": ("without initial value", RED, "s")}
    for name, (label, color, marker) in looks.items():
        compare(ax, relaxation[relaxation.start == name], "tti", label, color, marker)
    ax.set(xlabel="TTI of the warm-up (ms)", ylabel="averaged rate, mean over\nusers (bit/s/Hz)", ylim=(0, None))
    ax.legend(loc="lower right")
    return fig


def start(starts: pd.DataFrame, config: NetworkConfig) -> Figure:
    """Weights and rewards after three starts: columns start, tti, weight (median over users) with weight_low and
    weight_high (5 and 95% points), reward_measured with reward_low and reward_high (95% interval)."""
    fig, axes = plotting.figure(2, width=plotting.PAGE_IN)
    looks = {"no warm-up, from zero": (RED, "--"), "no warm-up": (ORANGE, "-."), "as it is": (BLUE, "-")}
    for name, (color, line) in looks.items():
        part = starts[starts.start == name]
        axes[0].plot(part.tti, part.weight, line, color=color, label=name)
        axes[0].fill_between(part.tti, part.weight_low, part.weight_high, color=color, alpha=0.15, linewidth=0)
        axes[1].plot(part.tti, part.reward_measured, line, color=color)
        axes[1].fill_between(part.tti, part.reward_low, part.reward_high, color=color, alpha=0.2, linewidth=0)
    usual = starts[starts.start == "as it is"]
    steady = usual.reward_measured[usual.tti >= usual.tti.max() / 2].mean()
    later = usual.tti[usual.tti > 0]
    scaling = steady * (1 - (1 - config.averaging) ** later) ** -config.lam
    axes[1].plot(later, scaling, ":", color="black")
    axes[0].plot([], [], ":", color="black", label=r"steady reward × $(1 - 0.99^t)^{-0.8}$")  # for the legend
    labels = r"weight ((bit/s/Hz)$^{-1}$)", r"reward per TTI ((bit/s/Hz)$^{0.2}$)"
    for ax, label in zip(axes, labels, strict=True):
        ax.set(yscale="log", xlabel="counted TTI (ms)", ylabel=label)
    axes[1].set_yticks([20, 50, 100, 200, 500, 1000], ["20", "50", "100", "200", "500", "1000"])
    axes[1].minorticks_off()
    plotting.panel_letters(axes)
    plotting.legend_below(fig, axes[0], 4)
    return fig


def checks(table: pd.DataFrame) -> Figure:
    """Largest deviation of each check in units of its tolerance: columns quantity, those of `compare`, tolerance."""
    fig, ax = plotting.figure(height=2.6)
    ax.axvspan(-1, 1, color="0.92", linewidth=0)
    deviation = table[["low", "measured", "high"]].sub(table.closed_form, axis=0).div(table.tolerance, axis=0)
    error = [deviation.measured - deviation.low, deviation.high - deviation.measured]
    ax.errorbar(deviation.measured, table.quantity, xerr=error, fmt="o", color=BLUE, elinewidth=0.8)
    ax.axvline(0, color="0.3", linewidth=0.6)
    ax.set(xlabel="deviation / tolerance", xlim=(-1.2, 1.2))
    ax.invert_yaxis()
    return fig
