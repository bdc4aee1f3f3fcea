"""Datasets: what is collected is what was played, and what is loaded is what was saved.

Shapes: E environments, T TTIs of an episode, I APs, N top users, n transitions.
"""

import dataclasses
import hashlib
import json
import math
import shutil

import minari
import numpy as np
import pytest
import torch
from minari import MinariDataset
from minari.dataset.minari_storage import MinariStorage

from rrmlab.agents.config import AgentConfig
from rrmlab.config import NetworkConfig
from rrmlab.game.deployment import Deployment
from rrmlab.game.env import RRMEnv
from rrmlab.game.schedulers import TDM, Exhaustive, FullReuse, ITLinQ, MaxSINR, Mixture, RandomWalk
from rrmlab.learning import collection
from rrmlab.learning.collection import collect
from rrmlab.learning.dataset import join, load_dataset, mix
from rrmlab.learning.offline import train_offline
from rrmlab.learning.online import train_online
from rrmlab.storage import CorruptFileError, new_folder

NETWORK = NetworkConfig(num_aps=3, num_users=7, top_n=2, episode_ttis=30, warmup_ttis=10)
OTHER_SHAPE = dataclasses.replace(NETWORK, top_n=3)
COLUMNS = ("actions", "rewards", "own_rewards", "terminated", "truncated", "log_prob")
SCHEDULED = (
    "random walk",
    "full reuse",
    "itlinq",
    "exhaustive",
    "mixture",
    "greedy policy",
    "sampled policy",
)
ONLINE = ("sac", "dqn")


@pytest.fixture(scope="module")
def walk():
    """Two and a half episodes of the random walk."""
    return collect(RandomWalk(), NETWORK, 75, seed=3)


@pytest.fixture(scope="module")
def policy(walk):
    config = AgentConfig(hidden=(8,), num_updates=3, batch_size=16)
    return train_offline(walk, config, [0], progress=False)[0]


def behaviour_of(name, policy):
    return {
        "random walk": RandomWalk(),
        "full reuse": FullReuse(),
        "itlinq": ITLinQ(0, 0.5),
        "exhaustive": Exhaustive(),
        "mixture": Mixture([RandomWalk(), FullReuse(), ITLinQ(0, 0.5)], [2, 1, 1]),
        "greedy policy": policy,
        "sampled policy": policy.sampled(),
    }[name]


def logged_by(name, policy, num):
    """A log of `num` transitions; "sac" and "dqn" are the second half of an online training."""
    if name not in ONLINE:
        return collect(behaviour_of(name, policy), NETWORK, num, seed=1)
    agent = AgentConfig(backbone=name, alpha=0.0)
    return train_online(NETWORK, agent, [1], 2 * num, num_envs=min(80, num), progress=False)[0].data


def transitions(data):
    """Everything of every transition, the next observation and mask among it."""
    rows = data.rows
    return {
        "obs": data.obs[rows],
        "mask": data.mask[rows],
        "next_obs": data.obs[rows + 1],
        "next_mask": data.mask[rows + 1],
        **{name: getattr(data, name) for name in COLUMNS},
    }


def assert_same(first, second, *, but=()):
    first, second = transitions(first), transitions(second)
    for name in first:
        if name not in but:
            assert first[name].dtype == second[name].dtype, name
            assert torch.equal(first[name], second[name]), name


def assert_replays(data, deployment):
    """Whole episodes, environment after environment: the logged actions give all the rest that was logged."""
    e, t = len(deployment), NETWORK.episode_ttis
    assert len(data) == e * t
    assert len(data.obs) == len(data.mask) == e * (t + 1)
    env = RRMEnv(NETWORK, e)
    env.reset(deployment)
    obs, mask = data.obs.unflatten(0, (e, t + 1)), data.mask.unflatten(0, (e, t + 1))
    assert torch.equal(data.rows, torch.arange(e * (t + 1)).view(e, t + 1)[:, :-1].flatten())
    for step in range(t):
        assert torch.equal(env.obs, obs[:, step])
        assert torch.equal(env.action_mask, mask[:, step])
        _, reward, _, truncated, info = env.step(data.actions.view(e, t, -1)[:, step])
        assert torch.equal(reward, data.rewards.view(e, t)[:, step])
        assert torch.equal(info["own_rewards"], data.own_rewards.view(e, t, -1)[:, step])
        assert torch.equal(truncated, data.truncated.view(e, t)[:, step])
    assert torch.equal(env.obs, obs[:, -1]), "the true last observation, not the next episode's first"
    assert torch.equal(env.action_mask, mask[:, -1])
    assert not data.terminated.any()


