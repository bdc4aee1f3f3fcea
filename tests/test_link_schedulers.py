"""Admission by the weighted sum of rates and the threshold rule: by hand, against plain loops, and against each other.

Shapes: E environments, I APs, N top users.
"""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrmlab import ImperfectReports, NetworkConfig, collect, evaluate
from rrmlab.game.deployment import Deployment
from rrmlab.game.env import RRMEnv
from rrmlab.game.evaluation import run_episode
from rrmlab.game.link_schedulers import BestSubset, GreedyMarginal, joint_rewards
from rrmlab.game.observations import OBSERVATIONS, Observation
from rrmlab.game.schedulers import SCHEDULERS, Exhaustive, FullReuse, Threshold, make_scheduler
from rrmlab.game.views import SILENT, CrossGainView, ObservationView

NETWORK = NetworkConfig(num_aps=3, num_users=9, top_n=2, warmup_ttis=10, episode_ttis=30)
KNOWS_GAINS = [GreedyMarginal, BestSubset]
many = settings(deadline=None, max_examples=60, derandomize=True)
# Networks of random gains, weights and reports, some slots empty.
states = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 10**6))


def view_of(gain, weight, sinr, slots=None):
    """A view from lists: gain (E, from I, to I, N), weight and sinr (E, I, N)."""
    gain, weight, sinr = (torch.tensor(values, dtype=torch.float64) for values in (gain, weight, sinr))
    e, i, n = weight.shape
    slots = torch.arange(i * n).view(i, n).repeat(e, 1, 1) if slots is None else torch.tensor(slots)
    filled = slots != SILENT
    obs = torch.stack([10 * sinr.log10(), weight.log()], -1).where(filled[..., None], 0.0).flatten(-2)
    gain, weight, sinr = gain * filled[:, None], weight * filled, sinr * filled
    mask = torch.nn.functional.pad(filled, (1, 0), value=True)
    return CrossGainView(obs, mask, slots, gain, sinr, weight)


def random_view(state, num=4):
    aps, top_n, seed = state
    rng = np.random.default_rng(seed)
    gain = 10 ** rng.uniform(-2, 4, (num, aps, aps, top_n))
    weight, sinr = 10 ** rng.uniform(-1, 2, (num, aps, top_n)), 10 ** rng.uniform(-1, 3, (num, aps, top_n))
    # In the order of the PF factor, as the slots are; the last ones may be empty.
    order = np.argsort(-weight * np.log2(1 + sinr), -1)
    weight, sinr = np.take_along_axis(weight, order, -1), np.take_along_axis(sinr, order, -1)
    filled = np.arange(top_n) < rng.integers(0, top_n + 1, (num, aps, 1))
    slots = np.where(filled, np.arange(aps * top_n).reshape(aps, top_n), SILENT)
    return view_of(gain.tolist(), weight.tolist(), sinr.tolist(), slots.tolist())


# --- the plain loops, of the e-th environment ---


def weighted_sum(view, e, admitted, lam):
    """Sum of w^lam * log2(1 + SNR / (1 + INR)) over the admitted APs' first users."""
    total = 0.0
    for i in admitted:
        inr = sum(float(view.gain[e, j, i, 0]) for j in admitted if j != i)
        rate = math.log2(1 + float(view.gain[e, i, i, 0]) / (1 + inr))
        total += float(view.weight[e, i, 0]) ** lam * rate
    return total


def links(view, e):
    return [i for i in range(view.slots.shape[1]) if view.slots[e, i, 0] != SILENT]


def served(view, e, admitted):
    return [int(view.slots[e, i, 0]) if i in admitted else SILENT for i in range(view.slots.shape[1])]


def greedy(view, e, lam):
    def factor(i):
        return float(view.weight[e, i, 0]) * math.log2(1 + float(view.sinr[e, i, 0]))

    admitted = []
    for i in sorted(links(view, e), key=factor, reverse=True):
        if weighted_sum(view, e, [*admitted, i], lam) > weighted_sum(view, e, admitted, lam):
            admitted.append(i)
    return served(view, e, admitted)


def best_sum(view, e, lam):
    """Of every subset of the links."""
    every = [c for k in range(len(links(view, e)) + 1) for c in itertools.combinations(links(view, e), k)]
    return max(weighted_sum(view, e, subset, lam) for subset in every)


