"""What is promised, and the table of the promises with the tests that hold them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

# The promise, the files of its tests, and the number of cases in `make test` and in `make soak`.
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


def promises(tables: Path, up: str) -> str:
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
        f"| Tests that notice: mutants are killed | `mutants.py` | – | `make mutants`: "
        f"{mutants.run.sum():,} of {mutants.mutants.sum():,} | {killed} |"
    )
    commits = ", ".join(sorted({*soak.commit.astype(str)})), ", ".join(sorted({*mutants.commit.astype(str)}))
    return "\n".join(lines) + f"\n\nThe soak is of commit {commits[0]}, the mutation run of {commits[1]}."