# --- collect ------------------------------------------------------------------------------------------------


def test_collect_is_a_plain_loop_over_the_environment():
    data = collect(RandomWalk(seed=4), NETWORK, 90, seed=3)
    env, walk = RRMEnv(NETWORK, 3, seed=3, split="train"), RandomWalk(seed=4)
    obs, info = env.reset()
    walk.begin(env.deployment.key)
    log = {"obs": [obs], "mask": [info["action_mask"]], "actions": [], "rewards": [], "log_prob": []}
    for _ in range(30):
        view = env.view()
        actions = view.actions(walk.serve(view))
        log["actions"].append(actions)
        log["log_prob"].append(-info["action_mask"].sum(-1).double().log().sum(-1))
        obs, reward, _, _, info = env.step(actions)
        log["obs"].append(obs)
        log["mask"].append(info["action_mask"])
        log["rewards"].append(reward)
    for name, values in log.items():
        logged, played = getattr(data, name), torch.stack(values, 1).flatten(0, 1)
        torch.testing.assert_close(logged, played, rtol=0, atol=1e-12, msg=name)
    assert data.truncated.nonzero().flatten().tolist() == [29, 59, 89]
    assert_replays(data, Deployment.draw(NETWORK, 3, seed=3, split="train"))
    assert data.network == NETWORK
    assert data.metadata["behaviour"] == "Random walk"
    assert data.metadata["seed"] == 3


@pytest.mark.parametrize("name", SCHEDULED + ONLINE)
def test_what_any_behaviour_logs_can_be_replayed(name, policy):
    online = name in ONLINE
    # Online: 80 environments play two episodes each, and the second ones are kept.
    data = logged_by(name, policy, 80 * 30 if online else 60)
    assert_replays(data, Deployment.draw(NETWORK, 80 if online else 2, 1, "train", 80 if online else 0))
    assert torch.isfinite(data.log_prob).all()
    assert (data.log_prob <= 1e-6).all()
    stochastic = name in ("random walk", "mixture", "sampled policy", *ONLINE)
    assert (data.log_prob < 0).any() == stochastic


@pytest.mark.parametrize("name", SCHEDULED + ONLINE)
def test_save_and_load(name, policy, tmp_path):
    data = logged_by(name, policy, 60)
    path = data.save(tmp_path / "here" / f"{name.replace(' ', '-')}-v0")
    loaded = load_dataset(path)
    assert_same(data, loaded, but=["truncated"])
    assert loaded.truncated[data.truncated].all()
    assert loaded.metadata == data.metadata
    assert loaded.network == NETWORK
    assert_same(loaded, load_dataset(loaded.save(tmp_path / "again-v0")))
    if name in SCHEDULED:  # whole episodes in logged order: even the layout is the same
        assert torch.equal(loaded.obs, data.obs)
        assert torch.equal(loaded.rows, data.rows)


def test_collect_is_deterministic_and_does_not_depend_on_the_group(walk, monkeypatch):
    assert_same(collect(RandomWalk(), NETWORK, 75, seed=3), walk)
    monkeypatch.setattr(collection, "COLLECTION_ENVS", 2)
    assert_same(collect(RandomWalk(), NETWORK, 75, seed=3), walk)
    assert not torch.equal(collect(RandomWalk(), NETWORK, 75, seed=4).rewards, walk.rewards)
    assert not torch.equal(collect(RandomWalk(seed=1), NETWORK, 75, seed=3).actions, walk.actions)


def test_a_partial_last_episode(walk, tmp_path):
    """Cut where the number is reached, truncated on disk, its true next observation kept."""
    whole = collect(RandomWalk(), NETWORK, 90, seed=3)
    assert len(walk) == 75
    assert_same(walk, whole.select(torch.arange(75)), but=["truncated"])
    loaded = load_dataset(walk.save(tmp_path / "walk-v0"))
    assert loaded.truncated.nonzero().flatten().tolist() == [29, 59, 74]
    assert_same(loaded, walk, but=["truncated"])
    assert torch.equal(loaded.obs[-1], whole.obs[whole.rows[75]])


def test_a_partial_last_episode_is_marked_in_memory_too(walk):
    assert walk.truncated.nonzero().flatten().tolist() == [29, 59, 74]


