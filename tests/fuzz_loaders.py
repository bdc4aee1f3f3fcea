"""Fuzzing of all that reads what others wrote or typed: `python tests/fuzz_loaders.py TARGET -runs=10000 -seed=1`.

A target takes bytes, makes of them a damaged file (with the right checksums), a config or a command, and raises only
what is no documented answer. With atheris (the extra `soak`) the bytes are led by the coverage of rrmlab's code;
test_fuzz.py also calls the targets with random ones.
"""

import atexit
import contextlib
import hashlib
import io
import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

if __name__ == "__main__":
    import atheris

    instrumented = atheris.instrument_imports(include=["rrmlab", "argparse"])
else:
    instrumented = contextlib.nullcontext()

with instrumented:
    from rrmlab import AgentConfig, NetworkConfig, Policy, collect, load_dataset, make_scheduler, train_offline
    from rrmlab.command.main import parser
    from rrmlab.command.notebooks import Notebook, UserError, assign
    from rrmlab.game.evaluation import Scores
    from rrmlab.learning import progress as training
    from rrmlab.storage import SUMS, CorruptFileError, new_folder
    from rrmlab.study.store import read_result, score_result

import fuzz_tables
import numpy as np

NETWORK = NetworkConfig(num_aps=2, num_users=4, top_n=2, episode_ttis=3, warmup_ttis=2)
AGENT = AgentConfig(hidden=(4,), batch_size=4, num_updates=2)
FACTS = {"agent": AGENT.to_dict()}
SLIPS = [None, True, -1, 0, 1, 2, 0.5, 10**9, 2**70, float("nan"), float("inf"), "", "x", [], [1], {}, {"x": 1}]
WORDS = [
    "reproduce",
    "figures",
    "check",
    "-p",
    "seed",
    "rates",
    "--preset",
    "smoke",
    "--jobs",
    "--out",
]  # below 10, "\n"
NOTEBOOKS = [Notebook("01_a", Path("01_a.py"), {"preset": "paper", "recompute": False, "seed": 0, "rates": [0.5]})]


def make(root: Path) -> None:
    """One of each that is stored."""
    data = collect(make_scheduler("random_walk"), NETWORK, 5)
    policies = train_offline(data, AGENT, [0, 1], progress=False)
    data.save(root / "dataset-v0")
    policies[0].save(root / "policy")
    rng = np.random.default_rng(0)
    scores = [Scores.of(rng.random((3, 4)), rng.random(3), 3.0) for _ in policies]
    with new_folder(root / "result") as folder:
        score_result(folder, scores, 1.5, policies)
    training.save_checkpoint(root / "training", FACTS, {"done": policies[0].tensors["obs_mean"]})


def root() -> Path:
    """Where they are, made when first asked for."""
    if not hasattr(root, "folder"):
        root.folder = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, root.folder, ignore_errors=True)
        make(root.folder)
        root.files = {f: f.read_bytes() for f in sorted(root.folder.rglob("*")) if f.is_file()}
    return root.folder


def leaves(value, place=()):
    """The places of all values in nested dicts and lists, their containers among them."""
    yield place
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from leaves(part, (*place, key))


def with_slip(value, data: bytes):
    """A copy of nested dicts and lists in which the value at one place is a wrong one."""
    places = list(leaves(value))
    place = places[int.from_bytes(data[:2]) % len(places)]
    slip = SLIPS[data[2] % len(SLIPS)] if len(data) > 2 else None
    if not place:
        return slip
    changed = inner = json.loads(json.dumps(value))
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = slip
    return changed


def damaged(content: bytes, data: bytes) -> bytes:
    """What `data` makes of a file: it replaces it, cuts it, changes a value of its JSON, or single bytes."""
    kind, data = (data[0] % 8, data[1:]) if data else (0, b"")
    if kind == 0 or not content:
        return data
    if kind == 1:
        return content[: int.from_bytes(data[:3]) % len(content)]
    if kind < 5:
        with contextlib.suppress(ValueError):
            return json.dumps(with_slip(json.loads(content), data)).encode()
    changed = bytearray(content)
    for k in range(0, len(data) - 3, 4):
        changed[int.from_bytes(data[k : k + 3]) % len(content)] = data[k + 3]
    return bytes(changed)


def sign(folder: Path) -> None:
    """Make the checksums right for what the folder now holds, inside first."""
    for sums in sorted(folder.rglob(SUMS), key=lambda path: -len(path.parts)):
        files = [f for f in sums.parent.rglob("*") if f.is_file() and f != sums]
        sums.write_text(
            "".join(
                f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(sums.parent).as_posix()}\n"
                for f in files
            )
        )


def reading(kind: str, load) -> None:
    """A target: one file of that folder is damaged, then it is loaded."""

    def target(data: bytes) -> None:
        folder = root() / kind
        files = [f for f in root.files if f.is_relative_to(folder)]
        file = files[data[0] % len(files)] if data else files[0]
        file.write_bytes(damaged(root.files[file], data[1:]))
        if file.name != SUMS:
            sign(folder)
        try:
            load(folder)
        except ValueError as error:  # a slip may put in the name of a part that somebody else has registered
            assert isinstance(error, CorruptFileError) or "is not registered here" in str(error)
            assert str(error).isprintable() and kind in str(error)
        finally:
            for restored in files:
                if restored == file or restored.name == SUMS:
                    restored.write_bytes(root.files[restored])

    return target


def training_checkpoint(folder: Path) -> None:
    try:
        training.load_checkpoint(folder, FACTS)
    except CorruptFileError:
        raise
    except ValueError as error:
        assert str(error).startswith("checkpoint = ") and "of another training" in str(error)


def config(data: bytes) -> None:
    """Either config, from a dict with a slip or from any JSON."""
    cls, plain = ((NetworkConfig, NETWORK), (AgentConfig, AGENT))[bool(data) and data[0] % 2]
    try:
        values = json.loads(damaged(json.dumps(plain.to_dict()).encode(), data[1:]))
    except (ValueError, RecursionError):
        return
    try:
        made = cls.from_dict(values)
    except ValueError as error:
        assert not isinstance(error, UnicodeError) and len(str(error)) > 15
    else:
        assert cls.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def command(data: bytes) -> None:
    """Any arguments, one a line, the usual ones by their number: parsed, then given to notebooks."""
    lines = data.split(b"\n")
    words = [WORDS[line[0]] if len(line) == 1 and line[0] < len(WORDS) else None for line in lines]
    arguments = [word or line.decode("utf-8", "surrogateescape") for word, line in zip(words, lines, strict=True)]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(UserError):
        try:
            args = parser().parse_args(arguments)
        except SystemExit as end:
            assert not end.code  # --help and --version
        else:
            assign(NOTEBOOKS, getattr(args, "parameters", []))


TARGETS = {
    "dataset": reading("dataset-v0", load_dataset),
    "policy": reading("policy", Policy.load),
    "result": reading("result", read_result),
    "training": reading("training", training_checkpoint),
    "config": config,
    "command": command,
    **fuzz_tables.TARGETS,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
