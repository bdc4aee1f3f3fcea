"""Offline multi-agent reinforcement learning for radio resource management."""

__version__ = "0.1.0"
