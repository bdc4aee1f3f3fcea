"""What a user would lose: a folder of another kind in the place that is named, a training that cannot be kept."""

import dataclasses
import os

import pytest
from stored_files import NETWORK, content_of

from rrmlab import AgentConfig, collect, evaluate, make_scheduler, train_offline, train_online
from rrmlab.storage import CorruptFileError, new_folder
from rrmlab.study.store import score_result

DATA = collect(make_scheduler("random_walk"), NETWORK, 36, seed=1)
AGENT = AgentConfig(hidden=(4,), num_updates=2, batch_size=4)
ONLINE = dataclasses.replace(AGENT, penalty="none")
(POLICY,) = train_offline(DATA, AGENT, [0], progress=False)
FEW = {"num_transitions": 48, "num_envs": 2, "progress": False}


def train(path):
    train_offline(DATA, AGENT, [0], progress=False, checkpoint=path, checkpoint_every=1)


def online(path):
    train_online(NETWORK, ONLINE, [0], checkpoint=path, **FEW)


def store(path):
    with new_folder(path, "arrays.safetensors") as folder:
        score_result(folder, [evaluate(make_scheduler("tdm"), NETWORK, 2)], 0.0)


WRITERS = {
    "a log": DATA.save,
    "a policy": POLICY.save,
    "ONNX files": POLICY.export_onnx,
    "a checkpoint": train,
    "an online training's checkpoint": online,
}
THERE = WRITERS | {"a stored run": store}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("there", THERE)
def test_no_folder_of_another_kind_is_replaced(tmp_path, there, writer):
    path = tmp_path / "my-v0"
    THERE[there](path)
    if writer == there:
        WRITERS[writer](path)  # again is fine
        return
    before = content_of(tmp_path)
    with pytest.raises((FileExistsError, ValueError), match="my-v0"):
        WRITERS[writer](path)
    assert content_of(tmp_path) == before


@pytest.mark.parametrize("write", [train, online])
def test_a_folder_of_somebody_else_is_no_checkpoint(tmp_path, write):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / ".DS_Store").write_text("")
    write(tmp_path / "c")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        write(tmp_path / "d")
    assert os.listdir(tmp_path / "d") == ["notes.txt"]


def test_a_checkpoint_that_lost_its_files_is_not_begun_anew(tmp_path):
    train(tmp_path / "c")
    for name in ("facts.json", "state"):
        (tmp_path / "c" / name).unlink()
    with pytest.raises(CorruptFileError, match="is missing"):
        train(tmp_path / "c")


@pytest.mark.parametrize("write", [train, online])
def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_first_update(write, monkeypatch):
    monkeypatch.setattr("rrmlab.agents.learner.Learner.update", lambda *_: pytest.fail("an update was made"))
    with pytest.raises(OSError, match="checkpoint = /proc/nowhere.*: cannot be written there"):
        write("/proc/nowhere/c")


RETURNED = {
    "one too few": lambda policies: [evaluate(policies[0], NETWORK, 2)],
    "not in a list": lambda policies: evaluate(policies[0], NETWORK, 2),
    "nothing": lambda policies: None,
    "numbers": lambda policies: [1.0, 2.0],
}


@pytest.mark.parametrize("kind", RETURNED)
def test_an_evaluation_that_returns_something_else_is_refused_when_it_does(kind):
    calls = []

    def evaluation(policies):
        calls.append(1)
        return RETURNED[kind](policies)

    call = {"evaluation": evaluation, "progress": False}
    with pytest.raises(ValueError, match="evaluation returned"):
        train_offline(DATA, dataclasses.replace(AGENT, num_updates=5), [0, 1], evaluate_every=1, **call)
    with pytest.raises(ValueError, match="evaluation returned"):
        train_online(NETWORK, ONLINE, [0, 1], evaluate_every=4, evaluation=evaluation, **FEW)
    assert len(calls) == 2


@pytest.mark.parametrize("given", [{"evaluate_every": 1}, {"evaluation": lambda policies: []}])
def test_an_evaluation_needs_its_times_and_the_other_way_round(given):
    with pytest.raises(ValueError, match=r"evaluate_every = \d .* evaluation: must be both or neither"):
        train_offline(DATA, AGENT, [0], progress=False, **given)
    with pytest.raises(ValueError, match=r"evaluate_every = \d .* evaluation: must be both or neither"):
        train_online(NETWORK, ONLINE, [0], **given, **FEW)
