"""The study's own notebooks: both lives run, and what is committed is in step."""

import json
from pathlib import Path

import pandas as pd
import pytest

from rrmlab.command.main import main

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
TIDY = {"method", "seed", "sum_rate", "tail_rate", "score"}


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
    assert list(table.id) == [f"K{k}" for k in range(1, 12)]
    for _, row in table.iterrows():
        assert row.verdict.split(":")[0] in ("reproduced", "not reproduced", "reproduced in part", "undecided"), row.id
        assert row.low <= row.ours <= row.high, row.id
        assert (ROOT / "notebooks" / f"{row.notebook}.ipynb").is_file(), row.id


def test_every_figure_has_its_table():
    figures = {path.stem for path in (ROOT / "figures").glob("*.png")}
    assert figures and figures == {path.stem for path in (ROOT / "figures").glob("*.pdf")}
    for stem in figures:
        assert (ROOT / "figures" / "tables" / f"{stem}.csv").is_file(), stem
