"""Is an argument what it must be: checks that name the field, its value and what is allowed."""

from __future__ import annotations

import dataclasses
import math
import operator
import os
from collections.abc import Collection, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


def constant(default: Any, unit: str, provenance: str, doc: str) -> Any:
    """A dataclass field that carries its unit, its provenance and what it is."""
    return field(default=default, metadata={"unit": unit, "provenance": provenance, "doc": doc})


def check_types(config: Any) -> None:
    """Raise ValueError for a field of the wrong type, NaN or infinity; numbers may be given as int for float."""
    for f in dataclasses.fields(config):
        value, kind = getattr(config, f.name), type(f.default)
        # NumPy scalars and ints for floats are what a parameter sweep hands over; they become plain numbers.
        if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
            value = value.item()
        if type(value) is int and value.bit_length() > 63:  # too long for arithmetic, perhaps even to print
            raise ValueError(f"{f.name}: a whole number of {value.bit_length()} bits, at most 63 are allowed")
        if kind is float and type(value) is int:
            value = float(value)
        if f.default is not None and type(value) is not kind:
            raise ValueError(f"{f.name} = {value!r}: expected {kind.__name__}, got {type(value).__name__}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{f.name} = {value}: must be finite")
        object.__setattr__(config, f.name, value)


def check_range(config: Any, name: str, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
    """Raise ValueError unless low <= value <= high (low < value where `open_low`)."""
    value = getattr(config, name)
    if value > high or value < low or (open_low and value == low):
        bracket = "(" if open_low else "["
        raise ValueError(f"{name} = {value}: must lie in {bracket}{low:g}, {high:g}]")


def is_kind(value: Any, kind: type) -> bool:
    """Whether the value is of that class; by its name, for IPython's autoreload makes a new class of the same name."""
    return any((c.__module__, c.__qualname__) == (kind.__module__, kind.__qualname__) for c in type(value).__mro__)


def check_kind(name: str, value: Any, kind: type) -> None:
    """Raise ValueError unless the value is of that class, see `is_kind`."""
    if not is_kind(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        got = type(value).__name__
        if got == kind.__name__:  # such as NumPy's bool
            got = f"{type(value).__module__}.{got}"
        raise ValueError(f"{name}: must be {article} {kind.__name__}, got {got}")


def whole_number(name: str, value: Any) -> int:
    """The value as an int, of whatever integer type; ValueError for anything else, True and 2.0 among it."""
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # what NumPy's and PyTorch's arrays raise
        pass
    raise ValueError(f"{name} = {value!r}: must be a whole number")


def seed_number(value: Any, name: str = "seed") -> int:
    """A seed as an int; ValueError unless it is a whole number in 0 ... 2^63 - 1."""
    seed = whole_number(name, value)
    if not 0 <= seed < 2**63:
        raise ValueError(f"{name} = {seed}: must lie in 0 ... 2^63 - 1")
    return seed


def real_number(name: str, value: Any) -> float:
    """The value as a float; ValueError unless it is one finite number (no text, no True)."""
    try:
        number = math.nan if isinstance(value, bool | str | bytes) else float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} = {value!r}: must be one finite number")
    return number


def real_array(name: str, values: Any) -> np.ndarray:
    """A tensor, array, table or nested lists as an array, without a copy where there can be none; ValueError unless it
    holds real numbers alone."""
    try:
        array = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
    except (TypeError, ValueError, RuntimeError):
        array = np.array(None)
    if array.dtype.kind not in "iuf":
        got = f"an array of {array.dtype}" if array.ndim else type(values).__name__
        raise ValueError(f"{name}: must be real numbers, in an array, a table or nested lists, got {got}")
    return array


def check_tensor(name: str, value: Any, kind: str, letters: str, like: torch.Tensor) -> None:
    """Raise ValueError unless the value is a tensor of a kind ("int64", "bool" or "float"), with the shape that
    `letters` name, which is that of `like`, on the same device."""
    fits = isinstance(value, torch.Tensor) and value.shape == like.shape and value.device == like.device
    if not fits or not (value.is_floating_point() if kind == "float" else value.dtype == getattr(torch, kind)):
        got = type(value).__name__
        if isinstance(value, torch.Tensor):
            got = f"{value.dtype} {tuple(value.shape)}" + f" on {value.device}" * (value.device != like.device)
        article = "an" if kind[0] in "aeiou" else "a"
        raise ValueError(f"{name}: must be {article} {kind} tensor of shape {letters} = {tuple(like.shape)}, got {got}")


def several(name: str, values: Any) -> list[Any]:
    """The values as a list; ValueError if they cannot be gone through."""
    try:
        return list(values)
    except TypeError:
        raise ValueError(f"{name} = {values!r}: must be several, such as a list") from None


def check_registered(file: Path, field: str, name: Any, known: Collection[str]) -> None:
    """ValueError where a file names a part of the user's own, such as a mixer, that this process does not know."""
    if isinstance(name, str) and name not in known:
        raise ValueError(f"{file}: {field} = {name!r} is not registered here: do so, then load it")


def from_dict(cls: type, values: dict[str, Any]) -> Any:
    """Build a config from a plain dict; ValueError on a key it does not have."""
    if not isinstance(values, dict):
        raise ValueError(f"{cls.__name__}: must be made from a dict, got {type(values).__name__}")
    known = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(str(name) for name in set(values) - known)
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return cls(**values)


def known_device(device: Any) -> torch.device:
    """The device; ValueError if it is none, not there, or neither a CPU nor CUDA."""
    try:
        torch.zeros((), device=device).item()  # only its use shows whether it is there
        known = torch.device(device)
        if known.type not in ("cpu", "cuda"):  # the fading needs float64
            raise ValueError("must be 'cpu' or 'cuda'")
        return known
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"device = {device!r}: not a device that is there ({str(error).splitlines()[0]})") from None


