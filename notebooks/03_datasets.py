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
#   rrmlab:
#     needs: [02_baselines]
# ---

# %% [markdown]
# # 03 · Where does the logged data come from?
#
# **Question.** Offline learning sees nothing but a log. What do the logs of this study hold: how good was the behaviour
# that wrote them, and how much of what *could* have been done did it try?
#
# **What the paper says.** Its datasets come from online SAC, online DQN, a random walk, and mixtures of the baselines; the
# better the behaviour, the better what is learned from it.
#
# **What is done here.** Two online agents (CTDE, one head per access point, no conservative penalty) are trained in the
# simulator; the transitions of the second half of the first seed's training are the datasets `sac` and `dqn`. `random` is
# a random walk over the allowed actions. `mixture` follows random walk, full reuse or ITLinQ, drawn anew in every TTI. All
# are Minari datasets on disk.
#
# **Running time.** Read: seconds. Recomputed at the `paper` preset: about 12 minutes on 2 cores.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" (minutes) or "paper"
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where networks are trained: "cpu" or "cuda"
seed = 0  # of the deployments and of the first training seed

# %%
import functools

import numpy as np
import pandas as pd
from IPython.display import display

from rrmlab import load_dataset
from rrmlab.study import logs, methods, plotting, statistics, tuning
from rrmlab.study.notebook import Study
from rrmlab.study.tables import ScoreScale, curves, seed_rows, summary

study = Study("03_datasets", preset, recompute, device, seed)
NAMES = ("sac", "dqn", "random", "mixture")
METHODS = ("Online SAC", "Online DQN", "Random walk", "Full reuse", "ITLinQ", "Exhaustive")

# %% [markdown]
# ## Online training
#
# The agents act in a batch of networks at once; every step of the batch is followed by one gradient step. They are scored
# on *validation* deployments along the way, greedily, and what is seen there is never fed back. Discount γ, learning rate,
# and SAC's temperature or DQN's loss are the best of twelve short trainings each, by R_score on validation deployments, as
# for every method of this study that learns (only the `paper` preset runs the trials; smaller ones take its choice).

# %%
if preset == "paper":
    trials = study.table("tuning", lambda: tuning.online_trials(study))
    display(tuning.chosen(trials))


# %%
@functools.cache
def online():
    return methods.online_agents(study)


@functools.cache
def results():
    everything = methods.schedulers(study) | online()[0]
    return {name: everything[name] for name in METHODS}


rows = study.table("", lambda: seed_rows(results(), study.seeds, ScoreScale.of(results())))
table = study.table("summary", lambda: summary(results(), ScoreScale.of(results())))
table.round(3)

# %%
learning = study.table("curves", lambda: curves(online()[0], "eval_update", "eval_score"))
fig, ax = plotting.figure()
names = {"Online SAC": "sac", "Online DQN": "dqn"}
plotting.curve(
    ax, learning, "eval_update", "eval_score", list(names), style=lambda method: plotting.dataset_style(names[method])
)
ax.set_xlabel("transitions seen online")
ax.set_ylabel("R_score (bit/s/Hz), validation")
ax.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k")
ax.legend(
    title=f"interquartile mean of {int(learning.seeds.iloc[0])} seeds, 95% interval",
    title_fontsize=6,
    loc="lower right",
)
study.show(fig, "curves")

# %% [markdown]
# ## The datasets
#
# A joint action is what all access points do in one TTI. There are (N+1)^I = 256 of them; `coverage` is the share of them
# that the log holds at all, and the entropy says how evenly they are spread (8 bit would be perfectly even).


# %%
@functools.cache
def datasets():
    folders = logs.study_logs(study)
    return {name: load_dataset(getattr(folders, name)) for name in NAMES}


def joint_shares(data):
    """Share of every joint action in the log, largest first."""
    actions = data.mask.shape[-1]
    code = (data.actions.numpy() * actions ** np.arange(data.actions.shape[1])).sum(1)
    return np.sort(np.bincount(code, minlength=actions ** data.actions.shape[1]) / len(data))[::-1]


def log_statistics():
    facts = []
    for name, data in datasets().items():
        shares, rewards = joint_shares(data), data.rewards.numpy()
        used = shares[shares > 0]
        facts.append(
            {
                "dataset": name,
                "behaviour": data.metadata["behaviour"],
                "num_samples": len(data),
                "mean_reward": rewards.mean(),
                "reward_std": rewards.std(),
                "coverage": (shares > 0).mean(),
                "entropy_bit": -(used * np.log2(used)).sum(),
                "silent": (data.actions == 0).double().mean().item(),
            }
        )
    return pd.DataFrame(facts)


study.table("statistics", log_statistics).round(3)


# %%
def contents():
    """What the three panels draw: per dataset the reward's quantiles, the actions' shares, the joint actions' shares."""
    parts = []
    for name, data in datasets().items():
        quantiles = statistics.quantiles(data.rewards.numpy())
        counts = np.bincount(data.actions.numpy().ravel(), minlength=data.mask.shape[-1])
        shares = joint_shares(data)
        for panel, x, y in (
            ("reward", quantiles.rate, quantiles.probability),
            ("action", np.arange(len(counts)), counts / counts.sum()),
            ("joint action", np.arange(1, len(shares) + 1), shares),
        ):
            parts.append(pd.DataFrame({"dataset": name, "panel": panel, "x": x, "share": y}))
    return pd.concat(parts)


drawn = study.table("contents", contents).set_index(["panel", "dataset"])
fig, (left, middle, right) = plotting.figure(columns=3, width=plotting.PAGE_IN, height=2.3)
for k, name in enumerate(NAMES):
    style = {"color": plotting.dataset_style(name)["color"], "label": name}
    part = drawn.loc["reward", name]
    left.plot(part.x, part.share, linestyle=plotting.dataset_style(name)["linestyle"], **style)
    part = drawn.loc["action", name]
    hatch = ("", "////", "....", "xxxx")[k]
    middle.bar(part.x + 0.2 * (k - 1.5), part.share, width=0.2, hatch=hatch, edgecolor="white", linewidth=0, **style)
    part = drawn.loc["joint action", name]
    right.plot(
        part.x[part.share > 0], part.share[part.share > 0], linestyle=plotting.dataset_style(name)["linestyle"], **style
    )
left.set(
    xlabel="reward of a TTI ((bit/s/Hz)$^{0.2}$)",
    ylabel="share of transitions below",
    xlim=(0, drawn.loc["reward"].x.quantile(0.995)),
)
middle.set(xlabel="action of an AP", ylabel="share of actions")
middle.set_xticks(range(4), ["silent", "1st", "2nd", "3rd"])
right.set(xlabel="rank of the joint action", ylabel="share of transitions", xscale="log", yscale="log")
left.legend(loc="lower right")
study.show(fig, "contents")

# %% [markdown]
# ## What follows
#
# * Every log holds every joint action at least once; what differs is how often. The random walk is the most even and has
#   the widest rewards. The mixture has the lowest entropy: two thirds of it are one joint action. Its rarest joint actions are
#   more frequent than those of the online agents' logs, though.
# * The online agents lie between. What they hardly ever do occurs 16 times in SAC's log, twice in DQN's.
# * The mean reward hardly tells the behaviours apart, although their scores differ by a quarter: a behaviour that starves a
#   user raises that user's weight, and is paid more for serving it later. Judge a behaviour by its score.

# %%
study.finish()
pd.Series(study.versions(), name="version").to_frame()
