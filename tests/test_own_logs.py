"""Logs that users put together themselves, and the places where they save them: saved and read, or refused by name."""

import dataclasses
import json
import math
import os
import re
import resource
import warnings

import gymnasium as gym
import minari
import numpy as np
import pandas as pd
import pytest
import torch
from minari.data_collector import EpisodeBuffer
from soak import cases
from stored_files import LOADERS, NETWORK, answer_of, content_of, hidden, in_child, needs_fork

from rrmlab import Dataset, Policy, collect, load_dataset, make_scheduler, mix, train_offline, train_online
from rrmlab.agents.config import AgentConfig
from rrmlab.learning.dataset import join
from rrmlab.storage import CorruptFileError, new_file

COLUMNS = [f.name for f in dataclasses.fields(Dataset) if f.name != "metadata"]
DATA = collect(make_scheduler("random_walk"), NETWORK, 36, seed=1)  # with empty slots
DATA = dataclasses.replace(DATA, log_prob=DATA.log_prob.float())  # so that float32 holds them too
POLICY = train_offline(DATA, AgentConfig(hidden=(4,), num_updates=1, batch_size=4), [0], progress=False)[0]


# ---- what is saved can be read ----


def read_only(tensor):
    array = tensor.numpy().copy()
    array.flags.writeable = False
    return array


CONVERSIONS = {
    "arrays": lambda t: t.numpy(),
    "lists": lambda t: t.tolist(),
    "pandas": lambda t: pd.Series(t.numpy()) if t.ndim == 1 else t.numpy(),
    "read-only arrays": read_only,
    "every second of a longer array": lambda t: np.repeat(t.numpy(), 2, 0)[::2],
    "float64": lambda t: t.double().numpy(),
    "big-endian": lambda t: t.double().numpy().astype(">f8"),
    "small integers": lambda t: t if t.dtype.is_floating_point else t.to(torch.int16).numpy(),
    "unsigned": lambda t: t if t.dtype.is_floating_point else t.numpy().astype(np.uint32),
    "with gradients": lambda t: t.clone().requires_grad_() if t.dtype.is_floating_point else t,
}


@pytest.mark.parametrize("conversion", CONVERSIONS)
@pytest.mark.parametrize("columns", ["all", *COLUMNS])
def test_a_log_of_other_types_is_saved_and_read_as_it_was(tmp_path, columns, conversion):
    names = COLUMNS if columns == "all" else [columns]
    changed = {name: CONVERSIONS[conversion](getattr(DATA, name)) for name in names}
    loaded = load_dataset(dataclasses.replace(DATA, **changed).save(tmp_path / "log-v0"))
    for name in COLUMNS:
        assert getattr(loaded, name).dtype == getattr(DATA, name).dtype, name
        assert torch.equal(getattr(loaded, name), getattr(DATA, name)), name


def with_value(name, place, value, dtype):
    def change():
        column = getattr(DATA, name).to(dtype).clone()
        column[place] = value
        return {name: column}

    return change


def with_metadata(**more):
    return lambda: {"metadata": {**DATA.metadata, **more}}


