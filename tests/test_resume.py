"""Stopped anywhere, a training goes on where it last saved, and ends with the very same bits (killed: test_killed)."""

import functools

import numpy as np
import pytest
import torch
from agents import agent_of

from rrmlab import AgentConfig, NetworkConfig, collect, make_scheduler, train_offline, train_online
from rrmlab.agents.learner import Learner
from rrmlab.storage import CorruptFileError
from rrmlab.study import jobs

NETWORK = NetworkConfig(episode_ttis=60, warmup_ttis=10)
AGENT = AgentConfig(hidden=(8, 8), batch_size=16, num_updates=1_300, gamma=0.5)


class Stop(Exception):
    """What interrupts the training in these tests."""


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a.tensors.keys() == b.tensors.keys() and a.history.keys() == b.history.keys()
        assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
        assert all(np.array_equal(a.history[name], b.history[name]) for name in a.history)


class Scores:
    """Stands for an evaluation: numbers that depend on the parameters, and a stop at a given call."""

    def __init__(self, stop_at=None):
        self.calls, self.stop_at = 0, stop_at

    def __call__(self, policies):
        self.calls += 1
        if self.calls == self.stop_at:
            raise Stop
        return [type("S", (), dict.fromkeys(("sum_rate", "tail_rate", "score"), self._of(p))) for p in policies]

    @staticmethod
    def _of(policy):
        return float(policy.tensors["critic.0"].sum())


@pytest.fixture(scope="module")
def data():
    return collect(make_scheduler("random_walk"), NETWORK, 2_000)


