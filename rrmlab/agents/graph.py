"""The paradigm `graph`: a critic that is a sum of factors on the interference graph, and decisions by messages.

The value of a joint action is Q_tot = c + sum_i on_i q(slot of AP i, sum_{j != i} on_j phi(INR of AP j at its user)).
One small network q and one small network phi serve all APs, users and links: the sums do not depend on an order, so a
critic runs on any number of APs, users and slots. There are two forms of the factor:

* "rate": q = w^lambda h(SNR, sum phi), a learned rate h times the reward's weight. As h knows no lambda, the lambda of
  a decision is chosen when the policy runs.
* "free": q = f(SNR, ln w, sum phi).

Source: the study; value decomposition on a coordination graph as in Guestrin et al. 2002, sums over neighbours as in
Scarselli et al. 2009.

Shapes: S seeds, B batch, I APs, N slots of an AP, M numbers of a message phi.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..config import NetworkConfig
from ..game.observations import observation_of, other_aps
from .networks import StackedMLP
from .scale import Scale

FORMS = ("rate", "free")
MESSAGE = 16  # M, `study`
EDGE_HIDDEN = 16  # hidden units of phi, `study`
MOST_ROUNDS = 20  # after which a decision until nothing changes stops, `study`


def graph_shapes(
    form: str, hidden: Sequence[int], network: NetworkConfig
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Stack dimensions (none) and layer sizes of phi, "edge", and of h or f, "factor".

    Raises:
        ValueError: an observation without neighbours, or one AP alone.
    """
    seen = observation_of(network)
    if (*seen.features, *seen.of_neighbours) != ("SNR, dB", "ln w", "INR, dB"):
        raise ValueError(
            f"paradigm = 'graph', observation = {network.observation!r}: take NetworkConfig(observation='neighbours')"
        )
    if network.num_aps < 2:
        raise ValueError(f"paradigm = 'graph' with num_aps = {network.num_aps}: must be at least 2 to learn from")
    own = 1 if form == "rate" else 2
    return {"edge": ((), (1, EDGE_HIDDEN, MESSAGE)), "factor": ((), (own + MESSAGE, *hidden, 1))}


class Slots(NamedTuple):
    """What users report, standardised but for the weight; any numbers where a slot is empty."""

    snr: Tensor  # (S, B, I, N)
    log_weight: Tensor  # (S, B, I, N), ln w
    inr: Tensor  # (S, B, I, N, I-1)

    @classmethod
    def of(cls, obs: Tensor) -> Slots:
        """From standardised observations (S, B, I, N F)."""
        x = obs.unflatten(-1, (-1, obs.shape[-2] + 1))
        return cls(x[..., 0], x[..., 1], x[..., 2:])

    def at(self, chosen: Tensor) -> Slots:
        """Those of one slot per AP, chosen (S, B, I) -> (S, B, I), and (S, B, I, I-1) of the INR."""
        index = chosen.unsqueeze(-1)
        snr, log_weight = (values.gather(-1, index).squeeze(-1) for values in (self.snr, self.log_weight))
        return Slots(snr, log_weight, self.inr.take_along_dim(index.unsqueeze(-1), -2).squeeze(-2))


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
        """phi of standardised INRs (S, B, ...) -> (S, B, ..., M)."""
        return self.edge(inr.flatten(1).unsqueeze(-1)).unflatten(1, inr.shape[1:])

    def values(self, snr: Tensor, log_weight: Tensor, interference: Tensor) -> Tensor:
        """q of slots, each (S, B, ...), under the sum of the messages at them (S, B, ..., M)."""
        own = snr.unsqueeze(-1) if self.form == "rate" else torch.stack([snr, log_weight], -1)
        q = self.factor(torch.cat([own, interference], -1).flatten(1, -2)).view(snr.shape)
        return q * (self.lam * log_weight).exp() if self.form == "rate" else q


def joint_values(factors: Factors, slots: Slots, actions: Tensor) -> Tensor:
    """q of each AP (S, B, I) under a joint action (S, B, I), 0 of silent ones; their sum is Q_tot - c."""
    on, at = actions > 0, slots.at((actions - 1).clamp(min=0))
    interference = (factors.messages(at.inr) * _others(on).unsqueeze(-1)).sum(-2)
    return factors.values(at.snr, at.log_weight, interference) * on


def conditional_values(factors: Factors, slots: Slots, actions: Tensor) -> tuple[Tensor, Tensor]:
    """`joint_values`, and what each action of an AP adds to Q_tot while the others keep theirs (S, B, I, N+1): the sum
    of all q less the same sum without that AP, so 0 for silence; any number for empty slots."""
    on, chosen = actions > 0, (actions - 1).clamp(min=0)
    present = _others(on)  # (S, B, I, I-1)
    messages = factors.messages(slots.inr)  # (S, B, I, N, I-1, M)
    interference = (messages * present[..., None, :, None]).sum(-2)  # (S, B, I, N, M)
    at, index = slots.at(chosen), chosen[..., None, None]
    # Each AP's chosen slot once more, with one other AP on that is off, or off that is on.
    heard = messages.take_along_dim(index.unsqueeze(-1), -3).squeeze(-3)  # (S, B, I, I-1, M)
    now = interference.take_along_dim(index, -2)  # (S, B, I, 1, M)
    switched = now + torch.where(present.unsqueeze(-1), -heard, heard)
    top_n, aps = interference.shape[-2], on.shape[-1]
    everything = factors.values(
        torch.cat([slots.snr, at.snr.unsqueeze(-1).expand_as(present)], -1),
        torch.cat([slots.log_weight, at.log_weight.unsqueeze(-1).expand_as(present)], -1),
        torch.cat([interference, switched], -2),
    )
    own, other = everything.split([top_n, aps - 1], -1)
    values = own.gather(-1, chosen.unsqueeze(-1)).squeeze(-1) * on
    # q of k with i on less q of k with i off, 0 for a silent k.
    harm = torch.where(present, values.unsqueeze(-1) - other, other - values.unsqueeze(-1)) * on.unsqueeze(-1)
    to_others = _of_others(harm).sum(-1, keepdim=True)  # (S, B, I, 1)
    return values, torch.nn.functional.pad(own + to_others, (1, 0))


