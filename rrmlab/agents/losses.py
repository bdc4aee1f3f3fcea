"""The equations of DQN, SAC and CQL, one function each. Values of unavailable actions are -inf before any max, softmax
or logsumexp. Shapes: ... any leading dimensions (seeds, twins, heads), B batch, A actions.

A mask (..., B, A) is True where an action is available; its `barrier`, computed once, serves wherever a mask does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

HUGE = 1e30  # beyond any value; stands for infinity where 0 * infinity would be no number


def barrier(mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """0 where an action is available, -inf where it is not: to be added to its value."""
    return 1 - mask.to(dtype).reciprocal()


def masked(values: Tensor, mask: Tensor) -> Tensor:
    """values (..., B, A) with -inf where mask is False."""
    # A sum takes a tenth of the time of masked_fill, and its gradient takes none.
    return values + (barrier(mask, values.dtype) if mask.dtype == torch.bool else mask)


def taken(values: Tensor, actions: Tensor) -> Tensor:
    """values (..., B, A) of the actions (..., B) -> (..., B)."""
    return values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def double_q_value(q_online: Tensor, q_target: Tensor, mask: Tensor) -> Tensor:
    """Q_target(s', argmax_a Q_online(s', a)): (..., B). Source: van Hasselt et al. 2016, eq. 4."""
    return taken(q_target, masked(q_online, mask).argmax(-1))


def log_policy(logits: Tensor, mask: Tensor) -> Tensor:
    """ln pi(a | s) (..., B, A); -inf for unavailable actions, or as far down as their barrier."""
    return _over_actions(F.log_softmax, masked(logits, mask))


def expectation(log_pi: Tensor, values: Tensor) -> Tensor:
    """sum_a pi(a) values(a) (..., B) of a `log_policy`; actions of probability 0 count nothing, whatever the value."""
    # As ln pi is normalised, its softmax is its exponential, which is slow where it underflows.
    pi = _over_actions(F.softmax, log_pi)
    return (pi * values.clamp(-HUGE, HUGE)).sum(-1)


def entropy(log_pi: Tensor) -> Tensor:
    """-sum_a pi ln pi (..., B), nats."""
    return -expectation(log_pi, log_pi)


def soft_value(q: Tensor, log_pi: Tensor, temperature: Tensor) -> Tensor:
    """V = sum_a pi (Q - tau ln pi): (..., B). Source: Christodoulou 2019, discrete SAC, eq. 10."""
    return expectation(log_pi, q - temperature.unsqueeze(-1) * log_pi)


def actor_loss(q: Tensor, log_pi: Tensor, temperature: Tensor) -> Tensor:
    """sum_a pi (tau ln pi - Q) with Q held fixed: (..., B). Source: Christodoulou 2019, eq. 12."""
    return -soft_value(q.detach(), log_pi, temperature)


def td_target(reward: Tensor, terminated: Tensor, gamma: float, next_value: Tensor) -> Tensor:
    """r + gamma V(s'), without V where the episode terminated. A time limit truncates and does not terminate: the
    bootstrap stays, with the true last observation as s'."""
    return reward + gamma * next_value * (~terminated)


def td_loss(prediction: Tensor, target: Tensor, kind: str) -> Tensor:
    """Squared error ("mse") or Huber loss with threshold 1 ("huber"), elementwise."""
    if kind == "huber":
        return F.huber_loss(prediction, target, reduction="none")
    return (prediction - target).square()


def cql_penalty(q: Tensor, mask: Tensor, actions: Tensor) -> Tensor:
    """logsumexp_a Q(s, a) - Q(s, a_data): (..., B), which is -ln softmax_a Q(s, .) at the logged action. Source: Kumar
    et al. 2020, CQL(H), eq. 4.

    It is taken of every head. For summed heads these penalties add up to that of Q_tot over joint actions exactly,
    because the logsumexp of a sum over independent choices factorises. For any other mixer they do not: the penalty
    then keeps each head's own choice near the log, and says nothing about joint actions. Alone, without a TD loss, it
    is the cross-entropy of behaviour cloning with Q as logits.
    """
    return masked(q, mask).logsumexp(-1) - taken(q, actions)


Penalty = Callable[[Tensor, Tensor, Tensor], Tensor]  # q (..., B, A), mask or barrier (..., B, A), actions (..., B)

# Add a function to choose it by `AgentConfig(penalty=name)`; it gives (..., B) of every head.
PENALTIES: dict[str, Penalty] = {"cql": cql_penalty}


def taken_and_penalty(q: Tensor, mask: Tensor, actions: Tensor, penalty: Penalty) -> tuple[Tensor, Tensor]:
    """`taken` and a penalty (..., B); with CQL's both are one node of the graph."""
    if penalty is cql_penalty:
        return _TakenAndCQL.apply(q, mask, actions.unsqueeze(-1))  # type: ignore[no-untyped-call]
    return taken(q, actions), penalty(q, mask, actions)


class _TakenAndCQL(torch.autograd.Function):
    """`taken` and `cql_penalty` with their gradients written once: separate nodes take half the time of an update.

    A test compares values and gradients with the two equations.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, mask: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        log_pi = log_policy(q, mask)
        ctx.save_for_backward(log_pi, actions)
        return q.gather(-1, actions).squeeze(-1), -log_pi.gather(-1, actions).squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_taken: Tensor, to_penalty: Tensor) -> tuple[Tensor, None, None]:
        log_pi, actions = ctx.saved_tensors
        gradient = _over_actions(F.softmax, log_pi).mul_(to_penalty.unsqueeze(-1))
        return gradient.scatter_add_(-1, actions, (to_taken - to_penalty).unsqueeze(-1)), None, None


def _over_actions(function: Callable[[Tensor, int], Tensor], values: Tensor) -> Tensor:
    """function(values, -1); values that lie with the batch last, as those of few actions do, are not copied."""
    return function(values.mT, -2).mT if values.stride(-1) > values.stride(-2) else function(values, -1)
