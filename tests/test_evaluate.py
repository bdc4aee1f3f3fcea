"""Scores of schedulers and policies: what is scored, on which deployments, alone and side by side.

Shapes: D episodes, T TTIs, J users, S training seeds.
"""

import dataclasses

import numpy as np
import pytest
import torch
from agents import agent_of
from reference_game import ReferenceGame

from rrmlab.agents.policy import Policy
from rrmlab.agents.stack import evaluate_seeds
from rrmlab.config import NetworkConfig
from rrmlab.game import evaluation
from rrmlab.game.deployment import Deployment
from rrmlab.game.evaluation import Scores, evaluate
from rrmlab.game.schedulers import FullReuse, ITLinQ, Mixture, RandomWalk
from rrmlab.learning.collection import collect
from rrmlab.learning.offline import train_offline
from rrmlab.study.tuning import tune_scheduler

NETWORK = NetworkConfig(num_aps=3, num_users=9, top_n=2, episode_ttis=60, warmup_ttis=20)
KINDS = [
    ("ctde", "sac"),
    ("centralized", "sac"),
    ("independent", "dqn"),
    ("centralized", "dqn"),
    ("ctde", "bc"),
]
cuda = pytest.param(
    "cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]
)


@pytest.fixture(scope="module")
def data():
    return collect(RandomWalk(), NETWORK, 600)


def trained(data, paradigm="ctde", backbone="sac", seeds=(0, 1, 2)) -> list[Policy]:
    config = agent_of(paradigm, backbone, hidden=(16,), num_updates=40, batch_size=64)
    return train_offline(data, config, seeds, progress=False)


def assert_equal(first, second):
    for field in dataclasses.fields(Scores):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name), err_msg=field.name)


# --- what is scored -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["test", "validation"])
def test_scores_are_those_of_the_reference_game(split):
    """Means over the counted TTIs of the reference game, on the deployments that `split` names."""
    scores = evaluate(FullReuse(), NETWORK, 2, seed=5, split=split)
    deployment = Deployment.draw(NETWORK, 2, seed=5, split=split)
    for e in range(2):
        game = ReferenceGame.of(NETWORK, deployment, e)
        game.reset()
        rates, rewards, ended = [], [], False
        while not ended:
            _, reward, _, ended, rate = game.step_users(game.slots[:, 0])
            rates.append(rate)
            rewards.append(reward)
        assert len(rates) == NETWORK.episode_ttis
        np.testing.assert_allclose(scores.rates[e], np.mean(rates, 0), rtol=1e-4)
        np.testing.assert_allclose(scores.rewards[e], np.mean(rewards), rtol=1e-4)


def test_fields_of_the_scores_agree():
    config = dataclasses.replace(NETWORK, tail_weight=2.0)
    scores = evaluate(RandomWalk(), config, 8)
    assert scores.rates.shape == (8, 9)
    assert scores.rewards.shape == (8,)
    assert scores.rates.dtype == scores.rewards.dtype == np.float64
    assert scores.sum_rate == pytest.approx(scores.rates.sum() / 8)
    assert scores.tail_rate == pytest.approx(np.percentile(scores.rates, 5))
    assert scores.score == pytest.approx(scores.rates.mean() + 2 * scores.tail_rate)
    assert scores.score == pytest.approx(evaluation.score(scores.rates, 2.0))
    assert (scores.rates >= 0).all()
    assert all(type(getattr(scores, name)) is float for name in ("sum_rate", "tail_rate", "score"))


def test_each_split_and_seed_has_its_own_deployments():
    found = {
        (split, seed): evaluate(FullReuse(), NETWORK, 2, seed, split).rates.tobytes()
        for split in ("train", "validation", "test")
        for seed in (0, 1)
    }
    assert len(set(found.values())) == 6
    assert evaluate(FullReuse(), NETWORK, 2).rates.tobytes() == found["test", 0], "the default is the first test seed"


@pytest.mark.parametrize(
    "make",
    [RandomWalk, FullReuse, ITLinQ, lambda: Mixture([RandomWalk(), FullReuse()])],
    ids=["walk", "reuse", "itlinq", "mixture"],
)
def test_the_same_seed_gives_the_same_scores(make):
    behaviour = make()
    first = evaluate(behaviour, NETWORK, 3, seed=1)
    assert_equal(evaluate(behaviour, NETWORK, 3, seed=1), first)  # the object keeps nothing of the first run
    assert_equal(evaluate(make(), NETWORK, 3, seed=1), first)


