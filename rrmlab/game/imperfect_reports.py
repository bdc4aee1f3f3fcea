"""Reports that are late or inexact: what a policy decides when it gets its users' SINR that way.

Shapes: E environments, I APs, J users, N top users.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from ..checks import check_kind, real_number, whole_number
from ..config import NetworkConfig
from ..random_streams import REPORT_NOISE, PolicyStream
from .behaviours import Behaviour, check_behaviour
from .observations import Slots
from .views import SILENT, CellView, ObservationView

MAX_DELAY_TTIS = 10_000  # what is kept in memory grows with it


class ImperfectReports:
    """A behaviour on observations that gets its users' SINR late, or with noise, and ranks its users by that.

    The weights are those of now: they come of the rates that the AP itself served. At an episode's start, where no
    report is old enough, the first one is used. The noise is Gaussian in dB, independent for each report, and the same
    for whatever is scored on a deployment. With neither, the behaviour sees what it always sees.

    Args:
        behaviour: a policy or a scheduler that looks at observations alone (`ObservationView`).
        delay_ttis: age of the reports.
        noise_db: standard deviation of the SINR's error, dB.

    Raises:
        ValueError: a behaviour that looks at more, a delay outside 0 ... 10,000 or noise outside 0 ... 100 dB.
    """

    knowledge = CellView

    def __init__(self, behaviour: Behaviour, delay_ttis: int = 0, noise_db: float = 0.0) -> None:
        check_behaviour("behaviour", behaviour)
        if behaviour.knowledge is not ObservationView:
            raise ValueError(f"behaviour = {behaviour.name}: looks at more than observations")
        if not 0 <= whole_number("delay_ttis", delay_ttis) <= MAX_DELAY_TTIS:
            raise ValueError(f"delay_ttis = {delay_ttis}: must lie in 0 ... {MAX_DELAY_TTIS}")
        if not 0 <= real_number("noise_db", noise_db) <= 100:
            raise ValueError(f"noise_db = {noise_db}: must lie in 0 ... 100")
        self.behaviour, self.delay_ttis, self.noise_db = behaviour, delay_ttis, noise_db

    @property
    def name(self) -> str:
        return self.behaviour.name

    def check_fits(self, network: NetworkConfig) -> None:
        """See `Policy.check_fits`."""
        check_kind("network", network, NetworkConfig)
        if hasattr(self.behaviour, "check_fits"):
            self.behaviour.check_fits(network)

    def begin(self, key: Tensor) -> None:
        """Start an episode: deployments' keys (E, 3)."""
        self.behaviour.begin(key)
        self._reports: deque[Tensor] = deque(maxlen=self.delay_ttis + 1)
        self._key = key
        self._noise: PolicyStream | None = None

    def serve(self, view: CellView) -> Tensor:
        """Users to serve (E, I), -1 for silence."""
        return self.behaviour.serve(self.seen(view))

    def seen(self, view: CellView) -> ObservationView:
        """What the behaviour gets to see in this TTI."""
        sinr = view.sinr  # (E, I, J)
        if self.noise_db:
            sinr = sinr * 10 ** (self.noise_db / 10 * self._normal(sinr)).unsqueeze(1)
        self._reports.append(sinr)
        sinr, top_n = self._reports[0], view.slots.shape[-1]
        factor = torch.where(view.weight > 0, view.weight * torch.log2(1 + sinr), -1.0)
        best, users = torch.sort(factor, dim=-1, descending=True, stable=True)  # ties to the lower index
        users, filled = users[..., :top_n], best[..., :top_n] >= 0
        slots = Slots(lambda values: values.gather(-1, users), sinr=sinr, log_weight=view.weight.log())
        values = view.observation.measure(slots)
        obs = torch.stack([torch.where(filled, value, 0.0) for value in values], -1).flatten(-2)
        mask = torch.nn.functional.pad(filled, (1, 0), value=True)
        return ObservationView(obs.to(view.obs), mask, torch.where(filled, users, SILENT))

    def _normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers (E, J), one per user and TTI."""
        if self._noise is None:
            self._noise = PolicyStream(self._key, 0, like.shape[-1], REPORT_NOISE)
        uniform = self._noise.next().clamp(min=2.0**-53)
        return torch.special.ndtri(uniform).to(like)
