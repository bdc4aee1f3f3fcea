"""Logged data: contiguous tensors in memory, Minari datasets on disk.

Shapes: R stored observations, n transitions, I APs, N top users.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..checks import as_path, check_all, check_kind, check_proportions, exact_tensor, seed_number, several, whole_number
from ..config import NetworkConfig
from ..game.observations import observation_of
from ..random_streams import subsample
from ..storage import reading
from .minari_files import HDF5_FILE, Episode, read_episodes, write_episodes
from .tables import ROUNDING, adds_up, read_log

_DTYPES = {
    "obs": torch.float32,
    "mask": torch.bool,
    "rows": torch.int64,
    "actions": torch.int64,
    "rewards": torch.float32,
    "terminated": torch.bool,
    "truncated": torch.bool,
    "log_prob": torch.float64,
    "own_rewards": torch.float32,
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Transitions in the order in which they were logged, raw.

    Attributes:
        obs: (R, I, N F) float32, the F features of each slot; an episode of T steps has T+1 rows, so the last one is
            the true next observation.
        mask: (R, I, N+1) bool, action masks of the rows.
        rows: (n,) int64, row of each transition; its next observation is the row after.
        actions: (n, I) int64.
        rewards: (n,) float32.
        terminated, truncated: (n,) bool.
        log_prob: (n,) float64, ln of the behaviour's probability of the joint action; 0 where it is deterministic.
        metadata: "network" (a NetworkConfig as dict), "behaviour", "seed" and what else describes the data.
        own_rewards: (n, I) float32, what each AP's own user adds to the reward; None where a log has only their sum.

    Arrays, pandas columns and lists are converted to these types.

    Raises:
        ValueError: a column that is not made of real numbers, or a value that its type cannot hold exactly.
    """

    obs: Tensor
    mask: Tensor
    rows: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    log_prob: Tensor
    metadata: dict[str, Any] = field(default_factory=dict)
    own_rewards: Tensor | None = None

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            if name == "own_rewards" and self.own_rewards is None:
                continue
            object.__setattr__(self, name, exact_tensor(name, getattr(self, name), dtype))

    @classmethod
    def from_table(cls, table: pd.DataFrame | str | Path, network: NetworkConfig) -> Dataset:
        """A log in a DataFrame, a CSV or a Parquet file, of the given network. `rrmlab.learning.tables.read_log` says
        which columns there must be, which errors are raised and how much memory this takes."""
        name, columns = read_log(table, network)
        data = cls(**columns, metadata={"network": network.to_dict(), "behaviour": Path(name).name})
        data.check()
        return data

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {tuple(column.shape)}" for name, column in self._columns().items())
        return f"Dataset of {len(self):,} transitions ({shapes}), metadata of {', '.join(self.metadata) or 'nothing'}"

    @property
    def network(self) -> NetworkConfig:
        """The network the data comes from; ValueError if the metadata do not say."""
        if not isinstance(self.metadata, dict) or "network" not in self.metadata:
            raise ValueError('metadata: must be a dict with the key "network", a NetworkConfig as a dict')
        return NetworkConfig.from_dict(self.metadata["network"])

    def _columns(self) -> dict[str, Any]:
        """All columns that there are, by name."""
        return {name: column for name in _DTYPES if (column := getattr(self, name)) is not None}

    def rewards_of(self, kind: str) -> Tensor:
        """What a learner takes by its `AgentConfig.reward`: "team", `rewards` (n,), or "own", `own_rewards` (n, I);
        ValueError where the log has none."""
        if kind == "team":
            return self.rewards
        if self.own_rewards is None:
            raise ValueError(f"reward = {kind!r}: must be 'team' for data without own_rewards, the reward of each AP")
        return self.own_rewards

    def check(self) -> None:
        """Raise ValueError, with column and row, unless there are transitions, all shapes fit the network of the
        metadata, all is finite, own rewards add up to the team's but for rounding to float32, silence is always
        allowed, no action is masked, and every transition has its own next observation: an episode of T transitions has
        T+1 rows, and no transition starts at the last of them."""
        aps, n, numbers = self.network.num_aps, self.network.top_n, observation_of(self.network).size(self.network)
        size, stored, columns = self.rows.numel(), self.obs.shape[:1], self._columns()
        if not size:
            raise ValueError("rows: the dataset has no transitions")
        wanted: dict[str, tuple[int, ...]]
        wanted = {"obs": (*stored, aps, numbers), "mask": (*stored, aps, n + 1)}
        wanted |= {"actions": (size, aps), "own_rewards": (size, aps)}
        for name, column in columns.items():
            found, shape = tuple(column.shape), wanted.get(name, (size,))
            if found != shape:
                raise ValueError(f"{name} of shape {found}: the network of the dataset wants {shape}")
        for name, column in columns.items():
            if column.is_floating_point():
                check_all(name, column, column.isfinite(), "must be finite")
        if self.log_prob is not None:
            wanted_log = "must be at most 0, a natural logarithm of a probability"
            check_all("log_prob", self.log_prob, self.log_prob <= ROUNDING, wanted_log)
        if self.own_rewards is not None:
            total, good = self.own_rewards.double().sum(1), adds_up(self.own_rewards, self.rewards)
            check_all("own_rewards.sum(1)", total, good, "must be rewards, but for rounding to float32")
        rows, actions, last = self.rows, self.actions, len(self.obs) - 2
        check_all("rows", rows, (rows >= 0) & (rows <= last), f"must lie in 0 ... {last}, its next observation follows")
        check_all("actions", actions, (actions >= 0) & (actions <= n), f"must lie in 0 ... {n}")
        allowed = self.mask[rows].gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        check_all("actions", actions, allowed, "some are masked, they choose an empty slot")
        check_all("mask", self.mask[..., 0], self.mask[..., 0], "action 0, silence, must be allowed everywhere")
        starts = rows.new_zeros(len(self.obs), dtype=torch.bool)
        starts[rows] = True
        shared = (self.terminated | self.truncated) & starts[rows + 1]
        own = "its transition ends an episode, but another one starts at the next row: an episode of T needs T+1 rows"
        check_all("rows", rows, ~shared, own)

    def select(self, index: Tensor) -> Dataset:
        """The transitions at `index` (k,) int64; the stored observations are shared, not copied.

        Raises:
            ValueError: no such index, or one that names a transition that is not there.
        """
        if not isinstance(index, Tensor) or index.dtype != torch.int64 or index.ndim != 1:
            got = f"{index.dtype} {tuple(index.shape)}" if isinstance(index, Tensor) else type(index).__name__
            raise ValueError(f"index: must be an int64 tensor of shape (k,), got {got}")
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(self):
            raise ValueError(f"index: must lie in 0 ... {len(self) - 1}")
        columns = {name: column for name, column in self._columns().items() if name not in ("obs", "mask")}
        return replace(self, **{name: column[index] for name, column in columns.items()})

    def take(self, num_transitions: int, seed: int = 0) -> Dataset:
        """A random subset, in logged order, with its own observations only. With the same seed a smaller one is part of
        a larger one.

        Raises:
            ValueError: more transitions than there are, or fewer than 1, or no seed.
        """
        num_transitions, seed = whole_number("num_transitions", num_transitions), seed_number(seed)
        if not 1 <= num_transitions <= len(self):
            raise ValueError(f"num_transitions = {num_transitions}: must lie in 1 ... {len(self)}, the dataset's size")
        taken = self.select(torch.from_numpy(subsample(len(self), num_transitions, seed)))
        used = self.rows.new_zeros(len(self.obs), dtype=torch.bool)
        used[taken.rows] = used[taken.rows + 1] = True
        return replace(taken, obs=self.obs[used], mask=self.mask[used], rows=(used.cumsum(0) - 1)[taken.rows])

    def save(self, path: str | Path) -> Path:
        """Write a Minari dataset to the folder `path` (replaced as a whole), with SHA256SUMS beside the data.

        `minari.load_dataset(path.name)` opens it when MINARI_DATASETS_PATH is the folder above.

        Raises:
            ValueError: data that do not pass `check`, metadata that JSON cannot hold, or a name that Minari cannot read
                (letters, digits, "_" and "-", then "-v" and a number).
            FileExistsError, OSError: see `storage.new_folder`.
        """
        path = as_path(path)
        self.check()
        write_episodes(path, self.episodes(), self.metadata)
        return path

    def episodes(self) -> list[Episode]:
        """Runs of consecutive transitions, the columns of each as NumPy arrays; a run that stops before its episode's
        end is marked truncated there. An episode of T transitions has T+1 rows of "obs" and "mask"."""
        ends = self.terminated | self.truncated
        breaks = (self.rows[1:] != self.rows[:-1] + 1) | ends[:-1]
        bounds = [0, *(breaks.nonzero().flatten() + 1).tolist(), len(self)]
        columns = {name: column for name, column in self._columns().items() if name != "rows"}
        episodes: list[Episode] = []
        for first, last in itertools.pairwise(bounds):
            rows = slice(int(self.rows[first]), int(self.rows[last - 1]) + 2)
            truncated = self.truncated[first:last].numpy().copy()
            truncated[-1] |= not bool(self.terminated[last - 1])
            episode = {name: column[first:last].numpy() for name, column in columns.items()}
            episode |= {"obs": self.obs[rows].numpy(), "mask": self.mask[rows].numpy(), "truncated": truncated}
            episodes.append(episode)
        return episodes


