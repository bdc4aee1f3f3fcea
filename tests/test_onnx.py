"""The ONNX files of a policy decide as the policy does, in ONNX Runtime."""

import importlib
import itertools
import json
import sys
import tempfile
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from agents import agent_of
from hypothesis import given, settings
from hypothesis import strategies as st

from rrmlab import AgentConfig, NetworkConfig, Policy, collect, make_scheduler, train_offline
from rrmlab.agents import losses, onnx_files
from rrmlab.agents.config import network_shapes
from rrmlab.agents.paradigms import PARADIGMS
from rrmlab.game.observations import OBSERVATIONS, Observation, observation_of
from rrmlab.storage import verify

NETWORK = NetworkConfig(num_aps=3, num_users=7, episode_ttis=100, warmup_ttis=10, require_users=False)
ROUNDING = 1e-5  # logits nearer to each other than this may be ordered either way by another order of the sums
NEAR_TIES = 10  # of 10,000 joint observations; on the machine where this was written there was none


@pytest.fixture(scope="module")
def log():
    return collect(make_scheduler("random_walk"), NETWORK, 5_000)


def trained(log, agent=None, **options):
    options = {"hidden": (16, 16), "num_updates": 30, "batch_size": 64, **options}
    return train_offline(log, replace(agent or AgentConfig(), **options), [0], progress=False)[0]


def untrained(network, agent, seed=0):
    """A policy of normal parameters."""
    generator = torch.Generator().manual_seed(seed)
    size = observation_of(network).size(network)
    tensors = {"obs_mean": torch.randn(size, generator=generator), "reward_mean": torch.zeros(())}
    tensors |= {"obs_std": torch.rand(size, generator=generator) + 0.5, "reward_std": torch.ones(())}
    for name, (stack, sizes) in network_shapes(agent, network).items():
        for k, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            tensors[f"{name}.{2 * k}"] = torch.randn(*stack, fan_in, fan_out, generator=generator) / fan_in**0.5
            tensors[f"{name}.{2 * k + 1}"] = torch.randn(*stack, 1, fan_out, generator=generator)
    return Policy(agent, network, tensors)


def random_obs(network, num, seed=0):
    """Normal numbers (num, I, N F); a third of the slots are empty, in others some numbers are 0 or -0."""
    rng = np.random.default_rng(seed)
    features = len(observation_of(network).features)
    obs = rng.normal(scale=5, size=(num, network.num_aps, network.top_n, features)).astype(np.float32)
    zero = rng.random(obs.shape) < 0.1
    obs[zero] = rng.choice([0.0, -0.0], zero.sum())
    obs[rng.random(obs.shape[:-1]) < 0.3] = 0
    return torch.from_numpy(obs).flatten(-2)


def run(folder, obs):
    """Actions (B, I) by ONNX Runtime for obs (B, I, N F)."""
    obs = obs.numpy()
    files = sorted(folder.glob("*.onnx"), key=lambda file: int(file.stem.partition("_")[2] or 0))
    sessions = [onnxruntime.InferenceSession(file) for file in files]
    if files[0].name == "policy.onnx":
        return sessions[0].run(["action"], {"obs": obs})[0]
    return np.stack([s.run(["action"], {"obs": obs[:, ap]})[0] for ap, s in enumerate(sessions)], -1)


def assert_decides_alike(policy, folder, obs):
    """The same actions, but for decisions between logits that rounding alone tells apart, at most NEAR_TIES of them."""
    got, wanted = run(folder, obs), policy.act(obs)
    assert got.dtype == np.int64 and got.shape == wanted.shape
    differs = (torch.from_numpy(got) != wanted).any(-1)
    mask = torch.nn.functional.pad(policy.observation.filled(obs), (1, 0), value=True)
    best = losses.masked(*policy._actor.logits(obs.unsqueeze(0), mask.unsqueeze(0))).topk(2).values[0]  # (H, B, 2)
    assert int(differs.sum()) <= NEAR_TIES
    # Of one head at least, at each observation that is decided otherwise.
    assert (best[:, differs, 0] - best[:, differs, 1]).amin(0).lt(ROUNDING).all()


@pytest.mark.parametrize("kind", ["sac", "dqn", "bc"])
@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_actions_are_those_of_the_policy(log, tmp_path, paradigm, kind):
    policy = trained(log, agent_of(paradigm, kind))
    folder = policy.export_onnx(tmp_path / "files")
    obs = torch.cat([log.obs[:5_000], random_obs(NETWORK, 5_000)])
    empty = (obs.unflatten(-1, (3, 2)) == 0).all(-1)
    assert empty[:5_000].any() and not empty.all(-1).all()
    assert_decides_alike(policy, folder, obs)
    assert len(policy.act(obs).unique()) > 2
    for num in (0, 1, 2):
        np.testing.assert_array_equal(run(folder, obs[:num]), policy.act(obs[:num]))
    # Nobody to serve: silence, whatever the network says.
    assert (run(folder, torch.zeros_like(obs[:1])) == 0).all()


@given(
    st.sampled_from([("centralized", "sac"), ("independent", "dqn"), ("ctde", "sac")]),
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(st.integers(1, 20), min_size=1, max_size=4),
    st.integers(0, 1_000),
)
@settings(max_examples=30, deadline=None)
def test_networks_of_any_size(kind, num_aps, top_n, hidden, seed):
    network = replace(NETWORK, num_aps=num_aps, top_n=top_n, num_users=12)
    policy, obs = untrained(network, agent_of(*kind, hidden=tuple(hidden)), seed), random_obs(network, 50, seed)
    with tempfile.TemporaryDirectory() as folder:
        assert_decides_alike(policy, policy.export_onnx(f"{folder}/files"), obs)


