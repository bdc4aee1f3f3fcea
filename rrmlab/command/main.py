"""The `rrmlab` command: runs copies of the notebooks, renews their committed pairs, and checks these."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import joblib

import rrmlab

from ..locks import lock
from ..storage import CorruptFileError
from ..study import claims
from ..study.cluster import DASK, ClusterError, connected
from ..study.places import FIGURES, OUT
from ..study.plotting import WIDTHS
from ..study.presets import PRESETS
from . import compare as comparison
from . import notebooks as source
from . import pairs, readme
from .kernels import Kernels
from .notebooks import Notebook, UserError
from .runs import GOOD, NotebookResult, Run, first_line, schedule, table, threads


def reproduce(args: argparse.Namespace) -> int:
    """`rrmlab reproduce`; returns the exit status."""
    root = source.find_root()
    source.check_package(root)
    everything = source.read_all(root)
    chosen = source.select(everything, args.notebooks)
    out = _folder(root, args.preset, args.parameters, args.out)
    kernels = Kernels({OUT: str(out), **threads(args.jobs)})
    run = Run(root, out, args.preset, kernels)
    order = run.with_missing_needs(chosen, everything)
    run.values = source.assign(order, args.parameters)
    kernels.environment |= _cluster(args.dask, out)

    def done(notebook: Notebook) -> NotebookResult | None:
        if args.force or not run.is_current(notebook):
            return None
        return NotebookResult("up to date", outputs=list(run.stamp(notebook.name)["outputs"]))

    count = f"{len(order)} notebook" + "s" * (len(order) > 1)
    print(f"preset {args.preset}, {count}, into {_shown(run.out)}", flush=True)
    with lock(run.executed):
        results = schedule(order, args.jobs, kernels, run.execute, done)
        claims.gather(run.out / "figures" / "tables")
    print(f"\n{table(results, order)}\n")
    print(f"figures and tables: {_shown(run.out / 'figures')}")
    print(f"executed copies and logs: {_shown(run.executed)}")
    for name, result in results.items():
        if result.error:
            print(f"{name} failed: {first_line(result.error)} (see {_shown(run.executed / name)}.log)")
    return int(any(result.status not in GOOD for result in results.values()))


def figures(args: argparse.Namespace) -> int:
    """`rrmlab figures`; returns the exit status."""
    root = source.find_root()
    source.check_package(root)
    order = source.select(source.read_all(root), args.notebooks)
    pairs.refuse_unread(order)
    jobs = joblib.cpu_count()
    elsewhere = pairs.elsewhere(root, args.format, args.width)
    kernels = Kernels({OUT: str(root), **elsewhere, **threads(jobs)}, keep=True)
    if not elsewhere:
        readme.renew(root)  # the notebooks' answers before they are run

    def task(notebook: Notebook) -> NotebookResult:
        start = time.monotonic()
        error = pairs.make_pair(notebook, root, kernels, keep=not elsewhere)
        return NotebookResult("failed" if error else "done", time.monotonic() - start, error)

    # As they are, notebooks read the committed tables: none needs that another one runs first.
    try:
        results = schedule([dataclasses.replace(n, needs=()) for n in order], jobs, kernels, task)
    finally:
        kernels.stop()
    failed = [name for name, result in results.items() if result.status not in GOOD]
    if failed:
        logs = _shown(root / "data" / "executed")
        print(f"\n{len(failed)} of {len(order)} failed; their pairs are as before. Logs: {logs}")
        return 1
    if elsewhere:
        print(f"figures: {_shown(Path(elsewhere[FIGURES]))}")
    else:
        readme.renew(root)
    return 0


def check(args: argparse.Namespace) -> int:
    """`rrmlab check`; returns the exit status."""
    root = source.find_root()
    everything = source.read_all(root)
    problems = pairs.check(everything, root / "notebooks")
    for page in readme.stale(root) if (root / "README.md").is_file() else []:
        name = page.relative_to(root)
        problems.append(f"{name}: it does not say what figures/ says; renew it with `rrmlab figures`")
    tables = root / "figures" / "tables"
    rows, written = claims.gathered(tables), tables / claims.FILE
    if len(rows) and (not written.is_file() or rows.to_csv(index=False) != written.read_text(encoding="utf-8")):
        problems.append(f"{claims.FILE}: not the rows of the notebooks' tables; renew it with `rrmlab figures`")
    print(
        "\n".join(problems)
        or f"{len(everything)} notebooks in step with their pairs, README, docs and figures/README with the tables"
    )
    return int(bool(problems))


def compare(args: argparse.Namespace) -> int:
    """`rrmlab compare`; returns the exit status."""
    tables = Path(args.run) / "figures" / "tables"
    if not tables.is_dir():
        raise UserError(f"{args.run} is not the folder of a run: it has no figures/tables")
    found = comparison.compare(tables, source.find_root() / "figures" / "tables")
    if not len(found):
        raise UserError(f"{args.run} has no summary table that the repository has too")
    print(found.round(3).to_string(index=False))
    return int(bool((found.inside < found["values"] + found.missing).any()))


def _folder(root: Path, preset: str, parameters: list[list[str]], out: str | None) -> Path:
    """The run's folder: the committed results are those of the paper preset without other parameters.

    Raises:
        UserError: an --out that is not a folder and cannot become one.
    """
    if out is None:
        return root if preset == "paper" and not parameters else root / "data" / "runs" / preset
    if "\0" in out or not out:
        raise UserError(f"--out {out!r} is not a folder and cannot become one")
    folder = Path(out).resolve()
    if not next(p for p in (folder, *folder.parents) if p.exists()).is_dir():
        raise UserError(f"--out {out} is not a folder and cannot become one: a file is in the way")
    return folder


def _cluster(address: str | None, out: Path) -> dict[str, str]:
    """The Dask cluster that the notebooks give their jobs to, checked."""
    if address is None:
        return {}
    with connected(address, out / "data") as (client, _):
        print(f"{len(client.nthreads())} workers at {client.scheduler.address}")
        return {DASK: client.scheduler.address}


def _shown(path: Path) -> str:
    """A path as one would type it from here."""
    near = os.path.relpath(path)
    return str(path) if near.startswith(os.pardir) else near


# ---- the command line ----


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line of `rrmlab`."""
    raw = argparse.RawDescriptionHelpFormatter
    top = _Parser(
        prog="rrmlab",
        formatter_class=raw,
        description="Reruns the study: its notebooks, their figures and their tables.",
        epilog="examples:\n"
        "  rrmlab reproduce                       everything, small: a first look in minutes\n"
        "  rrmlab reproduce 04 --preset smoke     one notebook and what it needs, in seconds\n"
        "  rrmlab reproduce --preset paper        everything in full size\n"
        "  rrmlab figures                         figures and .ipynb pairs from the committed tables",
    )
    top.add_argument("--version", action="version", version=f"rrmlab {rrmlab.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def add(
        name: str, action: Callable[[argparse.Namespace], int], text: str, more: str = ""
    ) -> argparse.ArgumentParser:
        description = f"{text[0].upper()}{text[1:]}.\n{more}"
        sub = commands.add_parser(name, help=text, formatter_class=raw, description=description)
        sub.set_defaults(action=action)
        return sub

    which: dict[str, Any]
    which = {"nargs": "*", "metavar": "NN", "help": "notebooks, such as 03 or 03_datasets (default: all)"}
    sub = add(
        "reproduce",
        reproduce,
        "run copies of the notebooks: collect, train, evaluate, draw",
        "\nThe copies run in order, with the preset and recompute = True injected. What they need and was\n"
        "never run is added. What is done already (same source, parameters and package, results still\n"
        "there) is not run again, so that the same command goes on after an interruption. If a notebook\n"
        "fails, those that do not need it still run.\n\n"
        "Exit status: 0 all well, 1 a notebook failed, 2 a mistake in the command, 130 interrupted.",
    )
    sub.add_argument("notebooks", **which)
    sizes = ", ".join(f"{name} ({preset.duration})" for name, preset in PRESETS.items())
    sub.add_argument("--preset", choices=PRESETS, default="quick", help=f"{sizes}; default: quick")
    sub.add_argument(
        "--jobs",
        type=_positive,
        default=1,
        metavar="K",
        help="notebooks at a time, sharing the cores; default: 1",
    )
    sub.add_argument(
        "-p",
        dest="parameters",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a parameter's value, for every notebook that has it; may be repeated",
    )
    sub.add_argument(
        "--out",
        metavar="DIR",
        help="folder of the results; default: data/runs/PRESET; for paper without -p, the repository",
    )
    sub.add_argument("--force", action="store_true", help="run also what is up to date")
    sub.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="train on the workers of a Dask cluster (tcp://host:8786, or a scheduler file); they must have the "
        "same code, and the folder of the results under the same path: see docs/guides/cluster.md",
    )
    sub = add(
        "figures",
        figures,
        "run the notebooks as they are, from the committed tables, and renew their .ipynb pairs",
        "\nAlso renewed: what README.md, docs/, figures/README.md and the notebooks' sources say from tables. With\n"
        "--format or --width nothing of this is written: the figures are drawn for another use, into data/figures/.",
    )
    sub.add_argument("notebooks", **which)
    sub.add_argument(
        "--format", choices=("pdf", "png", "svg"), help="of the figures in data/figures/; default: pdf and png"
    )
    sub.add_argument(
        "--width", choices=WIDTHS, help="of all figures in data/figures/: 3.5 or 7.16 inches; default: each has its own"
    )
    sub = add(
        "compare",
        compare,
        "compare the tables of a run with the committed ones",
        "\nEvery interquartile mean of the run against the committed 95% interval: how many lie inside, and the\n"
        "largest deviation in units of the interval's half width. Of a run of another preset most lie outside.\n\n"
        "Exit status: 0 all inside, 1 some outside, 2 a mistake in the command.",
    )
    sub.add_argument("run", metavar="DIR", help="folder of the run, as given to reproduce --out")
    add("check", check, "check that every .ipynb is in step with its .py, run in order, clean and below 1 MB")
    return top


def main(argv: list[str] | None = None) -> int:
    """Entry point of the `rrmlab` command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv

    def interrupt(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {s: signal.signal(s, interrupt) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        args = parser().parse_args(argv)
        return args.action(args)
    except (UserError, ClusterError, CorruptFileError) as error:
        line = " ".join(str(error).split())  # one line, whatever was typed
        print(f"rrmlab: error: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nrrmlab: interrupted; to go on where it stopped: rrmlab {shlex.join(argv)}", file=sys.stderr)
        return 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
