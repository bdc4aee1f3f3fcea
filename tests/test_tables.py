"""The tables' rows, and their intervals against a plain implementation that computes them draw by draw."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rrmlab.game import evaluation
from rrmlab.study import tables
from rrmlab.study.store import Result


@pytest.fixture(scope="module")
def results():
    rng = np.random.default_rng(5)
    base = rng.gamma(1.0, 1.0, size=(12, 24))

    def result(name, level, seeds):
        noise = rng.uniform(0.9, 1.1, size=(seeds, 1, 1))
        rates = base * level * noise
        arrays = {"rates": rates, "rewards": rates.sum(-1), "seconds": np.array(1.0)}
        return Result(arrays, [], Path(name))

    return {
        "Random walk": result("walk", 1.0, 1),
        "Exhaustive (λ = 1)": result("oracle", 2.0, 1),
        "ITLinQ": result("itlinq", 1.2, 1),
        "BC": result("bc", 1.5, 6),
    }


def test_ends_are_0_and_100(results):
    table = tables.summary(results, tables.ScoreScale.of(results)).set_index("method")
    for column in ("normalised_score", "normalised_score_low", "normalised_score_high"):
        assert table[column]["Random walk"] == pytest.approx(0)
        assert table[column]["Exhaustive (λ = 1)"] == pytest.approx(100)
    low, value, high = table.loc["BC", ["normalised_score_low", "normalised_score", "normalised_score_high"]]
    assert low < value < high
    assert list(table.seeds) == [0, 0, 0, 6]


PLAIN = {  # of rates (D, J), by the definitions in the README
    "sum_rate": lambda rates: np.mean([sum(users) for users in rates]),
    "tail_rate": lambda rates: np.percentile([rate for users in rates for rate in users], 5),
    "score": lambda rates: np.mean(rates) + 3 * np.percentile(rates.flatten(), 5),
}


def plain_iqm(values):
    """Mean without the lowest and the highest quarter, rounded down."""
    cut = len(values) // 4
    kept = sorted(values)[cut : len(values) - cut]
    return sum(kept) / len(kept)


def plain_contributions(rates, name):
    """Each deployment's contribution to a score: the percentile moves by the share of users below it."""
    low, tail, high = np.percentile(rates, [3, 5, 7])
    below = [np.mean(users <= tail) for users in rates]
    tails = np.array([tail + (high - low) / 0.04 * (np.mean(below) - share) for share in below])
    sums = np.array([sum(users) for users in rates])
    return {"sum_rate": sums, "tail_rate": tails, "score": sums / rates.shape[1] + 3 * tails}[name]


def plain_draws(rates, name):
    """Bootstrap, one replicate after the other: deployments drawn with all seeds, and the change by seeds drawn."""
    seeds, deployments, _ = rates.shape
    pick_deployments = np.random.default_rng([0, deployments]).integers(deployments, size=(1000, deployments))
    pick_seeds = np.random.default_rng([0, deployments, seeds]).integers(seeds, size=(1000, seeds))
    values = [plain_contributions(each, name) for each in rates]
    means = [each.mean() for each in values]
    by_chance = 0.0  # of the variance between seeds, by what a seed is in one deployment
    if seeds > 1:
        rest = [each - each.mean() - np.mean(values, 0) + np.mean(values) for each in values]
        by_chance = np.sum(np.square(rest)) / ((seeds - 1) * (deployments - 1)) / deployments / np.var(means, ddof=1)
    kept, both = [], []
    for common, own in zip(pick_deployments, pick_seeds, strict=True):
        kept.append(plain_iqm([each[common].mean() for each in values]))
        change = plain_iqm([means[seed] for seed in own]) - plain_iqm(means)
        both.append(kept[-1] + change * np.sqrt(1 - by_chance * (seeds - 3) / max(seeds - 1, 1)))
    return np.array([kept, both])


