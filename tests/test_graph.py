"""The paradigm `graph` against its definition in plain NumPy: values, penalty, bootstrap, gradient; its policies.

Shapes: S seeds, B batch, E environments, I APs, N slots, F numbers of a slot.
"""

import json
import tempfile
import warnings
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_graph import (
    PlainFactors,
    decide_by_objects,
    each_value,
    penalty,
    random_factors,
    random_network,
    slots_of,
    total,
)

from rrmlab import (
    AgentConfig,
    ImperfectReports,
    NetworkConfig,
    Policy,
    RRMEnv,
    collect,
    evaluate,
    evaluate_seeds,
    make_scheduler,
    train_offline,
    train_online,
)
from rrmlab.agents import graph
from rrmlab.agents.graph import conditional_values, joint_values
from rrmlab.agents.graph_learner import GraphLearner, make_learner, make_scale
from rrmlab.agents.learner import Batch, Learner
from rrmlab.agents.networks import StackedMLP
from rrmlab.game.link_schedulers import joint_actions
from rrmlab.game.messages import SlotReports
from rrmlab.game.observations import other_aps
from rrmlab.game.views import SILENT
from rrmlab.storage import verify

NETWORK = NetworkConfig(num_aps=4, num_users=14, episode_ttis=200, warmup_ttis=20, observation="neighbours")
SHORT = replace(NETWORK, episode_ttis=40)
LARGE = replace(NETWORK, num_aps=9, num_users=20, top_n=2, area_m=750.0, episode_ttis=40, require_users=False)
AGENT = AgentConfig.graph(hidden=(16, 16), batch_size=64, num_updates=400, learning_rate=1e-2, alpha=0.1, gamma=0.0)
FORMS = ("rate", "free")
close = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture(scope="module")
def data():
    return collect(make_scheduler("random_walk"), NETWORK, 8_000)


@pytest.fixture(scope="module")
def policies(data):
    """Of both forms, by form: two seeds each."""
    return {form: train_offline(data, replace(AGENT, factor=form), [0, 1], progress=False) for form in FORMS}


# ---- values, penalty, bootstrap, gradient ----


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("num_aps", [1, 2, 3])
@torch.no_grad()
def test_values_of_joint_actions_and_of_each_action_alone(form, num_aps):
    """Seeds 0 and 1, silent APs, empty slots: q, and Q_tot of every alternative less that of silence."""
    factors = random_factors(form, (0, 1))
    obs, mask, actions = random_network(3, num_aps, 2, 12)
    both = SlotReports.of(obs.expand(2, -1, -1, -1)), actions.expand(2, -1, -1)
    q, added = conditional_values(factors, *both)
    np.testing.assert_allclose(q, joint_values(factors, *both), **close)
    assert (actions == 0).any() and (~mask).any()
    for s, b in np.ndindex(2, 12):
        plain, slots, taken = PlainFactors.of(factors, s), slots_of(obs[b], num_aps), actions[b].tolist()
        np.testing.assert_allclose(q[s, b], each_value(plain, slots, taken), **close)
        for i in range(num_aps):
            values = [total(plain, slots, [*taken[:i], a, *taken[i + 1 :]]) for a in range(3)]
            got, allowed = (added[s, b, i] - added[s, b, i, 0]).numpy(), mask[b, i].numpy()
            np.testing.assert_allclose(got[allowed], (np.array(values) - values[0])[allowed], **close)


def learner_and_batch(form, num_aps, **options):
    """A learner in float64 with target networks of its own, and one minibatch of the second of its two seeds."""
    network = replace(NETWORK, num_aps=num_aps, top_n=2, num_users=9)
    agent = AgentConfig.graph(**{"factor": form, "hidden": (4,), "alpha": 0.3, "gamma": 0.8, "rounds": 1, **options})
    learner = make_learner(agent, network, [3, 4])
    assert type(learner) is GraphLearner
    g = torch.Generator().manual_seed(1)
    for module in (learner.factors, learner.target_factors):
        module.double()
        with torch.no_grad():
            for p in module.parameters():
                p.mul_(1.5).add_(0.2 * torch.randn(p.shape, generator=g))
    obs, mask, actions = random_network(5, num_aps, 2, 6)
    next_obs, next_mask, _ = random_network(6, num_aps, 2, 6)
    sizes = (6, num_aps) if agent.reward == "own" else (6,)
    reward = torch.randn(sizes, generator=g, dtype=torch.float64)
    ended = torch.arange(6) == 2
    one = (obs, mask, actions, reward, ended, next_obs, next_mask)
    return learner, Batch(*(x.expand(2, *x.shape).clone() for x in one))


