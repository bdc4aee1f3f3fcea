"""What is kept of a training along the way: the curves of its losses and scores, and its last good parameters.

Shapes: S seeds.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .agents.learner import Learner, Metrics

LOG_POINTS = 200  # of the loss curves, `study`
WATCH_UPDATES = 50  # between two copies of the parameters, to which a seed that breaks goes back, `study`


class History:
    """Loss and score curves of all seeds."""

    def __init__(self, seeds: int, every: int) -> None:
        self._every, self._count = every, 0
        self._sum: Tensor | None = None  # of the metrics since the last log point (columns, S)
        self._updates: list[int] = []
        self._points: list[Tensor] = []  # each (columns, S)
        self._eval_updates: list[int] = []
        self._scores: list[np.ndarray] = []  # each (3, S)

    def add(self, update: int, metrics: Metrics, last: bool = False) -> None:
        """Average the metrics over the updates since the last log point."""
        values = torch.stack(metrics)
        self._sum = values if self._sum is None else self._sum.to(values) + values
        self._count += 1
        if update % self._every == 0 or last:
            self._updates.append(update)
            self._points.append((self._sum / self._count).cpu())
            self._sum, self._count = None, 0

    def add_scores(self, update: int, scores: list[Any]) -> None:
        """Log an evaluation of all seeds."""
        self._eval_updates.append(update)
        self._scores.append(
            np.array([[getattr(s, name) for s in scores] for name in ("sum_rate", "tail_rate", "score")])
        )

    def state(self) -> dict[str, Tensor]:
        """Everything logged so far, by name."""
        tensors = {"history.update": torch.tensor(self._updates), "history.count": torch.tensor(self._count)}
        if self._points:
            tensors["history.points"] = torch.stack(self._points)
        if self._sum is not None:
            tensors["history.sum"] = self._sum
        if self._scores:
            tensors["history.eval_update"] = torch.tensor(self._eval_updates)
            tensors["history.scores"] = torch.from_numpy(np.stack(self._scores))
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `state` gave; other names are ignored."""
        self._updates, self._count = tensors["history.update"].tolist(), int(tensors["history.count"])
        self._points = list(tensors.get("history.points", ()))
        self._sum = tensors.get("history.sum")
        self._eval_updates = tensors["history.eval_update"].tolist() if "history.scores" in tensors else []
        self._scores = list(tensors["history.scores"].numpy()) if "history.scores" in tensors else []

    def of_seed(self, k: int) -> dict[str, np.ndarray]:
        """Columns of the k-th seed."""
        points = torch.stack(self._points)[..., k].double().numpy()
        columns = {"update": np.array(self._updates), **dict(zip(Metrics._fields, points.T, strict=True))}
        if self._scores:
            scores = np.stack(self._scores)[..., k]
            columns["eval_update"] = np.array(self._eval_updates)
            columns |= dict(zip(("eval_sum_rate", "eval_tail_rate", "eval_score"), scores.T, strict=True))
        return columns


class Watch:
    """Looks after the seeds' losses: one that is no number any more stops its seed, and no other."""

    def __init__(self, learner: Learner, seeds: Sequence[int]) -> None:
        self._learner, self._seeds = learner, seeds
        self._good, self._since = self._copy(), 0
        self._stopped: dict[int, dict[str, Tensor]] = {}  # last good tensors, by the seed's place

    def look(self, update: int, metrics: Metrics, last: bool = False) -> None:
        """After an update: warn of seeds that it broke; keep what is good from time to time."""
        broken = ~torch.stack(metrics).isfinite().all(0)
        due = last or update % WATCH_UPDATES == 0
        if due:  # the metrics are of the parameters before the update
            for tensor in self._learner.parameters().values():
                broken |= ~tensor.detach().isfinite().flatten(1).all(1)
        for k in self._stopped:  # they were told
            broken[k] = False
        for k in broken.nonzero().flatten().tolist():
            self._stopped[k] = {name: tensor[k].clone() for name, tensor in self._good.items()}
            losses = ", ".join(f"{name} = {float(value[k]):g}" for name, value in metrics._asdict().items())
            warnings.warn(
                f"seed {self._seeds[k]} stopped at update {update} ({losses}; its minibatch {update}): it keeps its "
                f"parameters of update {self._since}, the other seeds go on",
                stacklevel=3,
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

    def state(self) -> dict[str, Tensor]:
        """The last good parameters, of all seeds and of those that stopped, by name."""
        tensors = {"watch.since": torch.tensor(self._since)}
        for name, tensor in self._good.items():
            tensors[f"watch.good.{name}"] = tensor
            tensors |= {f"watch.stopped.{k}.{name}": good[name] for k, good in self._stopped.items()}
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `state` gave; other names are ignored."""
        self._since = int(tensors["watch.since"])
        for name, tensor in self._good.items():
            self._good[name] = tensors[f"watch.good.{name}"].to(tensor)
            for k in range(len(self._seeds)):
                if (good := tensors.get(f"watch.stopped.{k}.{name}")) is not None:
                    self._stopped.setdefault(k, {})[name] = good.to(tensor)

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._learner.parameters().items()}
