"""Offline training: all seeds of a configuration as one batched program.

Shapes: S seeds, B batch, n transitions, I APs, N top users.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from ..agents.config import AgentConfig, method_name
from ..agents.learner import Learner
from ..agents.policy import Policy
from ..agents.scale import Scale
from ..checks import as_path, check_kind, known_device, whole_number
from ..storage import reading
from .dataset import Dataset
from .minibatches import Minibatches
from .progress import (
    CHECKPOINT_UPDATES,
    LOG_POINTS,
    DivergenceGuard,
    Evaluation,
    History,
    check_options,
    check_seeds,
    digest,
    load_checkpoint,
    policies_of,
    progress_bar,
    save_checkpoint,
)


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
) -> list[Policy]:
    """Train on logged data alone, with a learning rate that falls linearly to 0; the last parameters count.

    Args:
        data: the transitions; all of them are used.
        config: paradigm x backbone x penalty and its numbers.
        seeds: training seeds; each draws its own parameters and minibatches, so a seed does not depend on the others.
        device: where to train.
        evaluate_every: updates between two calls of `evaluation`, 0 for none; never fed back into the training.
        evaluation: scores the policies of all seeds, `lambda p: evaluate_seeds(p, network, 20, split="validation")`.
        progress: show a progress bar.
        checkpoint: folder in which the training keeps where it is; the same call goes on from there, and ends with the
            same bits as if it had never stopped. It stays when the training is done.
        checkpoint_every: updates between two savings, of which an interruption costs at most so many.

    Returns:
        one Policy per seed, with its history: "update", the columns of `Metrics`, and from `evaluation`
        "eval_update", "eval_sum_rate", "eval_tail_rate", "eval_score".

    Raises:
        ValueError: no seeds, seeds named twice, data that do not pass `Dataset.check`, no AgentConfig, a negative
            `evaluate_every`, an `evaluation` that cannot be called, a device that is not there, or a checkpoint of
            another training.
        CorruptFileError: the checkpoint was changed since it was written, or does not hold what one holds.
        FloatingPointError: the losses of all seeds became NaN or infinite.

    A seed whose loss becomes NaN or infinite stops there, with a warning and its last good parameters; others go on.
    """
    check_kind("data", data, Dataset)
    check_kind("config", config, AgentConfig)
    check_options(evaluate_every, evaluation, progress, checkpoint)
    if whole_number("checkpoint_every", checkpoint_every) < 1:
        raise ValueError(f"checkpoint_every = {checkpoint_every}: must be at least 1")
    seeds, device = check_seeds(seeds), known_device(device)
    network = data.network
    data.check()
    scale = Scale.of(data.obs, data.mask, data.rewards)
    learner = Learner(config, network.num_aps, network.top_n, seeds, device)
    source = Minibatches(data, scale, config.batch_size, seeds, device)
    history = History(len(seeds), max(1, config.num_updates // LOG_POINTS))
    guard, done = DivergenceGuard(learner, seeds), 0
    if checkpoint is not None:
        columns = (data.obs, data.mask, data.rows, data.actions, data.rewards, data.terminated)
        facts = {"agent": config.to_dict(), "seeds": seeds, "data": digest(columns), "evaluate_every": evaluate_every}
        facts |= {"network": network.to_dict(), "version": version("rrmlab")}
        if (stored := load_checkpoint(as_path(checkpoint), facts)) is not None:
            with reading(as_path(checkpoint) / "state"):
                done = int(stored["done"])
                learner.load_state_dict(stored)
                history.load_state_dict(stored)
                guard.load_state_dict(stored)
            source.skip(done)
    bar = progress_bar(config.num_updates, f"{method_name(config)}, {len(seeds)} seeds", progress)
    bar.update(done)
    for update in range(done + 1, config.num_updates + 1):
        # Down to nothing, so that the last parameters are not one point of a noisy walk.
        learner.scale_learning_rate(1 - (update - 1) / config.num_updates)
        metrics = learner.update(source.next())
        guard.check(update, metrics, last=update == config.num_updates)
        history.add(update, metrics, last=update == config.num_updates)
        if evaluation and evaluate_every and update % evaluate_every == 0:
            history.add_scores(update, evaluation(policies_of(learner, network, scale, seeds)))
        if checkpoint is not None and update % checkpoint_every == 0:
            state = learner.state_dict() | history.state_dict() | guard.state_dict()
            save_checkpoint(as_path(checkpoint), facts, {"done": torch.tensor(update), **state})
        bar.update()
    bar.close()
    return policies_of(learner, network, scale, seeds, history)
