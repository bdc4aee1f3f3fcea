"""Notebook 10: logs in a row, their authors, and verdicts against scipy and by hand."""

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from rrmlab import AgentConfig, NetworkConfig, collect, make_scheduler, train_offline
from rrmlab.game.evaluation import score
from rrmlab.study import convergence, own_claims, statistics, thresholds

NETWORK = NetworkConfig(episode_ttis=30, warmup_ttis=5)
NEIGHBOURS = replace(NETWORK, observation="neighbours")


@pytest.fixture(scope="module")
def agents(tmp_path_factory):
    """Folders of two policies each, as `author_agents` names them."""
    data, found = collect(make_scheduler("random_walk"), NETWORK, 120), {}
    for name, updates in (("", 3), ("5% trained", 1)):
        found[name] = tmp_path_factory.mktemp("agents")
        for policy in train_offline(data, AgentConfig(num_updates=updates, hidden=(8,)), range(2), progress=False):
            policy.save(found[name] / f"policy_{policy.seed}")
    return found


@pytest.mark.parametrize("name", ["random walk", "mixture", "ε = 0.3", "5% trained", "ε = 0", "full reuse"])
def test_a_log_with_neighbours_seen_by_one_cell_is_the_log_of_that_cell(agents, name):
    """Every author does the same in both networks, and the log of the one is that of the other."""
    author = thresholds.author(name, 1, agents)
    wide = collect(thresholds.OwnCell(author), NEIGHBOURS, 75, seed=3)
    narrow, own = collect(author, NETWORK, 75, seed=3), thresholds.own_cells(wide)
    for field in fields(narrow):
        if field.name != "metadata":
            assert torch.equal(getattr(own, field.name), getattr(narrow, field.name)), field.name
    own.check()
    assert own.network == NETWORK and wide.obs.shape[-1] == 18


def test_the_agent_acts_but_for_the_share_of_random_ttis(agents):
    whole, part = (thresholds.author("ε = 0.3", 1, agents).parameters(), thresholds.author("ε = 0", 1, agents))
    assert whole["shares"] == pytest.approx([0.3, 0.7])
    assert [member["name"] for member in whole["members"]] == ["Random walk", "CTDE-MARL-CQL"]
    assert part.seed == 1 and part.stochastic
    assert thresholds.author("5% trained", 0, agents).config.num_updates == 1
    names = thresholds.author_names()
    assert len(names) == len(set(names)) == 9 and names[0] == "random walk" and names[-1] == "full reuse"


def test_the_first_transitions_in_a_row_are_a_log_of_their_own():
    data = collect(make_scheduler("random_walk"), NETWORK, 120)
    part = thresholds.first(data, 40, skip=35)
    part.check()
    assert torch.equal(part.rewards, data.rewards[35:75])
    assert torch.equal(part.obs[part.rows + 1], data.obs[data.rows[35:75] + 1])
    assert len(part.obs) == 40 + 2 and part.truncated.nonzero().flatten().tolist() == [24, 39]
    assert len(part.episodes()) == 2


def test_interval_of_few_logs_is_that_of_scipy():
    values = np.array([1.1, 1.3, 1.2, 1.25])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert statistics.t_interval(values) == pytest.approx((values.mean(), *expected))
    wider = statistics.t_interval(values, np.random.default_rng(0).normal(size=5_000))
    assert wider[2] - wider[0] == pytest.approx(np.hypot(expected.high - values.mean(), 1.96), rel=0.05)


def test_limits_of_a_spread_cover_it():
    drawn = np.random.default_rng(1).normal(size=(4_000, 4))
    low, high = np.array([statistics.spread_interval(row)[1:] for row in drawn]).T
    assert (low > 1).mean() == pytest.approx(0.05, abs=0.01)
    assert (high < 1).mean() == pytest.approx(0.05, abs=0.01)


def test_rank_correlation_is_that_of_scipy_and_resamples_groups():
    rng = np.random.default_rng(2)
    first = rng.integers(8, size=60).astype(float)  # with ties
    second, groups = first + rng.normal(size=60), np.arange(60)
    found = statistics.rank_correlation(first, second, groups)
    assert found[0] == pytest.approx(stats.spearmanr(first, second).statistic)
    assert found[1] < found[0] < found[2]
    thrice = statistics.rank_correlation(*(np.repeat(x, 3) for x in (first, second, groups)))  # nothing new is known
    assert thrice[2] - thrice[1] == pytest.approx(found[2] - found[1], rel=0.05)


def rates_of(levels, deployments=6, users=10):
    """Rates (L, D, J) of which each log's R_score is its level."""
    return np.ones((len(levels), deployments, users)) * np.array(levels)[:, None, None] / 4


