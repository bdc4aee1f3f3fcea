"""What a log covers, and whether it is likely to be enough to learn from.

Shapes: n transitions, I APs, N top users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import check_kind
from .dataset import Dataset

# Notebook 10, 4 APs: from and up to what training did, or did not, end above the best baseline, `study`.
ENOUGH = {"effective_size": 3_000, "randomness": 0.7}
TOO_LITTLE = {"effective_size": 1_000, "randomness": 0.05}


@dataclass(frozen=True)
class Coverage:
    """What a log covers.

    Attributes:
        transitions: n.
        episodes: runs of TTIs without a gap, mostly one for each deployment.
        entropy: of the author's joint action given the state, nats, from the stored log-probabilities; 0 where it is
            deterministic or they were not recorded.
        randomness: entropy over that of an author that takes each allowed action equally often, 0 to 1.
        joint_actions: share of the (N+1)^I joint actions that the log holds.
        effective_size: independent transitions whose mean reward would be known as well as that of the log.
        mean_reward: per TTI.
        answer: what follows, in a sentence.
    """

    transitions: int
    episodes: int
    entropy: float
    randomness: float
    joint_actions: float
    effective_size: float
    mean_reward: float
    answer: str


def coverage(dataset: Dataset) -> Coverage:
    """What a log covers, with a plain answer.

    Raises:
        ValueError: data that do not pass `Dataset.check`.

    >>> from rrmlab import NetworkConfig, collect, make_scheduler
    >>> data = collect(make_scheduler("random_walk"), NetworkConfig(episode_ttis=20), num_transitions=200)
    >>> found = coverage(data)
    >>> found.episodes, found.randomness
    (10, 1.0)
    """
    check_kind("dataset", dataset, Dataset)
    dataset.check()
    network = dataset.network
    episodes = dataset.episodes()
    entropy = float(-dataset.log_prob.mean()) + 0.0  # no -0
    uniform = float(dataset.mask[dataset.rows].sum(-1).double().log().sum(-1).mean())
    seen = len(np.unique(dataset.actions.numpy(), axis=0)) / (network.top_n + 1) ** network.num_aps
    randomness = round(entropy / uniform, 12) if uniform else 0.0
    effective = effective_size([episode["rewards"] for episode in episodes])
    reward = float(dataset.rewards.double().mean())
    answer = _answer(effective, randomness)
    return Coverage(len(dataset), len(episodes), entropy, randomness, seen, effective, reward, answer)


def _answer(effective: float, randomness: float) -> str:
    if randomness < TOO_LITTLE["randomness"]:
        return "Too narrow: the author does the same in every state, or its probabilities are not recorded."
    if effective < TOO_LITTLE["effective_size"]:
        return "Too short: log more deployments."
    if effective >= ENOUGH["effective_size"] and randomness >= ENOUGH["randomness"]:
        return "Enough: with logs like this, training mostly ended above the best baseline scheduler."
    return "Uncertain: log more deployments, or let the author try other actions more often."


def effective_size(series: list[np.ndarray]) -> float:
    """Number of independent values that have a mean as exact as that of the given ones, n / (1 + 2 sum_k rho_k).

    The autocorrelations rho_k are of deviations from the mean of all series, so that what a whole series has in common
    counts. They are summed in pairs of neighbouring lags up to the first pair below 0.
    Source: Geyer 1992, Practical Markov Chain Monte Carlo, initial positive sequence.

    Args:
        series: independent stretches of consecutive values.
    """
    lengths = [len(values) for values in series]
    total, mean = sum(lengths), np.concatenate(series).mean(dtype=np.float64)
    products = np.zeros(max(lengths) + max(lengths) % 2)
    for values in series:
        spectrum = np.fft.rfft(values - mean, 2 * len(values))
        products[: len(values)] += np.fft.irfft(np.abs(spectrum) ** 2)[: len(values)]
    if products[0] <= 1e-12 * total * max(1.0, mean**2):
        return float(total)  # all values are the same
    pairs = products.reshape(-1, 2).sum(1) / products[0]
    positive = np.append(pairs, -1.0)
    return float(total / max(1.0, 2 * positive[: np.argmax(positive < 0)].sum() - 1))
