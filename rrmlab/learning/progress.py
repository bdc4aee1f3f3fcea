"""Where a training is: the guard against divergence, its checkpoint; its curves are in `history`.

Shapes: S seeds.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..agents.learner import Learner, Metrics
from ..agents.policy import Policy
from ..agents.scale import Scale
from ..checks import as_path, check_kind, seed_number, several, whole_number
from ..config import NetworkConfig
from ..storage import SUMS, check_replaceable, new_folder, read_json, reading, scratch, verify
from .history import History, whole

FACTS = "facts.json"  # of a checkpoint, what training it is of
CHECKPOINT_UPDATES = 500  # between two savings of an interruptible training: some seconds' work, `study`
LOG_POINTS = 200  # of the loss curves, `study`
GUARD_UPDATES = 50  # between two copies of the parameters, to which a seed that breaks goes back, `study`
Evaluation = Callable[[list[Policy]], list[Any]]  # policies of all seeds -> their Scores


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """The seeds as a list; ValueError if there are none, or one is negative, named twice or not a whole number."""
    seeds = [seed_number(seed, f"seeds[{k}]") for k, seed in enumerate(several("seeds", seeds))]
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds = {seeds}: need at least one, none negative and none twice")
    return seeds


def check_options(evaluate_every: Any, evaluation: Any, progress: Any, checkpoint: Any, logdir: Any) -> None:
    """ValueError for what no training, offline or online, takes; ImportError for a `logdir` without TensorBoard."""
    if whole_number("evaluate_every", evaluate_every) < 0:
        raise ValueError(f"evaluate_every = {evaluate_every}: must be at least 0")
    if evaluation is not None and not callable(evaluation):
        raise ValueError(f"evaluation = {evaluation!r}: must be a function of the policies")
    if bool(evaluate_every) != (evaluation is not None):
        given = "without an evaluation" if evaluation is None else "with an evaluation"
        raise ValueError(f"evaluate_every = {evaluate_every} {given}: must be both or neither")
    check_kind("progress", progress, bool)
    if checkpoint is not None:
        as_path(checkpoint)
    if logdir is not None:
        if as_path(logdir).exists() and not as_path(logdir).is_dir():
            raise ValueError(f"logdir = {logdir}: must be a folder, or a path where there is nothing yet")
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as error:
            raise ImportError("logdir needs TensorBoard: pip install 'rrmlab[curves]'") from error


def progress_bar(total: int, text: str, show: bool) -> tqdm:
    """A bar that is redrawn on a terminal and in a notebook, and rarely where the output is a log."""
    interactive = sys.stderr.isatty() or "ipykernel" in sys.modules
    # A text bar also in notebooks: the widget freezes at 0% where nobody renders it.
    return tqdm(
        total=total, desc=text, disable=not show, mininterval=1.0 if interactive else 30.0, ncols=100, leave=False
    )


class DivergenceGuard:
    """Looks after the seeds' losses: one that is no number any more stops its seed, and no other."""

    def __init__(self, learner: Learner, seeds: Sequence[int]) -> None:
        self._learner, self._seeds = learner, seeds
        self._good, self._since = self._copy(), 0
        self._stopped: dict[int, dict[str, Tensor]] = {}  # last good tensors, by the seed's place

    def check(self, update: int, metrics: Metrics, last: bool = False) -> None:
        """After an update: warn of seeds that it broke; keep what is good from time to time."""
        broken = ~torch.stack(metrics).isfinite().all(0)
        due = last or update % GUARD_UPDATES == 0
        if due:  # the metrics are of the parameters before the update
            for tensor in self._learner.parameters().values():
                broken |= ~tensor.detach().isfinite().reshape(len(tensor), -1).all(1)
        for k in self._stopped:  # reported before
            broken[k] = False
        for k in broken.nonzero().flatten().tolist():
            self._stopped[k] = {name: tensor[k].clone() for name, tensor in self._good.items()}
            losses = ", ".join(f"{name} = {float(value[k]):g}" for name, value in metrics._asdict().items())
            warnings.warn(
                f"seed {self._seeds[k]} stopped at update {update} ({losses}; its minibatch {update}): it keeps its "
                f"parameters of update {self._since}, the other seeds go on",
                stacklevel=4,
            )
        if len(self._stopped) == len(self._seeds):
            raise FloatingPointError(f"all seeds stopped, the last one at update {update}: lower learning_rate")
        if due:
            self._good, self._since = self._copy(), update
        self._put_back()

    def _put_back(self) -> None:
        """Give stopped seeds their last good parameters, which another update would spoil again."""
        if not self._stopped:
            return
        now = self._learner.parameters()
        with torch.no_grad():
            for k, good in self._stopped.items():
                for name, tensor in good.items():
                    now[name][k] = tensor

    def state_dict(self) -> dict[str, Tensor]:
        """The last good parameters, of all seeds and of those that stopped, by name."""
        tensors = {"guard.since": whole(self._since)}
        for name, tensor in self._good.items():
            tensors[f"guard.good.{name}"] = tensor
            tensors |= {f"guard.stopped.{k}.{name}": good[name] for k, good in self._stopped.items()}
        return tensors

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `state_dict` gave; other names are ignored."""
        self._since = int(tensors["guard.since"])
        for name, tensor in self._good.items():
            self._good[name] = tensors[f"guard.good.{name}"].to(tensor)
            for k in range(len(self._seeds)):
                if (good := tensors.get(f"guard.stopped.{k}.{name}")) is not None:
                    self._stopped.setdefault(k, {})[name] = good.to(tensor)

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._learner.parameters().items()}


def digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of the tensors' numbers."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
        total.update(tensor.cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def save_checkpoint(path: Path, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write a checkpoint; it takes the place of the last one as a whole."""
    with new_folder(path, FACTS) as folder:
        # An .npz file, for NumPy writes it piece by piece: an episode of ten seeds is 0.2 GiB.
        with (folder / "state").open("wb") as file:
            np.savez(file, allow_pickle=False, **{name: t.detach().cpu().numpy() for name, t in tensors.items()})
        (folder / FACTS).write_text(json.dumps(facts, sort_keys=True))


