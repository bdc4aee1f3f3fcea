"""The frame agrees with itself: pyproject.toml, environment.yml, constraints.txt, notebooks and pairs."""

import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def name_of(requirement: str) -> str:
    """The normalised project name of a requirement: 'Minari[hdf5]==0.5.4' is 'minari'."""
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()


def requirements() -> set[str]:
    """Every requirement that pyproject.toml names, extras included, the package itself left out."""
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return {r for entries in lists for r in entries if name_of(r) != "rrmlab"}


def constraints() -> dict[str, str]:
    """Name -> constraint line of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {name_of(line): line for line in lines if line and not line.startswith("#")}


def test_environment_yml_agrees_with_pyproject():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert conda["channels"] == ["conda-forge"]
    assert "python=3.11" in conda["dependencies"]
    pip = next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    assert {"-c constraints.txt", "-e ."} <= set(pip)
    assert sorted(entry for entry in pip if not entry.startswith("-")) == sorted(requirements())


def test_constraints_pin_everything_that_pyproject_names():
    pins = constraints()
    assert sorted(r for r in requirements() if name_of(r) not in pins) == []
    for line in pins.values():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), line
    assert pins["torch"] == "torch==2.13.0"
    assert "rrmlab" not in pins


def test_constraints_agree_with_the_pins_of_pyproject():
    pins = constraints()
    named = {r.split(";")[0] for r in requirements()}  # without the platforms that it is for
    pinned = {name_of(r): r.split("==")[1] for r in named if "==" in r}
    assert {name: pins[name].split("==")[1] for name in pinned} == pinned


def test_extras_reach_everything():
    extras = PROJECT["optional-dependencies"]
    assert extras["dev"] == ["rrmlab[test,bench,docs]"]
    assert "rrmlab[notebooks,interop,deploy,parquet,curves,cluster]" in extras["test"]


def test_versions_of_python_are_the_same_everywhere():
    language = "Programming Language :: Python :: "
    named = [text.removeprefix(language) for text in PROJECT["classifiers"] if text.startswith(language)]
    first, last = (int(version.removeprefix("3.")) for version in (named[0], named[-1]))
    assert named == [f"3.{minor}" for minor in range(first, last + 1)]
    assert PROJECT["requires-python"].startswith(f">=3.{first},<3.{last + 1}")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"(3, {first}) <= sys.version_info[:2] < (3, {last + 1})" in makefile
    assert f"needs Python 3.{first} to 3.{last}," in makefile
    assert {f"python{version}" for version in named} <= set(re.search("for python in (.*); do", makefile)[1].split())
    assert f"Python 3.{first} to 3.{last}," in (ROOT / "README.md").read_text(encoding="utf-8")
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == [named[0], named[-1]]


def test_notebooks_are_in_step_with_their_pairs(capsys, monkeypatch):
    from rrmlab.command.main import main

    if not list((ROOT / "notebooks").glob("*.py")):
        pytest.skip("no notebooks yet")
    monkeypatch.chdir(ROOT)
    assert main(["check"]) == 0, "".join(capsys.readouterr())


def test_the_mutation_runs_files_name_places_of_today():
    """Also each survivor's original line is still there: its mutant is made again by the next run."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    summary, survivors = (pd.read_csv(ROOT / f"tests/{name}.csv") for name in ("mutants", "mutants_survivors"))
    mutated = set(settings["only_mutate"])
    assert {*summary.module, *survivors.module} <= mutated
    text = {module: " ".join((ROOT / module).read_text(encoding="utf-8").split()) for module in mutated}
    for row in survivors.itertuples():
        assert " ".join(row.original.split()) in text[row.module], row
        assert f"def {row.function.split('.')[-1]}(" in text[row.module], row
    tests = [each.partition("::") for each in settings["pytest_add_cli_args_test_selection"]]
    assert all(f"def {test}" in (ROOT / file).read_text(encoding="utf-8") for file, _, test in tests)
