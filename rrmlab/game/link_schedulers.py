"""Schedulers that know the current gains between cells: admission of links one by one, and search over sets of them.

Shapes: E environments, I APs, N top users, A actions of an AP.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from ..checks import check_range, real_number
from ..config import NetworkConfig
from .behaviours import Scheduler, SlotRule
from .views import SILENT, CrossGainView, ObservationView


class ITLinQ(SlotRule):
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
        order = _by_factor(view)
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


class GreedyMarginal(SlotRule):
    """Greedy admission of the APs' best PF users: an AP is admitted if the weighted sum of rates grows by it.

    In the order of the users' PF factors, an AP joins the admitted ones if and only if the sum over them of
    w^lam * log2(1 + SNR / (1 + INR from the other admitted)) is greater with it than without it, with current gains.
    Exchanged, to one place and back: the gains from every AP to each chosen user (I^2, its own among them), that
    user's weight and PF factor (2 I), the decisions (I).
    Source: the greedy user admission of weighted sum-rate scheduling, in ITLinQ's order; this form is `study`.

    Args:
        lam: exponent of the weights.

    Raises:
        ValueError: `lam` outside of [0, 1].
    """

    name = "Greedy marginal"
    knowledge = CrossGainView

    def __init__(self, lam: float = 1.0) -> None:
        self.lam = real_number("lam", lam)
        check_range(self, "lam", 0, 1)

    def serve(self, view: CrossGainView) -> Tensor:
        first, order = view.slots[..., 0], _by_factor(view)
        admitted = torch.zeros_like(first, dtype=torch.bool)
        best = torch.zeros_like(view.weight[:, 0, 0])  # of nobody
        for k in range(order.shape[1]):
            trial = admitted.scatter(1, order[:, k, None], True)
            total = _weighted_sum(view, trial.unsqueeze(1), self.lam).squeeze(1)
            admitted = torch.where((total > best).unsqueeze(1), trial, admitted)
            best = torch.maximum(total, best)
        return torch.where(admitted, first, SILENT)


class BestSubset(SlotRule):
    """The subset of the APs' best PF users with the greatest weighted sum of rates, by trying all 2^I.

    The sum is that of `GreedyMarginal`; of equals, the set that comes first when counted in binary, the first AP as the
    highest digit. Exchanged: the I^2 gains, the chosen users' weights (I), the decisions (I).
    Source: `study`, an upper bound for `GreedyMarginal`.

    Args:
        lam: exponent of the weights.

    Raises:
        ValueError: `lam` outside of [0, 1]; when scored, more than 16 APs.
    """

    name = "Best subset"
    knowledge = CrossGainView

    def __init__(self, lam: float = 1.0) -> None:
        self.lam = real_number("lam", lam)
        check_range(self, "lam", 0, 1)

    def check_fits(self, network: NetworkConfig) -> None:
        """See `Policy.check_fits`."""
        _check_number(self.name, "2^I sets of APs", 2**network.num_aps, network)

    def serve(self, view: CrossGainView) -> Tensor:
        sets = _transmitter_sets(view)  # (X, I)
        best = _weighted_sum(view, sets, self.lam).argmax(-1)
        return torch.where(sets[best], view.slots[..., 0], SILENT)


class Exhaustive(Scheduler):
    """The oracle: the joint action of the greatest one-step reward, by trying all (N+1)^I with every current gain.

    Args:
        lam: lambda of the reward.

    Raises:
        ValueError: `lam` outside of [0, 1]; when scored, more than 65,536 joint actions.
    """

    name = "Exhaustive"
    knowledge = CrossGainView
    limit = 2**16

    def __init__(self, lam: float = 0.8) -> None:
        self.lam = real_number("lam", lam)
        check_range(self, "lam", 0, 1)

    def check_fits(self, network: NetworkConfig) -> None:
        """See `Policy.check_fits`."""
        _check_number(self.name, "(N+1)^I joint actions", (network.top_n + 1) ** network.num_aps, network)

    def serve(self, view: CrossGainView) -> Tensor:
        rewards = joint_rewards(view, self.lam)
        return view.users(joint_actions(view)[rewards.argmax(-1)])


def _check_number(name: str, what: str, number: int, network: NetworkConfig) -> None:
    if number > Exhaustive.limit:
        raise ValueError(
            f"num_aps = {network.num_aps}, top_n = {network.top_n}: scheduler {name!r} tries {what}, {number}, which "
            f"must be at most {Exhaustive.limit}"
        )


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
    sets = _transmitter_sets(view).to(view.gain)
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


def _transmitter_sets(view: ObservationView) -> Tensor:
    """Every set of APs (2^I, I) bool, counted in binary, the first AP as the highest digit."""
    aps = view.slots.shape[1]
    if 2**aps > Exhaustive.limit:
        raise ValueError(f"2^{aps} sets of APs are too many to try: at most {Exhaustive.limit}")
    return torch.tensor(list(itertools.product((False, True), repeat=aps)), device=view.slots.device)


def _weighted_sum(view: CrossGainView, on: Tensor, lam: float) -> Tensor:
    """Sum of w^lam * rate over the first slots' users if the APs in `on` (E or 1, X, I) serve them: (E, X)."""
    gain = view.gain[..., 0]  # (E, from I, to the chosen user of I)
    signal, active = gain.diagonal(dim1=1, dim2=2).unsqueeze(1), on.to(gain)
    rate = torch.log2(1 + signal / (1 + active @ (gain * _others(gain))))  # (E, X, I); 0 where there is no user
    return (active * view.weight[..., 0].pow(lam).unsqueeze(1) * rate).sum(-1)


def _by_factor(view: CrossGainView) -> Tensor:
    """APs (E, I) in the order of their first user's PF factor, ties to the lower index, those without a user last."""
    factor = (view.weight * torch.log2(1 + view.sinr))[..., 0]
    return factor.masked_fill(view.slots[..., 0] == SILENT, -1).argsort(dim=-1, descending=True, stable=True)


def _others(gain: Tensor) -> Tensor:
    """1 between an AP and another, 0 between it and itself: (I, I), for gains (E, I, ...)."""
    return 1 - torch.eye(gain.shape[1], dtype=gain.dtype, device=gain.device)
