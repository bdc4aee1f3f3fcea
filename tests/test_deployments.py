"""Deployments that are given: what they must be, what they are as sequences, and every function that takes them.

Shapes: E episodes, I APs, J users, T TTIs.
"""

import copy
import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
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
from rrmlab.game.link_schedulers import ITLinQ
from rrmlab.game.radio import distance_m, large_scale_db
from rrmlab.interop import RRMParallelEnv
from rrmlab.study.tuning import tune_scheduler

NETWORK = NetworkConfig(num_aps=2, num_users=4, top_n=3, episode_ttis=12, warmup_ttis=4)
AGENT = AgentConfig(hidden=(8,), num_updates=3, batch_size=8)
AP_XY = [[100.0, 250.0], [400.0, 250.0]]
USER_XY = [[120, 250], [80, 200], [400, 280], [430, 250]]
DRAWN = Deployment.draw(NETWORK, 3, seed=5)


def changed(name, change):
    """The drawn deployments with one array changed."""
    value = getattr(DRAWN, name).clone()
    return dataclasses.replace(DRAWN, **{name: change(value)})


def at(place, number):
    def change(value):
        value[place] = number
        return value

    return change


# --- numbers that cannot be -----------------------------------------------------------------------------------


CORNER = r"must lie in 0 \.\.\. 500 m; the origin is a corner of the square: shift the positions, or raise area_m"
WRONG = {
    "users of a centred frame": ("user_xy", lambda xy: xy - 250, CORNER),
    "APs of a centred frame": ("ap_xy", lambda xy: xy - 250, CORNER),
    "one user left of the square": ("user_xy", at((1, 2, 0), -0.5), r"user_xy\[1, 2, 0\] = -0.5: " + CORNER),
    "one AP above the square": ("ap_xy", at((2, 1, 1), 500.5), r"ap_xy\[2, 1, 1\] = 500.5: " + CORNER),
    "UTM coordinates": ("user_xy", lambda xy: xy + 4e5, CORNER),
    "users in kilometres, around one AP": ("user_xy", lambda xy: DRAWN.ap_xy[:, :1] + xy / 1000, None),
    "headings in degrees": ("heading", lambda angle: torch.rad2deg(angle) + 10, r"heading\[.*must lie in .* rad"),
    "phases in degrees": ("phase", lambda angle: torch.rad2deg(angle) + 10, r"phase\[.*must lie in .* rad"),
    "arrivals in degrees": ("arrival", lambda angle: torch.rad2deg(angle) + 10, r"arrival\[.*must lie in .* rad"),
    "path loss for shadowing": ("shadowing_db", lambda db: db + 120, r"shadowing_db\[.*is not the loss itself"),
    "a gain that is huge": ("shadowing_db", at((0, 0, 0), -101.0), r"shadowing_db\[0, 0, 0\] = -101: must lie in -100"),
    "an AP that is not there": ("serving", at((0, 3), 2), r"serving\[0, 3\] = 2: must lie in -1 \.\.\. 1, an AP, or"),
    "a negative key": ("key", at((0, 1), -1), r"key\[0, 1\] = -1: must lie in 0 \.\.\. inf"),
    "NaN": ("user_xy", at((0, 0, 0), math.nan), "user_xy: must be finite"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("use", ["reset", "evaluate", "collect"])
def test_what_cannot_be_is_refused_by_name(name, use):
    field, change, says = WRONG[name]
    deployment = changed(field, change)
    if says is None:  # metres are told from kilometres only where all users are within a few metres of all APs
        deployment = dataclasses.replace(deployment, ap_xy=DRAWN.ap_xy[:, :1] + DRAWN.ap_xy / 1000)
        says = "user_xy: all users are nearer than min_ap_user_m = 10 m to all APs; positions must be in metres"
    uses = {
        "reset": lambda: RRMEnv(NETWORK, 3).reset(deployment),
        "evaluate": lambda: evaluate(make_scheduler("tdm"), NETWORK, deployments=deployment),
        "collect": lambda: collect(make_scheduler("full_reuse"), NETWORK, deployments=deployment),
    }
    with pytest.raises(ValueError, match=f"^deployment.{says}" if says[0] != "m" else says):
        uses[use]()


def test_the_border_belongs_to_the_square():
    corners = [[0.0, 0.0], [500.0, 500.0], [0.0, 500.0], [500.0, 0.0]]
    RRMEnv(NETWORK).reset(Deployment.from_positions(NETWORK, AP_XY, corners))


def test_drawn_deployments_pass_their_own_check():
    """Also with the strongest shadowing that a config may have."""
    for shadowing in (0.0, 7.0, 30.0):
        config = dataclasses.replace(NETWORK, shadowing_db=shadowing)
        Deployment.draw(config, 200, seed=1).check(config, 200)


# --- a sequence -----------------------------------------------------------------------------------------------


def test_a_deployment_is_a_sequence_of_its_episodes():
    numbers = [part.key[0, 2].item() for part in DRAWN]
    assert numbers == [0, 1, 2] == [DRAWN[k].key[0, 2].item() for k in range(len(DRAWN))]
    assert [DRAWN[k].key[0, 2].item() for k in (-1, -2, -3, np.int64(1), torch.tensor(2))] == [2, 1, 0, 1, 2]
    assert [part.key[0, 2].item() for part in reversed(DRAWN)] == [2, 1, 0]
    for part in (slice(1, None), slice(None, None, 2), slice(-2, -1), slice(0, 99), slice(2, 1)):
        assert DRAWN[part].key[:, 2].tolist() == [0, 1, 2][part] and len(DRAWN[part]) == len([0, 1, 2][part])
    assert DRAWN in [DRAWN] and DRAWN[0:] != DRAWN and len({DRAWN, DRAWN}) == 1


@pytest.mark.parametrize("index", [3, -4, 10**30, np.int64(7), torch.tensor(-9)])
def test_an_index_that_is_not_there(index):
    with pytest.raises(IndexError, match=r"must be a whole number in -3 \.\.\. 2 or a slice"):
        DRAWN[index]


@pytest.mark.parametrize("index", ["0", 1.0, None, [0, 1], (0, 1), np.array([0, 1]), torch.tensor([0, 1]), Ellipsis])
def test_an_index_of_another_type(index):
    with pytest.raises(TypeError, match=r"must be a whole number in -3 \.\.\. 2 or a slice"):
        DRAWN[index]


# --- positions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [list, np.array, lambda xy: np.array(xy, dtype=np.float32), torch.tensor, pd.DataFrame,
     lambda xy: torch.tensor(xy, dtype=torch.float64, requires_grad=True), lambda xy: np.asfortranarray(xy)],
    ids=["list", "array", "float32", "tensor", "table", "with gradient", "Fortran"],
)  # fmt: skip
def test_positions_of_any_kind(kind):
    deployment = Deployment.from_positions(NETWORK, kind(AP_XY), kind(USER_XY), seed=4)
    plain = Deployment.from_positions(NETWORK, AP_XY, USER_XY, seed=4)
    for field in dataclasses.fields(Deployment)[:-1]:
        assert torch.equal(getattr(deployment, field.name), getattr(plain, field.name)), field.name
    assert deployment.ap_xy.tolist() == [AP_XY] and deployment.user_xy.tolist() == [USER_XY]
    assert deployment.key.tolist() == [[3, 4, 0]] and deployment.serving.tolist() == [[-1] * 4]
    env = RRMEnv(NETWORK)
    env.reset(deployment)
    distance = distance_m(NETWORK, deployment, 0, 1)[0, :, :, 0]
    torch.testing.assert_close(distance, torch.cdist(torch.tensor(AP_XY).double(), torch.tensor(USER_XY).double()))
    assert torch.equal(env.serving, large_scale_db(NETWORK, deployment, 0).argmin(1))


