"""Runs stored once under a name made of their content: what was asked and the code that computes it.

A run is a folder `data/<kind>/<name>/` with spec.json, its arrays, its policies and SHA256SUMS. Asked for again, it is
loaded; asked for with other code, data or numbers, it has another name.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import save as to_safetensors
from safetensors.torch import load

from ..agents.policy import Policy
from ..game.evaluation import Scores
from ..locks import lock
from ..storage import CorruptFileError, listed, new_folder, reading, tidy, verify
from .fingerprint import code_fingerprint


@dataclass(frozen=True)
class Result:
    """A stored run.

    Attributes:
        arrays: by name; `rates` (S, D, J) in bit/s/Hz, `rewards` (S, D), `seconds` of computing (of a training that was
            interrupted: since it went on); where users come and leave also `presence` (D, J), see `Scores`.
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
    def presence(self) -> np.ndarray | None:
        return self.arrays.get("presence")

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
    it is removed when the run is complete. A damaged run is not deleted: it is moved to `<name>.damaged.<number>`.

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
        verify(folder, "spec.json")
        if any(folder.parent.glob(f".{folder.name}.*")):  # one was killed after all was done but this
            tidy(folder)
            shutil.rmtree(checkpoint, ignore_errors=True)
        return folder
    with lock(folder):
        try:
            return verify(folder, "spec.json")  # another process was making it
        except FileNotFoundError:
            pass
        except CorruptFileError as error:
            damaged = folder.with_name(f"{folder.name}.damaged.{uuid.uuid4().hex[:8]}")
            print(f"making it again: {error}; what is there is moved to {damaged.name}")
            folder.rename(damaged)
        trained = () if train is None else (train(checkpoint),)
        with new_folder(folder, "arrays.safetensors") as beside:
            build(beside, *trained)
            (beside / "spec.json").write_text(text)
        shutil.rmtree(checkpoint, ignore_errors=True)
    return folder


def score_result(folder: Path, scores: Sequence[Scores], seconds: float, policies: Sequence[Policy] = ()) -> None:
    """Write the scores of a run, one per training seed, and its policies."""
    arrays = {"rates": np.stack([s.rates for s in scores]), "rewards": np.stack([s.rewards for s in scores])}
    if scores[0].presence is not None:
        arrays["presence"] = scores[0].presence
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
    folder = verify(folder, "arrays.safetensors", "spec.json")
    file = folder / "arrays.safetensors"
    with reading(file):
        arrays = {name: tensor.numpy() for name, tensor in load(file.read_bytes()).items()}
        if arrays.keys() - {"presence"} != {"rates", "rewards", "seconds"}:
            raise ValueError(f"it has {', '.join(sorted(arrays))} where rates, rewards, seconds are wanted")
        shapes = {name: values.shape for name, values in arrays.items()}
        if len(shapes["rates"]) != 3 or shapes["rewards"] != shapes["rates"][:2] or shapes["seconds"] != ():
            raise ValueError(f"its arrays do not fit each other: {shapes}")
        if shapes.get("presence", shapes["rates"][1:]) != shapes["rates"][1:]:
            raise ValueError(f"its arrays do not fit each other: {shapes}")
        for name, values in arrays.items():
            if values.dtype.kind != "f" or not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite floating-point numbers")
    names = {name.split("/")[0].removeprefix("policy_") for name in listed(folder) if name.startswith("policy_")}
    if not all(name.isdecimal() for name in names):
        raise CorruptFileError(f"{folder} is not what rrmlab writes (a policy's name does not end in its seed)")
    policies = [Policy.load(folder / f"policy_{name}") for name in sorted(names, key=int)]
    if len(policies) not in (0, len(arrays["rates"])):
        raise CorruptFileError(f"{file} has the rates of {len(arrays['rates'])} seeds beside {len(policies)} policies")
    return Result(arrays, policies, folder)


def read_table(file: Path, **options: Any) -> pd.DataFrame:
    """The table in a CSV file, with options of `pandas.read_csv`; CorruptFileError if it is none."""
    with reading(file):
        return pd.read_csv(file, **options)
