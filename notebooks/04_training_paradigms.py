# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
#   rrmlab:
#     needs:
#     - 03_datasets
# ---

# %% [markdown]
# # 04 · Centralized, independent, or centralized training with decentralized execution?
#
# <!-- answer -->
# **Answer.** Centralized 1.51, CTDE 1.32, independent 1.32; over five logs of SAC agents CTDE minus independent is
# 0.001 [-0.007, 0.009].
# <!-- /answer -->
#
# **Question.** Three ways to learn from the same log. A *centralized* agent sees all observations and chooses for all
# access points. *Independent* agents each learn alone, as if the others were weather. With *CTDE* they are trained
# together, through the sum of their values, and act alone. What does each reach, and at what cost?
#
# **What the paper says.** CTDE-MARL-CQL beats every baseline by more than 15% in R_score (K1) and reaches 98% of the
# centralized agent (K3); the centralized one has the best 5-percentile rate (K5); independent agents fail to coordinate
# (K6); CTDE cuts the cost of the centralized method (K11).
#
# **What is done here.** All learners get the log of one online SAC training (`sac` of notebook 03) and the same tuning
# trials. Beside them: behaviour cloning, the online agents, all schedulers, and the oracles of notebook 02. The networks after
# the last update are scored, not the best ones on the way.
#
# **Running time.** Read: seconds. Recomputed at the `paper` preset: 35 to 50 minutes on 2 cores, a quarter of that each for the
# trainings with usual defaults, the tuning trials and the trials of how much training is enough.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" (minutes) or "paper"
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where networks are trained: "cpu" or "cuda"
seed = 0  # of the deployments and of the first training seed

# %%
from dataclasses import replace

import pandas as pd
import torch
from IPython.display import display

from rrmlab import ImperfectReports, RRMEnv, make_scheduler
from rrmlab.game.views import ReportView
from rrmlab.study import costs, methods, paper_claims, reading, tables, tuning, untuned
from rrmlab.study.claims import claim_table
from rrmlab.study.figures import training_paradigms as figures
from rrmlab.study.jobs import OfflineJob, run_jobs
from rrmlab.study.logs import study_logs
from rrmlab.study.notebook import Study
from rrmlab.study.scoring import ScoreJob

study = Study("04_training_paradigms", preset, recompute, device, seed)
LEARNERS = ["C-MARL-CQL", "I-MARL-CQL", "CTDE-MARL-CQL"]

# %% [markdown]
# ## The experiment
#
# One row is one job: `train_offline(load_dataset(log), agent, seeds)`, which trains all seeds as one program, and then
# `evaluate_seeds(policies, ...)` on the test deployments. `OfflineJob` holds these two calls and stores what they give in a
# folder under `data/`, named by its content: the configuration, the log's checksums, and the code that computes it. A job
# that is stored is loaded, not run. `agents` is a plain dict of `AgentConfig`: change or add one, and it is trained.
#
# Beside the paper's sum of the heads' values stands QMIX, which mixes them by a network that rises in every head's value and
# sees the joint observation in training.

# %%
agents = tuning.offline_agents(study.sizes.updates)
CQL = [method for method in agents if method != "BC"]  # both backbones
tables.experiment_table(agents, study.seeds, log="sac")

# %%
if study.recompute:
    logs = study_logs(study)  # the datasets of notebook 03
    jobs = {
        method: OfflineJob(logs.sac, agent, study.seeds, study.scoring, curve=study.curve, device=device)
        for method, agent in agents.items()
    }
    learned = run_jobs(study.data, jobs)
    results = methods.schedulers(study) | methods.observed_oracles(study) | logs.online | learned
    scale = tables.ScoreScale.of(results)

