"""Learners against closed forms, a written-out update and d3rlpy.

Shapes: S seeds, K twins, H heads, B batch, D inputs, I APs, N top users, A actions of a head.
"""

import dataclasses
import itertools
import json
import math
import warnings

import numpy as np
import pytest
import torch
from agents import agent_of
from safetensors.torch import load_file

from rrmlab.agents.config import AgentConfig
from rrmlab.agents.learner import Batch, Learner, Metrics
from rrmlab.agents.paradigms import PARADIGMS
from rrmlab.agents.policy import Policy
from rrmlab.agents.scale import Scale
from rrmlab.agents.stack import PolicyStack
from rrmlab.config import NetworkConfig
from rrmlab.game.env import ObservationView
from rrmlab.learning.dataset import Dataset
from rrmlab.learning.minibatches import Minibatches
from rrmlab.learning.offline import train_offline
from rrmlab.storage import CorruptFileError

GRID = list(itertools.product(PARADIGMS, ("dqn", "sac")))
SMALL = NetworkConfig(num_aps=2, num_users=6, top_n=2)
ONE_SLOT = NetworkConfig(num_aps=2, num_users=6, top_n=1)
TINY = {"hidden": (16, 16), "batch_size": 32}
IDENTITY = Scale(torch.tensor(0.0), torch.tensor(1.0), torch.tensor(0.0), torch.tensor(1.0))


def dataset(network, obs, mask, actions, rewards, rows=None, terminated=None, truncated=None):
    """A Dataset of one long run, or of the given rows."""
    n = len(actions)
    no = torch.zeros(n, dtype=torch.bool)
    rows = torch.arange(n) if rows is None else rows
    metadata = {"network": network.to_dict(), "behaviour": "by hand", "seed": 0}
    ends = (no if terminated is None else terminated, no if truncated is None else truncated)
    return Dataset(obs, mask, rows, actions, rewards, *ends, torch.zeros(n).double(), metadata)


def random_data(network, n, seed=0, empty=0.2):
    """Random observations, masks with empty slots, uniform actions; the best action depends on the observation."""
    g, (i, k) = torch.Generator().manual_seed(seed), (network.num_aps, network.top_n)
    filled = (torch.rand(n + 1, i, k, generator=g) > empty).sort(-1, descending=True).values  # slots fill from the left
    obs = torch.randn(n + 1, i, 2 * k, generator=g) * filled.repeat_interleave(2, -1)
    mask = torch.nn.functional.pad(filled, (1, 0), value=True)
    actions = torch.multinomial(mask[:-1].flatten(0, 1).float(), 1, generator=g).view(n, i)
    values = torch.nn.functional.pad(obs[:-1, :, ::2], (1, 0))  # worth of a slot: its first number; silence is worth 0
    rewards = values.gather(-1, actions.unsqueeze(-1)).sum((1, 2)) + 0.3 * torch.randn(n, generator=g)
    return dataset(network, obs, mask, actions, rewards)


# --- d3rlpy's DiscreteCQL -----------------------------------------------------------------------------------


def copy_to_linear(stack, q_function):
    """A stack's parameters (S = K = H = 1) into d3rlpy's Q function: an encoder of linear layers and a last one."""
    linear = [m for m in q_function.encoder.modules() if isinstance(m, torch.nn.Linear)] + [q_function._fc]
    with torch.no_grad():
        for k, layer in enumerate(linear):
            layer.weight.copy_(stack.layers[2 * k].flatten(0, -3)[0].T)
            layer.bias.copy_(stack.layers[2 * k + 1].flatten())
    return linear


