"""How often the 95% intervals hold the truth: simulated experiments of few training seeds, single and paired.

Shapes: S training seeds, D evaluation deployments, J users.
"""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from soak import cases

from rrmlab.game.evaluation import score
from rrmlab.study import tables
from rrmlab.study.statistics import contributions
from rrmlab.study.store import Result

DEPLOYMENTS, USERS = 100, 24  # of the study
# Standard deviations, relative to a rate, of effects of: a seed; a seed in a deployment; a method in a deployment; a
# method on a user; a seed on a user. Seeds of the study's learners differ by 0.2 to 1% in R_score.
SPREADS = {
    "seeds hardly differ": (0.002, 0.02, 0.02, 0.03, 0.03),
    "as measured": (0.01, 0.02, 0.02, 0.03, 0.03),
    "seeds differ most": (0.03, 0.03, 0.03, 0.03, 0.03),
}


def some_rates(rng, deployments):
    """Rates (D, J) of users in good and bad deployments."""
    better = np.exp(0.25 * rng.standard_normal((deployments, 1)))
    return rng.gamma(2.5, 0.25, (deployments, USERS)) * better


def learned(rng, base, seeds, spread):
    """Rates (S, D, J) of a method that is as good as any other."""
    seed, meeting, method, user, seed_user = spread
    deployments, users = base.shape
    effects = seed * rng.standard_normal((seeds, 1, 1)) + meeting * rng.standard_normal((seeds, deployments, 1))
    effects = effects + method * rng.standard_normal((deployments, 1)) + user * rng.standard_normal(base.shape)
    return base * np.abs(1 + effects + seed_user * rng.standard_normal((seeds, deployments, users)))


def as_result(rates, name):
    return Result({"rates": rates}, [], Path(name))


def coverage(seeds, spread, trials):
    """Shares of experiments in which the intervals of a score, of a difference and of a ratio hold the truth."""
    rng = np.random.default_rng(seeds)
    _, meeting, method, user, seed_user = spread
    # Of a typical seed: the effects are symmetric, so are the seeds' scores about it.
    many = some_rates(rng, 50_000)
    truth = float(score(learned(rng, many, 1, (0.0, meeting, method, user, seed_user))[0]))
    inside = np.zeros(3)
    for trial in range(trials):
        base = some_rates(rng, DEPLOYMENTS)
        first, second = (as_result(learned(rng, base, seeds, spread), f"{trial} {seeds} {k}") for k in range(2))
        found = tables.scored(first), tables.paired(first, second), tables.paired(first, second, kind="ratio")
        inside += [low <= true <= high for (_, low, high), true in zip(found, (truth, 0.0, 1.0), strict=True)]
        tables._DRAWN.clear()
    return inside / trials


# What is held, by the number of seeds, whatever the spreads: of three seeds nobody can tell how much seeds differ.
HELD = {1: (0.94, 0.96), 3: (0.92, 0.98), 5: (0.935, 0.965), 10: (0.94, 0.965)}


def check_coverage(seeds, spread, trials):
    found = coverage(seeds, spread, trials)
    print(f"S = {seeds}, {trials} trials: single {found[0]:.3f}, difference {found[1]:.3f}, ratio {found[2]:.3f}")
    low, high = HELD[seeds]
    # One false alarm in 10,000 of each interval: binomial.
    assert (found * trials >= stats.binom(trials, low).ppf(1e-4)).all(), found
    assert (found * trials <= stats.binom(trials, high).ppf(1 - 1e-4)).all(), found


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_coverage_of_few_seeds(seeds, spread):
    check_coverage(seeds, SPREADS[spread], cases(40, 1_000))


def test_a_schedulers_interval_covers():
    """S = 1: deployments alone."""
    check_coverage(1, (0.0, 0.0, 0.02, 0.03, 0.0), cases(40, 1_000))


def test_contributions_average_to_the_scores():
    rates = some_rates(np.random.default_rng(0), 40)[None] * np.array([1.0, 1.1])[:, None, None]
    means = contributions(rates).mean(1)
    for k, statistic in enumerate(tables.SCORES.values()):
        np.testing.assert_allclose(means[:, k], statistic(rates), rtol=1e-12)


def test_contributions_of_the_tail_are_its_derivative():
    """Weights of the deployments changed a little move a large sample's percentile as the contributions say."""
    rng = np.random.default_rng(1)
    rates = some_rates(rng, 20_000)
    tails = contributions(rates)[:, 1]
    more = rates.mean(1) > np.median(rates.mean(1))  # of the better half of the deployments 10% more
    again = np.concatenate([rates, rates[more][::10]])
    expected = np.concatenate([tails, tails[more][::10]]).mean()
    moved = np.percentile(again, 5) - np.percentile(rates, 5)
    assert moved > 0
    assert expected - np.percentile(rates, 5) == pytest.approx(moved, rel=0.15)
