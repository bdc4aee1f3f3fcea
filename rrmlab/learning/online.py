"""Online training: E environments per seed, one replay buffer, the same learner as offline.

Shapes: S seeds, E environments of each seed, T TTIs of an episode, I APs, N top users.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..agents import losses
from ..agents.config import AgentConfig, method_name
from ..agents.graph_learner import make_scale
from ..agents.learner import Learner
from ..agents.networks import logits
from ..agents.policy import Policy
from ..agents.scale import Scale
from ..checks import as_path, check_kind, known_device, whole_number
from ..config import NetworkConfig
from ..game.deployment import GIVEN, Deployment
from ..game.env import RRMEnv
from ..game.schedulers import RandomWalk
from ..random_streams import PolicyStream, sample
from ..storage import LITTER, CorruptFileError, reading
from .collection import collect
from .dataset import Dataset
from .minibatches import Replay, ReplaySampler
from .progress import (
    LOG_POINTS,
    Evaluation,
    Training,
    check_options,
    check_seeds,
    digest,
    load_checkpoint,
    progress_bar,
    save_checkpoint,
)

NUM_ENVS = 80  # environments of a seed, `study`: 640,000 transitions are then four episodes each
PILOT_TRANSITIONS = 20_000  # random walk, sets the scales of observations and rewards, then frozen, `study`
WARMUP_TRANSITIONS = 10_000  # acted uniformly before the first update, `study`
EPSILON = (1.0, 0.05, 0.2)  # DQN explores: first, last, share of the training over which it falls, `study`


@dataclass(frozen=True)
class OnlineRun:
    """Result of one seed.

    Attributes:
        policy: the last parameters, with the history of losses and evaluations.
        data: the transitions of the second half of the training.
    """

    policy: Policy
    data: Dataset


@torch.inference_mode(False)
@torch.enable_grad()
def train_online(
    network: NetworkConfig,
    config: AgentConfig,
    seeds: Sequence[int] = range(5),
    num_transitions: int = 640_000,
    num_envs: int = NUM_ENVS,
    device: str | torch.device = "cpu",
    evaluate_every: int = 0,
    evaluation: Evaluation | None = None,
    progress: bool = True,
    checkpoint: str | Path | None = None,
    deployments: Deployment | None = None,
    logdir: str | Path | None = None,
) -> list[OnlineRun]:
    """Train while acting on training deployments, or on given ones; one update per seed and step of its environments.

    SAC acts by sampling its policy, DQN epsilon-greedily. With alpha = 0 (usual online) nothing is conservative.

    Args:
        network: the network to act in.
        config: paradigm x mixer x backbone x penalty; `num_updates` is not used.
        seeds: training seeds; each has deployments, parameters and minibatches of its own.
        num_transitions: per seed, rounded up to whole steps of its environments.
        num_envs: E.
        device: where to act and to train.
        evaluate_every: transitions between two calls of `evaluation`, rounded down to whole steps; 0 for none.
        evaluation: scores the policies of all seeds.
        progress: show a progress bar.
        checkpoint: folder in which the training keeps where it is at every episode's end, and what it saw in that
            episode; the same call goes on from there, and ends with the same bits as if it had never stopped.
        deployments: what all seeds act on, in turn and over again, in place of training deployments of their own.
        logdir: see `train_offline`.

    Returns:
        one OnlineRun per seed; in the histories "update" counts steps of the environments, "eval_update" transitions.

    Raises:
        ValueError: what `train_offline` or `Deployment.check` refuses, fewer than two steps, behaviour cloning, which
            needs data, or a checkpoint of another training.
        FileExistsError: the checkpoint's folder holds something else.
        CorruptFileError: the checkpoint was changed since it was written, or does not hold what one holds.
        ImportError: a `logdir` without TensorBoard.
        FloatingPointError: the losses of all seeds became NaN or infinite.

    A seed whose loss becomes NaN or infinite learns no more, with a warning; it acts with its last good parameters.

    >>> network, agent = NetworkConfig(episode_ttis=10), AgentConfig(penalty="none", hidden=(8,))
    >>> (run,) = train_online(network, agent, seeds=[0], num_transitions=80, num_envs=4, progress=False)
    >>> run.policy.seed, len(run.data)  # what it logged in its second half
    (0, 40)
    """
    check_kind("network", network, NetworkConfig)
    check_kind("config", config, AgentConfig)
    check_options(evaluate_every, evaluation, progress, checkpoint, logdir)
    seeds, device = check_seeds(seeds), known_device(device)
    num_transitions, num_envs = whole_number("num_transitions", num_transitions), whole_number("num_envs", num_envs)
    if config.clones:
        raise ValueError("td_loss = 'none': behaviour cloning needs logged data; online training takes mse or huber")
    if config.paradigm == "graph":
        raise ValueError("paradigm = 'graph': is trained from logs, by train_offline; online there are the others")
    # The first update is made at the second step, when the first one's next observation is there.
    if num_envs < 1 or num_transitions <= num_envs:
        raise ValueError(f"num_transitions = {num_transitions}, num_envs = {num_envs}: need at least two steps")
    if checkpoint is not None:
        _refuse_foreign(as_path(checkpoint))
    learner = Learner(config, network, seeds, device)
    steps, episode = math.ceil(num_transitions / num_envs), network.episode_ttis
    pilot_size = min(PILOT_TRANSITIONS, num_transitions)
    if deployments is not None:
        check_kind("deployments", deployments, Deployment)
        deployments.check(network)
        pilot_size = min(pilot_size, len(deployments) * episode)
    pilot = collect(RandomWalk(seed=0), network, pilot_size, seed=0, deployments=deployments)
    scale = make_scale(config, pilot.obs, pilot.mask, pilot.rewards_of(config.reward))
    replay = Replay(steps, episode, len(seeds), num_envs, network, device)
    batches = ReplaySampler(replay, scale, config.batch_size, seeds, config.reward)
    training, done = Training(learner, network, scale, seeds, max(1, steps // LOG_POINTS)), 0
    env = RRMEnv(network, len(seeds) * num_envs, device=device)
    label = method_name(config, online=True)
    bar = progress_bar(steps, f"{label}, {len(seeds)} seeds", progress)
    warmup = min(WARMUP_TRANSITIONS // num_envs, steps // 10)

    if checkpoint is not None:
        facts = {
            "network": network.to_dict(), "agent": config.to_dict(), "seeds": seeds, "transitions": num_transitions,
            "envs": num_envs, "evaluate_every": evaluate_every, "version": version("rrmlab"),
        }  # fmt: skip
        if deployments is not None:
            facts["deployments"] = _digest(deployments)
        done = training.resume(as_path(checkpoint) / "state", facts)
        for k in range(done // episode):
            if (seen := load_checkpoint(as_path(checkpoint) / f"episode_{k}", facts)) is None:
                raise CorruptFileError(f"{checkpoint}: episode_{k} is missing; delete the folder and start again")
            with reading(as_path(checkpoint) / f"episode_{k}"):
                replay.append(seen)
        if done:
            batches.stream.skip(max(0, done - max(warmup, 1)))
    bar.update(done)
    with training.history.followed(logdir, seeds):
        for step in range(done, steps):
            if step % episode == 0:
                first = step // episode * num_envs
                env.reset(Deployment.concat([_episodes(network, deployments, num_envs, seed, first) for seed in seeds]))
                stream = PolicyStream(env.deployment.key, 0, 2 * network.num_aps)
            with torch.no_grad():
                uniform = stream.next().to(device).unflatten(0, (len(seeds), num_envs))
                actions, log_prob = _explore(learner, scale, env, uniform, step, steps, warmup)
            obs, mask = env.obs, env.action_mask
            _, reward, _, truncated, info = env.step(actions)
            replay.add(obs, mask, actions, reward, info["own_rewards"], log_prob)
            if bool(truncated[0]) or step == steps - 1:
                replay.close(env.obs, env.action_mask)
            if step >= max(warmup, 1):
                training.record(step + 1, learner.update(batches.next()), last=step == steps - 1)
            if evaluation and evaluate_every and (step + 1) % max(1, evaluate_every // num_envs) == 0:
                training.history.add_scores((step + 1) * num_envs, evaluation(training.policies()))
            if checkpoint is not None and bool(truncated[0]):
                save_checkpoint(as_path(checkpoint) / f"episode_{step // episode}", facts, replay.last_episode())
                training.save(as_path(checkpoint) / "state", facts, step + 1)
            bar.update()
    bar.close()
    del env  # its gains, half as large as the replay, which is now taken apart
    policies = training.policies(with_history=True)
    split = "train" if deployments is None else "given"
    common = {"network": network.to_dict(), "behaviour": label, "split": split, "agent": config.to_dict()}
    logs = replay.second_halves([{**common, "seed": seed} for seed in seeds])
    return [OnlineRun(policy, log) for policy, log in zip(policies, logs, strict=True)]


def _refuse_foreign(checkpoint: Path) -> None:
    """FileExistsError unless the folder holds what an online training keeps there, or nothing."""
    names = os.listdir(checkpoint) if checkpoint.is_dir() else []
    own = re.compile(r"\.?(state|episode_\d+)(\..*)?")
    others = sorted(name for name in names if not own.fullmatch(name) and not LITTER.fullmatch(name.lower()))
    if others or checkpoint.is_file():
        holds = f"holds {', '.join(others[:4])}" if others else "is a file"
        raise FileExistsError(f"checkpoint = {checkpoint}: {holds}; name a folder of its own")


def _episodes(network: NetworkConfig, given: Deployment | None, num: int, seed: int, first: int) -> Deployment:
    """Deployments of a training seed from number `first` on. Given ones get keys that tell apart their turns and the
    seeds, for the actions are drawn from the keys."""
    if given is None:
        return Deployment.draw(network, num, seed, "train", first)
    numbers = range(first, first + num)
    key = torch.from_numpy(np.array([(GIVEN, seed, k) for k in numbers])).to(given.key.device)
    return replace(Deployment.concat([given[k % len(given)] for k in numbers]), key=key)


def _digest(deployments: Deployment) -> str:
    tensors = [getattr(deployments, f.name) for f in fields(deployments) if f.name != "gains"]
    return digest([*tensors, *(torch.from_numpy(np.array(gains)) for gains in deployments.gains)])


def _explore(
    learner: Learner, scale: Scale, env: RRMEnv, uniform: Tensor, step: int, steps: int, warmup: int
) -> tuple[Tensor, Tensor]:
    """Actions (S*E, I) and their joint log-probability (S*E,), from uniform numbers (S, E, 2I)."""
    paradigm, aps = learner.paradigm, env.config.num_aps
    size = uniform.shape[:2]
    obs = paradigm.observations(scale.obs(env.obs).unflatten(0, size))
    mask = paradigm.masks(env.action_mask.unflatten(0, size))  # (S, H, E, A)
    if step < warmup:
        probability = mask.float() / mask.sum(-1, keepdim=True)
    elif "actor" in learner.networks:
        probability = losses.log_policy(logits(learner.networks, obs), mask).exp()
    else:
        first, last, share = EPSILON
        epsilon = max(last, first + (last - first) * step / (share * steps))
        greedy = losses.masked(logits(learner.networks, obs), mask).argmax(-1, keepdim=True)
        probability = (mask * (epsilon / mask.sum(-1, keepdim=True).float())).scatter_add(
            -1, greedy, torch.full_like(greedy, 1 - epsilon, dtype=torch.float32)
        )
    heads = probability.shape[1]
    choice = sample(probability, uniform[..., :heads].transpose(1, 2))  # (S, H, E)
    log_prob = losses.taken(probability, choice).log().sum(1)
    return paradigm.to_aps(choice, env.config.top_n + 1, aps).flatten(0, 1), log_prob.flatten()