@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.filterwarnings("ignore")
def test_updates_equal_d3rlpy_discrete_cql(alpha):
    """Loss and parameters after one update and after five, terminals and double Q included, to 1e-5."""
    from d3rlpy.algos import DiscreteCQLConfig
    from d3rlpy.models import VectorEncoderFactory
    from d3rlpy.optimizers import AdamFactory
    from d3rlpy.torch_utility import TorchMiniBatch

    config = AgentConfig("centralized", "dqn", alpha=alpha, gamma=0.9, td_loss="huber", hidden=(16, 12), batch_size=64)
    learner = Learner(config, ONE_SLOT, seeds=[3])
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():  # large enough values for both branches of the Huber loss, and a target of its own
        for online, target in zip(learner.critic.parameters(), learner.target.parameters(), strict=True):
            online.mul_(2)
            target.copy_(online + 0.3 * torch.randn(online.shape, generator=g))
    fixed = [p.clone() for p in learner.target.parameters()]

    algo = DiscreteCQLConfig(
        learning_rate=config.learning_rate,
        optim_factory=AdamFactory(eps=config.adam_eps),
        encoder_factory=VectorEncoderFactory(hidden_units=list(config.hidden), activation="relu"),
        batch_size=64,
        gamma=0.9,
        n_critics=1,
        alpha=alpha,
        target_update_interval=10**6,
    ).create(device="cpu:0")
    algo.create_impl(observation_shape=(4,), action_size=4)
    linear = copy_to_linear(learner.critic, algo.impl.q_function[0])
    copy_to_linear(learner.target, algo.impl._modules.targ_q_funcs[0])

    for update in range(1, 6):
        obs, next_obs = torch.randn(2, 1, 64, 2, 2, generator=g).unbind(0)
        actions = torch.randint(2, (1, 64, 2), generator=g)
        reward = 2 * torch.randn(1, 64, generator=g)
        terminated = torch.rand(1, 64, generator=g) < 0.25
        mask = torch.ones(1, 64, 2, 2, dtype=torch.bool)
        joint = (2 * actions[0, :, 0] + actions[0, :, 1]).unsqueeze(1).float()
        expected = algo.impl.inner_update(
            TorchMiniBatch(
                observations=obs[0].flatten(1),
                actions=joint,
                rewards=reward.T,
                next_observations=next_obs[0].flatten(1),
                next_actions=torch.zeros_like(joint),
                returns_to_go=torch.zeros_like(joint),
                terminals=terminated.T.float(),
                intervals=torch.ones_like(joint),
                device="cpu:0",
            ),
            grad_step=update,
        )
        metrics = learner.update(Batch(obs, mask, actions, reward, terminated, next_obs, mask))
        with torch.no_grad():  # d3rlpy copies its target now and then, ours follows: hold it for the comparison
            for target, start in zip(learner.target.parameters(), fixed, strict=True):
                target.copy_(start)
        loss = metrics.td_loss + alpha * metrics.penalty
        close = {"rtol": 1e-5, "atol": 1e-5}
        np.testing.assert_allclose(loss.item(), expected["loss"], **close)
        np.testing.assert_allclose(metrics.td_loss.item(), expected["td_loss"], **close)
        np.testing.assert_allclose(metrics.penalty.item(), expected["conservative_loss"], **close)
        for k, layer in enumerate(linear):
            weight, bias = learner.critic.layers[2 * k], learner.critic.layers[2 * k + 1]
            np.testing.assert_allclose(weight[0, 0, 0].T.detach(), layer.weight.detach(), rtol=0, atol=1e-5)
            np.testing.assert_allclose(bias.flatten().detach(), layer.bias.detach(), rtol=0, atol=1e-5)


# --- the TD target at an episode's end ----------------------------------------------------------------------


def set_linear(stack, coefficients):
    """Make a stack linear on positive inputs: the hidden layer hands them through, Q = x @ coefficients (..., D, A)."""
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.zero_()
        stack.layers[0].copy_(torch.eye(stack.layers[0].shape[-1]))
        stack.layers[2].copy_(coefficients)


