"""Stored files that were flipped, cut or lost: refused by name. What others put beside them: ignored and kept."""

import shutil
import textwrap
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import cases
from stored_files import LOADERS, FakeKernels, content_of, files, hidden
from test_reproduce import Repository

from rrmlab.agents.policy import Policy
from rrmlab.command import notebooks as source
from rrmlab.command.main import main
from rrmlab.command.runs import Run
from rrmlab.learning.dataset import load_dataset
from rrmlab.storage import SUMS, CorruptFileError, new_folder, verify
from rrmlab.study import explore
from rrmlab.study.store import stored


def damaged(kind, content, draw):
    """What a file holds after it was damaged; None for a file that is gone."""
    place = draw(st.integers(0, max(0, len(content) - 1)))
    if kind == "flip" and content:
        flipped = content[place] ^ draw(st.integers(1, 255))
        return content[:place] + bytes([flipped]) + content[place + 1 :]
    if kind == "cut" and content:
        return content[:place]
    if kind == "remove":
        return None
    return content + bytes(draw(st.lists(st.integers(0, 255), min_size=1, max_size=3)))


def check_refused(folder, load, kind, data):
    """Damage one file, see it refused by name and with what to do, repair it."""
    file = data.draw(st.sampled_from(files(folder)))
    content = file.read_bytes()
    changed = damaged(kind, content, data.draw)
    file.unlink() if changed is None else file.write_bytes(changed)
    with pytest.raises(CorruptFileError) as error:
        load(folder)
    file.write_bytes(content)
    # What is flipped in the list of sums shows as the file whose line it was.
    assert str(folder if file.name == SUMS else file) in str(error.value)
    assert "make it again" in str(error.value)


@pytest.mark.parametrize("kind", ["flip", "other"])
def test_any_damage_is_refused_by_name(copies, kind):
    @settings(max_examples=cases(50, 500), deadline=None, database=None)
    @given(data=st.data())
    def run(data):
        name = data.draw(st.sampled_from(sorted(LOADERS)))
        what = kind if kind == "flip" else data.draw(st.sampled_from(["cut", "append", "remove"]))
        check_refused(copies / name, LOADERS[name], what, data)

    before = content_of(copies)
    run()
    assert content_of(copies) == before
    for name, load in LOADERS.items():
        load(copies / name)


def test_every_byte_of_the_sums_counts(copies):
    folder = copies / "checkpoint"
    sums = (folder / SUMS).read_bytes()
    masks = range(1, 256) if cases(0, 1) else (1, 32, 255)
    for place in range(len(sums)):
        for mask in masks:
            (folder / SUMS).write_bytes(sums[:place] + bytes([sums[place] ^ mask]) + sums[place + 1 :])
            with pytest.raises(CorruptFileError, match="make it again"):
                verify(folder)
    for wrong in (sums[:-1], sums + b"\n", sums + b"\0", sums * 2, sums.replace(b"\n", b"\r"), b"\n" + sums):
        (folder / SUMS).write_bytes(wrong)
        with pytest.raises(CorruptFileError, match="make it again"):
            verify(folder)
    (folder / SUMS).write_bytes(b"".join(reversed(sums.splitlines(keepends=True))))
    verify(folder)  # another order says the same


def test_a_damaged_run_is_made_again_and_says_so(tmp_path, capsys):
    def build(folder):
        (folder / "a").write_text("right")

    folder = stored(tmp_path, "kind", {"x": 1}, [], build)
    assert stored(tmp_path, "kind", {"x": 1}, [], None) == folder, "asked again it is not built"
    for damage in (lambda: (folder / "a").write_text("wrong"), lambda: (folder / SUMS).unlink()):
        damage()
        assert stored(tmp_path, "kind", {"x": 1}, [], build) == folder
        assert (verify(folder) / "a").read_text() == "right"
        assert f"making it again: {folder}" in capsys.readouterr().out
    (folder / "a").write_text("wrong")
    (folder / "notes.txt").write_text("mine")
    stored(tmp_path, "kind", {"x": 1}, [], build)
    notes = [file.read_text() for file in folder.parent.glob(f"{folder.name}.damaged.*/notes.txt")]
    assert notes == ["mine"], "moved, not deleted"


def put(name, litter):
    """Add a file, or a link that leads nowhere; its name, and whether a writer may replace it."""

    def change(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to("nowhere") if name == "link" else (folder / name).write_bytes(b"\0mine")
        return [name.replace("\n", "\\n")], litter

    return change


def with_windows_line_ends(pattern, mark=b""):
    def change(folder):
        for file in folder.glob(pattern):
            file.write_bytes(mark + file.read_bytes().replace(b"\n", b"\r\n"))
        return [], True

    return change


OWN = {"dataset-v0": "data/metadata.json", "checkpoint": "policy.json"}  # files that say what a folder is
NOT_DAMAGE = {
    **{name: put(name, litter=True) for name in (".DS_Store", "._policy.json", "Thumbs.db", "DESKTOP.INI", ".nfs01",
                                                 "data/.DS_Store", ".ipynb_checkpoints/a-checkpoint.json")},
    **{name: put(name, litter=False) for name in ("notes.txt", "data/notes.txt", ".policy.json.swp", "policy.json~",
                                                  "policy_9/policy.json", "link", "new\nline")},
    "SHA256SUMS with CRLF": with_windows_line_ends(SUMS),
    "every SHA256SUMS with CRLF": with_windows_line_ends(f"**/{SUMS}"),
    "SHA256SUMS of Notepad": with_windows_line_ends(SUMS, b"\xef\xbb\xbf"),
    "JSON with CRLF": with_windows_line_ends("**/*.json"),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*LOADERS, "run"])
