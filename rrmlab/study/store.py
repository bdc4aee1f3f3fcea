"""Runs stored once under a name made of their content: what was asked and the code that computes it.

A run is a folder `data/<kind>/<key>/` with spec.json, its arrays, its policies and SHA256SUMS. Asked again, it is
loaded; asked of other code, data or numbers, it has another key.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from safetensors.numpy import save as to_safetensors

from ..agents.policy import Policy
from ..game.evaluation import Scores
from ..storage import CorruptFileError, lock, new_folder, reading, tidy, verify

# Modules that draw, describe or start: what they decide is said in a run's spec. All others count for its name.
_NOT_NUMERIC = ("command/", "bench/", "storage.py", "interop.py", "study/figures/") + tuple(
    f"study/{name}.py" for name in ("notebook", "methods", "tuning", "logs", "tables", "claims", "plotting", "explore")
)


@dataclass(frozen=True)
class Result:
    """A stored run.

    Attributes:
        arrays: by name; `rates` (S, D, J) in bit/s/Hz, `rewards` (S, D), `seconds` of computing (of a training that was
            interrupted: since it went on).
        policies: one per training seed; empty for schedulers.
        folder: where it lies.
    """

    arrays: dict[str, np.ndarray]
    policies: list[Policy]
    folder: Path

    @property
    def rates(self) -> np.ndarray:
        return self.arrays["rates"]

    @property
    def seconds(self) -> float:
        return float(self.arrays["seconds"])


@functools.cache
def code_fingerprint() -> str:
    """Digest of the package's code that decides numbers; comments, docstrings and layout do not count."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).as_posix().startswith(_NOT_NUMERIC):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if (
                isinstance(body, list)
                and body
                and isinstance(body[0], ast.Expr)
                and isinstance(body[0].value, ast.Constant)
            ):
                body.pop(0)
        digest.update(f"{path.relative_to(root)} {ast.dump(tree)}".encode())
    return digest.hexdigest()


def stored(
    root: Path,
    kind: str,
    spec: dict[str, Any],
    build: Callable[..., None],
    train: Callable[[Path], Any] | None = None,
) -> Path:
    """The folder of a run, built first if it is not there or damaged; once, where several processes ask for it at once.

    A training that was killed goes on from its checkpoint, in the hidden folder `.<name>.checkpoint` beside the run's;
    it is removed when the run is complete.

    Args:
        root: the data folder.
        kind: subfolder.
        spec: plain values that say what is asked; they and the code's fingerprint make the name.
        build: fills a folder with the results; it is given what `train` returned, if there is one.
        train: a training before it, that keeps its checkpoint in a given folder.
    """
    text = json.dumps({**spec, "code": code_fingerprint()}, sort_keys=True, indent=1)
    folder = Path(root) / kind / hashlib.sha256(text.encode()).hexdigest()[:16]
    checkpoint = folder.with_name(f".{folder.name}.checkpoint")
    with suppress(FileNotFoundError, CorruptFileError):
        verify(folder)
        if any(folder.parent.glob(f".{folder.name}.*")):  # one was killed after all was done but this
            tidy(folder)
            shutil.rmtree(checkpoint, ignore_errors=True)
        return folder
    with lock(folder):
        try:
            return verify(folder)  # another process was making it
        except FileNotFoundError:
            pass
        except CorruptFileError as error:
            print(f"making it again: {error}")
            shutil.rmtree(folder)
        trained = () if train is None else (train(checkpoint),)
        with new_folder(folder) as beside:
            build(beside, *trained)
            (beside / "spec.json").write_text(text)
        shutil.rmtree(checkpoint, ignore_errors=True)
    return folder


def score_result(folder: Path, scores: Sequence[Scores], seconds: float, policies: Sequence[Policy] = ()) -> None:
    """Write the scores of a run, one per training seed, and its policies."""
    arrays = {"rates": np.stack([s.rates for s in scores]), "rewards": np.stack([s.rewards for s in scores])}
    # safetensors writes the memory as it lies and reads it in C order; scores come with the environments last.
    arrays = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    arrays["seconds"] = np.array(float(seconds))
    (folder / "arrays.safetensors").write_bytes(to_safetensors(arrays))
    for policy in policies:
        policy.save(folder / f"policy_{policy.seed}")


def read_result(folder: Path) -> Result:
    """Load what `score_result` wrote, after checking it against its SHA256SUMS; then what it holds is checked.

    Raises:
        FileNotFoundError: no such folder.
        CorruptFileError: a file is missing or was changed, or does not hold what a result holds.
    """
    folder = verify(folder)
    file = folder / "arrays.safetensors"
    with reading(file):
        arrays = load_file(file)
        if arrays.keys() != {"rates", "rewards", "seconds"}:
            raise ValueError(f"it has {', '.join(sorted(arrays))} where rates, rewards, seconds are wanted")
        shapes = {name: values.shape for name, values in arrays.items()}
        if len(shapes["rates"]) != 3 or shapes["rewards"] != shapes["rates"][:2] or shapes["seconds"] != ():
            raise ValueError(f"its arrays do not fit each other: {shapes}")
        for name, values in arrays.items():
            if values.dtype.kind != "f" or not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite floating-point numbers")
    paths = list(folder.glob("policy_*"))
    if not all(path.name.removeprefix("policy_").isdecimal() for path in paths):
        raise CorruptFileError(f"{folder} is not what rrmlab writes (a policy's name does not end in its seed)")
    policies = [Policy.load(path) for path in sorted(paths, key=lambda p: int(p.name.removeprefix("policy_")))]
    if len(policies) not in (0, len(arrays["rates"])):
        raise CorruptFileError(f"{file} has the rates of {len(arrays['rates'])} seeds beside {len(policies)} policies")
    return Result(arrays, policies, folder)
