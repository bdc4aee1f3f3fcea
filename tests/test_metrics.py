"""Scores by hand, and intervals on synthetic data whose truth is known.

Shapes: D evaluation deployments, J users, S training seeds.
"""

import itertools
from pathlib import Path

import numpy as np
import pytest

from rrmlab.game import evaluation
from rrmlab.game.evaluation import score, sum_rate, tail_rate
from rrmlab.study.statistics import (
    bootstrap,
    contributions,
    interval,
    iqm,
    normalised,
    probability_of_improvement,
)
from rrmlab.study.store import Result
from rrmlab.study.tables import paired, scored


def by_hand(values, percent):
    """Percentile with linear interpolation between the order statistics."""
    ranked = sorted(values)
    place = percent / 100 * (len(ranked) - 1)
    low = int(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (place - low) * (ranked[high] - ranked[low])


def some_rates(*shape, seed=0):
    return np.random.default_rng(seed).gamma(2.0, 0.4, shape)


NUMBERS = itertools.count()


def as_result(rates):
    """A stored run of these rates (S, D, J), or (D, J) of a scheduler."""
    rates = rates[None] if rates.ndim == 2 else rates
    arrays = {"rates": rates, "rewards": rates.sum(-1), "seconds": np.array(1.0)}
    return Result(arrays, [], Path(f"run {next(NUMBERS)}"))


def compared(first, second, name="score", kind="ratio"):
    return paired(as_result(first), as_result(second), name, kind)


def width(low_and_high):
    return low_and_high[-1] - low_and_high[-2]


# --- scores -------------------------------------------------------------------------------------------------


def test_scores_of_a_small_example():
    rates = np.array([[0.1, 0.5, 0.9], [0.3, 0.2, 1.6]])  # two deployments, three users
    assert sum_rate(rates) == pytest.approx((1.5 + 2.1) / 2)
    assert tail_rate(rates) == pytest.approx(0.1 + 0.25 * 0.1), "place 0.05 * 5 between the two smallest"
    assert score(rates) == pytest.approx(1.8 / 3 + 3 * 0.125)
    assert score(rates, tail_weight=0.0) == pytest.approx(1.8 / 3)


def test_the_tail_is_pooled_over_deployments():
    poor, rich = np.full((1, 20), 0.1), np.full((1, 20), 2.0)
    rates = np.concatenate([poor, rich, rich])
    assert tail_rate(rates) == pytest.approx(0.1), "5% of all users are poor ones"
    assert tail_rate(rates[:, None]).mean() == pytest.approx((0.1 + 2 + 2) / 3), "which the mean of percentiles hides"
    rates = some_rates(7, 13)
    assert tail_rate(rates) == pytest.approx(by_hand(rates.ravel(), 5), rel=1e-12)


def test_scores_take_leading_dimensions():
    rates = some_rates(2, 4, 6, 5)
    for statistic in (sum_rate, tail_rate, score):
        values = statistic(rates)
        assert values.shape == (2, 4)
        np.testing.assert_allclose(values[1, 2], statistic(rates[1, 2]), rtol=1e-12)
    np.testing.assert_array_equal(rates, some_rates(2, 4, 6, 5), err_msg="inputs are left alone")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], 3.0),
        ([1.0, 5.0], 3.0),
        ([9.0, 1.0, 2.0], 4.0),
        ([9.0, 1.0, 2.0, 4.0], 3.0),  # one from each end
        ([0.0, 1.0, 2.0, 6.0, 100.0], 3.0),
        ([7.0, 0.0, 1.0, 2.0, 3.0, 4.0, -50.0, 100.0], 2.5),  # two from each end
    ],
)
def test_interquartile_mean(values, expected):
    assert iqm(np.array(values)) == pytest.approx(expected)


def test_interquartile_mean_runs_over_the_first_axis():
    values = some_rates(6, 3, 2)
    expected = [[iqm(values[:, a, b]) for b in range(2)] for a in range(3)]
    np.testing.assert_allclose(iqm(values), expected, rtol=1e-12)


