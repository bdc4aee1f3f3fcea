"""Decisions by messages against APs that are objects, against trying all joint actions, and against Shannon's formula.

Shapes: E environments, I APs, N slots, F numbers of a slot.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_graph import (
    PlainFactors,
    decide_by_objects,
    each_value,
    random_factors,
    random_network,
    shannon,
    slots_of,
    total,
)

from rrmlab import NetworkConfig, RRMEnv, evaluate, make_scheduler
from rrmlab.agents.config import AgentConfig
from rrmlab.agents.graph import conditional_values, joint_values
from rrmlab.game.link_schedulers import joint_actions, joint_rewards
from rrmlab.game.messages import MOST_ROUNDS, MessageRule, Shannon, SlotReports, decide, messages_sent
from rrmlab.game.views import CrossGainView, ObservationView

NETWORK = NetworkConfig(num_aps=4, num_users=14, episode_ttis=200, warmup_ttis=20, observation="neighbours")
FEW = replace(NETWORK, num_users=5, require_users=False)


def states(network, envs, seed=0, dtype=torch.float64):
    """Views of both kinds in the middle of an episode under the formula: (ObservationView, CrossGainView)."""
    env, rule = RRMEnv(network, envs, seed, dtype=dtype), make_scheduler("graph_formula")
    env.reset()
    for _ in range(10):
        env.step_users(rule.serve(env.view()))
    return env, env.view(), env.view(CrossGainView)


# ---- the decision ----


@pytest.mark.parametrize("network", [replace(NETWORK, num_aps=2), NETWORK, FEW, replace(NETWORK, num_aps=9, top_n=2)])
@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_the_rule_decides_as_aps_that_know_what_they_received(network, rounds):
    _, view, _ = states(network, 20)
    rule = make_scheduler("graph_formula", lam=0.8, rounds=rounds)
    wanted = view.actions(rule.serve(view)).tolist()
    for obs, mask, action in zip(view.obs, view.action_mask.numpy(), wanted, strict=True):
        slots = slots_of(obs, network.num_aps)
        got, sent = decide_by_objects(shannon(0.8), slots, mask, rounds)
        assert got == action
        assert sent == messages_sent(network.num_aps, rounds)


@pytest.mark.parametrize("form", ["rate", "free"])
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2))
def test_learned_values_decide_as_aps_that_know_what_they_received(form, seed, num_aps, top_n, rounds):
    factors = random_factors(form, (seed, seed + 1))
    obs, mask, _ = random_network(seed, num_aps, top_n, 3)
    both = obs.expand(2, -1, -1, -1), mask.expand(2, -1, -1, -1)
    got = decide(factors, SlotReports.of(both[0]), both[1], rounds)
    for s, b in np.ndindex(2, 3):
        slots = slots_of(obs[b], num_aps)
        wanted, sent = decide_by_objects(PlainFactors.of(factors, s), slots, mask[b].numpy(), rounds)
        assert got[s, b].tolist() == wanted and sent == messages_sent(num_aps, rounds)


@pytest.mark.parametrize(("num_aps", "rounds", "numbers"), [(2, 0, 10), (4, 2, 76), (4, 0, 28), (1, 1, 7)])
def test_numbers_by_hand(num_aps, rounds, numbers):
    """I of the order, and per turn SINR, ln w, SNR and I - 1 INRs: 4 + 4 * 6 * 3 for four APs and two rounds."""
    assert messages_sent(num_aps, rounds) == numbers


# ---- against trying all ----

SCALE = torch.tensor(
    [[10.0, 1.0, 35.0, 10.0], [12.0, 1.0, 12.0, 15.0]], dtype=torch.float64
)  # mean and spread, roughly
# Least share of states in which the decision is the best of all joint actions, by 0, 1, 2 rounds and until nothing
# changes: 0.02 below what was measured where this was written.
AGREEMENT = {
    ("formula", 2): (0.66, 0.82, 0.82, 0.82),
    ("formula", 3): (0.47, 0.61, 0.62, 0.62),
    ("formula", 4): (0.40, 0.53, 0.54, 0.54),
    ("rate", 2): (0.88, 0.94, 0.94, 0.94),
    ("rate", 3): (0.80, 0.91, 0.91, 0.91),
    ("rate", 4): (0.76, 0.88, 0.89, 0.89),
    ("free", 2): (0.79, 0.94, 0.94, 0.94),
    ("free", 3): (0.52, 0.80, 0.81, 0.81),
    ("free", 4): (0.40, 0.73, 0.74, 0.75),
}


def standardised(obs, num_aps):
    mean, std = (numbers[[0, 1, 2] + [3] * (num_aps - 1)] for numbers in SCALE)
    return SlotReports.of(((obs.unflatten(-1, (-1, num_aps + 2)) - mean) / std).flatten(-2).unsqueeze(0))


@pytest.mark.parametrize(("kind", "num_aps"), AGREEMENT)
@torch.no_grad()
def test_the_decision_is_never_above_the_best_and_mostly_it(kind, num_aps, record_property):
    """At states of the game; the formula's values are those of Exhaustive, the others of 20 draws of parameters."""
    network, envs, draws = replace(NETWORK, num_aps=num_aps), 500 if kind == "formula" else 50, 20
    _, view, cross = states(network, envs)
    mask, every = view.action_mask, joint_actions(view)
    if kind == "formula":
        values = joint_rewards(cross, 1.0).unsqueeze(0)  # (1, E, A^I), -inf where a slot is empty
        rules = [make_scheduler("graph_formula", rounds=rounds) for rounds in (0, 1, 2, -1)]
        found = [view.actions(rule.serve(view)).unsqueeze(0) for rule in rules]
    else:
        factors = random_factors(kind, range(draws), hidden=(6, 5))
        slots = SlotReports(*(x.expand(draws, *x.shape[1:]) for x in standardised(view.obs, num_aps)))
        tried = [joint_values(factors, slots, actions.expand(draws, envs, -1)).sum(-1) for actions in every]
        allowed = torch.stack([mask[:, torch.arange(num_aps), actions].all(-1) for actions in every], -1)
        values = torch.stack(tried, -1).masked_fill(~allowed, -torch.inf)
        found = [decide(factors, slots, mask.expand(draws, -1, -1, -1), rounds) for rounds in (0, 1, 2, -1)]
    place = (network.top_n + 1) ** torch.arange(num_aps - 1, -1, -1)
    joint = [(actions * place).sum(-1, keepdim=True) for actions in found]
    reached, best = [values.gather(-1, index).squeeze(-1) for index in joint], values.amax(-1)
    assert all(bool((value > -torch.inf).all()) for value in reached)  # no empty slot is served
    for less, more in itertools.pairwise(reached):
        assert bool((more >= less - 1e-9).all())
    shares = [float((value >= best - 1e-9).double().mean()) for value in reached]
    record_property("share of states decided best by 0, 1, 2, all rounds", shares)
    record_property("value of the decision by two rounds, of the best", float(reached[2].sum() / best.sum()))
    assert all(share >= least for share, least in zip(shares, AGREEMENT[kind, num_aps], strict=True))
    assert len(joint[2].unique()) > 5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 3), st.sampled_from(["rate", "free"]))
