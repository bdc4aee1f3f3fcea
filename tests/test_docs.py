"""The documentation: what the build adds and refuses. The whole of it is built by `make docs`."""

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("mkdocs")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("griffe")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs/hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_check(hooks, tmp_path, html):
    (tmp_path / "page.html").write_text(f"<html><body>{html}</body></html>", encoding="utf-8")
    hooks.on_post_build(SimpleNamespace(site_dir=str(tmp_path)))


def test_a_page_that_is_whole_passes(hooks, tmp_path):
    (tmp_path / "a.png").touch()
    link = '<a href="https://example.org">there</a> <a href="#here">here</a> <a href="page.html#here">here</a>'
    build_check(hooks, tmp_path, f'{link}<img src="a.png" alt="a picture">')


@pytest.mark.parametrize(
    ("html", "message"),
    [
        ('<a href="other.html">x</a>', "leads to other.html, which is not there"),
        ('<img src="b.png" alt="x">', "leads to b.png"),
        ('<script src="https://example.org/x.js"></script>', "<script> loads https://example.org/x.js"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "<link> loads //example.org/x.css"),
        ("<script>await import('https://example.org/x.js')</script>", "https://example.org/x.js"),
        ('<img src="page.html">', "a picture without a text"),
    ],
)
def test_what_is_not_there_or_loaded_from_elsewhere_is_named(hooks, tmp_path, html, message):
    from mkdocs.exceptions import PluginError

    with pytest.raises(PluginError, match=re.escape(message)):
        build_check(hooks, tmp_path, html)


def test_every_formula_is_drawn_and_every_picture_has_a_text(hooks):
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = hooks.rendered(nbformat.read(path, 4), path.stem)
        assert all("$" not in cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        pictures = [output for output in outputs if "image/png" in output.get("data", {})]
        assert all(output.metadata["image/png"]["alt"] for output in pictures)
    assert 'alt="L(d)"' in hooks.formula(re.match(r"(.*)", "L(d)"))


def test_every_notebook_in_its_order_and_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r"[\w/.]+\.(?:md|ipynb)", text)
    notebooks = sorted(f"notebooks/{path.stem}.ipynb" for path in (ROOT / "notebooks").glob("[0-9]*.py"))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert [each for each in named if each.startswith("notebooks/")] == notebooks
    assert pages <= set(named)


def test_the_api_has_a_page_for_the_public_names_and_for_each_room(hooks):
    import rrmlab

    pages = hooks.api_pages()
    assert set(pages) == {"public", "game", "agents", "learning", "interop"}
    assert pages["public"].count("::: rrmlab.") == len(rrmlab.__all__)
    for room in ("game", "agents", "learning"):
        for path in (ROOT / "rrmlab" / room).glob("[a-z]*.py"):
            assert f"::: rrmlab.{room}.{path.stem}\n" in pages[room]
