"""Many small networks of one shape, evaluated as one batched matrix product per layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

NARROW = 16  # columns below which a product is faster computed as its transpose: less than a few processor vectors


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
                drawn = [torch.rand(shape, generator=g, dtype=torch.float32, device="cpu") for g in generators]
                layers.append(nn.Parameter((2 * torch.stack(drawn) - 1) * bound))
        self.layers = nn.ParameterList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """x (S, *stack, B, in) -> (S, *stack, B, out); stack dimensions of size 1 in x are broadcast."""
        stack = self.layers[0].shape[:-2]
        x = x.expand(*stack, *x.shape[-2:]).flatten(0, -3)
        layers = (layer.flatten(0, -3) for layer in self.layers)
        return _ReLULayers.apply(x, *layers).unflatten(0, stack)  # type: ignore[no-untyped-call]


def stack_of(tensors: dict[str, Tensor], name: str, stack: tuple[int, ...], sizes: tuple[int, ...]) -> StackedMLP:
    """A stack of one seed with the given parameters."""
    net = StackedMLP([torch.Generator("cpu")], stack, sizes)
    state = {f"layers.{k}": tensors[f"{name}.{k}"].unsqueeze(0) for k in range(len(net.layers))}
    net.load_state_dict(state)
    return net.to(tensors["obs_mean"].device).requires_grad_(False)


def acting(nets: Mapping[str, StackedMLP]) -> StackedMLP:
    """The network that decides: the actor, or without one the critic, whose first (and only) twin acts."""
    return nets["actor"] if "actor" in nets else nets["critic"]


def logits(nets: Mapping[str, StackedMLP], inputs: Tensor) -> Tensor:
    """What the argmax or softmax over actions is taken of: inputs (S, H, B, D) -> (S, H, B, A)."""
    return nets["actor"](inputs) if "actor" in nets else nets["critic"](inputs.unsqueeze(1))[:, 0]


class _ReLULayers(torch.autograd.Function):
    """The layers as one node of the graph: small networks otherwise spend their time in the graph's bookkeeping."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *layers: Tensor) -> Tensor:
        inputs = []
        for k in range(0, len(layers), 2):
            inputs.append(x)
            x = _product(x, layers[k]).add_(layers[k + 1])
            if k + 2 < len(layers):
                x.relu_()
        ctx.save_for_backward(*inputs, *layers[::2])
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        depth = len(ctx.saved_tensors) // 2
        inputs, weights = ctx.saved_tensors[:depth], ctx.saved_tensors[depth:]
        gradients: list[Tensor] = []
        for k in reversed(range(depth)):
            gradients = [_product(inputs[k].mT, gradient), gradient.sum(-2, keepdim=True), *gradients]
            if k or ctx.needs_input_grad[0]:
                gradient = torch.bmm(gradient, weights[k].mT)
                if k:  # in place: no second tensor to allocate and fill
                    torch.ops.aten.threshold_backward.grad_input(gradient, inputs[k], 0, grad_input=gradient)
        return gradient if ctx.needs_input_grad[0] else None, *gradients


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a (L, m, k) times b (L, k, n)."""
    return torch.bmm(a, b) if b.shape[-1] >= NARROW else torch.bmm(b.mT, a.mT).mT