def learned(plain, slots, actions, reward):
    """What has a TD loss: Q_tot, or with own rewards of each AP its share of c and its q (I,)."""
    if reward == "own":
        return plain.offset / len(slots) + each_value(plain, slots, actions)
    return plain.offset + total(plain, slots, actions)


def plain_loss(plain, learner, batch, next_value):
    """TD loss, penalty and loss of seed 1 from the definition; `next_value` is that of all, or of each AP."""
    config, errors, penalties = learner.config, [], []
    penalised = config.penalty == "cql" and config.alpha > 0
    obs, mask, actions, reward, ended, *_ = (x[1].numpy() for x in batch)
    for b in range(len(obs)):
        slots, taken = slots_of(obs[b], obs.shape[1]), actions[b].tolist()
        target = reward[b] + config.gamma * (0 if ended[b] else next_value[b])
        error = np.abs(learned(plain, slots, taken, config.reward) - target)
        huber = np.where(error < 1, error**2 / 2, error - 0.5)
        errors.append(np.sum(huber if config.td_loss == "huber" else error**2))
        penalties.append(penalty(plain, slots, mask[b], taken) if penalised else 0.0)
    return np.mean(errors), np.mean(penalties), np.mean(errors) + config.alpha * np.mean(penalties)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("num_aps", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": 0.0},
        {"penalty": "none"},
        {"td_loss": "huber"},
        {"gamma": 0.0},
        {"gamma": 1.0},
        {"reward": "own"},
        {"reward": "own", "gamma": 0.0},
    ],
)
def test_an_update_is_the_written_out_loss_and_its_slope(form, num_aps, options):
    """Metrics by plain NumPy; the gradient by differences of the plain loss along random directions."""
    learner, batch = learner_and_batch(form, num_aps, **options)
    learner._step = lambda targets: None  # keeps the gradient and the parameters
    online, target = (PlainFactors.of(f, 1) for f in (learner.factors, learner.target_factors))
    next_value = []
    for obs, mask in zip(batch.next_obs[1], batch.next_mask[1].numpy(), strict=True):
        slots = slots_of(obs, num_aps)
        best, _ = decide_by_objects(online, slots, mask, rounds=1)  # chosen by the learned, valued by the target
        next_value.append(learned(target, slots, best, learner.config.reward))
    values_learned = num_aps if learner.config.reward == "own" else 1  # over which metrics are means
    metrics = learner.update(batch)
    td_loss, penalties, _ = plain_loss(online, learner, batch, next_value)
    np.testing.assert_allclose(metrics.td_loss[1], td_loss / values_learned, **close)
    np.testing.assert_allclose(metrics.penalty[1], penalties / (num_aps if learner.config.alpha else 1), **close)
    of_data = [
        total(online, slots_of(o, num_aps), a.tolist()) for o, a in zip(batch.obs[1], batch.actions[1], strict=True)
    ]
    np.testing.assert_allclose(metrics.q_data[1], (online.offset + np.mean(of_data)) / values_learned, **close)
    greedy = [
        decide_by_objects(online, slots_of(o, num_aps), m.numpy(), 0)[0]
        for o, m in zip(batch.obs[1], batch.mask[1], strict=True)
    ]
    values = [total(online, slots_of(o, num_aps), a) for o, a in zip(batch.obs[1], greedy, strict=True)]
    np.testing.assert_allclose(metrics.q_greedy[1], (online.offset + np.mean(values)) / values_learned, **close)

    parameters = [*learner.factors.edge.layers, *learner.factors.factor.layers, learner.factors.offset]
    rng, size = np.random.default_rng(0), 1e-5
    for _ in range(6):
        directions = [rng.normal(size=p.shape[1:]) for p in parameters]
        losses = []
        for sign in (1, -1):
            moved = [p[1].detach().numpy() + sign * size * d for p, d in zip(parameters, directions, strict=True)]
            depth = len(learner.factors.edge.layers)
            plain = PlainFactors(moved[:depth], moved[depth:-1], online.lam, moved[-1][0])
            losses.append(plain_loss(plain, learner, batch, next_value)[2])
        slope = sum((p.grad[1].numpy() * d).sum() for p, d in zip(parameters, directions, strict=True))
        assert slope == pytest.approx((losses[0] - losses[1]) / (2 * size), rel=1e-5, abs=1e-6)


