"""The network and the game in numbers: one frozen dataclass, checked when it is made.

Every field says its unit and where its value comes from: `paper` (stated in the summary of arXiv 2501.12991),
`lineage` (public code of Naderializadeh et al., on which the paper builds) or `study` (this project's own choice).
"""

from __future__ import annotations

import dataclasses
import math
import operator
from dataclasses import dataclass, field
from typing import Any

SPEED_OF_LIGHT = 299_792_458.0  # m/s


def constant(default: Any, unit: str, provenance: str, doc: str) -> Any:
    """A dataclass field that carries its unit, its provenance and what it is."""
    return field(default=default, metadata={"unit": unit, "provenance": provenance, "doc": doc})


def check_types(config: Any) -> None:
    """Raise ValueError for a field of the wrong type, NaN or infinity; numbers may be given as int for float."""
    for f in dataclasses.fields(config):
        value, kind = getattr(config, f.name), type(f.default)
        # NumPy scalars and ints for floats are what a parameter sweep hands over; they become plain numbers.
        if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
            value = value.item()
        if type(value) is int and value.bit_length() > 63:  # too long for arithmetic, perhaps even to print
            raise ValueError(f"{f.name}: a whole number of {value.bit_length()} bits, at most 63 are allowed")
        if kind is float and type(value) is int:
            value = float(value)
        if f.default is not None and type(value) is not kind:
            raise ValueError(f"{f.name} = {value!r}: expected {kind.__name__}, got {type(value).__name__}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{f.name} = {value}: must be finite")
        object.__setattr__(config, f.name, value)


def check_range(config: Any, name: str, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
    """Raise ValueError unless low <= value <= high (low < value where `open_low`)."""
    value = getattr(config, name)
    if value > high or value < low or (open_low and value == low):
        bracket = "(" if open_low else "["
        raise ValueError(f"{name} = {value}: must lie in {bracket}{low:g}, {high:g}]")


def check_kind(name: str, value: Any, kind: type) -> None:
    """Raise ValueError unless the value is of that class."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise ValueError(f"{name}: must be {article} {kind.__name__}, got {type(value).__name__}")


def whole_number(name: str, value: Any) -> int:
    """The value as an int, of whatever integer type; ValueError for anything else, True and 2.0 among it."""
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # what NumPy's and PyTorch's arrays raise
        pass
    raise ValueError(f"{name} = {value!r}: must be a whole number")


def seed_number(value: Any, name: str = "seed") -> int:
    """A seed as an int; ValueError unless it is a whole number in 0 ... 2^63 - 1."""
    seed = whole_number(name, value)
    if not 0 <= seed < 2**63:
        raise ValueError(f"{name} = {seed}: must lie in 0 ... 2^63 - 1")
    return seed


def real_number(name: str, value: Any) -> float:
    """The value as a float; ValueError unless it is one finite number (no text, no True)."""
    try:
        number = math.nan if isinstance(value, bool | str | bytes) else float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} = {value!r}: must be one finite number")
    return number


def several(name: str, values: Any) -> list[Any]:
    """The values as a list; ValueError if they cannot be gone through."""
    try:
        return list(values)
    except TypeError:
        raise ValueError(f"{name} = {values!r}: must be several, such as a list") from None


def from_dict(cls: type, values: dict[str, Any]) -> Any:
    """Build a config from a plain dict; ValueError on a key it does not have."""
    if not isinstance(values, dict):
        raise ValueError(f"{cls.__name__}: must be made from a dict, got {type(values).__name__}")
    known = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(str(name) for name in set(values) - known)
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return cls(**values)


@dataclass(frozen=True)
class NetworkConfig:
    """I access points, J users, the radio between them and the episode's rules.

    Raises:
        ValueError: a field of the wrong type or outside its range, N > J, or APs that cannot fit their spacing.
    """

    num_aps: int = constant(4, "APs", "study", "I, access points; each is one agent")
    num_users: int = constant(24, "users", "study", "J, users of the whole network")
    top_n: int = constant(3, "users", "study", "N, users an AP may choose from in a TTI")
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
    episode_ttis: int = constant(2000, "TTIs", "study", "counted TTIs of an episode")
    warmup_ttis: int = constant(
        200, "TTIs", "study", "round-robin TTIs at full power before counting starts: no transients in the rewards"
    )
    averaging: float = constant(0.01, "", "study", "constant of the exponential rate average")
    average_floor: float = constant(0.01, "bit/s/Hz", "study", "floor of the average in the weight: w <= 100")
    lam: float = constant(0.8, "", "paper", "lambda, exponent of the weight in the reward")
    tail_weight: float = constant(3.0, "", "study", "mu2 of R_score = mean rate + mu2 * tail rate (mu1 = 1/J)")

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
        check_range(self, "averaging", 0, 1, open_low=True)
        check_range(self, "average_floor", 1e-6, 1e3)
        check_range(self, "lam", 0, 1)
        check_range(self, "tail_weight", 0, 1e6)
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

    def to_dict(self) -> dict[str, Any]:
        """Plain dict, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Inverse of `to_dict`; ValueError on an unknown key."""
        return from_dict(cls, values)
