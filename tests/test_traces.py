"""Gains that are given drive the game in place of the statistical radio.

Shapes: E episodes, T TTIs, I APs, J users.
"""

import copy
import dataclasses
import math
import pickle
import warnings

import numpy as np
import pytest
import torch

from rrmlab import (
    AgentConfig,
    Deployment,
    NetworkConfig,
    RRMEnv,
    collect,
    evaluate,
    evaluate_seeds,
    make_scheduler,
    train_offline,
    train_online,
)
from rrmlab.game import gains as blocks
from rrmlab.game.radio import association, link_snr
from rrmlab.interop import RRMParallelEnv

NETWORK = NetworkConfig(num_aps=2, num_users=5, top_n=3, episode_ttis=14, warmup_ttis=5)
TTIS = 14 + 5 + 1
DRAWN = Deployment.draw(NETWORK, 3, seed=5)
SERVING = association(NETWORK, DRAWN)


def recorded(dtype=torch.float32, deployment=DRAWN):
    """The gains of the statistical radio (E, T, I, J)."""
    blocks = [link_snr(NETWORK, deployment, t0, min(20, TTIS - t0), dtype) for t0 in range(0, TTIS, 20)]
    return torch.cat(blocks).transpose(0, 1).contiguous().numpy()


GAINS = recorded()


def play(env, deployment=None):
    """All that an episode of full reuse returns and shows."""
    scheduler, seen = make_scheduler("full_reuse"), [env.reset(deployment)[0]]
    for _ in range(NETWORK.episode_ttis):
        obs, reward, _, _, info = env.step_users(scheduler.serve(env.view()))
        seen += [obs, reward, info["rates"], env.snr, env.sinr, env.averages]
    return seen


def assert_same(first, second):
    assert len(first) == len(second) and all(map(torch.equal, first, second))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("copies", [1, 2])
def test_the_radio_s_own_gains_give_the_same_bits(dtype, copies):
    own = RRMEnv(NETWORK, 3 * copies, dtype=dtype, copies=copies)
    given = Deployment.from_gains(NETWORK, recorded(dtype), serving=SERVING)
    assert_same(play(RRMEnv(NETWORK, 3 * copies, dtype=dtype, copies=copies), given), play(own, DRAWN))
    part = RRMEnv(NETWORK, copies, dtype=dtype, copies=copies)
    assert_same(play(part, given[1]), play(RRMEnv(NETWORK, copies, dtype=dtype, copies=copies), DRAWN[1]))


def test_the_environment_made_with_gains():
    """The same episode at every reset, E of the gains; a deployment that is handed over goes before."""
    env = RRMEnv(NETWORK, gains=GAINS)
    assert env.num_envs == 3 and RRMEnv(NETWORK, gains=GAINS, copies=2).num_envs == 6
    first = play(env)
    assert_same(play(env), first)
    assert_same(play(RRMEnv(NETWORK, 3), Deployment.from_gains(NETWORK, GAINS)), first)
    assert_same(play(env, DRAWN), play(RRMEnv(NETWORK, 3), DRAWN))
    single = RRMEnv(NETWORK, gains=GAINS[1])
    assert single.num_envs == 1
    assert_same(play(single), [part[1:2] for part in first])
    assert env.serving.tolist() == Deployment.from_gains(NETWORK, GAINS, env.serving).serving.tolist()
    with pytest.raises(ValueError, match="num_envs = 4: must be 3 for gains of 3 episodes"):
        RRMEnv(NETWORK, 4, gains=GAINS)


def test_gains_and_rates_by_hand():
    """Static gains (I, J): SNR 15 alone is 4 bit/s/Hz, 15 / (1 + 4) with the other AP 2."""
    config = NetworkConfig(num_aps=2, num_users=2, top_n=1, episode_ttis=4, warmup_ttis=0)
    env = RRMEnv(config, gains=[[15, 4], [4, 15]], dtype=torch.float64)
    env.reset()
    assert env.serving.tolist() == [[0, 1]] and env.snr.tolist() == [[[15.0, 4.0], [4.0, 15.0]]]
    for actions, rates in (([1, 0], [4, 0]), ([0, 1], [0, 4]), ([1, 1], [2, 2]), ([0, 0], [0, 0])):
        assert env.step(torch.tensor([actions]))[-1]["rates"].tolist() == [rates]


