"""Losses and paradigms against brute force over actions. Shapes: H heads, B batch, I APs, N top users, A actions."""

import itertools
import math

import numpy as np
import pytest
import torch

from rrmlab.agents import losses
from rrmlab.agents.config import AgentConfig
from rrmlab.agents.learner import Learner
from rrmlab.agents.paradigms import JOINT_ACTION_LIMIT, PARADIGMS
from rrmlab.config import NetworkConfig


def random_heads(seed, heads=3, batch=20, actions=4):
    """Values (H, B, A), masks with silence always allowed, allowed actions (H, B); float64."""
    g = torch.Generator().manual_seed(seed)
    q = 3 * torch.randn(heads, batch, actions, generator=g, dtype=torch.float64)
    mask = torch.rand(heads, batch, actions, generator=g) < 0.6
    mask[..., 0] = True
    taken = torch.multinomial(mask.flatten(0, 1).double(), 1, generator=g).view(heads, batch)
    return q, mask, taken


def test_cql_penalty_is_a_masked_logsumexp():
    q, mask, taken = random_heads(0)
    q[~mask] += 1e3  # what is not available must not count, however large its value
    penalty = losses.cql_penalty(q, mask, taken)
    for h, b in itertools.product(range(3), range(20)):
        allowed = q[h, b][mask[h, b]].numpy()
        expected = np.log(np.exp(allowed).sum()) - float(q[h, b, taken[h, b]])
        np.testing.assert_allclose(float(penalty[h, b]), expected, rtol=1e-12, atol=1e-12)


def test_barriers_stand_for_their_masks_in_either_layout():
    """Values of few actions lie with the batch last."""
    q, mask, taken = random_heads(8)
    assert losses.barrier(torch.tensor([True, False])).tolist() == [0.0, -math.inf]
    turned, turned_mask = q.mT.contiguous().mT, mask.mT.contiguous().mT
    expected = torch.log_softmax(q.masked_fill(~mask, -math.inf), -1)
    for values, where in ((q, mask), (turned, turned_mask), (turned, losses.barrier(turned_mask, q.dtype))):
        torch.testing.assert_close(losses.log_policy(values, where), expected)
        value, penalty = losses.taken_and_penalty(values, where, taken, losses.cql_penalty)
        assert torch.equal(value, losses.taken(q, taken))
        torch.testing.assert_close(penalty, -losses.taken(expected, taken))


@pytest.mark.parametrize("with_barrier", [False, True])
def test_the_fused_penalty_is_its_equation(with_barrier):
    """Values and gradients of the one node against those of the two equations, with weights of their own."""
    for seed in range(5):
        q, mask, taken = random_heads(seed)
        where = losses.barrier(mask, q.dtype) if with_barrier else mask
        weights, found = torch.rand(2, *taken.shape, dtype=q.dtype), []
        for together in (True, False):
            values = q.clone().requires_grad_(True)
            both = losses.taken_and_penalty(values, where, taken, losses.cql_penalty) if together else (
                losses.taken(values, taken), losses.cql_penalty(values, where, taken))  # fmt: skip
            (weights[0] * both[0] + weights[1] * both[1]).sum().backward()
            found.append((*(part.detach() for part in both), values.grad))
        for fused, plain in zip(*found, strict=True):
            torch.testing.assert_close(fused, plain, rtol=1e-12, atol=1e-12)


def test_heads_penalties_add_up_to_the_joint_penalty():
    """The claim of `cql_penalty`: for Q_tot = sum_i Q_i over all joint actions, by brute force."""
    q, mask, taken = random_heads(1)
    summed = losses.cql_penalty(q, mask, taken).sum(0)
    for b in range(20):
        joint = [
            sum(float(q[i, b, a]) for i, a in enumerate(action))
            for action in itertools.product(range(4), repeat=3)
            if all(mask[i, b, a] for i, a in enumerate(action))
        ]
        q_data = sum(float(q[i, b, taken[i, b]]) for i in range(3))
        np.testing.assert_allclose(float(summed[b]), np.log(np.sum(np.exp(joint))) - q_data, rtol=1e-12)


def test_policy_losses_by_brute_force():
    q, mask, _ = random_heads(2)
    logits = random_heads(3)[0]
    tau = torch.tensor(0.7, dtype=torch.float64)
    log_pi = losses.log_policy(logits, mask)
    got = (losses.entropy(log_pi), losses.soft_value(q, log_pi, tau), losses.actor_loss(q, log_pi, tau))
    for h, b in itertools.product(range(3), range(20)):
        weight = np.exp(logits[h, b][mask[h, b]].numpy())
        pi, value = weight / weight.sum(), q[h, b][mask[h, b]].numpy()
        entropy = -(pi * np.log(pi)).sum()
        soft = (pi * value).sum() + 0.7 * entropy
        expected = (entropy, soft, -soft)
        np.testing.assert_allclose([float(x[h, b]) for x in got], expected, rtol=1e-12, atol=1e-12)