SLOT = (~DATA.mask[DATA.rows]).nonzero()[0].tolist()  # transition, AP and action of an empty slot
REFUSED = {
    "a float64 that float32 rounds": (
        with_value("rewards", 7, 0.1, torch.float64), "rewards: .*float32.*rewards[7] = 0.1"),
    "too large": (with_value("obs", (3, 1, 2), 1e300, torch.float64), "obs: .*float32.*obs[3, 1, 2] = 1e+300"),
    "half an action": (with_value("actions", (5, 1), 1.5, torch.float64), "actions: .*int64.*actions[5, 1] = 1.5"),
    "NaN for an action": (with_value("actions", (5, 1), math.nan, torch.float64), "actions: .*actions[5, 1] = nan"),
    "a mask of 2": (with_value("mask", (4, 0, 1), 2, torch.int8), "mask: .*bool.*mask[4, 0, 1] = 2"),
    "NaN": (with_value("obs", (3, 0, 0), math.nan, torch.float32), "obs: must be finite; obs[3, 0, 0] = nan"),
    "infinity": (with_value("log_prob", 2, -math.inf, torch.float64), "log_prob: must be finite; log_prob[2] = -inf"),
    "an action too large": (
        with_value("actions", (9, 0), 3, torch.int32), "actions: must lie in 0 ... 2; actions[9, 0] = 3"),
    "an empty slot": (
        with_value("actions", tuple(SLOT[:2]), SLOT[2], torch.int64),
        f"actions: some are masked, they choose an empty slot; actions{SLOT[:2]} = {SLOT[2]}"),
    "no silence": (with_value("mask", (6, 1, 0), False, torch.bool), "mask: action 0, silence, .*mask[6, 1] = False"),
    "a row too far": (with_value("rows", 35, 900, torch.int32), "rows: must lie in 0 ... "),
    "an own reward of NaN": (
        with_value("own_rewards", (4, 1), math.nan, torch.float32), "own_rewards: must be finite; .*[4, 1] = nan"),
    "own rewards that are not the team's": (
        with_value("own_rewards", (8, 0), 99.0, torch.float32), "own_rewards.sum(1): must be rewards, .*.sum(1)[8] = "),
    "own rewards of one AP": (
        lambda: {"own_rewards": DATA.own_rewards[:, :1]}, "own_rewards of shape (36, 1): .* wants (36, 2)"),
    "another shape": (lambda: {"rewards": DATA.rewards[:, None]}, "rewards of shape (36, 1): .* wants (36,)"),
    "text": (lambda: {"actions": np.array([["a"]])}, "actions: must be a tensor, an array or lists of real numbers"),
    "missing": (lambda: {"rewards": pd.Series([1.0, None] * 18, dtype=object)}, "rewards: must be "),
    "complex": (lambda: {"obs": DATA.obs.to(torch.complex64)}, "obs: must be .* real numbers, got torch.complex64"),
    "ragged": (lambda: {"actions": [[1], [1, 2]]}, "actions: must be .* numbers, got list"),
    "nothing": (lambda: {name: getattr(DATA, name)[:0] for name in COLUMNS if name not in ("obs", "mask")},
                "rows: the dataset has no transitions"),
    "no network": (lambda: {"metadata": {}}, "metadata: must be a dict with the key \"network\""),
    "an array in the metadata": (with_metadata(speeds=np.ones(3)), "metadata['speeds'] = array"),
    "NaN in the metadata": (with_metadata(site={"height": math.nan}), "metadata['site'] = "),
    "a number as a name": (with_metadata(site={1: "north"}), "metadata['site'] = "),
    "a NumPy number": (with_metadata(runs=np.int64(3)), "metadata['runs'] = "),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_could_not_be_read_is_refused_by_name_before_it_is_saved(tmp_path, kind):
    change, words = REFUSED[kind]
    path = DATA.save(tmp_path / "log-v0")
    before = content_of(tmp_path)
    with pytest.raises(ValueError, match=re.escape(words).replace(r"\.\*", ".*")):
        dataclasses.replace(DATA, **change()).save(path)
    assert content_of(tmp_path) == before and hidden(tmp_path) == []


POLICIES = {
    "float64": ({"tensors": {n: t.double() for n, t in POLICY.tensors.items()}, "seed": np.int64(3)}, None),
    "lists": ({"history": {"update": [1, 2]}}, None),
    "float64 that float32 rounds": (
        {"tensors": {**POLICY.tensors, "obs_mean": torch.full((4,), 0.1, dtype=torch.float64)}},
        "tensor obs_mean: .*float32.*tensor obs_mean[0] = 0.1",
    ),
    "seed": ({"seed": -1}, "seed = -1"),
    "text in the history": ({"history": {"note": ["a"]}}, "history['note']: must be .* numbers"),
    "NaN": ({"tensors": {**POLICY.tensors, "reward_mean": torch.tensor(math.nan)}}, "reward_mean holds NaN"),
}


@pytest.mark.parametrize("kind", POLICIES)
def test_a_policy_that_could_not_be_read_is_refused_by_name(tmp_path, kind):
    change, words = POLICIES[kind]
    policy = Policy(POLICY.config, POLICY.network, POLICY.tensors, history=POLICY.history)
    for name, value in change.items():
        setattr(policy, name, value)
    if words is None:
        assert Policy.load(policy.save(tmp_path / "policy")).seed == policy.seed
        return
    with pytest.raises(ValueError, match=re.escape(words).replace(r"\.\*", ".*")):
        policy.save(tmp_path / "policy")
    assert content_of(tmp_path) == {} and hidden(tmp_path) == []


# ---- every transition has its own next observation ----


def laid_out(lengths, last_rows, ends, order):
    """Episodes of the lengths, with or without a row for their last observations, marked at their ends."""
    rows, marks, first = [], [], 0
    for length in lengths:
        rows += range(first, first + length)
        marks += [False] * (length - 1) + [True]
        first += length + last_rows
    place = order(len(rows))
    rows, marks = torch.tensor(rows)[place], torch.tensor(marks)[place]
    stored = first + 1 - last_rows
    columns = {name: getattr(DATA, name)[:1].repeat_interleave(len(rows), 0) for name in COLUMNS}
    columns |= {name: getattr(DATA, name)[:1].repeat_interleave(stored, 0) for name in ("obs", "mask")}
    columns |= {"rows": rows, "terminated": marks & (ends == "terminated"), "truncated": marks & (ends == "truncated")}
    return Dataset(**columns, metadata=DATA.metadata)


@pytest.mark.parametrize("order", [torch.arange, lambda n: torch.arange(n).flip(0), torch.randperm])
@pytest.mark.parametrize("ends", ["terminated", "truncated"])
@pytest.mark.parametrize("lengths", [(5, 5), (1, 1), (3, 1, 4), (7,)])
def test_an_episode_owns_its_last_observation(lengths, ends, order):
    laid_out(lengths, 1, ends, order).check()
    usual = laid_out(lengths, 0, ends, order)  # one observation per transition
    if len(lengths) == 1:
        usual.check()
        return
    with pytest.raises(ValueError, match=r"rows: its transition ends an episode.* needs T\+1 rows; rows\[\d+\] = "):
        usual.check()
    with pytest.raises(ValueError, match="rows: its transition ends an episode"):
        train_offline(usual, POLICY.config, [0], progress=False)


def test_what_is_made_of_logs_keeps_the_last_observations(tmp_path):
    parts = [DATA, collect(make_scheduler("full_reuse"), NETWORK, 30, seed=2)]
    index = torch.tensor([3, 3, 11, 12, 0, 35])
    loaded = load_dataset(DATA.save(tmp_path / "log-v0"))
    made = [DATA.take(17), DATA.select(index), join(parts, DATA.metadata), mix(parts, [1, 2], 40), loaded]
    for data in made:
        data.check()


# ---- names and places ----


NAMES = {"log-v0": True, "my_log-2-v12": True, "mylog": False, "my log-v0": False, "log.2024-v0": False, "log-v": False,
         "log-v0 ": False, "-v0": False, "log-v0.1": False}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_minari_lists_whatever_was_saved(tmp_path, monkeypatch, name):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    DATA.save(tmp_path / "fine-v0")
    if NAMES[name]:
        DATA.save(tmp_path / name)
        assert minari.load_dataset(name).total_steps == len(DATA)
    else:
        with pytest.raises(ValueError, match="^path = .*must be a name that Minari reads.*such as log-v0"):
            DATA.save(tmp_path / name)
    assert set(minari.list_local_datasets()) == {"fine-v0"} | ({name} if NAMES[name] else set())


def write_file(path):
    with new_file(path) as beside:
        beside.write_text("new")
    return path


WRITERS = {
    "dataset": (DATA.save, lambda path: load_dataset(path).rewards),
    "policy": (POLICY.save, lambda path: Policy.load(path).tensors["obs_mean"]),
    "checkpoint": (
        lambda path: train_offline(DATA, dataclasses.replace(POLICY.config, num_updates=2), [0], progress=False,
                                   checkpoint=path, checkpoint_every=1),
        lambda path: torch.tensor((path / "state").stat().st_size),
    ),
    "file": (write_file, lambda path: torch.tensor(len(path.read_text()))),
}  # fmt: skip
PLACES = {  # what is there before, where is written, where it must be
    "home": (lambda root: None, "~/log-v0", "home/log-v0"),
    "through a link": (lambda root: (root / "link").symlink_to("home"), "link/log-v0", "home/log-v0"),
    "a link": (lambda root: (root / "link-v0").symlink_to("home/log-v0"), "link-v0", "home/log-v0"),
    "a link to a link": (
        lambda root: [(root / "link-v0").symlink_to("two"), (root / "two").symlink_to("home/log-v0")],
        "link-v0",
        "home/log-v0",
    ),
    "a link that leads nowhere": (lambda root: (root / "link-v0").symlink_to("gone/log-v0"), "link-v0", "gone/log-v0"),
    "a step back": (lambda root: None, "home/../log-v0", "log-v0"),
}


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", WRITERS)
def test_the_place_that_is_named_is_the_place_that_is_written(tmp_path, monkeypatch, kind, place, twice):
    prepare, where, target = PLACES[place]
    write, read = WRITERS[kind]
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    prepare(tmp_path)
    links = {f for f in tmp_path.rglob("*") if f.is_symlink()}
    for _ in range(1 + twice):
        write(where)
    assert {f for f in tmp_path.rglob("*") if f.is_symlink()} == links, "links stay"
    written = tmp_path / target
    assert not written.is_symlink() and read(written).numel()
    assert [f for f in hidden(tmp_path) if f != ".DS_Store"] == []
    if kind in ("dataset", "policy"):
        assert torch.equal(WRITERS[kind][1](where), read(written))


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    ("prepare", "where"),
    [
        (lambda root: None, "~nobody-of-that-name/log-v0"),
        (lambda root: (root / "loop-v0").symlink_to("loop-v0"), "loop-v0"),
        (lambda root: (root / "file").write_text("mine"), "file/log-v0"),
    ],
)
def test_a_place_that_cannot_be_is_refused_by_name(tmp_path, monkeypatch, kind, prepare, where):
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    before = content_of(tmp_path)
    with pytest.raises((ValueError, OSError)) as error:
        WRITERS[kind][0](where)
    assert where.split("/")[0] in str(error.value)
    assert content_of(tmp_path) == before and hidden(tmp_path) == []