@pytest.mark.parametrize("backbone", ["sac", "dqn", "bc"])
@pytest.mark.parametrize("stop_at", [1, 5, 12])  # before the first saving, between two, in the second block
def test_offline_training_goes_on(data, tmp_path, backbone, stop_at):
    agent = agent_of("ctde", backbone, hidden=(8, 8), batch_size=16, num_updates=1_300, gamma=0.5)
    whole = train_offline(data, agent, (3, 4), evaluate_every=100, evaluation=Scores(), progress=False)
    keep = {"checkpoint": tmp_path / "c", "checkpoint_every": 70, "progress": False, "evaluate_every": 100}
    with pytest.raises(Stop):
        train_offline(data, agent, (3, 4), evaluation=Scores(stop_at), **keep)
    again = Scores()
    assert_same(train_offline(data, agent, (3, 4), evaluation=again, **keep), whole)
    assert again.calls == 13 - max(0, (100 * stop_at - 1) // 70 * 70 // 100)  # it did not start over
    assert_same(train_offline(data, agent, (3, 4), evaluation=Scores(), **keep), whole)  # and once more from the end


@pytest.mark.parametrize("backbone", ["sac", "dqn"])
@pytest.mark.parametrize("stop_at", [1, 4, 8])
def test_online_training_goes_on(tmp_path, backbone, stop_at):
    agent = AgentConfig(backbone=backbone, alpha=0.0, hidden=(8, 8), batch_size=16)
    call = {"num_envs": 4, "num_transitions": 4 * 270, "progress": False, "evaluate_every": 4 * 30}
    whole = train_online(NETWORK, agent, (0, 5), evaluation=Scores(), **call)
    with pytest.raises(Stop):
        train_online(NETWORK, agent, (0, 5), evaluation=Scores(stop_at), checkpoint=tmp_path / "c", **call)
    again = Scores()
    runs = train_online(NETWORK, agent, (0, 5), evaluation=again, checkpoint=tmp_path / "c", **call)
    assert again.calls == 9 - (30 * stop_at - 1) // 60 * 2
    assert_same([run.policy for run in runs], [run.policy for run in whole])
    for run, other in zip(runs, whole, strict=True):
        for name in ("obs", "mask", "rows", "actions", "rewards", "own_rewards", "truncated", "log_prob"):
            assert torch.equal(getattr(run.data, name), getattr(other.data, name)), name


def test_a_checkpoint_of_another_training_is_refused(data, tmp_path):
    short = AgentConfig(hidden=(4,), batch_size=8, num_updates=20)
    (tmp_path / "c").mkdir()  # an empty folder is none
    keep = {"checkpoint": tmp_path / "c", "checkpoint_every": 10, "progress": False}
    train_offline(data, short, [0], **keep)
    with pytest.raises(ValueError, match="of another training, it differs in seeds"):
        train_offline(data, short, [1], **keep)
    with pytest.raises(ValueError, match="it differs in agent"):
        train_offline(data, AgentConfig(hidden=(4,), batch_size=8, num_updates=21), [0], **keep)
    with pytest.raises(ValueError, match="it differs in data"):
        train_offline(data.take(500), short, [0], **keep)
    state = tmp_path / "c" / "state"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(bytes(content))
    with pytest.raises(CorruptFileError, match="state was changed"):
        train_offline(data, short, [0], **keep)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_seed_that_breaks_stops_and_the_others_go_on(data, monkeypatch, value):
    agent = AgentConfig(hidden=(8,), batch_size=16, num_updates=180)
    plain = train_offline(data, agent, (3, 4, 5), progress=False)
    update, calls, broken = Learner.update, [], 1

    def breaking(self, batch):
        calls.append(None)
        if len(calls) == 120:
            with torch.no_grad():
                self.critic.layers[0][broken] = value
        return update(self, batch)

    monkeypatch.setattr(Learner, "update", breaking)
    with pytest.warns(UserWarning, match=r"seed 4 stopped at update 120 \(td_loss = .*parameters of update 100"):
        policies = train_offline(data, agent, (3, 4, 5), progress=False)
    assert_same([policies[0], policies[2]], [plain[0], plain[2]])
    assert all(torch.isfinite(tensor).all() for tensor in policies[1].tensors.values())
    td_loss = policies[1].history["td_loss"]
    assert np.isfinite(td_loss[:119]).all() and not np.isfinite(td_loss[-1])
    calls.clear()
    broken = slice(None)
    with pytest.raises(FloatingPointError, match="all seeds stopped, the last one at update 120"), pytest.warns():
        train_offline(data, agent, (4, 1), progress=False)


def breaking_at(monkeypatch, breaks):
    """Learner.update whose parameters of a seed's place become NaN before the call of that number."""
    update, calls = Learner.update, []

    def breaking(self, batch):
        calls.append(None)
        for place, number in breaks.items():
            if len(calls) == number:
                with torch.no_grad():
                    self.critic.layers[0][place] = np.nan
        return update(self, batch)

    monkeypatch.setattr(Learner, "update", breaking)
    return calls


def test_every_seed_that_breaks_keeps_its_own_last_good_parameters(data, tmp_path, monkeypatch):
    """Also those that break later, and when the training was interrupted between."""
    agent, seeds = AgentConfig(hidden=(8,), batch_size=16, num_updates=260), (3, 4, 5)
    keep = {"checkpoint": tmp_path / "c", "checkpoint_every": 70, "progress": False, "evaluate_every": 100}
    calls = breaking_at(monkeypatch, {1: 120, 2: 230})
    with pytest.warns(UserWarning, match="seed") as told:
        whole = train_offline(data, agent, seeds, evaluation=Scores(), progress=False, evaluate_every=100)
    first, second = (str(warning.message) for warning in told)
    assert first.startswith("seed 4 stopped at update 120") and "parameters of update 100," in first
    assert second.startswith("seed 5 stopped at update 230") and "parameters of update 200," in second
    assert all(torch.isfinite(tensor).all() for policy in whole for tensor in policy.tensors.values())
    calls.clear()
    with pytest.raises(Stop), pytest.warns(UserWarning, match="seed 4"):
        train_offline(data, agent, seeds, evaluation=Scores(2), **keep)
    del calls[140:]  # it goes on from there
    with pytest.warns(UserWarning, match="seed 5"):
        policies = train_offline(data, agent, seeds, evaluation=Scores(), **keep)
    for policy, other in zip(policies, whole, strict=True):
        assert all(torch.equal(policy.tensors[name], other.tensors[name]) for name in other.tensors)
        assert all(np.array_equal(policy.history[k], other.history[k], equal_nan=True) for k in other.history)


def test_parameters_that_the_last_update_breaks_are_noticed(data, monkeypatch):
    """The losses of an update are those before its step."""
    agent, update, calls = AgentConfig(hidden=(8,), batch_size=16, num_updates=70), Learner.update, []

    def breaking(self, batch):
        calls.append(None)
        metrics = update(self, batch)
        if len(calls) == 70:
            with torch.no_grad():
                self.networks["actor"].layers[0][1] = np.inf
        return metrics

    monkeypatch.setattr(Learner, "update", breaking)
    with pytest.warns(UserWarning, match="seed 4 stopped at update 70 .*parameters of update 50"):
        policies = train_offline(data, agent, (3, 4), progress=False)
    assert all(torch.isfinite(tensor).all() for policy in policies for tensor in policy.tensors.values())


def test_a_seed_that_breaks_online_acts_on(monkeypatch):
    agent = AgentConfig(backbone="sac", alpha=0.0, hidden=(8, 8), batch_size=16)
    call = {"num_envs": 4, "num_transitions": 4 * 150, "progress": False}
    plain = train_online(NETWORK, agent, (0, 5), **call)
    breaking_at(monkeypatch, {1: 60})
    with pytest.warns(UserWarning, match="seed 5 stopped"):
        runs = train_online(NETWORK, agent, (0, 5), **call)
    assert_same([runs[0].policy], [plain[0].policy])
    assert torch.equal(runs[0].data.rewards, plain[0].data.rewards)
    runs[1].data.check()
    assert all(torch.isfinite(tensor).all() for tensor in runs[1].policy.tensors.values())


@pytest.mark.parametrize("damaged", [False, True])
def test_an_interrupted_run_of_a_sweep_goes_on(damaged, data, tmp_path, monkeypatch, capsys):
    """Ctrl-C in a training: the same call continues it; a checkpoint that was damaged since is said and left."""
    often = functools.partial(train_offline, checkpoint_every=10)
    monkeypatch.setattr(jobs, "train_offline", often)
    agent = AgentConfig(hidden=(4,), batch_size=8, num_updates=50)
    data.save(tmp_path / "data-v0")
    job = jobs.OfflineJob(tmp_path / "data-v0", agent, (0, 1), jobs.Scoring(data.network, 2))
    whole = jobs.run_jobs(tmp_path / "whole", {0: job}, 1)[0]
    update, calls = Learner.update, []

    def interrupted(self, batch):
        calls.append(None)
        if len(calls) == 35:
            raise KeyboardInterrupt
        return update(self, batch)

    monkeypatch.setattr(Learner, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        jobs.run_jobs(tmp_path / "runs", {0: job}, 1)
    (state,) = (tmp_path / "runs").rglob(".*.checkpoint/training/state")
    if damaged:
        state.write_bytes(state.read_bytes()[:-1])
    capsys.readouterr()
    result = jobs.run_jobs(tmp_path / "runs", {0: job}, 1)[0]
    assert ("starting the training again: " in capsys.readouterr().out) == damaged
    assert len(calls) == 35 + (50 if damaged else 20)
    assert_same(result.policies, whole.policies)
    assert result.rates.tobytes() == whole.rates.tobytes()
    assert not list((tmp_path / "runs").rglob("*.checkpoint"))
    # Killed after all was done but tidying up.
    (result.folder.with_name(f".{result.folder.name}.checkpoint") / "training").mkdir(parents=True)
    result.folder.with_name(f".{result.folder.name}.lock").touch()
    jobs.run_jobs(tmp_path / "runs", {0: job}, 1)
    assert not list((tmp_path / "runs").rglob(".*"))
