# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 15 · What becomes of a log of one's own?
#
# <!-- answer -->
# **Answer.** On a made-up site CTDE-MARL-CQL learns from a rule's log to score 1.50, 1.09 [1.07, 1.11] times the
# rule's; TDM, which needs no log, scores 1.96.
# <!-- /answer -->
#
# **Question.** There is a map of a site and a log of what its access points (APs) saw and did. Does a policy learned from
# that log do better at the site than the rule that wrote it, and what is to be looked at before it is trusted?
#
# **What the paper says.** Nothing about measurements: its logs come from its own simulator.
#
# **What is done here.** [make_log.py](../examples/make_log.py) stands for a network in operation. It knows nothing of this
# package, has another radio (path loss, shadowing, fading), and writes a CSV file. From this file on, every step is the one
# that a log of one's own takes: load it, look at what it covers, train, score at the site's positions, export to ONNX.
# To use your own data, replace the site's file, the log's file and the class `Incumbent`.
#
# **Running time.** Read: seconds. Recomputed at the `paper` preset: about 2 minutes on 2 cores.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" (minutes) or "paper"
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where networks are trained: "cpu" or "cuda"
seed = 0  # of the log, of the site's shadowing and fading, and of the first training seed

# %%
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from rrmlab import Dataset, Deployment, Policy, collect, evaluate, evaluate_seeds, make_scheduler, train_offline
from rrmlab.game.radio import association
from rrmlab.game.schedulers import Scheduler
from rrmlab.random_streams import PolicyStream, sample
from rrmlab.study import methods, reading, statistics, tables, tuning
from rrmlab.study.figures import own_data as figures
from rrmlab.study.notebook import Study
from rrmlab.study.places import find_repository, notebook_folders

study = Study("15_your_own_data", preset, recompute, device, seed)
LEARNER = "CTDE-MARL-CQL"

# %% [markdown]
# ## The site
#
# A row per AP and per user, with positions in metres. `days` are episodes at these positions, each with shadowing, fading and
# directions of walk of its own: on them everything below is scored. The map shows the first of them: a user belongs to the AP
# of the strongest gain, which is not always the nearest.

# %%
examples = find_repository(*notebook_folders()) / "examples"
site = pd.read_csv(examples / "campus.csv").sort_values("kind", kind="stable")  # the APs first
aps, users = (site.loc[site.kind == kind, ["x_m", "y_m"]].to_numpy() for kind in ("AP", "user"))
study.network = replace(study.network, num_aps=len(aps), num_users=len(users), area_m=250.0)
days = Deployment.from_positions(study.network, aps, [users] * study.sizes.episodes, seed=study.seed)


# %%
def on_the_map():
    serving = association(study.network, days[:1])[0].numpy()
    index = site.groupby("kind").cumcount()
    return site.assign(index=index, ap=np.append(np.arange(len(aps)), serving), on=False)


nodes = study.table("site", on_the_map)
caption = """Map of the made-up site. Squares: APs; users have the colour and marker of the AP that serves them, the one of
the strongest gain on the first day. Titles give the APs' names."""
study.show(figures.site(nodes, study.network.area_m), "site", caption)

# %% [markdown]
# ## The log
#
# One line per AP and TTI: the SINR and ln w of its three best users, what it did, and the reward of all APs together. The
# rule behind it, the incumbent, serves the best user by the PF factor; where that user reports less than 5 dB, it is
# silent in half of the TTIs, drawn at random. In 15% of its decisions it tries any of its actions. Without such draws and trials
# a log shows one action per observation, and nothing can be learned from it but that. (The program's fading is the recursion that
# notebook 01 calls a trap: it is another radio than the simulator's.)

