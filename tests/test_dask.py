"""Jobs on a Dask cluster: the same bits as without it, also where a worker is killed; clusters that will not do."""

import json
import os
import signal
import sys
from pathlib import Path
from unittest import mock

import pytest
from distributed import LocalCluster
from test_killed import NETWORK, hidden, results
from test_reproduce import Repository, smoke

from rrmlab import AgentConfig, collect, locks, make_scheduler
from rrmlab.agents.learner import Learner
from rrmlab.command import notebooks as source
from rrmlab.learning.offline import train_offline
from rrmlab.study import cluster, jobs

pytestmark = pytest.mark.slow
UPDATES, EVERY, KILLED_AT = 60, 20, 50


class KilledOnce(jobs.OfflineJob):
    """Writes its updates down; the first worker that comes to update 50 dies there, after the checkpoint of 40."""

    deadly = "once"

    def _train(self, checkpoint):
        folder, update, done = self.data.parent, Learner.update, 0

        def counting(*arguments):
            nonlocal done
            done += 1
            with open(folder / f"count_{self.agent.alpha}", "a") as log:
                print(os.getpid(), file=log)
            if done == KILLED_AT and (self.deadly == "always" or not (folder / "killed").exists()):
                (folder / "killed").write_text(str(self.agent.alpha))
                os.kill(os.getpid(), signal.SIGKILL)
            return update(*arguments)

        def often(*arguments, **options):
            return train_offline(*arguments, checkpoint_every=EVERY, **options)

        with mock.patch.object(jobs, "train_offline", often), mock.patch.object(Learner, "update", counting):
            return super()._train(checkpoint)


class KilledAlways(KilledOnce):
    deadly = "always"


@pytest.fixture(scope="module")
def workers():
    """Two worker processes of one thread, each with its nanny."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as made:
        yield made


@pytest.fixture
def given(tmp_path, monkeypatch, workers):
    monkeypatch.setenv(cluster.DASK, workers.scheduler_address)
    collect(make_scheduler("random_walk"), NETWORK, 400).save(tmp_path / "given-v0")
    return tmp_path


def asked(folder, kind, alphas=(0.0, 0.5, 1.0)):
    agents = [AgentConfig(backbone="dqn", alpha=a, hidden=(8,), batch_size=16, num_updates=UPDATES) for a in alphas]
    return {a.alpha: kind(folder / "given-v0", a, (0, 1), jobs.Scoring(NETWORK, 3)) for a in agents}


def test_a_killed_worker_changes_no_bit_and_its_job_goes_on_from_its_checkpoint(given, monkeypatch):
    (given / "dask").mkdir()
    for left in (".cluster.0123abcd", ".cluster.0123abcd.lock"):  # by a command that was killed
        (given / "dask" / left).touch()
    jobs.run_jobs(given / "dask", asked(given, KilledOnce))
    monkeypatch.delenv(cluster.DASK)
    jobs.run_jobs(given / "alone", asked(given, jobs.OfflineJob), 1)
    assert results(given / "dask") == results(given / "alone") != {}
    assert hidden(given) == []
    killed = (given / "killed").read_text()
    for alpha in ("0.0", "0.5", "1.0"):
        pids = (given / f"count_{alpha}").read_text().split()
        assert str(os.getpid()) not in pids
        assert len(pids) == (KILLED_AT + UPDATES - 2 * EVERY if alpha == killed else UPDATES)
        assert len(set(pids)) == 1 + (alpha == killed)


NOTEBOOK = """
import pandas as pd, test_dask
given = Path("../../../..").resolve()
found = test_dask.jobs.run_jobs(Path("../data").resolve(), test_dask.asked(given, test_dask.KilledOnce))
rows = [(alpha, *result.rates.ravel()) for alpha, result in found.items()]
pd.DataFrame(rows).to_csv("../figures/tables/01_a.csv")
"""


def test_the_command_hands_its_notebooks_jobs_to_the_cluster(given, monkeypatch, workers, capsys):
    monkeypatch.delenv(cluster.DASK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # for the kernels
    repository = Repository(given)
    repository.write("01_a", NOTEBOOK)
    monkeypatch.setattr(source, "PACKAGE", repository.root / "package")
    monkeypatch.chdir(repository.root)
    (given / "killed").touch()  # so that nobody dies
    Path("scheduler.json").write_text(json.dumps({"address": workers.scheduler_address}))
    assert smoke("--dask", "scheduler.json") == 0
    assert f"2 workers at {workers.scheduler_address}" in capsys.readouterr().out
    pids = {pid for file in given.glob("count_*") for pid in file.read_text().split()}
    assert pids and pids <= {str(nanny.pid) for nanny in workers.workers.values()}
    assert smoke("--out", "data/runs/alone") == 0
    tables = [repository.text(f"data/runs/{run}/figures/tables/01_a.csv") for run in ("smoke", "alone")]
    assert tables[0] == tables[1]


# ---- clusters that will not do ----


def refused(capsys, address, *words):
    """The command says so in one line, and has done nothing."""
    assert smoke("--dask", address) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"rrmlab: error: dask = {address}: ") and error.count("\n") == 1, error
    assert all(word in error for word in words), error
    assert not Path("data/runs/smoke/order.txt").exists()
    assert [f for f in Path("data").rglob("*") if f.is_file()] == []


@pytest.fixture
def repository(tmp_path, monkeypatch):
    made = Repository(tmp_path)
    made.write("01_a")
    monkeypatch.setattr(source, "PACKAGE", made.root / "package")
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    monkeypatch.chdir(tmp_path)
    return made


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tcp://no-such-host.invalid:8786", "soap://x:1", "tcp://"])
def test_a_scheduler_that_does_not_answer(repository, capsys, address):
    refused(capsys, address, "no Dask scheduler answers there within 0.5 s")
    assert not Path("data").exists()


@pytest.mark.parametrize("address", ["localhost", "", "nowhere.json", "notebooks", "pyproject.toml", "list.json"])
def test_what_is_no_address_and_no_scheduler_file(repository, capsys, address):
    Path("list.json").write_text("[1]")
    refused(capsys, address, "must be a scheduler's address, such as tcp://host:8786, or its scheduler file")
    assert not Path("data").exists()


def test_a_machine_without_dask(repository, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    refused(capsys, "tcp://127.0.0.1:1", "pip install 'rrmlab[cluster]'")


@pytest.mark.parametrize("what", ["code of rrmlab", "torch", "python"])
def test_a_worker_with_other_code_or_versions(repository, capsys, monkeypatch, workers, what):
    here = cluster._code() | {what: "9.9"}
    monkeypatch.setattr(cluster, "_code", lambda: here)
    with_own = {"code of rrmlab": cluster.sources_digest(cluster.PACKAGE)[:12], **cluster.package_versions()}[what]
    words = (*workers_named(workers), f"{what} = {with_own}: must be 9.9; install the same there")
    refused(capsys, workers.scheduler_address, *words)


def workers_named(workers):
    """How the first worker is called in an error."""
    return (f"worker {min(nanny.worker_address for nanny in workers.workers.values())}: ",)


def test_a_worker_on_which_this_rrmlab_is_not_installed(repository, capsys, monkeypatch, workers):
    def only_here():
        """Of a module that the worker cannot import."""

    only_here.__module__ = only_here.__qualname__ = "nowhere"
    monkeypatch.setitem(sys.modules, "nowhere", type(sys)("nowhere"))
    sys.modules["nowhere"].nowhere = only_here
    monkeypatch.setattr(cluster, "_refusal", only_here)
    refused(capsys, workers.scheduler_address, *workers_named(workers), "No module named 'nowhere'", "same commit")


def test_a_folder_that_is_not_shared(tmp_path, monkeypatch, workers):
    """A relative path is another folder for the workers, which started elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(cluster.DASK, workers.scheduler_address)
    with pytest.raises(cluster.ClusterError, match="worker tcp://.*: data is another folder there: .* shared folder"):
        jobs.run_jobs(Path("data"), asked(tmp_path, jobs.OfflineJob))
    assert hidden(tmp_path) == []


