"""What a user adds outside the package, each in a few lines: a scheduler, an observation, a mixer, a penalty."""

from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
import torch

from rrmlab import AgentConfig, NetworkConfig, Policy, collect, evaluate, load_dataset, make_scheduler, train_offline
from rrmlab.agents.losses import PENALTIES, masked, taken
from rrmlab.agents.mixers import MIXERS
from rrmlab.game.observations import OBSERVATIONS, Observation
from rrmlab.game.schedulers import SCHEDULERS, Scheduler
from rrmlab.game.views import CellView
from rrmlab.study import jobs, methods, plotting
from rrmlab.study.jobs import OfflineJob
from rrmlab.study.methods import Method, Style
from rrmlab.study.scoring import Scoring, score_scheduler
from rrmlab.study.tables import ScoreScale, summary

NETWORK = NetworkConfig(num_aps=3, num_users=9, top_n=2, episode_ttis=40, warmup_ttis=10)
TINY = {"hidden": (8,), "num_updates": 5, "batch_size": 32}


def test_an_observation_with_one_more_feature(monkeypatch, tmp_path):
    with_snr = Observation(
        "with SNR",
        ("SINR, dB", "ln w", "SNR, dB"),
        lambda slots: (10 * slots.sinr.log10(), slots.log_weight, 10 * slots.snr.log10()),
    )
    monkeypatch.setitem(OBSERVATIONS, with_snr.name, with_snr)
    network = replace(NETWORK, observation="with SNR")
    data = load_dataset(collect(make_scheduler("random_walk"), network, 300).save(tmp_path / "log-v0"))
    local = load_dataset(collect(make_scheduler("random_walk"), NETWORK, 300).save(tmp_path / "local-v0"))
    assert data.obs.shape == (len(local.obs), 3, 6)
    both = data.obs.unflatten(-1, (2, 3))
    assert torch.equal(both[..., :2].flatten(-2), local.obs)  # the same game, the same two features
    assert (both[..., 2] >= both[..., 0] - 1e-3).all()  # the SNR is the SINR without interference
    for paradigm in ("centralized", "independent", "ctde"):
        (policy,) = train_offline(data, AgentConfig(paradigm, **TINY), [0], progress=False)
        policy = Policy.load(policy.save(tmp_path / paradigm))
        assert evaluate(policy, network, 3).score > 0
        assert torch.equal(policy.act(data.obs), policy.act(data.obs, data.mask))
        with pytest.raises(ValueError, match="observation = local instead of with SNR"):
            evaluate(policy, NETWORK, 3)
    if paradigm != "centralized":
        assert policy.local(1)(data.obs[0, 1].numpy()) == int(policy.act(data.obs[0])[1])


def test_an_unknown_observation_is_refused_before_any_work():
    with pytest.raises(ValueError, match="observation = 'global': must be one of local"):
        collect(make_scheduler("random_walk"), replace(NETWORK, observation="global"), 300)


class WeightedSum(torch.nn.Module):
    """A mixer with a positive weight for each head, whatever the state."""

    def __init__(self, generators, heads, state_size):
        super().__init__()
        self.log_weight = torch.nn.Parameter(torch.stack([0.1 * torch.randn(heads, generator=g) for g in generators]))

    def forward(self, values, state):
        weight = self.log_weight.exp().view(len(values), *(1,) * (values.ndim - 3), -1, 1)
        return (weight * values).sum(-2, keepdim=True)


def largest_other(q, mask, actions):
    """A penalty: how far the best other action lies above the logged one."""
    others = masked(q, mask).scatter(-1, actions.unsqueeze(-1), -1e30)
    return torch.relu(others.amax(-1) - taken(q, actions))


def test_a_mixer_and_a_penalty(monkeypatch):
    monkeypatch.setitem(MIXERS, "weighted", WeightedSum)
    monkeypatch.setitem(PENALTIES, "largest", largest_other)
    data = collect(make_scheduler("random_walk"), NETWORK, 300)
    for backbone in ("sac", "dqn"):
        agent = AgentConfig(mixer="weighted", penalty="largest", backbone=backbone, **TINY)
        policies = train_offline(data, agent, [0, 1], progress=False)
        assert evaluate(policies[0], NETWORK, 3).score > 0
        assert policies[0].name.startswith("CTDE-MARL-LARGEST (WEIGHTED")
        assert all((policy.history["penalty"] >= 0).all() for policy in policies)
        plain = train_offline(data, replace(agent, penalty="none"), [0], progress=False)[0]
        assert not torch.equal(plain.tensors["critic.0"], policies[0].tensors["critic.0"])
        assert (plain.history["penalty"] == 0).all()
    # Stored runs of two mixers of one name have different names.
    asked = jobs.chosen_code(agent, NETWORK)
    assert WeightedSum in asked and largest_other in asked
    # Learned together or alone, a seed's mixer is its own.
    (alone,) = train_offline(data, agent, [1], progress=False)
    torch.testing.assert_close(alone.tensors["critic.0"], policies[1].tensors["critic.0"])


class OneAP(Scheduler):
    """Only the AP of the best PF factor transmits."""

    name = "One AP"
    knowledge = CellView

    def serve(self, view):
        factor = (view.weight * torch.log2(1 + view.sinr)).amax(-1)  # (E, I)
        best = torch.nn.functional.one_hot(factor.argmax(-1), factor.shape[-1]).bool()
        return view.slots[..., 0].where(best, -1)


