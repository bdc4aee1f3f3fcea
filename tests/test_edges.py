"""The edges of radio and game, value by value: defaults, first and last allowed numbers, errors, views, blocks of TTIs.

What `make mutants` showed the other tests to pass over. Shapes: E environments, I APs, J users, N top users, T TTIs.
"""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch

from rrmlab.checks import known_device
from rrmlab.config import NetworkConfig
from rrmlab.game import draws, gains, radio
from rrmlab.game.deployment import Deployment
from rrmlab.game.draws import DeploymentError
from rrmlab.game.env import RRMEnv
from rrmlab.game.views import SILENT, CellView, CrossGainView, NetworkView, ObservationView

SMALL = NetworkConfig(num_aps=2, num_users=4, top_n=3, episode_ttis=6, warmup_ttis=4, require_users=False)
FIELDS = [field.name for field in dataclasses.fields(Deployment) if field.name != "gains"]
f64 = torch.float64


def small_deployment():
    """AP 0 serves user 0 alone, AP 1 the three others."""
    users = [[120.0, 250.0], [380.0, 250.0], [400.0, 280.0], [430.0, 250.0]]
    return dataclasses.replace(
        Deployment.draw(SMALL, 1),
        ap_xy=torch.tensor([[[100.0, 250.0], [400.0, 250.0]]], dtype=f64),
        user_xy=torch.tensor([users], dtype=f64),
        shadowing_db=torch.zeros(1, 2, 4, dtype=f64),
    )


@pytest.fixture
def env():
    env = RRMEnv(SMALL, dtype=f64)
    env.reset(small_deployment())
    return env


def refused(call, *args, says, **kwargs):
    with pytest.raises(ValueError, match=says):
        call(*args, **kwargs)


# --- deployments --------------------------------------------------------------------------------------------


def test_a_draw_is_the_one_behind_the_committed_results():
    """First and last number of each array: another order of draws would be another study."""
    deployment = Deployment.draw(NetworkConfig(), 2, seed=3, split="test", first_index=4)[1]
    ends = {
        "ap_xy": (360.5293332358103, 18.17083099656147),
        "user_xy": (287.7092487675788, 144.88791846540872),
        "heading": (6.00448834526912, 1.9359240635780852),
        "shadowing_db": (4.49180462079971, -22.69973181052651),
        "arrival": (3.2037463499273326, 3.3851079281448904),
        "phase": (3.112926667524029, 0.4621841177035654),
        "key": (2, 5),  # test is the third split; index 4 + 1
    }
    for name, expected in ends.items():
        values = getattr(deployment, name).flatten()
        assert (values[0].item(), values[-1].item()) == pytest.approx(expected, rel=1e-9), name
    assert deployment.key.tolist() == [[2, 3, 5]]


def test_angles_fill_the_circle():
    deployment = Deployment.draw(NetworkConfig(), 20)
    for name in ("heading", "arrival", "phase"):
        angle = getattr(deployment, name)
        assert angle.min() >= 0 and angle.max() < 2 * math.pi and angle.max() > 6.2, name
        assert angle.mean().item() == pytest.approx(math.pi, abs=0.3), name


def test_what_draw_assumes():
    plain, explicit = Deployment.draw(SMALL, 1), Deployment.draw(SMALL, 1, seed=0, split="train", first_index=0)
    assert plain.key.tolist() == [[0, 0, 0]]
    for name in FIELDS:
        assert torch.equal(getattr(plain, name), getattr(explicit, name)), name


def test_what_draw_refuses():
    refused(Deployment.draw, None, 1, says="^config: must be a NetworkConfig, got NoneType")
    for split in ("tset", None, 0):
        refused(Deployment.draw, SMALL, 1, split=split, says="^split = .*train, validation, test")
    refused(Deployment.draw, SMALL, 0, says="^num = 0, first_index = 0")
    refused(Deployment.draw, SMALL, 1, first_index=-1, says="^num = 1, first_index = -1")
    refused(Deployment.draw, SMALL, 1.5, says="^num = 1.5: must be a whole number")
    refused(Deployment.draw, SMALL, 1, first_index=0.5, says="^first_index = 0.5: must be a whole number")
    refused(Deployment.draw, SMALL, 1, seed=-1, says="^seed = -1")