@pytest.mark.parametrize("outside", [TDM(), MaxSINR()], ids=["TDM", "Max-SINR"])
def test_a_behaviour_that_leaves_the_slots_is_refused(outside):
    with pytest.raises(ValueError, match="may serve users outside the slots"):
        collect(outside, NETWORK, 60)


def test_bad_requests():
    for num in (0, -5):
        with pytest.raises(ValueError, match=f"num_transitions = {num}"):
            collect(RandomWalk(), NETWORK, num)
    with pytest.raises(ValueError, match="behaviour: 'sac' is no scheduler"):
        collect("sac", NETWORK, 10)
    with pytest.raises(ValueError, match="seed = -1"):
        collect(RandomWalk(), NETWORK, 10, seed=-1)


def test_a_greedy_policy_of_another_network_is_refused(policy):
    with pytest.raises(ValueError, match="obs of shape|another network"):
        collect(policy, OTHER_SHAPE, 10)


def test_a_sampled_policy_of_another_network_is_refused(policy):
    with pytest.raises(ValueError, match="another network"):
        collect(policy.sampled(), OTHER_SHAPE, 10)


# --- Minari -------------------------------------------------------------------------------------------------


def test_the_layout_on_disk_is_minari(walk, tmp_path):
    path = walk.save(tmp_path / "walk-v0")
    stored = MinariDataset(path / "data")
    assert (stored.total_episodes, stored.total_steps) == (3, 75)
    assert stored.observation_space.shape == (3 * 4,)
    assert stored.action_space.nvec.tolist() == [3, 3, 3]
    metadata = json.loads((path / "data" / "metadata.json").read_text())
    assert metadata["dataset_id"] == "walk-v0"
    assert metadata["algorithm_name"] == "Random walk"
    first = 0
    for episode, steps in zip(stored.iterate_episodes(), (30, 30, 15), strict=True):
        part = slice(first, first + steps)
        rows = torch.cat([walk.rows[part], walk.rows[part][-1:] + 1])
        assert episode.observations.shape == (steps + 1, 12)
        assert episode.observations.dtype == np.float32
        assert episode.infos["action_mask"].shape == (steps + 1, 3, 3)
        assert episode.infos["action_mask"].dtype == bool
        assert episode.infos["log_prob"].shape == (steps,)
        assert episode.truncations.tolist() == [False] * (steps - 1) + [True]
        assert not episode.terminations.any()
        assert all(action in stored.action_space for action in episode.actions)
        np.testing.assert_array_equal(episode.observations, walk.obs[rows].flatten(1))
        np.testing.assert_array_equal(episode.infos["action_mask"], walk.mask[rows])
        np.testing.assert_array_equal(episode.actions, walk.actions[part])
        np.testing.assert_array_equal(episode.rewards, walk.rewards[part])
        np.testing.assert_array_equal(episode.infos["log_prob"], walk.log_prob[part])
        np.testing.assert_array_equal(episode.infos["own_rewards"], walk.own_rewards[part])
        first += steps
    load_dataset(path)  # reading through Minari changed nothing


