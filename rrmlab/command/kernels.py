"""Running notebooks in kernels of this interpreter, and cleaning what comes out of them.

A notebook runs in `<out>/notebooks` and addresses everything else from there: `../figures`, `../data`.
While it runs unattended, its environment has `RRMLAB_BATCH=1`, and `RRMLAB_OUT` with the folder of its results.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import re
import signal
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..storage import new_file

EMPTY = "get_ipython().reset(new_session=True)"  # no variables, cells counted from 1
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Kernels:
    """Runs notebooks from any number of threads; `stop` ends all kernels.

    Each notebook gets a new kernel. With `keep`, each thread keeps one for all of its notebooks, emptied between them:
    to draw from tables takes little longer than the imports. For notebooks that compute it would not do, since memory
    and random generators are not those of a new process.
    """

    def __init__(self, environment: dict[str, str], keep: bool = False) -> None:
        batch = {
            "RRMLAB_BATCH": "1",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger's warning would open every log
            "SOURCE_DATE_EPOCH": "0",  # no dates in PDF files: the same figure is the same file
        }
        self.environment = os.environ | batch | environment
        self.keep = keep
        self.kept = threading.local()
        self.stopped = threading.Event()
        self.managers: list[Any] = []

    def run(self, node: Any, cwd: Path, log: Path, parameters: dict[str, object] | None = None) -> tuple[Any, str]:
        """Executes a copy of `node` in `cwd`, with all that it prints in `log`: (executed copy, error or '').

        Every error of the notebook is returned, none raised. The kernel is this interpreter's, whatever
        kernels the user has installed. One that does not come up is tried a second time: ports collide.
        """
        from papermill.exceptions import PapermillExecutionError

        job = _Job(self, cwd, node)
        with open(log, "a", encoding="utf-8", buffering=1) as job.log:
            job.log.truncate(0)  # opened to append, since the kernel's own messages go here too
            for _ in range(2):
                error = ""
                try:
                    _papermill(node, parameters, job)
                except PapermillExecutionError as failure:
                    error = f"{failure.ename}: {ANSI.sub('', failure.evalue)}".strip()
                    job.log.write("\n" + ANSI.sub("", "\n".join(failure.traceback)) + "\n")
                except Exception as failure:
                    error = f"{type(failure).__name__}: {failure}".strip()
                    if error.startswith("DeadKernelError"):
                        error = "the kernel died (out of memory?)"
                    job.log.write(f"\n{error}\n")
                if not error or job.began or self.stopped.is_set():
                    break
        return job.node, error

    def stop(self) -> None:
        """Ends all kernels with all that they started (each is the head of its own process group)."""
        self.stopped.set()
        for manager in list(self.managers):
            if group := getattr(manager.provisioner, "pgid", None):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
            manager.cleanup_connection_file()


@dataclass
class _Job:
    """What one execution shares with the papermill engine below."""

    kernels: Kernels
    cwd: Path
    node: object
    log: IO[str] | None = None
    began: bool = False


def _papermill(node: Any, parameters: dict[str, object] | None, job: _Job) -> None:
    import papermill

    _teach_papermill()
    papermill.execute_notebook(
        node,
        output_path=None,
        parameters=parameters,
        engine_name="rrmlab",
        kernel_name="python3",
        language="python",
        progress_bar=False,
        job=job,
    )


@functools.cache
def _teach_papermill() -> None:
    """Registers an engine that starts this interpreter's kernel where we say, and parameters by `repr`."""
    import zmq
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines
    from papermill.translators import PythonTranslator, papermill_translators

    logger = logging.getLogger("papermill")
    logger.setLevel(logging.CRITICAL)  # errors come back as return values

    class OwnKernel(AsyncKernelManager):
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])  # none installed: ipykernel's own, with sys.executable

        def _transport_encryption_default(self) -> str:  # where it can be had: others may share the machine
            return "auto" if zmq.has("curve") else "disabled"

    class OwnEngine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, *, job: _Job, **_: Any) -> None:
            def begin(**_: Any) -> None:
                job.began = True
                if job.kernels.stopped.is_set():
                    raise RuntimeError("interrupted")

            kernels = job.kernels
            manager = kernels.kept.__dict__.pop("manager", None)
            if manager is None:
                manager = OwnKernel(kernel_name=kernel_name)
                kernels.managers.append(manager)
            client = PapermillNotebookClient(
                nb_man,
                km=manager,
                log=logger,
                stdout_file=job.log,
                stderr_file=job.log,
                startup_timeout=120,
                iopub_timeout=120,
                record_timing=False,
                store_widget_state=False,
                on_cell_execute=begin,
            )
            job.node = nb_man.nb
            where = {"cwd": str(job.cwd), "env": kernels.environment, "stdout": job.log, "stderr": job.log}
            try:
                client.execute(cleanup_kc=not kernels.keep, **where)
            finally:
                if not kernels.keep:
                    kernels.managers.remove(manager)
            if kernels.keep:
                client.wait_for_reply(client.kc.execute(EMPTY, silent=True))
                client.kc.stop_channels()
                kernels.kept.manager = manager

    class Literals(PythonTranslator):
        @classmethod
        def translate(cls, val: Any) -> str:
            return repr(val)  # papermill's own turns a tuple into a string

    papermill_engines.register("rrmlab", OwnEngine)
    papermill_translators.register("python", Literals)


