"""Writing so that nothing is lost or half-written, and noticing what was changed since.

A folder or file is written beside its place, under a hidden name, and then renamed. `SHA256SUMS` (the format of
`sha256sum`) guards against accidents, not against an attacker, who could rewrite it too; so whoever reads also checks
what the files hold, and nothing that is read can run as code.

Processes keep out of each other's way by advisory locks, which end with the process that holds them: a run that is
made twice at once is made once, and what a killed process left is told from what a living one is writing.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SUMS = "SHA256SUMS"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room: the disk's, the user's, the file's
POLL_S = 0.1  # between two looks at a lock that another process holds


class CorruptFileError(ValueError):
    """A stored file is missing, or is not what was written."""


def as_path(path: str | Path) -> Path:
    """The path; ValueError if it can be none."""
    try:
        if "\0" not in os.fsdecode(path):
            return Path(os.fsdecode(path))
    except (TypeError, UnicodeError):
        pass
    raise ValueError(f"path = {path!r}: must be a path")


# ---- writing ----


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A folder beside `path` to write into; with its checksums it takes the place of `path` when all went well.

    Raises:
        FileExistsError: `path` is a file, or a folder with something in it but without checksums: not ours to replace.
        OSError: no room on the disk; what was at `path` is as it was.
    """
    path = as_path(path)
    _refuse_foreign(path)
    with _beside(path, path.name, "") as beside:
        beside.mkdir()
        yield beside
        lines = (f"{digest}  {name}\n" for name, digest in sorted(_digests(beside).items()))
        (beside / SUMS).write_bytes("".join(lines).encode())
        _exchange(beside, path)


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """A file name beside `path` to write to; it takes the place of `path` when all went well.

    Raises:
        OSError: no room on the disk; what was at `path` is as it was.
    """
    path = as_path(path)
    with _beside(path, path.stem, path.suffix) as beside:
        yield beside
        os.replace(beside, path)


def _refuse_foreign(path: Path) -> None:
    try:
        before, names, after = os.stat(path), os.listdir(path), os.stat(path)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise FileExistsError(f"{path} is a file: it is not replaced by a folder; give another name") from None
    # Where another process replaces and removes it meanwhile, its names are not to be trusted.
    if names and SUMS not in names and before.st_mtime_ns == after.st_mtime_ns:
        raise FileExistsError(
            f"{path} holds files but no {SUMS}, so rrmlab did not write it and does not replace it: give another name"
        )


@contextmanager
def _beside(path: Path, stem: str, suffix: str) -> Iterator[Path]:
    """A free hidden name beside `path`, locked for as long as it is used; what is there at the end is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path, stem, suffix)
    beside = path.with_name(f".{stem}.{uuid.uuid4().hex[:8]}{suffix}")
    with lock(beside):
        try:
            yield beside
        except OSError as error:
            if error.errno not in FULL:
                raise
            reason = os.strerror(error.errno)
            raise OSError(error.errno, f"{path} could not be written ({reason}); it is as it was before") from error
        finally:
            _remove(beside)


def _clear(path: Path, stem: str, suffix: str) -> None:
    """Remove what killed writers of `path` left beside it; what one of them had moved away goes back to its place."""
    if fcntl is None or not path.parent.is_dir():
        return
    left = re.compile(re.escape(f".{stem}.") + "[0-9a-f]{8}" + re.escape(suffix) + r"\.lock")
    for name in filter(left.fullmatch, os.listdir(path.parent)):
        beside = path.with_name(name.removesuffix(".lock"))
        with lock(beside, wait=False) as dead:
            if dead:
                if not path.exists():
                    with suppress(OSError):
                        os.rename(_old(beside), path)
                if path.exists():
                    _remove(_old(beside))
                _remove(beside)


def _exchange(beside: Path, path: Path) -> None:
    """Put a folder in the place of another. Where several processes do so at once, the last one's stays."""
    old, done = _old(beside), False
    try:
        while not done:
            _remove(old)
            with suppress(FileNotFoundError):
                os.rename(path, old)
            try:
                os.rename(beside, path)
                done = True
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # those: another process was a moment faster
                    raise
    finally:
        if not done:
            with suppress(OSError):  # there was none
                os.rename(old, path)
        if path.exists():
            _remove(old)


