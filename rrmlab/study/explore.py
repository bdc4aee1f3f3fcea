"""A recorded episode of one network, its pictures, and the controls to walk through it (notebook 00).

Shapes: I APs, J users, T counted TTIs. Rates are in bit/s/Hz.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from ..agents.config import AgentConfig, method_name
from ..agents.policy import Policy
from ..config import NetworkConfig
from ..game import evaluation
from ..game.deployment import Deployment
from ..game.env import RRMEnv
from ..game.evaluation import run_episode
from ..game.radio import user_position
from ..game.schedulers import make_scheduler
from ..game.views import SILENT
from ..network_map import PALETTE, draw_map, map_legend, map_nodes
from ..storage import read_json
from . import plotting
from .methods import METHODS


@dataclass(frozen=True)
class Recording:
    """One episode: positions (I, 2) and (T, J, 2) in m, the users' APs (J,), served users (T, I), rates (T, J)."""

    method: str
    area_m: float
    ap_xy: np.ndarray
    user_xy: np.ndarray
    serving: np.ndarray
    users: np.ndarray
    rates: np.ndarray

    @functools.cached_property
    def mean_rates(self) -> np.ndarray:
        """Mean rate of each user up to and with TTI t, (T, J)."""
        return self.rates.cumsum(0) / np.arange(1, len(self.rates) + 1)[:, None]

    def nodes(self, tti: int) -> pd.DataFrame:
        """The table of `map_nodes` at a TTI, with method, tti and, of users, the mean_rate so far."""
        table = map_nodes(self.ap_xy, self.user_xy[tti], self.serving, self.users[tti], self.rates[tti])
        means = np.concatenate([np.full(len(self.ap_xy), np.nan), self.mean_rates[tti]])
        table.insert(len(table.columns) - 1, "mean_rate", means)
        return pd.DataFrame({"method": self.method, "tti": tti}, table.index).join(table)

    def running(self) -> pd.DataFrame:
        """By TTI: method, tti, sum_rate and tail_rate of this network's users' means so far, transmitting APs (on)."""
        tail, on = np.percentile(self.mean_rates, evaluation.TAIL_PERCENTILE, axis=1), (self.users != SILENT).sum(1)
        columns = {"tti": range(len(tail)), "sum_rate": self.mean_rates.sum(1), "tail_rate": tail, "on": on}
        return pd.DataFrame({"method": self.method} | columns)


def record(behaviour: Any, config: NetworkConfig, seed: int = 0, index: int = 0, method: str = "") -> Recording:
    """Run a scheduler or a policy for one episode on a test deployment.

    Raises:
        ValueError: a policy that does not fit the network, or a geometry that cannot be drawn.
    """
    env, deployment = RRMEnv(config), Deployment.draw(config, 1, seed, "test", index)
    episode = ((users[0], info["rates"][0]) for _, users, _, info in run_episode(behaviour, env, deployment))
    users, rates = (torch.stack(column).numpy() for column in zip(*episode, strict=True))
    user_xy = user_position(config, deployment, config.warmup_ttis, config.episode_ttis)[0].transpose(0, 1)
    known = method or behaviour.name, config.area_m, deployment.ap_xy[0].numpy(), user_xy.numpy()
    return Recording(*known, env.serving[0].numpy(), users, rates.astype(float))


def headline(nodes: pd.DataFrame) -> str:
    """What a snapshot says in numbers."""
    on, method, tti = nodes.on[nodes.kind == "AP"], nodes.method.iloc[0], nodes.tti.iloc[0]
    now = f"{method}: {on.sum()} of {len(on)} on, {nodes.rate.sum():.1f} bit/s/Hz in TTI {tti}"
    tail = np.percentile(nodes.mean_rate.dropna(), evaluation.TAIL_PERCENTILE)
    return f"{now}\nmeans so far: sum {nodes.mean_rate.sum():.1f}, tail {tail:.2f} bit/s/Hz"


def scene(recording: Recording, tti: int) -> Figure:
    """The map at a TTI, the users' mean rates so far, and how their sum and tail develop over the episode."""
    nodes, running = recording.nodes(tti), recording.running()
    fig = plt.figure(figsize=(plotting.PAGE_IN, 3.9))
    grid = fig.add_gridspec(3, 2, width_ratios=(1.5, 1))
    ax = fig.add_subplot(grid[:, 0], title=headline(nodes))
    draw_map(ax, nodes, recording.area_m)
    ax = fig.add_subplot(grid[0, 1], ylabel="mean rate so far\n(bit/s/Hz)", xlabel="users, by AP", xticks=[])
    users = nodes[nodes.kind == "user"].sort_values("ap", kind="stable")
    ax.bar(range(len(users)), users.mean_rate, color=[PALETTE[ap % len(PALETTE)] for ap in users.ap])
    for row, label in enumerate(("sum", "tail"), 1):
        ax = fig.add_subplot(grid[row, 1], ylabel=f"{label} so far\n(bit/s/Hz)")
        values = running[f"{label}_rate"]
        ax.plot(values, color="0.75")
        ax.plot(values[: tti + 1], color="black")
        ax.plot(tti, values[tti], "o", color="black")
        ax.set_ylim(bottom=0)
    ax.set_xlabel("TTI (1 ms each)")
    return fig