# ---- what may stay in a notebook ----


class Scrubber:
    """Replaces this machine's folders in text: the run's folder by '..', as the notebook sees it."""

    def __init__(self, out: Path, root: Path):
        folders = {
            tempfile.gettempdir(): "[tmp]",
            os.path.expanduser("~"): "~",  # as it is where there is no home folder
            sys.base_prefix: "[python]",
            sys.prefix: "[environment]",
            str(root): "[repository]",
            str(out): "..",
        }  # a later one wins where two are the same
        self.names = {os.path.realpath(k): v for k, v in folders.items()} | folders
        self.names = {k: v for k, v in self.names.items() if len(Path(k).parts) > 1}
        self.cell = re.compile(re.escape(tempfile.gettempdir()) + r"/ipykernel_\d+/\d+\.py")
        longest = sorted(self.names, key=len, reverse=True)
        self.pattern = re.compile("(" + "|".join(map(re.escape, longest)) + r")(?![\w-])")

    def __call__(self, text: str) -> str:
        # The look-behind keeps this linear: without it every place of a long word is tried as a start.
        text = re.sub(r"(?<![^\s\"'(])[^\s\"'(]*/ipykernel_\d+/\d+\.py", "[cell]", text)
        text = re.sub(r"\bat 0x[0-9a-f]{6,}", "at 0x...", text)
        return self.pattern.sub(lambda match: self.names[match[1]], text)


def clean(node: Any, name: str, scrub: Scrubber) -> Any:
    """Leaves in an executed notebook what it says and shows: no times, paths, versions or random names."""
    metadata = {
        # As [tool.jupytext] in pyproject.toml has it, or jupytext would add it when it syncs the pair.
        "jupytext": {"cell_metadata_filter": "tags,-all", "notebook_metadata_filter": "kernelspec,rrmlab,-all"},
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    node.metadata = metadata | {k: v for k, v in node.metadata.items() if k == "rrmlab"}
    for index, cell in enumerate(node.cells):
        cell.id = f"{name[:2]}-{index:02d}"
        # The number of blank lines is what jupytext keeps there: with it a pair is in step to the byte.
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in ("tags", "lines_to_next_cell") and v}
        if "outputs" in cell:
            cell.outputs = _merge_streams(cell.outputs)
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = scrub(output.text)
            if output.output_type == "error":
                output.evalue = scrub(output.evalue)
                output.traceback = [scrub(ANSI.sub("", line)) for line in output.traceback]
            for mime, data in list(output.get("data", {}).items()):
                if mime.startswith("application/vnd.jupyter.widget"):
                    del output.data[mime]  # it points to a model that went with the kernel
                elif isinstance(data, str) and (mime.startswith("text/") or mime == "image/svg+xml"):
                    output.data[mime] = scrub(data)
    return node


def _merge_streams(outputs: list[Any]) -> list[Any]:
    """One stdout and one stderr a cell, in that order where they touch, as a terminal would show them at the end.

    How a kernel cuts its streams into messages, and which stream comes first, differs from run to run.
    """
    merged: list[Any] = []
    streams: dict[str, Any] = {}
    for output in outputs:
        if output.output_type != "stream":
            merged.append(output)
        elif output.name in streams:
            streams[output.name].text += output.text
        else:
            streams[output.name] = output
            merged.append(output)
    for output in streams.values():  # a carriage return starts the line again: progress bars
        lines = output.text.split("\n")
        output.text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
    names = [output.get("name") for output in merged]
    for i in range(len(names) - 1):
        if names[i : i + 2] == ["stderr", "stdout"]:
            merged[i : i + 2] = merged[i + 1], merged[i]
    return merged


def dump(node: Any) -> str:
    """The notebook as the text of an .ipynb file."""
    import nbformat

    node = nbformat.from_dict(json.loads(json.dumps(node)))
    nbformat.validate(node)
    return nbformat.writes(node) + "\n"


def write(path: Path, text: str) -> None:
    """Writes `text` so that `path` holds either all of it or what it held before."""
    with new_file(path) as beside:
        beside.write_text(text, encoding="utf-8")
