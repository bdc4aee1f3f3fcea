"""Minari's files, written and read: episodes of arrays in a folder with SHA256SUMS.

Shapes: T transitions of an episode, I APs, N top users, F features of each.
"""

from __future__ import annotations

import io
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np
from gymnasium.envs.registration import EnvSpec
from minari import __version__ as minari_version
from minari import supported_dataset_versions
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from ..checks import as_path, check_registered
from ..config import NetworkConfig
from ..game.observations import OBSERVATIONS, observation_of
from ..storage import SUMS, CorruptFileError, new_folder, read_json, reading, verify

HDF5_FILE = "main_data.hdf5"  # Minari's name for it
Episode = dict[str, np.ndarray]  # the columns of `read_episodes`, by name


def write_episodes(path: Path, episodes: list[Episode], metadata: dict[str, Any]) -> None:
    """Write a Minari dataset to the folder `path` (replaced as a whole).

    Args:
        path: the folder; its name is the dataset's.
        episodes: the columns of each, as `read_episodes` gives them, with observations (T+1, I, N F).
        metadata: kept under the key "rrmlab"; its "behaviour" is Minari's `algorithm_name`.

    Raises:
        ValueError: a name that Minari cannot read, or metadata that JSON does not give back.
    """
    if not re.fullmatch(r"[\w-]+-v\d+", path.name):  # one such folder, and Minari cannot list any beside it
        raise ValueError(
            f"path = {path}: its last part must be a name that Minari reads: letters, digits, '_' and '-', then '-v' "
            "and a number, such as log-v0"
        )
    for key, value in metadata.items():
        _check_json(key, value)
    _, aps, features = episodes[0]["obs"].shape
    box = gym.spaces.Box(-np.inf, np.inf, (aps * features,), np.float32)
    discrete = gym.spaces.MultiDiscrete([episodes[0]["mask"].shape[-1]] * aps)
    with new_folder(path, "data/metadata.json") as folder:
        # An absolute path: Minari 0.5.4 joins a relative one to itself when it adds up the size.
        storage = MinariStorage.new(folder.resolve() / "data", box, discrete)
        # In memory first: HDF5 brings the whole process down when the disk is full while it writes.
        storage._file_path = memory = io.BytesIO()
        storage.update_episodes([_buffer(episode) for episode in episodes])
        (folder / "data" / HDF5_FILE).write_bytes(memory.getbuffer())
        storage.update_metadata(
            {
                "dataset_id": path.name,
                "dataset_size": storage.get_size(),
                "minari_version": minari_version,
                "algorithm_name": str(metadata.get("behaviour", "")),
                "env_spec": _env_spec(metadata["network"]),
                "rrmlab": metadata,
            }
        )


def _env_spec(network: dict[str, Any]) -> str:
    """Where the log was recorded, for Minari's `recover_environment`; this package does not read it."""
    entry_point, steps = "rrmlab.joint_env:RRMJointEnv", NetworkConfig.from_dict(network).episode_ttis
    return EnvSpec("rrmlab/RRMJoint-v0", entry_point, max_episode_steps=steps, kwargs={"config": network}).to_json()


def _check_json(key: Any, value: Any) -> None:
    same = False
    with suppress(TypeError, ValueError, RecursionError):
        same = json.loads(json.dumps({key: value}, allow_nan=False)) == {key: value}
    if not same:
        raise ValueError(f"metadata[{key!r}] = {value!r}: must be what JSON holds: text, finite numbers, lists, dicts")


def _buffer(episode: Episode) -> EpisodeBuffer:
    infos = {"action_mask": episode["mask"], "log_prob": episode["log_prob"]}
    if "own_rewards" in episode:
        infos["own_rewards"] = episode["own_rewards"]
    return EpisodeBuffer(
        observations=episode["obs"].reshape(len(episode["obs"]), -1),
        actions=episode["actions"],
        rewards=episode["rewards"],
        terminations=episode["terminated"],
        truncations=episode["truncated"],
        infos=infos,
    )


