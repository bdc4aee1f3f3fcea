"""Schedulers against plain loops over the reference game, what each may look at, and their random streams.

Shapes: E environments, I APs, J users, N top users, A actions of an AP. States are random, in float64.
"""

import copy
import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_game import SILENT, ReferenceGame
from scipy import stats

from rrmlab.config import NetworkConfig
from rrmlab.game import evaluation
from rrmlab.game.deployment import Deployment
from rrmlab.game.env import CellView, CrossGainView, NetworkView, ObservationView, ReportView, RRMEnv
from rrmlab.game.evaluation import evaluate, run_episode
from rrmlab.game.link_schedulers import BestSubset, GreedyMarginal, joint_actions, joint_rewards
from rrmlab.game.schedulers import (
    SCHEDULERS,
    TDM,
    Exhaustive,
    FullReuse,
    ITLinQ,
    MaxSINR,
    MessageRule,
    Mixture,
    RandomWalk,
    Threshold,
    make_scheduler,
)
from rrmlab.random_streams import BLOCK_TTIS, PolicyStream, sample

NETWORKS = {
    "default": NetworkConfig(warmup_ttis=20, episode_ttis=30),
    "empty slots": NetworkConfig(num_aps=4, num_users=5, top_n=3, require_users=False, warmup_ttis=5, episode_ttis=30),
    "dense": NetworkConfig(num_aps=6, num_users=20, top_n=2, area_m=250.0, warmup_ttis=10, episode_ttis=30),
    "one AP": NetworkConfig(num_aps=1, num_users=3, top_n=2, warmup_ttis=0, episode_ttis=30),
}
networks = pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS.keys())


# --- random states, and the plain loops ---------------------------------------------------------------------


def random_state(config, deployment, seed, played=3):
    """An environment in a random state: played a little, then given other averages and last transmitters."""
    rng = np.random.default_rng(seed)
    env = RRMEnv(config, len(deployment), dtype=torch.float64)
    env.reset(deployment)
    for _ in range(played):
        env.step_users(env.view().slots[..., 0])
    averages = torch.from_numpy(10 ** rng.uniform(-3, 1, (1, config.num_users))).expand(len(deployment), -1)
    transmitting = torch.from_numpy(rng.random((1, config.num_aps)) < 0.6).expand(len(deployment), -1)
    env.set_state(averages, transmitting)
    return env


def random_states(config, num=12, seed=0):
    """One environment of `num` networks, and the same states as reference games."""
    env = random_state(config, Deployment.draw(config, num, seed), seed)
    return env, [reference(env, e) for e in range(num)]


def reference(env, e=0):
    """The reference game in the state of the e-th environment."""
    game = ReferenceGame.of(env.config, env.deployment, e)
    game.serving = np.argmin(game.large_scale_db(0), axis=0)
    game.averages, game.transmitting = env.averages[e].numpy(), env.transmitting[e].numpy()
    game.t, game.ttis = env.config.warmup_ttis + env.ttis, env.ttis
    game.observe()
    return game


def pf_factor(game, j):
    return game.weights[j] * math.log2(1 + game.sinr[j])


def best_of(game, value):
    """Each AP's user of the greatest value(j), the first of equals."""
    served = []
    for i in range(game.num_aps):
        best = SILENT
        for j in game.users_of(i):
            if best == SILENT or value(j) > value(best):
                best = j
        served.append(best)
    return served


def max_pf(game):
    return best_of(game, lambda j: pf_factor(game, j))


def max_sinr(game):
    return best_of(game, lambda j: game.sinr[j])


def tdm(game):
    turn = game.ttis % game.num_users
    return [turn if game.serving[turn] == i else SILENT for i in range(game.num_aps)]


def itlinq(game, m_db, eta):
    """Sort the chosen links by PF factor; admit the first, and the next iff both interferences are small."""
    snr = game.link_snr(game.t)
    links = [(i, j) for i, j in enumerate(max_pf(game)) if j != SILENT]
    links.sort(key=lambda link: pf_factor(game, link[1]), reverse=True)
    admitted = []
    for i, j in links:
        worst = 0.0
        for other_ap, other_user in admitted:
            worst = max(worst, snr[other_ap, j], snr[i, other_user])
        if not admitted or worst <= 10 ** (m_db / 10) * snr[i, j] ** eta:
            admitted.append((i, j))
    return [dict(admitted).get(i, SILENT) for i in range(game.num_aps)]


