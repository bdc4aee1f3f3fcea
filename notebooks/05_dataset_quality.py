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
# # 05 · How much does the log matter?
#
# **Question.** The same learners, other logs: one that a good agent wrote, a poorer one, a random walk, a mixture of
# schedulers, and halves of two of them. What is learned from each? And what does the conservative penalty do where the log
# is narrow?
#
# **What the paper says.** The better the behaviour, the better the result: SAC's log before DQN's before a random walk's,
# and SAC's before a mixture of baselines (K4). Without the penalty the values of actions that the log does not hold are
# overestimated, and CQL cures that (K2).
#
# **What is done here.** Every log has the same number of transitions. C-, I- and CTDE-MARL-CQL (SAC backbone) with the
# hyper-parameters that notebook 04 chose on the log `sac`, and the same without the penalty (α = 0). For K2 the learned values
# are set against what following the policy really returned.
#
# **Running time.** Read: seconds. Recomputed at the `paper` preset: about 30 minutes on 2 cores.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" (minutes) or "paper"
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where networks are trained: "cpu" or "cuda"
seed = 0  # of the deployments and of the first training seed

# %%
import functools
from dataclasses import replace

import numpy as np
import pandas as pd

from rrmlab import AgentConfig, collect, plotting, reference
from rrmlab.claims import all_hold, row, text
from rrmlab.study import Study
from rrmlab.sweep import OfflineJob, run_jobs
from rrmlab.tables import Ends, by_condition, paired, scores, seed_rows, seeds_interval, summary

study = Study("05_dataset_quality", preset, recompute, device, seed)
PURE = ["sac", "dqn", "random", "mixture"]
MIXED = ["sac + random", "sac + mixture"]
LEARNERS = ["C-MARL-CQL", "I-MARL-CQL", "CTDE-MARL-CQL"]


# %%
@functools.cache
def schedulers():
    return reference.schedulers(study)


@functools.cache
def logs():
    folders = reference.datasets(study, reference.online_agents(study)[1])
    for name in MIXED:
        parts = [folders[part] for part in name.split(" + ")]
        folders[name] = reference.joined(study, parts, study.sizes.transitions)
    return folders


# %% [markdown]
# ## Scores by log
#
# Beside the learners: behaviour cloning, which gets the log's own policy back as far as one access point's observation
# tells it, and the behaviour itself (grey line): the last policy of the agent that wrote `sac` and `dqn`, the scheduler that
# wrote `random` and `mixture`.


# %%
@functools.cache
def results():
    jobs = {}
    for name, data in logs().items():
        for method, job in reference.offline_jobs(study, data, ("sac",)).items():
            jobs[name, method] = replace(job, curve=None) if name != "sac" else job
            if name in PURE and method != "BC":
                agent = replace(job.agent, alpha=0.0)
                jobs[name, reference.method_name(agent)] = replace(job, agent=agent, curve=None)
    done = run_jobs(study.data, jobs)
    return {name: {method: result for (log, method), result in done.items() if log == name} for name in logs()}


@functools.cache
def behaviours():
    found = reference.behaviours(study, reference.online_agents(study)[0])
    return {name: {"behaviour": result} for name, result in found.items()}


ends = functools.cache(lambda: Ends.of(schedulers()))
size = study.sizes.transitions
rows = study.table(
    "",
    lambda: by_condition(results(), "dataset", lambda part: seed_rows(part, study.seeds, ends(), num_samples=size)),
)
table = study.table("summary", lambda: by_condition(results(), "dataset", lambda part: summary(part, ends())))
wrote = study.table(
    "behaviours",
    lambda: by_condition(behaviours(), "dataset", lambda part: summary(part, ends())),
)
table.pivot(index="method", columns="dataset", values="score")[PURE + MIXED].round(3)

# %%
shown = ["BC", *LEARNERS, "C-MARL", "I-MARL", "CTDE-MARL"]
fig, axes = plotting.figure(rows=2, width=plotting.PAGE_IN, height=4.2, sharex=True)
for ax, value, label in zip(axes, ("score", "tail_rate"), ("R_score", "5-percentile rate"), strict=True):
    for k, method in enumerate(shown):
        part = table[table.method == method].set_index("dataset").reindex(PURE + MIXED)
        error = np.abs(part[[f"{value}_low", f"{value}_high"]].to_numpy().T - part[value].to_numpy())
        hollow = {} if method.endswith("CQL") or method == "BC" else {"markerfacecolor": "white"}
        style = plotting.style_of(method) | {"linestyle": "none"} | hollow
        ax.errorbar(
            np.arange(len(part)) + 0.11 * (k - 3), part[value], yerr=error, elinewidth=0.8, label=method, **style
        )
    for x, name in enumerate(PURE):
        line = wrote.set_index("dataset").loc[name]
        ax.hlines(line[value], x - 0.42, x + 0.42, color="0.5", label="behaviour" * (x == 0), zorder=0)
    ax.set_ylabel(f"{label} (bit/s/Hz)")
    ax.grid(axis="x", visible=False)
axes[1].set_xticks(range(len(PURE + MIXED)), PURE + MIXED)
axes[1].set_xlabel("log learned from")
seeds = int(table.seeds.max())
fig.suptitle(
    f"95% intervals over {seeds} training seeds × deployments; hollow: without the penalty (α = 0)", fontsize=7
)
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
study.show(fig, "summary")

# %% [markdown]
# ## Are values overestimated?
#
# The learned value of the action that is taken, against the discounted return that following the policy then brought, in
# units of the standardised reward: CTDE with SAC, γ = 0.9, where a value rests on the network's own next values. The policy
# acts as it was trained to, by sampling; SAC's values count its entropy, so the return does too. The difference is taken
# in the networks and states that the policy itself leads to.