# %% [markdown]
# ## Choosing hyper-parameters
#
# Discount γ, penalty weight α and learning rate are chosen for each learner from the same twelve trials, by the mean R_score
# on *validation* deployments; behaviour cloning gets as many of its own (learning rate and width). Rewards are standardised,
# and α refers to them. The paper states α = 1.0. If its rewards are not scaled, this is about 1 over the standard deviation of this
# log's rewards here (notebook 03; not exactly, for the logsumexp does not scale). Only the `paper` preset runs the trials, with
# 1,000 updates each; smaller ones take its choice. The trials of independent and CTDE learners differ by little more than
# noise, but for QMIX with SAC; those of the centralized learners differ clearly. What was *not* chosen by equal trials: 2 × 64 hidden units, batches of
# 256 and the number of updates, the same for all CQL learners. What they cost and bring is measured below.

# %%
if preset == "paper":
    trials = study.table("tuning", lambda: tuning.trials(study, logs.sac))
    spread = trials.groupby(["method", "trial"]).score.mean().groupby("method").agg(["min", "median", "max"])
    display(tuning.chosen(trials), spread.round(3))

# %% [markdown]
# How much training is enough? One change at a time of what a training costs: R_score on validation deployments against the
# time of one core per seed. All CQL learners get the same network, batch and updates, nearly as many as the centralized one can
# use. On validation deployments, two seeds each, I and CTDE score no less with half the updates. With ten seeds on the test
# deployments CTDE loses a little, as the end of the notebook shows.

# %%
if preset == "paper":
    budget = study.table("budget", lambda: tuning.budget_trials(study, logs.sac))
    cost = ["method", "num_updates", "learning_rate", "hidden", "batch_size"]
    display(budget.groupby(cost)[["score", "training_s"]].mean().unstack("method").round(3))

# %% [markdown]
# ## What each learner reaches
#
# Interquartile means over training seeds with 95% intervals (two-level bootstrap over seeds and deployments; over
# deployments for schedulers). The ratio is to the best of the five baselines as the paper's lineage sets them, paired on
# deployments. Intervals are widened for few seeds: judge claims at the `paper` preset.

# %%
condition = {"dataset": "sac", "num_samples": study.sizes.transitions}
rows = study.table("", lambda: tables.seed_rows(results, study.seeds, scale, **condition))
strongest = rows[rows.method.isin(methods.LINEAGE_BASELINES)].sort_values("score").method.iloc[-1]
table = study.table("summary", lambda: tables.summary(results, scale, strongest))
print(f"Ratios are to {strongest}.")
reading.shown(table.sort_values("score", ascending=False))

# %%
sent = methods.knowledge(study.network, list(table.method)).exchanged
caption = f"""Sum rate, 5-percentile rate and R_score of every method, grouped by the numbers exchanged between
cells in a TTI (right). Points: interquartile means over
{study.sizes.seeds} training seeds and {study.sizes.episodes} test deployments; bars: 95% bootstrap intervals over both (schedulers and
oracles: over deployments). Hollow below a filled symbol: the same offline learner with the DQN backbone."""
study.show(figures.summary(table, sent), "summary", caption)

# %%
shown = ["Random walk", "TDM", "ITLinQ", "ITLinQ (tuned)", *LEARNERS, "Exhaustive"]
cdf = study.table("cdf", lambda: tables.user_rate_cdf(results))
caption = f"""The lowest fifth of the CDFs of the users' mean rates, pooled over {study.sizes.seeds} training seeds and {study.sizes.episodes} test deployments. I-MARL-CQL is hidden by
CTDE-MARL-CQL. Grey: the 5% of users that the 5-percentile rate is about."""
study.show(figures.cdf(cdf, shown), "cdf", caption)

# %% [markdown]
# ## Convergence
#
# The score along the training, on validation deployments. The learning rate ends at 0, so every curve flattens; twice the
# updates still help the centralized learner a little and the others not at all (see above), so its lead is if anything larger
# than reported. I- and CTDE-MARL-CQL nearly coincide, and after the first few hundred updates so do the two backbones of most: SAC's are drawn. The table
# `04_training_paradigms_curves.csv` also has the TD losses, which cannot be compared where γ differs, and by how much the greedy
# joint action is valued above the logged one.


# %%
def training_curves():
    trained = {method: results[method] for method in CQL}
    scores = tables.curves(trained, "eval_update", "eval_score").rename(columns={"eval_update": "update"})
    return pd.concat([scores, tables.curves(trained, "update", "td_loss"), tables.curves(trained, "update", "q_gap")])


