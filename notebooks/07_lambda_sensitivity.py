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
# # 07 · What does λ trade?
#
# <!-- answer -->
# **Answer.** From λ = 0.5 to 0.9 CTDE-MARL-CQL's sum rate falls from 18.8 to 14.5 bit/s/Hz and its 5-percentile rate
# rises from 0.163 to 0.234.
# <!-- /answer -->
#
# **Question.** The reward of a TTI is Σ w^λ · C: λ = 0 counts bits, λ = 1 is proportional fairness. Which points between sum
# rate and tail rate does each way of learning reach?
#
# **What the paper says.** λ trades sum rate against tail rate; too low a λ leaves a tail rate near zero (K9).
#
# **What is done here.** For each λ the reward is another one, so the log is collected anew, by an online SAC agent trained with
# that λ; then C-, I- and CTDE-MARL-CQL (SAC backbone, hyper-parameters as in notebook 04, tuned at λ = 0.8) learn from it. The
# exhaustive oracle maximises the same reward with all gains known. The other schedulers do not change with λ (greedy marginal and
# the best subset keep their λ = 1). One agent wrote each log: how
# results vary from log to log is not in the intervals.
#
# **Running time.** Read: seconds. Recomputed at the `paper` preset: about 11 minutes on 2 cores, after notebook 03.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" (minutes) or "paper"
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where networks are trained: "cpu" or "cuda"
seed = 0  # of the deployments and of the first training seed

# %%
from dataclasses import replace

import pandas as pd
from IPython.display import display

from rrmlab.study import methods, reading, sweep_claims, tables, tuning
from rrmlab.study.claims import claim_table
from rrmlab.study.figures import lambda_sensitivity as figures
from rrmlab.study.jobs import OfflineJob, OnlineJob, run_jobs
from rrmlab.study.notebook import Study
from rrmlab.study.scoring import score_scheduler

study = Study("07_lambda_sensitivity", preset, recompute, device, seed)
LEARNERS = ["C-MARL-CQL", "I-MARL-CQL", "CTDE-MARL-CQL"]
if preset != "paper":
    LEARNERS.remove("I-MARL-CQL")  # scores as CTDE does
LAMBDAS = [0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0] if preset == "paper" else [0.0, 0.5, 0.8, 0.9]

# %% [markdown]
# ## The experiment
#
# Every row is one job for each λ. The first one writes the logs: `train_online(network, agent, seeds, num_transitions)` with
# `network = replace(study.network, lam=lam)`. The others are `train_offline(load_dataset(log), agent, seeds)` on the log of
# the same λ. All are scored by `evaluate_seeds` on the test deployments. `agents` is a plain dict of `AgentConfig`: change or
# add one, and it is trained for each λ.

# %%
writer = tuning.online_agents()["Online SAC"]
offline = tuning.offline_agents(study.sizes.updates)
agents = {method: offline[method] for method in LEARNERS}
lambdas = ", ".join(f"{lam:g}" for lam in LAMBDAS)
steps = 2 * study.sizes.transitions // study.sizes.envs  # one update per step of the environments
first = tables.experiment_table({"Online SAC": writer}, study.seeds[:1], "none, online", updates=steps, lam=lambdas)
then = tables.experiment_table(agents, study.sweep_seeds, "of Online SAC", lam=lambdas)
pd.concat([first, then], ignore_index=True)

# %%
if study.recompute:
    networks = {lam: replace(study.network, lam=lam) for lam in LAMBDAS}
    scoring = {lam: replace(study.scoring, network=network) for lam, network in networks.items()}
    num, envs = 2 * study.sizes.transitions, study.sizes.envs
    online_jobs = {
        lam: OnlineJob(networks[lam], writer, study.seeds[:1], scoring[lam], num, envs, logs=1, device=device)
        for lam in LAMBDAS
    }
    online = run_jobs(study.data, online_jobs)

