"""Killed anywhere: nothing half-written is left, and the same command again ends with the very same bits.

Every process counts its updates (steps, for a log) in a file, by which it is killed and by which it is seen to go on
rather than to start over. RRMLAB_SOAK=1: 50 kills in place of 5.
"""

import contextlib
import functools
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
import torch
from safetensors.numpy import load_file
from soak import cases
from test_reproduce import Repository

from rrmlab import AgentConfig, NetworkConfig, RRMEnv, collect, load_dataset, make_scheduler
from rrmlab.agents.learner import Learner
from rrmlab.learning.offline import train_offline
from rrmlab.learning.online import train_online
from rrmlab.storage import SUMS, verify
from rrmlab.study import jobs

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork, no locks")
TESTS = Path(__file__).parent
NETWORK = NetworkConfig(num_aps=2, num_users=6, top_n=2, episode_ttis=20, warmup_ttis=5)
EVERY = 20  # updates between two savings; an episode, so that online training has the same
UPDATES = 120
COUNT, WIDTH = "count", 10  # file with a line per update: the process that made it


# ---- what is killed ----


@contextlib.contextmanager
def counted(file, kind, name):
    """Every call of a method leaves a line in a file."""
    method = getattr(kind, name)

    def counting(*arguments):
        with open(file, "a") as log:
            log.write(f"{os.getpid():{WIDTH - 1}}\n")
        return method(*arguments)

    with mock.patch.object(kind, name, counting):
        yield


class Job(jobs.OfflineJob):
    """Counts its updates, in whatever process it runs, and saves more often than these short trainings would."""

    def _train(self, checkpoint):
        often = functools.partial(train_offline, checkpoint_every=EVERY)
        with mock.patch.object(jobs, "train_offline", often), counted(self.data.parent / COUNT, Learner, "update"):
            return super()._train(checkpoint)


def offline(folder):
    agent = AgentConfig(hidden=(8, 8), batch_size=16, num_updates=UPDATES)
    keep = {"checkpoint": folder / "checkpoint", "checkpoint_every": EVERY}
    with counted(folder / COUNT, Learner, "update"):
        policies = train_offline(load_dataset(folder / "given-v0"), agent, (0, 1), progress=False, **keep)
    for policy in policies:
        policy.save(folder / f"policy_{policy.seed}")


def online(folder):
    agent = AgentConfig(backbone="dqn", alpha=0.0, hidden=(8, 8), batch_size=16)
    keep = {"checkpoint": folder / "checkpoint"}
    with counted(folder / COUNT, Learner, "update"):
        runs = train_online(NETWORK, agent, (0, 1), 4 * UPDATES, 4, progress=False, **keep)
    for run in runs:
        run.policy.save(folder / f"policy_{run.policy.seed}")
        run.data.save(folder / f"log-v{run.policy.seed}")


def gather(folder):
    with counted(folder / COUNT, RRMEnv, "_advance"):
        collect(make_scheduler("itlinq"), NETWORK, 8_000).save(folder / "log-v0")


