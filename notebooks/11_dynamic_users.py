# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11 · What if users move, come and leave?
#
# <!-- answer -->
# **Answer.** An averaging window of less than 12 coherence times of the channel costs CTDE-MARL-CQL more than 5% of
# R_score against the best one tried, where users move; what was learned without arrivals keeps 0.97 [0.94, 0.99] of
# R_score at the least.
# <!-- /answer -->
#
# **Question.** Everywhere else in this study the same 24 users are there from the start of an episode to its end, and walk.
# What becomes of the PF average, by which all methods rank users, where users drive, come and leave? Must a policy be trained
# for that, or is the average the thing to change?
#
# **What the paper says.** Nothing: its users walk and stay.
#
# **What is done here.** Users come as a Poisson process and stay for exponential times, 24 at a time on average; in a burst
# another 24 come at once. An absent user is in no slot. A user's mean rate is over its presence. The 5-percentile is over users
# who are there for at least a tenth of the episode, 0.2 s: who stays for less than that leaves before its turn comes, and
# the 5-percentile would count when users came, not how they were served; a table shows what this choice does. The SINR that
# users report is that of now: what is studied is an old *average*, not old reports (those are in notebook 04).
#
# **What is compared.** CTDE-MARL-CQL, trained on a random walk's log without arrivals at 1 m/s, in the condition itself, and on
# a mixture of conditions; the threshold rule as tuned without arrivals at 1 m/s and tuned anew; full reuse. 40 deployments
# and three training seeds at the `paper` preset.
#
# **Running time.** Read: seconds. Recomputed at the `paper` preset: about 5 minutes on 2 cores.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" (minutes) or "paper"
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where networks are trained: "cpu" or "cuda"
seed = 0  # of the deployments and of the first training seed

# %%
import itertools
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
from IPython.display import Markdown

from rrmlab.game.evaluation import tail_rate
from rrmlab.study import methods, own_claims, statistics, tables, tuning
from rrmlab.study.claims import claim_table
from rrmlab.study.figures import dynamic_users as figures
from rrmlab.study.jobs import OfflineJob, run_jobs
from rrmlab.study.logs import collected, joined
from rrmlab.study.notebook import Study
from rrmlab.study.scoring import ScoreJob, Scoring

study = Study("11_dynamic_users", preset, recompute, device, seed)
LEARNER, RULES, STATIC = figures.LEARNER, figures.RULES, "no arrivals, 1 m/s"
seeds = study.seeds[:3]
warnings.filterwarnings("ignore", "the policy was trained for another network")  # that is what is studied

# %% [markdown]
# ## The experiment
#
# A condition is a `NetworkConfig` with a few other fields: `speed_mps`, `averaging`, `mean_stay_s`, `newcomer_average`, `burst`,
# `hotspot`, `hysteresis_db`. Where users come and leave, `num_users` counts all users of an episode. The agent is trained by
# `train_offline(load_dataset(log), agent, seeds)` where the log is `collect(make_scheduler("random_walk"), network)`, and scored by
# `evaluate_seeds`.


# %%
def place(**fields):
    """The study's network with other fields; where users come and leave, with as many as may come in an episode."""
    if not fields.get("mean_stay_s"):
        return replace(study.network, **fields)
    network = replace(study.network, require_users=False, num_users=10**6, **fields)
    return replace(network, num_users=network.enough_users)


def scoring(network):
    return Scoring(network, max(2, round(0.4 * study.sizes.episodes)), study.seed, "test")


