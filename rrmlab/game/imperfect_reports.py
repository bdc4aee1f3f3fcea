"""Reports that are late or inexact: what a behaviour decides when it gets its users' reports that way.

Shapes: E environments, I APs, J users, N top users.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

import torch
from torch import Tensor

from ..checks import check_kind, real_number, whole_number
from ..config import NetworkConfig
from ..random_streams import LINK_NOISE, REPORT_NOISE, PolicyStream
from .behaviours import Behaviour, check_behaviour, check_fits, on_device, parameters_of
from .observations import Slots, other_aps
from .views import SILENT, CrossGainView, ObservationView, ReportView

MAX_AGE_TTIS = 10_000  # what is kept in memory grows with it
MAX_NOISE_DB = 40  # errors of eight standard deviations are finite in float32 then


class ImperfectReports:
    """A behaviour that gets its users' reports late, or with noise.

    There are three reports: the SINR, by which the APs rank their users; the gain of the serving AP (SNR); the gains of
    the other APs (INR). Each has an age of its own. The weights are those of now: they come of the rates that the AP
    itself served. At an episode's start, where no report is old enough, the first one is used. The noise is Gaussian in
    dB, one error for what a user reports of its own AP and one for each other AP, and the same for whatever is scored
    on a deployment. With neither, the behaviour sees what it always sees. `collect` logs what the behaviour sees.

    Args:
        behaviour: a policy or a scheduler that looks at observations alone (`ObservationView`), or at the gains to the
            users in the slots too (`CrossGainView`).
        delay_ttis: age of the SINR.
        noise_db: standard deviation of the reports' errors, dB.
        own_age_ttis: age of the gain of the serving AP.
        neighbour_age_ttis: age of the gains of the other APs.

    Raises:
        ValueError: a behaviour that looks at more, an age outside 0 ... 10,000 or noise outside 0 ... 40 dB.
    """

    knowledge = ReportView

    def __init__(
        self,
        behaviour: Behaviour,
        delay_ttis: int = 0,
        noise_db: float = 0.0,
        own_age_ttis: int = 0,
        neighbour_age_ttis: int = 0,
    ) -> None:
        check_behaviour("behaviour", behaviour)
        if behaviour.knowledge not in (ObservationView, CrossGainView):
            raise ValueError(
                f"behaviour = {behaviour.name}: looks at {behaviour.knowledge.__name__}, "
                "which is more than observations and the gains to the users in the slots"
            )
        self.behaviour, self.noise_db = behaviour, real_number("noise_db", noise_db)
        if not 0 <= self.noise_db <= MAX_NOISE_DB:
            raise ValueError(f"noise_db = {noise_db}: must lie in 0 ... {MAX_NOISE_DB}")
        ages = {"delay_ttis": delay_ttis, "own_age_ttis": own_age_ttis, "neighbour_age_ttis": neighbour_age_ttis}
        self.ages = {name: whole_number(name, age) for name, age in ages.items()}
        for name, age in self.ages.items():
            if not 0 <= age <= MAX_AGE_TTIS:
                raise ValueError(f"{name} = {age}: must lie in 0 ... {MAX_AGE_TTIS}")

    @property
    def name(self) -> str:
        return self.behaviour.name

    def check_fits(self, network: NetworkConfig) -> None:
        """See `Policy.check_fits`; ValueError too for late reports where users come, leave or change their AP."""
        check_kind("network", network, NetworkConfig)
        for name in ("mean_stay_s", "hysteresis_db"):
            if getattr(network, name) and any(self.ages.values()):
                raise ValueError(f"{name} = {getattr(network, name):g}: must be 0 with late reports")
        check_fits(self.behaviour, network)

    def to(self, device: str | torch.device) -> ImperfectReports:
        """The same with a policy on a device; itself if there is none."""
        behaviour = on_device(self.behaviour, device)
        if behaviour is self.behaviour:
            return self
        moved = copy.copy(self)
        moved.behaviour = behaviour
        return moved

    def begin(self, key: Tensor) -> None:
        """Start an episode: deployments' keys (E, 3)."""
        self.behaviour.begin(key)
        self._kept: list[deque[Tensor]] = [deque(maxlen=age + 1) for age in self.ages.values()]
        self._key = key
        self._noise: dict[int, PolicyStream] = {}

    def parameters(self) -> dict[str, Any]:
        """What it is, as plain values, for the metadata of what it logs."""
        return {"noise_db": self.noise_db, **self.ages, "behaviour": parameters_of(self.behaviour)}

    def serve(self, view: ReportView) -> Tensor:
        """Users to serve (E, I), -1 for silence."""
        self.shown = self.seen(view)
        return self.behaviour.serve(self.shown)

    def seen(self, view: ReportView) -> ObservationView:
        """What the behaviour gets to see in this TTI: a view of its `knowledge`."""
        own = view.weight > 0  # (E, I, J)
        sinr, signal, cross = view.sinr, view.gain * own, view.gain  # each (E, I, J)
        if self.noise_db:
            error = self._error(REPORT_NOISE, sinr[:, :1])  # (E, 1, J): one for what a user reports of its own AP
            sinr, signal, cross = sinr * error, signal * error, cross * self._error(LINK_NOISE, cross)
        for kept, report in zip(self._kept, (sinr, signal, cross), strict=True):
            kept.append(report)
        sinr, signal, cross = (kept[0] for kept in self._kept)
        factor = torch.where(own, view.weight * torch.log2(1 + sinr), -1.0)
        best, users = torch.sort(factor, dim=-1, descending=True, stable=True)  # ties to the lower index
        top_n = view.slots.shape[-1]
        users, filled = users[..., :top_n], best[..., :top_n] >= 0

        def pick(values: Tensor) -> Tensor:
            return values.gather(-1, users)

        def gains() -> Tensor:
            """From each AP to the users in the slots of each AP (E, I, I, N)."""
            received = torch.where(own, signal, cross)
            aps = received.shape[1]
            return received.gather(-1, users.flatten(1).unsqueeze(1).expand(-1, aps, -1)).unflatten(-1, (aps, top_n))

        def inr() -> Tensor:
            order = other_aps(users.shape[1], users.device).T[..., None]  # (I-1, I, 1): the AP for each AP's slots
            per_ap = gains().movedim(0, 1)  # (I, E, I, N)
            return per_ap.gather(0, order.unsqueeze(1).expand(-1, *per_ap.shape[1:]))

        slots = Slots(pick, inr, sinr=sinr, log_weight=view.weight.log(), snr=signal)
        obs = torch.stack([torch.where(filled, value, 0.0) for value in view.observation.measure(slots)], -1)
        mask = torch.nn.functional.pad(filled, (1, 0), value=True)
        base = obs.flatten(-2).to(view.obs), mask, torch.where(filled, users, SILENT)
        if self.behaviour.knowledge is ObservationView:
            return ObservationView(*base)
        return CrossGainView(*base, gains() * filled.unsqueeze(1), pick(sinr) * filled, pick(view.weight) * filled)

    def _error(self, purpose: int, like: Tensor) -> Tensor:
        """Factors of the reports (E, K, J), for numbers of that shape, new in every TTI."""
        if purpose not in self._noise:
            self._noise[purpose] = PolicyStream(self._key, 0, like[0].numel(), purpose)
        uniform = self._noise[purpose].next().clamp(min=2.0**-53)
        normal = torch.special.ndtri(uniform).to(like).view_as(like)
        return 10 ** (self.noise_db / 10 * normal)
