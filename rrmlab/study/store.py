"""Runs stored once under a name made of their content: what was asked and the code that computes it.

A run is a folder `data/<kind>/<name>/` with spec.json, its arrays, its policies and SHA256SUMS. Asked for again, it is
loaded; asked for with other code, data or numbers, it has another name.
"""

from __future__ import annotations

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
from .fingerprint import code_fingerprint


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


def stored(
    root: Path,
    kind: str,
    spec: dict[str, Any],
    code: Sequence[type | Callable[..., Any]],
    build: Callable[..., None],
    train: Callable[[Path], Any] | None = None,
) -> Path:
    """The folder of a run, built first if it is not there or damaged; once, where several processes ask for it at once.

    A training that was killed goes on from its checkpoint, in the hidden folder `.<name>.checkpoint` beside the run's;
    it is removed when the run is complete.

    Args:
        root: the data folder.
        kind: subfolder.
        spec: plain values that say what is asked; they and the fingerprint of `code` make the name.
        code: classes and functions that compute the run, see `code_fingerprint`.
        build: fills a folder with the results; it is given what `train` returned, if there is one.
        train: a training before it, that keeps its checkpoint in a given folder.
    """
    text = json.dumps({**spec, "code": code_fingerprint(*code)}, sort_keys=True, indent=1)
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
