"""What the code takes as tuned is what the committed trials chose, and every method had as many trials."""

import ast
from pathlib import Path

import pandas as pd
import pytest
import torch

from rrmlab import NetworkConfig, collect, make_scheduler
from rrmlab.agents.config import AgentConfig, method_name
from rrmlab.agents.graph_learner import make_scale
from rrmlab.study import methods, tuning, untuned

TABLES = Path(__file__).resolve().parents[1] / "figures" / "tables"


def taken():
    """Method, table of its trials, and the hyper-parameters that the study takes."""
    for learner, choice in tuning.TUNED.items():
        yield method_name(AgentConfig(*learner)), "04_training_paradigms_tuning", choice
    yield "BC", "04_training_paradigms_tuning", tuning.BC_TUNED
    for backbone, choice in tuning.ONLINE_TUNED.items():
        yield method_name(AgentConfig(backbone=backbone), online=True), "03_datasets_tuning", choice


def test_the_graph_takes_a_trial_that_is_as_good_as_the_best():
    trials = pd.read_csv(TABLES / "14_agents_that_talk_tuning.csv")
    mean = trials.groupby(list(tuning.GRAPH_GRID)).score.mean()
    assert len(mean) == 12 and trials.groupby(list(tuning.GRAPH_GRID)).size().eq(2).all()
    assert mean.max() - mean[tuple(tuning.GRAPH_TUNED[name] for name in tuning.GRAPH_GRID)] < 0.01


@pytest.mark.parametrize("method, table, choice", list(taken()), ids=lambda value: value if type(value) is str else "")
def test_the_best_trial_is_taken(method, table, choice):
    trials = pd.read_csv(TABLES / f"{table}.csv")
    trials = trials[trials.method == method]
    assert trials.trial.nunique() == 12
    best = trials[trials.trial == trials.groupby("trial").score.mean().idxmax()].iloc[0]
    for name, value in choice.items():
        found = ast.literal_eval(best[name]) if name == "hidden" else best[name]
        assert found == value, name


def test_the_best_points_of_the_schedulers_are_taken():
    itlinq, threshold = (pd.read_csv(TABLES / f"02_baselines_{name}.csv") for name in ("itlinq", "threshold"))
    assert len(itlinq) == len(threshold) == 49  # a scheduler is given as many points as another
    taken = {name: methods.find(name).scheduler for name in tuning.tuned_schedulers(itlinq, threshold)}
    assert taken == tuning.tuned_schedulers(itlinq, threshold)


def test_the_exponent_of_the_weights_is_the_best_of_both_rules_mean():
    scores = pd.read_csv(TABLES / "02_baselines_lam.csv").groupby("lam").score.agg(["mean", "size"])
    assert {"lam": scores["mean"].idxmax()} == tuning.LAM_TUNED
    assert list(scores.index) == list(tuning.LAM_GRID["lam"]) and set(scores["size"]) == {2}


def test_the_trials_of_every_learner_are_committed():
    trials = pd.read_csv(TABLES / "04_training_paradigms_tuning.csv")
    learners = {method_name(AgentConfig(*learner)) for learner in tuning.TUNED} | {"BC"}
    assert learners == set(trials.method)


@pytest.mark.parametrize("table", ["02_baselines_summary", "04_training_paradigms_summary", "02_baselines_knowledge"])
def test_every_scheduler_is_scored(table):
    schedulers = {name for name, method in methods.METHODS.items() if method.scheduler}
    assert schedulers <= set(pd.read_csv(TABLES / f"{table}.csv").method)


def test_usual_defaults_are_not_tuned_and_rewards_may_stay_raw():
    agents = untuned.usual_defaults("centralized", 2_000)
    assert len(agents) == len(set(agents)) == 2 * 3 + 3 + 2
    assert {(agent.paradigm, agent.backbone, agent.alpha) for agent in agents} == {("centralized", "sac", 1.0)}
    assert {agent.gamma for agent in agents if agent.num_updates > 2_000} == {0.99}
    data = collect(make_scheduler("random_walk"), NetworkConfig(episode_ttis=20, warmup_ttis=5), 200)
    for standardised in (True, False):
        agent = AgentConfig(standardise_rewards=standardised)
        scale = make_scale(agent, data.obs, data.mask, data.rewards)
        spread = data.rewards.std(correction=0) if standardised else 1.0
        mean = data.rewards.mean() if standardised else 0.0
        torch.testing.assert_close(scale.reward(data.rewards), (data.rewards - mean) / spread)
        assert torch.equal(
            scale.obs(data.obs), make_scale(AgentConfig(), data.obs, data.mask, data.rewards).obs(data.obs)
        )
