"""Stored files that were flipped, cut, planted, filled up, raced for and left behind: refused by name, never believed.

RRMLAB_SOAK=1 tries more cases. Shapes: S seeds, D deployments, I APs, J users, N top users.
"""

import ast
import contextlib
import hashlib
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import warnings
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from minari import MinariDataset
from safetensors.torch import load_file, save_file
from soak import cases
from test_reproduce import Repository

import rrmlab
from rrmlab import explore, storage
from rrmlab.agents.learner import AgentConfig
from rrmlab.agents.policy import Policy
from rrmlab.command import kernels
from rrmlab.command import notebooks as source
from rrmlab.command.runs import Run
from rrmlab.config import NetworkConfig
from rrmlab.datasets import collect, load_dataset
from rrmlab.reproduce import main
from rrmlab.results import code_fingerprint, read_result, score_result, stored
from rrmlab.rollout import Scores
from rrmlab.schedulers import RandomWalk
from rrmlab.storage import SUMS, CorruptFileError, lock, new_file, new_folder, verify
from rrmlab.study import Study
from rrmlab.training import train_offline

NETWORK = NetworkConfig(num_aps=2, num_users=5, top_n=2, episode_ttis=12, warmup_ttis=2)
LOADERS = {"dataset": load_dataset, "checkpoint": Policy.load, "result": read_result}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork, no locks")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One of each: a dataset of two episodes, a checkpoint, a result of two seeds with its policies."""
    root = tmp_path_factory.mktemp("made")
    data = collect(RandomWalk(), NETWORK, 20, seed=1)
    config = AgentConfig(hidden=(6,), num_updates=1, batch_size=4)
    policies = train_offline(data, config, [0, 1], progress=False)
    rng = np.random.default_rng(0)
    scores = [Scores.of(rng.random((3, 5)), rng.random(3), NETWORK.tail_weight) for _ in policies]
    data.save(root / "dataset")
    policies[0].save(root / "checkpoint")
    with new_folder(root / "result") as folder:
        score_result(folder, scores, 1.5, policies)
        (folder / "spec.json").write_text("{}")
    return root


@pytest.fixture
def copies(made, tmp_path):
    """The same, to damage."""
    shutil.copytree(made, tmp_path / "copies")
    return tmp_path / "copies"


def files(folder):
    return sorted(f for f in folder.rglob("*") if f.is_file())


def content_of(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in files(folder)}


def sign(folder):
    """Make SHA256SUMS right for what the folder now holds, inside first: somebody rewrote both."""
    for sums in sorted(folder.rglob(SUMS), key=lambda p: -len(p.parts)):
        listed = [f for f in files(sums.parent) if f != sums]
        digests = [hashlib.sha256(f.read_bytes()).hexdigest() for f in listed]
        lines = [f"{d}  {f.relative_to(sums.parent).as_posix()}\n" for d, f in zip(digests, listed, strict=True)]
        sums.write_text("".join(lines))


def hidden(folder):
    return sorted(f.name for f in folder.rglob(".*"))


# ---- no silent corruption ----


def damaged(kind, content, draw):
    """What a file holds after it was damaged; None for a file that is gone."""
    place = draw(st.integers(0, max(0, len(content) - 1)))
    if kind == "flip" and content:
        flipped = content[place] ^ draw(st.integers(1, 255))
        return content[:place] + bytes([flipped]) + content[place + 1 :]
    if kind == "cut" and content:
        return content[:place]
    if kind == "remove":
        return None
    return content + bytes(draw(st.lists(st.integers(0, 255), min_size=1, max_size=3)))


def check_refused(folder, load, kind, data):
    """Damage one file, see it refused by name and with what to do, repair it."""
    if kind == "add":
        file, content = folder / data.draw(st.sampled_from(["x", "data/x", ".hidden", "policy_2"])), None
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data.draw(st.binary(max_size=4)))
    else:
        file = data.draw(st.sampled_from(files(folder)))
        content = file.read_bytes()
        changed = damaged(kind, content, data.draw)
        file.unlink() if changed is None else file.write_bytes(changed)
    with pytest.raises(CorruptFileError) as error:
        load(folder)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    # What is flipped in the list of sums shows as the file whose line it was.
    assert str(folder if file.name == SUMS else file) in str(error.value)
    assert "make it again" in str(error.value)


