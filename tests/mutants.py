"""Writes what a mutation run found, after `mutmut run`: tests/mutants.csv (per module) and tests/mutants_survivors.csv.

A survivor's reason is written by hand once it was read; it is kept as long as the mutant lives.
"""

import csv
import subprocess
from collections import Counter
from pathlib import Path

from mutmut.configuration import config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

ROOT = Path(__file__).resolve().parent.parent
SUMMARY, SURVIVORS = ROOT / "tests/mutants.csv", ROOT / "tests/mutants_survivors.csv"
KILLED = {"killed", "segfault"}


def change(name: str, path: str) -> tuple[str, str]:
    """The lines that a mutant takes out, and those it puts in their place."""
    lines = get_diff_for_mutant(name, path=path).splitlines()[3:]
    return tuple(" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")


def read_reasons() -> dict[tuple[str, ...], str]:
    if not SURVIVORS.exists():
        return {}
    with SURVIVORS.open(encoding="utf-8", newline="") as file:
        return {tuple(row[:-1]): row[-1] for row in csv.reader(file)}


def write(path: Path, header: list[str], rows: list[list]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def main() -> None:
    reasons, summary, survivors = read_reasons(), [], []
    commit = subprocess.run(
        ["git", "rev-parse", "--short=10", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    for path in config().only_mutate:
        data = SourceFileMutationData(path=Path(path))
        data.load()
        statuses = {name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items()}
        count = Counter("killed" if status in KILLED else status for status in statuses.values())
        if count["not checked"]:
            raise SystemExit(f"{path}: {count['not checked']} mutants not run; `make mutants` goes on with them")
        alive = [name for name, status in statuses.items() if status not in KILLED | {"timeout"}]
        dead = count["killed"] + count["timeout"]
        share = f"{dead / len(statuses):.3f}"
        summary.append([path, len(statuses), count["killed"], count["timeout"], len(alive), share, commit])
        for name in alive:
            function = name.rsplit(".", 1)[1].rsplit("__mutmut", 1)[0].removeprefix("x").strip("_").split("ǁ")[-1]
            key = (path, function, *change(name, path))
            survivors.append([*key, reasons.get(key, "not read yet")])
    write(SUMMARY, ["module", "mutants", "killed", "timeouts", "survived", "share killed", "commit"], summary)
    write(SURVIVORS, ["module", "function", "original", "mutant", "reason"], survivors)
    print(SUMMARY.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