def test_bad_requests(data):
    policies = trained(data, seeds=[0])
    for num in (0, -3):
        with pytest.raises(ValueError, match=f"num_episodes = {num}: must be at least 1"):
            evaluate(FullReuse(), NETWORK, num)
        with pytest.raises(ValueError, match=f"num_episodes = {num}"):
            evaluate_seeds(policies, NETWORK, num)
    with pytest.raises(ValueError, match="'training': must be one of train, validation, test"):
        evaluate(FullReuse(), NETWORK, 1, split="training")
    with pytest.raises(ValueError, match="seed = -1"):
        evaluate(FullReuse(), NETWORK, 1, seed=-1)
    with pytest.raises(ValueError, match="a list of at least one Policy"):
        evaluate_seeds([], NETWORK, 1)
    with pytest.raises(ValueError, match="of one configuration, they differ in paradigm"):
        evaluate_seeds([*policies, *trained(data, "independent", seeds=[0])], NETWORK, 1)
    with pytest.raises(ValueError, match="must be greedy, these draw"):
        evaluate_seeds([policies[0].sampled()], NETWORK, 1)


@pytest.mark.parametrize("change", [{"top_n": 3}, {"num_aps": 2}], ids=["N", "I"])
def test_a_policy_of_another_network_is_refused_before_it_runs(data, change, monkeypatch):
    policies = trained(data)
    monkeypatch.setattr(evaluation, "RRMEnv", None)
    with pytest.raises(ValueError, match=f"another network: {next(iter(change))} = "):
        evaluate(policies[0], dataclasses.replace(NETWORK, **change), 2)
    with pytest.raises(ValueError, match="another network"):
        evaluate_seeds(policies, dataclasses.replace(NETWORK, **change), 2)


# --- policies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("paradigm", "backbone"), KINDS)
def test_seeds_side_by_side_score_as_each_alone(data, paradigm, backbone, monkeypatch):
    policies = trained(data, paradigm, backbone)
    together = evaluate_seeds(policies, NETWORK, 4, seed=2)
    assert len(together) == 3
    for policy, scores in zip(policies, together, strict=True):
        assert_equal(scores, evaluate(policy, NETWORK, 4, seed=2))
    assert len({scores.sum_rate for scores in together}) == 3, "the seeds are different policies"
    monkeypatch.setattr(evaluation, "EVALUATION_ENVS", 7)  # two of each seed at once, and a last one
    for scores, again in zip(together, evaluate_seeds(policies, NETWORK, 5, seed=2), strict=True):
        np.testing.assert_array_equal(again.rates[:4], scores.rates)


def test_a_greedy_policy_is_what_act_says(data):
    """`evaluate` adds nothing to `act`: a loop over the environment serves the same users."""
    policy = trained(data, seeds=[4])[0]
    env = evaluation.RRMEnv(NETWORK, 3, seed=6, split="test")
    obs, info = env.reset()
    total = 0.0
    for _ in range(NETWORK.episode_ttis):
        obs, _, _, _, info = env.step(policy.act(obs, info["action_mask"]))
        total = total + info["rates"].double()
    np.testing.assert_array_equal(evaluate(policy, NETWORK, 3, seed=6).rates, total.numpy() / NETWORK.episode_ttis)


@pytest.mark.parametrize("paradigm", ["ctde", "centralized"])
def test_a_sampled_policy_has_a_score_of_its_own(data, paradigm):
    policy = trained(data, paradigm, seeds=[0])[0]
    sampled = evaluate(policy.sampled(), NETWORK, 6)
    assert_equal(evaluate(policy.sampled(), NETWORK, 6), sampled)
    assert sampled.sum_rate != evaluate(policy, NETWORK, 6).sum_rate
    np.testing.assert_array_equal(evaluate(policy.sampled(), NETWORK, 3).rates, sampled.rates[:3])


@pytest.mark.parametrize("device", ["cpu", cuda])
def test_the_device_argument(data, device):
    """Schedulers and policies, wherever they were trained: the same channels, up to float32 rounding."""
    for behaviour in (FullReuse(), RandomWalk(), trained(data, seeds=[0])[0]):
        scores = evaluate(behaviour, NETWORK, 3, device=torch.device(device))
        expected = evaluate(behaviour, NETWORK, 3, device="cpu")
        assert type(scores.rates) is np.ndarray
        np.testing.assert_allclose(scores.rates.sum(1), expected.rates.sum(1), rtol=0.02)
    for scores in evaluate_seeds(trained(data), NETWORK, 3, device=device):
        assert scores.rates.shape == (3, 9)


# --- tuning -------------------------------------------------------------------------------------------------


def test_a_scheduler_is_tuned_on_validation_deployments():
    rows = tune_scheduler(ITLinQ, {"m_db": [25.0, 0.0], "eta": [0.7, 0.5]}, NETWORK, num_episodes=4, seed=1)
    assert {(row["m_db"], row["eta"]) for row in rows} == {(25.0, 0.7), (25.0, 0.5), (0.0, 0.7), (0.0, 0.5)}
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    for row in rows:
        scores = evaluate(ITLinQ(row["m_db"], row["eta"]), NETWORK, 4, seed=1, split="validation")
        assert (row["sum_rate"], row["tail_rate"], row["score"]) == (
            scores.sum_rate,
            scores.tail_rate,
            scores.score,
        )