# %%
GAMMA, ALPHAS, WIDTHS = 0.9, (0.0, 0.1, 1.0), ("sac", "mixture")


@functools.cache
def valued():
    tuned = reference.TUNED["ctde", "sac"]
    jobs = {}
    for name in WIDTHS:
        for alpha in ALPHAS:
            agent = AgentConfig(**(tuned | {"gamma": GAMMA, "alpha": alpha}), num_updates=study.sizes.updates)
            jobs[name, alpha] = OfflineJob(logs()[name], agent, study.seeds, study.scoring, device=device)
    return run_jobs(study.data, jobs)


def overestimation(policy):
    """Mean of learned value, of discounted return, and of their difference, over states that the policy visits."""
    ttis = min(500, study.network.episode_ttis)
    horizon = min(100, ttis // 2)  # what comes later weighs 0.9^100
    data = collect(policy.sampled(), replace(study.network, episode_ttis=ttis), 20 * ttis, seed=seed)
    scale, config = policy.tensors, policy.config
    reward = (data.rewards - scale["reward_mean"]) / scale["reward_std"]
    bonus = -config.temperature * data.log_prob.float()
    steps = [values.unflatten(0, (20, ttis)).double().numpy() for values in (reward, bonus)]
    reward, bonus = steps
    returned = np.zeros(20)
    returns = np.empty_like(reward)
    for t in reversed(range(ttis)):  # its own entropy is not part of an action's value, that of the next ones is
        returns[:, t] = reward[:, t] + config.gamma * returned
        returned = returns[:, t] + bonus[:, t]
    obs, mask = data.obs[data.rows], data.mask[data.rows]
    q = policy.q_values(obs, mask).gather(-1, data.actions.T.unsqueeze(-1)).squeeze(-1).sum(0)  # heads add up
    q = q.double().numpy().reshape(20, ttis)
    early = slice(0, ttis - horizon)
    return q[:, early].mean(), returns[:, early].mean()


def values():
    parts = []
    for (name, alpha), result in valued().items():
        for policy, rates in zip(result.policies, result.rates, strict=True):
            learned, realised = overestimation(policy)
            facts = {"dataset": name, "alpha": alpha, "seed": policy.seed, "learned": learned, "realised": realised}
            facts["overestimation"] = learned - realised
            parts.append(facts | {"score": scores(rates)["score"], "run": result.folder.name})
    return pd.DataFrame(parts)


overestimated = study.table("values", values)
overestimated.groupby(["dataset", "alpha"])[["learned", "realised", "overestimation", "score"]].mean().round(3)

# %%
fig, axes = plotting.figure(columns=2, width=plotting.COLUMN_IN, height=2.4, sharey=True)
for ax, name in zip(axes, WIDTHS, strict=True):
    for k, alpha in enumerate(ALPHAS):
        part = overestimated[(overestimated.dataset == name) & (overestimated.alpha == alpha)]
        ax.plot(part.realised, part.learned, "os^"[k], color=f"C{k}", markersize=3.5, label=f"α = {alpha:g}")
    ends_of_line = overestimated[["learned", "realised"]].to_numpy()
    line = [ends_of_line.min(), ends_of_line.max()]
    ax.plot(line, line, color="0.5", linewidth=0.8)
    ax.set(title=f"log: {name}", xlabel="realised return")
axes[0].set_ylabel("learned value")
axes[0].legend(loc="upper left")
fig.suptitle(
    f"CTDE, γ = {GAMMA:g}; a point is one of {overestimated.seed.nunique()} seeds; line: learned = realised", fontsize=6
)
study.show(fig, "values")

# %% [markdown]
# ## The claims


# %%
def claims():
    ctde = {name: results()[name]["CTDE-MARL-CQL"] for name in PURE}

    parts = {
        f"{a} > {b}": paired(ctde[a], ctde[b])
        for a, b in (("sac", "dqn"), ("dqn", "random"), ("sac", "random"), ("sac", "mixture"))
    }
    least = min(parts, key=lambda part: parts[part][0])
    k4 = row(
        "K4", f"R_score of CTDE-MARL-CQL, smallest difference of sac > dqn > random and sac > mixture ({least})", "> 0",
        parts[least], all_hold(parts),
        "; ".join(f"{part}: {text(value)}" for part, value in parts.items()), study.slug,
    )  # fmt: skip
    by = overestimated.set_index(["dataset", "alpha"]).overestimation
    over = {name: seeds_interval(by.loc[name, 0.0].to_numpy()) for name in WIDTHS}
    cured = {name: seeds_interval(by.loc[name, 0.0].to_numpy() - by.loc[name, 1.0].to_numpy()) for name in WIDTHS}
    parts = {f"overestimated on {name}": over[name] for name in WIDTHS} | {
        f"less with CQL on {name}": cured[name] for name in WIDTHS
    }
    left = {name: seeds_interval(by.loc[name, 1.0].to_numpy()) for name in WIDTHS}
    k2 = row(
        "K2", "learned value minus realised return without the penalty, CTDE on the narrow log (mixture), standardised reward",
        "> 0, cured by CQL", over["mixture"], all_hold(parts),
        "; ".join(f"{name}: {text(over[name], 2)} without, {text(left[name], 2)} with α = 1" for name in WIDTHS), study.slug,
    )  # fmt: skip
    return pd.DataFrame([k2, k4])


judged = study.table("claims", claims)
judged.round(3)

# %% [markdown]
# ## What follows

# %%
study.finish()
pd.Series(study.versions(), name="version").to_frame()