@pytest.mark.parametrize("change", NOT_DAMAGE)
def test_what_is_not_listed_is_ignored_by_readers_and_kept_by_writers(copies, tmp_path, kind, change):
    """What systems, editors and people leave beside intact files is not damage, and is not lost."""

    def build(folder):
        (folder / "a").write_text("right")

    folder = stored(tmp_path, "kind", {}, [], build) if kind == "run" else copies / kind
    names, litter = NOT_DAMAGE[change](folder)
    before = content_of(folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stored(tmp_path, "kind", {}, [], None) if kind == "run" else LOADERS[kind](folder)
    assert [name in str(caught[0].message) for name in names] == [True] * len(names) and len(caught) == len(names)
    assert content_of(folder) == before and (folder / "link").is_symlink() == (change == "link")

    def replace():
        with new_folder(folder, OWN.get(kind, "arrays.safetensors")) as beside:
            (beside / "a").write_text("new")

    if litter:
        replace()
        assert [file.name for file in files(verify(folder))] == [SUMS, "a"]
    else:
        with pytest.raises(FileExistsError) as error:
            replace()
        assert str(folder) in str(error.value) and names[0] in str(error.value)
        assert content_of(folder) == before and (folder / "link").is_symlink() == (change == "link")


def test_a_table_that_was_changed_is_made_again(tmp_path, monkeypatch):
    repository = Repository(tmp_path / "clone")
    monkeypatch.setattr(source, "PACKAGE", repository.root / "package")
    repository.write("01_a", "")
    run = Run(repository.root, tmp_path / "out", "smoke", None)
    notebook = source.read_all(repository.root)[0]
    monkeypatch.setattr(run, "kernels", FakeKernels())
    assert run.execute(notebook).status == "done"
    table = tmp_path / "out/figures/tables/01_a.csv"
    assert run.is_current(notebook)
    (tmp_path / "out/figures/01_a.png").write_text("drawn again")
    assert run.is_current(notebook)
    table.write_text("x\n2\n")
    assert not run.is_current(notebook)
    table.write_text("x\n1\n")
    assert run.is_current(notebook)


def test_what_rrmlab_did_not_write_is_not_replaced(made, tmp_path):
    data = load_dataset(made / "dataset-v0")
    (tmp_path / "file-v0").write_text("mine")
    (tmp_path / "folder-v0").mkdir()
    (tmp_path / "folder-v0" / "thesis.tex").write_text("mine")
    (tmp_path / "empty-v0").mkdir()
    for name in ("file-v0", "folder-v0"):
        with pytest.raises(FileExistsError, match=f"{name}.*give another name"):
            data.save(tmp_path / name)
    assert (tmp_path / "file-v0").read_text() == (tmp_path / "folder-v0" / "thesis.tex").read_text() == "mine"
    load_dataset(data.save(tmp_path / "empty-v0"))
    assert hidden(tmp_path) == []


def test_what_could_not_be_loaded_is_not_saved(made, tmp_path):
    policy = Policy.load(made / "checkpoint")
    policy.save(tmp_path / "policy")
    policy.tensors["actor.0"][..., 0] = torch.nan
    with pytest.raises(ValueError, match="actor.0 holds NaN or infinity, as after a training that diverged"):
        policy.save(tmp_path / "policy")
    assert torch.isfinite(Policy.load(tmp_path / "policy").tensors["actor.0"]).all()


def test_the_tour_leaves_out_what_it_cannot_read(copies, tmp_path):
    run = tmp_path / "data" / "offline"
    for name in ("aaaaaa", "bbbbbb", ".aaaaaa.12345678"):
        shutil.copytree(copies / "result", run / name)
    before = explore.choices(tmp_path / "data")
    assert sum("(aaaaaa)" in label for label in before) == 1 and not any("(.aaaa" in label for label in before)
    for content in (b"[]", b'{"agent": 3}', b"\x80\x04", b"{}"):
        (run / "bbbbbb" / "policy_0" / "policy.json").write_bytes(content)
        (run / "bbbbbb" / "policy_1" / "policy.json").write_bytes(content)
        assert not any("(bbbbbb)" in label for label in explore.choices(tmp_path / "data"))


def test_the_readme_is_not_filled_from_a_damaged_table(tmp_path, monkeypatch, capsys):
    repository = Repository(tmp_path / "clone")
    repository.write("01_a")
    monkeypatch.chdir(repository.root)
    tables = repository.root / "figures/tables"
    tables.mkdir(parents=True)
    (tables / "04_training_paradigms_summary.csv").write_bytes(b"\x80\x04\x95")
    (repository.root / "README.md").write_text(
        textwrap.dedent("""\
        <!-- results -->
        <!-- /results -->
        """)
    )
    assert main(["check"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rrmlab: error: ") and "summary.csv is not what rrmlab writes" in error
