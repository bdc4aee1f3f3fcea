"""What is deployed: act on observations, save, load."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import as_path, check_kind, known_device, whole_number
from ..config import NetworkConfig
from ..game.observations import observation_of
from ..game.views import ObservationView
from ..random_streams import PolicyStream, sample
from . import losses
from .actors import GraphActor, HeadActor, make_actor
from .config import AgentConfig, method_name, network_shapes
from .files import check_tensors, read_checkpoint, write_checkpoint
from .inputs import checked_inputs
from .local import decide
from .local_graph import decide as decide_network
from .networks import stack_of
from .scale import Scale


class Policy:
    """A trained agent of one seed.

    SAC and BC act by masked argmax of the actor (of the logits), DQN by masked argmax of Q. `sampled()` gives the
    stochastic version.

    Attributes:
        config: the AgentConfig it was trained with.
        network: the NetworkConfig of its data.
        seed: its training seed.
        history: training history, column name -> (number of log points,) array.

    >>> from rrmlab import collect, make_scheduler, train_offline
    >>> data = collect(make_scheduler("random_walk"), NetworkConfig(episode_ttis=20), num_transitions=200)
    >>> (policy,) = train_offline(data, AgentConfig(num_updates=3, hidden=(8,)), seeds=[0], progress=False)
    >>> policy.name, tuple(policy.act(data.obs[:5]).shape)
    ('CTDE-MARL-CQL', (5, 4))
    """

    knowledge = ObservationView

    def __init__(
        self,
        config: AgentConfig,
        network: NetworkConfig,
        tensors: dict[str, Tensor],
        seed: int = 0,
        history: dict[str, np.ndarray] | None = None,
        stochastic: bool = False,
    ) -> None:
        self.config, self.network, self.seed, self.stochastic = config, network, seed, stochastic
        self.history = history or {}
        self.tensors = tensors
        self.observation = observation_of(network)
        self.scale = Scale(*(tensors[name] for name in ("obs_mean", "obs_std", "reward_mean", "reward_std")))
        shapes = network_shapes(config, network).items()
        self.nets = {name: stack_of(tensors, name, stack, sizes) for name, (stack, sizes) in shapes}
        self._actor = make_actor(config, network, self.nets, self.scale)

    @property
    def name(self) -> str:
        """Method name in tables and figures."""
        return method_name(self.config)

    def to(self, device: str | torch.device) -> Policy:
        """The same policy on another device."""
        device = known_device(device)
        tensors = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return Policy(self.config, self.network, tensors, self.seed, self.history, self.stochastic)

    def sampled(self) -> Policy:
        """The policy that draws its actions instead of taking the best; ValueError for DQN: it has no distribution."""
        if self.config.backbone == "dqn" and not self.config.clones:
            raise ValueError("backbone = 'dqn': a greedy policy has no distribution to sample from")
        return Policy(self.config, self.network, self.tensors, self.seed, self.history, stochastic=True)

    def deciding(self, lam: float | None = None, rounds: int | None = None) -> Policy:
        """The policy of a graph that decides with another lambda or number of rounds; what is left out stays.

        Raises:
            ValueError: another paradigm, or what `AgentConfig` refuses.
        """
        if self.config.paradigm != "graph":
            raise ValueError(f"paradigm = {self.config.paradigm!r}: lam and rounds are for paradigm = 'graph' alone")
        changes: dict[str, Any] = {"lam": lam, "rounds": rounds}
        config = replace(self.config, **{name: value for name, value in changes.items() if value is not None})
        return Policy(config, self.network, self.tensors, self.seed, self.history)

    def parameters(self) -> dict[str, Any]:
        """What it is, as plain values, for the metadata of what it logs."""
        return {"agent": self.config.to_dict(), "seed": self.seed, "stochastic": self.stochastic}

    def act(self, obs: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Greedy actions.

        Args:
            obs: (..., I, N F) raw observations, F features of each slot (of the paper: SINR in dB, ln w).
            action_mask: (..., I, N+1), True or 1 where an action may be taken; left out, a slot is taken for empty
                where all its numbers are 0.

        Returns:
            (..., I) int64, 0 for silence, n for the n-th top user.

        Raises:
            ValueError: another I or N than it was trained for, or what is no number, not real or not finite.
        """
        obs, mask = self._checked(obs, action_mask)
        flat_obs, flat_mask = obs.reshape(-1, *obs.shape[-2:]), mask.reshape(-1, *mask.shape[-2:])
        with torch.no_grad():
            actions = self._actor.act(flat_obs.to(self.tensors["obs_mean"]).unsqueeze(0), flat_mask.unsqueeze(0))
        return actions.reshape(obs.shape[:-1])

    def q_values(self, obs: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Learned values of the heads' actions (H, B, A), mean of the twins, in units of the standardised reward, for
        raw obs (B, I, N F); -inf if masked. ValueError for a graph, which has no heads, or another shape."""
        heads = self._heads("q_values")
        obs, mask = self._checked(obs, action_mask)
        if obs.ndim != 3:
            raise ValueError(f"obs of shape {tuple(obs.shape)}: must be (B, I, {self.observation.size(self.network)})")
        with torch.no_grad():
            inputs = heads.inputs(obs.to(self.tensors["obs_mean"]).unsqueeze(0))
            values = heads.nets["critic"](inputs.unsqueeze(1)).mean(1).squeeze(0)
            return losses.masked(values, heads.paradigm.masks(mask))

    def local(self, ap: int) -> Callable[[np.ndarray], int]:
        """What AP `ap` runs: a function of its own raw observation (N F,) that returns its greedy action; it can be
        pickled.

        Raises:
            ValueError: a centralized or a sampled policy, or another AP than there is; in the function, another shape
                or numbers that are not finite.
        """
        heads = self._heads("local")
        if heads.paradigm.joint or self.stochastic:
            kind = "stochastic = True" if self.stochastic else "paradigm = 'centralized'"
            raise ValueError(f"{kind}: an AP decides alone with a greedy independent or ctde policy")
        ap = whole_number("ap", ap)
        if not 0 <= ap < self.network.num_aps:
            raise ValueError(f"ap = {ap}: must lie in 0 ... {self.network.num_aps - 1}")
        return partial(decide, heads.arrays(ap), *self._scaling(), self.observation.width(self.network.num_aps))

    def local_network(self) -> Callable[[np.ndarray], np.ndarray]:
        """What the APs of a graph decide together, without the batches of `act`: a function of one raw observation
        (I, N F) of any network that returns its actions (I,) int64; it can be pickled.

        Raises:
            ValueError: another paradigm than "graph"; in the function, another shape or numbers that are not finite.
        """
        if not isinstance(actor := self._actor, GraphActor):
            raise ValueError(f"paradigm = {self.config.paradigm!r}: has no local_network, a graph has; take `act`")
        return partial(decide_network, *actor.arrays(), actor.rounds)

    def export_onnx(self, path: str | Path, network: NetworkConfig | None = None) -> Path:
        """Write what each AP runs as an ONNX file, ap_0.onnx ..., or what all APs decide together: policy.onnx of a
        centralized policy, graph.onnx of a graph.

        Input "obs": raw observations (B, N F) float32, of all APs (B, I, N F) in one file. Output "action": (B,) or
        (B, I) int64, as `act` gives without `action_mask`. The files do not check that observations are finite.
        Beside them are interface.json, with names and units of the numbers, and SHA256SUMS; the folder is replaced as
        a whole.

        Args:
            path: the folder.
            network: for whose I and N, which a graph's file has fixed; left out, those of the training.

        Raises:
            ImportError: the extra `deploy` is not installed.
            ValueError: a sampled policy, parameters such as NaN after a training that diverged, or what `check_fits`
                refuses.
            FileExistsError: `path` holds something else.
        """
        from .onnx_files import write_models, write_onnx  # needs an extra
        from .onnx_graph import graph_model

        if self.stochastic:
            raise ValueError("stochastic = True: must be a greedy policy, the files draw no random numbers")
        check_tensors(self.tensors, self.config, self.network)
        about = {"policy": self.name, "network": self.network.to_dict(), **self.parameters()}
        network = self.network if network is None else network
        self.check_fits(network)
        aps, top_n = network.num_aps, network.top_n
        if isinstance(actor := self._actor, GraphActor):
            models = {"graph": partial(graph_model, *actor.arrays(), actor.rounds, aps, top_n)}
            write_models(path, models, (aps,), top_n, self.observation.names(aps), about)
            return as_path(path)
        paradigm = actor.paradigm
        joint, (heads, _, num_actions) = paradigm.joint, paradigm.heads(self.network)
        layers = {"policy" if joint else f"ap_{head}": actor.arrays(head) for head in range(heads)}
        actions = torch.arange(num_actions, device="cpu")
        if joint:
            actions = paradigm.to_aps(actions.unsqueeze(0), top_n + 1, aps)
        write_onnx(path, layers, actions.numpy(), *self._scaling(), self.observation.names(aps), about)
        return as_path(path)

    def _scaling(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread (N F,) of the observations."""
        return self.tensors["obs_mean"].cpu().numpy(), self.tensors["obs_std"].cpu().numpy()

    def begin(self, key: Tensor) -> None:
        """Start an episode: deployments' keys (E, 3). Only a sampled policy needs them."""
        if self.stochastic:
            heads = 1 if self._heads("sampled").paradigm.joint else self.network.num_aps
            self._stream = PolicyStream(key, self.seed, heads)

    def serve(self, view: ObservationView) -> Tensor:
        """Users to serve (E, I), -1 for silence."""
        if not self.stochastic:
            return view.users(self.act(view.obs, view.action_mask))
        log_pi = self._log_policy(view)  # (H, E, A)
        choice = sample(log_pi.exp(), self._stream.next().to(log_pi.device).T)  # (H, E)
        to_aps = self._heads("sampled").paradigm.to_aps
        return view.users(to_aps(choice, view.action_mask.shape[-1], view.obs.shape[1]))

    def log_prob(self, view: ObservationView, actions: Tensor) -> Tensor:
        """ln probability of joint actions (E, I): (E,). For a greedy policy 0 or -inf."""
        if not self.stochastic:
            same = (self.act(view.obs, view.action_mask) == actions).all(-1)
            return torch.where(same, 0.0, -torch.inf).double()
        heads = self._heads("sampled").paradigm.to_heads(actions, view.action_mask.shape[-1])
        return losses.taken(self._log_policy(view), heads).sum(0).double()

    def _log_policy(self, view: ObservationView) -> Tensor:
        with torch.no_grad():
            obs = view.obs.to(self.tensors["obs_mean"]).unsqueeze(0)
            heads = self._heads("sampled")
            return losses.log_policy(*heads.logits(obs, view.action_mask.unsqueeze(0))).squeeze(0)

    def _heads(self, method: str) -> HeadActor:
        """What decides; ValueError for a graph, in the name of a method that only heads have."""
        if not isinstance(self._actor, HeadActor):
            raise ValueError(f"paradigm = 'graph': has no {method}, its APs decide by messages; take `act`")
        return self._actor

    def _checked(self, obs: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        size = None if self.config.paradigm == "graph" else (self.network.num_aps, self.network.top_n)
        return checked_inputs(obs, mask, self.observation, size, self.tensors["obs_mean"].device)

    def check_fits(self, network: NetworkConfig, strict: bool = False) -> None:
        """Whether the policy can run on a network.

        Raises:
            ValueError: another observation; another N or I (each AP has its own head) unless it is a graph, which runs
                on any number of APs and slots; any other difference where `strict`.

        Other differences are a warning that lists them.
        """
        check_kind("network", network, NetworkConfig)
        own, other = self.network.to_dict(), network.to_dict()
        different = [f"{name} = {other[name]} instead of {own[name]}" for name in own if own[name] != other[name]]
        graph = self.config.paradigm == "graph"
        fatal = [text for text in different if text.startswith(("top_n ", "num_aps ")[2 * graph :] + ("observation ",))]
        if fatal or (strict and different):
            raise ValueError(f"the policy was trained for another network: {'; '.join(fatal or different)}")
        ignored = (
            "episode_ttis",
            "num_sinusoids",
            *("num_aps", "num_users", "top_n", "area_m", "require_users") * graph,
        )
        noteworthy = [text for text in different if not text.startswith(ignored)]
        if noteworthy:
            warnings.warn(f"the policy was trained for another network: {'; '.join(noteworthy)}", stacklevel=3)

    def save(self, path: str | Path) -> Path:
        """Write a checkpoint folder: policy.safetensors, policy.json, SHA256SUMS; replaced as a whole.

        Raises:
            ValueError: parameters that `load` would refuse, such as NaN after a training that diverged.
        """
        write_checkpoint(path, self.config, self.network, self.tensors, self.seed, self.history)
        return as_path(path)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> Policy:
        """Load a checkpoint.

        Args:
            path: the folder that `save` wrote.
            device: where to run it.

        Raises:
            FileNotFoundError: no such folder.
            CorruptFileError: a file is missing or was changed, or does not hold what a checkpoint holds.
            ValueError: a device that is not there; a mixer, penalty or observation of the user's own that is not
                registered in this process.
        """
        device = known_device(device)
        config, network, tensors, seed, history = read_checkpoint(path)
        return cls(config, network, {name: tensor.to(device) for name, tensor in tensors.items()}, seed, history)
