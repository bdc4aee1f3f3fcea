"""The benchmarks' own arithmetic: counts, the order of timing, and what is said when a peer is missing."""

import io
import itertools
import math
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from agents import agent_of
from torch.utils.flop_counter import FlopCounterMode

from rrmlab.agents.config import AgentConfig
from rrmlab.agents.learner import Learner
from rrmlab.agents.paradigms import PARADIGMS
from rrmlab.bench import measure, report, workloads
from rrmlab.config import NetworkConfig
from rrmlab.game.schedulers import make_scheduler
from rrmlab.learning.collection import collect
from rrmlab.learning.offline import train_offline
from rrmlab.memory import peak_memory_gib

SMALL = NetworkConfig(num_aps=2, num_users=6, top_n=2, episode_ttis=5, warmup_ttis=3)
ONE = NetworkConfig(num_aps=1, num_users=1, top_n=1)


# --- counts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.9])
@pytest.mark.parametrize(("paradigm", "backbone"), list(itertools.product(PARADIGMS, ("dqn", "sac", "bc"))))
def test_update_flops_equal_those_of_a_real_update(paradigm, backbone, gamma):
    agent = agent_of(paradigm, backbone, gamma=gamma, hidden=(8, 5), batch_size=7)
    network = NetworkConfig(num_aps=3, num_users=6, top_n=2)
    learner, batch = Learner(agent, network, [0, 1]), workloads.random_batch(2, 7, network)
    with FlopCounterMode(display=False) as counter:
        learner.update(batch)
    with FlopCounterMode(display=False) as masking:  # joint masks are made by a product that no network has
        for mask in (batch.mask, batch.next_mask)[: 1 + (gamma > 0 and backbone != "bc")]:
            learner.paradigm.masks(mask)
    assert counter.get_total_flops() == 2 * measure.update_flops(agent, network) + masking.get_total_flops()


def test_update_flops_by_hand():
    """Layers 2-2-2 are 8 multiply-adds; the backward pass has 8 for the weights and 4 for the last layer's inputs."""
    agent = AgentConfig("centralized", "dqn", gamma=0.0, hidden=(2,), batch_size=1)
    assert measure.update_flops(agent, ONE) == 2 * (8 + 8 + 4)
    looking_ahead = AgentConfig("centralized", "dqn", gamma=0.9, hidden=(2,), batch_size=10)
    assert measure.update_flops(looking_ahead, ONE) == 10 * 2 * (20 + 2 * 8)


def test_step_flops_by_hand():
    one = NetworkConfig(num_aps=1, num_users=1, top_n=1, num_sinusoids=1)
    counted = measure.step_flops(one)
    assert sum(counted["float64"].values()) == 8 + 3 + 12 + 11
    assert sum(counted["float32"].values()) == 2 + 2 + 4 + 4 + 3 + 2 + 1 + 1 + 3 + 5


def test_fading_is_counted_like_the_matrix_product_that_computes_it():
    """Real and imaginary part of a sum of M complex products are a (2, 2M) by (2M, 1) product of reals."""
    config, ttis = NetworkConfig(), 10
    m, links = config.num_sinusoids, config.num_aps * config.num_users
    with FlopCounterMode(display=False) as counter:
        torch.bmm(torch.ones(links, 2, 2 * m), torch.ones(links, 2 * m, ttis))
    fading = measure.step_flops(config)["float64"]["fading: sum of M complex rotations"]
    assert counter.get_total_flops() == ttis * fading


def test_step_bytes_by_hand():
    """One link: its gain, three numbers of the user, and an observation of 2, a mask of 2, a slot and an action."""
    assert measure.step_bytes(NetworkConfig(num_aps=1, num_users=1, top_n=1)) == 2 * (4 + 12 + (8 + 2 + 8) + 8)


def test_update_bytes_by_hand():
    """Layers 2-2-2: 12 parameters, each with a gradient and two moments, and 12 of the target; 2 observations of 2
    numbers; outputs of 2 + 2 units in one pass, or three with a discount. All read and written, 4 bytes each."""
    agent = AgentConfig("centralized", "dqn", gamma=0.0, hidden=(2,), batch_size=1)
    assert measure.update_bytes(agent, ONE) == 8 * (4 * 12 + 12 + 4 + 4)
    agent = AgentConfig("centralized", "dqn", gamma=0.9, hidden=(2,), batch_size=1)
    assert measure.update_bytes(agent, ONE) == 8 * (4 * 12 + 12 + 4 + 3 * 4)


# --- timing -------------------------------------------------------------------------------------------------


def works(events, units=1):
    """Two pieces of work that write down their turn."""
    return [lambda name=name: events.append(name) or units for name in "ab"]


def test_pieces_of_work_take_turns():
    events = []
    measure.interleaved(works(events), repeats=3)
    assert "".join(events) == "ab" + "ab" + "ba" + "ab"  # a first round that is not counted, then forth and back


