"""Offline training: all seeds of a configuration as one batched program.

Shapes: S seeds, B batch, n transitions, I APs, N top users.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from ..agents.config import AgentConfig, method_name
from ..agents.graph_learner import make_learner, make_scale
from ..agents.policy import Policy
from ..checks import as_path, check_kind, known_device, whole_number
from .dataset import Dataset
from .minibatches import Minibatches
from .progress import (
    CHECKPOINT_UPDATES,
    LOG_POINTS,
    Evaluation,
    Training,
    check_options,
    check_seeds,
    digest,
    progress_bar,
)


@torch.inference_mode(False)
@torch.enable_grad()
def train_offline(
    data: Dataset,
    config: AgentConfig,
    seeds: Sequence[int] = range(5),
    device: str | torch.device = "cpu",
    evaluate_every: int = 0,
    evaluation: Evaluation | None = None,
    progress: bool = True,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = CHECKPOINT_UPDATES,
    logdir: str | Path | None = None,
) -> list[Policy]:
    """Train on logged data alone, with a learning rate that falls linearly to 0; the last parameters count.

    Args:
        data: the transitions; all of them are used.
        config: paradigm x mixer x backbone x penalty and its numbers.
        seeds: training seeds; each draws its own parameters and minibatches, so a seed does not depend on the others.
        device: where to train.
        evaluate_every: updates between two calls of `evaluation`, 0 for none; never fed back into the training.
        evaluation: scores the policies of all seeds, `lambda p: evaluate_seeds(p, network, 20, split="validation")`.
        progress: show a progress bar.
        checkpoint: folder in which the training keeps where it is; the same call goes on from there, and ends with the
            same bits as if it had never stopped. It stays when the training is done.
        checkpoint_every: updates between two savings, of which an interruption costs at most so many.
        logdir: folder for the history while it grows, as TensorBoard's event files in `seed_<seed>`; curves that are
            there already are replaced. Needs the extra `curves`.

    Returns:
        one Policy per seed, with its history: "update", the columns of `Metrics`, and from `evaluation`
        "eval_update", "eval_sum_rate", "eval_tail_rate", "eval_score".

    Raises:
        ValueError: no seeds, seeds named twice, data that do not pass `Dataset.check` or have no own rewards for
            `AgentConfig(reward="own")`, no AgentConfig, a negative `evaluate_every`, an `evaluation` that cannot be
            called, a device that is not there, or a checkpoint of another training.
        CorruptFileError: the checkpoint was changed since it was written, or does not hold what one holds.
        ImportError: a `logdir` without TensorBoard.
        FloatingPointError: the losses of all seeds became NaN or infinite.

    A seed whose loss becomes NaN or infinite stops there, with a warning and its last good parameters; others go on.

    >>> from rrmlab import NetworkConfig, collect, make_scheduler
    >>> data = collect(make_scheduler("random_walk"), NetworkConfig(episode_ttis=20), num_transitions=200)
    >>> policies = train_offline(data, AgentConfig(num_updates=3, hidden=(8,)), seeds=range(2), progress=False)
    >>> [policy.seed for policy in policies], len(policies[0].history["td_loss"])
    ([0, 1], 3)
    """
    check_kind("data", data, Dataset)
    check_kind("config", config, AgentConfig)
    check_options(evaluate_every, evaluation, progress, checkpoint, logdir)
    if whole_number("checkpoint_every", checkpoint_every) < 1:
        raise ValueError(f"checkpoint_every = {checkpoint_every}: must be at least 1")
    seeds, device = check_seeds(seeds), known_device(device)
    network, rewards = data.network, data.rewards_of(config.reward)
    data.check()
    learner, total = make_learner(config, network, seeds, device), config.num_updates
    scale = make_scale(config, data.obs, data.mask, rewards)
    source = Minibatches(data, scale, config.batch_size, seeds, device, config.reward)
    training, done = Training(learner, network, scale, seeds, max(1, total // LOG_POINTS)), 0
    if checkpoint is not None:
        columns = (data.obs, data.mask, data.rows, data.actions, rewards, data.terminated)
        facts = {"agent": config.to_dict(), "seeds": seeds, "data": digest(columns), "evaluate_every": evaluate_every}
        facts |= {"network": network.to_dict(), "version": version("rrmlab")}
        done = training.resume(as_path(checkpoint), facts)
        source.stream.skip(done)
    bar = progress_bar(total, f"{method_name(config)}, {len(seeds)} seeds", progress)
    bar.update(done)
    with training.history.followed(logdir, seeds):
        for update in range(done + 1, total + 1):
            # Down to nothing, so that the last parameters are not one point of a noisy walk.
            learner.scale_learning_rate(1 - (update - 1) / total)
            training.record(update, learner.update(source.next()), last=update == total)
            if evaluation and evaluate_every and update % evaluate_every == 0:
                training.history.add_scores(update, evaluation(training.policies()))
            if checkpoint is not None and update % checkpoint_every == 0:
                training.save(as_path(checkpoint), facts, update)
            bar.update()
    bar.close()
    return training.policies(with_history=True)
