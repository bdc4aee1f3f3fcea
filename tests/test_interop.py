"""What other libraries see: the PettingZoo wrapper and Minari's loader. Shapes: I APs, N top users, T TTIs."""

import importlib
import sys
import warnings
from dataclasses import replace

import minari
import numpy as np
import pytest
import torch
from pettingzoo.test import parallel_api_test

from rrmlab.agents.config import AgentConfig
from rrmlab.config import NetworkConfig
from rrmlab.game.deployment import Deployment
from rrmlab.game.env import RRMEnv
from rrmlab.game.evaluation import evaluate
from rrmlab.game.schedulers import RandomWalk
from rrmlab.interop import RRMParallelEnv
from rrmlab.joint_env import RRMJointEnv
from rrmlab.learning.collection import collect
from rrmlab.learning.offline import train_offline

# Few users, so that slots stay empty and masks differ from TTI to TTI and from AP to AP.
NETWORK = NetworkConfig(num_aps=3, num_users=7, top_n=3, episode_ttis=30, warmup_ttis=10)


def masked_sample(env, observations, rng):
    """A uniformly random permitted action of every live agent."""
    return {agent: int(rng.choice(np.flatnonzero(observations[agent]["action_mask"]))) for agent in env.agents}


def play(env, seed, episodes=2):
    """All that `episodes` episodes return: per TTI the joint observation, masks, rewards, truncations."""
    rng, log = np.random.default_rng(0), []
    for episode in range(episodes):
        observations, _ = env.reset(seed=seed if episode == 0 else None)
        log.append((env.state(), [o["action_mask"].tolist() for o in observations.values()]))
        while env.agents:
            observations, rewards, _, truncated, infos = env.step(masked_sample(env, observations, rng))
            masks = [o["action_mask"].tolist() for o in observations.values()]
            log.append((env.state(), masks, rewards, truncated, infos["ap_0"]["rates"]))
    return log


def same(first, second):
    """Whether two logs are equal to the last bit."""
    return len(first) == len(second) and all(
        np.array_equal(a[0], b[0]) and a[1:4] == b[1:4] and np.array_equal(a[4:], b[4:])
        for a, b in zip(first, second, strict=True)
    )


SPARSE = NetworkConfig(num_aps=4, num_users=5, require_users=False, episode_ttis=40)  # APs without any user


@pytest.mark.parametrize("config", [NETWORK, SPARSE])
def test_pettingzoo_api(config):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the API test warns of what it does not assert
        parallel_api_test(RRMParallelEnv(config), num_cycles=100)


def test_spaces_contain_what_is_returned():
    env = RRMParallelEnv(NETWORK)
    observations, infos = env.reset(seed=3)
    masks = []
    while True:
        assert set(observations) == set(infos) == set(env.possible_agents) == {"ap_0", "ap_1", "ap_2"}
        for agent, observation in observations.items():
            assert env.observation_space(agent).contains(observation)
            assert observation["observation"].dtype == np.float32 and observation["action_mask"].dtype == np.int8
            masks.append(observation["action_mask"].tolist())
        joint = np.concatenate([observations[agent]["observation"] for agent in env.possible_agents])
        assert env.state_space.contains(env.state())
        np.testing.assert_array_equal(env.state(), joint)
        if not env.agents:
            break
        actions = {agent: env.action_space(agent).sample(observations[agent]["action_mask"]) for agent in env.agents}
        observations, _, _, _, infos = env.step(actions)
    assert any(0 in mask for mask in masks), "no AP ever had an empty slot: the masks were not put to the test"


def test_same_seed_same_episodes():
    """Two episodes of one seed, 60 TTIs, to the last bit; also on an instance that was used before."""
    log = play(RRMParallelEnv(NETWORK), seed=5)
    used = RRMParallelEnv(NETWORK, seed=1)
    play(used, seed=2)
    assert len(log) == 2 * (NETWORK.episode_ttis + 1)
    assert same(log, play(RRMParallelEnv(NETWORK, seed=9), seed=5)) and same(log, play(used, seed=5))
    # The seed of the constructor is the one that a first reset without a seed goes on with.
    assert same(log, play(RRMParallelEnv(NETWORK, seed=5), seed=None))


def test_other_seed_other_episodes():
    log, half = play(RRMParallelEnv(NETWORK), seed=5), NETWORK.episode_ttis + 1
    others = [play(RRMParallelEnv(NETWORK), seed=6), play(RRMParallelEnv(NETWORK, split="test"), seed=5)]
    for other in [*(o[:half] for o in others), log[half:]]:  # the second episode is another one, too
        assert not any(np.array_equal(a[0], b[0]) for a, b in zip(log[:half], other, strict=True))


