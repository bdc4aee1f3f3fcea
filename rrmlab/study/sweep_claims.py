"""The paper's claims K7 to K10, of the notebooks that vary one thing; as in `paper_claims`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .claims import claim_row, combine_verdicts, format_interval, verdict_all_above, verdict_within
from .tables import Interval

NEAR_ZERO = 0.1  # a tail rate below this share of that at λ = 0.8 is near zero, `study`


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
        in_a_row: by number of transitions in a row, over the logs of several SAC agents: score of CTDE minus TDM's.
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
    claim = f"R_score of CTDE-MARL-CQL from {few:,} transitions in a row, logs of SAC agents, minus TDM"
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
