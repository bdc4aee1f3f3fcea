"""Verdicts follow from intervals, and what is gathered is what the notebooks' tables say."""

import pandas as pd
import pytest

from rrmlab.study import claims, paper_claims, sweep_claims

GOOD, BAD, OPEN = (0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), (0.1, -0.1, 0.3)
GAINS = (1.14, 1.1, 1.18), (1.2, 1.16, 1.25), (1.1, 0.9, 1.2), (0.9, 0.8, 1.0)  # ratios to a baseline, see K1


@pytest.mark.parametrize(
    ("interval", "threshold", "verdict"),
    [
        (GOOD, 0.0, "reproduced"),
        (BAD, 0.0, "not reproduced"),
        (OPEN, 0.0, "undecided"),
        (GOOD, 0.15, "undecided"),
        (GOOD, 0.4, "not reproduced"),
    ],
)
def test_verdict_of_an_interval(interval, threshold, verdict):
    assert claims.verdict_above(interval, threshold) == verdict


def test_verdict_of_several_parts():
    assert claims.verdict_all_above({"a": GOOD, "b": GOOD}) == "reproduced"
    assert claims.verdict_all_above({"a": BAD, "b": BAD}) == "not reproduced"
    assert claims.verdict_all_above({"a": OPEN, "b": OPEN}) == "undecided"
    mixed = claims.verdict_all_above({"a": GOOD, "b": OPEN, "c": BAD})
    assert mixed == "reproduced in part: a; not reproduced: c; undecided: b"
    assert claims.verdict_all_above({"a": OPEN, "b": BAD, "c": OPEN}) == "not reproduced: b; undecided: a, c"


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.0, -0.04, 0.04), "reproduced"),
        ((0.02, -0.04, 0.08), "undecided"),
        ((0.0, -0.5, 0.5), "undecided"),
        ((0.2, 0.06, 0.4), "not reproduced"),
        ((-0.2, -0.4, -0.06), "not reproduced"),
    ],
)
def test_verdict_of_being_equal_within_a_margin(interval, verdict):
    assert claims.verdict_within(interval, 0.05) == verdict


def claim_table(notebook, *names):
    verdict = claims.verdict_above(GOOD)
    return claims.claim_table(
        notebook, *(claims.claim_row(name, "a claim", "> 0", GOOD, verdict, "") for name in names)
    )


def test_rows_of_all_notebooks_are_gathered_in_the_claims_order(tmp_path):
    claim_table("04_x", "K11", "K1").to_csv(tmp_path / "04_x_claims.csv", index=False)
    claim_table("05_y", "K4").to_csv(tmp_path / "05_y_claims.csv", index=False)
    pd.DataFrame({"method": []}).to_csv(tmp_path / "05_y.csv", index=False)
    claims.gather(tmp_path)
    found = pd.read_csv(tmp_path / claims.FILE)
    assert list(found.columns) == list(claims.COLUMNS)
    assert list(found.id) == ["K1", "K4", "K11"]
    assert found.equals(claims.gathered(tmp_path).assign(reason=float("nan")))


def test_without_claims_nothing_is_written(tmp_path):
    claims.gather(tmp_path)
    assert not list(tmp_path.iterdir())


def test_better_but_not_by_as_much_is_reproduced_in_part():
    verdicts = [paper_claims.k1("TDM", GOOD, gain, GOOD, GOOD, OPEN, GOOD, GOOD)["verdict"] for gain in GAINS]
    assert verdicts == ["reproduced in part", "reproduced", "undecided", "not reproduced"]


def test_what_beats_the_baselines_is_set_beside_a_rule_that_knows_as_much():
    reason = paper_claims.k1("TDM", GAINS[1], GOOD, GOOD, (1.32, 1.28, 1.36), (-0.01, -0.02, 0.01), GOOD, GOOD)[
        "reason"
    ]
    assert (
        "a local rule with two tuned parameters that exchanges nothing (Threshold) reaches 1.320 [1.280, 1.360]"
        in reason
    )
    assert "CTDE minus it: -0.010 [-0.020, 0.010]" in reason


