"""Imports run one way: a room imports only from rooms below it, and no modules import each other in a circle."""

import ast
from pathlib import Path

import pytest

import rrmlab

PACKAGE = Path(rrmlab.__file__).parent
# From the lowest floor up; rooms of one floor do not import each other.
FLOORS = (
    ("checks", "config", "random_streams", "locks", "storage", "memory"),
    ("game",),
    ("agents",),
    ("learning",),
    ("network_map",),
    ("interop", "joint_env", "with_d3rlpy"),
    ("study", "bench"),
    ("command",),
)
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
CORE = ("checks", "config", "random_streams", "locks", "storage", "memory", "game", "agents", "learning")


def imports(path: Path, package: Path) -> list[tuple[int, str]]:
    """Every import of the package's own modules in a file, wherever it stands: (line, module below the package)."""
    found = []
    inside = path.relative_to(package).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name.split(".")[1:]) for a in node.names if a.name.split(".")[0] == package.name]
        elif isinstance(node, ast.ImportFrom):
            named = (node.module or "").split(".") if node.module else []
            if node.level:
                base = [*inside[: len(inside) - node.level + 1], *named]
            elif named[:1] == [package.name]:
                base = named[1:]
            else:
                continue
            for alias in node.names:
                whole = package.joinpath(*base, alias.name)
                is_module = whole.with_suffix(".py").is_file() or (whole / "__init__.py").is_file()
                found.append((node.lineno, [*base, alias.name] if is_module else base))
    return [(line, ".".join(parts)) for line, parts in found]


def problems(package: Path) -> list[str]:
    """What breaks the rule, each with its file and line."""
    found, edges = [], {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name, room = ".".join(parts), parts[0]
        if name == "__init__":
            continue  # the public names
        if room not in FLOOR:
            found.append(f"{path.name}: rrmlab/{room} is no room of the plan")
            continue
        edges[name] = set()
        for line, module in imports(path, package):
            other = module.split(".")[0]
            where = f"rrmlab/{path.relative_to(package)}:{line}"
            if not module:  # the package itself, whose public names come from every room
                if room != "command":
                    found.append(f"{where} imports the package's public names, which come from above")
            elif other != room and FLOOR[other] >= FLOOR[room] and (FLOOR[room] or FLOOR[other]):
                found.append(f"{where}: {room} imports {module}, which is not below it")
            edges[name].add(module)
    return found + [f"circle of imports: {' > '.join(circle)}" for circle in circles(edges)]


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    found, done = [], set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            found.append([*path[path.index(name) :], name])
        elif name not in done:
            for other in sorted(edges.get(name, ())):
                visit(other, [*path, name])
            done.add(name)

    for name in sorted(edges):
        visit(name, [])
    return found


def test_imports_run_one_way():
    assert problems(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("game/radio.py", "from ..agents.losses import taken", "game imports agents.losses"),
        ("game/views.py", "from .env import RRMEnv", "circle of imports: game."),
        ("agents/losses.py", "from rrmlab import study", "agents imports study"),
        ("study/tables.py", "import rrmlab.bench.measure", "study imports bench.measure"),
        ("learning/offline.py", "def f():\n    from ..study import tables", "learning imports study.tables"),
        ("study/tables.py", "from rrmlab import collect", "the package's public names"),
        ("checks.py", "from .config import NetworkConfig", "circle of imports: config > checks > config"),
        ("other/new.py", "", "rrmlab/other is no room"),
    ],
)
def test_what_breaks_the_rule_is_named_with_its_line(tmp_path, file, line, message):
    package = tmp_path / "rrmlab"
    for path in PACKAGE.rglob("*.py"):
        copy = package / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    broken = package / file
    broken.parent.mkdir(exist_ok=True)
    text = broken.read_text() if broken.exists() else ""
    broken.write_text(text + f"\n{line}\n")
    found = problems(package)
    assert any(message in problem for problem in found), found
    if "circle" not in message and line:
        number = len(text.splitlines()) + 2 + line.count("\n")
        assert f"rrmlab/{file}:{number}" in found[0]


def test_sizes():
    """A newcomer reads three rooms and what lies beneath them, each file from top to bottom."""
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert [f"{path.relative_to(PACKAGE)}: {num} lines" for path, num in lines.items() if num > 300] == []
    core = [path for path in lines if path.relative_to(PACKAGE).with_suffix("").parts[0] in CORE]
    # A fence, not a target: what is added to the core is seen here. Docstrings do not count.
    assert sum(lines[path] - documentation(path) for path in core) <= 6_040


def documentation(path: Path) -> int:
    """Lines of docstrings: what explains the code does not count against it."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    texts = [n.body[0] for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, kinds)
             and ast.get_docstring(n)]  # fmt: skip
    return sum(text.end_lineno - text.lineno + 1 for text in texts)
