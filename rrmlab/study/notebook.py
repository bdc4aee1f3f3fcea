"""What every notebook of the study needs: sizes by preset, stored tables, saved figures, provenance.

A notebook is used in two ways. Run with `recompute`, it computes its tables, stores them and draws from them. Read, it
draws from the stored tables alone. `Study.table` is where the two part; everything after it is the same.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure

from ..checks import check_kind, known_device, seed_number
from ..config import NetworkConfig
from ..memory import keep_freed_memory
from ..storage import CorruptFileError, new_file, read_json
from .fingerprint import package_commit, package_versions
from .memory_watch import peak_held_gib
from .places import FIGURES, FORMAT, OUT, find_repository, notebook_folders
from .presets import PRESETS
from .reading import folded, picture, write_table
from .scoring import Scoring
from .store import read_table

_HOW_TO_GO_ON = "set recompute = True to compute with this, or give the stored values to read"


class Study:
    """One notebook's sizes, tables and figures.

    Results lie in `figures` and `data` of one folder: of the repository for the `paper` preset, of `data/runs/<preset>`
    in it for the others, as the command `rrmlab reproduce` has it. Committed results are replaced only by results of
    the same preset and parameters; what is computed with others goes to `data/runs/<preset>`.

    Args:
        slug: the notebook's name, such as "04_training_paradigms".
        preset: "smoke", "quick" or "paper".
        recompute: compute the tables; False reads them.
        device: where the learners train.
        seed: first training seed, and seed of the deployments.
        root: folder of `figures` and `data`, in place of the one above.
        parameters: further parameters of the notebook.

    Raises:
        ValueError: an unknown preset, `recompute` that is not True or False, a device that is not there, no seed, or
            parameters that are not those of the stored results which are to be read.
        FileNotFoundError: nothing is stored to be read, or the notebook does not lie in the repository.
        CorruptFileError: the stored provenance is none.
    """

    def __init__(
        self,
        slug: str,
        preset: str = "paper",
        recompute: bool = False,
        device: str = "cpu",
        seed: int = 0,
        root: str | Path | None = None,
        **parameters: Any,
    ) -> None:
        if not isinstance(preset, str) or preset not in PRESETS:
            raise ValueError(f"preset = {preset!r}: must be one of {', '.join(PRESETS)}")
        if not isinstance(recompute, bool):
            raise ValueError(f"recompute = {recompute!r}: must be True or False, spelled like this")
        check_kind("device", device, str)
        self.slug, self.recompute, self.device, self.seed = (
            slug,
            recompute,
            str(known_device(device)),
            seed_number(seed),
        )
        self.sizes = PRESETS[preset]
        self.network = NetworkConfig(episode_ttis=self.sizes.episode_ttis)
        self.seeds = tuple(range(self.seed, self.seed + self.sizes.seeds))
        self.sweep_seeds = self.seeds[: self.sizes.sweep_seeds]
        given = {"preset": preset, "recompute": recompute, "device": self.device, "seed": self.seed}
        self._parameters: dict[str, Any] = given | parameters
        folder = Path(root) if root is not None else self._folder()
        self.data, self.figures = folder / "data", folder / "figures"
        self._start = time.perf_counter()
        use_style()
        if recompute:
            keep_freed_memory()
            peak_held_gib()  # starts to watch
            print(f"Computing at the {preset!r} preset: {self.sizes}.")
        else:
            self._introduce_stored()

    def _folder(self) -> Path:
        """Where results lie, see above. The `rrmlab` command says it by an environment variable."""
        if out := os.environ.get(OUT):
            return Path(out)
        repository, preset = find_repository(*notebook_folders()), self._parameters["preset"]
        if repository is None:
            raise FileNotFoundError("the notebook lies in no rrmlab repository: move it into a clone, or give a root")
        differences = self._differences(repository / "figures")
        if preset == "paper" and not differences:
            return repository
        folder = repository / "data" / "runs" / preset
        if self.recompute:
            print(f"Results go to data/runs/{preset}: {'; '.join(differences)}. The committed ones stay as they are.")
        elif self._provenance(folder / "figures") is None:
            raise ValueError(f"{'; '.join(differences)}: {_HOW_TO_GO_ON}")
        return folder

    def _differences(self, figures: Path) -> list[str]:
        """How the results stored in a folder differ from what this notebook asks for: one text each."""
        stored = self._provenance(figures)
        if stored is None:
            return []
        asked = json.loads(json.dumps(self._parameters))
        if asked["preset"] == stored["parameters"].get("preset"):
            asked |= self.sizes.to_dict()
        made = {**stored["sizes"], **stored["parameters"]}
        names = [name for name in asked if name in made and name != "recompute"]
        return [f"{name} = {asked[name]!r} (stored: {made[name]!r})" for name in names if asked[name] != made[name]]

    def _introduce_stored(self) -> None:
        """Say what is read; an error if it is not what the parameters ask for."""
        made = self._provenance(self.figures)
        if made is None or not made.get("complete", True):
            raise FileNotFoundError(f"{self.slug} was not computed to its end here: set recompute = True")
        if differences := self._differences(self.figures):
            raise ValueError(f"{'; '.join(differences)}: {_HOW_TO_GO_ON}")
        known = ", ".join(f"{name} {value!r}" for name, value in made["parameters"].items() if name != "recompute")
        print(
            f"Drawn from the stored tables ({known}; {made['date']}, commit {made['commit'] or 'unknown'}).\n"
            f"Their sizes: {self.sizes}. Set recompute = True to compute them again."
        )

    @property
    def scoring(self) -> Scoring:
        """Results: the test split."""
        return Scoring(self.network, self.sizes.episodes, self.seed, "test")

    @property
    def tuning(self) -> Scoring:
        """Choices and curves: other deployments, a quarter of the length."""
        network = replace(self.network, episode_ttis=max(20, self.sizes.episode_ttis // 4))
        return Scoring(network, self.sizes.tuning_episodes, self.seed, "validation")

    @property
    def curve(self) -> Scoring:
        """Along a training: a third of the tuning deployments."""
        return replace(self.tuning, episodes=max(2, self.sizes.tuning_episodes // 3))

    def table(self, name: str, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """The table `figures/tables/<slug>[_<name>].csv`: computed and stored, or read.

        Raises:
            FileNotFoundError: it is to be read and was never computed.
            CorruptFileError: what is there is no table.
        """
        path = self._path(name, ".csv")
        if self.recompute:
            table = compute()
            # From here on the stored tables are not all of one computation, until `finish`.
            if (made := self._provenance(self.figures)) is not None:
                self._write_provenance(made | {"complete": False})
            write_table(path, table)
        elif not path.is_file():
            raise FileNotFoundError(f"{path.name} was not computed yet: set recompute = True")
        return read_table(path, keep_default_na=True)

    def table_of(self, slug: str, name: str = "") -> pd.DataFrame:
        """The stored table of another notebook, one of those that the notebook's header needs.

        Raises:
            FileNotFoundError: it was not computed here.
            CorruptFileError: what is there is no table.
        """
        path = self.figures / "tables" / ((f"{slug}_{name}" if name else slug) + ".csv")
        if not path.is_file():
            raise FileNotFoundError(f"{path.name} was not computed here: run notebook {slug} first")
        return read_table(path, keep_default_na=True)

    def show(self, fig: Figure, name: str = "", caption: str = "") -> None:
        """Save a figure as `figures/<slug>[_<name>].pdf` and `.png` (300 dpi), and show it with its caption.

        Args:
            name: of the figure.
            caption: Markdown that explains the figure to who sees nothing else; figures/README.md is made of these.
        """
        stem = f"{self.slug}_{name}" if name else self.slug
        # Laid out once; each of the savings would do it twice.
        fig.draw_without_rendering()
        fig.set_layout_engine("none")
        folder, formats = Path(os.environ.get(FIGURES, self.figures)), os.environ.get(FORMAT, "pdf png").split()
        for kind in formats:
            with new_file(folder / f"{stem}.{kind}") as beside:
                fig.savefig(beside, format=kind, metadata={_TIME[kind]: None})
        caption = " ".join(caption.split())
        display(picture(fig, caption.partition(". ")[0]))
        if caption:
            display(Markdown(f"**Figure {stem}.** {caption}"))
        plt.close(fig)

    def finish(self) -> None:
        """Write the provenance of what was computed."""
        if not self.recompute:
            return
        facts = {
            "parameters": self._parameters,
            "sizes": self.sizes.to_dict(),
            "network": self.network.to_dict(),
            "seeds": list(self.seeds),
            "versions": self.versions(),
            "commit": package_commit(),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "wall_time_s": round(time.perf_counter() - self._start, 1),
            "processor": _processor(),
            "threads": torch.get_num_threads(),
            "peak_memory_gib": round(peak_held_gib()[0], 2),
            "runs": self._specs(),
        }
        self._write_provenance(facts)

    def _write_provenance(self, facts: dict[str, Any]) -> None:
        with new_file(self._path("", ".json")) as beside:
            beside.write_text(json.dumps(facts, indent=1) + "\n")

    def _specs(self) -> dict[str, Any]:
        """What was asked of each stored run that this notebook's tables name in their column `run`."""
        runs: set[str] = set()
        for path in sorted((self.figures / "tables").glob(f"{self.slug}*.csv")):
            table = read_table(path)
            runs |= set(table.run.astype(str)) if "run" in table else set()
        found = {run: next(self.data.glob(f"*/{run}/spec.json"), None) for run in sorted(runs)}
        return {run: read_json(path) for run, path in found.items() if path is not None}

    def folded_versions(self) -> HTML:
        """The versions, folded away."""
        return folded(self.versions())

    @staticmethod
    def versions() -> dict[str, str]:
        """Versions of Python and of the packages that decide numbers."""
        return package_versions()

    def _path(self, name: str, suffix: str) -> Path:
        return self.figures / "tables" / ((f"{self.slug}_{name}" if name else self.slug) + suffix)

    def _provenance(self, figures: Path) -> dict[str, Any] | None:
        """What `finish` wrote beside the tables in a folder of figures; None if nothing."""
        path = figures / "tables" / f"{self.slug}.json"
        if not path.is_file():
            return None
        facts = read_json(path)
        objects = [facts.get(name) for name in ("parameters", "sizes")]
        if not all(isinstance(part, dict) for part in objects) or not {"date", "commit"} <= facts.keys():
            raise CorruptFileError(
                f"{path} is not what rrmlab writes (parameters, sizes, date, commit): compute it again"
            )
        return facts


_TIME = {"pdf": "CreationDate", "png": "Software", "svg": "Date"}  # left out: the same figure is the same file


def use_style() -> None:
    """Draw what follows in the study's style; a `Study` does so itself."""
    plt.style.use(str(files("rrmlab.study") / "rrmlab.mplstyle"))


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.open() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