size = study.sizes.transitions // 4
agent = tuning.offline_agents(max(1, study.sizes.updates // 2))[LEARNER]
tables.experiment_table({LEARNER: agent}, seeds, "random", transitions=size)

# %%
SPECS = {method: methods.find(method).scheduler for method in RULES}
if study.recompute:
    static_log = collected(study, "random", size)
    static = run_jobs(study.data, {0: OfflineJob(static_log, agent, seeds, scoring(place()), device=device)})[0]


def run(networks):
    """The agent trained without arrivals, and the rules, in each network: results by (key, method)."""
    jobs = {(key, LEARNER): ScoreJob(scoring(network), static.folder) for key, network in networks.items()}
    for (key, network), rule in itertools.product(networks.items(), RULES):
        jobs[key, rule] = ScoreJob(scoring(network), None, SPECS[rule])
    return run_jobs(study.data, jobs)


def rows_of(results, names):
    """A row for each key and method of `run`, with what the key's parts are called."""
    return tables.condition_summary(
        [(dict(zip(names, key, strict=True)) | {"method": method}, each) for (key, method), each in results.items()]
    )


# %% [markdown]
# ## Speed and averaging
#
# All users stay. The speed sets the Doppler, thus the coherence time of the fading, `0.423` / f_d: 53 ms at 1 m/s, 1.8 ms at
# 30 m/s. The averaging constant sets the window, over which the PF average looks back: 333, 100 or 33 TTIs of 1 ms.

# %%
SPEEDS, AVERAGING = [0.0, 1.0, 3.0, 10.0, 30.0] if preset == "paper" else [1.0, 30.0], [0.003, 0.01, 0.03]
if study.recompute:
    grid = {(v, a): place(speed_mps=v, averaging=a) for v, a in itertools.product(SPEEDS, AVERAGING)}
    by_speed = run(grid)


# %%
def window_table():
    rows = figures.losses(rows_of(by_speed, ["speed", "averaging"]))
    ratio = [figures.coherence_ttis(place(speed_mps=v)) * a for v, a in zip(rows.speed, rows.averaging, strict=True)]
    return rows.assign(ratio=ratio)


windows = study.table("windows", window_table)
passed = study.table("crossing", lambda: figures.crossing(windows))
caption = """(a) R_score over the speed of users, for three averaging constants of the PF average, without arrivals. (b) Loss of the
other windows against the best of the three, over coherence time / window; lines: 5%, and where the agent passes it. Interquartile means over three training
seeds; bars: 95% intervals over seeds and deployments (rules: deployments)."""
study.show(figures.windows(windows, passed), "windows", caption)

# %% [markdown]
# R_score lost against the best of the three windows at that speed, in per cent:

# %%
(100 * windows.pivot(index=["method", "averaging"], columns="speed", values="loss")).round(1)

# %% [markdown]
# ## Doppler, motion, association
#
# At 30 m/s three things change at once: the fading is faster, the path loss moves, and the AP of the episode's start may no
# longer be the strongest. The Doppler alone: users walk at a carrier of 30 times the frequency, which changes nothing else here.
# The motion alone: users drive at a carrier of a thirtieth. A user changes its AP where another one is stronger by 3 dB.

# %%
FAST = 30.0
CAUSES = {
    "1 m/s": {},
    "Doppler of 30 m/s": {"carrier_hz": FAST * study.network.carrier_hz},
    "motion of 30 m/s": {"speed_mps": FAST, "carrier_hz": study.network.carrier_hz / FAST},
    "30 m/s": {"speed_mps": FAST},
    "30 m/s, AP changes at 3 dB": {"speed_mps": FAST, "hysteresis_db": 3.0},
}
if study.recompute:
    by_cause = run({(name,): place(**fields) for name, fields in CAUSES.items()})

causes = study.table("causes", lambda: rows_of(by_cause, ["condition"]))
causes.pivot(index="condition", columns="method", values=["score", "score_low", "score_high"]).loc[list(CAUSES)].round(
    3
)

# %% [markdown]
# ## Stays, averaging and newcomers
#
# At 1 m/s, with mean stays of 10, 2 and 0.5 s. A newcomer's average starts at its *share*, the rate at its reported SINR over
# the number of users of its AP; or at the mean average of its *cell*; or at the *floor*, that is with the weight 100.

# %%
STAYS = {10.0: "stays of 10 s", 2.0: "stays of 2 s", 0.5: "stays of 0.5 s"}
if preset != "paper":
    del STAYS[2.0]
if study.recompute:
    wanted = [(stay, a, "share") for stay, a in itertools.product(STAYS, AVERAGING)]
    wanted += [(stay, 0.01, start) for stay, start in itertools.product(list(STAYS)[1:], ("cell", "floor"))]
    by_stay = run({(s, a, n): place(mean_stay_s=s, averaging=a, newcomer_average=n) for s, a, n in wanted})

stays = study.table("stays", lambda: rows_of(by_stay, ["stay", "averaging", "newcomer"]))
caption = """R_score over the averaging constant, a panel for each mean stay of users who come and leave. Triangles: other starts of a newcomer's
average (agent, without bars). Interquartile means over three training seeds; bars: 95% intervals over seeds and deployments."""
study.show(figures.stays(stays, STAYS), "stays", caption)

# %% [markdown]
# What the least presence does: the 5-percentile rate of the agent at the averaging constant `0.01` over users who were there
# for at least this share of the episode, and the number of these users in a deployment. Without a bound the shortest stays decide it.

# %%
LEAST = [1e-9, 0.025, 0.05, 0.1, 0.25]


def least_table():
    rows = []
    for stay, least in itertools.product(STAYS, LEAST):
        result = by_stay[(stay, 0.01, "share"), LEARNER]
        tail = statistics.iqm(tail_rate(result.rates, result.presence, least))
        users = (result.presence >= least).sum(1).mean()
        rows.append({"stay": stay, "least_presence": least, "tail_rate": float(tail), "users": users})
    return pd.DataFrame(rows)


counted = study.table("least_presence", least_table)
counted.pivot(index="least_presence", columns="stay", values=["tail_rate", "users"]).round(3)

# %% [markdown]
# ## Trained where?
#
# In each condition: the policies that were trained without arrivals at 1 m/s; those trained on a log of the condition; those
# trained on joined logs ("mixture" in the figure), equal parts of no arrivals at 1 m/s, 30 m/s and stays of 0.5 s. The hotspot, a disc of 30 m in
# which half of the users are, is in none of the logs but its own.

# %%
CONDITIONS = {
    STATIC: {},
    "30 m/s": {"speed_mps": FAST},
    "stays of 2 s": {"mean_stay_s": 2.0},
    "stays of 0.5 s": {"mean_stay_s": 0.5},
    "burst, stays of 2 s": {"mean_stay_s": 2.0, "burst": 1.0},
    "hotspot": {"hotspot": 0.5},
}
OWN = ["30 m/s", "stays of 2 s", "stays of 0.5 s", "hotspot"]  # that have a log of their own
at = {name: place(**fields) for name, fields in CONDITIONS.items()}
tuning_at = {name: Scoring(replace(network, episode_ttis=study.tuning.network.episode_ttis),
                           max(2, study.sizes.tuning_episodes // 5), study.seed, "validation")
             for name, network in at.items()}  # fmt: skip


# %%
def trained_jobs():
    logs = {name: collected(study, "random", size, network=at[name]) for name in OWN}
    mixed = joined(study, [static_log, logs["30 m/s"], logs["stays of 0.5 s"]], size, study.network)
    jobs = {("there", name): OfflineJob(logs[name], agent, seeds, scoring(at[name]), device=device) for name in OWN}
    grid = tuning.thinned(tuning.THRESHOLD_GRID, 1 if preset == "paper" else 3)
    jobs["mixture", STATIC] = OfflineJob(mixed, agent, seeds, scoring(at[STATIC]), device=device)
    for name in OWN:
        rule = ScoreJob(scoring(at[name]), None, {"name": "threshold"}, grid=grid)
        jobs["tuned there", name] = replace(rule, validation=tuning_at[name])
    return jobs


if study.recompute:
    trained = run_jobs(study.data, trained_jobs())
    mixture, others = trained["mixture", STATIC].folder, [name for name in CONDITIONS if name != STATIC]
    jobs = {(STATIC, name): ScoreJob(scoring(at[name]), static.folder) for name in CONDITIONS}
    jobs |= {("mixture", name): ScoreJob(scoring(at[name]), mixture) for name in others}
    tuned = f"tuned, {STATIC}"
    jobs |= {(tuned, name): ScoreJob(scoring(at[name]), None, SPECS["Threshold"]) for name in CONDITIONS}
    trained |= run_jobs(study.data, jobs)


# %%
def training_table():
    rows = tables.condition_summary([({"condition": c, "trained": t}, result) for (t, c), result in trained.items()])
    kept = {c: tables.paired(trained[STATIC, c], trained["there", c], kind="ratio") for c in OWN}
    shares = [kept.get(c, (np.nan,) * 3) if t == STATIC else (np.nan,) * 3 for t, c in trained]
    return rows.assign(**dict(zip(tables.interval_columns("kept"), zip(*shares, strict=True), strict=True)))


training = study.table("training", training_table)
caption = """R_score in conditions with moving and changing users, by where the agent was trained or the threshold rule (triangles) tuned. Interquartile
means over three training seeds; bars: 95% intervals over seeds and deployments (rule: deployments)."""
study.show(figures.training(training, list(CONDITIONS)), caption=caption)

# %% [markdown]
# R_score of the policies trained without arrivals over those trained in the condition, "kept", on the same deployments:

# %%
kept = training.dropna(subset="kept").set_index("condition")
kept[tables.interval_columns("kept")].round(3)

# %% [markdown]
# ## λ as a remedy
#
# With stays of 0.5 s, trained there with another exponent λ of the weights in the reward.

# %%
LAMBDAS = [0.6, 1.0]
if study.recompute:
    jobs = {}
    for lam in LAMBDAS:
        there = replace(at["stays of 0.5 s"], lam=lam)
        log = collected(study, "random", size, network=there)
        jobs[lam] = OfflineJob(log, agent, seeds, scoring(there), device=device)
    by_lam = {study.network.lam: trained["there", "stays of 0.5 s"]} | run_jobs(study.data, jobs)

lambdas = study.table("lambda", lambda: tables.condition_summary([({"lam": lam}, r) for lam, r in by_lam.items()]))
lambdas.sort_values("lam").round(3)

# %% [markdown]
# ## All results
#
# A row for each seed in each condition.


# %%
def all_rows():
    parts = [
        (by_speed, ["speed", "averaging"]),
        (by_cause, ["condition"]),
        (by_stay, ["stay", "averaging", "newcomer"]),
    ]
    entries = [
        (dict(zip(names, key, strict=True)) | {"method": method}, result)
        for results, names in parts
        for (key, method), result in results.items()
    ]
    entries += [({"condition": c, "trained": t}, result) for (t, c), result in trained.items()]
    entries += [({"condition": "stays of 0.5 s", "trained": "there", "lam": lam}, r) for lam, r in by_lam.items()]
    return tables.condition_rows(entries)


rows = study.table("", all_rows)


# %%
def longer_window(results, *key):
    """R_score of the agent with the averaging constant 0.01 over that with 0.003, a key of results but for that."""
    first, second = (results[(key[0], averaging, *key[1:]), LEARNER] for averaging in (0.01, 0.003))
    return tables.paired(first, second, kind="ratio")


def claims():
    shares = {name: tables.interval_at(kept.loc[name], "kept") for name in OWN}
    (ratio,) = passed[passed.method == LEARNER].ratio
    slow, fast = (longer_window(by_speed, speed) for speed in (1.0, FAST))
    fits = own_claims.n4(slow, fast, longer_window(by_stay, 0.5, "share"), ratio)
    return claim_table(study.slug, own_claims.n3(shares), fits)


judged = study.table("claims", claims)
judged[["id", "claim", "ours", "low", "high", "verdict", "reason"]]

# %% [markdown]
# ## What follows
#
# * The PF average fails where it looks back over too few coherence times: users are then ranked by fading that is not over. Of
#   the three windows the longest is best at every speed above 0; at 0 m/s the channels stand still, and for the agent the three
#   differ little. A longer one was not tried.
# * Short stays work against a long window, since a newcomer's average has not settled when it leaves. With the shortest stays
#   here the longest window is not the agent's best any more.
# * Faster fading alone raises the scores, probably since users wait less for a good channel. Motion alone lowers them; where
#   users change their AP while they drive, the scores are nearly those of the faster fading alone.
# * The policies trained without arrivals at 1 m/s serve as well as those trained in the condition with short stays and with the
#   hotspot, and a little less well at 30 m/s. For the burst nothing was trained. To train on joined logs brings nothing.
# * The threshold rule, tuned once without arrivals at 1 m/s, scores as much as the agent or more in every condition.
# * Another λ is no remedy for short stays: a smaller one scores about the same, a larger one less.
# * Without a least presence the 5-percentile rate at stays of 0.5 s is that of users who leave before their turn.
#
# ## In practice


# %%
def score(table, **where):
    """R_score of the one row with these values."""
    for column, value in where.items():
        table = table[table[column] == value]
    return table.score.item()


def best(table, name, **where):
    """The averaging constant of the best score."""
    part = table[(table.method == LEARNER) & (table[list(where)] == pd.Series(where)).all(axis=1)]
    return part.loc[part.score.idxmax(), name]


fit = {v: best(windows, "averaging", speed=v) for v in SPEEDS}
at_stay = {name: best(stays[stays.newcomer == "share"], "averaging", stay=stay) for stay, name in STAYS.items()}
short = stays[(stays.stay == 0.5) & (stays.averaging == 0.01) & (stays.method == LEARNER)]
overlap = "overlap" if short.score_low.max() < short.score_high.min() else "do not all overlap"
least, (ratio,) = kept.kept.idxmin(), passed[passed.method == LEARNER].ratio

# %%
Markdown(f"""
1. **Set the window by the coherence time.** With a window of less than {1 / ratio:.0f} coherence times the agent loses more than 5% of
R_score against the best of the three windows, where users move. (The best window loses nothing by this definition, also where it
is shorter than that.) Its best averaging constant is
{", ".join(f"{a:g} at {v:g} m/s" for v, a in fit.items())}.
2. **And by the stays.** The best constant is {", ".join(f"{a:g} with {name}" for name, a in at_stay.items())}.
3. **Where a newcomer's average starts.** With stays of 0.5 s the agent scores
{", ".join(f"{row.score:.2f} from the {row.newcomer}" for row in short.itertuples())}; the intervals {overlap}.
4. **Is a training for the condition worth it?** What was trained without arrivals at 1 m/s keeps {kept.kept.min():.1%} of the R_score
of what is trained in the condition, or more; it loses most with {least}. The interval is in N3.
5. **Changing the AP.** At 30 m/s the agent scores {score(causes, condition="30 m/s", method=LEARNER):.2f} where users keep their first
AP, and {score(causes, condition="30 m/s, AP changes at 3 dB", method=LEARNER):.2f} where they change to one that is 3 dB stronger.
""")

# %%
study.finish()
study.folded_versions()
