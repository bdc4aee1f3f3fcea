"""Interrupted training goes on where it last saved: all that decides the next update, in one folder.

A checkpoint belongs to one training, told by its facts (what is trained, on what, with which seeds): another training
refuses it. Numbers are stored as they are, so that what follows is bit for bit what would have followed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from .storage import new_folder, read_json, reading, verify


def digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of the tensors' numbers."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
        total.update(tensor.cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def save(path: Path, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write a checkpoint; it takes the place of the last one as a whole."""
    with new_folder(path) as folder:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / "state")
        (folder / "facts.json").write_text(json.dumps(facts, sort_keys=True))


def load(path: Path, facts: dict[str, Any]) -> dict[str, Tensor] | None:
    """The tensors of the checkpoint of this training, or None if there is none yet.

    Raises:
        CorruptFileError: it was changed since, or does not hold what a checkpoint holds.
        ValueError: it belongs to another training.
    """
    if path.is_dir() and not any(path.iterdir()):  # made for it beforehand
        return None
    try:
        folder = verify(path)
    except FileNotFoundError:
        return None
    found = read_json(folder / "facts.json")
    wanted = json.loads(json.dumps(facts))
    different = sorted(name for name in found | wanted if found.get(name) != wanted.get(name))
    if different:
        raise ValueError(
            f"checkpoint = {path}: of another training, it differs in {', '.join(different)}; "
            "name another folder, or delete it"
        )
    with reading(folder / "state"):
        return load_file(folder / "state")
