"""What was made fast says the same as the plain way, in double precision; nothing here is timed."""

import math
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from rrmlab import AgentConfig, NetworkConfig, RRMEnv, collect, evaluate, evaluate_seeds, make_scheduler, train_offline
from rrmlab.agents.learner import Batch, Learner
from rrmlab.agents.networks import StackedMLP
from rrmlab.agents.paradigms import PARADIGMS
from rrmlab.game.deployment import Deployment
from rrmlab.game.radio import fading, user_position
from rrmlab.memory import peak_memory_gib
from rrmlab.study.memory_watch import WATCH_S, held_memory_gib, peak_held_gib

SMALL = NetworkConfig(episode_ttis=30, warmup_ttis=20)


def doubles(net):
    return net.to(torch.float64)


# ---- the radio ----


@pytest.mark.parametrize(("t0", "num"), [(0, 1), (0, 7), (137, 100), (2000, 513)])
@pytest.mark.parametrize("speed_mps", [0.0, 1.0, 40.0])
def test_fading_is_the_sum_of_its_sinusoids(t0, num, speed_mps):
    """Every TTI, link and sinusoid by its own cosine and sine, without tables."""
    config = NetworkConfig(num_aps=2, num_users=3, top_n=1, speed_mps=speed_mps)
    deployment = Deployment.draw(config, 2, seed=4)
    t = torch.arange(t0, t0 + num, dtype=torch.float64)[:, None, None, None, None]
    omega = 2 * math.pi * config.doppler_hz * config.tti_s * deployment.arrival.cos()
    plain = torch.exp(1j * (omega * t + deployment.phase)).sum(-1) / math.sqrt(config.num_sinusoids)
    torch.testing.assert_close(fading(config, deployment, t0, num), plain, rtol=0, atol=1e-11)


def test_walks_bounce_step_by_step():
    """Folding a straight walk into the square is walking and turning round at the border."""
    config = NetworkConfig(area_m=120.0, speed_mps=30.0, tti_s=0.05, min_ap_ap_m=0.0, num_sinusoids=1)
    deployment = Deployment.draw(config, 3, seed=1)
    walked = user_position(config, deployment, 0, 400).numpy()
    xy = deployment.user_xy.numpy().copy()
    heading = deployment.heading.numpy()
    step = config.speed_mps * config.tti_s * np.stack([np.cos(heading), np.sin(heading)], -1)
    for t in range(400):
        np.testing.assert_allclose(walked[:, :, t], xy, rtol=0, atol=1e-9)
        xy += step
        low, high = xy < 0, xy > config.area_m
        xy = np.where(low, -xy, np.where(high, 2 * config.area_m - xy, xy))
        step = np.where(low | high, -step, step)


# ---- the game ----


def test_copies_of_deployments_are_environments_like_others():
    """Channels computed once for all copies, and each copy's own: the same bits."""
    deployment = Deployment.draw(SMALL, 4, seed=2)
    together, apart = RRMEnv(SMALL, 12, copies=3), RRMEnv(SMALL, 12)
    together.reset(deployment)
    apart.reset(deployment.repeat(3))
    rng = np.random.default_rng(0)
    for _ in range(SMALL.episode_ttis):
        assert torch.equal(together.obs, apart.obs) and torch.equal(together.snr, apart.snr)
        actions = torch.from_numpy(rng.integers(0, together.action_mask.sum(-1)))
        ours, theirs = together.step(actions), apart.step(actions)
        assert torch.equal(ours[1], theirs[1]) and torch.equal(ours[-1]["rates"], theirs[-1]["rates"])


@pytest.mark.parametrize("copies", [0, -1, 5])
def test_copies_must_divide_the_environments(copies):
    with pytest.raises(ValueError, match=f"copies = {copies}: must be at least 1 and divide num_envs = 12"):
        RRMEnv(SMALL, 12, copies=copies)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slots_are_a_stable_sort_by_the_factor(dtype):
    """Also where factors are equal, zero or neighbours in floating point: the lower index goes first."""
    config = NetworkConfig(num_aps=3, num_users=17, top_n=4, require_users=False, episode_ttis=2, warmup_ttis=0)
    env, rng = RRMEnv(config, 50, dtype=dtype), np.random.default_rng(3)
    env.reset()
    coarse = rng.integers(0, 4, (17, 50)) * 0.25
    factors = [torch.from_numpy(coarse).to(dtype), torch.from_numpy(rng.random((17, 50))).to(dtype)]
    factors.append(torch.where(torch.rand(17, 50) < 0.5, torch.tensor(1.0), torch.tensor(1.0 + 2**-20)).to(dtype))
    for factor in factors:
        users, filled = env._users.best(factor)
        for e in range(50):
            for i in range(3):
                own = [j for j in range(17) if env.serving[e, j] == i]
                wanted = sorted(own, key=lambda j: (-factor[j, e].item(), j))[:4]
                assert users[i, :, e][filled[i, :, e]].tolist() == wanted


def test_seeds_scored_side_by_side_score_as_alone():
    data = collect(make_scheduler("random_walk"), SMALL, 300)
    policies = train_offline(data, AgentConfig(num_updates=20, batch_size=16), range(3), progress=False)
    together = evaluate_seeds(policies, SMALL, 5)
    for policy, scores in zip(policies, together, strict=True):
        np.testing.assert_allclose(evaluate(policy, SMALL, 5).rates, scores.rates, rtol=1e-6)