def threshold(view, e, a, b, c):
    users = []
    for slots, obs in zip(view.slots[e].tolist(), view.obs[e].view(*view.slots.shape[1:], -1).tolist(), strict=True):
        best, most = SILENT, -1.0
        for user, (sinr_db, log_weight) in zip(slots, obs, strict=True):
            rate, weight = math.log2(1 + 10 ** (sinr_db / 10)), math.exp(log_weight)
            if user != SILENT and weight**a * rate > most:
                best, most, worth = user, weight**a * rate, weight**b * rate
        users.append(best if best != SILENT and worth >= c else SILENT)
    return users


# --- by hand ---


def test_two_links_by_hand():
    """Own SNR 15 and 3, so rates of 4 and 2 alone; an interference of 4 leaves log2(1 + 15 / 5) = 2 of the first."""
    gain = [[[[15.0], [0.0]], [[4.0], [3.0]]]]  # from AP, to the user of AP
    sinr = [[[15.0], [3.0]]]
    alone, both, other = [0, SILENT], [0, 1], [SILENT, 1]
    for weights, expected, best in [
        ((1.0, 1.0), alone, alone),  # PF factors 4 and 2; together 2 + 2 = 4, which is not more than 4
        ((1.0, 1.01), both, both),  # 2 + 2.02
        ((1.0, 1.9), both, both),  # PF factors 4 and 3.8; together 2 + 3.8
        ((0.1, 2.0), both, both),  # the second is first: 4, and 4 + 0.2
        ((0.0, 2.0), other, other),  # 4, and 4 + 0
    ]:
        view = view_of(gain, [[[w] for w in weights]], sinr)
        assert GreedyMarginal(1.0).serve(view).tolist() == [expected], weights
        assert BestSubset(1.0).serve(view).tolist() == [best], weights


def test_three_links_where_greedy_is_not_the_best():
    """AP 0 has the greatest PF factor and disturbs the other two, which do not disturb each other."""
    gain = [[[[15.0], [63.0], [63.0]], [[63.0], [7.0], [0.0]], [[63.0], [0.0], [7.0]]]]
    view = view_of(gain, [[[1.0], [1.0], [1.0]]], [[[15.0], [7.0], [7.0]]])
    assert GreedyMarginal(1.0).serve(view).tolist() == [[0, SILENT, SILENT]]  # 4; with another less than 0.5 + 0.2
    assert BestSubset(1.0).serve(view).tolist() == [[SILENT, 1, 2]]  # 3 + 3


def test_the_weights_exponent_decides_who_counts():
    """A user of weight 4 and rate 2 against one of weight 1 and rate 4, who exclude each other: 8 > 4, but 2 < 4."""
    gain = [[[[3.0], [1e6]], [[1e6], [15.0]]]]
    view = view_of(gain, [[[4.0], [1.0]]], [[[3.0], [15.0]]])
    assert BestSubset(1.0).serve(view).tolist() == [[0, SILENT]]
    assert BestSubset(0.0).serve(view).tolist() == [[SILENT, 1]]


def test_the_threshold_by_hand():
    """Two users an AP: weights 4 and 1, rates 1 and 3, so w * rate is 4 and 3."""
    view = view_of(torch.zeros(1, 1, 1, 2).tolist(), [[[4.0, 1.0]]], [[[1.0, 7.0]]])
    assert Threshold(a=1, b=1, c=3.9).serve(view).tolist() == [[0]]
    assert Threshold(a=1, b=1, c=4.1).serve(view).tolist() == [[SILENT]]
    assert Threshold(a=1, b=0.5, c=2.1).serve(view).tolist() == [[SILENT]]  # 4^0.5 * 1 = 2
    assert Threshold(a=1, b=0.5, c=1.9).serve(view).tolist() == [[0]]
    assert Threshold(a=0, b=0.5, c=2.9).serve(view).tolist() == [[1]]  # the greatest rate, 1^0.5 * 3
    assert Threshold(a=0, b=0.5, c=3.1).serve(view).tolist() == [[SILENT]]


# --- against the loops, and each other ---


@many
@given(state=states, lam=st.sampled_from([0.0, 0.3, 0.8, 1.0]))
def test_greedy_follows_its_definition(state, lam):
    view = random_view(state)
    assert GreedyMarginal(lam).serve(view).tolist() == [greedy(view, e, lam) for e in range(4)]


