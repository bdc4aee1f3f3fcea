"""The committed .ipynb half of each notebook: written by `rrmlab figures`, verified by `rrmlab check`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ..study.places import FIGURES, FORMAT
from ..study.plotting import WIDTH
from .kernels import ANSI, Kernels, Scrubber, clean, dump, write
from .notebooks import Notebook, UserError, load

MAX_BYTES = 1_000_000
ABSOLUTE = re.compile(r"(?<![\w.~-])/(?:home|root|work|tmp|Users|private|mnt)/\w|\b[A-Z]:\\+Users\b")
AS_READ = {"preset": "paper", "recompute": False}


def not_as_read(notebook: Notebook) -> list[str]:
    """What keeps the notebook, opened and run as it is, from drawing from the committed tables."""
    wrong = [k for k, v in AS_READ.items() if notebook.parameters[k] != v]
    return [f"its source says {k} = {notebook.parameters[k]!r}, it must say {AS_READ[k]!r}" for k in wrong]


def refuse_unread(notebooks: list[Notebook]) -> None:
    """UserError for a notebook that, run as it is, would compute instead of reading the committed tables."""
    for n in notebooks:
        for line in not_as_read(n):
            raise UserError(f"{n.name}: {line}, to draw from the committed tables")


def make_pair(notebook: Notebook, root: Path, kernels: Kernels, keep: bool = True) -> str:
    """Runs the notebook as it is, in notebooks/, and writes its pair if that is to be kept. Returns what went wrong, or
    ''."""
    log = root / "data" / "executed" / f"{notebook.name}.figures.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    scrub = Scrubber(root, root)
    node, error = kernels.run(load(notebook.path), root / "notebooks", log)
    write(log, scrub(log.read_text(encoding="utf-8")))
    if error:
        return scrub(error)
    if not keep:
        return ""
    text = dump(clean(node, notebook.name, scrub))
    if too_big := _too_big(text):
        return f"{too_big}; nothing written"
    write(notebook.path.with_suffix(".ipynb"), text)
    return ""


def elsewhere(root: Path, kind: str | None, width: str | None) -> dict[str, str]:
    """The variables with which notebooks draw in another format or width, into data/figures/; none if none is given."""
    if kind is None and width is None:
        return {}
    asked = {FIGURES: str(root / "data" / "figures")}
    return asked | ({FORMAT: kind} if kind else {}) | ({WIDTH: width} if width else {})


def check(notebooks: list[Notebook], folder: Path) -> list[str]:
    """Everything that is wrong with the pairs, one line each."""
    problems = [f"{n.name}: {line}" for n in notebooks for line in not_as_read(n) + _check_pair(n)]
    names = {n.name for n in notebooks}
    orphans = sorted(p.name for p in folder.glob("*.ipynb") if p.stem not in names)
    return problems + [f"{name}: has no percent script beside it" for name in orphans]


def _check_pair(notebook: Notebook) -> list[str]:
    renew = f"`rrmlab figures {notebook.number}` writes it"
    try:
        text = notebook.path.with_suffix(".ipynb").read_text(encoding="utf-8")
        cells = json.loads(text)["cells"]
    except FileNotFoundError:
        return [f"its .ipynb is missing; {renew}"]
    except (ValueError, KeyError) as error:
        return [f"its .ipynb is not a notebook ({error}); {renew}"]
    problems = [_too_big(text)]
    source, pair = [[_identity(c) for c in half] for half in (load(notebook.path).cells, cells)]
    if source != pair:
        differs = [a != b for a, b in zip(source, pair, strict=False)]
        first = differs.index(True) if any(differs) else len(differs)
        problems.append(f"its .ipynb differs from its source from cell {first} on; {renew}")
    code = [c for c in cells if c["cell_type"] == "code" and "".join(c["source"]).strip()]
    counts = [c.get("execution_count") for c in code]
    results = notebook.path.parents[1] / "figures" / "tables" / f"{notebook.name}.json"
    # What was never run at full size has nothing yet that it could read.
    if counts != list(range(1, len(code) + 1)) and (results.is_file() or any(counts)):
        problems.append(f"its .ipynb was not run once from top to bottom: its cells count {counts}")
    for index, cell in enumerate(cells):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                problems.append(f"cell {index} ends in an error, {output.get('ename')}")
            if found := ABSOLUTE.search(_text(output)):
                line = found.string[found.start() : found.start() + 60].split("\n")[0]
                problems.append(f"cell {index} shows a path of the machine it ran on, {line!r}")
    return [p for p in problems if p]


def _too_big(text: str) -> str:
    size = len(text.encode())
    return f"its .ipynb has {size / 1e6:.2f} MB, at most 1 MB is kept" if size > MAX_BYTES else ""


def _identity(cell: Any) -> tuple[Any, ...]:
    """What both halves of a pair must agree on."""
    tags = tuple(cell["metadata"].get("tags", []))
    return cell["cell_type"], "".join(cell["source"]).rstrip(), tags


def _text(output: Any) -> str:
    """Everything in an output that is text; images are not."""
    parts = [output.get(key, "") for key in ("text", "evalue", "traceback")]
    for mime, data in output.get("data", {}).items():
        if mime.startswith("text/") or mime == "image/svg+xml":
            parts.append(data)
    return ANSI.sub("", "\n".join("".join(part) for part in parts))
