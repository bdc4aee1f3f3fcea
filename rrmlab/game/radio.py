"""The radio: where APs and users stand, how users move, and every link's gain over time.

Nothing here depends on what anybody transmits, so a whole block of TTIs is computed at once. Shapes: E environments,
I APs, J users, M sinusoids, T TTIs. Powers are linear and in units of the noise (SNR) unless a name ends in `_db`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from ..checks import check_kind, seed_number, whole_number
from ..config import NetworkConfig

SPLITS = ("train", "validation", "test")
BREAKPOINT_M = 100.0  # dual-slope path loss of the lineage: exponent 2 up to here, 4 beyond
PATH_LOSS_1M_DB = 39.0
MAX_DRAWS = 1000  # bound on redraws of one deployment, `study`


class DeploymentError(ValueError):
    """No deployment with the wanted geometry was found within the bounded number of redraws."""


@dataclass(frozen=True)
class Deployment:
    """Everything exogenous of E episodes: who stands where and moves which way, and every link's shadowing and fading.

    Attributes (float64):
        ap_xy: (E, I, 2) m.
        user_xy: (E, J, 2) m, at TTI 0, the first TTI of the warm-up.
        heading: (E, J) rad, direction of the straight walk.
        shadowing_db: (E, I, J) dB, added to the path loss.
        arrival: (E, I, J, M) rad, arrival angles of the sinusoids.
        phase: (E, I, J, M) rad, their phases.
        key: (E, 3) int64, (split, seed, index) of each episode.
    """

    ap_xy: Tensor
    user_xy: Tensor
    heading: Tensor
    shadowing_db: Tensor
    arrival: Tensor
    phase: Tensor
    key: Tensor

    def __len__(self) -> int:
        return len(self.ap_xy)

    def __getitem__(self, index: int | slice) -> Deployment:
        if isinstance(index, int):
            index = slice(index, index + 1 or None)
        return Deployment(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: str | torch.device) -> Deployment:
        """The same deployment on another device."""
        return Deployment(*(getattr(self, f.name).to(device) for f in fields(self)))

    def repeat(self, times: int) -> Deployment:
        """The whole batch `times` times, one copy after the other: E becomes times * E."""
        return Deployment.concat([self] * times)

    def check(self, config: NetworkConfig, num: int) -> None:
        """ValueError unless it is `num` deployments for that network, all of it finite and of a size that can be."""
        i, j, m = config.num_aps, config.num_users, config.num_sinusoids
        found = getattr(self.arrival, "shape", None)
        if found is None or tuple(found) != (num, i, j, m):
            raise ValueError(f"deployment of shape (E, I, J, M) = {found and tuple(found)}: must be {(num, i, j, m)}")
        shapes = {"ap_xy": (i, 2), "user_xy": (j, 2), "heading": (j,), "shadowing_db": (i, j)}
        shapes |= {"arrival": (i, j, m), "phase": (i, j, m), "key": (3,)}
        largest = {"ap_xy": 1e7, "user_xy": 1e7, "shadowing_db": 300}  # m, dB: beyond, a gain is no number any more
        for name, shape in shapes.items():
            value, dtype = getattr(self, name), torch.int64 if name == "key" else torch.float64
            if not isinstance(value, Tensor) or tuple(value.shape) != (num, *shape) or value.dtype != dtype:
                raise ValueError(f"deployment.{name}: must be a {dtype} tensor of shape {(num, *shape)}")
            if not bool(torch.isfinite(value).all()):
                raise ValueError(f"deployment.{name}: must be finite, found NaN or infinity")
            if bool((value.abs() > largest.get(name, math.inf)).any()):
                raise ValueError(f"deployment.{name}: at most {largest[name]:g} either way")

    @classmethod
    def concat(cls, parts: Sequence[Deployment]) -> Deployment:
        """Several batches as one."""
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    @classmethod
    def draw(
        cls, config: NetworkConfig, num: int, seed: int = 0, split: str = "train", first_index: int = 0
    ) -> Deployment:
        """Draw `num` deployments. Each comes from its own stream keyed by (split, seed, index), so it does not depend
        on the batch it is drawn in, nor on the device.

        Raises:
            ValueError: an unknown split or a negative seed or index.
            DeploymentError: a minimum distance or `require_users` could not be met in 1,000 redraws.
        """
        check_kind("config", config, NetworkConfig)
        if not isinstance(split, str) or split not in SPLITS:
            raise ValueError(f"split = {split!r}: must be one of {', '.join(SPLITS)}")
        num, seed = whole_number("num", num), seed_number(seed)
        first_index = whole_number("first_index", first_index)
        if first_index < 0 or num < 1:
            raise ValueError(f"num = {num}, first_index = {first_index}: need num >= 1 and first_index >= 0")
        keys = [(SPLITS.index(split), seed, first_index + e) for e in range(num)]
        drawn = [_draw_one(config, np.random.default_rng(np.random.SeedSequence(key))) for key in keys]
        columns = [torch.from_numpy(np.stack(column)) for column in zip(*drawn, strict=True)]
        return cls(*[*columns, torch.tensor(keys)])


def _draw_one(config: NetworkConfig, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    aps = _draw_apart(config, rng)
    links = (config.num_aps, config.num_users)
    for _ in range(MAX_DRAWS):
        users = _draw_users(config, aps, rng)
        shadowing = config.shadowing_db * rng.standard_normal(links)
        distance = np.linalg.norm(aps[:, None] - users, axis=-1)
        serving = np.argmin(path_loss_db(torch.from_numpy(distance)).numpy() + shadowing, axis=0)
        if not config.require_users or len(np.unique(serving)) == config.num_aps:
            break
    else:
        raise DeploymentError(
            f"require_users = True: with {config.num_users} users for {config.num_aps} APs no draw in {MAX_DRAWS} "
            "gave every AP a user; take more users or set require_users=False"
        )
    angles = 2 * math.pi * rng.random((2, *links, config.num_sinusoids))
    return aps, users, 2 * math.pi * rng.random(config.num_users), shadowing, angles[0], angles[1]


def _draw_apart(config: NetworkConfig, rng: np.random.Generator) -> np.ndarray:
    """AP positions (I, 2), placed one after the other and started over when the next finds no room."""
    for _ in range(MAX_DRAWS):
        aps: list[np.ndarray] = []
        while len(aps) < config.num_aps:
            candidates = config.area_m * rng.random((100, 2))
            far = (xy for xy in candidates if all(math.dist(xy, ap) >= config.min_ap_ap_m for ap in aps))
            found = next(far, None)
            if found is None:
                break
            aps.append(found)
        else:
            return np.stack(aps)
    raise DeploymentError(
        f"min_ap_ap_m = {config.min_ap_ap_m:g}: no room found for {config.num_aps} APs "
        f"in a square of area_m = {config.area_m:g} in {MAX_DRAWS} redraws"
    )


def _draw_users(config: NetworkConfig, aps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """User positions (J, 2): uniform where every AP is at least `min_ap_user_m` away."""
    users = np.empty((0, 2))
    for _ in range(MAX_DRAWS):
        candidates = config.area_m * rng.random((config.num_users, 2))
        far = np.linalg.norm(candidates[:, None] - aps, axis=-1).min(1) >= config.min_ap_user_m
        users = np.concatenate([users, candidates[far]])[: config.num_users]
        if len(users) == config.num_users:
            return users
    raise DeploymentError(
        f"min_ap_user_m = {config.min_ap_user_m:g}: no room found for {config.num_users} users "
        f"in a square of area_m = {config.area_m:g} in {MAX_DRAWS} redraws"
    )


def path_loss_db(distance_m: Tensor) -> Tensor:
    """Dual-slope path loss of the lineage, dB: 39 + 20 log10(d) up to 100 m, 39 + 40 log10(d) - 40 beyond."""
    slope = 20 * torch.log10(distance_m)
    return PATH_LOSS_1M_DB + slope + (slope - 40).clamp(min=0)


def distance_m(config: NetworkConfig, deployment: Deployment, t0: int, num: int) -> Tensor:
    """AP-user distances (E, I, J, T) in m at TTIs t0 ... t0+num-1, never below `min_ap_user_m`."""
    return _squared_distance(config, deployment, t0, num).sqrt_()


def _squared_distance(config: NetworkConfig, deployment: Deployment, t0: int, num: int) -> Tensor:
    user_x, user_y = _user_xy(config, deployment, t0, num).unsqueeze(2).unbind(1)  # (E, 1, J, T)
    ap_x, ap_y = deployment.ap_xy[:, :, None, None].unbind(-1)  # (E, I, 1, 1)
    squared = (user_x - ap_x).square_().add_((user_y - ap_y).square_())
    return squared.clamp_(min=config.min_ap_user_m**2)


def user_position(config: NetworkConfig, deployment: Deployment, t0: int, num: int) -> Tensor:
    """User positions (E, J, T, 2) in m: straight walks, reflected at the square's border."""
    return _user_xy(config, deployment, t0, num).permute(0, 2, 3, 1)


