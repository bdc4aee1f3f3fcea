"""The code that computes a run, as a digest of what can be reached by name from the classes and functions that do it.

The package's sources are read, not run. A definition is a function, a class or an assigned name at the top of a module;
it reaches the definitions whose names stand in it, through imports into other modules. So a new scheduler changes the
digest of its own runs and of no others. Comments, docstrings, types of arguments and layout do not count.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import linecache
import platform
import subprocess
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
NOT_NUMERIC = ("storage", "study.fingerprint")  # modules from which no number follows
PACKAGES = (
    "rrmlab", "torch", "numpy", "scipy", "pandas", "matplotlib", "seaborn", "minari", "gymnasium", "safetensors",
)  # fmt: skip
WHOLE = ""  # all names of a module
OTHER = "<module>"  # statements of a module that define no name; they count with every name of it
Definition = tuple[str, str]  # module below the package, such as "game.env", and a name in it


@dataclass
class _Module:
    """One source file: the statements behind each of its names, and what the names that it imports stand for."""

    code: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Definition] = field(default_factory=dict)
    external: dict[str, str] = field(default_factory=dict)


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def sources_digest(package: Path) -> str:
    """Hash over all sources of a package, comments included."""
    total = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".mplstyle")):
        total.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def code_fingerprint(*computed_by: type | Callable[..., Any]) -> str:
    """Digest of the code that the given classes and functions reach.

    A class outside of the package counts with its name, with its file, in a notebook with its cell, with the numbers,
    texts and tuples that its functions take from elsewhere, and with what these use of the package; not with other
    things that they import.
    """
    entries: list[Definition] = []
    texts = []
    for item in computed_by:
        for part in item.__mro__ if isinstance(item, type) else (item,):
            if (module := _inside(part.__module__)) is not None:
                entries.append((module, part.__qualname__.split(".")[0]))
            elif part.__module__ != "builtins" and (text := _own_source(part)) is not None:
                texts.append(text[0])
                entries += text[1]
    return _cached_digest(PACKAGE, tuple(entries), tuple(texts))


def digest(package: Path, entries: Iterable[Definition], texts: Iterable[str] = ()) -> str:
    """Digest of all that entries (definitions of a package) reach, and of further texts.

    Raises:
        ValueError: the package has no such definition.
    """
    lines = sorted(f"{module} {name} {code}" for (module, name), code in _reached(package, entries).items())
    return hashlib.sha256("\n".join([*lines, *sorted(set(texts))]).encode()).hexdigest()


_cached_digest = functools.cache(digest)


def _reached(package: Path, entries: Iterable[Definition]) -> dict[Definition, str]:
    """Every definition that is reached, with its code as text."""
    modules = _modules(package)
    found: dict[Definition, str] = {}
    waiting = list(entries)
    for module, name in waiting:
        if name not in (WHOLE, *modules[module].code, *modules[module].imports):
            raise ValueError(f"{package.name}/{module.replace('.', '/')}.py has no {name}")
    while waiting:
        module, name = waiting.pop()
        source = modules[module]
        if module in NOT_NUMERIC or (module, name) in found:
            continue
        if name == WHOLE:
            found[module, name] = ""
            waiting += [(module, each) for each in (*source.code, *source.imports)]
        elif name in source.code:
            used = sorted({use for statement in source.code[name] for use in _uses(statement)})
            others = [f"{base} is {source.external[base]}" for base, _ in used if base in source.external]
            found[module, name] = " ".join([*map(ast.dump, source.code[name]), *others])
            waiting += [(module, base) for base, _ in used if base in source.code]
            imported = [(source.imports[base], attribute) for base, attribute in used if base in source.imports]
            waiting += [(at, attribute if part == WHOLE else part) for (at, part), attribute in imported]
            waiting += [(module, OTHER)] * (OTHER in source.code)
        elif name in source.imports:  # handed on from where it is defined
            waiting.append(source.imports[name])
    return found


def _uses(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    """The names in a statement, each with the attribute that is taken of it, or WHOLE."""
    with_attribute = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            with_attribute.add(node.value)
            yield node.value.id, node.attr
        elif isinstance(node, ast.Name) and node not in with_attribute:
            yield node.id, WHOLE


@functools.cache
def _modules(package: Path) -> dict[str, _Module]:
    """All modules of a package by their names below it."""
    paths = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: _read(path, package, paths.keys()) for name, path in paths.items()}


def _read(path: Path, package: Path, modules: Iterable[str]) -> _Module:
    tree, found = _parsed(path.read_text(encoding="utf-8")), _Module()
    room = path.relative_to(package).parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.external |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            base = [*room[: len(room) - node.level + 1], *parts] if node.level else parts[1:]
            for alias in node.names:
                name, submodule = alias.asname or alias.name, ".".join([*base, alias.name])
                if not node.level and parts[0] != package.name:
                    found.external[name] = f"{node.module}.{alias.name}"
                else:
                    found.imports[name] = (submodule, WHOLE) if submodule in modules else (".".join(base), alias.name)
    for statement in tree.body:
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            for name in _defined(statement) or [OTHER]:
                found.code.setdefault(name, []).append(statement)
    return found


def _parsed(text: str) -> ast.Module:
    """The syntax tree without docstrings and types of arguments: what is handed over is said by who makes it."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body.pop(0)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return tree


def _defined(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines or changes."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return []


def _inside(module: str) -> str | None:
    """The module's name below the package, or None if it is another's."""
    package, _, name = module.partition(".")
    return name if package == __package__.partition(".")[0] else None


def _own_source(item: type | Callable[..., Any]) -> tuple[str, list[Definition]] | None:
    """Source of the file or cell of a class or function outside of the package, and what it uses of the package."""
    parts = vars(item).values() if isinstance(item, type) else (item,)
    functions = [part for part in parts if isinstance(part, types.FunctionType)]
    if not functions:
        return None
    tree = _parsed("".join(linecache.getlines(functions[0].__code__.co_filename)))
    used = {name for statement in tree.body for name, _ in _uses(statement)}
    entries = []
    for value in (functions[0].__globals__.get(name) for name in sorted(used)):
        if isinstance(value, types.ModuleType) and (module := _inside(value.__name__)) is not None:
            entries.append((module, WHOLE))
        elif isinstance(value, type | types.FunctionType) and (module := _inside(value.__module__)) is not None:
            entries.append((module, value.__qualname__.split(".")[0]))
    return f"{item.__qualname__} {_plain_values(functions)} {ast.dump(tree)}", entries


def _plain_values(functions: Iterable[types.FunctionType]) -> str:
    """The numbers and texts that functions take from their module or from a function around them, by name."""
    found: dict[str, Any] = {}
    for function in functions:
        outside = inspect.getclosurevars(function)
        found |= {**outside.globals, **outside.nonlocals}
    return repr(sorted((name, value) for name, value in found.items() if _is_plain(value)))


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float | str) or (isinstance(value, tuple) and all(map(_is_plain, value)))


def package_commit() -> str:
    """Commit of the package, with "+" where its files were changed since; "" outside a repository."""
    git = ["git", "-C", str(Path(__file__).parents[1])]
    try:
        commit, changed = (
            subprocess.run([*git, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "."])
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + "+" * bool(changed)