def test_gradients_reach_the_inputs_of_a_stack():
    net = StackedMLP([torch.Generator().manual_seed(k) for k in range(2)], (), (3, 5, 4)).double()
    x = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: net(x), (x, *net.layers))


@torch.no_grad()
def test_the_penalty_is_that_of_joint_actions_where_aps_do_not_interfere():
    """Then Q_tot is a sum of functions of one action each, and the logsumexp over joint actions factorises."""
    factors = random_factors("rate")
    factors.factor.layers[0][:, 2:] = 0  # whatever is sent, nobody listens
    obs, mask, actions = random_network(7, 3, 2, 10)
    plain = PlainFactors.of(factors)
    for b in range(10):
        slots, allowed = slots_of(obs[b], 3), [np.flatnonzero(m) for m in mask[b].numpy()]
        every = np.stack(np.meshgrid(*allowed), -1).reshape(-1, 3).tolist()
        joint = np.logaddexp.reduce([total(plain, slots, a) for a in every]) - total(plain, slots, actions[b].tolist())
        assert penalty(plain, slots, mask[b].numpy(), actions[b].tolist()) == pytest.approx(joint)


def test_target_networks_follow_softly():
    learner, batch = learner_and_batch("rate", 2, target_rate=0.25)
    assert not any(p.requires_grad for p in learner.target_factors.parameters())
    before = [p.clone() for p in learner.target_factors.parameters()]
    learner.update(batch)
    pairs = zip(before, learner.factors.parameters(), learner.target_factors.parameters(), strict=True)
    for old, new, slow in pairs:
        torch.testing.assert_close(slow, 0.75 * old + 0.25 * new)
        assert not torch.equal(old, slow)


@pytest.mark.parametrize(
    ("make", "agent"),
    [(make_learner, AGENT), (GraphLearner, AGENT), (make_learner, AgentConfig()), (Learner, AgentConfig())],
)
def test_all_tensors_are_on_the_named_device(make, agent):
    for named, device in ({}, "cpu"), ({"device": "meta"}, "meta"):  # PyTorch's device without memory
        learner = make(agent, NETWORK, [0], **named)
        tensors = [*learner.parameters().values(), *(t for _, m in learner._modules() for t in m.state_dict().values())]
        assert {learner.device.type, *(tensor.device.type for tensor in tensors)} == {device}
    assert ("offset" in learner.parameters()) == (agent.paradigm == "graph")


@torch.no_grad()
def test_indices_are_made_where_the_values_are(monkeypatch):
    """PyTorch's device without memory takes indices of another one; a GPU does not."""
    factors, (obs, _, actions) = random_factors("rate").to("meta"), random_network(3, 3, 2, 5)
    devices = []

    def noted(*given):
        index = other_aps(*given)
        devices.append(index.device.type)
        return index

    monkeypatch.setattr(graph, "other_aps", noted)
    both = SlotReports.of(obs[None].to("meta")), actions[None].to("meta")
    found = [*conditional_values(factors, *both), joint_values(factors, *both)]
    assert {*devices, *(values.device.type for values in found)} == {"meta"} and len(devices) == 3


def test_the_scale_of_a_graph_is_one_for_all_slots_and_links():
    data = collect(make_scheduler("random_walk"), replace(SHORT, num_aps=3), 400)
    scale = make_scale(AGENT, data.obs, data.mask, data.rewards)
    slots = data.obs.numpy().astype(float).reshape(-1, 5)[data.mask[..., 1:].flatten().numpy()]
    four_nepers = 4 * 10 / np.log(10)  # of power, in dB
    mean, std = (
        [slots[:, 0].mean(), 0, slots[:, 2].mean(), 0],
        [slots[:, 0].std(), 1, slots[:, 2].std(), four_nepers],
    )
    for name, wanted in (("obs_mean", mean), ("obs_std", std)):
        got = scale.tensors[name].unflatten(0, (3, 5))
        np.testing.assert_allclose(got, np.tile([*wanted[:3], *[wanted[3]] * 2], (3, 1)), rtol=1e-4, atol=1e-5)
    assert float(scale.tensors["reward_mean"]) == pytest.approx(float(data.rewards.mean()), rel=1e-4)
    slots, filled = data.obs.double().unflatten(-1, (3, 5)), data.mask[..., 1:].unsqueeze(-1)
    of_each_slot = (slots * filled).sum((0, 1)) / filled.sum((0, 1))
    got = make_scale(AgentConfig(), data.obs, data.mask, data.rewards).tensors["obs_mean"].unflatten(0, (3, 5))
    np.testing.assert_allclose(got, of_each_slot, rtol=1e-4, atol=1e-4)


