"""The same seed gives the same bits: in every process, beside other seeds, in as many workers as you like.

Beside other seeds the streams are the same exactly; parameters differ by rounding, because a batched product of another
size adds in another order. Training amplifies that as it does any other change: 100 updates within TOLERANCE, and the
scores of a whole training within their own interval.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from agents import agent_of

from rrmlab import AgentConfig, NetworkConfig, collect, evaluate_seeds, make_scheduler, train_offline
from rrmlab.agents.learner import Learner
from rrmlab.agents.scale import Scale
from rrmlab.learning.minibatches import Minibatches, Replay, ReplaySampler
from rrmlab.learning.online import train_online
from rrmlab.study import jobs, statistics

TESTS = Path(__file__).parent
NETWORK = NetworkConfig(episode_ttis=60, warmup_ttis=10)
TOLERANCE = {"cpu": 1e-6, "cuda": 1e-4}  # of a parameter, after 100 updates; on a CPU 2e-8 was seen, 9e-7 after 1000
cuda = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))


@pytest.fixture(scope="module")
def data():
    return collect(make_scheduler("random_walk"), NETWORK, 2_000)


def from_the_beginning(folder):
    """Collect, train and evaluate; the digest of every file that this leaves."""
    agent = AgentConfig(hidden=(8, 8), batch_size=16, num_updates=60)
    network = NetworkConfig(num_aps=2, num_users=6, top_n=2, episode_ttis=30, warmup_ttis=5)
    data = collect(make_scheduler("itlinq"), network, 600, seed=4)
    data.save(folder / "log-v0")
    policies = train_offline(data, agent, (0, 7), progress=False)
    online = train_online(network, AgentConfig(backbone="dqn", hidden=(8,)), (2,), 240, 4, progress=False)[0]
    online.data.save(folder / "online-v0")
    policies.append(online.policy)
    for policy in policies:
        policy.save(folder / f"policy_{policy.seed}")
    scores = evaluate_seeds(policies[:2], network, 5) + evaluate_seeds(policies[2:], network, 5)
    (folder / "rates").write_bytes(b"".join(score.rates.tobytes() + score.rewards.tobytes() for score in scores))
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    return [f"{hashlib.sha256(f.read_bytes()).hexdigest()} {f.relative_to(folder)}" for f in files]


def test_two_processes_leave_the_same_digests(tmp_path):
    program = (
        "import sys, pathlib, test_same_bits as t; print(*t.from_the_beginning(pathlib.Path(sys.argv[1])), sep='\\n')"
    )
    digests = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        # Another hash seed each, so that nothing hangs on the order of a set.
        environment = {
            "PYTHONPATH": f"{TESTS.parent}:{TESTS}",
            "PYTHONHASHSEED": str(len(digests)),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-c", program, str(tmp_path / name)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.append(run.stdout.splitlines())
    assert len(digests[0]) == 16 and digests[0] == digests[1]


# ---- a seed and those beside it ----


@pytest.mark.parametrize("device", ["cpu", cuda])
@pytest.mark.parametrize("backbone", ["sac", "dqn", "bc"])
def test_streams_of_a_seed_do_not_depend_on_others_nor_on_the_device(data, backbone, device):
    agent = agent_of("ctde", backbone, hidden=(8, 8))
    alone, beside = Learner(agent, NetworkConfig(), [5]), Learner(agent, NetworkConfig(), [2, 5, 9], device)
    for name, tensor in alone.parameters().items():
        assert torch.equal(beside.parameters()[name][1].cpu(), tensor[0]), name
    scale = Scale.of(data.obs, data.mask, data.rewards)
    alone = Minibatches(data, scale, 16, [5], "cpu")
    beside = Minibatches(data, scale, 16, [2, 5, 9], device)
    for number in range(1_500):  # beyond what is drawn at once
        ours, theirs = alone.next(), beside.next()
        assert number % 250 or all(torch.equal(b[1].cpu(), a[0]) for a, b in zip(ours, theirs, strict=True))
        assert torch.equal(theirs.actions[1].cpu(), ours.actions[0])


def test_places_in_the_replay_do_not_depend_on_other_seeds(data):
    scale = Scale.of(data.obs, data.mask, data.rewards)

    def places(seeds):
        sampler = ReplaySampler(Replay(4, 2, len(seeds), 3, NETWORK, "cpu"), scale, 8, seeds)
        return sampler.stream.next()

    assert torch.equal(places([2, 5, 9])[1], places([5])[0])


@pytest.mark.parametrize("device", ["cpu", cuda])
@pytest.mark.parametrize(("paradigm", "backbone"), [("ctde", "sac"), ("centralized", "dqn")])
def test_parameters_after_100_updates(data, paradigm, backbone, device):
    # Sizes that fill no vector register: with round ones not even the rounding differs on a CPU.
    agent = AgentConfig(paradigm, backbone, hidden=(37, 21), batch_size=50, num_updates=100)
    alone = train_offline(data, agent, [5], progress=False)[0].tensors
    beside = train_offline(data, agent, [2, 5, 9], device, progress=False)[1].to("cpu").tensors
    assert max(float((alone[name] - beside[name]).abs().max()) for name in alone) < TOLERANCE[device]


@pytest.mark.parametrize("device", ["cpu", cuda])
def test_scores_after_a_whole_training(data, device):
    """Rounding may change single decisions: the difference lies in the interval of the score itself."""
    agent = AgentConfig("centralized", "dqn", hidden=(37, 21), batch_size=50, num_updates=150)
    alone = train_offline(data, agent, [5], progress=False)
    beside = train_offline(data, agent, [5, 9], device, progress=False)[:1]
    ours, theirs = (evaluate_seeds([p.to("cpu") for p in policies], NETWORK, 10)[0] for policies in (alone, beside))
    draws = statistics.bootstrap(statistics.contributions(ours.rates[None]), 200)
    low, high = statistics.interval(draws[..., -1])
    assert low <= theirs.score <= high and high > low


def test_workers_change_nothing(data, tmp_path):
    data.save(tmp_path / "data-v0")
    agents = [AgentConfig(alpha=alpha, hidden=(8,), batch_size=16, num_updates=60) for alpha in (0.0, 0.5)]
    scoring = jobs.Scoring(NETWORK, 3)
    asked = {agent.alpha: jobs.OfflineJob(tmp_path / "data-v0", agent, (0, 1), scoring) for agent in agents}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers
    one = jobs.run_jobs(tmp_path / "one", asked, 1)
    torch.set_num_threads(threads)
    two = jobs.run_jobs(tmp_path / "two", asked, 2)
    for name, result in one.items():
        assert result.folder.name == two[name].folder.name
        assert all(np.array_equal(result.arrays[a], two[name].arrays[a]) for a in ("rates", "rewards"))
        for ours, theirs in zip(result.policies, two[name].policies, strict=True):
            assert all(torch.equal(ours.tensors[n], theirs.tensors[n]) for n in ours.tensors)
            assert all(np.array_equal(ours.history[n], theirs.history[n]) for n in ours.history)
