"""Policies and schedulers inside others (late reports, mixtures, all at once), and what only their network refuses."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch

from rrmlab import (
    AgentConfig,
    ImperfectReports,
    NetworkConfig,
    Policy,
    RRMEnv,
    collect,
    coverage,
    evaluate,
    evaluate_seeds,
    make_scheduler,
    mix,
    train_offline,
)
from rrmlab.game.evaluation import evaluate_all, on_device
from rrmlab.game.schedulers import Mixture
from rrmlab.learning.fitted_q import CRITIC, fitted_q
from rrmlab.random_streams import PolicyStream

NETWORK = NetworkConfig(episode_ttis=20, warmup_ttis=5)
DATA = collect(make_scheduler("random_walk"), NETWORK, 200)
POLICY, OTHER = train_offline(DATA, AgentConfig(num_updates=2, hidden=(8,)), [0, 1], progress=False)
NARROW = dataclasses.replace(NETWORK, top_n=2)
LARGE = NetworkConfig(num_aps=20, num_users=60, area_m=1_500.0, min_ap_ap_m=10.0, episode_ttis=5)


class Duck:
    """No Scheduler, but has all that a behaviour must have."""

    name, knowledge = "Duck", make_scheduler("full_reuse").knowledge

    def begin(self, key):
        pass

    def serve(self, view):
        return view.slots[..., 0]

    def log_prob(self, view, actions):
        return torch.where(actions == 1, 0.0, -math.inf).double().sum(-1)


UNFIT = {
    "a policy of three slots": (POLICY, NARROW, "top_n"),
    "a formula without gains": (make_scheduler("graph_formula"), NETWORK, "observation"),
    "a search of too many actions": (make_scheduler("exhaustive"), LARGE, r"num_aps = 20, top_n = 3.*joint actions"),
    "a search of too many sets": (make_scheduler("best_subset"), LARGE, r"num_aps = 20, top_n = 3.*sets of APs"),
}
WRAPPERS = {
    "alone": lambda behaviour: behaviour,
    "late": lambda behaviour: ImperfectReports(behaviour, delay_ttis=1),
    "mixed": lambda behaviour: Mixture([make_scheduler("full_reuse"), behaviour]),
    "mixed twice": lambda behaviour: Mixture([Mixture([behaviour])]),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("kind", UNFIT)
def test_what_does_not_fit_the_network_is_refused_before_the_first_draw(kind, wrapper, monkeypatch):
    behaviour, network, words = UNFIT[kind]
    if "mixed" in wrapper and not hasattr(behaviour, "log_prob"):
        return  # refused when it is mixed
    wrapped = WRAPPERS[wrapper](behaviour)
    monkeypatch.setattr("rrmlab.game.env.RRMEnv.reset", lambda *_: pytest.fail("an episode was started"))
    for run in (lambda: evaluate(wrapped, network, 2), lambda: collect(wrapped, network, 20)):
        with pytest.raises(ValueError, match=words):
            run()


def test_a_mixture_of_something_without_parameters_is_logged():
    data = collect(Mixture([Duck(), make_scheduler("full_reuse")]), NETWORK, 40)
    data.check()
    assert [member["name"] for member in data.metadata["behaviour_parameters"]["members"]] == ["Duck", "Full reuse"]
    assert bool((data.actions == 1).all())


@pytest.mark.parametrize("wrapper", ["late", "mixed", "mixed twice"])
def test_a_device_reaches_the_policy_inside(wrapper, monkeypatch):
    asked = []
    monkeypatch.setattr(Policy, "to", lambda self, device: asked.append(device) or copy.copy(self))
    wrapped = WRAPPERS[wrapper](POLICY)
    moved = on_device(wrapped, "cpu")
    assert asked == ["cpu"] and moved is not wrapped and type(moved) is type(wrapped)
    plain = WRAPPERS[wrapper](make_scheduler("random_walk"))
    assert on_device(plain, "cpu") is plain, "its state stays that of one object"
    assert evaluate(moved, NETWORK, 3).score == evaluate(wrapped, NETWORK, 3).score


def test_the_most_noise_that_is_taken_leaves_all_finite():
    with pytest.raises(ValueError, match=r"noise_db = 41: must lie in 0 \.\.\. 40"):
        ImperfectReports(POLICY, noise_db=41)
    stream = PolicyStream(torch.zeros(1, 3, dtype=torch.int64), 0, 1)
    reports = ImperfectReports(make_scheduler("full_reuse"), noise_db=40)
    reports.begin(torch.zeros(1, 3, dtype=torch.int64))
    for uniform in (0.0, 1 - 2.0**-53):  # the least and the largest that a generator gives
        stream.next = lambda uniform=uniform: torch.full((1, 1), uniform, dtype=torch.float64)
        reports._noise[7] = stream
        assert bool(reports._error(7, torch.ones(1, 1, 1)).isfinite())
    collect(reports, NETWORK, 400).check()


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (make_scheduler("random_walk"), "Random walk: draws its actions"),
        (POLICY.sampled(), "draws its actions"),
        (make_scheduler("graph_formula"), "looks at|observation"),
    ],
)
def test_fitted_q_takes_what_always_does_the_same(policy, words):
    with pytest.raises(ValueError, match=words):
        fitted_q(DATA, policy, dataclasses.replace(CRITIC, num_updates=1))
    narrow = collect(make_scheduler("random_walk"), NARROW, 40)
    with pytest.raises(ValueError, match="top_n"):
        fitted_q(narrow, POLICY, dataclasses.replace(CRITIC, num_updates=1))


def test_a_new_state_is_kept_where_users_arrive():
    network = NetworkConfig(
        num_users=90, mean_users=20.0, mean_stay_s=0.05, require_users=False, episode_ttis=50, warmup_ttis=5
    )
    env = RRMEnv(network, 3, seed=1)
    env.reset()
    arrived = 0
    for _ in range(20):
        env.set_state(torch.full((3, 90), 7.0), torch.zeros(3, 4, dtype=torch.bool))
        assert bool((env.averages == 7).all())
        arrived += int(((env.deployment.arrives == env._time) & (env.serving >= 0)).sum())
        env.step_users(env.slots[..., 0].clone())
    assert arrived, "some arrived in a TTI whose state was set"


def test_drawn_numbers_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch):
    key = torch.tensor([[0, 1, 2], [0, 1, 3]])
    usual = PolicyStream(key, 4, 3)
    monkeypatch.setattr("rrmlab.random_streams.BLOCK_NUMBERS", 40)
    few = PolicyStream(key, 4, 3)
    for _ in range(30):
        assert torch.equal(usual.next(), few.next())
    assert len(few._block) == 6


def test_parts_of_a_mix_that_are_too_small_are_named():
    with pytest.raises(ValueError, match=r"proportions = .*datasets\[0\] would give 225 of 300 transitions.*holds 200"):
        mix([DATA, DATA], [3, 1], 300)
    with pytest.raises(ValueError, match=r"datasets\[0\] would give 0 of 100"):
        mix([DATA, DATA], [1, 1000], 100)
    assert len(mix((part for part in [DATA, DATA]), [1, 1], 10)) == 10
    one, two = evaluate_all((make_scheduler(name) for name in ("full_reuse", "threshold")), NETWORK, 2)
    assert one.score != two.score


def test_probabilities_in_place_of_logarithms_are_refused():
    wrong = dataclasses.replace(DATA, log_prob=torch.ones(200, dtype=torch.float64))
    for use in (wrong.check, lambda: coverage(wrong)):
        with pytest.raises(ValueError, match=r"log_prob: must be at most 0, .*log_prob\[0\] = 1"):
            use()


@pytest.mark.parametrize("change", [lambda a: a[::-1], lambda a: a.astype(">f8"), lambda a: np.asfortranarray(a)])
def test_arrays_of_any_order_are_acted_on(change):
    obs = DATA.obs[:6].numpy()
    assert torch.equal(POLICY.act(change(obs)), POLICY.act(torch.from_numpy(np.ascontiguousarray(change(obs)) * 1.0)))


def test_numbers_beyond_float32_are_refused():
    with pytest.raises(ValueError, match="obs: must be finite in float32"):
        POLICY.act(np.full((4, 6), 1e300))


def test_results_and_logs_are_compared_by_identity():
    scores = evaluate(make_scheduler("tdm"), NETWORK, 2)
    assert scores == scores and DATA == DATA and len({DATA, DATA}) == 1  # noqa: PLR0124
    assert scores != evaluate(make_scheduler("tdm"), NETWORK, 2)


def test_policies_that_do_not_belong_together_are_told_apart():
    shorter = train_offline(DATA, AgentConfig(num_updates=1, hidden=(8,)), [0], progress=False)
    with pytest.raises(ValueError, match="differ in num_updates"):
        evaluate_seeds([POLICY, *shorter], NETWORK, 2)
    with pytest.raises(ValueError, match="differ in stochastic"):
        evaluate_seeds([POLICY, OTHER.sampled()], NETWORK, 2)
    wide = dataclasses.replace(NETWORK, observation="neighbours")
    graph_data = collect(make_scheduler("random_walk"), wide, 40)
    (graph,) = train_offline(graph_data, AgentConfig.graph(num_updates=1, hidden=(8,), lam=0.8), [0], progress=False)
    with pytest.raises(ValueError, match="differ in lam"):  # which agent and network both have
        evaluate_seeds([graph, graph.deciding(lam=0.3)], wide, 2)
    with pytest.raises(ValueError, match="at least one Policy"):
        evaluate_seeds([], NETWORK, 2)
    with pytest.raises(ValueError, match="noise_db = None"):
        evaluate_seeds([POLICY], NETWORK, 2, noise_db=None)
