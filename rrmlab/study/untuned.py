"""What a paper would take without tuning, for the question when CTDE reaches the centralized agent (K3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..agents.config import AgentConfig
from .tuning import points

# What a paper would not tune: alpha as stated, and common values of the rest, `study`.
DEFAULTS_GRID: dict[str, tuple[Any, ...]] = {"gamma": (0.9, 0.99), "learning_rate": (3e-4, 1e-3, 4e-3)}
LONGER = 4  # times the updates, with gamma = 0.99 and the middle learning rate: these trainings cost most


def usual_defaults(paradigm: str, num_updates: int) -> list[AgentConfig]:
    """The SAC learner of a paradigm with alpha = 1 at all points of DEFAULTS_GRID, with gamma = 0.99 from raw rewards
    too, and at some points for longer."""
    agents = [AgentConfig(paradigm, alpha=1.0, num_updates=num_updates, **point) for point in points(DEFAULTS_GRID)]
    # With raw rewards C stays below the best baseline, and K3 does not count it: one gamma shows that.
    agents += [replace(agent, standardise_rewards=False) for agent in agents if agent.gamma == 0.99]
    far_sighted = [agent for agent in agents if agent.gamma == 0.99 and agent.learning_rate == 1e-3]
    return agents + [replace(agent, num_updates=LONGER * num_updates) for agent in far_sighted]
