"""Looking while a training runs: TensorBoard's files hold the history, and a notebook's curve is drawn in place."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from rrmlab import AgentConfig, NetworkConfig, collect, make_scheduler, train_offline, train_online
from rrmlab.learning.history import SCORES
from rrmlab.study.live import LiveCurve

event_file_writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

NETWORK = NetworkConfig(episode_ttis=30, warmup_ttis=5)
AGENT = AgentConfig(hidden=(8,), batch_size=16, num_updates=450)  # a point every second update
SEEDS = (3, 14)


@pytest.fixture(autouse=True)
def files_in_order(monkeypatch):
    """Files of one second are read in the order of their numbers as texts, so these have the same number of digits."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(1_000))


@pytest.fixture(scope="module")
def data():
    return collect(make_scheduler("random_walk"), NETWORK, 600)


class Stop(Exception):
    """What interrupts a training here."""


def scores(stop_at=None):
    """An evaluation of numbers that depend on the parameters, which stops the training at a given call."""
    calls = []

    def evaluation(policies):
        calls.append(None)
        if len(calls) == stop_at:
            raise Stop
        of = [float(policy.tensors["critic.0"].sum()) / 3 for policy in policies]
        return [type("S", (), {"sum_rate": value, "tail_rate": value + 1, "score": value + 2}) for value in of]

    return evaluation


def assert_curves_are(logdir, policies):
    """Each seed's event files, read by TensorBoard, against the history of its policy."""
    assert sorted(folder.name for folder in logdir.iterdir()) == sorted(f"seed_{p.seed}" for p in policies)
    for policy in policies:
        read = EventAccumulator(str(logdir / f"seed_{policy.seed}"), size_guidance={"scalars": 0})
        read.Reload()
        axes = ("update", "eval_update")
        assert set(read.Tags()["scalars"]) == set(policy.history) - set(axes)
        for name in set(policy.history) - set(axes):
            points = read.Scalars(name)
            np.testing.assert_array_equal([p.step for p in points], policy.history[axes[name in SCORES]])
            values = policy.history[name].astype(np.float32)
            np.testing.assert_array_equal(np.array([p.value for p in points], np.float32), values)


def test_curves_of_an_offline_training(data, tmp_path, monkeypatch):
    plain = train_offline(data, AGENT, SEEDS, evaluate_every=100, evaluation=scores(), progress=False)
    options = {"evaluate_every": 100, "evaluation": scores(), "progress": False}
    policies = train_offline(data, AGENT, SEEDS, logdir=tmp_path / "new" / "curves", **options)
    assert len(policies[0].history["td_loss"]) == 225 and len(policies[0].history["eval_score"]) == 4
    assert_curves_are(tmp_path / "new" / "curves", policies)
    for one, other in zip(policies, plain, strict=True):  # who looks changes nothing
        assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in other.tensors)
    monkeypatch.setenv("HOME", str(tmp_path))
    short = AgentConfig(hidden=(8,), batch_size=16, num_updates=5)
    assert_curves_are(tmp_path / "home", train_offline(data, short, [0], progress=False, logdir="~/home"))


def test_curves_of_an_online_training(tmp_path):
    call = {"num_envs": 4, "num_transitions": 240, "evaluate_every": 80, "evaluation": scores(), "progress": False}
    runs = train_online(NETWORK, AgentConfig(penalty="none", hidden=(8,)), SEEDS, logdir=tmp_path, **call)
    assert_curves_are(tmp_path, [run.policy for run in runs])


@pytest.mark.parametrize("stop_at", [1, 3])  # before the first checkpoint, and after it
def test_an_offline_training_that_goes_on_has_no_point_twice(data, tmp_path, stop_at):
    call = {"checkpoint": tmp_path / "c", "checkpoint_every": 170, "logdir": tmp_path / "curves", "progress": False}
    with pytest.raises(Stop):
        train_offline(data, AGENT, SEEDS, evaluate_every=100, evaluation=scores(stop_at), **call)
    policies = train_offline(data, AGENT, SEEDS, evaluate_every=100, evaluation=scores(), **call)
    assert_curves_are(tmp_path / "curves", policies)
    again = train_offline(data, AGENT, SEEDS, evaluate_every=100, evaluation=scores(), **call)
    assert_curves_are(tmp_path / "curves", again)


def test_an_online_training_that_goes_on_has_no_point_twice(tmp_path):
    """Evaluations are counted in transitions, losses in steps: neither loses a point to the other."""
    agent = AgentConfig(penalty="none", hidden=(8,))
    call = {"num_envs": 4, "num_transitions": 400, "checkpoint": tmp_path / "c", "logdir": tmp_path / "curves"}
    call |= {"evaluate_every": 40, "progress": False}
    with pytest.raises(Stop):
        train_online(NETWORK, agent, SEEDS, evaluation=scores(5), **call)
    runs = train_online(NETWORK, agent, SEEDS, evaluation=scores(), **call)
    assert len(runs[0].policy.history["eval_score"]) == 10
    assert_curves_are(tmp_path / "curves", [run.policy for run in runs])


@pytest.mark.parametrize("train", ["offline", "online"])
def test_what_keeps_curves_from_being_written_is_said_before_any_work(data, tmp_path, monkeypatch, train):
    monkeypatch.setattr("rrmlab.learning.offline.make_learner", None)  # no work gets that far
    monkeypatch.setattr("rrmlab.learning.online.Learner", None)

    def attempt(logdir):
        if train == "offline":
            train_offline(data, AGENT, [0], progress=False, logdir=logdir)
        else:
            train_online(NETWORK, AGENT, [0], num_transitions=400, progress=False, logdir=logdir)

    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ValueError, match="^logdir = .*file: must be a folder"):
        attempt(file)
    with pytest.raises(ValueError, match="^path = 3: must be a path"):
        attempt(3)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"rrmlab\[curves\]"):
        attempt(tmp_path / "curves")
    assert not (tmp_path / "curves").exists()


# --- In a notebook --------------------------------------------------------------------------------------------


class Shown:
    """Stands for IPython's display: what is shown, and every update of it."""

    def __init__(self):
        self.pictures, self.places = [], 0

    def display(self, picture, display_id):
        assert display_id is True
        self.places += 1
        self.update(picture)
        return self

    def update(self, picture):
        self.pictures.append(picture.data)


def test_a_live_curve_is_one_picture_that_changes(data, monkeypatch):
    shown, figures, drawn = Shown(), plt.get_fignums(), []
    monkeypatch.setattr("IPython.display.display", shown.display)
    live, figure = LiveCurve(scores()), LiveCurve.figure
    monkeypatch.setattr(LiveCurve, "figure", lambda self, seeds: drawn.append(figure(self, seeds)) or drawn[-1])
    policies = train_offline(data, AGENT, SEEDS, evaluate_every=150, evaluation=live, progress=False)
    plain = train_offline(data, AGENT, SEEDS, evaluate_every=150, evaluation=scores(), progress=False)
    assert shown.places == 1 and len(shown.pictures) == len(set(shown.pictures)) == 3
    assert all(picture.startswith(b"\x89PNG") for picture in shown.pictures)
    for policy, other, line in zip(policies, plain, drawn[-1].axes[0].lines, strict=True):
        np.testing.assert_array_equal(policy.history["eval_score"], other.history["eval_score"])
        np.testing.assert_array_equal(line.get_xydata().T, [[1, 2, 3], policy.history["eval_score"]])
        assert line.get_label() == f"seed {policy.seed}"
    assert plt.get_fignums() == figures
