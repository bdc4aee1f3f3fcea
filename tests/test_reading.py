"""Tables as readers get them, in notebooks and in LaTeX, and the widths of figures."""

import json
import re
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from rrmlab.study import explore, places, plotting, reading
from rrmlab.study.notebook import Study, use_style
from rrmlab.study.store import read_table

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "figures" / "tables"
ROWS = pd.DataFrame(
    {
        "method": ["A_b & 50% of $x#1", "λ ≥ {1} ~ ^ \\"],
        "seeds": [10, 0],
        "gamma": [0.5, np.nan],
        "score": [1.3249, 1.0],
        "score_low": [1.2837, 1.0],
        "score_high": [1.356, 1.0],
        "num_samples": [320_000, 5_000],
        "run": ["f00", "f01"],
    }
)


def test_an_interval_is_one_cell_and_what_is_not_used_is_blank():
    made = reading.readable(ROWS)
    assert list(made) == ["method", "seeds", "γ", "R_score", "transitions"]
    assert made.iloc[0, 1:].tolist() == ["10", "0.5", "1.32 [1.28, 1.36]", "320,000"]
    assert made.iloc[1, 1:].tolist() == ["", "", "1", "5,000"]


def test_a_grid_keeps_the_order_of_the_table():
    table = pd.DataFrame(
        {
            "method": ["B", "A", "B"],
            "reports": ["exact", "exact", "20 TTIs late"],
            "score": [1.0, 2.0, 3.0],
            "score_low": [0.9, 1.9, 2.9],
            "score_high": [1.1, 2.1, 3.1],
        }
    )
    made = reading.grid(table, "method", "reports", "score")
    assert list(made) == ["method", "exact", "20 TTIs late"]
    assert made.method.tolist() == ["B", "A"]
    assert made["20 TTIs late"].tolist() == ["3.00 [2.90, 3.10]", ""]


def test_long_texts_are_not_cut_off():
    text = "reason " * 60
    assert text.strip() in reading.shown(pd.DataFrame({"reason": [text.strip()]})).data


def test_latex_has_booktabs_rules_and_special_characters(tmp_path):
    made = reading.latex(ROWS)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{lllll}"):
        assert made.count(rule) == 1
    assert r"A\_b \& 50\% of \$x\#1" in made
    assert r"$\lambda$ $\geq$ \{1\} \textasciitilde" in made
    assert r"\textasciicircum" in made and r"\textbackslash" in made
    assert r"$R_\mathrm{score}$" in made and r"$\gamma$" in made
    assert made == reading.latex(ROWS) and made.isascii()
    for name in ("00_x_summary", "00_x_other"):
        reading.write_table(tmp_path / f"{name}.csv", ROWS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00_x_other.csv",
        "00_x_summary.csv",
        "00_x_summary.tex",
    ]
    assert (tmp_path / "00_x_summary.tex").read_text() == made


def test_committed_latex_is_that_of_the_tables():
    main = {path.stem for path in TABLES.glob("*.csv") if path.stem.endswith(reading.MAIN)}
    assert main == {path.stem for path in TABLES.glob("*.tex")} and "claims" in main
    for name in main:
        text = (TABLES / f"{name}.tex").read_text(encoding="utf-8")
        assert text == reading.latex(read_table(TABLES / f"{name}.csv")) and text.isascii(), name


@pytest.mark.parametrize(("asked", "size", "rows"), [("", 7.16, 1), ("column", 3.5, 3), ("page", 7.16, 1)])
def test_panels_stand_below_each_other_where_a_column_is_asked_for(asked, size, rows, monkeypatch):
    monkeypatch.setenv(plotting.WIDTH, asked)
    fig, axes = plotting.figure(columns=3, width=plotting.PAGE_IN)
    plotting.y_label(axes, "y")
    assert fig.get_figwidth() == size and axes.shape == (3,)
    assert axes[0].get_gridspec().nrows == rows
    assert [ax.get_ylabel() for ax in axes].count("y") == rows
    square = plotting.figure(2, 2, width=plotting.PAGE_IN)[1]
    assert square.shape == (2, 2) and square[0, 0].get_gridspec().nrows == (4 if rows == 3 else 2)
    assert plotting.figure()[0].get_figwidth() == (size if asked else plotting.COLUMN_IN)
    plt.close("all")