def test_seconds_are_per_unit_and_the_first_round_is_not_counted():
    now = 0.0

    def spend(seconds, units):
        def work():
            nonlocal now
            now += seconds.pop(0)
            return units

        return work

    pieces = [spend([100.0, 2.0, 4.0], 2), None, spend([100.0, 30.0, 60.0], 3)]
    seconds = measure.interleaved(pieces, repeats=2, clock=lambda: now)
    np.testing.assert_array_equal(seconds, [[1.0, math.nan, 10.0], [2.0, math.nan, 20.0]])


def test_the_clock_is_read_after_the_device_has_finished():
    events = []
    pieces = [lambda: events.append("work") or 1]
    measure.interleaved(pieces, 1, lambda: events.append("clock") or 0.0, lambda: events.append("wait"))
    assert events == ["work", "wait", "clock", "work", "wait", "clock"]


def test_latencies():
    ticks = iter([0.0, 0.001, 0.003, 0.006])
    calls = []
    spent = measure.latencies_ms(lambda: calls.append(1), 3, clock=lambda: next(ticks))
    np.testing.assert_allclose(spent, [1, 2, 3])
    assert len(calls) == 3
    measure.latencies_ms(lambda: calls.append(1), 20)
    assert len(calls) == 3 + 22
    np.testing.assert_array_equal(measure.latencies_ms(None, 2), [math.nan, math.nan])


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="inside"), measure.threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise RuntimeError("inside")
    assert torch.get_num_threads() == before


def test_machine_rates():
    rates = measure.machine_rates(size=16, copy_mib=1, repeats=1)
    assert set(rates) == {"sgemm", "dgemm", "copy"}
    assert all(0 < rate < math.inf for rate in rates.values())


# --- rows ---------------------------------------------------------------------------------------------------

COLUMNS = ["row", "value", "unit", "reference", "reference_value", "ratio", "target", "reached"]


@pytest.mark.parametrize(("target", "expected"), [(">= 2", True), (">= 2.1", False), ("<= 2", True), ("<= 1.9", False)])
def test_reached_follows_from_the_ratio_where_there_is_a_reference(target, expected):
    row = report.row("r", "steps/s", [10.0, 40.0, 30.0], target, "peer", [10.0, 20.0, 10.0])
    assert list(row)[:8] == COLUMNS
    assert (row["value"], row["reference_value"], row["ratio"]) == (30, 10, 2)  # ratios 1, 2, 3, repeat by repeat
    assert (row["ratio_low"], row["ratio_high"], row["repeats"]) == (1, 3, 3)
    assert row["reached"] is expected


@pytest.mark.parametrize(("value", "expected"), [(9.9, True), (10.1, False), (math.nan, False)])
def test_reached_follows_from_the_value_where_there_is_none(value, expected):
    row = report.row("r", "s", value, "<= 10")
    assert row["reached"] is expected
    assert math.isnan(row["ratio"]) and math.isnan(row["reference_value"]) and row["reference"] == ""


def test_without_a_target_nothing_is_reached():
    assert report.row("r", "s", 1.0)["reached"] is None


def test_a_missing_reference_reaches_no_target():
    seconds = measure.interleaved([lambda: 1, None], repeats=2)
    for target in (">= 0", "<= 1e9"):
        row = report.row("r", "steps/s", 1 / seconds[:, 0], target, "peer (missing)", 1 / seconds[:, 1])
        assert row["reached"] is False and math.isnan(row["ratio"]) and math.isnan(row["reference_value"])
        assert row["value"] > 0
    assert report.row("r", "s", 1.0, "<= 2", "peer (missing)")["reached"] is False


def test_margin_points_the_same_way_for_both_kinds_of_target():
    assert report.margin(6.0, ">= 3") == report.margin(1.5, "<= 3") == 2


def test_the_size_that_grew_most_is_reported():
    each = np.array([[1.0, 2.0, 3.0], [1.0, 4.0, 2.0]])
    row = report.growth_row("growth", "ms", [4, 9, 16], each)
    assert (row["unit"], row["reference"], row["ratio"], row["reached"]) == ("ms, 9 APs", "the same, 4 APs", 3, False)


def test_one_row_per_size():
    table = report.by_size("update", np.array([[1.0, 5.0], [3.0, 9.0]]), [4, 9])
    assert table.to_dict("list") == {"kind": ["update"] * 2, "aps": [4, 9], "users": [0, 0], "envs": [0, 0],
                                     "ms": [2, 7], "ms_low": [1, 5], "ms_high": [3, 9], "repeats": [2, 2]}  # fmt: skip


def test_margins_are_of_rows_with_a_target():
    rows = [report.row("a", "s", [2.0, 1.0, 4.0], "<= 8"), report.row("b", "s", 1.0)]
    rows.append(report.row("c", "steps/s", 6.0, ">= 3", "peer", 1.0))
    text = io.StringIO(pd.DataFrame(rows).to_csv(index=False))
    table = report.margins(pd.read_csv(text))
    assert list(table.label) == ["a (≤ 8 s)", "c (≥ 3×)"]
    assert table[["low", "margin", "high"]].to_numpy().tolist() == [[2, 4, 8], [2, 2, 2]] and table.reached.all()


