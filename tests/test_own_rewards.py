"""Each AP's own reward, from the log to the learner, and logs without them.

The game's are compared in test_game, updates in test_learner and test_graph, refused columns in test_own_logs.
Shapes: S seeds, B batch, n transitions, I APs.
"""

import dataclasses

import h5py
import numpy as np
import pytest
import torch

from rrmlab import (
    AgentConfig,
    Dataset,
    NetworkConfig,
    collect,
    load_dataset,
    make_scheduler,
    mix,
    train_offline,
    train_online,
)
from rrmlab.agents.config import method_name
from rrmlab.agents.graph_learner import make_scale
from rrmlab.agents.scale import Scale
from rrmlab.learning import offline
from rrmlab.learning.dataset import join
from rrmlab.learning.minibatches import Minibatches, Replay, ReplaySampler

NETWORK = NetworkConfig(num_aps=3, num_users=7, top_n=2, episode_ttis=20, warmup_ttis=5, observation="neighbours")
OWN = AgentConfig("independent", reward="own", hidden=(4,), batch_size=8, num_updates=3)
GRAPH = AgentConfig.graph(reward="own", hidden=(4,), batch_size=8, num_updates=3)
IDENTITY = Scale(torch.tensor(0.0), torch.tensor(1.0), torch.tensor(0.0), torch.tensor(1.0))


@pytest.fixture(scope="module")
def walk():
    return collect(make_scheduler("random_walk"), NETWORK, 60)


@pytest.fixture(scope="module")
def without(walk):
    """A log of the team's reward alone."""
    return dataclasses.replace(walk, own_rewards=None)


def by_hand(actions, own):
    """A log of one run, of APs with one slot that see nothing."""
    num, aps = own.shape
    network = NetworkConfig(num_aps=aps, num_users=aps, top_n=1, require_users=False)
    seen = torch.zeros(num + 1, aps, 2), torch.ones(num + 1, aps, 2, dtype=torch.bool)
    no, metadata = torch.zeros(num, dtype=torch.bool), {"network": network.to_dict()}
    return Dataset(*seen, torch.arange(num), actions, own.sum(1), no, no, torch.zeros(num).double(), metadata, own)


# ---- logs ----


def test_they_are_logged_and_add_up(walk):
    online = train_online(NETWORK, dataclasses.replace(OWN, backbone="dqn"), [0], 80, 2, progress=False)[0].data
    for data in (walk, online):
        assert data.own_rewards.shape == (len(data), 3) and data.own_rewards.dtype == torch.float32
        np.testing.assert_allclose(data.own_rewards.double().sum(1), data.rewards, rtol=1e-6)
        assert torch.equal(data.own_rewards == 0, data.actions == 0)


def test_a_log_without_them_is_stored_as_before_and_stays_so(walk, without, tmp_path):
    path = without.save(tmp_path / "log-v0")
    with h5py.File(path / "data" / "main_data.hdf5") as file:  # what a version before them wrote
        assert set(file["episode_0/infos"]) == {"action_mask", "log_prob"}
    loaded = load_dataset(path)
    parts = (loaded, loaded.select(torch.arange(5)), loaded.take(9), mix([loaded, loaded], [1, 1], 10))
    for data in (*parts, join([loaded, walk], loaded.metadata), join([walk, loaded], loaded.metadata)):
        data.check()
        assert data.own_rewards is None
    for name in ("obs", "rows", "actions", "rewards", "log_prob"):
        assert torch.equal(getattr(loaded, name), getattr(walk, name))
    assert "own_rewards" not in loaded.episodes()[0] and "own_rewards" in walk.episodes()[0]
    assert torch.equal(join([walk, walk], walk.metadata).own_rewards, walk.own_rewards.repeat(2, 1))


@pytest.mark.parametrize("aps", [1, 4, 64])
def test_rounding_to_float32_is_no_contradiction_and_more_is(aps):
    """Numbers that were added in float64 and then rounded, of one size and of very different sizes."""
    rng = np.random.default_rng(aps)
    data = by_hand(torch.ones(200, aps).long(), torch.zeros(200, aps))
    for spread in (0, 6):
        own = rng.normal(size=(200, aps)) * 10 ** rng.uniform(-spread, spread, (200, aps))
        rounded = {"own_rewards": own.astype(np.float32), "rewards": own.sum(1).astype(np.float32)}
        one = dataclasses.replace(data, **rounded)
        one.check()
        off = one.rewards + 1e-4 * one.own_rewards.abs().sum(1) * (torch.arange(200) == 7)
        with pytest.raises(ValueError, match=r"own_rewards\.sum\(1\): must be rewards.*\(1\)\[7\] = "):
            dataclasses.replace(one, rewards=off).check()


# ---- learners ----


@pytest.mark.parametrize("agent", [OWN, GRAPH], ids=["independent", "graph"])
def test_they_have_one_mean_and_one_spread(walk, agent):
    policy = train_offline(walk, agent, [0], progress=False)[0]
    own = walk.own_rewards.double().numpy()
    for scale in (make_scale(agent, walk.obs, walk.mask, walk.own_rewards).tensors, policy.tensors):
        np.testing.assert_allclose([scale["reward_mean"], scale["reward_std"]], [own.mean(), own.std()], rtol=1e-6)