def test_an_observation_of_the_users_own(monkeypatch, tmp_path):
    three = Observation("three", ("a", "b", "c"), None)
    monkeypatch.setitem(OBSERVATIONS, three.name, three)
    network = replace(NETWORK, observation="three")
    for paradigm in PARADIGMS:
        policy = untrained(network, agent_of(paradigm))
        folder = policy.export_onnx(tmp_path / paradigm)
        assert_decides_alike(policy, folder, random_obs(network, 500))
    about = json.loads((folder / "interface.json").read_text())
    assert about["obs"]["last axis"] == [f"slot {n}: {name}" for n in (1, 2, 3) for name in "abc"]


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_what_is_in_the_folder(tmp_path, paradigm):
    policy = untrained(NETWORK, agent_of(paradigm))
    folder = verify(policy.export_onnx(tmp_path / "files"), "interface.json")
    joint = paradigm == "centralized"
    names = ["policy.onnx"] if joint else ["ap_0.onnx", "ap_1.onnx", "ap_2.onnx"]
    assert sorted(f.name for f in folder.iterdir()) == sorted([*names, "interface.json", "SHA256SUMS"])
    about = json.loads((folder / "interface.json").read_text())
    assert about["policy"] == policy.name and about["files"] == names
    assert NetworkConfig.from_dict(about["network"]) == NETWORK
    assert AgentConfig.from_dict(about["agent"]) == policy.config
    assert about["obs"]["last axis"][:3] == ["slot 1: SINR, dB", "slot 1: ln w", "slot 2: SINR, dB"]
    for name in names:
        onnx.checker.check_model(onnx.load(folder / name), full_check=True)
        session = onnxruntime.InferenceSession(folder / name)
        (obs,), (action,) = session.get_inputs(), session.get_outputs()
        assert (obs.name, obs.type, obs.shape) == ("obs", "tensor(float)", about["obs"]["shape"])
        assert (action.name, action.type, action.shape) == ("action", "tensor(int64)", about["action"]["shape"])
        assert obs.shape == (["B", 3, 6] if joint else ["B", 6])


def test_the_same_policy_gives_the_same_bytes(tmp_path):
    policy = untrained(NETWORK, AgentConfig())
    again = Policy.load(policy.save(tmp_path / "saved"))
    sums = [(p.export_onnx(tmp_path / name) / "SHA256SUMS").read_text() for p, name in ((policy, "a"), (again, "b"))]
    assert sums[0] == sums[1]
    assert str(tmp_path).encode() not in b"".join(file.read_bytes() for file in (tmp_path / "a").iterdir())


# ---- what is refused ----


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_heads_have_the_size_of_their_training(tmp_path, paradigm):
    with pytest.raises(ValueError, match="trained for another network: num_aps = 4 instead of 3"):
        untrained(NETWORK, agent_of(paradigm)).export_onnx(tmp_path / "files", replace(NETWORK, num_aps=4))
    assert not list(tmp_path.iterdir())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_older_files_are_replaced_as_a_whole_and_others_are_not(tmp_path):
    folder = untrained(NETWORK, AgentConfig()).export_onnx(tmp_path / "files")
    joint = untrained(NETWORK, AgentConfig("centralized"))
    assert joint.export_onnx(str(folder)) == folder
    assert "policy.onnx" in contents(folder) and "ap_0.onnx" not in contents(folder)
    (folder / "notes.txt").write_text("mine")
    before = contents(folder)
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        joint.export_onnx(folder)
    assert contents(folder) == before
    saved = joint.save(tmp_path / "saved")
    before = contents(saved)
    with pytest.raises(FileExistsError, match=r"holds a policy: open it with Policy\.load; it is not replaced"):
        joint.export_onnx(saved)
    assert contents(saved) == before
    with pytest.raises(ValueError, match="holds a policy's ONNX files: run them with onnxruntime"):
        Policy.load(untrained(NETWORK, AgentConfig()).export_onnx(tmp_path / "more"))


def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch):
    folder = untrained(NETWORK, AgentConfig(), seed=1).export_onnx(tmp_path / "files")
    before, model, calls = contents(folder), onnx_files._model, []

    def fails_at_the_second(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError
        return model(*arguments)

    monkeypatch.setattr(onnx_files, "_model", fails_at_the_second)
    with pytest.raises(MemoryError):
        untrained(NETWORK, AgentConfig()).export_onnx(folder)
    assert contents(folder) == before and list(tmp_path.iterdir()) == [folder]


def test_a_sampled_or_diverged_policy_is_refused(tmp_path):
    policy = untrained(NETWORK, AgentConfig())
    with pytest.raises(ValueError, match="^stochastic = True: must be a greedy policy"):
        policy.sampled().export_onnx(tmp_path / "files")
    policy.tensors["actor.0"][0] = torch.nan
    with pytest.raises(ValueError, match="tensor actor.0 holds NaN"):
        policy.export_onnx(tmp_path / "files")
    assert not list(tmp_path.iterdir())


def test_missing_onnx_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "rrmlab.agents.onnx_files")
    with pytest.raises(ImportError, match=r"rrmlab\[deploy\]"):
        importlib.import_module("rrmlab.agents.onnx_files")
    with pytest.raises(ImportError, match=r"rrmlab\[deploy\]"):
        untrained(NETWORK, AgentConfig()).export_onnx(tmp_path / "files")
    assert not list(tmp_path.iterdir())
