"""What is known against how the reward is represented: the best one-step decisions in each combination of the two."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from ..game.behaviours import Scheduler
from ..game.evaluation import evaluate
from ..game.link_schedulers import Exhaustive
from .interactions import AdditiveSearch
from .observed_oracle import observed_oracle
from .scoring import Scoring
from .store import score_result, stored

# What is known, and the paradigm of the oracle that knows it; with all gains none is trained.
KNOWN = {"own cell": "ctde", "all cells": "centralized", "all gains": ""}
REPRESENTED = ("additive", "joint")


@dataclass(frozen=True)
class CellJob:
    """The best one-step decisions on what is known, from the reward itself or from its best fit by a sum over the APs.

    Both are taken of the exact rewards of all joint actions, without a log. With all gains both are exact; with
    observations they are trained, see `observed_oracle`.

    Attributes:
        known: "own cell" and "all cells", whose observations; or "all gains".
        represented: "additive" or "joint".
        scoring: where it is scored.
        steps: gradient steps of a training.
        seed: of a training.
    """

    known: str
    represented: str
    scoring: Scoring
    steps: int
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("known", tuple(KNOWN)), ("represented", REPRESENTED)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} = {getattr(self, name)!r}: must be one of {', '.join(allowed)}")

    def run(self, root: Path) -> Path:
        """Train and score, or find it done; the folder."""
        spec = asdict(self)
        return stored(root, "cells", spec, [CellJob, evaluate, Scoring, score_result], self._build)

    def _build(self, folder: Path) -> None:
        start = time.perf_counter()
        scores = evaluate(self._decisions(), *self.scoring.arguments)
        score_result(folder, [scores], time.perf_counter() - start)

    def _decisions(self) -> Scheduler:
        network, additive = self.scoring.network, self.represented == "additive"
        if self.known == "all gains":
            return AdditiveSearch(network.lam) if additive else Exhaustive(network.lam)
        return observed_oracle(network, KNOWN[self.known], self.steps, self.seed, progress=False, additive=additive)
