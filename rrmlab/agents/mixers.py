"""Mixers: how the values of the APs' heads become the value that meets the TD target, Q_tot = f(Q_1 ... Q_H; state).

A mixer is a class `Mixer(generators, heads, state_size)`, made with one CPU generator per seed. Every parameter has the
seeds as its first dimension, a row for each (an `nn.Linear` would be shared by the seeds). Its `forward(values, state)`
takes the heads' values (S, ..., H, B), with or without twin critics at "...", so that dimensions are counted from the
end, and the standardised joint observation (S, B, D). It returns (S, ..., V, B), as `values.sum(-2, keepdim=True)`.
Greedy decisions of the heads are greedy for the whole only if the result rises in every head's value.
Shapes: S seeds, H heads, B batch, V learned values, D numbers of the joint observation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .networks import StackedMLP

EMBEDDING = 32  # M, units of QMIX's mixing network, `lineage` (Rashid et al. 2018)


class Separate(nn.Module):
    """No mixing: every head meets a target of its own (V = H)."""

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        return values


class Sum(nn.Module):
    """Q_tot = sum_h Q_h (V = 1): value decomposition. Source: the paper; Sunehag et al. 2018, VDN."""

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        return values.sum(-2, keepdim=True)


class QMix(nn.Module):
    """Monotonic mixing, Q_tot = |w2(s)| . elu(|W1(s)| Q + b1(s)) + b2(s) (V = 1), all four from the state s.

    W1, b1 and w2 are linear in s, b2 has one hidden ReLU layer. The absolute values keep dQ_tot/dQ_h >= 0. Twin critics
    share the mixer of their seed. Source: Rashid et al. 2018, QMIX, eq. 6 and figure 2.

    Args:
        generators: one CPU generator per seed.
        heads: H.
        state_size: D.
    """

    def __init__(self, generators: Sequence[torch.Generator], heads: int, state_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.weights = StackedMLP(generators, (), (state_size, EMBEDDING * (heads + 2)))  # W1, b1 and w2
        self.offset = StackedMLP(generators, (), (state_size, EMBEDDING, 1))  # b2

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        w1, b1, w2 = self.weights(state).split([EMBEDDING * self.heads, EMBEDDING, EMBEDDING], -1)
        w1 = w1.unflatten(-1, (EMBEDDING, self.heads)).abs()  # (S, B, M, H)
        extra = (1,) * (values.ndim - 3)  # dimensions between S and H, such as twins
        hidden = torch.einsum("sbmh,s...hb->s...bm", w1, values) + b1.view(len(b1), *extra, *b1.shape[1:])
        total = (F.elu(hidden) * w2.abs().view(len(w2), *extra, *w2.shape[1:])).sum(-1)  # (S, ..., B)
        return (total + self.offset(state).squeeze(-1).view(len(b1), *extra, -1)).unsqueeze(-2)


Mixer = Callable[[Sequence[torch.Generator], int, int], nn.Module]  # (generators, H, D) -> the module

# Add a class to choose it by `AgentConfig(mixer=name)`.
MIXERS: dict[str, Mixer] = {"sum": lambda generators, heads, state_size: Sum(), "qmix": QMix}


def make_mixer(name: str, generators: Sequence[torch.Generator], heads: int, state_size: int) -> nn.Module:
    """The mixer of that name for S seeds; ValueError unless its parameters and what it returns have the shapes stated
    at the head of this module."""
    seeds, mixer = len(generators), MIXERS[name](generators, heads, state_size)
    for parameter, values in mixer.named_parameters():
        if values.shape[:1] != (seeds,):
            raise ValueError(
                f"mixer = {name!r}: its parameter {parameter} has the shape {tuple(values.shape)}, the first dimension "
                f"must be the seeds, {seeds}"
            )
    with torch.no_grad():
        for twins in ((), (2,)):
            given = torch.zeros(seeds, *twins, heads, 5, device="cpu", dtype=torch.float32)
            found = mixer(given, torch.zeros(seeds, 5, state_size, device="cpu", dtype=torch.float32))
            if found.shape[:-2] != (seeds, *twins) or found.shape[-1] != 5:
                shapes = f"values of shape {tuple(given.shape)} it returned {tuple(found.shape)}"
                raise ValueError(f"mixer = {name!r}: for {shapes}, must be {(seeds, *twins, 1, 5)}")
    return mixer
