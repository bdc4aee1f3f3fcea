"""The network and the game in numbers: one frozen dataclass, checked when it is made.

Every field says its unit and where its value comes from: `paper` (stated in the summary of arXiv 2501.12991),
`lineage` (public code of Naderializadeh et al., on which the paper builds) or `study` (this project's own choice).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from .checks import check_range, check_types, constant, from_dict

SPEED_OF_LIGHT = 299_792_458.0  # m/s
NEWCOMER_AVERAGES = ("share", "cell", "floor")  # see `game.population`


@dataclass(frozen=True)
class NetworkConfig:
    """I access points, J users, the radio between them and the episode's rules.

    Raises:
        ValueError: a field of the wrong type or outside its range, N > J, or APs that cannot fit their spacing.

    >>> network = NetworkConfig(num_aps=9, num_users=54, area_m=750.0)
    >>> round(network.noise_dbm), round(network.doppler_hz)
    (-104, 8)
    """

    num_aps: int = constant(4, "APs", "study", "I, access points; each is one agent")
    num_users: int = constant(24, "users", "study", "J, users of the whole network")
    top_n: int = constant(3, "users", "study", "N, users an AP may choose from in a TTI")
    observation: str = constant("local", "", "paper", "what an AP sees of its top N users")
    area_m: float = constant(500.0, "m", "lineage", "side of the square")
    min_ap_ap_m: float = constant(35.0, "m", "lineage", "smallest distance between two APs")
    min_ap_user_m: float = constant(10.0, "m", "lineage", "smallest AP-user distance; later a floor in the path loss")
    require_users: bool = constant(True, "", "lineage", "redraw until every AP serves at least one user")
    shadowing_db: float = constant(7.0, "dB", "lineage", "standard deviation of the log-normal shadowing")
    carrier_hz: float = constant(2.4e9, "Hz", "lineage", "carrier frequency; sets the Doppler")
    speed_mps: float = constant(1.0, "m/s", "lineage", "speed of every user; moves it and sets the Doppler")
    tti_s: float = constant(1e-3, "s", "paper", "length of a TTI")
    num_sinusoids: int = constant(
        16, "", "study", "M, sinusoids a link's fading is summed from: E|h|^4 = 2 - 1/M, 3% below Rayleigh"
    )
    tx_power_dbm: float = constant(10.0, "dBm", "lineage", "transmit power of an AP")
    bandwidth_hz: float = constant(10e6, "Hz", "lineage", "bandwidth")
    noise_psd_dbm_hz: float = constant(-174.0, "dBm/Hz", "lineage", "noise power spectral density")
    cross_gain_db: float = constant(
        0.0, "dB", "study", "added to the gain of every link to another AP's user, drawn or given; not to own links"
    )
    episode_ttis: int = constant(2000, "TTIs", "study", "counted TTIs of an episode")
    warmup_ttis: int = constant(
        200, "TTIs", "study", "round-robin TTIs at full power before counting starts: no transients in the rewards"
    )
    averaging: float = constant(0.01, "", "study", "constant of the exponential rate average")
    average_floor: float = constant(0.01, "bit/s/Hz", "study", "floor of the average in the weight: w <= 100")
    lam: float = constant(0.8, "", "paper", "lambda, exponent of the weight in the reward")
    tail_weight: float = constant(3.0, "", "study", "mu2 of R_score = mean rate + mu2 * tail rate (mu1 = 1/J)")
    # Users who come and leave, who meet in one place, and who change their AP.
    mean_stay_s: float = constant(0.0, "s", "study", "mean stay of users who come and leave; 0: all are always there")
    mean_users: float = constant(
        24.0,
        "users",
        "study",
        "mean number of users present, where they come and leave; J is then all of an episode",
    )
    burst: float = constant(
        0.0, "", "study", "users who come at once in the middle of an episode, on average, over `mean_users`"
    )
    newcomer_average: str = constant("share", "", "study", "start of a newcomer's rate average: share, cell or floor")
    hotspot: float = constant(0.0, "", "study", "share of the users that are placed in a disc of 30 m radius")
    hysteresis_db: float = constant(
        0.0, "dB", "study", "a user changes to an AP that is stronger by more than this; 0: it keeps its first one"
    )

    def __post_init__(self) -> None:
        check_types(self)
        # Outside of these a value is a slip of the unit (W for dBm, GHz for Hz, ms for s), not a network; inside, every
        # power is a finite number also in single precision.
        for name in ("num_aps", "num_users", "top_n", "num_sinusoids"):
            check_range(self, name, 1, 1e6)
        check_range(self, "episode_ttis", 1, 1e9)
        check_range(self, "warmup_ttis", 0, 1e9)
        check_range(self, "area_m", 1, 1e6)
        check_range(self, "min_ap_ap_m", 0, 1e6)
        check_range(self, "min_ap_user_m", 1e-3, 1e6)
        check_range(self, "shadowing_db", 0, 30)
        check_range(self, "carrier_hz", 1e6, 1e12)
        check_range(self, "speed_mps", 0, 1e3)
        check_range(self, "tti_s", 1e-6, 0.1)
        check_range(self, "tx_power_dbm", -50, 60)
        check_range(self, "bandwidth_hz", 1e3, 1e11)
        check_range(self, "noise_psd_dbm_hz", -200, -100)
        check_range(self, "cross_gain_db", -40, 40)
        check_range(self, "averaging", 0, 1, open_low=True)
        check_range(self, "average_floor", 1e-6, 1e3)
        check_range(self, "lam", 0, 1)
        check_range(self, "tail_weight", 0, 1e6)
        check_range(self, "mean_stay_s", 0, 1e6)
        check_range(self, "mean_users", 0, 1e6, open_low=True)
        check_range(self, "burst", 0, 100)
        check_range(self, "hotspot", 0, 1)
        check_range(self, "hysteresis_db", 0, 100)
        if self.newcomer_average not in NEWCOMER_AVERAGES:
            allowed = ", ".join(NEWCOMER_AVERAGES)
            raise ValueError(f"newcomer_average = {self.newcomer_average!r}: must be one of {allowed}")
        if self.mean_stay_s:
            self._check_visits()
        if self.top_n > self.num_users:
            raise ValueError(f"top_n = {self.top_n}: must be at most num_users = {self.num_users}")
        if self.require_users and self.num_users < self.num_aps:
            raise ValueError(
                f"num_users = {self.num_users}: must be at least num_aps = {self.num_aps} "
                "so that every AP has a user (or set require_users=False)"
            )
        # Discs of diameter min_ap_ap_m around the APs lie in the grown square; no packing is denser than pi / sqrt(12).
        disc, room = math.pi * self.min_ap_ap_m**2 / 4, (self.area_m + self.min_ap_ap_m) ** 2
        if self.num_aps * disc > math.pi / math.sqrt(12) * room and self.num_aps > 1:
            raise ValueError(
                f"min_ap_ap_m = {self.min_ap_ap_m:g}: {self.num_aps} APs cannot be that far apart "
                f"in a square of area_m = {self.area_m:g}"
            )
        if self.min_ap_user_m >= self.area_m / 2:
            raise ValueError(f"min_ap_user_m = {self.min_ap_user_m:g}: must be below area_m / 2 = {self.area_m / 2:g}")

    def _check_visits(self) -> None:
        if self.require_users:
            raise ValueError(f"require_users = True: must be False with mean_stay_s = {self.mean_stay_s:g}")
        if self.num_users < self.enough_users:
            raise ValueError(
                f"num_users = {self.num_users}: must be at least {self.enough_users}, that is all users who come in an "
                f"episode with mean_users = {self.mean_users:g} and mean_stay_s = {self.mean_stay_s:g}"
            )

    @property
    def enough_users(self) -> int:
        """Users of an episode with arrivals: more come in one of 10^7 episodes, six standard deviations, `study`."""
        ttis = self.warmup_ttis + self.episode_ttis
        mean = self.mean_users * (1 + self.burst + ttis * self.tti_s / self.mean_stay_s)
        return math.ceil(mean + 6 * math.sqrt(mean))

    @property
    def doppler_hz(self) -> float:
        """Largest Doppler shift f_d = v f_c / c, Hz."""
        return self.speed_mps * self.carrier_hz / SPEED_OF_LIGHT

    @property
    def noise_dbm(self) -> float:
        """Noise power over the bandwidth, dBm."""
        return self.noise_psd_dbm_hz + 10 * math.log10(self.bandwidth_hz)

    @property
    def snr_scale(self) -> float:
        """Transmit power over noise power, linear: SNR = snr_scale * channel gain."""
        return 10 ** ((self.tx_power_dbm - self.noise_dbm) / 10)

    @property
    def cross_gain(self) -> float:
        """Factor on the gains of links to other APs' users, linear. Which AP serves a user does not depend on it."""
        return 10 ** (self.cross_gain_db / 10)

    def to_dict(self) -> dict[str, Any]:
        """Plain dict, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Inverse of `to_dict`; ValueError on an unknown key."""
        return from_dict(cls, values)
