"""Tables as a reader wants them: an interval in one cell, the README's names, nothing cut off; as HTML and as LaTeX.
And figures as a notebook shows them."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML, Image
from matplotlib.figure import Figure
from PIL import Image as Pillow

from ..storage import new_file
from .tables import format_interval

MAIN = ("summary", "frontier", "claims")  # tables that are also written as LaTeX, by the end of their names
NAMES = {
    "sum_rate": "sum rate", "tail_rate": "5-percentile rate", "score": "R_score", "normalised_score": "normalised",
    "exchanged": "exchanged per TTI", "num_samples": "transitions", "dataset": "log", "lam": "λ", "gamma": "γ",
    "alpha": "α", "td_loss": "TD loss", "kl": "KL", "q_gap": "Q-gap", "num_aps": "APs", "id": "claim",
    "peak_memory_gib": "peak memory (GiB)", "over_tdm": "minus TDM", "largest_gains": "gain of the largest log",
}  # fmt: skip
DIGITS = {"sum_rate": 1, "score": 2, "ratio": 2, "normalised_score": 0, "minutes": 1}  # else 3
SETTINGS = ("lam", "gamma", "alpha", "eta", "m_db", "learning_rate", "value", "b", "c", "density", "noise_db")
LEFT_OUT = ("run", "notebook", "deployment_tail_rate")
TEX = {"λ": r"$\lambda$", "α": r"$\alpha$", "γ": r"$\gamma$", "η": r"$\eta$", "±": r"$\pm$", "×": r"$\times$",
       "−": "$-$", "–": "--", "≥": r"$\geq$", "≤": r"$\leq$", "→": r"$\rightarrow$", "²": "$^2$", "·": r"$\cdot$",
       "µ": r"$\mu$", "Σ": r"$\Sigma$", r"R\_score": r"$R_\mathrm{score}$", r"C\_5\%": r"$C_{5\%}$"}  # fmt: skip


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text: <name>, <name>_low and <name>_high are one column of cells "1.32 [1.28, 1.36]", columns have
    the names of the README, and what is missing is blank."""
    columns = {}
    for name in table.columns:
        ends = ["low", "high"] if name == "ours" else [f"{name}_low", f"{name}_high"]
        if name in LEFT_OUT or (name in ("low", "high") and "ours" in table):
            continue
        if name.endswith(("_low", "_high")) and name.rpartition("_")[0] in table:
            continue
        triple = [name, *(end for end in ends if end in table)]
        digits = DIGITS.get(name, 3)
        cells = [_cell(values, digits) for values in table[triple].itertuples(index=False, name=None)]
        if name in SETTINGS:
            cells = [
                f"{value:g}" if cell and isinstance(value, float) else cell
                for value, cell in zip(table[name], cells, strict=True)
            ]
        elif name == "seeds":  # what is not trained has none
            cells = [cell if cell != "0" else "" for cell in cells]
        columns[NAMES.get(name, str(name).replace("_", " "))] = cells
    return pd.DataFrame(columns)


def _cell(values: tuple[object, ...], digits: int) -> str:
    value, *ends = values
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, str | bool | np.bool_):
        return {"True": "yes", "False": "no"}.get(str(value), str(value))
    number = float(value)  # type: ignore[arg-type]
    if len(ends) == 2 and ends[0] != ends[1] and not any(np.isnan(float(end)) for end in ends):  # type: ignore[arg-type]
        return format_interval((number, float(ends[0]), float(ends[1])), digits)  # type: ignore[arg-type]
    if number.is_integer():
        return f"{number:,.0f}"
    return f"{number:.{digits}f}" if abs(number) >= 10**-digits else f"{number:.2g}"


def grid(table: pd.DataFrame, rows: str, columns: str, value: str) -> pd.DataFrame:
    """One value of a table by two of its columns, in the order of the table, as text; what is missing is blank."""
    cells = table[[rows, columns]].astype(str).assign(cell=readable(table)[NAMES.get(value, value.replace("_", " "))])
    made = cells.pivot(index=rows, columns=columns, values="cell").fillna("")
    made = made.loc[cells[rows].unique(), cells[columns].unique()]
    made.columns.name = None
    return made.reset_index(names=NAMES.get(rows, rows))


def shown(table: pd.DataFrame) -> HTML:
    """A table in a notebook, see `readable`: long texts are wrapped, not cut off."""
    with pd.option_context("display.max_colwidth", None):
        made = readable(table).to_html(index=False, border=0, justify="left")
    return HTML(made.replace("<td>", '<td style="text-align: left">'))


def folded(versions: Mapping[str, str]) -> HTML:
    """Versions of packages as a list that is closed until it is clicked at."""
    rows = "".join(f"<li>{html.escape(name)} {html.escape(version)}</li>" for name, version in versions.items())
    return HTML(f"<details><summary>Package versions</summary><ul>{rows}</ul></details>")


def latex(table: pd.DataFrame) -> str:
    """The table, see `readable`, as a LaTeX tabular for the package booktabs."""
    text = readable(table)
    longest = [max([len(name), *text[name].str.len()]) for name in text]
    kinds = ["l" if length <= 40 else rf"p{{{min(0.3, length / 300):.2f}\linewidth}}" for length in longest]
    made = text.to_latex(index=False, escape=True, column_format="".join(kinds))
    for sign, command in TEX.items():
        made = made.replace(sign, command)
    return made


def picture(fig: Figure, text: str) -> Image:
    """A figure for a notebook: two pixels for each of a plain screen, in a palette of 256 colours."""
    drawn, small = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, format="png", dpi=200)
    Pillow.open(drawn).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    return Image(small.getvalue(), width=round(100 * fig.get_figwidth()), alt=text)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, and beside it as LaTeX if it is one of `MAIN`."""
    with new_file(path) as beside:
        table.to_csv(beside, index=False)
    if path.stem.endswith(MAIN):
        with new_file(path.with_suffix(".tex")) as beside:
            beside.write_text(latex(table), encoding="utf-8")
