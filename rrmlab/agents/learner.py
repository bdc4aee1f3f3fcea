"""One update step for any paradigm x backbone x penalty, of S seeds at once.

Shapes: S seeds, K twin critics, H heads, B batch, A actions of a head, V learned values (1, or H for independent).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..random_streams import seeded_generators
from . import losses
from .config import AgentConfig
from .networks import StackedMLP
from .paradigms import PARADIGMS

LEAST_TEMPERATURE = 1e-8  # of SAC, `study`: its logarithm stays finite


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
        actions = paradigm.to_heads(batch.actions, self.num_actions)  # (S, H, B)
        obs = paradigm.observations(batch.obs)  # (S, H, B, D)
        twin_mask, twin_actions = mask.unsqueeze(1), actions.unsqueeze(1).expand(-1, self._twins, -1, -1)
        q = self.critic(obs.unsqueeze(1))  # (S, K, H, B, A)
        values, penalty = losses.taken_and_penalty(q, twin_mask, twin_actions)  # (S, K, H, B) each
        predicted = paradigm.total(values)  # (S, K, V, B)
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
            best = paradigm.total(losses.masked(q, twin_mask).amax(-1))
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

    def state_dict(self) -> dict[str, Tensor]:
        """All that an update changes, by name: parameters, target networks, temperature, moments of Adam."""
        tensors = {"log_temperature": self.log_temperature}
        for name, net in self._nets().items():
            tensors |= {f"{name}.{key}": tensor for key, tensor in net.state_dict().items()}
        for k, moments in enumerate(self.optimizer.state.values()):
            tensors |= {f"adam.{k}.{key}": tensor for key, tensor in moments.items()}
        return tensors

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `state_dict` gave; other names are ignored."""
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
        return self.paradigm.total(value)


def _pessimistic(q: Tensor) -> Tensor:
    """The least of the twins (S, K, H, B, A) -> (S, H, B, A)."""
    return functools.reduce(torch.minimum, q.unbind(1))