# %%
if study.recompute:
    jobs = {}
    for lam in LAMBDAS:
        (log,) = online_jobs[lam].datasets(online[lam].folder)
        for method, agent in agents.items():
            jobs[lam, method] = OfflineJob(log, agent, study.sweep_seeds, scoring[lam], device=device)
    learned = run_jobs(study.data, jobs)
    results = {}
    for lam in LAMBDAS:
        oracle = score_scheduler(study.data, {"name": "exhaustive", "lam": lam}, study.scoring)
        results[lam] = {method: learned[lam, method] for method in LEARNERS}
        results[lam] |= {"Online SAC": online[lam], "Exhaustive": oracle}
    schedulers = methods.schedulers(study)
    scale = tables.ScoreScale.of(schedulers)

# %% [markdown]
# ## The frontier
#
# The normalised score has the same ends for every λ: the random walk is 0, the exhaustive search with λ = 1 is 100.


# %%
def seeds_of(part):
    return tables.seed_rows(part, study.sweep_seeds, scale)


rows = study.table("", lambda: tables.by_condition(results, "lam", seeds_of))
table = study.table("summary", lambda: tables.by_condition(results, "lam", lambda part: tables.summary(part, scale)))
points = study.table("schedulers", lambda: tables.summary(schedulers, scale))
for name in tables.SCORES:
    display(
        reading.shown(reading.grid(table, "lam", "method", name).rename(columns={"λ": f"{reading.NAMES[name]}, λ"}))
    )

# %%
caption = f"""5-percentile rate against sum rate as λ varies (a), and R_score over λ (b). Numbers at the points: λ. Nothing was
measured between λ = 0 and 0.5, so no line is drawn there. Interquartile means over {study.sizes.sweep_seeds} training seeds and
{study.sizes.episodes} test deployments (Exhaustive and single points: deployments); bars: 95% bootstrap intervals."""
study.show(figures.summary(table, points, LEARNERS), "summary", caption)

# %% [markdown]
# ## The claims
#
# K9 has four parts, for CTDE-MARL-CQL: from λ = 0.9 down to 0.5 the sum rate rises and the tail rate falls; and the tail is
# near zero, meaning here below a tenth of what it is at λ = 0.8, at λ = 0.5, the lowest of the paper's frontier, and at 0.


# %%
def claims():
    at = {lam: results[lam]["CTDE-MARL-CQL"] for lam in LAMBDAS}
    gain, loss = tables.paired(at[0.5], at[0.9], "sum_rate"), tables.paired(at[0.9], at[0.5], "tail_rate")
    at_half, at_zero = (tables.paired(at[lam], at[0.8], "tail_rate", kind="ratio") for lam in (0.5, 0.0))
    return claim_table(study.slug, sweep_claims.k9(gain, loss, at_half, at_zero))


judged = study.table("claims", claims)
reading.shown(judged)

# %% [markdown]
# ## What follows
#
# * From λ = 0.5 to 1 every learner moves along a frontier of its own: sum rate falls, tail rate rises. From 0.6 on the centralized
#   agent's lies above the common one of I and CTDE, and the oracle's above all.
# * R_score is flat near the paper's λ = 0.8: CTDE loses a little towards 1, where C-MARL-CQL and the oracle still gain.
# * The collapse of the tail is at λ = 0, where nobody's wait counts; at λ = 0.5 most of the tail rate is still there. To the
#   oracle λ = 0 brings the largest sum rate, to the learners less than 0.5 does; why was not looked into. All of them stay below Max-SINR, which may serve anybody: the slots offer the best users by PF factor,
#   not by SINR.
#
# ## In practice
#
# <!-- practice -->
# * Set λ by what the weakest users are to get: CTDE-MARL-CQL's 5-percentile rate is 0.000 bit/s/Hz at λ = 0, 0.226 at
#   0.8 and 0.240 at 1. Its R_score is nearly the same from 0.6 to 0.9 (1.31 to 1.33).
# * Collect a log for each λ that you may want, or take a policy whose λ is chosen when it runs (notebook 14).
# <!-- /practice -->

# %%
study.finish()
study.folded_versions()
