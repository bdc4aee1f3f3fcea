"""Every public object plays on the same way after it was copied, stored or sent to another process."""

import copy
import io
import multiprocessing
import pickle

import cloudpickle  # a requirement of Gymnasium
import numpy as np
import pytest
import torch

from rrmlab import (
    AgentConfig,
    Deployment,
    ImperfectReports,
    NetworkConfig,
    RRMEnv,
    collect,
    evaluate,
    make_scheduler,
    train_offline,
    train_online,
)
from rrmlab.agents.stack import PolicyStack
from rrmlab.game.schedulers import SCHEDULERS, Mixture
from rrmlab.interop import RRMParallelEnv

NETWORK = NetworkConfig(num_aps=3, num_users=9, top_n=2, episode_ttis=40, warmup_ttis=20, observation="neighbours")
AGENT = AgentConfig(hidden=(8,), batch_size=16, num_updates=10)
STEPS = 10


def started(num_envs=3, **options):
    """An environment five TTIs into its second episode."""
    env = RRMEnv(NETWORK, num_envs, **options)
    env.reset()
    env.reset()
    for _ in range(5):
        env.step(env.action_mask[..., 1].long())
    return env


def play_env(env):
    """What the next steps return; an environment that was not started yet is started."""
    seen = [env.reset()[0]] if not hasattr(env, "obs") else []
    for _ in range(STEPS):
        obs, reward, *_, info = env.step(env.action_mask[..., 1].long())
        seen += [obs, reward, info["rates"], env.snr]
    return seen


def play_behaviour(pair):
    behaviour, env = pair
    return [env.step_users(behaviour.serve(env.view(behaviour.knowledge)))[0] for _ in range(STEPS)]


def play_deployment(deployment):
    env = RRMEnv(NETWORK, len(deployment))
    env.reset(deployment)
    return play_env(env)


def play_network(config):
    return play_env(RRMEnv(config, 2))


def play_data(data):
    return list(train_offline(data, AGENT, [0], progress=False)[0].tensors.values())


def play_agent(config):
    return list(train_offline(log(), config, [0], progress=False)[0].tensors.values())


def play_decision(decide):
    return [decide(obs) for obs in log().obs[:, 1].numpy()]


def play_network_decision(decide):
    return [decide(obs) for obs in log().obs.numpy()]


def play_run(run):
    return [*run.policy.tensors.values(), *play_data(run.data)]


def play_scores(scores):
    return [scores.rates, scores.rewards, scores.score]


def play_parallel(env):
    seen = []
    for _ in range(STEPS):
        chosen = {agent: int(env.env.action_mask[0, i, 1]) for i, agent in enumerate(env.agents)}
        observations, rewards, *_ = env.step(chosen)
        seen += [*(value["observation"] for value in observations.values()), *rewards.values()]
    return seen


def log():
    return collect(make_scheduler("random_walk"), NETWORK, 100)


def policy(backbone="sac"):
    agent = AgentConfig(backbone=backbone, hidden=(8,), batch_size=16, num_updates=3)
    return train_offline(log(), agent, [0], progress=False)[0]


def graph():
    agent = AgentConfig.graph(hidden=(8,), batch_size=16, num_updates=3)
    return train_offline(log(), agent, [0], progress=False)[0]


def begun(behaviour, num_envs=3):
    """A behaviour and its environment, five TTIs into an episode."""
    env = RRMEnv(NETWORK, num_envs)
    env.reset()
    behaviour.begin(env.deployment.key)
    for _ in range(5):
        env.step_users(behaviour.serve(env.view(behaviour.knowledge)))
    return behaviour, env


def parallel():
    env = RRMParallelEnv(NETWORK)
    env.reset(seed=3)
    play_parallel(env)
    return env


OBJECTS = {
    "environment, not started": (lambda: RRMEnv(NETWORK, 3), play_env),
    "environment": (started, play_env),
    "environment, copies, float64": (lambda: started(4, copies=2, dtype=torch.float64), play_env),
    "deployment": (lambda: Deployment.draw(NETWORK, 3), play_deployment),
    "slice of a deployment": (lambda: Deployment.draw(NETWORK, 3)[1:], play_deployment),
    "network": (lambda: NETWORK, play_network),
    "agent": (lambda: AGENT, play_agent),
    **{name: (lambda name=name: begun(make_scheduler(name)), play_behaviour) for name in SCHEDULERS},
    "mixture": (lambda: begun(Mixture([make_scheduler("random_walk"), make_scheduler("itlinq")])), play_behaviour),
    "greedy policy": (lambda: begun(policy("dqn")), play_behaviour),
    "sampled policy": (lambda: begun(policy().sampled()), play_behaviour),
    "policy of a graph": (lambda: begun(graph()), play_behaviour),
    "stack of graphs": (lambda: begun(PolicyStack([graph(), graph()]), 4), play_behaviour),
    "decision of one AP": (lambda: policy().local(1), play_decision),
    "decision of a network": (lambda: graph().local_network(), play_network_decision),
    "stack of policies": (lambda: begun(PolicyStack([policy(), policy()]), 4), play_behaviour),
    "late and noisy reports": (lambda: begun(ImperfectReports(policy().sampled(), 3, 2.0)), play_behaviour),
    "dataset": (log, play_data),
    "run of an online training": (
        lambda: train_online(NETWORK, AgentConfig(alpha=0.0, hidden=(8,)), [0], 60, 4, progress=False)[0], play_run
    ),
    "scores": (lambda: evaluate(make_scheduler("full_reuse"), NETWORK, 2), play_scores),
    "PettingZoo environment": (parallel, play_parallel),
}  # fmt: skip


def through_torch(value):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "cloudpickle": lambda value: pickle.loads(cloudpickle.dumps(value)),
    "torch.save": through_torch,
}


def play(name, value):
    """The numbers of the next steps, as arrays that nobody else holds."""
    return [torch.as_tensor(part).detach().numpy().copy() for part in OBJECTS[name][1](value)]


def assert_same(got, wanted, where):
    assert len(got) == len(wanted)
    for step, (ours, theirs) in enumerate(zip(got, wanted, strict=True)):
        np.testing.assert_array_equal(ours, theirs, err_msg=f"{where}, part {step}")


@pytest.fixture(scope="module")
def workers():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        yield pool


@pytest.mark.parametrize("name", OBJECTS)
def test_a_copy_plays_the_same_next_steps(name, workers):
    make, _ = OBJECTS[name]
    wanted, value = play(name, make()), make()
    for how, copied in [(how, copied(value)) for how, copied in COPIES.items()]:
        assert_same(play(name, copied), wanted, how)
    # PyTorch sends tensors to another process in memory that all of them share; here four play at once on two.
    for got in workers.starmap(play, [(name, value)] * 4, chunksize=1):
        assert_same(got, wanted, "a spawned process")
    assert_same(play(name, value), wanted, "the original")


def test_a_shallow_copy_of_an_environment_is_one_of_its_own():
    """A block of gains that one of them moves on to, or another episode, is not the other's."""
    wanted, env = play("environment", started()), started()
    other = copy.copy(env)
    other.reset()
    assert_same(play("environment", env), wanted, "after a reset of the copy")
