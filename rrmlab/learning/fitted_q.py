"""What a policy would earn, estimated from a log alone.

Shapes: R stored observations, I APs, N top users.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..agents import losses
from ..agents.config import AgentConfig
from ..agents.learner import Learner
from ..agents.scale import Scale
from ..checks import check_kind, is_kind, known_device, seed_number
from ..game.behaviours import Behaviour, check_behaviour, check_fits
from ..game.schedulers import RandomWalk
from ..game.views import SILENT, ObservationView
from .dataset import Dataset
from .minibatches import Minibatches

ROWS = 2**14  # decided at once
CRITIC = AgentConfig(paradigm="centralized", backbone="dqn", penalty="none", gamma=0.0)


def actions_on(policy: Behaviour, data: Dataset) -> Tensor:
    """What a deterministic policy or scheduler does on every stored observation of a log: (R, I) int64, slots.

    Raises:
        ValueError: one that looks at more than a log holds, draws its actions or does not fit the log's network.
    """
    check_behaviour("policy", policy)
    check_kind("data", data, Dataset)
    if policy.knowledge is not ObservationView:
        raise ValueError(f"policy = {policy.name}: looks at {policy.knowledge.__name__}, logs hold observations")
    check_fits(policy, data.network)
    if getattr(policy, "stochastic", False) or is_kind(policy, RandomWalk):
        raise ValueError(f"policy = {policy.name}: draws its actions, it must be one that always does the same")
    parts = []
    for obs, mask in zip(data.obs.split(ROWS), data.mask.split(ROWS), strict=True):
        slots = torch.arange(mask.shape[-1] - 1, device=mask.device).where(mask[..., 1:], SILENT)
        view = ObservationView(obs, mask, slots)  # a slot's number stands for its user
        parts.append(view.actions(policy.serve(view)))
    return torch.cat(parts)


@torch.inference_mode(False)
def fitted_q(
    data: Dataset, policy: Behaviour, config: AgentConfig = CRITIC, seed: int = 0, device: str | torch.device = "cpu"
) -> float:
    """Mean reward per TTI that a policy would earn, by fitted Q evaluation: (1 - gamma) Q(s, pi(s)), the mean over the
    states of the log. With gamma = 0 the states are those of the log's author, and Q is a regression of the reward.
    Source: Le et al. 2019, Batch Policy Learning under Constraints, algorithm 3.

    Args:
        data: the log.
        policy: deterministic; decides on the observations of the log.
        config: the critic: paradigm, gamma, num_updates and how it is trained, with backbone "dqn" and penalty "none".
        seed: of the critic's parameters and minibatches.
        device: where to train it.

    Raises:
        ValueError: another critic, data that do not pass `Dataset.check` or in which an episode terminates, or what
            `actions_on` refuses.

    >>> from rrmlab import NetworkConfig, collect, make_scheduler
    >>> data = collect(make_scheduler("random_walk"), NetworkConfig(episode_ttis=20), num_transitions=200)
    >>> value = fitted_q(data, make_scheduler("full_reuse"), replace(CRITIC, num_updates=3))
    >>> 0 < value < 100
    True
    """
    check_kind("data", data, Dataset)
    check_kind("config", config, AgentConfig)
    data.check()
    seed, device = seed_number(seed), known_device(device)
    if config.paradigm == "graph" or config.backbone != "dqn" or config.penalty != "none" or config.gamma == 1:
        raise ValueError(
            "config: must be a critic with backbone 'dqn', penalty 'none', gamma < 1 and no graph, got "
            f"{config.backbone!r}, {config.penalty!r}, {config.gamma}, {config.paradigm!r}"
        )
    if bool(data.terminated.any()):
        raise ValueError("terminated: must be False everywhere, a mean reward per TTI is of episodes that go on")
    chosen = torch.nn.functional.one_hot(actions_on(policy, data), data.mask.shape[-1]).bool()
    scale = Scale.of(data.obs, data.mask, data.rewards)
    learner = Learner(config, data.network, [seed], device)
    # Where only the policy's action is allowed, the greedy value is the policy's.
    batches = Minibatches(replace(data, mask=chosen), scale, config.batch_size, [seed], device)
    with torch.enable_grad():
        for update in range(config.num_updates):
            learner.scale_learning_rate(1 - update / config.num_updates)
            learner.update(batches.next())
    total = sum(float(_values(learner, scale, data.obs[rows], chosen[rows]).sum()) for rows in data.rows.split(ROWS))
    mean, spread = (float(scale.tensors[name]) for name in ("reward_mean", "reward_std"))
    return mean + spread * (1 - config.gamma) * total / len(data)


def _values(learner: Learner, scale: Scale, obs: Tensor, chosen: Tensor) -> Tensor:
    """Q(s, pi(s)) (B,) float64 of the first seed's critic: raw obs (B, I, N F), and pi(s) as the one allowed action of
    each AP in a mask (B, I, N+1). Independent heads each value the whole reward: their mean."""
    paradigm, obs = learner.paradigm, scale.obs(obs).to(learner.device).unsqueeze(0)
    with torch.no_grad():
        q = learner.critic(paradigm.observations(obs).unsqueeze(1))[:, 0]  # (1, H, B, A)
        best = losses.masked(q, paradigm.masks(chosen.to(learner.device))).amax(-1)
        return learner.mixer(best, obs.flatten(-2))[0].double().mean(0)
