"""The study's own claims, N1 to N6, judged by the rules of the paper's: texts, and verdicts from measured intervals.

Every function returns one row of a table of claims. Intervals are (value, low, high), 95%.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from .claims import claim_row, combine_verdicts, format_interval, verdict_above, verdict_all_above
from .convergence import FLAT, SPREAD
from .tables import Interval, interval_at


def n1(size: int, ctde: pd.Series, central: pd.Series) -> dict[str, Any]:
    """CTDE converges from few transitions in a row of a random walk.

    Args:
        size: transitions.
        ctde, central: rows of `convergence.verdict` of CTDE and C.
    """
    claim = f"R_score of CTDE-MARL-CQL (DQN) from {size:,} transitions in a row of a random walk minus {ctde.baseline}"
    spread, change = (format_interval(interval_at(ctde, name)) for name in ("spread", "change"))
    reason = f"spread over logs and seeds {spread}, at most {SPREAD:g} is wanted; change in the last quarter {change}, "
    reason += f"within {FLAT:g}; C-MARL-CQL (DQN): {format_interval(interval_at(central, 'lead'))}, {central.verdict}"
    return claim_row("N1", claim, "own: > 0, same seeds, flat", interval_at(ctde, "lead"), ctde.parts, reason)


def n2(ranked: pd.DataFrame) -> dict[str, Any]:
    """What a log covers tells the score of what is learned from it.

    Args:
        ranked: of `convergence.correlations`.
    """
    own = ranked[ranked.measure.isin(("num_samples", "effective_size", "joint_actions", "randomness"))]
    worst = own.groupby("measure").correlation_low.min().idxmax()  # the best of them for both learners
    parts = {row.method: interval_at(row, "correlation") for _, row in own[own.measure == worst].iterrows()}
    method = min(parts, key=lambda name: parts[name][1])
    others = ranked[ranked.measure != worst]
    reason = "; ".join(f"{name}: {format_interval(value, 2)}" for name, value in parts.items()) + "; other measures: "
    reason += "; ".join(f"{row.method}, {row.measure}: {row.correlation:.2f}" for row in others.itertuples())
    claim = f"rank correlation of {worst} of the log with R_score ({method})"
    verdict = verdict_all_above(parts, 0.5)
    return claim_row("N2", claim, "own: > 0.5", parts[method], verdict, reason)


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


def n5(threshold: Interval, least: Interval, most: Interval, fixed: Mapping[str, Interval]) -> dict[str, Any]:
    """As the reward has more interactions, CTDE falls below 95% of the centralized agent.

    Args:
        threshold: share of the reward's variance left by the best sum over APs at which it does.
        least, most: score of CTDE over that of C in the networks of the smallest and the largest share.
        fixed: the same with the QMIX mixer, and that of the exact additive decisions over the exhaustive ones, in the
            latter network.
    """
    value, low, high = most
    parts = {"above at the smallest share": (least[0] - 0.95, least[1] - 0.95, least[2] - 0.95)}
    parts["below at the largest share"] = (0.95 - value, 0.95 - high, 0.95 - low)
    claim = "share of the reward's variance that no sum over APs explains, at which CTDE-MARL-CQL (DQN) falls below "
    claim += "95% of C-MARL-CQL (DQN) in R_score"
    reason = f"CTDE over C at the smallest share: {format_interval(least)}, at the largest: {format_interval(most)}"
    reason += "".join(f"; there {name}: {format_interval(ratio)}" for name, ratio in fixed.items())
    return claim_row("N5", claim, "own: a threshold exists", threshold, verdict_all_above(parts), reason)


def n6(better: Interval, ranks: Mapping[str, Interval]) -> dict[str, Any]:
    """That share predicts CTDE over C better than the interference does.

    Args:
        better: size of the rank correlation of the share with CTDE over C, minus that of the interference.
        ranks: both rank correlations, by name.
    """
    reason = "rank correlations with CTDE over C: "
    reason += "; ".join(f"{name} {format_interval(rank)}" for name, rank in ranks.items())
    claim = "size of the rank correlation with CTDE over C: share of the reward's variance that no sum over APs "
    claim += "explains, minus median interference-to-noise ratio"
    return claim_row("N6", claim, "own: > 0", better, verdict_above(better), reason)
