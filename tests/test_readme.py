"""README and documentation say what the tables say, their links lead somewhere, and their examples run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import jupytext
import pandas as pd
import pytest

import rrmlab
from rrmlab.command import readme
from rrmlab.study import answers, practice
from rrmlab.study.figures.system import system_svg

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_numbers_are_those_of_the_tables():
    assert [str(path.relative_to(ROOT)) for path in readme.stale(ROOT)] == []


def test_readme_is_short():
    assert len(page("README.md").splitlines()) <= 120


def test_findings_are_at_most_eight_and_each_has_a_number():
    found = answers.findings(ROOT / "figures/tables")
    assert len(found) <= 8
    assert all(re.search(r"\d\.\d\d", sentence) for sentence in found)


def test_sentences_have_the_numbers_of_the_tables():
    """Each read here once more, in plain pandas."""
    tables = ROOT / "figures/tables"
    scores = pd.read_csv(tables / "04_training_paradigms_summary.csv").set_index("method").score
    first = answers.findings(tables)[0]
    assert re.findall(r"\d\.\d\d", first) == [
        f"{scores[method]:.2f}" for method in ("CTDE-MARL-CQL", "ITLinQ (η = 0.5)", "ITLinQ (tuned)", "Exhaustive")
    ]
    sizes = pd.read_csv(tables / "06_dataset_size_summary.csv")
    sizes = sizes[(sizes.method == "CTDE-MARL-CQL") & (sizes.dataset == "sac")].set_index("num_samples").score
    in_a_row = pd.read_csv(tables / "06_dataset_size_in_a_row.csv").set_index("num_samples").score
    expected = [sizes[n] for n in (5_000, 20_000, 640_000)] + [in_a_row[n] for n in (2_000, 20_000)]
    found = re.findall(r"\d\.\d\d", answers.answer("06_dataset_size", tables))
    assert found == [f"{value:.2f}" for value in expected]
    claims = pd.read_csv(tables / "claims.csv").set_index("id")
    assert answers.answer("08_backbones", tables).count(f"{claims.ours.K8:.3f} [{claims.low.K8:.3f}") == 1


def test_messages_are_a_finding_once_their_table_is_there(tmp_path):
    root = copy_of(tmp_path)
    table = root / f"figures/tables/{answers.MESSAGES}.csv"
    table.unlink(missing_ok=True)
    before = answers.findings(root / "figures/tables")
    rules = "Greedy marginal,28,1.733\nBest subset,24,1.766\n"
    table.write_text("method,exchanged,score\nG-MARL-CQL,76,1.711\nG-formula,76,1.688\nG-MARL-CQL,28,1.6\n" + rules)
    (new,) = set(answers.findings(root / "figures/tables")) - set(before)
    assert new.startswith("Four APs that exchange 76 numbers in a TTI score 1.71")
    for part in ("and 1.69 with Shannon's", "1.73 with 28 (greedy marginal)", "1.77 with 24 (best subset)"):
        assert part in new


def test_a_table_without_the_row_is_named(tmp_path):
    (tmp_path / "claims.csv").write_text("id,ours,low,high\nK1,1,1,1\n")
    with pytest.raises(ValueError, match="claims.csv has no row with {'id': 'K8'}"):
        answers.answer("08_backbones", tmp_path)


def test_every_notebook_has_a_question_and_every_claim_a_sentence():
    assert sorted(answers.NOTEBOOKS) == sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.py"))
    assert list(readme.CLAIMS) == [f"K{n}" for n in range(1, 12)] + [f"N{n}" for n in range(1, 7)]


def test_no_number_of_a_score_is_typed_by_hand():
    """Outside the generated blocks and code, no text has a number with two digits after the point."""
    for path in PAGES:
        text = re.sub(
            r"^<!-- (\w+) -->$.*?^<!-- /\1 -->$|^```.*?^```$|`[^`]*`|\]\([^)]*\)",
            "",
            path.read_text(),
            flags=re.S | re.M,
        )
        found = set(re.findall(r"(?<![\d.])\d\.\d\d+(?![\d.])", text))
        assert found <= {"3.11", "3.12", "3.14"}, path  # versions of Python


NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
RUN = [path for path in NOTEBOOKS if (ROOT / "figures/tables" / f"{path.stem}.json").is_file()]  # at full size


def texts(path: Path) -> list[str]:
    """The Markdown cells of a notebook, without generated blocks, code and formulas."""
    cells = jupytext.read(path, fmt="py:percent").cells
    outside = re.compile(r"^<!-- (\w+) -->$.*?^<!-- /\1 -->$|`[^`]*`|\$[^$]*\$", re.S | re.M)
    return [outside.sub("", cell.source) for cell in cells if cell.cell_type == "markdown"]


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_every_notebook_has_its_answer_under_the_title_and_ends_in_practice(path):
    cells = [c.source for c in jupytext.read(path, fmt="py:percent").cells if c.cell_type == "markdown"]
    title, answer = re.match(
        r"# (\d\d) · .*\n\n<!-- answer -->\n(\*\*Answer\.\*\* .*)\n<!-- /answer -->\n", cells[0], re.S
    ).groups()
    assert title == path.stem[:2]
    assert " ".join(answer.split()) == f"**Answer.** {answers.answer(path.stem, ROOT / 'figures/tables')}"
    headings = [line for cell in cells for line in cell.splitlines() if line.startswith("## ")]
    assert headings[-1] == "## In practice"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_result_is_typed_by_hand_into_a_notebook(path):
    for text in texts(path):
        assert not re.findall(r"(?<![\d.])\d\.\d\d+(?![\d.])", text)
        if "## What follows" in text or "## In practice" in text:
            assert not re.findall(r"\d%", text.partition("## What follows")[2] or text)


def test_advice_has_the_numbers_of_the_tables():
    """Read here once more, in plain pandas."""
    tables = ROOT / "figures/tables"
    scores = pd.read_csv(tables / "02_baselines_summary.csv").set_index("method").score
    first = practice.practice("02_baselines", tables).splitlines()[0]
    assert re.findall(r"\d\.\d\d", first) == [f"{scores[name]:.2f}" for name in ("ITLinQ", "ITLinQ (tuned)")]
    trade = pd.read_csv(tables / "07_lambda_sensitivity_summary.csv")
    flat = trade[(trade.method == "CTDE-MARL-CQL") & trade.lam.between(0.59, 0.91)].score
    same = f"nearly the same from 0.6 to 0.9 ({flat.min():.2f} to {flat.max():.2f})"
    assert same in " ".join(practice.practice("07_lambda_sensitivity", tables).split())


def test_every_figure_has_a_caption_of_its_own():
    text = page("figures/README.md")
    drawn = {path.stem for path in (ROOT / "figures").glob("*.png")}
    assert set(re.findall(r"(?m)^## (\w+)$", text)) == drawn
    captions = {k: v for path in NOTEBOOKS for k, v in readme.captions(path.with_suffix(".ipynb")).items()}
    assert set(captions) == drawn
    for name, caption in captions.items():
        assert len(caption) > 100 and caption in text, name
        # It says what its intervals are, or why there are none.
        assert re.search(r"interval|[Bb]ars: from|[Oo]ne (draw|episode|TTI)|Map of|pooled over", caption), name


def test_notebooks_follow_a_table_that_changes_and_newer_ones_stay(tmp_path):
    root = copy_of(tmp_path)
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    shutil.copy(ROOT / "figures/README.md", root / "figures/README.md")
    assert readme.stale(root) == []
    newer = root / "notebooks/99_newer.py"
    newer.write_text("# %% [markdown]\n# # 99 · New\n#\n# <!-- answer -->\n# <!-- /answer -->\n")
    table = root / "figures/tables/01_environment.csv"
    table.write_text(table.read_text().replace("True", "False", 1))
    assert {path.name for path in readme.stale(root)} == {"README.md", "index.md", "01_environment.py"}
    readme.update(root)
    assert "# **Answer.** 8 of 9 measured" in (root / "notebooks/01_environment.py").read_text()
    pair = root / "notebooks/03_datasets.ipynb"
    pair.write_text(pair.read_text().replace("What the four logs hold", "CHANGED"))
    assert [path.relative_to(root).as_posix() for path in readme.update(root)] == ["figures/README.md"]


def test_the_version_is_the_same_everywhere():
    assert re.search(r"(?m)^version: (.*)$", page("CITATION.cff"))[1] == rrmlab.__version__
    assert re.search(r"(?m)^## \[([\d.]+)\]", page("CHANGELOG.md"))[1] == rrmlab.__version__
    assert 'attr = "rrmlab.__version__"' in page("pyproject.toml")


def test_the_picture_of_the_system_is_the_one_that_the_code_draws():
    assert page("docs/system.svg") == system_svg()
    tree = ElementTree.fromstring(system_svg())
    svg = "{http://www.w3.org/2000/svg}"
    kinds = [line.get("class") for line in tree.iter(f"{svg}line")]
    assert kinds.count("signal") == 3 and kinds.count("interference") == 3 * 2  # one AP of four is silent
    assert {text.text for text in tree.iter(f"{svg}text")} >= {"0", "1", "2", "3", "controller", "interference"}
    x, y, width, height = map(float, tree.get("viewBox").split())
    for circle in tree.iter(f"{svg}circle"):
        assert x < float(circle.get("cx")) < x + width and y < float(circle.get("cy")) < y + height


def copy_of(tmp_path: Path) -> Path:
    """The pages, and what they are filled from."""
    for folder in ("docs", "figures/tables"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "tests").mkdir()
    for name in ("README.md", "tests/soak.csv", "tests/mutants.csv"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_pages_follow_a_table_that_changes(tmp_path):
    root = copy_of(tmp_path)
    table = root / "figures/tables/claims.csv"
    table.write_text(table.read_text().replace("\nK9,", "\nK9,CHANGED ", 1))
    assert [path.name for path in readme.update(root)] == ["claims.md"]
    assert "CHANGED" in (root / "docs/claims.md").read_text()
    rows = pd.read_csv(table)
    rows.loc[rows.id == "K9", "verdict"] = "undecided"
    rows.to_csv(table, index=False)
    assert {path.name for path in readme.update(root)} == {"README.md", "claims.md"}
    assert "1 ? undecided" in (root / "README.md").read_text()
    assert readme.update(root) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<!-- claims -->", "<!-- claim -->", "claims.md: <!-- claim --> must be one of findings, verdicts"),
        ("<!-- /claims -->", "", "<!-- claims --> must be one of .* and be closed"),
        ("<!-- claims -->", "", "have no block <!-- claims -->"),
    ],
)
def test_a_wrong_block_is_named(tmp_path, old, new, message):
    root = copy_of(tmp_path)
    claims = root / "docs/claims.md"
    claims.write_text(claims.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        readme.filled(root)


def run_blocks(code: str, folder: Path) -> str:
    """Run the code in a process of its own, in the folder, with warnings of users as errors; what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:__main__", "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocks(name: str) -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", page(name), re.S))


