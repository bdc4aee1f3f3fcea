"""The game: RRMEnv against the plain reference, and what must hold whatever the network.

Shapes: E environments, I APs, J users, N top users. In float64 package and reference differ by rounding only.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_game import SILENT, ReferenceGame

from rrmlab.config import NetworkConfig
from rrmlab.game.deployment import Deployment
from rrmlab.game.env import RRMEnv

EXACT = {"rtol": 1e-9, "atol": 1e-9}
RETURNED = ("observation", "reward", "terminated", "truncated")
few = settings(deadline=None, max_examples=15, derandomize=True)


def valid_actions(mask, rng):
    """A uniformly random permitted action for each AP: mask (..., N+1) bool -> (...) int64."""
    mask = np.asarray(mask)
    return torch.from_numpy(np.where(mask, rng.random(mask.shape), -1.0).argmax(-1))


def chosen_users(env, actions):
    """The users (E, I) behind slots (E, I)."""
    users = env.slots.gather(-1, (actions - 1).clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return users.masked_fill(actions == 0, SILENT)


def random_config(case):
    """A small network with everything random; every third case may leave APs without users."""
    rng = np.random.default_rng([12991, case])
    num_aps = int(rng.integers(1, 7))
    require_users = case % 3 != 0
    users = (4 * num_aps, 7 * num_aps) if require_users else (1, 12)
    num_users = int(rng.integers(*users))
    return NetworkConfig(
        num_aps=num_aps,
        num_users=num_users,
        top_n=int(rng.integers(1, min(5, num_users) + 1)),
        area_m=float(rng.uniform(200, 800)),
        require_users=require_users,
        shadowing_db=float(rng.uniform(0, 10)),
        speed_mps=float(rng.choice([0.0, 1.0, 5.0, 400.0])),  # the last crosses the area and is reflected
        num_sinusoids=int(rng.integers(4, 20)),
        tx_power_dbm=float(rng.uniform(0, 30)),
        episode_ttis=int(rng.integers(150, 260)),
        warmup_ttis=int(rng.integers(1, 60)),
        averaging=float(rng.uniform(0.005, 0.2)),
        average_floor=float(rng.choice([0.001, 0.01, 0.1])),
        lam=float(rng.uniform(0, 1)),
        cross_gain_db=float(rng.choice([-20.0, 0.0, 20.0])),
    )


def assert_same_state(env, games):
    """The state of the coming decision, term by term; shapes included."""
    for name, attribute in (("sinr", "sinr"), ("weights", "weights"), ("averages", "averages")):
        expected = np.stack([getattr(game, attribute) for game in games])
        assert getattr(env, name).shape == expected.shape
        np.testing.assert_allclose(getattr(env, name).numpy(), expected, **EXACT, err_msg=name)
    for name, attribute in (("slots", "slots"), ("action_mask", "mask"), ("serving", "serving"),
                            ("transmitting", "transmitting")):  # fmt: skip
        expected = np.stack([getattr(game, attribute) for game in games])
        np.testing.assert_array_equal(getattr(env, name).numpy(), expected, err_msg=name)
    assert {env.ttis} == {game.ttis for game in games}


# --- the reference itself, and the package, by hand ---------------------------------------------------------


def still_network(**fields):
    """Two APs with a user each, without fading, motion and shadowing: every number is closed-form."""
    config = NetworkConfig(num_aps=2, num_users=2, top_n=1, shadowing_db=0.0, speed_mps=0.0, num_sinusoids=1,
                           episode_ttis=3, warmup_ttis=5, averaging=0.1, lam=0.5, **fields)  # fmt: skip
    deployment = Deployment(
        ap_xy=torch.tensor([[[100.0, 250.0], [400.0, 250.0]]], dtype=torch.float64),
        user_xy=torch.tensor([[[100.0, 200.0], [400.0, 350.0]]], dtype=torch.float64),  # 50 m and 100 m away
        heading=torch.zeros(1, 2, dtype=torch.float64),
        shadowing_db=torch.zeros(1, 2, 2, dtype=torch.float64),
        arrival=torch.zeros(1, 2, 2, 1, dtype=torch.float64),
        phase=torch.zeros(1, 2, 2, 1, dtype=torch.float64),
        key=torch.zeros(1, 3, dtype=torch.int64),
    )
    return config, deployment


# SNR of own links 41.0206 dB (50 m) and 35 dB (100 m), across 15.6771 dB (304.138 m) and 15 dB (316.228 m).
BOTH_ON_DB = np.array([25.227488091633052, 19.86479077891962])
BOTH_ON_RATES = np.array([8.384713042688075, 6.6137475842315085])
ALONE_DB, ALONE_RATE = 41.020599913279625, 13.626862382655041


def test_two_links_by_hand():
    config, deployment = still_network()
    env, game = RRMEnv(config, dtype=torch.float64), ReferenceGame.of(config, deployment)

    # One user per AP, always served in the warm-up: the averages stay at the rates of the first TTI.
    observation = np.stack([BOTH_ON_DB, -np.log(BOTH_ON_RATES)], axis=-1)
    np.testing.assert_allclose(game.reset(), observation, **EXACT)
    np.testing.assert_allclose(env.reset(deployment=deployment)[0][0], observation, **EXACT)

    # AP 0 transmits alone; the reward takes the weights from before, sqrt(1 / 8.3847) * 13.6269.
    averages = [8.908927976684772, 5.952372825808358]
    observation = np.stack([[ALONE_DB, BOTH_ON_DB[1]], -np.log(averages)], axis=-1)
    expected = (observation, 4.705998322508497, False, False)
    *by_reference, rates = game.step([1, 0])
    for got, want in zip(by_reference, expected, strict=True):
        np.testing.assert_allclose(got, want, **EXACT)
    np.testing.assert_allclose(rates, [ALONE_RATE, 0], **EXACT)

    *by_package, info = env.step(torch.tensor([[1, 0]]))
    for got, want in zip(by_package, expected, strict=True):
        np.testing.assert_allclose(got[0], want, **EXACT)
    np.testing.assert_allclose(info["rates"][0], [ALONE_RATE, 0], **EXACT)


# --- whole episodes against the reference -------------------------------------------------------------------


@pytest.mark.parametrize("case", range(20))
def test_whole_episode_equals_reference(case):
    """State, ranking, masks, observations, rates, rewards and flags at every TTI of an episode."""
    config, rng, num_envs = random_config(case), np.random.default_rng(case), 2
    env = RRMEnv(config, num_envs=num_envs, seed=case, dtype=torch.float64)
    observation, info = env.reset()
    games = [ReferenceGame.of(config, env.deployment, e) for e in range(num_envs)]
    np.testing.assert_allclose(observation.numpy(), [game.reset() for game in games], **EXACT)
    np.testing.assert_array_equal(info["action_mask"].numpy(), [game.mask for game in games])
    assert_same_state(env, games)

    for tti in range(1, config.episode_ttis + 1):
        actions = valid_actions(env.action_mask, rng)
        if tti % 2:
            *returned, info = env.step(actions)
            expected = [game.step(action) for game, action in zip(games, actions.numpy(), strict=True)]
        else:  # any user of the AP, within the slots or not
            aps = range(config.num_aps)
            users = [[int(rng.choice([SILENT, *game.users_of(i)])) for i in aps] for game in games]
            *returned, info = env.step_users(torch.tensor(users))
            expected = [game.step_users(served) for game, served in zip(games, users, strict=True)]
        returned.append(info["rates"])
        for got, want in zip(returned, zip(*expected, strict=True), strict=True):
            np.testing.assert_allclose(got.numpy(), np.stack(want), **EXACT, err_msg=f"TTI {tti}")
        np.testing.assert_allclose(info["own_rewards"], [game.own_rewards for game in games], **EXACT)
        np.testing.assert_allclose(info["own_rewards"].sum(1), returned[1], **EXACT)
        np.testing.assert_array_equal(info["action_mask"].numpy(), [game.mask for game in games])
        assert_same_state(env, games)

        # Only the time limit ends the episode, and what it returns is still the true next observation.
        assert returned[2].tolist() == [False] * num_envs
        assert returned[3].tolist() == [tti == config.episode_ttis] * num_envs


def test_random_configurations_cover_the_cases():
    configs = [random_config(case) for case in range(20)]
    assert {config.num_aps for config in configs} == set(range(1, 7))
    assert {config.require_users for config in configs} == {False, True}
    assert len({config.speed_mps for config in configs}) == 4
    empty = [
        not np.isin(np.arange(config.num_aps), reference_serving(config, case)).all()
        for case, config in enumerate(configs)
    ]
    assert any(empty), "no case has an AP without users"


def reference_serving(config, seed):
    game = ReferenceGame.of(config, Deployment.draw(config, 1, seed=seed))
    game.reset()
    return game.serving


def test_float32_agrees_step_by_step():
    """From a common state, one float32 TTI is the float64 TTI to 1e-4."""
    config = NetworkConfig(episode_ttis=200)
    rng = np.random.default_rng(0)
    exact = RRMEnv(config, num_envs=4, dtype=torch.float64)
    exact.reset()
    single = RRMEnv(config, num_envs=4, dtype=torch.float32)
    single.reset(deployment=exact.deployment)
    for _ in range(config.episode_ttis):
        single.set_state(averages=exact.averages, transmitting=exact.transmitting)
        for name in ("sinr", "weights", "averages"):
            assert getattr(single, name).dtype == torch.float32
            got, want = getattr(single, name).double(), getattr(exact, name)
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)
        served = chosen_users(exact, valid_actions(exact.action_mask, rng))
        _, reward, *_, info = exact.step_users(served)
        obs32, reward32, *_, info32 = single.step_users(served)
        assert obs32.dtype == reward32.dtype == torch.float32
        torch.testing.assert_close(reward32.double(), reward, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(info32["rates"].double(), info["rates"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(4, 24, 3), (3, 7, 2), (9, 50, 3)])
@pytest.mark.parametrize("block_links", [None, 20_000])
def test_batched_and_one_by_one_are_the_same_episode(dtype, sizes, block_links, monkeypatch):
    """The very same bits: a deployment's episode does not depend on what is simulated beside it.

    `block_links` shrinks the memory the gains may take, as a large batch of long episodes would.
    """
    if block_links:
        monkeypatch.setattr("rrmlab.game.gains.BLOCK_LINKS", block_links)
    fields = dict(zip(("num_aps", "num_users", "top_n"), sizes, strict=True))
    config, num_envs, rng = NetworkConfig(**fields, episode_ttis=60), 5, np.random.default_rng(1)
    batch = RRMEnv(config, num_envs=num_envs, seed=3, dtype=dtype)
    observation, info = batch.reset()
    singles = [RRMEnv(config, num_envs=1, dtype=dtype) for _ in range(num_envs)]
    results = [env.reset(deployment=batch.deployment[e : e + 1]) for e, env in enumerate(singles)]
    assert torch.equal(observation, torch.cat([result[0] for result in results]))
    for tti in range(config.episode_ttis):
        actions = valid_actions(batch.action_mask, rng)
        *returned, info = batch.step(actions)
        results = [env.step(actions[e : e + 1]) for e, env in enumerate(singles)]
        pairs = {name: (returned[k], [result[k] for result in results]) for k, name in enumerate(RETURNED)}
        for name in ("rates", "action_mask"):
            pairs[name] = info[name], [result[-1][name] for result in results]
        for name in ("sinr", "weights", "averages", "slots"):
            pairs[name] = getattr(batch, name), [getattr(env, name) for env in singles]
        different = [name for name, (together, alone) in pairs.items() if not torch.equal(together, torch.cat(alone))]
        assert not different, f"TTI {tti}"


def test_same_seed_same_episode_and_no_aliasing():
    """Two environments of one seed agree, and what a step returned is not rewritten by later steps."""
    config = NetworkConfig(episode_ttis=5)
    first, second = (RRMEnv(config, num_envs=3, seed=11) for _ in range(2))
    kept, copies = [], []
    for step in range(6):
        if step == 0:
            (obs, info), (other, _) = first.reset(), second.reset()
            returned = [obs, info["action_mask"]]
        else:
            actions = first.action_mask.long().argmax(-1) + first.action_mask[..., 1].long()
            obs, reward, terminated, truncated, info = first.step(actions)
            other = second.step(actions)[0]
            returned = [obs, reward, terminated, truncated, info["action_mask"], info["rates"]]
        assert torch.equal(obs, other)
        kept.append(returned)
        copies.append([value.clone() for value in returned])
    for returned, copied in zip(kept, copies, strict=True):
        assert all(map(torch.equal, returned, copied))


# --- ties ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("top_n", [1, 3, 40])
def test_ties_go_to_the_lower_user_index(top_n, dtype):
    """40 users are all the same, but every fourth is 20 dB stronger; a high floor makes the weights equal."""
    config = NetworkConfig(num_aps=1, num_users=40, top_n=top_n, average_floor=1e3, episode_ttis=4)
    deployment = Deployment.draw(config, 1)
    same = {}
    for name, axis in {"user_xy": 1, "heading": 1, "shadowing_db": 2, "arrival": 2, "phase": 2}.items():
        value = getattr(deployment, name)
        same[name] = value.narrow(axis, 0, 1).expand_as(value).clone()
    same["shadowing_db"][..., 3::4] -= 20
    deployment = dataclasses.replace(deployment, **same)
    strong = list(range(3, 40, 4))
    order = (strong + [j for j in range(40) if j not in strong])[:top_n]

    env = RRMEnv(config, dtype=dtype)
    env.reset(deployment=deployment)
    for _ in range(3):
        assert env.slots[0, 0].tolist() == order
        env.step(torch.tensor([[1]]))


# --- properties ---------------------------------------------------------------------------------------------


@st.composite
def networks(draw, num_aps=None):
    num_aps = num_aps or draw(st.integers(1, 5))
    num_users = draw(st.integers(1, 10))
    config = NetworkConfig(
        num_aps=num_aps,
        num_users=num_users,
        top_n=draw(st.integers(1, min(4, num_users))),
        require_users=False,
        speed_mps=draw(st.sampled_from([0.0, 1.0, 30.0])),
        lam=draw(st.sampled_from([0.0, 0.5, 0.8, 1.0])),
        averaging=draw(st.sampled_from([0.01, 0.3])),
        average_floor=draw(st.sampled_from([0.01, 0.5])),
        warmup_ttis=draw(st.integers(1, 30)),
        episode_ttis=25,
    )
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    return RRMEnv(config, num_envs=2, seed=draw(st.integers(0, 2**31 - 1)), dtype=dtype)


@few
@given(env=networks())
def test_silence_earns_nothing(env):
    env.reset()
    averages = env.averages.clone()
    observation, reward, _, _, info = env.step(torch.zeros(2, env.config.num_aps, dtype=torch.int64))
    assert not reward.any() and not info["rates"].any()
    assert not env.transmitting.any()
    torch.testing.assert_close(env.averages, (1 - env.config.averaging) * averages)
    assert torch.isfinite(observation).all()


@few
@given(env=networks(num_aps=1))
def test_one_ap_reports_the_actual_sinr(env):
    """Without other APs the report is the truth: the served user's rate is log2(1 + reported SINR)."""
    env.reset()
    rng = np.random.default_rng(0)
    for _ in range(env.config.episode_ttis):
        actions = valid_actions(env.action_mask, rng)
        promised, served = torch.log2(1 + env.sinr), chosen_users(env, actions)
        promised = promised.masked_fill(served != torch.arange(env.config.num_users), 0)  # (E, 1) != (J,)
        rates = env.step(actions)[-1]["rates"]
        torch.testing.assert_close(rates, promised, rtol=1e-5, atol=1e-6)


