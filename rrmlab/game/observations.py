"""What an agent sees in a TTI: one record per kind of observation. All other code asks the record.

Shapes: I APs, N slots of an AP, F features of a slot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import NetworkConfig


class Slots:
    """What is known of the users in the slots; every attribute is a tensor of one shape, whatever the layout.

    Attributes:
        sinr: reported SINR, linear.
        log_weight: ln of the PF weight w.
        snr: current SNR of the serving AP's signal, linear (not under `ImperfectReports`).
    """

    def __init__(self, pick: Callable[[Tensor], Tensor], **of_users: Tensor) -> None:
        """`pick` takes a tensor over all users to one over the slots."""
        self._pick, self._of_users = pick, of_users

    def __getattr__(self, name: str) -> Tensor:
        if (values := self.__dict__["_of_users"].get(name)) is None:
            raise AttributeError(f"{name} of the users in the slots is not known here")
        return self._pick(values)


@dataclass(frozen=True)
class Observation:
    """A kind of observation: F numbers for each slot, 0 for all of them where the slot is empty.

    A learner standardises every number by its mean and spread over the filled slots of its data (`agents.scale`).

    Attributes:
        name: for `NetworkConfig.observation`.
        features: what the F numbers are, with units.
        measure: gives the F tensors of the features.
    """

    name: str
    features: tuple[str, ...]
    measure: Callable[[Slots], Sequence[Tensor]]

    def size(self, network: NetworkConfig) -> int:
        """Numbers an agent sees, N * F; slot after slot."""
        return network.top_n * len(self.features)

    def filled(self, obs: Tensor) -> Tensor:
        """Which slots hold a user, of observations alone: obs (..., N * F) -> bool (..., N)."""
        return (obs.unflatten(-1, (-1, len(self.features))) != 0).any(-1)


def _local(slots: Slots) -> Sequence[Tensor]:
    # `paper`: SINR and weight of the top N users; in dB and as a logarithm, `study`, for both span decades.
    return 10 * torch.log10(slots.sinr), slots.log_weight


# Add a record to choose it by `NetworkConfig(observation=name)`; `measure` is no lambda, so that it can be pickled.
OBSERVATIONS = {"local": Observation("local", ("SINR, dB", "ln w"), _local)}


def observation_of(network: NetworkConfig) -> Observation:
    """The record that `network.observation` names; ValueError if there is none."""
    if network.observation not in OBSERVATIONS:
        raise ValueError(f"observation = {network.observation!r}: must be one of {', '.join(OBSERVATIONS)}")
    return OBSERVATIONS[network.observation]