def test_a_folder_whose_locks_do_not_reach_the_workers(repository, capsys, monkeypatch, workers):
    monkeypatch.setattr(locks, "fcntl", None)  # here no locks are held, whatever the workers see
    refused(capsys, workers.scheduler_address, *workers_named(workers), "data has no file locks between machines")


def test_a_cluster_without_workers_or_with_many_threads(repository, capsys):
    with LocalCluster(
        n_workers=0, threads_per_worker=2, processes=False, protocol="tcp", dashboard_address=":0"
    ) as small:
        refused(capsys, small.scheduler_address, f"no workers; start some: dask worker {small.scheduler_address}")
        small.scale(1)
        small.wait_for_workers(1)
        refused(capsys, small.scheduler_address, "worker tcp://", "nthreads = 2: must be 1")


def test_a_worker_that_comes_later_is_checked_too(given, monkeypatch):
    """As if those of the check had been others than those that are given the jobs."""
    monkeypatch.setattr("distributed.Client.run", lambda client, *_, **__: dict.fromkeys(client.nthreads(), ""))
    here = cluster._code() | {"torch": "9.9"}
    monkeypatch.setattr(cluster, "_code", lambda: here)
    with pytest.raises(RuntimeError, match=r"worker tcp://.*: torch = .*: must be 9\.9"):
        jobs.run_jobs(given / "data", asked(given, jobs.OfflineJob))
    assert list((given / "data").rglob("*")) == []


def test_a_job_that_kills_its_workers_ends_the_run_and_the_next_one_goes_on(given, monkeypatch, workers):
    monkeypatch.setattr(workers.scheduler, "allowed_failures", 0)
    with pytest.raises(RuntimeError, match="1 workers died at one job, .*: the same call goes on"):
        jobs.run_jobs(given / "data", asked(given, KilledAlways, (0.0,)))
    workers.wait_for_workers(2)
    jobs.run_jobs(given / "data", asked(given, KilledOnce, (0.0,)))
    assert len((given / "count_0.0").read_text().split()) == KILLED_AT + UPDATES - 2 * EVERY
    assert hidden(given) == []