@needs_fork
@pytest.mark.parametrize("kind", ["dataset-v0", "checkpoint", "result"])
def test_few_open_files(copies, kind):
    """Nothing is called damaged, lost or left half-written because the process may open no more files."""
    loaded = LOADERS[kind](copies / kind)
    before = content_of(copies)

    def attempts():
        said = []
        for free in range(cases(22, 40)):
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            held = [os.open(os.devnull, os.O_RDONLY)]
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 50, hard))
            try:
                while True:
                    held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                pass
            for _ in range(free):
                os.close(held.pop())
            for use in (lambda: LOADERS[kind](copies / kind), lambda: loaded.save(copies / kind)):
                try:
                    use()
                    said.append("done")
                except (OSError, AttributeError) as error:
                    said.append(str(error))
            for handle in held:
                os.close(handle)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return said

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs to know which files are open")
    said = answer_of(in_child(attempts))
    assert all("Too many open files" in text or text == "done" for text in said[::2]), said
    assert said[0] != "done" and said[-2] == "done"
    if kind != "result":
        assert all("could not be written (Too many" in text or "Too many open" in text for text in said[1:30:2])
        assert said[-1] == "done"
    assert hidden(copies) == [] and set(content_of(copies)) == set(before)
    LOADERS[kind](copies / kind)


