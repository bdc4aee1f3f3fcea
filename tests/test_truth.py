"""Independent truth: random networks against the plain NumPy game, and the oracle against everything else.

Shapes: E environments, I APs, J users, N top users, X joint actions. Everything in float64.
"""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_game import SILENT, ReferenceGame
from soak import cases

from rrmlab.config import NetworkConfig
from rrmlab.game.deployment import Deployment
from rrmlab.game.draws import DeploymentError
from rrmlab.game.env import RRMEnv
from rrmlab.game.schedulers import SCHEDULERS, Exhaustive, Mixture, make_scheduler

EXACT = {"rtol": 1e-9, "atol": 1e-9}
RETURNED = ("reward", "terminated", "truncated", "rates")
JOINT_ACTIONS = 256  # enumerated at most
seeds = st.integers(0, 2**31 - 1)


def many(short, full):
    """So many examples, the same in every run of the short version."""
    return settings(deadline=None, max_examples=cases(short, full), derandomize=True)


# --- the package against the plain game ---------------------------------------------------------------------


@st.composite
def networks(draw, max_aps=6, max_users=16, num_aps=None):
    """Any network that one may ask for, small enough for loops; every number of the config is drawn."""
    num_aps = num_aps or draw(st.integers(1, max_aps))
    num_users = draw(st.integers(1, max_users))
    return NetworkConfig(
        num_aps=num_aps,
        num_users=num_users,
        top_n=draw(st.integers(1, min(5, num_users))),
        area_m=draw(st.floats(150, 3000)),
        min_ap_ap_m=draw(st.floats(0, 40)),
        min_ap_user_m=draw(st.floats(0.5, 20)),
        require_users=num_users >= 4 * num_aps and draw(st.booleans()),
        shadowing_db=draw(st.floats(0, 20)),
        carrier_hz=draw(st.floats(1e8, 3e10)),
        speed_mps=draw(st.sampled_from([0.0, 1.0, 30.0]) | st.floats(0, 100)),
        tti_s=draw(st.floats(1e-4, 1e-2)),
        num_sinusoids=draw(st.integers(1, 20)),
        tx_power_dbm=draw(st.floats(-50, 60)),
        bandwidth_hz=draw(st.floats(1e4, 1e9)),
        noise_psd_dbm_hz=draw(st.floats(-200, -140)),
        cross_gain_db=draw(st.sampled_from([0.0, -20.0, 20.0])),
        episode_ttis=draw(st.integers(1, 30)),
        warmup_ttis=draw(st.integers(0, 30)),
        averaging=draw(st.sampled_from([0.01, 1.0]) | st.floats(1e-3, 1)),
        average_floor=draw(st.floats(1e-3, 1)),
        lam=draw(st.sampled_from([0.0, 0.8, 1.0]) | st.floats(0, 1)),
    )


def deployments(config, num, seed):
    """Drawn deployments; where so few users will not give every AP one, with empty APs."""
    try:
        return config, Deployment.draw(config, num, seed)
    except DeploymentError:
        config = NetworkConfig.from_dict({**config.to_dict(), "require_users": False})
        return config, Deployment.draw(config, num, seed)


def observed(game, slots, when):
    """The observation (I, 2N) of the reference with the package's `slots` (I, N), which must be sorted by PF factor.

    Where factors are equal but for rounding, and without fading they often are (all users start with the factor J/I),
    the order is rounding's.
    """
    factor = game.weights * np.log2(1 + game.sinr)
    seen = np.zeros((game.num_aps, 2 * game.c["top_n"]))
    for i, row in enumerate(slots):
        own = game.users_of(i)
        users = [int(j) for j in row if j != SILENT]
        assert len(set(users)) == len(users) == min(len(own), len(row)) and set(users) <= set(own), when
        ranked = [*users, *(j for j in own if j not in users)]
        for k, j in enumerate(users):
            assert factor[j] >= max(factor[ranked[k:]]) * (1 - 1e-9), f"slot {k + 1} of AP {i}, {when}"
            seen[i, 2 * k : 2 * k + 2] = 10 * np.log10(game.sinr[j]), np.log(game.weights[j])
    game.slots = np.array(slots)
    return seen


def assert_same_state(env, games, when):
    """The state of the coming decision and what is seen of it; `games` take over the order of equal users."""
    seen = [observed(game, slots.numpy(), when) for game, slots in zip(games, env.slots, strict=True)]
    np.testing.assert_allclose(env.obs.numpy(), seen, **EXACT, err_msg=f"observation, {when}")
    for name in ("serving", "slots", "mask", "transmitting"):
        got = getattr(env, "action_mask" if name == "mask" else name)
        np.testing.assert_array_equal(got.numpy(), [getattr(g, name) for g in games], f"{name}, {when}")
    for name in ("sinr", "weights", "averages"):
        np.testing.assert_allclose(
            getattr(env, name).numpy(), [getattr(g, name) for g in games], **EXACT, err_msg=f"{name}, {when}"
        )


