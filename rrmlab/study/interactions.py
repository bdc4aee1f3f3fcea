"""How much of a joint reward is a sum over the APs: functional analysis of variance of the table of all joint actions.

With independent actions of the APs a function of the joint action is a sum of one part for each set of APs, and the
parts are uncorrelated: its mean, the main effect of each AP, what each pair adds to these, and so on. The variance is
the sum of the parts' variances. The main effects are the best fit that is a sum over APs, in the sense of least
squares. Source: Hoeffding 1948; Efron and Stein 1981.

Shapes: E environments, I APs, A actions of an AP, D deployments.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..config import NetworkConfig
from ..game.behaviours import Behaviour, Scheduler
from ..game.deployment import Deployment
from ..game.env import RRMEnv
from ..game.evaluation import run_episode
from ..game.link_schedulers import joint_rewards
from ..game.views import CrossGainView
from .scoring import Scoring

EVERY_TTIS = 20  # between two looks at the visited states, `study`: nearer ones are nearly the same


def variance_by_order(table: Tensor, probabilities: Tensor) -> Tensor:
    """Variance (..., I) of a table of joint actions that main effects explain, pairs of APs, triples and so on.

    Args:
        table: (..., A^I), the last AP's action varies fastest; where an action has probability 0, any number.
        probabilities: (..., I, A) of each AP's actions; the APs draw independently.

    Raises:
        ValueError: shapes that do not fit, rows of probabilities that do not sum to 1, or a table that is not finite
            where it counts.
    """
    weights = _checked(table, probabilities)
    parts = _parts(table, weights)
    aps = len(weights)
    orders = torch.zeros(*probabilities.shape[:-2], aps, dtype=torch.float64, device=table.device)
    for members, part in parts.items():
        if members:
            square = part.square()
            for ap in members:
                square = square * weights[ap]
            orders[..., len(members) - 1] += square.flatten(-aps).sum(-1)
    return orders


def main_effects(table: Tensor, probabilities: Tensor) -> Tensor:
    """What an AP's action changes on average over the others' (..., I, A); mean 0 over its own. See
    `variance_by_order`."""
    weights = _checked(table, probabilities)
    parts, aps = _parts(table, weights), len(weights)
    return torch.stack([parts[ap,].flatten(-aps) for ap in range(aps)], -2)


def _checked(table: Tensor, probabilities: Tensor) -> list[Tensor]:
    """The probabilities of each AP, in the shape of the table with a dimension for each AP: (..., 1, A, 1, ...)."""
    *states, aps, actions = probabilities.shape
    if table.shape != (*states, actions**aps):
        raise ValueError(f"table of shape {tuple(table.shape)}: must be {(*states, actions**aps)}, a number for each "
                         f"joint action of {aps} APs with {actions} actions")  # fmt: skip
    if not bool(((probabilities >= 0).all(-1) & ((probabilities.sum(-1) - 1).abs() < 1e-6)).all()):
        raise ValueError("probabilities: must not be negative, and those of an AP's actions must sum to 1")
    shape = [[actions if other == ap else 1 for other in range(aps)] for ap in range(aps)]
    return [probabilities[..., ap, :].double().reshape(*states, *shape[ap]) for ap in range(aps)]


def _parts(table: Tensor, weights: list[Tensor]) -> dict[tuple[int, ...], Tensor]:
    """The part of each set of APs, with A entries along its members' dimensions and 1 along the others'."""
    aps = len(weights)
    counts = torch.ones((), dtype=torch.bool, device=table.device)
    for weight in weights:
        counts = counts & (weight > 0)
    values = torch.where(counts, table.double().reshape(counts.shape), 0.0)
    if not bool(torch.isfinite(values).all()):
        raise ValueError("table: must be finite for joint actions of positive probability")
    parts: dict[tuple[int, ...], Tensor] = {(): values}
    for ap, weight in enumerate(weights):
        for members, part in list(parts.items()):
            mean = (part * weight).sum(ap - aps, keepdim=True)
            parts[members] = mean
            parts[(*members, ap)] = part - mean
    return parts


def uniform(mask: Tensor) -> Tensor:
    """The same probability for each allowed action: mask (..., A) bool -> (..., A) float64."""
    return mask.double() / mask.sum(-1, keepdim=True)


class AdditiveSearch(Scheduler):
    """The actions of the largest main effects of the one-step reward, with every current gain.

    It is to `Exhaustive` what the best sum over APs is to the reward itself: the fit is exact, in every TTI, under
    uniform actions, so all that it lacks is what a sum cannot say.

    Args:
        lam: lambda of the reward.
    """

    name = "Additive search"
    knowledge = CrossGainView

    def __init__(self, lam: float) -> None:
        self.lam = lam

    def serve(self, view: CrossGainView) -> Tensor:
        effects = main_effects(joint_rewards(view, self.lam), uniform(view.action_mask))
        return view.users(effects.masked_fill(~view.action_mask, -math.inf).argmax(-1))


@torch.no_grad()
def visited_states(behaviour: Behaviour, scoring: Scoring) -> pd.DataFrame:
    """The reward's variance by order under uniform actions in the states that a behaviour visits, and the radio there.

    Returns:
        a row per deployment: order_1 ... order_I, means over the visited states; snr_db and inr_db, medians over these
        and the users in the slots, of the serving AP's signal and of all others' together at full power.
    """
    config: NetworkConfig = scoring.network
    deployment = Deployment.draw(config, scoring.episodes, scoring.seed, scoring.split)
    env = RRMEnv(config, scoring.episodes)
    orders: list[Tensor] = []
    snr: list[Tensor] = []
    inr: list[Tensor] = []
    for t, _ in enumerate(run_episode(behaviour, env, deployment)):
        if t % EVERY_TTIS:
            continue
        view = env.view(CrossGainView)
        orders.append(variance_by_order(joint_rewards(view, config.lam), uniform(view.action_mask)))
        own = torch.einsum("eiin->ein", view.gain)
        for found, ratio in ((snr, own), (inr, view.gain.sum(1) - own)):
            found.append(torch.where(view.action_mask[..., 1:], 10 * ratio.log10(), math.nan).flatten(1))
    means = torch.stack(orders).mean(0).cpu().numpy()  # (D, I)
    columns = {f"order_{k + 1}": means[:, k] for k in range(config.num_aps)}
    for name, found in (("snr_db", snr), ("inr_db", inr)):
        columns[name] = np.nanmedian(torch.cat(found, 1).cpu().numpy(), axis=1)
    return pd.DataFrame(columns)


def interaction_share(variances: np.ndarray) -> np.ndarray:
    """kappa, the share of the variance that no sum over APs explains, of variances (..., D, I) -> (...)."""
    by_order = variances.mean(-2)
    return 1 - by_order[..., 0] / by_order.sum(-1)
