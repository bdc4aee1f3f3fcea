"""Writing whole or not at all, and noticing what was changed since."""

import hashlib
import os
import shutil
import subprocess

import pytest

from rrmlab import storage
from rrmlab.storage import CorruptFileError, new_file, new_folder, sha256, verify


class Interrupted(Exception):
    """Stands for whatever happens while something is written."""


def content_of(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def write_result(path, text="first"):
    with new_folder(path) as folder:
        (folder / "a.txt").write_text(text)
        (folder / "sub").mkdir()
        (folder / "sub" / "b with space.bin").write_bytes(bytes(range(256)))
    return path


# --- folders ------------------------------------------------------------------------------------------------


def test_a_new_folder_appears_whole_with_its_sums(tmp_path):
    path = tmp_path / "deep" / "er" / "result"
    with new_folder(path) as folder:
        assert not path.exists(), "not before it is complete"
        (folder / "a.txt").write_text("hello")
    assert (path / "SHA256SUMS").read_text() == f"{hashlib.sha256(b'hello').hexdigest()}  a.txt\n"
    assert verify(path) == path
    assert verify(str(path)) == path
    assert [f.name for f in path.parent.iterdir()] == ["result"]


def test_the_sums_are_read_by_sha256sum(tmp_path):
    path = write_result(tmp_path / "result")
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum here")
    assert (
        subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=path, capture_output=True).returncode
        == 0
    )


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = write_result(tmp_path / "result")
    with new_folder(path) as folder:
        (folder / "c.txt").write_text("second")
        assert content_of(path)["a.txt"] == b"first", "the old one stays until the new one is complete"
    assert set(content_of(path)) == {"c.txt", "SHA256SUMS"}
    assert [f.name for f in tmp_path.iterdir()] == ["result"]


@pytest.mark.parametrize("earlier", [True, False])
def test_an_interrupted_folder_leaves_what_was_there(tmp_path, earlier):
    path = tmp_path / "result"
    before = content_of(write_result(path)) if earlier else None
    with pytest.raises(Interrupted), new_folder(path) as folder:
        (folder / "a.txt").write_text("half")
        raise Interrupted
    assert [f.name for f in tmp_path.iterdir()] == (["result"] if earlier else []), "no leftovers"
    if earlier:
        assert content_of(verify(path)) == before


def test_sums_that_cannot_be_made_leave_what_was_there(tmp_path, monkeypatch):
    path = write_result(tmp_path / "result")
    before = content_of(path)

    def failing(file):
        raise OSError("input/output error")

    monkeypatch.setattr(storage, "sha256", failing)
    with pytest.raises(OSError, match="input/output error"):
        write_result(path, "second")
    assert content_of(path) == before
    assert [f.name for f in tmp_path.iterdir()] == ["result"]


def test_a_failing_exchange_leaves_what_was_there(tmp_path, monkeypatch):
    path = write_result(tmp_path / "result")
    before, rename = content_of(path), os.rename

    def failing(source, target):
        if target == path and not str(source).endswith(".old"):
            raise OSError("permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="permission denied"):
        write_result(path, "second")
    assert path.exists()
    assert content_of(path) == before


def test_two_writers_of_one_folder_do_not_mix(tmp_path):
    path = tmp_path / "result"
    with new_folder(path) as first:
        (first / "a.txt").write_text("first")
        with new_folder(path) as second:
            (second / "b.txt").write_text("second")
        assert set(content_of(verify(path))) == {"b.txt", "SHA256SUMS"}
    assert set(content_of(verify(path))) == {"a.txt", "SHA256SUMS"}


# --- files --------------------------------------------------------------------------------------------------


def test_a_new_file_appears_whole(tmp_path):
    path = tmp_path / "deep" / "figure.pdf"
    with new_file(path) as beside:
        assert beside.parent == path.parent
        assert beside.suffix == ".pdf", "what writes it may look at the ending"
        beside.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with new_file(str(path)) as beside:
        beside.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert [f.name for f in path.parent.iterdir()] == ["figure.pdf"]


@pytest.mark.parametrize("earlier", [True, False])
def test_an_interrupted_file_leaves_what_was_there(tmp_path, earlier):
    path = tmp_path / "table.csv"
    if earlier:
        path.write_text("first")
    with pytest.raises(Interrupted), new_file(path) as beside:
        beside.write_text("half")
        raise Interrupted
    assert [f.name for f in tmp_path.iterdir()] == (["table.csv"] if earlier else [])
    assert not earlier or path.read_text() == "first"


def test_a_file_that_was_never_written_is_an_error(tmp_path):
    (tmp_path / "table.csv").write_text("first")
    with pytest.raises(FileNotFoundError), new_file(tmp_path / "table.csv"):
        pass
    assert (tmp_path / "table.csv").read_text() == "first"


# --- verify -------------------------------------------------------------------------------------------------


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


CHANGES = {
    "changed": ("a.txt", lambda p: (p / "a.txt").write_text("fjrst")),
    "shortened": (
        "sub/b with space.bin",
        lambda p: (p / "sub" / "b with space.bin").write_bytes(bytes(range(255))),
    ),
    "emptied": ("a.txt", lambda p: (p / "a.txt").write_bytes(b"")),
    "removed": ("a.txt", lambda p: (p / "a.txt").unlink()),
    "renamed": ("a.txt", lambda p: (p / "a.txt").rename(p / "z.txt")),
    "sums removed": ("SHA256SUMS", lambda p: (p / "SHA256SUMS").unlink()),
    "sums garbled": ("SHA256SUMS", lambda p: (p / "SHA256SUMS").write_text("garbage\n")),
    "sums binary": ("SHA256SUMS", lambda p: (p / "SHA256SUMS").write_bytes(b"\xff\xfe\x00")),
    "sums emptied": ("SHA256SUMS", lambda p: (p / "SHA256SUMS").write_text("")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_noticed_by_name(tmp_path, change):
    path = verify(write_result(tmp_path / "result"))
    name, damage = CHANGES[change]
    damage(path)
    with pytest.raises(CorruptFileError) as error:
        verify(path)
    assert str(path / name) in str(error.value)
    assert "make it again" in str(error.value), "and what to do about it"


def test_what_is_no_folder_is_not_found(tmp_path):
    (tmp_path / "file").touch()
    for name in ("nothing", "file"):
        with pytest.raises(FileNotFoundError, match="no such folder"):
            verify(tmp_path / name)


def test_a_corrupt_file_is_a_value_error():
    assert issubclass(CorruptFileError, ValueError)
