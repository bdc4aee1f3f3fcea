"""What a soak (RRMLAB_SOAK=1) has run is written to tests/soak.csv, with the commit it belongs to; common fixtures."""

import collections
import csv
from pathlib import Path

from soak import cases
from stored_files import copies, made  # noqa: F401  fixtures

OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


def pytest_collection_modifyitems(items):
    """The longest first, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)


def pytest_terminal_summary(terminalreporter, config):
    if not cases(0, 1) or hasattr(config, "workerinput"):
        return
    if config.option.keyword or config.option.markexpr or any("::" in name for name in config.args):
        return  # a part of a file is not what its row stands for
    from rrmlab.study.fingerprint import package_commit

    rows = collections.defaultdict(collections.Counter)
    for outcome in ("", *OUTCOMES):
        for report in terminalreporter.stats.get(outcome, []):
            row = rows[Path(report.nodeid.split("::")[0]).name]
            row[outcome] += 1
            row["seconds"] += report.duration
    path, header = Path(__file__).with_name("soak.csv"), ["file", *OUTCOMES, "seconds", "commit"]
    with open(path, newline="") as file:
        table = {row[0]: row for row in list(csv.reader(file))[1:]}  # files that were not run keep their rows
    for name, row in rows.items():
        table[name] = [name, *(row[k] for k in OUTCOMES), round(row["seconds"]), package_commit()]
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *(table[name] for name in sorted(table))])
