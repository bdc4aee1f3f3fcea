"""Files whose SHA256SUMS fit and that still do not hold what rrmlab writes: refused by name."""

import json
import shutil

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from soak import cases
from stored_files import LOADERS, answer_of, in_child, needs_fork, sign

from rrmlab.storage import CorruptFileError


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
METADATA = "dataset-v0/data/metadata.json"
HDF5 = "dataset-v0/data/main_data.hdf5"
ARRAYS = "result/arrays.safetensors"
WRONG = [  # file, what was done to it, what the error says
    *((file, edit, "is not what rrmlab writes") for file in (ABOUT, METADATA) for edit in MANY),
    *((file, edit, "is not what rrmlab writes") for file in (WEIGHTS, HDF5, ARRAYS) for edit in MANY),
    *((file, lambda f: f.unlink(), "is missing") for file in (ABOUT, METADATA, WEIGHTS, HDF5, ARRAYS)),
    *((file, lambda f: f.write_bytes(f.read_bytes()[:-9]), "is not what rrmlab writes") for file in (WEIGHTS, ARRAYS)),
    (ABOUT, edit_json(put("format", 99)), "checkpoint format 99, this version reads"),
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
    ("result/policy_1/policy.json", edit_json(put("format", 99)), "checkpoint format 99"),
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
            except ValueError as error:  # noise may spell the name of a part that somebody else has
                assert "is not registered here" in str(error)
        return "alive"

    assert answer_of(in_child(read_all)) == "alive"