@torch.no_grad()
def test_a_round_never_lowers_the_value_and_the_end_is_one(seed, num_aps, top_n, form):
    """Where nothing changes any more, no AP has a better action while the others keep theirs."""
    factors = random_factors(form, (seed,))
    obs, mask, _ = random_network(seed, num_aps, top_n, 8)
    slots, mask = SlotReports.of(obs.unsqueeze(0)), mask.unsqueeze(0)
    found = [decide(factors, slots, mask, rounds) for rounds in range(5)]
    values = [joint_values(factors, slots, actions).sum(-1) for actions in found]
    assert all(bool((more >= less - 1e-9).all()) for less, more in itertools.pairwise(values))
    end = decide(factors, slots, mask, -1)
    assert torch.equal(end, decide(factors, slots, mask, MOST_ROUNDS))
    of_each = conditional_values(factors, slots, end)[1].masked_fill(~mask, -torch.inf)
    assert bool((of_each.gather(-1, end.unsqueeze(-1)).squeeze(-1) >= of_each.amax(-1) - 1e-9).all())


# ---- renumbering ----


def renumbered(obs, mask, aps, slots):
    """The same network with other numbers: new AP k is the old one aps[k], its new slot n the old one slots[k, n]."""
    num_aps, top_n = len(aps), slots.shape[1]
    old = obs.unflatten(-1, (top_n, -1))
    inr = torch.zeros(*old.shape[:-1], num_aps, dtype=obs.dtype)  # from every AP, 0 of the own one
    for i in range(num_aps):
        inr[:, i, :, [j for j in range(num_aps) if j != i]] = old[:, i, :, 3:]
    new = torch.zeros_like(old)
    new_mask = torch.ones_like(mask)
    for k in range(num_aps):
        others = [aps[j] for j in range(num_aps) if j != k]
        new[:, k] = torch.cat([old[:, aps[k], :, :3], inr[:, aps[k]][..., others]], -1)[:, slots[k]]
        new_mask[:, k, 1:] = mask[:, aps[k], 1:][:, slots[k]]
    return new.flatten(-2), new_mask


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 4), st.sampled_from(["rate", "free", "formula"]))
@torch.no_grad()
def test_other_numbers_of_aps_and_slots_are_other_names(seed, num_aps, top_n, kind):
    """Actions, values and what each action adds go with the numbers. Random real numbers have no ties."""
    rng = np.random.default_rng(seed)
    aps, slots = rng.permutation(num_aps), rng.permuted(np.tile(np.arange(top_n), (num_aps, 1)), axis=1)
    obs, mask, actions = random_network(seed, num_aps, top_n, 6)
    factors = Shannon(0.8) if kind == "formula" else random_factors(kind, (seed,))
    if kind == "formula":
        obs = obs.exp()
    there = [x.unsqueeze(0) for x in renumbered(obs, mask, aps, slots)]
    here = obs.unsqueeze(0), mask.unsqueeze(0)
    new_slot = torch.tensor(np.pad(1 + slots.argsort(1), ((0, 0), (1, 0))))  # (I, N+1), of the old slot

    def moved(chosen):
        """Actions (B, I) under the new numbers."""
        return new_slot.expand(len(chosen), -1, -1).gather(-1, chosen[:, aps].unsqueeze(-1)).squeeze(-1)

    for rounds in (0, 2):
        got, wanted = (decide(factors, SlotReports.of(o), m, rounds)[0] for o, m in (there, here))
        assert torch.equal(got, moved(wanted))
    new = moved(actions).unsqueeze(0)
    q = joint_values(factors, SlotReports.of(there[0]), new)
    torch.testing.assert_close(q, joint_values(factors, SlotReports.of(here[0]), actions.unsqueeze(0))[:, :, aps])
    added = conditional_values(factors, SlotReports.of(there[0]), new)[1].masked_fill(~there[1], 0)
    old = conditional_values(factors, SlotReports.of(here[0]), actions.unsqueeze(0))[1].masked_fill(~here[1], 0)
    torch.testing.assert_close(added.gather(-1, new_slot.expand(1, 6, -1, -1)), old[:, :, aps])