def reward_of(game, actions):
    """Reward of one TTI of a joint action, None if it uses an empty slot; the game itself does not move."""
    if not all(game.mask[i, a] for i, a in enumerate(actions)):
        return None
    return copy.copy(game).step(actions)[1]


def all_joint_actions(config):
    return list(itertools.product(range(config.top_n + 1), repeat=config.num_aps))


# --- each scheduler against its loop ------------------------------------------------------------------------


@networks
@pytest.mark.parametrize(("cls", "naive"), [(FullReuse, max_pf), (MaxSINR, max_sinr), (TDM, tdm)])
def test_simple_schedulers_follow_their_definition(config, cls, naive):
    for seed in range(3):
        env, games = random_states(config, seed=seed)
        served = cls().serve(env.view(cls.knowledge))
        assert served.dtype == torch.int64
        assert served.tolist() == [[int(j) for j in naive(game)] for game in games]


@networks
@pytest.mark.parametrize(("m_db", "eta"), [(25, 0.7), (0, 0.5), (10, 0.5), (5, 0.3), (-20, 0.0), (3, 1.0)])
def test_itlinq_follows_its_definition(config, m_db, eta):
    for seed in range(3):
        env, games = random_states(config, seed=seed)
        served = ITLinQ(m_db, eta).serve(env.view(CrossGainView))
        assert served.tolist() == [[int(j) for j in itlinq(game, m_db, eta)] for game in games]


def test_the_itlinq_states_are_not_trivial():
    """The theoretical condition mutes many APs, the paper's baseline hardly any."""
    view = random_states(NETWORKS["default"], num=60)[0].view(CrossGainView)
    assert (ITLinQ(25, 0.7).serve(view) == SILENT).double().mean() < 0.05
    assert 0.2 < (ITLinQ(0, 0.5).serve(view) == SILENT).double().mean() < 0.75


def test_tdm_serves_every_user_exactly_once_in_a_round():
    config = NetworkConfig(warmup_ttis=10, episode_ttis=48)
    env = RRMEnv(config, 3)
    served = torch.stack([users for _, users, _, _ in run_episode(TDM(), env)])  # (T, E, I)
    assert ((served != SILENT).sum(-1) == 1).all(), "one AP is on at a time"
    for e in range(3):
        for first in (0, 24):
            users = served[first : first + 24, e]
            assert sorted(users[users != SILENT].tolist()) == list(range(24))


@networks
@pytest.mark.parametrize("lam", [0.0, 0.8, 1.0])
def test_exhaustive_is_the_best_of_all_joint_actions(config, lam):
    config = dataclasses.replace(config, lam=lam)
    env, games = random_states(config, num=2, seed=5)
    view = env.view(CrossGainView)
    served, rewards = Exhaustive(lam).serve(view), joint_rewards(view, lam)
    assert joint_actions(view).tolist() == [list(a) for a in all_joint_actions(config)]
    for e, game in enumerate(games):
        tried = [reward_of(game, actions) for actions in all_joint_actions(config)]
        for value, expected in zip(rewards[e].tolist(), tried, strict=True):
            assert value == -math.inf if expected is None else value == pytest.approx(expected, rel=1e-9, abs=1e-9)
        best = max(value for value in tried if value is not None)
        assert copy.copy(game).play(served[e].tolist())[0] == pytest.approx(best, rel=1e-9)


