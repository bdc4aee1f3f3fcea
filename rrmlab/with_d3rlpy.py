"""Logs for the algorithms of d3rlpy, and the algorithms as policies that `evaluate` scores.

d3rlpy sees all APs as one agent with (N+1)^I actions, numbered as a centralized agent counts them (the last AP's slot
varies fastest); so does the environment `RRMJointEnv(flat_actions=True)`. Needs d3rlpy 2.8.

`d3rlpy.datasets.get_minari` opens a saved log too, but does not read it right (of 2.8.1): it joins the T+1 observations
of each episode to T actions (`np.concatenate`, datasets.py, line 567), so that from the second episode on
observations and actions belong to different TTIs; it takes an action of I slots for one of N+1 numbers
(`detect_action_space`, dataset/utils.py, line 339); and it leaves out the last transition of an episode that was
truncated (`Episode.transition_count`, dataset/components.py, line 385). `to_d3rlpy` does none of these. The environment
that `get_minari` returns is right, and `minari.load_dataset(name).recover_environment(flat_actions=True)` is that of
one discrete action.

Shapes: E environments, I APs, N top users, F features of each, T transitions of an episode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .agents.paradigms import PARADIGMS
from .checks import check_kind
from .config import NetworkConfig
from .game.views import ObservationView
from .learning.dataset import Dataset

if TYPE_CHECKING:
    from d3rlpy.dataset import ReplayBuffer

CENTRALIZED = PARADIGMS["centralized"]


def to_d3rlpy(data: Dataset) -> ReplayBuffer:
    """The transitions of a log for d3rlpy's discrete algorithms: joint observations, joint actions, rewards.

    An episode that was truncated gets a last row with the next observation, action 0 and reward 0, which is needed for
    the last transition and starts none. Algorithms of whole trajectories, such as the decision transformer, see it.

    Args:
        data: the log; its masks are not handed over, d3rlpy has none.

    Returns:
        a buffer whose n transitions are those of the log, in its order: observation (I N F,) float32, action (1,) int64
        in 0 ... (N+1)^I - 1, reward (1,) float32. d3rlpy gives zeros for the next observation of a terminal one.

    Raises:
        ImportError: d3rlpy is not installed.
        ValueError: data that do not pass `Dataset.check`, or more joint actions than a centralized agent can have.
    """
    check_kind("data", data, Dataset)
    data.check()
    network = data.network
    num_actions = CENTRALIZED.heads(network)[2]
    try:
        from d3rlpy import ActionSpace
        from d3rlpy.dataset import Episode, InfiniteBuffer, ReplayBuffer
    except ImportError as error:
        raise ImportError("to_d3rlpy needs d3rlpy: pip install d3rlpy==2.8.1") from error
    episodes = []
    for columns in data.episodes():
        actions = CENTRALIZED.to_heads(torch.from_numpy(columns["actions"]), network.top_n + 1)[0, :, None].numpy()
        obs, terminated = columns["obs"].reshape(len(columns["obs"]), -1), bool(columns["terminated"][-1])
        rewards = columns["rewards"][:, None]
        if terminated:
            obs = obs[:-1]
        else:
            actions, rewards = (np.pad(column, ((0, 1), (0, 0))) for column in (actions, rewards))
        episodes.append(Episode(obs, actions, rewards, terminated))
    return ReplayBuffer(InfiniteBuffer(), episodes=episodes, action_space=ActionSpace.DISCRETE, action_size=num_actions)


class D3rlpyPolicy:
    """A discrete algorithm of d3rlpy, trained on `to_d3rlpy` of a log, as a policy that `evaluate` and `collect` run.

    It acts by `algo.predict`. d3rlpy knows no masks: an AP that is to serve an empty slot stays silent, as in
    `RRMJointEnv`.

    Args:
        algo: such as `d3rlpy.algos.DiscreteCQLConfig().create()`, after `fit` or `build_with_dataset`.

    Raises:
        ValueError: what is no `QLearningAlgoBase` of d3rlpy, has continuous actions, or is not built yet.
    """

    knowledge = ObservationView

    def __init__(self, algo: Any) -> None:
        from d3rlpy.algos import QLearningAlgoBase

        check_kind("algo", algo, QLearningAlgoBase)
        if algo.get_action_type().name != "DISCRETE":
            raise ValueError(f"algo = {type(algo).__name__}: must have discrete actions")
        if algo.impl is None:
            raise ValueError(f"algo = {type(algo).__name__}: is not built, call its fit or build_with_dataset first")
        self.algo = algo

    @property
    def name(self) -> str:
        """The name of the algorithm."""
        return f"d3rlpy {type(self.algo).__name__}"

    def check_fits(self, network: NetworkConfig) -> None:
        """ValueError unless observations and joint actions of the network are of the sizes it was trained for."""
        _, numbers, num_actions = CENTRALIZED.heads(network)
        found = tuple(self.algo.observation_shape or ()), self.algo.action_size
        if found != ((numbers,), num_actions):
            raise ValueError(
                f"algo: was trained for observations {found[0]} and {found[1]} actions, the network has ({numbers},) "
                f"and {num_actions}"
            )

    def begin(self, key: Tensor) -> None:
        """Greedy: nothing to prepare."""

    def serve(self, view: ObservationView) -> Tensor:
        """Users to serve (E, I), -1 for silence, also where the slot is empty."""
        chosen = torch.from_numpy(self.algo.predict(view.obs.flatten(1).cpu().numpy()))
        _, num_aps, num_actions = view.action_mask.shape
        return view.users(CENTRALIZED.to_aps(chosen[None].to(view.obs.device), num_actions, num_aps))