@few
@given(env=networks())
def test_unserved_users_get_exactly_nothing_and_weights_are_bounded(env):
    env.reset()
    rng = np.random.default_rng(0)
    ceiling = (1 + 1e-6) / env.config.average_floor
    for _ in range(env.config.episode_ttis):
        actions = valid_actions(env.action_mask, rng)
        served = [set(users) - {SILENT} for users in chosen_users(env, actions).tolist()]
        rates, weights = env.step(actions)[-1]["rates"], env.weights
        for e, users in enumerate(served):
            assert set(rates[e].nonzero()[:, 0].tolist()) == users  # and the served get something
        assert (weights > 0).all() and (weights <= ceiling).all()
        assert torch.isfinite(env.sinr).all() and (env.sinr > 0).all()


@few
@given(env=networks())
def test_slots_hold_own_users_and_the_mask_says_which(env):
    observation, info = env.reset()
    num_envs, num_aps, top_n = env.slots.shape
    filled = env.slots >= 0
    assert info["action_mask"].dtype == torch.bool and info["action_mask"][..., 0].all()
    assert torch.equal(info["action_mask"][..., 1:], filled)
    blocks = observation.view(num_envs, num_aps, top_n, 2)
    assert not blocks[~filled].any()
    for e in range(num_envs):
        for i in range(num_aps):
            users = env.slots[e, i][filled[e, i]].tolist()
            own = (env.serving[e] == i).sum().item()
            assert len(set(users)) == len(users) == min(top_n, own)
            assert all(env.serving[e, j] == i for j in users)
            torch.testing.assert_close(blocks[e, i, : len(users), 0], 10 * torch.log10(env.sinr[e, users]))
            torch.testing.assert_close(blocks[e, i, : len(users), 1], torch.log(env.weights[e, users]))


