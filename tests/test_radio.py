"""The radio: closed-form points, fading statistics, and what every deployment must satisfy."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_game import ReferenceGame
from scipy.special import j0

from rrmlab.config import NetworkConfig
from rrmlab.game import radio
from rrmlab.game.deployment import Deployment
from rrmlab.game.draws import DeploymentError

few = settings(deadline=None, max_examples=15, derandomize=True)
f64 = torch.float64


def line_of_users(config, distances, shadowing_db):
    """One user at the left border and an AP at each distance to its right; waves in phase from ahead."""
    num_aps = len(distances)
    return Deployment(
        ap_xy=torch.tensor([[[d, 50.0] for d in distances]], dtype=f64),
        user_xy=torch.tensor([[[0.0, 50.0]]], dtype=f64),
        heading=torch.zeros(1, 1, dtype=f64),
        shadowing_db=torch.tensor(shadowing_db, dtype=f64).reshape(1, num_aps, 1),
        arrival=torch.zeros(1, num_aps, 1, config.num_sinusoids, dtype=f64),
        phase=torch.zeros(1, num_aps, 1, config.num_sinusoids, dtype=f64),
        key=torch.zeros(1, 3, dtype=torch.int64),
    )


# --- path loss and SNR --------------------------------------------------------------------------------------


def test_path_loss_at_closed_form_points():
    distance = torch.tensor([1.0, 10.0, 100.0, 200.0, 1000.0], dtype=f64)
    expected = torch.tensor([39.0, 59.0, 79.0, 91.041199826559248, 119.0], dtype=f64)
    torch.testing.assert_close(radio.path_loss_db(distance), expected, rtol=0, atol=1e-12)


def test_path_loss_is_continuous_at_100_m_and_steeper_beyond():
    step = 1e-6
    below, at, above = radio.path_loss_db(torch.tensor([100 - step, 100.0, 100 + step], dtype=f64)).tolist()
    assert 0 < at - below < 1e-6 and 0 < above - at < 1e-6
    assert (above - at) / (at - below) == pytest.approx(2, rel=1e-3)  # 40 against 20 dB per decade


def test_noise_and_doppler():
    config = NetworkConfig()
    assert config.noise_dbm == pytest.approx(-104, abs=1e-12)
    assert config.doppler_hz == pytest.approx(8, rel=1e-3)  # 1 m/s at 2.4 GHz
    assert dataclasses.replace(config, speed_mps=5.0).doppler_hz == pytest.approx(40, rel=1e-3)
    assert config.snr_scale == pytest.approx(10**11.4, rel=1e-12)


def test_three_links_by_hand():
    """50, 100 and 200 m, the second 3 dB in shadow: SNRs 41.0206, 32 and 22.9588 dB, an SINR of 8.5078 dB."""
    fields = {"num_aps": 3, "num_users": 1, "top_n": 1, "require_users": False}
    config = NetworkConfig(**fields, speed_mps=0.0, num_sinusoids=1)
    deployment = line_of_users(config, [50.0, 100.0, 200.0], [0.0, 3.0, 0.0])
    snr = radio.link_snr(config, deployment, 7, 2)
    assert snr.shape == (2, 1, 3, 1) and snr.dtype == f64
    expected = [12649.110640673518, 1584.8931924611136, 197.64235376052370]
    torch.testing.assert_close(snr[1, 0, :, 0], torch.tensor(expected, dtype=f64), rtol=1e-12, atol=0)
    own, *others = snr[0, 0, :, 0].tolist()
    assert 10 * math.log10(own / (1 + sum(others))) == pytest.approx(8.5078, abs=1e-4)
    assert radio.association(config, deployment).tolist() == [[0]]


def test_two_waves_by_hand():
    """Two waves from the side, 60 degrees apart in phase: |1 + exp(j pi/3)|^2 / 2 = 1.5, at any time."""
    config = NetworkConfig(num_aps=1, num_users=1, top_n=1, num_sinusoids=2)
    deployment = dataclasses.replace(
        line_of_users(config, [50.0], [0.0]),
        arrival=torch.full((1, 1, 1, 2), math.pi / 2, dtype=f64),
        phase=torch.tensor([0.0, math.pi / 3], dtype=f64).reshape(1, 1, 1, 2),
    )
    power = radio.fading_power(config, deployment, 0, 5)
    assert power.flatten().tolist() == pytest.approx([1.5] * 5, abs=1e-12)


def test_the_minimum_distance_is_a_floor_of_the_path_loss():
    config = NetworkConfig(num_aps=4, num_users=1, top_n=1, require_users=False)
    deployment = line_of_users(config, [0.0, 3.0, 10.0, 11.0], [0.0] * 4)
    loss = radio.large_scale_db(config, deployment, 0).flatten().tolist()
    assert loss == pytest.approx([59, 59, 59, 39 + 20 * math.log10(11)], abs=1e-12)


@few
@given(t0=st.integers(0, 5000), num=st.integers(1, 400), speed=st.sampled_from([0.0, 1.0, 30.0]))
def test_links_equal_the_reference_at_any_tti(t0, num, speed):
    config = NetworkConfig(num_aps=2, num_users=3, require_users=False, speed_mps=speed)
    deployment = Deployment.draw(config, 2, seed=1)
    snr = radio.link_snr(config, deployment, t0, num).numpy()
    fading = radio.fading(config, deployment, t0, num).numpy()
    assert snr.shape == fading.shape == (num, 2, 2, 3)
    for e in range(2):
        game = ReferenceGame.of(config, deployment, e)
        np.testing.assert_allclose(snr[:, e], [game.link_snr(t) for t in range(t0, t0 + num)], rtol=1e-9)
        np.testing.assert_allclose(fading[:, e], [game.fading(t) for t in range(t0, t0 + num)], atol=1e-10)


# --- fading statistics --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def links():
    """64 deployments of 4 APs and 24 users: 6,144 independent links."""
    return Deployment.draw(NetworkConfig(require_users=False), 64, seed=5)


def autocorrelation(config, deployment, lags, starts):
    """Ensemble mean of conj(h(t)) h(t + k), complex, for the lags k in TTIs."""
    total = 0
    for t0 in starts:
        now = radio.fading(config, deployment, t0, 1)
        total = total + torch.stack([(now.conj() * radio.fading(config, deployment, t0 + k, 1)).mean() for k in lags])
    return (total / len(starts)).numpy()


@pytest.mark.parametrize("speed_mps", [1.0, 5.0])
def test_fading_autocorrelation_is_j0_and_not_ar1(links, speed_mps):
    """Clarke's J0(2 pi f_d k T). Trap: an AR(1) with coefficient J0(2 pi f_d T) fades 30 times too slowly."""
    config = NetworkConfig(speed_mps=speed_mps)
    lags = np.arange(0, 101, 4)
    measured = autocorrelation(config, links, lags.tolist(), starts=range(0, 1500, 300))
    angle = 2 * np.pi * config.doppler_hz * config.tti_s
    np.testing.assert_allclose(measured.real, j0(angle * lags), atol=0.03)
    np.testing.assert_allclose(measured.imag, 0, atol=0.03)

    coherence = lags[np.argmax(measured.real < 0.5)]  # first lag in TTIs past a correlation of one half
    assert coherence == pytest.approx(1.52 / angle, abs=4)
    assert j0(angle) ** coherence - measured.real[lags == coherence] > 0.3