def test_every_redraw_is_tried_before_giving_up(monkeypatch):
    """One redraw is enough for anything that always fits, and what never fits is drawn as often as the bound says."""
    crowded = NetworkConfig(num_aps=12, num_users=13, min_ap_user_m=1e-3)
    for bound in (1, 3):
        monkeypatch.setattr(draws, "MAX_DRAWS", bound)
        Deployment.draw(SMALL, 3)
        with pytest.raises(DeploymentError, match=f"13 users for 12 APs no draw in {bound} "):
            Deployment.draw(crowded, 1)


def test_aps_that_find_no_room_are_drawn_anew(monkeypatch):
    """Three of 80 m in a square of 100 m: a first AP in the middle leaves none. Five of 90 m: there never is."""
    tight = NetworkConfig(num_aps=3, num_users=3, area_m=100.0, min_ap_ap_m=80.0, require_users=False)
    ap_xy = Deployment.draw(tight, 5).ap_xy
    assert (torch.cdist(ap_xy, ap_xy) + 1e9 * torch.eye(3)).min() >= 80
    monkeypatch.setattr(draws, "MAX_DRAWS", 20)
    never = NetworkConfig(num_aps=5, num_users=5, area_m=100.0, min_ap_ap_m=90.0, require_users=False)
    with pytest.raises(DeploymentError, match="^min_ap_ap_m = 90: no room found for 5 APs .* in 20 redraws$"):
        Deployment.draw(never, 1)


def test_a_single_deployment_by_index():
    batch = Deployment.draw(SMALL, 3, first_index=5)
    for index, number in ((0, 5), (1, 6), (2, 7), (-1, 7), (-3, 5)):
        assert batch[index].key.tolist() == [[0, 0, number]]
        assert all(len(getattr(batch[index], name)) == 1 for name in FIELDS)
    assert batch[1:].key[:, 2].tolist() == [6, 7]
    assert batch.repeat(2).key[:, 2].tolist() == [5, 6, 7, 5, 6, 7]
    assert {getattr(batch.to("meta"), name).device.type for name in FIELDS} == {"meta"}
    assert Deployment.concat([batch[2], batch[0]]).key[:, 2].tolist() == [7, 5]


@pytest.mark.parametrize("name", FIELDS)
def test_a_deployment_is_checked_array_by_array(name):
    deployment = Deployment.draw(SMALL, 2)
    deployment.check(SMALL, 2)
    right = getattr(deployment, name)
    wrong = {"shape": right[..., :-1], "dtype": right.to(torch.float32), "kind": right.numpy(), "number": right[:1]}
    if right.is_floating_point():
        for number in (math.nan, math.inf):
            wrong[str(number)] = right.clone()
            wrong[str(number)].view(-1)[-1] = number
    for reason, value in wrong.items():
        says = f"^deployment.{name}: must be "
        if reason in ("nan", "inf"):
            says += "finite"
        elif name == "arrival" and reason in ("shape", "number"):
            says = re.escape(f"deployment of shape (E, I, J, M) = {tuple(value.shape)}: must be (2, 2, 4, 16)")
        refused(dataclasses.replace(deployment, **{name: value}).check, SMALL, 2, says=says)
    refused(dataclasses.replace(deployment, arrival=None).check, SMALL, 2, says="= None: must be")


def test_positions_and_distances_by_hand():
    """10 m/s to the right, from 50 m left of the AP: 1 m per TTI of 0.1 s; TTIs count from t0."""
    config = NetworkConfig(num_aps=1, num_users=1, top_n=1, speed_mps=10.0, tti_s=0.1)
    deployment = dataclasses.replace(
        Deployment.draw(config, 1),
        ap_xy=torch.tensor([[[100.0, 70.0]]], dtype=f64),
        user_xy=torch.tensor([[[50.0, 70.0]]], dtype=f64),
        heading=torch.zeros(1, 1, dtype=f64),
    )
    assert radio.user_position(config, deployment, 3, 2)[0, 0].tolist() == [[53.0, 70.0], [54.0, 70.0]]
    snr = [radio.link_snr(config, deployment, 3, 2, dtype) for dtype in (torch.float32, f64)]
    assert snr[0].dtype == torch.float32
    torch.testing.assert_close(snr[0], snr[1].float())
    distance = radio.distance_m(config, deployment, 38, 4)
    assert distance.shape == (1, 1, 1, 4)
    torch.testing.assert_close(distance.flatten(), torch.tensor([12.0, 11.0, 10.0, 10.0], dtype=f64))