# ---- trainings ----


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors | b.tensors)
        assert all(np.array_equal(a.history[name], b.history[name]) for name in a.history | b.history)


@pytest.mark.parametrize("form", FORMS)
def test_aps_that_do_not_disturb_do_not_count(form):
    """q of a user is the same with many APs far below the noise, however many, and its own signal does count."""
    factors = random_factors(form, (0, 1)).float()
    own = torch.randn(2, 1, 3, generator=torch.Generator().manual_seed(3))
    alone = factors.values(own, torch.zeros(2, 1, 16))
    for num_aps, inr_db, near in ((63, -60.0, True), (1000, -90.0, True), (1, 1e4, False), (63, 10.0, False)):
        inr = torch.full((2, 1, num_aps), inr_db / (4 * 10 / np.log(10)))
        q = factors.values(own, factors.messages(inr).sum(-2))
        assert torch.isfinite(q).all()
        assert torch.allclose(q, alone, atol=1e-3) == near


@pytest.mark.parametrize("form", FORMS)
def test_seeds_together_are_the_seeds_alone(data, form):
    agent = replace(AGENT, factor=form, num_updates=20, gamma=0.5, hidden=(8,))
    together = train_offline(data, agent, [5, 2, 9], progress=False)
    for policy in together:
        (alone,) = train_offline(data, agent, [policy.seed], progress=False)
        for name, tensor in alone.tensors.items():
            torch.testing.assert_close(policy.tensors[name], tensor, rtol=1e-4, atol=1e-6)
    assert not torch.equal(together[0].tensors["edge.0"], together[1].tensors["edge.0"])


@pytest.mark.parametrize("stop_at", [3, 25])  # before the first saving, after two
def test_a_training_that_was_stopped_goes_on_with_the_same_bits(data, tmp_path, monkeypatch, stop_at):
    agent = replace(AGENT, num_updates=30, gamma=0.5, hidden=(8,))
    whole = train_offline(data, agent, [0, 1], progress=False)
    keep = {"checkpoint": tmp_path / "c", "checkpoint_every": 10, "progress": False}
    update, calls = GraphLearner.update, []

    def stopping(self, batch):
        calls.append(None)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return update(self, batch)

    monkeypatch.setattr(GraphLearner, "update", stopping)
    with pytest.raises(KeyboardInterrupt):
        train_offline(data, agent, [0, 1], **keep)
    assert_same(train_offline(data, agent, [0, 1], **keep), whole)
    assert len(calls) == stop_at + 30 - (stop_at - 1) // 10 * 10


def test_learning_beats_what_was_logged(policies):
    """From a random walk's log of 8,000 transitions: near the formula."""
    config = replace(NETWORK, episode_ttis=100)
    score = {
        name: evaluate(make_scheduler(name), config, 10).score
        for name in ("random_walk", "full_reuse", "graph_formula")
    }
    for policy in policies["rate"]:
        learned = evaluate(policy.deciding(lam=1.0), config, 10).score
        assert learned > 0.85 * score["graph_formula"] > 1.3 * max(score["random_walk"], score["full_reuse"])


# ---- policies ----


def in_doubles(policy):
    """The policy with float64 parameters, for comparisons without ties, and its q in plain NumPy."""
    policy = Policy(policy.config, policy.network, policy.tensors, policy.seed)
    actor = policy._actor
    actor.factors.double()
    actor.mean, actor.std = actor.mean.double(), actor.std.double()
    scale = {"mean": actor.mean.numpy(), "std": actor.std.numpy()}
    return policy, PlainFactors.of(actor.factors, **scale)


