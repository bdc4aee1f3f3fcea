"""The `rrmlab` command on tiny notebooks in a repository of the test's: order, failures, refusals, pairs."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from tempfile import gettempdir

import pytest

from rrmlab.checks import as_path
from rrmlab.command import notebooks as source
from rrmlab.command.kernels import Kernels, Scrubber
from rrmlab.command.main import main
from rrmlab.command.pairs import ABSOLUTE
from rrmlab.command.runs import NotebookResult, schedule

PARAMETERS = 'preset: str = "paper"\nrecompute: bool = False  # True: compute, False: draw\n'


class Repository:
    """A stand-in repository with a package of one module; `write` adds a notebook of one code cell."""

    def __init__(self, root: Path):
        self.root = root
        (root / "notebooks").mkdir(parents=True)
        (root / "package").mkdir()
        (root / "package" / "module.py").write_text("x = 1\n")
        (root / "pyproject.toml").write_text('[project]\nname = "rrmlab"\n')

    def write(self, name: str, code: str = "", parameters: str = "", header: str = "") -> None:
        number = name[:2]
        body = textwrap.dedent(f"""\
            from pathlib import Path
            Path("../figures/tables").mkdir(parents=True, exist_ok=True)
            with open("../order.txt", "a") as file:
                print("{number}", file=file)
            """) + textwrap.dedent(code)
        head = "".join(f"# {line}\n" for line in ["---", "jupyter:", "  rrmlab:", f"    {header}", "---"])
        (self.root / "notebooks" / f"{name}.py").write_text(
            f'{head if header else ""}# %% [markdown]\n# # {name}\n\n# %% tags=["parameters"]\n'
            f"{PARAMETERS}{parameters}\n# %%\n{body}"
        )

    def order(self, folder: str = "data/runs/smoke") -> list[str]:
        """Numbers of the notebooks that ran in `folder`, in order; forgets them."""
        path = self.root / folder / "order.txt"
        numbers = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return numbers

    def text(self, path: str) -> str:
        return (self.root / path).read_text()


TABLE = 'Path("../figures/tables/01_a.csv").write_text(f"{preset},{recompute},{seed!r},{rates!r}")\n'
FIGURES = '[Path(f"../figures/01_a.{kind}").write_text("drawn") for kind in ("pdf", "png")]\n'


@pytest.fixture
def repository(tmp_path, monkeypatch):
    made = Repository(tmp_path / "clone")
    monkeypatch.setattr(source, "PACKAGE", made.root / "package")
    monkeypatch.chdir(made.root / "notebooks")  # the root is searched upward from here
    return made


def smoke(*arguments: str) -> int:
    return main(["reproduce", "--preset", "smoke", *arguments])


# ---- running ----


def test_a_run_from_its_first_call_to_a_changed_source(repository, capsys):
    repository.write("01_a", TABLE + FIGURES, 'seed = 0\nrates: tuple = (0.5, 1.0)\nname = "x"\n')
    repository.write("02_b", "assert Path('../figures/01_a.pdf').exists()", header="needs: ['01']")
    assert smoke("-p", "seed", "7", "-p", "rates", "[2]", "-p", "name", "12") == 0
    out = capsys.readouterr().out
    assert repository.order() == ["01", "02"]
    assert "[1/2] 01_a: started" in out and "[2/2] 02_b: done in" in out
    assert [line.split() for line in out.splitlines() if line.startswith("01_a ")][0][-2:] == ["1", "1"]
    results = "data/runs/smoke/figures/tables/01_a.csv"
    assert repository.text(results) == "smoke,True,7,(2.0,)"
    assert "seed = 7" not in repository.text("notebooks/01_a.py")  # copies run, sources stay

    same = ("-p", "seed", "7", "-p", "rates", "[2]", "-p", "name", "12")
    assert smoke(*same) == 0
    assert repository.order() == []
    assert capsys.readouterr().out.count(": up to date") == 2

    repository.write("02_b", "x = 2", header="needs: [01_a]")
    assert smoke(*same) == 0
    assert repository.order() == ["02"]

    (repository.root / results).unlink()
    assert smoke(*same) == 0
    assert repository.order() == ["01"]

    (repository.root / "package" / "module.py").write_text("x = 2\n")
    assert smoke(*same) == 0
    assert repository.order() == ["01", "02"]  # both follow from the package
    assert smoke("1", "--force", *same[:2], "7") == 0
    assert repository.order() == ["01"]


def test_failures_are_contained(repository, capsys):
    repository.write("01_a", "Path('../figures/01_a.pdf').write_text('half'); raise KeyError('/x/y')")
    repository.write("02_b", header="needs: [01_a]")
    repository.write("03_c", header="needs: [02_b]")
    repository.write("04_d", "Path('../figures/tables/04_d.csv').write_text('4')")
    earlier = repository.root / "data/runs/smoke/figures/01_a.png"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("earlier")
    assert smoke() == 1
    assert repository.order() == ["01", "04"]
    out = capsys.readouterr().out
    rows = [re.split(r"  +", line) for line in out.splitlines() if line[4:6] == "  "]
    status = {row[0]: row[1] for row in rows}
    assert status == {"01_a": "failed", "02_b": "needs 01", "03_c": "needs 02", "04_d": "done"}
    assert earlier.read_text() == "earlier"
    executed = repository.root / "data/runs/smoke/data/executed"
    assert f"01_a failed: KeyError: '/x/y' (see {executed / '01_a.log'})" in out
    assert "KeyError" in (executed / "01_a.log").read_text()
    assert "KeyError" in (executed / "01_a.ipynb").read_text()  # kept, to look at
    assert not (executed / "01_a.json").exists()

    repository.write("01_a")
    assert smoke("--jobs", "2") == 0
    assert sorted(repository.order()) == ["01", "02", "03"]
    assert "04_d: up to date" in capsys.readouterr().out


def test_no_trace_of_the_machine(repository, capsys):
    repository.write(
        "01_a",
        """\
        import os, sys, warnings
        print(os.getcwd(), Path("../data").resolve(), sys.executable, Path.home() / "x", object())
        warnings.warn(os.getcwd())
        print(os.environ["RRMLAB_BATCH"], file=sys.stderr)
        Path.cwd()
        """,
    )
    out = repository.root.parent / "elsewhere"
    assert main(["reproduce", "--preset", "smoke", "--out", str(out)]) == 0
    assert not (repository.root / "data").exists()
    for kind in ("ipynb", "log", "json"):
        text = (out / "data" / "executed" / f"01_a.{kind}").read_text()
        assert str(repository.root.parent) not in text
        assert sys.prefix not in text
        assert not ABSOLUTE.search(text), ABSOLUTE.search(text)
    node = json.loads((out / "data" / "executed" / "01_a.ipynb").read_text())
    printed = "".join(node["cells"][-1]["outputs"][0]["text"]).split()
    assert printed[:2] == ["../notebooks", "../data"]
    assert set(node["metadata"]) == {"jupytext", "kernelspec", "language_info"}
    assert all(set(cell["metadata"]) <= {"tags", "lines_to_next_cell"} for cell in node["cells"])


def test_missing_needs_are_added_and_present_ones_used(repository, capsys):
    repository.write("01_a")
    repository.write("02_b", header="needs: [01_a]")
    assert smoke("2") == 0
    assert repository.order() == ["01", "02"]
    assert "01_a is added" in capsys.readouterr().out
    repository.write("01_a", "x = 1")
    assert smoke("2", "--force") == 0
    assert repository.order() == ["02"]
    assert "note: 01_a is used as it is" in capsys.readouterr().out


def test_another_kernel_of_the_user_is_not_started(repository, monkeypatch, tmp_path):
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "other", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    repository.write("01_a", "import sys; assert sys.prefix == prefix", f"prefix = {sys.prefix!r}\n")
    assert smoke() == 0


def test_an_interrupt_ends_the_kernel_and_says_how_to_go_on(repository):
    repository.write("01_a", "import os, time; Path('../pid').write_text(str(os.getpid())); time.sleep(60)")
    command = [sys.executable, "-m", "rrmlab.command.main", "reproduce", "--preset", "smoke"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    pid = repository.root / "data/runs/smoke/pid"
    for _ in range(400):
        if pid.exists() and pid.read_text():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert error.strip() == "rrmlab: interrupted; to go on where it stopped: rrmlab reproduce --preset smoke"
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_committed_results_are_renewed_by_their_own_parameters_alone(repository):
    repository.write("01_a", "Path('../figures/tables/01_a.csv').write_text(str(seed))", "seed = 0\n")
    assert main(["reproduce", "--preset", "paper", "-p", "seed", "3"]) == 0
    assert repository.text("data/runs/paper/figures/tables/01_a.csv") == "3"
    assert not (repository.root / "figures").exists()
    assert main(["reproduce", "--preset", "paper"]) == 0
    assert repository.text("figures/tables/01_a.csv") == "0"


# ---- refusals, all before any work ----


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["-p", "sed", "1"],
            ["unknown parameter 'sed'", "did you mean 'seed'", "01_a: rates, seed", "02_b: none"],
        ),
        (["-p", "seed", "1.5"], ["parameter 'seed' of 01_a", "takes int", "default 0", "'1.5'"]),
        (["-p", "seed", "True"], ["takes int"]),
        (["-p", "seed", "__import__('os')"], ["takes int"]),
        (["-p", "rates", "('a',)"], ["takes list of float", "[0.5]"]),
        (["-p", "rates", "[1e999]"], ["takes list of float"]),
        (["-p", "seed", "1", "-p", "seed", "2"], ["'seed' is given twice"]),
        (["-p", "preset", "quick"], ["--preset"]),
        (["-p", "recompute", "False"], ["always True"]),
        (["07"], ["unknown notebook '07'", "01_a, 02_b"]),
        (["nonsense"], ["unknown notebook 'nonsense'", "01_a, 02_b"]),
        (["--preset", "huge"], ["'huge'", "smoke", "quick", "paper"]),
        (["--jobs", "0"], ["'0'", "whole number from 1"]),
        (["--out", "../pyproject.toml"], ["--out ../pyproject.toml", "file is in the way"]),
        (["--typo"], ["--typo"]),
    ],
)
def test_a_mistake_is_told_in_one_line_before_any_work(repository, capsys, arguments, words):
    repository.write("01_a", parameters="seed = 0\nrates = [0.5]\n")
    repository.write("02_b")
    assert smoke(*arguments) == 2
    streams = capsys.readouterr()
    assert streams.err.startswith("rrmlab: error: ") and streams.err.count("\n") == 1
    assert [word for word in words if word not in streams.err] == []
    assert not (repository.root / "data").exists()


@pytest.mark.parametrize(
    ("notebook", "words"),
    [
        (
            {"name": "02_b", "header": "needs: [03_c]"},
            ["unknown notebook '03_c'", "the needs of 02_b", "01_a"],
        ),
        ({"name": "01_b"}, ["01_a and 01_b share the number 01"]),
        ({"name": "02_b", "parameters": "seed = max(1, 2)\n"}, ["parameters cell of 02_b", "literals"]),
        ({"name": "02_b", "parameters": "import os\n"}, ["parameters cell of 02_b", "line 3"]),
        ({"name": "02_b", "parameters": "\n# %% tags=['parameters']\nx = 1\n"}, ["02_b has 2 cells"]),
    ],
)
def test_a_notebook_that_declares_nonsense_is_refused(repository, capsys, notebook, words):
    repository.write("01_a")
    repository.write(**notebook)
    assert smoke("1") == 2
    error = capsys.readouterr().err
    assert [word for word in words if word not in error] == []


def test_outside_of_a_repository(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(source, "PACKAGE", tmp_path / "site-packages" / "rrmlab")
    assert smoke() == 2
    assert "no rrmlab repository here" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["reproduce", "figures"])
@pytest.mark.parametrize("same", [True, False])
def test_notebooks_do_not_run_with_the_package_of_another_clone(repository, capsys, command, same):
    repository.write("01_a")
    (repository.root / "rrmlab").mkdir()
    (repository.root / "rrmlab" / "module.py").write_text("x = 1\n" if same else "x = 2\n")
    assert main([command]) == (0 if same else 2)
    assert ("which differs from" in capsys.readouterr().err) != same
    assert same or not (repository.root / "data").exists(), "nothing was begun"


def test_help_reads(capsys):
    for command in ([], ["reproduce"], ["figures"], ["check"]):
        with pytest.raises(SystemExit) as end:
            main([*command, "--help"])
        assert end.value.code == 0
        assert capsys.readouterr().out.startswith("usage: rrmlab")


# ---- pairs ----


def test_figures_writes_pairs_that_check_accepts(repository, capsys):
    code = "import os, sys; print('e', file=sys.stderr); print(preset, recompute, os.getcwd())\n"
    code += "print('10%\\r20%', end='', flush=True); print('\\r30%')\nPath.cwd()"
    repository.write("01_a", code)
    repository.write("02_b", "1 / 0", header="needs: [01_a]")
    assert main(["check"]) == 1
    assert "01_a: its .ipynb is missing; `rrmlab figures 01` writes it" in capsys.readouterr().out
    assert main(["figures"]) == 1  # 02_b fails, and no half of it is written
    assert not (repository.root / "notebooks/02_b.ipynb").exists()
    first = repository.text("notebooks/01_a.ipynb")
    assert "injected" not in first
    out, err, result = json.loads(first)["cells"][-1]["outputs"]
    assert out["text"] == ["paper False ../notebooks\n", "30%\n"]  # as a terminal shows it at the end
    assert err["text"] == ["e\n"] and result["output_type"] == "execute_result"
    (repository.root / "notebooks/02_b.py").unlink()
    assert main(["check"]) == 0
    assert main(["figures", "1"]) == 0
    assert repository.text("notebooks/01_a.ipynb") == first  # not a byte depends on when and where it ran


def test_figures_keeps_a_kernel_and_empties_it(repository, monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    code = "import os; print(os.getpid(), file=open('../pids.txt', 'a')); print('left' in globals()); left = 1"
    for name in ("01_a", "02_b", "03_c"):
        repository.write(name, code)
    assert main(["figures"]) == 0
    assert main(["check"]) == 0  # each cell counted from 1
    for name in ("01_a", "02_b", "03_c"):
        (said,) = json.loads(repository.text(f"notebooks/{name}.ipynb"))["cells"][-1]["outputs"]
        assert said["text"] == ["False\n"], name
    pid, *others = repository.text("pids.txt").split()
    assert others == [pid, pid]
    for _ in range(100):
        ended, status = os.waitpid(int(pid), os.WNOHANG)
        if ended:
            break
        time.sleep(0.1)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL and ended


def test_check_tells_what_is_wrong(repository, capsys):
    repository.write("01_a", "print('/ho' + 'me/x')\nraise KeyError(1)")
    path = repository.root / "notebooks/01_a.ipynb"

    def code(source: str, count: int, *outputs: dict) -> dict:
        facts = {"cell_type": "code", "metadata": {}, "execution_count": count, "outputs": outputs}
        return facts | {"source": [source]}

    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# 01_a"]},
        code("another", 2, {"output_type": "stream", "name": "stdout", "text": ["see /home/x\n"]}),
        code("x", 1, {"output_type": "error", "ename": "KeyError", "evalue": "1", "traceback": []}),
        code("y", 3, {"output_type": "display_data", "metadata": {}, "data": {"text/plain": "z" * 1_000_001}}),
    ]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    (repository.root / "notebooks/09_x.ipynb").write_text("{}")
    assert main(["check"]) == 1
    out = capsys.readouterr().out
    for words in (
        "01_a: its .ipynb differs from its source from cell 1 on",
        "01_a: its .ipynb was not run once from top to bottom: its cells count [2, 1, 3]",
        "01_a: cell 1 shows a path of the machine it ran on, '/home/x'",
        "01_a: cell 2 ends in an error, KeyError",
        "01_a: its .ipynb has 1.00 MB, at most 1 MB is kept",
        "09_x.ipynb: has no percent script beside it",
    ):
        assert words in out


def test_figures_refuses_what_would_compute_or_grow(repository, capsys):
    repository.write("01_a", "print('x' * 1_100_000)")
    assert main(["figures"]) == 1
    assert "01_a: failed" in (out := capsys.readouterr().out) and "at most 1 MB is kept" in out
    assert not (repository.root / "notebooks/01_a.ipynb").exists()
    repository.write("01_a", parameters="recompute = True\n")
    assert main(["figures"]) == 2
    assert "recompute = True, it must say False" in capsys.readouterr().err


def test_a_user_without_a_name_or_a_home_folder(repository, monkeypatch):
    """A container that runs with a user number alone."""

    def nobody(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "USERPROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    repository.write("01_a")
    assert smoke() == 0
    with pytest.raises(ValueError, match="path = '~/log-v0': there is no home folder"):
        as_path("~/log-v0")


def test_scrubber_replaces_folders_and_nothing_else():
    scrub = Scrubber(Path("/data/clone/data/runs/quick"), Path("/data/clone"))
    assert scrub("/data/clone/data/runs/quick/figures") == "../figures"
    assert scrub("File '/data/clone/rrmlab/env.py'") == "File '[repository]/rrmlab/env.py'"
    assert scrub("/data/clones and 3/4 of /data") == "/data/clones and 3/4 of /data"
    assert scrub(f"{gettempdir()}/ipykernel_12/345.py:3: UserWarning") == "[cell]:3: UserWarning"
    assert scrub("<Axes at 0x7f00deadbeef>") == "<Axes at 0x...>"


def test_figures_in_another_format_or_width_leave_everything_as_it_is(repository, capsys):
    """What `Study.show` makes of the variables is in test_reading.py."""
    names = ("RRMLAB_FIGURES", "RRMLAB_FIGURE_FORMAT", "RRMLAB_FIGURE_WIDTH")
    repository.write(
        "01_a", f"import os; Path('../seen.txt').write_text(str([os.environ.get(name) for name in {names}]))"
    )
    folder = str(repository.root / "data" / "figures")
    assert main(["figures", "--format", "svg"]) == 0
    assert repository.text("seen.txt") == str([folder, "svg", None])
    assert main(["figures", "--width", "column"]) == 0
    assert repository.text("seen.txt") == str([folder, None, "column"])
    assert "data/figures\n" in capsys.readouterr().out
    assert not (repository.root / "notebooks/01_a.ipynb").exists()


@pytest.mark.parametrize(("option", "value"), [("--format", "jpg"), ("--format", "PDF"), ("--width", "3.5")])
def test_another_format_or_width_is_refused_before_any_work(repository, option, value, capsys):
    repository.write("01_a")
    assert main(["figures", option, value]) == 2
    assert f"argument {option}: invalid choice: '{value}'" in capsys.readouterr().err
    assert repository.order("") == []


def test_sentences_that_follow_from_tables_rename_no_run(repository):
    block = "# %% [markdown]\n# <!-- answer -->\n# **Answer.** {}\n# <!-- /answer -->\n"
    repository.write("01_a", FIGURES)
    path = repository.root / "notebooks" / "01_a.py"
    code = path.read_text()
    path.write_text(code + block.format("Old."))
    assert smoke() == 0 and repository.order() == ["01"]
    path.write_text(code + block.format("New."))
    assert smoke() == 0 and repository.order() == []
    path.write_text(code + block.format("New.") + "\n# %%\n1\n")
    assert smoke() == 0 and repository.order() == ["01"]


@pytest.mark.parametrize(("jobs", "begun"), [(1, "abcd"), (2, "ca")])
def test_of_several_at_a_time_those_begin_first_that_others_need(jobs, begun, tmp_path, capsys):
    needs = {"a": (), "b": (), "c": (), "d": ("c",)}
    order = [source.Notebook(name, tmp_path, {}, needs[name]) for name in needs]
    results = schedule(order, jobs, Kernels({}), lambda notebook: NotebookResult("done"))
    assert {name: result.status for name, result in results.items()} == dict.fromkeys(needs, "done")
    started = re.findall(r"(\w): started", capsys.readouterr().out)
    assert "".join(started).startswith(begun) and started.index("c") < started.index("d")
