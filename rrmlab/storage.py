"""Writing so that nothing is lost or half-written, and noticing what was changed since.

A folder or file is written beside its place, under a hidden name, and then renamed. `SHA256SUMS` (the format of
`sha256sum`) guards against accidents, not against an attacker, who could rewrite it too; so whoever reads also checks
what the files hold, and nothing that is read can run as code. Files that `SHA256SUMS` does not list are somebody
else's: they are not read, and not removed.
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
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from . import locks
from .checks import as_path
from .locks import lock

SUMS = "SHA256SUMS"
TEXT = (SUMS, ".json", ".csv")  # files that mean the same with the line ends of Windows
# What systems leave in any folder, as a pattern of the end of a path in lower case.
LITTER = re.compile(r"(.*/)?(\.ds_store|\._[^/]*|thumbs\.db|desktop\.ini|\.nfs[^/]*|\.ipynb_checkpoints/.*)")
KINDS = {  # a file of each kind of folder, and what opens it
    "policy.json": "a policy: open it with Policy.load",
    "data/metadata.json": "a Minari dataset: open it with load_dataset, if rrmlab wrote it, or minari.load_dataset",
    "interface.json": "a policy's ONNX files: run them with onnxruntime",
    "facts.json": "the checkpoint of a training: give it to the training as `checkpoint`",
    "arrays.safetensors": "a stored run: open it with rrmlab.study.store.read_result",
}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE)  # no room for bytes or open files
OPEN_FILES = 16  # what writing and cleaning up need at once


class CorruptFileError(ValueError):
    """A stored file is missing, or is not what was written."""


def _target(path: str | Path) -> Path:
    """Where to write: behind a link the place that it names, so that the link stays."""
    path = as_path(path)
    path = Path(os.path.realpath(path)) if path.is_symlink() or path.name in ("", "..") else path
    if path.is_symlink():  # links in a circle
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return path


@contextmanager
def new_folder(path: str | Path, own: str = "") -> Iterator[Path]:
    """A folder beside `path` to write into, of the kind that has the file `own` of `KINDS`; with its checksums it takes
    the place of `path` when all went well.

    Raises:
        FileExistsError: `path` is a file, or a folder of another kind or with files that its SHA256SUMS does not list.
        OSError: no room on the disk, or too few open files allowed; what was at `path` is as it was.
    """
    path = check_replaceable(path, own)
    with scratch(path, path.name, "") as beside:
        beside.mkdir()
        yield beside
        lines = (f"{sha256(beside / name)}  {name}\n" for name in _files(beside))
        (beside / SUMS).write_bytes("".join(lines).encode())
        _exchange(beside, path)


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """A file name beside `path` to write to; it takes the place of `path` when all went well, else OSError as above."""
    with scratch(path := _target(path), path.stem, path.suffix) as beside:
        yield beside
        os.replace(beside, path)


def check_replaceable(path: str | Path, own: str = "") -> Path:
    """The place where a folder of that path is written; FileExistsError if what is there is not replaced."""
    _steadily(path := _target(path), partial(_refuse_foreign, own=own))
    return path


def _refuse_foreign(path: Path, own: str) -> None:
    if not path.is_dir():
        if os.path.lexists(path):
            raise FileExistsError(f"{path} is not a folder: it is not replaced by one; give another name")
        return
    sums: dict[str, str] = {}
    with suppress(CorruptFileError):
        sums = listed(path)
    if names := _files(path, sums, litter=False):
        raise FileExistsError(
            f"{path} holds {_few(names)}, not listed in a {SUMS} there: rrmlab did not write that and does not "
            "replace the folder; move it away, or give another name"
        )
    for name, what in KINDS.items():
        if name != own and name in sums:
            raise FileExistsError(f"{path} holds {what}; it is not replaced, give another name")


@contextmanager
def scratch(path: Path, stem: str, suffix: str) -> Iterator[Path]:
    """A free hidden name beside `path`, locked for as long as it is used; what is there at the end is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path, stem, suffix)
    beside = path.with_name(f".{stem}.{uuid.uuid4().hex[:8]}{suffix}")
    with lock(beside):
        try:
            with ExitStack() as files:  # is there room for them, before any work
                for _ in range(OPEN_FILES):
                    files.enter_context(open(os.devnull))
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
    if locks.fcntl is None or not path.parent.is_dir():
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
    return beside.with_name(beside.name + ".old")  # where the folder that is being replaced is for a moment


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        return shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()