def real_states(network, envs, seed=0):
    env = RRMEnv(network, envs, seed)
    env.reset()
    for _ in range(5):
        env.step_users(env.slots[..., 0])
    return env.obs, env.action_mask


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "network", [NETWORK, LARGE, replace(NETWORK, num_aps=1, num_users=3), replace(NETWORK, top_n=1)]
)
@pytest.mark.parametrize("rounds", [0, 2])
def test_a_policy_decides_as_aps_that_know_what_they_received(policies, form, network, rounds):
    """On networks of any size, also APs without users; trained at 4 APs."""
    policy, plain = in_doubles(policies[form][0].deciding(rounds=rounds))
    obs, mask = real_states(network, 12)
    doubles = (obs.double().unsqueeze(0), mask.unsqueeze(0))
    got = policy._actor.act(*doubles)[0]
    for seen, allowed, actions in zip(obs, mask.numpy(), got.tolist(), strict=True):
        wanted, _ = decide_by_objects(plain, slots_of(seen, network.num_aps), allowed, rounds)
        assert actions == wanted
    assert (policies[form][0].deciding(rounds=rounds).act(obs, mask) == got).double().mean() > 0.99
    assert torch.equal(policy.act(obs[:0]), got[:0])


def test_every_size_is_played(policies):
    for network in (
        LARGE,
        replace(SHORT, num_aps=1, num_users=2, top_n=1),
        replace(SHORT, num_users=3, require_users=False),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a graph is meant to run there
            scores = evaluate(policies["rate"][0], network, 2)
        assert np.isfinite(scores.rates).all() and scores.rates.any()
    env = RRMEnv(replace(NETWORK, num_users=3, require_users=False), 20)
    env.reset()
    nobody = (env.slots == SILENT).all(-1)
    assert nobody.any() and not policies["free"][0].act(env.obs)[nobody].any()


@pytest.mark.parametrize("rounds", [0, 1, 2, -1])
@torch.no_grad()
def test_trained_decisions_are_mostly_the_best(policies, rounds, record_property):
    """Of all joint actions, at states of the game; the least shares are 0.03 below what was measured."""
    env = RRMEnv(NETWORK, 200)
    env.reset()
    for _ in range(20):
        env.step_users(make_scheduler("graph_formula").serve(env.view()))
    policy, mask = policies["rate"][0].deciding(lam=1.0, rounds=rounds), env.action_mask
    actor, every = policy._actor, joint_actions(env.view())
    slots = SlotReports.of(policy.scale.obs(env.obs).unsqueeze(0))
    values = torch.stack([joint_values(actor.factors, slots, a.expand(1, 200, -1)).sum(-1)[0] for a in every], -1)
    allowed = torch.stack([mask[:, torch.arange(4), a].all(-1) for a in every], -1)
    values = values.masked_fill(~allowed, -torch.inf)
    joint = (policy.act(env.obs, mask) * 4 ** torch.arange(3, -1, -1)).sum(-1, keepdim=True)
    reached, best = values.gather(1, joint).squeeze(1), values.amax(1)
    share, value = float((reached >= best - 1e-4).double().mean()), float(reached.sum() / best.sum())
    record_property("share of states decided best, value of the best", (share, value))
    assert share >= {0: 0.41, 1: 0.50, 2: 0.50, -1: 0.50}[rounds] and 0.9 < value <= 1


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_lambda_is_chosen_when_the_policy_runs(policies, lam, tmp_path):
    """q = w^lambda times what was learned: as an agent that had that lambda from the start, saved and loaded too."""
    policy, (obs, mask) = policies["rate"][0], real_states(NETWORK, 40)
    chosen = policy.deciding(lam=lam, rounds=1)
    own = Policy(replace(policy.config, lam=lam, rounds=1), policy.network, policy.tensors)
    loaded = Policy.load(chosen.save(tmp_path / "p"))
    assert (loaded.config.lam, loaded.config.rounds) == (lam, 1) and loaded.config == chosen.config
    doubles, plain = in_doubles(chosen)
    got = doubles._actor.act(obs.double().unsqueeze(0), mask.unsqueeze(0))[0].tolist()
    plain.lam = lam
    assert got == [decide_by_objects(plain, slots_of(o, 4), m.numpy(), 1)[0] for o, m in zip(obs, mask, strict=True)]
    for other in (own, loaded):
        assert torch.equal(other.act(obs, mask), chosen.act(obs, mask))
    if lam != NETWORK.lam:
        assert not torch.equal(chosen.act(obs, mask), policy.act(obs, mask))
    assert policy.deciding().config == policy.config and chosen.deciding(rounds=0).config.lam == lam


def test_stacked_policies_score_as_one_by_one(policies):
    reports = {"own_age_ttis": 1, "neighbour_age_ttis": 3}
    for form in FORMS:
        for network in (SHORT, LARGE):
            together = evaluate_seeds(policies[form], network, 3)
            for policy, scores in zip(policies[form], together, strict=True):
                np.testing.assert_allclose(evaluate(policy, network, 3).rates, scores.rates, rtol=1e-5)
        late = evaluate_seeds(policies[form], SHORT, 2, **reports)
        alone = evaluate(ImperfectReports(policies[form][1], **reports), SHORT, 2)
        np.testing.assert_allclose(alone.rates, late[1].rates, rtol=1e-5)


def test_a_policy_logs_what_it_does(policies):
    policy = policies["rate"][0].deciding(lam=0.3)
    log = collect(policy, SHORT, 80)
    assert not log.log_prob.any() and log.metadata["behaviour_parameters"]["agent"]["lam"] == 0.3
    assert torch.equal(policy.act(log.obs[log.rows], log.mask[log.rows]), log.actions)


# ---- the decision of one network in NumPy ----

NEAR_TIES = 10  # of 10,000 networks may be decided otherwise by another rounding; there was none where this was written


def random_obs(num, num_aps, top_n, seed=0):
    """Raw observations (num, I, N F) with empty slots, and in others some numbers that are 0."""
    obs, *_ = random_network(seed, num_aps, top_n, num)
    obs = 8 * obs.unflatten(-1, (top_n, -1)) + (obs.unflatten(-1, (top_n, -1)) != 0)
    obs[torch.rand(obs.shape, generator=torch.Generator().manual_seed(seed)) < 0.05] = 0
    return obs.flatten(-2).float()


@pytest.mark.parametrize("rounds", [0, 2, -1])
@pytest.mark.parametrize("form", FORMS)
def test_a_network_decides_in_numpy_as_the_policy_does(policies, data, form, rounds):
    policy = policies[form][1].deciding(rounds=rounds)
    local, obs = policy.local_network(), torch.cat([data.obs[:8_000], random_obs(2_000, 4, 3)])
    wanted, got = policy.act(obs).numpy(), np.stack([local(each) for each in obs.numpy()])
    assert got.dtype == np.int64 and int((got != wanted).any(1).sum()) <= NEAR_TIES
    assert len(np.unique(got, axis=0)) > 50


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 10), st.integers(1, 5), st.sampled_from(FORMS), st.integers(-1, 3))
def test_networks_of_any_size_decide_in_numpy(seed, num_aps, top_n, form, rounds):
    """Of random parameters, with one to three hidden layers."""
    policy = random_policy(form, seed, rounds=rounds, hidden=(12, 16, 14)[: 1 + seed % 3])
    obs, local = random_obs(20, num_aps, top_n, seed), policy.local_network()
    wanted, got = policy.act(obs), np.stack([local(each) for each in obs.numpy()])
    assert int((torch.from_numpy(got) != wanted).any(1).sum()) <= 1


