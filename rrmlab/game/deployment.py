"""Deployments: everything exogenous of E episodes, drawn, at given positions, or as given gains.

Positions are in metres in the square 0 ... area_m by 0 ... area_m: the origin is one of its corners. Users walk in a
straight line and are reflected at its border. Shapes: E episodes, I APs, J users, M sinusoids, T TTIs.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor

from ..checks import check_kind, real_array, seed_number, several, whole_number
from ..config import NetworkConfig
from .draws import draw_angles, draw_deployment, draw_shadowing
from .traces import as_episodes, as_traces, check_traces, warn_of_decibels

SPLITS = ("train", "validation", "test")
GIVEN = len(SPLITS)  # in place of a split in the keys of what was not drawn
WHOLE = ("key", "serving", "arrives", "leaves")  # whole numbers
NEVER = 2**62  # a TTI that does not come


@dataclass(frozen=True, eq=False)
class Deployment:
    """Who stands where and moves which way, every link's shadowing and fading; or every link's gains themselves.

    A sequence of E episodes: an index, a slice and a loop give deployments again.

    Attributes:
        ap_xy: (E, I, 2) float64, m.
        user_xy: (E, J, 2) float64, m, in the user's first TTI; TTI 0 is the first one of the warm-up.
        heading: (E, J) float64, rad, direction of the straight walk.
        shadowing_db: (E, I, J) float64, dB, added to the path loss: positive makes a link weaker.
        arrival: (E, I, J, M) float64, rad, arrival angles of the sinusoids.
        phase: (E, I, J, M) float64, rad, their phases.
        key: (E, 3) int64, (split, seed, index) of each episode; the split is 3 where it was not drawn.
        serving: (E, J) int64, the AP that serves each user, -1 for the one of the strongest gain; left out, -1 for all.
        arrives: (E, J) int64, the first TTI in which each user is there; it stands still before. Left out, 0 for all.
        leaves: (E, J) int64, the first TTI after its last one; left out, NEVER for all.
        gains: for each episode an array (T, I, J) of linear SNRs in place of the radio, see `from_gains`; or none.
    """

    ap_xy: Tensor
    user_xy: Tensor
    heading: Tensor
    shadowing_db: Tensor
    arrival: Tensor
    phase: Tensor
    key: Tensor
    serving: Tensor = None  # type: ignore[assignment]
    arrives: Tensor = None  # type: ignore[assignment]
    leaves: Tensor = None  # type: ignore[assignment]
    gains: tuple[np.ndarray, ...] = ()

    def __post_init__(self) -> None:
        for name, usual in {"serving": -1, "arrives": 0, "leaves": NEVER}.items():
            if getattr(self, name) is None and isinstance(self.heading, Tensor):
                object.__setattr__(self, name, torch.full_like(self.heading, usual, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.ap_xy)

    def __getitem__(self, index: SupportsIndex | slice) -> Deployment:
        """The deployment of one episode, or of those in a slice.

        Raises:
            IndexError: an index outside of -E ... E-1.
            TypeError: neither a whole number nor a slice.
        """
        if not isinstance(index, slice):
            allowed = f"must be a whole number in {-len(self)} ... {len(self) - 1} or a slice"
            try:
                place = operator.index(index)
            except TypeError:
                raise TypeError(f"index = {index!r}: {allowed}") from None
            if not -len(self) <= place < len(self):
                raise IndexError(f"index = {place}: {allowed}")
            index = slice(place, place + 1 or None)
        return Deployment(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: str | torch.device) -> Deployment:
        """The same deployment on another device; gains stay in the memory of the CPU, or on the disk."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "gains"}
        return replace(self, **{name: tensor.detach().to(device) for name, tensor in tensors.items()})

    def repeat(self, times: int) -> Deployment:
        """The whole batch `times` times, one copy after the other: E becomes times * E; ValueError below 1."""
        if whole_number("times", times) < 1:
            raise ValueError(f"times = {times}: must be at least 1")
        return Deployment.concat([self] * times)

    @classmethod
    def concat(cls, parts: Sequence[Deployment]) -> Deployment:
        """Several batches as one; ValueError for none."""
        parts = several("parts", parts)
        if not parts:
            raise ValueError("parts = []: must be at least one Deployment")
        columns: dict[str, Any] = {f.name: [getattr(part, f.name) for part in parts] for f in fields(cls)}
        gains = tuple(itertools.chain(*columns.pop("gains")))
        return cls(**{name: torch.cat(tensors) for name, tensors in columns.items()}, gains=gains)

    def check(self, config: NetworkConfig, num: int | None = None) -> None:
        """Whether it is `num` deployments for a network; left out, of any number but 0.

        Raises:
            ValueError: an array of another shape or type; a number that is not finite or cannot be, such as a position
                outside of the square; gains that `from_gains` refuses.
        """
        self._checked(config, num)

    def _checked(self, config: NetworkConfig, num: int | None) -> tuple[float, float] | None:
        """See `check`; the smallest and the largest of given gains."""
        i, j, m = config.num_aps, config.num_users, config.num_sinusoids
        found = getattr(self.arrival, "shape", None)
        num = num or (found[0] if found else 0) or 1
        if found is None or tuple(found) != (num, i, j, m):
            raise ValueError(f"deployment of shape (E, I, J, M) = {found and tuple(found)}: must be {(num, i, j, m)}")
        if not isinstance(self.gains, tuple):
            raise ValueError(f"deployment.gains: must be a tuple of arrays, got {type(self.gains).__name__}")
        inside = (0, config.area_m, " m; the origin is a corner of the square: shift the positions, or raise area_m")
        angle = (-2 * math.pi, 2 * math.pi, " rad")
        shadow = max(100.0, 8 * config.shadowing_db)  # draws stay within
        wanted: dict[str, tuple[tuple[int, ...], float, float, str]] = {
            "ap_xy": ((i, 2), *inside),
            "user_xy": ((j, 2), *inside),
            "heading": ((j,), *angle),
            "shadowing_db": ((i, j), -shadow, shadow, " dB; it is added to the path loss, and is not the loss itself"),
            "arrival": ((i, j, m), *angle),
            "phase": ((i, j, m), *angle),
            "key": ((3,), 0, math.inf, ""),
            "serving": ((j,), -1, i - 1, ", an AP, or -1 for the one of the strongest gain"),
            "arrives": ((j,), 0, NEVER if config.mean_stay_s else 0, ""),
            "leaves": ((j,), 0 if config.mean_stay_s else NEVER, NEVER, ", users come and leave with mean_stay_s > 0"),
        }
        for name, (shape, low, high, unit) in wanted.items():
            value, dtype = getattr(self, name), torch.int64 if name in WHOLE else torch.float64
            if not isinstance(value, Tensor) or tuple(value.shape) != (num, *shape) or value.dtype != dtype:
                raise ValueError(f"deployment.{name}: must be a {dtype} tensor of shape {(num, *shape)}")
            if self.gains and dtype == torch.float64:  # the radio is not used
                continue
            if not bool(torch.isfinite(value).all()):
                raise ValueError(f"deployment.{name}: must be finite, found NaN or infinity")
            if bool((outside := (value < low) | (value > high)).any()):
                place = outside.nonzero()[0].tolist()
                number = value[tuple(place)].item()
                raise ValueError(f"deployment.{name}{place} = {number:g}: must lie in {low:g} ... {high:g}{unit}")
        if self.gains:
            return check_traces(self.gains, config, num)
        if float((self.ap_xy.unsqueeze(2) - self.user_xy.unsqueeze(1)).norm(dim=-1).max()) < config.min_ap_user_m:
            raise ValueError(
                f"deployment.user_xy: all users are nearer than min_ap_user_m = {config.min_ap_user_m:g} m to all APs; "
                "positions must be in metres"
            )
        return None

    @classmethod
    def draw(
        cls, config: NetworkConfig, num: int, seed: int = 0, split: str = "train", first_index: int = 0
    ) -> Deployment:
        """Draw `num` deployments. Each comes from its own stream keyed by (split, seed, index), so it does not depend
        on the batch it is drawn in, nor on the device.

        Args:
            config: the network.
            num: E.
            seed, split: name the stream; a split is "train", "validation" or "test".
            first_index: of the first of them in the stream.

        Raises:
            ValueError: an unknown split, a negative seed or index, or `num` below 1.
            DeploymentError: a minimum distance or `require_users` could not be met in 1,000 redraws.
        """
        check_kind("config", config, NetworkConfig)
        split = known_split(split)
        num, seed = whole_number("num", num), seed_number(seed)
        first_index = whole_number("first_index", first_index)
        if first_index < 0 or num < 1:
            raise ValueError(f"num = {num}, first_index = {first_index}: need num >= 1 and first_index >= 0")
        keys = [(SPLITS.index(split), seed, first_index + e) for e in range(num)]
        drawn = [draw_deployment(config, _stream(key)) for key in keys]
        return cls(**_columns(drawn, keys))

    @classmethod
    def from_positions(
        cls,
        config: NetworkConfig,
        ap_xy: Any,
        user_xy: Any,
        shadowing_db: Any = None,
        serving: Any = None,
        seed: int = 0,
    ) -> Deployment:
        """Deployments at given positions; headings and fading are drawn, and what is left out.

        Tensors, arrays, tables and nested lists of real numbers are taken, each with a dimension of E episodes in front
        or without, for all of them. `min_ap_ap_m` and `require_users` are rules for drawn positions and do not count.

        Args:
            config: the network; I, J and `area_m` must be those of the positions.
            ap_xy: (I, 2) m, from the origin at a corner of the square.
            user_xy: (J, 2) m, likewise.
            shadowing_db: (I, J) dB, added to the path loss.
            serving: (J,), the AP that serves each user, -1 for the one of the strongest gain.
            seed: of what is drawn.

        Raises:
            ValueError: another shape, no real numbers, numbers of episodes that differ, or what `check` refuses.
        """
        check_kind("config", config, NetworkConfig)
        if config.mean_stay_s:
            raise ValueError(f"mean_stay_s = {config.mean_stay_s:g}: must be 0, users at given positions stay")
        i, j, seed = config.num_aps, config.num_users, seed_number(seed)
        given = {"ap_xy": as_episodes("ap_xy", ap_xy, (i, 2)), "user_xy": as_episodes("user_xy", user_xy, (j, 2))}
        for name, values, shape in (("shadowing_db", shadowing_db, (i, j)), ("serving", serving, (j,))):
            if values is not None:
                given[name] = as_episodes(name, values, shape)
        num = max(map(len, given.values()))
        for name, array in given.items():
            if len(array) not in (1, num):
                raise ValueError(f"{name}: has {len(array)} episodes where others have {num}")
        keys = [(GIVEN, seed, e) for e in range(num)]
        # Shadowing is drawn also where it is given, so that the fading is the same.
        drawn = [{"shadowing_db": draw_shadowing(config, rng)} | draw_angles(config, rng) for rng in map(_stream, keys)]
        known = {name: torch.from_numpy(np.repeat(array, num // len(array), 0)) for name, array in given.items()}
        deployment = cls(**_columns(drawn, keys) | known)
        deployment.check(config, num)
        return deployment

    @classmethod
    def from_gains(cls, config: NetworkConfig, gains: Any, serving: Any = None, seed: int = 0) -> Deployment:
        """Deployments whose links are measured or ray-traced: given gains in place of positions and radio.

        An array that is mapped into memory (`numpy.load(path, mmap_mode="r")`) stays on the disk: it is looked through
        before an episode starts, and then read in blocks of TTIs as they are played.

        Args:
            config: the network; I and J must be those of the gains, its geometry and radio do not count.
            gains: (T, I, J), or (E, T, I, J) for E episodes, or (I, J) if they stay as they are; linear SNR of every
                link at full power without interference, that is `config.snr_scale` times its path gain; 0 for no path
                counts as -200 dB. T must be at least warmup_ttis + episode_ttis + 1.
            serving: (J,) or (E, J), the AP that serves each user, -1 for the one of the strongest mean gain.
            seed: of the streams of schedulers and policies that draw.

        Raises:
            ValueError: another shape, too few TTIs, NaN, negative numbers (decibels), or path gains.
        """
        check_kind("config", config, NetworkConfig)
        i, j, m = config.num_aps, config.num_users, config.num_sinusoids
        seed, traces = seed_number(seed), as_traces(real_array("gains", gains))
        num = len(traces)
        shapes = {"ap_xy": (i, 2), "user_xy": (j, 2), "heading": (j,), "shadowing_db": (i, j)}
        shapes |= {"arrival": (i, j, m), "phase": (i, j, m)}
        unknown = {name: np.full(shape, math.nan) for name, shape in shapes.items()}
        columns = _columns([unknown] * num, [(GIVEN, seed, e) for e in range(num)])
        if serving is not None:
            given = torch.from_numpy(as_episodes("serving", serving, (j,)))
            if len(given) not in (1, num):
                raise ValueError(f"serving: has {len(given)} episodes where gains have {num}")
            columns["serving"] = given.repeat(num, 1) if len(given) == 1 else given
        deployment = cls(**columns, gains=traces)
        warn_of_decibels(deployment._checked(config, num), i * j)
        return deployment


def known_split(split: Any) -> str:
    """The split; ValueError if there is none of that name."""
    if not isinstance(split, str) or split not in SPLITS:
        raise ValueError(f"split = {split!r}: must be one of {', '.join(SPLITS)}")
    return split


def _stream(key: tuple[int, ...]) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(key))


def _columns(drawn: list[dict[str, np.ndarray]], keys: list[tuple[int, int, int]]) -> dict[str, Any]:
    """The tensors of a deployment from the arrays of each episode, and its key."""
    columns = {name: torch.from_numpy(np.stack([each[name] for each in drawn])) for name in drawn[0]}
    return {**columns, "key": torch.from_numpy(np.array(keys, dtype=np.int64))}
