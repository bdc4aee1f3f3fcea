# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
#   rrmlab:
#     needs:
#     - 04_training_paradigms
# ---

# %% [markdown]
# # 05 · How much does the log matter?
#
# <!-- answer -->
# **Answer.** CTDE-MARL-CQL scores 1.32 from SAC's log, 1.29 from a random walk's, 0.65 from a mixture's.
# <!-- /answer -->
#
# **Question.** The same learners, other logs: of an online SAC agent, of an online DQN agent, of a random walk, of a mixture of
# schedulers, and halves of two of them. What is learned from each? And what does the conservative penalty do where the log
# is narrow?
#
# **What the paper says.** The better the behaviour, the better the result: SAC's log before DQN's before a random walk's,
# and SAC's before a mixture of baselines (K4). Without the penalty the values of actions that the log does not hold are
# overestimated, and CQL cures that (K2).
#
# **What is done here.** Every log has the same number of transitions. C-, I- and CTDE-MARL-CQL (SAC backbone) with the
# hyper-parameters that notebook 04 chose on the log `sac`, which favours that log, and on the four pure logs the same without
# the penalty (α = 0). One agent wrote each log: how results vary from log to log is not in these intervals, so for K4 CTDE
# learns from five logs of each kind. For K2 the learned values are set against what following the policy really returned.
#
# **Running time.** Read: seconds. Recomputed at the `paper` preset: about 30 minutes on 2 cores, after notebook 03.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" (minutes) or "paper"
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where networks are trained: "cpu" or "cuda"
seed = 0  # of the deployments and of the first training seed

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from rrmlab import collect, load_dataset
from rrmlab.agents.config import method_name
from rrmlab.game.schedulers import Mixture
from rrmlab.random_streams import MEMBERS, PolicyStream, sample
from rrmlab.study import methods, paper_claims, reading, statistics, tables, tuning
from rrmlab.study.claims import claim_table
from rrmlab.study.figures import dataset_quality as figures
from rrmlab.study.jobs import OfflineJob, run_jobs
from rrmlab.study.logs import collected, joined, log_writer, score_writers, study_logs
from rrmlab.study.notebook import Study

study = Study("05_dataset_quality", preset, recompute, device, seed)

# %%
PURE = ["sac", "dqn", "random", "mixture"]
MIXED = ["sac + random", "sac + mixture"] if preset == "paper" else []  # halves of two logs
CONTROL = "mixture by AP"
UNPENALISED = PURE if preset == "paper" else ["mixture"]  # from which is also learned without the penalty
LOGS = [*PURE, *MIXED, CONTROL]
LEARNERS = ["C-MARL-CQL", "I-MARL-CQL", "CTDE-MARL-CQL"]
if preset != "paper":
    LEARNERS.remove("I-MARL-CQL")  # scores as CTDE does

# %% [markdown]
# ## The experiment
#
# One row is one job for each of its logs: `train_offline(load_dataset(log), agent, seeds)`, and then `evaluate_seeds` on the
# test deployments. `plan` is a plain dict of `AgentConfig` by log and method: change or add one, and it is trained.

# %%
tuned = tuning.offline_agents(study.sizes.updates)
agents = {method: tuned[method] for method in ("BC", *LEARNERS)}
plan = {}
for log in LOGS:
    for method, agent in agents.items():
        if method in LEARNERS or log != CONTROL:
            plan[log, method] = agent
        if method in LEARNERS and log in UNPENALISED:
            free = replace(agent, alpha=0.0)
            plan[log, method_name(free)] = free
