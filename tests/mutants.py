"""Mutation testing of the modules that pyproject.toml names, or of those of them that are given: `make mutants`, or
`python tests/mutants.py [rrmlab/agents/graph.py ...]` from the root. The rows of modules that were not run are kept.

mutmut makes the mutants, each a version of a function that is switched on by name. They are run here: every test and
every mutant in a fork of one process that has imported and collected everything, which is ten times as fast as
mutmut's own runner where PyTorch has to be imported and hundreds of tests to be collected for each.

Writes tests/mutants.csv, and tests/mutants_survivors.csv with the reason why each survivor lives. The reason is written
by hand once it was read, and is kept as long as the mutant lives.
"""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from _pytest.runner import runtestprotocol
from mutmut.__main__ import create_mutants
from mutmut.configuration import config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir
from mutmut.utils.format_utils import mangled_name_from_mutant_name

ROOT = Path(__file__).resolve().parent.parent
MUTANTS = ROOT / "mutants"
SUMMARY, SURVIVORS = ROOT / "tests/mutants.csv", ROOT / "tests/mutants_survivors.csv"
PASSED, FAILED = 0, 1


def forked(mutant: str, tests: list[pytest.Item], limits_s: list[float]) -> tuple[str, dict]:
    """Run tests until one fails, in a fork with that mutant; "killed", "survived" or "timeout", and what was called.

    The limits are seconds of the processor: a busy machine must not pass for a kill.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        set_mutant_under_test(mutant)
        begin, test, failed = time.process_time(), None, False
        try:
            # What a module's tests share, such as a trained policy, stays while tests of that module follow.
            for test, following, limit_s in zip(tests, [*tests[1:], None], limits_s, strict=True):
                resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + limit_s), resource.RLIM_INFINITY))
                if any(report.failed for report in runtestprotocol(test, log=False, nextitem=following)):
                    failed = True
                    break
        except (pytest.exit.Exception, KeyboardInterrupt):  # these end pytest itself: the mutant was noticed
            failed = True
        seconds = time.process_time() - begin
        called = {"functions": sorted(state()._stats), "seconds": seconds, "noticed by": test.nodeid if failed else ""}
        os.write(writer, json.dumps(called).encode())
        os._exit(FAILED if failed else PASSED)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        called = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == -signal.SIGXCPU:
        return "timeout", {}
    return ("survived" if code == PASSED else "killed"), json.loads(called or "{}")


def in_forks(work: Callable[[list[str]], dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Divide the names among as many forks as processors; merge what `work` returns."""
    readers, processes = [], os.cpu_count()
    for part in (names[k::processes] for k in range(processes)):
        reader, writer = os.pipe()
        if not os.fork():
            try:
                with os.fdopen(writer, "wb") as pipe:
                    pipe.write(json.dumps(work(part)).encode())
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)  # never on into pytest's loop, whose other half is the parent
        os.close(writer)
        readers.append(reader)
    found: dict[str, Any] = {}
    for reader in readers:
        with os.fdopen(reader, "rb") as pipe:
            found |= json.loads(pipe.read())
        os.wait()
    return found


