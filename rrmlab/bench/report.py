"""Rows of the benchmarks' tables: measured repeats beside their reference and their target.

Shapes: R repeats, W sizes of the network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd


def reached(judged: float, target: str) -> bool | None:
    """Whether a number keeps a target such as ">= 5" or "<= 0.6"; False for NaN (not measured), None without target."""
    if not target:
        return None
    sign, limit = target.split()
    return bool(judged >= float(limit)) if sign == ">=" else bool(judged <= float(limit))


def margin(judged: float, target: str) -> float:
    """How many times better than its target a positive number is: 1 is on target, below 1 missed."""
    sign, limit = target.split()
    return judged / float(limit) if sign == ">=" else float(limit) / judged


def row(
    name: str, unit: str, values: Any, target: str = "", reference: str = "", references: Any = None
) -> dict[str, Any]:
    """One row of the table: the medians over the repeats, and whether the target is reached.

    Judged is the ratio value / reference, repeat by repeat, where a reference is named, otherwise the value.
    `ratio_low` and `ratio_high` are the smallest and the largest repeat of what is judged.

    Args:
        name, unit: of the value.
        values: (R,) or a number; NaN where it could not be measured.
        target: as in `reached`; "" for none.
        reference: what it is compared with.
        references: (R,) or a number, in the same unit; None or NaN if the reference is missing.
    """
    values = np.atleast_1d(np.asarray(values, float))
    references = np.broadcast_to(np.asarray(math.nan if references is None else references, float), values.shape)
    ratios = values / references
    judged = ratios if reference else values
    return {
        "row": name,
        "value": np.median(values),
        "unit": unit,
        "reference": reference,
        "reference_value": np.median(references),
        "ratio": np.median(ratios),
        "target": target,
        "reached": reached(float(np.median(judged)), target),
        "ratio_low": judged.min(),
        "ratio_high": judged.max(),
        "repeats": len(values),
    }


def growth_row(name: str, unit: str, aps: Sequence[int], each: np.ndarray) -> dict[str, Any]:
    """The row of the size whose time per unit grew most over that at the smallest size; its target is no growth.

    Args:
        name, unit: of the value.
        aps: (W,) APs of each size.
        each: (R, W) time per unit.
    """
    worst = 1 + int(np.median(each[:, 1:] / each[:, :1], axis=0).argmax())
    reference = f"the same, {aps[0]} APs"
    return row(name, f"{unit}, {aps[worst]} APs", each[:, worst], "<= 1.0", reference, each[:, 0])


def by_size(
    kind: str, ms: np.ndarray, aps: Sequence[int], users: Sequence[int] | int = 0, envs: Sequence[int] | int = 0
) -> pd.DataFrame:
    """One row per size, from milliseconds (R, W): kind, aps, users, envs, ms (median over the repeats), ms_low, ms_high
    (smallest and largest repeat), repeats."""
    table = pd.DataFrame({"kind": kind, "aps": aps, "users": users, "envs": envs})
    return table.assign(ms=np.median(ms, axis=0), ms_low=ms.min(0), ms_high=ms.max(0), repeats=len(ms))


def margins(table: pd.DataFrame) -> pd.DataFrame:
    """How far each row that has a target is from it.

    Args:
        table: rows as `row` makes them, read from a CSV file.

    Returns:
        row; label (row, target and unit); judged (what the target is about); target; reached; margin, as in `margin`,
        of the median, and of the repeats the lowest (low) and the highest (high).
    """
    aimed = table[table.target.notna()].reset_index(drop=True)
    judged = aimed.ratio.where(aimed.reference.notna(), aimed.value)
    # Of a target from above, the smallest repeat has the highest margin.
    median, *ends = (
        np.array([margin(value, target) for value, target in zip(values, aimed.target, strict=True)])
        for values in (judged, aimed.ratio_low, aimed.ratio_high)
    )
    low, high = np.sort(ends, axis=0)
    compared = ~aimed.reference.fillna("missing").str.startswith("missing")
    units = aimed.unit.str.split(",").str[0].radd(" ").mask(compared, "×")
    label = aimed.row + " (" + aimed.target.replace({">=": "≥", "<=": "≤"}, regex=True) + units + ")"
    facts = {"row": aimed.row, "label": label, "judged": judged, "target": aimed.target}
    facts["reached"] = aimed.reached.astype(str) == "True"
    return pd.DataFrame(facts | {"margin": median, "low": low, "high": high})
