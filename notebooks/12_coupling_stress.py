# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 12 · When does value decomposition stop paying?
#
# <!-- answer -->
# **Answer.** CTDE-MARL-CQL (DQN) falls below 95% of C-MARL-CQL (DQN) where a sum over APs leaves out 0.36 [0.33, 0.40]
# of the reward's variance; that share has a rank correlation of -0.93 with the ratio of both, the interference-to-noise
# ratio -0.80.
# <!-- /answer -->
#
# **Question.** CTDE learns a value that is a sum over the access points (APs). How strongly may the APs be coupled before
# that costs much? And is there a number, to be had before anything is trained, that says so?
#
# **What the paper says.** Nothing about it: it has one network density. N5 and N6 below are claims of this study's own,
# judged by the same rules as the paper's.
#
# **What is done here.** Networks of the study are stressed in two ways: by the side of the square, and by a factor on the
# gains between cells at fixed own gains (`NetworkConfig(cross_gain_db=...)`). A smaller side also raises the signal, the
# factor leaves it as it is; what there is to gain grows with both. In each network the reward of all 256 joint actions is computed
# in the visited states, and its variance is split exactly: what a sum over APs explains, what pairs of APs add, triples, all
# four (`rrmlab.study.interactions`). The share that no sum explains is called κ. Beside it stands the median
# interference-to-noise ratio (INR).
#
# **What is trained.** From a random walk's log in each network: C, I, CTDE with a sum and with QMIX, and graph agents. All of
# them have the DQN backbone, in which the value itself decides. The log's actions are uniform, so κ under uniform actions is
# κ under the log's.
#
# **Running time.** Read: seconds. Recomputed at the `paper` preset: about 14 minutes on 2 cores.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" (minutes) or "paper"
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where networks are trained: "cpu" or "cuda"
seed = 0  # of the deployments and of the first training seed

# %%
import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
from IPython.display import Markdown

from rrmlab.agents.config import method_name
from rrmlab.game.schedulers import make_scheduler
from rrmlab.study import methods, own_claims, statistics, tables, tuning
from rrmlab.study.cells import KNOWN, REPRESENTED, CellJob
from rrmlab.study.claims import claim_table
from rrmlab.study.figures import coupling_stress as figures
from rrmlab.study.interactions import interaction_share, visited_states
from rrmlab.study.jobs import OfflineJob, run_jobs
from rrmlab.study.logs import collected
from rrmlab.study.notebook import Study
from rrmlab.study.predictors import predictor_row
from rrmlab.study.scoring import ScoreJob

study = Study("12_coupling_stress", preset, recompute, device, seed)

# %% [markdown]
# ## The experiment
#
# Nine networks: side in m, factor on the gains between cells in dB. The last two stress both in opposite directions, so that
# κ and INR do not rise together everywhere. At the four ends the learners and five rules are tuned anew, by four trials each on validation
# deployments; elsewhere it has the values of the standard network, which are among the trials too. An episode has half of the
# usual length, and there are half as many deployments and transitions; updates are as everywhere, for the graph agent a quarter
# of them, as in notebook 10. The agents have the first three seeds.

# %%
PLACES = [(1000, 0), (500, 0), (200, 0), (500, -20), (500, -10), (500, 10), (500, 20), (200, -20), (1000, 20)]
ENDS = [(1000, 0), (200, 0), (500, -20), (500, 20)]
if preset != "paper":
    PLACES, ENDS = [(500, 0), (500, -20), (500, 20)], [(500, -20), (500, 20)]
