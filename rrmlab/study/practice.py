"""What a network's owner does with the result of each notebook, in sentences with the numbers of the stored tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .answers import Tables

JUDGED = "CTDE-MARL-CQL"


def practice(notebook: str, tables: Path) -> str:
    """The advice of a notebook, as a Markdown list.

    Args:
        notebook: its name, such as "04_training_paradigms".
        tables: the folder of the stored tables.

    Raises:
        KeyError: no advice for this notebook.
        ValueError: a table lacks a row that a sentence needs.
    """
    return "\n".join(f"* {sentence}" for sentence in PRACTICE[notebook](Tables(tables)))


def _explore(t: Tables) -> list[str]:
    last = t.read("00_explore_running").groupby("method").last()
    reuse, best = last.loc["Full reuse"], last.loc["Exhaustive"]
    return [
        "Judge a rule by the users' means over an episode, the weakest of them too, and not by a TTI: in this network "
        f"full reuse ends at {reuse.sum_rate:.1f} bit/s/Hz in sum and {reuse.tail_rate:.2f} for the 5-percentile user, "
        f"the best action of every TTI at {best.sum_rate:.1f} and {best.tail_rate:.2f}.",
        "Look at maps of your own network before training: who disturbs whom decides what coordination is worth.",
    ]


def _environment(t: Tables) -> list[str]:
    starts = t.read("01_environment_start")
    early = starts[starts.tti < 100].groupby("start").reward_measured.mean()
    late = starts[starts.tti >= starts.tti.max() / 2].groupby("start").reward_measured.mean()
    ratio = early / late
    return [
        "Hold a simulator to its closed forms before a learner is trained in it.",
        "Start the averaged rates near where they stay. Started from zero, the rewards of the first 100 TTIs are "
        f"{ratio['no warm-up, from zero']:.1f} times the later ones, with an initial value and a warm-up "
        f"{ratio['as it is']:.2f} times.",
    ]


def _baselines(t: Tables) -> list[str]:
    table = "02_baselines_summary"
    plain, tuned = (t.score(name, table) for name in ("ITLinQ", "ITLinQ (tuned)"))
    greedy, subset = (t.score(name, table) for name in ("Greedy marginal", "Best subset"))
    return [
        f"Tune a baseline before anything is compared with it: two parameters bring ITLinQ from {plain} to {tuned}.",
        f"Where gains between cells can be exchanged, start with a rule: the best subset scores {subset}, greedy "
        f"marginal {greedy}, tuned ITLinQ {tuned}, without any training.",
    ]


def _datasets(t: Tables) -> list[str]:
    held = t.read("03_datasets_statistics").set_index("dataset")
    spread, most = held.entropy_bit, "all" if held.coverage.min() == 1 else "nearly all"
    return [
        f"Count the joint actions of a log before learning from it. Each of these four holds {most} of them, but their "
        f"entropy is {spread['random']:.1f} bit with the random walk, {spread['sac']:.1f} bit with SAC and "
        f"{spread['mixture']:.1f} bit with the mixture.",
        "Keep the probability of every logged action: without it one cannot say afterwards how the log was written.",
    ]


def _paradigms(t: Tables) -> list[str]:
    ctde, cloned, joint, rule = (t.score(name) for name in (JUDGED, "BC", "C-MARL-CQL", "Best subset"))
    table = "04_training_paradigms_reports"
    exact, late, old = (t.score(JUDGED, table, reports=each) for each in ("exact", "5 TTIs late", "20 TTIs late"))
    return [
        f"Where APs exchange nothing, clone a good log first ({cloned}): training from rewards adds little ({ctde}).",
        f"Where they can exchange something, do: with all observations in one place a learner scores {joint}, with "
        f"gains between cells a rule scores {rule} (best subset).",
        f"For agents that act on their own observation reports may be 5 ms old ({late}, with exact ones {exact}); at "
        f"20 ms much is lost ({old}).",
    ]


def _quality(t: Tables) -> list[str]:
    random, mixture = (t.score(JUDGED, "05_dataset_quality_summary", dataset=name) for name in ("random", "mixture"))
    cloned = t.score("BC", "05_dataset_quality_summary", dataset="mixture")
    return [
        f"Let what writes a log try things. A random walk's log gives {random}, that of a mixture of random walk, full "
        f"reuse and ITLinQ, two thirds of which are one joint action, {mixture}.",
        f"Score a clone of the log as well ({cloned} on the mixture): a learner below it has been misled by the log.",
    ]


def _size(t: Tables) -> list[str]:
    def scored(method: str, size: int) -> str:
        return t.score(method, "06_dataset_size_summary", dataset="sac", num_samples=size)

    def in_a_row(size: int) -> str:
        return t.score(JUDGED, "06_dataset_size_in_a_row", num_samples=size)

    return [
        "For agents that act on their own observation 20,000 transitions of a long log are enough "
        f"({scored(JUDGED, 20_000)}; {scored(JUDGED, 640_000)} from 640,000).",
        f"A centralized agent needs more: {scored('C-MARL-CQL', 20_000)} from 20,000, {scored('C-MARL-CQL', 160_000)} "
        f"from 160,000, {scored('C-MARL-CQL', 640_000)} from 640,000.",
        f"Log several deployments: in a row, one of 2,000 TTIs gives {in_a_row(2_000)}, five {in_a_row(10_000)}, ten "
        f"{in_a_row(20_000)}.",
    ]


def _trade(t: Tables) -> list[str]:
    rows = t.read("07_lambda_sensitivity_summary")
    rows = rows[rows.method == JUDGED].set_index("lam").sort_index()
    flat = rows.score.loc[0.6:0.9]
    return [
        f"Set λ by what the weakest users are to get: {JUDGED}'s 5-percentile rate is {rows.tail_rate[0.0]:.3f} "
        f"bit/s/Hz at λ = 0, {rows.tail_rate[0.8]:.3f} at 0.8 and {rows.tail_rate[1.0]:.3f} at 1. Its R_score "
        f"is nearly the same from 0.6 to 0.9 ({flat.min():.2f} to {flat.max():.2f}).",
        "Collect a log for each λ that you may want, or take a policy whose λ is chosen when it runs (notebook 14).",
    ]


def _backbones(t: Tables) -> list[str]:
    joint = t.row("08_backbones_differences", training="online", paradigm="C", figure="score")
    return [
        f"Take either backbone for agents that act on their own observation (R_score of CTDE with SAC minus with DQN: "
        f"{t.claim('K8', 3)}).",
        "For a centralized agent that learns online prefer SAC: its R_score is "
        f"{joint.difference:.3f} [{joint.difference_low:.3f}, {joint.difference_high:.3f}] above DQN's.",
    ]


def _conservatism(t: Tables) -> list[str]:
    def scored(axis: str, value: float) -> str:
        return t.score("C-MARL-CQL", "09_conservatism_summary", axis=axis, value=value)

    return [
        f"Try small penalties first: C-MARL-CQL scores {scored('alpha', 0.1)} with α = 0.1, {scored('alpha', 1.0)} "
        f"with 1 and {scored('alpha', 50.0)} with 50. On a narrow log a larger one may be needed (notebook 05).",
        f"Look ahead only where needed: with γ = 0 C-MARL-CQL scores {scored('gamma', 0.0)}, with 0.9 "
        f"{scored('gamma', 0.9)}.",
    ]


def _benchmarks(t: Tables) -> list[str]:
    batch, single, together = (
        t.row("13_benchmarks", row=name)
        for name in ("environment steps, batch", "environment steps, single", "ten seeds as one program")
    )
    return [
        f"Simulate in batches: {batch.value:,.0f} steps a second, {single.value:,.0f} for an environment alone.",
        f"Train seeds together: ten of them take {together.ratio:.2f} of the time that they take one after the other.",
    ]


PRACTICE: dict[str, Callable[[Tables], list[str]]] = {
    "00_explore": _explore,
    "01_environment": _environment,
    "02_baselines": _baselines,
    "03_datasets": _datasets,
    "04_training_paradigms": _paradigms,
    "05_dataset_quality": _quality,
    "06_dataset_size": _size,
    "07_lambda_sensitivity": _trade,
    "08_backbones": _backbones,
    "09_conservatism": _conservatism,
    "13_benchmarks": _benchmarks,
}
