"""Many small networks of one shape, evaluated as one batched matrix product per layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class StackedMLP(nn.Module):
    """One ReLU network per (seed, ...) of a stack; a seed's parameters are drawn from its own generator.

    Args:
        generators: one CPU generator per seed; S = their number.
        stack: further stack dimensions, such as (K, H) for K twins of H heads.
        sizes: layer sizes (inputs, hidden ..., outputs).

    Parameters have shapes (S, *stack, in, out) and (S, *stack, 1, out); drawn uniformly from
    +-1/sqrt(in), PyTorch's default for a linear layer.
    """

    def __init__(self, generators: Sequence[torch.Generator], stack: Sequence[int], sizes: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Parameter] = []
        for fan_in, fan_out in zip(sizes[:-1], sizes[1:], strict=True):
            bound = 1 / math.sqrt(fan_in)
            for shape in ((*stack, fan_in, fan_out), (*stack, 1, fan_out)):
                drawn = [torch.rand(shape, generator=g) for g in generators]
                layers.append(nn.Parameter((2 * torch.stack(drawn) - 1) * bound))
        self.layers = nn.ParameterList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """x (S, *stack, B, in) -> (S, *stack, B, out); stack dimensions of size 1 in x are broadcast."""
        stack = self.layers[0].shape[:-2]
        x = x.expand(*stack, *x.shape[-2:]).flatten(0, -3)
        last = len(self.layers) // 2 - 1
        for k in range(last + 1):
            weight, bias = self.layers[2 * k], self.layers[2 * k + 1]
            x = torch.baddbmm(bias.flatten(0, -3), x, weight.flatten(0, -3))
            if k < last:
                x = torch.relu_(x)
        return x.view(*stack, *x.shape[-2:])
