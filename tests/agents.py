"""Agents of every kind for parametrised tests."""

from rrmlab.agents.config import AgentConfig

KINDS = ("sac", "dqn", "bc")


def agent_of(paradigm: str = "ctde", kind: str = "sac", **options) -> AgentConfig:
    """The configuration of a backbone, or with the kind "bc" of behaviour cloning."""
    if kind == "bc":
        return AgentConfig.behaviour_cloning(paradigm=paradigm, **options)
    return AgentConfig(paradigm, kind, **options)
