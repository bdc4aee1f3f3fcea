"""What a log covers, and fitted Q evaluation: against closed forms, and against d3rlpy's on the same data."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rrmlab import AgentConfig, Dataset, NetworkConfig, Policy, collect, coverage, make_scheduler, train_offline
from rrmlab.game.views import ObservationView
from rrmlab.learning.coverage import effective_size
from rrmlab.learning.fitted_q import CRITIC, actions_on, fitted_q

NETWORK = NetworkConfig(num_aps=2, num_users=3, top_n=2, episode_ttis=40, warmup_ttis=5)


@pytest.fixture(scope="module")
def walk():
    return collect(make_scheduler("random_walk"), NETWORK, 2_000)


def test_a_uniform_author_has_the_entropy_of_the_allowed_actions(walk):
    found, allowed = coverage(walk), walk.mask[walk.rows].sum(-1).double()
    assert allowed.min() < 3  # some slots are empty
    assert found.entropy == pytest.approx(float(allowed.log().sum(-1).mean()))
    assert found.randomness == pytest.approx(1)
    assert {tuple(row) for row in walk.actions.tolist()} == set(itertools.product(range(3), repeat=2)) - {(2, 2)}
    assert found.joint_actions == 8 / 9  # of three users, never two at both APs
    assert (found.transitions, found.episodes) == (2_000, 50) and found.effective_size < 1_000
    assert found.answer == "Too short: log more deployments."
    assert found.mean_reward == pytest.approx(float(walk.rewards.mean()), rel=1e-6)


def test_a_deterministic_author_has_none():
    found = coverage(collect(make_scheduler("full_reuse"), NETWORK, 400))
    assert found.entropy == found.randomness == 0
    assert found.joint_actions < 0.5 and found.answer.startswith("Too narrow")


@pytest.mark.parametrize(
    ("probability", "values", "answer"),
    [(1 / 2, 4_000, "Enough"), (1 / 2, 2_000, "Uncertain"), (0.9, 4_000, "Uncertain")],
)
def test_the_answer_follows_from_size_and_randomness(probability, values, answer):
    """Rewards drawn anew in each TTI, by an author that takes what it logged with this probability."""
    data, rewards = two_states(40, values // 40), np.random.default_rng(4).permutation(values)
    log_prob = np.full(values, math.log(probability))
    assert coverage(replace(data, rewards=rewards, log_prob=log_prob)).answer.startswith(answer)


def test_effective_size_of_independent_repeated_and_constant_values():
    drawn = np.random.default_rng(0).normal(size=(8, 4_000))
    for times in (1, 2, 5, 20):
        repeated = [np.repeat(row, times) for row in drawn]
        assert effective_size(repeated) == pytest.approx(drawn.size, rel=0.1)
    assert effective_size([np.full(50, 7.0)]) == 50


def test_effective_size_of_an_autoregressive_series():
    """n (1 - rho) / (1 + rho)."""
    noise, rho = np.random.default_rng(1).normal(size=200_000), 0.8
    series = np.zeros_like(noise)
    for k in range(1, len(noise)):
        series[k] = rho * series[k - 1] + noise[k]
    assert effective_size([series]) == pytest.approx(len(noise) * (1 - rho) / (1 + rho), rel=0.1)


def test_what_a_deployment_has_in_common_makes_it_one_value():
    """Episodes of 500 TTIs, each about a level of its own: as many values as there are episodes."""
    rng = np.random.default_rng(2)
    series = [level + 0.1 * rng.normal(size=500) for level in rng.normal(size=200)]
    assert effective_size(series) == pytest.approx(200, rel=0.3)


class Alternate:
    """In state 0 action 1, in state 1 action 0."""

    name, knowledge = "Alternate", ObservationView

    def begin(self, key):
        pass

    def serve(self, view):
        return view.users((view.obs[..., 0] == 0).long())


def two_states(episodes=40, length=25):
    """A log of uniform actions in a game of two states: the next state is the action, the reward is 3 s + a."""
    network = NetworkConfig(num_aps=1, num_users=1, top_n=1, episode_ttis=length)
    states = np.random.default_rng(3).integers(2, size=(episodes, length + 1))
    actions, total = states[:, 1:], episodes * length
    ends = (np.arange(total) + 1) % length == 0
    obs = np.stack([states.ravel(), np.zeros(states.size)], -1)[:, None]
    return Dataset(
        obs=obs, mask=np.ones((states.size, 1, 2), bool), actions=actions.reshape(-1, 1),
        rows=np.arange(total) + np.arange(total) // length, rewards=(3.0 * states[:, :-1] + actions).ravel(),
        terminated=np.zeros(total, bool), truncated=ends, log_prob=np.full(total, -math.log(2)),
        metadata={"network": network.to_dict()},
    )  # fmt: skip


@pytest.mark.parametrize("paradigm", ["centralized", "ctde"])
@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_fitted_q_of_a_game_of_two_states(paradigm, gamma):
    """By hand: V(0) = 1 + gamma V(1), V(1) = 3 + gamma V(0)."""
    data = two_states()
    config = replace(CRITIC, paradigm=paradigm, gamma=gamma, num_updates=600, hidden=(16,), learning_rate=1e-2)
    ends = np.array([1 + 3 * gamma, 3 + gamma]) / (1 - gamma**2)
    share = float((data.obs[data.rows, 0, 0] == 1).double().mean())
    wanted = (1 - gamma) * ((1 - share) * ends[0] + share * ends[1])
    assert fitted_q(data, Alternate(), config) == pytest.approx(wanted, rel=0.01)
    assert coverage(data).entropy == pytest.approx(math.log(2)) and coverage(data).joint_actions == 1


def test_decisions_on_a_log_are_those_of_the_policy(walk):
    (policy,) = train_offline(walk, AgentConfig(num_updates=3, hidden=(8,)), seeds=[0], progress=False)
    assert isinstance(policy, Policy) and torch.equal(actions_on(policy, walk), policy.act(walk.obs, walk.mask))
    full = walk.mask[:, :, 1].long()  # the first slot, or silence where it is empty
    assert torch.equal(actions_on(make_scheduler("full_reuse"), walk), full)


def test_fitted_q_agrees_with_d3rlpy():
    """In a network whose slots are all filled, as d3rlpy has no masks; with small rewards, as its loss is Huber's."""
    d3rlpy = pytest.importorskip("d3rlpy")
    from rrmlab.with_d3rlpy import D3rlpyPolicy, to_d3rlpy

    walk = collect(make_scheduler("random_walk"), replace(NETWORK, num_aps=3, num_users=9, top_n=1), 20_000)
    walk = replace(walk, rewards=walk.rewards / 40, own_rewards=None)
    assert walk.mask.all()
    buffer, none = to_d3rlpy(walk), d3rlpy.logging.NoopAdapterFactory()
    d3rlpy.seed(0)
    scaled = d3rlpy.preprocessing.StandardObservationScaler()
    algo = d3rlpy.algos.DiscreteCQLConfig(batch_size=64, gamma=0.5, observation_scaler=scaled).create()
    algo.fit(buffer, 200, 200, show_progress=False, logger_adapter=none)
    encoder = d3rlpy.models.VectorEncoderFactory([64, 64])
    theirs = d3rlpy.ope.DiscreteFQE(
        algo, d3rlpy.ope.FQEConfig(learning_rate=1e-3, gamma=0.5, batch_size=256, encoder_factory=encoder,
                                   observation_scaler=scaled, target_update_interval=50),
    )  # fmt: skip
    d3rlpy.seed(0)
    theirs.fit(buffer, 800, 800, show_progress=False, logger_adapter=none)
    obs = walk.obs[walk.rows].flatten(1).numpy()
    values = theirs.predict_value(obs, algo.predict(obs))
    ours = fitted_q(walk, D3rlpyPolicy(algo), replace(CRITIC, gamma=0.5, num_updates=800))
    assert ours == pytest.approx(0.5 * values.mean(), rel=0.02)
    assert abs(ours / float(walk.rewards.mean()) - 1) > 0.05  # and not what the author earned


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": AgentConfig()}, "config: must be a critic with backbone 'dqn'"),
        ({"config": replace(CRITIC, gamma=1.0)}, "gamma < 1"),
        ({"policy": make_scheduler("itlinq")}, "policy = ITLinQ: looks at CrossGainView"),
        ({"policy": 3}, "policy: 3 is no scheduler and no policy"),
        ({"data": None}, "data: must be a Dataset"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(walk, change, message):
    with pytest.raises(ValueError, match=message):
        fitted_q(**({"data": walk, "policy": make_scheduler("full_reuse")} | change))


def test_episodes_that_terminate_are_refused(walk):
    with pytest.raises(ValueError, match="terminated: must be False everywhere"):
        fitted_q(replace(walk, terminated=walk.truncated), make_scheduler("full_reuse"))
    with pytest.raises(ValueError, match="dataset: must be a Dataset, got int"):
        coverage(3)
