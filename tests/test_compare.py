"""A run against the committed tables: the same is the same, what left its interval is told."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from rrmlab.command.compare import compare
from rrmlab.command.main import main

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "figures" / "tables"


@pytest.fixture
def run(tmp_path):
    shutil.copytree(TABLES, tmp_path / "figures" / "tables")
    return tmp_path


def test_the_committed_tables_are_themselves(run, monkeypatch, capsys):
    found = compare(run / "figures" / "tables", TABLES)
    assert len(found) == len(list(TABLES.glob("*_summary.csv")))
    assert (found.inside == found["values"]).all() and (found.deviation == 0).all() and (found.missing == 0).all()
    monkeypatch.chdir(ROOT)
    assert main(["compare", str(run)]) == 0, capsys.readouterr().out


def test_a_value_outside_its_interval_is_told(run, monkeypatch, capsys):
    path = run / "figures" / "tables" / "02_baselines_summary.csv"
    table = pd.read_csv(path)
    row = table.method == "TDM"
    width = table.score_high[row].iloc[0] - table.score_low[row].iloc[0]
    table.loc[row, "score"] += 2 * width
    table[table.method != "Max-SINR"].to_csv(path, index=False)
    found = compare(run / "figures" / "tables", TABLES).set_index("table").loc["02_baselines_summary"]
    assert found["values"] - found.inside == 1
    assert found.missing == len([name for name in table if name.endswith("_low")])
    assert found.deviation == pytest.approx(4)
    assert found["of"] == "TDM score"
    monkeypatch.chdir(ROOT)
    assert main(["compare", str(run)]) == 1
    assert "TDM score" in capsys.readouterr().out


def test_a_folder_that_is_no_run_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["compare", str(tmp_path)]) == 2
    (tmp_path / "figures" / "tables").mkdir(parents=True)
    assert main(["compare", str(tmp_path)]) == 2
    assert "summary table" in capsys.readouterr().err
