"""What came out, in sentences with the numbers of the stored tables: findings, and an answer for each notebook."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from .claims import FILE
from .store import read_table
from .tables import format_interval

MESSAGES = "14_agents_that_talk_frontier"  # the table of the agents that exchange messages


class Tables:
    """Rows of the tables in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, table: str) -> pd.DataFrame:
        """The table `<table>.csv`."""
        return read_table(self.folder / f"{table}.csv")

    def row(self, table: str, **where: Any) -> pd.Series:
        """The first row whose columns have these values.

        Raises:
            ValueError: no such row.
        """
        rows = self.read(table)
        for column, value in where.items():
            rows = rows[rows[column] == value]
        if rows.empty:
            raise ValueError(f"{table}.csv has no row with {where}")
        return rows.iloc[0]

    def score(self, method: str, table: str = "04_training_paradigms_summary", **where: Any) -> str:
        """R_score of a method with two digits."""
        return f"{self.row(table, method=method, **where).score:.2f}"

    def claim(self, name: str, digits: int = 2) -> str:
        """Value and interval of a claim."""
        row = self.row(FILE.removesuffix(".csv"), id=name)
        return format_interval((row.ours, row.low, row.high), digits)


def answer(notebook: str, tables: Path) -> str:
    """The answer of a notebook in one sentence.

    Args:
        notebook: its name, such as "04_training_paradigms".
        tables: the folder of the stored tables.

    Raises:
        KeyError: no such notebook.
        ValueError: a table lacks a row that the sentence needs.
    """
    return NOTEBOOKS[notebook][2](Tables(tables))


def findings(tables: Path) -> list[str]:
    """The main results, a sentence each, at most eight; what is newer than the tables is left out."""
    t = Tables(tables)
    methods = set(t.read("04_training_paradigms_summary").method)
    ctde, central, independent = (t.score(f"{name}-MARL-CQL") for name in ("CTDE", "C", "I"))
    log = {name: _learned(t, "CTDE", dataset=name) for name in ("random", "mixture")}
    drawn, wrote = (t.score("behaviour", "05_dataset_quality_behaviours", dataset=name) for name in ("sac", "mixture"))
    enough, all_of_it = (_sized(t, "CTDE", size) for size in (20_000, 640_000))
    late, noisy, later = (_reported(t, reports) for reports in ("5 TTIs late", "3 dB noise", "20 TTIs late"))
    rule = (
        f"; a rule with two tuned parameters and no log (Threshold), {t.score('Threshold')}"
        if "Threshold" in methods
        else ""
    )
    return [
        f"The paper's method, CTDE-MARL-CQL, scores {ctde}: more than the best baseline as earlier work sets it, "
        f"ITLinQ with η = 0.5 ({t.score('ITLinQ (η = 0.5)')}), less than ITLinQ tuned on validation networks "
        f"({t.score('ITLinQ (tuned)')}). The joint action of the largest reward in every TTI (exhaustive search) "
        f"scores {t.score('Exhaustive')}; others may have a higher R_score, none a higher reward.",
        f"An agent that sees the observations of all cells (C-MARL-CQL) scores {central}; agents that see only their "
        f"own cell score {ctde} if they are trained together (CTDE) and {independent} if each is trained alone.",
        "The best one-step policy that was found on each AP's own observation, trained with exact rewards and no "
        f"log, scores {t.score('Observed oracle (local)')}: the observation appears to be the limit, not the learning.",
        *([_messages(t)] if (tables / f"{MESSAGES}.csv").is_file() else []),
        f"From the log of an online SAC agent that samples its actions and scores {drawn}, CTDE-MARL-CQL scores "
        f"{ctde}; behaviour cloning, which takes the action that the log makes most probable, {t.score('BC')}{rule}.",
        f"From the log of a random walk CTDE-MARL-CQL scores {log['random']}, from that of a mixture of schedulers "
        f"{log['mixture']}, although the mixture itself scores more ({wrote}) than the random walk "
        f"({t.score('Random walk')}).",
        f"From transitions drawn at random from a log of SAC agents CTDE-MARL-CQL scores {enough} with 20,000 and "
        f"{all_of_it} with 640,000; C-MARL-CQL {_sized(t, 'C', 20_000)} and {_sized(t, 'C', 640_000)}. From the first "
        f"2,000 in a row, one deployment, CTDE-MARL-CQL scores {_in_a_row(t, 2_000)}, from 20,000 "
        f"{_in_a_row(t, 20_000)}.",
        f"CTDE-MARL-CQL scores {late} with SINR reports 5 ms old, {noisy} with 3 dB of noise, and {later} with reports "
        "20 ms old.",
    ]


def _learned(t: Tables, paradigm: str, table: str = "05_dataset_quality_summary", **where: Any) -> str:
    return t.score(f"{paradigm}-MARL-CQL", table, **where)


def _sized(t: Tables, paradigm: str, size: int) -> str:
    return _learned(t, paradigm, "06_dataset_size_summary", dataset="sac", num_samples=size)


