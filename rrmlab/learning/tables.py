"""Logs in tables: a DataFrame, a CSV or a Parquet file with one line per TTI and AP, to the columns of a Dataset.

Shapes: L lines of a piece, G TTIs of it, I APs, N top users, F features of each.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..checks import as_path, check_kind
from ..config import NetworkConfig
from ..game.observations import observation_of

PIECE = 200_000  # lines that are read at once
ROUNDING = 1e-6  # a logarithm of a probability may lie above 0 by so much
LARGEST = np.float64(np.finfo(np.float32).max)  # no float: beside a column of float16 that would be infinite
SORTED = "lines must be sorted by episode, tti and ap, with every AP in every TTI"
Columns = dict[str, np.ndarray]


def read_log(table: pd.DataFrame | str | Path, network: NetworkConfig) -> tuple[str, dict[str, Tensor]]:
    """The name of a table, and the columns of a Dataset of its transitions.

    The table has one line for each AP in each TTI, sorted by episode, tti and ap. Its columns (others are ignored
    with a warning):

    * `episode`, `tti`: whole numbers; episodes increase, the TTIs of an episode count up by 1 from any start.
    * `ap`: 0 ... I-1.
    * `sinr_db_1` ... `sinr_db_N` and `ln_w_1` ... `ln_w_N`: what the AP observes of its N top users, the SINR in dB and
      the natural logarithm of the PF weight, both 0 in an empty slot (another `network.observation`: its features).
    * `mask_1` ... `mask_N`, optional: 1 if the slot may be served, else 0. Default: 0 where all its features are 0.
    * `action`: 0 for silence, n for the n-th top user.
    * `reward`: of the team, the same for all APs of a TTI.
    * `own_reward`, optional: what the AP's own user adds to `reward`; those of a TTI add up to it, but for rounding to
      float32. Default: none, so that a learner can take the team's reward alone.
    * `log_prob`, optional: natural logarithm of the behaviour's probability of the joint action, the same for all APs
      of a TTI. Default: 0.
    * `terminated`, optional: 1 if the episode ended with this transition other than by a time limit. Default: 0.

    An episode of T transitions has T+1 TTIs. The last one holds the last observation; its `action` and `reward` are
    empty. Where it has an action, the observation after that is missing: this transition is left out, with a warning.

    Features and rewards are rounded to float32. The table is read in pieces. The dataset takes 4 N F + N + 9 bytes a
    line and 22 a TTI; reading takes three times as much: 1.2 GB for 10 million lines with N = 3, F = 2, I = 4.

    Raises:
        ValueError: a missing or repeated column, a line out of order, a value that is not allowed, or no transitions;
            with the file, the line (the row from 0 on for a DataFrame or Parquet), the column and the value.
        FileNotFoundError: no such file.
        ImportError: the file is Parquet and pyarrow is not installed.
    """
    check_kind("network", network, NetworkConfig)
    name, unit, first, header, frames = _open(table)
    _check_header(name, header, network)
    parts: list[Columns] = []
    for frame in _whole_ttis(frames, network.num_aps):
        parts.append(_read(_Lines(frame, f"{name}, {unit}", first), network, parts[-1] if parts else None))
        first += len(frame)
    if not parts:
        raise ValueError(f"{name}: there are no lines below the header")
    kept = {key: np.concatenate([part.pop(key) for part in parts]) for key in list(parts[0])}
    last = np.append(kept["episode"][1:] != kept["episode"][:-1], True)  # the TTI is the last one of its episode
    rows = np.flatnonzero(~last)
    if not len(rows):
        raise ValueError(f"{name}: there are no transitions, every episode has one TTI")
    if left_out := int((last & ~kept["empty"]).sum()):
        warnings.warn(
            f"{name}: {left_out} of {last.sum()} episodes end with an action, and the observation after it is not in "
            "the table: its transition is left out; to keep it, add a TTI with it, action and reward empty",
            stacklevel=3,
        )
    names = ("actions", "rewards", "own_rewards", "terminated", "log_prob")
    columns = {key: kept[key][rows] for key in names if key in kept}
    columns |= {"rows": rows, "truncated": last[rows + 1] & ~columns["terminated"]}
    columns |= {"obs": kept["obs"], "mask": kept["mask"]}
    return name, {key: torch.from_numpy(values) for key, values in columns.items()}


def _open(table: pd.DataFrame | str | Path) -> tuple[str, str, int, list[str], Iterator[pd.DataFrame]]:
    """Name of the table, what its lines are called, the first one's number, its header, its pieces."""
    if isinstance(table, pd.DataFrame):
        named = table.set_axis(pd.Index([str(column) for column in table.columns], dtype=object), axis=1)
        return "table", "row", 0, list(named.columns), (named.iloc[k : k + PIECE] for k in range(0, len(named), PIECE))
    path = as_path(table)
    if path.suffix == ".parquet":
        try:
            from pyarrow import parquet
        except ImportError:
            raise ImportError(f"{path}: a Parquet file needs pyarrow (pip install 'rrmlab[parquet]')") from None
        with _parsing(path):
            file = parquet.ParquetFile(path)
            # Without what pandas noted in the file: there a column may be the index.
            batches = (batch.to_pandas(ignore_metadata=True) for batch in file.iter_batches(PIECE))
            return str(path), "row", 0, file.schema_arrow.names, _parsed(path, batches)
    with _parsing(path):
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()
    return str(path), "line", 2, header, _parsed(path, _csv_pieces(path, header))