def _user_xy(config: NetworkConfig, deployment: Deployment, t0: int, num: int) -> Tensor:
    """The same as (E, 2, J, T): along time everything is contiguous."""
    time_s = config.tti_s * torch.arange(t0, t0 + num, dtype=torch.float64, device=deployment.heading.device)
    direction = torch.stack([deployment.heading.cos(), deployment.heading.sin()], 1)
    straight = deployment.user_xy.mT.unsqueeze(-1) + (config.speed_mps * direction).unsqueeze(-1) * time_s
    # A triangle wave of period 2 area_m; floor, because the CPU's remainder is many times slower.
    period = 2 * config.area_m
    folded = straight.sub_((straight / period).floor_().mul_(period)).sub_(config.area_m)
    return folded.abs_().neg_().add_(config.area_m)


def large_scale_db(config: NetworkConfig, deployment: Deployment, t: int) -> Tensor:
    """Path loss plus shadowing (E, I, J), dB, at TTI t."""
    return path_loss_db(distance_m(config, deployment, t, 1)[..., 0]) + deployment.shadowing_db


def association(config: NetworkConfig, deployment: Deployment) -> Tensor:
    """Serving AP of every user (E, J) int64: the strongest large-scale gain at the episode's start."""
    return large_scale_db(config, deployment, 0).argmin(1)


