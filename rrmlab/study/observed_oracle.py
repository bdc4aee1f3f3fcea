"""The best that can be done without cross gains: the exhaustive oracle restricted to what the agents observe.

The oracle of `schedulers.Exhaustive` knows every current gain. Its counterpart that sees only observations has no
closed form, so it is approximated with all that a simulator can give and logged data cannot: in every visited state
the reward of all (N+1)^I joint actions is computed, and a policy is trained on the exact gradient of its expected
one-step reward.
What remains between it and `Exhaustive` is a limit of information; what remains between a learner and it, of learning.

An additive oracle is restricted further, to what a sum over APs can say of the reward: each AP has the action of its
largest main effect under uniform actions, as far as the observation tells it. It is fitted by least squares.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..agents import losses
from ..agents.networks import StackedMLP
from ..agents.paradigms import PARADIGMS, Paradigm
from ..agents.scale import Scale
from ..config import NetworkConfig
from ..game.behaviours import Scheduler
from ..game.env import RRMEnv
from ..game.link_schedulers import joint_rewards
from ..game.views import CrossGainView, ObservationView
from ..learning.progress import progress_bar
from ..random_streams import ORACLE_MINIBATCHES, ORACLE_PARAMETERS, PolicyStream, sample, seeded_generators
from .interactions import main_effects, uniform

# The oracle's training, all `study`.
HIDDEN = (256, 256)  # wider than any learner of the study, so that capacity is not the limit
NUM_ENVS = 256  # states of one gradient step come from as many networks
STRIDE = 4  # TTIs between two steps: consecutive states are nearly the same
REUSE = 4  # minibatches from the memory per step
MEMORY = 512  # steps whose states and reward tables are kept
EXPLORATION = 0.1  # of the reward's spread: weight of the entropy at the start; falls to 0


class ObservedOracle(Scheduler):
    """Greedy one-step policy on observations alone; made by `observed_oracle`."""

    def __init__(self, paradigm: Paradigm, net: StackedMLP, scale: Scale) -> None:
        self.name = f"Observed oracle ({'local' if paradigm == PARADIGMS['ctde'] else 'joint'})"
        self.paradigm, self.net, self.scale = paradigm, net, scale

    def serve(self, view: ObservationView) -> Tensor:
        choice = self.log_policy(view.obs, view.action_mask).argmax(-1)
        return view.users(self.paradigm.to_aps(choice, view.action_mask.shape[-1], view.obs.shape[1]).squeeze(0))

    def log_policy(self, obs: Tensor, mask: Tensor) -> Tensor:
        """ln pi of each head (1, H, E, A)."""
        inputs = self.paradigm.observations(self.scale.obs(obs)).unsqueeze(0)
        return losses.log_policy(self.net(inputs), self.paradigm.masks(mask).unsqueeze(0))


class _JointlyObserved(Paradigm):
    """A head for each AP, as in CTDE, which sees the observations of all."""

    def heads(self, network: NetworkConfig) -> tuple[int, int, int]:
        heads, inputs, actions = super().heads(network)
        return heads, heads * inputs, actions

    def observations(self, obs: Tensor) -> Tensor:
        return obs.flatten(-2).unsqueeze(-3).expand(*obs.shape[:-3], obs.shape[-2], -1, -1)


@torch.inference_mode(False)
@torch.enable_grad()
def observed_oracle(
    config: NetworkConfig,
    paradigm: str,
    num_steps: int = 4000,
    seed: int = 0,
    progress: bool = True,
    additive: bool = False,
) -> ObservedOracle:
    """Train the best one-step policy on the joint observation ("centralized") or on each AP's own ("ctde").

    Args:
        config: the network; training deployments of it are visited, by the policy itself.
        paradigm: "centralized" or "ctde"; what is optimised is the team's reward in both.
        num_steps: gradient steps on new states; each has 1 + `REUSE` minibatches.
        seed: of parameters and deployments.
        progress: show a progress bar.
        additive: fit a sum over the APs to the reward; "centralized" is then a sum of functions of the joint
            observation.

    Raises:
        ValueError: another paradigm, or too many joint actions to try.
    """
    if paradigm not in ("centralized", "ctde"):
        raise ValueError(f"paradigm = {paradigm!r}: must be 'centralized' (joint observation) or 'ctde' (local ones)")
    if config.episode_ttis < STRIDE:
        raise ValueError(f"episode_ttis = {config.episode_ttis}: must be at least {STRIDE} to train an oracle")
    joint_sum = additive and paradigm == "centralized"
    kind = _JointlyObserved("ctde", joint=False, mixed=True) if joint_sum else PARADIGMS[paradigm]
    heads, inputs, actions = kind.heads(config)
    net = StackedMLP(seeded_generators([seed], ORACLE_PARAMETERS), (heads,), (inputs, *HIDDEN, actions))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    generator = seeded_generators([seed], ORACLE_MINIBATCHES)[0]
    env = RRMEnv(config, NUM_ENVS, seed)
    memory: list[tuple[Tensor, Tensor, Tensor]] = []
    policy: ObservedOracle | None = None
    bar = progress_bar(num_steps, f"observed oracle, {paradigm}", progress)
    env.ttis = config.episode_ttis
    for step in range(num_steps):
        if env.ttis + STRIDE > config.episode_ttis:
            env.reset()
            stream = PolicyStream(env.deployment.key, seed, heads)
        if policy is None:
            rewards = joint_rewards(env.view(CrossGainView), config.lam)
            policy = ObservedOracle(kind, net, Scale.of(env.obs, env.action_mask, rewards[rewards > -math.inf]))
        state = _state(env, policy)
        memory = [*memory[1 - MEMORY :], state]
        share = 1 - step / num_steps
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * share
        picks = torch.randint(len(memory), (REUSE,), generator=generator, device="cpu").tolist()
        for obs, mask, rewards in [state, *(memory[k] for k in picks)]:
            log_pi = policy.log_policy(obs, mask)
            if additive:
                loss = _misfit(log_pi, rewards, mask)
            else:
                loss = -_expected(kind, log_pi, rewards) - EXPLORATION * share * losses.entropy(log_pi).sum(1)
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
        with torch.no_grad():
            for _ in range(STRIDE):
                # Sampled, not greedy: near the end both are the same, and before it every state is worth a visit.
                pi = policy.log_policy(env.obs, env.action_mask).exp()
                choice = sample(pi, stream.next().T.unsqueeze(0))
                env.step(kind.to_aps(choice, config.top_n + 1, config.num_aps).squeeze(0))
        bar.update()
    bar.close()
    net.requires_grad_(False)
    assert policy is not None
    return policy


def _state(env: RRMEnv, policy: ObservedOracle) -> tuple[Tensor, Tensor, Tensor]:
    """Observation, mask and standardised reward of every joint action (E, A^I), 0 for masked ones (never taken)."""
    rewards = policy.scale.reward(joint_rewards(env.view(CrossGainView), env.config.lam))
    return env.obs, env.action_mask, rewards.masked_fill(rewards == -math.inf, 0)


def _misfit(log_pi: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """Squared error (1, E) of EXPLORATION ln pi (1, H, E, A) as a fit of the main effects, each AP's summed."""
    effects = main_effects(rewards, uniform(mask)).to(rewards).movedim(1, 0)  # (I, E, A)
    weights = uniform(mask).to(rewards).movedim(1, 0)
    fit = (EXPLORATION * log_pi.squeeze(0)).masked_fill(weights == 0, 0)
    fit = fit - (weights * fit).sum(-1, keepdim=True)
    return (weights * (fit - effects).square()).sum((0, -1)).unsqueeze(0)


def _expected(paradigm: Paradigm, log_pi: Tensor, rewards: Tensor) -> Tensor:
    """Expected reward (1, E) under independent heads (1, H, E, A)."""
    probability = log_pi.exp()
    joint = probability[:, 0]
    for head in range(1, probability.shape[1]):
        joint = (joint.unsqueeze(-1) * probability[:, head].unsqueeze(-2)).flatten(-2)
    return (joint * rewards).sum(-1)