def _csv_pieces(path: Path, header: list[str]) -> Iterator[pd.DataFrame]:
    options: dict[str, Any] = {"header": None, "skiprows": 1, "names": range(len(header)), "index_col": False}
    # A blank line counts, and a column has one type in a piece.
    options |= {"skip_blank_lines": False, "low_memory": False, "chunksize": PIECE}
    with pd.read_csv(path, **options) as reader:
        for piece in reader:
            yield piece.set_axis(header, axis=1)


def _parsed(path: Path, pieces: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The pieces; what goes wrong while one is read is a ValueError that names the file."""
    while (piece := _parsing(path)(next)(pieces, None)) is not None:
        yield piece


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """A parser's error as a ValueError that names the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            yield
        except pd.errors.ParserWarning:
            raise ValueError(f"{path}, line 2: it has more fields than the header") from None
        except Exception as error:  # parsers raise what they like
            if isinstance(error, MemoryError) or isinstance(error, OSError) and error.errno:
                raise
            raise ValueError(f"{path}: is no table ({str(error).strip()})") from None


def _features(network: NetworkConfig) -> list[str]:
    """Names of the columns of an AP's observation, slot after slot: "sinr_db_1", "ln_w_1", "sinr_db_2", ...,
    or of another AP "inr_db_other_ap_2_1"."""
    names = [re.sub(r"\W+", "_", name.lower()) for name in observation_of(network).names(network.num_aps)]
    return [f"{name}_{slot}" for slot in range(1, network.top_n + 1) for name in names]


def _check_header(name: str, header: list[str], network: NetworkConfig) -> None:
    needed = ["episode", "tti", "ap", *_features(network), "action", "reward"]
    masks = [f"mask_{slot}" for slot in range(1, network.top_n + 1)]
    if any(mask in header for mask in masks):
        needed += masks
    if missing := [column for column in needed if column not in header]:
        raise ValueError(f"{name}: column {', '.join(missing)} is missing; the table has {', '.join(header)}")
    known = [*needed, "own_reward", "log_prob", "terminated"]
    if twice := [column for column in known if header.count(column) > 1]:
        raise ValueError(f"{name}: column {', '.join(twice)} stands there more than once")
    if ignored := [column for column in header if column.strip() and column not in known]:
        warnings.warn(f"{name}: column {', '.join(ignored)} is ignored", stacklevel=4)


def _whole_ttis(frames: Iterator[pd.DataFrame], aps: int) -> Iterator[pd.DataFrame]:
    """The same lines in pieces that end with a TTI; the last piece with the table."""
    rest = pd.DataFrame()
    for frame in frames:
        frame = pd.concat([rest, frame]) if len(rest) else frame
        end = len(frame) - len(frame) % aps
        rest = frame.iloc[end:]
        if end:
            yield frame.iloc[:end]
    if len(rest):
        yield rest


@dataclass(frozen=True)
class _Lines:
    """A piece of a table that knows the numbers of its lines."""

    frame: pd.DataFrame
    where: str
    first: int

    def refuse(self, bad: np.ndarray, column: str, wanted: str) -> None:
        """ValueError for the first of the lines (L,) or TTIs (G,) that are bad."""
        if bad.any():
            line = int(bad.argmax()) * (len(self.frame) // len(bad))
            value = self.frame[column].iloc[line]
            shown = repr(value) if isinstance(value, str) else str(value)
            raise ValueError(f"{self.where} {self.first + line}, column {column} = {shown}: {wanted}")

    def numbers(self, column: str) -> np.ndarray:
        """The column (L,), NaN where it is empty."""
        values = self.frame[column]
        if values.dtype.kind in "iufb":
            return values.to_numpy(float, na_value=np.nan) if values.hasnans else values.to_numpy()
        found = np.array([_number(value) for value in values])
        self.refuse(np.isnan(found) & values.notna().to_numpy(), column, "must be a number")
        return found

    def whole(self, column: str, wanted: str) -> np.ndarray:
        """The column (L,) as int64."""
        values = self.numbers(column)
        self.refuse(~(abs(values) < 2.0**63) | (values != np.rint(values)), column, wanted)
        return values.astype(np.int64)

    def of_team(self, column: str, empty: np.ndarray) -> np.ndarray:
        """One number for each TTI (G,), the same in all its lines; 0 where the TTI is empty or the column missing."""
        if column not in self.frame:
            return np.zeros(len(empty))
        values = np.where(empty[:, None], 0, self.numbers(column).reshape(len(empty), -1)).astype(float)
        self.refuse(~(abs(values) <= LARGEST).ravel(), column, "must be a finite number")
        self.refuse((values != values[:, :1]).ravel(), column, "differs from that of ap 0, but is one for all APs")
        return values[:, 0]


def _number(value: Any) -> float:
    """A cell of a column that holds more than numbers; NaN for what is none."""
    try:
        return math.nan if isinstance(value, complex | np.complexfloating) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _read(lines: _Lines, network: NetworkConfig, before: Columns | None) -> Columns:
    """The columns of a piece, one entry for each TTI; `before` are those of the piece before it."""
    aps, n, length = network.num_aps, network.top_n, len(lines.frame)
    order = lines.whole("ap", f"must be a whole number in 0 ... {aps - 1}") - np.arange(length) % aps
    lines.refuse(order != 0, "ap", f"not the next of 0 ... {aps - 1}; {SORTED}")
    if length % aps:
        lines.refuse(np.arange(length) == length - 1, "ap", f"the table ends within a TTI; {SORTED}")
    keys = {key: lines.whole(key, "must be a whole number").reshape(-1, aps) for key in ("episode", "tti")}
    for key, values in keys.items():
        lines.refuse((values != values[:, :1]).ravel(), key, f"not that of the TTI's first line; {SORTED}")
    part: Columns = {key: values[:, 0].copy() for key, values in keys.items()}
    masks = [f"mask_{slot}" for slot in range(1, n + 1)]
    obs = np.empty((length, len(_features(network))), np.float32)
    for k, column in enumerate(_features(network)):
        values = lines.numbers(column)
        lines.refuse(~(abs(values) <= LARGEST), column, "must be a finite number")
        obs[:, k] = values
    mask = np.ones((length, n + 1), bool)
    filled = observation_of(network).filled(torch.from_numpy(obs).view(-1, aps, obs.shape[1]))
    mask[:, 1:] = filled.flatten(0, 1).numpy()
    for k, column in enumerate(masks if masks[0] in lines.frame else []):
        values = lines.numbers(column)
        lines.refuse((values != 0) & (values != 1), column, "must be 0 or 1")
        mask[:, k + 1] = values
    action = lines.numbers("action")
    empty = np.isnan(action).reshape(-1, aps)
    reward = lines.numbers("reward")
    lines.refuse(np.isnan(reward) != empty.ravel(), "reward", "must be empty where action is, and only there")
    lines.refuse((empty != empty[:, :1]).ravel(), "action", "must be empty for all APs of a TTI or for none")
    part["empty"] = empty[:, 0]
    action = np.where(empty.ravel(), 0, action)
    lines.refuse((action != np.rint(action)) | (action < 0) | (action > n), "action", f"must be one of 0 ... {n}")
    action = action.astype(np.int64)
    lines.refuse(~mask[np.arange(length), action], "action", "this slot is empty or masked")
    part |= {"obs": obs.reshape(-1, aps, obs.shape[1]), "mask": mask.reshape(-1, aps, n + 1)}
    part |= {"actions": action.reshape(-1, aps), "rewards": lines.of_team("reward", part["empty"]).astype(np.float32)}
    if "own_reward" in lines.frame:
        own = np.where(empty.ravel(), 0, lines.numbers("own_reward")).astype(float)
        lines.refuse(~(abs(own) <= LARGEST), "own_reward", "must be a finite number")
        part["own_rewards"] = own.astype(np.float32).reshape(-1, aps)
        fits = adds_up(*(torch.from_numpy(part[name]) for name in ("own_rewards", "rewards"))).numpy()
        lines.refuse(~fits, "own_reward", "those of the TTI do not add up to its reward")
    part["log_prob"] = lines.of_team("log_prob", part["empty"])
    lines.refuse(part["log_prob"] > ROUNDING, "log_prob", "must be at most 0, a natural logarithm of a probability")
    terminated = lines.of_team("terminated", part["empty"])
    lines.refuse((terminated != 0) & (terminated != 1), "terminated", "must be 0 or 1")
    part["terminated"] = terminated == 1
    _check_order(lines, part, before)
    return part


def adds_up(own: Tensor, rewards: Tensor) -> Tensor:
    """Whether own rewards (G, I) float32 add up to the team's (G,), but for rounding to float32: (G,) bool."""
    # A rounding of each number, and one of each sum on the way.
    allowed = torch.finfo(torch.float32).eps * own.double().abs().sum(1) * own.shape[1]
    return (own.double().sum(1) - rewards).abs() <= allowed


def _check_order(lines: _Lines, part: Columns, before: Columns | None) -> None:
    """Whether every TTI may follow the one before it."""
    last = {key: values[-1:] for key, values in before.items()} if before else {"episode": part["episode"][:1] - 1}
    earlier = {key: np.append(last.get(key, part[key][:1]), part[key][:-1]) for key in ("episode", "tti", "empty")}
    ended = earlier["empty"] | np.append(last.get("terminated", False), part["terminated"][:-1]) & ~part["empty"]
    same = part["episode"] == earlier["episode"]
    lines.refuse(part["episode"] < earlier["episode"], "episode", f"less than before; {SORTED}")
    lines.refuse(same & (part["tti"] != earlier["tti"] + 1), "tti", f"not one more than before; {SORTED}")
    lines.refuse(same & ended, "tti", "the episode ended before: action and reward were empty, or terminated 1")
