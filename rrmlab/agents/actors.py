"""What decides in a policy: networks that take raw observations of S seeds to actions.

Shapes: S seeds, B batch, H heads, I APs, N top users, F features of each, D inputs and A actions of a head.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..config import NetworkConfig
from ..game.messages import OWN, SlotReports, decide
from . import losses
from .config import AgentConfig
from .graph import Factors
from .networks import StackedMLP, acting, logits
from .paradigms import PARADIGMS, Paradigm
from .scale import Scale


class HeadActor:
    """Heads that decide each for itself, or one for all APs: the best action that is not masked."""

    def __init__(self, nets: Mapping[str, StackedMLP], scale: Scale, paradigm: Paradigm) -> None:
        self.nets, self.scale, self.paradigm = nets, scale, paradigm

    def arrays(self, head: int) -> list[np.ndarray]:
        """What decides of a head of one seed: weights (in, out) and biases (1, out), alternating."""
        # Heads are the last of the stack's dimensions; of twin critics none acts.
        layers = [layer[..., head, :, :].cpu().numpy() for layer in acting(self.nets).layers]
        return [layer.reshape(layer.shape[-2:]) for layer in layers]

    def inputs(self, obs: Tensor) -> Tensor:
        """Standardised inputs of the heads: obs (S, B, I, N F) -> (S, H, B, D)."""
        return self.paradigm.observations(self.scale.obs(obs))

    def logits(self, obs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What the argmax or softmax is taken of, and its mask: (S, H, B, A) both."""
        return logits(self.nets, self.inputs(obs)), self.paradigm.masks(mask)

    def act(self, obs: Tensor, mask: Tensor) -> Tensor:
        """Actions (S, B, I) for obs (S, B, I, N F) and masks (S, B, I, N+1)."""
        choice = losses.masked(*self.logits(obs, mask)).argmax(-1)
        return self.paradigm.to_aps(choice, mask.shape[-1], obs.shape[-2])


class GraphActor:
    """APs that decide by messages, see `game.messages.decide`; their number may be another than in training."""

    def __init__(self, nets: Mapping[str, StackedMLP], scale: Scale, config: AgentConfig, lam: float) -> None:
        self.factors, self.rounds = Factors(nets, config.factor, lam), config.rounds
        # The same for every slot and link: those of the first slot, and of the first other AP's INR.
        self.mean, self.std = (scale.tensors[name][..., : OWN + 1] for name in ("obs_mean", "obs_std"))

    def arrays(self) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray, np.ndarray, float | None]:
        """What the decision of one seed is made of, the first arguments of `local_graph.decide`: the layers of phi and
        of q, mean (4,), std (4,), and lambda or None."""
        edge, factor = ([p[0].cpu().numpy() for p in net.layers] for net in (self.factors.edge, self.factors.factor))
        lam = self.factors.lam if self.factors.form == "rate" else None
        return edge, factor, self.mean.cpu().numpy(), self.std.cpu().numpy(), lam

    def act(self, obs: Tensor, mask: Tensor) -> Tensor:
        """Actions (S, B, I) for obs (S, B, I, N F) and masks (S, B, I, N+1)."""
        aps, top_n = obs.shape[-2], mask.shape[-1] - 1
        which = torch.arange(OWN + aps - 1, device=obs.device).clamp(max=OWN).repeat(top_n)
        return decide(
            self.factors, SlotReports.of((obs - self.mean[..., which]) / self.std[..., which]), mask, self.rounds
        )


def make_actor(
    config: AgentConfig, network: NetworkConfig, nets: Mapping[str, StackedMLP], scale: Scale
) -> HeadActor | GraphActor:
    """What decides with these networks; `network` is that of the training."""
    if config.paradigm != "graph":
        return HeadActor(nets, scale, PARADIGMS[config.paradigm])
    return GraphActor(nets, scale, config, network.lam if config.lam is None else config.lam)
