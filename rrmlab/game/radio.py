"""The radio: how users move, and every link's gain over time.

Nothing here depends on what anybody transmits, so a whole block of TTIs is computed at once. Shapes: E environments,
I APs, J users, M sinusoids, T TTIs. Powers are linear and in units of the noise (SNR) unless a name ends in `_db`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..config import NetworkConfig
from .deployment import Deployment
from .path_loss import BREAKPOINT_M, PATH_LOSS_1M_DB, path_loss_db
from .traces import mean_gains, read_traces

BLOCK_TTIS = 50  # positions of so many TTIs at once are looked through for stronger APs


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
    ttis = torch.arange(t0, t0 + num, dtype=torch.float64, device=deployment.heading.device)
    if config.mean_stay_s:  # since each user came
        ttis = (ttis - deployment.arrives.unsqueeze(-1)).clamp_(min=0).unsqueeze(1)  # (E, 1, J, T)
    time_s = config.tti_s * ttis
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
    """Serving AP of every user (E, J) int64, where it is not given: that of the strongest large-scale gain at the
    episode's start or when the user comes, or of the strongest mean of given gains."""
    if deployment.gains:
        strongest = torch.from_numpy(mean_gains(deployment.gains, config).argmax(1)).to(deployment.serving)
    else:
        strongest = large_scale_db(config, deployment, 0).argmin(1)
    return torch.where(deployment.serving < 0, strongest, deployment.serving)


def associations(config: NetworkConfig, deployment: Deployment) -> Tensor:
    """The same in every TTI of an episode and one after it (T, E, J) int64, with `hysteresis_db`: where another AP's
    large-scale gain is greater by more than that, the user changes to the strongest one."""
    serving, found = association(config, deployment), []
    ttis = config.warmup_ttis + config.episode_ttis + 1
    for start in range(0, ttis, BLOCK_TTIS):
        distance = distance_m(config, deployment, start, min(BLOCK_TTIS, ttis - start))
        loss = path_loss_db(distance) + deployment.shadowing_db.unsqueeze(-1)  # (E, I, J, T)
        for now in loss.unbind(-1):
            least, strongest = now.min(1)
            better = now.gather(1, serving.unsqueeze(1)).squeeze(1) - least > config.hysteresis_db
            serving = torch.where(better, strongest, serving)
            found.append(serving)
    return torch.stack(found)


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
    """SNR of every link (T, E, I, J), linear, at TTIs t0 ... t0+num-1: transmit power * gain / noise, or the given one.

    In memory time is the last dimension of what is computed.
    """
    if deployment.gains:
        return read_traces(deployment.gains, t0, num).to(deployment.key.device, dtype)
    # The sum that may cancel is done: squares can be of the wanted precision.
    parts = torch.view_as_real(_fading(config, deployment, t0, num)).to(dtype).square_()
    snr = parts[..., 0] + parts[..., 1]
    inverse = _squared_distance(config, deployment, t0, num).reciprocal_().to(dtype)
    # The dual slope without logarithms: 1/d^2, and beyond the breakpoint once more breakpoint^2/d^2.
    snr.mul_(inverse).mul_(inverse.mul_(BREAKPOINT_M**2).clamp_(max=1))
    # exp, not pow: the CPU's pow rounds differently at the end of a tensor, so with the batch.
    scale = config.snr_scale * torch.exp(-math.log(10) / 10 * (PATH_LOSS_1M_DB + deployment.shadowing_db))
    return snr.mul_(scale.to(dtype).unsqueeze(-1)).permute(3, 0, 1, 2)