@pytest.mark.parametrize("kind", ["flip", "other"])
def test_any_damage_is_refused_by_name(copies, kind):
    @settings(max_examples=cases(50, 500), deadline=None, database=None)
    @given(data=st.data())
    def run(data):
        name = data.draw(st.sampled_from(sorted(LOADERS)))
        what = kind if kind == "flip" else data.draw(st.sampled_from(["cut", "append", "remove", "add"]))
        check_refused(copies / name, LOADERS[name], what, data)

    before = content_of(copies)
    run()
    assert content_of(copies) == before
    for name, load in LOADERS.items():
        load(copies / name)


def test_every_byte_of_the_sums_counts(copies):
    folder = copies / "checkpoint"
    sums = (folder / SUMS).read_bytes()
    masks = range(1, 256) if cases(0, 1) else (1, 32, 255)
    for place in range(len(sums)):
        for mask in masks:
            (folder / SUMS).write_bytes(sums[:place] + bytes([sums[place] ^ mask]) + sums[place + 1 :])
            with pytest.raises(CorruptFileError, match="make it again"):
                verify(folder)
    for wrong in (sums[:-1], sums + b"\n", sums + b"\0", sums * 2, sums.replace(b"\n", b"\r\n"), b"\n" + sums):
        (folder / SUMS).write_bytes(wrong)
        with pytest.raises(CorruptFileError, match="make it again"):
            verify(folder)
    (folder / SUMS).write_bytes(b"".join(reversed(sums.splitlines(keepends=True))))
    verify(folder)  # another order says the same


def test_a_damaged_run_is_made_again_and_says_so(tmp_path, capsys):
    def build(folder):
        (folder / "a").write_text("right")

    folder = stored(tmp_path, "kind", {"x": 1}, build)
    assert stored(tmp_path, "kind", {"x": 1}, None) == folder, "asked again it is not built"
    for damage in (lambda: (folder / "a").write_text("wrong"), lambda: (folder / SUMS).unlink()):
        damage()
        assert stored(tmp_path, "kind", {"x": 1}, build) == folder
        assert (verify(folder) / "a").read_text() == "right"
        assert f"making it again: {folder}" in capsys.readouterr().out


def test_a_table_that_was_changed_is_made_again(tmp_path, monkeypatch):
    repository = Repository(tmp_path / "clone")
    monkeypatch.setattr(source, "PACKAGE", repository.root / "package")
    repository.write("01_a", "")
    run = Run(repository.root, tmp_path / "out", "smoke", None)
    notebook = source.read_all(repository.root)[0]
    monkeypatch.setattr(run, "kernels", FakeKernels())
    assert run.execute(notebook).status == "done"
    table = tmp_path / "out/figures/tables/01_a.csv"
    assert run.is_current(notebook)
    (tmp_path / "out/figures/01_a.png").write_text("drawn again")
    assert run.is_current(notebook)
    table.write_text("x\n2\n")
    assert not run.is_current(notebook)
    table.write_text("x\n1\n")
    assert run.is_current(notebook)


class FakeKernels:
    """Runs no notebook, but leaves what one would."""

    def run(self, node, cwd, log, parameters=None):
        (cwd / "../figures/tables/01_a.csv").write_text("x\n1\n")
        (cwd / "../figures/01_a.png").write_text("drawn")
        log.write_text("")
        return node, ""


# ---- nothing of ours is replaced by mistake ----


def test_what_rrmlab_did_not_write_is_not_replaced(made, tmp_path):
    data = load_dataset(made / "dataset")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("mine")
    (tmp_path / "empty").mkdir()
    for name in ("file", "folder"):
        with pytest.raises(FileExistsError, match=f"{name}.*give another name"):
            data.save(tmp_path / name)
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "thesis.tex").read_text() == "mine"
    load_dataset(data.save(tmp_path / "empty"))
    assert hidden(tmp_path) == []


# ---- a full disk ----


def in_child(work, said=os.devnull):
    """Start `work` in a forked process, so that neither its limits nor its death are ours; what it says goes to `said`.

    Returns its id and where `answer_of` reads what it returned.
    """
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads; ours do nothing
        child = os.fork()
    if child == 0:
        status = 1
        try:
            with open(said, "w") as file, contextlib.redirect_stdout(file):
                answer = work()
            os.write(write, json.dumps(answer).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write)
    return child, read


def answer_of(child):
    pid, read = child
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"the child ended with {status}"
    return json.loads(text)


def table_writer(root):
    study = Study("01_x", "smoke", recompute=True, root=root)
    return lambda: study.table("t", lambda: pd.DataFrame({"x": range(1000)}))


