"""d3rlpy as a client: its view of a log, its algorithms in `evaluate`, and what its own `get_minari` makes of a log."""

import sys
from dataclasses import replace

import gymnasium as gym
import minari
import numpy as np
import pytest
import torch

from rrmlab import Dataset, NetworkConfig, RRMEnv, collect, evaluate, load_dataset, make_scheduler
from rrmlab.joint_env import RRMJointEnv

d3rlpy = pytest.importorskip("d3rlpy")
from rrmlab.with_d3rlpy import D3rlpyPolicy, to_d3rlpy  # noqa: E402

# Few users, so that slots stay empty.
NETWORK = NetworkConfig(num_aps=2, num_users=3, top_n=2, episode_ttis=40, warmup_ttis=5)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of Minari datasets with a log of three episodes, the last one cut."""
    data = collect(make_scheduler("random_walk"), NETWORK, 100)
    return data.save(tmp_path_factory.mktemp("minari") / "walk-v0")


@pytest.fixture(scope="module")
def algo(saved):
    """DiscreteCQL, trained for 300 steps on the stored log."""
    config = d3rlpy.algos.DiscreteCQLConfig(
        batch_size=32, observation_scaler=d3rlpy.preprocessing.StandardObservationScaler()
    )
    algo = config.create()
    none = d3rlpy.logging.NoopAdapterFactory()
    algo.fit(to_d3rlpy(load_dataset(saved)), 300, 300, show_progress=False, logger_adapter=none)
    return algo


def transitions(buffer):
    """(observations, actions, rewards, next observations, terminal) of all transitions of a buffer."""
    picked = [buffer.transition_picker(*buffer.buffer[k]) for k in range(buffer.transition_count)]
    names = ("observation", "action", "reward", "next_observation", "terminal")
    return [np.stack([getattr(each, name) for each in picked]) for name in names]


def joint(actions, num_actions=3):
    """Joint actions (n, I) as one number, written as digits of the base N+1."""
    return np.array([[int("".join(map(str, row)), num_actions)] for row in actions.tolist()])


def assert_same_transitions(buffer, data):
    obs, actions, rewards, following, terminal = transitions(buffer)
    rows = data.rows
    np.testing.assert_array_equal(obs, data.obs[rows].flatten(1))
    np.testing.assert_array_equal(actions, joint(data.actions))
    np.testing.assert_array_equal(rewards, data.rewards[:, None])
    np.testing.assert_array_equal(terminal, data.terminated)
    np.testing.assert_array_equal(following, data.obs[rows + 1].flatten(1) * ~data.terminated[:, None])
    assert obs.dtype == rewards.dtype == np.float32
    assert buffer.dataset_info.action_size == 9 and buffer.dataset_info.action_space == d3rlpy.ActionSpace.DISCRETE


def test_transitions_are_those_of_the_log(saved):
    data = load_dataset(saved)
    assert len(data) == 100
    assert_same_transitions(to_d3rlpy(data), data)
    assert_same_transitions(to_d3rlpy(data.take(37, seed=1)), data.take(37, seed=1))


def test_an_episode_that_terminates_keeps_its_last_transition():
    data = collect(make_scheduler("random_walk"), NETWORK, 80)
    ended = torch.zeros(80, dtype=torch.bool)
    ended[39] = True
    columns = {name: getattr(data, name) for name in ("obs", "mask", "rows", "actions", "rewards", "log_prob")}
    data = Dataset(**columns, terminated=ended, truncated=data.truncated & ~ended, metadata=data.metadata)
    assert_same_transitions(to_d3rlpy(data), data)


def test_discrete_cql_is_scored_by_evaluate(algo):
    policy = D3rlpyPolicy(algo)
    scores = evaluate(policy, NETWORK, 5)
    assert policy.name == "d3rlpy DiscreteCQL" and scores.rates.shape == (5, 3) and scores.score > 0
    assert evaluate(policy, NETWORK, 5).score == scores.score
    assert len(collect(policy, NETWORK, 80)) == 80


@pytest.mark.parametrize("trained", [True, False])
def test_actions_are_those_of_predict_and_an_empty_slot_is_silence(saved, algo, trained):
    """The same episodes by hand: predict, a digit of the base N+1 for each AP, silence for an empty slot."""
    if not trained:  # what has not learned from the log yet may choose an empty slot
        d3rlpy.seed(1)
        algo = d3rlpy.algos.DiscreteCQLConfig().create()
        algo.build_with_dataset(to_d3rlpy(load_dataset(saved)))
    policy, env = D3rlpyPolicy(algo), RRMEnv(NETWORK, 4, seed=9)
    obs, info = env.reset()
    empty = 0
    for _ in range(NETWORK.episode_ttis):
        predicted = algo.predict(obs.reshape(4, -1).numpy())
        chosen = torch.tensor([[number // 3, number % 3] for number in predicted.tolist()])
        allowed = info["action_mask"].gather(-1, chosen[..., None])[..., 0]
        empty += int((~allowed).sum())
        view = env.view()
        assert torch.equal(view.actions(policy.serve(view)), chosen * allowed)
        obs, _, _, _, info = env.step(chosen * allowed)
    assert trained or empty, "no AP ever chose an empty slot"


def test_evaluate_and_d3rlpys_own_evaluator_agree(algo):
    """d3rlpy runs the algorithm in RRMJointEnv with one number for an action; a return is T mean rewards."""
    env = RRMJointEnv(NETWORK, split="test", flat_actions=True)
    own = d3rlpy.metrics.evaluate_qlearning_with_environment(algo, env, n_trials=3)
    assert evaluate(D3rlpyPolicy(algo), NETWORK, 3).rewards.mean() * 40 == pytest.approx(own, rel=1e-5)


def test_what_get_minari_makes_of_a_log(saved, monkeypatch):
    """Its environment is right; its buffer is not, which `to_d3rlpy` is for. If this fails, d3rlpy has changed."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(saved.parent))
    buffer, env = d3rlpy.datasets.get_minari("walk-v0")
    data = load_dataset(saved)
    assert env.unwrapped.config == NETWORK and env.spec.max_episode_steps == 40
    env.reset()
    env.step(env.action_space.sample())
    episodes, ours = buffer.episodes, data.episodes()
    np.testing.assert_array_equal(episodes[0].observations, ours[0]["obs"][:-1].reshape(40, -1))
    shifted = np.concatenate([ours[0]["obs"][-1:], ours[1]["obs"][:-2]]).reshape(40, -1)
    np.testing.assert_array_equal(episodes[1].observations, shifted)  # the actions are those of a TTI later
    np.testing.assert_array_equal(episodes[1].actions, ours[1]["actions"])
    assert buffer.transition_count == 100 - 3  # one less of each episode
    assert buffer.dataset_info.action_size == 3 and buffer.dataset_info.action_signature.shape == [(2,)]
    flat = minari.load_dataset("walk-v0").recover_environment(flat_actions=True)
    assert flat.action_space == gym.spaces.Discrete(9)


def test_missing_d3rlpy_is_named(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "d3rlpy", None)  # as if it were not installed
    with pytest.raises(ImportError, match="pip install d3rlpy==2.8.1"):
        to_d3rlpy(load_dataset(saved))


def test_what_cannot_act_is_refused(algo):
    for wrong, message in (
        ("cql", "^algo: must be a QLearningAlgoBase, got str"),
        (d3rlpy.algos.CQLConfig().create(), "^algo = CQL: must have discrete actions"),
        (d3rlpy.algos.DiscreteCQLConfig().create(), "^algo = DiscreteCQL: is not built"),
    ):
        with pytest.raises(ValueError, match=message):
            D3rlpyPolicy(wrong)
    with pytest.raises(
        ValueError, match=r"^algo: was trained for observations \(8,\) and 9 actions, .* \(12,\) and 27"
    ):
        evaluate(D3rlpyPolicy(algo), replace(NETWORK, num_aps=3), 2)
    with pytest.raises(ValueError, match="^data: must be a Dataset"):
        to_d3rlpy([1])