# ---- the networks ----


@pytest.mark.parametrize("sizes", [(6, 5, 4), (3, 7, 6, 20), (24, 17)])  # narrow and wide outputs, one layer
def test_layers_and_their_gradients_are_those_of_linear_layers(sizes):
    net = doubles(StackedMLP([torch.Generator().manual_seed(k) for k in range(2)], (3,), sizes))
    x, towards = torch.randn(2, 1, 9, sizes[0]).double(), torch.randn(2, 3, 9, sizes[-1]).double()
    (net(x) * towards).sum().backward()
    ours = [layer.grad for layer in net.layers]
    for s in range(2):
        for h in range(3):
            modules: list[torch.nn.Module] = []
            for k in range(0, len(net.layers), 2):
                linear = torch.nn.Linear(*net.layers[k].shape[-2:], dtype=torch.float64)
                linear.weight.data, linear.bias.data = net.layers[k][s, h].T.clone(), net.layers[k + 1][s, h, 0].clone()
                modules += [linear, torch.nn.ReLU()]
            plain = torch.nn.Sequential(*modules[:-1])
            torch.testing.assert_close(net(x)[s, h], plain(x[s, 0]), rtol=1e-12, atol=1e-12)
            (plain(x[s, 0]) * towards[s, h]).sum().backward()
            wanted = [p.grad.T if p.grad.ndim == 2 else p.grad[None] for p in plain.parameters()]
            torch.testing.assert_close([g[s, h] for g in ours], wanted, rtol=1e-11, atol=1e-11)


def test_joint_masks_by_enumeration():
    mask = torch.rand(5, 3, 4) < 0.6
    mask[..., 0] = True
    joint = PARADIGMS["centralized"].masks(mask)[0]
    for b in range(5):
        for a in range(64):
            single = PARADIGMS["centralized"].to_aps(torch.tensor([[a]]), 4, 3)[0]
            assert joint[b, a] == all(mask[b, i, single[i]] for i in range(3))


def test_learning_rate_falls_to_nothing():
    """An update at share 0 changes nothing; at share 1/2 the first step of Adam is half as long."""
    agent = AgentConfig(hidden=(4,), batch_size=8, gamma=0.0)
    data = collect(make_scheduler("random_walk"), SMALL, 40)
    batch = Batch(
        data.obs[None, :8], data.mask[None, :8], data.actions[None, :8], data.rewards[None, :8],
        data.terminated[None, :8], data.obs[None, 1:9], data.mask[None, 1:9],
    )  # fmt: skip
    moved = []
    for share in (1.0, 0.5, 0.0):
        learner = Learner(agent, NetworkConfig(), [0])
        before = [p.detach().clone() for p in learner.critic.layers]
        learner.scale_learning_rate(share)
        learner.update(batch)
        moved.append(max((p - q).abs().max().item() for p, q in zip(learner.critic.layers, before, strict=True)))
    assert moved[0] == pytest.approx(agent.learning_rate, rel=1e-3)
    assert moved[1] == pytest.approx(moved[0] / 2, rel=1e-3) and moved[2] == 0


# ---- what is deployed ----


@pytest.mark.parametrize("agent", [AgentConfig(), AgentConfig("independent", "dqn"), AgentConfig.behaviour_cloning()])
def test_an_ap_decides_alone_as_the_policy_does(agent):
    data = collect(make_scheduler("random_walk"), SMALL, 2_000)
    short = replace(agent, num_updates=30)
    policy = train_offline(data, short, [0], progress=False)[0]
    alone = [policy.local(ap) for ap in range(4)]
    chosen = [[decide(obs) for decide, obs in zip(alone, row, strict=True)] for row in data.obs[:500].numpy()]
    assert chosen == policy.act(data.obs[:500]).tolist()
    with pytest.raises(ValueError, match=r"ap = 4: must lie in 0 ... 3"):
        policy.local(4)
    with pytest.raises(ValueError, match=r"obs: must be finite and of shape \(6,\)"):
        alone[0](np.full(6, np.nan))
    with pytest.raises(ValueError, match=r"obs: must be finite and of shape \(6,\)"):
        alone[0](np.zeros(5))


def test_a_centralized_policy_has_no_local_decision():
    data = collect(make_scheduler("random_walk"), SMALL, 60)
    policy = train_offline(data, AgentConfig("centralized", num_updates=1, batch_size=4), [0], progress=False)[0]
    with pytest.raises(ValueError, match="paradigm = 'centralized': an AP decides alone with"):
        policy.local(0)


def test_peak_memory_grows_with_what_is_held():
    before = peak_memory_gib()
    held = np.ones(2**26)  # 0.5 GiB
    assert held[-1] and peak_memory_gib() >= max(before, 0.5)


def test_the_memory_of_children_counts_and_its_peak_stays():
    before, peak = held_memory_gib(), peak_held_gib()
    program = "x = b'1' * 2**29; print(flush=True); input()"  # 0.5 GiB
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        with_child = held_memory_gib()
        time.sleep(3 * WATCH_S)
        child.communicate(b"\n")
    assert with_child > before + 0.45 and held_memory_gib() < with_child - 0.45
    assert peak[0] > before + 0.45