def test_example_runs(tmp_path):
    example = blocks("README.md")
    # Smaller numbers, the same lines.
    for large, small in (
        ("50_000", "2_000"),
        ("learning_rate=4e-3", "learning_rate=4e-3, num_updates=20"),
        ("num_episodes=20", "num_episodes=2"),
        ("* 10", "* 2"),
    ):
        assert large in example
        example = example.replace(large, small)
    assert run_blocks(example, tmp_path).count("Scores(sum_rate=") == 3


@pytest.mark.parametrize(
    ("guide", "needs"), [("own_data", ()), ("deploy", ("onnx", "onnxruntime")), ("libraries", ("d3rlpy", "supersuit"))]
)
def test_guides_run(guide, needs, tmp_path):
    for module in needs:
        pytest.importorskip(module)
    code = blocks(f"docs/guides/{guide}.md").replace("num_episodes=20", "num_episodes=2").replace("* 10", "* 2")
    for large, small in (
        ("episode_ttis=500", "episode_ttis=50"),
        ("10_000", "1_000"),
        ("num_updates=300", "num_updates=3"),
        ("num_updates=2_000", "num_updates=3"),
    ):
        code = code.replace(large, small)
    run_blocks(code, tmp_path)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_pictures_exist(path):
    """Those to GitHub's own pages and to the API, which `make docs` makes, aside. Every picture has a text."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text)
    elsewhere = re.compile(r"https?://|\.\./\.\./actions/|(\.\./)*api/")
    missing = [each for each in targets if not elsewhere.match(each) and not (path.parent / each).exists()]
    assert not missing
    assert "![](" not in text and all('alt="' in tag for tag in re.findall(r"<img[^>]*>", text))
