"""Writing so that nothing is lost or half-written, and noticing what was changed since.

A folder or file is written beside its place and then renamed. `SHA256SUMS` (the format of `sha256sum`) guards against
accidents, not against an attacker, who could rewrite it too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUMS = "SHA256SUMS"


class CorruptFileError(ValueError):
    """A stored file is missing, or is not what was written."""


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A folder beside `path` to write into; with its checksums it takes the place of `path` when all went well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    beside.mkdir()
    try:
        yield beside
        files = sorted(f for f in beside.rglob("*") if f.is_file())
        lines = [f"{sha256(f)}  {f.relative_to(beside).as_posix()}\n" for f in files]
        (beside / SUMS).write_text("".join(lines))
        if path.exists():
            old = beside.with_name(beside.name + ".old")
            os.rename(path, old)
            try:
                os.rename(beside, path)
            except BaseException:
                os.rename(old, path)
                raise
            shutil.rmtree(old)
        else:
            os.rename(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """A file name beside `path` to write to; it takes the place of `path` when all went well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def verify(path: str | Path) -> Path:
    """Check a folder against its SHA256SUMS.

    Raises:
        FileNotFoundError: no such folder.
        CorruptFileError: a file is missing or changed, with its name and what to do.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder")
    sums = path / SUMS
    if not sums.is_file():
        raise CorruptFileError(f"{sums} is missing: the folder was not written whole; make it again")
    try:
        listed = dict(reversed(line.split("  ", 1)) for line in sums.read_text().splitlines())
    except (ValueError, UnicodeDecodeError):
        raise CorruptFileError(f"{sums} is damaged: delete {path} and make it again") from None
    present = {f.relative_to(path).as_posix() for f in path.rglob("*") if f.is_file()} - {SUMS}
    for name in sorted(present | set(listed)):
        if name not in present or listed.get(name) != sha256(path / name):
            raise CorruptFileError(
                f"{path / name} is missing or was changed since it was written (its SHA-256 is not the one in {SUMS}): "
                f"delete {path} and make it again"
            )
    return path