# Ten seeds where a claim is judged (CTDE on pure logs, γ = 0.9 below) or notebook 04 has them, five elsewhere.
judged_by = {("sac", method) for method in agents} | {(log, "CTDE-MARL-CQL") for log in [*PURE, CONTROL]}
seeds_at = {key: study.seeds if key in judged_by else study.sweep_seeds for key in plan}
logs_of = {method: ", ".join(log for log, name in plan if name == method) for _, method in plan}
experiment = tables.experiment_table({method: agent for (_, method), agent in plan.items()}, study.seeds, log="")
many = {
    method: ", ".join(sorted({str(len(seeds)) for (_, name), seeds in seeds_at.items() if name == method}))
    for _, method in plan
}
pd.set_option("display.max_colwidth", None)
experiment.assign(log=experiment.method.map(logs_of), seeds=experiment.method.map(many))

# %% [markdown]
# The last log is a control: the same mixture, but each access point draws for itself whom it follows. Given what is seen,
# each acts as often as in `mixture`; only that they act together is gone.


# %%
class MixtureByAP(Mixture):
    """Every TTI each AP follows one of a random walk (first) and deterministic schedulers, drawn for it alone."""

    name = "Mixture by AP"

    def begin(self, key):
        super().begin(key)
        self._key, self._own = key, None

    def serve(self, view):
        users = torch.stack([member.serve(view.narrow(member.knowledge)) for member in self.members])  # (K, E, I)
        if self._own is None:
            self._own = PolicyStream(self._key, self.seed, users.shape[-1], MEMBERS)
        return users.gather(0, sample(self.shares, self._own.next()).unsqueeze(0)).squeeze(0)

    def log_prob(self, view, actions):
        walk, *others = self.members
        served = [view.users(actions) == member.serve(view.narrow(member.knowledge)) for member in others]
        each = torch.stack([1 / view.action_mask.sum(-1), *served], -1).double()  # (E, I, K)
        return (each @ self.shares).log().sum(-1)


# %%
size = study.sizes.transitions
if study.recompute:
    logs = study_logs(study)  # the datasets of notebook 03
    folders = {name: getattr(logs, name) for name in PURE}
    for name in MIXED:
        folders[name] = joined(study, [folders[part] for part in name.split(" + ")], size)
    folders[CONTROL] = collected(study, CONTROL, size, MixtureByAP(log_writer("mixture").members))

# %%
if study.recompute:
    jobs = {}
    for (log, method), agent in plan.items():
        # Those of notebook 04 have a curve.
        curve = study.curve if log == "sac" and method in agents else None
        jobs[log, method] = OfflineJob(
            folders[log], agent, seeds_at[log, method], study.scoring, curve=curve, device=device
        )
    done = run_jobs(study.data, jobs)
    results = {log: {method: done[key, method] for key, method in plan if key == log} for log in LOGS}
    writers = {log: {"behaviour": result} for log, result in score_writers(study, logs.online).items()}
    scale = tables.ScoreScale.of(methods.schedulers(study))

# %% [markdown]
# ## Scores by log
#
# Beside the learners: behaviour cloning, which takes the log's most frequent action as far as one access point's observation
# tells it, and the behaviour itself (grey line): the scheduler that wrote `random` and `mixture`; the last policy of the agent
# that wrote `sac`, drawing its actions as it did, and of the one that wrote `dqn`, without its exploration.


# %%
def seeds_of(part):
    return tables.seed_rows(part, study.seeds, scale, num_samples=size)


def means_of(part):
    return tables.summary(part, scale)


rows = study.table("", lambda: tables.by_condition(results, "dataset", seeds_of))
table = study.table("summary", lambda: tables.by_condition(results, "dataset", means_of))
wrote = study.table("behaviours", lambda: tables.by_condition(writers, "dataset", means_of))
reading.shown(reading.grid(table, "method", "dataset", "score"))

# %%
FREE = [method.removesuffix("-CQL") for method in LEARNERS]  # without the penalty
caption = f"""R_score (a) and 5-percentile rate (b) of what is learned from each log, and, for the four pure logs, of what wrote
it. Interquartile means over {study.sizes.seeds} training seeds on sac and for CTDE on dqn, random, mixture and the
control, else {study.sizes.sweep_seeds}, and {study.sizes.episodes} test deployments; bars: 95% bootstrap
intervals over both."""
study.show(figures.summary(table, wrote, ["BC", *LEARNERS], LOGS), "summary", caption)

