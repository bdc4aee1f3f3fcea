# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
#   rrmlab:
#     needs:
#     - 02_baselines
# ---

# %% [markdown]
# # 03 · Where does the logged data come from?
#
# <!-- answer -->
# **Answer.** From online SAC and DQN agents, a random walk and a mixture of schedulers. The SAC agent, which samples
# its actions, scores 1.24; the mixture scores 1.10, the random walk 1.04.
# <!-- /answer -->
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
# **Running time.** Read: seconds. Recomputed at the `paper` preset: 9 to 28 minutes on 2 cores.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" (minutes) or "paper"
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where networks are trained: "cpu" or "cuda"
seed = 0  # of the deployments and of the first training seed

# %%
import numpy as np
import pandas as pd
from IPython.display import display

from rrmlab import load_dataset
from rrmlab.study import methods, reading, statistics, tuning
from rrmlab.study.figures import datasets as figures
from rrmlab.study.jobs import run_jobs
from rrmlab.study.logs import online_jobs, study_logs
from rrmlab.study.notebook import Study
from rrmlab.study.tables import ScoreScale, curves, experiment_table, seed_rows, summary

study = Study("03_datasets", preset, recompute, device, seed)
NAMES = ("sac", "dqn", "random", "mixture")
METHODS = ("Online SAC", "Online DQN", "Random walk", "Full reuse", "ITLinQ", "Exhaustive")

# %% [markdown]
# ## The experiment
#
# One row is one job: `train_online(network, agent, seeds, num_transitions, num_envs)`, which trains all seeds as one program,
# and then `evaluate_seeds(policies, ...)` on the test deployments. `jobs` is a plain dict of `OnlineJob`: change or add one,
# and it is trained. There is one update per step of the environments, but for the first steps (10,000 transitions, or a tenth
# of all where that is less), in which actions are drawn uniformly. The later notebooks ask `study_logs` for the logs of these
# jobs.

# %%
jobs = online_jobs(study)
agents = {method: job.agent for method, job in jobs.items()}
sizes = {"transitions": 2 * study.sizes.transitions, "environments": study.sizes.envs}
steps = 2 * study.sizes.transitions // study.sizes.envs
experiment_table(agents, study.seeds, log="none, online", updates=steps, **sizes)

# %%
if study.recompute:
    online = run_jobs(study.data, jobs)
    everything = methods.schedulers(study) | online
    results = {method: everything[method] for method in METHODS}
    scale = ScoreScale.of(everything)

# %% [markdown]
# ## Online training
#
# The agents act in a batch of networks at once; every step of the batch is followed by one gradient step. They are scored
# on *validation* deployments along the way, greedily, and what is seen there is never fed back. Discount γ, learning rate,
# and SAC's temperature or DQN's loss are the best of twelve short trainings each, by R_score on validation deployments. The
# learners of notebook 04 are chosen in the same way (only the `paper` preset runs the trials; smaller ones take its choice).

# %%
if preset == "paper":
    trials = study.table("tuning", lambda: tuning.online_trials(study))
    display(tuning.chosen(trials))

# %%
rows = study.table("", lambda: seed_rows(results, study.seeds, scale))
table = study.table("summary", lambda: summary(results, scale))
reading.shown(table)

# %%
learning = study.table("curves", lambda: curves(online, "eval_update", "eval_score"))
levels = table.set_index("method").score[["Random walk", "ITLinQ"]]
caption = f"""R_score along the online training, on validation deployments: interquartile mean of
{learning.seeds.max()} training seeds, band: 95% bootstrap interval over seeds. Horizontal: two schedulers on the test deployments."""
study.show(figures.curves(learning, levels), "curves", caption)

# %% [markdown]
# ## The datasets
#
# A joint action is what all access points do in one TTI. There are (N+1)^I = 256 of them; `coverage` is the share of them
# that the log holds at all, and the entropy says how evenly they are spread (8 bit would be perfectly even).

# %%
if study.recompute:
    logs = study_logs(study)
    datasets = {name: load_dataset(getattr(logs, name)) for name in NAMES}


# %%
def joint_shares(data):
    """Share of every joint action in the log, largest first."""
    actions = data.mask.shape[-1]
    code = (data.actions.numpy() * actions ** np.arange(data.actions.shape[1])).sum(1)
    return np.sort(np.bincount(code, minlength=actions ** data.actions.shape[1]) / len(data))[::-1]


# %%
def log_statistics():
    facts = []
    for name, data in datasets.items():
        shares, rewards = joint_shares(data), data.rewards.numpy()
        used = shares[shares > 0]
        fact = {"dataset": name, "behaviour": data.metadata["behaviour"], "num_samples": len(data)}
        fact |= {"mean_reward": rewards.mean(), "reward_std": rewards.std()}
        fact |= {"coverage": (shares > 0).mean(), "entropy_bit": -(used * np.log2(used)).sum()}
        facts.append(fact | {"silent": (data.actions == 0).double().mean().item()})
    return pd.DataFrame(facts)


reading.shown(study.table("statistics", log_statistics))


# %%
def contents():
    """What the three panels draw: per dataset the reward's quantiles, the actions' shares, the joint actions' shares."""
    parts = []
    for name, data in datasets.items():
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


caption = f"""What the four logs hold, {study.sizes.transitions:,} transitions each: (a) CDF of the reward of a TTI; (b) how often
an AP is silent or serves its first, second or third user; (c) share of each joint action, from the most to the least frequent.
Counts of whole logs: there is no interval."""
study.show(figures.contents(study.table("contents", contents)), "contents", caption)

# %% [markdown]
# ## What follows
#
# * Every log holds every joint action at least once; what differs is how often. The random walk is the most even and has
#   the widest rewards. The mixture has the lowest entropy: two thirds of it are one joint action. Its rarest joint actions are
#   more frequent than those of the online agents' logs, though.
# * The online agents lie between. Their rarest joint action occurs 16 times in SAC's log, twice in DQN's.
# * The mean rewards differ by a few percent, the scores of the behaviours by a quarter: a behaviour that seldom serves a
#   user raises that user's weight, and is paid more for serving it later. Judge a behaviour by its score.
#
# ## In practice
#
# <!-- practice -->
# * Count the joint actions of a log before learning from it. Each of these four holds all of them, but their entropy is
#   8.0 bit with the random walk, 7.3 bit with SAC and 3.6 bit with the mixture.
# * Keep the probability of every logged action: without it one cannot say afterwards how the log was written.
# <!-- /practice -->

# %%
study.finish()
study.folded_versions()
