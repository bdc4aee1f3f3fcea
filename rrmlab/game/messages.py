"""Decisions by messages: APs that take turns, each doing what is best for the sum of all APs' values.

Shapes: S groups of environments, B environments of each, I APs, N slots of an AP, M numbers that stand for the
interference of an AP at a slot.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..checks import check_range, real_number, whole_number
from ..config import NetworkConfig
from .behaviours import SlotRule
from .observations import observation_of, other_aps
from .views import ObservationView

OWN = 3  # numbers of a slot before the INRs: SINR, ln w, SNR
MOST_ROUNDS = 20  # after which a decision until nothing changes stops, `study`


class SlotReports(NamedTuple):
    """What users report, each number on the scale that the values ask for; any numbers where a slot is empty."""

    own: Tensor  # (S, B, I, N, 3), SINR, ln w, SNR
    inr: Tensor  # (S, B, I, N, I-1)

    @classmethod
    def of(cls, obs: Tensor) -> SlotReports:
        """From observations with neighbours (S, B, I, N F)."""
        return cls(*obs.unflatten(-1, (-1, OWN + obs.shape[-2] - 1)).split([OWN, obs.shape[-2] - 1], -1))

    def at(self, chosen: Tensor) -> SlotReports:
        """Those of one slot per AP, chosen (S, B, I): (S, B, I, 3) and (S, B, I, I-1)."""
        index = chosen[..., None, None]
        return SlotReports(*(values.take_along_dim(index, -2).squeeze(-2) for values in self))


class Values(Protocol):
    """The value q of an AP's slot, a function of the sum of what stands for the interference at it."""

    def messages(self, inr: Tensor) -> Tensor:
        """What stands for INRs (S, B, ...): (S, B, ..., M)."""

    def values(self, own: Tensor, interference: Tensor) -> Tensor:
        """q (S, B, ...) of slots (S, B, ..., 3) under a sum of messages (S, B, ..., M)."""


@torch.no_grad()
def decide(factors: Values, slots: SlotReports, mask: Tensor, rounds: int) -> Tensor:
    """Actions (S, B, I) by messages: greedy admission, then rounds of best response.

    The APs take turns in the order of their best q without interference. In its turn an AP takes the action that is
    best for the sum of all q, given what the others do; before their first turn they are silent. Then it broadcasts
    SINR, ln w, SNR and the INRs of its user, from which every AP computes what it would do to that user: I+2 numbers.
    With the I numbers of the order that makes I + I (I+2) (1 + rounds) numbers per TTI (`messages_sent`).

    Args:
        factors: q and what stands for an INR.
        slots: what users report.
        mask: (S, B, I, N+1) bool.
        rounds: of best response after the admission; -1 for as many as change something, at most `MOST_ROUNDS`.
    """
    aps, filled = mask.shape[2], mask[..., 1:]
    seed, env = (torch.arange(size, device=mask.device) for size in mask.shape[:2])
    seed, rest = seed[:, None], env.expand(len(seed), -1)
    # What an AP's signal adds at every slot: (S, B, from I, I, N, M), 0 at its own.
    messages = factors.messages(slots.inr)  # (S, B, I, N, I-1, M)
    index = other_aps(aps, mask.device)[:, None, :, None].expand_as(messages)
    sent = messages.new_zeros(*messages.shape[:-2], aps, messages.shape[-1])
    sent = sent.scatter_(-2, index, messages).movedim(-2, 2).contiguous()
    interference = torch.zeros_like(sent[:, :, 0])  # (S, B, I, N, M)
    chosen = torch.zeros_like(mask[..., 0], dtype=torch.int64)
    q = torch.zeros_like(slots.own[..., 0, 0])
    alone = factors.values(slots.own, interference).masked_fill(~filled, -torch.inf).amax(-1)
    order = alone.argsort(dim=-1, descending=True, stable=True)  # (S, B, I)
    actions = torch.zeros_like(chosen)
    for turn in range(1 + (rounds if rounds >= 0 else MOST_ROUNDS)):
        before = actions.clone()
        for i in order.unbind(-1):
            place = seed, rest, i
            was, on = (actions[place] > 0)[:, :, None], actions > 0
            on[place] = False
            mine = sent[place]  # (S, B, I, N, M), 0 at its own slots
            at, pick = slots.at(chosen), chosen[..., None, None]
            theirs, change = (x.take_along_dim(pick, -2).squeeze(-2) for x in (interference, mine))
            # In one pass: its own slots, and the others' slots in the state that is not known yet.
            new = factors.values(
                torch.cat([slots.own[place], at.own], -2),
                torch.cat([interference[place], torch.where(was.unsqueeze(-1), theirs - change, theirs + change)], -2),
            )
            own, other = new.split([filled.shape[-1], aps], -1)
            with_it, without = torch.where(was, q, other) * on, torch.where(was, other, q) * on
            gain = (own + (with_it - without).sum(-1, keepdim=True)).masked_fill(~filled[place], -torch.inf)
            best, slot = gain.max(-1)
            go = best > 0
            actions[place], chosen[place] = torch.where(go, slot + 1, 0), slot
            q = torch.where(go.unsqueeze(-1), with_it, without)
            q[place] = own.gather(-1, slot.unsqueeze(-1)).squeeze(-1) * go
            step = go.to(q) - was.squeeze(-1).to(q)  # it begins to transmit, or ends
            interference.addcmul_(mine, step[:, :, None, None, None])
        if rounds < 0 and turn and torch.equal(actions, before):
            break
    return actions


