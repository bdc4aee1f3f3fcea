"""The made-up log of examples/make_log.py: reproducible, read as it is, and consistent with what its columns mean."""

import runpy
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import jupytext
import numpy as np
import pandas as pd
import pytest
import torch

from rrmlab import AgentConfig, Dataset, Deployment, NetworkConfig, evaluate, train_offline
from rrmlab.game.schedulers import Scheduler
from rrmlab.random_streams import PolicyStream, sample

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NETWORK = NetworkConfig(area_m=250.0, episode_ttis=100)
EPISODES, TTIS = 6, 100


def make_log(path, *options, site=EXAMPLES / "campus.csv"):
    """Run the program as its reader would, from another folder."""
    command = [sys.executable, "-I", EXAMPLES / "make_log.py", site, path, *map(str, options)]
    return subprocess.run(command, cwd=path.parent, capture_output=True, text=True)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "log.csv"
    done = make_log(path, "--episodes", EPISODES, "--ttis", TTIS)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def log(path):
    return pd.read_csv(path)


@pytest.fixture(scope="module")
def data(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Dataset.from_table(path, NETWORK)


def of_teams(log, column):
    """A column as (episode, TTI, AP)."""
    return log[column].to_numpy().reshape(EPISODES, TTIS + 1, NETWORK.num_aps)


def of_slots(log, name):
    """The columns of the slots as (episode, TTI, AP, slot)."""
    return np.stack([of_teams(log, f"{name}_{slot}") for slot in (1, 2, 3)], -1)


def test_the_same_seed_is_the_same_file(path, tmp_path):
    sizes = "--episodes", EPISODES, "--ttis", TTIS
    for name, seed in (("same", 0), ("other", 1)):
        assert make_log(tmp_path / name, *sizes, "--seed", seed).returncode == 0
    assert (tmp_path / "same").read_bytes() == path.read_bytes() != (tmp_path / "other").read_bytes()


def test_it_is_read_without_a_warning_as_it_stands(log, data):
    slots = [f"{name}_{slot}" for slot in (1, 2, 3) for name in ("sinr_db", "ln_w")]
    assert list(log) == ["episode", "tti", "ap", *slots, "action", "reward"]
    assert len(data) == EPISODES * TTIS and int(data.truncated.sum()) == EPISODES and not data.terminated.any()
    logged = log[log.action.notna()]
    assert data.actions.flatten().tolist() == logged.action.tolist()
    assert torch.equal(data.rewards, torch.tensor(logged.reward.to_numpy()[::4], dtype=torch.float32))
    assert (log[log.action.isna()].tti == TTIS).all()


def test_rewards_are_those_of_the_reported_sinrs_where_the_transmitters_stay(log):
    """Users report the SINR under the last TTI's APs: if the others stay as they were, a served user has that rate."""
    sinr, weight, action = of_slots(log, "sinr_db"), np.exp(of_slots(log, "ln_w")), of_teams(log, "action")
    rate = weight**NETWORK.lam * np.log2(1 + 10 ** (sinr / 10))
    slot = np.nan_to_num(action).astype(int)
    earned = np.where(slot > 0, np.take_along_axis(rate, np.maximum(slot - 1, 0)[..., None], -1)[..., 0], 0).sum(-1)
    on = slot > 0
    stays = (on[:, 1:-1] == on[:, :-2]).all(-1)
    assert stays.sum() > 100
    np.testing.assert_allclose(earned[:, 1:-1][stays], of_teams(log, "reward")[:, 1:-1, 0][stays], rtol=1e-3)


def test_slots_are_in_the_order_of_the_pf_factor(log):
    factor = np.exp(of_slots(log, "ln_w")) * np.log2(1 + 10 ** (of_slots(log, "sinr_db") / 10))
    filled = (of_slots(log, "sinr_db") != 0) | (of_slots(log, "ln_w") != 0)
    factor = np.where(filled, factor, 0)
    assert (factor[..., :-1] >= factor[..., 1:] * (1 - 1e-3)).all()


def test_weights_of_users_that_wait_grow_by_the_averaging(log):
    """Of a silent AP nobody is served: each user's ln w grows by -ln(1 - 0.01), up to the floor of its average."""
    ln_w, action = of_slots(log, "ln_w"), of_teams(log, "action")
    silent = action[:, :-1] == 0
    before, after = ln_w[:, :-1][silent], ln_w[:, 1:][silent]  # (lines, slots)
    grown = np.minimum(before - np.log1p(-NETWORK.averaging), -np.log(NETWORK.average_floor))
    grown = np.where(before == 0, 0, grown)  # empty slots stay empty
    gap = np.abs(after[:, :, None] - grown[:, None]).min(-1)
    assert len(gap) > 100
    assert np.mean(gap[:, 0] < 2e-4) > 0.8  # the other best users were not among the three before


def test_the_rule_is_the_one_that_is_described(tmp_path):
    path = tmp_path / "log.csv"
    assert make_log(path, "--episodes", 20, "--ttis", 500).returncode == 0
    log = pd.read_csv(path).dropna()
    low, filled = log.sinr_db_1 < 5, 1 + sum(log[f"ln_w_{slot}"].ne(0) for slot in (1, 2, 3))
    for part, silent in ((low, 0.5), (~low, 0.0)):
        explored = (0.15 / filled[part]).mean()
        for action, expected in ((0, 0.85 * silent + explored), (1, 0.85 * (1 - silent) + explored)):
            share = (log.action[part] == action).mean()
            assert share == pytest.approx(expected, abs=5 / np.sqrt(part.sum())), (silent, action)


def test_the_notebooks_incumbent_is_the_rule_that_wrote_the_log():
    """Both decide many times on the same observations: the same frequencies of every action."""
    decide = runpy.run_path(str(EXAMPLES / "make_log.py"))["decide"]
    cells = jupytext.read(EXAMPLES.parent / "notebooks" / "15_your_own_data.py").cells
    names = {"Scheduler": Scheduler, "PolicyStream": PolicyStream, "sample": sample, "torch": torch}
    names |= {"study": SimpleNamespace(seed=0), "aps": range(4)}
    exec(next(cell.source for cell in cells if cell.source.startswith("class Incumbent")), names)
    times, sinr = 4_000, np.array([[-3.0, 4.9, 5.1, 20.0]])  # of the APs' best users
    filled = np.array([[[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]]], bool).repeat(times, 0)
    logged = decide(sinr[..., None].repeat(times, 0), filled, np.random.default_rng(0))
    mask = torch.from_numpy(np.pad(filled, ((0, 0), (0, 0), (1, 0)), constant_values=True))
    view = SimpleNamespace(obs=torch.from_numpy(sinr)[..., None].repeat(times, 1, 1), action_mask=mask)
    view.users = lambda actions: actions
    incumbent = names["Incumbent"]()
    incumbent.begin(torch.stack([torch.tensor([3, 0, day]) for day in range(times)]))
    served = incumbent.serve(view).numpy()
    shares = [np.stack([(actions == a).mean(0) for a in range(4)]) for actions in (logged, served)]
    np.testing.assert_allclose(*shares, atol=5 * 0.5 / np.sqrt(times) * np.sqrt(2))


def test_sinrs_follow_from_the_positions(tmp_path):
    """One AP has no interference: the mean SINR in dB is that of the distance, less 2.51 dB of Rayleigh fading."""
    site = tmp_path / "site.csv"
    site.write_text("kind,name,x_m,y_m\nAP,a,0,0\n" + "".join(f"user,u{k},30,40\n" for k in range(3)))
    assert make_log(tmp_path / "log.csv", "--episodes", 400, "--ttis", 20, site=site).returncode == 0
    sinr = pd.read_csv(tmp_path / "log.csv").groupby("episode")[["sinr_db_1", "sinr_db_2", "sinr_db_3"]].mean()
    expected = 10 + 174 - 70 - 35 - 26 * np.log10(50) - 10 * np.euler_gamma / np.log(10)
    spread = 6 / np.sqrt(3 * 400)  # of the shadowing's mean; that of the fading is smaller
    assert sinr.to_numpy().mean() == pytest.approx(expected, abs=5 * spread)


@pytest.mark.parametrize(("option", "value"), [("--episodes", 0), ("--ttis", -3)])
def test_sizes_that_cannot_be_are_refused(tmp_path, option, value):
    done = make_log(tmp_path / "log.csv", option, value)
    assert done.returncode == 2 and f"{option[2:]} = {value}: must be at least 1" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_site_of_too_few_users_is_refused(tmp_path):
    site = tmp_path / "site.csv"
    site.write_text("kind,name,x_m,y_m\nAP,a,0,0\nuser,u,3,4\n")
    done = make_log(tmp_path / "log.csv", site=site)
    assert done.returncode == 2 and "must have an AP and 3 users, has 1 and 1" in done.stderr


def test_a_policy_trained_on_it_runs_at_the_site(data):
    site = pd.read_csv(EXAMPLES / "campus.csv")
    aps, users = (site.loc[site.kind == kind, ["x_m", "y_m"]].to_numpy() for kind in ("AP", "user"))
    days = Deployment.from_positions(NETWORK, aps, [users] * 2)
    (policy,) = train_offline(data, AgentConfig(num_updates=5), [0], progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the same network: nothing to warn of
        scores = evaluate(policy, NETWORK, deployments=days)
    assert scores.rates.shape == (2, 24) and scores.score > 0