def test_equals_the_game():
    """Same deployment and actions: what RRMEnv returns, handed over as an option or drawn from the seed."""
    deployment = Deployment.draw(NETWORK, 1, seed=4, split="validation", first_index=0)
    for options in ({"deployment": deployment}, None):
        wrapper, game = RRMParallelEnv(NETWORK, split="validation"), RRMEnv(NETWORK)
        rng = np.random.default_rng(1)
        observations, _ = wrapper.reset(seed=4, options=options)
        obs, info = game.reset(deployment=deployment)
        for t in range(NETWORK.episode_ttis + 1):
            for i, agent in enumerate(wrapper.possible_agents):
                np.testing.assert_array_equal(observations[agent]["observation"], obs[0, i].numpy())
                np.testing.assert_array_equal(observations[agent]["action_mask"], info["action_mask"][0, i].numpy())
            if t == NETWORK.episode_ttis:
                break
            actions = masked_sample(wrapper, observations, rng)
            observations, rewards, terminated, truncated, infos = wrapper.step(actions)
            obs, reward, _, ended, info = game.step(torch.tensor([list(actions.values())]))
            for agent in wrapper.possible_agents:  # one reward for the team, one end for all
                assert rewards[agent] == reward.item() and truncated[agent] is bool(ended[0])
                assert terminated[agent] is False
                np.testing.assert_array_equal(infos[agent]["rates"], info["rates"][0].numpy())
        assert bool(ended[0]) and wrapper.agents == []


def test_wrong_actions_are_refused():
    env = RRMParallelEnv(NETWORK)
    idle = dict.fromkeys(env.possible_agents, 0)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(idle)
    observations, _ = env.reset(seed=0)
    while all(o["action_mask"].all() for o in observations.values()):
        observations, _ = env.reset()
    agent = next(a for a, o in observations.items() if not o["action_mask"].all())
    masked = int(np.flatnonzero(observations[agent]["action_mask"] == 0)[0])
    with pytest.raises(ValueError, match="action_mask"):
        env.step({**idle, agent: masked})
    for wrong in (4, -1, 1.0, "1", None):
        with pytest.raises(ValueError, match=r"'ap_1'\] = .* must be one of 0 ... 3"):
            env.step({**idle, "ap_1": wrong})
    for wrong in ({}, {"ap_0": 0}, {**idle, "ap_3": 0}):
        with pytest.raises(ValueError, match="need one for each of ap_0, ap_1, ap_2"):
            env.step(wrong)
    # None of these was a step.
    for t in range(NETWORK.episode_ttis):
        assert env.env.ttis == t
        env.step(idle)
    with pytest.raises(RuntimeError, match="truncated"):
        env.step(idle)
    assert env.agents == [] and env.possible_agents == list(idle)


ONE_NUMBER = {
    "int": int, "int64": np.int64, "int32": np.int32, "uint8": np.uint8, "0-d array": np.array,
    "array of one": lambda n: np.array([n]), "0-d tensor": torch.tensor, "tensor of one": lambda n: torch.tensor([n]),
    "int32 tensor": lambda n: torch.tensor(n, dtype=torch.int32), "row": lambda n: torch.tensor([[n]]),
}  # fmt: skip


@pytest.mark.parametrize("kind", ONE_NUMBER)
def test_actions_of_any_kind_of_whole_number(kind):
    plain, other = RRMParallelEnv(NETWORK), RRMParallelEnv(NETWORK)
    seen = [env.reset(seed=4)[0] for env in (plain, other)]
    for _ in range(5):
        actions = {agent: int(mask["action_mask"].nonzero()[0][-1]) for agent, mask in seen[0].items()}
        given = {agent: ONE_NUMBER[kind](action) for agent, action in actions.items()}
        (first, rewards, *_), (second, same, *_) = plain.step(actions), other.step(given)
        assert rewards == same and np.array_equal(plain.state(), other.state())
        seen = [first, second]


