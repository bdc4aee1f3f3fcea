"""Offline multi-agent reinforcement learning for radio resource management (arXiv 2501.12991), open and runnable."""

from .agents.config import AgentConfig
from .agents.policy import Policy
from .agents.stack import evaluate_seeds
from .config import NetworkConfig
from .game.deployment import Deployment
from .game.env import RRMEnv
from .game.evaluation import Scores, evaluate
from .game.imperfect_reports import ImperfectReports
from .game.schedulers import make_scheduler
from .learning.collection import collect
from .learning.coverage import coverage
from .learning.dataset import Dataset, load_dataset, mix
from .learning.offline import train_offline
from .learning.online import train_online

__version__ = "0.2.0"  # also in CITATION.cff

__all__ = [
    "AgentConfig",
    "ImperfectReports",
    "Dataset",
    "Deployment",
    "NetworkConfig",
    "Policy",
    "RRMEnv",
    "Scores",
    "collect",
    "coverage",
    "evaluate",
    "evaluate_seeds",
    "load_dataset",
    "make_scheduler",
    "mix",
    "train_offline",
    "train_online",
]
