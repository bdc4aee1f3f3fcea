"""The README's numbers, written from the stored tables so that they cannot drift from them."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from .storage import new_file, read_table

SHOWN = (
    "Random walk", "TDM", "Full reuse", "ITLinQ", "ITLinQ (tuned)", "BC", "Online SAC", "I-MARL-CQL", "CTDE-MARL-CQL",
    "C-MARL-CQL", "C-MARL-CQL (DQN)", "Observed oracle (local)", "Observed oracle (joint)", "Exhaustive",
)  # fmt: skip


def _interval(row: pd.Series, name: str, digits: int) -> str:
    return f"{row[name]:.{digits}f} [{row[f'{name}_low']:.{digits}f}, {row[f'{name}_high']:.{digits}f}]"


def results(tables: Path) -> str:
    """Scores of notebook 04 as a Markdown table."""
    table = read_table(tables / "04_training_paradigms_summary.csv").set_index("method")
    known = read_table(tables / "02_baselines_knowledge.csv").set_index("method").exchanged
    baseline = table.index[table.ratio_low == table.ratio_high][0]  # the reference's ratio to itself has no width
    lines = [
        f"| method | exchanged per TTI | sum rate | 5-percentile rate | R_score | ratio to {baseline} |",
        "|---|---|---|---|---|---|",
    ]
    for method in SHOWN:
        row, plain = table.loc[method], method.replace(" (DQN)", "").replace(" (tuned)", "")
        numbers = f"{known[plain]:g}" if plain in known else "0"
        cells = [_interval(row, "sum_rate", 1), _interval(row, "tail_rate", 3)]
        cells += [_interval(row, "score", 2), "1" if method == baseline else _interval(row, "ratio", 2)]
        lines.append(f"| {method} | {numbers} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def claims(tables: Path) -> str:
    """Claim rows of notebook 04 as a Markdown table."""
    lines = ["| id | claim | paper | ours [95% interval] | verdict | reason |", "|---|---|---|---|---|---|"]
    for _, row in read_table(tables / "04_training_paradigms_claims.csv").iterrows():
        ours = f"{row.ours:.3f} [{row.low:.3f}, {row.high:.3f}]" if row.low < row.high else f"{row.ours:.3f}"
        lines.append(f"| {row.id} | {row.claim} | {row.paper} | {ours} | **{row.verdict}** | {row.reason} |")
    return "\n".join(lines)


def performance(tables: Path) -> str:
    """Rows of notebook 13 as a Markdown table."""
    lines = ["| what | measured | compared with | ratio [smallest, largest repeat] | target | reached |"]
    lines.append("|---|---|---|---|---|---|")
    for _, row in read_table(tables / "13_benchmarks.csv", keep_default_na=False).iterrows():
        reference, ratio = row.reference, ""
        if reference and row.reference_value != "":
            reference = f"{reference}: {_short(row.reference_value)}"
            ratio = f"{_short(row.ratio)} [{_short(row.ratio_low)}, {_short(row.ratio_high)}]"
        reached = {"True": "yes", "False": "**no**"}.get(str(row.reached), "")
        measured = f"{_short(row.value)} {row.unit}"
        lines.append(f"| {row.row} | {measured} | {reference} | {ratio} | {row.target} | {reached} |")
    return "\n".join(lines)


def _short(number: float | str) -> str:
    """Three digits, and thousands with a comma."""
    value = float(number)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


BLOCKS = {"results": results, "claims": claims, "performance": performance}


def filled(root: Path) -> str:
    """The README with its blocks `<!-- name -->` ... `<!-- /name -->` written anew from `figures/tables`.

    Raises:
        ValueError: a block is missing.
    """
    text = (root / "README.md").read_text(encoding="utf-8")
    for name, make in BLOCKS.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
        block = pattern.search(text)
        if block is None:
            raise ValueError(f"README.md has no block <!-- {name} --> ... <!-- /{name} -->")
        body = make(root / "figures" / "tables") + "\n"
        text = text[: block.end(1)] + body + text[block.start(2) :]
    return text


def update(root: Path) -> bool:
    """Write the README's blocks anew; whether anything changed."""
    text = filled(root)
    if text == (root / "README.md").read_text(encoding="utf-8"):
        return False
    with new_file(root / "README.md") as beside:
        beside.write_text(text, encoding="utf-8")
    return True