@torch.no_grad()
def decide(factors: Factors, slots: Slots, mask: Tensor, rounds: int) -> Tensor:
    """Actions (S, B, I) by messages: greedy admission, then rounds of best response.

    The APs take turns in the order of their best q without interference. In its turn an AP takes the action that is
    best for the sum of all q, given what the others do; before their first turn they are silent. Then it broadcasts
    SNR, ln w and the INRs of its user, from which every AP computes what it would do to that user: I+1 numbers. With
    the I numbers of the order that makes I + I (I+1) (1 + rounds) numbers per TTI (`messages_sent`).

    Args:
        factors, slots: of the networks.
        mask: (S, B, I, N+1) bool.
        rounds: of best response after the admission; -1 for as many as change something, at most `MOST_ROUNDS`.
    """
    aps, filled = slots.snr.shape[2], mask[..., 1:]
    seed, env = (torch.arange(size, device=mask.device) for size in mask.shape[:2])
    seed, rest = seed[:, None], env.expand(len(seed), -1)
    # What an AP's signal adds at every slot: (S, B, from I, I, N, M), 0 at its own.
    sent = torch.zeros(*slots.snr.shape, aps, MESSAGE, device=mask.device)
    index = other_aps(aps, mask.device)[:, None, :, None].expand(*slots.snr.shape, aps - 1, MESSAGE)
    sent = sent.scatter_(-2, index, factors.messages(slots.inr)).movedim(-2, 2).contiguous()
    interference = torch.zeros_like(sent[:, :, 0])  # (S, B, I, N, M)
    chosen = torch.zeros_like(mask[..., 0], dtype=torch.int64)
    q = torch.zeros_like(slots.snr[..., 0])
    alone = factors.values(slots.snr, slots.log_weight, interference).masked_fill(~filled, -torch.inf).amax(-1)
    order = alone.argsort(dim=-1, descending=True, stable=True)  # (S, B, I)
    actions = torch.zeros_like(chosen)
    for turn in range(1 + (rounds if rounds >= 0 else MOST_ROUNDS)):
        before = actions.clone()
        for i in order.unbind(-1):
            place = seed, rest, i
            was, on = (actions[place] > 0)[:, :, None], actions > 0
            on[place] = False
            mine = sent[place]  # (S, B, I, N, M)
            interference = interference - mine * was[..., None, None]  # without this AP
            at, pick = slots.at(chosen), chosen[..., None, None]
            theirs, change = (x.take_along_dim(pick, -2).squeeze(-2) for x in (interference, mine))
            # In one pass: its own slots, and the others' slots in the state that is not known yet.
            new = factors.values(
                torch.cat([slots.snr[place], at.snr], -1),
                torch.cat([slots.log_weight[place], at.log_weight], -1),
                torch.cat([interference[place], theirs + change * ~was.unsqueeze(-1)], -2),
            )
            own, other = new.split([filled.shape[-1], aps], -1)
            with_it, without = torch.where(was, q, other) * on, torch.where(was, other, q) * on
            gain = (own + (with_it - without).sum(-1, keepdim=True)).masked_fill(~filled[place], -torch.inf)
            best, slot = gain.max(-1)
            go = best > 0
            actions[place], chosen[place] = torch.where(go, slot + 1, 0), slot
            q = torch.where(go.unsqueeze(-1), with_it, without)
            q[place] = own.gather(-1, slot.unsqueeze(-1)).squeeze(-1) * go
            interference = interference + mine * go[:, :, None, None, None]
        if rounds < 0 and turn and torch.equal(actions, before):
            break
    return actions


def messages_sent(num_aps: int, rounds: int) -> int:
    """Numbers that travel between APs in a TTI, see `decide`."""
    return num_aps + num_aps * (num_aps + 1) * (1 + rounds)


def shared_scale(obs: Tensor, mask: Tensor, rewards: Tensor) -> Scale:
    """Standardisation that is the same for all APs, slots and links, from raw obs (R, I, N F), masks (R, I, N+1) and
    rewards; ln w stays as it is."""
    aps, top_n = mask.shape[-2], mask.shape[-1] - 1
    filled = mask[..., 1:].flatten(1).unsqueeze(-1)  # (R, I N, 1), as if every slot were an agent of one slot
    scale = Scale.of(obs.unflatten(-1, (top_n, -1)).flatten(1, 2), torch.cat([filled, filled], -1), rewards)
    mean, std = scale.tensors["obs_mean"].double(), scale.tensors["obs_std"].double()
    inr_mean = mean[2:].mean()
    inr_std = (std[2:].square() + mean[2:].square()).mean().sub(inr_mean.square()).sqrt()
    mean = torch.cat([mean[:1], mean.new_zeros(1), inr_mean.expand(aps - 1)])
    std = torch.cat([std[:1], std.new_ones(1), inr_std.expand(aps - 1)])
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