# %%
caption = f"""R_score with CQL's penalty as it was tuned (filled) and without it, α = 0 (hollow), by log. Interquartile means over
{study.sizes.sweep_seeds} to {study.sizes.seeds} training seeds and {study.sizes.episodes} test deployments; bars: 95% bootstrap intervals over both."""
pairs = study.table("penalty", lambda: table[table.method.isin([*LEARNERS, *FREE]) & table.dataset.isin(UNPENALISED)])
study.show(figures.penalty(pairs, list(zip(LEARNERS, FREE, strict=True)), UNPENALISED), "penalty", caption)

# %% [markdown]
# Where CTDE-MARL-CQL collapses, what do the policies do? Shares of the actions that they take in 5,000
# states of the log `sac`, all seeds together:


# %%
def choices():
    data = load_dataset(folders["sac"]).take(min(5_000, size))
    obs, mask = data.obs[data.rows], data.mask[data.rows]
    found = []
    for name in [*PURE, CONTROL]:
        for method in LEARNERS:
            actions = torch.stack([policy.act(obs, mask) for policy in results[name][method].policies])
            shares = torch.bincount(actions.flatten(), minlength=mask.shape[-1]) / actions.numel()
            facts = {"dataset": name, "method": method, "seeds": len(actions)}
            found.append(facts | dict(zip(("silent", "1st", "2nd", "3rd"), shares.tolist(), strict=True)))
    return pd.DataFrame(found)


taken = study.table("choices", choices)
reading.shown(taken)

# %% [markdown]
# ## Are values overestimated?
#
# The learned value of the action that is taken, against the discounted return that following the policy then brought, in
# units of the standardised reward: CTDE with SAC, γ = 0.9, where a value rests on the network's own next values. The policy
# acts as it was trained to, by sampling; SAC's values count its entropy, so the return does too. States are those that the
# policy itself leads to, in 40 networks that no log has seen. Every log of the study holds every joint action at least once
# (notebook 03), though in `mixture` two thirds of the transitions are one and the same; so there is a third log here, written
# by full reuse alone, in which every other action is missing.

# %%
GAMMA, WIDTHS = 0.9, ("sac", "mixture", "full reuse")
ALPHAS = (0.0, 0.1, 1.0) if preset == "paper" else (0.0, 1.0)
NETWORKS = 40
valued = {alpha: replace(agents["CTDE-MARL-CQL"], gamma=GAMMA, alpha=alpha) for alpha in ALPHAS}
named = {f"CTDE, α = {alpha:g}": agent for alpha, agent in valued.items()}
tables.experiment_table(named, study.seeds, log=", ".join(WIDTHS))

# %%
if study.recompute:
    narrow = folders | {"full reuse": collected(study, "full reuse", size)}
    jobs = {
        (log, alpha): OfflineJob(narrow[log], agent, study.seeds, study.scoring, device=device)
        for log in WIDTHS
        for alpha, agent in valued.items()
    }
    far_sighted = run_jobs(study.data, jobs)


