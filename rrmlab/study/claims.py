"""What the paper claims, judged by intervals: one row per claim, gathered from the notebooks' tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from .reading import write_table
from .store import read_table
from .tables import Interval
from .tables import format_interval as format_interval

COLUMNS = ("id", "claim", "paper", "ours", "low", "high", "verdict", "reason", "notebook")
FILE = "claims.csv"
VERDICTS = ("reproduced", "equivalent", "not reproduced", "undecided")
# Each claim, of the paper (K) or the study's own (N), as a sentence, with what was measured for it.
CLAIMS = {
    "K1": "CTDE-MARL-CQL scores at least 15% more than the best baseline with earlier papers' parameters (ratio).",
    "K2": "Without CQL's penalty values are too high (value minus return, in standard deviations of the reward, log of "
    "full reuse).",
    "K3": "CTDE-MARL-CQL reaches 98% of C-MARL-CQL (ratio, both tuned; with some usual defaults it does).",
    "K4": "Better logs give better policies: SAC's > DQN's > random walk's; SAC's > mixture's (smallest difference).",
    "K5": "C-MARL-CQL has the best 5-percentile rate (difference to the better of CTDE and independent).",
    "K6": "CTDE scores more than independent agents (difference, both from the team's reward; from own rewards, too).",
    "K7": "10,000 samples in a row give the level of TDM, more than 320,000 no gain (R_score minus TDM's, 10,000).",
    "K8": "SAC in place of DQN gives up sum rate for tail rate and R_score (difference of R_score; all are judged).",
    "K9": "The exponent λ trades sum rate for tail rate (sum rate at λ = 0.5 minus that at 0.9).",
    "K10": "A penalty weight α above 1 costs R_score (CTDE, α = 1 minus α = 50) and makes losses oscillate.",
    "K11": "CTDE costs less than the centralized agent (share of a decision's multiply-adds that it saves, counted).",
    "N1": "20,000 transitions in a row of a random walk are enough for CTDE (R_score minus the best baseline's).",
    "N2": "What a log covers tells what will be learned from it (rank correlation with R_score).",
    "N3": "What is learned without arrivals at 1 m/s serves where users move and change (share of R_score kept).",
    "N4": "The PF average needs a window of several coherence times (R_score lost at 1 m/s by a short one).",
    "N5": "CTDE falls below 95% of C as APs interact more (share of the reward's variance that no sum explains).",
    "N6": "That share ranks networks by CTDE over C better than interference does (difference of rank correlations).",
}


def verdict_above(interval: Interval, threshold: float = 0.0) -> str:
    """Verdict on a claim of more: "reproduced" if the whole interval is above the threshold, "not reproduced" if all of
    it is below, else "undecided"."""
    _, low, high = interval
    return "reproduced" if low > threshold else "not reproduced" if high < threshold else "undecided"


def verdict_above_or_equivalent(interval: Interval, margin: float) -> str:
    """The same for a claim of more where a difference within the margin around 0 would not matter: "equivalent" if the
    whole interval lies within it."""
    _, low, high = interval
    return "equivalent" if -margin < low and high < margin else verdict_above(interval)


def verdict_within(interval: Interval, margin: float) -> str:
    """Verdict on a claim of no difference: "reproduced" if all of the interval lies within the margin around 0, "not
    reproduced" if all of it lies outside on one side, else "undecided"."""
    _, low, high = interval
    if -margin < low and high < margin:
        return "reproduced"
    return "not reproduced" if low > margin or high < -margin else "undecided"


def combine_verdicts(verdicts: Mapping[str, str]) -> str:
    """Verdict on a claim of several parts: one word where they agree, else the parts of each verdict."""
    parts = {word: [part for part, verdict in verdicts.items() if verdict == word] for word in VERDICTS}
    found = {word: ", ".join(those) for word, those in parts.items() if those}
    if len(found) == 1:
        return next(iter(found))
    if "reproduced" in found:
        found = {"reproduced in part": found.pop("reproduced"), **found}
    return "; ".join(f"{word}: {those}" for word, those in found.items())


def verdict_all_above(parts: Mapping[str, Interval], threshold: float = 0.0) -> str:
    """The same with the verdicts that `verdict_above` gives on intervals."""
    return combine_verdicts({part: verdict_above(interval, threshold) for part, interval in parts.items()})


def claim_row(name: str, claim: str, paper: str, ours: Interval, verdict: str, reason: str) -> dict[str, Any]:
    """A row of a notebook's table of claims, without the notebook."""
    return dict(zip(COLUMNS[:-1], (name, claim, paper, *ours, verdict, reason), strict=True))


def claim_table(notebook: str, *rows: dict[str, Any]) -> pd.DataFrame:
    """The table of claims of a notebook: its name, and rows as `claim_row` makes them."""
    return pd.DataFrame(rows).assign(notebook=notebook)


def gathered(tables: Path) -> pd.DataFrame:
    """The rows of all notebooks: the paper's claims K1 to K11, then the study's own, N1 and on."""
    found = [read_table(path) for path in sorted(tables.glob("[0-9][0-9]_*_claims.csv"))]
    if not found:
        return pd.DataFrame(columns=list(COLUMNS))
    rows = pd.concat(found, ignore_index=True)
    return rows.sort_values("id", key=lambda ids: ids.str[0] + ids.str[1:].str.zfill(3)).reset_index(drop=True)


def gather(tables: Path) -> None:
    """Write them to `claims.csv`, beside the tables they come from."""
    rows = gathered(tables)
    if len(rows):
        write_table(tables / FILE, rows)