@pytest.mark.parametrize("form", FORMS)
def test_an_ap_that_gains_nothing_is_silent(form):
    """Where q is 0 for all users."""
    policy, obs = random_policy(form, rounds=0), random_obs(20, 4, 3)
    assert policy.act(obs).any()
    worthless = Policy(policy.config, NETWORK, {k: t * ("factor" not in k) for k, t in policy.tensors.items()})
    local = worthless.local_network()
    assert not worthless.act(obs).any() and not any(local(each).any() for each in obs.numpy())


def random_policy(form, seed=0, **options):
    """A policy of random parameters that was trained nowhere."""
    agent = AgentConfig.graph(factor=form, **{"hidden": (16, 16), **options})
    factors, g = random_factors(form, (seed,), agent.hidden), torch.Generator().manual_seed(seed)
    tensors = {f"edge.{k}": p[0] for k, p in enumerate(factors.edge.layers)}
    tensors |= {f"factor.{k}": p[0] for k, p in enumerate(factors.factor.layers)}
    mean, std = 3 * torch.randn(6, generator=g), 8 * torch.rand(6, generator=g) + 4
    mean[1], std[1], mean[4:], std[4:] = 0, 10, mean[3], std[3]
    tensors |= {"obs_mean": mean.repeat(3), "obs_std": std.repeat(3)}
    tensors |= {"reward_mean": torch.zeros(()), "reward_std": torch.ones(())}
    return Policy(agent, NETWORK, {name: tensor.detach().float() for name, tensor in tensors.items()})