# ---- folders of another kind ----


def minaris_own(root):
    """A dataset that Minari wrote."""
    end = np.arange(5) == 4
    episode = EpisodeBuffer(observations=np.zeros((6, 4), np.float32), actions=np.zeros(5, np.int64),
                            rewards=np.zeros(5), terminations=0 * end, truncations=end)  # fmt: skip
    box, discrete = gym.spaces.Box(-1, 1, (4,), np.float32), gym.spaces.Discrete(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers("other-v0", [episode], observation_space=box, action_space=discrete)
    return root / "other-v0"


OPENS = {"dataset-v0": "open it with load_dataset", "checkpoint": "Policy.load", "result": "read_result",
         "minari": "minari.load_dataset", "training": "as `checkpoint`"}  # fmt: skip


@pytest.mark.parametrize("given", OPENS)
@pytest.mark.parametrize("loader", LOADERS)
def test_a_folder_of_another_kind_is_called_what_it_is(copies, tmp_path, monkeypatch, loader, given):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    folder = copies / given
    if given == "minari":
        folder = minaris_own(tmp_path)
    elif given == "training":
        WRITERS["checkpoint"][0](folder)
    if given == loader:
        return
    before = content_of(folder)
    with pytest.raises(ValueError) as error:
        LOADERS[loader](folder)
    assert str(folder) in str(error.value) and OPENS[given] in str(error.value)
    assert "make it again" not in str(error.value)
    assert content_of(folder) == before


def test_a_place_for_a_training_is_not_another_folder(copies):
    with pytest.raises(ValueError, match="holds a policy: open it with Policy.load"):
        WRITERS["checkpoint"][0](copies / "checkpoint")
    Policy.load(copies / "checkpoint")


def test_a_folder_made_for_a_training_may_hold_litter(tmp_path):
    (tmp_path / ".DS_Store").touch()
    WRITERS["checkpoint"][0](tmp_path)
    assert json.loads((tmp_path / "facts.json").read_text())


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("begun", [False, True])
def test_a_training_says_before_its_first_update_that_it_cannot_keep_its_checkpoint(
    tmp_path, monkeypatch, begun, online
):
    if online:
        agent = dataclasses.replace(POLICY.config, backbone="dqn", alpha=0.0)
        train = lambda: train_online(NETWORK, agent, [0], 48, 2, progress=False, checkpoint=tmp_path / "c")  # noqa: E731
    else:
        train = lambda: WRITERS["checkpoint"][0](tmp_path / "c")  # noqa: E731
    if begun:
        train()
    place = tmp_path / "c" / "state" if online else tmp_path / "c"
    place.mkdir(parents=True, exist_ok=True)
    (place / "notes.txt").write_text("mine")
    before = content_of(tmp_path)
    monkeypatch.setattr("rrmlab.agents.learner.Learner.update", None)
    with warnings.catch_warnings(), pytest.raises((FileExistsError, CorruptFileError), match="notes.txt|is missing"):
        warnings.simplefilter("ignore")
        train()
    assert content_of(tmp_path) == before