def ended_episodes():
    """Two episodes of two steps of 2 APs with one slot: the first is truncated, the second terminated. All numbers
    of an observation are positive, and AP 1's slot is empty in both last ones."""
    g = torch.Generator().manual_seed(1)
    obs = 0.1 + torch.rand(6, 2, 2, generator=g)
    mask = torch.ones(6, 2, 2, dtype=torch.bool)
    mask[[2, 5], 1, 1] = False
    flags = torch.tensor([[0, 0], [0, 1], [0, 0], [1, 0]], dtype=torch.bool)
    return dataset(
        NetworkConfig(num_aps=2, num_users=4, top_n=1), obs, mask,
        actions=torch.tensor([[0, 1], [1, 1], [1, 0], [0, 0]]), rewards=torch.tensor([1.0, -2.0, 0.5, 3.0]),
        rows=torch.tensor([0, 1, 3, 4]), terminated=flags[:, 0], truncated=flags[:, 1],
    )  # fmt: skip


@pytest.mark.parametrize(("paradigm", "backbone"), GRID)
@pytest.mark.parametrize("step", range(4))
def test_bootstrap_by_closed_form(paradigm, backbone, step):
    """One transition through Minibatches and Learner: the squared TD error from plain sums over heads and actions.

    Step 1 is truncated and bootstraps from the true last observation (row 2, not the next episode's row 3); step 3
    is terminated and does not."""
    gamma, temperature, data = 0.9, 0.4, ended_episodes()
    heads, inputs, num_actions = PARADIGMS[paradigm].heads(ONE_SLOT)
    config = AgentConfig(paradigm, backbone, gamma=gamma, hidden=(inputs,), temperature=temperature)
    learner, g = Learner(config, ONE_SLOT, seeds=[0]), torch.Generator().manual_seed(step)
    twins = 2 if backbone == "sac" else 1
    online, target = torch.randn(2, 1, twins, heads, inputs, num_actions, generator=g).unbind(0)
    set_linear(learner.critic, online)
    set_linear(learner.target, target)
    preference = torch.randn(1, heads, inputs, num_actions, generator=g)
    if backbone == "sac":
        set_linear(learner.networks["actor"], preference)

    def of_heads(row, coefficients):
        """Values of every head and its allowed actions at a row: [{action: value}]."""
        if paradigm == "centralized":
            allowed = [2 * a + b for a in range(2) for b in range(2) if data.mask[row, 0, a] and data.mask[row, 1, b]]
            x = data.obs[row].flatten().double()
            return [{a: float(x @ coefficients[0, :, a].double()) for a in allowed}]
        q = torch.einsum("id,ida->ia", data.obs[row].double(), coefficients.double()).tolist()
        return [{a: q[i][a] for a in range(2) if data.mask[row, i, a]} for i in range(2)]

    row, next_row = [(0, 1), (1, 2), (3, 4), (4, 5)][step]
    taken = data.actions[step].tolist()
    taken = [2 * taken[0] + taken[1]] if paradigm == "centralized" else taken
    values = []
    for head in range(heads):
        late = [of_heads(next_row, target[0, k])[head] for k in range(twins)]
        if backbone == "dqn":
            first = of_heads(next_row, online[0, 0])[head]
            values.append(late[0][max(first, key=first.get)])
        else:
            logits = of_heads(next_row, preference[0])[head]
            log_sum = math.log(sum(math.exp(v) for v in logits.values()))
            log_pi = {a: v - log_sum for a, v in logits.items()}
            soft = [math.exp(p) * (min(q[a] for q in late) - temperature * p) for a, p in log_pi.items()]
            values.append(sum(soft))
    alive, reward = 0.0 if step == 3 else 1.0, float(data.rewards[step])
    errors = []
    for k in range(twins):
        q = [of_heads(row, online[0, k])[head][taken[head]] for head in range(heads)]
        if paradigm == "independent":
            errors += [(reward + gamma * alive * v - p) ** 2 for v, p in zip(values, q, strict=True)]
        else:
            errors.append((reward + gamma * alive * sum(values) - sum(q)) ** 2)

    batch = Minibatches(data.select(torch.tensor([step])), IDENTITY, 1, [0], "cpu").next()
    assert torch.equal(batch.next_obs[0, 0], data.obs[next_row])
    np.testing.assert_allclose(learner.update(batch).td_loss.item(), np.mean(errors), rtol=1e-5)


