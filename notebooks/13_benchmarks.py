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
#   rrmlab:
#     needs: []
# ---

# %% [markdown]
# # 13 · How fast is it?
#
# **Question.** How many environment steps and updates a second, against public peers and against what the machine can do?
# How does the time grow with the network? How long does the whole study take, and how much memory?
#
# **What is done here.** Ours and the peer take turns in one process, so that a machine that slows down slows both; a value
# is the median of the repeats, and each repeat's ratio is kept for the interval. The targets were set before the
# measurement. A peer that is not installed is reported as missing, and its target as not reached; `pip install -c
# constraints.txt -e '.[bench]'` installs both.
#
# **How to read it.** All figures are of one machine, named in the provenance beside the table. A busy machine widens the
# intervals and lowers the shares of the machine's limit.
#
# **Running time.** Read: seconds. Recomputed at the `paper` preset: about 4 minutes on 2 cores.

# %% tags=["parameters"]
preset = "paper"  # sizes: "smoke" (seconds), "quick" (minutes) or "paper"
recompute = False  # False draws from the stored tables, True computes them again
device = "cpu"  # where environments and learners are timed: "cpu" or "cuda"
seed = 0  # of the deployments and of the first training seed

# %%
import functools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.ticker import LogLocator

from rrmlab import AgentConfig, RRMEnv, collect, make_scheduler, train_offline
from rrmlab.agents.learner import Learner
from rrmlab.bench import measure, workloads
from rrmlab.study import plotting
from rrmlab.study.notebook import Study

study = Study("13_benchmarks", preset, recompute, device, seed)
SIZES = {
    "smoke": {"repeats": 1, "envs": 16, "peer_steps": 10, "updates": 2, "decisions": 100, "matrix": 512, "copy_mib": 32},
    "quick": {"repeats": 3, "envs": 256, "peer_steps": 100, "updates": 20, "decisions": 1_000, "matrix": 1_024, "copy_mib": 128},
    "paper": {"repeats": 5, "envs": 2_048, "peer_steps": 100, "updates": 50, "decisions": 5_000, "matrix": 2_048, "copy_mib": 256},
}  # fmt: skip
# Of the growth's episodes: TTIs, and environments at 4 APs.
GROWTH_TTIS, GROWTH_ENVS = {"smoke": (10, 8), "quick": (50, 256), "paper": (200, 256)}[preset]
GROWTH_APS = (4, 9) if preset == "smoke" else (4, 9, 16, 36, 64)
size = SIZES[preset]
REPEATS, UPDATES, FEW = size["repeats"], size["updates"], min(3, size["repeats"])
DQN = AgentConfig("centralized", "dqn", gamma=0.99, hidden=(128, 128))
SAC = AgentConfig()
network, seeds = study.network, tuple(range(seed, seed + 10))
timed = functools.partial(measure.interleaved, repeats=REPEATS, wait=measure.waiting(device))

# %% [markdown]
# ## What the machine can do
#
# Products of two square matrices in float32 (sgemm) and float64 (dgemm), and a copy that is too large for the caches (bytes
# read plus bytes written), with the threads that torch uses; the best repeat, for this is a limit.


# %%
@functools.cache
def rates():
    return measure.machine_rates(device, size["matrix"], size["copy_mib"], REPEATS)


def machine():
    units = {"sgemm": "GFLOP/s", "dgemm": "GFLOP/s", "copy": "GB/s"}
    rows = [{"what": name, "rate": rates()[name], "unit": unit} for name, unit in units.items()]
    return pd.DataFrame(rows).assign(device=device, threads=torch.get_num_threads())


limits = study.table("machine", machine)
limits.round(1)

# %% [markdown]
# ## What an environment step asks for
#
# Operations of one TTI of one environment (4 APs, 24 UEs), as the definition of the game needs them: each link's fading is a
# sum of M complex rotations (8 operations each) in double precision, for in single precision the sum cancels in deep fades.
# A transcendental function or a comparison counts as one operation. Warm-up, drawing, copies and indices are not counted, so
# the share of the limit below is rather too low than too high.


# %%
def count():
    counted = measure.step_flops(network)
    rows = [
        {"precision": precision, "item": item, "operations": number}
        for precision, items in counted.items()
        for item, number in items.items()
    ]
    return pd.DataFrame(rows)


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
# * **Decision.** One AP, one observation, one thread, the 99th percentile of all calls; its interval is over five parts of
#   the calls.


