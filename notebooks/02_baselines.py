# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 02 · What can be reached without learning?
#
# <!-- answer -->
# **Answer.** Full reuse scores 1.10, ITLinQ 1.12 (1.14 with η = 0.5) and 1.60 when tuned; the joint action of the
# largest reward in every TTI scores 1.73, the best subset of APs 1.77.
# <!-- /answer -->
#
# **Question.** How good are the schedulers that the paper compares with, how much room is there above them, and what
# would a method have to know in order to use that room?
#
# **What the paper says.** Its learners beat "every baseline scheduler" (random walk, TDM, full reuse, ITLinQ) by more
# than 15% in R_score, the mean user rate plus three times the 5-percentile user rate.
#
# **What is added here.** A baseline that was never given a chance proves nothing, so ITLinQ is also tuned, and other simple
# rules stand beside it: a *threshold* rule that knows what the paper's agents observe, and *greedy marginal* admission and
# the *best subset*, which know what ITLinQ knows. Oracles mark the room for learning: the best joint action with *all* channel
# gains known (`Exhaustive`, which maximises the study's reward, and `Exhaustive (λ = 1)`), and one-step policies that were trained
# with exact rewards and see what the agents of the paper observe, jointly or each for itself. `G-formula` is explained in notebook 14.
#
# **Running time.** Read: seconds. Recomputed at the `paper` preset: 3 to 4 minutes on 2 cores.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" (minutes) or "paper"
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where networks are trained: "cpu" or "cuda"
seed = 0  # of the deployments and of the first training seed

# %%
import pandas as pd

from rrmlab.study import methods, reading, tuning
from rrmlab.study.figures import baselines as figures
from rrmlab.study.notebook import Study
from rrmlab.study.scoring import score_scheduler
from rrmlab.study.tables import ScoreScale, seed_rows, summary, user_rate_cdf

study = Study("02_baselines", preset, recompute, device, seed)

# %% [markdown]
# ## The experiment
#
# Nothing is learned from a log here. A scheduler is `make_scheduler(name, ...)` and is scored by `evaluate` on the test
# deployments; the two observed oracles are trained in the simulator first. `schedulers` is a plain dict of the arguments of
# `make_scheduler`: change or add one, and it is scored. The arguments of `ITLinQ (tuned)` and of `Threshold` follow from the
# next sections.

# %%
schedulers = {name: method.scheduler for name, method in methods.METHODS.items() if method.scheduler is not None}
oracles = {name: method.oracle for name, method in methods.METHODS.items() if method.oracle}
training = [{"paradigm": paradigm, "updates": study.sizes.oracle_steps, "seeds": 1} for paradigm in oracles.values()]
experiment = pd.DataFrame([*schedulers.values(), *training], dtype=object).fillna("")
experiment.insert(0, "method", [*schedulers, *oracles])
experiment.insert(1, "set by", [methods.find(method).provenance for method in experiment.method])
experiment

# %% [markdown]
# ## Tuning ITLinQ
#
# ITLinQ admits links one after the other, best PF factor first. A link is admitted if the interference between it and
# the links already on the air is at most $M \cdot \mathrm{SNR}^\eta$ (in both directions). The paper's lineage sets
# M = 25 dB and η = 0.7; its public code has η = 0.5 as well. In this layout ITLinQ scores little more than full reuse with either:
# hardly anybody is silenced.
# Below, R_score over a grid of (M, η), on *validation* deployments, which no result is reported on.

# %%
surface = study.table("itlinq", lambda: tuning.itlinq_surface(study))
best = surface.loc[surface.score.idxmax()]
print(f"Best on validation deployments: M = {best.m_db:g} dB, eta = {best.eta:g}, R_score {best.score:.3f}")

# %%
caption = f"""R_score of ITLinQ over its two parameters, on {study.sizes.tuning_episodes} validation deployments. Frames:
the best point (solid, tuned) and the lineage's setting with η = 0.7 (dashed). Means without intervals: a choice, no result."""
study.show(figures.itlinq(surface), "itlinq", caption)

# %% [markdown]
# ## Tuning the threshold rule
#
# An AP serves its best user by the PF factor if $w^b \log_2(1 + \mathrm{SINR}) \ge c$, else it is silent: it spares the others
# its interference where it has little to gain. It looks at its own observation and exchanges nothing, as the agents of the
# paper. Two parameters are tuned, by as many points as ITLinQ's; with b = 1 (top row) one is left, the least PF factor that
# is worth a transmission.

# %%
threshold = study.table("threshold", lambda: tuning.threshold_surface(study))
best = threshold.loc[threshold.score.idxmax()]
print(f"Best on validation deployments: b = {best.b:g}, c = {best.c:g}, R_score {best.score:.3f}")

# %%
caption = f"""R_score of the threshold rule over its two parameters, on {study.sizes.tuning_episodes} validation
deployments. Frames: the best point (solid) and the best one with b = 1 (dashed). Means without intervals: a choice, no result."""
study.show(figures.threshold(threshold), "threshold", caption)

