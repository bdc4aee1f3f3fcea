"""Whether a run gives the committed tables again: each interquartile mean against the committed 95% interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..storage import reading
from ..study.store import read_table


def compare(tables: Path, committed: Path) -> pd.DataFrame:
    """A row per summary table that both folders hold.

    Returns:
        table; values, figures with an interval that both have; inside, how many of them lie in the committed interval;
        deviation, the largest in units of the committed interval's half width; of, where that is.
    """
    rows = []
    for path in sorted(committed.glob("*_summary.csv")):
        if not (tables / path.name).is_file():
            continue
        old, new = (_read(folder / path.name) for folder in (committed, tables))
        both = old.join(new.value.rename("value_new"), how="inner")
        half = (both.high - both.low) / 2
        off = (both.value_new - both.value).abs() / half.where(half > 0, np.nan)
        off = off.where(half > 0, np.where(both.value_new == both.value, 0.0, np.inf))
        inside = both.value_new.between(both.low, both.high) | (off == 0)
        row = {"table": path.stem, "values": len(both), "missing": len(old) - len(both), "inside": int(inside.sum())}
        rows.append(row | {"deviation": off.max(), "of": " ".join(map(str, off.idxmax())) if len(off) else ""})
    return pd.DataFrame(rows)


def _read(path: Path) -> pd.DataFrame:
    """The figures of a table; CorruptFileError, which names the file, if it is none."""
    table = read_table(path)
    with reading(path):
        return _figures(table)


def _figures(table: pd.DataFrame) -> pd.DataFrame:
    """Every figure that has an interval: index (what it is of, its name), columns value, low, high."""
    names = [name.removesuffix("_low") for name in table if name.endswith("_low")]
    plain = [
        name for name in table if name not in {n + end for n in names for end in ("", "_low", "_high")} | {"seeds"}
    ]
    of = table[plain].astype(object).fillna("").astype(str).agg(" ".join, axis=1)
    parts = []
    for name in names:
        columns = {"value": table[name], "low": table[f"{name}_low"], "high": table[f"{name}_high"]}
        parts.append(pd.DataFrame(columns).set_axis(pd.MultiIndex.from_product([of, [name]])))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["value", "low", "high"])
