"""The paradigm `graph`: a critic that is a sum of factors on the interference graph, and decisions by messages.

The value of a joint action is Q_tot = c + sum_i on_i q(slot of AP i, sum_{j != i} on_j m(INR of AP j at its user)).
One small network of q and one of m serve all APs, users and links: the sums do not depend on an order, so a critic runs
on any number of APs, users and slots. A message is m(INR) = INR softplus(phi(ln INR)), M numbers, where phi is a
network: it is positive, and vanishes with the INR, so that many APs far away count as little as they disturb. q takes
ln(1 + sum m), which grows with their number as slowly as the interference in dB. There are two forms of the factor:

* "rate": q = w^lambda h(SINR, SNR, ln(1 + sum m)), a learned rate h times the reward's weight. As h knows no lambda,
  the lambda of a decision is chosen when the policy runs.
* "free": q = f(SINR, ln w, SNR, ln(1 + sum m)).

Source: the study; value decomposition on a coordination graph as in Guestrin et al. 2002, sums over neighbours as in
Scarselli et al. 2009.

Shapes: S seeds, B batch, I APs, N slots of an AP, M numbers of a message.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, softplus

from ..config import NetworkConfig
from ..game.messages import OWN, SlotReports, check_neighbours, of_slot
from ..game.observations import other_aps
from .networks import StackedMLP
from .scale import Scale

FORMS = ("rate", "free")
MESSAGE = 16  # M, `study`
EDGE_HIDDEN = 16  # hidden units of phi, `study`
INR_SPREAD = 4.0  # of ln INR, by which networks take it and ln(1 + sum m) divided, `study`: 17 dB
LARGEST_LN_INR = 40.0  # above which all INRs are one, `study`: 174 dB, where float32 still holds sums


def graph_shapes(
    form: str, hidden: Sequence[int], network: NetworkConfig
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Stack dimensions (none) and layer sizes of phi, "edge", and of h or f, "factor".

    Raises:
        ValueError: an observation without neighbours, or one AP alone.
    """
    check_neighbours(network, "paradigm = 'graph'")
    if network.num_aps < 2:
        raise ValueError(f"paradigm = 'graph' with num_aps = {network.num_aps}: must be at least 2 to learn from")
    own = 2 if form == "rate" else 3
    return {"edge": ((), (1, EDGE_HIDDEN, MESSAGE)), "factor": ((), (own + MESSAGE, *hidden, 1))}


class Factors(nn.Module):
    """q, phi and c of S seeds.

    Args:
        nets: "edge" and "factor", stacks of S.
        form: of the factor.
        lam: lambda of the weights in the form "rate".
    """

    def __init__(self, nets: Mapping[str, StackedMLP], form: str, lam: float) -> None:
        super().__init__()
        self.edge, self.factor, self.form, self.lam = nets["edge"], nets["factor"], form, lam
        first = self.edge.layers[0]
        self.offset = nn.Parameter(first.new_zeros(len(first), 1))  # c (S, 1), which no decision needs

    def messages(self, inr: Tensor) -> Tensor:
        """m of standardised INRs, ln INR / INR_SPREAD, (S, B, ...) -> (S, B, ..., M)."""
        phi = self.edge(inr.flatten(1).unsqueeze(-1)).unflatten(1, inr.shape[1:])
        return softplus(phi) * (INR_SPREAD * inr).clamp(max=LARGEST_LN_INR).exp().unsqueeze(-1)

    def values(self, own: Tensor, interference: Tensor) -> Tensor:
        """q (S, B, ...) of slots (S, B, ..., 3) under the sum of the messages at them (S, B, ..., M)."""
        known = own[..., ::2] if self.form == "rate" else own
        total = interference.clamp(min=0).log1p() / INR_SPREAD  # a difference of sums may lie below 0 by rounding
        q = self.factor(torch.cat([known, total], -1).flatten(1, -2)).view(own.shape[:-1])
        return q * (self.lam * own[..., 1]).exp() if self.form == "rate" else q


