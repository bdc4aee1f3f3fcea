"""The paper's claims K1 to K11: the text of each, and its verdict from the intervals that a notebook measured.

Every function returns one row of a table of claims. Intervals are (value, low, high), 95%.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .claims import (
    claim_row,
    combine_verdicts,
    format_interval,
    verdict_above,
    verdict_above_or_equivalent,
    verdict_all_above,
    verdict_within,
)
from .tables import Interval

EQUIVALENT = 0.01  # share of R_score by which two methods may differ and still be equivalent, `study`

NEAR_ZERO = 0.1  # a tail rate below this share of that at λ = 0.8 is near zero, `study`
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
    reason += f"; returns are about {returned:.1f}"
    verdict = combine_verdicts(found | helped)
    return claim_row("K2", claim, "> 0, cured by CQL", over["full reuse", 0.0], verdict, reason)


def k3(
    share: Interval, over_logs: Interval, best: float, defaults: pd.DataFrame, joint: float, local: float
) -> dict[str, Any]:
    """CTDE reaches 98% of the centralized agent.

    Args:
        share: score of CTDE over that of C, both tuned by equal trials.
        over_logs: the same, learned from several logs.
        best: score of that C.
        defaults: the same with usual defaults, a row each: gamma, learning_rate, rewards, updates, dataset, share with
            its interval, centralized (score of C).
        joint, local: scores of the observed oracles.
    """
    reached = defaults[defaults.share_low > 0.95]
    verdicts = {"with equal tuning": verdict_above(over_logs, 0.95)}
    verdicts[f"with {len(reached)} of {len(defaults)} usual defaults"] = (
        "reproduced" if len(reached) else "not reproduced"
    )
    reason = f"from one log: {format_interval(share)}; tuned, C scores {best:.2f}; with usual defaults (α = 1) "
    reason += f"{defaults.centralized.min():.2f} to {defaults.centralized.max():.2f}"
    if len(reached):
        nearest = reached.loc[(reached.share - 0.98).abs().idxmin()]
        reason += (
            f", and {reached.centralized.min():.2f} to {reached.centralized.max():.2f} where CTDE reaches 95% of it; "
        )
        reason += f"nearest to 98%: γ = {nearest.gamma:g}, learning rate {nearest.learning_rate:g}, {nearest.rewards} "
        reason += f"rewards, {nearest.updates:,} updates, log {nearest.dataset}: "
        reason += format_interval(tuple(nearest[["share", "share_low", "share_high"]]))
    reason += (
        f"; by observation: the observed oracles reach {joint:.2f} on the joint one and {local:.2f} on each AP's own"
    )
    claim = "R_score of CTDE-MARL-CQL over C-MARL-CQL"
    return claim_row("K3", claim, "0.98, within 5%", over_logs, combine_verdicts(verdicts), reason)


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


def k6(lead: Interval, over_logs: Interval, level: float, over_oracle: Interval) -> dict[str, Any]:
    """Independent agents fail to coordinate.

    Args:
        lead: score of CTDE minus that of I.
        over_logs: the same, learned from several logs.
        level: score of I.
        over_oracle: score of CTDE minus that of the observed oracle on each AP's own observation.
    """
    margin = EQUIVALENT * level
    reason = f"from one log: {format_interval(lead)}; equivalent would be within {EQUIVALENT:.0%}, {margin:.3f}; "
    reason += (
        "both learn from the joint reward; CTDE minus the observed oracle on each AP's own observation (one-step, "
    )
    reason += "memoryless, trained on exact joint rewards): "
    reason += format_interval(over_oracle)
    verdict = verdict_above_or_equivalent(over_logs, margin)
    return claim_row("K6", "R_score of CTDE-MARL-CQL minus I-MARL-CQL", "> 0", over_logs, verdict, reason)


def k7(
    few: int,
    largest: int,
    in_a_row: Mapping[int, Interval],
    failed: Mapping[int, float],
    over_tdm: Mapping[str, Interval],
    gains: Mapping[int, Interval],
    tdm: float,
    level: float,
) -> dict[str, Any]:
    """Little data ends at TDM's level; above half of the largest log there is no further gain.

    Args:
        few, largest: numbers of transitions.
        in_a_row: by number of transitions of `sac` in a row, over several logs: score of CTDE minus TDM's.
        failed: by that number, the share of trainings that end below 1.05 times TDM's score.
        over_tdm: by log, the same score from a random subset of few transitions.
        gains: by number of updates, score from the largest log minus that from half of it.
        tdm: score of TDM.
        level: score of CTDE from the largest log.
    """
    margin = 0.05 * tdm
    verdicts = {
        f"TDM's level from {size:,} in a row": verdict_within(start, margin) for size, start in in_a_row.items()
    }
    verdicts |= {f"TDM's level on a random subset of {log}": verdict_within(s, margin) for log, s in over_tdm.items()}
    verdicts |= {
        f"flat from {largest // 2:,} with {updates:,} updates": verdict_within(gain, 0.01 * level)
        for updates, gain in gains.items()
    }
    said = [
        f"{size:,} in a row: {format_interval(start)} above TDM, {failed[size]:.0%} of trainings below 1.05 times it"
        for size, start in in_a_row.items()
    ]
    said += [f"{few:,} at random of {log}: {format_interval(start)} above TDM" for log, start in over_tdm.items()]
    reason = "; ".join(said)
    for updates, gain in gains.items():
        reason += f"; {largest:,} over {largest // 2:,}, {updates:,} updates: {format_interval(gain)}"
    claim = f"R_score of CTDE-MARL-CQL from {few:,} transitions of `sac` in a row minus TDM"
    paper = "near 0; flat from 320,000"
    return claim_row("K7", claim, paper, in_a_row[few], combine_verdicts(verdicts), reason)


def k8(sum_rate: Interval, tail_rate: Interval, score: Interval, others: Mapping[str, Interval]) -> dict[str, Any]:
    """The SAC backbone gives up sum rate for tail rate and R_score.

    Args:
        sum_rate, tail_rate, score: of offline CTDE with SAC minus with DQN.
        others: the difference of the scores of the other pairs, by name.
    """
    value, low, high = sum_rate
    parts = {"less sum rate": (-value, -high, -low), "more tail rate": tail_rate, "higher R_score": score}
    apart = [f"{name}: {format_interval(pair)}" for name, pair in others.items() if pair[1] > 0 or pair[2] < 0]
    reason = f"sum rate {format_interval(sum_rate)}, tail rate {format_interval(tail_rate, 4)}; "
    reason += f"of the {len(others)} other pairs, R_score differs for {'; '.join(apart) or 'none'}"
    claim = "R_score of CTDE-MARL-CQL with SAC minus with DQN"
    paper = "> 0, with less sum and more tail rate"
    return claim_row("K8", claim, paper, score, verdict_all_above(parts), reason)


def k9(gain: Interval, loss: Interval, at_half: Interval, at_zero: Interval) -> dict[str, Any]:
    """λ trades sum rate against tail rate; too low a λ leaves a tail rate near zero.

    Args:
        gain: sum rate of CTDE at λ = 0.5 minus that at 0.9.
        loss: its tail rate at λ = 0.9 minus that at 0.5.
        at_half, at_zero: its tail rate at λ = 0.5 and 0 over that at 0.8.
    """

    def below(share: Interval) -> Interval:
        value, low, high = share
        return NEAR_ZERO - value, NEAR_ZERO - high, NEAR_ZERO - low

    parts = {
        "sum rate rises": gain,
        "tail falls": loss,
        "tail near zero at λ = 0.5, the paper's lowest": below(at_half),
    }
    parts["tail near zero at λ = 0"] = below(at_zero)
    reason = f"tail rate at 0.9 minus that at 0.5: {format_interval(loss)}; over that at λ = 0.8, at λ = 0.5: "
    reason += (
        f"{format_interval(at_half)}, at λ = 0: {format_interval(at_zero)}; near zero means below {NEAR_ZERO:g} of it"
    )
    claim = "sum rate of CTDE-MARL-CQL at λ = 0.5 minus that at 0.9"
    paper = "λ trades sum for tail; tail near 0 at low λ"
    return claim_row("K9", claim, paper, gain, verdict_all_above(parts), reason)


def k10(effects: Mapping[str, Sequence[Interval]]) -> dict[str, Any]:
    """A larger penalty over-regularises toward the behaviour policy, and the losses oscillate.

    Args:
        effects: by paradigm ("C", "CTDE"), between α = 1 and α = 50: the score that is lost, and what agreement with
            the log and oscillation of the loss gain.
    """
    parts: dict[str, Interval] = {}
    said = []
    for name, (lost, closer, oscillates) in effects.items():
        parts |= {f"{name} closer to the log": closer, f"{name} score falls": lost}
        parts |= {f"{name} loss oscillates": oscillates}
        text = f"{name}: R_score lost {format_interval(lost)}, agreement {closer[0]:+.3f}"
        said.append(f"{text}, oscillation {oscillates[0]:+.3f}")
    claim = "R_score of CTDE-MARL-CQL at α = 1 minus at α = 50"
    paper = "> 0; closer to the behaviour; losses oscillate"
    reason = "α = 50 minus α = 1, " + "; ".join(said)
    return claim_row("K10", claim, paper, effects["CTDE"][0], verdict_all_above(parts), reason)


def k11(cost: pd.DataFrame) -> dict[str, Any]:
    """CTDE cuts the cost of the centralized method.

    Args:
        cost: a row per learner: method, multiply_adds, outputs, exchanged_per_tti, training_s_per_seed.
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
        time_saved = 1 - mine.training_s_per_seed / other.training_s_per_seed
        interval = (time_saved, time_saved - TIMING_MARGIN, time_saved + TIMING_MARGIN)
        verdicts[f"training time with {backbone}"] = verdict_above(interval)
    reason = f"numbers exchanged per TTI {theirs.exchanged_per_tti:.0f} -> {ours.exchanged_per_tti:.0f}, "
    reason += f"outputs of a network {theirs.outputs} -> {ours.outputs}; training takes "
    took = [f"{other.training_s_per_seed:.1f} -> {mine.training_s_per_seed:.1f} s" for mine, other in pairs.values()]
    reason += f"{took[0]} a seed with SAC, {took[1]} with DQN (one timing each)"
    claim = "share of a decision's multiply-adds that CTDE saves against centralized"
    return claim_row("K11", claim, "> 0", (saved, saved, saved), combine_verdicts(verdicts), reason)