def fading(config: NetworkConfig, deployment: Deployment, t0: int, num: int) -> Tensor:
    """Complex Rayleigh fading (T, E, I, J) with unit mean power and Jakes' spectrum (Clarke's model).

    h(t) = M^-1/2 sum_m exp(j (2 pi f_d cos(arrival_m) t + phase_m)), whose autocorrelation over the random angles is
    J0(2 pi f_d tau). An AR(1) process with the coefficient J0(2 pi f_d T) is not the same: its autocorrelation at lag
    k is J0^k and it fades about 30 times too slowly.
    """
    return _fading(config, deployment, t0, num).permute(3, 0, 1, 2)


def fading_power(config: NetworkConfig, deployment: Deployment, t0: int, num: int) -> Tensor:
    """|h|^2 of `fading`, (T, E, I, J), mean 1."""
    return fading(config, deployment, t0, num).abs().square()


def _fading(config: NetworkConfig, deployment: Deployment, t0: int, num: int) -> Tensor:
    """`fading` as (E, I, J, T) complex128: in single precision the sum cancels to relative errors that show in deep
    fades.

    A TTI is t0 + r C + c. exp(j w (r C + c)) is a product of a coarse and a fine rotation, so the sum over sinusoids is
    a small matrix product per link, of two tables of about sqrt(T) rotations per sinusoid.
    """
    omega = (2 * math.pi * config.doppler_hz * config.tti_s * deployment.arrival.cos()).flatten(0, 2)  # rad per TTI
    fine_len = math.isqrt(num - 1) + 1
    coarse_len = -(-num // fine_len)
    start = _rotation(omega * t0 + deployment.phase.flatten(0, 2)).div_(math.sqrt(config.num_sinusoids))
    coarse = _powers(_rotation(omega * fine_len), coarse_len).mul_(start)  # (R, E I J, M)
    fine = _powers(_rotation(omega), fine_len)  # (C, E I J, M)
    summed = torch.bmm(coarse.transpose(0, 1), fine.permute(1, 2, 0))  # (E I J, R, C)
    return summed.view(*deployment.arrival.shape[:3], coarse_len * fine_len)[..., :num]


def _rotation(angle: Tensor) -> Tensor:
    """exp(j angle)."""
    return torch.complex(angle.cos(), angle.sin())


def _powers(base: Tensor, num: int) -> Tensor:
    """base^k, k = 0 ... num-1, in front: (num, ...). By repeated squaring, because a product costs less than a sine."""
    table, known = base.new_empty(num, *base.shape), 1
    table[0] = 1
    while known < num:
        more = min(known, num - known)
        torch.mul(table[:more], base, out=table[known : known + more])
        base, known = base * base, known + more
    return table


def link_snr(
    config: NetworkConfig, deployment: Deployment, t0: int, num: int, dtype: torch.dtype = torch.float64
) -> Tensor:
    """SNR of every link (T, E, I, J), linear, at TTIs t0 ... t0+num-1: transmit power * gain / noise.

    In memory time is the last dimension.
    """
    # The sum that may cancel is done: squares can be of the wanted precision.
    parts = torch.view_as_real(_fading(config, deployment, t0, num)).to(dtype).square_()
    snr = parts[..., 0] + parts[..., 1]
    inverse = _squared_distance(config, deployment, t0, num).reciprocal_().to(dtype)
    # The dual slope without logarithms: 1/d^2, and beyond the breakpoint once more breakpoint^2/d^2.
    snr.mul_(inverse).mul_(inverse.mul_(BREAKPOINT_M**2).clamp_(max=1))
    # exp, not pow: the CPU's pow rounds differently at the end of a tensor, so with the batch.
    scale = config.snr_scale * torch.exp(-math.log(10) / 10 * (PATH_LOSS_1M_DB + deployment.shadowing_db))
    return snr.mul_(scale.to(dtype).unsqueeze(-1)).permute(3, 0, 1, 2)