@networks
def test_joint_rewards_are_what_the_environment_pays(config):
    deployment = Deployment.draw(config, 1, seed=8)
    rewards = joint_rewards(random_state(config, deployment, 8).view(CrossGainView), config.lam)[0]
    every = torch.tensor(all_joint_actions(config))
    env = random_state(config, deployment.repeat(len(every)), 8)  # one copy of the state for each joint action
    allowed = env.action_mask.gather(-1, every.unsqueeze(-1)).all(1).squeeze(-1)
    assert torch.equal(rewards == -math.inf, ~allowed)
    _, paid, _, _, _ = env.step(every * allowed.unsqueeze(-1))
    torch.testing.assert_close(rewards[allowed], paid[allowed], rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    aps=st.integers(1, 4),
    users=st.integers(1, 12),
    top_n=st.integers(1, 3),
    lam=st.floats(0, 1),
    area_m=st.floats(150, 900),
    m_db=st.floats(-20, 30),
    eta=st.floats(0, 1),
    seed=st.integers(0, 10**6),
)
def test_no_slot_bound_scheduler_earns_more_in_a_tti_than_exhaustive(aps, users, top_n, lam, area_m, m_db, eta, seed):
    config = NetworkConfig(
        num_aps=aps, num_users=users, top_n=min(top_n, users), lam=lam, area_m=area_m, require_users=False,
        warmup_ttis=4, episode_ttis=9, num_sinusoids=4,
    )  # fmt: skip
    others = [
        FullReuse(),
        ITLinQ(m_db, eta),
        RandomWalk(seed),
        Mixture([FullReuse(), RandomWalk(seed)], seed=seed),
    ]
    deployment = Deployment.draw(config, 1, seed)
    env = random_state(config, deployment.repeat(1 + len(others)), seed)
    rows = []
    for row, scheduler in enumerate([Exhaustive(lam), *others]):
        scheduler.begin(env.deployment.key)
        rows.append(scheduler.serve(env.view(scheduler.knowledge))[row])
    _, reward, _, _, _ = env.step_users(torch.stack(rows))
    assert (reward[0] >= reward[1:] - 1e-9 * reward[0].abs()).all()


# --- random behaviour ---------------------------------------------------------------------------------------


def keys(num, seed=0):
    return torch.tensor([(0, seed, index) for index in range(num)])


def same_view(kind, config, num, seed=0):
    """One random state `num` times."""
    return random_state(config, Deployment.draw(config, 1, seed).repeat(num), seed).view(kind)


def joint_index(view, actions):
    """Place of joint actions (E, I) in the order of `joint_actions`."""
    a = view.action_mask.shape[-1]
    return (actions * a ** torch.arange(actions.shape[1] - 1, -1, -1)).sum(-1)


def test_random_walk_is_uniform_over_the_allowed_joint_actions():
    config = NETWORKS["empty slots"]
    view = same_view(ObservationView, config, 50)
    allowed = view.action_mask[0].sum(-1)
    assert 1 < allowed.prod() < 4**4, "a state in which something is masked"
    walk = RandomWalk(seed=3)
    walk.begin(keys(50))
    actions = torch.cat([view.actions(walk.serve(view)) for _ in range(200)])
    counts = torch.bincount(joint_index(view, actions), minlength=4**4)
    possible = view.action_mask[0][torch.arange(4), joint_actions(view)].all(-1)
    assert counts[~possible].sum() == 0
    assert stats.chisquare(counts[possible].numpy()).pvalue > 0.01
    log_prob = walk.log_prob(view, actions[:50])
    torch.testing.assert_close(log_prob, torch.full((50,), -math.log(int(allowed.prod())), dtype=torch.float64))


def test_mixture_log_prob_by_enumeration():
    config = NETWORKS["default"]
    members = [RandomWalk(5), FullReuse(), ITLinQ(0, 0.5)]
    mixture = Mixture(members, [2, 1, 1])
    env, games = random_states(config, num=6)
    view = env.view(CrossGainView)
    for e, game in enumerate(games):
        one = CrossGainView(*(field[[e] * 4**4] for field in vars(view).values()))
        every = joint_actions(one)
        users = [[int(game.slots[i, a - 1]) if a else SILENT for i, a in enumerate(row)] for row in every.tolist()]
        possible = [all(game.mask[i, a] for i, a in enumerate(row)) for row in every.tolist()]
        uniform = 1 / game.mask.sum(1).prod()
        reuse, linq = ([int(j) for j in served] for served in (max_pf(game), itlinq(game, 0, 0.5)))
        expected = [0.5 * uniform + 0.25 * (row == reuse) + 0.25 * (row == linq) for row in users]
        got = mixture.log_prob(one, every).exp()[torch.tensor(possible)]
        np.testing.assert_allclose(got, np.array(expected)[possible], rtol=1e-12)
        assert float(got.sum()) == pytest.approx(1, abs=1e-12)


