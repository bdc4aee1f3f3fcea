"""What an agent sees in a TTI: one record per kind of observation. All other code asks the record.

Shapes: E environments, I APs, J users, N slots of an AP, F features of a slot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import whole_number
from ..config import NetworkConfig


class Slots:
    """What is known of the users in the slots; every attribute is a tensor of one shape, whatever the layout.

    Attributes:
        sinr: reported SINR, linear.
        log_weight: ln of the PF weight w.
        snr: SNR of the serving AP's signal, linear.
        inr: interference-to-noise ratios of the other APs, linear, with a dimension I-1 in front: in the order of the
            APs, the slot's own one left out.
    """

    def __init__(self, pick: Callable[[Tensor], Tensor], inr: Callable[[], Tensor], **of_users: Tensor) -> None:
        """`pick` takes a tensor over all users to one over the slots; `inr` gives the attribute of that name."""
        self._pick, self._inr, self._of_users = pick, inr, of_users

    @property
    def inr(self) -> Tensor:
        return self._inr()

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
        features: what the numbers of a slot are, with units.
        measure: gives the F tensors of the features.
        of_neighbours: what the numbers are that a slot has for each of the other APs, after those of `features`: for
            the first other AP, then for the second, in the order of the APs.
    """

    name: str
    features: tuple[str, ...]
    measure: Callable[[Slots], Sequence[Tensor]]
    of_neighbours: tuple[str, ...] = ()

    def width(self, num_aps: int) -> int:
        """F, numbers of a slot in a network of so many APs."""
        return len(self.features) + (num_aps - 1) * len(self.of_neighbours)

    def names(self, num_aps: int) -> tuple[str, ...]:
        """What the F numbers of a slot are, with units."""
        others = range(1, num_aps)
        return self.features + tuple(f"{name}, other AP {k}" for k in others for name in self.of_neighbours)

    def size(self, network: NetworkConfig) -> int:
        """Numbers an agent sees, N * F; slot after slot."""
        return network.top_n * self.width(network.num_aps)

    def filled(self, obs: Tensor) -> Tensor:
        """Which slots hold a user, of observations alone: obs (..., I, N * F) -> bool (..., I, N)."""
        return (obs.unflatten(-1, (-1, self.width(obs.shape[-2]))) != 0).any(-1)


def _local(slots: Slots) -> Sequence[Tensor]:
    # `paper`: SINR and weight of the top N users; in dB and as a logarithm, `study`, for both span decades.
    return 10 * torch.log10(slots.sinr), slots.log_weight


INR_FLOOR_DB = -30.0  # stands for every smaller ratio, which changes an SINR by less than 0.005 dB, `study`
QUANTISED_DB = (-10.0, 50.0)  # from the lowest to the highest level of a quantised ratio, `study`


@dataclass(frozen=True)
class _WithNeighbours:
    """SINR in dB, ln w, SNR in dB and the other APs' INR in dB, see `neighbours`."""

    strongest: int | None
    bits: int | None

    def __call__(self, slots: Slots) -> Sequence[Tensor]:
        inr_db = 10 * torch.log10(slots.inr)
        reported = inr_db.clamp(min=INR_FLOOR_DB)
        if self.bits is not None:
            low, high = QUANTISED_DB
            step = (high - low) / (2**self.bits - 1)
            reported = low + step * ((inr_db.clamp(low, high) - low) / step).round()
        if self.strongest is not None and self.strongest < len(inr_db):
            # The rank of an AP among the others; of two that are equally strong, the first one comes first.
            rank = inr_db.argsort(dim=0, descending=True, stable=True).argsort(dim=0)
            reported = torch.where(rank < self.strongest, reported, INR_FLOOR_DB)
        return *_local(slots), 10 * torch.log10(slots.snr), *reported.unbind()


def neighbours(strongest: int | None = None, bits: int | None = None) -> Observation:
    """An observation with what users report of the other APs: for each slot SINR in dB and ln w as in "local", SNR in
    dB, and for each other AP its interference-to-noise ratio (INR) in dB, at least `INR_FLOOR_DB`.

    The record without arguments is registered as "neighbours"; any other one is registered by
    `OBSERVATIONS[record.name] = record`.

    Args:
        strongest: users report only so many of the other APs, the strongest; the others stand at `INR_FLOOR_DB`.
        bits: a reported INR is one of 2^bits levels, evenly spaced over `QUANTISED_DB`.

    Raises:
        ValueError: a number below 1, or more than 16 bits.
    """
    for name, value, high in (("strongest", strongest, 10**6), ("bits", bits, 16)):
        if value is not None and not 1 <= whole_number(name, value) <= high:
            raise ValueError(f"{name} = {value}: must lie in 1 ... {high}, or be None")
    marks = [f"{strongest} strongest"] * (strongest is not None) + [f"{bits} bits"] * (bits is not None)
    name = "neighbours" + (f" ({', '.join(marks)})" if marks else "")
    return Observation(name, ("SINR, dB", "ln w", "SNR, dB"), _WithNeighbours(strongest, bits), ("INR, dB",))


# Add a record to choose it by `NetworkConfig(observation=name)`; `measure` is no lambda, so that it can be pickled.
OBSERVATIONS = {record.name: record for record in (Observation("local", ("SINR, dB", "ln w"), _local), neighbours())}


def observation_of(network: NetworkConfig) -> Observation:
    """The record that `network.observation` names; ValueError if there is none."""
    if network.observation not in OBSERVATIONS:
        raise ValueError(f"observation = {network.observation!r}: must be one of {', '.join(OBSERVATIONS)}")
    return OBSERVATIONS[network.observation]


def other_aps(num_aps: int, device: torch.device | str = "cpu") -> Tensor:
    """Indices (I, I-1) of the other APs of each AP, ascending."""
    ap = torch.arange(num_aps, device=device)
    other = torch.arange(num_aps - 1, device=device)
    return other + (other >= ap[:, None])
