"""One run of the notebooks: copies executed in one folder, done work remembered there, failures contained."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib

from ..storage import read_json, sha256
from ..study.fingerprint import sources_digest
from . import notebooks as source
from .kernels import Kernels, Scrubber, clean, dump, write
from .notebooks import Notebook

GOOD = ("done", "up to date")


@dataclass
class NotebookResult:
    """How one notebook ended; `outputs` are paths relative to the run's folder."""

    status: str  # done, up to date, failed, needs NN
    seconds: float = 0.0
    error: str = ""
    outputs: list[str] = field(default_factory=list)


class Run:
    """Notebooks executed with one preset into the folder `out`; `out/data/executed` remembers what is done.

    `values`: notebook name -> parameters beside preset and recompute (`notebooks.assign`).
    """

    def __init__(self, root: Path, out: Path, preset: str, kernels: Kernels):
        self.root, self.out, self.preset, self.kernels = root, out, preset, kernels
        self.values: dict[str, dict[str, object]] = {}
        self.executed = out / "data" / "executed"
        self.package = sources_digest(source.PACKAGE)

    def _file(self, name: str, suffix: str) -> Path:
        return self.executed / f"{name}.{suffix}"

    def stamp(self, name: str) -> dict[str, Any]:
        """What was written down when the notebook was last done here, {} if it never was or that cannot be read."""
        file = self._file(name, "json")
        try:
            stamp = read_json(file) if file.exists() else {}
        except ValueError:
            return {}
        outputs = stamp.get("outputs")
        return stamp if isinstance(outputs, dict) and isinstance(stamp.get("key"), str) else {}

    def is_here(self, notebook: Notebook) -> bool:
        """Whether the notebook was done here, from whatever source, and its results are still there."""
        stamp = self.stamp(notebook.name)
        return bool(stamp) and all((self.out / p).exists() for p in [*stamp["outputs"], *notebook.makes])

    def is_current(self, notebook: Notebook) -> bool:
        """Whether it was done here from the same source, parameters, package and needs as now, and its tables are still
        what was written. (Figures may be drawn again, by `rrmlab figures`.)"""
        stamp = self.stamp(notebook.name)
        if not self.is_here(notebook) or stamp["key"] != self.key(notebook):
            return False
        return all(digest == _table_digest(self.out / path) for path, digest in stamp["outputs"].items())

    def key(self, notebook: Notebook) -> str:
        """A hash over everything that the notebook's results follow from: not its sentences that follow from them."""
        needs = {need: self.stamp(need).get("key") for need in notebook.needs}
        text = re.sub(r"(?ms)^# <!-- (\w+) -->$.*?^# <!-- /\1 -->$", "", notebook.path.read_text(encoding="utf-8"))
        facts = [text, self.preset, self.values.get(notebook.name, {}), self.package, needs]
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=repr).encode()).hexdigest()

    def execute(self, notebook: Notebook) -> NotebookResult:
        """Runs a copy; keeps it, its log and, if it went well, the stamp."""
        name, figures = notebook.name, self.out / "figures"
        for folder in (self.out / "notebooks", figures / "tables", self.executed):
            folder.mkdir(parents=True, exist_ok=True)
        self._file(name, "json").unlink(missing_ok=True)
        parameters = {"preset": self.preset, "recompute": True, **self.values.get(name, {})}
        key, log, start, clock = self.key(notebook), self._file(name, "log"), time.time(), time.monotonic()
        node, error = self.kernels.run(source.load(notebook.path), self.out / "notebooks", log, parameters)
        seconds, scrub = time.monotonic() - clock, Scrubber(self.out, self.root)
        write(log, scrub(log.read_text(encoding="utf-8")))
        write(self._file(name, "ipynb"), dump(clean(node, name, scrub)))
        if error:
            return NotebookResult("failed", seconds, scrub(error))
        named = [
            *figures.glob(f"{notebook.number}_*.*"),
            *(figures / "tables").glob(f"{notebook.number}_*.*"),
        ]
        written = [p for p in named if p.stat().st_mtime >= start - 2]  # 2 s: some file clocks are coarse
        outputs = sorted(p.relative_to(self.out).as_posix() for p in written)
        digests = {p: _table_digest(self.out / p) for p in outputs}
        facts = {"key": key, "parameters": parameters, "seconds": round(seconds, 1), "outputs": digests}
        write(self._file(name, "json"), json.dumps(facts, indent=1) + "\n")
        return NotebookResult("done", seconds, outputs=outputs)

    def with_missing_needs(self, chosen: list[Notebook], everything: list[Notebook]) -> list[Notebook]:
        """The chosen notebooks and, of what they need, those that were never done here."""
        names = {n.name for n in chosen}
        for notebook in reversed(everything):  # needs come before, so that one pass backwards reaches all
            for need in (n for n in everything if n.name in notebook.needs and notebook.name in names):
                if need.name not in names and not self.is_here(need):
                    print(f"{need.name} is added: {notebook.name} needs it and it was not run here yet")
                    names.add(need.name)
        order = [n for n in everything if n.name in names]
        for need in (n for n in everything if n.name not in names):
            if any(need.name in n.needs for n in order) and not self.is_current(need):
                print(f"note: {need.name} is used as it is, though made from other sources or parameters")
        return order