@needs_fork
@pytest.mark.parametrize("kind", ["dataset", "checkpoint", "result", "table", "stamp"])
def test_a_full_disk_is_told_and_nothing_is_lost(made, tmp_path, kind):
    import resource

    place, limits = tmp_path / "there" / "place", cases(4, 60)
    place.parent.mkdir()
    if kind == "table":
        place, write = tmp_path / "figures/tables/01_x_t.csv", table_writer(tmp_path)
    elif kind == "stamp":
        write = lambda: kernels.write(place, "x" * 5_000)  # noqa: E731
    elif kind == "result":
        one = read_result(made / "result")
        scores = [Scores.of(one.rates[k], one.arrays["rewards"][k], 3.0) for k in range(2)]

        def write():
            return stored(tmp_path / "there", "kind", {}, lambda folder: score_result(folder, scores, 1, one.policies))

        place = write()
        largest = max(f.stat().st_size for f in files(place))
        (place / "spec.json").write_text("damaged, so that it is to be written again")
    else:
        saved = LOADERS[kind](made / kind)
        write = lambda: saved.save(place)  # noqa: E731
    if kind != "result":
        write()
        largest = max(f.stat().st_size for f in (files(place) if place.is_dir() else [place]))
    before = None if kind == "result" else content_of(tmp_path)

    def try_all():
        told = []
        for limit in np.linspace(1, largest - 1, limits).astype(int).tolist():
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                write()
                told.append("no error")
            except OSError as error:
                told.append(str(error))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        return told

    told = answer_of(in_child(try_all))
    assert len(told) == limits
    for text in told:
        assert f"{place} could not be written (File too large)" in text
    assert hidden(tmp_path) == []
    if before is not None:
        assert content_of(tmp_path) == before
    write()
    if kind == "result":
        assert read_result(place).seconds == 1.0


def test_a_device_without_room(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / "file").write_text("first")
    no_room = r"could not be written \(No space left on device\); it is as it was before"
    with pytest.raises(OSError, match=f"file {no_room}"), new_file(tmp_path / "file") as beside:
        beside.symlink_to("/dev/full")
        beside.write_text("second")
    with pytest.raises(OSError, match=f"folder {no_room}"), new_folder(tmp_path / "folder") as folder:
        (folder / "a").symlink_to("/dev/full")
        (folder / "a").write_text("x")
    assert {f.name for f in tmp_path.iterdir()} == {"file"} and (tmp_path / "file").read_text() == "first"


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
            in_child(lambda: str(stored(tmp_path / "data", "kind", {"x": number}, build)), file)  # noqa: B023
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

    first, _ = in_child(lambda: stored(tmp_path, "kind", {}, dies))
    os.read(read, 1)
    said = tmp_path / "said"
    second = in_child(lambda: str(stored(tmp_path, "kind", {}, build)), said)
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
    if storage.fcntl is None:
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
        monkeypatch.setattr(storage, "fcntl", missing)
        with lock(tmp_path / "place") as held:
            assert not held
        with new_folder(tmp_path / "folder") as folder:
            (folder / "a").write_text("x")
        verify(tmp_path / "folder")
        assert hidden(tmp_path) == []


