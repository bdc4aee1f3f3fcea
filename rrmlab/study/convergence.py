"""Verdicts of notebook 10: from which log training converges, what tells so beforehand, and how α and λ are chosen.

Shapes: L logs drawn anew, one training of each, D evaluation deployments, J users.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..game.evaluation import score
from . import statistics
from .claims import combine_verdicts, verdict_above, verdict_within
from .tables import Interval, columns

SPREAD = 0.1  # of R_score over logs and seeds, at most this for "converged", `study`
FLAT = 0.02  # change of R_score in the last quarter of a training, at most this, `study`
MEASURES = {  # columns of the tables, and what they are in figures
    "num_samples": "transitions",
    "effective_size": "effective sample size",
    "joint_actions": "joint actions seen",
    "randomness": "entropy given the state",
    "mean_reward": "reward in the log",
    "author_score": "author's own R_score",
    "fqe_joint": "fitted Q, joint critic",
    "fqe_sum": "fitted Q, additive critic",
    "fqe_least": "fitted Q, lesser of both",
}
CHOICES = {  # of α: column, and whether the largest is best
    "fitted Q, joint": ("fqe_joint", True),
    "fitted Q, additive": ("fqe_sum", True),
    "fitted Q, lesser": ("fqe_least", True),
    "held-out TD error": ("td_error", False),
    "importance sampling": ("sampled", True),
}


def lead(rates: np.ndarray, baseline: np.ndarray) -> Interval:
    """R_score minus a baseline's on the same deployments, over logs and deployments: rates (L, D, J) and (D, J)."""
    picks = np.random.default_rng(0).integers(len(baseline), size=(400, len(baseline)))
    draws = score(rates[:, picks]).mean(0) - score(baseline[picks])
    return statistics.t_interval(score(rates) - score(baseline), draws)


def verdict(rates: np.ndarray, before: np.ndarray, baseline: np.ndarray) -> dict[str, object]:
    """Whether the trainings on L logs converged: R_score above the baseline's, its spread over logs and seeds at most
    `SPREAD`, its change in the last quarter within `FLAT`; each tested at 95%.

    Args:
        rates: (L, D, J) at the end.
        before: (L,) R_score at three quarters of the training.
        baseline: (D, J).

    Returns:
        score, the mean; lead, spread and change, each with <name>_low and <name>_high; parts, the three verdicts in the
        words of claims; verdict: "converged" if all three hold, "not converged: ..." with those that do not, or
        "undecided: ...".
    """
    found = {
        "lead": lead(rates, baseline),
        "spread": statistics.spread_interval(score(rates)),
        "change": statistics.t_interval(score(rates) - before),
    }
    spread = found["spread"]
    parts = {
        "above the baseline": verdict_above(found["lead"]),
        "seeds agree": "reproduced" if spread[2] < SPREAD else "not reproduced" if spread[1] > SPREAD else "undecided",
        "flat": verdict_within(found["change"], FLAT),
    }
    row: dict[str, object] = {"score": float(score(rates).mean())}
    for name, interval in found.items():
        row |= columns(name, interval)
    failed = [name for name, word in parts.items() if word == "not reproduced"]
    opened = [name for name, word in parts.items() if word == "undecided"]
    text = f"not converged: {', '.join(failed)}" if failed else f"undecided: {', '.join(opened)}"
    return row | {"verdict": text if failed or opened else "converged", "parts": combine_verdicts(parts)}


def smallest(table: pd.DataFrame, good: pd.Series) -> pd.DataFrame:
    """The smallest log from which on every size is good: a row per learner, a column per author; "none" if there is
    none, NaN where the learner was not tried.

    Args:
        table: columns method, author, num_samples.
        good: of each row, for example whether the training converged.
    """
    found: dict[str, dict[str, object]] = {}
    for (method, author), part in table.assign(good=good).groupby(["method", "author"], sort=False):
        part = part.sort_values("num_samples", ascending=False)
        enough = part[part.good.cummin()]
        found.setdefault(method, {})[author] = f"{enough.num_samples.min():,}" if len(enough) else "none"
    return pd.DataFrame(found).T


def correlations(rows: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of each measure with R_score over all logs, authors and sizes: columns method, measure, n,
    correlation with interval. Rows: columns method, author, log, score and those of `MEASURES`."""
    found = []
    for method, part in rows.groupby("method", sort=False):
        groups = (part.author + part.log.astype(str)).to_numpy()
        for measure in MEASURES:
            known = part[measure].notna().to_numpy()
            if part[measure][known].nunique() < 2:
                continue
            values, scores = (part[name].to_numpy()[known] for name in (measure, "score"))
            interval = statistics.rank_correlation(values, scores, groups[known])
            found.append({"method": method, "measure": measure, "n": known.sum()} | columns("correlation", interval))
    return pd.DataFrame(found)


def regrets(rows: pd.DataFrame, fixed: Sequence[float]) -> pd.DataFrame:
    """What choosing α costs against the best in hindsight, on each log, as a share of its R_score.

    Args:
        rows: columns method, author, log, alpha, score and those of `CHOICES`.
        fixed: α that are the same for every log, as they are compared with.

    Returns:
        method, author, log, choice, alpha, regret.
    """
    found = []
    for (method, author, log), part in rows.groupby(["method", "author", "log"], sort=False):
        part, best = part.set_index("alpha"), part.score.max()
        chosen = {f"α = {alpha:g}": alpha for alpha in fixed}
        for choice, (column, largest) in CHOICES.items():
            if part[column].notna().any():
                chosen[choice] = part[column].idxmax() if largest else part[column].idxmin()
            else:  # nothing to choose by
                chosen[choice] = fixed[0]
        facts = {"method": method, "author": author, "log": log}
        for choice, alpha in chosen.items():
            found.append(facts | {"choice": choice, "alpha": alpha, "regret": 1 - part.score[alpha] / best})
    return pd.DataFrame(found)


def tail_errors(rows: pd.DataFrame, targets: Sequence[float], fixed: float) -> pd.DataFrame:
    """How far the 5-percentile rate is from a target, in bit/s/Hz, by how λ is chosen.

    Args:
        rows: columns author, log, lam, tail_rate, predicted_tail.
        targets: 5-percentile rates, bit/s/Hz.
        fixed: λ that is the same for every log and target.

    Returns:
        author, log, target, choice ("hindsight", "from the log", "λ = ..."), lam, error.
    """
    found = []
    for (author, log), part in rows.groupby(["author", "log"], sort=False):
        part = part.set_index("lam")
        for target in targets:
            known = part.predicted_tail.dropna()
            chosen = {
                "hindsight": (part.tail_rate - target).abs().idxmin(),
                "from the log": (known - target).abs().idxmin() if len(known) else fixed,
                f"λ = {fixed:g}": fixed,
            }
            facts = {"author": author, "log": log, "target": target}
            for choice, lam in chosen.items():
                error = abs(part.tail_rate[lam] - target)
                found.append(facts | {"choice": choice, "lam": lam, "error": error})
    return pd.DataFrame(found)


def means(table: pd.DataFrame, keys: Sequence[str], value: str) -> pd.DataFrame:
    """Mean of a value over logs with its 95% interval, by the keys; the number of values in the column n."""
    rows = []
    for key, part in table.groupby(list(keys), sort=False):
        facts = dict(zip(keys, key, strict=True)) | {"n": len(part)}
        rows.append(facts | columns(value, statistics.t_interval(part[value].to_numpy())))
    return pd.DataFrame(rows)
