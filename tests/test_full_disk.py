"""No room in the middle of a write: a clear error, and everything that was there still is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from soak import cases
from stored_files import (
    LOADERS,
    answer_of,
    content_of,
    files,
    hidden,
    in_child,
    needs_fork,
)

from rrmlab.command import kernels
from rrmlab.game.evaluation import Scores
from rrmlab.storage import new_file, new_folder
from rrmlab.study.notebook import Study
from rrmlab.study.store import read_result, score_result, stored


def table_writer(root):
    study = Study("01_x", "smoke", recompute=True, root=root)
    return lambda: study.table("t", lambda: pd.DataFrame({"x": range(1000)}))


@needs_fork
@pytest.mark.parametrize("kind", ["dataset-v0", "checkpoint", "result", "table", "stamp"])
def test_a_full_disk_is_told_and_nothing_is_lost(made, tmp_path, kind):
    import resource

    place, limits = tmp_path / "there" / "place-v0", cases(4, 60)
    place.parent.mkdir()
    if kind == "table":
        place, write = tmp_path / "figures/tables/01_x_t.csv", table_writer(tmp_path)
    elif kind == "stamp":
        write = lambda: kernels.write(place, "x" * 5_000)  # noqa: E731
    elif kind == "result":
        one = read_result(made / "result")
        scores = [Scores.of(one.rates[k], one.arrays["rewards"][k], 3.0) for k in range(2)]

        def write():
            return stored(tmp_path / "there", "kind", {}, [], lambda at: score_result(at, scores, 1, one.policies))

        place = write()
        largest = max(f.stat().st_size for f in files(place))
        (place / "spec.json").write_text("damaged, so that it is to be written again")
    else:
        saved = LOADERS[kind](made / kind)
        write = lambda: saved.save(place)  # noqa: E731
    if kind != "result":
        write()
        largest = max(f.stat().st_size for f in (files(place) if place.is_dir() else [place]))
    before = None if kind == "result" else content_of(tmp_path)

    def try_all():
        told = []
        for limit in np.linspace(1, largest - 1, limits).astype(int).tolist():
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                write()
                told.append("no error")
            except OSError as error:
                told.append(str(error))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        return told

    told = answer_of(in_child(try_all))
    assert len(told) == limits
    for text in told:
        assert f"{place} could not be written (File too large)" in text
    assert hidden(tmp_path) == []
    if before is not None:
        assert content_of(tmp_path) == before
    write()
    if kind == "result":
        assert read_result(place).seconds == 1.0


def test_a_device_without_room(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / "file").write_text("first")
    no_room = r"could not be written \(No space left on device\); it is as it was before"
    with pytest.raises(OSError, match=f"file {no_room}"), new_file(tmp_path / "file") as beside:
        beside.symlink_to("/dev/full")
        beside.write_text("second")
    with pytest.raises(OSError, match=f"folder {no_room}"), new_folder(tmp_path / "folder") as folder:
        (folder / "a").symlink_to("/dev/full")
        (folder / "a").write_text("x")
    assert {f.name for f in tmp_path.iterdir()} == {"file"} and (tmp_path / "file").read_text() == "first"
