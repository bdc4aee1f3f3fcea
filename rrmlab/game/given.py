"""Given deployments in place of drawn ones."""

from __future__ import annotations

from typing import Any

from ..checks import check_kind, whole_number
from ..config import NetworkConfig
from .deployment import Deployment


def number_of(
    name: str, num: Any, usual: int, config: NetworkConfig, deployments: Deployment | None, of_each: int = 1
) -> int:
    """How many episodes or transitions: `num`, or left out all that given deployments hold (`of_each` a deployment), or
    without them `usual`. The given deployments are checked.

    Raises:
        ValueError: no Deployment, what its `check` refuses, `num` below 1 or above what they hold.
    """
    most = None
    if deployments is not None:
        check_kind("deployments", deployments, Deployment)
        deployments.check(config)
        most = of_each * len(deployments)
    num = whole_number(name, num if num is not None else usual if most is None else most)
    if num < 1:
        raise ValueError(f"{name} = {num}: must be at least 1")
    if most is not None and num > most:
        raise ValueError(f"{name} = {num}: must be at most {most}, what the given deployments hold")
    return num


def given_or_drawn(
    given: Deployment | None, config: NetworkConfig, num: int, seed: int, split: str, first: int
) -> Deployment:
    """`num` deployments from number `first` on, of the given ones, or without them of a split."""
    return Deployment.draw(config, num, seed, split, first) if given is None else given[first : first + num]
