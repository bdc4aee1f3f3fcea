"""The loss and score curves of a training, in its policies and in TensorBoard.

Shapes: S seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..agents.learner import Metrics
from ..checks import as_path, several

SCORES = ("eval_sum_rate", "eval_tail_rate", "eval_score")


class History:
    """Loss and score curves of all seeds."""

    def __init__(self, seeds: int, every: int) -> None:
        self._seeds, self._every, self._count = seeds, every, 0
        self._sum: Tensor | None = None  # of the metrics since the last log point (columns, S)
        self._updates: list[int] = []
        self._points: list[Tensor] = []  # each (columns, S)
        self._eval_updates: list[int] = []
        self._scores: list[np.ndarray] = []  # each (3, S)
        self._writers: list[Any] = []  # of event files, one for each seed

    @contextmanager
    def followed(self, logdir: str | Path | None, seeds: Sequence[int]) -> Iterator[None]:
        """Meanwhile TensorBoard's event files in `logdir`, in a folder for each seed, hold these curves too."""
        try:
            if logdir is not None:
                from torch.utils.tensorboard import SummaryWriter

                for seed in seeds:
                    # From step 0 on, in place of what was there: curves may have gone on after the last checkpoint.
                    self._writers.append(SummaryWriter(str(as_path(logdir) / f"seed_{seed}"), purge_step=0))
            for update, point in zip(self._updates, self._points, strict=True):
                self._write(update, Metrics._fields, point)
            for update, scores in zip(self._eval_updates, self._scores, strict=True):
                self._write(update, SCORES, scores)
            yield
        finally:
            while self._writers:
                self._writers.pop().close()

    def _write(self, update: int, names: Sequence[str], values: Tensor | np.ndarray) -> None:
        """Values (columns, S) of one point."""
        for k, writer in enumerate(self._writers):
            for name, value in zip(names, values[:, k], strict=True):
                writer.add_scalar(name, float(value), update)
            writer.flush()  # somebody is looking

    def add(self, update: int, metrics: Metrics, last: bool = False) -> None:
        """Average the metrics over the updates since the last log point."""
        values = torch.stack(metrics)
        self._sum = values if self._sum is None else self._sum.to(values) + values
        self._count += 1
        if update % self._every == 0 or last:
            self._updates.append(update)
            self._points.append((self._sum / self._count).cpu())
            self._write(update, Metrics._fields, self._points[-1])
            self._sum, self._count = None, 0

    def add_scores(self, update: int, scores: list[Any]) -> None:
        """Log an evaluation of all seeds; ValueError unless it gave one Scores for each of them."""
        names = [name.removeprefix("eval_") for name in SCORES]
        scores = several("what evaluation returned", scores)
        if len(scores) != self._seeds or not all(hasattr(s, name) for s in scores for name in names):
            raise ValueError(
                f"evaluation returned {scores}: must be one Scores for each of {self._seeds} seeds, with "
                f"{', '.join(names)}"
            )
        self._eval_updates.append(update)
        self._scores.append(np.array([[getattr(s, name) for s in scores] for name in names]))
        self._write(update, SCORES, self._scores[-1])

    def state_dict(self) -> dict[str, Tensor]:
        """Everything logged so far, by name."""
        tensors = {"history.update": whole(self._updates), "history.count": whole(self._count)}
        if self._points:
            tensors["history.points"] = torch.stack(self._points)
        if self._sum is not None:
            tensors["history.sum"] = self._sum
        if self._scores:
            tensors["history.eval_update"] = whole(self._eval_updates)
            tensors["history.scores"] = torch.from_numpy(np.stack(self._scores))
        return tensors

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `state_dict` gave; other names are ignored."""
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
            columns |= dict(zip(SCORES, scores.T, strict=True))
        return columns


def whole(numbers: int | list[int]) -> Tensor:
    """Whole numbers as a tensor, whatever the session's default device is."""
    return torch.tensor(numbers, dtype=torch.int64, device="cpu")
