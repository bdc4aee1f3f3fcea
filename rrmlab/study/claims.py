"""What the paper claims, judged by intervals: one row per claim, gathered from the notebooks' tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..storage import new_file
from .store import read_table
from .tables import Interval

COLUMNS = ("id", "claim", "paper", "ours", "low", "high", "verdict", "reason", "notebook")
FILE = "claims.csv"
VERDICTS = ("reproduced", "not reproduced", "undecided")


def verdict_above(interval: Interval, threshold: float = 0.0) -> str:
    """Verdict on a claim of more: "reproduced" if the whole interval is above the threshold, "not reproduced" if all of
    it is below, else "undecided"."""
    _, low, high = interval
    return "reproduced" if low > threshold else "not reproduced" if high < threshold else "undecided"


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


def format_interval(interval: Interval, digits: int = 3) -> str:
    """An interval as it stands in a reason: value [low, high]."""
    return "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(*interval, d=digits)


def claim_row(name: str, claim: str, paper: str, ours: Interval, verdict: str, reason: str) -> dict[str, Any]:
    """A row of a notebook's table of claims, without the notebook."""
    return dict(zip(COLUMNS[:-1], (name, claim, paper, *ours, verdict, reason), strict=True))


def claim_table(notebook: str, *rows: dict[str, Any]) -> pd.DataFrame:
    """The table of claims of a notebook: its name, and rows as `claim_row` makes them."""
    return pd.DataFrame(rows).assign(notebook=notebook)


def gathered(tables: Path) -> pd.DataFrame:
    """The rows of all notebooks: the paper's claims K1 to K11, then this study's own, N1 on."""
    found = [read_table(path) for path in sorted(tables.glob("[0-9][0-9]_*_claims.csv"))]
    if not found:
        return pd.DataFrame(columns=list(COLUMNS))
    rows = pd.concat(found, ignore_index=True)
    by_number = rows.sort_values("id", key=lambda ids: ids.str[1:].astype(int), kind="stable")
    return by_number.sort_values("id", key=lambda ids: ids.str[0], kind="stable").reset_index(drop=True)


def gather(tables: Path) -> None:
    """Write them to `claims.csv`, beside the tables they come from."""
    rows = gathered(tables)
    if len(rows):
        with new_file(tables / FILE) as beside:
            rows.to_csv(beside, index=False)
