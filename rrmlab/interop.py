"""The game for multi-agent libraries: one network of `RRMEnv` as a PettingZoo ParallelEnv.

Needs the extra `interop`. Logged data needs no wrapper: `Dataset.save` writes Minari datasets.
Shapes: I APs, J users, N top users, F features of each in an observation.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch

from .checks import seed_number
from .config import NetworkConfig
from .game.env import RRMEnv
from .game.observations import observation_of

try:
    from pettingzoo import ParallelEnv
except ImportError as error:
    raise ImportError("rrmlab.interop needs PettingZoo: pip install 'rrmlab[interop]'") from error

AgentObservation = dict[str, np.ndarray]


class RRMParallelEnv(ParallelEnv):
    """One network, whose APs are the agents "ap_0" ... "ap_{I-1}".

    An agent's observation is {"observation": (N F,) float32, "action_mask": (N+1,) int8}, the mask 1 where an
    action may be taken; action 0 is silence and n the agent's n-th top user. All agents get the reward of the
    team, and all are truncated together at the episode's end; nothing terminates.

    Args:
        config: the network and the rules.
        seed: names the deployments together with `split`; each reset takes the next one.
        split: "train", "validation" or "test".
        device: where the game is computed; what is returned is NumPy.
        render_mode: "rgb_array", and `render` draws the map of the last TTI; None for no pictures.

    Raises:
        ValueError: what `RRMEnv` refuses, or an unknown `render_mode`.

    Attributes:
        possible_agents: the agents' names, always all of them.
        agents: those of the running episode: all, or none before the first reset and after truncation.
        env: the RRMEnv with E = 1 behind it.
    """

    metadata = {"name": "rrm_v0", "render_modes": ["rgb_array"], "render_fps": 10, "is_parallelizable": True}

    def __init__(
        self,
        config: NetworkConfig | None = None,
        seed: int = 0,
        split: str = "train",
        device: str | torch.device = "cpu",
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode = {render_mode!r}: must be None or 'rgb_array'")
        self.render_mode = render_mode
        self.config = config = NetworkConfig() if config is None else config
        self.split, self.device = split, device
        self.env = RRMEnv(config, 1, seed, split, device)
        self._last: tuple[np.ndarray, np.ndarray] | None = None  # served users (I,) and rates (J,) of the last TTI
        self.possible_agents = [f"ap_{i}" for i in range(config.num_aps)]
        self.agents: list[str] = []
        # One space per agent, kept: whoever seeds an agent's space must find it seeded.
        self.observation_spaces = {agent: _observation_space(config) for agent in self.possible_agents}
        self.action_spaces = {agent: gym.spaces.Discrete(config.top_n + 1) for agent in self.possible_agents}
        size = observation_of(config).size(config)
        self.state_space = gym.spaces.Box(-np.inf, np.inf, (config.num_aps * size,), np.float32)

    def observation_space(self, agent: str) -> gym.spaces.Dict:
        """The same object every time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gym.spaces.Discrete:
        """The same object every time; its `sample(mask)` takes the observation's "action_mask"."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, AgentObservation], dict[str, dict[str, Any]]]:
        """Start an episode.

        Args:
            seed: go to the first deployment of that seed; left out, to the next one of the current seed.
            options: may hold "deployment", a Deployment of one network to run on; other keys are not read.

        Returns:
            observations and (empty) infos of all agents.

        Raises:
            ValueError: a seed that is not a whole number in 0 ... 2^63 - 1, options that are not a dict, or a
                deployment that does not fit the network.
        """
        if options is not None and not isinstance(options, dict):
            raise ValueError(f"options = {options!r}: must be a dict")
        if seed is not None:
            self.env = RRMEnv(self.config, 1, seed_number(seed), self.split, self.device)
        self.env.reset((options or {}).get("deployment"))
        self.agents, self._last = list(self.possible_agents), None
        return self._observations(), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[
        dict[str, AgentObservation], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]
    ]:
        """One TTI.

        Args:
            actions: for every agent its slot or 0, an int, or an array or tensor that holds one.

        Returns:
            observations, rewards, terminations, truncations and infos of all agents; every info has the
            rates of the whole network, "rates" (J,) in bit/s/Hz.

        Raises:
            ValueError: an agent without an action, an unknown agent, an action out of range or masked.
            RuntimeError: before `reset` or after truncation.
        """
        agents = self.agents
        if agents and (not isinstance(actions, dict) or set(actions) != set(agents)):
            given = f"of {sorted(map(str, actions))}" if isinstance(actions, dict) else f"= {actions!r}"
            raise ValueError(f"actions {given}: need one for each of {', '.join(agents)}")
        # Without agents there is no episode, and the game says so.
        chosen = [self._action(agent, actions[agent]) if agents else 0 for agent in self.possible_agents]
        joint = torch.tensor([chosen], device=self.env.device)
        users = self.env.view().users(joint) if agents else joint
        _, reward, terminated, truncated, info = self.env.step(joint)
        if bool(truncated[0]):
            self.agents = []
        rates = info["rates"][0].cpu().numpy()
        self._last = users[0].cpu().numpy(), rates
        return (
            self._observations(),
            dict.fromkeys(agents, float(reward[0])),
            dict.fromkeys(agents, bool(terminated[0])),
            dict.fromkeys(agents, bool(truncated[0])),
            {agent: {"rates": rates.copy()} for agent in agents},
        )

    def state(self) -> np.ndarray:
        """The joint observation (I N F,) float32, AP after AP; RuntimeError before `reset`."""
        return self.env.view().obs.flatten().cpu().numpy().copy()

    def render(self) -> np.ndarray | None:
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

    def _action(self, agent: str, action: Any) -> int:
        """A whole number, or a tensor or array that holds one; ValueError for anything else and beyond the slots."""
        number = action
        if isinstance(action, np.ndarray | np.generic | torch.Tensor):
            held = action.reshape(-1).tolist()
            number = held[0] if len(held) == 1 else held
        if type(number) is not int or not 0 <= number <= self.config.top_n:
            raise ValueError(
                f"actions[{agent!r}] = {action!r}: must be one of 0 ... {self.config.top_n}, as an int, or an array or "
                f"tensor of one whole number, got {type(action).__name__}"
            )
        return number

    def _observations(self) -> dict[str, AgentObservation]:
        obs = self.env.obs[0].cpu().numpy()
        mask = self.env.action_mask[0].cpu().numpy().astype(np.int8)
        return {
            agent: {"observation": obs[i].copy(), "action_mask": mask[i].copy()}
            for i, agent in enumerate(self.possible_agents)
        }


def _observation_space(config: NetworkConfig) -> gym.spaces.Dict:
    return gym.spaces.Dict(
        {
            "observation": gym.spaces.Box(-np.inf, np.inf, (observation_of(config).size(config),), np.float32),
            "action_mask": gym.spaces.Box(0, 1, (config.top_n + 1,), np.int8),
        }
    )
