"""Notebooks as sources: finding the percent scripts, what they declare, and the values that a run gives them.

`notebooks/NN_slug.py` (jupytext percent) is the source. Its header may declare, under `jupyter:`,

    rrmlab:
      needs:
      - 03_datasets       # notebooks whose results this one reads
      makes:
      - data/datasets     # what others read beside figures/ (paths from the run's folder)

and exactly one cell, tagged `parameters`, holds `name = literal` lines, `preset` and `recompute` among them.
"""

from __future__ import annotations

import ast
import difflib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..study.fingerprint import sources_digest
from ..study.places import find_repository

PACKAGE = Path(__file__).resolve().parents[1]
GIVEN = {"preset": "it is set by --preset", "recompute": "it is always True in a run"}


class UserError(Exception):
    """A mistake in what was asked for or in a notebook's source; its message is one line, printed before any work."""


@dataclass(frozen=True)
class Notebook:
    """One percent script. `needs` are names of earlier notebooks, `makes` paths from the run's folder."""

    name: str
    path: Path
    parameters: dict[str, object]
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()

    @property
    def number(self) -> str:
        return self.name[:2]


# ---- finding and reading ----


def find_root() -> Path:
    """The repository: the nearest folder above the current one (else above the package) that is rrmlab's."""
    root = find_repository(Path.cwd(), PACKAGE.parent)
    if root is None:
        raise UserError(
            "no rrmlab repository here or above; go into a clone of it (it holds notebooks/ and pyproject.toml)"
        )
    return root


def check_package(root: Path) -> None:
    """UserError if the repository holds another rrmlab than the one that runs, with which its notebooks would run."""
    own = root / "rrmlab"
    if own.is_dir() and sources_digest(own) != sources_digest(PACKAGE):
        raise UserError(
            f"the rrmlab that runs is {PACKAGE}, which differs from {own}: go into its clone, or install this one "
            f"(pip install -e {root})"
        )


def load(path: Path) -> Any:
    """The percent script `path` as an nbformat notebook."""
    import jupytext

    try:
        return jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    except Exception as error:
        raise UserError(f"{path.name} cannot be read as a percent script: {error}") from error


def read_all(root: Path) -> list[Notebook]:
    """All `notebooks/NN_slug.py` in order. UserError on a number used twice or a need that comes later."""
    found: list[Notebook] = []
    for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.py")):
        node, name = load(path), path.stem
        if found and found[-1].number == name[:2]:
            raise UserError(f"notebooks {found[-1].name} and {name} share the number {name[:2]}")
        header = node.metadata.get("rrmlab", {})
        needs = tuple(_match(str(need), found, f"the needs of {name}") for need in header.get("needs", []))
        found.append(Notebook(name, path, _literals(node, name), needs, tuple(header.get("makes", []))))
    if not found:
        raise UserError(f"{root / 'notebooks'} holds no NN_slug.py")
    return found


def _literals(node: Any, name: str) -> dict[str, object]:
    """Name -> default from the cell tagged `parameters`. UserError unless there is one, of literals only."""
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
        raise UserError(f"the parameters cell of {name} holds more than literals: {error}") from error
    if missing := sorted(GIVEN.keys() - values.keys()):
        raise UserError(f"the parameters cell of {name} lacks {', '.join(missing)}")
    return values


def _match(wanted: str, notebooks: list[Notebook], where: str) -> str:
    """The name of the notebook called `wanted`: '3', '03', '03_datasets' or '03_datasets.py'."""
    key = Path(wanted).stem
    for n in notebooks:
        if key == n.name or (key.isdigit() and key.zfill(2) == n.number):
            return n.name
    there = ", ".join(n.name for n in notebooks) or "none"
    raise UserError(f"unknown notebook '{wanted}' in {where}; there are: {there}")


def select(notebooks: list[Notebook], wanted: list[str]) -> list[Notebook]:
    """The notebooks named in `wanted` (all, if empty), in their order."""
    names = {_match(w, notebooks, "the command") for w in wanted}
    return [n for n in notebooks if not wanted or n.name in names]


# ---- parameters ----


def assign(notebooks: list[Notebook], pairs: list[tuple[str, str]]) -> dict[str, dict[str, object]]:
    """Notebook name -> the values of `-p name value` for it. UserError on an unknown name or a wrong type."""
    values: dict[str, dict[str, object]] = {n.name: {} for n in notebooks}
    for name, text in pairs:
        if name in GIVEN:
            raise UserError(f"parameter '{name}' cannot be given with -p: {GIVEN[name]}")
        takers = [n for n in notebooks if name in n.parameters]
        if not takers:
            raise UserError(_unknown(name, notebooks))
        for n in takers:
            if name in values[n.name]:
                raise UserError(f"parameter '{name}' is given twice")
            values[n.name][name] = _convert(text, n.parameters[name], f"parameter '{name}' of {n.name}")
    return values


def _unknown(name: str, notebooks: list[Notebook]) -> str:
    valid = {n.name: sorted(n.parameters.keys() - GIVEN.keys()) for n in notebooks}
    close = difflib.get_close_matches(name, {p for names in valid.values() for p in names}, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    per_notebook = "; ".join(f"{n}: {', '.join(names) or 'none'}" for n, names in valid.items())
    return f"unknown parameter '{name}'{hint}; there are, by notebook: {per_notebook}"


def _convert(text: str, default: object, what: str) -> object:
    """`text` as a literal of the type of `default`; a default of None takes any."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # all that it may raise
        value = text
    if isinstance(default, str):
        return value if isinstance(value, str) else text
    try:
        return _fit(value, default)
    except TypeError:
        kind = type(default).__name__
        if isinstance(default, list | tuple) and default:
            kind += f" of {type(default[0]).__name__}"
        raise UserError(f"{what} takes {kind}, such as its default {default!r}, not {text!r}") from None


def _fit(value: object, default: object) -> object:
    """`value` in the type of `default`: an int passes for a float, a list for a tuple; else TypeError."""
    if isinstance(default, list | tuple) and isinstance(value, list | tuple):
        return type(default)(_fit(v, default[0]) if default else v for v in value)
    if type(default) is float and type(value) is int:
        return float(value)
    if default is not None and type(value) is not type(default):
        raise TypeError
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError  # infinity and NaN have no literal to inject
    return value
