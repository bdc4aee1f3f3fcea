"""Where the repository of a running notebook is."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

# Environment variables of a notebook that the `rrmlab` command runs.
OUT = "RRMLAB_OUT"  # the folder of its results
FIGURES = "RRMLAB_FIGURES"  # the folder of its figures, if not figures/ there
FORMAT = "RRMLAB_FIGURE_FORMAT"  # of its figures, if not pdf and png


def find_repository(*starts: Path) -> Path | None:
    """The rrmlab repository that holds the first of these folders that lies in one; None if none does."""
    for start in (each.resolve() for each in starts):
        for folder in (start, *start.parents):
            try:
                project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            except (OSError, ValueError, KeyError):
                continue
            if project.get("name") == "rrmlab" and (folder / "notebooks").is_dir():
                return folder
    return None


def notebook_folders() -> list[Path]:
    """Folders in which the running notebook may lie, the surest first.

    Editors start a kernel where they like, papermill where it is called. Visual Studio Code and Jupyter tell the kernel
    the notebook's path; where nothing does, the current folder and then the package's own are taken.
    """
    known = getattr(sys.modules["__main__"], "__vsc_ipynb_file__", None), os.environ.get("JPY_SESSION_NAME")
    return [*(Path(path).parent for path in known if path), Path.cwd(), Path(__file__).parents[2]]