# --- trap 2: transients of the averages ---------------------------------------------------------------------


def test_an_episode_starts_warm():
    """Starting from averages of zero, weights of 100 would rule the rewards for hundreds of TTIs."""
    config = NetworkConfig(episode_ttis=1)
    env = RRMEnv(config, num_envs=8, dtype=torch.float64)
    env.reset()
    assert env.ttis == 0
    games = [ReferenceGame.of(config, env.deployment, e) for e in range(8)]
    for game in games:
        game.reset()
        assert game.t == config.warmup_ttis == 200
    assert_same_state(env, games)
    assert env.transmitting.all()
    assert 0.5 < env.weights.median() < 5
    assert (env.weights >= 1 / config.average_floor).double().mean() < 0.01  # the odd user out of reach


def test_an_ordinary_network_starts_with_no_weight_at_the_floor():
    """Four APs in a grid, six users around each at 30 to 80 m: nobody is out of reach or starts starved."""
    config = NetworkConfig(shadowing_db=0.0)
    deployment = Deployment.draw(config, 1)
    ap_xy = torch.tensor([[125, 125], [375, 125], [125, 375], [375, 375]], dtype=torch.float64)
    angle = torch.arange(6, dtype=torch.float64) * math.pi / 3
    around = torch.stack([angle.cos(), angle.sin()], -1) * torch.linspace(30, 80, 6)[:, None]
    users = (ap_xy[:, None] + around).reshape(1, 24, 2)
    env = RRMEnv(config)
    env.reset(deployment=dataclasses.replace(deployment, ap_xy=ap_xy[None], user_xy=users))
    assert env.weights.min() > 0.1 and env.weights.max() < 10