def plain_interval(draws, seeds):
    """Percentiles of both levels' draws, widened by Student's t with Satterthwaite's degrees of freedom."""
    kept, both = draws
    variances = np.var(both - kept), np.var(kept)
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / (seeds - 1))
    wider = stats.t.ppf(0.975, freedom) / 1.959964
    return [np.median(both) + wider * (end - np.median(both)) for end in np.percentile(both, [2.5, 97.5])]


@pytest.mark.parametrize("name", list(tables.SCORES))
def test_intervals_are_those_of_a_plain_implementation(results, name):
    bc, itlinq = results["BC"], results["ITLinQ"]
    values = [plain_iqm([PLAIN[name](rates) for rates in result.rates]) for result in (bc, itlinq)]
    draws = [plain_draws(result.rates, name) for result in (bc, itlinq)]
    assert tables.scored(bc, name) == pytest.approx((values[0], *plain_interval(draws[0], 6)))
    for kind, combine in (("difference", np.subtract), ("ratio", np.divide)):
        expected = combine(*values), *plain_interval(combine(*draws), 6)
        assert tables.paired(bc, itlinq, name, kind) == pytest.approx(expected)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_how_often_the_interval_of_few_seeds_covers(seeds):
    draws = np.random.default_rng(1).normal(size=(1_000, seeds))
    ends = np.array([tables.seeds_interval(values, 500)[1:] for values in draws])
    assert ((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).mean() == pytest.approx(0.95, abs=0.02)  # 2.9 standard errors


def test_runs_on_other_deployments_are_not_paired(results):
    fewer = Result({"rates": results["BC"].rates[:, :9]}, [], Path("fewer"))
    with pytest.raises(ValueError, match=r"\(6, 9, 24\) and \(1, 12, 24\): not the same deployments"):
        tables.paired(fewer, results["ITLinQ"])


def test_rows_name_seeds_conditions_and_runs(results):
    ends = tables.ScoreScale.of(results)
    rows = tables.by_condition(
        {0.5: results, 0.9: results}, "lam", lambda part: tables.seed_rows(part, range(3, 9), ends)
    )
    assert len(rows) == 2 * (3 + 6)
    assert list(rows[(rows.method == "BC") & (rows.lam == 0.9)].seed) == list(range(3, 9))
    assert rows[rows.method == "ITLinQ"].seed.isna().all()
    assert set(rows.run) == {"walk", "oracle", "itlinq", "bc"}
    first = rows[(rows.method == "BC") & (rows.seed == 3)].iloc[0]
    assert first.score == pytest.approx(float(evaluation.score(results["BC"].rates[0])))


def test_interval_over_seeds_holds_the_mean_and_narrows_with_more_seeds():
    values = np.random.default_rng(2).normal(size=400)
    few, many = tables.seeds_interval(values[:10]), tables.seeds_interval(values)
    for value, low, high in (few, many):
        assert low < value < high
    assert many[2] - many[1] < 0.5 * (few[2] - few[1])
    assert tables.seeds_interval(np.full(5, 2.0)) == (2.0, 2.0, 2.0)


def test_over_logs_the_log_is_the_unit():
    """Seeds of one log agree and logs do not: the interval follows the logs, however many seeds each has."""
    rng = np.random.default_rng(0)
    base = rng.gamma(2.0, 0.4, size=(30, 24))

    def learned(level, name):
        return Result({"rates": np.stack([base * level] * 4)}, [], Path(name))

    levels = np.array([1.0, 1.1, 1.2, 1.3, 1.4])
    several = [learned(level, f"log {level}") for level in levels]
    rule = Result({"rates": base[None]}, [], Path("rule"))
    ratio = tables.paired_over_logs(several, [rule], kind="ratio")
    assert ratio[0] == pytest.approx(1.2)
    assert ratio == pytest.approx(tables.seeds_interval(levels, 1000), rel=0.05)  # deployments cancel in a ratio
    assert tables.paired_over_logs(several, several) == pytest.approx((0, 0, 0))
    one = tables.paired(several[0], rule, kind="ratio")
    assert one == pytest.approx((1, 1, 1))