def test_normalised():
    assert normalised(1.0, random_walk=1.0, oracle=1.5) == 0
    assert normalised(1.5, random_walk=1.0, oracle=1.5) == 100
    np.testing.assert_allclose(normalised(np.array([0.75, 1.25, 2.0]), 1.0, 1.5), [-50, 50, 200])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([2.0, 3.0], [0.0, 1.0], 1.0),
        ([0.0, 1.0], [2.0, 3.0], 0.0),
        ([1.0, 1.0], [1.0, 1.0, 1.0], 0.5),
        ([1.0, 3.0], [1.0, 2.0, 3.0, 4.0], (0.5 + 2.5) / 8),
    ],
)
def test_probability_of_improvement(first, second, expected):
    first, second = np.array(first), np.array(second)
    assert probability_of_improvement(first, second) == pytest.approx(expected)
    assert probability_of_improvement(second, first) == pytest.approx(1 - expected)


# --- intervals ----------------------------------------------------------------------------------------------


def test_interval_cuts_the_same_from_both_ends():
    draws = np.stack([np.random.default_rng(0).permutation(np.arange(1001.0))] * 2)  # no seeds
    assert interval(draws) == pytest.approx((25, 975))
    assert interval(draws, level=0.5) == pytest.approx((250, 750))


def test_bootstrap_resamples_whole_deployments_and_seeds():
    """All seeds see the same deployments."""
    deployments = 10.0 ** np.arange(4)
    draws = bootstrap(np.stack([deployments, deployments]), 300)
    counts = np.round(draws * 4).astype(int)  # number of times each was picked, as decimal digits
    assert all(sum(int(digit) for digit in str(count)) == 4 for count in counts[0])
    assert len(set(counts[0].tolist())) > 10
    np.testing.assert_array_equal(*draws)  # the seeds do not differ
    copies = np.repeat(some_rates(1, 9, 5), 6, axis=0)
    expected = bootstrap(contributions(copies[:1]), 50)
    np.testing.assert_allclose(bootstrap(contributions(copies), 50), expected, rtol=1e-12)


def test_several_statistics_share_their_draws():
    values = contributions(some_rates(5, 12, 4))
    draws = bootstrap(values, 30)
    assert draws.shape == (2, 30, 3)
    for k in range(3):
        np.testing.assert_allclose(draws[..., k], bootstrap(values[..., k], 30), rtol=1e-12)


def test_few_seeds_widen_the_interval():
    draws = np.random.default_rng(0).normal(size=(2, 4_000)) * [[0.0], [1.0]]  # all of it between seeds
    widths = {seeds: np.ptp(interval(draws, seeds)) for seeds in (2, 3, 10, 1000)}
    assert widths[3] / widths[1000] == pytest.approx(4.303 / 1.962, rel=0.01)  # from a table of Student's t
    assert widths[2] > widths[3] > widths[10] > widths[1000]
    rules = np.stack([draws[1], draws[1]])
    assert interval(rules, 3) == interval(rules, 1) == pytest.approx(np.quantile(draws[1], [0.025, 0.975]))


def test_a_schedulers_interval_comes_from_the_deployments_alone():
    rates = some_rates(30, 8)
    same = np.repeat(rates[:1], 30, axis=0)  # deployments that do not differ
    value, low, high = scored(as_result(same))
    assert low == pytest.approx(value, rel=1e-12)
    assert high == pytest.approx(value, rel=1e-12)
    between_seeds = same[None] * np.array([0.8, 0.9, 1.0, 1.1, 1.2])[:, None, None]
    assert width(scored(as_result(between_seeds))) > 0.1 * value, "seeds that differ do count"


def test_estimate_is_the_interquartile_mean_over_seeds_and_repeats():
    rates = some_rates(5, 30, 8)
    value, low, high = scored(as_result(rates))
    assert value == pytest.approx(iqm([score(r) for r in rates]))
    assert low < value < high
    assert scored(as_result(rates)) == (value, low, high), "deterministic"
    assert scored(as_result(rates[0]))[0] == pytest.approx(float(score(rates[0])))