def train_all(folder, root, workers):
    agents = [AgentConfig(backbone="dqn", alpha=a, hidden=(8,), num_updates=UPDATES // 2) for a in (0.0, 0.5)]
    scoring = jobs.Scoring(NETWORK, 3)
    jobs.run_jobs(root, {a.alpha: Job(folder / "given-v0", a, (0, 1), scoring) for a in agents}, workers)


NOTEBOOK = """
import pandas as pd, test_killed
test_killed.train_all(Path("../../../.."), Path("../data"), 1)
rows = [(path.name, path.read_text()) for path in sorted(Path("../data").glob("offline/*/policy_*/SHA256SUMS"))]
pd.DataFrame(rows).to_csv("../figures/tables/01_a.csv")
"""


def starts_python(folder, *arguments):
    """Become a new interpreter."""
    os.chdir(folder)
    os.environ["PYTHONPATH"] = f"{TESTS.parent}{os.pathsep}{TESTS}"
    os.execv(sys.executable, [sys.executable, *arguments])


def sweeps(folder):
    starts_python(folder, "-c", "import test_killed as t; t.train_all(t.Path.cwd(), t.Path.cwd(), 2)")


def sweeps_alone(folder):
    train_all(folder, folder, 1)


def reproduces(folder):
    starts_python(folder, "-m", "rrmlab.command.main", "reproduce", "--preset", "smoke")


# ---- killing it ----


def start(work, folder):
    process = multiprocessing.get_context("fork").Process(target=in_one_thread, args=(work, folder))
    process.start()
    return process


def in_one_thread(work, folder):
    torch.set_num_threads(1)  # as OMP_NUM_THREADS does for those that start anew
    os.environ["OMP_NUM_THREADS"] = "1"
    work(folder)


def prepared(folder, data):
    """A folder in which every work can be done."""
    repository = Repository(folder)
    repository.write("01_a", NOTEBOOK)
    data.save(folder / "given-v0")
    return folder


def count(folder):
    file = folder / COUNT
    return file.stat().st_size // WIDTH if file.exists() else 0


def visible(folder):
    """All files outside hidden folders; a kernel that outlives its killed command by a moment may still empty those."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if not name.startswith(".")]
    return sorted(found)


def hidden(folder):
    return sorted(f for f in folder.rglob(".*") if not any(p in f.parts for p in (".ipython", ".jupyter")))


def results(folder):
    """All numbers that were stored, by file; how long it took is left out."""
    found = {}
    for file in visible(folder):
        if file.name == "arrays.safetensors":
            arrays = load_file(file)
            found[file.relative_to(folder)] = arrays["rates"].tobytes() + arrays["rewards"].tobytes()
        elif file.suffix in (".safetensors", ".hdf5", ".csv"):
            found[file.relative_to(folder)] = file.read_bytes()
    return found


def check_nothing_is_half_written(folder, whole):
    for file in visible(folder):
        if file.name == SUMS:
            verify(file.parent)
    for name, content in results(folder).items():
        assert content == whole[name], name


def kill(process, folder, stop_at, delay, worker):
    """Kill a process, or the one that computes for it, some time after so many updates; whether it still lived."""
    while process.is_alive() and count(folder) < stop_at:
        time.sleep(0.005)
    time.sleep(delay)
    if not process.is_alive():
        return False
    victim = process.pid
    if worker:
        victim = int((folder / COUNT).read_text().split()[-1])
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    process.join(60)
    return bool(worker) or process.exitcode != 0  # 0: it was done a moment before; a sweep ends well without a worker


# How many processes lose at most what they did since the last saving; those that only collect begin anew.
WORK = {"offline": (offline, 1), "online": (online, 1), "collect": (gather, None), "sweep": (sweeps, 2),
        "reproduce": (reproduces, 1)}  # fmt: skip


@pytest.mark.parametrize("name", WORK)
def test_killed_at_random_times(name, tmp_path):
    (work, losing), rng = WORK[name], random.Random(3)
    data = collect(make_scheduler("random_walk"), NETWORK, 400)
    whole = prepared(tmp_path / "whole", data)
    process = start(sweeps_alone if work is sweeps else work, whole)  # as many workers as you like: the same bits
    process.join(300)
    assert process.exitcode == 0 and hidden(whole) == []
    wanted, total = results(whole), count(whole)
    assert wanted
    kills, attempts = 0, 0
    while kills < cases(1, 10):  # until it was done, then from the beginning
        folder, before = prepared(tmp_path / f"killed_{attempts}", data), kills
        while kills < cases(1, 10):
            done = count(folder)
            stop_at = min(total, done + rng.uniform(0 if done or not losing else EVERY, 1.3 * total - done))
            delay = rng.uniform(0, 0.3 if stop_at == total else 0.03)
            attempts += 1
            if not kill(start(work, folder), folder, stop_at, delay, worker=name == "sweep" and attempts % 2):
                break
            kills += 1
            check_nothing_is_half_written(folder, wanted)
        process = start(work, folder)
        process.join(300)
        assert process.exitcode == 0
        assert results(folder) == wanted
        assert hidden(folder) == []
        print(f"{name}: {total} updates, {count(folder)} with {kills - before} kills")
        if losing:
            assert count(folder) <= total + (kills - before) * losing * EVERY