def _in_a_row(t: Tables, size: int) -> str:
    return _learned(t, "CTDE", "06_dataset_size_in_a_row", num_samples=size)


def _reported(t: Tables, reports: str) -> str:
    return _learned(t, "CTDE", "04_training_paradigms_reports", reports=reports)


def _messages(t: Tables) -> str:
    """The first row of each method is that with all rounds of best response."""
    agent, formula = (t.row(MESSAGES, method=method) for method in ("G-MARL-CQL", "G-formula"))
    sizes = t.read("14_agents_that_talk_sizes").query("density == 1 and method == 'G-formula'")
    largest = sizes.loc[sizes.num_aps.idxmax()]
    greedy, subset = (t.row(MESSAGES, method=method) for method in ("Greedy marginal", "Best subset"))
    ages = t.read("14_agents_that_talk_ages").query("kind == 'all' and age_ttis == 20").set_index("method").score
    return (
        f"Four APs that exchange {agent.exchanged:.0f} numbers in a TTI score {agent.score:.2f} with learned values "
        f"(G-MARL-CQL) and {formula.score:.2f} with Shannon's formula in their place (G-formula); rules score "
        f"{greedy.score:.2f} with {greedy.exchanged:.0f} (greedy marginal) and {subset.score:.2f} with "
        f"{subset.exchanged:.0f} (best subset). With all gains 20 ms old the agent scores {ages['G-MARL-CQL']:.2f}, "
        f"the formula {ages['G-formula']:.2f}, greedy marginal {ages['Greedy marginal']:.2f}. With {largest.num_aps} "
        f"APs, after training with 4, the agent has {largest.ratio:.2f} of the formula's score."
    )


def _explore(t: Tables) -> str:
    rows = t.read("00_explore_running")
    best = rows[rows.method == "Exhaustive"]
    silent = (best.on < best.on.max()).mean()
    return f"In the pictured network the best decision silences at least one AP in {silent:.0%} of the TTIs."


def _environment(t: Tables) -> str:
    passes = t.read("01_environment").passes
    return f"{passes.sum()} of {len(passes)} measured quantities agree with their closed forms within the tolerance."


def _baselines(t: Tables) -> str:
    return (
        f"Full reuse scores {t.score('Full reuse')}, ITLinQ {t.score('ITLinQ')} ({t.score('ITLinQ (η = 0.5)')} with "
        f"η = 0.5) and {t.score('ITLinQ (tuned)')} when tuned; the joint action of the largest reward in every TTI "
        f"scores {t.score('Exhaustive')}, the best subset of APs {t.score('Best subset')}."
    )


def _datasets(t: Tables) -> str:
    wrote = {name: t.score("behaviour", "05_dataset_quality_behaviours", dataset=name) for name in ("sac", "mixture")}
    return (
        "From online SAC and DQN agents, a random walk and a mixture of schedulers. The SAC agent, which samples its "
        f"actions, scores {wrote['sac']}; the mixture scores {wrote['mixture']}, the random walk "
        f"{t.score('Random walk')}."
    )


def _paradigms(t: Tables) -> str:
    return (
        f"Centralized {t.score('C-MARL-CQL')}, CTDE {t.score('CTDE-MARL-CQL')}, independent {t.score('I-MARL-CQL')}; "
        f"over five logs of SAC agents CTDE minus independent is {t.claim('K6', 3)}."
    )


def _quality(t: Tables) -> str:
    sac, random, mixture = (_learned(t, "CTDE", dataset=name) for name in ("sac", "random", "mixture"))
    return f"CTDE-MARL-CQL scores {sac} from SAC's log, {random} from a random walk's, {mixture} from a mixture's."


def _size(t: Tables) -> str:
    few, some, many = (_sized(t, "CTDE", size) for size in (5_000, 20_000, 640_000))
    return (
        f"CTDE-MARL-CQL scores {few} from 5,000 transitions drawn at random, {some} from 20,000 and {many} from "
        f"640,000; from the first 2,000 of a log {_in_a_row(t, 2_000)}, from 20,000 {_in_a_row(t, 20_000)}."
    )


def _trade(t: Tables) -> str:
    low, high = (t.row("07_lambda_sensitivity_summary", method="CTDE-MARL-CQL", lam=lam) for lam in (0.5, 0.9))
    return (
        f"From λ = 0.5 to 0.9 CTDE-MARL-CQL's sum rate falls from {low.sum_rate:.1f} to {high.sum_rate:.1f} bit/s/Hz "
        f"and its 5-percentile rate rises from {low.tail_rate:.3f} to {high.tail_rate:.3f}."
    )


def _backbones(t: Tables) -> str:
    return f"R_score of CTDE-MARL-CQL with SAC minus that with DQN is {t.claim('K8', 3)}."


def _conservatism(t: Tables) -> str:
    (c_low, c_high), (ctde_low, ctde_high) = (
        [_learned(t, name, "09_conservatism_summary", axis="alpha", value=alpha) for alpha in (0.1, 50.0)]
        for name in ("C", "CTDE")
    )
    return (
        f"From α = 0.1 to 50, C-MARL-CQL falls from {c_low} to {c_high}, CTDE-MARL-CQL from {ctde_low} to {ctde_high}."
    )