def test_observations_that_no_network_has(policies):
    local = policies["rate"][0].local_network()
    for wrong in (np.ones(18), np.ones((4, 17)), np.ones((0, 18)), np.ones((4, 0)), np.ones((1, 4, 18)), 3.0):
        with pytest.raises(ValueError, match=r"^obs: must be finite and of shape \(I, N \(I\+2\)\), got"):
            local(wrong)
    for wrong in (np.full((4, 18), np.nan), np.full((4, 18), np.inf)):
        with pytest.raises(ValueError, match="^obs: must be finite"):
            local(wrong)
    for wrong in ("all", None, [[1], [1, 2]], np.ones((4, 18), complex), np.ones((4, 18), bool)):
        with pytest.raises(ValueError, match=r"^obs: must be \(I, N \(I\+2\)\) real numbers, got"):
            local(wrong)
    assert local(np.zeros((4, 18))).tolist() == [0] * 4 and local(np.zeros((2, 4)).tolist()).tolist() == [0] * 2


# ---- the ONNX file ----


def run_file(folder, obs):
    return onnxruntime.InferenceSession(folder / "graph.onnx").run(["action"], {"obs": obs.numpy()})[0]


@pytest.mark.parametrize("rounds", [0, 2, -1])
@pytest.mark.parametrize("form", FORMS)
def test_the_onnx_file_decides_as_the_policy_does(policies, data, form, rounds, tmp_path):
    policy = policies[form][0].deciding(rounds=rounds)
    folder, obs = policy.export_onnx(tmp_path / "files"), torch.cat([data.obs[:8_000], random_obs(2_000, 4, 3)])
    got, wanted = run_file(folder, obs), policy.act(obs).numpy()
    assert got.dtype == np.int64 and int((got != wanted).any(1).sum()) <= NEAR_TIES
    assert len(np.unique(got, axis=0)) > 50
    for num in (0, 1, 2):
        np.testing.assert_array_equal(run_file(folder, obs[:num]), wanted[:num])
    assert not run_file(folder, torch.zeros(1, 4, 18)).any()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 4), st.sampled_from(FORMS), st.integers(-1, 2))
def test_onnx_files_for_networks_of_any_size(seed, num_aps, top_n, form, rounds):
    policy = random_policy(form, seed, rounds=rounds, hidden=(16, 12, 14)[: 1 + seed % 3])
    obs, network = random_obs(50, num_aps, top_n, seed), replace(NETWORK, num_aps=num_aps, top_n=top_n, num_users=20)
    with tempfile.TemporaryDirectory() as folder:
        got = run_file(policy.export_onnx(f"{folder}/files", network), obs)
    assert int((torch.from_numpy(got) != policy.act(obs)).any(1).sum()) <= 1