def test_what_is_left_out_is_drawn_from_the_seed():
    make = Deployment.from_positions
    first, again, other = (make(NETWORK, AP_XY, USER_XY, seed=seed) for seed in (1, 1, 2))
    silent = make(NETWORK, AP_XY, USER_XY, np.zeros((2, 4)), seed=1)
    for name in ("heading", "shadowing_db", "arrival", "phase"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))
        assert torch.equal(getattr(first, name), getattr(silent, name)) == (name != "shadowing_db"), name
    assert not silent.shadowing_db.any()
    drawn = make(NETWORK, AP_XY, np.tile(USER_XY, (300, 1, 1)), seed=3)
    assert drawn.shadowing_db.std().item() == pytest.approx(7, rel=0.05)
    assert drawn.heading.mean().item() == pytest.approx(math.pi, rel=0.1)


def test_episodes_in_front():
    """Each array for each episode, or one for all of them."""
    users = np.array([USER_XY, USER_XY[::-1], USER_XY])
    deployment = Deployment.from_positions(NETWORK, AP_XY, users, serving=[[0, 0, 1, 1]])
    assert len(deployment) == 3 and deployment.user_xy.tolist() == users.tolist()
    assert deployment.ap_xy.tolist() == [AP_XY] * 3 and deployment.serving.tolist() == [[0, 0, 1, 1]] * 3
    assert deployment.key.tolist() == [[3, 0, 0], [3, 0, 1], [3, 0, 2]]
    with pytest.raises(ValueError, match="^ap_xy: has 2 episodes where others have 3"):
        Deployment.from_positions(NETWORK, [AP_XY, AP_XY], users)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ap_xy", [[1, 2, 3], [1, 2, 3]], r"ap_xy of shape \(2, 3\): the network wants \(2, 2\), or \(E, ...\)"),
        ("user_xy", USER_XY[:3], r"user_xy of shape \(3, 2\): the network wants \(4, 2\)"),
        ("user_xy", np.zeros((0, 4, 2)), r"user_xy of shape \(0, 4, 2\)"),
        ("user_xy", 7, "user_xy of shape"),
        ("user_xy", None, "user_xy: must be real numbers"),
        ("ap_xy", [["1", "2"], ["3", "4"]], "ap_xy: must be real numbers, .*, got an array of <U1"),
        ("ap_xy", [[1, 2], [3]], "ap_xy: must be real numbers"),
        ("ap_xy", np.array(AP_XY, dtype=complex), "ap_xy: must be real numbers, .* got an array of complex128"),
        ("ap_xy", [[math.nan, 2], [3, 4]], "deployment.ap_xy: must be finite"),
        ("user_xy", np.array(USER_XY) - 250, "deployment.user_xy.*shift the positions"),
        ("shadowing_db", np.zeros((4, 2)), r"shadowing_db of shape \(4, 2\): the network wants \(2, 4\)"),
        ("serving", [0, 0, 1], r"serving of shape \(3,\): the network wants \(4,\)"),
        ("serving", [0, 0, 1, 2], r"deployment.serving\[0, 3\] = 2: must lie in -1 \.\.\. 1"),
        ("serving", [0, 0, 1, 0.5], "serving: must be whole numbers"),
        ("serving", [0, 0, 1, math.nan], "serving: must be whole numbers"),
        ("seed", -1, "seed = -1"),
        ("config", None, "config: must be a NetworkConfig"),
    ],
)
def test_positions_that_do_not_fit_are_refused(name, value, says):
    arguments = {"config": NETWORK, "ap_xy": AP_XY, "user_xy": USER_XY, name: value}
    with pytest.raises(ValueError, match=says):
        Deployment.from_positions(**arguments)