def test_a_part_that_is_to_fall_is_judged_on_the_other_side():
    """K8 wants less sum rate; K9 wants a tail rate below a tenth."""
    falls = sweep_claims.k8(sum_rate=BAD, tail_rate=GOOD, score=GOOD, others={"C, online": OPEN, "I, online": BAD})
    assert falls["verdict"] == "reproduced"
    assert falls["reason"].endswith("of the 2 other pairs, R_score differs for I, online: -0.200 [-0.300, -0.100]")
    starved, fed = (0.02, 0.01, 0.05), (0.3, 0.2, 0.4)
    assert sweep_claims.k9(GOOD, GOOD, at_half=starved, at_zero=starved)["verdict"] == "reproduced"
    in_part = sweep_claims.k9(GOOD, GOOD, at_half=fed, at_zero=starved)["verdict"]
    assert in_part.endswith("tail near zero at λ = 0; not reproduced: tail near zero at λ = 0.5, the paper's lowest")


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.003, -0.007, 0.012), "equivalent"),
        ((0.008, 0.002, 0.012), "equivalent"),  # certain, and too small to matter
        ((0.003, -0.007, 0.014), "undecided"),
        ((0.02, 0.01, 0.03), "reproduced"),
        ((-0.02, -0.03, -0.01), "not reproduced"),
    ],
)
def test_a_difference_within_the_margin_is_equivalence(interval, verdict):
    assert claims.verdict_above_or_equivalent(interval, 0.013) == verdict
    assert paper_claims.k6(GOOD, interval, 1.3, interval, GOOD)["verdict"] == verdict, "over all logs, not from one"
    parts = {"sac > dqn": interval}
    row = paper_claims.k4(parts, 1.3, {"sac > dqn": GOOD}, {"sac": 1.2}, GOOD, GOOD)
    assert row["verdict"] == verdict


def test_independent_agents_are_judged_with_both_rewards():
    same, worse = (0.003, -0.007, 0.012), (0.18, 0.17, 0.19)
    verdict = paper_claims.k6(same, same, 1.3, worse, GOOD)["verdict"]
    assert verdict == "reproduced in part: I from own rewards; equivalent: from the joint reward"


def test_ctde_may_reach_a_centralized_agent_that_is_not_tuned():
    facts = {"gamma": 0.99, "learning_rate": 3e-4, "updates": 2000, "dataset": "sac"}
    names = ["rewards", "share", "share_low", "share_high", "centralized"]
    rows = [("standardised", 0.9, 0.89, 0.91, 1.47), ("standardised", 0.99, 0.97, 1.01, 1.32)]
    rows += [("raw", 1.0, 1.0, 1.0, 1.14), ("raw", 2.05, 1.8, 2.2, 0.57)]  # C no better than the baseline: not counted
    defaults = pd.DataFrame([facts | dict(zip(names, row, strict=True)) for row in rows])
    tuned = (0.87, 0.86, 0.88)

    def judged(rows):
        return paper_claims.k3(tuned, tuned, 1.52, rows, 1.14, 1.59, 1.31)

    row = judged(defaults)
    assert row["verdict"] == "reproduced in part: with 1 of 2 usual defaults; not reproduced: with equal tuning"
    assert "1.32 to 1.32 where CTDE reaches 95% of it" in row["reason"]
    assert "standardised rewards, 2,000 updates, log sac: 0.990 [0.970, 1.010]" in row["reason"]
    assert "2 more defaults (raw rewards) with which C scores 0.57 to 1.14" in row["reason"]
    assert judged(defaults[:1])["verdict"] == judged(defaults[2:])["verdict"] == "not reproduced"


def test_few_data_are_judged_in_a_row_and_at_random():
    near, far = (0.01, -0.02, 0.04), (0.2, 0.15, 0.25)
    row = sweep_claims.k7(
        10_000, 640_000, {5_000: near, 10_000: far}, {5_000: 0.5, 10_000: 0.0}, {"sac": far}, {2_000: GOOD}, 1.1, 1.3
    )
    assert "TDM's level from 5,000 in a row" in row["verdict"].split(";")[0]
    assert (row["ours"], row["low"]) == far[:2]
    assert "50% of trainings below 1.05 times it" in row["reason"]