def test_what_is_in_the_folder_of_a_graph(policies, tmp_path):
    policy = policies["rate"][0]
    folder = verify(policy.export_onnx(tmp_path / "files"), "interface.json")
    assert sorted(file.name for file in folder.iterdir()) == ["SHA256SUMS", "graph.onnx", "interface.json"]
    about = json.loads((folder / "interface.json").read_text())
    assert (
        about["policy"] == "G-MARL-CQL" and about["files"] == ["graph.onnx"] and about["obs"]["shape"] == ["B", 4, 18]
    )
    assert AgentConfig.from_dict(about["agent"]) == policy.config and about["action"]["shape"] == ["B", 4]
    assert about["obs"]["last axis"][3:7] == [
        *(f"slot 1: INR, dB, other AP {k}" for k in (1, 2, 3)),
        "slot 2: SINR, dB",
    ]
    onnx.checker.check_model(onnx.load(folder / "graph.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(folder / "graph.onnx")
    (obs,), (action,) = session.get_inputs(), session.get_outputs()
    assert (obs.name, obs.type, obs.shape) == ("obs", "tensor(float)", ["B", 4, 18])
    assert (action.name, action.type, action.shape) == ("action", "tensor(int64)", ["B", 4])
    again = Policy.load(policy.save(tmp_path / "saved")).export_onnx(tmp_path / "again")
    assert (again / "SHA256SUMS").read_text() == (folder / "SHA256SUMS").read_text()
    with pytest.raises(ValueError, match="observation = local instead of neighbours"):
        policy.export_onnx(tmp_path / "more", replace(NETWORK, observation="local"))
    policy = Policy(policy.config, policy.network, policy.tensors | {"edge.0": policy.tensors["edge.0"] * torch.nan})
    with pytest.raises(ValueError, match="tensor edge.0 holds NaN"):
        policy.export_onnx(tmp_path / "more")
    assert not (tmp_path / "more").exists()


# ---- what is refused ----


def test_where_a_graph_cannot_run(policies):
    policy = policies["rate"][0]
    with pytest.raises(ValueError, match="trained for another network: observation = local instead of neighbours"):
        policy.check_fits(replace(NETWORK, observation="local"))
    with pytest.raises(ValueError, match="num_aps = 9 instead of 4"):
        policy.check_fits(replace(NETWORK, num_aps=9), strict=True)
    with pytest.warns(UserWarning, match="trained for another network: speed_mps = 30.0 instead of 1.0$"):
        policy.check_fits(replace(NETWORK, speed_mps=30.0, num_aps=9, num_users=60, top_n=2, area_m=900.0))
    for shape in ((5, 4, 17), (5, 4, 0), (4, 5), (0, 18), (18,), ()):
        with pytest.raises(ValueError, match="^obs of shape"):
            policy.act(torch.ones(shape))
    with pytest.raises(ValueError, match="^action_mask of shape"):
        policy.act(torch.ones(2, 9, 22), torch.ones(2, 9, 4).bool())


def test_methods_that_only_heads_have(policies, tmp_path):
    policy, obs = policies["rate"][0], torch.ones(2, 4, 18)
    for name, call in (
        ("q_values", lambda: policy.q_values(obs)),
        ("local", lambda: policy.local(0)),
    ):
        with pytest.raises(ValueError, match=f"^paradigm = 'graph': has no {name}, its APs decide by messages; take"):
            call()
    with pytest.raises(ValueError, match="a greedy policy has no distribution"):
        policy.sampled()
    with pytest.raises(ValueError, match="paradigm = 'graph': is trained from logs, by train_offline"):
        train_online(NETWORK, replace(AGENT, alpha=0.0), [0], 100, 4, progress=False)


def test_agents_and_networks_that_do_not_fit(data):
    for options, message in (
        ({"backbone": "sac"}, "paradigm = 'graph': has values and no actor; take AgentConfig.graph"),
        ({"td_loss": "none"}, "paradigm = 'graph': has values and no actor"),
        ({"mixer": "qmix"}, "mixer = 'qmix': paradigm = 'graph' takes no mixer"),
        ({"factor": "other"}, "factor = 'other': must be one of rate, free"),
        ({"factor": "free", "lam": 0.5}, "lam = 0.5: a free factor has learned its lambda"),
        ({"lam": 1.5}, "lam = 1.5: must lie in"),
        ({"rounds": -2}, "rounds = -2: must lie in"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            AgentConfig.graph(**options)
    for options in ({"factor": "free"}, {"rounds": 1}, {"lam": 0.5}):
        with pytest.raises(ValueError, match=f"^{next(iter(options))} = .*: is for paradigm = 'graph' alone"):
            AgentConfig(**options)
    local = collect(make_scheduler("random_walk"), replace(SHORT, observation="local"), 40)
    with pytest.raises(ValueError, match="observation = 'local': paradigm = 'graph' needs NetworkConfig"):
        train_offline(local, AGENT, [0], progress=False)
    one = collect(make_scheduler("random_walk"), replace(SHORT, num_aps=1), 40)
    with pytest.raises(ValueError, match="num_aps = 1: must be at least 2 to learn from"):
        train_offline(one, AGENT, [0], progress=False)
    (heads,) = train_offline(data, AgentConfig(hidden=(4,), num_updates=1), [0], progress=False)
    with pytest.raises(ValueError, match="^paradigm = 'ctde': has no local_network, a graph has; take `act`"):
        heads.local_network()
    for options in ({"lam": 0.5}, {"rounds": 2}, {"rounds": 1}):
        with pytest.raises(ValueError, match="^paradigm = 'ctde': lam and rounds are for paradigm = 'graph' alone"):
            heads.deciding(**options)
    assert type(make_learner(AgentConfig(), NETWORK, [0])) is Learner


def test_a_free_factor_takes_no_lambda_when_it_runs(policies):
    with pytest.raises(ValueError, match="^lam = 0.5: a free factor has learned its lambda; leave lam out"):
        policies["free"][0].deciding(lam=0.5)
    assert policies["free"][0].deciding(rounds=0).config.rounds == 0
    assert policies["free"][0].name == "G-MARL-CQL (FREE)" and policies["rate"][0].name == "G-MARL-CQL"
