"""Two at the same work, and what killed processes leave behind: both results right, nothing half-written."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from soak import cases
from stored_files import (
    answer_of,
    hidden,
    in_child,
    needs_fork,
)
from test_reproduce import Repository

from rrmlab import locks
from rrmlab.command import notebooks as source
from rrmlab.command.main import main
from rrmlab.locks import lock
from rrmlab.storage import new_file, new_folder, verify
from rrmlab.study.fingerprint import code_fingerprint
from rrmlab.study.store import stored

# ---- two at once ----


@needs_fork
@pytest.mark.parametrize("processes", [2, cases(3, 8)])
def test_the_same_run_asked_for_at_once_is_made_once(tmp_path, processes):
    said = [tmp_path / f"said_{k}" for k in range(processes)]
    code_fingerprint()  # once, not in every child

    def build(folder):
        with open(tmp_path / "log", "a") as log:
            print("built", file=log)
        until(lambda: sum(file.exists() and file.read_text() != "" for file in said) == processes - 1)
        (folder / "a").write_text("right")

    for number in range(cases(2, 30)):
        children = [
            in_child(lambda: str(stored(tmp_path / "data", "kind", {"x": number}, [], build)), file)  # noqa: B023
            for file in said
        ]
        (folder,) = {answer_of(child) for child in children}
        assert (verify(Path(folder)) / "a").read_text() == "right"
        told = sorted(file.read_text() for file in said)
        assert told == ["", *[f"another process is at work on {folder}: waiting for it\n"] * (processes - 1)]
        assert len((tmp_path / "log").read_text().split()) == number + 1
        for file in said:
            file.unlink()
    assert hidden(tmp_path) == []


def until(condition, seconds=60):
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@needs_fork
def test_who_waits_for_one_that_dies_does_it_itself(tmp_path):
    read, write = os.pipe()

    def dies(folder):
        (folder / "a").write_text("half")
        os.write(write, b"x")
        time.sleep(60)

    def build(folder):
        (folder / "a").write_text("right")

    first, _ = in_child(lambda: stored(tmp_path, "kind", {}, [], dies))
    os.read(read, 1)
    said = tmp_path / "said"
    second = in_child(lambda: str(stored(tmp_path, "kind", {}, [], build)), said)
    until(lambda: said.exists() and "waiting for it" in said.read_text())
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    folder = answer_of(second)
    assert (verify(Path(folder)) / "a").read_text() == "right"
    assert hidden(tmp_path) == [], "nor is what the first one began left"


@needs_fork
def test_writers_of_one_place_do_not_break_each_other(tmp_path):
    writers, rounds = cases(3, 8), cases(30, 300)

    def work(name):
        for _ in range(rounds):
            with new_folder(tmp_path / "folder") as folder:
                (folder / "a").write_text(name)
                (folder / "b").write_text(name)
            with new_file(tmp_path / "file") as file:
                file.write_text(name * 100)
        return name

    children = [in_child(lambda: work(str(k))) for k in range(writers)]  # noqa: B023
    assert [answer_of(child) for child in children] == [str(k) for k in range(writers)]
    folder = verify(tmp_path / "folder")
    assert (folder / "a").read_text() == (folder / "b").read_text()
    assert len(set((tmp_path / "file").read_text())) == 1
    assert {f.name for f in tmp_path.iterdir()} == {"folder", "file"}


def test_a_lock_is_held_by_one(tmp_path):
    if locks.fcntl is None:
        pytest.skip("no such locks here")
    place, other = tmp_path / "deep" / "place", tmp_path / "other"
    with lock(place) as first, lock(place, wait=False) as second, lock(other, wait=False) as third:
        assert (first, second, third) == (True, False, True)
    with lock(place, wait=False) as again:
        assert again
    assert hidden(tmp_path) == []


def test_without_locks_everything_works_but_waiting(tmp_path, monkeypatch):
    class NoLocks:
        LOCK_EX = LOCK_NB = 0

        @staticmethod
        def flock(*_):
            raise OSError(37, "No locks available")

    for missing in (None, NoLocks):
        monkeypatch.setattr(locks, "fcntl", missing)
        with lock(tmp_path / "place") as held:
            assert not held
        with new_folder(tmp_path / "folder") as folder:
            (folder / "a").write_text("x")
        verify(tmp_path / "folder")
        assert hidden(tmp_path) == []


SWEEP = """
    import sys
    from pathlib import Path
    from rrmlab import AgentConfig, NetworkConfig
    from rrmlab.study import jobs as study_jobs
    from rrmlab.study.scoring import Scoring

    root = Path(sys.argv[1])
    train = study_jobs.OfflineJob._train

    def logged(job, checkpoint):
        with open(root / "log", "a") as log:
            print(job.agent.alpha, file=log)
        return train(job, checkpoint)

    study_jobs.OfflineJob._train = logged
    network = NetworkConfig(num_aps=2, num_users=5, top_n=2, episode_ttis=12, warmup_ttis=2)
    agents = [AgentConfig(alpha=alpha, hidden=(6,), num_updates=300, batch_size=16) for alpha in (0.0, 0.1, 0.2, 0.3)]
    jobs = {a.alpha: study_jobs.OfflineJob(root / "dataset-v0", a, (0, 1), Scoring(network, 2)) for a in agents}
    print(*(result.rates.tobytes().hex() for result in study_jobs.run_jobs(root, jobs, 1).values()))
    """


@pytest.mark.skipif(not cases(0, 1), reason="long version only")
def test_two_sweeps_at_once_train_every_job_once(copies):
    command = [sys.executable, "-c", textwrap.dedent(SWEEP), str(copies)]
    sweeps = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [sweep.communicate(timeout=300)[0].splitlines() for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0]
    assert said[0][-1] == said[1][-1] and len(said[0][-1].split()) == 4
    assert sorted((copies / "log").read_text().split()) == ["0.0", "0.1", "0.2", "0.3"]
    assert hidden(copies) == []


TWICE = """
    import time
    time.sleep(1.5)
    Path("../figures/tables/01_a.csv").write_text("x\\n1\\n")
    """


def test_two_commands_at_once_run_every_notebook_once(tmp_path, monkeypatch, capfd):
    repository = Repository(tmp_path / "clone")
    monkeypatch.setattr(source, "PACKAGE", repository.root / "package")
    monkeypatch.chdir(repository.root)
    repository.write("01_a", TWICE)
    codes = []
    threads = [
        threading.Thread(target=lambda: codes.append(main(["reproduce", "--preset", "smoke"]))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    out = capfd.readouterr().out
    assert codes == [0, 0] and repository.order() == ["01"]
    assert out.count("another process is at work on") == 1 and out.count("01_a: up to date") == 1
    assert hidden(repository.root) == []


@pytest.mark.skipif(not cases(0, 1), reason="long version only")
def test_a_killed_command_is_taken_over_by_the_one_that_waits(tmp_path):
    repository = Repository(tmp_path / "clone")
    repository.write("01_a", TWICE)
    repository.write("02_b", TWICE.replace("1.5", "40"), header="needs: [01_a]")
    command = [sys.executable, "-m", "rrmlab.command.main", "reproduce", "--preset", "smoke"]
    start = {"cwd": repository.root, "stdout": subprocess.PIPE, "text": True}
    first = subprocess.Popen(command, **start)
    for line in first.stdout:
        if "02_b: started" in line:
            break
    second = subprocess.Popen(command, **start)
    waits = next(line for line in second.stdout if "another process is at work" in line)
    first.kill()
    first.wait()
    out = waits + second.communicate(timeout=300)[0]
    assert second.returncode == 0
    assert "01_a: up to date" in out and "02_b: done" in out
    assert repository.order() == ["01", "02", "02"]
    assert hidden(repository.root) == []


# ---- what killed processes leave ----


def begins(path, folder, write):
    """Begin to write a place, say so, and never end."""
    with (new_folder if folder else new_file)(path) as beside:
        (beside / "a" if folder else beside).write_text("half")
        os.write(write, b"x")
        time.sleep(60)


@needs_fork
@pytest.mark.parametrize("folder", [True, False])
def test_what_a_killed_process_left_goes_when_the_place_is_written_again(tmp_path, folder):
    path = tmp_path / ("place" if folder else "place.csv")
    mine = tmp_path / ".place.20240101"
    mine.mkdir()  # looks like it, is not
    (tmp_path / ".place.deadbeef.csv").write_text("mine")

    def write_again():
        with (new_folder if folder else new_file)(path) as beside:
            (beside / "a" if folder else beside).write_text("whole")

    read, write = os.pipe()
    write_again()
    children = [in_child(lambda: begins(path, folder, write))[0] for _ in range(2)]
    for _ in children:
        os.read(read, 1)
    begun = set(hidden(tmp_path)) - {".place.20240101", ".place.deadbeef.csv"}
    assert len(begun) == 4, "each something half-written and a lock"
    write_again()
    assert begun <= set(hidden(tmp_path)), "they live"
    os.kill(children[0], signal.SIGKILL)
    os.waitpid(children[0], 0)
    write_again()
    assert len(begun & set(hidden(tmp_path))) == 2, "one lives"
    os.kill(children[1], signal.SIGKILL)
    os.waitpid(children[1], 0)
    write_again()
    assert {f.name for f in tmp_path.iterdir()} == {path.name, ".place.20240101", ".place.deadbeef.csv"}


@needs_fork
def test_killed_between_the_two_renames(tmp_path):
    """The earlier folder has been moved away, the new one is not yet there: the earlier one is found again."""
    path = tmp_path / "place"
    with new_folder(path) as folder:
        (folder / "a").write_text("first")

    def killed():
        rename = os.rename

        def once(*names):
            rename(*names)
            os.kill(os.getpid(), signal.SIGKILL)

        os.rename = once
        with new_folder(path) as folder:
            (folder / "a").write_text("second")

    child, _ = in_child(killed)
    os.waitpid(child, 0)
    assert not path.exists()
    assert (verify(path) / "a").read_text() == "first"
    assert [f.name for f in tmp_path.iterdir()] == ["place"]


@needs_fork
def test_killed_at_any_moment_leaves_one_or_the_other(tmp_path):
    path, rng, rounds, caught = tmp_path / "place", np.random.default_rng(5), cases(20, 500), 0
    begun, begin = os.pipe()

    def write_on(name=0):
        os.write(begin, b"x")
        while True:
            name += 1
            with new_folder(path) as folder:
                for k in range(3):
                    (folder / f"{k}").write_text(f"{name}" * 1000)

    with new_folder(path) as folder:
        (folder / "0").write_text("x")
    for _ in range(rounds):
        child, read = in_child(write_on)
        os.read(begun, 1)
        time.sleep(float(rng.uniform(0, 0.01)))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        caught += hidden(tmp_path) != []
        verify(path)
        assert len({f.read_text() for f in path.glob("[0-9]")}) == 1
    with new_folder(path) as folder:
        (folder / "a").write_text("last")
    assert [f.name for f in tmp_path.iterdir()] == ["place"]
    assert caught > rounds / 4, "most died while they wrote"