def _threshold(t: Tables) -> str:
    rows = t.read("10_data_threshold_sizes").query("author == 'random walk'").set_index("method")
    baseline, level = rows.baseline.iloc[0], (rows.score - rows.lead).iloc[0]  # the best one, on these deployments
    rows = rows.pivot(columns="num_samples", values="score")
    ctde, central, graph = (rows.loc[name] for name in ("CTDE-MARL-CQL (DQN)", "C-MARL-CQL (DQN)", "G-MARL-CQL"))
    return (
        f"From 5,000 transitions in a row of a random walk CTDE scores {ctde[5_000]:.2f} and C {central[5_000]:.2f}, "
        f"from 20,000 {ctde[20_000]:.2f} and {central[20_000]:.2f}; {baseline} has {level:.2f} there. Agents that "
        f"exchange messages score {graph[1_000]:.2f} from 1,000."
    )


def _coupling(t: Tables) -> str:
    row, inr = (
        t.row("12_coupling_stress_predictors", ratio="ctde_over_c", predictor=name) for name in ("kappa", "inr_db")
    )
    return (
        "CTDE-MARL-CQL (DQN) falls below 95% of C-MARL-CQL (DQN) where a sum over APs leaves out "
        f"{row.threshold:.2f} [{row.threshold_low:.2f}, {row.threshold_high:.2f}] of the reward's variance; that share "
        f"has a rank correlation of {row['rank']:.2f} with the ratio of both, the interference-to-noise ratio "
        f"{inr['rank']:.2f}."
    )


def _benchmarks(t: Tables) -> str:
    steps, update = (
        t.row("13_benchmarks", row=name) for name in ("environment steps, batch", "update, centralized DQN-CQL")
    )
    return (
        f"A batch steps {steps.value:,.0f} environments a second, {steps.ratio:,.0f} times mobile-env's rate; an "
        f"update is {update.ratio:.1f} times as fast as d3rlpy's."
    )


def _own_data(t: Tables) -> str:
    table = "15_your_own_data_summary"
    ratio, plain = t.row(table, method="CTDE-MARL-CQL"), t.row(table, method="TDM")
    return (
        f"On a made-up site CTDE-MARL-CQL learns from a rule's log to score {ratio.score:.2f}, "
        f"{format_interval((ratio.ratio, ratio.ratio_low, ratio.ratio_high), 2)} times the rule's; TDM, which needs "
        f"no log, scores {plain.score:.2f}."
    )


def _dynamic(t: Tables) -> str:
    ratio = t.row("11_dynamic_users_crossing", method="CTDE-MARL-CQL").ratio
    worst = t.row("11_dynamic_users_claims", id="N3")
    return (
        f"An averaging window of less than {1 / ratio:.0f} coherence times of the channel costs CTDE-MARL-CQL more "
        "than 5% of R_score against the best one tried, where users move; what was learned without arrivals keeps "
        f"{worst.ours:.2f} [{worst.low:.2f}, {worst.high:.2f}] of R_score at the least."
    )


# Of each notebook: its question, the figure that stands for it, and the function that makes its answer.
NOTEBOOKS: dict[str, tuple[str, str, Callable[[Tables], str]]] = {
    "00_explore": ("What does the network look like, and what is decided in it?", "00_explore", _explore),
    "01_environment": ("Does the simulator agree with the models that it names?", "01_environment", _environment),
    "02_baselines": ("What is reached without learning?", "02_baselines_knowledge", _baselines),
    "03_datasets": ("Where do the logs come from?", "03_datasets_contents", _datasets),
    "04_training_paradigms": ("Centralized, independent or CTDE?", "04_training_paradigms_summary", _paradigms),
    "05_dataset_quality": ("How much does the log matter?", "05_dataset_quality_summary", _quality),
    "06_dataset_size": ("How much data is enough?", "06_dataset_size_summary", _size),
    "07_lambda_sensitivity": ("What does the fairness exponent λ trade?", "07_lambda_sensitivity_summary", _trade),
    "08_backbones": ("SAC or DQN?", "08_backbones_differences", _backbones),
    "09_conservatism": ("How conservative should the learner be?", "09_conservatism_alpha", _conservatism),
    "10_data_threshold": ("How much log, of which author, is enough?", "10_data_threshold_sizes", _threshold),
    "11_dynamic_users": ("What if users move, come and leave?", "11_dynamic_users_windows", _dynamic),
    "12_coupling_stress": ("When does value decomposition stop paying?", "12_coupling_stress", _coupling),
    "13_benchmarks": ("How fast is it?", "13_benchmarks", _benchmarks),
    "14_agents_that_talk": ("What are messages between APs worth?", "14_agents_that_talk", _messages),
    "15_your_own_data": ("What becomes of your own log?", "15_your_own_data_coverage", _own_data),
}