# %%
@functools.cache
def log():
    return collect(make_scheduler("random_walk"), network, min(study.sizes.transitions, 20_000), seed)


@functools.cache
def environment_seconds():
    """Label of the peer, and seconds per step (R, 3): batch, single, peer."""
    label, peer = workloads.mobile_env_episode(most=size["peer_steps"]) or ("mobile-env (missing)", None)
    batch, single = (workloads.random_episodes(network, envs, seed, device) for envs in (size["envs"], 1))
    return label, timed([batch, single, peer])


@functools.cache
def update_seconds():
    """Label of the peer, and seconds per update: (R, 2) ours and peer; (R, 2) ten seeds as one, and one by one."""
    label, peer = workloads.d3rlpy_updates(log(), DQN, UPDATES, device) or ("d3rlpy (missing)", None)
    ours = workloads.learning(log(), DQN, [seeds[:1]], UPDATES, device)
    stacks = ([seeds], [(one,) for one in seeds])
    together, apart = (workloads.learning(log(), SAC, stack, max(1, UPDATES // 2), device) for stack in stacks)
    return label, timed([ours, peer]), timed([together, apart])


def step_limit_s():
    """Seconds of a step at the machine's limit: the float64 part at dgemm's rate plus the float32 part at sgemm's."""
    counted = {precision: sum(items.values()) for precision, items in measure.step_flops(network).items()}
    return 1e-9 * (counted["float64"] / rates()["dgemm"] + counted["float32"] / rates()["sgemm"])


def speed_rows():
    env_peer, env = environment_seconds()
    update_peer, update, ten = update_seconds()
    batch, single, other = 1 / env.T
    gflop = 1e-9 * 10 * measure.update_flops(SAC, network)
    row = measure.row
    return [
        row("environment steps, batch", "steps/s", batch, ">= 2000", env_peer, other),
        row("environment steps, single", "steps/s", single, ">= 5", env_peer, other),
        row("environment steps, share of the machine's limit", "steps/s", batch, ">= 0.10",
            "float64 part at dgemm, float32 part at sgemm", 1 / step_limit_s()),
        row("update, centralized DQN-CQL", "updates/s", 1 / update[:, 0], ">= 3", update_peer, 1 / update[:, 1]),
        row("ten seeds as one program", "ms", 1e3 * ten[:, 0], "<= 0.6", "ten learners one after the other", 1e3 * ten[:, 1]),
        row("training arithmetic", "GFLOP/s", gflop / ten[:, 0], ">= 0.25", "sgemm", rates()["sgemm"]),
    ]  # fmt: skip


def collecting_rows():
    num = study.sizes.transitions
    runs = pd.DataFrame([workloads.in_fresh_process(workloads.collect_and_save, num, seed) for _ in range(FEW)])
    name, target = f"collecting {num:,} transitions", f"<= {1 + runs.imported_gib.median():.2f}"
    return [
        measure.row(name, "s", runs.seconds, "<= 10"),
        measure.row(f"{name}, on disk", "GiB", runs.disk_gib, "<= 1"),
        measure.row(f"{name}, peak memory", "GiB", runs.peak_gib, target),
        measure.row("memory after importing", "GiB", runs.imported_gib),
    ]


def decision_rows():
    policy = train_offline(log(), replace(SAC, num_updates=1), seeds[:1], progress=False)[0]
    with measure.threads(1):
        spent = measure.latencies_ms(workloads.one_decision(policy, log().obs[0]), size["decisions"])
    tails = np.percentile(spent.reshape(5, -1), 99, axis=1)
    row = measure.row("decision of one AP", "ms, 99th percentile", tails, "<= 0.2")
    value = float(np.percentile(spent, 99))
    return [row | {"value": value, "reached": measure.reached(value, row["target"])}]


# %% [markdown]
# ## Where the time goes
#
# By torch's profiler, which slows what it watches: matrix products, all other operations on tensors, and the rest, which is
# Python and the bookkeeping around each operation. (An environment step outside the block in which all gains are computed.)


# %%
def profiled():
    env = RRMEnv(network, size["envs"], seed)
    env.reset()
    actions = torch.zeros(size["envs"], network.num_aps, dtype=torch.int64)

    def steps():
        for _ in range(20):
            env.step(actions)
        return 20

    works = {
        "environment step, batch": steps,
        "DQN-CQL update, one seed": workloads.learning(log(), DQN, [seeds[:1]], UPDATES),
        "CTDE-SAC update, one seed": workloads.learning(log(), SAC, [seeds[:1]], UPDATES),
        "CTDE-SAC update, ten seeds": workloads.learning(log(), SAC, [seeds], UPDATES),
    }
    for work in works.values():
        work()
    return pd.DataFrame([{"what": what, **measure.time_shares(work)} for what, work in works.items()])


shares = study.table("profile", profiled)
shares.round(2)

# %% [markdown]
# ## Growth
#
# Networks of 4 to 64 APs at a fixed density (the square's side grows with √I) and six users per AP. An environment step has
# I·J links, a CTDE update I heads: perfect growth keeps time / (I·J) and time / I constant, and the rows report the largest
# ratio of these to 4 APs. Every size is given about the same number of links: fewer environments where the network is larger,
# which also bounds the memory, and whole episodes as above (APs without users are allowed here). The updates are of one seed
# with one minibatch of noise. The centralized learner's one head has (N + 1)^I outputs and is refused beyond a limit.


# %%
def largest_centralized():
    """The largest I that a centralized learner accepts."""
    aps = 1
    while True:
        try:
            Learner(replace(SAC, paradigm="centralized", hidden=(1,)), replace(network, num_aps=aps + 1), [0])
        except ValueError:
            return aps
        aps += 1


@functools.cache
def growth_seconds():
    """Of each kind the APs, the environments of each size, and seconds per step or update (R, sizes)."""
    base = replace(network, episode_ttis=GROWTH_TTIS, warmup_ttis=GROWTH_TTIS // 10, require_users=False)
    configs = [replace(base, num_aps=i, num_users=6 * i, area_m=500.0 * (i / 4) ** 0.5) for i in GROWTH_APS]
    envs = [max(1, GROWTH_ENVS * 16 // i**2) for i in GROWTH_APS]
    steps = timed([workloads.random_episodes(c, e, seed, device) for c, e in zip(configs, envs, strict=True)])
    few = max(1, UPDATES // 5)
    noise = functools.partial(workloads.updates_of_noise, num=few, device=device)
    joint, small = replace(SAC, paradigm="centralized"), tuple(range(1, largest_centralized() + 1))
    return {
        "environment step": (GROWTH_APS, envs, steps),
        "CTDE update": (GROWTH_APS, [0] * len(envs), timed([noise(SAC, replace(network, num_aps=i)) for i in GROWTH_APS])),
        "centralized update": (small, [0] * len(small), timed([noise(joint, replace(network, num_aps=i)) for i in small])),
    }


def growth():
    rows = []
    for kind, (aps, envs, seconds) in growth_seconds().items():
        for k, i in enumerate(aps):
            users = 6 * i if kind == "environment step" else 0
            ms = 1e3 * seconds[:, k]
            facts = {"ms": np.median(ms), "ms_low": ms.min(), "ms_high": ms.max(), "repeats": len(ms)}
            rows.append({"kind": kind, "aps": i, "users": users, "envs": envs[k], **facts})
    return pd.DataFrame(rows)


def growth_rows():
    """The size whose time per link or per AP grew most over that at the smallest one."""

    def worst(name, kind, unit, size):
        aps, _, seconds = growth_seconds()[kind]
        each = 1e6 * seconds / [size(i) for i in aps]
        k = 1 + np.median(each[:, 1:] / each[:, :1], axis=0).argmax()
        unit, reference = f"{unit}, {aps[k]} APs", f"the same, {aps[0]} APs"
        return measure.row(name, unit, each[:, k], "<= 1.0", reference, each[:, 0])

    return [
        worst("growth of an environment step", "environment step", "µs per link", lambda i: 6 * i * i),
        worst("growth of a CTDE update", "CTDE update", "µs per AP", lambda i: i),
        measure.row("centralized stops at", "APs", max(growth_seconds()["centralized update"][0])),
    ]


grown = study.table("growth", growth)
fig, (left, right) = plotting.figure(columns=2, width=plotting.PAGE_IN, height=2.6)
SHOWN = {
    "environment step": (left, {"color": "black", "marker": "D", "linestyle": "-"}, "environment step"),
    "CTDE update": (right, plotting.style_of("CTDE-MARL-CQL"), "CTDE update"),
    "centralized update": (right, plotting.style_of("C-MARL-CQL"), "centralized update"),
}
for kind, (ax, style, label) in SHOWN.items():
    part = grown[grown.kind == kind]
    x = part.aps * part.users if ax is left else part.aps
    error = np.abs(part[["ms_low", "ms_high"]].to_numpy().T - part.ms.to_numpy())
    ax.errorbar(x, part.ms, yerr=error, label=label, elinewidth=0.8, **style)
    if kind != "centralized update":
        ax.plot(x, part.ms.iloc[0] * x / x.iloc[0], "--", color="0.5", linewidth=0.8, label="proportional", zorder=0)
left.set(xscale="log", yscale="log", xlabel="links I·J", ylabel="ms per step of one environment")
right.set(xscale="log", yscale="log", xlabel="access points I", ylabel="ms per update")
ticks = sorted(set(grown.aps) - {3, 5})
right.set_xticks(ticks, ticks)
right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
right.yaxis.set_major_formatter("{x:g}")
right.minorticks_off()
left.legend()
right.legend()
fig.suptitle(f"medians of {int(grown.repeats.min())} repeats, bars from the smallest to the largest", fontsize=7)
study.show(fig, "growth")

# %% [markdown]
# ## The whole study
#
# How long each notebook took when it was last computed, and how much memory: from the provenance files beside the tables. A
# notebook that finds its runs in `data/` takes far less than one that starts from nothing.


# %%
def whole_study():
    """One row per notebook before this one: minutes and peak memory of its last run."""
    rows = []
    for path in sorted((study.figures / "tables").glob("0[0-9]_*.json")):
        run = json.loads(path.read_text())
        rows.append((path.stem, run["wall_time_s"] / 60, run["peak_memory_gib"], run["commit"], run["date"]))
    return pd.DataFrame(rows, columns=["notebook", "minutes", "peak_memory_gib", "commit", "date"])


runs = study.table("study", whole_study)
runs.round(2)


# %%
def study_rows():
    """The largest peak memory of the notebooks' runs, and the time of those that train."""
    there = set(runs.notebook.str[:2])
    absent = ", ".join(name for name in (f"{k:02d}" for k in range(10)) if name not in there)
    # A reference that is named and has no value: the target counts as not reached.
    missing = f"missing: notebook {absent}" if absent else ""
    minutes = np.nan if absent else runs.minutes[runs.notebook >= "03"].sum()
    return [
        measure.row("peak memory of the study", "GiB", runs.peak_memory_gib.max(), "<= 4", missing),
        measure.row("time of notebooks 03 to 09", "min", minutes, "<= 120", missing),
    ]


# %% [markdown]
# ## All rows
#
# `value` is the median of the repeats. Where a `reference` is named, the target is about `ratio`, the median of the repeats'
# value / reference, otherwise about the value; `ratio_low` and `ratio_high` are the smallest and largest repeat of what the
# target is about. `reached` is computed from it. On CUDA there are rows for larger batches, more seeds, and the differences to the CPU.


# %%
def cuda_rows():
    """More work at once, and how far results on this device are from the CPU's."""
    if torch.device(device).type != "cuda":
        return []
    rows = []
    (seconds,) = timed([workloads.random_episodes(network, 4096, seed, device)]).T
    rows.append(measure.row("environment steps, E = 4096", "steps/s", 1 / seconds))
    for num in (10, 100):
        (seconds,) = timed([workloads.learning(log(), SAC, [range(seed, seed + num)], UPDATES, device)]).T
        rows.append(measure.row(f"update, CTDE-SAC, {num} seeds", "ms", 1e3 * seconds))
    apart = workloads.device_differences(network, SAC, device)
    return [
        *rows,
        measure.row("largest difference to the CPU, one episode", "bit/s/Hz", apart["episode"]),
        measure.row("largest difference to the CPU, 100 updates", "of a parameter", apart["updates"]),
    ]


def everything():
    parts = (speed_rows, collecting_rows, decision_rows, growth_rows, study_rows, cuda_rows)
    return pd.DataFrame([row for part in parts for row in part()])


table = study.table("", everything)
table.round(3)

# %% [markdown]
# How far each row is from its target, in the direction that counts: to the right of the line is better than the target. Bars
# go from the smallest to the largest repeat.

# %%
aimed = table[table.target.notna()].iloc[::-1].reset_index(drop=True)
judged = aimed.ratio.where(aimed.reference.notna(), aimed.value)
columns = (judged, aimed.ratio_low, aimed.ratio_high)
margins = np.array([[measure.margin(v, t) for v, t in zip(c, aimed.target, strict=True)] for c in columns])
kept = aimed.reached.astype(str) == "True"
compared = ~aimed.reference.fillna("missing").str.startswith("missing")
units = aimed.unit.str.split(",").str[0].radd(" ").mask(compared, "×")
labels = aimed.row + " (" + aimed.target.replace({">=": "≥", "<=": "≤"}, regex=True) + units + ")"

fig, ax = plotting.figure(width=plotting.PAGE_IN, height=3.4)
missed = sns.color_palette("colorblind")[3]
for choice, colour, marker, label in ((kept, "black", "o", "target reached"), (~kept, missed, "X", "target missed")):
    middle, ends = margins[0, choice], np.sort(margins[1:, choice], axis=0)
    error = np.clip([middle - ends[0], ends[1] - middle], 0, None)
    ax.errorbar(middle, np.flatnonzero(choice), xerr=error, fmt=marker, color=colour, elinewidth=1, label=label)
for k in np.flatnonzero(np.isnan(margins[0])):
    ax.annotate("not measured", (1, k), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7)
ax.axvline(1, color="0.3", linewidth=0.8)
ax.set(xscale="log", xlabel="margin to the target (right of 1: reached)")
ax.xaxis.set_major_formatter("{x:g}")
ax.set_yticks(range(len(aimed)), labels)
ax.set_ylim(-0.6, len(aimed) - 0.4)
fig.legend(loc="outside lower center", ncols=2)
study.show(fig)

# %% [markdown]
# ## Roofline
#
# What the memory and the matrix units allow at an arithmetic intensity, and where the work lies. Bytes are an estimate from
# below: every tensor that a step or an update must read and write counts once (a step: all links' gains, the users' averages,
# SINRs and weights, observation, mask and slots; an update: parameters, gradients, Adam's moments, the target networks, the
# minibatch, every layer's output). What stays in a cache may go above the memory's roof.


# %%
def roofline():
    step = sum(sum(items.values()) for items in measure.step_flops(network).values())
    rows = []
    _, one, ten = update_seconds()
    (dqn, dqn_size), (sac, sac_size) = (
        (measure.update_flops(agent, network), measure.update_bytes(agent, network)) for agent in (DQN, SAC)
    )
    for what, flops, moved, seconds in (
        ("environment step, batch", step, measure.step_bytes(network), environment_seconds()[1][:, 0]),
        ("DQN-CQL update, one seed", dqn, dqn_size, one[:, 0]),
        ("CTDE-SAC update, ten seeds", 10 * sac, 10 * sac_size, ten[:, 0]),
    ):
        done = 1e-9 * flops / seconds
        rows.append({"what": what, "flops": flops, "bytes": moved, "flop_per_byte": flops / moved, "gflops": np.median(done),
                     "gflops_low": done.min(), "gflops_high": done.max(), "repeats": len(done)})  # fmt: skip
    return pd.DataFrame(rows)


points = study.table("roofline", roofline)
rate = limits.set_index("what").rate
fig, ax = plotting.figure(height=2.8)
x = np.geomspace(0.1, 100 * max(1, points.flop_per_byte.max() / 50), 200)
for name, line in (("sgemm", "-"), ("dgemm", "--")):
    ax.plot(x, np.minimum(rate["copy"] * x, rate[name]), color="0.4", linestyle=line, label=name)
styles = ({"color": "black", "marker": "D"}, plotting.style_of("C-MARL-CQL (DQN)"), plotting.style_of("CTDE-MARL-CQL"))
for point, style in zip(points.itertuples(), styles, strict=True):
    error = [[point.gflops - point.gflops_low], [point.gflops_high - point.gflops]]
    style = {**style, "linestyle": "none"}
    ax.errorbar([point.flop_per_byte], [point.gflops], yerr=error, label=point.what, **style)
ax.set(xscale="log", yscale="log", xlabel="arithmetic intensity (flop/byte)", ylabel="GFLOP/s")
fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
study.show(fig, "roofline")

# %% [markdown]
# ## What follows
#
# * A step's arithmetic is almost all fading, in double precision. A single environment pays the fixed cost of every call
#   alone; a batch shares it, and this is what makes a batch fast.
# * The networks are small. A part of an update is the fixed cost of its calls, which several seeds in one program share.
# * CTDE grows with the number of APs, the centralized head with (N + 1)^I: this is where centralized training ends, whatever
#   the machine.

# %%
print(f"{kept.sum()} of {len(aimed)} targets reached.")
for k in np.flatnonzero(~kept)[::-1]:
    print(f"not reached: {aimed.row[k]}: {judged[k]:.3g}, target {aimed.target[k]}")

# %%
study.finish()
pd.Series(study.versions(), name="version").to_frame()