@pytest.mark.parametrize(
    "wrong",
    [True, np.True_, 1.0, np.float32(1), np.array(1.0), np.array([0, 1]), np.array([]), torch.tensor(1.0), np.int64(4),
     torch.tensor([0, 1]), torch.tensor(True), torch.tensor(-1), [1], (1,), {0}, "1", None, 10**30, np.array(["1"])],
    ids=repr,
)  # fmt: skip
def test_actions_that_are_no_whole_number_are_named_with_their_type(wrong):
    env = RRMParallelEnv(NETWORK)
    env.reset(seed=0)
    idle = dict.fromkeys(env.agents, 0)
    says = rf"^actions\['ap_1'\] = .*: must be one of 0 \.\.\. 3, .* whole number, got {type(wrong).__name__}$"
    with pytest.raises(ValueError, match=says):
        env.step({**idle, "ap_1": wrong})
    assert env.env.ttis == 0


MASKS = {
    "bool": lambda mask: mask, "int8": lambda mask: mask.astype(np.int8), "int64": lambda mask: mask.astype(np.int64),
    "float32": lambda mask: mask.astype(np.float32), "list": lambda mask: mask.tolist(),
    "list of ints": lambda mask: mask.astype(int).tolist(), "tensor": torch.from_numpy,
    "int8 tensor": lambda mask: torch.from_numpy(mask.astype(np.int8)),
}  # fmt: skip


@pytest.fixture(scope="module", params=[("ctde", "sac"), ("centralized", "dqn"), ("independent", "dqn")], ids="-".join)
def policy(request):
    agent = AgentConfig(*request.param, hidden=(8,), num_updates=3, batch_size=8)
    return train_offline(collect(RandomWalk(), SPARSE, 80), agent, [0], progress=False)[0]


@pytest.mark.parametrize("kind", MASKS)
def test_the_wrapper_s_observations_and_masks_go_into_a_policy(policy, kind):
    """Whole episodes, played by actions that go back into the wrapper as the policy gives them."""
    env, game = RRMParallelEnv(SPARSE), RRMEnv(SPARSE)
    seen, _ = env.reset(seed=1)
    obs, info = game.reset(Deployment.draw(SPARSE, 1, seed=1))
    while env.agents:
        stacked = np.stack([seen[agent]["observation"] for agent in env.agents])
        mask = np.stack([seen[agent]["action_mask"] for agent in env.agents]).astype(bool)
        actions = policy.act(stacked, MASKS[kind](mask))
        assert torch.equal(actions, policy.act(obs, info["action_mask"])[0])
        values = policy.q_values(stacked[None], MASKS[kind](mask[None]))
        assert torch.equal(values, policy.q_values(obs, info["action_mask"]))
        seen, *_ = env.step(dict(zip(env.agents, actions, strict=True)))
        obs, _, _, _, info = game.step(actions[None])


@pytest.mark.parametrize("factor", ["rate", "free"])
def test_a_graph_plays_in_the_wrapper(factor):
    """The agents' observations stacked, the actions handed back: in a larger network than that of its log too, against
    the game itself and the decision in NumPy."""
    small = replace(NETWORK, observation="neighbours")
    agent = AgentConfig.graph(factor=factor, hidden=(8,), num_updates=100, learning_rate=1e-2, batch_size=16)
    policy = train_offline(collect(RandomWalk(), small, 200), agent, [0], progress=False)[0]
    for network in (small, replace(SPARSE, observation="neighbours", num_aps=6, top_n=2)):
        env, local, played = RRMParallelEnv(network), policy.local_network(), set()
        seen, _ = env.reset(seed=1)
        rates = []
        while env.agents:
            stacked = np.stack([seen[agent]["observation"] for agent in env.agents])
            mask = np.stack([seen[agent]["action_mask"] for agent in env.agents])
            actions = policy.act(stacked, mask)
            assert (
                actions.tolist() == local(stacked).tolist() == policy.act(env.state().reshape(stacked.shape)).tolist()
            )
            played.add(tuple(actions.tolist()))
            seen, _, _, _, infos = env.step(dict(zip(env.agents, actions, strict=True)))
            rates.append(infos["ap_0"]["rates"])
        scores = evaluate(policy, network, deployments=Deployment.draw(network, 1, seed=1))
        np.testing.assert_allclose(np.mean(rates, 0), scores.rates[0], rtol=1e-5)
        assert len(played) > 1 and any(map(any, played))


@pytest.mark.parametrize(
    "spoil",
    [lambda mask: 2 * mask, lambda mask: -mask, lambda mask: mask * np.nan, lambda mask: mask[:, :-1],
     lambda mask: mask[None, None], lambda mask: mask.astype(str), lambda mask: "mask"],
    ids=["2", "-1", "NaN", "a column less", "more dimensions", "text", "a word"],
)  # fmt: skip
def test_masks_that_are_none_are_refused(policy, spoil):
    obs, mask = np.ones((4, 6), np.float32), np.ones((4, 4), np.int8)
    for use in (policy.act, lambda obs, mask: policy.q_values(obs[None], mask)):
        with pytest.raises(ValueError, match="^action_mask"):
            use(obs, spoil(mask))