def tidy(path: Path) -> None:
    """Remove what killed processes left beside a folder."""
    _clear(path, path.name, "")
    with lock(path, wait=False):
        pass  # its file goes with it


# ---- reading ----


def sha256(path: Path, text: bool = False) -> str:
    """Hex digest of a file; of a `text` as if its lines ended as on Unix."""
    if text:
        return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path, but: Collection[str] = (), litter: bool = True) -> list[str]:
    """Paths of all that is no folder in there, without its SHA256SUMS and the given ones, with or without `litter`."""
    found = (f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_symlink() or not f.is_dir())
    others = (name for name in found if name != SUMS and name not in but)
    return sorted(name for name in others if litter or not LITTER.fullmatch(name.lower()))


def _few(names: list[str]) -> str:
    """Names for a message, whatever they hold: at most four, and how many more there are."""
    shown = ["".join(c if c.isprintable() else ascii(c)[1:-1] for c in name) for name in names[:4]]
    return ", ".join(shown) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def listed(folder: Path) -> dict[str, str]:
    """Digests by path, as a folder's SHA256SUMS lists them; CorruptFileError if it is missing or damaged."""
    sums = folder / SUMS
    if not sums.is_file():
        raise CorruptFileError(f"{sums} is missing: the folder was not written whole; make it again")
    # Split by line ends alone and with nothing left over: the file is right to the last byte, in whatever order.
    text = sums.read_bytes().replace(b"\r\n", b"\n").decode("utf-8-sig", "backslashreplace")
    *lines, rest = text.split("\n")
    try:
        found = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except ValueError:
        found = {}
    if rest or not found or len(found) < len(lines):
        raise CorruptFileError(f"{sums} is damaged: delete {folder} and make it again")
    return found


def verify(path: str | Path, *needed: str) -> Path:
    """Check a folder against its SHA256SUMS, which must list the `needed` files; one warning names files that it does
    not list.

    Raises:
        FileNotFoundError: no such folder, or an empty one.
        CorruptFileError: a file is missing or changed, with its name and what to do.
        ValueError: the folder has none of the `needed` files, but what another kind of folder has.
    """
    _steadily(path := as_path(path), partial(_verify, needed=needed))
    return path


def _steadily(path: Path, look: Callable[[Path], None]) -> None:
    """Look at a folder; once more if something is wrong while another process puts a new one in its place."""
    for attempt in range(5):
        before = _identity(path)
        try:
            return look(path)
        except (FileNotFoundError, FileExistsError, CorruptFileError):
            if attempt == 4 or before is not None and _identity(path) == before:
                raise
            time.sleep(0.005)


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        return path.stat().st_ino, path.stat().st_mtime_ns
    return None


def _verify(path: Path, needed: tuple[str, ...]) -> None:
    if not path.is_dir():
        _clear(path, path.name, "")  # a writer may have been killed just before it put the folder into its place
    if not path.is_dir() or not ((path / SUMS).exists() or _files(path, litter=False)):
        raise FileNotFoundError(f"{path}: {'an empty' if path.is_dir() else 'no such'} folder")
    if needed and not any((path / name).is_file() for name in needed):
        for name, what in KINDS.items():
            if (path / name).is_file():
                raise ValueError(f"path = {path}: holds {what}")
    sums, again = listed(path), f"delete {path} and make it again"
    for name in sorted({*sums, *needed}):
        file, shown = path / name, path / _few([name])
        if not file.is_file():
            raise CorruptFileError(f"{shown} is missing: {again}")
        if name not in sums:
            raise CorruptFileError(f"{shown} is not listed in {SUMS}: {again}")
        if sums[name] != sha256(file) and not (name.endswith(TEXT) and sums[name] == sha256(file, text=True)):
            raise CorruptFileError(f"{shown} was changed since {SUMS} was written: {again}")
    if extra := _files(path, sums):
        warnings.warn(f"{path} holds {_few(extra)}, not listed in {SUMS}: ignored", stacklevel=6)


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Whatever is wrong with what a file holds, as a CorruptFileError that names the file; what the system refuses (no
    permission, too many open files) as it is."""
    try:
        yield
    except Exception as error:  # parsers raise what they like on a file that is not theirs
        refused = isinstance(error, OSError) and error.errno not in (None, errno.ENOENT)
        if refused or isinstance(error, CorruptFileError | MemoryError):
            raise
        what = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise CorruptFileError(f"{file} is not what rrmlab writes ({what}): make it again") from None


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; CorruptFileError if it holds anything else."""
    with reading(file):
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds {type(found).__name__}, not an object with names")
        return found