def messages_sent(num_aps: int, rounds: int) -> int:
    """Numbers that travel between APs in a TTI, see `decide`."""
    return num_aps + num_aps * (num_aps + OWN - 1) * (1 + rounds)


class Shannon:
    """q = w^lambda log2(1 + SNR / (1 + sum of the INRs)): the formula's rate, from linear SNRs and INRs."""

    def __init__(self, lam: float) -> None:
        self.lam = lam

    def messages(self, inr: Tensor) -> Tensor:
        return inr.unsqueeze(-1)

    def values(self, own: Tensor, interference: Tensor) -> Tensor:
        _, log_weight, snr = own.unbind(-1)
        return (self.lam * log_weight).exp() * torch.log2(1 + snr / (1 + interference.squeeze(-1)))


class MessageRule(SlotRule):
    """Decisions by messages with Shannon's rate on the reported gains: the learned paradigm `graph` without learning.

    It looks at observations with neighbours alone, and exchanges what the learned agents do, see `decide`.

    Args:
        lam: lambda of the weights.
        rounds: of best response after the admission; -1 for as many as change something.

    Raises:
        ValueError: `lam` outside of [0, 1], or rounds outside of -1 ... 1000.
    """

    name = "G-formula"
    knowledge = ObservationView

    def __init__(self, lam: float = 1.0, rounds: int = 2) -> None:
        self.lam, self.rounds = real_number("lam", lam), whole_number("rounds", rounds)
        check_range(self, "lam", 0, 1)
        check_range(self, "rounds", -1, 1000)

    def check_fits(self, network: NetworkConfig) -> None:
        """ValueError unless the network's observation is one with neighbours."""
        check_neighbours(network, f"scheduler {self.name!r}")

    def serve(self, view: ObservationView) -> Tensor:
        # In double precision: what a strong INR leaves when it is taken off again counts.
        seen = SlotReports.of(view.obs.double().unsqueeze(0))
        sinr_db, log_weight, snr_db = seen.own.unbind(-1)
        own = torch.stack([sinr_db, log_weight, 10 ** (snr_db / 10)], -1)  # the formula does not look at the SINR
        slots = SlotReports(own, 10 ** (seen.inr / 10))
        return view.users(decide(Shannon(self.lam), slots, view.action_mask.unsqueeze(0), self.rounds).squeeze(0))


def check_neighbours(network: NetworkConfig, what: str) -> None:
    """ValueError, about `what`, unless the network's observation is one of `observations.neighbours`."""
    seen = observation_of(network)
    if (*seen.features, *seen.of_neighbours) != ("SINR, dB", "ln w", "SNR, dB", "INR, dB"):
        raise ValueError(f"observation = {network.observation!r}: {what} needs NetworkConfig(observation='neighbours')")