@many
@given(state=states, lam=st.sampled_from([0.0, 0.3, 0.8, 1.0]))
def test_the_best_subset_is_the_best_of_all_and_no_less_than_greedy(state, lam):
    view = random_view(state)
    best, admitted = BestSubset(lam).serve(view), GreedyMarginal(lam).serve(view)
    for e in range(4):
        found = [weighted_sum(view, e, np.flatnonzero(users[e] != SILENT), lam) for users in (best, admitted)]
        assert found[0] == pytest.approx(best_sum(view, e, lam), rel=1e-12, abs=1e-12)
        assert found[0] >= found[1] * (1 - 1e-12)


@many
@given(state=states, lam=st.sampled_from([0.0, 0.8, 1.0]))
def test_the_exhaustive_search_is_no_less_and_the_same_with_one_user_each(state, lam):
    view = random_view((min(state[0], 4), *state[1:]))
    best = view.actions(BestSubset(lam).serve(view))
    index = (best * (view.slots.shape[-1] + 1) ** torch.arange(best.shape[1] - 1, -1, -1)).sum(-1)
    rewards = joint_rewards(view, lam)
    found = rewards.gather(-1, index.unsqueeze(-1)).squeeze(-1)
    assert (rewards.amax(-1) >= found - 1e-12 * found.abs()).all()
    if view.slots.shape[-1] == 1:
        torch.testing.assert_close(rewards.amax(-1), found, rtol=1e-12, atol=1e-12)
        assert torch.equal(Exhaustive(lam).serve(view), BestSubset(lam).serve(view))


@many
@given(state=states, a=st.floats(0, 2), b=st.floats(0, 2), c=st.floats(0, 50))
def test_the_threshold_follows_its_definition(state, a, b, c):
    view = random_view(state)
    assert Threshold(a, b, c).serve(view).tolist() == [threshold(view, e, a, b, c) for e in range(4)]


def test_the_states_of_the_game_are_not_trivial():
    """In the study's game each of them silences some APs and not all, and they differ."""
    env = RRMEnv(NetworkConfig(warmup_ttis=20), 40)
    env.reset()
    for _ in range(30):
        env.step_users(env.view().slots[..., 0])
    view = env.view(CrossGainView)
    decisions = [rule.serve(view) for rule in (GreedyMarginal(), BestSubset(), Threshold())]
    for users in decisions:
        assert 0.2 < (users == SILENT).double().mean() < 0.8
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(decisions, 2))


def test_threshold_zero_is_full_reuse():
    assert np.array_equal(evaluate(Threshold(c=0), NETWORK, 4).rates, evaluate(FullReuse(), NETWORK, 4).rates)


# --- what they may look at ---


@many
@given(state=states)
def test_what_a_rule_may_not_look_at_does_not_change_its_decision(state):
    """Gains, weights and reports beyond the first slot; for the threshold all but its own observation."""
    view, other = random_view(state), random_view((*state[:2], state[2] + 1))
    beyond = dataclasses.replace(view, **{
        name: torch.cat([getattr(view, name)[..., :1], getattr(other, name)[..., 1:]], -1)
        for name in ("gain", "sinr", "weight")
    }, obs=other.obs)  # fmt: skip
    for cls in KNOWS_GAINS:
        assert torch.equal(cls().serve(beyond), cls().serve(view))
    assert torch.equal(Threshold().serve(view.narrow(ObservationView)), Threshold().serve(view))
    # Which of its own users an AP serves, and whether, does not follow from another cell.
    own = Threshold().serve(view)[:, 0]
    swapped = torch.cat([view.obs[:, :1], other.obs[:, 1:]], 1)
    assert torch.equal(Threshold().serve(dataclasses.replace(view, obs=swapped))[:, 0], own)


def test_greedy_looks_at_reports_for_its_order_alone_and_best_subset_not_at_all():
    view = random_view((4, 2, 3), num=50)
    louder = dataclasses.replace(view, sinr=view.sinr * 3)
    reversed_order = dataclasses.replace(view, sinr=1 / (view.sinr * view.weight**4))
    assert torch.equal(BestSubset().serve(louder), BestSubset().serve(view))
    assert torch.equal(BestSubset().serve(reversed_order), BestSubset().serve(view))
    assert not torch.equal(GreedyMarginal().serve(reversed_order), GreedyMarginal().serve(view))