def test_fading_power_has_unit_mean_and_the_spread_of_m_waves(links):
    """E p = 1 and E p^2 = 2 - 1/M for M equal waves of independent phases; p is the power of `fading`."""
    config = NetworkConfig()
    power = torch.cat([radio.fading_power(config, links, t, 1) for t in range(0, 3000, 100)])
    assert power.mean().item() == pytest.approx(1, abs=0.01)
    assert power.square().mean().item() == pytest.approx(2 - 1 / config.num_sinusoids, abs=0.04)
    envelope = radio.fading(config, links, 2900, 1)
    assert envelope.is_complex() and envelope.shape == (1, 64, 4, 24)
    torch.testing.assert_close(envelope.abs().square(), power[-1:], rtol=1e-9, atol=1e-12)


def test_links_fade_independently(links):
    h = radio.fading(NetworkConfig(), links, 0, 1)[0]
    assert (h[:, 0].conj() * h[:, 1]).mean().abs() < 0.08  # one user, two APs: 1,536 pairs
    assert (h[:, :, 0].conj() * h[:, :, 1]).mean().abs() < 0.2  # one AP, two users: 256 pairs


# --- deployments --------------------------------------------------------------------------------------------


def test_shadowing_is_normal_with_its_deviation(links):
    shadowing = links.shadowing_db
    assert shadowing.std().item() == pytest.approx(7, abs=0.2)
    assert shadowing.mean().item() == pytest.approx(0, abs=0.3)
    assert ((shadowing / 7) ** 4).mean().item() == pytest.approx(3, abs=0.3)


