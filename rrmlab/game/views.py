"""What a scheduler or a policy may look at: views of the environment, by knowledge.

Shapes: E environments, I APs, J users, N top users, F features of each in an observation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .observations import Observation

SILENT = -1  # the served "user" of a silent AP, and the user in an empty slot


@dataclass(frozen=True)
class ObservationView:
    """What the agents of the paper see.

    Attributes:
        obs: (E, I, N F) float32; the F features of each slot, see `observations`, all 0 where the slot is empty.
        action_mask: (E, I, N+1) bool, True where an action may be taken.
        slots: (E, I, N) int64, the user in each slot, -1 where it is empty.
    """

    obs: Tensor
    action_mask: Tensor
    slots: Tensor

    def narrow(self, kind: type[ObservationView]) -> ObservationView:
        """The same as a view that shows no more than `kind`, itself or one that this view extends."""
        return kind(*(getattr(self, field.name) for field in fields(kind)))

    def users(self, actions: Tensor) -> Tensor:
        """Slots (E, I) to users (E, I): -1 for silence."""
        return self._of_actions().gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def actions(self, users: Tensor) -> Tensor:
        """Users (E, I) to slots (E, I); ValueError if an AP serves a user outside its slots."""
        match = self._of_actions() == users.unsqueeze(-1)
        if not bool(match.any(-1).all()):
            raise ValueError(f"an AP serves a user outside its top {self.slots.shape[-1]}: no slot stands for it")
        return match.int().argmax(-1)  # the first: silence stands before empty slots

    def _of_actions(self) -> Tensor:
        """The user of each action (E, I, N+1)."""
        return torch.nn.functional.pad(self.slots, (1, 0), value=SILENT)


@dataclass(frozen=True)
class CellView(ObservationView):
    """In addition all users of one's own cell.

    Attributes:
        sinr, weight: (E, I, J), reported SINR (linear) and weight, 0 for users of other APs or who are not there.
    """

    sinr: Tensor
    weight: Tensor


@dataclass(frozen=True)
class ReportView(CellView):
    """All that users can report, for `ImperfectReports` alone: a behaviour does not see it.

    Attributes:
        gain: (E, I, J), SNR (linear) of every AP at every user.
        observation: what `obs` is made of.
    """

    gain: Tensor
    observation: Observation


@dataclass(frozen=True)
class CrossGainView(ObservationView):
    """In addition the current gains between cells.

    Attributes:
        gain: (E, I, I, N), SNR (linear) from AP i to the user in slot n of AP k at [:, i, k, n]; 0 for empty slots.
        sinr, weight: (E, I, N), reported SINR (linear) and weight of the user in each slot, 0 for empty ones.
    """

    gain: Tensor
    sinr: Tensor
    weight: Tensor


@dataclass(frozen=True)
class NetworkView(ObservationView):
    """Everything: reported `sinr`, `weight`, `serving` AP of all users (E, J), gains `snr` (E, I, J), TTIs counted. A
    user who is not there has the AP -1, and its other numbers mean nothing."""

    sinr: Tensor
    weight: Tensor
    serving: Tensor
    snr: Tensor
    ttis: int