def test_double_q_takes_the_target_value_of_the_online_choice():
    online, target = torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([[5.0, 7.0, 8.0]])
    assert losses.double_q_value(online, target, torch.tensor([[True, True, True]])).tolist() == [8.0]
    assert losses.double_q_value(online, target, torch.tensor([[True, True, False]])).tolist() == [7.0]
    assert losses.double_q_value(online, target, torch.tensor([[True, False, False]])).tolist() == [5.0]


def test_double_q_of_each_head_by_brute_force():
    (online, mask, _), target = random_heads(6), random_heads(7)[0]
    value = losses.double_q_value(online, target, mask)
    assert value.shape == (3, 20)
    for h, b in itertools.product(range(3), range(20)):
        best = max((a for a in range(4) if mask[h, b, a]), key=lambda a: online[h, b, a])
        assert value[h, b] == target[h, b, best]


def test_td_target():
    reward, value = torch.tensor([1.0, 1.0]), torch.tensor([10.0, 10.0])
    target = losses.td_target(reward, torch.tensor([False, True]), 0.9, value)
    assert target.tolist() == [10.0, 1.0]


def test_td_losses():
    prediction, target = torch.tensor([1.0, -1.0]), torch.tensor([1.5, -4.0])
    assert losses.td_loss(prediction, target, "mse").tolist() == [0.25, 9.0]
    assert losses.td_loss(prediction, target, "huber").tolist() == [0.125, 2.5]


def test_masked_actions_get_no_gradient_and_no_nan():
    """Also where only silence is left."""
    q, mask, taken = random_heads(4)
    mask[:, :5, 1:] = False
    taken[:, :5] = 0
    for seed, loss in enumerate((
        lambda x: losses.cql_penalty(x, mask, taken),
        lambda x: losses.actor_loss(q, losses.log_policy(x, mask), torch.tensor(0.5)),
        lambda x: losses.entropy(losses.log_policy(x, mask)),
        lambda x: losses.expectation(losses.log_policy(x, mask), torch.where(mask, q, -math.inf)),
    )):  # fmt: skip
        logits = random_heads(seed)[0].requires_grad_(True)
        value = loss(logits)
        value.sum().backward()
        assert torch.isfinite(value).all() and torch.isfinite(logits.grad).all()
        assert (logits.grad[~mask] == 0).all() and (logits.grad[mask] != 0).any()


# --- paradigms ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARADIGMS)
def test_actions_and_their_inverse(name):
    paradigm = PARADIGMS[name]
    joint = torch.tensor(list(itertools.product(range(4), repeat=3)))  # (64, I)
    heads = paradigm.to_heads(joint, 4)
    assert heads.shape == ((1, 64) if paradigm.joint else (3, 64))
    if paradigm.joint:
        assert heads.flatten().tolist() == list(range(64))  # the last AP's action varies fastest
    assert torch.equal(paradigm.to_aps(heads, 4, 3), joint)
    batched = joint.view(2, 32, 3)  # leading dimensions stay in front
    assert torch.equal(paradigm.to_aps(paradigm.to_heads(batched, 4), 4, 3), batched)


def test_joint_mask_is_the_outer_product():
    mask = random_heads(5, heads=3, batch=8)[1].transpose(0, 1)  # (B, I, A)
    joint = PARADIGMS["centralized"].masks(mask)
    assert joint.shape == (1, 8, 64)
    for b, action in itertools.product(range(8), itertools.product(range(4), repeat=3)):
        index = (action[0] * 4 + action[1]) * 4 + action[2]
        assert bool(joint[0, b, index]) == all(bool(mask[b, i, a]) for i, a in enumerate(action))
    for name in ("independent", "ctde"):
        assert torch.equal(PARADIGMS[name].masks(mask), mask.transpose(0, 1))


def test_heads():
    sizes = {"centralized": (1, 24, 256), "independent": (4, 6, 4), "ctde": (4, 6, 4)}  # 2 N I and 2 N inputs
    assert {name: p.heads(NetworkConfig()) for name, p in PARADIGMS.items()} == sizes
    obs = torch.arange(2 * 5 * 3 * 4.0).view(2, 5, 3, 4)  # (S, B, I, N F)
    assert torch.equal(PARADIGMS["centralized"].observations(obs)[:, 0], obs.flatten(2))
    assert torch.equal(PARADIGMS["ctde"].observations(obs)[:, 1], obs[:, :, 1])


def test_too_many_joint_actions():
    assert PARADIGMS["centralized"].heads(NetworkConfig(num_aps=6))[2] == JOINT_ACTION_LIMIT == 4**6
    with pytest.raises(ValueError, match=r"num_aps = 7 and top_n = 3.*= 16384 outputs.*4096.*ctde"):
        Learner(AgentConfig("centralized"), NetworkConfig(num_aps=7), seeds=[0])