along = study.table("curves", training_curves)
caption = f"""R_score on validation deployments along the training, SAC backbone: interquartile mean of
{along.seeds.max()} training seeds, band: 95% bootstrap interval over seeds."""
study.show(figures.curves(along, LEARNERS), "curves", caption)

# %% [markdown]
# ## From log to log
#
# One agent wrote the log above, and how results vary from log to log is not in the intervals. So the three learners also learn
# from the logs of more SAC agents, three seeds each. The log is then the unit: the mean of its seeds, drawn with the
# deployments. `one log` is the interval above, with its ten seeds; `wider` is the width of the first over that of the second.

# %%
few = study.sweep_seeds[:3]
if study.recompute:
    some_logs = logs.all_sac[: 5 if preset == "paper" else 2]
    jobs = {
        (log, method): OfflineJob(log, agents[method], few, study.scoring, device=device)
        for log in some_logs
        for method in LEARNERS
    }
    of_log = run_jobs(study.data, jobs)
    by_log = {method: [of_log[log, method] for log in some_logs] for method in LEARNERS}


# %%
def over_logs():
    c, i, ctde, baseline = "C-MARL-CQL", "I-MARL-CQL", "CTDE-MARL-CQL", strongest
    found = []
    for first, second, kind in ((ctde, baseline, "ratio"), (ctde, c, "ratio"), (ctde, i, "difference")):
        several = tables.paired_over_logs(by_log[first], by_log.get(second, [results[second]]), kind=kind)
        one = tables.paired(results[first], results[second], kind=kind)
        facts = {"method": first, "compared_with": second, "kind": kind, "logs": len(by_log[first]), "seeds": len(few)}
        facts |= tables.columns("over_logs", several) | tables.columns("one_log", one)
        found.append(facts | {"wider": (several[2] - several[1]) / (one[2] - one[1])})
    return pd.DataFrame(found)


of_logs = study.table("logs", over_logs)
display(reading.shown(of_logs))

# %% [markdown]
# ## Independent agents with the reward of their own cell (K6)
#
# All learners above learn from the team's reward. Independent agents may also learn from what their own user adds to it, with
# `reward="own"`; at γ = 0 no AP then has a reason to be silent. A log must hold these rewards; those of this study do.

# %%
own = replace(agents["I-MARL-CQL"], reward="own", gamma=0.0)
if study.recompute:
    alone = run_jobs(study.data, {"own": OfflineJob(logs.sac, own, study.seeds, study.scoring, device=device)})["own"]


def own_rewards():
    row = {"method": "I-MARL-CQL", "reward": own.reward, "gamma": own.gamma, "seeds": len(study.seeds)}
    row |= tables.columns("score", tables.scored(alone))
    return pd.DataFrame([row | tables.columns("lead_of_ctde", tables.paired(results["CTDE-MARL-CQL"], alone))])


from_own = study.table("own_rewards", own_rewards)
display(reading.shown(from_own))

# %% [markdown]
# ## When does CTDE reach the centralized agent (K3)?
#
# The ratio of the two scores moves with how the centralized agent is trained. Here nothing is tuned: α = 1 as the paper states
# it, and for the rest what a paper might take without trials, the same for both: discount, learning rate, rewards standardised
# or, at `γ = 0.99`, raw, 2,000 updates and, at `γ = 0.99` and the learning rate `1e-3`, four times as many. All on the log `sac`;
# `γ = 0.99` with standardised rewards on the log of a second SAC agent too. `plan` is a plain dict: change or add one, and it is
# trained.

# %%
plan = {}
for paradigm in ("centralized", "ctde"):
    for agent in untuned.usual_defaults(paradigm, study.sizes.updates):
        usual = agent.gamma == 0.99 and agent.num_updates == study.sizes.updates
        if preset != "paper" and not (usual and agent.learning_rate == 1e-3):
            continue  # smaller presets take one discount and learning rate, and one log
        plan["sac", agent] = paradigm
        if preset == "paper" and usual and agent.standardise_rewards:
            plan["second sac", agent] = paradigm
