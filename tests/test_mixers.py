"""Mixers against a plain NumPy implementation, by their gradients, and in a small game."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrmlab.agents.config import AgentConfig
from rrmlab.agents.learner import Batch, Learner
from rrmlab.agents.mixers import EMBEDDING, MIXERS, QMix, Separate
from rrmlab.config import NetworkConfig
from rrmlab.random_streams import seeded_generators

SMALL = NetworkConfig(num_aps=2, num_users=6, top_n=2)


def qmix(seeds=(0, 1), heads=3, state_size=4):
    return QMix(seeded_generators(seeds, 0), heads, state_size).double()


def plain_qmix(mixer, values, state):
    """Q_tot of one seed, one sample at a time: values (H,), state (D,)."""
    (w, b), (v1, c1, v2, c2) = ([p.detach().numpy() for p in net.layers] for net in (mixer.weights, mixer.offset))
    out = state @ w + b[0]
    size = EMBEDDING * mixer.heads
    w1, b1, w2 = (
        np.abs(out[:size].reshape(EMBEDDING, mixer.heads)),
        out[size : size + EMBEDDING],
        np.abs(out[-EMBEDDING:]),
    )
    hidden = w1 @ values + b1
    hidden = np.where(hidden > 0, hidden, np.expm1(hidden))
    return w2 @ hidden + (np.maximum(state @ v1 + c1[0], 0) @ v2 + c2[0])[0]


@pytest.mark.parametrize("twins", [(), (2,)])
def test_qmix_is_its_equation(twins):
    mixer, g = qmix(), torch.Generator().manual_seed(0)
    values = torch.randn(2, *twins, 3, 5, generator=g, dtype=torch.float64)
    state = torch.randn(2, 5, 4, generator=g, dtype=torch.float64)
    total = mixer(values, state).detach()
    assert total.shape == (2, *twins, 1, 5)
    for s in range(2):
        one = qmix()
        one.weights.layers = torch.nn.ParameterList(p[s] for p in mixer.weights.layers)
        one.offset.layers = torch.nn.ParameterList(p[s] for p in mixer.offset.layers)
        for index in np.ndindex(*twins, 5):
            *twin, b = index
            expected = plain_qmix(one, values[(s, *twin)][:, b].numpy(), state[s, b].numpy())
            assert float(total[(s, *twin, 0, b)]) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_gradients_of_qmix():
    mixer, g = qmix(seeds=(3,)), torch.Generator().manual_seed(1)
    state = torch.randn(1, 4, 4, generator=g, dtype=torch.float64)
    values = torch.randn(1, 2, 3, 4, generator=g, dtype=torch.float64, requires_grad=True)
    parameters = list(mixer.parameters())
    assert torch.autograd.gradcheck(lambda v, *_: mixer(v, state), (values, *parameters), atol=1e-7)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_qmix_rises_in_every_head(seed, heads):
    """So that the heads' own greedy actions are greedy for Q_tot."""
    g = torch.Generator().manual_seed(seed)
    mixer = qmix(seeds=(seed,), heads=heads)
    values = torch.randn(1, heads, 7, generator=g, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(mixer(values, torch.randn(1, 7, 4, generator=g, dtype=torch.float64)).sum(), values)
    assert (slope >= 0).all() and (slope > 0).any()


def test_sum_and_none():
    values, state = torch.randn(2, 3, 4, 5), torch.randn(2, 5, 8)
    assert torch.equal(MIXERS["sum"]([], 4, 8)(values, state), values.sum(-2, keepdim=True))
    assert torch.equal(Separate()(values, state), values)


def test_a_mixer_needs_heads_to_mix():
    for paradigm in ("centralized", "independent"):
        with pytest.raises(ValueError, match="mixer = 'qmix': paradigm = "):
            AgentConfig(paradigm, mixer="qmix")


def batch_of(rewards, actions):
    """States that are all alike: (1, B) rewards of joint actions (B, 2) of two APs with two slots."""
    num = len(actions)
    obs = torch.zeros(1, num, 2, 4)
    mask = torch.ones(1, num, 2, 3, dtype=torch.bool)
    ends = torch.ones(1, num, dtype=torch.bool)
    return Batch(obs, mask, actions[None], rewards[None], ends, obs, mask)


def test_qmix_fits_a_payoff_that_no_sum_can_represent():
    """Reward 1 only if both APs take action 2: monotonic in both heads and not additive."""
    actions = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    rewards = (actions == 2).all(-1).float()
    error = {}
    for mixer in ("sum", "qmix"):
        agent = AgentConfig(mixer=mixer, backbone="dqn", alpha=0.0, gamma=0.0, hidden=(16,), learning_rate=1e-2)
        learner = Learner(agent, SMALL, [0])
        for _ in range(600):
            metrics = learner.update(batch_of(rewards, actions))
        error[mixer] = float(metrics.td_loss[0])
    # Of the table's variance 8/81 an additive table leaves 4/81.
    assert error["sum"] == pytest.approx(4 / 81, rel=0.02)
    assert error["qmix"] < 1e-3


def test_target_mixer_follows_softly_and_is_kept_in_checkpoints():
    agent = AgentConfig(mixer="qmix", hidden=(4,), batch_size=9, target_rate=0.25)
    actions = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    batch = batch_of(torch.rand(9), actions)
    learner = Learner(agent, SMALL, [0])
    before = [p.clone() for p in learner.target_mixer.parameters()]
    learner.update(batch)
    for old, new, slow in zip(before, learner.mixer.parameters(), learner.target_mixer.parameters(), strict=True):
        torch.testing.assert_close(slow, 0.75 * old + 0.25 * new)
    other = Learner(agent, SMALL, [0])
    other.load_state_dict(learner.state_dict())
    for one in (learner, other):
        one.update(batch)
    assert all(torch.equal(a, b) for a, b in zip(learner.mixer.parameters(), other.mixer.parameters(), strict=True))
    assert {"mixer.weights.layers.0", "critic.0", "actor.0"} <= learner.parameters().keys()
