"""The paper's claims K1 to K11 and own ones: the text of each, and its verdict from measured intervals.

Every function returns one row of a table of claims. Intervals are (value, low, high), 95%.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .claims import claim_row, combine_verdicts, format_interval, verdict_above, verdict_all_above, verdict_within
from .tables import Interval

TIMING_MARGIN = 0.25  # of a single timing, on a machine whose speed varies: a quarter either way says nothing, `study`


def k1(
    strongest: str, gain: Interval, threshold: Interval, lead: Interval, over_tuned: Interval, cloned: Interval
) -> dict[str, Any]:
    """CTDE beats every baseline by more than 15%.

    Args:
        strongest: the best baseline as the lineage sets it.
        gain: score of CTDE over that baseline's.
        threshold: score of the threshold rule.
        lead: score of CTDE minus that.
        over_tuned: score of CTDE over tuned ITLinQ's.
        cloned: score of behaviour cloning over that baseline's.
    """
    verdict = verdict_above(gain, 1.15)
    if gain[1] > 1 and verdict != "reproduced":
        verdict = "reproduced in part"
    claim = f"R_score of CTDE-MARL-CQL over the best baseline as the lineage sets it ({strongest})"
    reason = "against the lineage's baselines only: a local rule with two tuned parameters that exchanges nothing "
    reason += f"(Threshold) reaches {format_interval(threshold)}, CTDE minus it: {format_interval(lead)}; "
    reason += f"over tuned ITLinQ, which knows the cross gains: {format_interval(over_tuned)}; "
    reason += f"behaviour cloning alone reaches {format_interval(cloned)}"
    return claim_row("K1", claim, "> 1.15", gain, verdict, reason)


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


def k3(share: Interval, joint: float, local: float) -> dict[str, Any]:
    """CTDE reaches 98% of the centralized agent.

    Args:
        share: score of CTDE over that of C.
        joint, local: scores of the observed oracles.
    """
    reason = f"by observation: the observed oracles reach {joint:.2f} on the joint one and {local:.2f} on each AP's own"
    claim = "R_score of CTDE-MARL-CQL over C-MARL-CQL"
    return claim_row("K3", claim, "0.98, within 5%", share, verdict_above(share, 0.95), reason)


def k4(
    parts: Mapping[str, Interval], second_log: float, writers: Mapping[str, float], mixture: Interval, by_ap: Interval
) -> dict[str, Any]:
    """The better the behaviour that wrote the log, the better the result.

    Args:
        parts: differences of CTDE's scores on two logs, by name, such as "sac > dqn".
        second_log: score on the log of a second SAC agent minus that on the first one's.
        writers: score of what wrote each log.
        mixture, by_ap: scores of CTDE on the mixture, and on the one that each AP draws for itself.
    """
    least = min(parts, key=lambda part: parts[part][0])
    claim = f"R_score of CTDE-MARL-CQL, smallest difference of sac > dqn > random and sac > mixture ({least})"
    reason = "; ".join(f"{part}: {format_interval(value)}" for part, value in parts.items())
    reason += f"; log of a second SAC agent: {second_log:+.3f}; what wrote the logs scores "
    reason += ", ".join(f"{score:.2f} ({name})" for name, score in writers.items())
    reason += f"; CTDE on the mixture: {format_interval(mixture)}, on one that each AP draws for itself: "
    reason += format_interval(by_ap)
    return claim_row("K4", claim, "> 0", parts[least], verdict_all_above(parts), reason)


def k5(lead: Interval, tuned: float) -> dict[str, Any]:
    """The centralized agent has the best 5-percentile rate.

    Args:
        lead: 5-percentile rate of C minus the better of I's and CTDE's.
        tuned: 5-percentile rate of tuned ITLinQ.
    """
    claim = "5-percentile rate of C-MARL-CQL minus the better of I- and CTDE-MARL-CQL"
    reason = f"it sees all cells' observations; tuned ITLinQ, with cross gains, has {tuned:.3f}"
    return claim_row("K5", claim, "> 0", lead, verdict_above(lead), reason)


def k6(lead: Interval, over_oracle: Interval) -> dict[str, Any]:
    """Independent agents fail to coordinate.

    Args:
        lead: score of CTDE minus that of I.
        over_oracle: score of CTDE minus that of the observed oracle on each AP's own observation.
    """
    reason = "CTDE minus the observed oracle on each AP's own observation (one-step, trained on exact joint rewards): "
    reason += format_interval(over_oracle)
    return claim_row("K6", "R_score of CTDE-MARL-CQL minus I-MARL-CQL", "> 0", lead, verdict_above(lead), reason)


def k7(few: int, largest: int, over_tdm: Mapping[str, Interval], gains: Mapping[int, Interval], tdm: float,
       level: float) -> dict[str, Any]:  # fmt: skip
    """Little data ends at TDM's level; above half of the largest log there is no further gain.

    Args:
        few, largest: numbers of transitions.
        over_tdm: by log, score of CTDE from few transitions minus TDM's.
        gains: by number of updates, score from the largest log minus that from half of it.
        tdm: score of TDM.
        level: score of CTDE from the largest log.
    """
    verdicts = {f"TDM's level on {log}": verdict_within(start, 0.05 * tdm) for log, start in over_tdm.items()}
    verdicts |= {
        f"flat from {largest // 2:,} with {updates:,} updates": verdict_within(gain, 0.01 * level)
        for updates, gain in gains.items()
    }
    reason = "; ".join(
        f"{few:,} transitions of {log}: {format_interval(start)} above TDM" for log, start in over_tdm.items()
    )
    for updates, gain in gains.items():
        reason += f"; {largest:,} over {largest // 2:,}, {updates:,} updates: {format_interval(gain)}"
    claim = f"R_score of CTDE-MARL-CQL from {few:,} transitions of `sac` minus TDM"
    paper = "near 0; flat from 320,000"
    return claim_row("K7", claim, paper, over_tdm["sac"], combine_verdicts(verdicts), reason)


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


def k9(gain: Interval, loss: Interval, ratio: Interval, at_zero: Interval, at_half: Interval) -> dict[str, Any]:
    """λ trades sum rate against tail rate; too low a λ leaves a tail rate near zero.

    Args:
        gain: sum rate of CTDE at λ = 0.5 minus that at 0.9.
        loss: its tail rate at λ = 0.9 minus that at 0.5.
        ratio: its tail rate at λ = 0 over that at 0.8.
        at_zero, at_half: its tail rates at λ = 0 and 0.5.
    """
    value, low, high = ratio
    near_zero = (0.1 - value, 0.1 - high, 0.1 - low)
    parts = {"sum rate rises": gain, "tail falls": loss, "tail near zero at λ = 0": near_zero}
    reason = f"tail rate at 0.9 minus that at 0.5: {format_interval(loss)}; at λ = 0: {format_interval(at_zero, 4)}, "
    reason += f"at λ = 0.5: {format_interval(at_half)}"
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


def n3(shares: Mapping[str, Interval]) -> dict[str, Any]:
    """Own claim: what was learned without arrivals at 1 m/s serves as well as what is learned in the condition.

    Args:
        shares: score of the first over that of the second, by condition.
    """
    least = min(shares, key=lambda name: shares[name][0])
    verdict = combine_verdicts({name: verdict_above(share, 0.95) for name, share in shares.items()})
    reason = "; ".join(f"{name}: {format_interval(share)}" for name, share in shares.items())
    claim = f"R_score of CTDE-MARL-CQL trained without arrivals at 1 m/s over the one trained there, least ({least})"
    return claim_row("N3", claim, "own: > 0.95", shares[least], verdict, reason)


def n4(slow: Interval, fast: Interval, short: Interval, crossing: float) -> dict[str, Any]:
    """Own claim: the average must be taken over several coherence times, whatever moves.

    Args:
        slow, fast, short: score with the averaging constant 0.01 over that with 0.003 of the agent at 1 m/s and at
            30 m/s without arrivals, and at 1 m/s with the shortest stays.
        crossing: coherence time over averaging window where the loss passes 5%.
    """
    value, low, high = slow
    loss = (1 - value, 1 - high, 1 - low)
    verdicts = {"loss at 1 m/s": verdict_above(loss, 0.05), "none at 30 m/s": verdict_above(fast, 0.95)}
    reason = f"0.01 over 0.003 at 30 m/s: {format_interval(fast)}; with stays of 0.5 s: {format_interval(short)}; "
    reason += f"the loss against the best window passes 5% at a coherence time of {crossing:.2f} windows"
    claim = "R_score lost at 1 m/s with the averaging constant 0.01 against 0.003, CTDE-MARL-CQL"
    return claim_row("N4", claim, "own: > 0.05, none at 30 m/s", loss, combine_verdicts(verdicts), reason)