SWEEP = """
    import sys
    from pathlib import Path
    from rrmlab import AgentConfig, NetworkConfig, sweep

    root = Path(sys.argv[1])
    train = sweep.OfflineJob._train

    def logged(job, checkpoint):
        with open(root / "log", "a") as log:
            print(job.agent.alpha, file=log)
        return train(job, checkpoint)

    sweep.OfflineJob._train = logged
    network = NetworkConfig(num_aps=2, num_users=5, top_n=2, episode_ttis=12, warmup_ttis=2)
    agents = [AgentConfig(alpha=alpha, hidden=(6,), num_updates=300, batch_size=16) for alpha in (0.0, 0.1, 0.2, 0.3)]
    jobs = {a.alpha: sweep.OfflineJob(root / "dataset", a, (0, 1), sweep.Scoring(network, 2)) for a in agents}
    print(*(result.rates.tobytes().hex() for result in sweep.run_jobs(root, jobs, 1).values()))
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
    repository.write("02_b", TWICE.replace("1.5", "20"), header="needs: [01_a]")
    command = [sys.executable, "-m", "rrmlab.reproduce", "reproduce", "--preset", "smoke"]
    start = {"cwd": repository.root, "stdout": subprocess.PIPE, "text": True}
    first = subprocess.Popen(command, **start)
    for line in first.stdout:
        if "02_b: started" in line:
            break
    second = subprocess.Popen(command, **start)
    time.sleep(15)
    first.kill()
    first.wait()
    out, _ = second.communicate(timeout=300)
    assert second.returncode == 0 and "another process is at work" in out
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


# ---- nothing that is read runs ----

FORBIDDEN = (
    "pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve",  # modules
    "torch.load", "joblib.load", "joblib.dump", "joblib.Memory", "pd.read_pickle", "pandas.read_pickle",
    "eval", "exec", "compile", "os.system", "os.popen", "__import__", "importlib.import_module",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load",
    "gym.make", "MinariDataset", "minari.load_dataset", "MinariStorage.read",  # make what a file's env_spec names
)  # fmt: skip


def name_of(node):
    """Dotted name of an expression, "" if it is none."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{name_of(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def dangers(text):
    """What in a source could run what a file says."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [n for n in names if n.split(".")[0] in FORBIDDEN or n in FORBIDDEN]
            found += [alias.name for alias in node.names if alias.name in FORBIDDEN]
        elif isinstance(node, ast.Call):
            options = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            if name_of(node.func) in FORBIDDEN:
                found.append(name_of(node.func))
            if options.get("shell", False) is not False or options.get("allow_pickle", False) is not False:
                found.append(name_of(node.func))
    return found


def test_the_package_has_nothing_that_runs_data():
    paths = sorted(Path(rrmlab.__file__).parent.rglob("*.py"))
    assert len(paths) > 30
    assert {str(path): found for path in paths if (found := dangers(path.read_text()))} == {}


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from pickle import loads", "import marshal", "from torch import load", "torch.load(f)",
     "x = joblib.load(f)", "np.load(f, allow_pickle=True)", "eval(s)", "exec(s)", "os.system(s)", "yaml.load(f)",
     "subprocess.run(s, shell=True)", "subprocess.Popen(s, shell=flag)", "MinariDataset(p)", "gym.make(s)"],
)  # fmt: skip
def test_the_scan_would_notice(text):
    assert dangers(text)
    assert not dangers("np.load(f, allow_pickle=False); subprocess.run([s]); ast.literal_eval(s); re.compile(s)")


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def payloads(marker):
    """Pickles in the forms in which loaders meet them."""
    yield from (pickle.dumps(Evil(marker), protocol) for protocol in (0, 2, 4, 5))
    for save in (lambda f: torch.save({"x": Evil(marker)}, f), lambda f: np.save(f, np.array([Evil(marker)], object))):
        buffer = io.BytesIO()
        save(buffer)
        yield buffer.getvalue()
    yield f"!!python/object/apply:os.system ['touch {marker}']\n".encode()
    yield f"__import__('os').system('touch {marker}')\n".encode()


@pytest.fixture
def marker(tmp_path):
    """A file that must not appear."""
    yield tmp_path / "marker"
    assert not (tmp_path / "marker").exists(), "a file's content was run"


def test_the_planted_pickles_do_run(tmp_path):
    for k, load in enumerate([pickle.loads] * 4 + [lambda b: torch.load(io.BytesIO(b), weights_only=False)]):
        load(list(payloads(tmp_path / f"{k}"))[k])
        assert (tmp_path / f"{k}").exists()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", sorted(LOADERS))
def test_a_planted_pickle_is_refused(copies, marker, name, signed):
    folder = copies / name
    for file in files(folder):
        if file.name == SUMS:
            continue
        before = content_of(folder)
        for payload in payloads(marker):
            file.write_bytes(payload)
            if signed:
                sign(folder)
            if signed and file.name == "spec.json":
                LOADERS[name](folder)  # nobody reads it
                continue
            with pytest.raises(CorruptFileError, match=file.name):
                LOADERS[name](folder)
        for path, content in before.items():
            (folder / path).write_bytes(content)
    LOADERS[name](folder)


def test_planted_tables_and_provenance(tmp_path, marker):
    study = Study("01_x", "smoke", recompute=True, root=tmp_path)
    study.table("", lambda: pd.DataFrame({"x": [1]}))
    study.finish()
    reader = Study("01_x", "smoke", root=tmp_path)
    tables = tmp_path / "figures/tables"
    provenance = (tables / "01_x.json").read_bytes()
    for payload in payloads(marker):
        (tables / "01_x.csv").write_bytes(payload)
        try:
            table = reader.table("", None)
        except CorruptFileError as error:
            assert "01_x.csv is not what rrmlab writes" in str(error)
        else:  # plain text is a table of one strange column
            payload.decode()
            assert "x" not in table
        (tables / "01_x.json").write_bytes(payload)
        with pytest.raises(CorruptFileError, match="01_x.json is not what rrmlab writes"):
            Study("01_x", "smoke", root=tmp_path)
        (tables / "01_x.json").write_bytes(provenance)
    for wrong in (b"", b"[1]", b"{}", b'{"parameters": 3, "date": 1, "commit": 2}', b"[" * 100_000):
        (tables / "01_x.json").write_bytes(wrong)
        with pytest.raises(CorruptFileError, match="01_x.json is not what rrmlab writes"):
            Study("01_x", "smoke", root=tmp_path)
    (tables / "01_x.csv").write_bytes(b"")
    with pytest.raises(CorruptFileError, match=r"01_x\.csv is not what rrmlab writes \(EmptyDataError"):
        reader.table("", None)


def test_planted_stamps_count_as_never_done(tmp_path, marker, monkeypatch):
    repository = Repository(tmp_path / "clone")
    repository.write("01_a", "")
    run = Run(repository.root, tmp_path / "out", "smoke", None)
    notebook = source.read_all(repository.root)[0]
    stamp = tmp_path / "out/data/executed/01_a.json"
    stamp.parent.mkdir(parents=True)
    good = {"key": run.key(notebook), "outputs": {}}
    stamp.write_text(json.dumps(good))
    assert run.is_here(notebook) and run.is_current(notebook)
    texts = [json.dumps(wrong) for wrong in ([], 1, "x", None, {}, {"key": 1, "outputs": {}}, {"key": "x"},
             good | {"outputs": ["x"]}, good | {"outputs": {"x": 1}}, good | {"outputs": {"figures": []}})]  # fmt: skip
    for content in (*payloads(marker), *(text.encode() for text in texts), b"", b"[" * 100_000, b"\xff"):
        stamp.write_bytes(content)
        assert not run.is_current(notebook)


def test_a_planted_environment_is_not_made(copies, marker, tmp_path):
    """Minari's own loader makes the environment that `env_spec` names, and so calls any function with any arguments."""
    folder = copies / "dataset"
    about = folder / "data" / "metadata.json"
    metadata = json.loads(about.read_text())
    shown = tmp_path / "shown"

    def plant(marker):
        spec = {"id": "x-v0", "entry_point": "os:system", "kwargs": {"command": f"touch {marker}"}}
        spec |= {"additional_wrappers": [], "disable_env_checker": True, "order_enforce": False}
        spec = json.dumps(spec)
        planted = {**metadata, "env_spec": spec, "eval_env_spec": spec}
        del planted["observation_space"], planted["action_space"]
        about.write_text(json.dumps(planted))
        sign(folder)

    before = load_dataset(folder)
    plant(shown)
    with contextlib.suppress(Exception):
        MinariDataset(folder / "data")
    assert shown.exists(), "the danger is real"
    plant(marker)
    assert torch.equal(load_dataset(folder).obs, before.obs)  # what it does not need it does not look at


