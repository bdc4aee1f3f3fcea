"""Controls: where nothing can be learned the agent must not shine, and where it must imitate it has to.

Small networks, short episodes, fixed seeds; the margins measured are wide (see each test). Shapes: n transitions,
S seeds, I APs.
"""

import dataclasses

import numpy as np
import pytest
import torch
from test_metrics import as_result

from rrmlab.agents.config import AgentConfig
from rrmlab.agents.stack import evaluate_seeds
from rrmlab.config import NetworkConfig
from rrmlab.game.evaluation import evaluate
from rrmlab.game.schedulers import FullReuse, ITLinQ, Mixture, RandomWalk
from rrmlab.learning.collection import collect
from rrmlab.learning.offline import train_offline
from rrmlab.study import tables

pytestmark = pytest.mark.slow

NETWORK = NetworkConfig(episode_ttis=300)
EPISODES = 60
SMALL = {"hidden": (32, 32), "num_updates": 800}


@pytest.fixture(scope="module")
def random_walk():
    return collect(RandomWalk(), NETWORK, 30_000)


def shuffled(data, seed=0):
    """The same observations, rewards and joint actions, the actions permuted among all transitions of equal masks."""
    mask = data.mask[data.rows].flatten(1)
    _, group = mask.unique(dim=0, return_inverse=True)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    to, start = group.argsort(stable=True), order[group[order].argsort(stable=True)]
    actions = torch.empty_like(data.actions)
    actions[to] = data.actions[start]
    return dataclasses.replace(data, actions=actions)


def ratio(scores, reference):
    """Paired ratio of R_score to a scheduler's on common test deployments: (value, low, high)."""
    reference = evaluate(reference, NETWORK, EPISODES).rates
    return tables.paired(as_result(np.stack([s.rates for s in scores])), as_result(reference), kind="ratio")


def test_shuffling_keeps_what_it_should(random_walk):
    data = shuffled(random_walk)
    allowed = data.mask[data.rows].gather(-1, data.actions.unsqueeze(-1))
    assert allowed.all()
    assert (data.actions != random_walk.actions).any(-1).float().mean() > 0.9
    for i in range(NETWORK.num_aps):
        assert torch.equal(data.actions[:, i].bincount(), random_walk.actions[:, i].bincount())
    linked, unlinked = (
        torch.corrcoef(torch.stack([(d.actions > 0).sum(1).float(), d.rewards]))[0, 1] for d in (random_walk, data)
    )
    assert abs(unlinked) < 0.025 < 0.05 < linked  # more transmitters, more reward: 0.075 as logged


@pytest.mark.parametrize("backbone", ["dqn", "sac"])
def test_learns_from_real_actions_and_not_from_shuffled_ones(random_walk, backbone):
    """Measured against full reuse: 1.13 [1.08, 1.19] as logged, 0.6 [0.5, 0.85] with the actions shuffled; against
    the random walk that made the data: 1.2 [1.13, 1.27]."""
    config = AgentConfig("ctde", backbone, batch_size=128, **SMALL)
    learned, control = (
        evaluate_seeds(train_offline(data, config, seeds=range(3), progress=False), NETWORK, EPISODES)
        for data in (random_walk, shuffled(random_walk))
    )
    assert ratio(learned, RandomWalk())[1] > 1
    assert ratio(learned, FullReuse())[1] > 1
    assert ratio(control, FullReuse())[1] <= 1


@pytest.fixture(scope="module")
def imitation():
    """Data of a behaviour with clear preferences, held-out states, and what clones of two seeds do there (2, n, I).

    Tuned ITLinQ (serve the best user or be silent, as the cross gains say) in 70% of the TTIs, else the random walk.
    """
    behaviour = Mixture([ITLinQ(m_db=5.0, eta=0.3), RandomWalk()], [0.7, 0.3])
    data, held_out = (collect(behaviour, NETWORK, n, seed) for n, seed in ((30_000, 1), (6_000, 2)))
    states = (held_out.obs[held_out.rows], held_out.mask[held_out.rows])
    config = AgentConfig.behaviour_cloning(learning_rate=1e-3, **SMALL)
    clones = train_offline(data, config, seeds=(0, 1), progress=False)
    return data, states, torch.stack([clone.act(*states) for clone in clones])


def test_the_clones_have_something_to_imitate(imitation):
    """No constant choice agrees with them: they choose between silence and the best user by what they observe."""
    shares = imitation[2].flatten().bincount(minlength=4) / imitation[2].numel()
    assert shares[0] > 0.3 and shares[1] > 0.3


@pytest.mark.parametrize("backbone", ["dqn", "sac"])
def test_a_large_alpha_is_behaviour_cloning(imitation, backbone):
    """Agreement of an AP's choice in its held-out states, for any two seeds of agent and clone: 0.95 and more with
    alpha = 1000; 0.7 with alpha = 0.1."""
    data, states, cloned = imitation
    config = AgentConfig("ctde", backbone, alpha=1000.0, learning_rate=1e-3, **SMALL)
    for policy in train_offline(data, config, seeds=(0, 5), progress=False):
        agreement = (policy.act(*states) == cloned).float().mean((1, 2))
        assert (agreement >= 0.9).all()
    if backbone == "dqn":  # of one seed, so from the same start: also all APs' choices at once
        same_seed = train_offline(data, config, seeds=(0,), progress=False)[0]
        assert (same_seed.act(*states) == cloned[0]).all(-1).float().mean() >= 0.9
    weak = dataclasses.replace(config, alpha=0.1)
    policy = train_offline(data, weak, seeds=(0,), progress=False)[0]
    assert ((policy.act(*states) == cloned).float().mean((1, 2)) < 0.85).all()