# --- errors -------------------------------------------------------------------------------------------------


@pytest.fixture
def small():
    """Two APs with 1 and 3 users, so that slots 2 and 3 of AP 0 are empty."""
    config = NetworkConfig(num_aps=2, num_users=4, top_n=3, shadowing_db=0.0, episode_ttis=3, warmup_ttis=4)
    users = [[120.0, 250.0], [380.0, 250.0], [400.0, 280.0], [430.0, 250.0]]
    deployment = dataclasses.replace(
        Deployment.draw(config, 1),
        ap_xy=torch.tensor([[[100.0, 250.0], [400.0, 250.0]]], dtype=torch.float64),
        user_xy=torch.tensor([users], dtype=torch.float64),
    )
    env = RRMEnv(config)
    env.reset(deployment=deployment)
    assert env.serving.tolist() == [[0, 1, 1, 1]]
    return env


def test_step_before_reset_raises():
    env = RRMEnv(NetworkConfig())
    for step in (env.step, env.step_users):
        with pytest.raises(RuntimeError, match="reset"):
            step(torch.zeros(1, 4, dtype=torch.int64))


def test_step_after_truncation_raises(small):
    for _ in range(3):
        truncated = small.step(torch.tensor([[1, 1]]))[3]
    assert truncated.all()
    for step in (small.step, small.step_users):
        with pytest.raises(RuntimeError, match="reset"):
            step(torch.tensor([[0, 0]]))
    small.reset()
    small.step(torch.tensor([[0, 0]]))