def test_minibatches_pair_every_row_with_the_next():
    """Observations numbered by row: whatever is drawn, the next observation is the row after, in the same episode."""
    data = ended_episodes()
    data = dataclasses.replace(data, obs=torch.arange(6.0).view(6, 1, 1).expand(6, 2, 2))
    batch = Minibatches(data, IDENTITY, 400, [0, 1], "cpu").next()
    here = batch.obs[..., 0, 0]
    assert set(here.unique().tolist()) == {0, 1, 3, 4}
    assert torch.equal(batch.next_obs, batch.obs + 1)
    assert torch.equal(batch.terminated, here == 4)
    assert torch.equal(batch.next_mask[..., 1, 1], (here != 1) & (here != 4))
    for row, step in ((0, 0), (1, 1), (3, 2), (4, 3)):
        assert (batch.reward[here == row] == data.rewards[step]).all()
        assert (batch.actions[here == row] == data.actions[step]).all()


# --- the update ----------------------------------------------------------------------------------------------


def as_linear(stack, *index):
    """One network of a stack as ordinary linear layers."""
    modules = []
    for weight, bias in zip(stack.layers[::2], stack.layers[1::2], strict=True):
        layer = torch.nn.Linear(*weight.shape[-2:])
        with torch.no_grad():
            layer.weight.copy_(weight[index].T)
            layer.bias.copy_(bias[index][0])
        modules += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


