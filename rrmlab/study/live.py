"""A curve in a notebook that is drawn anew, in place, while a training runs."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..agents.policy import Policy
from ..game.evaluation import Scores
from ..learning.progress import Evaluation
from . import plotting


class LiveCurve:
    """An `evaluation` that shows the scores so far, a line for each seed, each time that a training calls it.

    `train_offline(data, agent, evaluate_every=100, evaluation=LiveCurve(evaluation))` scores as `evaluation` does.
    Needs IPython, which the extra `notebooks` has.

    Args:
        evaluation: what `train_offline` or `train_online` takes.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        from IPython.display import Image, display

        self._evaluation = evaluation
        self._display: Any = display
        self._image: Any = Image
        self._handle: Any = None  # of the picture in the notebook
        self._scores: list[list[float]] = []  # of every call, those of all seeds

    def __call__(self, policies: list[Policy]) -> list[Scores]:
        """The scores of all seeds, and the picture with them."""
        scores = self._evaluation(policies)
        self._scores.append([each.score for each in scores])
        png = io.BytesIO()
        self.figure([policy.seed for policy in policies]).savefig(png, format="png")
        picture = self._image(png.getvalue())
        if self._handle is None:
            self._handle = self._display(picture, display_id=True)
        else:
            self._handle.update(picture)
        return scores

    def figure(self, seeds: list[int]) -> Figure:
        """The scores so far. The figure is not one of pyplot's, which the notebook would show once more."""
        fig = Figure(figsize=(plotting.COLUMN_IN, 2.4), layout="constrained")
        ax = fig.add_subplot(xlabel="evaluation", ylabel="R_score (bit/s/Hz)")
        calls = range(1, len(self._scores) + 1)
        for seed, values in zip(seeds, zip(*self._scores, strict=True), strict=True):
            ax.plot(calls, values, marker="o", label=f"seed {seed}")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend()
        return fig
