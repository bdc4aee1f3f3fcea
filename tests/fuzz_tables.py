"""Fuzzing of what users hand over in memory or as a table of theirs: logs, positions and gains, mutated as bytes say.

A mutated table is read into a Dataset that passes its check, or refused by a ValueError that names the file or table;
positions and gains likewise. The targets are called as those of fuzz_loaders.py, which lists them.
"""

import atexit
import contextlib
import datetime
import decimal
import functools
import io
import math
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from test_log_tables import log, network_of

from rrmlab import Dataset, Deployment, NetworkConfig
from rrmlab.learning import tables

NUMBERS = [0, 1, -1, 2, 9, 0.5, -0.0, 1e-300, 3e38, 1e39, 1e308, 2**31, 2**53 + 1, 2**63, -(2**63), 10**30]
NUMBERS += [math.nan, math.inf, -math.inf, True, False]
OTHERS = [None, pd.NA, pd.NaT, "", " ", "1", " 1 ", "1e5", "0x10", "1_0", "nan", "-inf", "x", "\0", "\ud800", "１", ","]
OTHERS += [b"1", 1j, decimal.Decimal("1"), datetime.date(2026, 1, 1), np.datetime64(1, "s")]
OTHERS += [np.timedelta64(1, "s"), np.float16(1), np.array([1.0, 2.0]), [], [1], (1,), {}, {"x": 1}, object(), float]
SLIPS = NUMBERS + OTHERS
DTYPES = ["object", "str", "string", "category", "Int64", "Float32", "boolean", "float16", "int8", "uint64", "bool"]
DTYPES += ["complex128", "datetime64[ns]", "timedelta64[ns]", "Sparse[float]", "float64[pyarrow]", "int64[pyarrow]"]


class Bytes:
    """Numbers taken from bytes, 0 where they have ended."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def below(self, number: int) -> int:
        self.place += 1
        return self.data[self.place - 1] % number if self.place <= len(self.data) else 0

    def of(self, values):
        return values[self.below(len(values))]

    def rest(self) -> bytes:
        return self.data[self.place :]


def answered(call, *names):
    """What a call returns, or None where it refuses by a ValueError with one of the names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except ValueError as error:
            assert not isinstance(error, UnicodeError), error
            assert any(name in str(error) for name in names), f"none of {names} in: {error}"
            return None


# ---- logs ----


@functools.cache
def valid(number: int) -> tuple[pd.DataFrame, NetworkConfig]:
    """One of four logs that are read: with one or two APs, with masks or without."""
    aps, n, masks = 1 + number % 2, 1 + number // 2, number == 3
    return log(np.random.default_rng(number), aps, n, [3, 2], masks)[0], network_of(aps, n)


@functools.cache
def folder() -> Path:
    made = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def put(frame, choice):
    """A value in one cell or in a whole column."""
    column, value = choice.below(frame.shape[1]), choice.of(SLIPS)
    values = frame.iloc[:, column].astype(object)
    rows = range(len(frame)) if choice.below(4) == 0 else [choice.below(len(frame))]
    for row in rows:
        values.iat[row] = value
    return with_column(frame, column, values)


def with_column(frame, column, values):
    parts = [frame.iloc[:, k] if k != column else values for k in range(frame.shape[1])]
    return pd.concat(parts, axis=1, keys=None).set_axis(frame.columns, axis=1)


def retype(frame, choice):
    column = choice.below(frame.shape[1])
    return with_column(frame, column, frame.iloc[:, column].astype(choice.of(DTYPES)))


def rename(frame, choice):
    labels = list(frame.columns)
    labels[choice.below(len(labels))] = choice.of([*labels, *(v for v in SLIPS if not isinstance(v, np.ndarray))])
    return frame.set_axis(pd.Index(labels, tupleize_cols=False), axis=1)


def change_rows(frame, choice):
    order, row = list(range(len(frame))), choice.below(len(frame))
    kind = choice.below(7)
    if kind == 0:
        del order[row]
    elif kind == 1:
        order.insert(row, row)
    elif kind == 2:
        order.insert(choice.below(len(order)), order.pop(row))
    elif kind == 3:
        order = order[::-1]
    elif kind == 4:
        order = order[:row]
    elif kind == 5:
        order = order * 2
    else:
        order = order[row:]
    return frame.iloc[order]


def change_columns(frame, choice):
    order = list(range(frame.shape[1]))
    column, kind = choice.below(len(order)), choice.below(5)
    if kind == 0:
        del order[column]
    elif kind == 1:
        order.append(column)
    elif kind == 2:
        order.insert(choice.below(len(order)), order.pop(column))
    elif kind == 3:
        return frame.set_index(frame.columns[column])
    else:
        return frame.set_axis(pd.MultiIndex.from_product([["log"], range(frame.shape[1])]), axis=1)
    return frame.iloc[:, order]


CHANGES = [put, put, put, put, retype, retype, rename, change_rows, change_rows, change_columns]