def test_a_given_association_is_played():
    """Every user is served by the AP that was said, and where none was said by that of the strongest gain."""
    weak = Deployment.from_positions(NETWORK, AP_XY, USER_XY, np.zeros((2, 4)), serving=[1, 1, 0, 0])
    part = Deployment.from_positions(NETWORK, AP_XY, USER_XY, np.zeros((2, 4)), serving=[1, -1, 0, -1])
    env = RRMEnv(NETWORK)
    for deployment, wanted in ((weak, [1, 1, 0, 0]), (part, [1, 0, 0, 1]), (DRAWN[0], None)):
        env.reset(deployment)
        assert wanted is None or env.serving[0].tolist() == wanted
    env.reset(weak)
    own = env.snr[0].gather(0, env.serving)[0]
    torch.testing.assert_close(env.sinr[0], own / (1 + env.snr[0].sum(0) - own), rtol=1e-3, atol=0)
    with pytest.raises(ValueError, match="AP 1 serves that user, not AP 0"):
        env.step_users(torch.tensor([[0, -1]]))
    assert RRMEnv(NETWORK, 4, copies=4).reset(weak)[0].unique(dim=0).shape[0] == 1


# --- every function that takes deployments --------------------------------------------------------------------


@pytest.fixture(scope="module")
def policies():
    data = collect(make_scheduler("random_walk"), NETWORK, 60)
    return train_offline(data, AGENT, (0, 1), progress=False)


