"""What to learn: a point of the grid paradigm x mixer x backbone x penalty, and how it is trained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ..checks import check_range, check_types, constant, from_dict, real_number
from ..config import NetworkConfig
from .graph import FORMS, graph_shapes
from .losses import PENALTIES
from .mixers import MIXERS
from .paradigms import PARADIGMS

BACKBONES = ("dqn", "sac")
TD_LOSSES = ("mse", "huber", "none")
REWARDS = ("team", "own")
PREFIXES = {"centralized": "C", "independent": "I", "ctde": "CTDE", "graph": "G"}  # of method names


@dataclass(frozen=True)
class AgentConfig:
    """A point of the grid paradigm x mixer x backbone x penalty, and how it is trained.

    The loss of a critic is TD + alpha * penalty, with CQL's penalty logsumexp_a Q(s, a) - Q(s, a_data). With the
    penalty "none" it is plain off-policy learning, online or offline. With the TD loss "none" only the penalty is left,
    which is behaviour cloning: `AgentConfig.behaviour_cloning()`. The paradigm "graph" has fields of its own, factor,
    rounds and lam, see `agents.graph`: `AgentConfig.graph()`.

    Raises:
        ValueError: an unknown name, a wrong type, a value outside its range, or axes that do not go together.

    >>> method_name(AgentConfig(paradigm="ctde", mixer="qmix", backbone="dqn", alpha=0.1))
    'CTDE-MARL-CQL (QMIX, DQN)'
    """

    paradigm: str = constant("ctde", "", "paper", "centralized, independent, ctde or graph")
    backbone: str = constant("sac", "", "paper", "sac (discrete) or dqn (double Q)")
    mixer: str = constant("sum", "", "paper", "how CTDE makes Q_tot of its heads' values: sum or qmix")
    penalty: str = constant("cql", "", "paper", "on the values of actions outside the data: cql or none")
    alpha: float = constant(1.0, "", "paper", "weight of the penalty")
    gamma: float = constant(0.9, "", "study", "discount factor")
    td_loss: str = constant("mse", "", "study", "mse, huber, or none for behaviour cloning")
    reward: str = constant("team", "", "paper", "of a TD target: team, the sum over all APs, or own, of each AP's cell")
    hidden: tuple[int, ...] = constant((64, 64), "units", "study", "hidden layers of every network")
    learning_rate: float = constant(1e-3, "", "study", "of Adam, for all that learns; offline it falls to 0")
    adam_eps: float = constant(1e-8, "", "study", "epsilon of Adam")
    batch_size: int = constant(256, "transitions", "study", "B, per seed and update")
    num_updates: int = constant(2000, "updates", "study", "gradient steps of offline training")
    standardise_rewards: bool = constant(True, "", "study", "rewards minus their mean, over their spread; False: raw")
    target_rate: float = constant(0.01, "", "study", "soft update of the target network per step")
    temperature: float = constant(0.1, "", "study", "entropy temperature of SAC")
    factor: str = constant("rate", "", "study", "form of a graph's factor: rate (w^lambda times a rate) or free")
    rounds: int = constant(2, "", "study", "of best response after a graph's admission; -1 until nothing changes")
    lam: float | None = constant(None, "", "study", "lambda of a graph's decisions; None for that of the reward")

    def __post_init__(self) -> None:
        check_types(self)
        paradigms = (*PARADIGMS, "graph")
        names = {"paradigm": paradigms, "backbone": BACKBONES, "mixer": MIXERS, "td_loss": TD_LOSSES, "factor": FORMS}
        for name, allowed in (names | {"penalty": (*PENALTIES, "none"), "reward": REWARDS}).items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} = {getattr(self, name)!r}: must be one of {', '.join(allowed)}")
        if self.mixer != "sum" and self.paradigm != "ctde":
            raise ValueError(f"mixer = {self.mixer!r}: paradigm = {self.paradigm!r} takes no mixer, 'ctde' does")
        self._check_graph()
        if self.reward == "own" and (self.paradigm not in ("independent", "graph") or self.clones):
            raise ValueError(
                f"reward = 'own': must be 'team' with paradigm = {self.paradigm!r}, td_loss = {self.td_loss!r}; "
                "'own' is for the TD loss of 'independent' and 'graph', which learn a value of each AP"
            )
        if self.clones and (self.backbone != "dqn" or self.penalty == "none" or not self.alpha):
            raise ValueError(
                "td_loss = 'none': the penalty trains one critic; take backbone = 'dqn', a penalty, alpha > 0"
            )
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

    def _check_graph(self) -> None:
        check_range(self, "rounds", -1, 1000)
        if self.lam is not None:
            object.__setattr__(self, "lam", real_number("lam", self.lam))
            check_range(self, "lam", 0, 1)
        if self.paradigm == "graph":
            if self.backbone != "dqn" or self.clones:
                raise ValueError("paradigm = 'graph': has values and no actor; take AgentConfig.graph(...)")
            if self.factor == "free" and self.lam is not None:
                raise ValueError(f"lam = {self.lam}: a free factor has learned its lambda; leave lam out")
            return
        for name, default in (("factor", "rate"), ("rounds", 2), ("lam", None)):
            if getattr(self, name) != default:
                raise ValueError(f"{name} = {getattr(self, name)!r}: is for paradigm = 'graph' alone")

    @classmethod
    def graph(cls, **options: Any) -> AgentConfig:
        """APs that exchange messages, see `agents.graph`; needs `NetworkConfig(observation="neighbours")`.

        >>> method_name(AgentConfig.graph(rounds=1, lam=1.0))
        'G-MARL-CQL'
        """
        return cls(**{"paradigm": "graph", "backbone": "dqn", "hidden": (32, 32), **options})

    @classmethod
    def behaviour_cloning(cls, **options: Any) -> AgentConfig:
        """Each AP's head imitates the logged actions: the penalty without a TD loss, which is their cross-entropy.

        >>> method_name(AgentConfig.behaviour_cloning(learning_rate=5e-4))
        'BC'
        """
        return cls(**{"backbone": "dqn", "td_loss": "none", "gamma": 0.0, **options})

    @property
    def clones(self) -> bool:
        """Whether it is behaviour cloning: its values are logits of the logged policy."""
        return self.td_loss == "none"

    def to_dict(self) -> dict[str, Any]:
        """Plain dict, for JSON."""
        return {**dataclasses.asdict(self), "hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AgentConfig:
        """Inverse of `to_dict`; ValueError on an unknown key."""
        if isinstance(values, dict) and isinstance(values.get("hidden"), list):  # JSON has no tuples
            values = {**values, "hidden": tuple(values["hidden"])}
        return from_dict(cls, values)


def network_shapes(config: AgentConfig, network: NetworkConfig) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Stack dimensions behind the seeds', and layer sizes (D, hidden ..., A), of each network of a policy: the critic
    (K twins, H heads) and SAC's actor (H heads), or those of `graph_shapes`."""
    if config.paradigm == "graph":
        return graph_shapes(config.factor, config.hidden, network)
    heads, inputs, actions = PARADIGMS[config.paradigm].heads(network)
    sizes = (inputs, *config.hidden, actions)
    if config.backbone == "sac":
        return {"critic": ((2, heads), sizes), "actor": ((heads,), sizes)}
    return {"critic": ((1, heads), sizes)}


def method_name(config: AgentConfig, online: bool = False) -> str:
    """Name of a configuration in tables and figures, such as "CTDE-MARL-CQL (DQN)"; "Online SAC" is CTDE."""
    if online:
        prefix = "" if config.paradigm == "ctde" else PREFIXES[config.paradigm] + "-"
        return f"Online {prefix}{config.backbone.upper()}"
    if config.clones:
        return "BC"
    defaults = ((config.mixer, "sum"), (config.backbone, "dqn" if config.paradigm == "graph" else "sac"))
    others = ((config.factor, "rate"), (config.reward, "team"))
    marks = [mark.upper() for mark, default in (*defaults, *others) if mark != default]
    penalty = f"-{config.penalty.upper()}" if config.penalty != "none" and config.alpha else ""
    return f"{PREFIXES[config.paradigm]}-MARL{penalty}" + (f" ({', '.join(marks)})" if marks else "")
