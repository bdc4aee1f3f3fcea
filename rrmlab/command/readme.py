"""The README's numbers, written from the stored tables so that they cannot drift from them."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from ..config import NetworkConfig
from ..storage import new_file
from ..study.claims import FILE
from ..study.methods import METHODS
from ..study.store import read_table

# What is promised, the files of its tests, and the number of cases in `make test` and in `make soak`.
PROMISES = (
    ("Killed anywhere (`kill -9`): nothing half-written; the same command goes on, to the same bits",
     ("test_killed.py", "test_resume.py"), "5 kills", "50 kills"),
    ("Same call, same bits, in any process, with any number of workers; seeds beside it change rounding only",
     ("test_same_bits.py",), "all", "all"),
    ("No silent corruption: a changed byte is refused by name, and content that cannot be right",
     ("test_damage.py", "test_signed.py"), "100 damages", "1,000 damages"),
    ("A full disk is a clear error, two at the same work do not disturb each other",
     ("test_full_disk.py", "test_at_once.py"), "4 limits a kind, 3 writers", "60 limits a kind, 8 writers"),
    ("Nothing that is read is run: planted pickles, tables, environments, shell commands", ("test_no_code.py",),
     "all", "all"),
    ("Bad input is an error that names it", (
        "test_bad_configs.py", "test_bad_arrays.py", "test_bad_data.py", "test_bad_command_line.py", "test_fuzz.py"),
     "2,000 inputs", "100,000 inputs, 126,000 fuzzed"),
    ("The game is that of the paper: a plain NumPy implementation agrees, the oracle is never beaten",
     ("test_truth.py", "test_game.py"), "10 networks, 25 states of the oracle", "100 networks, 500 states"),
    ("Extreme networks stay finite", ("test_extremes.py",), "60 drawn", "2,500 drawn"),
)  # fmt: skip


def _interval(row: pd.Series, name: str, digits: int) -> str:
    return f"{row[name]:.{digits}f} [{row[f'{name}_low']:.{digits}f}, {row[f'{name}_high']:.{digits}f}]"


def results(tables: Path) -> str:
    """Scores of notebook 04 as a Markdown table."""
    table = read_table(tables / "04_training_paradigms_summary.csv").set_index("method")
    network = NetworkConfig()  # that of every notebook, but for the length of an episode
    baseline = table.index[table.ratio_low == table.ratio_high][0]  # the reference's ratio to itself has no width
    lines = [
        f"| method | exchanged per TTI | sum rate | 5-percentile rate | R_score | normalised | ratio to {baseline} |",
        "|---|---|---|---|---|---|---|",
    ]
    # A method that is newer than the tables has no row yet.
    for method in (method for method in METHODS.values() if method.in_readme and method.name in table.index):
        row = table.loc[method.name]
        cells = [_interval(row, "sum_rate", 1), _interval(row, "tail_rate", 3)]
        cells += [
            _interval(row, "score", 2),
            f"{row.normalised_score:.0f}",
            "1" if method.name == baseline else _interval(row, "ratio", 2),
        ]
        lines.append(f"| {method.name} | {method.knowledge.exchanged(network)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def claims(tables: Path) -> str:
    """The claims of the paper as a Markdown table, with links to the notebooks that judge them."""
    lines = ["| id | claim | paper | ours [95% interval] | verdict | reason | |", "|---|---|---|---|---|---|---|"]
    for _, row in read_table(tables / FILE).iterrows():
        ours = f"{row.ours:.3f} [{row.low:.3f}, {row.high:.3f}]" if row.low < row.high else f"{row.ours:.3f}"
        link = f"[{row.notebook[:2]}](notebooks/{row.notebook}.ipynb)"
        word, colon, parts = row.verdict.partition(":")
        verdict = f"**{word}**{colon}{parts}"
        lines.append(f"| {row.id} | {row.claim} | {row.paper} | {ours} | {verdict} | {row.reason} | {link} |")
    return "\n".join(lines)


def performance(tables: Path) -> str:
    """Rows of notebook 13 as a Markdown table."""
    lines = ["| what | measured | compared with | ratio [smallest, largest repeat] | target | reached by the median |"]
    lines.append("|---|---|---|---|---|---|")
    for _, row in read_table(tables / "13_benchmarks.csv", keep_default_na=False).iterrows():
        reference, ratio, spread = row.reference, "", ""
        if reference and row.reference_value != "":
            reference = f"{reference}: {_short(row.reference_value)}"
            ratio = f"{_short(row.ratio)} [{_short(row.ratio_low)}, {_short(row.ratio_high)}]"
        elif row.ratio_low != row.ratio_high:  # of the value itself
            spread = f" [{_short(row.ratio_low)}, {_short(row.ratio_high)}]"
        reached = {"True": "yes", "False": "**no**"}.get(str(row.reached), "")
        measured = f"{_short(row.value)}{spread} {row.unit}"
        lines.append(f"| {row.row} | {measured} | {reference} | {ratio} | {row.target} | {reached} |")
    return "\n".join(lines)


def promises(tables: Path) -> str:
    """The promises with the tests of each, from the last soak and the last mutation run, as a Markdown table."""
    tests = tables.parents[1] / "tests"
    soak = pd.read_csv(tests / "soak.csv").set_index("file")
    mutants = pd.read_csv(tests / "mutants.csv")
    lines = ["| promise | tests | `make test` | `make soak` | result of the soak |", "|---|---|---|---|---|"]
    for promise, files, short, full in PROMISES:
        rows = soak.loc[list(files)]
        failed = int(rows.failed.sum() + rows.error.sum())
        result = f"{rows.passed.sum():,.0f} passed" + f", **{failed} failed**" * bool(failed)
        skipped = int(rows.skipped.sum())
        result += f", {skipped} skipped" * bool(skipped) + f", {rows.seconds.sum() / 60:.0f} min"
        lines.append(f"| {promise} | {', '.join(f'`{name}`' for name in files)} | {short} | {full} | {result} |")
    killed = "; ".join(f"{Path(row.module).stem} {row['share killed']:.1%}" for _, row in mutants.iterrows())
    lines.append(
        f"| Tests that notice: mutants of four modules are killed | `mutants.py` | – | `make mutants`: "
        f"{mutants.run.sum():,} of {mutants.mutants.sum():,} | {killed} |"
    )
    commits = ", ".join(sorted({*soak.commit.astype(str)})), ", ".join(sorted({*mutants.commit.astype(str)}))
    return "\n".join(lines) + f"\n\nThe soak is of commit {commits[0]}, the mutation run of {commits[1]}."


def _short(number: float | str) -> str:
    """Three digits, and thousands with a comma."""
    value = float(number)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


BLOCKS = {"results": results, "claims": claims, "performance": performance, "promises": promises}


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