@pytest.mark.parametrize("network", [NETWORK, FEW])
def test_other_numbers_of_users_and_aps_in_the_game_change_no_rate(network):
    """The same links with the users and the APs in another order, from the same averages: the warm-up serves the users
    by their numbers."""
    rng, rule = np.random.default_rng(0), make_scheduler("graph_formula")
    gains = 10 ** rng.normal(
        2.0, 1.5, (3, network.warmup_ttis + network.episode_ttis + 1, network.num_aps, network.num_users)
    )
    users, aps = rng.permutation(network.num_users), rng.permutation(network.num_aps)
    games = [RRMEnv(network, gains=each, dtype=torch.float64) for each in (gains, gains[:, :, aps][..., users])]
    for game in games:
        game.reset()
    games[1].set_state(games[0].averages[:, users], games[0].transmitting[:, aps])
    place, served = torch.tensor(users.argsort()), set()
    for _ in range(50):
        first, second = (rule.serve(game.view()) for game in games)
        assert torch.equal(second, torch.where(first < 0, -1, place[first.clamp(min=0)])[:, aps])
        served |= set(map(tuple, first.tolist()))
        rates = [game.step_users(chosen)[-1]["rates"] for game, chosen in zip(games, (first, second), strict=True)]
        torch.testing.assert_close(rates[1], rates[0][:, users])
    assert len(served) > 20