# %%
def learned_and_returned(policy):
    """Mean learned value and mean discounted return (NETWORKS,) each, over the states that the policy visits."""
    ttis = min(500, study.network.episode_ttis // 2)
    horizon = min(100, ttis // 2)  # what comes later weighs 0.9^100
    data = collect(policy.sampled(), replace(study.network, episode_ttis=ttis), NETWORKS * ttis, seed=seed + 1_000)
    scale, config = policy.tensors, policy.config
    reward = (data.rewards - scale["reward_mean"]) / scale["reward_std"]
    bonus = -config.temperature * data.log_prob
    reward, bonus = (values.double().numpy().reshape(NETWORKS, ttis) for values in (reward, bonus))
    returns, following = np.empty_like(reward), np.zeros(NETWORKS)
    for t in reversed(range(ttis)):  # an action's own entropy is not part of its value, that of the next ones is
        returns[:, t] = reward[:, t] + config.gamma * following
        following = returns[:, t] + bonus[:, t]
    obs, mask = data.obs[data.rows], data.mask[data.rows]
    q = policy.q_values(obs, mask).gather(-1, data.actions.T.unsqueeze(-1)).squeeze(-1).sum(0)  # heads add up
    early = slice(0, ttis - horizon)
    return q.double().numpy().reshape(NETWORKS, ttis)[:, early].mean(1), returns[:, early].mean(1)


# %%
def values():
    parts = []
    for (name, alpha), result in far_sighted.items():
        for policy, rates in zip(result.policies, result.rates, strict=True):
            learned, returned = learned_and_returned(policy)
            facts = {"dataset": name, "alpha": alpha, "seed": policy.seed, "deployment": range(NETWORKS)}
            facts |= {"learned": learned, "returned": returned, "score": tables.scores(rates)["score"]}
            parts.append(pd.DataFrame(facts | {"run": result.folder.name}))
    return pd.concat(parts, ignore_index=True)


overestimated = study.table("values", values)


# %%
def gap_draws(name, alpha):
    """Learned minus returned: interquartile mean over seeds, and bootstrap draws (seeds × networks, common to all)."""
    part = overestimated[(overestimated.dataset == name) & (overestimated.alpha == alpha)]
    gap = (part.learned - part.returned).to_numpy().reshape(-1, NETWORKS)  # (S, D)
    return float(statistics.iqm(gap.mean(1))), statistics.bootstrap(gap)


gaps = {(name, alpha): gap_draws(name, alpha) for name in WIDTHS for alpha in ALPHAS}
over = {key: (value, *statistics.interval(draws, len(study.seeds))) for key, (value, draws) in gaps.items()}
estimated = [{"dataset": name, "alpha": alpha} | tables.columns("gap", gap) for (name, alpha), gap in over.items()]
gaps_table = pd.DataFrame(estimated)
reading.shown(gaps_table.rename(columns=lambda name: name.replace("gap", "learned − returned")))

# %%
caption = f"""Learned value minus realised return of CTDE (SAC, γ = {GAMMA:g}) over the penalty weight α, by log; above 0 is
overestimated. Interquartile means over {study.sizes.seeds} training seeds in {NETWORKS} networks; bars: 95% bootstrap intervals over both.
The vertical axes differ."""
study.show(figures.values(gaps_table), "values", caption)

# %% [markdown]
# ## The claims
#
# K2: overestimated without the penalty, on all three logs; and where they are, the error is smaller in size with α = 1. K4: the
# orderings that the paper states, for CTDE-MARL-CQL, judged over several logs of each kind, three seeds each: the log is the
# unit, the mean of its seeds, drawn with the deployments.

# %%
ORDERED = (("sac", "dqn"), ("dqn", "random"), ("sac", "mixture"))  # the first is to be better
few, several = (study.seeds[:3], 5) if preset == "paper" else (study.seeds[:2], 2)
if study.recompute:
    more = {"sac": logs.all_sac[:several], "dqn": logs.all_dqn[:several]}
    for name in ("random", "mixture"):
        more[name] = [collected(study, name, size, seed=of_log) for of_log in range(seed, seed + several)]
    jobs = {}
    for name, written in more.items():
        for k, log in enumerate(written):
            jobs[name, k] = OfflineJob(log, agents["CTDE-MARL-CQL"], few, study.scoring, device=device)
    of_log = run_jobs(study.data, jobs)
    by_log = {name: [of_log[name, k] for k in range(len(written))] for name, written in more.items()}


# %%
def over_logs():
    found = []
    for better, worse in ORDERED:
        several = tables.paired_over_logs(by_log[better], by_log[worse])
        one = tables.paired(*(results[log]["CTDE-MARL-CQL"] for log in (better, worse)))
        facts = {"part": f"{better} > {worse}", "logs": len(by_log[better]), "seeds": len(few)}
        facts |= tables.columns("over_logs", several) | tables.columns("one_log", one)
        found.append(facts | {"wider": (several[2] - several[1]) / (one[2] - one[1])})
    return pd.DataFrame(found)


ordered = study.table("logs", over_logs)
reading.shown(ordered)


# %%
def claims():
    smaller = {}  # by log, by how much the penalty makes the error smaller
    for log in WIDTHS:
        (without, without_draws), (with_it, with_draws) = gaps[log, 0.0], gaps[log, 1.0]
        draws = np.abs(without_draws) - np.abs(with_draws)
        smaller[log] = (abs(without) - abs(with_it), *statistics.interval(draws, len(study.seeds)))
    ctde = {log: results[log]["CTDE-MARL-CQL"] for log in [*PURE, CONTROL]}
    parts, one_log = (
        {row.part: tables.interval_at(row, column) for _, row in ordered.iterrows()}
        for column in ("over_logs", "one_log")
    )
    wrote = {log: tables.scored(writers[log]["behaviour"])[0] for log in PURE}
    mixtures = (tables.scored(ctde[log]) for log in ("mixture", CONTROL))
    k2 = paper_claims.k2(over, smaller, overestimated.returned.mean())
    level = tables.scored(ctde["sac"])[0]
    return claim_table(study.slug, k2, paper_claims.k4(parts, level, one_log, wrote, *mixtures))


judged = study.table("claims", claims)
reading.shown(judged)

# %% [markdown]
# ## What follows
#
# * For the centralized agent the logs rank as the paper says, `sac`, `dqn`, `random`, with `mixture` last (one log of
#   each kind; neighbours' intervals overlap). For CTDE and I the logs of the two online agents give the same, and a random walk's
#   a little less. Five logs of each kind confirm this for CTDE: `sac` over `dqn` is undecided and the difference small, the other two orderings hold.
# * A good author is not all. The random walk scores below the mixture, and every CQL learner gets a better policy from its
#   log. Only behaviour cloning does not: it can be no better than what the log does most often.
# * CTDE collapses on `mixture`: it passes over its best user too often, and starves some users altogether, though no log
#   starves anybody. That log is narrow, and its access points do not act independently: in two thirds of the TTIs all serve
#   their first user. CTDE, which adds up values, credits each one's action with what they earn together. That is a part of
#   it: on the control, where only the acting together is gone, CTDE scores more, and perhaps I (the intervals overlap). But the other learners stay far above
#   CTDE there; the rest is not explained by this. Half of good data (`sac + mixture`) helps, and so does a stronger penalty:
#   of the CTDE agents of the section on values (γ = 0.9) those with α = 1 score far more on `mixture` than those with α = 0 or
#   0.1. That is hardly more than full reuse scores, though, which is what this log does most.
# * The penalty at α = 0.1 changes R_score little, but perhaps for C on `dqn` and I on `mixture`, where the score is
#   higher with it (both pairs of intervals overlap). It does not help CTDE on `mixture`. The α that is chosen on one log is not the one for another.
# * Values: as the paper says, they are overestimated without the penalty where the log is narrow, on `mixture`, and far more
#   where only full reuse was logged. With CQL at α = 1 an overestimate on
#   `mixture` is no longer certain; on full reuse the values, which CQL means to be lower bounds, end far *below* what is
#   earned, and the policy is full reuse again. On the broad log `sac` nothing is overestimated without it (the target takes the lesser of two
#   critics; the values shown are the mean of both), and α = 1 lifts values above what is earned.
#
# ## In practice
#
# <!-- practice -->
# * Let what writes a log try things. A random walk's log gives 1.29, that of a mixture of random walk, full reuse and
#   ITLinQ, two thirds of which are one joint action, 0.65.
# * Score a clone of the log as well (1.10 on the mixture): a learner below it has been misled by the log.
# <!-- /practice -->

# %%
study.finish()
study.folded_versions()
