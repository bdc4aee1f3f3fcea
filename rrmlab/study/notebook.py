"""What every notebook of the study needs: sizes by preset, stored tables, saved figures, provenance.

A notebook lives two lives. Run with `recompute`, it computes its tables, stores them and draws from them. Read, it
draws from the stored tables alone. `Study.table` is where the two part; everything after it is the same.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure

from ..config import NetworkConfig
from ..memory import peak_memory_gib
from ..storage import CorruptFileError, new_file, read_json
from .jobs import Scoring
from .store import read_table

PACKAGES = (
    "rrmlab",
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "matplotlib",
    "seaborn",
    "minari",
    "gymnasium",
    "safetensors",
)


@dataclass(frozen=True)
class Preset:
    """Sizes of the study, all `study`.

    Attributes:
        duration: what all notebooks take, in words.
        episode_ttis: counted TTIs of an episode, for collecting and for scoring.
        episodes: evaluation deployments.
        transitions: of each dataset.
        updates: gradient steps of offline training.
        seeds: training seeds where claims are judged at one point.
        sweep_seeds: training seeds at each point of a sweep.
        tuning_episodes, tuning_updates, tuning_seeds: the same for a tuning trial, on validation deployments.
        oracle_steps: gradient steps of the observed oracles.
        envs: environments of an online training.
    """

    duration: str
    episode_ttis: int
    episodes: int
    transitions: int
    updates: int
    seeds: int
    sweep_seeds: int
    tuning_episodes: int
    tuning_updates: int
    tuning_seeds: int
    oracle_steps: int
    envs: int


PRESETS = {
    "smoke": Preset(
        duration="seconds a notebook",
        episode_ttis=40,
        episodes=4,
        transitions=1_600,
        updates=20,
        seeds=2,
        sweep_seeds=2,
        tuning_episodes=4,
        tuning_updates=10,
        tuning_seeds=1,
        oracle_steps=10,
        envs=10,
    ),
    "quick": Preset(
        duration="minutes in all",
        episode_ttis=400,
        episodes=24,
        transitions=32_000,
        updates=300,
        seeds=3,
        sweep_seeds=2,
        tuning_episodes=12,
        tuning_updates=200,
        tuning_seeds=1,
        oracle_steps=100,
        envs=80,
    ),
    "paper": Preset(
        duration="full size, about 2.5 hours on 2 cores",
        episode_ttis=2_000,
        episodes=100,
        transitions=320_000,
        updates=2_000,
        seeds=10,
        sweep_seeds=5,
        tuning_episodes=60,
        tuning_updates=1_000,
        tuning_seeds=2,
        oracle_steps=1_500,
        envs=80,
    ),
}


class Study:
    """One notebook's sizes, tables and figures. Paths are relative to the folder of the notebooks.

    Args:
        slug: the notebook's name, such as "04_training_paradigms".
        preset: "smoke", "quick" or "paper".
        recompute: compute the tables; False reads them.
        device: where the learners train.
        seed: first training seed, and seed of the deployments.
        root: folder above `figures` and `data`.

    Raises:
        ValueError: an unknown preset, a device that is not there, or a negative seed.
    """

    def __init__(
        self,
        slug: str,
        preset: str = "paper",
        recompute: bool = False,
        device: str = "cpu",
        seed: int = 0,
        root: str | Path = "..",
    ) -> None:
        if preset not in PRESETS:
            raise ValueError(f"preset = {preset!r}: must be one of {', '.join(PRESETS)}")
        if seed < 0:
            raise ValueError(f"seed = {seed}: must be at least 0")
        if torch.device(device).type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device = {device!r}: no CUDA device is available; take 'cpu'")
        self.slug, self.recompute, self.device, self.seed = slug, recompute, device, seed
        self.sizes = PRESETS[preset]
        self.network = NetworkConfig(episode_ttis=self.sizes.episode_ttis)
        self.seeds = tuple(range(seed, seed + self.sizes.seeds))
        self.sweep_seeds = self.seeds[: self.sizes.sweep_seeds]
        self.data = Path(root) / "data"
        self.figures = Path(root) / "figures"
        self._parameters = {"preset": preset, "recompute": recompute, "device": device, "seed": seed}
        self._start = time.perf_counter()
        plt.style.use(str(files("rrmlab.study") / "rrmlab.mplstyle"))
        if recompute:
            print(f"Computing at the {preset!r} preset: {self.sizes}")
        else:
            made = self._provenance()
            print(
                f"Drawn from the stored tables (preset {made['parameters'].get('preset')!r}, {made['date']}, "
                f"commit {made['commit'] or 'unknown'}). Set recompute = True to compute them again."
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
            with new_file(path) as beside:
                table.to_csv(beside, index=False)
        elif not path.is_file():
            raise FileNotFoundError(f"{path.name} was not computed yet: set recompute = True")
        return read_table(path, keep_default_na=True)

    def show(self, fig: Figure, name: str = "") -> None:
        """Save a figure as `figures/<slug>[_<name>].pdf` and `.png` (300 dpi), and show it."""
        stem = f"{self.slug}_{name}" if name else self.slug
        # Laid out once; each of the savings would do it twice.
        fig.draw_without_rendering()
        fig.set_layout_engine("none")
        for suffix in (".pdf", ".png"):
            with new_file(self.figures / (stem + suffix)) as beside:
                # No date: the same figure is the same file.
                fig.savefig(beside, metadata={"CreationDate": None} if suffix == ".pdf" else {"Software": None})
        plt.show()

    def finish(self) -> None:
        """Write the provenance of what was computed."""
        if not self.recompute:
            return
        facts = {
            "parameters": self._parameters,
            "sizes": self.sizes.__dict__,
            "network": self.network.to_dict(),
            "seeds": list(self.seeds),
            "versions": self.versions(),
            "commit": package_commit(),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "wall_time_s": round(time.perf_counter() - self._start, 1),
            "processor": _processor(),
            "threads": torch.get_num_threads(),
            "peak_memory_gib": round(peak_memory_gib(), 2),
            "runs": self._specs(),
        }
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

    @staticmethod
    def versions() -> dict[str, str]:
        """Versions of Python and of the packages that decide numbers."""
        return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}

    def _path(self, name: str, suffix: str) -> Path:
        return self.figures / "tables" / ((f"{self.slug}_{name}" if name else self.slug) + suffix)

    def _provenance(self) -> dict[str, Any]:
        path = self._path("", ".json")
        if not path.is_file():
            raise FileNotFoundError(f"{path.name} was not computed yet: set recompute = True, or `rrmlab reproduce`")
        facts = read_json(path)
        if not isinstance(facts.get("parameters"), dict) or not {"date", "commit"} <= facts.keys():
            raise CorruptFileError(f"{path} is not what rrmlab writes (parameters, date, commit): compute it again")
        return facts


def package_commit() -> str:
    """Commit of the package, with "+" where its files were changed since; "" outside a repository."""
    git = ["git", "-C", str(Path(__file__).parents[1])]
    try:
        commit, changed = (
            subprocess.run([*git, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "."])
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + "+" * bool(changed)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.open() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