# %% [markdown]
# ## Greedy marginal admission and the best subset
#
# ITLinQ asks whether links disturb each other; these two ask what they are worth. Greedy marginal admission takes the APs in
# ITLinQ's order and admits one if the sum of $w^\lambda \log_2(1 + \mathrm{SNR} / (1 + \mathrm{INR}))$ over the admitted grows
# by it. The best subset tries all $2^I$ sets. All that could be tuned is λ. Both take λ = 1.0, the best of three by the mean
# of the two (greedy marginal alone would take 0.9, by next to nothing); it need not be the λ = 0.8 of the reward.

# %%
lam = study.table("lam", lambda: tuning.lam_surface(study))
reading.shown(reading.grid(lam, "method", "lam", "score"))

# %% [markdown]
# ## All schedulers and the oracles on the test deployments
#
# All see the same channels. The observed oracles are trained on the exact expected one-step reward of every joint action,
# which only a simulator can give: they stand for what that information is worth, one TTI at a time. They are trained (one
# seed), not computed: a learner may tie with them, or score slightly more.

# %%
schedulers |= tuning.tuned_schedulers(surface, threshold)
if study.recompute:
    results = {
        name: score_scheduler(study.data, spec, methods.scoring(study, name)) for name, spec in schedulers.items()
    }
    results |= methods.observed_oracles(study)
    scale = ScoreScale.of(results)

rows = study.table("", lambda: seed_rows(results, study.seeds, scale))
reading.shown(rows[["method", "sum_rate", "tail_rate", "score", "normalised_score"]])

# %% [markdown]
# Intervals are 95% bootstrap intervals over deployments. The ratio is paired (same deployments) and relative to the best
# of the five baselines as the lineage sets them.

# %%
strongest = rows[rows.method.isin(methods.LINEAGE_BASELINES)].sort_values("score").method.iloc[-1]
table = study.table("summary", lambda: summary(results, scale, strongest))
print(f"Best lineage baseline: {strongest}")
reading.shown(table)

# %%
caption = f"""Sum rate, 5-percentile rate and R_score of schedulers and oracles on {study.sizes.episodes} test
deployments, best R_score on top. Bars: means; lines: 95% bootstrap intervals over deployments."""
study.show(figures.summary(table), "summary", caption)

# %% [markdown]
# Max-SINR shows why the sum rate alone is no goal: it has the highest one and starves the weakest users completely.

# %%
cdf = study.table("cdf", lambda: user_rate_cdf(results))
caption = f"""CDFs of the users' mean rates up to 0.5 bit/s/Hz under five rules, pooled over {study.sizes.episodes} test deployments.
Grey: the 5% of users that the 5-percentile rate is about."""
study.show(figures.cdf(cdf, ["Random walk", "TDM", "Full reuse", "ITLinQ (tuned)", "Exhaustive"]), "cdf", caption)

# %% [markdown]
# ## What each method must know
#
# `reports` are numbers that users send to their own AP in a TTI, `exchanged` are numbers that travel between cells (or to
# a controller and back). The learners of the paper that act independently or with CTDE exchange nothing while they run;
# the centralized one exchanges every observation and every decision. The threshold rule exchanges nothing either. ITLinQ,
# greedy marginal, the best subset, G-formula and the exhaustive search need gains *between* cells, which their users must also measure
# and report.


# %%
def knowledge():
    facts = methods.knowledge(study.network, [*table.method, "C-MARL-CQL", "I-MARL-CQL", "CTDE-MARL-CQL"])
    scores = table[["method", "score", "score_low", "score_high"]]
    return facts.merge(scores, on="method", how="left")


known = study.table("knowledge", knowledge)
reading.shown(known)

# %%
caption = f"""R_score of rules and oracles, grouped by the numbers that they exchange between cells in a TTI
(right). {study.sizes.episodes} test deployments; bars: 95% bootstrap intervals over deployments."""
study.show(figures.knowledge(known), "knowledge", caption)

# %% [markdown]
# ## What follows
#
# * The lineage's baselines differ in what they give (TDM a high tail, full reuse a high sum) and lie close together in
#   R_score. TDM's tail rate is that of the decentralized learners of notebook 04.
# * Tuned ITLinQ shows how much of the room above them is coordination: it silences APs, and it needs cross gains to do so.
#   With the same gains, greedy marginal admission scores as the exhaustive search does, and the best subset more, as the search
#   with λ = 1: what λ = 0.8 maximises is the reward, not R_score.
# * Silence that is decided without any exchange is worth less, but not little: the threshold rule scores well above the best
#   of the lineage's baselines. Compare a learner that observes no more with this rule.
# * The gap from `Exhaustive` to `Observed oracle (joint)` is about what not knowing the cross gains costs. The gap from there to
#   `Observed oracle (local)` is about what it costs that each AP sees only its own observation. Both oracles were trained, so
#   they may miss a little. Compare learners that observe as the paper's agents do with them.
#
# ## In practice
#
# <!-- practice -->
# * Tune a baseline before anything is compared with it: two parameters bring ITLinQ from 1.12 to 1.60.
# * Where gains between cells can be exchanged, start with a rule: the best subset scores 1.77, greedy marginal 1.73,
#   tuned ITLinQ 1.60, without any training.
# <!-- /practice -->

# %%
study.finish()
study.folded_versions()