def test_a_scheduler_in_a_summary_table_and_a_figure(monkeypatch, tmp_path):
    """By one registration each in the game and in the study; no stored run but its own has another name."""
    agents = methods.METHODS["CTDE-MARL-CQL"].agent, methods.METHODS["Full reuse"].scheduler
    data = collect(make_scheduler("random_walk"), NETWORK, 300).save(tmp_path / "log-v0")

    def run_names():
        job = OfflineJob(data, replace(agents[0], **TINY), (0,), scoring)
        return job.run(tmp_path).name, score_scheduler(tmp_path, agents[1], scoring).folder.name

    scoring = Scoring(NETWORK, 3)
    before = run_names()
    monkeypatch.setitem(SCHEDULERS, "one_ap", OneAP)
    monkeypatch.setattr(methods, "METHODS", dict(methods.METHODS))
    methods.add(Method("One AP", {"name": "one_ap"}, knowledge=methods.ALL_USERS, style=Style("pink", "v", "--")))
    assert run_names() == before

    names = ["Random walk", "Full reuse", "One AP", "Exhaustive (λ = 1)"]
    results = {name: score_scheduler(tmp_path, methods.find(name).scheduler, scoring) for name in names}
    table = summary(results, ScoreScale.of(results)).set_index("method")
    assert table.score_low["One AP"] <= table.score["One AP"] <= table.score_high["One AP"]
    # One transmitter at a time: no interference, so every served user has its SNR.
    assert table.sum_rate["One AP"] < table.sum_rate["Full reuse"]
    assert methods.knowledge(NETWORK, names).set_index("method").exchanged["One AP"] == 2 * 2 * 3 + 3
    fig = plotting.score_panels(table.reset_index(), names, 2.0)
    labels = [label.get_text() for label in fig.axes[0].get_yticklabels()]
    assert labels == names
    colours = [tuple(bar.get_facecolor()) for bar in fig.axes[0].patches]
    assert len(set(colours)) == 4 and plotting.style_of("One AP")["linestyle"] == "--"
    plt.close(fig)


class OneNumber(torch.nn.Module):
    """A mixer with a single number per seed."""

    def __init__(self, generators, heads, state_size):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.zeros(len(generators)))

    def forward(self, values, state):
        return values.sum(-2, keepdim=True) * self.scale.exp().view(-1, *(1,) * (values.ndim - 1))


class Shared(torch.nn.Module):
    def __init__(self, generators, heads, state_size):
        super().__init__()
        self.layer = torch.nn.Linear(heads, 1)


class NoHeads(OneNumber):
    def forward(self, values, state):
        return values.sum(-2)


def test_mixers_of_other_shapes(monkeypatch):
    data = collect(make_scheduler("random_walk"), NETWORK, 300)
    wrong = {
        "shared": (Shared, r"layer.weight has the shape \(1, 3\), the first dimension must be the seeds, 2"),
        "no heads": (NoHeads, r"it returned \(2, 5\), must be \(2, 1, 5\)"),
    }
    for name, (mixer, message) in wrong.items():
        monkeypatch.setitem(MIXERS, name, mixer)
        with pytest.raises(ValueError, match=f"mixer = '{name}': .*{message}"):
            train_offline(data, AgentConfig(mixer=name, **TINY), [0, 1], progress=False)
    monkeypatch.setitem(MIXERS, "one", OneNumber)
    assert len(train_offline(data, AgentConfig(mixer="one", **TINY), [0, 1], progress=False)) == 2


def test_a_policy_with_a_mixer_that_is_not_registered_is_no_damage(monkeypatch, tmp_path):
    with monkeypatch.context() as registered:
        registered.setitem(MIXERS, "one", OneNumber)
        data = collect(make_scheduler("random_walk"), NETWORK, 300)
        (policy,) = train_offline(data, AgentConfig(mixer="one", **TINY), [0], progress=False)
        policy.save(tmp_path / "policy")
        assert Policy.load(tmp_path / "policy").config.mixer == "one"
    with pytest.raises(ValueError, match="mixer = 'one' is not registered here") as refused:
        Policy.load(tmp_path / "policy")
    assert "make it again" not in str(refused.value)


def test_a_log_or_policy_with_an_observation_that_is_not_registered_is_no_damage(monkeypatch, tmp_path):
    with monkeypatch.context() as registered:
        registered.setitem(OBSERVATIONS, "own", OBSERVATIONS["local"])
        network = replace(NETWORK, observation="own")
        data = collect(make_scheduler("random_walk"), network, 300)
        data.save(tmp_path / "log-v0")
        train_offline(data, AgentConfig(**TINY), [0], progress=False)[0].save(tmp_path / "policy")
        assert load_dataset(tmp_path / "log-v0").network == Policy.load(tmp_path / "policy").network == network
    for load, name in ((load_dataset, "log-v0"), (Policy.load, "policy")):
        with pytest.raises(ValueError, match="observation = 'own' is not registered here") as refused:
            load(tmp_path / name)
        assert name in str(refused.value) and "make it again" not in str(refused.value)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Method("W", {"name": "ssss"}), "scheduler 'ssss': must be one of .*SCHEDULERS\\['ssss'\\]"),
        (Method("W", {"name": "tdm"}, knowledge=CellView), "must be a methods.Knowledge such as .*got CellView"),
        (Method("W", {"name": "tdm"}, style=Style("nocolour")), "colour = 'nocolour'"),
        (Method("W"), "must have one of scheduler, agent and oracle"),
    ],
)
def test_a_record_that_cannot_be_used_is_refused_when_it_is_added(method, message):
    with pytest.raises(ValueError, match=message):
        methods.add(method)
    assert "W" not in methods.METHODS


def test_a_scheduler_without_a_name_is_refused():
    with pytest.raises(ValueError, match="has name = '', which must be a text"):
        evaluate(type("Unnamed", (Scheduler,), {"serve": lambda self, view: view.slots[..., 0]})(), NETWORK, 2)
