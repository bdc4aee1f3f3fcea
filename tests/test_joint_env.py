"""The centralized view as a Gymnasium environment, and logs that name it."""

import gymnasium as gym
import minari
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from rrmlab import NetworkConfig, RRMEnv, collect, make_scheduler
from rrmlab.joint_env import RRMJointEnv

NETWORK = NetworkConfig(num_aps=3, num_users=5, top_n=3, episode_ttis=12, warmup_ttis=5)


@pytest.mark.filterwarnings("ignore:.*render:UserWarning")
def test_gymnasium_accepts_it():
    check_env(gym.make("rrmlab/RRMJoint-v0", config=NETWORK).unwrapped, skip_render_check=True)


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