@pytest.mark.parametrize(
    ("levels", "before", "verdict"),
    [
        ([1.30, 1.301, 1.302], [1.30, 1.301, 1.302], "converged"),
        ([0.80, 0.801, 0.802], [0.80, 0.801, 0.802], "not converged: above the baseline"),
        ([0.60, 1.40, 2.20], [0.60, 1.40, 2.20], "not converged: seeds agree"),
        ([1.30, 1.301, 1.302], [1.20, 1.201, 1.202], "not converged: flat"),
        ([1.30, 1.301, 1.302], [1.30, 1.25, 1.35], "undecided: flat"),
        ([1.26, 1.30, 1.34], [1.26, 1.30, 1.34], "undecided: seeds agree"),
    ],
)
def test_converged_is_three_tests(levels, before, verdict):
    found = convergence.verdict(rates_of(levels), np.array(before), rates_of([1.1])[0])
    assert found["verdict"] == verdict
    assert found["lead"] == pytest.approx(np.mean(levels) - 1.1)
    assert found["change"] == pytest.approx(np.mean(levels) - np.mean(before))
    assert found["spread"] == pytest.approx(np.std(levels, ddof=1))


def test_a_lead_varies_with_the_deployments_that_are_shared():
    """Two methods of the same rates on all deployments: no interval, however different the deployments."""
    rates = np.random.default_rng(3).uniform(size=(1, 12, 10))
    same = convergence.lead(np.repeat(rates, 3, 0), rates[0])
    assert same == pytest.approx((0, 0, 0), abs=1e-12)
    other = convergence.lead(np.repeat(rates, 3, 0), rates[0, :, ::-1] ** 2)
    assert other[0] == pytest.approx(float(score(rates[0]) - score(rates[0] ** 2))) and other[1] < other[0]


def test_the_smallest_log_is_that_from_which_on_all_converged():
    verdicts = ["converged", "undecided: flat", "converged", "converged"]
    table = pd.DataFrame({"method": "C", "author": "a", "num_samples": [1, 2, 3, 4_000], "verdict": verdicts})
    table = pd.concat([table, table.assign(author="b", verdict=verdicts[::-1])])
    assert convergence.smallest(table, table.verdict == "converged").loc["C"].to_dict() == {"a": "3", "b": "4,000"}
    assert convergence.smallest(table, table.num_samples < 0).loc["C", "a"] == "none"


def test_regret_of_a_choice_is_what_it_loses_against_the_best():
    rows = pd.DataFrame({
        "method": "C", "author": "a", "log": 0, "alpha": [0.0, 1.0, 10.0], "score": [1.0, 2.0, 1.5],
        "fqe_joint": [3.0, 1.0, 2.0], "fqe_sum": [1.0, 3.0, 2.0], "fqe_least": [1.0, 1.0, 2.0],
        "td_error": [3.0, 2.0, 1.0], "sampled": np.nan,
    })  # fmt: skip
    found = convergence.regrets(rows, [1.0, 10.0]).set_index("choice")
    assert found.regret.to_dict() == {
        "α = 1": 0.0, "α = 10": 0.25, "fitted Q, joint": 0.5, "fitted Q, additive": 0.0, "held-out TD error": 0.25,
        "importance sampling": 0.0, "fitted Q, lesser": 0.25,
    }  # fmt: skip


def test_a_target_is_missed_by_the_distance_of_the_rate_that_is_reached():
    rows = {"author": "a", "log": 0, "lam": [0.3, 0.8, 1.0]}
    rows = pd.DataFrame(rows | {"tail_rate": [0.1, 0.2, 0.3], "predicted_tail": [0.2, 0.3, 0.4]})
    found = convergence.tail_errors(rows, [0.2], 0.8).set_index("choice")
    assert found.lam.to_dict() == {"hindsight": 0.8, "from the log": 0.3, "λ = 0.8": 0.8}
    assert found.error.tolist() == pytest.approx([0, 0.1, 0])
    blind = convergence.tail_errors(rows.assign(predicted_tail=np.nan), [0.2], 0.8).set_index("choice")
    assert blind.lam["from the log"] == 0.8


def test_the_claims_of_this_study():
    cell = {"baseline": "TDM", "parts": "reproduced", "verdict": "converged"}
    for name in ("lead", "spread", "change"):
        cell |= {name: 0.2, f"{name}_low": 0.1, f"{name}_high": 0.3}
    row = own_claims.n1(20_000, pd.Series(cell), pd.Series(cell | {"verdict": "undecided: flat"}))
    assert row["verdict"] == "reproduced" and "20,000 transitions in a row" in row["claim"]
    ranked = pd.DataFrame({
        "method": ["C", "CTDE"] * 2, "measure": ["joint_actions"] * 2 + ["fqe_sum"] * 2,
        "correlation": [0.8, 0.7, 0.1, 0.2], "correlation_low": [0.6, 0.4, 0.0, 0.0], "correlation_high": 0.9,
    })  # fmt: skip
    row = own_claims.n2(ranked)
    assert row["verdict"] == "reproduced in part: C; undecided: CTDE" and row["ours"] == 0.7