def same(first, second):
    return np.array_equal(first.rates, second.rates) and np.array_equal(first.rewards, second.rewards)


def test_given_deployments_score_as_drawn_ones(policies):
    """The deployments of a split, handed over: the same numbers as where they are drawn."""
    drawn = Deployment.draw(NETWORK, 5, seed=2, split="test")
    for name in ("random_walk", "itlinq", "tdm"):
        scheduler = make_scheduler(name)
        wanted = evaluate(scheduler, NETWORK, 5, seed=2)
        assert same(evaluate(scheduler, NETWORK, deployments=drawn), wanted)
        assert same(evaluate(scheduler, NETWORK, 3, deployments=drawn), evaluate(scheduler, NETWORK, 3, seed=2))
    for given, wanted in zip(
        evaluate_seeds(policies, NETWORK, deployments=drawn, delay_ttis=2, noise_db=1.0),
        evaluate_seeds(policies, NETWORK, 5, seed=2, delay_ttis=2, noise_db=1.0),
        strict=True,
    ):
        assert same(given, wanted)
    grid = {"m_db": [0.0, 25.0], "eta": [0.5]}
    tuned = tune_scheduler(ITLinQ, grid, NETWORK, deployments=drawn)
    assert tuned == tune_scheduler(ITLinQ, {"m_db": [25.0, 0.0], "eta": [0.5]}, NETWORK, 5, deployments=drawn)
    assert tuned != tune_scheduler(ITLinQ, grid, NETWORK, 5)


def test_given_deployments_are_logged_as_drawn_ones():
    drawn = Deployment.draw(NETWORK, 5, seed=2)
    for num in (None, 60, 31, 1):
        data = collect(make_scheduler("random_walk"), NETWORK, num, deployments=drawn)
        wanted = collect(make_scheduler("random_walk"), NETWORK, num or 60, seed=2)
        for name in ("obs", "mask", "rows", "actions", "rewards", "terminated", "truncated", "log_prob", "own_rewards"):
            assert torch.equal(getattr(data, name), getattr(wanted, name)), name
        assert data.metadata["split"] == "given" and "seed" not in data.metadata
        data.check()


