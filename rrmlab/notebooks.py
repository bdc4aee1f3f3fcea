"""Notebooks as files: reading a percent script, checking its parameters, running a copy, and what may stay in it.

`notebooks/NN_slug.py` (jupytext percent) is the source. Its header may declare, under `jupyter:`,

    rrmlab:
      needs: [03_datasets]       # notebooks whose results this one reads
      makes: [data/datasets]     # folders or files beside figures/ that others read (paths from the run's folder)

and exactly one cell, tagged `parameters`, holds `name = literal` lines, `preset` and `recompute` among them. A notebook runs
in `<out>/notebooks` and addresses everything else from there: `../figures`, `../data`. While it runs unattended, its
environment has `RRMLAB_BATCH=1`.
"""

from __future__ import annotations

import ast
import difflib
import json
import os
import re
import signal
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
PACKAGE = Path(__file__).resolve().parent
GIVEN = {"preset": "it is set by --preset", "recompute": "it is always True in a run"}


class UserError(Exception):
    """A mistake in what was asked for or in a notebook's source: told in one line, before any work."""


@dataclass(frozen=True)
class Notebook:
    """One percent script. `needs` are names of earlier notebooks, `makes` paths relative to the run's folder."""

    name: str
    path: Path
    parameters: dict[str, object]
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()

    @property
    def number(self) -> str:
        return self.name[:2]


# ---- finding and reading ------------------------------------------------------------------------------------------------


def find_root() -> Path:
    """The repository: the nearest folder above the current one (else above the package) that is rrmlab's."""
    import tomllib

    for folder in (Path.cwd(), *Path.cwd().parents, PACKAGE.parent):
        try:
            project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
        except (OSError, ValueError):
            continue
        if project.get("name") == "rrmlab" and (folder / "notebooks").is_dir():
            return folder
    raise UserError("no rrmlab repository here: go into a clone of it (a folder with notebooks/ and pyproject.toml)")


def load(path: Path):
    """The percent script `path` as an nbformat notebook."""
    import jupytext

    try:
        return jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    except Exception as error:
        raise UserError(f"{path.name} cannot be read as a percent script: {error}") from error


def read_all(root: Path) -> list[Notebook]:
    """All `notebooks/NN_slug.py` in order. UserError on a number used twice or on a need that does not come before."""
    found: list[Notebook] = []
    for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.py")):
        node, name = load(path), path.stem
        if found and found[-1].number == name[:2]:
            raise UserError(f"notebooks {found[-1].name} and {name} share the number {name[:2]}")
        header = node.metadata.get("rrmlab", {})
        needs = tuple(n for need in header.get("needs", []) for n in _match(str(need), found, f"'needs' of {name}"))
        found.append(Notebook(name, path, _literals(node, name), needs, tuple(header.get("makes", []))))
    if not found:
        raise UserError(f"no notebooks/NN_slug.py in {root}")
    return found


