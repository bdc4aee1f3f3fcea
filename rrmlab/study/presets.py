"""Sizes of the study by preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Sizes of the study, all `study`. Below `paper`, the notebooks also vary fewer values in sweeps.

    Attributes:
        duration: what all notebooks take, in words.
        episode_ttis: counted TTIs of an episode, for collecting and for scoring.
        episodes: evaluation deployments.
        transitions: of each dataset.
        updates: gradient steps of offline training.
        seeds: training seeds where claims are judged at one point.
        sweep_seeds: training seeds at each point of a sweep.
        tuning_episodes, tuning_updates, tuning_seeds: the same for a tuning trial, on validation deployments.
        oracle_steps: gradient steps of the observed oracles.
        envs: environments of an online training.
    """

    duration: str
    episode_ttis: int
    episodes: int
    transitions: int
    updates: int
    seeds: int
    sweep_seeds: int
    tuning_episodes: int
    tuning_updates: int
    tuning_seeds: int
    oracle_steps: int
    envs: int

    def to_dict(self) -> dict[str, Any]:
        """The sizes, as plain values."""
        return {name: value for name, value in vars(self).items() if name != "duration"}

    def __str__(self) -> str:
        return (
            f"{self.episodes} deployments of {self.episode_ttis:,} TTIs, {self.transitions:,} transitions a log, "
            f"{self.updates:,} updates, {self.seeds} training seeds ({self.sweep_seeds} in sweeps)"
        )


PRESETS = {
    "smoke": Preset(
        duration="seconds a notebook",
        episode_ttis=40,
        episodes=4,
        transitions=1_600,
        updates=20,
        seeds=2,
        sweep_seeds=2,
        tuning_episodes=4,
        tuning_updates=10,
        tuning_seeds=1,
        oracle_steps=10,
        envs=40,
    ),
    "quick": Preset(
        duration="minutes in all",
        episode_ttis=400,
        episodes=24,
        transitions=32_000,
        updates=500,
        seeds=3,
        sweep_seeds=2,
        tuning_episodes=12,
        tuning_updates=100,
        tuning_seeds=1,
        oracle_steps=60,
        envs=80,
    ),
    "paper": Preset(
        duration="full size, 3 to 4 hours on 2 cores",
        episode_ttis=2_000,
        episodes=100,
        transitions=320_000,
        updates=2_000,
        seeds=10,
        sweep_seeds=5,
        tuning_episodes=60,
        tuning_updates=1_000,
        tuning_seeds=2,
        oracle_steps=1_500,
        envs=80,
    ),
}
