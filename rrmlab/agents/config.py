"""What to learn: a point of the grid paradigm x backbone x penalty, and how it is trained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ..checks import check_range, check_types, constant, from_dict
from .paradigms import PARADIGMS


def method_name(config: AgentConfig, online: bool = False) -> str:
    """Name of a configuration in tables and figures, such as "CTDE-MARL-CQL (DQN)"; "Online SAC" is CTDE."""
    if config.backbone == "bc":
        return "BC"
    prefix = {"centralized": "C", "independent": "I", "ctde": "CTDE"}[config.paradigm]
    if online:
        return f"Online {'' if prefix == 'CTDE' else prefix + '-'}{config.backbone.upper()}"
    return f"{prefix}-MARL{'-CQL' if config.alpha else ''}{' (DQN)' if config.backbone == 'dqn' else ''}"


BACKBONES = ("dqn", "sac", "bc")
TD_LOSSES = ("mse", "huber")


@dataclass(frozen=True)
class AgentConfig:
    """A point of the grid paradigm x backbone x penalty, and how it is trained.

    The loss of a critic is TD + alpha * (logsumexp_a Q(s, a) - Q(s, a_data)); alpha = 0 is plain off-policy learning,
    online or offline. Backbone "bc" keeps the penalty alone, which is behaviour cloning.

    Raises:
        ValueError: an unknown name, a wrong type, or a value outside its range.
    """

    paradigm: str = constant("ctde", "", "paper", "centralized, independent or ctde")
    backbone: str = constant("sac", "", "paper", "sac (discrete), dqn (double Q), or bc (behaviour cloning)")
    alpha: float = constant(1.0, "", "paper", "weight of the CQL penalty; 0 for none")
    gamma: float = constant(0.9, "", "study", "discount factor")
    td_loss: str = constant("mse", "", "study", "mse or huber")
    hidden: tuple[int, ...] = constant((64, 64), "units", "study", "hidden layers of every network")
    learning_rate: float = constant(1e-3, "", "study", "of Adam, for all that learns; offline it falls to 0")
    adam_eps: float = constant(1e-8, "", "study", "epsilon of Adam")
    batch_size: int = constant(256, "transitions", "study", "B, per seed and update")
    num_updates: int = constant(2000, "updates", "study", "gradient steps of offline training")
    target_rate: float = constant(0.01, "", "study", "soft update of the target network per step")
    temperature: float = constant(0.1, "", "study", "entropy temperature of SAC (its start if it is tuned)")
    tune_temperature: bool = constant(False, "", "study", "adapt the temperature to the target entropy")
    target_entropy: float = constant(0.3, "", "study", "target as a share of the uniform policy's entropy")

    def __post_init__(self) -> None:
        check_types(self)
        for name, allowed in (("paradigm", tuple(PARADIGMS)), ("backbone", BACKBONES), ("td_loss", TD_LOSSES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} = {getattr(self, name)!r}: must be one of {', '.join(allowed)}")
        if not self.hidden or not all(type(width) is int and width > 0 for width in self.hidden):
            raise ValueError(f"hidden = {self.hidden}: must be a tuple of positive whole numbers")
        # Beyond these, squares of gradients overflow in single precision, or no memory holds it.
        if max(self.hidden) > 2**16:
            raise ValueError(f"hidden = {self.hidden}: at most {2**16} units a layer")
        check_range(self, "alpha", 0, 1e6)
        check_range(self, "gamma", 0, 1)
        check_range(self, "temperature", 0, 1e6)
        check_range(self, "batch_size", 1, 1e7)
        check_range(self, "num_updates", 1, 1e9)
        for name in ("learning_rate", "target_rate"):
            check_range(self, name, 0, 1, open_low=True)
        check_range(self, "adam_eps", 1e-30, 1)
        check_range(self, "target_entropy", 0, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain dict, for JSON."""
        return {**dataclasses.asdict(self), "hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AgentConfig:
        """Inverse of `to_dict`; ValueError on an unknown key."""
        if isinstance(values, dict) and isinstance(values.get("hidden"), list):  # JSON has no tuples
            values = {**values, "hidden": tuple(values["hidden"])}
        return from_dict(cls, values)
