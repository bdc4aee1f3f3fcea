"""The centralized view as a Gymnasium environment, and logs that name it."""

import itertools
import warnings

import gymnasium as gym
import matplotlib
import matplotlib.pyplot as plt
import minari
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from rrmlab import NetworkConfig, RRMEnv, collect, make_scheduler, network_map
from rrmlab.game.deployment import Deployment
from rrmlab.game.radio import user_position
from rrmlab.joint_env import RRMJointEnv

NETWORK = NetworkConfig(num_aps=3, num_users=5, top_n=3, episode_ttis=12, warmup_ttis=5)


@pytest.mark.parametrize("flat_actions", [False, True])
def test_gymnasium_accepts_it(flat_actions):
    """Its checker plays it, and draws it in every mode; of what it warns, only the observation's bounds are meant."""
    env = gym.make("rrmlab/RRMJoint-v0", config=NETWORK, flat_actions=flat_actions, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*A Box observation space m..imum value is -?infinity")
        check_env(env.unwrapped)


def test_it_plays_the_game_and_an_empty_slot_is_silence():
    joint, game = RRMJointEnv(NETWORK, seed=3), RRMEnv(NETWORK, 1, seed=3)
    obs, info = joint.reset()
    expected, _ = game.reset()
    rng, empty = np.random.default_rng(0), 0
    for _ in range(NETWORK.episode_ttis):
        np.testing.assert_array_equal(obs, expected.flatten())
        np.testing.assert_array_equal(info["action_mask"], game.action_mask[0])
        action = rng.integers(4, size=3)
        allowed = np.take_along_axis(info["action_mask"], action[:, None], 1)[:, 0]
        empty += int((~allowed).sum())
        obs, reward, terminated, truncated, info = joint.step(action)
        expected, wanted, _, ended, more = game.step(torch.tensor(action * allowed)[None])
        assert (reward, terminated, truncated) == (float(wanted), False, bool(ended))
        np.testing.assert_array_equal(info["rates"], more["rates"][0])
    assert empty and truncated
    with pytest.raises(RuntimeError, match="truncated"):
        joint.step(np.zeros(3, dtype=int))


@pytest.mark.parametrize("action", [[1, 0], [4, 0, 0], [-1, 0, 0], [0.0, 1.0, 0.0], "all"])
def test_actions_outside_of_the_space_are_refused(action):
    env = RRMJointEnv(NETWORK)
    env.reset()
    with pytest.raises(ValueError, match="^action = .*must be 3 slots, each in 0 ... 3"):
        env.step(np.array(action))


def test_flat_actions_are_digits_of_the_base_n_plus_one():
    flat, joint = (RRMJointEnv(NETWORK, seed=3, flat_actions=flag) for flag in (True, False))
    for env in (flat, joint):
        env.reset()
    assert flat.action_space == gym.spaces.Discrete(4**3)
    for number in np.random.default_rng(0).integers(64, size=NETWORK.episode_ttis):
        (obs, reward, *_), (other, same, *_) = (
            flat.step(number),
            joint.step([number // 16, number // 4 % 4, number % 4]),
        )
        assert reward == same and np.array_equal(obs, other)


@pytest.mark.parametrize("action", [64, -1, 1.0, [1], [1, 0, 0], "all", True])
def test_flat_actions_outside_of_the_space_are_refused(action):
    env = RRMJointEnv(NETWORK, flat_actions=True)
    env.reset()
    with pytest.raises(ValueError, match=r"^action = .*must be one whole number, of Discrete\(64\)"):
        env.step(np.array(action))


def test_more_flat_actions_than_an_agent_can_have_are_refused():
    with pytest.raises(ValueError, match="num_aps = 8 and top_n = 3"):
        RRMJointEnv(NetworkConfig(num_aps=8), flat_actions=True)


def test_a_step_before_the_first_reset_is_refused():
    with pytest.raises(RuntimeError, match="reset"):
        RRMJointEnv(NETWORK).step(np.zeros(3, dtype=int))


def test_minari_recovers_the_environment_of_a_log(tmp_path, monkeypatch):
    data = collect(make_scheduler("random_walk"), NETWORK, 30)
    data.save(tmp_path / "log-v0")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    stored = minari.load_dataset("log-v0")
    env = stored.recover_environment()
    assert env.unwrapped.config == NETWORK and env.spec.max_episode_steps == NETWORK.episode_ttis
    assert env.observation_space == stored.observation_space and env.action_space == stored.action_space
    obs, _ = env.reset()
    np.testing.assert_array_equal(obs, next(iter(stored)).observations[0])  # the first deployment that was logged


# --- Pictures -------------------------------------------------------------------------------------------------


def test_pictures_of_the_last_tti():
    """Same shape and type in every TTI, another picture when others transmit, and nothing that pyplot keeps."""
    before, backend = plt.get_fignums(), matplotlib.get_backend()
    env, same = (RRMJointEnv(NETWORK, seed=3, render_mode="rgb_array") for _ in range(2))
    for each in (env, same):
        each.reset()
    first = env.render()
    assert first.ndim == 3 and first.shape[-1] == 3 and first.dtype == np.uint8 and first.flags.writeable
    assert np.unique(first.reshape(-1, 3), axis=0).shape[0] > 20  # not a blank page
    pictures = [first]
    for action in ([1, 1, 1], [1, 1, 0], [0, 0, 0]):
        for each in (env, same):
            each.step(np.array(action))
        pictures.append(env.render())
        assert pictures[-1].shape == first.shape
        np.testing.assert_array_equal(pictures[-1], same.render())
    assert not any(np.array_equal(a, b) for a, b in itertools.pairwise(pictures))
    env.reset()
    assert not np.array_equal(env.render(), first)  # another deployment
    assert plt.get_fignums() == before and matplotlib.get_backend() == backend


def test_the_picture_shows_who_transmits_to_whom():
    """What is drawn, as a table, against the environment's own state."""
    env = RRMJointEnv(NETWORK, seed=3, render_mode="rgb_array")
    _, info = env.reset()
    action = info["action_mask"].shape[1] - 1 - info["action_mask"][:, ::-1].argmax(1)  # each its last user
    action[0] = 0
    slots, game = env.env.slots[0].clone(), env.env
    position = user_position(NETWORK, game.deployment, NETWORK.warmup_ttis + game.ttis, 1)[0, :, 0]
    *_, info = env.step(action)
    nodes = drawn(env)
    aps, users = (nodes[nodes.kind == kind].set_index("index") for kind in ("AP", "user"))
    np.testing.assert_array_equal(aps.on, game.transmitting[0])
    np.testing.assert_array_equal(aps[["x_m", "y_m"]], game.deployment.ap_xy[0])
    np.testing.assert_array_equal(users[["x_m", "y_m"]], position)
    np.testing.assert_array_equal(users.ap, game.serving[0])
    served = [int(slots[ap, choice - 1]) for ap, choice in enumerate(action) if choice]
    assert sorted(users.index[users.on]) == sorted(served) and served
    np.testing.assert_array_equal(users.rate, info["rates"])


def drawn(env):
    """The table of a picture."""
    seen, draw = [], network_map.draw_map
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_map, "draw_map", lambda ax, nodes, area: (seen.append(nodes), draw(ax, nodes, area)))
        env.render()
    return seen[0]


def test_pictures_that_cannot_be_drawn_are_refused():
    for wrong in ("human", "rgb", 1, ["rgb_array"]):
        with pytest.raises(ValueError, match="^render_mode = .*must be None or 'rgb_array'"):
            RRMJointEnv(NETWORK, render_mode=wrong)
    env = RRMJointEnv(NETWORK, render_mode="rgb_array")
    with pytest.raises(RuntimeError, match=r"call reset\(\) before render"):
        env.render()
    gains = np.ones((3, 5)) * 100.0
    env.reset(options={"deployment": Deployment.from_gains(NETWORK, gains)})
    with pytest.raises(ValueError, match="made of gains has no positions"):
        env.render()
    plain = RRMJointEnv(NETWORK)
    plain.reset()
    with pytest.warns(UserWarning, match="render_mode"):
        assert plain.render() is None