@pytest.mark.parametrize(
    ("kind", "width", "made", "inches"),
    [("", "", ["x_y.pdf", "x_y.png"], 7.16), ("svg", "", ["x_y.svg"], 7.16), ("png", "column", ["x_y.png"], 3.5)],
)
def test_figures_are_saved_in_the_format_and_width_that_is_asked_for(kind, width, made, inches, tmp_path, monkeypatch):
    for name, value in ((places.FIGURES, str(tmp_path / "there")), (places.FORMAT, kind), (plotting.WIDTH, width)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    study = object.__new__(Study)
    study.slug, study.figures = "x", tmp_path / "figures"
    bits = []
    with plt.rc_context():
        use_style()
        for _ in range(2):
            study.show(plotting.figure(columns=2, width=plotting.PAGE_IN)[0], "y", "A caption. More\nof it.")
            bits.append([path.read_bytes() for path in sorted((tmp_path / "there").iterdir())])
    assert bits[0] == bits[1] and sorted(path.name for path in (tmp_path / "there").iterdir()) == made
    assert not study.figures.exists() and not plt.get_fignums()
    if made[-1].endswith("png"):
        pixels = int.from_bytes(bits[0][-1][16:20], "big")
        assert pixels == pytest.approx(inches * 300, abs=2)


def test_labels_at_the_ends_do_not_touch():
    _, ax = plotting.figure()
    ax.set_ylim(0, 1)
    ends = {"Random walk": (1.0, 0.5), "TDM": (1.0, 0.501), "Exhaustive": (1.0, 0.1)}
    plotting.end_labels(ax, ends, plotting.style_of)
    places = sorted(text.xyann[1] for text in ax.texts)
    points = ax.get_window_extent().height / ax.figure.dpi * 72
    assert min(np.diff(places)) * points >= plotting.SMALL
    plt.close("all")


def test_the_pictured_tti_is_one_in_which_some_are_silent():
    def recorded(silent):
        users = np.zeros((len(silent), 4), dtype=int)
        for row, number in zip(users, silent, strict=True):
            row[:number] = -1
        unused = np.zeros(0)
        return explore.Recording("x", 500.0, unused, unused, unused, users, unused)

    assert explore.where_silent(recorded([1, 0, 0, 4, 2, 1])) == 4
    assert explore.where_silent(recorded([1, 1, 0, 3])) == 2  # none: the middle


def test_no_text_of_a_figure_is_smaller_than_7_points():
    style = (ROOT / "rrmlab/study/rrmlab.mplstyle").read_text()
    sizes = [
        float(line.split(":")[1])
        for line in style.splitlines()
        if "size:" in line and not re.match("lines|figure|errorbar", line)
    ]
    given = [
        part
        for path in [*(ROOT / "rrmlab/study").rglob("*.py"), ROOT / "rrmlab/network_map.py"]
        for part in path.read_text().replace('"', "").replace(": ", "=").split("fontsize=")[1:]
    ]
    assert len(sizes) == 6 and min(sizes) >= plotting.SMALL
    assert not [part[:10] for part in given if part[0].isdigit() and float(part.split(")")[0].split(",")[0]) < 7]


def test_pictures_of_notebooks_have_two_pixels_for_one():
    for pair in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        outputs = [out for cell in json.loads(pair.read_text())["cells"] for out in cell.get("outputs", [])]
        facts = [out["metadata"].get("image/png", {}) for out in outputs if "image/png" in out.get("data", {})]
        if not (ROOT / "figures/tables" / f"{pair.stem}.json").is_file():
            continue  # not run at full size yet
        assert facts and all(fact.get("width") for fact in facts), pair.name
