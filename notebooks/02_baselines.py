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
# # 02 · What can be reached without learning?
#
# **Question.** How good are the schedulers that the paper compares with, how much room is there above them, and what
# would a method have to know in order to use that room?
#
# **What the paper says.** Its learners beat "every baseline scheduler" (random walk, TDM, full reuse, ITLinQ) by more
# than 15% in R_score, a weighted sum of mean rate and 5-percentile rate.
#
# **What is added here.** A baseline that was never given a chance proves nothing, so ITLinQ is also tuned. And three
# oracles mark the room for learning: the best joint action with *all* channel gains known, and the best one-step policy
# that was found on only what the agents of the paper observe, jointly or each for itself.
#
# **Running time.** Read: seconds. Recomputed at the `paper` preset: about 4 minutes on 2 cores.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" (minutes) or "paper"
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where networks are trained: "cpu" or "cuda"
seed = 0  # of the deployments and of the first training seed

# %%
import functools

import numpy as np
import pandas as pd

from rrmlab.study import methods, plotting, tuning
from rrmlab.study.notebook import Study
from rrmlab.study.tables import ScoreScale, seed_rows, summary, user_rate_cdf

study = Study("02_baselines", preset, recompute, device, seed)

# %% [markdown]
# ## Tuning ITLinQ
#
# ITLinQ admits links one after the other, best PF factor first. A link is admitted if the interference between it and
# the links already on the air is at most $M \cdot \mathrm{SNR}^\eta$ (in both directions). The paper's lineage sets
# M = 25 dB and η = 0.7; in this layout ITLinQ then scores 1% above full reuse: hardly anybody is silenced.
# Below, R_score over a grid of (M, η), on *validation* deployments, which no result is reported on; framed are the best
# point (solid) and the lineage's (dashed).

# %%
surface = study.table("itlinq", lambda: tuning.itlinq_surface(study))
best = surface.loc[surface.score.idxmax()]
print(f"Best on validation deployments: M = {best.m_db:g} dB, eta = {best.eta:g}, R_score {best.score:.3f}")

# %%
grid = surface.pivot(index="eta", columns="m_db", values="score").sort_index(ascending=False)
fig, ax = plotting.figure()
image = ax.imshow(grid, aspect="auto", cmap="cividis")
for row in range(grid.shape[0]):
    for column in range(grid.shape[1]):
        value = grid.iloc[row, column]
        dark = value < (grid.min().min() + grid.max().max()) / 2
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6, color="white" if dark else "black")
ax.set_xticks(range(grid.shape[1]), [f"{m:g}" for m in grid.columns])
ax.set_yticks(range(grid.shape[0]), [f"{eta:g}" for eta in grid.index])
ax.set_xlabel("M (dB)")
ax.set_ylabel("η")
ax.grid(visible=False)
for m_db, eta, edge in ((best.m_db, best.eta, "-k"), (25, 0.7, "--w")):
    column, row = grid.columns.get_loc(m_db), grid.index.get_loc(eta)
    left, right, low, high = column - 0.45, column + 0.45, row - 0.45, row + 0.45
    ax.plot([left, right, right, left, left], [low, low, high, high, low], edge, linewidth=1)
fig.colorbar(image, label="R_score (bit/s/Hz), validation")
study.show(fig, "itlinq")

# %% [markdown]
# ## All schedulers and the oracles on the test deployments
#
# All see the same channels. The observed oracles are trained on the exact expected one-step reward of every joint action,
# which only a simulator can give: they stand for what that information is worth, one TTI at a time. They are trained (one
# seed), not computed: a learner may
# tie with them within the intervals.


# %%
@functools.cache
def results():
    return methods.schedulers(study, surface) | methods.observed_oracles(study)


rows = study.table("", lambda: seed_rows(results(), study.seeds, ScoreScale.of(results())))
rows[["method", "sum_rate", "tail_rate", "score", "normalised_score"]].round(3)

