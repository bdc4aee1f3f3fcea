"""The variance of a reward by interaction order against tables made by hand, and against least squares."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrmlab import NetworkConfig, RRMEnv, make_scheduler
from rrmlab.agents.paradigms import PARADIGMS
from rrmlab.game.link_schedulers import joint_rewards
from rrmlab.game.views import CrossGainView
from rrmlab.study import observed_oracle as oracles
from rrmlab.study.cells import KNOWN, REPRESENTED, CellJob
from rrmlab.study.interactions import (
    AdditiveSearch,
    interaction_share,
    main_effects,
    uniform,
    variance_by_order,
    visited_states,
)
from rrmlab.study.predictors import crossing, predictor_row
from rrmlab.study.scoring import Scoring, score_scheduler
from rrmlab.study.store import read_result

APS, ACTIONS = 4, 4
JOINT = np.array(list(itertools.product(range(ACTIONS), repeat=APS)))  # (256, 4), the last AP's varies fastest
UNIFORM = torch.full((APS, ACTIONS), 1 / ACTIONS, dtype=torch.float64)


def variances(table, probabilities=UNIFORM):
    return variance_by_order(torch.as_tensor(table, dtype=torch.float64), probabilities).numpy()


def drawn(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_a_sum_over_aps_is_all_main_effects():
    single = drawn(0, APS, ACTIONS)
    table = 7 + sum(single[ap, JOINT[:, ap]] for ap in range(APS))
    expected = [single.var(axis=1).sum(), 0, 0, 0]
    np.testing.assert_allclose(variances(table), expected, atol=1e-12)
    effects = main_effects(torch.from_numpy(table), UNIFORM).numpy()
    np.testing.assert_allclose(effects, single - single.mean(1, keepdims=True), atol=1e-12)


def test_products_of_centred_factors_have_their_own_order():
    """A product over k APs of factors of mean 0 and variance 1 is an interaction of k APs, with variance 1."""
    factor = np.array([-1.0, -1.0, 1.0, 1.0])[JOINT]  # (256, APS)
    for order in range(1, APS + 1):
        for members in itertools.combinations(range(APS), order):
            np.testing.assert_allclose(variances(factor[:, members].prod(1)), np.eye(APS)[order - 1], atol=1e-12)


def test_pairs_alone_are_all_pairs():
    """A cost for each pair that transmits together, of two actions that are equally likely: on_i on_j is 1/4 and
    1/4 (x_i + x_j) and 1/4 x_i x_j for x = +-1, so variance 1/16 each for both main effects and for the pair."""
    on = (JOINT[:, :2] > 1).astype(float)
    np.testing.assert_allclose(variances(on[:, 0] * on[:, 1]), [2 / 16, 1 / 16, 0, 0], atol=1e-12)


def allowed_actions(seed):
    mask = np.random.default_rng(seed).random((APS, ACTIONS)) < 0.6
    mask[:, 0] = True
    return mask


@settings(deadline=None, max_examples=40, derandomize=True)
@given(seed=st.integers(0, 2**31 - 1), even=st.booleans())
def test_shares_sum_to_the_variance_and_main_effects_are_least_squares(seed, even):
    """Any table, any product distribution with masked actions: against weighted least squares on indicators."""
    rng, mask = np.random.default_rng(seed), allowed_actions(seed)
    weights = mask * (1.0 if even else rng.random(mask.shape) + 0.1)
    weights /= weights.sum(1, keepdims=True)
    table = 10 * drawn(seed, len(JOINT))
    joint = np.prod([weights[ap, JOINT[:, ap]] for ap in range(APS)], axis=0)
    table[joint == 0] = -math.inf  # as `joint_rewards` has it
    found = variances(table, torch.from_numpy(weights))

    known = joint > 0
    values, share = table[known], joint[known]
    design = np.concatenate([np.eye(ACTIONS)[JOINT[known, ap]] for ap in range(APS)], axis=1)
    root = np.sqrt(share)[:, None]
    fit = design @ np.linalg.lstsq(root * design, root[:, 0] * values, rcond=None)[0]
    mean = share @ values
    np.testing.assert_allclose(found.sum(), share @ (values - mean) ** 2, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[0], share @ (fit - mean) ** 2, rtol=1e-7, atol=1e-9)
    assert (found >= 0).all()
    effects = main_effects(torch.from_numpy(table), torch.from_numpy(weights)).numpy()
    additive = mean + sum(effects[ap, JOINT[known, ap]] for ap in range(APS))
    np.testing.assert_allclose(additive, fit, rtol=1e-7, atol=1e-7)


def test_a_batch_is_its_members_and_a_single_action_varies_nothing():
    tables, masks = torch.from_numpy(drawn(1, 5, 256)), torch.from_numpy(np.stack(list(map(allowed_actions, range(5)))))
    masks[0] = torch.tensor([True, False, False, False])
    together = variance_by_order(tables, uniform(masks))
    for e in range(5):
        torch.testing.assert_close(together[e], variance_by_order(tables[e], uniform(masks[e])))
    assert not together[0].any()
    assert uniform(torch.tensor([True, False, True, False])).tolist() == [0.5, 0.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("table", "probabilities", "says"),
    [
        (np.zeros(255), UNIFORM, r"^table of shape \(255,\): must be \(256,\)"),
        (np.zeros((2, 256)), UNIFORM, r"^table of shape \(2, 256\): must be \(256,\)"),
        (np.zeros(256), UNIFORM * 2, "^probabilities: must not be negative"),
        (np.zeros(256), UNIFORM - torch.tensor([0.5, 0, 0, -0.5]), "^probabilities: must not be negative"),
        (np.full(256, -math.inf), UNIFORM, "^table: must be finite"),
    ],
)
def test_what_does_not_fit_is_refused(table, probabilities, says):
    with pytest.raises(ValueError, match=says):
        variances(table, probabilities)


NETWORK = NetworkConfig(episode_ttis=21, warmup_ttis=20)


def test_without_interference_the_reward_is_a_sum_and_the_additive_search_is_exhaustive():
    far = NetworkConfig(episode_ttis=21, warmup_ttis=20, cross_gain_db=-40.0, tx_power_dbm=-40.0)
    env = RRMEnv(far, 6, dtype=torch.float64)
    env.reset()
    view = env.view(CrossGainView)
    orders = variance_by_order(joint_rewards(view, far.lam), uniform(view.action_mask))
    assert (orders[:, 1:].sum(1) < 1e-4 * orders[:, 0]).all()
    best = make_scheduler("exhaustive", lam=far.lam).serve(view)
    assert torch.equal(AdditiveSearch(far.lam).serve(view), best)


def test_visited_states_are_those_of_the_scored_deployments():
    """Each deployment's row does not depend on how many there are; the first look is after the first TTI."""
    walk = make_scheduler("random_walk")
    rows = visited_states(walk, Scoring(NETWORK, 3, seed=4))
    assert list(rows) == ["order_1", "order_2", "order_3", "order_4", "snr_db", "inr_db"] and len(rows) == 3
    fewer = visited_states(walk, Scoring(NETWORK, 2, seed=4))
    np.testing.assert_allclose(fewer, rows[:2], rtol=1e-5)
    louder = visited_states(walk, Scoring(NetworkConfig(episode_ttis=21, warmup_ttis=20, cross_gain_db=20.0), 3, 4))
    share, more = (interaction_share(part.filter(like="order_").to_numpy()) for part in (rows, louder))
    assert 0 < share < more < 1 and (louder.inr_db > rows.inr_db).all()


