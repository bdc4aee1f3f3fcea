"""One update step for any paradigm x mixer x backbone x penalty, of S seeds at once.

Shapes: S seeds, K twin critics, H heads, B batch, D inputs and A actions of a head, V learned values (1, or H for
independent), I APs, N top users, F features of each.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..config import NetworkConfig
from ..game.observations import observation_of
from ..random_streams import PARAMETERS, seeded_generators
from . import losses
from .config import AgentConfig, network_shapes
from .mixers import Separate, make_mixer
from .networks import StackedMLP, logits
from .paradigms import PARADIGMS

LEAST_TEMPERATURE = 1e-8  # of SAC, `study`: above 0


class Batch(NamedTuple):
    """A minibatch per seed: observations standardised, rewards standardised."""

    obs: Tensor  # (S, B, I, N F)
    mask: Tensor  # (S, B, I, N+1)
    actions: Tensor  # (S, B, I)
    reward: Tensor  # (S, B), or (S, B, I) each AP's own
    terminated: Tensor  # (S, B)
    next_obs: Tensor  # (S, B, I, N F)
    next_mask: Tensor  # (S, B, I, N+1)

    def td_target(self, gamma: float, next_value: Tensor) -> Tensor:
        """`losses.td_target` (S, V, B) of values of the next observation (S, V, B); for own rewards V is I."""
        reward = self.reward.unsqueeze(1) if self.reward.ndim == self.terminated.ndim else self.reward.mT
        return losses.td_target(reward, self.terminated.unsqueeze(1), gamma, next_value)


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
        network: where; its observations and actions make the networks' inputs and outputs.
        seeds: the training seeds; each draws its own parameters.
        device: where to train.

    Raises:
        ValueError: a centralized head with too many joint actions.
    """

    def __init__(
        self, config: AgentConfig, network: NetworkConfig, seeds: Sequence[int], device: str | torch.device = "cpu"
    ) -> None:
        self.config, self.paradigm, self.device = config, PARADIGMS[config.paradigm], torch.device(device)
        shapes = network_shapes(config, network)
        generators = seeded_generators(seeds, PARAMETERS)
        self.critic = StackedMLP(generators, *shapes["critic"]).to(device)
        self.target = StackedMLP(generators, *shapes["critic"]).to(device).requires_grad_(False)
        self.target.load_state_dict(self.critic.state_dict())
        self.networks = {"critic": self.critic}  # what acts, see `networks.acting`
        if config.backbone == "sac":
            self.networks["actor"] = StackedMLP(generators, *shapes["actor"]).to(device)
        self.mixer: nn.Module = Separate()
        if self.paradigm.mixed:
            state_size = network.num_aps * observation_of(network).size(network)
            self.mixer = make_mixer(config.mixer, generators, network.num_aps, state_size).to(device)
        self.target_mixer = copy.deepcopy(self.mixer).requires_grad_(False)
        self._set_optimizer()

    def _set_optimizer(self) -> None:
        # Adam is elementwise, so one optimiser over the stack leaves the seeds apart.
        config = self.config
        self.optimizer = torch.optim.Adam(
            self.parameters().values(), lr=config.learning_rate, eps=config.adam_eps, fused=True
        )

    def update(self, batch: Batch) -> Metrics:
        """One gradient step of every seed, then the soft update of the target networks."""
        config, paradigm = self.config, self.paradigm
        mask = paradigm.barriers(batch.mask)  # (S, H, B, A)
        actions = paradigm.to_heads(batch.actions, batch.mask.shape[-1])  # (S, H, B)
        obs, state = paradigm.observations(batch.obs), batch.obs.flatten(-2)  # (S, H, B, D), (S, B, I N F)
        q = self.critic(obs.unsqueeze(1))  # (S, K, H, B, A)
        twin_mask, twin_actions = mask.unsqueeze(1), actions.unsqueeze(1).expand(q.shape[:-1])
        if config.penalty == "none":
            values = losses.taken(q, twin_actions)  # (S, K, H, B)
            penalty = torch.zeros_like(values)
        else:
            values, penalty = losses.taken_and_penalty(q, twin_mask, twin_actions, losses.PENALTIES[config.penalty])
        predicted = self.mixer(values, state)  # (S, K, V, B)
        error = torch.zeros_like(predicted)
        if not config.clones:
            with torch.no_grad():
                target = batch.td_target(config.gamma, self._next_value(batch))  # (S, V, B)
            error = losses.td_loss(predicted, target.unsqueeze(1).expand_as(predicted), config.td_loss)
        # Sums over everything that has its own parameters, means over the batch alone.
        loss = error.mean(-1).sum()
        if config.penalty != "none" and config.alpha:
            loss = loss + config.alpha * penalty.mean(-1).sum()
        policy_entropy = torch.zeros_like(penalty[:, 0])
        if "actor" in self.networks:
            log_pi = losses.log_policy(self.networks["actor"](obs), mask)
            policy_entropy = losses.entropy(log_pi)  # (S, H, B)
            loss = loss + losses.actor_loss(_pessimistic(q.detach()), log_pi, self.temperature).mean(-1).sum()
        loss.backward()
        self._step([(self.target, self.critic), (self.target_mixer, self.mixer)])
        with torch.no_grad():
            best = self.mixer(losses.masked(q, twin_mask).amax(-1), state)
            return Metrics(
                *(x.detach().flatten(1).mean(1) for x in (error, penalty, predicted, best, policy_entropy)),
            )

    def _step(self, targets: Sequence[tuple[nn.Module, nn.Module]]) -> None:
        """Step of the optimiser by the gradients, then the soft update of (target, learned) modules."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            for slow, fast in targets:
                if parameters := [*slow.parameters()]:
                    rate = self.config.target_rate
                    torch._foreach_lerp_(parameters, [*fast.parameters()], rate)  # type: ignore[arg-type]

    def scale_learning_rate(self, share: float) -> None:
        """Set it to a share of `AgentConfig.learning_rate`."""
        for group in self.optimizer.param_groups:
            group["lr"] = share * self.config.learning_rate

    def parameters(self) -> dict[str, Tensor]:
        """What is learned, by name, each (S, ...): the layers, and the mixer's parameters."""
        return self.layers() | {f"mixer.{name}": p for name, p in self.mixer.named_parameters()}

    def layers(self) -> dict[str, Tensor]:
        """The layers of critic and actor by name, each (S, ...): what a `Policy` is made of."""
        return {f"{name}.{k}": p for name, net in self.networks.items() for k, p in enumerate(net.layers)}

    def state_dict(self) -> dict[str, Tensor]:
        """All that an update changes, by name: parameters, target networks, moments of Adam."""
        tensors = {f"{part}.{name}": p for part, module in self._modules() for name, p in module.state_dict().items()}
        for k, moments in enumerate(self.optimizer.state.values()):
            tensors |= {f"adam.{k}.{name}": tensor for name, tensor in moments.items()}
        return tensors

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `state_dict` gave; other names are ignored."""
        for part, module in self._modules():
            module.load_state_dict({name: tensors[f"{part}.{name}"] for name in module.state_dict()})
        for k, parameter in enumerate(p for group in self.optimizer.param_groups for p in group["params"]):
            start = f"adam.{k}."
            stored = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
            self.optimizer.state[parameter] = {n: t.to(self.device, copy=True) for n, t in stored.items()}

    def _modules(self) -> list[tuple[str, nn.Module]]:
        targets: dict[str, nn.Module] = {"target": self.target, "mixer": self.mixer, "target_mixer": self.target_mixer}
        return [*self.networks.items(), *targets.items()]

    def _next_value(self, batch: Batch) -> Tensor:
        """Value of the next observation (S, V, B), by the target networks and the target mixer.

        The twins' minimum is taken for each head, before the heads are mixed, the same function for all paradigms. For
        summed heads that is below the minimum of the two sums.
        """
        if self.config.gamma == 0:
            return torch.zeros_like(batch.terminated, dtype=batch.reward.dtype).unsqueeze(1)
        obs = self.paradigm.observations(batch.next_obs)
        mask = self.paradigm.barriers(batch.next_mask)
        q = _pessimistic(self.target(obs.unsqueeze(1)))  # (S, H, B, A)
        if "actor" in self.networks:
            log_pi = losses.log_policy(self.networks["actor"](obs), mask)
            value = losses.soft_value(q, log_pi, self.temperature)
        else:
            value = losses.double_q_value(logits(self.networks, obs), q, mask)
        return self.target_mixer(value, batch.next_obs.flatten(-2))

    @property
    def temperature(self) -> Tensor:
        """Entropy temperature of SAC (1, 1)."""
        # Through the logarithm in single precision: the study's numbers to the last digit.
        temperature = max(self.config.temperature, LEAST_TEMPERATURE)
        return torch.full((1, 1), temperature, dtype=torch.float32, device=self.device).log().exp()


def _pessimistic(q: Tensor) -> Tensor:
    """The least of the twins (S, K, H, B, A) -> (S, H, B, A)."""
    return functools.reduce(torch.minimum, q.unbind(1))
