"""The command line from bad input: one clear line and exit status 2, or what was asked for."""

import contextlib
import io

import pytest
from bad_input import many
from hypothesis import given
from hypothesis import strategies as st

import rrmlab.command.main
from rrmlab.command import notebooks as source
from rrmlab.command.main import main
from rrmlab.command.runs import NotebookResult


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Two notebooks that are never run: what would run is only answered for."""
    root = tmp_path_factory.mktemp("clone")
    for folder in ("notebooks", "package"):
        (root / folder).mkdir()
    (root / "pyproject.toml").write_text('[project]\nname = "rrmlab"\n')
    for name, extra in (("01_a", "seed = 0\nrates = [0.5]\nname = 'x'\nanything = None\n"), ("02_b", "")):
        cell = f'# %% tags=["parameters"]\npreset = "paper"\nrecompute = False\n{extra}\n# %%\nx = 1\n'
        (root / "notebooks" / f"{name}.py").write_text(cell)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "PACKAGE", root / "package")
        done = NotebookResult("done")
        patch.setattr(rrmlab.command.main, "schedule", lambda order, *_: {n.name: done for n in order})
        patch.chdir(root)
        yield root


words = st.sampled_from(
    ["reproduce", "figures", "check", "01", "02_b", "1", "3", "--preset", "smoke", "huge", "--jobs", "0", "2", "-2",
     "-p", "seed", "rates", "anything", "7", "[1", "[1, 2]", "{[]: 0}", "(" * 300, "1e999", "--out", "out", "--force",
     "pyproject.toml", "pyproject.toml/x", "", " ", "\0", "a\nb", "--version", "-h", "--", "-", "--pre", "\udcff"]
)  # fmt: skip
lines = st.lists(words | st.text(max_size=6), max_size=5)


@many(150)
@given(start=st.sampled_from([[], ["reproduce"], ["reproduce", "-p", "seed"], ["figures"], ["check"]]), rest=lines)
def test_the_command_line(repository, start, rest):
    """Exit status 2 and one clear line for a mistake; 0 or 1, and nothing on standard error, for what can be done."""
    assert_clear(repository, [*start, *rest])


def assert_clear(repository, arguments):
    assert source.find_root() == repository  # nothing of the real one may be run here
    # What a terminal's streams do with half characters, pytest's own do not.
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as end:  # --help and --version
            assert end.code == 0 and out.tell() and not err.tell(), arguments
            return
    err.flush()
    text = err.buffer.getvalue().decode()
    assert status in (0, 1, 2)
    if status == 2:
        assert text.startswith("rrmlab: error: ") and text.count("\n") == 1 and len(text) > 30, text
    else:
        assert not text