class Runner:
    """A pytest plugin in place of pytest's own loop over the tests."""

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items, tests, seconds = {test.nodeid: test for test in session.items}, defaultdict(list), {}

        def without_mutant(names: list[str]) -> dict[str, tuple[str, dict]]:
            return {name: forked("stats", [items[name]], [600]) for name in names}

        alone = in_forks(without_mutant, list(items))
        if broken := [name for name, (outcome, _) in alone.items() if outcome != "survived"]:
            raise pytest.UsageError(f"without any mutant fail: {', '.join(broken)}")
        for name, (_, called) in alone.items():
            seconds[items[name]] = called["seconds"]
            for function in called["functions"]:
                tests[function].append(items[name])

        def outcomes(mutants: list[str]) -> dict[str, str]:
            found, noticed = {}, Counter()
            for mutant in mutants:
                function = mangled_name_from_mutant_name(mutant)
                # First the quick tests, and those that noticed other mutants of that function.
                chosen = sorted(tests[function], key=lambda test: seconds[test] / (1 + noticed[function, test.nodeid]))
                found[mutant], called = forked(mutant, chosen, [4 + 4 * seconds[test] for test in chosen])
                noticed[function, called.get("noticed by")] += 1
                print(mutant, found[mutant], f"{called.get('seconds', 0):.1f} s", file=sys.stderr, flush=True)
            return found

        for path in sys.argv[1:] or config().only_mutate:
            mutants = mutants_of(path)
            found = in_forks(outcomes, mutants)
            report(path, {mutant: found[mutant] for mutant in mutants})
            print(path, dict(Counter(found.values())), file=sys.stderr, flush=True)
        return True


def mutants_of(path: str) -> list[str]:
    os.chdir(ROOT)  # where mutmut looks for them
    data = SourceFileMutationData(path=Path(path))
    data.load()
    os.chdir(MUTANTS)
    return list(data.exit_code_by_key)


def change(mutant: str, path: str) -> tuple[str, str]:
    """The lines that a mutant takes out, and those it puts in their place."""
    lines = get_diff_for_mutant(mutant, path=path).splitlines()[3:]
    return tuple(" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")


def rows_of(path: Path) -> list[list[str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def write(path: Path, header: list[str], rows: list[list]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def report(path: str, outcomes: dict[str, str]) -> None:
    """Renew the rows of a module in both tables."""
    os.chdir(ROOT)
    commit = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
    reasons = {tuple(row[:-1]): row[-1] for row in rows_of(SURVIVORS)}
    summary, survivors = ([row for row in rows_of(file)[1:] if row[0] != path] for file in (SUMMARY, SURVIVORS))
    count = Counter(outcomes.values())
    run = len(outcomes) - count["not run"]
    columns = run, count["killed"], count["timeout"], count["survived"], f"{1 - count['survived'] / run:.3f}"
    summary.append([path, len(outcomes), *columns, commit.stdout.strip()])
    for mutant in (name for name, outcome in outcomes.items() if outcome == "survived"):
        function = mutant.rsplit("__mutmut", 1)[0].rsplit(".", 1)[1].replace("ǁ", ".").removeprefix("x").strip(".")
        key = (path, function.removeprefix("_") if "." not in function else function, *change(mutant, path))
        survivors.append([*key, reasons.get(key, "not read yet")])
    order = config().only_mutate
    for rows in (summary, survivors):
        rows.sort(key=lambda row: order.index(row[0]))
    write(SUMMARY, ["module", "mutants", "run", "killed", "timeouts", "survived", "share killed", "commit"], summary)
    write(SURVIVORS, ["module", "function", "original", "mutant", "reason"], survivors)


def main() -> None:
    os.chdir(ROOT)
    shutil.rmtree(MUTANTS, ignore_errors=True)
    MUTANTS.mkdir()
    set_mutant_under_test("mutant_generation")
    copy_src_dir()
    copy_also_copy_files()
    create_mutants(1)
    set_mutant_under_test("")
    torch.testing.assert_close(torch.zeros(1), torch.zeros(1))  # its first use imports much: not once for every mutant
    # A mutant is noticed by the first example that fails: no simpler one is searched for.
    phases = hypothesis.Phase.explicit, hypothesis.Phase.generate
    hypothesis.settings.register_profile("mutants", phases=phases, database=None)
    hypothesis.settings.load_profile("mutants")
    sys.path.insert(0, str(MUTANTS))
    os.chdir(MUTANTS)
    chosen = [*config().pytest_add_cli_args, *config().pytest_add_cli_args_test_selection]
    sys.exit(pytest.main(["-q", "--rootdir=.", "--tb=native", *chosen], plugins=[Runner()]))


if __name__ == "__main__":
    main()