def mutated(frame, choice):
    """A copy, changed one to four times; a change that pandas refuses is left out."""
    for _ in range(1 + choice.below(4)):
        if not frame.size:
            break
        with contextlib.suppress(Exception):
            frame = choice.of(CHANGES)(frame, choice)
    return frame


def damaged(content: bytes, data: bytes) -> bytes:
    """Cut, single bytes changed, or a piece put in."""
    choice = Bytes(data)
    kind = choice.below(4)
    place = int.from_bytes([choice.below(256) for _ in range(3)]) % (len(content) + 1)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + choice.rest() + content[place:]
    changed = bytearray(content)
    rest = choice.rest()
    for k in range(0, len(rest) - 3, 4):
        changed[int.from_bytes(rest[k : k + 3]) % len(content)] = rest[k + 3]
    return bytes(changed)


def read(source, network, piece, name):
    before, tables.PIECE = tables.PIECE, piece
    try:
        data = answered(lambda: Dataset.from_table(source, network), name)
    finally:
        tables.PIECE = before
    if data is not None:
        data.check()


def frame_table(data: bytes) -> None:
    choice = Bytes(data)
    (frame, network), piece = valid(choice.below(4)), choice.of([3, 1000])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = mutated(frame, choice)
    read(frame, network, piece, "table")


def file_table(suffix, write):
    """A target: the file of a mutated table, or the damaged one of a right table."""

    def target(data: bytes) -> None:
        choice = Bytes(data)
        (frame, network), piece, as_bytes = valid(choice.below(4)), choice.of([3, 1000]), choice.below(2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                content = write(frame if as_bytes else mutated(frame, choice))
            except Exception:  # no such file can be written
                return
        file = folder() / f"log{suffix}"
        file.write_bytes(damaged(content, choice.rest()) if as_bytes else content)
        read(file, network, piece, str(file))

    return target


def as_csv(frame) -> bytes:
    return frame.to_csv(index=False).encode(errors="surrogatepass")


def as_parquet(frame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


# ---- deployments ----


NETWORK = NetworkConfig(num_aps=2, num_users=3, top_n=2, episode_ttis=3, warmup_ttis=1)


def mutated_array(array, choice):
    """A value put in, another shape, another type, another container."""
    for _ in range(choice.below(4)):
        kind = choice.below(6)
        with contextlib.suppress(Exception):
            if kind < 3 and array.size:
                value = choice.of(SLIPS if kind == 0 else NUMBERS)
                array = array.astype(object) if kind == 0 else array.copy()
                array[np.unravel_index(choice.below(array.size), array.shape)] = value
            elif kind == 3:
                array = choice.of([array[None], array[0], array[:1], array[:0], array.T, np.stack([array, array])])
            elif kind == 4:
                array = array.astype(choice.of(["f2", "f4", ">f8", "i1", "u8", "?", "c16", "S8", "U8", "O", "M8[s]"]))
            else:
                array = choice.of([array - 250, array * 1000, -array, array / 0, array * 1e-300])
    kinds = [lambda a: a, lambda a: a.tolist(), torch.as_tensor, pd.DataFrame, tuple, iter, np.ma.masked_invalid]
    with contextlib.suppress(Exception):
        return choice.of(kinds)(array)
    return array


def given(choice, array):
    """An argument: mutated, left as it is, or something else altogether."""
    kind = choice.below(8)
    return choice.of(SLIPS) if kind == 0 else array if kind < 5 else mutated_array(array, choice)


def deployed(call, *names) -> None:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        deployment = answered(call, *names, "seed = ", "deployment.")
    if deployment is not None:
        deployment.check(NETWORK)


def positions(data: bytes) -> None:
    choice, rng = Bytes(data), np.random.default_rng(0)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        arguments = {
            "ap_xy": given(choice, rng.uniform(0, 500, (2, 2))),
            "user_xy": given(choice, rng.uniform(0, 500, (3, 2))),
            "shadowing_db": given(choice, rng.normal(0, 7, (2, 3))),
            "serving": given(choice, np.array([0, 1, -1])),
        }
    seed = choice.of(SLIPS) if choice.below(8) == 1 else 0
    deployed(lambda: Deployment.from_positions(NETWORK, **arguments, seed=seed), *arguments)


def gains(data: bytes) -> None:
    choice, rng = Bytes(data), np.random.default_rng(0)
    shape = choice.of([(5, 2, 3), (2, 5, 2, 3), (2, 3), (7, 2, 3)])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        arguments = {
            "gains": given(choice, rng.lognormal(5, 3, shape)),
            "serving": given(choice, np.array([0, 1, -1])),
        }
    seed = choice.of(SLIPS) if choice.below(8) == 1 else 0
    deployed(lambda: Deployment.from_gains(NETWORK, **arguments, seed=seed), *arguments)


TARGETS = {
    "frame": frame_table,
    "csv": file_table(".csv", as_csv),
    "parquet": file_table(".parquet", as_parquet),
    "positions": positions,
    "gains": gains,
}
