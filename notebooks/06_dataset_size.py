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
#     needs: [04_training_paradigms]
# ---

# %% [markdown]
# # 06 · How much data is enough?
#
# **Question.** From five thousand transitions to 640 thousand: when does offline learning start to work, and when does more
# of the same log stop helping?
#
# **What the paper says.** Below 20,000 samples the training converges to a saddle point, with R_score near 1.0, the level of
# TDM; above 320,000 there is no further gain (K7).
#
# **What is done here.** Random subsets of two logs, each part of the next larger one: `sac`, written by two online SAC agents
# (half each), and `random`, a random walk. C-, I- and CTDE-MARL-CQL (SAC backbone) with the hyper-parameters and the number
# of updates of notebook 04, whatever the size.
#
# **Running time.** Read: seconds. Recomputed at the `paper` preset: about 25 minutes on 2 cores.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" (minutes) or "paper"
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where networks are trained: "cpu" or "cuda"
seed = 0  # of the deployments and of the first training seed

# %%
import functools

import pandas as pd

from rrmlab import plotting, reference
from rrmlab.claims import holds, row, text
from rrmlab.study import Study
from rrmlab.sweep import OfflineJob, run_jobs
from rrmlab.tables import Ends, by_condition, curves, paired, seed_rows, summary

study = Study("06_dataset_size", preset, recompute, device, seed)
LEARNERS = ["C-MARL-CQL", "I-MARL-CQL", "CTDE-MARL-CQL"]
LOGS = ["sac", "random"]
LARGEST = 2 * study.sizes.transitions
SIZES = [LARGEST // 2**k for k in range(7, -1, -1)]  # 5,000 to 640,000 at the `paper` preset


# %%
@functools.cache
def schedulers():
    return reference.schedulers(study)


@functools.cache
def results():
    logs = {
        "sac": reference.joined(study, reference.online_agents(study)[1]["sac"], LARGEST),
        "random": reference.collected(study, "random", LARGEST),
    }
    jobs = {}
    for log, data in logs.items():
        for method, full in reference.offline_jobs(study, data, ("sac",)).items():
            for size in SIZES if method != "BC" else []:
                jobs[log, size, method] = OfflineJob(
                    data, full.agent, study.sweep_seeds, study.scoring, num_transitions=size, device=device
                )
    done = run_jobs(study.data, jobs)
    return {log: {size: {m: done[log, size, m] for m in LEARNERS} for size in SIZES} for log in LOGS}


def each(make):
    """Rows of every log and size."""
    tables = [by_condition(results()[log], "num_samples", make).assign(dataset=log) for log in LOGS]
    return pd.concat(tables, ignore_index=True)


# %% [markdown]
# ## R_score against the number of transitions
#
# Left and middle: interquartile means over seeds with 95% intervals. Right: the spread between training seeds (standard
# deviation). The grey line is TDM.


# %%
rows = study.table("", lambda: each(lambda part: seed_rows(part, study.sweep_seeds, Ends.of(schedulers()))))
table = study.table("summary", lambda: each(lambda part: summary(part, Ends.of(schedulers()))))
spread = rows.groupby(["dataset", "num_samples", "method"]).score.std().rename("spread").reset_index()
levels = study.table(
    "levels", lambda: summary({name: schedulers()[name] for name in ("TDM", "Exhaustive")}, Ends.of(schedulers()))
).set_index("method")
table.pivot(index=["dataset", "num_samples"], columns="method", values="score").round(3)

# %%
fig, axes = plotting.figure(columns=3, width=plotting.PAGE_IN, height=2.5)
for ax, log in zip(axes, LOGS, strict=False):
    plotting.curve(ax, table[table.dataset == log], "num_samples", "score", LEARNERS)
    ax.axhline(levels.score["TDM"], color="0.5", linewidth=0.9, label="TDM")
    ax.set(title=f"log: {log}", ylabel="R_score (bit/s/Hz)")
for log, line in zip(LOGS, ("-", ":"), strict=True):
    for method in LEARNERS:
        part = spread[(spread.dataset == log) & (spread.method == method)]
        style = plotting.style_of(method) | {"linestyle": line}
        axes[2].plot(part.num_samples, part.spread, **style)
axes[2].set(ylabel="spread of R_score over seeds", title="solid: sac, dotted: random", yscale="log")
low, high = table.score_low.min(), table.score_high.max()
for ax in axes[:2]:
    ax.set_ylim(min(low, levels.score["TDM"]) - 0.03, high + 0.03)
for ax in axes:
    ax.set(xscale="log", xlabel="transitions")
    ax.set_xticks(SIZES[::2], [f"{size / 1000:g}k" for size in SIZES[::2]])
    ax.minorticks_off()
fig.suptitle(f"{int(table.seeds.max())} training seeds; 95% intervals (seeds × deployments)", fontsize=7)
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
study.show(fig, "summary")

# %% [markdown]
# ## Losses at the smallest and at the largest size
#
# TD loss in units of the standardised reward (discounts differ between learners, so compare a learner with itself), and by
# how much the value of the greedy joint action exceeds that of the logged one.


# %%
def losses():
    parts = []
    for log in LOGS:
        for size in (SIZES[0], SIZES[-1]):
            part = pd.concat([curves(results()[log][size], "update", column) for column in ("td_loss", "q_gap")])
            parts.append(part.assign(dataset=log, num_samples=size))
    return pd.concat(parts, ignore_index=True)


along = study.table("losses", losses)
fig, axes = plotting.figure(columns=2, rows=2, width=plotting.PAGE_IN, height=3.8, sharex=True)
for line, column, label in zip(axes, ("td_loss", "q_gap"), ("TD loss", "Q(greedy) − Q(data)"), strict=True):
    for ax, size in zip(line, (SIZES[0], SIZES[-1]), strict=True):
        part = along[(along.dataset == "sac") & (along.num_samples == size)].dropna(subset=[column])
        plotting.curve(ax, part, "update", column, LEARNERS, markers=False)
        ax.set_title(f"log: sac, {size:,} transitions")
    line[0].set_ylabel(label)
    top = max(ax.get_ylim()[1] for ax in line)
    for ax in line:
        ax.set_ylim(0, top)
for ax in axes[1]:
    ax.set_xlabel("gradient steps")
fig.suptitle(f"{int(along.seeds.max())} training seeds, 95% intervals", fontsize=7)
fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
study.show(fig, "losses")

# %% [markdown]
# ## Where it begins, and where it ends
#
# Two sizes for each learner and log, by paired intervals: the smallest from which on R_score is above TDM's, and the smallest
# from which on the largest log is no longer better.


# %%
def turning_points():
    found = []
    tdm = schedulers()["TDM"]
    for log in LOGS:
        for method in LEARNERS:
            learned = {size: results()[log][size][method] for size in SIZES}
            over = {size: paired(learned[size], tdm) for size in SIZES}
            more = {size: paired(learned[LARGEST], learned[size]) for size in SIZES}
            for size in SIZES:
                found.append(
                    {"dataset": log, "method": method, "num_samples": size}
                    | dict(zip(("over_tdm", "over_tdm_low", "over_tdm_high"), over[size], strict=True))
                    | dict(zip(("largest_gains", "largest_gains_low", "largest_gains_high"), more[size], strict=True))
                )
    return pd.DataFrame(found)


def first_from(table, good):
    """The smallest size from which on all sizes are good, or none."""
    bad = table.num_samples[~good]
    later = table.num_samples[table.num_samples > (bad.max() if len(bad) else 0)]
    return later.min() if len(later) else None


turning = study.table("turning_points", turning_points)
pd.DataFrame(
    {
        (log, method): {
            "above TDM from": first_from(part, part.over_tdm_low > 0),
            "largest gains nothing from": first_from(part, part.largest_gains_low <= 0),
        }
        for (log, method), part in turning.groupby(["dataset", "method"], sort=False)
    }
).T

# %% [markdown]
# ## The claims
#
# K7 has two halves. *Below 20,000*: the claim is that the score stays at TDM's level, so that TDM's score minus the
# learner's is not below zero. *Above 320,000*: that the largest log gains nothing over half of it; reproduced if the interval
# of the gain holds zero or lies below, or is less than 1% of the score.


# %%
def claims():
    by = turning.set_index(["dataset", "method", "num_samples"])
    few = [size for size in SIZES if size < LARGEST / 32]  # below 20,000 at the `paper` preset

    def value(log, size, name):
        return tuple(by.loc[(log, "CTDE-MARL-CQL", size), [name, f"{name}_low", f"{name}_high"]])

    worst = {log: value(log, few[-1], "over_tdm") for log in LOGS}
    gain = {log: value(log, LARGEST // 2, "largest_gains") for log in LOGS}
    level = table[table.method == "CTDE-MARL-CQL"].score.max()
    starts = all(holds(interval) != "reproduced" for interval in worst.values())
    ends = all(interval[2] < 0.01 * level or interval[1] <= 0 for interval in gain.values())
    parts = {"no gain beyond 320,000": ends, "at TDM's level below 20,000": starts}
    good = [part for part, true in parts.items() if true]
    verdict = "reproduced" if len(good) == 2 else f"reproduced in part: {good[0]}" if good else "not reproduced"
    reason = "; ".join(
        f"{log}: {few[-1]:,} transitions score {text(worst[log])} above TDM, "
        f"{LARGEST:,} score {text(gain[log])} above {LARGEST // 2:,}"
        for log in LOGS
    )
    return pd.DataFrame([
        row("K7", f"R_score of CTDE-MARL-CQL from {few[-1]:,} transitions of `sac` minus TDM", "near TDM; flat from 320,000",
            worst["sac"], verdict, reason, study.slug)
    ])  # fmt: skip


judged = study.table("claims", claims)
judged.round(3)

# %% [markdown]
# ## What follows

# %%
study.finish()
pd.Series(study.versions(), name="version").to_frame()