def test_each_tti_has_its_own_gains():
    """Gains that count the TTIs, also where an episode is longer than a block; further TTIs are not looked at."""
    ttis = np.arange(1.0, TTIS + 1)[:, None, None] * np.array([[100.0, 1, 1, 1, 1], [1, 100, 100, 100, 100]])
    beyond = np.full((3, 2, 5), math.nan)
    env = RRMEnv(NETWORK, gains=np.concatenate([ttis, beyond]), dtype=torch.float64)
    env.reset()
    for t in range(NETWORK.warmup_ttis, TTIS):
        assert torch.equal(env.snr[0], torch.from_numpy(ttis[t]))
        if t < TTIS - 1:
            env.step(torch.zeros(1, 2, dtype=torch.int64))


def test_a_link_without_a_path_leaves_everything_finite():
    gains = GAINS.copy()
    gains[0, 10:] = 0  # nobody hears anything any more
    gains[:, :, 0] = 0  # nobody hears this AP
    env = RRMEnv(NETWORK, gains=gains)
    seen = play(env)
    assert all(bool(torch.isfinite(part).all()) for part in seen) and env.snr.min() == np.float32(1e-20)
    data = collect(make_scheduler("random_walk"), NETWORK, deployments=Deployment.from_gains(NETWORK, gains))
    data.check()


def test_users_belong_to_the_strongest_mean_gain_unless_it_is_said():
    gains = np.full((TTIS, 2, 5), 0.5)
    gains[0, 0] = 10.0  # strong at first
    gains[1:, 1, 1:] = 3.0  # but weaker in the mean
    for given, wanted in ((None, [0, 1, 1, 1, 1]), ([0, 0, -1, -1, 1], [0, 0, 1, 1, 1])):
        deployment = Deployment.from_gains(NETWORK, gains, given)
        assert association(NETWORK, deployment).tolist() == [wanted]


@pytest.mark.parametrize("kind", ["list", "tensor", "float64", "float16", "Fortran", "big-endian", "integers", "slice"])
def test_gains_of_any_kind(kind):
    plain = np.round(GAINS).clip(0, 2000).astype(np.float32)
    other = {
        "list": plain.tolist(),
        "tensor": torch.from_numpy(plain).requires_grad_(),
        "float64": plain.astype(np.float64),
        "float16": plain.astype(np.float16),
        "Fortran": np.asfortranarray(plain),
        "big-endian": plain.astype(">f4"),
        "integers": plain.astype(np.uint16),
        "slice": np.repeat(plain, 2, axis=-1)[..., ::2],
    }[kind]
    assert_same(play(RRMEnv(NETWORK, gains=other)), play(RRMEnv(NETWORK, gains=plain)))


def test_gains_on_the_disk_are_read_in_blocks(tmp_path, monkeypatch):
    """A mapped file is never read as a whole; a block at a time is."""
    monkeypatch.setattr(blocks, "BLOCK_TTIS", 4)
    np.save(tmp_path / "gains.npy", GAINS)
    mapped = np.load(tmp_path / "gains.npy", mmap_mode="r")
    deployment = Deployment.from_gains(NETWORK, mapped)
    assert all(np.shares_memory(gains, mapped) for gains in (*deployment.gains, *deployment[1:].gains))
    asked = []

    def watched(config, part, t0, num, dtype):
        asked.append((t0, num))
        return link_snr(config, part, t0, num, dtype)

    monkeypatch.setattr(blocks, "link_snr", watched)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as PyTorch's about arrays that cannot be written
        from_disk = play(RRMEnv(NETWORK, gains=mapped))
    assert asked == [(t0, 4) for t0 in range(0, TTIS, 4)]
    assert_same(from_disk, play(RRMEnv(NETWORK, gains=GAINS)))


# --- the functions --------------------------------------------------------------------------------------------


def test_scores_logs_and_trainings_on_gains():
    """The same numbers as on the deployments that the gains were recorded from, with the same functions."""
    given = dataclasses.replace(Deployment.from_gains(NETWORK, GAINS, SERVING), key=DRAWN.key)
    for name in ("full_reuse", "itlinq", "exhaustive", "random_walk", "tdm"):
        ours, theirs = (evaluate(make_scheduler(name), NETWORK, deployments=d) for d in (given, DRAWN))
        np.testing.assert_array_equal(ours.rates, theirs.rates)
    ours, theirs = (collect(make_scheduler("random_walk"), NETWORK, deployments=d) for d in (given, DRAWN))
    assert torch.equal(ours.obs, theirs.obs) and torch.equal(ours.actions, theirs.actions) and len(ours) == 42
    agent = AgentConfig(hidden=(8,), num_updates=3, batch_size=8)
    policies = train_offline(ours, agent, [0, 1], progress=False)
    for one, other in zip(*(evaluate_seeds(policies, NETWORK, deployments=d) for d in (given, DRAWN)), strict=True):
        np.testing.assert_array_equal(one.rates, other.rates)
    options = {"seeds": [0, 1], "num_transitions": 70, "num_envs": 2, "progress": False}
    agent = dataclasses.replace(agent, alpha=0.0)
    runs = [train_online(NETWORK, agent, **options, deployments=d) for d in (given, DRAWN)]
    assert all(torch.equal(a.data.obs, b.data.obs) for a, b in zip(*runs, strict=True))
    wrapper = RRMParallelEnv(NETWORK)
    seen, _ = wrapper.reset(options={"deployment": given[2]})
    assert np.array_equal(seen["ap_1"]["observation"], play(RRMEnv(NETWORK), DRAWN[2])[0][0, 1].numpy())


