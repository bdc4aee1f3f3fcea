"""The equations of DQN, SAC and CQL, one function each. Values of unavailable actions are -inf before any max, softmax
or logsumexp. Shapes: ... any leading dimensions (seeds, twins, heads), B batch, A actions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def masked(values: Tensor, mask: Tensor) -> Tensor:
    """values (..., B, A) with -inf where mask is False."""
    return values.masked_fill(~mask, -math.inf)


def taken(values: Tensor, actions: Tensor) -> Tensor:
    """values (..., B, A) of the actions (..., B) -> (..., B)."""
    return values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def double_q_value(q_online: Tensor, q_target: Tensor, mask: Tensor) -> Tensor:
    """Q_target(s', argmax_a Q_online(s', a)): (..., B). Source: van Hasselt et al. 2016, eq. 4."""
    return taken(q_target, masked(q_online, mask).argmax(-1))


def log_policy(logits: Tensor, mask: Tensor) -> Tensor:
    """ln pi(a | s) (..., B, A); -inf for unavailable actions."""
    logits = masked(logits, mask)
    # Not log_softmax: it would copy heads of few actions, whose values lie with the batch last.
    return logits - torch.logsumexp(logits, -1, keepdim=True)


def expectation(log_pi: Tensor, values: Tensor) -> Tensor:
    """sum_a pi(a) values(a) (..., B); actions of probability zero count nothing, whatever their value."""
    return (log_pi.exp() * values.masked_fill(log_pi == -math.inf, 0)).sum(-1)


def entropy(log_pi: Tensor) -> Tensor:
    """-sum_a pi ln pi (..., B), nats."""
    return -expectation(log_pi, log_pi)


def soft_value(q: Tensor, log_pi: Tensor, temperature: Tensor) -> Tensor:
    """V = sum_a pi (Q - tau ln pi): (..., B). Source: Christodoulou 2019, discrete SAC, eq. 10."""
    return expectation(log_pi, q) + temperature * entropy(log_pi)


def actor_loss(q: Tensor, log_pi: Tensor, temperature: Tensor) -> Tensor:
    """sum_a pi (tau ln pi - Q) with Q held fixed: (..., B). Source: Christodoulou 2019, eq. 12."""
    return -soft_value(q.detach(), log_pi, temperature)


def temperature_loss(log_temperature: Tensor, policy_entropy: Tensor, target_entropy: Tensor) -> Tensor:
    """tau (H - H_target): its gradient raises tau while the entropy is too low. Source: Christodoulou 2019, eq. 11."""
    return log_temperature.exp() * (policy_entropy - target_entropy).detach()


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
    """logsumexp_a Q(s, a) - Q(s, a_data): (..., B). Source: Kumar et al. 2020, CQL(H), eq. 4.

    For summed heads the penalty of Q_tot over joint actions is exactly the sum of the heads' penalties, because the
    logsumexp of a sum over independent choices factorises. Alone, without a TD loss, it is the cross-entropy of
    behaviour cloning with Q as logits.
    """
    return torch.logsumexp(masked(q, mask), -1) - taken(q, actions)