@pytest.mark.parametrize("cls", [*KNOWS_GAINS, Threshold])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_deployment_is_played_the_same_alone_and_in_a_batch(cls, dtype):
    deployment = Deployment.draw(NETWORK, 5, seed=1)

    def played(part):
        return torch.stack([u for _, u, _, _ in run_episode(cls(), RRMEnv(NETWORK, len(part), dtype=dtype), part)], 1)

    together = played(deployment)
    for e in (0, 4):
        assert torch.equal(played(deployment[e])[0], together[e])


@pytest.mark.parametrize("cls", [*KNOWS_GAINS, Threshold])
def test_cells_without_users_stay_silent(cls):
    config = NetworkConfig(num_aps=5, num_users=3, top_n=2, require_users=False, warmup_ttis=5, episode_ttis=12)
    env = RRMEnv(config, 6)
    for view, users, _, _ in run_episode(cls(), env):
        empty = view.slots[..., 0] == SILENT
        assert empty.any(-1).all() and (users[empty] == SILENT).all()
    assert (users != SILENT).any()


# --- logs, late reports, errors ---


@pytest.mark.parametrize("cls", [*KNOWS_GAINS, Threshold])
def test_they_are_logged_with_their_parameters_and_what_they_did_is_certain(cls):
    rule = cls()
    data = collect(rule, NETWORK, 60)
    assert (data.log_prob == 0).all() and 0 < (data.actions == 0).float().mean() < 1
    env = RRMEnv(NETWORK, 4)
    env.reset()
    view = env.view(CrossGainView)
    actions = view.actions(rule.serve(view))
    assert rule.log_prob(view, actions).tolist() == [0.0] * 4
    assert rule.log_prob(view, (actions + 1) % 2).tolist() == [-math.inf] * 4
    assert rule.parameters() == vars(rule)


def test_the_threshold_takes_late_reports():
    late = evaluate(ImperfectReports(Threshold(), 10), NETWORK, 4)
    exact, same = (evaluate(rule, NETWORK, 4) for rule in (Threshold(), ImperfectReports(Threshold())))
    assert np.array_equal(exact.rates, same.rates) and not np.array_equal(exact.rates, late.rates)


def test_the_threshold_needs_an_observation_that_begins_as_the_papers(monkeypatch):
    def reordered(slots):
        return slots.log_weight, 10 * slots.sinr.log10()

    def longer(slots):
        return 10 * slots.sinr.log10(), slots.log_weight, 10 * slots.snr.log10()

    for record in (
        Observation("reordered", ("ln w", "SINR, dB"), reordered),
        Observation("longer", ("SINR, dB", "ln w", "SNR, dB"), longer),
    ):
        monkeypatch.setitem(OBSERVATIONS, record.name, record)
    with pytest.raises(ValueError, match="observation = 'reordered': Threshold needs one that begins with"):
        evaluate(Threshold(), dataclasses.replace(NETWORK, observation="reordered"), 1)
    with pytest.raises(ValueError, match="observation = 'reordered'"):
        collect(Threshold(), dataclasses.replace(NETWORK, observation="reordered"), 10)
    found = evaluate(Threshold(), dataclasses.replace(NETWORK, observation="longer"), 4)
    assert np.array_equal(found.rates, evaluate(Threshold(), NETWORK, 4).rates)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("greedy_marginal", "lam", 1.1), ("greedy_marginal", "lam", -0.1), ("best_subset", "lam", 80.0),
        ("threshold", "a", 2.5), ("threshold", "b", -1.0), ("threshold", "c", -1.0), ("threshold", "c", 1e5),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(name, field, value):
    with pytest.raises(ValueError, match=f"^{field} = {value:g}"):
        make_scheduler(name, **{field: value})
    with pytest.raises(ValueError, match=f"^{field} = 'much': must be one finite number"):
        make_scheduler(name, **{field: "much"})


def test_too_many_subsets_are_refused_and_greedy_has_no_limit():
    config = NetworkConfig(num_aps=17, num_users=34, top_n=1, area_m=1500.0, require_users=False, warmup_ttis=0)
    env = RRMEnv(config)
    env.reset()
    view = env.view(CrossGainView)
    with pytest.raises(ValueError, match=r"2\^17 sets of APs are too many to try: at most 65536"):
        BestSubset().serve(view)
    assert GreedyMarginal().serve(view).shape == (1, 17)


def test_they_are_found_by_their_short_names():
    expected = {"greedy_marginal": GreedyMarginal, "best_subset": BestSubset, "threshold": Threshold}
    assert {name: SCHEDULERS[name] for name in expected} == expected