def test_a_relative_path(walk, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    walk.save("here/walk-v0")
    stored = MinariDataset(tmp_path / "here" / "walk-v0" / "data")
    assert stored.storage.metadata["dataset_size"] > 0
    assert_same(load_dataset("here/walk-v0"), load_dataset(tmp_path / "here" / "walk-v0"))
    assert [f.name for f in tmp_path.rglob("*.hdf5")] == ["main_data.hdf5"]


def test_minari_opens_it_by_name(walk, tmp_path, monkeypatch):
    path = walk.save(tmp_path / "walk-v0")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    stored = minari.load_dataset("walk-v0")
    assert stored.total_steps == 75
    assert sorted(len(episode) for episode in stored.sample_episodes(3)) == [15, 30, 30]
    assert len(load_dataset(path)) == 75


def test_the_sums_are_those_of_sha256sum(walk, tmp_path):
    path = walk.save(tmp_path / "walk-v0")
    lines = (path / "SHA256SUMS").read_text().splitlines()
    assert sorted(line[66:] for line in lines) == ["data/main_data.hdf5", "data/metadata.json"]
    for line in lines:
        assert line[:64] == hashlib.sha256((path / line[66:]).read_bytes()).hexdigest()
        assert line[64:66] == "  "


# --- subsets, joins, mixtures -------------------------------------------------------------------------------


def ids(data):
    """What tells one transition from another: what was seen before it."""
    return [tuple(obs) for obs in data.obs[data.rows].flatten(1).tolist()]


def test_take_is_deterministic_nested_and_of_the_right_size(walk):
    sizes = (1, 10, 40, 75)
    taken = [walk.take(n, seed=6) for n in sizes]
    assert [len(part) for part in taken] == list(sizes)
    for n, part in zip(sizes, taken, strict=True):
        places = [ids(walk).index(one) for one in ids(part)]
        assert places == sorted(set(places)), "in logged order, none twice"
        assert ids(walk.take(n, seed=6)) == ids(part)
    for smaller, larger in zip(taken, taken[1:], strict=False):
        assert set(ids(smaller)) < set(ids(larger))
    assert_same(taken[-1], walk)
    assert ids(walk.take(40, seed=7)) != ids(taken[2])
    index = torch.tensor([ids(walk).index(one) for one in ids(taken[2])])
    assert_same(taken[2], walk.select(index))
    assert len(taken[0].obs) == 2, "nothing is kept, and no scale taken, of what was left out"
    for num in (0, -1, 76):
        with pytest.raises(ValueError, match=rf"num_transitions = {num}: must lie in 1 \.\.\. 75"):
            walk.take(num)


@pytest.mark.parametrize("index", ["random", "reversed", "repeated", "every second"])
def test_a_saved_subset_keeps_every_next_observation(walk, tmp_path, index):
    picked = {
        "random": torch.from_numpy(np.sort(np.random.default_rng(0).permutation(75)[:30])),
        "reversed": torch.arange(74, -1, -1),
        "repeated": torch.tensor([5, 5, 6, 6, 7, 29, 30, 30, 74]),
        "every second": torch.arange(0, 75, 2),
    }[index]
    part = walk.select(picked)
    loaded = load_dataset(part.save(tmp_path / "part-v0"))
    assert_same(loaded, part, but=["truncated"])
    follows = picked[1:] == picked[:-1] + 1  # the next stored transition is the next of the same episode
    expected = walk.truncated[picked] | torch.cat([~follows, torch.tensor([True])])
    assert torch.equal(loaded.truncated, expected)
    assert len(loaded.obs) == len(picked) + int(expected.sum())


def test_join_and_its_refusal(walk):
    other = collect(FullReuse(), NETWORK, 40, seed=9).select(torch.arange(3, 20))
    both = join([walk, other], {"behaviour": "both"})
    assert len(both) == 75 + 17
    assert_same(both.select(torch.arange(75)), walk)
    assert_same(both.select(torch.arange(75, 92)), other)
    assert both.metadata == {"behaviour": "both"}
    for change in ({"top_n": 3}, {"num_aps": 2}, {"lam": 0.5}, {"area_m": 900.0}):
        wrong = collect(RandomWalk(), dataclasses.replace(NETWORK, **change), 10)
        for put in (lambda parts: join(parts, {}), lambda parts: mix(parts, [1, 1], 10)):
            with pytest.raises(ValueError, match=f"different networks cannot be joined.*{next(iter(change))}"):
                put([walk, wrong])
    longer = collect(RandomWalk(), dataclasses.replace(NETWORK, episode_ttis=50), 60)
    assert len(join([walk, longer], {})) == 75 + 60, "only the length of the episodes may differ"


def test_mix_keeps_the_proportions(walk):
    greedy, oracle = collect(FullReuse(), NETWORK, 50, seed=1), collect(Exhaustive(), NETWORK, 50, seed=2)
    mixed = mix([walk, greedy, oracle], [3, 1, 2], 60, seed=5)
    parts = [walk.take(30, 5), greedy.take(10, 5), oracle.take(20, 5)]
    for first, part in zip((0, 30, 40), parts, strict=True):
        assert_same(mixed.select(torch.arange(first, first + len(part))), part)
    assert len(mixed) == 60
    assert mixed.metadata["behaviour"] == "Random walk + Full reuse + Exhaustive"
    assert mixed.metadata["proportions"] == [3, 1, 2]
    assert mixed.network == NETWORK
    assert_same(mix([walk, greedy, oracle], [3, 1, 2], 60, seed=5), mixed)
    assert not torch.equal(mix([walk, greedy, oracle], [3, 1, 2], 60, seed=6).rewards, mixed.rewards)
    for num in range(4, 41):  # shares that are no whole numbers still add up, each within one of its due
        found = ids(mix([walk, greedy], [0.3, 0.7], num))
        walked = len(set(found) & set(ids(walk)))
        assert walked + len(set(found) & set(ids(greedy))) == len(found) == num
        assert abs(walked - 0.3 * num) < 1


def test_bad_mixtures(walk):
    for proportions in ([1], [1, 1, 1], [1, 0], [1, -1]):
        with pytest.raises(ValueError, match="proportions"):
            mix([walk, walk], proportions, 10)
    with pytest.raises(ValueError, match=r"datasets\[1\] would give 90 of 100 transitions, it holds 75"):
        mix([walk, walk], [1, 9], 100)


@pytest.mark.parametrize(("num", "proportions"), [(0, []), (2, [1, math.nan])])
def test_bad_proportions_are_named(walk, num, proportions):
    with pytest.raises(ValueError, match="proportions"):
        mix([walk] * num, proportions, 10)


# --- damage -------------------------------------------------------------------------------------------------


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "edited data": ("data/main_data.hdf5", flip_a_byte),
    "truncated data": ("data/main_data.hdf5", lambda f: f.write_bytes(f.read_bytes()[:-1000])),
    "no data": ("data/main_data.hdf5", lambda f: f.unlink()),
    "edited metadata": ("data/metadata.json", flip_a_byte),
    "no sums": ("SHA256SUMS", lambda f: f.unlink()),
    "damaged sums": ("SHA256SUMS", lambda f: f.write_text("not a checksum\n")),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_dataset_is_refused_by_name(walk, tmp_path, kind):
    path = walk.take(10).save(tmp_path / "walk-v0")
    name, damage = DAMAGE[kind]
    damage(path / name)
    with pytest.raises(CorruptFileError, match=name):
        load_dataset(path)


def test_what_is_not_there_or_not_ours(walk, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        load_dataset(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="empty folder"):
        load_dataset(tmp_path)
    own = walk.take(10).save(tmp_path / "own-v0")
    with new_folder(tmp_path / "foreign") as folder:  # a Minari dataset that somebody else wrote
        shutil.copytree(own / "data", folder / "data")
        metadata = json.loads((folder / "data" / "metadata.json").read_text())
        del metadata["rrmlab"]
        (folder / "data" / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(CorruptFileError, match="not one of rrmlab"):
        load_dataset(tmp_path / "foreign")


def test_an_empty_dataset_is_not_saved(walk, tmp_path):
    with pytest.raises(ValueError, match="no transitions|empty"):
        walk.select(torch.arange(0)).save(tmp_path / "empty-v0")


def test_a_failing_save_leaves_the_earlier_dataset(walk, tmp_path, monkeypatch):
    path = walk.save(tmp_path / "walk-v0")
    before = {f: f.read_bytes() for f in path.rglob("*") if f.is_file()}

    def full(self, episodes):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(MinariStorage, "update_metadata", full)
        with pytest.raises(OSError, match="disk full"):
            walk.take(5).save(path)
    assert {f: f.read_bytes() for f in path.rglob("*") if f.is_file()} == before
    assert [f.name for f in tmp_path.iterdir()] == ["walk-v0"], "nothing half-written stays"
    walk.take(5).save(path)
    assert len(load_dataset(path)) == 5
    assert [f.name for f in tmp_path.iterdir()] == ["walk-v0"]


def test_metadata_say_how_the_behaviour_was_set():
    members = [RandomWalk(seed=4), ITLinQ(5.0, 0.3)]
    told = collect(Mixture(members, [1, 3], seed=2), NETWORK, 10).metadata["behaviour_parameters"]
    assert told["shares"] == [0.25, 0.75] and told["seed"] == 2
    assert told["members"] == [{"name": "Random walk", "seed": 4}, {"name": "ITLinQ", "m_db": 5.0, "eta": 0.3}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": lambda d: d.actions[:, :1]}, "actions of shape"),
        ({"obs": lambda d: d.obs[..., :2]}, "obs of shape"),
        ({"rewards": lambda d: d.rewards * math.nan}, "rewards: must be finite"),
        ({"rows": lambda d: d.rows + len(d.obs)}, "rows: must lie in"),
        ({"actions": lambda d: d.actions + 9}, "actions: must lie in"),
        ({"mask": lambda d: torch.zeros_like(d.mask)}, "actions: some are masked"),
    ],
)
def test_data_that_do_not_fit_their_network_are_refused(walk, change, message):
    walk.check()
    broken = dataclasses.replace(walk, **{name: make(walk) for name, make in change.items()})
    with pytest.raises(ValueError, match=message):
        broken.check()