def test_mixture_acts_as_its_log_prob_says():
    config = NetworkConfig(num_aps=2, num_users=8, top_n=2, warmup_ttis=10, episode_ttis=30)
    view = same_view(CrossGainView, config, 50, seed=2)
    mixture = Mixture([RandomWalk(), FullReuse(), ITLinQ(-100, 0)], [0.5, 0.2, 0.3], seed=4)
    mixture.begin(keys(50))
    actions = torch.cat([view.actions(mixture.serve(view)) for _ in range(200)])
    counts = torch.bincount(joint_index(view, actions), minlength=9).numpy()
    first = CrossGainView(*(field[:9] for field in vars(view).values()))
    expected = mixture.log_prob(first, joint_actions(view)).exp().numpy()
    assert view.action_mask.all()
    assert len(np.unique(expected.round(9))) == 3, "the members differ in this state"
    assert stats.chisquare(counts, expected * counts.sum()).pvalue > 0.01


def test_the_choice_of_a_mixture_says_nothing_about_what_its_member_draws():
    view = same_view(CrossGainView, NETWORKS["one AP"], 50)
    mixture = Mixture([RandomWalk(seed=1), FullReuse()], seed=0)
    mixture.begin(keys(50))
    actions = torch.cat([view.actions(mixture.serve(view)) for _ in range(100)])
    counts = torch.bincount(actions[:, 0], minlength=3).numpy()
    assert stats.chisquare(counts, len(actions) * np.array([1, 4, 1]) / 6).pvalue > 0.01


def test_log_prob_of_deterministic_schedulers():
    env, _ = random_states(NETWORKS["default"])
    view = env.view(CrossGainView)
    for scheduler in (FullReuse(), ITLinQ(0, 0.5)):
        actions = view.actions(scheduler.serve(view))
        assert scheduler.log_prob(view, actions).tolist() == [0.0] * 12
        assert scheduler.log_prob(view, (actions + 1) % 2).tolist() == [-math.inf] * 12


def some_mixture():
    return Mixture([RandomWalk(), FullReuse(), ITLinQ(0, 0.5)])


@pytest.mark.parametrize("make", [RandomWalk, some_mixture])
def test_a_deployment_is_played_the_same_alone_and_in_a_batch(make):
    config = NETWORKS["default"]
    deployment = Deployment.draw(config, 4, seed=1)

    def played(part):
        return torch.stack([users for _, users, _, _ in run_episode(make(), RRMEnv(config, len(part)), part)], 1)

    together = played(deployment)
    assert together.shape == (4, 30, 4)
    for e in (0, 3):
        assert torch.equal(played(deployment[e])[0], together[e])
    assert not torch.equal(together[0], together[1])


def test_the_policy_stream_is_keyed_by_policy_seed_and_deployment():
    def drawn(key, seed, **purpose):
        stream = PolicyStream(key, seed, width=2, **purpose)
        return torch.stack([stream.next() for _ in range(BLOCK_TTIS + 40)], 1)  # (E, T, width), two blocks

    batch = drawn(keys(3), seed=0)
    assert torch.equal(batch[1], drawn(keys(3)[1:2], seed=0)[0])
    others = [
        drawn(keys(3), seed=1),
        drawn(keys(3), seed=0, purpose=1),
        drawn(keys(3, seed=1), seed=0),
        drawn(keys(3) + torch.tensor([1, 0, 0]), seed=0),
    ]
    assert len(torch.unique(torch.stack([batch, *others]))) == 5 * batch.numel(), "all numbers differ"
    assert ((batch >= 0) & (batch < 1)).all()


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    st.lists(st.sampled_from([0.0, 1e-9, 0.1, 0.25, 1.0]), min_size=1, max_size=6).filter(sum),
    st.one_of(st.just(0.0), st.just(1 - 2.0**-53), st.floats(0, 1, exclude_max=True)),
)
def test_sample_inverts_the_distribution_and_never_takes_what_has_no_probability(weights, uniform):
    index = int(sample(torch.tensor(weights), torch.tensor(uniform, dtype=torch.float64)))
    assert weights[index] > 0
    total, edges = sum(weights), np.cumsum(weights)
    assert edges[index] >= uniform * total * (1 - 1e-6)
    assert index == 0 or edges[index - 1] <= uniform * total * (1 + 1e-6)


