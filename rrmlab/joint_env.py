"""The game as a Gymnasium environment: one network, whose APs act as one agent on the joint observation.

Saved logs name this environment as the one that they were recorded in, so that Minari can recover it.
Shapes: I APs, J users, N top users, F features of each in an observation.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch

from .agents.paradigms import PARADIGMS
from .checks import check_kind, seed_number
from .config import NetworkConfig
from .game.env import RRMEnv
from .game.observations import observation_of


class RRMJointEnv(gym.Env[np.ndarray, Any]):
    """The centralized view of one network: `gymnasium.make("rrmlab/RRMJoint-v0")` once this module is imported.

    The observation is (I N F,) float32, AP after AP; an action has a slot for each AP, (I,), 0 for silence. An empty
    slot counts as silence, as Gymnasium's agents know no masks; `info["action_mask"]` (I, N+1) bool says which slots
    hold a user.

    Args:
        config: the network and the rules, or the plain dict of one.
        seed: names the deployments together with `split`; each reset takes the next one.
        split: "train", "validation" or "test".
        flat_actions: an action is one number in 0 ... (N+1)^I - 1, as a centralized agent counts joint actions (the
            last AP's slot varies fastest), for algorithms that take a `Discrete` action space only.
        render_mode: "rgb_array", and `render` draws the map of the last TTI; None for no pictures.

    Raises:
        ValueError: what `NetworkConfig.from_dict` or `RRMEnv` refuses, an unknown `render_mode`, or more joint actions
            than a centralized agent can have.

    >>> env = RRMJointEnv({"episode_ttis": 20})
    >>> obs, info = env.reset(seed=1)
    >>> obs, reward, terminated, truncated, info = env.step(np.array([1, 0, 1, 0]))
    >>> obs.shape, info["rates"].shape, truncated
    ((24,), (24,), False)
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        config: NetworkConfig | dict[str, Any] | None = None,
        seed: int = 0,
        split: str = "train",
        flat_actions: bool = False,
        render_mode: str | None = None,
    ) -> None:
        config = NetworkConfig.from_dict(config) if isinstance(config, dict) else config or NetworkConfig()
        check_kind("config", config, NetworkConfig)
        check_kind("flat_actions", flat_actions, bool)
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode = {render_mode!r}: must be None or 'rgb_array'")
        self.config, self.split, self.flat_actions, self.render_mode = config, split, flat_actions, render_mode
        self.env = RRMEnv(config, 1, seed, split)
        self._last: tuple[np.ndarray, np.ndarray] | None = None  # served users (I,) and rates (J,) of the last TTI
        numbers = config.num_aps * observation_of(config).size(config)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (numbers,), np.float32)
        self.action_space: gym.Space[Any] = gym.spaces.MultiDiscrete([config.top_n + 1] * config.num_aps)
        if flat_actions:
            self.action_space = gym.spaces.Discrete(PARADIGMS["centralized"].heads(config)[2])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode: (obs, info).

        Args:
            seed: go to the first deployment of that seed; left out, to the next one of the current seed.
            options: may hold "deployment", a Deployment of one network to run on.
        """
        if options is not None and not isinstance(options, dict):
            raise ValueError(f"options = {options!r}: must be a dict")
        super().reset(seed=seed)
        if seed is not None:
            self.env = RRMEnv(self.config, 1, seed_number(seed), self.split)
        self.env.reset((options or {}).get("deployment"))
        self._last = None
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One TTI: (obs, reward, terminated, truncated, info), with "rates" (J,) in bit/s/Hz in the info.

        Raises:
            ValueError: an action outside of the action space.
            RuntimeError: before `reset` or after truncation.
        """
        chosen = users = self._slots(np.asarray(action))
        if hasattr(self.env, "action_mask"):  # from the first reset on
            chosen = chosen * self.env.action_mask.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
            users = self.env.view().users(chosen)
        _, reward, terminated, truncated, info = self.env.step(chosen)
        self._last = users[0].numpy(), info["rates"][0].cpu().numpy()
        rates = {"rates": self._last[1].copy()}
        return self._observation(), float(reward[0]), bool(terminated[0]), bool(truncated[0]), self._info() | rates

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The map of the last TTI, (H, W, 3) uint8: see `rrmlab.network_map`; None without a `render_mode`.

        Raises:
            RuntimeError: before `reset`.
            ValueError: a deployment without positions, made of gains.
        """
        if self.render_mode is None:
            gym.logger.warn('make the environment with render_mode="rgb_array": without it there is no picture')
            return None
        from .network_map import picture  # loads a plotting library, which takes longer than the game

        return picture(self.env, self._last)

    def _slots(self, action: np.ndarray) -> torch.Tensor:
        """An action as slots (1, I); ValueError if it is not of the action space."""
        if action.dtype.kind not in "iu" or not self.action_space.contains(action.astype(np.int64)):
            slots = f"{self.config.num_aps} slots, each in 0 ... {self.config.top_n}"
            wanted = f"one whole number, of {self.action_space}" if self.flat_actions else slots
            raise ValueError(f"action = {action}: must be {wanted}")
        chosen = torch.from_numpy(action.astype(np.int64))[None]
        if not self.flat_actions:
            return chosen
        return PARADIGMS["centralized"].to_aps(chosen[None], self.config.top_n + 1, self.config.num_aps)

    def _observation(self) -> np.ndarray:
        return self.env.obs.flatten().cpu().numpy().copy()

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self.env.action_mask[0].cpu().numpy().copy()}


gym.register("rrmlab/RRMJoint-v0", entry_point="rrmlab.joint_env:RRMJointEnv")
