"""One update step of the paradigm `graph`, of S seeds at once.

Shapes: S seeds, B batch, I APs, N slots of an AP.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..config import NetworkConfig
from ..game.messages import SlotReports, decide
from ..random_streams import PARAMETERS, seeded_generators
from . import losses
from .config import AgentConfig, network_shapes
from .graph import Factors, conditional_values, joint_values, shared_scale
from .learner import Batch, Learner, Metrics
from .networks import StackedMLP
from .scale import Scale

GREEDY_SHARE = 16  # transitions of a minibatch whose greedy value is reported, `study`: a decision takes time


class GraphLearner(Learner):
    """`Learner` for a sum of factors: Q_tot = c + sum_i q_i, one TD loss for Q_tot, trained on the team's reward.

    The penalty is taken of each AP with the logged actions of the others held fixed. CQL's logsumexp over joint actions
    would have (N+1)^I terms. Softmax Q_tot is a Markov random field over the APs' actions, and -ln of its probability
    of the logged joint action, which is CQL's penalty, is replaced by Besag's pseudo-likelihood (1975), the sum over
    the APs of -ln of their conditional probabilities:

        sum_i [ logsumexp_a Q_tot(s, (a, a_-i)) - Q_tot(s, a_data) ]

    All that does not depend on an AP's own action cancels, so q of that AP and what it does to the q of the others is
    enough (`conditional_values`). Where the q do not depend on other APs, this is the joint penalty exactly.

    With each AP's own reward r_i (`AgentConfig(reward="own")`) AP i has the value Q_i = c/I + q_i, and the TD loss is

        sum_i TD(Q_i, r_i + gamma Q_i(s'))

    The Q_i add up to Q_tot and the r_i to the team's reward, so what solves these I equations solves that of Q_tot too;
    a transition gives I numbers to learn from in place of their sum. The q_i of a silent AP is 0, so c/I is its value:
    the mean that standardisation subtracts from its reward 0, and what an AP earns later on average. Both are the same
    for all APs, so there is one c and not one of each factor. Decisions and the penalty stay those of Q_tot.

    The next observation's value is that of the decision which the policy would take there (`decide`, by the learned
    networks), by the target networks: double Q-learning with the policy's own maximisation.
    """

    def __init__(
        self, config: AgentConfig, network: NetworkConfig, seeds: Sequence[int], device: str | torch.device = "cpu"
    ) -> None:
        self.config, self.device = config, torch.device(device)
        generators = seeded_generators(seeds, PARAMETERS)
        shapes = network_shapes(config, network).items()
        self.networks = {name: StackedMLP(generators, stack, sizes).to(device) for name, (stack, sizes) in shapes}
        self.factors = Factors(self.networks, config.factor, network.lam)
        self.target_factors = copy.deepcopy(self.factors).requires_grad_(False)
        self._set_optimizer()

    def update(self, batch: Batch) -> Metrics:
        """One gradient step of every seed, then the soft update of the target networks."""
        config, factors, slots = self.config, self.factors, SlotReports.of(batch.obs)
        if config.penalty == "none" or not config.alpha:
            q, penalty = joint_values(factors, slots, batch.actions), torch.zeros_like(batch.reward).unsqueeze(1)
        else:
            q, values = conditional_values(factors, slots, batch.actions)  # (S, B, I), (S, B, I, N+1)
            heads = values.transpose(1, 2), batch.mask.transpose(1, 2), batch.actions.transpose(1, 2)
            penalty = losses.taken_and_penalty(*heads, losses.PENALTIES[config.penalty])[1]  # (S, I, B)
        predicted = self._learned(factors, q)
        with torch.no_grad():
            target = batch.td_target(config.gamma, self._next_value(batch))
        error = losses.td_loss(predicted, target, config.td_loss)
        loss = error.mean(-1).sum()
        if config.penalty != "none" and config.alpha:
            loss = loss + config.alpha * penalty.mean(-1).sum()
        loss.backward()
        self._step([(self.target_factors, factors)])
        with torch.no_grad():
            some = SlotReports(*(values[:, :GREEDY_SHARE] for values in slots))
            best = decide(factors, some, batch.mask[:, :GREEDY_SHARE], rounds=0)
            greedy = self._learned(factors, joint_values(factors, some, best))
            metrics = (error, penalty, predicted, greedy, torch.zeros_like(predicted))
            return Metrics(*(x.detach().flatten(1).mean(1) for x in metrics))

    def parameters(self) -> dict[str, Tensor]:
        """What is learned, by name, each (S, ...): the layers, and c."""
        return self.layers() | {"offset": self.factors.offset}

    def _modules(self) -> list[tuple[str, nn.Module]]:
        return [("factors", self.factors), ("target", self.target_factors)]

    def _learned(self, factors: Factors, q: Tensor) -> Tensor:
        """The values with a TD loss (S, V, B), from q (S, B, I): Q_tot (V = 1), or each AP's c/I + q_i (V = I)."""
        if self.config.reward == "own":
            return (factors.offset.unsqueeze(-1) / q.shape[-1] + q).mT
        return (factors.offset + q.sum(-1)).unsqueeze(1)

    def _next_value(self, batch: Batch) -> Tensor:
        """Value of the next observation (S, V, B)."""
        if self.config.gamma == 0:
            return torch.zeros_like(batch.terminated, dtype=batch.reward.dtype).unsqueeze(1)
        slots, target = SlotReports.of(batch.next_obs), self.target_factors
        actions = decide(self.factors, slots, batch.next_mask, self.config.rounds)
        return self._learned(target, joint_values(target, slots, actions))


def make_learner(
    config: AgentConfig, network: NetworkConfig, seeds: Sequence[int], device: str | torch.device = "cpu"
) -> Learner:
    """The learner of a configuration; see `Learner` for arguments and errors."""
    return (GraphLearner if config.paradigm == "graph" else Learner)(config, network, seeds, device)


def make_scale(config: AgentConfig, obs: Tensor, mask: Tensor, rewards: Tensor) -> Scale:
    """The standardisation of a configuration by its data; arguments as `Scale.of`."""
    scale = (shared_scale if config.paradigm == "graph" else Scale.of)(obs, mask, rewards)
    return scale if config.standardise_rewards else scale.with_raw_rewards()
