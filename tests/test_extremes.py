"""Extreme but legal networks and agents: everything stays finite and sensible, through the whole chain.

Shapes: E environments, I APs, J users, N top users.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch
from agents import agent_of
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import cases

from rrmlab import AgentConfig, NetworkConfig, RRMEnv, collect, evaluate, make_scheduler, train_offline
from rrmlab.game.deployment import Deployment
from rrmlab.game.draws import DeploymentError
from rrmlab.game.radio import fading_power
from rrmlab.game.schedulers import SCHEDULERS

BASE = NetworkConfig(episode_ttis=6, warmup_ttis=5)
POWERFUL = {"tx_power_dbm": 60.0, "noise_psd_dbm_hz": -200.0, "bandwidth_hz": 1e3}
FEEBLE = {"tx_power_dbm": -50.0, "noise_psd_dbm_hz": -100.0, "bandwidth_hz": 1e11}
NETWORKS = {
    "1 AP, 1 user": {"num_aps": 1, "num_users": 1, "top_n": 1},
    "64 APs": {"num_aps": 64, "num_users": 192, "require_users": False},
    "64 APs, few users": {"num_aps": 64, "num_users": 3, "require_users": False},
    "N = 1": {"top_n": 1},
    "N = J": {"num_aps": 2, "num_users": 6, "top_n": 6},
    "N = J, too many joint actions": {"top_n": 24},
    "lambda 0": {"lam": 0.0},
    "lambda 1": {"lam": 1.0},
    "standing": {"speed_mps": 0.0},
    "100 m/s": {"speed_mps": 100.0},
    "fastest": {"speed_mps": 1e3, "carrier_hz": 1e12, "tti_s": 0.1},
    "least noise": {"noise_psd_dbm_hz": -200.0, "bandwidth_hz": 1e3},
    "most noise": {"noise_psd_dbm_hz": -100.0, "bandwidth_hz": 1e11},
    "least power": {"tx_power_dbm": -50.0},
    "most power": {"tx_power_dbm": 60.0},
    "strongest links": {**POWERFUL, "area_m": 1.0, "min_ap_ap_m": 0.0, "min_ap_user_m": 1e-3, "shadowing_db": 30.0},
    "strongest interference": {
        **POWERFUL,
        "area_m": 10.0,
        "min_ap_ap_m": 0.0,
        "min_ap_user_m": 1.0,
        "cross_gain_db": 40.0,
    },
    "weakest interference": {**FEEBLE, "area_m": 1e6, "shadowing_db": 30.0, "cross_gain_db": -40.0},
    "weakest links": {**FEEBLE, "area_m": 1e6, "shadowing_db": 30.0},
    "an AP without users": {"num_users": 3, "require_users": False},
    "1 TTI": {"episode_ttis": 1},
    "1 TTI, no warm-up": {"episode_ttis": 1, "warmup_ttis": 0},
    "no warm-up": {"warmup_ttis": 0},
    "averaging 1": {"averaging": 1.0},
    "averaging 1, lowest floor": {"averaging": 1.0, "average_floor": 1e-6},
    "slow averaging, highest floor": {"averaging": 1e-9, "average_floor": 1e3},
    "1 sinusoid": {"num_sinusoids": 1},
    "1 sinusoid, standing, no shadow": {"num_sinusoids": 1, "speed_mps": 0.0, "shadowing_db": 0.0},
}
GRID = [(p, b) for p in ("centralized", "independent", "ctde") for b in ("sac", "dqn", "bc")]
OUTSIDE_THE_SLOTS = ("tdm", "max_sinr")
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def network(fields):
    return dataclasses.replace(BASE, **{"top_n": min(3, fields.get("num_users", 3)), **fields})


def too_many(config, limit):
    """Whether the joint actions are more than a centralized head (4096) or the oracle (65536) takes."""
    return (config.top_n + 1) ** config.num_aps > limit


def finite(*values):
    return all(bool(np.isfinite(np.asarray(value)).all()) for value in values if value is not None)


def assert_healthy_game(config, dtype, seed=0):
    """Two episodes of random actions: everything that is returned or can be looked at, at every TTI."""
    env, rng = RRMEnv(config, 2, seed, dtype=dtype), np.random.default_rng(seed)
    highest = math.log2(1 + torch.finfo(dtype).max)
    for _ in range(2):
        obs, info = env.reset()
        for tti in range(1, config.episode_ttis + 1):
            assert obs.dtype == dtype and finite(obs, env.sinr, env.snr, env.weights, env.averages)
            assert (env.sinr >= 0).all() and (env.averages >= 0).all()
            assert env.weights.min() > 0 and env.weights.max() <= (1 + 1e-6) / config.average_floor
            mask = info["action_mask"]
            assert torch.equal(mask[..., 1:], env.slots >= 0) and mask[..., 0].all()
            actions = torch.from_numpy(np.where(mask, rng.random(mask.shape), -1).argmax(-1))
            users = env.view().users(actions)
            obs, reward, terminated, truncated, info = env.step(actions)
            rates = info["rates"]
            assert finite(obs, reward, rates) and (reward >= 0).all() and rates.min() >= 0 and rates.max() < highest
            assert (rates.count_nonzero(-1) <= (users >= 0).sum(-1)).all()
            assert torch.equal(env.transmitting, users >= 0)
            assert not terminated.any() and truncated.tolist() == [tti == config.episode_ttis] * 2
        with pytest.raises(RuntimeError, match="truncated"):
            env.step(torch.zeros(2, config.num_aps, dtype=torch.int64))


def assert_healthy_scores(scores, config):
    assert finite(*dataclasses.astuple(scores))
    assert scores.rates.shape == (2, config.num_users) and (scores.rates >= 0).all() and (scores.rewards >= 0).all()
    assert 0 <= scores.tail_rate <= scores.rates.max() and scores.sum_rate == pytest.approx(scores.rates.sum(1).mean())
    expected = scores.sum_rate / config.num_users + config.tail_weight * scores.tail_rate
    assert scores.score == pytest.approx(expected)


def assert_healthy_policy(policy, config, data):
    assert all(bool(torch.isfinite(tensor).all()) for tensor in policy.tensors.values())
    assert finite(*policy.history.values())
    actions = policy.act(data.obs, data.mask)
    assert data.mask.gather(-1, actions.unsqueeze(-1)).all()
    assert_healthy_scores(evaluate(policy, config, 2), config)


@pytest.mark.parametrize("name", NETWORKS)
@dtypes
def test_the_game_stays_finite(name, dtype):
    assert_healthy_game(network(NETWORKS[name]), dtype)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_scheduler_runs_and_is_logged(name):
    config = dataclasses.replace(network(NETWORKS[name]), observation="neighbours")  # which the formula needs
    for scheduler in SCHEDULERS:
        subsets = scheduler == "best_subset" and config.num_aps > 16
        if subsets or (scheduler == "exhaustive" and too_many(config, 2**16)):
            for use in (evaluate, collect):
                with pytest.raises(ValueError, match="scheduler .* tries .* must be at most 65536"):
                    use(make_scheduler(scheduler), config, 2)
            continue
        assert_healthy_scores(evaluate(make_scheduler(scheduler), config, 2), config)
        if scheduler in OUTSIDE_THE_SLOTS:
            with pytest.raises(ValueError, match="may serve users outside the slots"):
                collect(make_scheduler(scheduler), config, 2)
            continue
        data = collect(make_scheduler(scheduler), config, 7)
        data.check()
        assert len(data) == 7 and finite(data.obs, data.rewards, data.log_prob) and not data.terminated.any()
        last = config.episode_ttis - 1
        assert data.truncated.tolist() == [k % config.episode_ttis == last or k == 6 for k in range(7)]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_agent_trains_and_acts(name):
    config = network(NETWORKS[name])
    data = collect(make_scheduler("random_walk"), config, 9)
    for paradigm, backbone in GRID:
        agent = agent_of(paradigm, backbone, hidden=(8,), batch_size=4, num_updates=3)
        if paradigm == "centralized" and too_many(config, 4096):
            with pytest.raises(ValueError, match="at most 4096 are allowed; take paradigm = 'ctde'"):
                train_offline(data, agent, [0], progress=False)
            continue
        for policy in train_offline(data, agent, [0, 1], progress=False):
            assert_healthy_policy(policy, config, data)


# --- sensible: what an extreme value must mean ---------------------------------------------------------------


def played(config, actions=None, num_envs=4, dtype=torch.float64):
    """(environment before, reward, rates) of every TTI of an episode in which every AP serves its best user."""
    env = RRMEnv(config, num_envs, dtype=dtype)
    env.reset()
    for _ in range(config.episode_ttis):
        before = {name: getattr(env, name).clone() for name in ("weights", "sinr", "snr", "averages", "transmitting")}
        _, reward, _, _, info = env.step(env.action_mask[..., 1].long())
        yield env, before, reward, info["rates"]


def test_lambda_0_is_the_sum_rate_and_lambda_1_the_weighted_one():
    for lam in (0.0, 1.0):
        for _, before, reward, rates in played(network({"lam": lam})):
            torch.testing.assert_close(reward, (before["weights"] ** lam * rates).sum(1), rtol=1e-12, atol=0)


def test_averaging_1_remembers_the_last_tti_alone():
    for env, _, _, rates in played(network({"averaging": 1.0})):
        assert torch.equal(env.averages, rates)


def test_without_motion_nothing_changes_but_the_interference():
    """And at 100 m/s everything does."""
    for speed, same in ((0.0, True), (100.0, False)):
        snrs = [before["snr"] for _, before, _, _ in played(network({"speed_mps": speed}))]
        assert all(torch.allclose(snr, snrs[0], rtol=1e-9) is same for snr in snrs[1:])


def test_one_sinusoid_never_fades():
    config = network({"num_sinusoids": 1, "speed_mps": 100.0})
    power = fading_power(config, Deployment.draw(config, 3), 0, 50)
    torch.testing.assert_close(power, torch.ones_like(power), rtol=0, atol=1e-12)


def test_without_warm_up_every_factor_starts_at_j_over_i():
    env = RRMEnv(network({"warmup_ttis": 0, "average_floor": 1e-6}), 20, dtype=torch.float64)
    env.reset()
    factor = env.weights * torch.log2(1 + env.sinr)
    torch.testing.assert_close(factor, torch.full_like(factor, 24 / 4), rtol=1e-12, atol=0)
    assert env.ttis == 0 and env.transmitting.all()


def test_power_moves_the_network_from_noise_to_interference():
    """Lowest: SINR is SNR. Highest: noise counts nothing, 10 dB more change nothing."""
    weak, *_ = played(network({**FEEBLE}))
    own = weak[1]["snr"].gather(1, weak[0].serving.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(weak[1]["sinr"], own, rtol=1e-6, atol=0)
    strong, stronger = (next(played(network({**POWERFUL, "tx_power_dbm": dbm})))[1]["sinr"] for dbm in (50.0, 60.0))
    torch.testing.assert_close(strong, stronger, rtol=1e-3, atol=0)


@pytest.mark.parametrize("field", ["noise_psd_dbm_hz", "bandwidth_hz"])
def test_vanishing_noise_is_refused(field):
    for value in (0.0, -1e6, 1e-300):
        with pytest.raises(ValueError, match=f"{field} = .*: must lie in"):
            NetworkConfig(**{field: value})


@dtypes
def test_an_ap_without_users_is_silent_and_sees_nothing(dtype):
    config = network({"num_aps": 5, "num_users": 3, "require_users": False, "episode_ttis": 4})
    config = dataclasses.replace(config, observation="neighbours")
    env = RRMEnv(config, 30, dtype=dtype)
    env.reset()
    empty = (env.serving.unsqueeze(-1) == torch.arange(5)).sum(1) == 0  # (E, I)
    assert empty.any(1).all()
    assert not env.transmitting[empty].any() and env.transmitting[~empty].all()  # the warm-up
    data = collect(make_scheduler("random_walk"), config, 40)
    policy = train_offline(data, AgentConfig(hidden=(8,), num_updates=3, batch_size=8), [0], progress=False)[0]
    serving = [make_scheduler(name) for name in SCHEDULERS] + [policy, policy.sampled()]
    for behaviour in serving:
        env.reset(env.deployment)
        behaviour.begin(env.deployment.key)
        for _ in range(config.episode_ttis):
            assert not env.obs[empty].any() and (env.slots[empty] == -1).all()
            assert env.action_mask[empty].sum(-1).tolist() == [1] * int(empty.sum())
            env.step_users(behaviour.serve(env.view(behaviour.knowledge)))
            assert not env.transmitting[empty].any(), behaviour.name
    env.reset(env.deployment)
    e, i = empty.nonzero()[0].tolist()
    actions = torch.zeros(30, 5, dtype=torch.int64)
    actions[e, i] = 1
    with pytest.raises(ValueError, match="that slot is empty; see action_mask"):
        env.step(actions)
    # What an AP sees that has nobody, every agent answers with silence.
    alone = policy.local(0)
    size = env.obs.shape[-1]
    assert alone(np.zeros(size)) == 0 and not policy.act(torch.zeros(7, 5, size)).any()


# --- corners of the whole box --------------------------------------------------------------------------------

LIMITS = {
    "num_aps": (1, 9), "num_users": (1, 30), "top_n": (1, 30), "area_m": (1.0, 500.0, 1e6), "min_ap_ap_m": (0.0, 35.0),
    "min_ap_user_m": (1e-3, 10.0), "require_users": (False, True), "shadowing_db": (0.0, 7.0, 30.0),
    "carrier_hz": (1e6, 2.4e9, 1e12), "speed_mps": (0.0, 1.0, 1e3), "tti_s": (1e-6, 1e-3, 0.1),
    "num_sinusoids": (1, 2, 16), "tx_power_dbm": (-50.0, 10.0, 60.0), "bandwidth_hz": (1e3, 1e7, 1e11),
    "noise_psd_dbm_hz": (-200.0, -174.0, -100.0), "cross_gain_db": (-40.0, 0.0, 40.0), "episode_ttis": (1, 3),
    "warmup_ttis": (0, 4),
    "averaging": (1e-9, 0.01, 1.0), "average_floor": (1e-6, 0.01, 1e3), "lam": (0.0, 0.8, 1.0),
    "tail_weight": (0.0, 3.0, 1e6),
}  # fmt: skip


@settings(deadline=None, max_examples=cases(30, 1500), derandomize=True)
@given(
    fields=st.fixed_dictionaries({name: st.sampled_from(values) for name, values in LIMITS.items()}),
    seed=st.integers(0, 2**31 - 1),
)
def test_corners_of_the_legal_box(fields, seed):
    """Every field at one of its limits or usual: refused by name, or finite all the way through."""
    fields["top_n"] = min(fields["top_n"], fields["num_users"])
    try:
        config = NetworkConfig(**fields)
        Deployment.draw(config, 2, seed)
        data = collect(make_scheduler("random_walk", seed=seed), config, 5, seed=seed % 1000)
    except DeploymentError as error:
        assert str(error).startswith(("min_ap_ap_m = ", "min_ap_user_m = ", "require_users = "))
        return
    except ValueError as error:
        assert str(error).startswith(("min_ap_ap_m = ", "min_ap_user_m = ", "num_users = ")), error
        return
    for dtype in (torch.float32, torch.float64):
        assert_healthy_game(config, dtype, seed)
    paradigm, backbone = GRID[seed % 9]
    if paradigm == "centralized" and too_many(config, 4096):
        paradigm = "ctde"
    agent = agent_of(paradigm, backbone, hidden=(4,), batch_size=3, num_updates=3)
    assert_healthy_policy(train_offline(data, agent, [seed], progress=False)[0], config, data)


# --- agents --------------------------------------------------------------------------------------------------

AGENTS = {
    "alpha": (0.0, 1e6), "gamma": (0.0, 1.0), "td_loss": ("mse", "huber"), "hidden": ((1,), (1, 1, 1)),
    "learning_rate": (1e-30, 1.0), "adam_eps": (1e-30, 1.0), "batch_size": (1, 64), "num_updates": (1, 3),
    "target_rate": (1e-30, 1.0), "temperature": (0.0, 1e6),
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [("alpha", 1e30), ("temperature", 1e39), ("adam_eps", 1e-60), ("hidden", (2**40,)), ("batch_size", 2**50)],
)
def test_numbers_that_no_training_survives_are_refused(field, value):
    with pytest.raises(ValueError, match=f"^{field} = "):
        AgentConfig(**{field: value})


@settings(deadline=None, max_examples=cases(30, 1000), derandomize=True)
@given(
    kind=st.sampled_from(GRID),
    fields=st.fixed_dictionaries({name: st.sampled_from(values) for name, values in AGENTS.items()}),
    num=st.sampled_from([1, 2, 9]),
)
def test_corners_of_what_an_agent_may_be(kind, fields, num):
    """Also from a single transition, and with batches larger than the data."""
    data = collect(make_scheduler("random_walk"), BASE, num)
    if kind[1] == "bc":
        fields = fields | {"td_loss": "none", "alpha": fields["alpha"] or 1.0}
    policy = train_offline(data, agent_of(*kind, **fields), [0], progress=False)[0]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in policy.tensors.values())
    assert finite(*policy.history.values())
    assert data.mask.gather(-1, policy.act(data.obs, data.mask).unsqueeze(-1)).all()