def test_association_is_that_of_the_first_tti():
    """A user that starts at AP 0 and is at AP 1, 50 m away, one TTI later."""
    config = NetworkConfig(num_aps=2, num_users=1, top_n=1, speed_mps=500.0, tti_s=0.1, require_users=False)
    deployment = dataclasses.replace(
        Deployment.draw(config, 1),
        ap_xy=torch.tensor([[[100.0, 70.0], [150.0, 70.0]]], dtype=f64),
        user_xy=torch.tensor([[[100.0, 70.0]]], dtype=f64),
        heading=torch.zeros(1, 1, dtype=f64),
        shadowing_db=torch.zeros(1, 2, 1, dtype=f64),
    )
    assert radio.association(config, deployment).tolist() == [[0]]


# --- the game: what it is made with -------------------------------------------------------------------------


def test_devices():
    assert known_device("cpu") == known_device(torch.device("cpu")) == torch.device("cpu")
    for device in ("x", object(), "cuda:99", 2.5):
        refused(known_device, device, says=r"(?s)^device = .*: not a device that is there \([^)]")


def test_the_game_stays_on_its_own_device():
    """Whatever PyTorch's default device: the meta device has shapes and no numbers."""
    deployment, actions, rewards = Deployment.draw(SMALL, 2), torch.ones(2, 2, dtype=torch.int64), []
    for default in ("cpu", "meta"):
        with torch.device(default):
            env = RRMEnv(SMALL, 2, device="cpu")
            mask = env.reset(deployment)[1]["action_mask"]
            *returned, info = env.step(actions * mask[..., 1])
        assert {value.device.type for value in [*returned, *info.values()]} == {"cpu"}
        rewards.append(returned[1])
    assert torch.equal(*rewards)


def test_what_the_game_assumes():
    env = RRMEnv(SMALL)
    assert (env.num_envs, env.seed, env.split, env.copies) == (1, 0, "train", 1)
    assert env.device == torch.device("cpu") and env.dtype == torch.float32
    assert env.reset()[0].dtype == torch.float32


def test_the_stream_of_deployments_goes_on_with_each_reset():
    env = RRMEnv(SMALL, 4, seed=5, split="validation", copies=2)
    for first in (0, 2):
        env.reset()
        assert env.deployment.key.tolist() == [[1, 5, first], [1, 5, first + 1]] * 2
    env.reset(Deployment.draw(SMALL, 2))
    env.reset()
    assert env.deployment.key[0].tolist() == [1, 5, 4], "a deployment that was handed over takes no turn"


def test_what_the_game_refuses_to_be_made_with():
    refused(RRMEnv, None, says="^config: must be a NetworkConfig, got NoneType")
    refused(RRMEnv, SMALL, 0, says="^num_envs = 0: must be at least 1")
    refused(RRMEnv, SMALL, 1.5, says="^num_envs = 1.5: must be a whole number")
    refused(RRMEnv, SMALL, 2, copies=1.5, says="^copies = 1.5: must be a whole number")
    refused(RRMEnv, SMALL, 2, copies=0, says="^copies = 0")
    refused(RRMEnv, SMALL, 3, copies=2, says="^copies = 2: must be at least 1 and divide num_envs = 3")
    for dtype in (torch.float16, "float32", None):
        refused(RRMEnv, SMALL, dtype=dtype, says="^dtype = ")
    refused(RRMEnv, SMALL, device="x", says="^device = 'x'")
    refused(RRMEnv(SMALL).reset, 5, says="^deployment: must be a Deployment, got int")
    refused(RRMEnv(SMALL, 4, copies=2).reset, Deployment.draw(SMALL, 4), says=r"must be \(2, 2, 4, 16\)")