@many(10, 100)
@given(config=networks(), seed=seeds)
def test_any_network_plays_as_the_plain_game(config, seed):
    """Whole episodes of random actions: all that is returned and all of the state, at every TTI."""
    rng, num_envs = np.random.default_rng(seed), 2
    config, deployment = deployments(config, num_envs, seed)
    env = RRMEnv(config, num_envs, dtype=torch.float64)
    games = [ReferenceGame.of(config, deployment, e) for e in range(num_envs)]
    for game in games:
        game.reset()
    obs, info = env.reset(deployment)
    assert torch.equal(obs, env.obs) and torch.equal(info["action_mask"], env.action_mask)
    assert_same_state(env, games, "start")
    for tti in range(1, config.episode_ttis + 1):
        if rng.random() < 0.5:
            actions = torch.from_numpy(np.where(env.action_mask, rng.random(env.action_mask.shape), -1).argmax(-1))
            obs, *returned, info = env.step(actions)
            expected = [game.step(a) for game, a in zip(games, actions.numpy(), strict=True)]
        else:  # any user of the AP, within the slots or not
            users = [[rng.choice([SILENT, *g.users_of(i)]) for i in range(config.num_aps)] for g in games]
            obs, *returned, info = env.step_users(torch.tensor(np.array(users)))
            expected = [game.step_users(served) for game, served in zip(games, users, strict=True)]
        _, *expected = zip(*expected, strict=True)
        for name, got, want in zip(RETURNED, [*returned, info["rates"]], expected, strict=True):
            np.testing.assert_allclose(got.numpy(), np.stack(want), **EXACT, err_msg=f"{name}, TTI {tti}")
        assert torch.equal(obs, env.obs) and torch.equal(info["action_mask"], env.action_mask)
        assert_same_state(env, games, f"TTI {tti}")
    assert returned[2].all() and not returned[1].any()


# --- the oracle ---------------------------------------------------------------------------------------------


def in_state(config, deployment, averages, transmitting, copies=1):
    """An environment in a state given by hand, `copies` times; averages (E, J), transmitting (E, I)."""
    env = RRMEnv(config, copies * len(deployment), dtype=torch.float64, copies=copies)
    env.reset(deployment)
    env.set_state(averages.repeat(copies, 1), transmitting.repeat(copies, 1))
    return env


def within_slots(view, users):
    """Which environments (E,) serve nobody but the users in the slots."""
    return ((view.slots == users.unsqueeze(-1)).any(-1) | (users == SILENT)).all(-1)


SEEN = {"observation": "neighbours"}  # which the formula needs


@st.composite
def oracle_cases(draw):
    config = draw(networks(max_aps=4, max_users=8))
    top_n = min(config.top_n, int(JOINT_ACTIONS ** (1 / config.num_aps)) - 1)
    config = NetworkConfig.from_dict({**config.to_dict(), "top_n": top_n, "warmup_ttis": 3, "episode_ttis": 2, **SEEN})
    return config, draw(seeds)


@many(25, 500)
@given(case=oracle_cases())
def test_nothing_within_the_slots_earns_more_than_the_oracle(case):
    """In random states, one TTI played out: every joint action there is, every scheduler, and random actions."""
    config, seed = case
    rng, num_envs = np.random.default_rng(seed), 3
    config, deployment = deployments(config, num_envs, seed)
    averages = torch.from_numpy(10 ** rng.uniform(-4, 1.5, (num_envs, config.num_users)))
    transmitting = torch.from_numpy(rng.random((num_envs, config.num_aps)) < rng.random())

    def played(users, env):
        return env.step_users(users)[1]

    env = in_state(config, deployment, averages, transmitting)
    oracle = Exhaustive(config.lam)
    best = played(oracle.serve(env.view(oracle.knowledge)), env)  # (E,)
    slack = 1e-9 * best.abs() + 1e-12

    # Every joint action, each played in an environment of its own; where one is masked, all are silent instead.
    joint = torch.tensor(list(itertools.product(range(config.top_n + 1), repeat=config.num_aps)))  # (X, I)
    env = in_state(config, deployment, averages, transmitting, copies=len(joint))
    actions = joint.repeat_interleave(num_envs, 0)
    allowed = env.action_mask.gather(-1, actions.unsqueeze(-1)).squeeze(-1).all(-1, keepdim=True)
    earned = env.step(actions * allowed)[1].view(len(joint), num_envs)
    assert (earned <= best + slack).all()
    torch.testing.assert_close(earned.amax(0), best, rtol=1e-9, atol=1e-12)  # and it is one of them

    others = [make_scheduler(name) for name in SCHEDULERS] + [Exhaustive(0.0), Exhaustive(1.0)]
    others.append(make_scheduler("itlinq", m_db=0.0, eta=0.5))
    others.append(Mixture([make_scheduler("random_walk", seed=1), make_scheduler("full_reuse")]))
    compared = 0
    for other in others:
        env = in_state(config, deployment, averages, transmitting)
        other.begin(env.deployment.key)
        view = env.view(other.knowledge)
        users = other.serve(view)
        fair = within_slots(view, users)
        compared += int(fair.any())
        assert (played(users, env) <= best + slack)[fair].all(), other.name
    assert compared >= len(others) - 2  # only TDM and Max-SINR know users outside of the slots