def load_checkpoint(path: Path, facts: dict[str, Any]) -> dict[str, Tensor] | None:
    """The tensors of the checkpoint of this training, or None if there is none yet.

    Raises:
        CorruptFileError: it was changed since, or does not hold what a checkpoint holds.
        ValueError: it belongs to another training, or the folder holds something else.
        FileExistsError: the folder holds files of somebody else, so no checkpoint can be written there.
        OSError: nothing can be written there.
    """
    if (path / "state").is_dir():
        raise ValueError(f"checkpoint = {path}: of an online training; name another folder")
    folder = None
    if any((path / name).is_file() for name in (SUMS, FACTS, "state")):  # else it is empty, or somebody else's
        with suppress(FileNotFoundError):
            folder = verify(path, FACTS, "state")
    check_replaceable(path, FACTS)  # now, not when the first checkpoint is written
    try:
        with scratch(path, path.name, "") as beside:
            beside.mkdir()
    except OSError as error:
        raise OSError(error.errno, f"checkpoint = {path}: cannot be written there ({error.strerror})") from error
    if folder is None:
        return None
    found = read_json(folder / FACTS)
    wanted = json.loads(json.dumps(facts))
    different = sorted(name for name in found | wanted if found.get(name) != wanted.get(name))
    if different:
        raise ValueError(
            f"checkpoint = {path}: of another training, it differs in {', '.join(different)}; "
            "name another folder, or delete it"
        )
    # Read as a whole first: if a damaged archive names places outside of itself, to seek them in a file is an OSError,
    # which `reading` takes for the system's; in memory it is a ValueError.
    with reading(folder / "state"), np.load(BytesIO((folder / "state").read_bytes())) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


class Training:
    """A training of S seeds on its way: learner, history, guard and checkpoint.

    Args:
        learner: what is trained.
        network: of the policies.
        scale: of the policies.
        seeds: the training seeds.
        log_every: updates between two points of the loss curves.
    """

    def __init__(
        self, learner: Learner, network: NetworkConfig, scale: Scale, seeds: Sequence[int], log_every: int
    ) -> None:
        self.learner, self.network, self.scale, self.seeds = learner, network, scale, seeds
        self.history, self.guard = History(len(seeds), log_every), DivergenceGuard(learner, seeds)

    def record(self, update: int, metrics: Metrics, last: bool) -> None:
        """After an update: stop the seeds that it broke, and add to the loss curves."""
        self.guard.check(update, metrics, last)
        self.history.add(update, metrics, last)

    def policies(self, with_history: bool = False) -> list[Policy]:
        """One Policy per seed, with copies of its parameters."""
        nets = {name: p.detach() for name, p in self.learner.layers().items()}
        scales = {name: tensor.to(self.learner.device) for name, tensor in self.scale.tensors.items()}
        return [
            Policy(
                self.learner.config,
                self.network,
                {name: stack[k].clone() for name, stack in nets.items()} | scales,
                seed,
                self.history.of_seed(k) if with_history else None,
            )
            for k, seed in enumerate(self.seeds)
        ]

    def save(self, path: Path, facts: dict[str, Any], done: int) -> None:
        """Write a checkpoint after `done` updates; see `save_checkpoint`."""
        state = self.learner.state_dict() | self.history.state_dict() | self.guard.state_dict()
        save_checkpoint(path, facts, {"done": whole(done), **state})

    def resume(self, path: Path, facts: dict[str, Any]) -> int:
        """Go on from the checkpoint, if there is one: how many updates are done; see `load_checkpoint` for errors."""
        stored = load_checkpoint(path, facts)
        if stored is None:
            return 0
        with reading(path / "state"):
            for part in (self.learner, self.history, self.guard):
                part.load_state_dict(stored)
            return int(stored["done"])