def joint_values(factors: Factors, slots: SlotReports, actions: Tensor) -> Tensor:
    """q of each AP (S, B, I) under a joint action (S, B, I), 0 of silent ones; their sum is Q_tot - c."""
    on, chosen = actions > 0, (actions - 1).clamp(min=0)
    interference = (factors.messages(of_slot(slots.inr, chosen)) * _others(on).unsqueeze(-1)).sum(-2)
    return factors.values(of_slot(slots.own, chosen), interference) * on


def conditional_values(factors: Factors, slots: SlotReports, actions: Tensor) -> tuple[Tensor, Tensor]:
    """`joint_values`, and what each action of an AP adds to Q_tot while the others keep theirs (S, B, I, N+1): the sum
    of all q less the same sum without that AP, so 0 for silence; any number for empty slots."""
    on, chosen = actions > 0, (actions - 1).clamp(min=0)
    present = _others(on)  # (S, B, I, I-1)
    messages = factors.messages(slots.inr)  # (S, B, I, N, I-1, M)
    interference = (messages * present[..., None, :, None]).sum(-2)  # (S, B, I, N, M)
    # At each AP's chosen slot: the interference if exactly one other AP turned on or off.
    now, heard = of_slot(interference, chosen).unsqueeze(-2), of_slot(messages, chosen)  # (S, B, I, 1 or I-1, M)
    sign = 1 - 2 * present.to(now)
    switched = now + sign.unsqueeze(-1) * heard
    top_n, aps = interference.shape[-2], on.shape[-1]
    chosen_own = of_slot(slots.own, chosen).unsqueeze(-2).expand(*present.shape, -1)
    everything = factors.values(torch.cat([slots.own, chosen_own], -2), torch.cat([interference, switched], -2))
    own, other = everything.split([top_n, aps - 1], -1)
    values = own.gather(-1, chosen.unsqueeze(-1)).squeeze(-1) * on
    # q of k with i on less q of k with i off, 0 for a silent k.
    harm = torch.where(present, values.unsqueeze(-1) - other, other - values.unsqueeze(-1)) * on.unsqueeze(-1)
    to_others = _of_others(harm).sum(-1, keepdim=True)  # (S, B, I, 1)
    return values, pad(own + to_others, (1, 0))


def shared_scale(obs: Tensor, mask: Tensor, rewards: Tensor) -> Scale:
    """Standardisation that is the same for all APs, slots and links, from raw obs (R, I, N F), masks (R, I, N+1) and
    rewards; ln w stays as it is, and an INR in dB becomes ln INR / INR_SPREAD."""
    top_n = mask.shape[-1] - 1
    filled = mask[..., 1:].flatten(1).unsqueeze(-1)  # (R, I N, 1), as if every slot were an agent of one slot
    scale = Scale.of(obs.unflatten(-1, (top_n, -1)).flatten(1, 2), torch.cat([filled, filled], -1), rewards)
    mean, std = scale.tensors["obs_mean"].double(), scale.tensors["obs_std"].double()
    mean[1], std[1] = 0, 1
    mean[OWN:], std[OWN:] = 0, INR_SPREAD * 10 / math.log(10)
    rest = (scale.tensors[name] for name in ("reward_mean", "reward_std"))
    return Scale(mean.float().repeat(top_n), std.float().repeat(top_n), *rest)


def _others(of_aps: Tensor) -> Tensor:
    """For each AP what the others have: (..., I) -> (..., I, I-1)."""
    return of_aps[..., other_aps(of_aps.shape[-1], of_aps.device)]


def _of_others(values: Tensor) -> Tensor:
    """From what AP k has of its others to what the others have of AP i: (..., I, I-1) -> (..., I, I-1)."""
    aps = values.shape[-2]
    matrix = values.new_zeros(*values.shape[:-1], aps)
    index = other_aps(aps, values.device).expand_as(values)
    return matrix.scatter(-1, index, values).mT.gather(-1, index)
