"""What `evaluate` and `collect` can run, and the base of the schedulers.

A scheduler has a `name`, says by `knowledge` what it may look at (a view of `game.views`), and serves: `begin(key)` at
an episode's start, then `serve(view)` -> users (E, I), -1 for silence, once per TTI. Learned policies have the same.
Those that can be logged as behaviour also have `log_prob(view, actions)` (E,), the log-probability of the joint action.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from ..config import NetworkConfig
from .views import ObservationView


class Behaviour(Protocol):
    """What `evaluate` and `collect` can run: schedulers and learned policies alike."""

    @property
    def name(self) -> str: ...

    @property
    def knowledge(self) -> type[ObservationView]: ...

    def begin(self, key: Tensor) -> None: ...

    def serve(self, view: Any) -> Tensor: ...


class Scheduler:
    """Base of the schedulers, which decide by rule in every TTI.

    One's own has a `name`, a `knowledge`, which is the view that `serve` gets (`ObservationView` unless it is set), and
    `serve(view)`, which returns the user that each AP serves, (E, I) int64, by the user's index and not by its slot, -1
    for silence. `view.slots[..., 0]` are the APs' best users by the PF factor.
    """

    name = ""
    knowledge: type[ObservationView] = ObservationView

    def begin(self, key: Tensor) -> None:
        """Called with the deployments' keys (E, 3) when an episode starts."""

    def serve(self, view: Any) -> Tensor:
        """Users to serve (E, I) int64, -1 for silence."""
        raise NotImplementedError

    def parameters(self) -> dict[str, Any]:
        """Its attributes that are plain numbers, for the metadata of what it logs; override it for others."""
        return {name: value for name, value in vars(self).items() if isinstance(value, int | float)}


class SlotRule(Scheduler):
    """A scheduler without chance that stays within the slots: it can be logged as behaviour."""

    def log_prob(self, view: Any, actions: Tensor) -> Tensor:
        """Log-probability (E,) of a joint action (E, I): 0 of the one that it takes, else -inf."""
        return torch.where(view.users(actions) == self.serve(view), 0.0, -math.inf).double().sum(-1)


def check_fits(behaviour: Any, network: NetworkConfig) -> None:
    """ValueError if the behaviour does not fit the network, such as a policy that was trained for another I or N."""
    if hasattr(behaviour, "check_fits"):
        behaviour.check_fits(network)


def on_device(behaviour: Any, device: str | torch.device) -> Any:
    """A policy, or what follows one, on a device; other schedulers compute where their view is."""
    return behaviour.to(device) if hasattr(behaviour, "to") else behaviour


def parameters_of(behaviour: Any) -> dict[str, Any]:
    """What it is, as plain values; none of one that does not say."""
    return behaviour.parameters() if hasattr(behaviour, "parameters") else {}


def check_behaviour(name: str, value: Any) -> None:
    """ValueError unless the value can be run: a scheduler, a policy, or whatever has what `Behaviour` lists."""
    missing = [part for part in ("name", "knowledge", "begin", "serve") if not hasattr(value, part)]
    if isinstance(value, type) or missing:
        lacks = "is a class, not an object of it" if isinstance(value, type) else f"has no {', '.join(missing)}"
        raise ValueError(f"{name}: {value!r} is no scheduler and no policy, it {lacks}")
    if not isinstance(value.name, str) or not value.name:
        raise ValueError(f"{name}: {value!r} has name = {value.name!r}, which must be a text")
    if not isinstance(value.knowledge, type) or not issubclass(value.knowledge, ObservationView):
        raise ValueError(f"{name}: {value!r} has knowledge = {value.knowledge!r}, which must be a view of `game.views`")