print(f"{len(plan)} trainings of {len(few)} seeds")
if study.recompute:
    folders = {"sac": logs.sac, "second sac": logs.second_sac}
    jobs = {key: OfflineJob(folders[key[0]], key[1], few, study.scoring, device=device) for key in plan}
    by_default = run_jobs(study.data, jobs)


# %%
def defaults():
    found = []
    for (log, agent), paradigm in plan.items():
        if paradigm == "ctde":
            ctde, c = by_default[log, agent], by_default[log, replace(agent, paradigm="centralized")]
            facts = {"dataset": log, "gamma": agent.gamma, "learning_rate": agent.learning_rate}
            facts |= {"rewards": "standardised" if agent.standardise_rewards else "raw", "updates": agent.num_updates}
            facts |= {"seeds": len(few), "centralized": tables.scored(c)[0], "ctde": tables.scored(ctde)[0]}
            found.append(facts | tables.columns("share", tables.paired(ctde, c, kind="ratio")))
    return pd.DataFrame(found)


untuned_shares = study.table("defaults", defaults)
caption = f"""R_score of CTDE over that of C, against the latter, with usual defaults (α = 1): rewards standardised (a), where the star
has both tuned, and raw (b). Solid: the paper's 98%; dashed: 95%. Points of one colour differ in γ, updates and log;
in (b), where the ratio is 1, both are full reuse.
Interquartile means of {len(few)} seeds; bars: 95% bootstrap intervals over seeds and deployments."""
study.show(figures.defaults(untuned_shares, table), "defaults", caption)
display(reading.shown(untuned_shares.sort_values("share", ascending=False)))

# %% [markdown]
# ## Late and noisy reports
#
# The policies as they were trained, tested with SINR reports that are some TTIs old or carry Gaussian noise (in dB, new in
# every report). Users are ranked by what was reported; weights are known, since an access point knows what it served. A
# TTI is 1 ms, the channel's coherence time some 50 TTIs. Full reuse is the scheduler that ranks in the same way.

# %%
REPORTS = {"exact": {}} | {f"{age} TTI{'s' * (age > 1)} late": {"delay_ttis": age} for age in (1, 5, 20)}
REPORTS |= {f"{noise:g} dB noise": {"noise_db": noise} for noise in (1.0, 3.0)}

if study.recompute:
    jobs = {}
    for name, reports in REPORTS.items():
        jobs[name, "Full reuse"] = ScoreJob(study.scoring, scheduler={"name": "full_reuse"}, reports=reports)
        for method in LEARNERS:
            jobs[name, method] = ScoreJob(study.scoring, results[method].folder, reports=reports)
    done = run_jobs(study.data, jobs)
    reported = {name: {method: done[name, method] for method in ("Full reuse", *LEARNERS)} for name in REPORTS}


def change(part):
    """Scores with these reports, and their change against exact ones."""
    exact = reported["exact"]
    facts = [{"method": m} | tables.columns("change", tables.paired(result, exact[m])) for m, result in part.items()]
    return tables.summary(part, scale).merge(pd.DataFrame(facts), on="method")


hardened = study.table("reports", lambda: tables.by_condition(reported, "reports", change))
display(reading.shown(reading.grid(hardened, "method", "reports", "score")))
print("Change of R_score against exact reports, paired:")
reading.shown(reading.grid(hardened, "method", "reports", "change"))

# %%
caption = f"""R_score of policies as they were trained, tested with SINR reports that are late (a) or noisy (b); 0 is
exact. {study.sizes.seeds} training seeds and {study.sizes.episodes} test deployments (full reuse: deployments); bands: 95% bootstrap intervals."""
study.show(figures.reports(hardened), "reports", caption)

# %% [markdown]
# Why does full reuse gain from reports that are 5 TTIs old? A user that is served loses weight at once, so the PF rule leaves
# it before its channel peaks. The table shows the own signal of the users that full reuse serves, so many TTIs before and
# after they are served (dB; interquartile mean over 20 deployments with its 95% interval). With exact reports the
# signal still rises for more than 5 TTIs after the service; with late ones it is near its top when the user is served.