# --- blocks of TTIs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttis", "links", "chunk", "block"),
    [(1200, 2**21, 2**20, 11), (6, 2**21, 2**20, 6), (4, 2**21, 80, 4), (1200, 24, 2**20, 3), (1200, 1, 1, 1)],
)
def test_gains_are_computed_once_in_blocks_that_tile_the_episode(ttis, links, chunk, block, monkeypatch):
    """11 TTIs: 4 of warm-up, 6 counted and the one that the last observation looks at. The smallest number of blocks
    within the bounds, of equal length; and in chunks of environments that hold no more than so many links."""
    plain = RRMEnv(SMALL, 3, seed=1, dtype=f64)
    plain.reset()
    rewards = [plain.step(torch.zeros_like(plain.serving[:, :2]) + plain.action_mask[..., 1])[1] for _ in range(6)]

    asked = []

    def recorded(config, deployment, t0, num, dtype):
        asked.append((t0, num, len(deployment)))
        return radio.link_snr(config, deployment, t0, num, dtype)

    monkeypatch.setattr(gains, "link_snr", recorded)
    monkeypatch.setattr(gains, "BLOCK_TTIS", ttis)
    monkeypatch.setattr(gains, "BLOCK_LINKS", links)
    monkeypatch.setattr(gains, "CHUNK_LINKS", {"cpu": chunk})
    env = RRMEnv(SMALL, 3, seed=1, dtype=f64)
    env.reset()
    for reward in rewards:
        torch.testing.assert_close(env.step(torch.zeros_like(env.serving[:, :2]) + env.action_mask[..., 1])[1], reward)
    expected = []
    for t0 in range(0, 11, block):
        num = min(block, 11 - t0)
        size = min(3, max(1, chunk // (8 * num)))
        expected += [(t0, num, min(size, 3 - first)) for first in range(0, 3, size)]
    assert asked == expected


# --- choices ------------------------------------------------------------------------------------------------


def test_a_refused_action_is_named():
    env = RRMEnv(SMALL, 2)
    env.reset(small_deployment().repeat(2))
    assert env.serving.tolist() == [[0, 1, 1, 1]] * 2
    refused(env.step, torch.tensor([[1, 1], [2, 1]]), says=r"^actions\[1, 0\] = 2: that slot is empty")
    refused(env.step, torch.tensor([[1, 1], [0, 4]]), says=r"^actions: must lie in 0 \.\.\. 3, got 0 \.\.\. 4")
    refused(env.step, torch.tensor([[1, 1], [0, -1]]), says=r"^actions: must lie in 0 \.\.\. 3, got -1 \.\.\. 1")
    shape = r"^actions: must be an int64 tensor of shape \(E, I\) = \(2, 2\), got "
    refused(env.step, torch.zeros(2, 2), says=shape)
    refused(env.step, torch.zeros(1, 2, dtype=torch.int64), says=shape)
    refused(env.step, [[0, 0], [0, 0]], says=shape)
    refused(env.step_users, torch.tensor([[0, 1], [0, 0]]), says=r"^users\[1, 1\] = 0: AP 0 serves .*, not AP 1")
    refused(env.step_users, torch.tensor([[0, 4], [0, 1]]), says=r"^users: must lie in -1 \.\.\. 3, got 0 \.\.\. 4")
    refused(env.step_users, torch.tensor([[0, -2], [0, 1]]), says=r"^users: must lie in -1 \.\.\. 3, got -2 \.\.\. 1")
    env.step_users(torch.tensor([[0, 3], [-1, -1]]))
    assert env.ttis == 1 and env.transmitting.tolist() == [[True, True], [False, False]]


def test_the_first_slot_of_an_ap_without_users_is_empty_too(env):
    deployment = small_deployment()
    env.reset(dataclasses.replace(deployment, user_xy=deployment.user_xy[:, :1].expand(1, 4, 2)))
    assert env.serving.tolist() == [[0, 0, 0, 0]]
    refused(env.step, torch.tensor([[1, 1]]), says=r"^actions\[0, 1\] = 1: that slot is empty")
    env.step(torch.tensor([[1, 0]]))


def test_slots_and_users_are_two_names_of_one_choice(env):
    other = RRMEnv(SMALL, dtype=f64)
    other.reset(small_deployment())
    for slots in ([1, 3], [0, 2], [1, 0], [0, 0]):
        users = [SILENT if n == 0 else env.slots[0, i, n - 1].item() for i, n in enumerate(slots)]
        by_slot, by_user = env.step(torch.tensor([slots])), other.step_users(torch.tensor([users]))
        assert torch.equal(by_slot[0], by_user[0]) and torch.equal(by_slot[1], by_user[1])
        served = by_slot[-1]["rates"][0].nonzero()[:, 0].tolist()
        assert served == sorted(user for user in users if user != SILENT)


def test_what_a_caller_writes_into_a_reply_changes_nothing(env):
    *_, info = env.step(torch.tensor([[1, 1]]))
    info["action_mask"].fill_(True)
    refused(env.step, torch.tensor([[2, 1]]), says="that slot is empty")
    obs = env.step(torch.tensor([[1, 1]]))[0]
    kept = obs.clone()
    obs.zero_()
    assert torch.equal(env.obs, kept)


# --- the state set by hand ----------------------------------------------------------------------------------


def test_set_state_by_hand(env):
    """The reports assume the transmitters given, the weights are the inverse averages, floored."""
    averages = torch.tensor([[2.0, 0.0, 0.5, torch.finfo(f64).max]], dtype=f64)
    for on in ([True, True], [True, False], [False, True], [False, False]):
        obs, info = env.set_state(averages, torch.tensor([on]))
        assert env.transmitting.tolist() == [on] and torch.equal(env.averages, averages)
        torch.testing.assert_close(env.weights[0, :3], torch.tensor([0.5, 100.0, 2.0], dtype=f64))
        snr = env.snr[0]
        own, across = snr[env.serving[0], torch.arange(4)], snr[1 - env.serving[0], torch.arange(4)]
        interferes = torch.tensor(on)[1 - env.serving[0]]
        torch.testing.assert_close(env.sinr[0], own / (1 + across * interferes))
        assert torch.equal(obs, env.obs) and torch.equal(info["action_mask"], env.action_mask)
    averages.zero_()
    assert env.averages[0, 0] == 2, "a copy was taken"


def test_set_state_takes_any_float_and_keeps_its_own(env):
    env.set_state(torch.ones(1, 4, dtype=torch.float32), torch.ones(1, 2, dtype=torch.bool))
    assert env.averages.dtype == f64


def test_what_set_state_refuses(env):
    averages, on = torch.ones(1, 4, dtype=f64), torch.ones(1, 2, dtype=torch.bool)
    kind = r"^averages: must be a float tensor of shape \(E, J\) = \(1, 4\), got "
    refused(env.set_state, averages[0], on, says=kind + r"torch.float64 \(4,\)$")
    refused(env.set_state, averages.long(), on, says=kind + r"torch.int64 \(1, 4\)$")
    refused(env.set_state, [[1.0] * 4], on, says=kind + "list$")
    kind = r"^transmitting: must be a bool tensor of shape \(E, I\) = \(1, 2\), got "
    refused(env.set_state, averages, on[:, :1], says=kind)
    refused(env.set_state, averages, on.double(), says=kind)
    refused(env.set_state, averages, None, says=kind + "NoneType$")
    for number in (-1e-9, math.nan, math.inf):
        wrong = averages.clone()
        wrong[0, 2] = number
        refused(env.set_state, wrong, on, says="^averages: must be finite and not negative")
    fresh = RRMEnv(SMALL)
    with pytest.raises(RuntimeError, match="reset"):
        fresh.set_state(averages, on)


# --- views --------------------------------------------------------------------------------------------------


def test_views_show_what_they_say():
    """Each number looked up user by user, also where slots are empty."""
    env = RRMEnv(SMALL, 2, dtype=f64)
    env.reset(Deployment.concat([small_deployment(), Deployment.draw(SMALL, 1, seed=2)]))
    env.step_users(torch.tensor([[0, SILENT], [SILENT, SILENT]]))
    views = {kind: env.view(kind) for kind in (ObservationView, CellView, CrossGainView, NetworkView)}
    for kind, view in views.items():
        assert type(view) is kind
        assert torch.equal(view.obs, env.obs) and torch.equal(view.slots, env.slots)
        assert torch.equal(view.action_mask, env.action_mask)
    assert type(env.view()) is ObservationView
    cell, cross, network = views[CellView], views[CrossGainView], views[NetworkView]
    assert cell.sinr.shape == cell.weight.shape == (2, 2, 4)
    assert cross.gain.shape == (2, 2, 2, 3) and cross.weight.shape == (2, 2, 3)
    for e, i, j in np.ndindex(2, 2, 4):
        own = env.serving[e, j] == i
        assert cell.sinr[e, i, j] == (env.sinr[e, j] if own else 0)
        assert cell.weight[e, i, j] == (env.weights[e, j] if own else 0)
    for e, k, n in np.ndindex(2, 2, 3):
        user = env.slots[e, k, n]
        assert cross.weight[e, k, n] == (env.weights[e, user] if user != SILENT else 0)
        for i in range(2):
            assert cross.gain[e, i, k, n] == (env.snr[e, i, user] if user != SILENT else 0)
    for name, value in (("sinr", env.sinr), ("weight", env.weights), ("serving", env.serving), ("snr", env.snr)):
        assert torch.equal(getattr(network, name), value), name
    assert network.ttis == env.ttis == 1
    torch.testing.assert_close(env.snr, radio.link_snr(SMALL, env.deployment, 5, 1)[0])
    refused(env.view, "everything", says="^kind = 'everything': must be ObservationView, CellView")