@many(10, 100)
@given(config=networks(max_aps=3, max_users=4), seed=seeds)
def test_where_the_slots_hold_everybody_no_scheduler_earns_more_than_the_oracle(config, seed):
    """N = J: TDM and Max-SINR too choose within the slots, at every TTI of an episode."""
    config = NetworkConfig.from_dict({**config.to_dict(), "top_n": config.num_users, "episode_ttis": 5, **SEEN})
    config, deployment = deployments(config, 2, seed)
    oracle, env = Exhaustive(config.lam), RRMEnv(config, 2, dtype=torch.float64)
    for name in SCHEDULERS:
        other = make_scheduler(name)
        env.reset(deployment)
        other.begin(env.deployment.key)
        for _ in range(config.episode_ttis):
            users = other.serve(env.view(other.knowledge))
            assert within_slots(env.view(), users).all()
            view = env.view(oracle.knowledge)
            promised = oracle_reward(view, config.lam)
            earned = env.step_users(users)[1]
            assert (earned <= promised * (1 + 1e-9) + 1e-12).all(), name


def oracle_reward(view, lam):
    """The reward (E,) of the oracle's choice, by loops over the view."""
    chosen = view.actions(Exhaustive(lam).serve(view)).tolist()
    rewards = []
    for e, actions in enumerate(chosen):
        on = [i for i, action in enumerate(actions) if action]
        reward = 0.0
        for i in on:
            gain = view.gain[e, :, i, actions[i] - 1].tolist()
            rate = np.log2(1 + gain[i] / (1 + sum(gain[k] for k in on if k != i)))
            reward += view.weight[e, i, actions[i] - 1].item() ** lam * rate
        rewards.append(reward)
    return torch.tensor(rewards, dtype=torch.float64)


# --- one AP -------------------------------------------------------------------------------------------------


@many(25, 500)
@given(config=networks(num_aps=1), seed=seeds)
def test_with_one_ap_the_reported_sinr_is_the_actual_one(config, seed):
    """Whoever transmitted before, whoever is served: the rate is log2(1 + SINR) of the report."""
    env, rng = RRMEnv(config, 3, seed, dtype=torch.float64), np.random.default_rng(seed)
    env.reset()
    for _ in range(config.episode_ttis):
        reported, snr = env.sinr.clone(), env.snr[:, 0]
        torch.testing.assert_close(reported, snr, rtol=0, atol=0)  # nobody interferes
        users = torch.from_numpy(rng.integers(-1, config.num_users, (3, 1)))
        shown = env.obs.view(3, config.top_n, 2)[..., 0]
        slots = env.slots[:, 0]
        torch.testing.assert_close(shown, 10 * torch.log10(reported.gather(1, slots)), rtol=1e-12, atol=1e-12)
        rates = env.step_users(users)[-1]["rates"]
        actual = torch.where(users == torch.arange(config.num_users), torch.log2(1 + reported), 0.0)
        torch.testing.assert_close(rates, actual, rtol=1e-12, atol=0)


@pytest.mark.parametrize("transmitted", [False, True])
def test_with_one_ap_the_report_does_not_ask_who_transmitted(transmitted):
    env = RRMEnv(NetworkConfig(num_aps=1, num_users=5, episode_ttis=3, warmup_ttis=2), dtype=torch.float64)
    env.reset()
    before = env.sinr.clone()
    env.set_state(env.averages, torch.tensor([[transmitted]]))
    assert torch.equal(env.sinr, before)
