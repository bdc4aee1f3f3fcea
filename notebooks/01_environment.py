# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 · What is simulated, and is it what it claims to be?
#
# **Question.** A learner optimises whatever the simulator rewards, mistakes included. So before anything is learned: is
# each part of the simulator the model that it is named after?
#
# **What the sources say.** The paper states the game (observations, actions, reward) but not its radio. The radio is
# that of the paper's lineage: a 500 m square, dual-slope path loss, 7 dB log-normal shadowing, Rayleigh fading with
# Jakes' spectrum at 2.4 GHz and 1 m/s, 10 dBm per access point (AP), 10 MHz. Four APs, 24 users and the start of an
# episode are this study's choice. Each default of `NetworkConfig` says which of the three it comes from.
#
# **What is done.** Each part is measured in the running game and compared with its closed form. In all figures a **line
# is a closed form and points are measurements**, with 95% intervals over random deployments (too short to be seen in many
# places). The last table has one row per check.
#
# **Running time.** Read: seconds. Recomputed: seconds at `smoke`, about a minute on one core at `paper`.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" or "paper" (a minute)
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where the networks are simulated: "cpu" or "cuda"
seed = 0  # of the deployments: whole numbers from 0 on
pictured = 0  # which deployment is shown first: whole numbers from 0 on
speeds_mps = [1.0, 5.0]  # user speeds at which the fading is tested, m/s, above 0; 1 m/s is the study's

# %%
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy.special import j0, j1

from rrmlab import explore, plotting, radio
from rrmlab.env import RRMEnv
from rrmlab.schedulers import FullReuse
from rrmlab.study import Study

study = Study("01_environment", preset, recompute, device, seed)
network = study.network
num = max(100, 10 * study.sizes.episodes)  # deployments, of 4 x 24 links each


def draw(num):
    return radio.Deployment.draw(network, num, seed, "test").to(device)


# %% [markdown]
# Every measurement below is a table with one row per point: the mean over deployments with its interval, and the closed
# form. Where the closed form is conditional on a deployment's geometry, both are averaged over the same deployments, and
# the interval is that of their difference.


# %%
def against(measured, closed_form, **columns):
    """Measured (D, K) for D deployments and K points, closed form (D, K) or (K,): one row per point."""
    measured, closed_form = np.asarray(measured), np.broadcast_to(closed_form, np.shape(measured))
    half = 1.96 * (measured - closed_form).std(0, ddof=1) / math.sqrt(len(measured))
    mean = measured.mean(0)
    estimate = {"measured": mean, "low": mean - half, "high": mean + half, "closed_form": closed_form.mean(0)}
    return pd.DataFrame({**columns, **estimate})


def compare(ax, table, x, label, color, marker="o", every=1):
    """The closed form as a line and the measurements as points."""
    ax.plot(table[x], table.closed_form, color=color)
    points = table.iloc[::every]
    error = [points.measured - points.low, points.high - points.measured]
    style = {"fmt": marker, "markersize": 3, "markerfacecolor": "white", "markeredgewidth": 0.8, "elinewidth": 0.8}
    ax.errorbar(points[x], points.measured, error, label=label, color=color, **style)


BLUE, ORANGE, GREEN, RED = explore.PALETTE[:4]

# %% [markdown]
# ## One network
#
# Four APs and 24 users stand at random in the square, APs at least 35 m apart and users at least 10 m from every AP. A
# user belongs to the AP that it hears best on average (path loss and shadowing, no fading), which need not be the nearest
# one: an obstacle may stand in between. The association stays for the whole episode. Draws in which an AP has no user are
# discarded.


# %%
def one_network():
    silent = torch.full((1, 1, network.num_aps), -1)
    recording = explore.record(FullReuse(), replace(network, episode_ttis=1), seed, pictured)
    return replace(recording, users=silent[0].numpy()).nodes(0)[["kind", "index", "x_m", "y_m", "ap", "on"]]


nodes = study.table("network", one_network)
aps, users = nodes[nodes.kind == "AP"], nodes[nodes.kind == "user"]
distance = np.hypot(*(users[axis].to_numpy()[:, None] - aps[axis].to_numpy() for axis in ("x_m", "y_m")))
print(f"{(distance.argmin(1) != users.ap).sum()} of {len(users)} users are not served by the nearest AP")

# %%
fig, ax = plotting.figure(height=3.5)
explore.draw_map(ax, nodes, network.area_m)
study.show(fig, "network")
