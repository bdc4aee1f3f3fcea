# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
#   rrmlab:
#     needs: []
# ---

# %% [markdown]
# # 13 · How fast is it?
#
# <!-- answer -->
# **Answer.** A batch steps 430,149 environments a second, 2,728 times mobile-env's rate; an update is 2.5 times as fast
# as d3rlpy's.
# <!-- /answer -->
#
# **Question.** How many environment steps and updates a second, against public peers and against what the machine can do?
# How does the time grow with the network? How long does the whole study take, and how much memory?
#
# **What is done here.** Ours and the peer take turns in one process, so that a machine that slows down slows both; a value
# is the median of the repeats, and each repeat's ratio is kept for the interval. The targets were set before the
# measurement. A peer that is not installed is reported as missing, and its target as not reached; `pip install -c
# constraints.txt -e '.[bench,deploy]'` installs them.
#
# **How to read it.** All figures are of one machine, named in the provenance beside the table. A busy machine widens the
# intervals and lowers the shares of the machine's limit.
#
# **Running time.** Read: seconds. Recomputed at the `paper` preset: about 3 minutes on 2 cores.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" (minutes) or "paper"
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where environments and learners are timed: "cpu" or "cuda"
seed = 0  # of the deployments and of the first training seed

# %%
import itertools
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch

from rrmlab import AgentConfig, collect, make_scheduler, train_offline
from rrmlab.bench import measure, report, workloads
from rrmlab.study import reading
from rrmlab.study.figures import benchmarks as figures
from rrmlab.study.notebook import Study

study = Study("13_benchmarks", preset, recompute, device, seed)
network, seeds = study.network, tuple(range(seed, seed + 10))
DQN = AgentConfig("centralized", "dqn", gamma=0.99, hidden=(128, 128))
SAC = AgentConfig()
GRAPH = AgentConfig.graph(alpha=0.1, gamma=0.0, batch_size=128, num_updates=1_000)  # as in 14 at the `paper` preset

# %%
SIZES = {
    "smoke": {"repeats": 1, "envs": 16, "peer_steps": 10, "updates": 2, "decisions": 100, "matrix": 512, "copy_mib": 32,
              "growth_ttis": 10, "growth_envs": 8, "growth_aps": (4, 9)},
    "quick": {"repeats": 3, "envs": 256, "peer_steps": 100, "updates": 20, "decisions": 1_000, "matrix": 1_024, "copy_mib": 128,
              "growth_ttis": 50, "growth_envs": 256, "growth_aps": (4, 9, 16)},
    "paper": {"repeats": 5, "envs": 2_048, "peer_steps": 100, "updates": 50, "decisions": 5_000, "matrix": 2_048, "copy_mib": 256,
              "growth_ttis": 200, "growth_envs": 256, "growth_aps": (4, 9, 16, 36, 64)},
}  # fmt: skip
size = SIZES[preset]
timed = partial(measure.interleaved, repeats=size["repeats"], wait=measure.waiting(device))
rows = []  # of the last table

# %% [markdown]
# ## What the machine can do
#
# Products of two square matrices in float32 (sgemm) and float64 (dgemm), and a copy that is too large for the caches (bytes
# read plus bytes written), with the threads that torch uses; the best repeat, for this is a limit.


# %%
def machine():
    rates = measure.machine_rates(device, size["matrix"], size["copy_mib"], size["repeats"])
    units = {"sgemm": "GFLOP/s", "dgemm": "GFLOP/s", "copy": "GB/s"}
    limits = [{"what": name, "rate": rates[name], "unit": unit} for name, unit in units.items()]
    return pd.DataFrame(limits).assign(device=device, threads=torch.get_num_threads())


limits = study.table("machine", machine)
rate = limits.set_index("what").rate
reading.shown(limits)

# %% [markdown]
# ## What an environment step asks for
#
# Operations of one TTI of one environment (4 APs, 24 UEs), as the definition of the game needs them: each link's fading is a
# sum of M complex rotations (8 operations each) in double precision, for in single precision the sum cancels in deep fades.
# A transcendental function or a comparison counts as one operation. Warm-up, drawing, copies and indices are not counted, so
# the share of the limit below is rather too low than too high.


# %%
def count():
    return pd.DataFrame(
        {"precision": precision, "item": item, "operations": number}
        for precision, items in measure.step_flops(network).items()
        for item, number in items.items()
    )