def _table_digest(path: Path) -> str:
    """SHA-256 of a table, "" for a figure."""
    return sha256(path) if path.suffix == ".csv" and path.is_file() else ""


def schedule(
    order: list[Notebook],
    jobs: int,
    kernels: Kernels,
    task: Callable[[Notebook], NotebookResult],
    done: Callable[[Notebook], NotebookResult | None] = lambda notebook: None,
) -> dict[str, NotebookResult]:
    """Calls `task` on each notebook once its needs are met, `jobs` at a time; `done` may answer in its place.

    Of several at a time those begin first that most others need, and then the longest. A notebook whose need failed is
    left out, the others run. An interrupt ends every kernel and is passed on.
    """
    wanted = Counter(need for notebook in order for need in notebook.needs)
    results: dict[str, NotebookResult] = {}
    running: dict[Future[NotebookResult], Notebook] = {}
    position = {n.name: f"[{i}/{len(order)}] {n.name}" for i, n in enumerate(order, 1)}

    def say(notebook: Notebook, text: str) -> None:
        print(f"{position[notebook.name]}: {text}", flush=True)

    def leaves_queue(notebook: Notebook) -> bool:
        needs = [n for n in notebook.needs if n in position]
        failed = [n for n in needs if n in results and results[n].status not in GOOD]
        if failed:
            results[notebook.name] = NotebookResult(f"needs {failed[0][:2]}")
            say(notebook, f"left out, it needs {failed[0]}")
        elif any(n not in results for n in needs) or len(running) == jobs:
            return False
        elif answer := done(notebook):
            results[notebook.name] = answer
            say(notebook, answer.status)
        else:
            say(notebook, "started")
            running[pool.submit(task, notebook)] = notebook
        return True

    with ThreadPoolExecutor(jobs) as pool:
        try:
            waiting = sorted(order, key=lambda n: (-wanted[n.name], -_seconds(n))) if jobs > 1 else list(order)
            while waiting or running:
                waiting = [n for n in waiting if not leaves_queue(n)]
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    notebook = running.pop(future)
                    results[notebook.name] = result = _result(future)
                    say(notebook, f"{result.status} in {clock(result.seconds)}{_because(result)}")
        except BaseException:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # no second interrupt while the kernels end
            while not all(future.done() for future in running):
                kernels.stop()
                wait(running, timeout=0.2)
            raise
    return results


def _seconds(notebook: Notebook) -> float:
    """How long it took when the tables beside it were made; 0 where nothing says so."""
    try:
        facts = (notebook.path.parents[1] / "figures/tables" / f"{notebook.name}.json").read_text(encoding="utf-8")
        return float(json.loads(facts)["wall_time_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _result(future: Future[NotebookResult]) -> NotebookResult:
    try:
        return future.result()
    except Exception as error:  # a full disk, say: this notebook's failure, not the run's
        return NotebookResult("failed", error=f"{type(error).__name__}: {error}")


def _because(result: NotebookResult) -> str:
    return f": {first_line(result.error)}" if result.error else ""


def first_line(text: str) -> str:
    """The first line of a text that has one."""
    return text.strip().split("\n")[0]


def clock(seconds: float) -> str:
    """A duration as it is printed: seconds, from two minutes on minutes and seconds."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"


def table(results: dict[str, NotebookResult], order: list[Notebook]) -> str:
    """The closing table: notebook, status, time, number of figures, number of tables."""
    rows = [("notebook", "status", "time", "figures", "tables")]
    for n in order:
        result = results[n.name]
        paths = [Path(p) for p in result.outputs]
        figures = {p.stem for p in paths if p.suffix in (".pdf", ".png", ".svg")}
        tables = [p for p in paths if p.suffix == ".csv" and p.parent.name == "tables"]
        time_taken = clock(result.seconds) if result.status in ("done", "failed") else "-"
        rows.append((n.name, result.status, time_taken, str(len(figures)), str(len(tables))))
    width = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = [f"{row[0]:<{width[0]}}  {row[1]:<{width[1]}}" for row in rows]
    right = ["  ".join(cell.rjust(w) for cell, w in zip(row[2:], width[2:], strict=True)) for row in rows]
    return "\n".join(f"{a}  {b}" for a, b in zip(left, right, strict=True))


def threads(jobs: int) -> dict[str, str]:
    """With several notebooks at once, each one's share of the cores: for OpenMP (torch, NumPy) and joblib."""
    if jobs == 1:
        return {}
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
    return dict.fromkeys(names, str(max(1, joblib.cpu_count() // jobs)))