def test_copies_of_an_environment_with_gains(tmp_path):
    np.save(tmp_path / "gains.npy", GAINS)
    env = RRMEnv(NETWORK, gains=np.load(tmp_path / "gains.npy", mmap_mode="r"))
    wanted = play(env)
    for copied in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        assert_same(play(copied), wanted)


# --- what is refused ------------------------------------------------------------------------------------------


def with_number(place, number):
    gains = GAINS.copy()
    gains[place] = number
    return gains


REFUSED = {
    "too few TTIs": (
        GAINS[:, :-1],
        r"gains\[0\] has 19 TTIs: must have at least 20, those of warm-up and",
    ),
    "too few TTIs of one": (GAINS[0, :2], r"gains\[0\] has 2 TTIs"),
    "users for APs": (
        GAINS.swapaxes(2, 3),
        r"must be real numbers of shape \(T, 2, 5\), got float32 \(20, 5, 2\)",
    ),
    "one number": (3.0, r"gains of shape \(\): must be \(T, I, J\)"),
    "a row": (GAINS[0, 0, 0], r"gains of shape \(5,\)"),
    "five dimensions": (GAINS[None], r"gains of shape \(1, 3, 20, 2, 5\)"),
    "nothing": (GAINS[:0], r"gains of shape \(0, 20, 2, 5\)"),
    "NaN": (with_number((1, 7, 0, 3), math.nan), r"gains\[1\]\[7, 0, 3\] = nan: must be a linear SNR"),
    "infinity": (with_number((2, 0, 1, 4), math.inf), r"gains\[2\]\[0, 1, 4\] = inf: must be a linear SNR"),
    "negative": (with_number((0, 19, 0, 0), -1e-9), r"gains\[0\]\[19, 0, 0\] = -1e-09: must be a linear SNR"),
    "decibels": (10 * np.log10(GAINS), r"of decibels take 10 \*\* \(gains / 10\)"),
    "path gains": (
        GAINS / NETWORK.snr_scale,
        r"look like path gains; .* config.snr_scale = 2.51189e\+11",
    ),
    "channel coefficients": (GAINS.astype(complex), "gains: must be real numbers, .* got an array of complex128"),
    "text": ("gains.npy", "gains: must be real numbers"),
    "ragged": ([GAINS[0].tolist(), 3], "gains: must be real numbers"),
    "true and false": (GAINS > 1, "gains: must be real numbers, .* got an array of bool"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_gains_that_cannot_be_are_refused_by_name(name):
    gains, says = REFUSED[name]
    for make in (lambda: RRMEnv(NETWORK, gains=gains), lambda: Deployment.from_gains(NETWORK, gains)):
        with pytest.raises(ValueError, match=says):
            make()


def test_gains_put_in_by_hand_are_checked_too():
    for wrong, says in (
        (GAINS, "deployment.gains: must be a tuple of arrays, got ndarray"),
        (tuple(GAINS[:2]), "deployment.gains: has 2 arrays, must have 3"),
        (tuple(map(torch.from_numpy, GAINS)), r"deployment.gains\[0\]: must be real numbers .* got Tensor"),
    ):
        with pytest.raises(ValueError, match=says):
            RRMEnv(NETWORK, 3).reset(dataclasses.replace(DRAWN, gains=wrong))


def test_gains_that_look_like_decibels_are_warned_of():
    """All positive decibels cannot be told for sure; linear gains of fading links spread far more."""
    for decibels in (np.linspace(8, 60, TTIS * 10).reshape(TTIS, 2, 5), np.linspace(60, 140, 10).reshape(2, 5)):
        with pytest.warns(UserWarning, match=r"gains: all lie in .* must be linear SNRs; of decibels take"):
            RRMEnv(NETWORK, gains=decibels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for linear in (GAINS, np.full((2, 5), 7.0), np.linspace(1, 50, 10).reshape(2, 5), np.zeros((2, 5))):
            play(RRMEnv(NETWORK, gains=linear))
