"""What is deployed: act on observations, save, load."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor

from ..checks import check_kind, known_device
from ..config import NetworkConfig
from ..game.views import ObservationView
from ..random_streams import PolicyStream, sample
from ..storage import CorruptFileError, new_folder, read_json, reading, verify
from . import losses
from .config import AgentConfig, method_name
from .files import DESCRIPTION, FORMAT, _check_tensors, _networks
from .local import local_decision
from .networks import StackedMLP
from .paradigms import PARADIGMS


class Policy:
    """A trained agent of one seed.

    SAC and BC act by masked argmax of the actor (of the logits), DQN by masked argmax of Q. `sampled()` gives the
    stochastic version.

    Attributes:
        config: the AgentConfig it was trained with.
        network: the NetworkConfig of its data.
        seed: its training seed.
        history: training history, column name -> (number of log points,) array.
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
        self.paradigm = PARADIGMS[config.paradigm]
        stacks, sizes = _networks(config, network)
        self._nets = {name: _stack_of(tensors, name, stack, sizes) for name, stack in stacks.items()}

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
        if self.config.backbone == "dqn":
            raise ValueError("backbone = 'dqn': a greedy policy has no distribution to sample from")
        return Policy(self.config, self.network, self.tensors, self.seed, self.history, stochastic=True)

    def parameters(self) -> dict[str, Any]:
        """What it is, as plain values, for the metadata of what it logs."""
        return {"agent": self.config.to_dict(), "seed": self.seed, "stochastic": self.stochastic}

    def act(self, obs: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Greedy actions.

        Args:
            obs: (..., I, 2N) raw observations (SINR in dB, ln w).
            action_mask: (..., I, N+1) bool; left out, a slot is taken for empty where both its numbers are 0.

        Returns:
            (..., I) int64, 0 for silence, n for the n-th top user.

        Raises:
            ValueError: another I or N than it was trained for, or what is no number, not real or not finite.
        """
        obs, mask = self._checked(obs, action_mask)
        flat_obs, flat_mask = obs.reshape(-1, *obs.shape[-2:]), mask.reshape(-1, *mask.shape[-2:])
        with torch.no_grad():
            choice = losses.masked(*self._logits(flat_obs, flat_mask)).argmax(-1)
            actions = self.paradigm.split(choice.squeeze(0), mask.shape[-1], obs.shape[-2])
        return actions.reshape(obs.shape[:-1])

    def q_values(self, obs: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Learned values of the heads' actions (H, B, A), mean of the twins, for raw obs (B, I, 2N); -inf if masked.
        In units of the standardised reward."""
        obs, mask = self._checked(obs, action_mask)
        if obs.ndim != 3:
            raise ValueError(f"obs of shape {tuple(obs.shape)}: must be (B, I, 2N)")
        with torch.no_grad():
            inputs = self.paradigm.observations(self._standardised(obs)).unsqueeze(0)
            return losses.masked(self._nets["critic"](inputs.unsqueeze(1)).mean(1), self.paradigm.masks(mask)).squeeze(
                0
            )

    def local(self, ap: int) -> Callable[[np.ndarray], int]:
        """What AP `ap` runs: a function of its own raw observation (2N,) that returns its greedy action; see
        `local.local_decision`."""
        return local_decision(self, ap)

    def begin(self, key: Tensor) -> None:
        """Start an episode: deployments' keys (E, 3). Only a sampled policy needs them."""
        if self.stochastic:
            heads = 1 if self.paradigm.joint else self.network.num_aps
            self._stream = PolicyStream(key, self.seed, heads)

    def serve(self, view: ObservationView) -> Tensor:
        """Users to serve (E, I), -1 for silence."""
        if not self.stochastic:
            return view.users(self.act(view.obs, view.action_mask))
        log_pi = self._log_policy(view)  # (H, E, A)
        choice = sample(log_pi.exp(), self._stream.next().to(log_pi.device).T)  # (H, E)
        return view.users(self.paradigm.split(choice, view.action_mask.shape[-1], view.obs.shape[1]))

    def log_prob(self, view: ObservationView, actions: Tensor) -> Tensor:
        """ln probability of joint actions (E, I): (E,). For a greedy policy 0 or -inf."""
        if not self.stochastic:
            same = (self.act(view.obs, view.action_mask) == actions).all(-1)
            return torch.where(same, 0.0, -torch.inf).double()
        heads = self.paradigm.actions(actions, view.action_mask.shape[-1])
        return losses.taken(self._log_policy(view), heads).sum(0).double()

    def _log_policy(self, view: ObservationView) -> Tensor:
        with torch.no_grad():
            return losses.log_policy(*self._logits(view.obs, view.action_mask)).squeeze(0)

    def _standardised(self, obs: Tensor) -> Tensor:
        return (obs.to(self.tensors["obs_mean"]) - self.tensors["obs_mean"]) / self.tensors["obs_std"]

    def _logits(self, obs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What the argmax or softmax is taken of, and its mask: (1, H, B, A) both."""
        inputs = self.paradigm.observations(self._standardised(obs)).unsqueeze(0)
        values = (
            self._nets["actor"](inputs) if "actor" in self._nets else self._nets["critic"](inputs.unsqueeze(1))[:, 0]
        )
        return values, self.paradigm.masks(mask).unsqueeze(0)

    def _checked(self, obs: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        wanted = (self.network.num_aps, 2 * self.network.top_n)
        obs, mask = _as_tensor("obs", obs), None if mask is None else _as_tensor("action_mask", mask)
        if obs.dtype == torch.bool or obs.is_complex():
            raise ValueError(f"obs: must be real numbers, got {obs.dtype}")
        if obs.ndim < 2 or tuple(obs.shape[-2:]) != wanted:
            raise ValueError(f"obs of shape {tuple(obs.shape)}: must be (..., I, 2N) = (..., {wanted[0]}, {wanted[1]})")
        if not bool(torch.isfinite(obs).all()):
            raise ValueError("obs: must be finite, found NaN or infinity")
        if mask is None:
            filled = (obs.unflatten(-1, (-1, 2)) != 0).any(-1)
            mask = torch.nn.functional.pad(filled, (1, 0), value=True)
        elif tuple(mask.shape) != (*obs.shape[:-1], self.network.top_n + 1) or mask.dtype != torch.bool:
            raise ValueError(f"action_mask: must be bool (..., I, N+1), got {mask.dtype} {tuple(mask.shape)}")
        return obs, mask

    def check_fits(self, network: NetworkConfig, strict: bool = False) -> None:
        """Whether the policy can run on a network.

        Raises:
            ValueError: another N, or another I (each AP has its own head); any other difference where `strict`.

        Other differences are a warning that lists them.
        """
        check_kind("network", network, NetworkConfig)
        own, other = self.network.to_dict(), network.to_dict()
        different = [f"{name} = {other[name]} instead of {own[name]}" for name in own if own[name] != other[name]]
        fatal = [text for text in different if text.startswith(("top_n ", "num_aps "))]
        if fatal or (strict and different):
            raise ValueError(f"the policy was trained for another network: {'; '.join(fatal or different)}")
        ignored = ("episode_ttis", "num_sinusoids")
        noteworthy = [text for text in different if not text.startswith(ignored)]
        if noteworthy:
            warnings.warn(f"the policy was trained for another network: {'; '.join(noteworthy)}", stacklevel=3)

    def save(self, path: str | Path) -> Path:
        """Write a checkpoint folder: policy.safetensors, policy.json, SHA256SUMS; replaced as a whole.

        Raises:
            ValueError: parameters that `load` would refuse, such as NaN after a training that diverged.
        """
        _check_tensors(self.tensors, self.config, self.network)
        columns = {f"history.{name}": torch.from_numpy(np.ascontiguousarray(v)) for name, v in self.history.items()}
        tensors = {name: t.cpu().contiguous() for name, t in {**self.tensors, **columns}.items()}
        with new_folder(path) as folder:
            (folder / "policy.safetensors").write_bytes(to_safetensors(tensors))
            description = {
                "format": FORMAT,
                "agent": self.config.to_dict(),
                "network": self.network.to_dict(),
                "seed": self.seed,
            }
            (folder / "policy.json").write_text(json.dumps(description, indent=1))
        return Path(path)

    @classmethod
    def load(
        cls,
        path: str | Path,
        network: NetworkConfig | None = None,
        strict: bool = False,
        device: str | torch.device = "cpu",
    ) -> Policy:
        """Load a checkpoint.

        Args:
            path: the folder that `save` wrote.
            network: the network it is to run on; checked by `check_fits`.
            strict: refuse any difference between that network and the one it was trained for.
            device: where to run it.

        Raises:
            FileNotFoundError: no such folder.
            CorruptFileError: a file is missing or was changed, or does not hold what a checkpoint holds.
            ValueError: a policy for another N or I, or a device that is not there.
        """
        folder, device = verify(path), known_device(device)
        about, weights = folder / "policy.json", folder / "policy.safetensors"
        description = read_json(about)
        if description.get("format") != FORMAT:
            raise CorruptFileError(
                f"{about}: checkpoint format {description.get('format')!r}, this version reads {FORMAT}"
            )
        with reading(about):
            if description.keys() != DESCRIPTION:
                raise ValueError(f"it has {', '.join(description)} where {', '.join(sorted(DESCRIPTION))} are wanted")
            config, own = AgentConfig.from_dict(description["agent"]), NetworkConfig.from_dict(description["network"])
            _networks(config, own)
            seed = description["seed"]
            if type(seed) is not int or seed < 0:
                raise ValueError(f"seed = {seed!r}: must be a whole number from 0 on")
        with reading(weights):
            stored = load_file(weights)
            history = {n.removeprefix("history."): t.numpy() for n, t in stored.items() if n.startswith("history.")}
            tensors = {n: t for n, t in stored.items() if not n.startswith("history.")}
            _check_tensors(tensors, config, own)
        policy = cls(config, own, {name: tensor.to(device) for name, tensor in tensors.items()}, seed, history)
        if network is not None:
            policy.check_fits(network, strict)
        return policy


def _as_tensor(name: str, values: Any) -> Tensor:
    """Tensors, arrays and nested lists of numbers as a tensor; ValueError for anything else."""
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(f"{name}: must be a tensor, an array or nested lists, got {type(values).__name__}") from None


def _stack_of(tensors: dict[str, Tensor], name: str, stack: tuple[int, ...], sizes: tuple[int, ...]) -> StackedMLP:
    """A stack of one seed with the given parameters."""
    net = StackedMLP([torch.Generator()], stack, sizes)
    state = {f"layers.{k}": tensors[f"{name}.{k}"].unsqueeze(0) for k in range(len(net.layers))}
    net.load_state_dict(state)
    return net.to(tensors["obs_mean"].device).requires_grad_(False)