@pytest.mark.parametrize(
    "actions",
    [
        pytest.param(torch.tensor([[2, 1]]), id="masked"),
        pytest.param(torch.tensor([[0, 4]]), id="above the range"),
        pytest.param(torch.tensor([[-1, 0]]), id="below the range"),
        pytest.param(torch.tensor([0, 0]), id="without the batch"),
        pytest.param(torch.tensor([[0, 0, 0]]), id="too many APs"),
        pytest.param(torch.tensor([[0, 0], [0, 0]]), id="too many environments"),
        pytest.param(torch.tensor([[0.0, 1.0]]), id="floats"),
    ],
)
def test_bad_actions_are_refused_and_change_nothing(small, actions):
    averages = small.averages.clone()
    with pytest.raises(ValueError):
        small.step(actions)
    assert small.ttis == 0 and torch.equal(small.averages, averages)
    small.step(torch.tensor([[0, 3]]))


@pytest.mark.parametrize(
    "users",
    [
        pytest.param(torch.tensor([[1, -1]]), id="of another AP"),
        pytest.param(torch.tensor([[0, 4]]), id="no such user"),
        pytest.param(torch.tensor([[-2, 1]]), id="below silence"),
        pytest.param(torch.tensor([[0]]), id="too few APs"),
        pytest.param(torch.tensor([[0.0, 1.0]]), id="floats"),
    ],
)
def test_bad_users_are_refused_and_change_nothing(small, users):
    averages = small.averages.clone()
    with pytest.raises(ValueError):
        small.step_users(users)
    assert small.ttis == 0 and torch.equal(small.averages, averages)
    small.step_users(torch.tensor([[-1, 3]]))


def test_deployments_must_be_as_many_as_environments():
    config = NetworkConfig()
    with pytest.raises(ValueError, match="2"):
        RRMEnv(config, num_envs=2).reset(deployment=Deployment.draw(config, 3))
