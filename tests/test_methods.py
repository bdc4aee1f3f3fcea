"""One record describes a method; one from outside of the package is in tables and figures like the others."""

import itertools
from dataclasses import replace

import pytest
import torch

from rrmlab import AgentConfig, NetworkConfig
from rrmlab.agents.config import method_name
from rrmlab.agents.paradigms import PARADIGMS
from rrmlab.game.schedulers import SCHEDULERS, Scheduler, make_scheduler
from rrmlab.study import explore, methods, plotting, tables, tuning
from rrmlab.study.notebook import Study

NETWORK = NetworkConfig()  # I = 4 APs, J = 24 users, N = 3


class FirstAP(Scheduler):
    """Only the first AP transmits, to its best user."""

    name = "First AP"

    def serve(self, view):
        return torch.where(torch.arange(view.slots.shape[1]) == 0, view.slots[..., 0], -1)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(SCHEDULERS, "first_ap", FirstAP)
    style = methods.Style("magenta", "*", ":")
    methods.add(methods.Method("First AP", {"name": "first_ap"}, knowledge=methods.OWN_USERS, style=style))
    yield
    del methods.METHODS["First AP"]


def test_a_scheduler_from_outside_is_scored_tabulated_and_drawn(registered, tmp_path, monkeypatch):
    study = Study("02_baselines", "smoke", True, root=tmp_path)
    monkeypatch.setattr(tuning, "ITLINQ_GRID", {"m_db": (10.0,), "eta": (0.2,)})
    monkeypatch.setattr(tuning, "THRESHOLD_GRID", {"a": (1.0,), "b": (1.0,), "c": (6.0,)})
    results = methods.schedulers(study)
    table = tables.summary(results, tables.ScoreScale.of(results)).set_index("method")
    assert 0 < table.score["First AP"] < table.score["Exhaustive"]
    fig = plotting.score_panels(table.reset_index(), table.index, height=2)
    labels = [label.get_text() for label in fig.axes[0].get_yticklabels()]
    assert labels == list(results) and "First AP" in labels
    assert plotting.style_of("First AP")["color"] == "magenta"
    assert isinstance(explore.choices(tmp_path)["First AP"](), FirstAP)
    known = methods.knowledge(NETWORK, ["First AP", "C-MARL-CQL (DQN)"]).set_index("method")
    assert list(known.reports) == [24, 24] and list(known.exchanged) == [0, 2 * 3 * 4 + 4]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (methods.Method("TDM", {"name": "tdm"}), "'TDM': there is one of this name already"),
        (methods.Method("New"), "'New': must have one of scheduler, agent and oracle"),
        (methods.Method("New", {"name": "tdm"}, AgentConfig()), "'New': must have one of"),
    ],
)
def test_a_record_that_cannot_be_is_refused(record, message):
    before = list(methods.METHODS)
    with pytest.raises(ValueError, match=message):
        methods.add(record)
    assert list(methods.METHODS) == before


def test_a_method_without_a_record_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'Nobody': not registered \(see `methods.add`\); there are Random walk"):
        plotting.style_of("Nobody")


def test_every_scheduler_of_the_game_has_a_record():
    specs = [record.scheduler for record in methods.METHODS.values() if record.scheduler]
    assert {spec["name"] for spec in specs} == set(SCHEDULERS)
    for record in methods.METHODS.values():
        if record.scheduler:
            assert record.name.startswith(make_scheduler(**record.scheduler).name)


@pytest.mark.parametrize("paradigm, backbone", list(itertools.product(PARADIGMS, ("sac", "dqn"))))
def test_every_point_of_the_grid_has_a_record(paradigm, backbone):
    agent = AgentConfig(paradigm, backbone)
    names = [method_name(agent), method_name(replace(agent, alpha=0.0)), method_name(agent, online=True)]
    found = [methods.find(name) for name in names]
    assert [record.agent.alpha > 0 for record in found] == [True, False, False]
    assert {(record.agent.paradigm, record.agent.backbone) for record in found} == {(paradigm, backbone)}


def test_no_two_methods_are_drawn_alike():
    drawn = [record.style for name, record in methods.METHODS.items() if not name.startswith("Online ")]
    assert len(set(drawn)) == len(drawn)
    online = [record.style for name, record in methods.METHODS.items() if name.startswith("Online ")]
    assert len(set(online)) == len(online)


def test_the_experiment_table_says_what_is_trained():
    agents = {
        "BC": AgentConfig.behaviour_cloning(),
        "mine": AgentConfig("independent", alpha=2.0, gamma=0.5, num_updates=7),
    }
    table = tables.experiment_table(agents, range(3), log="sac", size=100).set_index("method")
    assert list(table.columns) == [
        "log", "paradigm", "mixer", "backbone", "penalty", "gamma", "alpha", "learning_rate", "updates", "seeds",
        "size",
    ]  # fmt: skip
    assert list(table.loc["mine"]) == ["sac", "independent", "", "sac", "cql", 0.5, 2.0, 1e-3, 7, 3, 100]
    assert table.loc["BC", "gamma"] == table.loc["BC", "alpha"] == ""  # it has no TD loss


def test_numbers_that_the_link_rules_exchange():
    """4 APs: 16 gains to the chosen users and 4 decisions; beside them the weights, the PF factors, or both."""
    names = ["Threshold", "Best subset", "ITLinQ", "Greedy marginal"]
    known = methods.knowledge(NETWORK, names).set_index("method")
    assert known.exchanged.to_dict() == {"Threshold": 0, "Best subset": 24, "ITLinQ": 24, "Greedy marginal": 28}
    assert known.reports.to_dict() == {"Threshold": 24, "Best subset": 36, "ITLinQ": 36, "Greedy marginal": 36}