@pytest.mark.parametrize("name", [*SCHEDULERS, "mixture"])
def test_the_first_episodes_do_not_depend_on_how_many_are_scored(name, monkeypatch):
    """Common random numbers: of the channels and of the schedulers' own draws."""
    config = dataclasses.replace(NETWORKS["default"], observation="neighbours")  # which the formula needs

    def scored(num):
        behaviour = some_mixture() if name == "mixture" else make_scheduler(name)
        return evaluate(behaviour, config, num, seed=2)

    six, three = scored(6), scored(3)
    np.testing.assert_array_equal(three.rates, six.rates[:3])
    np.testing.assert_array_equal(three.rewards, six.rewards[:3])
    monkeypatch.setattr(evaluation, "EVALUATION_ENVS", 4)  # and not on how many run at once
    np.testing.assert_array_equal(scored(6).rates, six.rates)


# --- what a scheduler may look at ---------------------------------------------------------------------------

KNOWLEDGE = {
    RandomWalk: ObservationView,
    FullReuse: ObservationView,
    MaxSINR: CellView,
    Threshold: ObservationView,
    MessageRule: ObservationView,
    ITLinQ: CrossGainView,
    GreedyMarginal: CrossGainView,
    BestSubset: CrossGainView,
    Mixture: CrossGainView,
    Exhaustive: CrossGainView,
    TDM: NetworkView,
}
FIELDS = {
    ObservationView: {"obs", "action_mask", "slots"},
    CellView: {"obs", "action_mask", "slots", "sinr", "weight"},
    CrossGainView: {"obs", "action_mask", "slots", "gain", "sinr", "weight"},
    ReportView: {"obs", "action_mask", "slots", "sinr", "weight", "gain", "observation"},
    NetworkView: {"obs", "action_mask", "slots", "sinr", "weight", "serving", "snr", "ttis"},
}


def test_each_scheduler_states_what_it_knows():
    assert {cls: cls.knowledge for cls in KNOWLEDGE} == KNOWLEDGE
    assert set(SCHEDULERS.values()) == set(KNOWLEDGE) - {Mixture}


@pytest.mark.parametrize("kind", FIELDS)
def test_a_view_is_of_exactly_its_type_and_holds_nothing_else(kind):
    env, games = random_states(NETWORKS["empty slots"])
    view = env.view(kind)
    assert type(view) is kind
    assert set(vars(view)) == {f.name for f in dataclasses.fields(kind)} == FIELDS[kind]
    for e, game in enumerate(games):
        np.testing.assert_array_equal(view.slots[e], game.slots)
        np.testing.assert_array_equal(view.action_mask[e], game.mask)
        np.testing.assert_allclose(view.obs[e], game.observe(), rtol=1e-9, atol=1e-9)


def test_the_views_hold_what_they_say():
    env, games = random_states(NETWORKS["empty slots"])
    cell, cross, network = env.view(CellView), env.view(CrossGainView), env.view(NetworkView)
    for e, game in enumerate(games):
        snr = game.link_snr(game.t)
        own = np.arange(game.num_aps)[:, None] == game.serving  # (I, J)
        np.testing.assert_allclose(cell.sinr[e], own * game.sinr, rtol=1e-9)
        np.testing.assert_allclose(cell.weight[e], own * game.weights, rtol=1e-9)
        filled = game.slots != SILENT
        np.testing.assert_allclose(cross.gain[e], snr[:, game.slots] * filled, rtol=1e-9)
        np.testing.assert_allclose(cross.weight[e], game.weights[game.slots] * filled, rtol=1e-9)
        np.testing.assert_allclose(network.snr[e], snr, rtol=1e-9)
        np.testing.assert_array_equal(network.serving[e], game.serving)
    assert network.ttis == env.ttis == 3