def join(parts: Sequence[Dataset], metadata: dict[str, Any]) -> Dataset:
    """Datasets of one shape, one after the other; with own rewards where all have them.

    Raises:
        ValueError: data of different networks; only their episodes may differ in length.
    """
    networks = [{**part.network.to_dict(), "episode_ttis": 0} for part in parts]
    for network in networks[1:]:
        different = [
            f"{name} = {network[name]} and {value}" for name, value in networks[0].items() if network[name] != value
        ]
        if different:
            raise ValueError(f"datasets of different networks cannot be joined: {'; '.join(different)}")
    starts = np.cumsum([0] + [len(part.obs) for part in parts[:-1]]).tolist()
    tables = [part._columns() | {"rows": part.rows + start} for part, start in zip(parts, starts, strict=True)]
    names = [name for name in _DTYPES if all(name in table for table in tables)]
    return Dataset(**{name: torch.cat([table[name] for table in tables]) for name in names}, metadata=metadata)


def mix(datasets: Sequence[Dataset], proportions: Sequence[float], num_transitions: int, seed: int = 0) -> Dataset:
    """A random subset of several datasets of one network in the given proportions, deterministic in the seed.

    Raises:
        ValueError: data that do not pass `Dataset.check`, proportions that are not one positive number each, a dataset
            too small for its share, or no seed.
    """
    datasets = several("datasets", datasets)
    for data in datasets:
        check_kind("datasets", data, Dataset)
        data.check()
    proportions = check_proportions(proportions, datasets, "datasets")
    num_transitions, size = whole_number("num_transitions", num_transitions), sum(map(len, datasets))
    if not 1 <= num_transitions <= size:
        raise ValueError(f"num_transitions = {num_transitions}: must lie in 1 ... {size}, what all datasets hold")
    edges = np.round(np.cumsum([0, *proportions]) / sum(proportions) * num_transitions).astype(int)
    sizes = np.diff(edges).tolist()
    for k, (data, share) in enumerate(zip(datasets, sizes, strict=True)):
        if not 1 <= share <= len(data):
            reason = f"datasets[{k}] would give {share} of {num_transitions} transitions, it holds {len(data)}"
            raise ValueError(f"proportions = {proportions}: {reason}")
    parts = [data.take(share, seed) for data, share in zip(datasets, sizes, strict=True)]
    names = [str(data.metadata.get("behaviour")) for data in datasets]
    return join(parts, {**datasets[0].metadata, "behaviour": " + ".join(names), "proportions": proportions})