def test_intervals_are_those_of_the_draws():
    first, second = some_rates(3, 12, 4), some_rates(3, 12, 4, seed=1)
    draws = [bootstrap(rates.sum(-1)) for rates in (first, second)]  # the sum rate is a mean over deployments
    assert draws[0].shape == (2, 1000)
    assert scored(as_result(first), "sum_rate")[1:] == pytest.approx(interval(draws[0], 3), rel=1e-12)
    for kind, combined in (("ratio", draws[0] / draws[1]), ("difference", draws[0] - draws[1])):
        assert compared(first, second, "sum_rate", kind)[1:] == pytest.approx(interval(combined, 3), rel=1e-12)
    fewer = bootstrap(first.sum(-1), 20)
    assert fewer.shape == (2, 20) and not np.array_equal(fewer, bootstrap(first.sum(-1), 20, seed=1))


def test_single_precision_is_averaged_in_double():
    values = np.array([1.0, 1.0 + 2**-23], dtype=np.float32)
    assert iqm(values) == 1 + 2**-24


# --- paired comparisons -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "expected"), [("ratio", 1.0), ("difference", 0.0)])
@pytest.mark.parametrize("shape", [(5, 40, 6), (40, 6)], ids=["learner", "scheduler"])
def test_identical_methods_differ_by_nothing(kind, expected, shape):
    rates = some_rates(*shape)
    assert compared(rates, rates.copy(), kind=kind) == (expected, expected, expected)


def test_a_common_factor_is_a_ratio_without_width():
    rates = some_rates(40, 6)
    assert compared(1.25 * rates, rates) == pytest.approx((1.25, 1.25, 1.25), rel=1e-12)
    learner = rates * np.array([1.1, 1.2, 1.3, 1.4, 1.5])[:, None, None]
    value, low, high = compared(learner, rates)
    assert value == pytest.approx(1.3)
    assert 1.0 < low < 1.3 < high < 1.6, "a learner's seeds remain"


def test_pairing_narrows_the_interval_of_correlated_methods():
    base = some_rates(80, 6) * some_rates(80, 1, seed=1)  # good and bad deployments
    reference, better = base, 1.2 * base + 0.01 * some_rates(80, 6, seed=2)
    for kind, combine, truth in [("ratio", np.divide, 1.2), ("difference", np.subtract, None)]:
        value, low, high = compared(better, reference, "sum_rate", kind)
        apart = combine(*(bootstrap(rates.sum(-1)[None], seed=k) for k, rates in enumerate((better, reference))))
        assert high - low < 0.25 * width(interval(apart))
        assert low <= value <= high
        assert truth is None or value == pytest.approx(truth, rel=0.03)


def test_draws_of_methods_with_other_numbers_of_seeds_are_paired():
    """A learner of any number of seeds and a scheduler are resampled over the same deployments."""
    base = some_rates(50, 6).sum(-1)
    draws = [bootstrap(np.stack([base] * seeds), 40) for seeds in (1, 3, 10)]
    np.testing.assert_allclose(draws[0], draws[1], rtol=1e-12)
    np.testing.assert_allclose(draws[0], draws[2], rtol=1e-12)
    assert not np.allclose(draws[0], bootstrap(base[None], 40, seed=1))


def test_what_cannot_be_paired_is_refused():
    rates = some_rates(3, 20, 6)
    for other in (rates[:, :19], rates[..., :5]):
        with pytest.raises(ValueError, match="not the same deployments"):
            compared(rates, other)
    with pytest.raises(ValueError, match="kind = 'quotient': must be one of difference, ratio"):
        compared(rates, rates, kind="quotient")
    with pytest.raises(ValueError, match="name = 'mean': must be one of sum_rate, tail_rate, score"):
        compared(rates, rates, name="mean")


def test_the_tail_is_the_fifth_percentile():
    assert evaluation.TAIL_PERCENTILE == 5.0
