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
    """What users report, each number on the scale that the values ask for; any finite ones where a slot is empty."""

    own: Tensor  # (S, B, I, N, 3), SINR, ln w, SNR
    inr: Tensor  # (S, B, I, N, I-1)

    @classmethod
    def of(cls, obs: Tensor) -> SlotReports:
        """From observations with neighbours (S, B, I, N F)."""
        return cls(*obs.unflatten(-1, (-1, OWN + obs.shape[-2] - 1)).split([OWN, obs.shape[-2] - 1], -1))


def of_slot(values: Tensor, chosen: Tensor) -> Tensor:
    """Of values (S, B, I, N, ...) those of one slot per AP, chosen (S, B, I): (S, B, I, ...)."""
    more = values.shape[4:]
    index = chosen.unflatten(-1, (-1, *[1] * (1 + len(more)))).expand(*chosen.shape, 1, *more)
    return values.gather(3, index).squeeze(3)  # take_along_dim takes twice the time: it also allows negative indices


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
    size, (aps, top_n) = mask.shape[:2], slots.own.shape[2:4]
    own, empty = slots.own.flatten(0, 1), ~mask[..., 1:].flatten(0, 1)  # (P, I, N, 3), (P, I, N): P = S B
    envs = torch.arange(len(own), device=mask.device)
    # sent[p I + j] is what AP j of environment p adds to the interference at every slot (I, N, M), 0 at its own slots.
    messages = factors.messages(slots.inr).flatten(0, 1)  # (P, I, N, I-1, M)
    index = other_aps(aps, mask.device)[:, None, :, None].expand_as(messages)
    sent = messages.new_zeros(*messages.shape[:-2], aps, messages.shape[-1])
    sent = sent.scatter_(-2, index, messages).movedim(-2, 1).contiguous().flatten(0, 1)  # (P I, I, N, M)

    def values(numbers: Tensor, sums: Tensor) -> Tensor:
        return factors.values(numbers.unflatten(0, size), sums.unflatten(0, size)).flatten(0, 1)

    interference = messages.new_zeros(*own.shape[:-1], messages.shape[-1])  # (P, I, N, M)
    best_alone = values(own, interference).masked_fill(empty, -torch.inf).amax(-1)
    order = best_alone.argsort(dim=-1, descending=True, stable=True)
    actions = torch.zeros_like(order)  # (P, I)
    # The slot that each AP chose last: its row among all P I N, its own numbers, and its q, 0 while the AP is silent.
    chosen_row = torch.arange(actions.numel(), device=mask.device) * top_n
    chosen_own, q = own[..., 0, :].clone(), torch.zeros_like(own[..., 0, 0])
    for turn in range(1 + (rounds if rounds >= 0 else MOST_ROUNDS)):
        before = actions.clone()
        for i in order.unbind(-1):
            place, row = (envs, i), envs * aps + i
            was_on, on = (actions[place] > 0).unsqueeze(-1), actions > 0
            on[place] = False
            sent_by_it = sent.index_select(0, row)  # (P, I, N, M)
            rows = (x.flatten(0, 2).index_select(0, chosen_row) for x in (interference, sent_by_it))
            theirs, change = (x.unflatten(0, q.shape) for x in rows)
            # q holds the others' values if it stays as it is. In one pass: its own, and theirs if it turns on or off.
            own_slots, at_own = (x.flatten(0, 1).index_select(0, row) for x in (own, interference))
            sign = 1 - 2 * was_on.to(q)  # its signal would be added, or taken away
            sums = torch.cat([at_own, theirs + sign.unsqueeze(-1) * change], 1)
            own_q, others_q = values(torch.cat([own_slots, chosen_own], 1), sums).split([top_n, aps], -1)
            gain = (own_q + (sign * (others_q - q) * on).sum(-1, keepdim=True)).masked_fill(empty[place], -torch.inf)
            best, slot = gain.max(-1)
            is_on = best > 0
            actions[place], chosen_row[row] = torch.where(is_on, slot + 1, 0), row * top_n + slot
            step = is_on.to(q).unsqueeze(-1) - was_on.to(q)  # 1 if it begins to transmit, -1 if it ends
            q, chosen_own[place] = torch.where(step != 0, others_q, q) * on, own_slots[envs, slot]
            q[place] = own_q[envs, slot] * is_on
            interference.addcmul_(sent_by_it, step[..., None, None])
        if rounds < 0 and turn and torch.equal(actions, before):
            break
    return actions.unflatten(0, size)


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
