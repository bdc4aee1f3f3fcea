"""Random geometry: positions of APs and users that keep their distances, shadowing, walks and fading.

And who comes and leaves when. Shapes: I APs, J users, M sinusoids. Every function takes its numbers from the generator
that it is given.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from ..config import NetworkConfig
from .path_loss import path_loss_db

MAX_DRAWS = 1000  # bound on redraws of one deployment, `study`
HOTSPOT_M = 30.0  # radius of the disc in which the share `hotspot` of the users is placed, `study`


class DeploymentError(ValueError):
    """No deployment with the wanted geometry was found within the bounded number of redraws."""


def draw_deployment(config: NetworkConfig, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The arrays of a `Deployment` of one episode by name, without its key.

    Raises:
        DeploymentError: a minimum distance or `require_users` could not be met.
    """
    aps = _draw_apart(config, rng)
    for _ in range(MAX_DRAWS):
        users = _draw_users(config, aps, rng)
        if config.hotspot:
            users = _gather(config, aps, users, rng)
        shadowing = draw_shadowing(config, rng)
        distance = np.linalg.norm(aps[:, None] - users, axis=-1)
        serving = np.argmin(path_loss_db(torch.from_numpy(distance)).numpy() + shadowing, axis=0)
        if not config.require_users or len(np.unique(serving)) == config.num_aps:
            break
    else:
        raise DeploymentError(
            f"require_users = True: with {config.num_users} users for {config.num_aps} APs no draw in {MAX_DRAWS} "
            "gave every AP a user; take more users or set require_users=False"
        )
    drawn = {"ap_xy": aps, "user_xy": users, "shadowing_db": shadowing} | draw_angles(config, rng)
    return drawn | (draw_visits(config, rng) if config.mean_stay_s else {})


def draw_visits(config: NetworkConfig, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """First TTI of each user and the first one after its last, by name, (J,) int64, in the order in which they come.

    An infinite number of potential users: a Poisson number is there at TTI 0, others come as a Poisson process of the
    rate mean_users / mean_stay_s, and in the middle of the counted episode the burst, a Poisson number at once. All
    stays are exponential, so the number present is Poisson with the mean `mean_users` in every TTI before the burst.
    Users in excess come in TTI 0 and have left by then.

    Raises:
        DeploymentError: more users come than the network has, see `NetworkConfig.enough_users`.
    """
    begin_s = config.tti_s * (config.warmup_ttis + config.episode_ttis // 2)
    end_s = config.tti_s * (config.warmup_ttis + config.episode_ttis)
    there, later, at_once = rng.poisson(config.mean_users * np.array([1, end_s / config.mean_stay_s, config.burst]))
    come_s = np.sort(np.r_[np.zeros(there), end_s * rng.random(later), np.full(at_once, begin_s)])
    if len(come_s) > config.num_users:
        raise DeploymentError(f"num_users = {config.num_users}: {len(come_s)} users come in one episode; take more")
    leave_s = come_s + rng.exponential(config.mean_stay_s, len(come_s))
    absent = np.zeros(config.num_users - len(come_s), np.int64)
    visits = {"arrives": come_s, "leaves": leave_s}
    return {name: np.r_[np.ceil(s / config.tti_s).astype(np.int64), absent] for name, s in visits.items()}


def draw_shadowing(config: NetworkConfig, rng: np.random.Generator) -> np.ndarray:
    """Log-normal shadowing of every link (I, J), dB."""
    return config.shadowing_db * rng.standard_normal((config.num_aps, config.num_users))


def draw_angles(config: NetworkConfig, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Heading (J,), arrival and phase (I, J, M) by name, uniform on the circle, rad."""
    arrival, phase = 2 * math.pi * rng.random((2, config.num_aps, config.num_users, config.num_sinusoids))
    return {"heading": 2 * math.pi * rng.random(config.num_users), "arrival": arrival, "phase": phase}


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


def _gather(config: NetworkConfig, aps: np.ndarray, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same positions (J, 2) with the share `hotspot` of the users in a disc, which lies anywhere in the square."""
    chosen = rng.random(config.num_users) < config.hotspot
    found = np.empty((0, 2))
    for _ in range(MAX_DRAWS):
        if not len(found):  # a disc that is too near to an AP is drawn again
            centre = config.area_m * rng.random(2)
        near = centre + HOTSPOT_M * (2 * rng.random((4 * config.num_users, 2)) - 1)
        far = np.linalg.norm(near[:, None] - aps, axis=-1).min(1) >= config.min_ap_user_m
        inside = ((near >= 0) & (near <= config.area_m)).all(1) & (np.linalg.norm(near - centre, axis=-1) <= HOTSPOT_M)
        found = np.concatenate([found, near[far & inside]])
        if len(found) >= config.num_users:
            return np.where(chosen[:, None], found[: config.num_users], users)
    raise DeploymentError(f"hotspot = {config.hotspot:g}: no room found in {MAX_DRAWS} draws for its users")


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
