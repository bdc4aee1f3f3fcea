"""The study's own notebooks: cells that show the experiment, both lives run, and what is committed is in step."""

import ast
import json
import os
import shutil
from pathlib import Path

import jupytext
import pandas as pd
import pytest
from jupytext.cli import jupytext as sync

from rrmlab.command.kernels import Scrubber, clean, dump
from rrmlab.command.main import main
from rrmlab.command.notebooks import load
from rrmlab.study import claims

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
TIDY = {"method", "seed", "sum_rate", "tail_rate", "score"}
CELL_LINES = 25


def code_cells(name):
    """The sources of a notebook's code cells, in order."""
    cells = jupytext.read(ROOT / "notebooks" / f"{name}.py", fmt="py:percent").cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


def nesting(tree, depth=0):
    """How deep functions stand in functions; lambdas do not count."""
    inside = [nesting(node, depth + isinstance(node, ast.FunctionDef)) for node in ast.iter_child_nodes(tree)]
    return max(inside, default=depth)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_cells_are_short_and_straight(name):
    for cell in code_cells(name):
        first = cell.partition("\n")[0]
        assert len(cell.splitlines()) <= CELL_LINES, f"{name}: the cell that begins with {first!r}"
        assert "functools.cache" not in cell and "lru_cache" not in cell, first
        assert nesting(ast.parse(cell)) <= 1, first


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_pictures_are_drawn_by_the_package(name):
    assert not any("matplotlib" in cell or "plotting." in cell or "seaborn" in cell for cell in code_cells(name))


@pytest.mark.parametrize("newer", [".py", ".ipynb"])
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_syncing_a_pair_that_is_in_step_changes_neither_half(name, newer, tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)  # jupytext's settings
    script = tmp_path / "notebooks" / f"{name}.py"
    script.parent.mkdir()
    shutil.copy(ROOT / "notebooks" / script.name, script)
    pair = script.with_suffix(".ipynb")
    pair.write_text(dump(clean(load(script), name, Scrubber(tmp_path, tmp_path))))
    before = script.read_bytes(), pair.read_bytes()
    later = script.stat().st_mtime + 10
    os.utime(script.with_suffix(newer), (later, later))
    for half in (script, pair):
        sync(["--sync", str(half), "--quiet"])
        assert (script.read_bytes(), pair.read_bytes()) == before


@pytest.mark.parametrize("name", [name for name in NOTEBOOKS if "02" <= name[:2] <= "09"])
def test_the_experiment_is_shown_before_it_runs(name):
    """Its table is the result of a cell, and stands in front of the first cell that computes."""
    cells = code_cells(name)
    shown = [k for k, cell in enumerate(cells) if "experiment_table(" in cell or "experiment = pd.DataFrame(" in cell]
    computes = [k for k, cell in enumerate(cells) if "if study.recompute" in cell or "study.table(" in cell]
    assert shown and computes and shown[0] < computes[0]
    assert isinstance(ast.parse(cells[shown[0]]).body[-1], ast.Expr)


@pytest.mark.longest
def test_all_run_at_the_smoke_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["reproduce", "--preset", "smoke", "--out", str(tmp_path)]) == 0
    for name in NOTEBOOKS:
        assert list((tmp_path / "figures").glob(f"{name}*.pdf")), name
        for made in (f"tables/{name}.csv", f"tables/{name}.json"):
            assert (tmp_path / "figures" / made).stat().st_size > 0, made


def test_pairs_and_readme_are_in_step(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name in NOTEBOOKS if "02" <= name[:2] <= "09"])
def test_main_tables_are_tidy(name):
    path = ROOT / "figures" / "tables" / f"{name}.csv"
    rows, made = pd.read_csv(path), json.loads(path.with_suffix(".json").read_text())
    assert set(rows.columns) >= TIDY | {"normalised_score", "run"}
    assert made["parameters"]["preset"] == "paper"
    assert set(rows.run) <= made["runs"].keys()  # each row's configuration


def test_every_claim_has_a_verdict():
    table = pd.read_csv(ROOT / "figures" / "tables" / "claims.csv")
    assert list(table.id) == list(claims.CLAIMS)
    for _, row in table.iterrows():
        assert row.verdict.split(":")[0] in ("reproduced in part", *claims.VERDICTS), row.id
        assert row.low <= row.ours <= row.high, row.id
        assert (ROOT / "notebooks" / f"{row.notebook}.ipynb").is_file(), row.id


def test_every_figure_has_its_table():
    figures = {path.stem for path in (ROOT / "figures").glob("*.png")}
    assert figures and figures == {path.stem for path in (ROOT / "figures").glob("*.pdf")}
    for stem in figures:
        assert (ROOT / "figures" / "tables" / f"{stem}.csv").is_file(), stem