def test_pictures_are_those_of_the_joint_environment():
    wrapper, joint = (make(NETWORK, seed=3, render_mode="rgb_array") for make in (RRMParallelEnv, RRMJointEnv))
    with pytest.raises(RuntimeError, match=r"call reset\(\) before render"):
        wrapper.render()
    wrapper.reset()
    _, info = joint.reset()
    for action in (info["action_mask"][:, 1] * 1, np.zeros(3, dtype=int)):
        np.testing.assert_array_equal(wrapper.render(), joint.render())
        wrapper.step(dict(zip(wrapper.agents, action, strict=True)))
        joint.step(action)
    picture = wrapper.render()
    assert picture.dtype == np.uint8 and picture.shape[-1] == 3
    np.testing.assert_array_equal(picture, joint.render())
    with pytest.raises(ValueError, match="^render_mode = 'human': must be None or 'rgb_array'"):
        RRMParallelEnv(NETWORK, render_mode="human")
    plain = RRMParallelEnv(NETWORK)
    plain.reset()
    with pytest.warns(UserWarning, match="render_mode"):
        assert plain.render() is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_stable_baselines3_learns_on_it():
    """PPO by way of SuperSuit: one policy for all APs, whose actions the environment takes.

    It knows no masks, so there are more users than slots.
    """
    supersuit, sb3 = pytest.importorskip("supersuit"), pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.utils import set_random_seed

    network = NetworkConfig(num_aps=2, num_users=24, top_n=2, episode_ttis=20, warmup_ttis=5)
    env = RRMParallelEnv(network)
    env.reset()
    vector = supersuit.pettingzoo_env_to_vec_env_v1(env)
    vector = supersuit.concat_vec_envs_v1(vector, 2, num_cpus=1, base_class="stable_baselines3")
    set_random_seed(0)  # SuperSuit's environments cannot be seeded, so the model's own seed is of no use
    model = sb3.PPO("MultiInputPolicy", vector, n_steps=32, batch_size=32, n_epochs=1, device="cpu")
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(256)
    assert model.num_timesteps >= 256
    assert any(not torch.equal(value, before[name]) for name, value in model.policy.state_dict().items())
    observations, _ = env.reset(seed=1)
    while env.agents:
        actions = {agent: model.predict(seen, deterministic=True)[0] for agent, seen in observations.items()}
        assert all(env.action_space(agent).contains(action) for agent, action in actions.items())
        observations, *_ = env.step(actions)
    vector.close()


def test_missing_pettingzoo_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pettingzoo", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "rrmlab.interop")
    with pytest.raises(ImportError, match=r"rrmlab\[interop\]"):
        importlib.import_module("rrmlab.interop")


def test_minari_opens_a_saved_dataset(tmp_path, monkeypatch):
    """Minari's own loader: T+1 observations and masks in every episode, the last step truncated, nothing lost."""
    num_transitions = 2 * NETWORK.episode_ttis + 11  # the third episode is cut
    data = collect(RandomWalk(), NETWORK, num_transitions, seed=1)
    data.save(tmp_path / "random-v0")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    stored = minari.load_dataset("random-v0")
    assert stored.total_steps == num_transitions and stored.total_episodes == 3
    assert stored.observation_space.shape == (3 * 6,) and stored.action_space.nvec.tolist() == [4, 4, 4]
    first = 0
    for episode, length in zip(stored.iterate_episodes(), (30, 30, 11), strict=True):
        assert len(episode) == length
        assert episode.observations.shape == (length + 1, 18)
        assert episode.infos["action_mask"].shape == (length + 1, 3, 4)
        assert episode.truncations.tolist() == [False] * (length - 1) + [True]
        assert not episode.terminations.any()
        rows = slice(int(data.rows[first]), int(data.rows[first]) + length + 1)
        np.testing.assert_array_equal(episode.observations, data.obs[rows].flatten(1).numpy())
        np.testing.assert_array_equal(episode.infos["action_mask"], data.mask[rows].numpy())
        np.testing.assert_array_equal(episode.actions, data.actions[first : first + length].numpy())
        np.testing.assert_array_equal(episode.rewards, data.rewards[first : first + length].numpy())
        first += length