def read_episodes(path: str | Path) -> tuple[list[Episode], dict[str, Any]]:
    """The episodes and the metadata of a folder that `write_episodes` wrote, checked against its SHA256SUMS.

    The files are read without Minari, whose loader makes the environment that a dataset names and so runs its code.

    Returns:
        for each episode "obs" (T+1, I, N F) float32, "mask" (T+1, I, N+1) bool, "actions" (T, I) int64, "rewards" (T,)
        float32, "terminated" and "truncated" (T,) bool, "log_prob" (T,) float64, and in all of them or in none
        "own_rewards" (T, I) float32; and the metadata.

    Raises:
        FileNotFoundError: no such folder.
        CorruptFileError: a file is missing or was changed, or does not hold what a dataset holds.
        ValueError: the folder holds something else; an observation of the user's own that is not registered here.
    """
    folder = as_path(path)
    about, file = folder / "data" / "metadata.json", folder / "data" / HDF5_FILE
    if about.is_file() and not (folder / SUMS).exists():
        _check_own(folder, read_json(about))  # before its sums are missed
    verify(folder, "data/metadata.json", f"data/{HDF5_FILE}")
    stored = read_json(about)
    if str(stored.get("minari_version")) not in supported_dataset_versions or stored.get("data_format") != "hdf5":
        raise CorruptFileError(
            f"{about}: data_format {stored.get('data_format')!r} of Minari {stored.get('minari_version')!r}, this "
            f"version reads 'hdf5' of Minari {', '.join(sorted(supported_dataset_versions))}"
        )
    _check_own(folder, stored)
    metadata = stored["rrmlab"]
    with reading(about):
        if not isinstance(metadata, dict) or not isinstance(metadata.get("network"), dict):
            raise ValueError("its 'rrmlab' has no 'network'")
    check_registered(about, "observation", metadata["network"].get("observation"), OBSERVATIONS)
    with reading(about):
        network = NetworkConfig.from_dict(metadata["network"])
    with reading(file), h5py.File(file, "r") as opened:
        if len(opened) != stored.get("total_episodes") or not len(opened):
            raise ValueError(f"it has {len(opened)} episodes, its metadata say {stored.get('total_episodes')}")
        own = any(f"{episode}/infos/own_rewards" in opened for episode in opened)
        return [_read_episode(opened, f"episode_{k}", network, own) for k in range(len(opened))], metadata


def _check_own(folder: Path, stored: dict[str, Any]) -> None:
    if "rrmlab" not in stored:
        raise CorruptFileError(
            f"{folder}: a Minari dataset, but not one of rrmlab (its metadata has no key 'rrmlab'): open it with "
            "minari.load_dataset"
        )


def _read_episode(file: h5py.File, episode: str, network: NetworkConfig, own: bool) -> Episode:
    """The columns of an episode; ValueError unless all are there, of the shape and type that `read_episodes` states."""
    rewards = file.get(f"{episode}/rewards")
    steps = rewards.shape[0] if isinstance(rewards, h5py.Dataset) and rewards.ndim else 0
    aps, n, size = network.num_aps, network.top_n, observation_of(network).size(network)
    wanted = {
        "rewards": ("rewards", (steps,), np.float32),
        "obs": ("observations", (steps + 1, aps * size), np.float32),
        "mask": ("infos/action_mask", (steps + 1, aps, n + 1), bool),
        "actions": ("actions", (steps, aps), np.int64),
        "terminated": ("terminations", (steps,), bool),
        "truncated": ("truncations", (steps,), bool),
        "log_prob": ("infos/log_prob", (steps,), np.float64),
    }
    if own:
        wanted["own_rewards"] = ("infos/own_rewards", (steps, aps), np.float32)
    columns = {}
    for name, (place, shape, kind) in wanted.items():
        stored = file.get(f"{episode}/{place}")
        if not isinstance(stored, h5py.Dataset):
            raise ValueError(f"{episode} has no {place}")
        if stored.shape != shape or stored.dtype != kind:
            raise ValueError(
                f"{place} of {episode} is {stored.dtype} {stored.shape}, the network wants {np.dtype(kind)} {shape}"
            )
        columns[name] = stored[()]
    columns["obs"] = columns["obs"].reshape(steps + 1, aps, size)
    return columns