@pytest.mark.parametrize(
    "changes", [{}, {"gamma": 0.0}, {"gamma": 1.0}, {"alpha": 0.0}, {"penalty": "none"}, {"td_loss": "huber"}]
)
@pytest.mark.parametrize("backbone", ["sac", "dqn"])
@pytest.mark.parametrize(
    ("paradigm", "reward_of"),
    [("centralized", "team"), ("independent", "team"), ("independent", "own"), ("ctde", "team")],
)
def test_update_equals_the_written_out_loss(paradigm, backbone, changes, reward_of):
    """One step of the second of two seeds: losses as sums over twins and heads of ordinary networks, then Adam, with so
    large an epsilon that the step depends on the size of the gradient."""
    numbers = {"alpha": 0.5, "gamma": 0.9, "temperature": 0.3, "hidden": (8,), "batch_size": 32, "adam_eps": 0.01}
    numbers |= changes
    config = AgentConfig(paradigm, backbone, reward=reward_of, **numbers)
    alpha = 0.0 if config.penalty == "none" else config.alpha
    learner, tau = Learner(config, SMALL, seeds=[4, 0]), 0.3
    with torch.no_grad():
        for target in learner.target.parameters():
            target.add_(0.3 * torch.randn(target.shape, generator=torch.Generator().manual_seed(1)))
    before = [p.clone() for p in learner.target.parameters()]
    twins, heads = range(2 if backbone == "sac" else 1), range(1 if paradigm == "centralized" else 2)
    critic = {(k, i): as_linear(learner.critic, 1, k, i) for k in twins for i in heads}
    target = {(k, i): as_linear(learner.target, 1, k, i) for k in twins for i in heads}
    actor = [as_linear(learner.networks["actor"], 1, i) for i in heads] if backbone == "sac" else []
    own = torch.randn(200, 2, generator=torch.Generator().manual_seed(2))
    data = dataclasses.replace(random_data(SMALL, 200), rewards=own.sum(1), own_rewards=own)
    batch = Minibatches(data, IDENTITY, 32, [4, 0], "cpu", reward_of).next()
    obs, mask, actions, reward, _, next_obs, next_mask = (x[1] for x in batch)
    rewards = reward.unbind(1) if reward_of == "own" else [reward, reward]
    terminated = torch.arange(32) % 4 == 0
    batch.terminated[1] = terminated
    if paradigm == "centralized":  # one head, whose action 3 a + b is a of AP 0 and b of AP 1
        obs, next_obs = obs.flatten(1).unsqueeze(1), next_obs.flatten(1).unsqueeze(1)
        mask, next_mask = ((m[:, 0, :, None] & m[:, 1, None, :]).flatten(1).unsqueeze(1) for m in (mask, next_mask))
        actions = (3 * actions[:, 0] + actions[:, 1]).unsqueeze(1)

    values, q, loss = [], {key: net(obs[:, key[1]]) for key, net in critic.items()}, 0.0
    for i in heads:
        with torch.no_grad():
            late = torch.stack([target[k, i](next_obs[:, i]) for k in twins]).amin(0)
            if backbone == "sac":
                log_pi = actor[i](next_obs[:, i]).masked_fill(~next_mask[:, i], -1e9).log_softmax(-1)
                values.append((log_pi.exp() * (late - tau * log_pi)).sum(-1))
            else:
                best = critic[0, i](next_obs[:, i]).masked_fill(~next_mask[:, i], -1e9).argmax(-1)
                values.append(late[torch.arange(32), best])
        if backbone == "sac":
            log_pi = actor[i](obs[:, i]).masked_fill(~mask[:, i], -1e9).log_softmax(-1)
            value = torch.minimum(q[0, i], q[1, i]).detach()
            loss = loss + (log_pi.exp() * (tau * log_pi - value)).sum(-1).mean()
    for k in twins:
        taken = [q[k, i][torch.arange(32), actions[:, i]] for i in heads]
        pairs = [(sum(taken), sum(values))] if paradigm == "ctde" else list(zip(taken, values, strict=True))
        for (prediction, value), reward in zip(pairs, rewards, strict=False):
            error = (prediction - reward - config.gamma * torch.where(terminated, 0.0, value)).abs()
            huber = torch.where(error < 1, error**2 / 2, error - 0.5)
            loss = loss + (huber if config.td_loss == "huber" else error**2).mean()
        for i in heads:
            logsumexp = q[k, i].masked_fill(~mask[:, i], -1e9).logsumexp(-1)
            loss = loss + alpha * (logsumexp - taken[i]).mean()
    nets = [*critic.values(), *actor]
    optimizer = torch.optim.Adam(
        [p for net in nets for p in net.parameters()], lr=config.learning_rate, eps=config.adam_eps
    )
    loss.backward()
    optimizer.step()

    learner.update(batch)
    updated = {key: as_linear(learner.critic, 1, *key) for key in critic}
    updated_nets = [*updated.values(), *(as_linear(learner.networks["actor"], 1, i) for i in heads if actor)]
    for net, ours in zip(nets, updated_nets, strict=True):
        for expected, parameter in zip(net.parameters(), ours.parameters(), strict=True):
            np.testing.assert_allclose(parameter.detach(), expected.detach(), rtol=0, atol=1e-7)
    for old, new, now in zip(before, learner.critic.parameters(), learner.target.parameters(), strict=True):
        np.testing.assert_allclose(now, 0.99 * old + 0.01 * new.detach(), rtol=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
@pytest.mark.parametrize("agent", [AgentConfig(mixer="qmix"), AgentConfig("centralized", "dqn")])
def test_all_is_on_the_named_device_and_target_networks_are_not_learned(agent):
    """Also what was saved on another one. PyTorch's device "meta" has no memory."""
    trained, batch = Learner(agent, SMALL, [0]), Minibatches(random_data(SMALL, 40), IDENTITY, 8, [0], "cpu").next()
    trained.update(batch)
    for device in ("cpu", "meta"):
        learner = Learner(agent, SMALL, [0], device)
        learner.load_state_dict(trained.state_dict())
        assert {tensor.device.type for tensor in learner.state_dict().values()} == {device}
        targets = [*learner.target.parameters(), *learner.target_mixer.parameters()]
        assert not any(p.requires_grad for p in targets) and all(p.requires_grad for p in learner.parameters().values())


@pytest.mark.parametrize(("paradigm", "backbone"), GRID)
def test_a_seed_trains_the_same_alone_or_in_company(paradigm, backbone):
    data, config = random_data(SMALL, 500), AgentConfig(paradigm, backbone, num_updates=50, **TINY)
    alone = train_offline(data, config, seeds=[3], progress=False)[0]
    beside = train_offline(data, config, seeds=[8, 3, 5], progress=False)[1]
    assert alone.seed == beside.seed == 3 and alone.tensors.keys() == beside.tensors.keys()
    for name, tensor in alone.tensors.items():
        # A batched product of another size may round differently.
        np.testing.assert_allclose(beside.tensors[name], tensor, rtol=1e-6, atol=1e-6 * float(tensor.abs().max()))
    other = train_offline(data, config, seeds=[4], progress=False)[0]
    assert not torch.allclose(other.tensors["critic.0"], alone.tensors["critic.0"])


@pytest.mark.parametrize("backbone", ["dqn", "sac"])
def test_reward_offset_and_scale_change_nothing(backbone):
    """Rewards are standardised: in other units, or with a constant that would swamp Q, the policy is the same."""
    data = random_data(SMALL, 2000)
    config = AgentConfig(backbone=backbone, gamma=0.9, num_updates=100, learning_rate=1e-3, **TINY)
    policy = train_offline(data, config, seeds=[0], progress=False)[0]
    allowed = data.mask.transpose(0, 1)
    q, actions = policy.q_values(data.obs, data.mask)[allowed], policy.act(data.obs, data.mask)
    assert q.std() > 0.1
    for offset, factor in ((500.0, 1.0), (0.0, 0.01), (-300.0, 20.0)):
        moved = dataclasses.replace(data, rewards=factor * data.rewards + offset)
        policy = train_offline(moved, config, seeds=[0], progress=False)[0]
        # Rounding of the moved rewards is all that differs; where two actions tie it may decide.
        assert (policy.q_values(data.obs, data.mask)[allowed] - q).abs().mean() < 1e-3
        assert (policy.act(data.obs, data.mask) == actions).float().mean() > 0.995
        # What the checkpoint needs to give Q-values their unit back.
        np.testing.assert_allclose(policy.tensors["reward_mean"], moved.rewards.double().mean(), rtol=1e-5)
        np.testing.assert_allclose(policy.tensors["reward_std"], factor * data.rewards.std(correction=0), rtol=1e-4)


@pytest.mark.parametrize(("paradigm", "backbone"), [*GRID, ("ctde", "bc"), ("centralized", "bc")])
def test_bandit(paradigm, backbone):
    """Two heads, no future: where an AP's first number is positive its best action is 1, else 2, once masked.

    The behaviour takes the other slot most often: value learners must not follow it, cloning must."""
    g, n = torch.Generator().manual_seed(0), 4000
    obs = torch.randn(n + 1, 2, 4, generator=g)
    mask = torch.ones(n + 1, 2, 3, dtype=torch.bool)
    mask[: n // 4, 1, 2] = False
    positive = obs[..., 0] > 0
    best = torch.where(positive, 1, 2)
    favourite = torch.where(positive, 2, 1)
    probability = torch.full((n, 2, 3), 0.2).scatter(-1, favourite[:-1].unsqueeze(-1), 0.6) * mask[:-1]
    actions = torch.multinomial(probability.flatten(0, 1), 1, generator=g).view(n, 2)
    rewards = (actions == best[:-1]).float().sum(1) - 0.5 * (actions == 0).float().sum(1)
    raw = 15 + 6 * obs  # in dB, say: what acts has to standardise as what trains
    data = dataset(SMALL, raw, mask, actions, 10 + 3 * rewards)
    config = agent_of(paradigm, backbone, alpha=0.1, gamma=0.0, num_updates=300, learning_rate=5e-3, **TINY)
    policy = train_offline(data, config, seeds=[0], progress=False)[0]
    wanted = favourite if backbone == "bc" else best
    clear = obs[..., 0].abs() > 0.3  # not on the edge between the two
    clear[: n // 4, 1] &= mask.gather(-1, wanted.unsqueeze(-1))[: n // 4, 1, 0]
    agree = policy.act(raw, mask) == wanted
    assert agree[clear].float().mean() > 0.97


@pytest.mark.parametrize(("paradigm", "backbone"), [*GRID, ("ctde", "bc")])
def test_masked_actions_are_never_chosen(paradigm, backbone):
    """By a network that wants nothing but one masked slot."""
    data = random_data(SMALL, 400, empty=0.5)
    config = agent_of(paradigm, backbone, num_updates=1, **TINY)
    policy = train_offline(data, config, seeds=[0], progress=False)[0]
    name = "actor" if backbone == "sac" else "critic"
    tensors = {k: v.clone() for k, v in policy.tensors.items()}
    bias = tensors[f"{name}.5"]  # (..., 1, A): actions in which an AP takes its last slot
    bias[..., [a for a in range(bias.shape[-1]) if 2 in (a % 3, a // 3)]] += 100.0
    keen = Policy(config, SMALL, tensors)
    versions = [keen] if backbone == "dqn" else [keen, keen.sampled()]
    obs, mask = data.obs, data.mask
    slots = torch.where(mask[..., 1:], torch.arange(2), -1)
    for version in versions:
        version.begin(torch.arange(len(obs) * 3).view(-1, 3))
        view = ObservationView(obs, mask, slots)
        actions = view.actions(version.serve(view))
        assert mask.gather(-1, actions.unsqueeze(-1)).all()
        if paradigm != "centralized":  # the joint head may give up one AP's slot for the other's
            assert (actions[mask[..., 2]] == 2).all()
        assert (version.log_prob(view, actions) > -math.inf).all()
    assert (keen.act(obs, mask) == keen.act(obs)).all()  # the mask is read off the empty slots


@pytest.mark.parametrize(("paradigm", "backbone"), [*GRID, ("ctde", "bc")])
def test_a_stack_of_policies_acts_as_each_of_them(paradigm, backbone):
    data, config = random_data(SMALL, 99), agent_of(paradigm, backbone, num_updates=5, **TINY)
    data = dataclasses.replace(data, obs=15 + 6 * data.obs)
    policies = train_offline(data, config, seeds=[0, 1, 2], progress=False)
    slots = torch.where(data.mask[..., 1:], torch.arange(2), -1)
    view = ObservationView(*(x.repeat(3, 1, 1) for x in (data.obs, data.mask, slots)))
    users = PolicyStack(policies).serve(view)
    assert torch.equal(view.actions(users), torch.cat([p.act(data.obs, data.mask) for p in policies]))


# --- checkpoints and histories ------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["dqn", "sac", "bc"])
def test_checkpoint(tmp_path, backbone):
    data = random_data(SMALL, 300)
    policy = train_offline(data, agent_of("ctde", backbone, num_updates=20, **TINY), seeds=[7], progress=False)[0]
    path = policy.save(tmp_path / "policy")
    assert {f.name for f in path.iterdir()} == {"policy.safetensors", "policy.json", "SHA256SUMS"}
    assert json.loads((path / "policy.json").read_text())["agent"]["backbone"] == (
        "dqn" if backbone == "bc" else backbone
    )
    assert load_file(path / "policy.safetensors")  # readable by the format's own library: nothing pickled
    loaded = Policy.load(path)
    loaded.check_fits(SMALL, strict=True)
    assert (loaded.config, loaded.network, loaded.seed, loaded.name) == (policy.config, SMALL, 7, policy.name)
    assert torch.equal(loaded.act(data.obs, data.mask), policy.act(data.obs, data.mask))
    assert loaded.act(data.obs[0]).shape == (2,) and loaded.act(data.obs[None, :4]).shape == (1, 4, 2)
    assert loaded.tensors.keys() == policy.tensors.keys() and loaded.history.keys() == policy.history.keys()
    for name, column in policy.history.items():
        np.testing.assert_array_equal(loaded.history[name], column)


def test_history_columns():
    data, config = random_data(SMALL, 300), AgentConfig(backbone="dqn", num_updates=30, **TINY)
    scores = [dataclasses.make_dataclass("S", ["sum_rate", "tail_rate", "score"])(1.0, 2.0, float(k)) for k in (5, 6)]
    policies = train_offline(data, config, [0, 1], evaluate_every=10, evaluation=lambda p: scores, progress=False)
    for policy, wanted in zip(policies, (5.0, 6.0), strict=True):
        history = policy.history
        evaluated = {"eval_update", "eval_sum_rate", "eval_tail_rate", "eval_score"}
        assert set(history) == {"update", *Metrics._fields, *evaluated}
        assert history["update"].tolist() == list(range(1, 31)) and history["eval_update"].tolist() == [10, 20, 30]
        assert history["eval_score"].tolist() == [wanted] * 3 and history["td_loss"].shape == (30,)
        assert all(np.isfinite(column).all() for column in history.values())


def test_checkpoint_on_another_network(tmp_path):
    policy = train_offline(random_data(SMALL, 100), AgentConfig(num_updates=1, **TINY), [0], progress=False)[0]
    policy = Policy.load(policy.save(tmp_path / "policy"))
    for other in (dataclasses.replace(SMALL, top_n=3), dataclasses.replace(SMALL, num_aps=3)):
        with pytest.raises(ValueError, match="(top_n|num_aps) = 3 instead of 2"):
            policy.check_fits(other)
    wider = dataclasses.replace(SMALL, area_m=800.0)
    with pytest.warns(UserWarning, match="area_m = 800.0 instead of 500.0"):
        policy.check_fits(wider)
    with pytest.raises(ValueError, match="area_m"):
        policy.check_fits(wider, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.check_fits(dataclasses.replace(SMALL, episode_ttis=10))
    with pytest.raises(ValueError, match=r"\(\.\.\., 2, 4\)"):
        policy.act(torch.zeros(5, 2, 6))
    with pytest.raises(ValueError, match="finite"):
        policy.act(torch.full((5, 2, 4), math.nan))
    with pytest.raises(ValueError, match="action_mask"):
        policy.act(torch.zeros(5, 2, 4), torch.ones(5, 2, 4, dtype=torch.bool))


@pytest.mark.parametrize("name", ["policy.safetensors", "policy.json"])
def test_edited_checkpoint(tmp_path, name):
    policy = train_offline(random_data(SMALL, 100), AgentConfig(num_updates=1, **TINY), [0], progress=False)[0]
    path = policy.save(tmp_path / "policy")
    content = (path / name).read_bytes()
    for damaged in (content[:-1] + bytes([content[-1] ^ 1]), content[:-10]):
        (path / name).write_bytes(damaged)
        with pytest.raises(CorruptFileError, match=name):
            Policy.load(path)
    (path / name).unlink()
    with pytest.raises(CorruptFileError, match=name):
        Policy.load(path)
    with pytest.raises(FileNotFoundError):
        Policy.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("field", "value"),
    [("paradigm", "joint"), ("backbone", "ppo"), ("td_loss", "l1"), ("alpha", -0.1), ("alpha", math.nan),
     ("gamma", 1.01), ("gamma", -0.1), ("hidden", ()), ("hidden", (128, 0)), ("hidden", (1.5,)), ("hidden", 128),
     ("learning_rate", 0.0), ("target_rate", 0.0), ("target_rate", 1.5), ("batch_size", 0), ("num_updates", 0),
     ("temperature", -1.0), ("adam_eps", 0.0), ("mixer", "max"), ("penalty", "bcq")],
)  # fmt: skip
def test_wrong_agent_config(field, value):
    with pytest.raises(ValueError, match=f"{field} = "):
        AgentConfig(**{field: value})


def test_agent_config_as_dict():
    config = AgentConfig("independent", "dqn", hidden=(8, 4))
    assert AgentConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ValueError, match="has no field alhpa"):
        AgentConfig.from_dict({"alhpa": 1.0})


def test_wrong_training_input():
    data, config = random_data(SMALL, 50), AgentConfig(num_updates=1, **TINY)
    for seeds in ([], [1, 1], [-1]):
        with pytest.raises(ValueError, match="seeds"):
            train_offline(data, config, seeds=seeds, progress=False)
    for name in ("obs", "rewards"):
        broken = getattr(data, name).clone()
        broken[3] = math.nan
        with pytest.raises(ValueError, match=f"{name}: must be finite"):
            train_offline(dataclasses.replace(data, **{name: broken}), config, seeds=[0], progress=False)