def load_dataset(path: str | Path) -> Dataset:
    """Load what `Dataset.save` wrote, after checking it against its SHA256SUMS; then what it holds is checked.

    Raises:
        FileNotFoundError: no such folder.
        CorruptFileError: a file is missing or was changed, or does not hold what a dataset holds.
        ValueError: the folder holds a policy, a checkpoint or a stored run; an observation of the user's own that is
            not registered in this process.

    >>> import tempfile
    >>> from rrmlab.game.schedulers import make_scheduler
    >>> from rrmlab.learning.collection import collect
    >>> data = collect(make_scheduler("random_walk"), NetworkConfig(episode_ttis=20), num_transitions=40)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     loaded = load_dataset(data.save(Path(folder) / "my-log-v0"))
    >>> bool((loaded.rewards == data.rewards).all()), loaded.metadata["behaviour"]
    (True, 'Random walk')
    """
    path = as_path(path)
    episodes, metadata = read_episodes(path)
    with reading(path / "data" / HDF5_FILE):
        lengths = np.array([len(episode["rewards"]) for episode in episodes])
        columns = {name: torch.from_numpy(np.concatenate([e[name] for e in episodes])) for name in episodes[0]}
        # Every episode stores one observation more than it has transitions.
        rows = torch.from_numpy(np.arange(lengths.sum()) + np.repeat(np.arange(len(lengths)), lengths))
        data = Dataset(rows=rows, metadata=metadata, **columns)
        data.check()
    return data