SHELL = ["$(touch {})", "`touch {}`", "1; touch {}", "1 && touch {}", "1 | touch {}", "1\ntouch {}", "!touch {}",
         "__import__('os').system('touch {}')", "{{[]: 1}}", "(" * 5_000, "9" * 5_000, "-" * 100_000 + "1"]  # fmt: skip


@pytest.mark.parametrize("text", SHELL, ids=range(len(SHELL)))
def test_parameters_never_reach_a_shell(tmp_path, monkeypatch, capsys, marker, text):
    repository = Repository(tmp_path / "clone")
    repository.write("01_a", parameters="seed = 0\n")
    monkeypatch.chdir(repository.root)
    for arguments in (["seed", text.format(marker)], [text.format(marker), "1"]):
        assert main(["reproduce", "--preset", "smoke", "-p", *arguments]) == 2
        assert capsys.readouterr().err.startswith("rrmlab: error: ")
    assert main(["reproduce", "--preset", "smoke", text.format(marker)[:100]]) == 2
    assert not (repository.root / "data").exists()


def test_a_parameter_of_text_arrives_as_it_is(tmp_path, monkeypatch, marker):
    repository = Repository(tmp_path / "clone")
    monkeypatch.setattr(source, "PACKAGE", repository.root / "package")
    repository.write("01_a", 'Path("../figures/tables/01_a.csv").write_text(name)', parameters='name = ""\n')
    monkeypatch.chdir(repository.root)
    text = f"""'; import os; os.system("touch {marker}") # $(touch {marker}) `touch {marker}` \\ \n!touch {marker}"""
    assert main(["reproduce", "--preset", "smoke", "-p", "name", text]) == 0
    assert repository.text("data/runs/smoke/figures/tables/01_a.csv") == text


