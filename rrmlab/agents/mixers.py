"""Mixers: how the values of the APs' heads become the value that meets the TD target, Q_tot = f(Q_1 ... Q_H; state).

A mixer is a module `mixer(values, state)`: values (S, ..., H, B) and the standardised joint observation (S, B, D) give
(S, ..., V, B). Greedy decisions of the single heads are greedy for the whole only if f rises in every head's value.
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

# Add a function or class to choose it by `AgentConfig(mixer=name)`. Its parameters are (S, ...), a row for each seed.
MIXERS: dict[str, Mixer] = {"sum": lambda generators, heads, state_size: Sum(), "qmix": QMix}
