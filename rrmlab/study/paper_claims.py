"""The paper's claims K1 to K6 and K11: the text of each, and its verdict from the intervals that a notebook measured.

Every function returns one row of a table of claims. Intervals are (value, low, high), 95%.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from .claims import (
    claim_row,
    combine_verdicts,
    format_interval,
    verdict_above,
    verdict_above_or_equivalent,
)
from .tables import Interval

EQUIVALENT = 0.01  # share of R_score by which two methods may differ and still be equivalent, `study`

TIMING_MARGIN = 0.25  # of a single timing, on a machine whose speed varies: a quarter either way says nothing, `study`


def k1(
    strongest: str,
    gain: Interval,
    over_logs: Interval,
    paper_itlinq: Interval,
    threshold: Interval,
    lead: Interval,
    over_tuned: Interval,
    cloned: Interval,
) -> dict[str, Any]:
    """CTDE beats every baseline by more than 15%.

    Args:
        strongest: the best baseline as the lineage sets it.
        gain: score of CTDE over that baseline's.
        over_logs: the same, learned from several logs.
        paper_itlinq: the same over ITLinQ's with the η = 0.7 of the paper's baseline.
        threshold: score of the threshold rule.
        lead: score of CTDE minus that.
        over_tuned: score of CTDE over tuned ITLinQ's.
        cloned: score of behaviour cloning over that baseline's.
    """
    verdict = verdict_above(over_logs, 1.15)
    if over_logs[1] > 1 and verdict != "reproduced":
        verdict = "reproduced in part"
    claim = f"R_score of CTDE-MARL-CQL over the best baseline as the lineage sets it ({strongest})"
    reason = f"from one log: {format_interval(gain)}; over ITLinQ with η = 0.7: {format_interval(paper_itlinq)}; "
    reason += "against the lineage's baselines only: a local rule with two tuned parameters that exchanges nothing "
    reason += f"(Threshold) reaches {format_interval(threshold)}, CTDE minus it: {format_interval(lead)}; "
    reason += f"over tuned ITLinQ, which knows the cross gains: {format_interval(over_tuned)}; "
    reason += f"behaviour cloning alone reaches {format_interval(cloned)}"
    return claim_row("K1", claim, "> 1.15", over_logs, verdict, reason)


def k2(over: Mapping[tuple[str, float], Interval], smaller: Mapping[str, Interval], returned: float) -> dict[str, Any]:
    """Without the penalty values are overestimated where the log is narrow, and CQL cures that.

    Args:
        over: learned value minus realised return by log and penalty weight (0 and 1), standardised reward.
        smaller: by log, by how much the error is smaller in size with the weight 1 than without the penalty.
        returned: mean realised return.
    """
    found = {f"overestimated on {log}": verdict_above(over[log, 0.0]) for log in smaller}
    helped = {
        f"smaller error with CQL on {log}": verdict_above(difference)
        for log, difference in smaller.items()
        if over[log, 0.0][1] > 0
    }
    claim = "learned value minus realised return without the penalty, CTDE on the log of full reuse alone, "
    claim += "standardised reward"
    reason = "learned minus realised, α = 0 and α = 1: "
    reason += "; ".join(f"{log} {over[log, 0.0][0]:+.2f} and {over[log, 1.0][0]:+.2f}" for log in smaller)
    reason += (
        f"; returns are about {returned:.1f}; the target takes the least of the twins for each head before heads are "
    )
    reason += "added, which is pessimistic by itself"
    verdict = combine_verdicts(found | helped)
    return claim_row("K2", claim, "> 0, cured by CQL", over["full reuse", 0.0], verdict, reason)


def k3(
    share: Interval,
    over_logs: Interval,
    best: float,
    defaults: pd.DataFrame,
    baseline: float,
    joint: float,
    local: float,
) -> dict[str, Any]:
    """CTDE reaches 98% of the centralized agent.

    Args:
        share: score of CTDE over that of C, both tuned by equal trials.
        over_logs: the same, learned from several logs.
        best: score of that C.
        defaults: the same with usual defaults, a row each: gamma, learning_rate, rewards, updates, dataset, share with
            its interval, centralized (score of C).
        baseline: score of the lineage's best baseline; defaults with which C scores no more are not counted, for CTDE
            need not learn anything to reach such a C.
        joint, local: scores of the observed oracles.
    """
    learned = defaults[defaults.centralized > baseline]
    failed = len(defaults) - len(learned)
    reached = learned[learned.share_low > 0.95]
    verdicts = {"with equal tuning": verdict_above(over_logs, 0.95)}
    verdicts[f"with {len(reached)} of {len(learned)} usual defaults"] = (
        "reproduced" if len(reached) else "not reproduced"
    )
    reason = f"from one log: {format_interval(share)}; tuned, C scores {best:.2f}"
    if len(learned):
        reason += f"; with usual defaults (α = 1) {_span(learned.centralized)}"
    if len(reached):
        nearest = reached.loc[(reached.share - 0.98).abs().idxmin()]
        reason += f", and {_span(reached.centralized)} where CTDE reaches 95% of it; "
        reason += f"nearest to 98%: γ = {nearest.gamma:g}, learning rate {nearest.learning_rate:g}, {nearest.rewards} "
        reason += f"rewards, {nearest.updates:,} updates, log {nearest.dataset}: "
        reason += format_interval(tuple(nearest[["share", "share_low", "share_high"]]))
    if failed:
        few = defaults.drop(learned.index)
        reason += f"; not counted: {failed} more defaults ({', '.join(sorted(set(few.rewards)))} rewards) with which C "
        reason += f"scores {_span(few.centralized)}, not above the best baseline ({baseline:.2f})"
    reason += (
        f"; by observation: the observed oracles reach {joint:.2f} on the joint one and {local:.2f} on each AP's own"
    )
    claim = "R_score of CTDE-MARL-CQL over C-MARL-CQL"
    return claim_row("K3", claim, "0.98, within 5%", over_logs, combine_verdicts(verdicts), reason)


def _span(values: pd.Series) -> str:
    return f"{values.min():.2f} to {values.max():.2f}"


def k4(
    parts: Mapping[str, Interval],
    level: float,
    one_log: Mapping[str, Interval],
    writers: Mapping[str, float],
    mixture: Interval,
    by_ap: Interval,
) -> dict[str, Any]:
    """The better the behaviour that wrote the log, the better the result.

    Args:
        parts: differences of CTDE's scores on two kinds of logs, several of each, by name, such as "sac > dqn".
        level: CTDE's score on the log `sac`.
        one_log: the same differences between one log of each kind.
        writers: score of what wrote each log.
        mixture, by_ap: scores of CTDE on the mixture, and on the one that each AP draws for itself.
    """
    least = min(parts, key=lambda part: parts[part][0])
    claim = f"R_score of CTDE-MARL-CQL, smallest difference of sac > dqn > random and sac > mixture ({least})"
    reason = "; ".join(f"{part}: {format_interval(value)}" for part, value in parts.items())
    reason += "; between one log of each: " + "; ".join(format_interval(value) for value in one_log.values())
    reason += "; what wrote the logs scores "
    reason += ", ".join(f"{score:.2f} ({name})" for name, score in writers.items())
    reason += f"; CTDE on the mixture: {format_interval(mixture)}, on one that each AP draws for itself: "
    reason += format_interval(by_ap)
    margin = EQUIVALENT * level
    reason += f"; equivalent would be within {EQUIVALENT:.0%}, {margin:.3f}"
    verdicts = {part: verdict_above_or_equivalent(value, margin) for part, value in parts.items()}
    return claim_row("K4", claim, "> 0", parts[least], combine_verdicts(verdicts), reason)


def k5(lead: Interval, tuned: float) -> dict[str, Any]:
    """The centralized agent has the best 5-percentile rate.

    Args:
        lead: 5-percentile rate of C minus the better of I's and CTDE's.
        tuned: 5-percentile rate of tuned ITLinQ.
    """
    claim = "5-percentile rate of C-MARL-CQL minus the better of I- and CTDE-MARL-CQL"
    reason = f"it sees all cells' observations; tuned ITLinQ, with cross gains, has {tuned:.3f}"
    return claim_row("K5", claim, "> 0", lead, verdict_above(lead), reason)


def k6(lead: Interval, over_logs: Interval, level: float, over_own: Interval, over_oracle: Interval) -> dict[str, Any]:
    """Independent agents fail to coordinate.

    Args:
        lead: score of CTDE minus that of I.
        over_logs: the same, learned from several logs.
        level: score of I.
        over_own: score of CTDE minus that of I where each AP learns from the reward of its own cell.
        over_oracle: score of CTDE minus that of the observed oracle on each AP's own observation.
    """
    margin = EQUIVALENT * level
    reason = f"both from the joint reward, one log: {format_interval(lead)}; equivalent is within {EQUIVALENT:.0%}, "
    reason += (
        f"{margin:.3f}; I from the reward of each AP's own cell, γ = 0: CTDE minus it {format_interval(over_own)}; "
    )
    reason += (
        "CTDE minus the observed oracle on each AP's own observation (one-step, memoryless, trained on exact joint "
    )
    reason += f"rewards): {format_interval(over_oracle)}"
    verdicts = {"from the joint reward": verdict_above_or_equivalent(over_logs, margin)}
    verdicts["I from own rewards"] = verdict_above_or_equivalent(over_own, margin)
    claim = "R_score of CTDE-MARL-CQL minus I-MARL-CQL"
    return claim_row("K6", claim, "> 0", over_logs, combine_verdicts(verdicts), reason)


def k11(cost: pd.DataFrame, small: float, change: Interval) -> dict[str, Any]:
    """CTDE cuts the cost of the centralized method.

    Args:
        cost: a row per learner: method, multiply_adds, outputs, exchanged_per_tti, updates, training_s_per_seed,
            ms_per_update.
        small: multiply-adds of CTDE with narrower networks.
        change: its score minus that with the usual networks.
    """
    facts = cost.set_index("method")
    pairs = {
        backbone: (facts.loc[f"CTDE-MARL-CQL{ending}"], facts.loc[f"C-MARL-CQL{ending}"])
        for backbone, ending in (("SAC", ""), ("DQN", " (DQN)"))
    }
    ours, theirs = pairs["SAC"]
    saved = float(1 - ours.multiply_adds / theirs.multiply_adds)
    verdicts = {"decision and exchange": verdict_above((saved, saved, saved))}
    for backbone, (mine, other) in pairs.items():
        time_saved = 1 - mine.ms_per_update / other.ms_per_update
        interval = (time_saved, time_saved - TIMING_MARGIN, time_saved + TIMING_MARGIN)
        verdicts[f"time of an update with {backbone}"] = verdict_above(interval)
    reason = f"numbers exchanged per TTI {theirs.exchanged_per_tti:.0f} -> {ours.exchanged_per_tti:.0f}, "
    reason += f"outputs of a network {theirs.outputs} -> {ours.outputs}; an update takes "
    took = [f"{other.ms_per_update:.1f} -> {mine.ms_per_update:.1f} ms" for mine, other in pairs.values()]
    reason += f"{took[0]} a seed with SAC, {took[1]} with DQN (one timing each)"
    reason += f"; with hidden layers of half the width CTDE saves {1 - small / theirs.multiply_adds:.0%} of the "
    reason += f"multiply-adds, and its R_score changes by {format_interval(change)}"
    claim = "share of a decision's multiply-adds that CTDE saves against centralized"
    return claim_row("K11", claim, "> 0", (saved, saved, saved), combine_verdicts(verdicts), reason)