# ---- signed, and still wrong ----


def edit_json(change):
    def edit(file):
        values = json.loads(file.read_text())
        change(values)
        file.write_text(json.dumps(values))

    return edit


def edit_tensors(change):
    def edit(file):
        tensors = load_file(file)
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        change(tensors)
        save_file(tensors, file)

    return edit


def edit_hdf5(change):
    def edit(file):
        with h5py.File(file, "r+") as opened:
            change(opened)

    return edit


def put(path, value):
    """Put a value deep into something with names."""

    def change(values):
        *outer, last = path.split("/")
        for name in outer:
            values = values[name]
        values[last] = value

    return change


def drop(path):
    def change(values):
        *outer, last = path.split("/")
        for name in outer:
            values = values[name]
        del values[last]

    return change


def reshape(name, convert):
    def change(values):
        new = convert(values[name][()] if isinstance(values, h5py.File) else values[name])
        del values[name]
        values[name] = new

    return change


def first_becomes(number):
    def convert(tensor):
        tensor.flatten()[:1] = number
        return tensor

    return convert


NOT_OBJECTS = [b"", b"[]", b"3", b'"x"', b"null", b"{", b"[" * 100_000, b"\xff\xfe{}", b"{'a': 1}"]
MANY = [lambda f, content=content: f.write_bytes(content) for content in NOT_OBJECTS]
ABOUT = "checkpoint/policy.json"
WEIGHTS = "checkpoint/policy.safetensors"
METADATA = "dataset/data/metadata.json"
HDF5 = "dataset/data/main_data.hdf5"
ARRAYS = "result/arrays.safetensors"
WRONG = [  # file, what was done to it, what the error says
    *((file, edit, "is not what rrmlab writes") for file in (ABOUT, METADATA) for edit in MANY),
    *((file, edit, "is not what rrmlab writes") for file in (WEIGHTS, HDF5, ARRAYS) for edit in MANY),
    *((file, lambda f: f.unlink(), "FileNotFoundError") for file in (ABOUT, METADATA, WEIGHTS, HDF5, ARRAYS)),
    *((file, lambda f: f.write_bytes(f.read_bytes()[:-9]), "is not what rrmlab writes") for file in (WEIGHTS, ARRAYS)),
    (ABOUT, edit_json(put("format", 2)), "checkpoint format 2, this version reads 1"),
    (ABOUT, edit_json(put("format", "1")), "checkpoint format '1'"),
    (ABOUT, edit_json(drop("format")), "checkpoint format None"),
    (ABOUT, edit_json(put("optimizer", {})), "optimizer where agent, format, network, seed are wanted"),
    (ABOUT, edit_json(drop("agent")), "format, network, seed where agent"),
    (ABOUT, edit_json(put("agent", [])), "policy.json"),
    (ABOUT, edit_json(put("network", 3)), "policy.json"),
    (ABOUT, edit_json(put("agent/depth", 3)), "AgentConfig has no field depth"),
    (ABOUT, edit_json(put("network/color", 3)), "NetworkConfig has no field color"),
    (ABOUT, edit_json(put("agent/paradigm", "mean field")), "'mean field': must be one of"),
    (ABOUT, edit_json(put("agent/gamma", float("nan"))), "gamma = nan"),
    (ABOUT, edit_json(put("agent/hidden", [10**9])), r"hidden = \(1000000000,\)"),
    (ABOUT, edit_json(put("agent/hidden", [7])), "policy.safetensors.*must be torch.float32"),
    (ABOUT, edit_json(put("agent/hidden", 3)), "policy.json"),
    (ABOUT, edit_json(put("network/top_n", 3)), "policy.safetensors"),
    (ABOUT, edit_json(put("network/area_m", "500")), "area_m = '500': expected float"),
    (ABOUT, edit_json(put("seed", "0")), "seed = '0': must be a whole number"),
    (ABOUT, edit_json(put("seed", -1)), "seed = -1"),
    (ABOUT, edit_json(put("seed", True)), "seed = True"),
    (WEIGHTS, edit_tensors(drop("actor.1")), "tensor actor.1 is missing"),
    (WEIGHTS, edit_tensors(drop("obs_std")), "tensor obs_std is missing"),
    (WEIGHTS, edit_tensors(put("actor.9", torch.zeros(2))), "tensor actor.9 is not one of this agent"),
    (WEIGHTS, edit_tensors(reshape("critic.0", lambda t: t[..., :-1].clone())), "critic.0 is torch.float32 .*must be"),
    (WEIGHTS, edit_tensors(reshape("critic.0", lambda t: t.mT.contiguous())), "critic.0 is torch.float32 .*must be"),
    (WEIGHTS, edit_tensors(reshape("critic.2", lambda t: t.double())), "critic.2 is torch.float64"),
    (WEIGHTS, edit_tensors(reshape("obs_mean", lambda t: t.long())), "obs_mean is torch.int64"),
    (WEIGHTS, edit_tensors(reshape("actor.0", first_becomes(float("nan")))), "actor.0 holds NaN or infinity"),
    (WEIGHTS, edit_tensors(reshape("reward_mean", lambda t: t / 0)), "reward_mean holds NaN or infinity"),
    (WEIGHTS, edit_tensors(reshape("obs_std", first_becomes(0.0))), "obs_std must be above 0"),
    (METADATA, edit_json(put("minari_version", "9.0.0")), "Minari '9.0.0', this version reads 'hdf5' of Minari 0"),
    (METADATA, edit_json(put("minari_version", ["0.5.4"])), r"Minari \['0.5.4'\]"),
    (METADATA, edit_json(put("data_format", "arrow")), "data_format 'arrow'"),
    (METADATA, edit_json(drop("data_format")), "data_format None"),
    (METADATA, edit_json(drop("rrmlab")), "not one of rrmlab"),
    (METADATA, edit_json(put("rrmlab", [])), "has no 'network'"),
    (METADATA, edit_json(drop("rrmlab/network")), "has no 'network'"),
    (METADATA, edit_json(put("rrmlab/network/color", 3)), "NetworkConfig has no field color"),
    (METADATA, edit_json(put("rrmlab/network/num_aps", 3)), r"main_data.hdf5.*observations of episode_0 is"),
    (METADATA, edit_json(put("total_episodes", 10**15)), r"it has 2 episodes, its metadata say 10{15}"),
    (METADATA, edit_json(drop("total_episodes")), "it has 2 episodes, its metadata say None"),
    (HDF5, edit_hdf5(drop("episode_1")), "it has 1 episodes, its metadata say 2"),
    (HDF5, edit_hdf5(lambda f: f.move("episode_1", "episode_7")), "episode_1 has no rewards"),
    (HDF5, edit_hdf5(drop("episode_1/infos/log_prob")), "episode_1 has no infos/log_prob"),
    (HDF5, edit_hdf5(drop("episode_0/infos")), "episode_0 has no infos/action_mask"),
    (HDF5, edit_hdf5(lambda f: f.move("episode_0/infos", "episode_0/x")), "episode_0 has no infos/action_mask"),
    (HDF5, edit_hdf5(lambda f: f.move("episode_0/infos", "rewards")), "it has 3 episodes"),
    (HDF5, edit_hdf5(reshape("episode_0/rewards", lambda x: x[:-1])), "observations of episode_0"),
    (HDF5, edit_hdf5(reshape("episode_0/rewards", lambda x: x.astype(float))), "rewards of episode_0 is float64"),
    (HDF5, edit_hdf5(reshape("episode_0/rewards", lambda x: x[0])), "rewards of episode_0 is float32 ()"),
    (HDF5, edit_hdf5(reshape("episode_1/actions", lambda x: x.astype(np.int8))), "actions of episode_1 is int8"),
    (HDF5, edit_hdf5(reshape("episode_1/actions", lambda x: x[:, :1])), "actions of episode_1 is int64"),
    (HDF5, edit_hdf5(reshape("episode_1/actions", lambda x: x + 7)), "actions: must lie in 0"),
    (HDF5, edit_hdf5(reshape("episode_1/actions", lambda x: x - 7)), "actions: must lie in 0"),
    (HDF5, edit_hdf5(reshape("episode_0/rewards", lambda x: x * np.float32("nan"))), "rewards: must be finite"),
    (HDF5, edit_hdf5(reshape("episode_0/observations", lambda x: x + np.float32("inf"))), "obs: must be finite"),
    (HDF5, edit_hdf5(reshape("episode_0/infos/action_mask", lambda x: x & False)), "some are masked"),
    (HDF5, edit_hdf5(reshape("episode_0/infos/action_mask", lambda x: x.astype(int))), "action_mask of episode_0"),
    (HDF5, edit_hdf5(reshape("episode_0/rewards", lambda x: np.array([b"x"] * len(x)))), "rewards of episode_0 is"),
    (ARRAYS, edit_tensors(drop("rewards")), "has rates, seconds where rates, rewards, seconds are wanted"),
    (ARRAYS, edit_tensors(put("more", torch.zeros(1))), "has more, rates"),
    (ARRAYS, edit_tensors(reshape("rates", lambda t: t[0].clone())), "do not fit each other"),
    (ARRAYS, edit_tensors(reshape("rewards", lambda t: t[:, :-1].clone())), "do not fit each other"),
    (ARRAYS, edit_tensors(reshape("rates", lambda t: t.long())), "rates must be finite floating-point numbers"),
    (ARRAYS, edit_tensors(reshape("rates", lambda t: t.bfloat16())), "arrays.safetensors"),
    (ARRAYS, edit_tensors(reshape("rates", first_becomes(float("nan")))), "rates must be finite"),
    ("result/policy_1", shutil.rmtree, "the rates of 2 seeds beside 1 policies"),
    ("result/policy_1", lambda f: f.rename(f.with_name("policy_last")), "does not end in its seed"),
    ("result/policy_1/policy.json", edit_json(put("format", 2)), "checkpoint format 2"),
    ("result/policy_1/SHA256SUMS", lambda f: f.unlink(), "policy_1/SHA256SUMS is missing"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_signed_but_wrong_is_refused_by_name(copies, number):
    path, edit, words = WRONG[number]
    folder = copies / path.split("/")[0]
    edit(copies / path)
    sign(folder)
    with pytest.raises(CorruptFileError, match=words) as error:
        LOADERS[folder.name](folder)
    assert str(folder) in str(error.value)
    assert error.value.__suppress_context__ or error.value.__context__ is None, "no other library's traceback"


@needs_fork
@pytest.mark.parametrize("path", [ABOUT, WEIGHTS, METADATA, HDF5, ARRAYS])
def test_signed_noise_is_refused_or_read_but_never_crashes(copies, path):
    """What noise leaves readable is read (the sums say that somebody meant it); the rest is refused, by name."""
    file, folder = copies / path, copies / path.split("/")[0]
    rng, content = np.random.default_rng(len(path)), file.read_bytes()

    def read_all():
        for _ in range(cases(20, 300)):
            noisy = bytearray(content)
            for place in rng.integers(len(noisy), size=rng.integers(1, 4)):
                noisy[place] = rng.integers(256)
            file.write_bytes(noisy)
            sign(folder)
            try:
                LOADERS[folder.name](folder)
            except CorruptFileError as error:
                assert str(folder) in str(error)
        return "alive"

    assert answer_of(in_child(read_all)) == "alive"


def test_what_could_not_be_loaded_is_not_saved(made, tmp_path):
    policy = Policy.load(made / "checkpoint")
    policy.save(tmp_path / "policy")
    policy.tensors["actor.0"][..., 0] = torch.nan
    with pytest.raises(ValueError, match="actor.0 holds NaN or infinity, as after a training that diverged"):
        policy.save(tmp_path / "policy")
    assert torch.isfinite(Policy.load(tmp_path / "policy").tensors["actor.0"]).all()


def test_the_tour_leaves_out_what_it_cannot_read(copies, tmp_path):
    run = tmp_path / "data" / "offline"
    for name in ("aaaaaa", "bbbbbb", ".aaaaaa.12345678"):
        shutil.copytree(copies / "result", run / name)
    before = explore.behaviours(tmp_path / "data")
    assert sum("(aaaaaa)" in label for label in before) == 1 and not any("(.aaaa" in label for label in before)
    for content in (b"[]", b'{"agent": 3}', b"\x80\x04", b"{}"):
        (run / "bbbbbb" / "policy_0" / "policy.json").write_bytes(content)
        (run / "bbbbbb" / "policy_1" / "policy.json").write_bytes(content)
        assert not any("(bbbbbb)" in label for label in explore.behaviours(tmp_path / "data"))


def test_the_readme_is_not_filled_from_a_damaged_table(tmp_path, monkeypatch, capsys):
    repository = Repository(tmp_path / "clone")
    repository.write("01_a")
    monkeypatch.chdir(repository.root)
    tables = repository.root / "figures/tables"
    tables.mkdir(parents=True)
    (tables / "04_training_paradigms_summary.csv").write_bytes(b"\x80\x04\x95")
    (repository.root / "README.md").write_text(
        textwrap.dedent("""\
        <!-- results -->
        <!-- /results -->
        """)
    )
    assert main(["check"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rrmlab: error: ") and "summary.csv is not what rrmlab writes" in error