# ---- the formula ----


def test_shannons_values_of_two_aps_by_hand():
    """AP 0 has users of 20 and 10 dB under -10 and 0 dB of AP 1, AP 1 one of 10 dB under 10 dB; weights 1, 8 and 2."""
    ln = np.log
    obs = torch.tensor([[[5.0, ln(1), 20, -10], [5, ln(8), 10, 0]], [[5, ln(2), 10, 10], [0, 0, 0, 0]]])[None].double()
    mask = torch.tensor([[[1, 1, 1], [1, 1, 0]]]).bool()
    log2 = np.log2
    values = {
        (0, 0): 0,
        (1, 0): log2(1 + 100),
        (2, 0): 8 * log2(1 + 10),
        (0, 1): 2 * log2(1 + 10),
        (1, 1): log2(1 + 100 / 1.1) + 2 * log2(1 + 10 / 11),
        (2, 1): 8 * log2(1 + 10 / 2) + 2 * log2(1 + 10 / 11),
    }
    for actions, value in values.items():
        assert total(shannon(1.0), obs[0].numpy(), actions) == pytest.approx(value)
    best = max(values, key=values.get)
    assert best == (2, 0)
    slots = torch.tensor([[[0, 1], [2, -1]]])
    view = ObservationView(obs.flatten(-2), mask, slots)
    assert MessageRule(lam=1.0).serve(view).tolist() == [[1, -1]]
    assert MessageRule(lam=1.0, rounds=0).serve(view).tolist() == [[1, -1]]
    # Without the weights: log2(101) + ... is best, and the second AP is worth less than what it takes away.
    flat = {a: total(shannon(0.0), obs[0].numpy(), a) for a in values}
    assert max(flat, key=flat.get) == (1, 1) and MessageRule(lam=0.0).serve(view).tolist() == [[0, 2]]


@pytest.mark.parametrize("network", [NETWORK, FEW])
@pytest.mark.parametrize("lam", [0.0, 0.8, 1.0])
def test_the_formulas_value_is_the_games_reward(network, lam):
    """sum of w^lambda log2(1 + SINR) of a joint action: as the environment pays it, and as Exhaustive counts it."""
    network = replace(network, lam=lam)
    env, view, cross = states(network, 30)
    actions = view.actions(MessageRule(lam).serve(view))
    slots = view.obs.unflatten(-1, (network.top_n, -1)).numpy()
    values = [each_value(shannon(lam), *one).sum() for one in zip(slots, actions.tolist(), strict=True)]
    place = (network.top_n + 1) ** torch.arange(network.num_aps - 1, -1, -1)
    counted = joint_rewards(cross, lam).gather(1, (actions * place).sum(-1, keepdim=True)).squeeze(1)
    np.testing.assert_allclose(values, counted, rtol=2e-3)  # INRs below -30 dB are reported as -30 dB
    _, reward, *_ = env.step(actions)
    np.testing.assert_allclose(counted, reward, rtol=1e-9)


def test_the_formula_plays_as_the_oracle_does_and_needs_its_observation():
    oracle, rule = (evaluate(make_scheduler(name, lam=0.8), NETWORK, 10) for name in ("exhaustive", "graph_formula"))
    assert rule.rewards.mean() <= oracle.rewards.mean() and rule.score == pytest.approx(oracle.score, rel=0.05)
    with pytest.raises(ValueError, match="scheduler 'G-formula' needs NetworkConfig"):
        evaluate(make_scheduler("graph_formula"), replace(NETWORK, observation="local"), 1)
    for wrong in ({"lam": 1.1}, {"rounds": -2}, {"rounds": 1001}, {"rounds": 0.5}):
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))} = "):
            make_scheduler("graph_formula", **wrong)


def test_the_rule_exchanges_what_the_agents_do_and_names_its_fields():
    assert (MessageRule().lam, MessageRule().rounds) == (1.0, AgentConfig().rounds)
    for field in ("lam", "rounds"):
        for value in ("x", None, float("nan")):
            with pytest.raises((TypeError, ValueError), match=rf"^{field} = "):
                MessageRule(**{field: value})