def test_draws_keep_their_promises():
    """Shapes and types; spacing of APs and users; all inside the square; every AP has a user."""
    config = NetworkConfig()
    deployment = Deployment.draw(config, 40)
    shapes = {"ap_xy": (4, 2), "user_xy": (24, 2), "heading": (24,), "shadowing_db": (4, 24),
              "arrival": (4, 24, 16), "phase": (4, 24, 16)}  # fmt: skip
    for name, shape in shapes.items():
        value = getattr(deployment, name)
        assert value.shape == (40, *shape) and value.dtype == f64, name
    assert len(deployment) == 40 and deployment.key.shape == (40, 3) and deployment.key.dtype == torch.int64

    ap_ap = torch.cdist(deployment.ap_xy, deployment.ap_xy) + 1e9 * torch.eye(4)
    assert ap_ap.min() >= config.min_ap_ap_m
    assert torch.cdist(deployment.ap_xy, deployment.user_xy).min() >= config.min_ap_user_m
    for xy in (deployment.ap_xy, deployment.user_xy):
        assert xy.min() >= 0 and xy.max() <= config.area_m
        assert xy.mean().item() == pytest.approx(250, abs=30)
        assert xy.std().item() == pytest.approx(500 / math.sqrt(12), abs=20)
    users_per_ap = torch.nn.functional.one_hot(radio.association(config, deployment), 4).sum(1)
    assert users_per_ap.min() >= 1 and users_per_ap.shape == (40, 4)


def test_aps_may_be_without_users_where_that_is_permitted():
    config = NetworkConfig(num_users=4, require_users=False)
    serving = radio.association(config, Deployment.draw(config, 40))
    users_per_ap = torch.nn.functional.one_hot(serving, 4).sum(1)
    assert users_per_ap.min() == 0


def test_association_is_the_strongest_large_scale_gain_and_the_lower_of_equals():
    config = NetworkConfig(num_aps=3, num_users=1, top_n=1, require_users=False)
    by_shadow = line_of_users(config, [20.0, 60.0, 120.0], [30.0, 15.0, 0.0])
    # 39 + 26.0 + 30, 39 + 35.6 + 15 and 43.2 + 39 + 0 dB: the farthest AP is the strongest.
    assert radio.association(config, by_shadow).tolist() == [[2]]
    equal = line_of_users(config, [5.0, 0.0, 10.0], [0.0] * 3)  # all at the floor of 10 m
    assert radio.association(config, equal).tolist() == [[0]]

    config = NetworkConfig()
    deployment = Deployment.draw(config, 8)
    loss = np.stack([ReferenceGame.of(config, deployment, e).large_scale_db(0) for e in range(8)])
    np.testing.assert_array_equal(radio.association(config, deployment).numpy(), loss.argmin(1))


def test_users_are_reflected_at_the_borders():
    """At 400 m/s they cross the square about once a second; located from two corners, they never leave it."""
    area, config = 500.0, NetworkConfig(speed_mps=400.0, min_ap_user_m=1e-3, num_aps=2, require_users=False)
    deployment = Deployment.draw(config, 4)
    corners = torch.tensor([[0.0, 0.0], [area, 0.0]], dtype=f64).expand(4, 2, 2)
    deployment = dataclasses.replace(deployment, ap_xy=corners, shadowing_db=torch.zeros_like(deployment.shadowing_db))
    games = [ReferenceGame.of(config, deployment, e) for e in range(4)]
    before = None
    for t in range(0, 6000, 50):
        loss = radio.large_scale_db(config, deployment, t)
        distance = torch.where(loss <= 79, 10 ** ((loss - 39) / 20), 10 ** ((loss + 1) / 40))
        left, right = distance[:, 0], distance[:, 1]
        x = (left**2 - right**2 + area**2) / (2 * area)
        y = (left**2 - x**2).clamp(min=0).sqrt()
        assert x.min() > -1e-6 and x.max() < area + 1e-6 and y.max() < area + 1e-6
        position = torch.stack([x, y], -1)
        if before is not None:  # 20 m in 50 TTIs, less where the path was folded, and never a jump across
            moved = (position - before).norm(dim=-1)
            assert moved.max() < 20.01 and moved.median() > 19.9
        before = position
        np.testing.assert_allclose(position, [game.positions(t) for game in games], atol=1e-3)