def test_share_of_several_resamples():
    values = drawn(2, 3, 5, 4) ** 2
    pooled = values.mean(1)
    np.testing.assert_allclose(interaction_share(values), 1 - pooled[:, 0] / pooled.sum(1))


# --- what is known against how the reward is represented ------------------------------------------------------


def test_the_misfit_is_zero_at_the_main_effects_alone():
    rng = torch.Generator().manual_seed(0)
    mask = torch.from_numpy(np.stack([allowed_actions(seed) for seed in range(6)]))
    rewards = torch.randn(6, 256, generator=rng)
    effects = main_effects(rewards, uniform(mask)).float().movedim(1, 0).unsqueeze(0)  # (1, I, E, A)
    logits = effects / oracles.EXPLORATION + torch.randn(1, APS, 6, 1, generator=rng)
    logits = logits.masked_fill(~mask.movedim(1, 0), -math.inf)
    exact = oracles._misfit(logits.log_softmax(-1), rewards, mask)
    torch.testing.assert_close(exact, torch.zeros(1, 6), atol=1e-9, rtol=0)
    off = logits + torch.randn(logits.shape, generator=rng)
    assert (oracles._misfit(off.log_softmax(-1), rewards, mask) > 0).all()


def test_heads_that_see_all_cells_see_the_same():
    kind = oracles._JointlyObserved("ctde", joint=False, mixed=True)
    assert kind.heads(NETWORK) == (4, 24, 4) and PARADIGMS["ctde"].heads(NETWORK) == (4, 6, 4)
    obs = torch.randn(5, 4, 6)
    seen = kind.observations(obs)
    assert seen.shape == (4, 5, 24) and all(torch.equal(head, obs.flatten(1)) for head in seen)