def test_minibatches_hand_out_those_of_the_transition(walk):
    batch = Minibatches(walk, IDENTITY, 40, [0, 1], "cpu", "own").next()
    assert batch.reward.shape == (2, 40, 3) and batch.terminated.shape == (2, 40)
    seen = {tuple(obs): own for obs, own in zip(walk.obs[walk.rows].flatten(1).tolist(), walk.own_rewards, strict=True)}
    for obs, reward in zip(batch.obs.flatten(0, 1).flatten(1).tolist(), batch.reward.flatten(0, 1), strict=True):
        assert torch.equal(reward, seen[tuple(obs)])
    assert Minibatches(walk, IDENTITY, 40, [0], "cpu").next().reward.shape == (1, 40)


def test_the_replay_hands_out_those_of_its_seed_and_step():
    replay, g = Replay(6, 6, 2, 3, NETWORK, "cpu"), torch.Generator().manual_seed(0)
    for step in range(6):
        obs, mask = torch.randn(6, 3, replay.obs.shape[-1], generator=g), torch.ones(6, 3, 3, dtype=torch.bool)
        own = obs[..., 0] + step  # so that a reward is known by its observation
        replay.add(obs, mask, torch.full((6, 3), step % 3), own.sum(1), own, torch.zeros(6).double())
    for kind in ("own", "team"):
        batch = ReplaySampler(replay, IDENTITY, 30, [0, 1], kind).next()
        own = batch.obs[..., 0]
        steps = batch.reward - (own if kind == "own" else own.sum(-1))
        steps = steps if kind == "own" else steps.unsqueeze(-1) / 3
        assert torch.allclose(steps, steps.round(), atol=1e-5) and set(steps.round().flatten().tolist()) <= set(
            range(5)
        )
        assert torch.equal(steps.round()[..., 0] % 3, batch.actions[..., 0].float())
        assert batch.terminated.shape == (2, 30) and not batch.terminated.any()


@pytest.mark.parametrize("agent", [OWN, GRAPH], ids=["independent", "graph"])
def test_whose_reward_it_is_counts(walk, agent, tmp_path):
    """With the APs' rewards exchanged, a sum that is the same, another policy is learned and no checkpoint goes on."""
    exchanged = dataclasses.replace(walk, own_rewards=walk.own_rewards.roll(1, 1))
    ours, theirs = (train_offline(data, agent, [0], progress=False)[0].tensors for data in (walk, exchanged))
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)
    team = dataclasses.replace(agent, reward="team")
    ours, theirs = (train_offline(data, team, [0], progress=False)[0].tensors for data in (walk, exchanged))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    keep = {"checkpoint": tmp_path / "c", "checkpoint_every": 1, "progress": False}
    train_offline(walk, agent, [0], **keep)
    with pytest.raises(ValueError, match="of another training, it differs in data"):
        train_offline(exchanged, agent, [0], **keep)


def test_an_ap_learns_from_its_own_cell():
    """At a discount of 0, an AP whose transmission costs its neighbour more than it earns: from its own reward it
    learns to transmit, from the team's to be silent."""
    g, num = torch.Generator().manual_seed(0), 500
    actions = torch.randint(2, (num, 2), generator=g)
    own = actions.float() * torch.tensor([1.0, 4.0]) * torch.stack([torch.ones(num), 1 - 0.9 * actions[:, 0]], 1)
    data = by_hand(actions, own)
    numbers = {"alpha": 0.0, "gamma": 0.0, "num_updates": 200, "learning_rate": 2e-2, "hidden": (8,), "batch_size": 64}
    for reward, decision in (("own", [1, 1]), ("team", [0, 1])):
        agent = AgentConfig("independent", "dqn", reward=reward, **numbers)
        (policy,) = train_offline(data, agent, [0], progress=False)
        assert policy.act(data.obs[:1], data.mask[:1])[0].tolist() == decision


# ---- refusals and names ----


@pytest.mark.parametrize("agent", [OWN, GRAPH], ids=["independent", "graph"])
def test_a_log_without_them_is_refused_before_any_work(without, agent, tmp_path, monkeypatch):
    monkeypatch.setattr(offline, "make_learner", lambda *_: pytest.fail("work was started"))
    with pytest.raises(ValueError, match=r"^reward = 'own': must be 'team' for data without own_rewards"):
        train_offline(without, agent, [0], progress=False, checkpoint=tmp_path / "c")
    assert not list(tmp_path.iterdir())


def test_values_of_the_team_are_not_learned_from_them():
    for paradigm in ("centralized", "ctde"):
        with pytest.raises(ValueError, match=f"^reward = 'own': must be 'team' with paradigm = '{paradigm}'"):
            AgentConfig(paradigm, reward="own")
    with pytest.raises(ValueError, match="^reward = 'own': must be 'team' .*td_loss = 'none'"):
        AgentConfig.behaviour_cloning(paradigm="independent", reward="own")
    with pytest.raises(ValueError, match="^reward = 'mine': must be one of team, own"):
        AgentConfig("independent", reward="mine")


def test_names():
    assert method_name(OWN) == "I-MARL-CQL (OWN)" and method_name(GRAPH) == "G-MARL-CQL (OWN)"
    assert method_name(dataclasses.replace(OWN, backbone="dqn")) == "I-MARL-CQL (DQN, OWN)"
    assert method_name(dataclasses.replace(OWN, reward="team")) == "I-MARL-CQL"