def _old(beside: Path) -> Path:
    """Where the folder that is being replaced lies for a moment."""
    return beside.with_name(beside.name + ".old")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


# ---- keeping out of each other's way ----


@contextmanager
def lock(path: str | Path, wait: bool = True) -> Iterator[bool]:
    """Hold `path` against other processes, by a lock on the file `.name.lock` beside it that ends with its process.

    Args:
        path: a file or folder; it need not exist.
        wait: until another process lets go of it, and say so in one line.

    Yields:
        whether it is held; never where there are no such locks (Windows, some network folders).
    """
    path = as_path(path)
    file = path.with_name(f".{path.name.removeprefix('.')}.lock")
    handle, told = None, False
    while handle is None and fcntl is not None:
        try:
            handle = _locked(file)
        except BlockingIOError:
            if not wait:
                break
            if not told:
                print(f"another process is at work on {path}: waiting for it", flush=True)
                told = True
            time.sleep(POLL_S)
        except OSError:  # no such locks here; or nothing can be written, which the writer will say better
            break
    try:
        yield handle is not None
    finally:
        if handle is not None:
            _remove(file)  # while it is still held: whoever gets it next sees that it is gone
            os.close(handle)


def tidy(path: Path) -> None:
    """Remove what killed processes left beside a folder."""
    _clear(path, path.name, "")
    with lock(path, wait=False):
        pass  # its file goes with it


def _locked(file: Path) -> int:
    """Descriptor of the file, locked; BlockingIOError if another one holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if not isinstance(error, BlockingIOError):
                _remove(file)  # there are no such locks here: leave no trace
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(file)):
                return handle
        os.close(handle)  # who held it has removed it meanwhile: once more


# ---- reading ----


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder but its SHA256SUMS, by its path in there."""
    files = (f for f in folder.rglob("*") if f.is_file())
    return {f.relative_to(folder).as_posix(): sha256(f) for f in files if f != folder / SUMS}


def verify(path: str | Path) -> Path:
    """Check a folder against its SHA256SUMS.

    Raises:
        FileNotFoundError: no such folder.
        CorruptFileError: a file is missing, changed or new, with its name and what to do.
    """
    path = as_path(path)
    for _ in range(4):
        before = _inode(path)
        try:
            return _verify(path)
        except (FileNotFoundError, CorruptFileError):
            # Another process may just be putting a new folder in its place.
            if before is not None and _inode(path) == before:
                raise
            time.sleep(0.005)
    return _verify(path)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _verify(path: Path) -> Path:
    if not path.is_dir():
        _clear(path, path.name, "")  # a writer may have been killed just before it put the folder into its place
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder")
    sums = path / SUMS
    if not sums.is_file():
        raise CorruptFileError(f"{sums} is missing: the folder was not written whole; make it again")
    again = f"delete {path} and make it again"
    # Split by "\n" alone and with nothing left over: the file is right to the last byte, in whatever order.
    *lines, rest = sums.read_bytes().decode("utf-8", "backslashreplace").split("\n")
    try:
        listed = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except ValueError:
        listed = {}
    if rest or len(listed) < len(lines):
        raise CorruptFileError(f"{sums} is damaged: {again}")
    found = _digests(path)
    for name in sorted(found | listed):
        # Can be printed, whatever its name.
        file = path / "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
        if name not in found:
            raise CorruptFileError(f"{file} is missing: {again}")
        if name not in listed:
            raise CorruptFileError(f"{file} is not listed in {SUMS}, it came later: {again}")
        if found[name] != listed[name]:
            raise CorruptFileError(f"{file} was changed since {SUMS} was written: {again}")
    return path


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Whatever is wrong with what a file holds, as a CorruptFileError that names the file."""
    try:
        yield
    except (CorruptFileError, MemoryError):
        raise
    except Exception as error:  # parsers raise what they like on a file that is not theirs
        what = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise CorruptFileError(f"{file} is not what rrmlab writes ({what}): make it again") from None


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; CorruptFileError if it holds anything else."""
    with reading(file):
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds {type(found).__name__}, not an object with names")
        return found


def read_table(file: Path, **options: Any) -> pd.DataFrame:
    """The table in a CSV file, with options of `pandas.read_csv`; CorruptFileError if it is none."""
    with reading(file):
        return pd.read_csv(file, **options)