def test_every_cell_is_scored_and_all_gains_with_a_joint_value_are_exhaustive(tmp_path):
    scoring = Scoring(NETWORK, 2)
    rates = {}
    for cell in itertools.product(KNOWN, REPRESENTED):
        rates[cell] = read_result(CellJob(*cell, scoring, steps=2).run(tmp_path)).rates
        assert rates[cell].shape == (1, 2, NETWORK.num_users) and (rates[cell] >= 0).all()
    exhaustive = score_scheduler(tmp_path, {"name": "exhaustive", "lam": NETWORK.lam}, scoring).rates
    np.testing.assert_array_equal(rates["all gains", "joint"], exhaustive)
    for change in ({"known": "nothing"}, {"represented": "product"}):
        with pytest.raises(ValueError, match=f"^{next(iter(change))} = "):
            CellJob(**{"known": "all gains", "represented": "joint", "scoring": scoring, "steps": 2} | change)


# --- predictors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([1.0, 0.9, 0.8, 0.7], 1.5),
        ([1.0, 1.0, 0.9, 0.9], 2.5),
        ([0.9, 0.9, 0.9, 0.9], 1.0),  # below everywhere
        ([1.0, 1.1, 1.2, 1.0], 4.0),  # nowhere
        ([1.0, 0.9, 0.94, 0.8], 1.625),  # the two in the middle are pooled at 0.92
    ],
)
def test_the_threshold_by_hand(y, expected):
    x = np.array([1.0, 2.0, 3.0, 4.0])
    order = np.random.default_rng(0).permutation(4)  # whatever the order of the points
    assert crossing(x[order], np.array(y)[order], 0.95) == pytest.approx(expected)


def test_a_predictor_is_described_with_its_intervals():
    rng = np.random.default_rng(0)
    x, y = np.arange(6.0), 1 - 0.04 * np.arange(6.0)
    draws = x + 0 * rng.normal(size=(2, 200, 6)), y + 0.01 * rng.normal(size=(2, 200, 6))
    row, ranks = predictor_row("x", x, y, *draws, 0.9, 3)
    assert row["predictor"] == "x" and row["rank"] == pytest.approx(-1) and ranks.shape == (2, 200)
    assert row["threshold"] == pytest.approx(2.5)
    assert 1.5 < row["threshold_low"] < 2.5 < row["threshold_high"] < 3.5
    assert -1 <= row["rank_low"] <= row["rank_high"] < -0.9