offline, graph = tuning.offline_agents(study.sizes.updates), tuning.graph_agent(study.sizes.updates // 4)
INDEPENDENT, SUM, QMIX, JOINT = (
    f"{name}-MARL-CQL ({mark})" for name, mark in (("I", "DQN"), ("CTDE", "DQN"), ("CTDE", "QMIX, DQN"), ("C", "DQN"))
)
agents = {method: offline[method] for method in (INDEPENDENT, SUM, QMIX, JOINT)} | {method_name(graph): graph}
seeds, size = study.seeds[: 3 if preset == "paper" else 2], study.sizes.transitions // 2
tables.experiment_table(agents, seeds, "random", transitions=size, networks=len(PLACES))


# %%
def at(place, part, method=JOINT):
    """A scoring in one of the networks, with the observation that the method needs."""
    side, db = place
    changes = {"area_m": float(side), "cross_gain_db": float(db), "observation": methods.find(method).observation}
    network = replace(part.network, **changes, episode_ttis=max(20, part.network.episode_ttis // 2))
    return replace(part, network=network, episodes=max(2, part.episodes // 2))


if study.recompute:
    logs = {
        (place, method): collected(study, "random", size, network=at(place, study.scoring, method).network)
        for place, method in itertools.product(PLACES, agents)
    }

# %% [markdown]
# ## Tuning at the ends
#
# Four trials for each method that has something to tune: discount and penalty for what learns, two parameters or λ for rules.
# Rules are tuned and scored by one job; the trials of what learns stand in the table.

# %%
POINTS = tuning.points({"gamma": (0.0, 0.9), "alpha": tuning.TUNING_GRID["alpha"]})
POINTS = POINTS if preset == "paper" else POINTS[::3]
LAMBDAS = {"lam": (0.4, 0.6, 0.8, 1.0)}
GRIDS = {
    "ITLinQ (tuned)": {"m_db": (0.0, 10.0), "eta": (0.2, 0.5)},
    "Threshold": {"b": (0.7, 1.0), "c": (3.0, 4.5)},
    "Greedy marginal": LAMBDAS, "Best subset": LAMBDAS, "G-formula": LAMBDAS,
}  # fmt: skip
if study.recompute:
    updates = study.sizes.tuning_updates
    trials = {}
    for place, (method, agent), k in itertools.product(ENDS, agents.items(), range(len(POINTS))):
        tried = replace(agent, num_updates=updates // 4 if agent is graph else updates, **POINTS[k])
        validation = at(place, study.tuning, method)
        trials[place, method, k] = OfflineJob(logs[place, method], tried, seeds[:1], validation, device=device)
    tried = run_jobs(study.data, trials)


# %%
def tuning_rows():
    rows = []
    for (place, method, k), result in tried.items():
        same = all(getattr(agents[method], name) == value for name, value in POINTS[k].items())
        row = {"side_m": place[0], "cross_gain_db": place[1], "method": method, "trial": k, **POINTS[k]}
        rows.append(row | {"standard": same, **tables.scores(result.rates[0]), "run": result.folder.name})
    return pd.DataFrame(rows)


trial_table = study.table("tuning", tuning_rows)
PLACE = ["side_m", "cross_gain_db"]
best = trial_table.loc[trial_table.groupby([*PLACE, "method"]).score.idxmax()].set_index([*PLACE, "method"])
best[["gamma", "alpha", "score", "standard"]].round(3)

# %% [markdown]
# ## Training and scoring


# %%
def job_of(place, method):
    """What is trained or scored in a network: as tuned there at the ends, else as in the standard network."""
    there = at(place, study.scoring, method)
    if method in agents:
        point = best.loc[(*place, method), ["gamma", "alpha"]].to_dict() if place in ENDS else {}
        return OfflineJob(logs[place, method], replace(agents[method], **point), seeds, there, device=device)
    spec = methods.find(method).scheduler
    if place not in ENDS or method not in GRIDS:
        return ScoreJob(there, None, spec)
    return ScoreJob(there, None, {"name": spec["name"]}, grid=GRIDS[method], validation=at(place, study.tuning, method))


RULES = [name for name, method in methods.METHODS.items() if method.scheduler is not None]
if study.recompute:
    results = run_jobs(study.data, {key: job_of(*key) for key in itertools.product(PLACES, (*agents, *RULES))})


# %%
def all_states():
    parts = []
    for place in PLACES:
        behaviours = {"Random walk": make_scheduler("random_walk"), SUM: results[place, SUM].policies[0]}
        for name, behaviour in behaviours.items():
            part = visited_states(behaviour, at(place, study.scoring)).rename_axis("deployment").reset_index()
            parts.append(part.assign(side_m=place[0], cross_gain_db=place[1], visited_by=name))
    return pd.concat(parts, ignore_index=True)


states = study.table("states", all_states)
ORDERS = [name for name in states if name.startswith("order_")]

# %%
entries = []
if study.recompute:
    facts = {key: dict(zip(PLACE, key[0], strict=True)) | {"method": key[1]} for key in results}
    entries = [(facts[key], result) for key, result in results.items()]
rows = study.table("", lambda: tables.condition_rows(entries))
summary = study.table("summary", lambda: tables.condition_summary(entries))
summary.pivot(index="method", columns=PLACE, values="score").round(2)

# %% [markdown]
# ## κ, INR, and what decomposition costs
#
# `kappa` is of the states that the random walk visits, `kappa_visited` of those that CTDE visits. The ratios of R_score are
# paired on the same deployments. `headroom` is the exhaustive search over full reuse, `additive` the exact best sum over APs,
# with all gains, over the exhaustive search: decomposition without any learning and without a limit of information.

# %%
RATIOS = {"ctde_over_c": (SUM, JOINT), "qmix_over_c": (QMIX, JOINT), "ctde_over_i": (SUM, INDEPENDENT),
          "ctde_over_threshold": (SUM, "Threshold"), "graph_over_c": (method_name(graph), JOINT),
          "headroom": ("Exhaustive", "Full reuse")}  # fmt: skip
if study.recompute:
    exact = {place: CellJob("all gains", "additive", at(place, study.scoring), 0) for place in PLACES}
    additive = run_jobs(study.data, exact)


def of_states(place, visited_by="Random walk"):
    there = (states.side_m == place[0]) & (states.cross_gain_db == place[1])
    return states[there & (states.visited_by == visited_by)]


def share_at(place, visited_by="Random walk"):
    """κ with its interval over deployments, and its bootstrap draws."""
    variances = of_states(place, visited_by)[ORDERS].to_numpy()
    draws = interaction_share(statistics.bootstrap(variances[None])[..., None, :])
    return (float(interaction_share(variances)), *statistics.interval(draws)), draws


# %%
def point_rows():
    rows = []
    for place in PLACES:
        row = dict(zip(PLACE, place, strict=True)) | of_states(place)[["snr_db", "inr_db"]].mean().to_dict()
        row |= tables.columns("kappa", share_at(place)[0]) | tables.columns("kappa_visited", share_at(place, SUM)[0])
        for name, (first, second) in RATIOS.items():
            ratio = tables.paired(results[place, first], results[place, second], kind="ratio")
            row |= tables.columns(name, ratio)
        ratio = tables.paired(additive[place], results[place, "Exhaustive"], kind="ratio")
        rows.append(row | tables.columns("additive", ratio))
    return pd.DataFrame(rows)


points = study.table("points", point_rows)
points[[*PLACE, "snr_db", "inr_db", "kappa", "kappa_visited", *RATIOS, "additive"]].sort_values("kappa").round(3)

# %% [markdown]
# The variance by the number of APs that interact:


# %%
def order_rows():
    means = states.groupby([*PLACE, "visited_by"])[ORDERS].mean()
    return means.div(means.sum(axis=1), axis=0).reset_index()


orders = study.table("orders", order_rows)
caption = f"""Share of the variance of the one-step reward by the number of APs that interact, in each network. Exact, from the rewards of all joint
actions in the states that a random walk visits; means over {at(PLACES[0], study.scoring).episodes} deployments, without intervals:
those of κ stand in the table `12_coupling_stress_points`."""
study.show(figures.orders(orders[orders.visited_by == "Random walk"], ORDERS), "orders", caption)

# %% [markdown]
# ## The threshold, and which number predicts better
#
# `threshold` is where the best decreasing fit of a ratio through the networks meets `0.95`, `rank` the rank correlation with that
# ratio, and `better` how much larger it is in size than that of the INR. There are two ratios: CTDE over C, and the exact best
# sum over APs over the exhaustive search, which is decomposition alone. All intervals are over training seeds and deployments;
# which networks were chosen is not in them.

# %%
LEVEL = 0.95


def score_draws(result):
    return statistics.bootstrap(statistics.contributions(result.rates))[..., -1]


def draws_at(place):
    """Of one network, bootstrap draws of the predictors and of the ratios."""
    inr = statistics.bootstrap(of_states(place).inr_db.to_numpy()[None])
    drawn = {"kappa": share_at(place)[1], "kappa_visited": share_at(place, SUM)[1], "inr_db": inr}
    drawn["ctde_over_c"] = score_draws(results[place, SUM]) / score_draws(results[place, JOINT])
    return drawn | {"additive": score_draws(additive[place]) / score_draws(results[place, "Exhaustive"])}


# %%
def predictor_rows():
    drawn = [draws_at(place) for place in PLACES]
    rows = []
    for ratio in ("ctde_over_c", "additive"):
        made = {}
        for name in ("inr_db", "kappa", "kappa_visited"):
            x, y = (np.stack([part[column] for part in drawn], -1) for column in (name, ratio))  # (2, replicates, P)
            known = points[name].to_numpy(), points[ratio].to_numpy()
            made[name] = predictor_row(name, *known, x, y, LEVEL, len(seeds))
        inr, inr_ranks = made["inr_db"]
        for row, ranks in made.values():
            better = abs(row["rank"]) - abs(inr["rank"])
            better = better, *statistics.interval(np.abs(ranks) - np.abs(inr_ranks), len(seeds))
            rows.append({"ratio": ratio} | row | tables.columns("better", better))
    return pd.DataFrame(rows)


predictors = study.table("predictors", predictor_rows)
of_ctde = predictors[predictors.ratio == "ctde_over_c"].set_index("predictor")
predictors.round(3)

# %%
caption = f"""CTDE over C in R_score against the share κ of the reward's variance that no sum over APs explains (a), and against the median
interference-to-noise ratio (b). A point for each network of 4 APs, DQN, {len(seeds)} seeds; bars: 95% intervals; dashed: {LEVEL:g}; shaded: 95%
interval of where the best decreasing fit meets it."""
study.show(figures.ratios(points, of_ctde, LEVEL), caption=caption)

# %%
RATED = [*agents, "Threshold", "Full reuse", "TDM", "ITLinQ (tuned)", "Greedy marginal"]
caption = f"""R_score of learners and rules over that of the exhaustive search, along the side of the square (left) and the factor on the
gains between cells (right); the coupling grows to the right. Methods are tuned anew at the ends and have the values of the
standard network elsewhere. Interquartile means over {len(seeds)} seeds; intervals stand in the table `12_coupling_stress_summary`."""
study.show(figures.scores(summary, RATED), "summary", caption)

# %% [markdown]
# ## Decomposition or information?
#
# C differs from CTDE twice: it has a joint value, and it sees all cells. Four combinations take these apart, {own cell, all cells} ×
# {additive, joint}, and two more have all gains. They are one-step policies trained on the exact rewards of all joint actions,
# without a log (`observed_oracle`): a joint value is that of a policy trained on its expected reward, an additive one the
# least-squares fit of the main effects, of which each AP takes the best action. With all gains both are exact. These are the
# best one-step decisions that were found, not learners and no bounds of R_score: what a log or a discount add is not in them. Each
# was trained once.

# %%
if study.recompute:
    steps = max(2, study.sizes.oracle_steps // 3)
    cells = {
        (place, *cell): CellJob(*cell, at(place, study.scoring), steps, study.seed)
        for place in [(500, 0), (500, 20)]
        for cell in itertools.product(KNOWN, REPRESENTED)
    }
    found = run_jobs(study.data, cells)


def cell_rows():
    rows = []
    for (place, known, represented), result in found.items():
        row = dict(zip(PLACE, place, strict=True)) | {"known": known, "represented": represented}
        row |= tables.columns("score", tables.scored(result))
        ratio = tables.paired(found[place, known, "additive"], found[place, known, "joint"], kind="ratio")
        rows.append(row | tables.columns("additive_over_joint", ratio) | {"run": result.folder.name})
    return pd.DataFrame(rows)


by_cell = study.table("cells", cell_rows)
caption = """R_score of the best one-step decisions by what is known and by how the reward is represented, and of the learners that know as much.
Oracles were trained once; bars: 95% intervals over deployments; crosses: the learners, without intervals."""
study.show(figures.cells(by_cell, summary, {"own cell": SUM, "all cells": JOINT}), "cells", caption)

# %%
by_cell.pivot(index=[*PLACE, "known"], columns="represented", values=["score", "score_low", "score_high"]).round(3)

# %% [markdown]
# ## The claims


# %%
def claims():
    by_share = points.sort_values("kappa")
    ends = [tables.interval_at(by_share.iloc[k], "ctde_over_c") for k in (0, -1)]
    others = {"CTDE with QMIX over C": "qmix_over_c", "exact additive over exhaustive": "additive"}
    others = {text: tables.interval_at(by_share.iloc[-1], name) for text, name in others.items()}
    first = own_claims.n5(tables.interval_at(of_ctde.loc["kappa"], "threshold"), *ends, others)
    names = {"the share": "kappa", "the interference-to-noise ratio": "inr_db"}
    ranks = {text: tables.interval_at(of_ctde.loc[name], "rank") for text, name in names.items()}
    return claim_table(study.slug, first, own_claims.n6(tables.interval_at(of_ctde.loc["kappa"], "better"), ranks))


judged = study.table("claims", claims)
judged.round(3)

# %% [markdown]
# ## What follows
#
# * As long as the APs interact little, CTDE, QMIX and independent agents score what the centralized agent scores. Beyond the
#   threshold they lose fast. Where the gains between cells are large, the additive value makes nearly all APs silent, the exact
#   one too: averaged over the others' actions, to transmit costs more than it brings. To take turns (TDM) is then far better.
# * QMIX does no better than the sum here, where both decide on the own cell.
# * κ and INR differ where a network is stressed in opposite directions, and there κ is right. The κ of the states that CTDE
#   visits is the worse predictor, probably since a silent policy does not visit the states in which APs interact.
# * In the standard network an AP that sees its own cell alone loses little by an additive value: there the limit is the
#   information. With the observations of all cells, and with all gains, an additive value loses much: information pays only
#   with a value that is joint. A threshold for the exact sum lies far below that of CTDE over C, since C is limited too.
# * The graph agent, which exchanges gains and whose term for each AP depends on which others transmit, scores as much as C or more
#   in every network.
#
# ## In practice


# %%
def extremes(name):
    """The value in the network of the smallest κ, and in that of the largest."""
    return [f"{value:.2f}" for value in points.sort_values("kappa")[name].iloc[[0, -1]]]


share, better = (tables.interval_at(of_ctde.loc["kappa"], name) for name in ("threshold", "better"))
first, last = extremes("kappa")
verdict = "better than" if better[1] > 0 else "worse than" if better[2] < 0 else "not clearly better or worse than"
Markdown(f"""
1. **Measure κ first.** It needs gains and Shannon's rate, no training. Over these networks it runs from {first} to {last}, and
CTDE over C from {" to ".join(extremes("ctde_over_c"))}. As a predictor it is {verdict} the interference-to-noise ratio.
2. **The threshold.** CTDE falls below 95% of C at κ = {share[0]:.2f} [{share[1]:.2f}, {share[2]:.2f}].
3. **A mixer is not the cure**: with QMIX, CTDE over C goes from {" to ".join(extremes("qmix_over_c"))}.
4. **Where κ is large, exchange gains, and learn a value that depends on pairs of APs**: the graph agent over C goes from
{" to ".join(extremes("graph_over_c"))}. Gains alone are not enough: the exact best sum over APs, which knows them all, goes
from {" to ".join(extremes("additive"))} of the exhaustive search.
""")

# %%
study.finish()
study.folded_versions()