def as_path(path: str | Path) -> Path:
    """The path, with the home folder for a leading `~`; ValueError if it can be none."""
    try:
        if "\0" not in os.fsdecode(path):
            return Path(os.fsdecode(path)).expanduser()
    except (TypeError, UnicodeError):
        pass
    except RuntimeError:
        raise ValueError(f"path = {path!r}: there is no home folder for its `~`, write the path in full") from None
    raise ValueError(f"path = {path!r}: must be a path")


def exact_tensor(name: str, values: Any, dtype: torch.dtype) -> Tensor:
    """A tensor, an array, a pandas column or nested lists as a tensor of `dtype` in main memory; the same if it is one.

    Raises:
        ValueError: not real numbers, or one that `dtype` cannot hold exactly, with its place.
    """
    if isinstance(values, Tensor) and values.dtype == dtype and values.is_cpu and not values.requires_grad:
        return values
    try:
        if isinstance(values, Tensor):
            given = values.detach().cpu()
        else:
            array = np.asarray(values)
            given = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
        if given.is_complex():
            raise TypeError
        converted = given.to(dtype)
        same = (converted.to(given.dtype) == given) | (converted != converted)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        kind = getattr(values, "dtype", type(values).__name__)
        raise ValueError(f"{name}: must be a tensor, an array or lists of real numbers, got {kind}") from None
    check_all(name, given, same, f"must be values that {dtype} holds exactly, convert them yourself")
    return converted


def check_all(name: str, values: Tensor, good: Tensor, wanted: str) -> None:
    """Raise ValueError with the first value that is not good, and its place from the row on, unless all are."""
    if not bool(good.all()):
        place = (~good).nonzero()[0].tolist()
        raise ValueError(f"{name}: {wanted}; {name}{place} = {values[tuple(place)].item()}")


def check_proportions(proportions: Any, parts: Sequence[Any], what: str) -> list[float]:
    """The proportions as floats; ValueError unless they are one positive number for each of the parts."""
    try:
        shares = [real_number("share", share) for share in proportions]
    except (TypeError, ValueError):  # not even several, or not all numbers
        shares = []
    if not shares or len(shares) != len(parts) or min(shares) <= 0 or not math.isfinite(sum(shares)):
        raise ValueError(f"proportions = {proportions}: need one positive number for each of {len(parts)} {what}")
    return shares