@pytest.mark.parametrize("cls", [c for c in KNOWLEDGE if c is not Mixture])
def test_a_scheduler_gets_its_view_and_lives_on_it(cls, monkeypatch):
    """It is handed its own view and needs nothing but its fields, and the next poorer view is too little."""
    seen, serve = set(), cls.serve
    monkeypatch.setattr(cls, "serve", lambda self, view: seen.add(type(view)) or serve(self, view))
    config = dataclasses.replace(NETWORKS["default"], observation="neighbours")
    evaluate(cls(), config, 1)
    assert seen == {KNOWLEDGE[cls]}

    env, _ = random_states(config)
    scheduler = cls()
    scheduler.begin(env.deployment.key)
    view = env.view(cls.knowledge)
    served = scheduler.serve(view)
    scheduler.begin(env.deployment.key)
    copied = cls.knowledge(**{name: copy.deepcopy(getattr(view, name)) for name in FIELDS[cls.knowledge]})
    assert torch.equal(scheduler.serve(copied), served)
    if cls.knowledge is not ObservationView:
        poorer = CrossGainView if cls.knowledge is NetworkView else ObservationView
        with pytest.raises(AttributeError):
            scheduler.serve(env.view(poorer))


def test_a_member_of_a_mixture_sees_no_more_than_alone():
    class Nosy(FullReuse):
        def serve(self, view):
            assert type(view) is ObservationView
            return super().serve(view)

    env, _ = random_states(NETWORKS["default"])
    mixture = Mixture([Nosy()])
    mixture.begin(env.deployment.key)
    view = env.view(CrossGainView)
    mixture.log_prob(view, view.actions(mixture.serve(view)))


def test_an_unknown_view_is_refused():
    env, _ = random_states(NETWORKS["one AP"], num=1)
    with pytest.raises(ValueError, match="NetworkView"):
        env.view(dict)


# --- errors -------------------------------------------------------------------------------------------------


def test_make_scheduler():
    assert {name: type(make_scheduler(name)) for name in SCHEDULERS} == SCHEDULERS
    tuned = make_scheduler("itlinq", m_db=5, eta=0.3)
    assert (tuned.m_db, tuned.eta) == (5.0, 0.3)
    with pytest.raises(ValueError, match="'round_robin': must be one of random_walk, tdm, full_reuse"):
        make_scheduler("round_robin")
    with pytest.raises(TypeError, match="margin"):
        make_scheduler("itlinq", margin=5)


def test_bad_arguments_of_schedulers():
    for arguments in ({"m_db": math.nan}, {"m_db": math.inf}, {"eta": math.nan}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            ITLinQ(**arguments)
    for members, proportions in [([], None), ([FullReuse()], [1, 1]), ([FullReuse(), RandomWalk()], [1, 0])]:
        with pytest.raises(ValueError, match="proportions"):
            Mixture(members, proportions)
    for outside in (TDM(), MaxSINR()):
        with pytest.raises(ValueError, match=outside.name):
            Mixture([FullReuse(), outside])


def test_too_many_joint_actions_are_refused():
    config = NetworkConfig(num_aps=9, num_users=30, top_n=3, require_users=False, warmup_ttis=0, episode_ttis=2)
    env = RRMEnv(config)
    env.reset()
    with pytest.raises(ValueError, match=r"4\^9 joint actions"):
        Exhaustive().serve(env.view(CrossGainView))


def test_a_user_outside_the_slots_has_no_action():
    env, _ = random_states(NETWORKS["default"])
    view = env.view()
    assert torch.equal(view.actions(view.slots[..., 2]), torch.where(view.slots[..., 2] == SILENT, 0, 3))
    with pytest.raises(ValueError, match="outside its top 3"):
        view.actions(torch.full((12, 4), 99))