# %%
def served_signal(delay_ttis):
    """Own signal of all users (T, E, J), dB, and the users that full reuse serves (T, E, I), with late reports."""
    env = RRMEnv(study.network, 20, seed, "validation")
    env.reset()
    reports = ImperfectReports(make_scheduler("full_reuse"), delay_ttis)
    reports.begin(env.deployment.key)
    signal_db, users = [], []
    for _ in range(min(500, study.network.episode_ttis)):
        own = env.snr.gather(1, env.serving.unsqueeze(1)).squeeze(1)
        signal_db.append(10 * own.log10())
        users.append(reports.serve(env.view(ReportView)))
        env.step_users(users[-1])
    return torch.stack(signal_db), torch.stack(users).clamp(min=0)


# %%
def around_service():
    found = []
    for delay_ttis in (0, 5):
        signal_db, users = served_signal(delay_ttis)
        inner = torch.arange(10, len(users) - 20)
        for offset in (-10, -5, 0, 5, 10, 20):
            change_db = (signal_db[inner + offset] - signal_db[inner]).gather(2, users[inner])
            by_deployment = change_db.mean((0, 2)).numpy()
            change = tables.columns("signal_db", tables.seeds_interval(by_deployment))
            found.append({"delay_ttis": delay_ttis, "offset_ttis": offset} | change)
    return pd.DataFrame(found)


reading.shown(study.table("served_signal", around_service))

# %% [markdown]
# ## What each paradigm costs (K11)
#
# Joint state 2·N·I, local observation 2·N. `parameters` and `multiply_adds` are of the networks that act, for one decision
# of the whole network. Training time is per seed, on one core, ten seeds as one program.


# %%
def cost_rows():
    counted = []
    for method in CQL:
        agent = agents[method]
        facts = {"method": method, "paradigm": agent.paradigm, "backbone": agent.backbone}
        facts |= costs.cost(study.network, agent)
        seconds = results[method].seconds / len(study.seeds)
        facts |= {"updates": agent.num_updates, "training_s_per_seed": seconds}
        counted.append(facts | {"ms_per_update": 1_000 * seconds / agent.num_updates})
    return pd.DataFrame(counted)


cost = study.table("cost", cost_rows)
cost["exchanged_per_tti"] = [methods.find(method).knowledge.exchanged(study.network) for method in cost.method]
reading.shown(cost)

# %% [markdown]
# All networks have the same width and as many updates. Does CTDE need that? The same agent with half the width in each layer,
# and with half the updates, and the change of its scores, paired:

# %%
ctde = agents["CTDE-MARL-CQL"]
narrow = replace(ctde, hidden=(32, 32))
smaller = {"half the width": narrow, "half the updates": replace(ctde, num_updates=max(1, ctde.num_updates // 2))}
if study.recompute:
    jobs = {
        name: OfflineJob(logs.sac, agent, study.seeds, study.scoring, device=device) for name, agent in smaller.items()
    }
    reduced = run_jobs(study.data, jobs)
    narrower = reduced["half the width"]


def with_half():
    found = []
    for name, result in reduced.items():
        row = {"change": name, "seeds": len(study.seeds)} | tables.columns("score", tables.scored(result))
        found.append(row | tables.columns("difference", tables.paired(result, results["CTDE-MARL-CQL"])))
    return pd.DataFrame(found)


display(reading.shown(study.table("half", with_half)))

# %% [markdown]
# ## The claims
#
# A verdict is computed from the interval, not chosen: "reproduced" where the whole interval is on the claim's side,
# "not reproduced" where none of it is, "undecided" between. K1, K3 and K6 are judged over all logs; K3 with equal tuning, and
# with those usual defaults with which C scores more than the best baseline. For K1, "reproduced in part" says: better than every
# baseline of the lineage, but perhaps not by the 15%. For K6, "equivalent" says: the whole interval lies within 1% of R_score.


# %%
def over_baselines(gains):
    ctde, baseline = results["CTDE-MARL-CQL"], results[strongest]
    rule, cloned = results["Threshold"], results["BC"]
    ratios = [tables.paired(ctde, results[name], kind="ratio") for name in (strongest, "ITLinQ", "ITLinQ (tuned)")]
    gain, paper_itlinq, over_tuned = ratios
    lead, of_clone = tables.paired(ctde, rule), tables.paired(cloned, baseline, kind="ratio")
    return paper_claims.k1(strongest, gain, gains, paper_itlinq, tables.scored(rule), lead, over_tuned, of_clone)


# %%
def claims():
    c, i, ctde, tuned = (results[name] for name in (*LEARNERS, "ITLinQ (tuned)"))
    joint, local = (results[f"Observed oracle ({sees})"] for sees in ("joint", "local"))
    better = max((i, ctde), key=lambda result: tables.scored(result, "tail_rate"))
    # Of all logs: over the best baseline, over C, minus I.
    gains, shares, leads = (tables.interval_at(row, "over_logs") for _, row in of_logs.iterrows())
    over_own = tables.interval_at(from_own.iloc[0], "lead_of_ctde")
    share = tables.paired(ctde, c, kind="ratio")
    levels = [tables.scored(result)[0] for result in (results[strongest], joint, local)]
    return claim_table(
        study.slug,
        over_baselines(gains),
        paper_claims.k3(share, shares, tables.scored(c)[0], untuned_shares, *levels),
        paper_claims.k5(tables.paired(c, better, "tail_rate"), tables.scored(tuned, "tail_rate")[0]),
        paper_claims.k6(tables.paired(ctde, i), leads, tables.scored(i)[0], over_own, tables.paired(ctde, local)),
        paper_claims.k11(cost, costs.cost(study.network, narrow)["multiply_adds"], tables.paired(narrower, ctde)),
    )


# %%
judged = study.table("claims", claims)
reading.shown(judged)

# %% [markdown]
# ## What follows
#
# * Agents that act on their own observation score alike if they learn from the team's reward or clone the log: CTDE, independent
#   and online agents end where the one-step oracle on local observations does, or just above, and that was trained on exact
#   rewards. So the observation appears to be the limit.
# * Seeing all observations is worth far more than the paper says. The paper's share appears only with some untuned settings,
#   mostly those of the smallest learning rate. With standardised rewards and usual defaults the centralized agent scores less and CTDE nearly the same, so their ratio says how C
#   was trained. With raw rewards both lose, C more: it stays below the best baseline, and its ratios are not counted for K3.
# * Independent agents fail to coordinate where each learns from the reward of its own cell: they end near full reuse. From the
#   team's reward they do as well as CTDE. It is the reward that coordinates here, not the training together.
# * A rule with two tuned parameters that looks at the same observation, `Threshold` of notebook 02, scores the same without any
#   learning. K1 is judged against the baselines as the lineage sets them, and this rule is none of them.
# * Tuned ITLinQ scores above every learner of this notebook; it knows the gains between cells, and they do not (notebook 14 has a
#   learner that does). With the same gains, greedy
#   marginal admission and the best subset score higher still.
# * Noise of 3 dB in the reports costs I and CTDE a little, C perhaps nothing. With reports 5 TTIs old C and CTDE gain a little and
#   I nothing certain, probably for the reason above (measured there for full reuse). Reports 20 TTIs old cost all of them much
#   more, C least: CTDE then scores as the best baseline of the lineage does with exact reports.
#
# ## In practice
#
# <!-- practice -->
# * Where APs exchange nothing, clone a good log first (1.31): training from rewards adds little (1.32).
# * Where they can exchange something, do: with all observations in one place a learner scores 1.51, with gains between
#   cells a rule scores 1.77 (best subset).
# * For agents that act on their own observation reports may be 5 ms old (1.34, with exact ones 1.32); at 20 ms much is
#   lost (1.14).
# <!-- /practice -->

# %%
study.finish()
study.folded_versions()
