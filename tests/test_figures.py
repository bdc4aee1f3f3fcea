"""Every committed figure is what its notebook draws from the committed tables, and no text of it covers another."""

import itertools
import runpy
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from rrmlab.study.notebook import Study

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
RUN = [name for name in NOTEBOOKS if (ROOT / "figures" / "tables" / f"{name}.json").is_file()]  # at full size


def touching(fig: Figure) -> list[tuple[str, str]]:
    """The pairs of texts of a figure whose boxes overlap; slanted ones are not looked at."""
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        draw = Text.draw
        patch.setattr(Text, "draw", lambda text, *rest, **more: (drawn.append(text), draw(text, *rest, **more)))
        FigureCanvasAgg(fig).draw()
    shown = [text for text in dict.fromkeys(drawn) if text.get_visible() and text.get_text().strip()]
    straight = [text for text in shown if text.get_rotation() % 90 == 0]
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in straight]  # of an annotation the text alone

    def overlap(one, other):
        return (np.minimum(one.max, other.max) > np.maximum(one.min, other.min)).all()

    return [(one, other) for (one, a), (other, b) in itertools.combinations(boxes, 2) if overlap(a, b)]


def test_texts_that_touch_are_found():
    fig = Figure()
    fig.text(0.1, 0.1, "ITLinQ")
    fig.text(0.1, 0.12, "TDM")
    fig.text(0.5, 0.5, "C-MARL-CQL")
    fig.text(0.5, 0.5, "")
    assert touching(fig) == [("ITLinQ", "TDM")]


@pytest.mark.parametrize("name", RUN)
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_drawn_again_it_is_the_same(name, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "figures" / "tables", tmp_path / "figures" / "tables")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setenv("RRMLAB_OUT", str(tmp_path))
    covered, show = [], Study.show

    def look(study, fig, *rest, **more):
        show(study, fig, *rest, **more)  # drawing it once more before would move its axes
        covered.extend(touching(fig))

    monkeypatch.setattr(Study, "show", look)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "figures" / "tables").iterdir()}
    with matplotlib.rc_context():
        runpy.run_path(str(ROOT / "notebooks" / f"{name}.py"))
    plt.close("all")
    assert not covered
    committed = sorted(path.name for path in (ROOT / "figures").glob(f"{name}*.png"))
    assert committed
    assert sorted(path.name for path in (tmp_path / "figures").glob("*.png")) == committed
    for figure in committed:
        old, new = (plt.imread(folder / "figures" / figure) for folder in (ROOT, tmp_path))
        assert old.shape == new.shape, figure
        assert np.abs(old - new).mean() < 1e-3, figure
    assert before == {p.name: p.stat().st_mtime_ns for p in (tmp_path / "figures" / "tables").iterdir()}  # only read
    assert not (tmp_path / "data").exists()  # nothing was computed