# %% [markdown]
# Intervals are 95% bootstrap intervals over deployments. The ratio is paired (same deployments) and relative to the best
# of the four baselines as the lineage sets them.

# %%
strongest = rows[rows.method.isin(methods.LINEAGE_BASELINES)].sort_values("score").method.iloc[-1]
table = study.table("summary", lambda: summary(results(), ScoreScale.of(results()), strongest))
print(f"Best lineage baseline: {strongest}")
table.round(3)

# %%
order = table.sort_values("score", ascending=False).method
fig = plotting.score_panels(table, order, height=2.6)
fig.suptitle(f"95% intervals over {study.sizes.episodes} deployments", fontsize=7)
study.show(fig, "summary")

# %% [markdown]
# Max-SINR shows why the sum rate alone is no goal: it has the highest one and starves the weakest users completely. The CDF
# below leaves it out. Full reuse and ITLinQ as the lineage sets it lie on one another.

# %%
cdf = study.table("cdf", lambda: user_rate_cdf(results()))
fig, ax = plotting.figure(height=3.8)
plotting.cdf_lines(ax, cdf, [m for m in order if m != "Max-SINR"])
ax.axhline(0.05, color="0.6", linewidth=0.6)
ax.text(2, 0.055, "5%", ha="right", va="bottom", fontsize=6, color="0.3")
ax.set_xlim(0, 2)
fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=6)
study.show(fig, "cdf")

# %% [markdown]
# ## What each method must know
#
# `reports` are numbers that users send to their own AP in a TTI, `exchanged` are numbers that travel between cells (or to
# a controller and back). The learners of the paper that act independently or with CTDE exchange nothing while they run;
# the centralized one exchanges every observation and every decision; ITLinQ and the oracle need gains *between* cells,
# which their users must also measure and report.


# %%
def knowledge():
    facts = methods.knowledge(study.network, [*table.method, "C-MARL-CQL", "I-MARL-CQL", "CTDE-MARL-CQL"])
    scores = table[["method", "score", "score_low", "score_high"]]
    return facts.merge(scores, on="method", how="left")


known = study.table("knowledge", knowledge)
known[["method", "knows", "reports", "exchanged", "score"]].round(3)

# %%
points = known.dropna(subset=["score"]).sort_values(["exchanged", "score"])
levels = sorted(points.exchanged.unique())
fig, ax = plotting.figure(height=3.2)
for level, group in points.groupby("exchanged"):
    for place, (_, point) in zip(
        np.linspace(-0.3, 0.3, len(group)) if len(group) > 1 else [0.0], group.iterrows(), strict=True
    ):
        style = plotting.style_of(point.method) | {"linestyle": "none"}
        bars = [[point.score - point.score_low], [point.score_high - point.score]]
        ax.errorbar(levels.index(level) + place, point.score, yerr=bars, elinewidth=0.9, label=point.method, **style)
for edge in range(len(levels) - 1):
    ax.axvline(edge + 0.5, color="0.6", linewidth=0.6, linestyle=":")
ax.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
ax.tick_params(axis="x", length=0)
ax.set_xlabel("numbers exchanged between cells per TTI")
ax.set_ylabel("R_score (bit/s/Hz)")
ax.grid(axis="x", visible=False)
fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=6)
study.show(fig, "knowledge")

# %% [markdown]
# ## What follows
#
# * The lineage's baselines differ in what they give (TDM a high tail, full reuse a high sum) and lie close together in
#   R_score. TDM's tail rate is that of the decentralized learners of notebook 04.
# * Tuned ITLinQ shows how much of the room above them is coordination: it silences APs, and it needs cross gains to do so.
# * The gap between `Exhaustive` and `Observed oracle (joint)` is about what not knowing the cross gains costs; the gap to
#   `Observed oracle (local)` about what acting on one's own observation alone costs (both were trained, so they may miss a
#   little). They are the yardstick for learners that
#   observe as the paper's agents do.

# %%
study.finish()
pd.Series(study.versions(), name="version").to_frame()