# --- work ---------------------------------------------------------------------------------------------------


def test_episodes_count_all_environments_and_take_allowed_actions_only():
    run = workloads.random_episodes(SMALL, envs=3)  # the environment refuses a masked action
    assert run() == run() == 3 * SMALL.episode_ttis


def test_silent_steps_count_steps():
    assert workloads.silent_steps(SMALL, envs=2, num=3)() == 3


def test_a_centralized_learner_is_refused_from_some_size_on():
    most = workloads.largest_centralized(NetworkConfig())
    agent = AgentConfig("centralized", hidden=(1,))
    Learner(agent, NetworkConfig(num_aps=most), [0])
    with pytest.raises(ValueError, match="num_aps"):
        Learner(agent, NetworkConfig(num_aps=most + 1), [0])


def test_no_difference_of_the_cpu_to_itself():
    assert workloads.device_differences(SMALL, AgentConfig(hidden=(4,)), "cpu", 2) == {"episode": 0, "updates": 0}


def test_a_fresh_process_does_not_inherit_the_peak_of_this_one():
    ballast = np.ones(2**27)  # 1 GiB
    facts = workloads.in_fresh_process(workloads.collect_and_save, 200)
    assert ballast[-1] and peak_memory_gib() > 1
    assert facts["imported_gib"] <= facts["peak_gib"] < peak_memory_gib() - 0.4
    assert facts["seconds"] > 0 and 0 < facts["disk_gib"] < 0.01


# --- peers --------------------------------------------------------------------------------------------------


def logged():
    return collect(make_scheduler("random_walk"), SMALL, 20)


def trained():
    return train_offline(logged(), AgentConfig(hidden=(8,), batch_size=4, num_updates=2), [0], progress=False)[0]


def test_missing_peers_are_none(monkeypatch):
    for name in ("mobile_env", "d3rlpy", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises ImportError
    assert workloads.mobile_env_episode() is None
    assert workloads.d3rlpy_updates(logged(), AgentConfig(), 1) is None
    assert workloads.one_onnx_decision(trained(), logged().obs[0]) is None


def test_decisions_of_both_kinds_are_those_of_the_policy():
    policy, obs = trained(), logged().obs
    for seen, wanted in zip(obs, policy.act(obs)[:, 1], strict=True):
        name, from_file = workloads.one_onnx_decision(policy, seen, ap=1)
        assert name.startswith("ONNX Runtime 1.")
        assert from_file() == workloads.one_decision(policy, seen, ap=1)() == wanted


def test_decisions_of_a_graph_are_those_of_the_policy(monkeypatch):
    network = replace(SMALL, observation="neighbours")
    log = collect(make_scheduler("random_walk"), network, 6)
    agent = AgentConfig.graph(hidden=(8,), batch_size=4, num_updates=2)
    policy = train_offline(log, agent, [0], progress=False)[0]
    decide = workloads.one_network_decision(policy, log.obs)
    for wanted in policy.act(torch.cat([log.obs, log.obs[:2]])).tolist():
        assert decide().tolist() == wanted
    seen, act = [], policy.act
    monkeypatch.setattr(policy, "act", lambda obs: seen.append(act(obs)))
    assert workloads.decisions_of_noise(policy, replace(network, num_aps=5, num_users=6), 7)() == 7
    assert seen[0].shape == (7, 5)
    assert workloads.learning(log, agent, [(0, 1)], 2)() == 2


@pytest.mark.filterwarnings("ignore")
def test_mobile_env_runs_a_whole_episode(capsys):
    pytest.importorskip("mobile_env")
    label, run = workloads.mobile_env_episode("mobile-small-central-v0")
    assert label.startswith("mobile-env 2.1") and "5 UEs" in label
    assert run() == 100
    assert workloads.mobile_env_episode("mobile-small-central-v0", most=3)[1]() == 3
    assert capsys.readouterr().out == ""


@pytest.mark.filterwarnings("ignore")
def test_d3rlpy_learns_from_the_same_data(capsys):
    pytest.importorskip("d3rlpy")
    agent = AgentConfig("centralized", "dqn", hidden=(8,), batch_size=4)
    label, run = workloads.d3rlpy_updates(logged(), agent, 2)
    assert label == "d3rlpy 2.8.1 DiscreteCQL" and run() == 2
    assert capsys.readouterr().out == ""
    assert workloads.learning(logged(), agent, [(0,), (1,)], 2)() == 2


def test_time_shares_tell_products_from_the_rest():
    a = torch.rand(700, 700)
    products = measure.time_shares(lambda: (a @ a).shape[0])
    plain = measure.time_shares(lambda: sum(range(10**6)))
    for shares in (products, plain):
        assert list(shares) == ["matrix products", "other operations", "rest"]
        assert sum(shares.values()) == pytest.approx(1)
    assert products["matrix products"] > 0.05 and plain["matrix products"] == 0 and plain["rest"] > 0.9
