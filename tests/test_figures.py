"""Every committed figure is what its notebook draws from the committed tables."""

import runpy
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
RUN = [name for name in NOTEBOOKS if (ROOT / "figures" / "tables" / f"{name}.json").is_file()]  # at full size


@pytest.mark.parametrize("name", RUN)
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_drawn_again_it_is_the_same(name, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "figures" / "tables", tmp_path / "figures" / "tables")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setenv("RRMLAB_OUT", str(tmp_path))
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "figures" / "tables").iterdir()}
    with matplotlib.rc_context():
        runpy.run_path(str(ROOT / "notebooks" / f"{name}.py"))
    plt.close("all")
    committed = sorted(path.name for path in (ROOT / "figures").glob(f"{name}*.png"))
    assert committed
    assert sorted(path.name for path in (tmp_path / "figures").glob("*.png")) == committed
    for figure in committed:
        old, new = (plt.imread(folder / "figures" / figure) for folder in (ROOT, tmp_path))
        assert old.shape == new.shape, figure
        assert np.abs(old - new).mean() < 1e-3, figure
    assert before == {p.name: p.stat().st_mtime_ns for p in (tmp_path / "figures" / "tables").iterdir()}  # only read
    assert not (tmp_path / "data").exists()  # nothing was computed