# %%
folder = study.data / "own_data"
if study.recompute:
    folder.mkdir(parents=True, exist_ok=True)
    ttis = study.network.episode_ttis
    size = {"--episodes": study.sizes.transitions // (4 * ttis), "--ttis": ttis, "--seed": study.seed}
    options = [str(part) for option in size.items() for part in option]
    program, site_file = examples / "make_log.py", examples / "campus.csv"
    subprocess.run([sys.executable, program, site_file, folder / "log.csv", *options], check=True)
    data = Dataset.from_table(folder / "log.csv", study.network)

study.table("log", lambda: pd.read_csv(folder / "log.csv", nrows=2 * len(aps)))

# %% [markdown]
# ## Training
#
# Behaviour cloning (BC) imitates the log: it shows whether observations and actions belong together. CTDE-MARL-CQL learns
# from the rewards. Their hyper-parameters were tuned in other networks (notebook 04) and not on this site.

# %%
offline = tuning.offline_agents(study.sizes.updates)
agents = {method: offline[method] for method in ("BC", LEARNER)}
tables.experiment_table(agents, study.seeds, "log.csv")

# %%
if study.recompute:
    policies = {}
    for method, agent in agents.items():
        policies[method] = train_offline(data, agent, study.seeds, study.device, progress=False)

# %% [markdown]
# ## Scores at the site
#
# One's own rule is a class with `serve`: here the incumbent, as probabilities of each AP's actions. TDM and ITLinQ are rules
# that need no log; the exhaustive search knows all gains and tries every joint action.


# %%
class Incumbent(Scheduler):
    """What `decide` in examples/make_log.py does."""

    name = "Incumbent"

    def begin(self, key):
        self.stream = PolicyStream(key, study.seed, len(aps))

    def serve(self, view):
        allowed = view.action_mask.double()
        backs_off = torch.where(view.obs[..., 0] < 5.0, 0.5, 0.0)
        rule = torch.zeros_like(allowed)
        rule[..., 0], rule[..., 1] = backs_off, 1 - backs_off
        chances = 0.85 * rule + 0.15 * allowed / allowed.sum(-1, keepdim=True)
        return view.users(sample(chances * allowed, self.stream.next()))


# %%
RULES = ("Full reuse", "ITLinQ", "TDM", "Exhaustive")
if study.recompute:
    rules = {"Incumbent": Incumbent()} | {name: make_scheduler(**methods.find(name).scheduler) for name in RULES}
    scores = {name: [evaluate(rule, study.network, deployments=days)] for name, rule in rules.items()}
    scores |= {method: evaluate_seeds(each, study.network, deployments=days) for method, each in policies.items()}
    rates = {method: np.stack([score.rates for score in each]) for method, each in scores.items()}  # (S, D, J)


# %%
def seed_rows():
    rows = []
    for method, each in scores.items():
        for k, score in enumerate(each):
            row = {"method": method, "seed": study.seeds[k] if method in agents else None}
            row |= tables.scores(score.rates)
            rows.append(row | {"reward": score.rewards.mean()})
    return pd.DataFrame(rows).astype({"seed": "Int64"})


rows = study.table("", seed_rows)

# %% [markdown]
# The interquartile mean over training seeds, with 95% bootstrap intervals over seeds × days (over days alone for rules). The
# ratio is R_score over that of the incumbent, on the same days. One log and one site: how results vary from log to log, or
# from site to site, is not in the intervals.


# %%
def summary():
    order = ["Exhaustive", "TDM", "ITLinQ", "Full reuse", "Incumbent", *agents]
    draws = {method: statistics.bootstrap(statistics.contributions(rates[method])) for method in order}
    rows = []
    for method in order:
        seeds = len(rates[method])
        row = {"method": method, "seeds": seeds if method in agents else 0}
        for k, (name, statistic) in enumerate(tables.SCORES.items()):
            value = statistics.iqm(statistic(rates[method]))
            row |= tables.columns(name, (value, *statistics.interval(draws[method][..., k], seeds)))
        ratio = row["score"] / tables.scores(rates["Incumbent"][0])["score"]
        over = draws[method][..., k] / draws["Incumbent"][..., k]  # the score is the last
        rows.append(row | tables.columns("ratio", (ratio, *statistics.interval(over, seeds))))
    return pd.DataFrame(rows)


table = study.table("summary", summary)
caption = f"""Sum rate, 5-percentile rate and R_score at the site. Interquartile means over {study.sizes.seeds} training seeds and
{len(days)} days (rules: days); bars: 95% bootstrap intervals."""
study.show(figures.summary(table), "summary", caption)

# %%
reading.shown(table)

# %% [markdown]
# ## What the log covers
#
# A policy is only as good as what the log tried. `seen` is what the first seed's policy meets and does at the site; each
# panel has it beside the log. What the policy does where the log hardly ever did it, is extrapolated and not learned from data.


# %%
if study.recompute:
    policy = policies[LEARNER][0].to("cpu")
    seen = collect(policy, study.network, deployments=days[: max(1, len(days) // 10)])


# %%
def decisions(part):
    """A row per TTI and AP: ap, SINR of its best user (the middle of a bin of 5 dB, and itself), action."""
    sinr, actions = part.obs[part.rows, :, 0].numpy(), part.actions.numpy()
    ap = np.broadcast_to(np.arange(len(aps)), actions.shape)
    middle = np.clip(5 * np.floor(sinr / 5) + 2.5, -7.5, 42.5)
    return pd.DataFrame({"ap": ap.ravel(), "x": middle.ravel(), "sinr": sinr.ravel(), "what": actions.ravel()})


def coverage():
    parts = []
    for series, part in {"log": data, LEARNER: seen}.items():
        each, counts = decisions(part), np.unique(part.actions.numpy(), axis=0, return_counts=True)[1]
        at_sinr = pd.crosstab(each.x, each.what, normalize="index").stack().rename("share").reset_index()
        on = each.what.gt(0).groupby(each.ap).mean().rename("share").reset_index().rename(columns={"ap": "what"})
        below = statistics.quantiles(each.sinr).rename(columns={"rate": "x", "probability": "share"})
        joint = pd.DataFrame({"x": np.arange(1, len(counts) + 1), "share": np.sort(counts)[::-1] / len(part)})
        panels = {"action": at_sinr, "on": on, "sinr": below, "joint": joint}
        parts += [panel.assign(series=series, panel=name) for name, panel in panels.items()]
    return pd.concat(parts, ignore_index=True)


covered = study.table("coverage", coverage)

# %%
joint_actions = (study.network.top_n + 1) ** study.network.num_aps
caption = f"""What the log covers (solid, black) and what {LEARNER}, first seed, meets and does at the site (dashed): (a) actions by
the SINR of the AP's best user; (b) how often each AP transmits; (c) CDF of that SINR; (d) joint actions from the most to the least
frequent. Counts of one log and one policy: there is no interval."""
study.show(figures.coverage(covered, joint_actions), "coverage", caption)

# %% [markdown]
# The same in numbers, and whether the simulated site is the one that wrote the log: the incumbent's mean reward at the site
# should be that of the log.


# %%
def checks():
    logged, met = decisions(data), decisions(seen)
    share = logged.groupby(["x", "what"]).size() / logged.groupby("x").size()
    rare = share.reindex(pd.MultiIndex.from_frame(met[["x", "what"]])).fillna(0) < 0.05
    low, high = logged.sinr.quantile([0.01, 0.99])
    facts = {"joint actions that the log holds": (covered.series.eq("log") & covered.panel.eq("joint")).sum()}
    facts["TTIs of the log with at most one AP on"] = (data.actions > 0).sum(1).le(1).double().mean().item()
    facts["the policy's decisions that the log made in less than 5% of its lines at that SINR"] = rare.mean()
    facts["SINRs met by the policy outside of the middle 98% of the log"] = 1 - met.sinr.between(low, high).mean()
    facts["mean reward of the log"] = data.rewards.double().mean().item()
    facts["mean reward of the incumbent at the site"] = scores["Incumbent"][0].rewards.mean()
    return pd.DataFrame({"check": facts.keys(), "value": facts.values()})


checked = study.table("checks", checks)
reading.shown(checked)

# %% [markdown]
# ## What an AP runs
#
# The policy is saved and loaded again, and exported: a file per AP, which ONNX Runtime runs without PyTorch (extra
# `deploy`). Each file decides on what its AP observed at the site, and is compared with `Policy.act`.

# %%
if study.recompute:
    import onnxruntime

    policy.save(folder / "policy")
    files = policy.export_onnx(folder / "onnx")


# %%
def in_onnx_runtime():
    wanted = Policy.load(folder / "policy").act(seen.obs).numpy()
    rows = []
    for ap, name in enumerate(site.name[site.kind == "AP"]):
        session = onnxruntime.InferenceSession(files / f"ap_{ap}.onnx")
        (actions,) = session.run(["action"], {"obs": seen.obs[:, ap].numpy()})
        rows.append({"file": f"ap_{ap}.onnx", "AP": name, "observations": len(actions)})
        rows[-1]["same action"] = (actions == wanted[:, ap]).sum()
    return pd.DataFrame(rows)


exported = study.table("onnx", in_onnx_runtime)
exported

# %% [markdown]
# ## In practice


# %%
def compared(method):
    """The method's ratio to the incumbent, in words."""
    ratio, low, high = tables.interval_at(table.set_index("method").loc[method], "ratio")
    verdict = "better" if low > 1 else "worse" if high < 1 else "not clearly better or worse"
    return f"{method} scores {ratio:.2f} [{low:.2f}, {high:.2f}] times what the incumbent does ({verdict})"


held, alone, rare, outside, logged, simulated = checked.value
plain = table[table.method.isin(["TDM", "ITLinQ", "Full reuse"])].sort_values("score").method.iloc[-1]
Markdown(f"""
1. **Is it the site?** The incumbent earns {simulated:.1f} a TTI there and {logged:.1f} in the log, and {outside:.1%} of the
SINRs that the policy meets lie outside of the middle 98% of the log. Where these differ much, the scores say little.
2. **Is the log read right?** {compared("BC")}. Far below 1 would say that observations and actions do not match.
3. **What did the log try?** {held:.0f} of {joint_actions} joint actions; at most one AP on in {alone:.2%} of the TTIs. And
{rare:.1%} of the policy's decisions are ones that the log made in less than 5% of its lines at that SINR.
4. **Is it worth it?** {compared(LEARNER)}. Of the rules that need no log, {compared(plain)}: such
rules are to be scored before anything is learned.
""")

# %%
study.finish()
study.folded_versions()
