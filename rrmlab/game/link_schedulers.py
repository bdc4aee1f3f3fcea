"""Schedulers that know the current gains between cells: admission of links one by one, and search over sets of them.

Shapes: E environments, I APs, N top users, A actions of an AP.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from ..checks import check_range, real_number
from .behaviours import Scheduler
from .views import SILENT, CrossGainView, ObservationView


class ITLinQ(Scheduler):
    """Information-theoretic link scheduling over the APs' best PF users.

    The links are sorted by PF factor; the first is admitted, and the next one if and only if
    max(INR into its user from the admitted APs, INR from its AP into their users) <= M * SNR^eta, with its own SNR.
    Source: Naderializadeh and Avestimehr, "ITLinQ" (2014), in the form of the lineage's public code.

    Args:
        m_db: M in dB; 25 is the paper's baseline, 0 the theoretical condition.
        eta: the exponent; 0.7 is the paper's baseline, 0.5 the theoretical condition.

    Raises:
        ValueError: M outside of +-100 dB (a ratio given for it, say), or an exponent outside of [0, 2].
    """

    name = "ITLinQ"
    knowledge = CrossGainView

    def __init__(self, m_db: float = 25.0, eta: float = 0.7) -> None:
        self.m_db, self.eta = real_number("m_db", m_db), real_number("eta", eta)
        check_range(self, "m_db", -100, 100)
        check_range(self, "eta", 0, 2)

    def serve(self, view: CrossGainView) -> Tensor:
        gain = view.gain[..., 0]  # (E, from I, to the chosen user of I)
        signal = gain.diagonal(dim1=1, dim2=2)
        present = view.slots[..., 0] != SILENT
        factor = (view.weight * torch.log2(1 + view.sinr))[..., 0]  # of the user in the first slot
        order = factor.masked_fill(~present, -1).argsort(dim=-1, descending=True, stable=True)
        allowed = 10 ** (self.m_db / 10) * signal**self.eta
        # The stronger of the two interferences between any two links; what matters is only the worse.
        mutual = torch.maximum(gain, gain.transpose(1, 2)) * _others(gain)
        admitted = torch.zeros_like(present)
        for k in range(order.shape[1]):
            link = order[:, k, None]
            worst = (mutual.gather(1, link.unsqueeze(-1).expand(-1, 1, mutual.shape[2])).squeeze(1) * admitted).amax(-1)
            fits = (worst <= allowed.gather(1, link).squeeze(1)) | (not k)
            admitted = admitted.scatter(1, link, (fits & present.gather(1, link).squeeze(1)).unsqueeze(1))
        return torch.where(admitted, view.slots[..., 0], SILENT)

    def log_prob(self, view: CrossGainView, actions: Tensor) -> Tensor:
        return torch.where(view.users(actions) == self.serve(view), 0.0, -math.inf).double().sum(-1)


class Exhaustive(Scheduler):
    """The oracle: the joint action of the greatest one-step reward, by trying all (N+1)^I with every current gain.

    Args:
        lam: lambda of the reward.

    Raises:
        ValueError: `lam` outside of [0, 1]; when serving, more than 65,536 joint actions.
    """

    name = "Exhaustive"
    knowledge = CrossGainView
    limit = 2**16

    def __init__(self, lam: float = 0.8) -> None:
        self.lam = real_number("lam", lam)
        check_range(self, "lam", 0, 1)

    def serve(self, view: CrossGainView) -> Tensor:
        rewards = joint_rewards(view, self.lam)
        return view.users(joint_actions(view)[rewards.argmax(-1)])


def joint_actions(view: ObservationView) -> Tensor:
    """All joint actions (A^I, I) in the order of the joint index (the last AP's action varies fastest)."""
    _, aps, actions = view.action_mask.shape
    if actions**aps > Exhaustive.limit:
        raise ValueError(f"{actions}^{aps} joint actions are too many to try: at most {Exhaustive.limit}")
    return torch.tensor(list(itertools.product(range(actions), repeat=aps)), device=view.slots.device)


def joint_rewards(view: CrossGainView, lam: float) -> Tensor:
    """One-step reward of every joint action (E, A^I); -inf where it uses an empty slot.

    The interference at a slot depends on who transmits and not on what, so the rates are computed once for the
    2^I transmitter sets and then looked up.
    """
    e, i, n = view.slots.shape
    actions = joint_actions(view)  # (X, I)
    sets = torch.tensor(list(itertools.product((0, 1), repeat=i)), device=view.gain.device).to(view.gain)  # (2^I, I)
    # Interference at slot n of AP k under each set: sum over the other transmitting APs.
    cross = view.gain * _others(view.gain)[:, :, None]
    interference = torch.einsum("si,eikn->eskn", sets, cross)
    signal = torch.einsum("eiin->ein", view.gain).unsqueeze(1)
    value = view.weight.pow(lam).unsqueeze(1) * torch.log2(1 + signal / (1 + interference))  # (E, 2^I, I, N)
    value = value.masked_fill((view.slots == SILENT).unsqueeze(1), -math.inf)
    value = torch.nn.functional.pad(value, (1, 0))  # silence earns nothing
    which = ((actions > 0) * 2 ** torch.arange(i - 1, -1, -1, device=actions.device)).sum(-1)  # (X,)
    flat = (which[:, None] * i + torch.arange(i, device=which.device)) * (n + 1) + actions  # (X, I)
    return value.reshape(e, -1)[:, flat.flatten()].view(e, -1, i).sum(-1)


def _others(gain: Tensor) -> Tensor:
    """1 between an AP and another, 0 between it and itself: (I, I), for gains (E, I, ...)."""
    return 1 - torch.eye(gain.shape[1], dtype=gain.dtype, device=gain.device)
