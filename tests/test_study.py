"""A notebook in its users' hands.

Wherever it is started and whatever its parameters are, committed results are safe, nothing is written outside of the
repository, and what is read is what was asked for.
"""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from stored_files import content_of

from rrmlab.study import notebook, places
from rrmlab.study.notebook import Study
from rrmlab.study.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
SLUG = "02_x"


def compute(value, *arguments, **options):
    """A notebook that is run with recompute = True to its end."""
    study = Study(SLUG, *arguments, recompute=True, **options)
    study.table("", lambda: pd.DataFrame({"value": [value]}))
    study.finish()


def read(*arguments, **options):
    """What a notebook that is run with recompute = False draws from."""
    return Study(SLUG, *arguments, **options).table("", None).value[0]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A repository with committed results of the paper preset, alone in a folder; started in its notebooks/."""
    made = tmp_path / "beside" / "clone"
    (made / "notebooks" / "deeper").mkdir(parents=True)
    (made / "pyproject.toml").write_text('[project]\nname = "rrmlab"\n')
    (made / "notebooks" / f"{SLUG}.ipynb").write_text("")
    compute("committed", root=made, users=24)
    monkeypatch.delenv("RRMLAB_OUT", raising=False)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.chdir(made / "notebooks")
    return made


# ---- arguments ----


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("recompute", value) for value in ("false", "False", "true", "", 0, 1, None)),
        *(("preset", value) for value in ("Paper", "", 3, None, ["smoke"])),
        *(("seed", value) for value in ("0", -1, 1.5, True, None, 2**63)),
        *(("device", value) for value in ("gpu", "", 3, None)),
    ],
)
def test_an_argument_that_cannot_be_is_refused_by_name(clone, name, value):
    before = content_of(clone.parent)
    with pytest.raises(ValueError, match=f"^{name}( = |: )"):
        Study(SLUG, **{"preset": "smoke", "recompute": True, name: value})
    assert content_of(clone.parent) == before


# ---- where results lie ----


def started_by_vs_code(clone, monkeypatch):
    monkeypatch.chdir(clone.parent)
    monkeypatch.setattr(sys.modules["__main__"], "__vsc_ipynb_file__", str(clone / "notebooks/x.ipynb"), raising=False)


def started_by_jupyter(clone, monkeypatch):
    monkeypatch.chdir(clone.parent)
    monkeypatch.setenv("JPY_SESSION_NAME", str(clone / "notebooks/x.ipynb"))


STARTS = {
    "in notebooks/": lambda clone, patch: patch.chdir(clone / "notebooks"),
    "at the repository's root": lambda clone, patch: patch.chdir(clone),
    "in a folder of notebooks/": lambda clone, patch: patch.chdir(clone / "notebooks/deeper"),
    "beside the repository, by VS Code": started_by_vs_code,
    "beside the repository, by Jupyter": started_by_jupyter,
}


@pytest.mark.parametrize("start", STARTS)
def test_wherever_it_is_started_it_finds_its_repository(clone, monkeypatch, start):
    STARTS[start](clone, monkeypatch)
    assert read() == "committed"
    compute("small", "smoke")
    assert read("smoke") == "small" and read() == "committed"
    assert [path.name for path in clone.parent.iterdir()] == ["clone"]
    assert sorted(path.name for path in clone.iterdir()) == ["data", "figures", "notebooks", "pyproject.toml"]
    assert [path.name for path in (clone / "data").iterdir()] == ["runs"]


def test_outside_of_a_repository_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "notebook_folders", lambda: [tmp_path])
    monkeypatch.delenv("RRMLAB_OUT", raising=False)
    for recompute in (True, False):
        with pytest.raises(
            FileNotFoundError, match="lies in no rrmlab repository: move it into a clone, or give a root"
        ):
            Study(SLUG, "smoke", recompute)
    assert list(tmp_path.iterdir()) == []


def test_the_commands_folder_goes_first(clone, tmp_path, monkeypatch):
    before = content_of(clone)
    monkeypatch.setenv("RRMLAB_OUT", str(tmp_path / "out"))
    compute("of the run", "smoke")
    assert read("smoke") == "of the run" and content_of(clone) == before
    assert (tmp_path / "out/figures/tables/02_x.csv").is_file()


def test_the_package_of_a_clone_stands_in_for_a_notebook_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert places.find_repository(*places.notebook_folders()) == ROOT


# ---- what is computed, and what is read ----

OTHERS = {
    "a smaller preset": {"preset": "smoke"},
    "another small preset": {"preset": "quick"},
    "another seed": {"seed": 1},
    "a parameter of the notebook's own": {"users": 30},
    "a small preset and another seed": {"preset": "smoke", "seed": 3},
}


@pytest.mark.parametrize("asked", OTHERS.values(), ids=OTHERS)
def test_other_results_do_not_take_the_place_of_committed_ones(clone, capsys, asked):
    before = content_of(clone / "figures")
    with pytest.raises(
        ValueError, match=r"= .* \(stored: .*set recompute = True to compute with this, or give"
    ) as raised:
        read(**asked)
    assert all(f"{name} = {value!r}" in str(raised.value) for name, value in asked.items())
    capsys.readouterr()
    compute("other", **asked)
    preset = asked.get("preset", "paper")
    assert f"Results go to data/runs/{preset}: {next(iter(asked))} = " in capsys.readouterr().out
    assert content_of(clone / "figures") == before
    assert (clone / "data/runs" / preset / "figures/tables/02_x.csv").is_file()
    assert read(**asked) == "other" and read() == "committed"


def test_committed_results_are_replaced_by_the_same_computation(clone):
    compute("again", users=24)
    assert read(users=24) == "again"
    assert not (clone / "data").exists()


def test_what_is_read_says_what_it_is(clone, capsys):
    compute("small", "smoke", seed=5)
    capsys.readouterr()
    read("smoke", seed=5)
    said = capsys.readouterr().out
    for words in ("preset 'smoke'", "device 'cpu'", "seed 5", "4 deployments of 40 TTIs", "2 training seeds"):
        assert words in said
    read()
    assert "preset 'paper'" in (said := capsys.readouterr().out) and "100 deployments of 2,000 TTIs" in said
    assert str(clone) not in said  # outputs are committed


def test_results_of_a_run_are_not_read_as_those_of_other_parameters(clone):
    compute("small", "smoke")
    with pytest.raises(ValueError, match=r"^seed = 1 \(stored: 0\): set recompute = True"):
        read("smoke", seed=1)


def test_sizes_that_changed_since_are_named(clone, monkeypatch):
    compute("small", "smoke")
    fewer = PRESETS["smoke"].__class__(**{**vars(PRESETS["smoke"]), "episodes": 3})
    monkeypatch.setitem(PRESETS, "smoke", fewer)
    with pytest.raises(ValueError, match=r"^episodes = 3 \(stored: 4\): set recompute = True"):
        read("smoke")


def test_a_computation_that_was_cut_off_is_not_read(clone):
    compute("first", "smoke")
    Study(SLUG, "smoke", recompute=True)
    assert read("smoke") == "first", "nothing was written yet"
    Study(SLUG, "smoke", recompute=True).table("", lambda: pd.DataFrame({"value": ["half"]}))
    with pytest.raises(FileNotFoundError, match="02_x was not computed to its end here: set recompute = True"):
        read("smoke")
    compute("second", "smoke")
    assert read("smoke") == "second"


def test_committed_results_that_are_computed_again_stay_theirs_when_that_is_cut_off(clone):
    Study(SLUG, recompute=True).table("", lambda: pd.DataFrame({"value": ["half"]}))
    before = content_of(clone / "figures")
    compute("other", seed=1)
    assert content_of(clone / "figures") == before and read(seed=1) == "other"


# ---- papermill itself ----

CELLS = (
    'preset = "paper"\nrecompute = False\nseed = 0',
    "import pandas as pd\nfrom rrmlab.study.notebook import Study",
    f'study = Study("{SLUG}", preset, recompute, "cpu", seed)',
    'study.table("", lambda: pd.DataFrame({"value": ["other"]}))\nstudy.finish()',
)


@pytest.mark.parametrize(
    ("parameters", "status", "written"),
    [
        ({"preset": "smoke", "recompute": "false"}, 1, []),
        ({"preset": "smoke"}, 1, []),
        ({"preset": "smoke", "recompute": "True"}, 0, ["data/runs/smoke"]),
    ],
)
def test_papermill_at_the_root_of_the_repository(clone, parameters, status, written):
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    cells[0].metadata.tags = ["parameters"]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), clone / "notebooks" / f"{SLUG}.ipynb")
    before = content_of(clone)
    given = [word for name, value in parameters.items() for word in ("-p", name, value)]
    command = [sys.executable, "-m", "papermill", f"notebooks/{SLUG}.ipynb", os.devnull, "--no-progress-bar", *given]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert (done.returncode != 0) == bool(status), done.stderr
    after = content_of(clone)
    assert {path: after[path] for path in before} == before
    assert sorted({"/".join(path.split("/")[:3]) for path in after.keys() - before.keys()}) == written
    assert [path.name for path in clone.parent.iterdir()] == ["clone"]