def snapshots(nodes: pd.DataFrame, area_m: float) -> Figure:
    """Maps of one TTI under each of four methods: `Recording.nodes` of each, the side of the square in m."""
    fig, axes = plotting.figure(2, 2, plotting.PAGE_IN, 7.3, sharex=True, sharey=True)
    for ax, (_, part) in zip(axes.flat, nodes.groupby("method", sort=False), strict=True):
        draw_map(ax, part, area_m)
        on = part.on[part.kind == "AP"]
        ax.set_title(f"{part.method.iloc[0]}: {on.sum()} of {len(on)} on, {part.rate.sum():.1f} bit/s/Hz")
        ax.label_outer()
    columns = 4 if fig.get_figwidth() > plotting.COLUMN_IN else 1
    fig.legend(handles=map_legend(), loc="outside lower center", ncols=columns)
    return fig


def running_rates(running: pd.DataFrame, first: int) -> Figure:
    """Sum and 5-percentile of the users' mean rates so far, over the episode: `Recording.running` of each method,
    drawn from a first TTI on."""
    fig, axes = plotting.figure(2, width=plotting.PAGE_IN, height=2.4)
    running = running[running.tti >= first]
    last = running.groupby("method", sort=False).last()
    for ax, column, label in zip(axes, ("sum_rate", "tail_rate"), ("sum", "5-percentile"), strict=True):
        for method, part in running.groupby("method", sort=False):
            ax.plot(part.tti, part[column], markevery=0.2, **plotting.style_of(method))
        ax.set(xlabel="TTI (1 ms each)", ylabel=f"{label} of the mean rates\nso far (bit/s/Hz)")
        ax.set_ylim(0, 1.15 * running[column].max())
    fig.draw_without_rendering()  # the labels need the axes' height
    for ax, column in zip(axes, ("sum_rate", "tail_rate"), strict=True):
        ends = {method: (running.tti.max(), level) for method, level in last[column].items()}
        plotting.end_labels(ax, ends, plotting.style_of)
    return fig


def where_silent(recording: Recording, aps: Sequence[int] = (1, 2)) -> int:
    """The first TTI from the middle of the episode on in which so many APs are silent; the middle if there is none."""
    silent, middle = (recording.users == SILENT).sum(1), len(recording.users) // 2
    found = np.flatnonzero(np.isin(silent[middle:], aps))
    return middle + (int(found[0]) if len(found) else 0)


def choices(data: Path) -> dict[str, Callable[[], Any]]:
    """What can be chosen, by label: the schedulers, and the first seed of every training found under `data`."""
    specs = {name: method.scheduler for name, method in METHODS.items() if method.scheduler is not None}
    found: dict[str, Callable[[], Any]] = {
        name: functools.partial(make_scheduler, **spec) for name, spec in specs.items()
    }
    # Hidden folders are being written.
    paths = sorted([*data.glob("offline/[!.]*/policy_*"), *data.glob("online/[!.]*/policy_*")], reverse=True)
    trained = {}
    for run, path in {path.parent: path for path in paths}.items():
        try:
            config = AgentConfig.from_dict(read_json(path / "policy.json")["agent"])
        except (OSError, ValueError, KeyError, TypeError):  # unfinished, or of another version
            continue
        label = f"{method_name(config, online=run.parent.name == 'online')} ({run.name[:6]})"
        trained[label] = functools.partial(Policy.load, path)
    return found | dict(sorted(trained.items()))


def tour(data: Path, config: NetworkConfig, seed: int = 0) -> Any:
    """Controls and picture as one widget. An episode is computed when its choice changes; the slider walks in it."""
    import ipywidgets as widgets  # of the extra `notebooks`

    made_by, last = choices(data), config.episode_ttis - 1

    @functools.lru_cache(maxsize=16)
    def recording(label: str, seed: int, num_users: int) -> tuple[Recording, list[str]]:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            made = record(made_by[label](), replace(config, num_users=num_users), seed, method=label)
        return made, [str(note.message) for note in notes]

    def draw(label: str, seed: int, num_users: int, tti: int) -> None:
        try:
            made, notes = recording(label, seed, num_users)
            print(*notes, sep="\n", end="")
            scene(made, tti)
            plt.show()
        except (ValueError, OSError) as error:
            print(error)

    wide = {"style": {"description_width": "80px"}, "layout": widgets.Layout(width="320px")}
    late = wide | {"continuous_update": False}
    method = widgets.Dropdown(options=list(made_by), description="method", **wide)
    users = widgets.IntSlider(config.num_users, 2 * config.num_aps, 60, description="users", **late)
    number = widgets.BoundedIntText(seed, 0, 10**6, description="seed", **wide)
    tti = widgets.IntSlider(0, 0, last, description="TTI", **late)
    play = widgets.Play(min=0, max=last, interval=400)
    stride = widgets.Dropdown(options=[1, 10, 50], description="TTIs a step", **wide)
    widgets.jslink((play, "value"), (tti, "value"))
    widgets.link((stride, "value"), (play, "step"))
    picture = widgets.interactive_output(draw, {"label": method, "seed": number, "num_users": users, "tti": tti})
    picture.layout.min_height = "480px"  # no jumping while it is drawn anew
    return widgets.VBox([widgets.HBox([method, number, users]), widgets.HBox([play, tti, stride]), picture])