counted = study.table("count", count)
print(f"{counted.operations.sum():,} operations, {counted.groupby('precision').operations.sum().to_dict()}")
counted

# %% [markdown]
# ## The measurements
#
# * **Environment.** Whole episodes with uniformly random allowed actions: drawing, warm-up and all counted steps; of
#   mobile-env whole episodes too, its resets included, without Gymnasium's checks, which only makes it faster. The two games
#   are not the same; mobile-env's medium scenario is the public one nearest in size. Batches are of E = 2,048 at the `paper`
#   preset, 256 at `quick`.
# * **Update.** The same layers, batch and discount as the peer's, on the same log; both draw their minibatches. Ours masks
#   actions as well.
# * **Ten seeds.** One program of ten seeds against ten learners one after the other, minibatches included.
# * **Collecting.** In a fresh process, so that its memory starts from nothing; the target for the memory is 1 GiB beyond
#   what importing takes.
# * **Decision.** One AP, one observation, one thread: by `Policy.local`, and by the file of `Policy.export_onnx` in ONNX
#   Runtime. Five parts of the calls each, in turn; the intervals are over the parts. The target is about the 99th percentile
#   of all calls of `Policy.local`.
# * **Decision by messages.** All APs of one network of 4 with two rounds, on one logged observation after the other, one
#   thread: by `Policy.local_network`, against `Policy.act`. Here too the target is about the 99th percentile of all calls.
# * **Training of the graph.** Ten seeds as one program with the settings of notebook 14. A part of the updates is timed,
#   minibatches included, and counted up to 1,000: every update is the same work.

# %%
if study.recompute:  # environment
    peer, peer_episode = workloads.mobile_env_episode(most=size["peer_steps"]) or ("mobile-env (missing)", None)
    batch, single = (workloads.random_episodes(network, envs, seed, device) for envs in (size["envs"], 1))
    step_s = timed([batch, single, peer_episode])  # seconds per step (R, 3)
    in_batch, alone, theirs = 1 / step_s.T
    operations = counted.groupby("precision").operations.sum()
    limit_s = 1e-9 * (operations["float64"] / rate["dgemm"] + operations["float32"] / rate["sgemm"])
    rows += [
        report.row("environment steps, batch", "steps/s", in_batch, ">= 2000", peer, theirs),
        report.row("environment steps, single", "steps/s", alone, ">= 5", peer, theirs),
        report.row("environment steps, share of the machine's limit", "steps/s", in_batch, ">= 0.10",
                   "float64 part at dgemm, float32 part at sgemm", 1 / limit_s),
    ]  # fmt: skip