def _literals(node, name: str) -> dict[str, object]:
    """Name -> default of the cell tagged `parameters`. UserError unless it is there once and holds literals only."""
    cells = [c for c in node.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise UserError(f"{name} has {len(cells)} cells tagged 'parameters'; exactly 1 is needed")
    values: dict[str, object] = {}
    try:
        for line in ast.parse(cells[0].source).body:
            target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
            if isinstance(line, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and line.value:
                values[target.id] = ast.literal_eval(line.value)
            elif not isinstance(line, ast.Expr):
                raise ValueError(f"line {line.lineno} is not 'name = literal'")
    except (ValueError, SyntaxError) as error:
        raise UserError(f"the parameters cell of {name} holds something else than literals: {error}") from error
    if missing := sorted(GIVEN.keys() - values.keys()):
        raise UserError(f"the parameters cell of {name} lacks {', '.join(missing)}")
    return values


def _match(wanted: str, notebooks: list[Notebook], what: str) -> list[str]:
    """The notebook called `wanted` ('3', '03', '03_datasets', '03_datasets.py'), as a list of one name."""
    key = Path(wanted).stem
    names = [n.name for n in notebooks if key == n.name or (key.isdigit() and key.zfill(2) == n.number)]
    if not names:
        raise UserError(f"unknown notebook '{wanted}' in {what}; there are: {', '.join(n.name for n in notebooks) or 'none'}")
    return names


def select(notebooks: list[Notebook], wanted: list[str]) -> list[Notebook]:
    """The notebooks named in `wanted` (all, if empty), in their order."""
    names = {name for w in wanted for name in _match(w, notebooks, "the command")}
    return [n for n in notebooks if not wanted or n.name in names]


# ---- parameters ---------------------------------------------------------------------------------------------------------


def assign(notebooks: list[Notebook], pairs: list[tuple[str, str]]) -> dict[str, dict[str, object]]:
    """Notebook name -> the values of `-p name value` that it takes. UserError on a name nobody has or on a wrong type."""
    values: dict[str, dict[str, object]] = {n.name: {} for n in notebooks}
    for name, text in pairs:
        if name in GIVEN:
            raise UserError(f"parameter '{name}' cannot be given with -p: {GIVEN[name]}")
        takers = [n for n in notebooks if name in n.parameters]
        if not takers:
            every = sorted({p for n in notebooks for p in n.parameters} - GIVEN.keys())
            close = difflib.get_close_matches(name, every, n=1)
            valid = "; ".join(f"{n.name}: {', '.join(sorted(n.parameters.keys() - GIVEN.keys()))}" for n in notebooks)
            hint = f" (did you mean '{close[0]}'?)" if close else ""
            raise UserError(f"unknown parameter '{name}'{hint}; allowed are, by notebook: {valid}")
        for n in takers:
            if name in values[n.name]:
                raise UserError(f"parameter '{name}' is given twice")
            values[n.name][name] = _convert(text, n.parameters[name], f"parameter '{name}' of {n.name}")
    return values


def _convert(text: str, default: object, what: str) -> object:
    """`text` as a plain literal of the type of `default`; an int passes for a float, a list for a tuple; None takes all."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(default, str):
        return value if isinstance(value, str) else text
    value = _fit(value, default)
    if value is None and default is not None or not _finite(value):
        kind = type(default).__name__
        if isinstance(default, list | tuple) and default:
            kind += f" of {type(default[0]).__name__}"
        raise UserError(f"{what} takes a finite {kind} such as {default!r}, not {text!r}")
    return value


def _fit(value: object, default: object) -> object:
    """`value` with the type of `default`, or None where it has another one."""
    if default is None or type(value) is type(default) and not isinstance(default, list | tuple):
        return value
    if type(default) is float and type(value) is int:
        return float(value)
    if isinstance(default, list | tuple) and isinstance(value, list | tuple):
        items = [_fit(v, default[0]) if default else v for v in value]
        return None if default and None in items and default[0] is not None else type(default)(items)
    return None


def _finite(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or abs(value) < float("inf")


# ---- running ------------------------------------------------------------------------------------------------------------


class Kernels:
    """Runs notebooks, one kernel each, from any number of threads; `stop` ends them all."""

    def __init__(self, environment: dict[str, str]):
        self.environment = os.environ | {
            "RRMLAB_BATCH": "1",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger's start-up warning would open every log
            "SOURCE_DATE_EPOCH": "0",  # no dates in PDF files: the same figure is the same file
        } | environment  # fmt: skip
        self.stopped = threading.Event()
        self.clients: list = []

    def run(self, node, cwd: Path, log: Path, parameters: dict[str, object] | None = None):
        """Executes a copy of `node` in `cwd`, all that it prints in `log`; returns (the executed copy, error or '').

        Every error of the notebook is returned, none raised. The kernel is this interpreter's, whatever kernels are
        installed for the user, and it is started a second time where it did not come up (ports collide at times).
        """
        import papermill
        from papermill.exceptions import PapermillExecutionError

        _teach_papermill()
        job = _Job(self, cwd, node)
        with open(log, "a", encoding="utf-8", buffering=1) as job.log:
            job.log.truncate(0)
            for _ in range(2):
                error = ""
                try:
                    papermill.execute_notebook(
                        node, None, parameters, engine_name="rrmlab", kernel_name="python3", language="python",
                        progress_bar=False, job=job,
                    )  # fmt: skip
                except PapermillExecutionError as failure:
                    error = f"{failure.ename}: {ANSI.sub('', failure.evalue)}".strip()
                    job.log.write("\n" + ANSI.sub("", "\n".join(failure.traceback)) + "\n")
                except Exception as failure:
                    dead = type(failure).__name__ == "DeadKernelError"
                    error = "the kernel died (out of memory?)" if dead else f"{type(failure).__name__}: {failure}"
                    job.log.write(f"\n{error}\n")
                if not error or job.began or self.stopped.is_set():
                    break
        return job.node, error

    def stop(self) -> None:
        """Ends all kernels with everything that they started (each is the head of its own process group)."""
        self.stopped.set()
        for client in list(self.clients):
            group = getattr(client.km and client.km.provisioner, "pgid", None)
            if group:
                try:
                    os.killpg(group, signal.SIGKILL)
                except ProcessLookupError:
                    continue


@dataclass
class _Job:
    """What one execution shares with the papermill engine below."""

    kernels: Kernels
    cwd: Path
    node: object
    log: object = None
    began: bool = False


def _teach_papermill() -> None:
    """Registers an engine that starts this interpreter's kernel in a given folder, and injection by `repr`."""
    import logging

    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines
    from papermill.translators import PythonTranslator, papermill_translators

    class OwnKernel(AsyncKernelManager):
        def _kernel_spec_manager_default(self):
            return KernelSpecManager(kernel_dirs=[])  # none installed: ipykernel's own, with sys.executable

    class OwnEngine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, *, job, **_):
            def begin(**_):
                job.began = True
                if job.kernels.stopped.is_set():
                    raise RuntimeError("interrupted")

            client = PapermillNotebookClient(
                nb_man, kernel_name=kernel_name, kernel_manager_class=OwnKernel, log=logger, stdout_file=job.log,
                stderr_file=job.log, startup_timeout=120, iopub_timeout=120, timeout=None, record_timing=False,
                store_widget_state=False, coalesce_streams=True, on_cell_execute=begin,
            )  # fmt: skip
            job.node = nb_man.nb
            job.kernels.clients.append(client)
            try:
                client.execute(cwd=str(job.cwd), env=job.kernels.environment, stdout=job.log, stderr=job.log)
            finally:
                job.kernels.clients.remove(client)

    class Literals(PythonTranslator):
        @classmethod
        def translate(cls, val):
            return repr(val)  # papermill's own turns a tuple into a string

    logger = logging.getLogger("papermill")
    logger.setLevel(logging.CRITICAL)  # errors come back as return values
    papermill_engines.register("rrmlab", OwnEngine)
    papermill_translators.register("python", Literals)


# ---- what may stay in a notebook ----------------------------------------------------------------------------------------


class Scrubber:
    """Replaces this machine's folders in text: the run's folder by '..', as the notebook sees it, the others by a name."""

    def __init__(self, out: Path, root: Path):
        names = {
            str(out): "..",
            str(root): "<repository>",
            sys.prefix: "<environment>",
            sys.base_prefix: "<python>",
            tempfile.gettempdir(): "<tmp>",
            str(Path.home()): "~",
        }
        both = {k: v for path, v in reversed(names.items()) for k in (os.path.realpath(path), path) if len(Path(k).parts) > 1}
        longest = sorted(both, key=len, reverse=True)
        self.names = both
        self.pattern = re.compile("(" + "|".join(map(re.escape, longest)) + r")(?![\w.-])")

    def __call__(self, text: str) -> str:
        return re.sub(r"\bat 0x[0-9a-f]{6,}", "at 0x...", self.pattern.sub(lambda m: self.names[m[1]], text))


def clean(node, name: str, scrub: Scrubber):
    """Leaves of an executed notebook what its source and its results say: no times, paths, versions or random names."""
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    keep = {k: node.metadata[k] for k in ("rrmlab",) if k in node.metadata}
    node.metadata = {"jupytext": {"formats": "ipynb,py:percent"}, "kernelspec": kernel, **keep}
    node.metadata["language_info"] = {"name": "python"}
    for index, cell in enumerate(node.cells):
        cell.id = f"{name[:2]}-{index:02d}"
        cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags" and v}
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = scrub(output.text)
            if output.output_type == "error":
                output.evalue = scrub(output.evalue)
                output.traceback = [scrub(ANSI.sub("", line)) for line in output.traceback]
            for mime, data in list(output.get("data", {}).items()):
                if mime.startswith("application/vnd.jupyter.widget"):
                    del output.data[mime]  # points to a model that is gone with the kernel
                elif isinstance(data, str) and (mime.startswith("text/") or mime == "image/svg+xml"):
                    output.data[mime] = scrub(data)
    return node


def dump(node) -> str:
    """The notebook as the text of an .ipynb file."""
    import nbformat

    node = nbformat.from_dict(json.loads(json.dumps(node)))
    nbformat.validate(node)
    return nbformat.writes(node, indent=1, ensure_ascii=False) + "\n"


def write(path: Path, text: str) -> None:
    """Writes `text` so that `path` holds either all of it or what it held before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
