"""Offline multi-agent reinforcement learning for radio resource management (arXiv 2501.12991), open and runnable."""

from .agents.learner import AgentConfig
from .agents.policy import Policy
from .config import NetworkConfig
from .datasets import Dataset, collect, load_dataset, mix
from .env import RRMEnv
from .memory import keep_freed_memory
from .online import train_online
from .radio import Deployment
from .reports import BadReports
from .rollout import Scores, evaluate, evaluate_seeds
from .schedulers import make_scheduler
from .training import train_offline

__version__ = "0.1.0"

keep_freed_memory()

__all__ = [
    "AgentConfig",
    "BadReports",
    "Dataset",
    "Deployment",
    "NetworkConfig",
    "Policy",
    "RRMEnv",
    "Scores",
    "collect",
    "evaluate",
    "evaluate_seeds",
    "load_dataset",
    "make_scheduler",
    "mix",
    "train_offline",
    "train_online",
]