# --- random streams -----------------------------------------------------------------------------------------


def assert_equal_deployments(a, b):
    assert a.gains == b.gains == ()
    for field in dataclasses.fields(Deployment)[:-1]:
        assert torch.equal(getattr(a, field.name), getattr(b, field.name)), field.name


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("sizes", [(4, 24), (3, 7), (9, 50)])
def test_a_deployment_and_its_gains_do_not_depend_on_the_batch(split, sizes):
    """Bit by bit, also where the number of links is no multiple of a processor's vector length."""
    config = NetworkConfig(num_aps=sizes[0], num_users=sizes[1])
    batch = Deployment.draw(config, 5, seed=9, split=split)
    for index in range(5):
        alone = Deployment.draw(config, 1, seed=9, split=split, first_index=index)
        assert_equal_deployments(batch[index], alone)
        assert_equal_deployments(batch[index : index + 1], alone)
        assert len(batch[index]) == 1
        snr = [radio.link_snr(config, deployment, 200, 3) for deployment in (batch, alone)]
        assert torch.equal(snr[0][:, index : index + 1], snr[1])


def test_splits_seeds_and_indices_differ():
    config, draws = NetworkConfig(), []
    for split in ("train", "validation", "test"):
        for seed in (0, 1):
            draws.append(Deployment.draw(config, 2, seed=seed, split=split))
    for name in ("ap_xy", "user_xy", "heading", "shadowing_db", "arrival", "phase", "key"):
        values = torch.cat([getattr(deployment, name) for deployment in draws]).flatten(1)
        assert len(torch.unique(values, dim=0)) == 12, name


def test_channels_do_not_depend_on_constants_of_the_game():
    """Power, weights' exponent and speed are no part of the draw, so that sweeps over them are paired."""
    base = NetworkConfig()
    other = dataclasses.replace(base, lam=0.5, tx_power_dbm=20.0, speed_mps=5.0, episode_ttis=10, top_n=4)
    assert_equal_deployments(Deployment.draw(base, 2), Deployment.draw(other, 2))


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        ("min_ap_ap_m", {"num_aps": 64, "num_users": 300, "area_m": 100.0}),
        ("min_ap_user_m", {"area_m": 100.0, "min_ap_user_m": 200.0}),
        ("require_users", {"num_aps": 12, "num_users": 13}),
    ],
)
def test_impossible_geometry_names_the_constraint(constraint, fields):
    with pytest.raises(ValueError, match=constraint):
        Deployment.draw(NetworkConfig(**fields), 1)
    assert issubclass(DeploymentError, ValueError)


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split"):
        Deployment.draw(NetworkConfig(), 1, split="tset")


BAD_FIELDS = [
    ("num_aps", 0),
    ("num_aps", -4),
    ("num_aps", "4"),
    ("num_users", 0),
    ("num_users", -1),
    ("num_users", 2.5),
    ("top_n", 0),
    ("top_n", 25),  # more than there are users
    ("area_m", 0.0),
    ("area_m", math.inf),
    ("min_ap_ap_m", -1.0),
    ("min_ap_user_m", -1.0),
    ("shadowing_db", -1.0),
    ("carrier_hz", -2.4e9),
    ("speed_mps", -1.0),
    ("speed_mps", math.nan),
    ("tti_s", 0.0),
    ("num_sinusoids", 0),
    ("tx_power_dbm", math.nan),
    ("bandwidth_hz", 0.0),
    ("noise_psd_dbm_hz", math.inf),
    ("cross_gain_db", -41.0),
    ("cross_gain_db", math.nan),
    ("episode_ttis", 0),
    ("warmup_ttis", -1),
    ("averaging", 0.0),
    ("averaging", 1.5),
    ("average_floor", 0.0),
    ("lam", -0.1),
    ("lam", 1.1),
    ("lam", math.nan),
    ("tail_weight", math.nan),
]


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
def test_bad_fields_are_refused_by_name_and_value(field, value):
    with pytest.raises(ValueError, match=field) as error:
        NetworkConfig(**{field: value})
    assert str(value) in str(error.value)


def test_config_travels_as_a_dict():
    config = NetworkConfig(num_aps=3, lam=0.5)
    assert NetworkConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="lamda"):
        NetworkConfig.from_dict(config.to_dict() | {"lamda": 0.5})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.lam = 0.5
