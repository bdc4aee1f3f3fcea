"""What notebook 11 computes from its tables, against numbers by hand; its claims; logs of several networks as one."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rrmlab import NetworkConfig, load_dataset
from rrmlab.joint_env import RRMJointEnv
from rrmlab.study import claims, logs, own_claims
from rrmlab.study.figures import dynamic_users
from rrmlab.study.notebook import Study


def points(ratio, loss):
    return pd.DataFrame({"method": "M", "ratio": ratio, "loss": loss})


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ([0.01, 0.01, 0.09, 0.30], math.sqrt(1e-3)),  # half way between 0.01 and 0.1, on the logarithm
        ([0.0, 0.04, 0.06, 0.20], math.sqrt(1e-3)),
        ([0.2, 0.01, 0.01, 0.25], 0.1 * 10 ** (1 / 6)),  # the last crossing counts
        ([0.04, 0.06, 0.0, 0.20], 0.001 * 10**0.5),  # the best constant, against which the loss is taken, says nothing
        ([0.0, 0.01, 0.02, 0.04], math.nan),
        ([0.1, 0.2, 0.3, 0.4], math.nan),
    ],
)
def test_where_the_loss_passes(loss, expected):
    table = points([0.001, 0.01, 0.1, 1.0], loss)
    table = pd.concat([table, points([math.inf], [0.9])])  # nobody moves
    assert dynamic_users.crossing(table).ratio.item() == pytest.approx(expected, nan_ok=True)


def test_losses_are_those_against_the_best_at_that_speed():
    table = pd.DataFrame(
        {"method": "M", "speed": [0, 0, 1, 1], "averaging": [1, 2, 1, 2], "score": [1.0, 2.0, 4.0, 3.0]}
    )
    assert dynamic_users.losses(table).loss.tolist() == [0.5, 0.0, 0.0, 0.25]


def test_coherence_time():
    assert dynamic_users.coherence_ttis(NetworkConfig(speed_mps=10.0)) == pytest.approx(0.423 / 80.055 * 1e3, rel=1e-3)
    assert dynamic_users.coherence_ttis(NetworkConfig(speed_mps=0.0)) == math.inf


def test_own_claims_and_their_place_behind_the_papers(tmp_path):
    row = own_claims.n3({"fast": (0.97, 0.96, 0.98), "crowd": (0.90, 0.88, 0.94)})
    assert row["ours"] == 0.90 and row["verdict"] == "reproduced in part: fast; not reproduced: crowd"
    fits = own_claims.n4((0.8, 0.78, 0.82), (1.0, 0.99, 1.01), (1.1, 1.0, 1.2), 0.2)
    assert fits["verdict"] == "reproduced" and (fits["ours"], fits["low"]) == pytest.approx((0.2, 0.18))
    claims.claim_table("11_dynamic_users", row, fits).to_csv(tmp_path / "11_dynamic_users_claims.csv", index=False)
    others = [claims.claim_row(name, "c", "> 0", (1.0, 0.5, 2.0), "reproduced", "") for name in ("K10", "K3")]
    claims.claim_table("04_x", *others).to_csv(tmp_path / "04_x_claims.csv", index=False)
    assert claims.gathered(tmp_path).id.tolist() == ["K3", "K10", "N3", "N4"]


def test_logs_of_several_networks_become_one(tmp_path):
    study = Study("11_dynamic_users", "smoke", True, root=tmp_path)
    parts = [logs.collected(study, "random", 80, network=replace(study.network, speed_mps=v)) for v in (1.0, 30.0)]
    whole = load_dataset(logs.joined(study, parts, 80, study.network))
    assert whole.network == study.network and len(whole) == 80
    for k, part in enumerate(parts):
        half = slice(40 * k, 40 * (k + 1))
        np.testing.assert_array_equal(whole.rewards[half], load_dataset(part).rewards[:40])


def test_a_map_shows_the_users_who_are_there():
    network = NetworkConfig(
        num_users=55, require_users=False, episode_ttis=10, warmup_ttis=5, mean_users=6.0, mean_stay_s=0.03
    )
    env = RRMJointEnv(network, render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().ndim == 3
