"""One update step for any paradigm x backbone x penalty, of S seeds at once.

Shapes: S seeds, K twin critics, H heads, B batch, A actions of a head, V learned values (1, or H for independent).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..config import check_range, check_types, constant, from_dict
from . import losses
from .networks import StackedMLP
from .paradigms import PARADIGMS

BACKBONES = ("dqn", "sac", "bc")
TD_LOSSES = ("mse", "huber")
LEAST_TEMPERATURE = 1e-8  # of SAC, `study`: its logarithm stays finite


@dataclass(frozen=True)
class AgentConfig:
    """A point of the grid paradigm x backbone x penalty, and how it is trained.

    The loss of a critic is TD + alpha * (logsumexp_a Q(s, a) - Q(s, a_data)); alpha = 0 is plain off-policy learning,
    online or offline. Backbone "bc" keeps the penalty alone, which is behaviour cloning.

    Raises:
        ValueError: an unknown name, a wrong type, or a value outside its range.
    """

    paradigm: str = constant("ctde", "", "paper", "centralized, independent or ctde")
    backbone: str = constant("sac", "", "paper", "sac (discrete), dqn (double Q), or bc (behaviour cloning)")
    alpha: float = constant(1.0, "", "paper", "weight of the CQL penalty; 0 for none")
    gamma: float = constant(0.9, "", "study", "discount factor")
    td_loss: str = constant("mse", "", "study", "mse or huber")
    hidden: tuple[int, ...] = constant((64, 64), "units", "study", "hidden layers of every network")
    learning_rate: float = constant(1e-3, "", "study", "of Adam, for all that learns; offline it falls to 0")
    adam_eps: float = constant(1e-8, "", "study", "epsilon of Adam")
    batch_size: int = constant(256, "transitions", "study", "B, per seed and update")
    num_updates: int = constant(2000, "updates", "study", "gradient steps of offline training")
    target_rate: float = constant(0.01, "", "study", "soft update of the target network per step")
    temperature: float = constant(0.1, "", "study", "entropy temperature of SAC (its start if it is tuned)")
    tune_temperature: bool = constant(False, "", "study", "adapt the temperature to the target entropy")
    target_entropy: float = constant(0.3, "", "study", "target as a share of the uniform policy's entropy")

    def __post_init__(self) -> None:
        check_types(self)
        for name, allowed in (("paradigm", tuple(PARADIGMS)), ("backbone", BACKBONES), ("td_loss", TD_LOSSES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} = {getattr(self, name)!r}: must be one of {', '.join(allowed)}")
        if not self.hidden or not all(type(width) is int and width > 0 for width in self.hidden):
            raise ValueError(f"hidden = {self.hidden}: must be a tuple of positive whole numbers")
        # Beyond these, squares of gradients overflow in single precision, or no memory holds it.
        if max(self.hidden) > 2**16:
            raise ValueError(f"hidden = {self.hidden}: at most {2**16} units a layer")
        check_range(self, "alpha", 0, 1e6)
        check_range(self, "gamma", 0, 1)
        check_range(self, "temperature", 0, 1e6)
        check_range(self, "batch_size", 1, 1e7)
        check_range(self, "num_updates", 1, 1e9)
        for name in ("learning_rate", "target_rate"):
            check_range(self, name, 0, 1, open_low=True)
        check_range(self, "adam_eps", 1e-30, 1)
        check_range(self, "target_entropy", 0, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain dict, for JSON."""
        return {**dataclasses.asdict(self), "hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AgentConfig:
        """Inverse of `to_dict`; ValueError on an unknown key."""
        if isinstance(values, dict) and isinstance(values.get("hidden"), list):  # JSON has no tuples
            values = {**values, "hidden": tuple(values["hidden"])}
        return from_dict(cls, values)


class Batch(NamedTuple):
    """A minibatch per seed: observations standardised, rewards standardised."""

    obs: Tensor  # (S, B, I, 2N)
    mask: Tensor  # (S, B, I, N+1)
    actions: Tensor  # (S, B, I)
    reward: Tensor  # (S, B)
    terminated: Tensor  # (S, B)
    next_obs: Tensor  # (S, B, I, 2N)
    next_mask: Tensor  # (S, B, I, N+1)


class Metrics(NamedTuple):
    """What one update reports, each (S,): means over batch, heads and twins, in units of the standardised reward."""

    td_loss: Tensor
    penalty: Tensor
    q_data: Tensor  # learned value of the logged joint action
    q_greedy: Tensor  # learned value of the greedy joint action
    entropy: Tensor  # of the policy, nats per head; 0 for DQN


def seeded_generators(seeds: Sequence[int], purpose: int) -> list[torch.Generator]:
    """One independent CPU generator per training seed and purpose."""
    states = [np.random.SeedSequence((seed, purpose)).generate_state(1, np.uint64)[0] for seed in seeds]
    return [torch.Generator().manual_seed(int(state >> np.uint64(1))) for state in states]


class Learner:
    """Networks, target networks and optimiser of S seeds.

    Args:
        config: what to learn.
        num_aps: I.
        top_n: N.
        seeds: the training seeds; each draws its own parameters.
        device: where to train.

    Raises:
        ValueError: a centralized head with too many joint actions.
    """

    def __init__(
        self, config: AgentConfig, num_aps: int, top_n: int, seeds: Sequence[int], device: str | torch.device = "cpu"
    ) -> None:
        self.config, self.paradigm = config, PARADIGMS[config.paradigm]
        heads, inputs, actions = self.paradigm.heads(num_aps, top_n)
        sizes = (inputs, *config.hidden, actions)
        generators = seeded_generators(seeds, purpose=0)
        self.num_actions = top_n + 1
        self.sac = config.backbone == "sac"
        twins = 2 if self.sac else 1
        self.critic = StackedMLP(generators, (twins, heads), sizes).to(device)
        self.target = StackedMLP(generators, (twins, heads), sizes).to(device).requires_grad_(False)
        self.target.load_state_dict(self.critic.state_dict())
        self.actor = StackedMLP(generators, (heads,), sizes).to(device) if self.sac else None
        start = torch.tensor(max(config.temperature, LEAST_TEMPERATURE)).log().item()
        self.log_temperature = torch.full(
            (len(seeds), 1, 1), start, device=device, requires_grad=config.tune_temperature
        )
        parameters = [*self.critic.parameters(), *(self.actor.parameters() if self.actor else ())]
        if config.tune_temperature:
            parameters.append(self.log_temperature)
        # Adam is elementwise, so one optimiser over the stack leaves the seeds apart.
        self.optimizer = torch.optim.Adam(parameters, lr=config.learning_rate, eps=config.adam_eps, fused=True)

    def update(self, batch: Batch) -> Metrics:
        """One gradient step of every seed, then the soft update of the target networks."""
        config, paradigm = self.config, self.paradigm
        mask = paradigm.barriers(batch.mask)  # (S, H, B, A)
        actions = paradigm.actions(batch.actions, self.num_actions)  # (S, H, B)
        obs = paradigm.observations(batch.obs)  # (S, H, B, D)
        twin_mask, twin_actions = mask.unsqueeze(1), actions.unsqueeze(1).expand(-1, self._twins, -1, -1)
        q = self.critic(obs.unsqueeze(1))  # (S, K, H, B, A)
        values, penalty = losses.taken_and_penalty(q, twin_mask, twin_actions)  # (S, K, H, B) each
        predicted = paradigm.mix(values)  # (S, K, V, B)
        with torch.no_grad():
            target = losses.td_target(  # (S, V, B)
                batch.reward.unsqueeze(1), batch.terminated.unsqueeze(1), config.gamma, self._next_value(batch)
            )
        error = losses.td_loss(predicted, target.unsqueeze(1).expand_as(predicted), config.td_loss)
        # Sums over everything that has its own parameters, means over the batch alone.
        loss = torch.zeros((), device=error.device)
        if config.backbone != "bc":
            loss = error.mean(-1).sum()
        if config.alpha or config.backbone == "bc":
            loss = loss + (config.alpha if config.backbone != "bc" else 1.0) * penalty.mean(-1).sum()
        policy_entropy = torch.zeros_like(penalty[:, 0])
        if self.actor is not None:
            log_pi = losses.log_policy(self.actor(obs), mask)
            policy_entropy = losses.entropy(log_pi)  # (S, H, B)
            loss = loss + losses.actor_loss(_pessimistic(q.detach()), log_pi, self.temperature).mean(-1).sum()
            if config.tune_temperature:
                wanted = config.target_entropy * (mask == 0).sum(-1).log()
                loss = loss + losses.temperature_loss(self.log_temperature, policy_entropy, wanted).mean((1, 2)).sum()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.target.parameters()), list(self.critic.parameters()), config.target_rate)
            best = paradigm.mix(losses.masked(q, twin_mask).amax(-1))
            return Metrics(
                *(x.detach().flatten(1).mean(1) for x in (error, penalty, predicted, best, policy_entropy)),
            )

    def scale_learning_rate(self, share: float) -> None:
        """Set it to a share of `AgentConfig.learning_rate`."""
        for group in self.optimizer.param_groups:
            group["lr"] = share * self.config.learning_rate

    def parameters(self) -> dict[str, Tensor]:
        """What is learned, by name, each (S, ...): the layers of the critic and of the actor."""
        nets = {"critic": self.critic} | ({"actor": self.actor} if self.actor else {})
        return {f"{name}.{k}": p for name, net in nets.items() for k, p in enumerate(net.layers)}

    def state(self) -> dict[str, Tensor]:
        """All that an update changes, by name: parameters, target networks, temperature, moments of Adam."""
        tensors = {"log_temperature": self.log_temperature}
        for name, net in self._nets().items():
            tensors |= {f"{name}.{key}": tensor for key, tensor in net.state_dict().items()}
        for k, moments in enumerate(self.optimizer.state.values()):
            tensors |= {f"adam.{k}.{key}": tensor for key, tensor in moments.items()}
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `state` gave; other names are ignored."""
        with torch.no_grad():
            self.log_temperature.copy_(tensors["log_temperature"])
        for name, net in self._nets().items():
            net.load_state_dict({key: tensors[f"{name}.{key}"] for key in net.state_dict()})
        device = self.log_temperature.device
        for k, parameter in enumerate(p for group in self.optimizer.param_groups for p in group["params"]):
            start = f"adam.{k}."
            moments = {n.removeprefix(start): t.to(device) for n, t in tensors.items() if n.startswith(start)}
            self.optimizer.state[parameter] = moments

    def _nets(self) -> dict[str, StackedMLP]:
        return {"critic": self.critic, "target": self.target} | ({"actor": self.actor} if self.actor else {})

    @property
    def temperature(self) -> Tensor:
        """Entropy temperature (S, 1, 1), without a gradient of its own."""
        return self.log_temperature.detach().exp().clamp(min=LEAST_TEMPERATURE)

    @property
    def _twins(self) -> int:
        return self.critic.layers[0].shape[1]

    def _next_value(self, batch: Batch) -> Tensor:
        """Value of the next observation (S, V, B), by the target networks.

        The twins' minimum is taken for each head, before the heads are mixed: slightly more pessimistic for CTDE than
        the minimum of the two sums, and the same function for all paradigms.
        """
        if self.config.gamma == 0 or self.config.backbone == "bc":
            return torch.zeros_like(batch.reward).unsqueeze(1)
        obs = self.paradigm.observations(batch.next_obs)
        mask = self.paradigm.barriers(batch.next_mask)
        q = _pessimistic(self.target(obs.unsqueeze(1)))  # (S, H, B, A)
        if self.actor is not None:
            value = losses.soft_value(q, losses.log_policy(self.actor(obs), mask), self.temperature)
        else:
            value = losses.double_q_value(self.critic(obs.unsqueeze(1)).squeeze(1), q, mask)
        return self.paradigm.mix(value)


def _pessimistic(q: Tensor) -> Tensor:
    """The least of the twins (S, K, H, B, A) -> (S, H, B, A)."""
    return functools.reduce(torch.minimum, q.unbind(1))