# %%
if study.recompute:  # update, and ten seeds
    log = collect(make_scheduler("random_walk"), network, min(study.sizes.transitions, 20_000), seed)
    peer, peer_updates = workloads.d3rlpy_updates(log, DQN, size["updates"], device) or ("d3rlpy (missing)", None)
    update_s = timed([workloads.learning(log, DQN, [seeds[:1]], size["updates"], device), peer_updates])  # (R, 2)
    half = max(1, size["updates"] // 2)
    together = workloads.learning(log, SAC, [seeds], half, device)
    apart = workloads.learning(log, SAC, [(one,) for one in seeds], half, device)
    ten_s = timed([together, apart])  # seconds per update of all ten (R, 2)
    gflop = 1e-9 * 10 * measure.update_flops(SAC, network)
    rows += [
        report.row("update, centralized DQN-CQL", "updates/s", 1 / update_s[:, 0], ">= 3", peer, 1 / update_s[:, 1]),
        report.row("ten seeds as one program", "ms", 1e3 * ten_s[:, 0], "<= 0.6",
                   "ten learners one after the other", 1e3 * ten_s[:, 1]),
        report.row("training arithmetic", "GFLOP/s", gflop / ten_s[:, 0], ">= 0.25", "sgemm", rate["sgemm"]),
    ]  # fmt: skip

# %%
if study.recompute:  # collecting
    num = study.sizes.transitions
    fresh = partial(workloads.in_fresh_process, workloads.collect_and_save, num, seed)
    logged = pd.DataFrame([fresh() for _ in range(min(3, size["repeats"]))])
    name, target = f"collecting {num:,} transitions", f"<= {1 + logged.imported_gib.median():.2f}"
    rows += [
        report.row(name, "s", logged.seconds, "<= 10"),
        report.row(f"{name}, on disk", "GiB", logged.disk_gib, "<= 1"),
        report.row(f"{name}, peak memory", "GiB", logged.peak_gib, target),
        report.row("memory after importing", "GiB", logged.imported_gib),
    ]

# %%
if study.recompute:  # decision
    policy = train_offline(log, replace(SAC, num_updates=1), seeds[:1], progress=False)[0]
    peer, peer_decision = workloads.one_onnx_decision(policy, log.obs[0]) or ("ONNX Runtime (missing)", None)
    decisions = (workloads.one_decision(policy, log.obs[0]), peer_decision)
    with measure.threads(1):
        spent = [[measure.latencies_ms(work, size["decisions"] // 5) for work in decisions] for _ in range(5)]
    ours_ms, theirs_ms = np.swapaxes(spent, 0, 1)  # (5, calls) each
    row = report.row("decision of one AP", "ms, 99th percentile", np.percentile(ours_ms, 99, axis=1), "<= 0.2")
    value = float(np.percentile(ours_ms, 99))
    rows.append(row | {"value": value, "reached": report.reached(value, row["target"])})
    rows += [
        report.row("decision of one AP, against its ONNX file", f"ms, {what}", np.percentile(ours_ms, share, axis=1),
                   "", peer, np.percentile(theirs_ms, share, axis=1))
        for what, share in (("median", 50), ("99th percentile", 99))
    ]  # fmt: skip

# %%
if study.recompute:  # decision by messages, and training of the graph
    talking = replace(network, observation="neighbours")
    talk = collect(make_scheduler("random_walk"), talking, min(study.sizes.transitions, 20_000), seed)
    graph = train_offline(talk, replace(GRAPH, num_updates=1), seeds[:1], progress=False)[0]
    following = itertools.cycle(talk.obs)
    calls = size["decisions"] // 5
    decide = workloads.one_network_decision(graph, talk.obs)
    with measure.threads(1):
        spent = [[measure.latencies_ms(decide, calls), measure.latencies_ms(lambda: graph.act(next(following)), calls // 10)]
                 for _ in range(5)]  # fmt: skip
        graph_s = timed([workloads.learning(talk, GRAPH, [seeds], half, device)])[:, 0]
    ours_ms, batched_ms = (np.array(part) for part in zip(*spent, strict=True))  # (5, calls) each
    rows += [
        report.row("decision of 4 APs by messages, against Policy.act", f"ms, {what}",
                   np.percentile(ours_ms, share, axis=1), "", "Policy.act", np.percentile(batched_ms, share, axis=1))
        for what, share in (("median", 50), ("99th percentile", 99))
    ]  # fmt: skip
    row = report.row("decision of 4 APs by messages", "ms, 99th percentile", np.percentile(ours_ms, 99, axis=1), "<= 1")
    value = float(np.percentile(ours_ms, 99))
    rows.append(row | {"value": value, "reached": report.reached(value, row["target"])})
    rows.append(report.row("training of ten seeds of the graph, 1,000 updates", "s", 1e3 * graph_s, "<= 60"))

# %% [markdown]
# ## Where the time goes
#
# By torch's profiler, which slows what it watches: matrix products, all other operations on tensors, and the rest, which is
# Python and the bookkeeping around each operation. (An environment step outside the block in which all gains are computed.)


# %%
def profiled():
    works = {
        "environment step, batch": workloads.silent_steps(network, size["envs"], 20, seed),
        "DQN-CQL update, one seed": workloads.learning(log, DQN, [seeds[:1]], size["updates"]),
        "CTDE-SAC update, one seed": workloads.learning(log, SAC, [seeds[:1]], size["updates"]),
        "CTDE-SAC update, ten seeds": workloads.learning(log, SAC, [seeds], size["updates"]),
    }
    for work in works.values():
        work()
    return pd.DataFrame([{"what": what, **measure.time_shares(work)} for what, work in works.items()])


shares = study.table("profile", profiled)
reading.shown(shares)

# %% [markdown]
# ## Growth
#
# Networks of 4 to 64 APs at a fixed density (the square's side grows with √I) and six users per AP. An environment step has
# I·J links, a CTDE update I heads: perfect growth keeps time / (I·J) and time / I constant, and the rows report the largest
# ratio of these to 4 APs. Of the steps, every size is given about the same number of links: fewer environments where the
# network is larger, which also bounds the memory, and whole episodes as above (APs without users are allowed here). The
# updates are of one seed with one minibatch of noise. The centralized learner's one head has (N + 1)^I outputs and is refused
# beyond a limit.
#
# A decision by messages (`Policy.act`, two rounds) has I turns in a round, and in each the values of all APs: perfect growth
# keeps time / I² constant. Every size decides for the same number of networks at once, on noise.

# %%
if study.recompute:
    aps = np.array(size["growth_aps"])
    links = 6 * aps**2
    ttis = size["growth_ttis"]
    base = replace(network, episode_ttis=ttis, warmup_ttis=ttis // 10, require_users=False)
    larger = [replace(base, num_aps=i, num_users=6 * i, area_m=500.0 * (i / 4) ** 0.5) for i in aps.tolist()]
    envs = [max(1, size["growth_envs"] * 16 // i**2) for i in aps.tolist()]
    steps = [workloads.random_episodes(config, num, seed, device) for config, num in zip(larger, envs, strict=True)]
    step_ms = 1e3 * timed(steps)  # (R, sizes)

    noise = partial(workloads.updates_of_noise, num=max(1, size["updates"] // 5), device=device)
    update_ms = 1e3 * timed([noise(SAC, config) for config in larger])
    joint = replace(SAC, paradigm="centralized")
    few_aps = range(1, workloads.largest_centralized(network) + 1)
    joint_ms = 1e3 * timed([noise(joint, replace(network, num_aps=i)) for i in few_aps])
    deciding = max(1, size["growth_envs"] // 4)
    seen = [replace(config, observation="neighbours") for config in larger]
    decide_ms = 1e3 * timed([workloads.decisions_of_noise(graph, config, deciding) for config in seen])
    rows += [
        report.growth_row("growth of an environment step", "µs per link", aps, 1e3 * step_ms / links),
        report.growth_row("growth of a CTDE update", "µs per AP", aps, 1e3 * update_ms / aps),
        report.growth_row("growth of a decision by messages", "µs per AP squared", aps, 1e3 * decide_ms / aps**2),
        report.row("centralized stops at", "APs", max(few_aps)),
    ]


# %%
def growth():
    return pd.concat([
        report.by_size("environment step", step_ms, aps, 6 * aps, envs),
        report.by_size("CTDE update", update_ms, aps),
        report.by_size("decision by messages", decide_ms, aps, 6 * aps, deciding),
        report.by_size("centralized update", joint_ms, few_aps),
    ])  # fmt: skip


grown = study.table("growth", growth)
caption = f"""Time of an environment step over the number of links (a) and of an update over the number of APs (b). Medians of
{grown.repeats.min()} repeats; bars: from the smallest to the largest repeat; dashed: proportional growth."""
study.show(figures.growth(grown), "growth", caption)

# %% [markdown]
# ## The whole study
#
# How long each other notebook took when it was last computed, and how much memory: from the provenance files beside the tables. A
# notebook that finds its runs in `data/` takes far less than one that starts from nothing. These notebooks started from nothing, but
# those after 03 found its logs and the scores of the rules. They ran on different days, on servers that
# are not equally fast.


# %%
def whole_study():
    """One row per notebook but this one: minutes and peak memory of its last run."""
    rows = []
    for path in sorted((study.figures / "tables").glob("[0-9][0-9]_*.json")):
        if path.stem == study.slug:
            continue
        run = json.loads(path.read_text())
        rows.append((path.stem, run["wall_time_s"] / 60, run["peak_memory_gib"], run["commit"], run["date"]))
    return pd.DataFrame(rows, columns=["notebook", "minutes", "peak_memory_gib", "commit", "date"])


runs = study.table("study", whole_study)
reading.shown(runs)

# %%
if study.recompute:
    there = set(runs.notebook.str[:2])
    absent = ", ".join(name for name in (f"{k:02d}" for k in range(16)) if name not in there | {study.slug[:2]})
    # A reference that is named and has no value: the target counts as not reached.
    missing = f"missing: notebook {absent}" if absent else ""
    minutes = np.nan if absent else runs.minutes.sum()
    rows += [
        report.row("peak memory of the study", "GiB", runs.peak_memory_gib.max(), "<= 4", missing),
        report.row("time of the other notebooks", "min", minutes, "<= 150", missing),
    ]

# %% [markdown]
# ## All rows
#
# `value` is the median of the repeats (of a decision with a target: the 99th percentile of all calls). Where a `reference` is named, the target is about `ratio`, the median of the repeats'
# value / reference, otherwise about the value; `ratio_low` and `ratio_high` are the smallest and largest repeat of what the
# target is about. `reached` is computed from it. On CUDA there are rows for larger batches, more seeds, and the differences to the CPU.

# %%
if study.recompute and torch.device(device).type == "cuda":
    (seconds,) = timed([workloads.random_episodes(network, 4096, seed, device)]).T
    rows.append(report.row("environment steps, E = 4096", "steps/s", 1 / seconds))
    for num in (10, 100):
        (seconds,) = timed([workloads.learning(log, SAC, [range(seed, seed + num)], size["updates"], device)]).T
        rows.append(report.row(f"update, CTDE-SAC, {num} seeds", "ms", 1e3 * seconds))
    largest = workloads.device_differences(network, SAC, device)
    rows += [
        report.row("largest difference to the CPU, one episode", "bit/s/Hz", largest["episode"]),
        report.row("largest difference to the CPU, 100 updates", "of a parameter", largest["updates"]),
    ]

# %%
table = study.table("", lambda: pd.DataFrame(rows))
reading.shown(table)

# %% [markdown]
# How far each row is from its target, in the direction that counts: to the right of the line is better than the target. Bars
# go from the smallest to the largest repeat.

# %%
margins = report.margins(table)
caption = f"""How far each measurement is from its target; right of 1 it is reached. Medians of {size["repeats"]} repeats; bars: from
the smallest to the largest repeat; cross: target missed."""
study.show(figures.targets(margins), caption=caption)

# %% [markdown]
# ## Roofline
#
# What the memory and the matrix units allow at an arithmetic intensity, and where the work lies. Bytes are an estimate from
# below: every tensor that a step or an update must read and write counts once (a step: all links' gains, the users' averages,
# SINRs and weights, observation, mask and slots; an update: parameters, gradients, Adam's moments, the target networks, the
# minibatch, every layer's output). What stays in a cache may go above the memory's roof.


# %%
def roofline():
    works = [
        ("environment step, batch", counted.operations.sum(), measure.step_bytes(network), step_s),
        ("DQN-CQL update, one seed", measure.update_flops(DQN, network), measure.update_bytes(DQN, network), update_s),
        (
            "CTDE-SAC update, ten seeds",
            10 * measure.update_flops(SAC, network),
            10 * measure.update_bytes(SAC, network),
            ten_s,
        ),
    ]
    found = []
    for what, flops, moved, seconds in works:
        gflops = 1e-9 * flops / seconds[:, 0]
        facts = {"what": what, "flops": flops, "bytes": moved, "flop_per_byte": flops / moved}
        facts |= {"gflops": np.median(gflops), "gflops_low": gflops.min(), "gflops_high": gflops.max()}
        found.append(facts | {"repeats": len(gflops)})
    return pd.DataFrame(found)


points = study.table("roofline", roofline)
caption = f"""Arithmetic rate over arithmetic intensity of a step and of updates, under what the machine can do (grey). Medians of
{points.repeats.min()} repeats; bars: from the smallest to the largest repeat, mostly shorter than the symbol."""
study.show(figures.roofline(points, rate), "roofline", caption)

# %% [markdown]
# ## What follows
#
# * Nine tenths of a step's arithmetic are fading, in double precision. A single environment pays the fixed cost of every call
#   alone; a batch shares it, and this is what makes a batch fast.
# * The networks are small. A part of an update is the fixed cost of its calls, which several seeds in one program share.
# * CTDE grows with the number of APs, the centralized head with (N + 1)^I: this is where centralized training ends, whatever
#   the machine.

# %%
print(f"{margins.reached.sum()} of {len(margins)} targets reached.")
for missed in margins[~margins.reached].itertuples():
    print(f"not reached: {missed.row}: {missed.judged:.3g}, target {missed.target}")

# %% [markdown]
# ## In practice
#
# <!-- practice -->
# * Simulate in batches: 430,149 steps a second, 2,855 for an environment alone.
# * Train seeds together: ten of them take 0.53 of the time that they take one after the other.
# <!-- /practice -->

# %%
study.finish()
study.folded_versions()
