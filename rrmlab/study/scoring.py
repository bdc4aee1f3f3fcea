"""Scoring of what is there: a scheduler, or the policies of a stored run in other conditions; each stored once."""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..agents.policy import Policy
from ..agents.stack import evaluate_seeds
from ..config import NetworkConfig
from ..game.behaviours import Scheduler
from ..game.evaluation import Scores, evaluate, evaluate_all
from ..game.imperfect_reports import ImperfectReports
from ..game.schedulers import make_scheduler
from ..storage import SUMS, sha256
from .store import Result, read_result, score_result, stored


@dataclass(frozen=True)
class Scoring:
    """On which deployments a run is scored, and how long the episodes are."""

    network: NetworkConfig
    episodes: int = 100
    seed: int = 0
    split: str = "test"

    @property
    def arguments(self) -> tuple[NetworkConfig, int, int, str]:
        """For `evaluate` and `evaluate_seeds`, after the policy."""
        return self.network, self.episodes, self.seed, self.split

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def score_scheduler(root: Path, spec: dict[str, Any], scoring: Scoring) -> Result:
    """Score the scheduler that `spec` describes: its short name and its arguments."""

    scheduler = make_scheduler(**spec)

    def build(folder: Path) -> None:
        start = time.perf_counter()
        score_result(folder, [evaluate(scheduler, *scoring.arguments)], time.perf_counter() - start)

    asked = {"scheduler": spec, "scoring": scoring.to_dict()}
    code = (evaluate, Scoring, score_result, type(scheduler))
    return read_result(stored(root, "schedulers", asked, code, build))


@dataclass(frozen=True)
class ScoreJob:
    """The policies of a stored run, or a scheduler, scored in other conditions.

    Attributes:
        scoring: where.
        policies: folder of the run; or
        scheduler: short name and arguments;
        grid, validation: further arguments of it, values by name: the best point on other deployments is taken.
        reports: arguments of `ImperfectReports`.
        deciding: arguments of `Policy.deciding`.
        seeds: so many of the policies, from the first on; None for all.
    """

    scoring: Scoring
    policies: Path | None = None
    scheduler: dict[str, Any] | None = None
    reports: dict[str, Any] = field(default_factory=dict)
    deciding: dict[str, Any] = field(default_factory=dict)
    seeds: int | None = None
    grid: dict[str, Any] = field(default_factory=dict)
    validation: Scoring | None = None

    def run(self, root: Path) -> Path:
        """Score, or find it done; the folder."""
        origin = None if self.policies is None else sha256(self.policies / SUMS)
        # Not this class, which can make every scheduler: a new one would rename all runs.
        code: list[Any] = [_score_policies] if self.scheduler is None else [_score_scheduler, self._rules()[0]]
        return stored(root, "scored", {**asdict(self), "policies": origin}, [*code, Scoring], self._build)

    def _build(self, folder: Path) -> None:
        start = time.perf_counter()
        if self.policies is None:
            scores = _score_scheduler(*self._rules(), self.scoring, self.validation, self.reports)
        else:
            policies = read_result(self.policies).policies[: self.seeds]
            scores = _score_policies(policies, self.scoring, self.deciding, self.reports)
        score_result(folder, scores, time.perf_counter() - start)

    def _rules(self) -> tuple[type[Scheduler], list[dict[str, Any]]]:
        """The scheduler's class, and its arguments at each point of the grid."""
        arguments = {name: value for name, value in (self.scheduler or {}).items() if name != "name"}
        points = itertools.product(*self.grid.values())
        points_arguments = [arguments | dict(zip(self.grid, point, strict=True)) for point in points]
        return type(make_scheduler(**(self.scheduler or {}))), points_arguments


def _score_scheduler(
    rule: type[Scheduler], points: list[dict[str, Any]], scoring: Scoring, validation: Scoring | None, reports: Any
) -> list[Scores]:
    """Scores at the point that is best on the validation deployments."""
    if validation is not None:
        tried = evaluate_all([rule(**point) for point in points], *validation.arguments)
        points = [points[int(np.argmax([scores.score for scores in tried]))]]
    scheduler = rule(**points[0])
    return [evaluate(ImperfectReports(scheduler, **reports) if reports else scheduler, *scoring.arguments)]


def _score_policies(policies: list[Policy], scoring: Scoring, deciding: Any, reports: Any) -> list[Scores]:
    policies = [policy.deciding(**deciding) for policy in policies] if deciding else policies
    return evaluate_seeds(policies, *scoring.arguments, **reports)