def test_online_training_on_given_deployments(tmp_path):
    """All episodes are those that were given, each in its turn; seeds and turns act in ways of their own."""
    given = Deployment.from_positions(NETWORK, AP_XY, np.array([USER_XY, USER_XY[::-1]]), seed=7)
    agent = AgentConfig(alpha=0.0, hidden=(8,), batch_size=16)
    options = {"seeds": [0, 1], "num_transitions": 4 * NETWORK.episode_ttis, "num_envs": 1, "progress": False}
    runs = train_online(NETWORK, agent, **options, deployments=given, checkpoint=tmp_path / "c")
    env = RRMEnv(NETWORK, 2)
    starts = env.reset(given)[0]
    for run in runs:
        first = run.data.obs[run.data.rows[:: NETWORK.episode_ttis]]
        assert torch.equal(first, starts) and run.data.metadata["split"] == "given"
    assert not torch.equal(runs[0].data.actions, runs[1].data.actions)
    half = NETWORK.episode_ttis
    assert not torch.equal(runs[0].data.actions[:half], runs[0].data.actions[half:])
    again = train_online(NETWORK, agent, **options, deployments=given, checkpoint=tmp_path / "c")
    assert all(torch.equal(a.data.actions, b.data.actions) for a, b in zip(runs, again, strict=True))
    with pytest.raises(ValueError, match="of another training, it differs in deployments"):
        other = Deployment.from_positions(NETWORK, AP_XY, USER_XY)
        train_online(NETWORK, agent, **options, deployments=other, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match="of another training, it differs in deployments"):
        train_online(NETWORK, agent, **options, checkpoint=tmp_path / "c")


FUNCTIONS = {
    "evaluate": lambda **given: evaluate(make_scheduler("tdm"), NETWORK, **given),
    "evaluate_seeds": None,
    "tune_scheduler": lambda **given: tune_scheduler(ITLinQ, {"m_db": [0.0], "eta": [0.5]}, NETWORK, **given),
    "collect": lambda **given: collect(make_scheduler("full_reuse"), NETWORK, **given),
    "train_online": lambda **given: train_online(
        NETWORK, dataclasses.replace(AGENT, alpha=0.0), [0], 36, 4, progress=False, **given
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_check_comes_first(name, policies):
    run = FUNCTIONS[name] or (lambda **given: evaluate_seeds(policies, NETWORK, **given))
    wrong = {
        "deployments: must be a Deployment, got list": [DRAWN[0]],
        r"deployment of shape .* = \(0, 2, 4, 16\): must be": DRAWN[:0],
        r"deployment of shape .* = \(1, 3, 9, 16\): must be \(1, 2, 4, 16\)":
            Deployment.draw(NetworkConfig(num_aps=3, num_users=9), 1),
        "deployment.user_xy.*shift": changed("user_xy", lambda xy: xy - 250),
        "deployment.heading: must be a torch.float64 tensor": dataclasses.replace(DRAWN, heading=DRAWN.heading.numpy()),
        "deployment.ap_xy: must be": dataclasses.replace(DRAWN, ap_xy=None),
    }  # fmt: skip
    for says, deployments in wrong.items():
        with pytest.raises(ValueError, match=says):
            run(deployments=deployments)
    if name in ("evaluate", "collect"):
        argument = {"evaluate": "num_episodes", "collect": "num_transitions"}[name]
        most = {"evaluate": 3, "collect": 36}[name]
        with pytest.raises(ValueError, match=f"{argument} = {most + 1}: must be at most {most}, what the given"):
            run(deployments=DRAWN, **{argument: most + 1})
        with pytest.raises(ValueError, match=f"{argument} = 0: must be at least 1"):
            run(deployments=DRAWN, **{argument: 0})
    run(deployments=DRAWN)


def test_the_example_site(capsys, monkeypatch):
    """The code in examples/README.md, as it stands there."""
    monkeypatch.chdir(Path(__file__).parent.parent)
    text = Path("examples/README.md").read_text()
    assert "**made up**" in text
    names = {}
    exec(text.partition("```python\n")[2].partition("```")[0], names)
    assert names["aps"].shape == (4, 2) and names["users"].shape == (24, 2)
    assert len(names["scores"]["full_reuse"].rates) == 10 and "'itlinq': " in capsys.readouterr().out


def test_the_wrapper_takes_positions():
    env = RRMParallelEnv(NETWORK)
    deployment = Deployment.from_positions(NETWORK, AP_XY, USER_XY, serving=[0, 0, 1, 1])
    env.reset(options={"deployment": deployment})
    assert env.env.serving.tolist() == [[0, 0, 1, 1]]
    assert copy.deepcopy(env).env.deployment.key.tolist() == [[3, 0, 0]]
