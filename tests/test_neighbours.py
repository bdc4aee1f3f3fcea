"""The observation with neighbours, and late reports of them, against the gains that the environment states."""

from dataclasses import replace

import pytest
import torch

from rrmlab import ImperfectReports, NetworkConfig, RRMEnv, collect, evaluate, load_dataset, make_scheduler
from rrmlab.game.observations import INR_FLOOR_DB, OBSERVATIONS, neighbours
from rrmlab.game.views import SILENT, CrossGainView, ObservationView, ReportView

NETWORK = NetworkConfig(num_aps=3, num_users=9, top_n=2, episode_ttis=12, warmup_ttis=20, observation="neighbours")
FEW = replace(NETWORK, num_users=4, require_users=False)


def expected(env, gain=None, slots=None):
    """SINR in dB, ln w, SNR in dB, the other APs' INR in dB of every slot, looked up one by one: (E, I, N, I + 2)."""
    gain = env.snr if gain is None else gain
    slots = env.slots if slots is None else slots
    out = torch.zeros(*slots.shape, env.config.num_aps + 2)
    for e, i, n in torch.cartesian_prod(*map(torch.arange, slots.shape)).tolist():
        if (user := int(slots[e, i, n])) != SILENT:
            others = [10 * torch.log10(gain[e, j, user]) for j in range(env.config.num_aps) if j != i]
            others = [max(float(value), INR_FLOOR_DB) for value in others]
            own = [10 * env.sinr[e, user].log10(), env.weights[e, user].log(), 10 * torch.log10(gain[e, i, user])]
            out[e, i, n] = torch.tensor([*own, *others])
    return out


@pytest.mark.parametrize("network", [NETWORK, FEW, replace(NETWORK, num_aps=1)])
def test_every_number_is_the_gain_of_its_link(network):
    env = RRMEnv(network, 5, seed=3)
    env.reset()
    for _ in range(4):
        env.step_users(env.slots[..., 0])
    torch.testing.assert_close(env.obs.unflatten(-1, (2, network.num_aps + 2)), expected(env), rtol=1e-4, atol=1e-3)
    assert torch.equal(OBSERVATIONS["neighbours"].filled(env.obs), env.action_mask[..., 1:])


def test_the_strongest_neighbours_and_a_few_bits(monkeypatch):
    full = RRMEnv(NETWORK, 20, seed=1).reset()[0].unflatten(-1, (2, 5))
    for record in (neighbours(strongest=1), neighbours(bits=3), neighbours(strongest=1, bits=3)):
        monkeypatch.setitem(OBSERVATIONS, record.name, record)
        seen = RRMEnv(replace(NETWORK, observation=record.name), 20, seed=1).reset()[0].unflatten(-1, (2, 5))
        assert torch.equal(seen[..., :3], full[..., :3])
        inr = full[..., 3:].clone()
        if "bits" in record.name:
            levels = torch.linspace(-10, 50, 8)
            inr = levels[(inr.unsqueeze(-1) - levels).abs().argmin(-1)]
        if "strongest" in record.name:
            weaker = full[..., 3:] < full[..., 3:].amax(-1, keepdim=True)
            inr[weaker] = INR_FLOOR_DB
        inr[(full == 0).all(-1)] = 0  # empty slots
        torch.testing.assert_close(seen[..., 3:], inr, rtol=1e-5, atol=1e-4)
    for wrong in ({"bits": 0}, {"bits": 17}, {"strongest": 0}, {"strongest": 1.5}):
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))}"):
            neighbours(**wrong)


def test_a_log_of_it_is_stored_as_one_of_local_observations(tmp_path):
    data = collect(make_scheduler("random_walk"), NETWORK, 36)
    loaded = load_dataset(data.save(tmp_path / "log-v0"))
    assert torch.equal(loaded.obs, data.obs) and data.obs.shape[1:] == (3, 10)
    assert loaded.network.observation == "neighbours"


def test_a_log_of_late_reports_holds_what_the_behaviour_saw():
    ages = {"own_age_ttis": 2, "neighbour_age_ttis": 3}
    late = collect(ImperfectReports(make_scheduler("random_walk"), **ages), NETWORK, 36)
    fresh = collect(make_scheduler("random_walk"), NETWORK, 36)
    for name in ("actions", "rewards", "rows", "log_prob"):
        assert torch.equal(getattr(late, name), getattr(fresh, name)), name  # slots and weights are those of now
    old, new = (data.obs.unflatten(0, (3, 13)).unflatten(-1, (2, 5)) for data in (late, fresh))
    assert torch.equal(old[..., 1], new[..., 1])
    # Where a slot holds the same user all the time, its gains are those of two and three TTIs before, also at the end.
    env = RRMEnv(NETWORK, 3)
    env.reset()
    users = []
    for t in range(13):
        users.append(env.slots.clone())
        if t < 12:
            env.step(fresh.actions.unflatten(0, (3, 12))[:, t])
    same = 0
    for t in range(3, 13):
        for ago, which in ((2, slice(2, 3)), (3, slice(3, 5))):
            kept = users[t] == users[t - ago]
            torch.testing.assert_close(old[:, t][kept][:, which], new[:, t - ago][kept][:, which], rtol=1e-5, atol=1e-4)
            same += int(kept.sum())
    assert same > 50 and late.metadata["behaviour_parameters"]["own_age_ttis"] == 2


class Recorder:
    """Serves every AP's first slot and keeps what it was shown."""

    name = "recorder"

    def __init__(self, knowledge):
        self.knowledge, self.views = knowledge, []

    def begin(self, key):
        self.views = []

    def serve(self, view):
        self.views.append(view)
        return view.slots[..., 0]


def shown(behaviour, network=NETWORK, **options):
    """What a behaviour sees under imperfect reports, and the environment's true gains and weights, TTI by TTI."""
    env, truth = RRMEnv(network, 4, seed=2), []
    env.reset()
    reports = ImperfectReports(behaviour, **options)
    reports.begin(env.deployment.key)
    for _ in range(network.episode_ttis):
        truth.append(
            {
                "gain": env.snr.clone(),
                "weights": env.weights.clone(),
                "sinr": env.sinr.clone(),
                "own": env.view(CrossGainView),
            }
        )
        env.step_users(reports.serve(env.view(ReportView)))
    return env, truth


@pytest.mark.parametrize("network", [NETWORK, FEW])
def test_exact_reports_change_nothing(network):
    for kind in (ObservationView, CrossGainView):
        recorder = Recorder(kind)
        env, truth = shown(recorder, network)
        for seen, true in zip(recorder.views, truth, strict=True):
            for name in ("obs", "action_mask", "slots", *(("gain", "sinr", "weight") if kind is CrossGainView else ())):
                torch.testing.assert_close(getattr(seen, name), getattr(true["own"], name), rtol=1e-5, atol=1e-4)
    for name in ("itlinq", "exhaustive"):
        rule = make_scheduler(name)
        assert evaluate(ImperfectReports(rule), network, 3).rates == pytest.approx(
            evaluate(rule, network, 3).rates, abs=1e-5
        )


@pytest.mark.parametrize(("own", "neighbour"), [(0, 3), (3, 0), (2, 5), (4, 4)])
def test_each_report_has_its_age(own, neighbour):
    recorder, cross = Recorder(ObservationView), Recorder(CrossGainView)
    ages = {"own_age_ttis": own, "neighbour_age_ttis": neighbour}
    env, truth = shown(recorder, **ages)
    shown(cross, **ages)
    mine = (env.serving.unsqueeze(1) == torch.arange(3)[:, None]).float()  # (E, I, J)
    for t, (seen, seen_gains) in enumerate(zip(recorder.views, cross.views, strict=True)):
        late, later = truth[max(0, t - own)]["gain"], truth[max(0, t - neighbour)]["gain"]
        gain = late * mine + later * (1 - mine)
        env._weights, env._sinr = truth[t]["weights"].T, truth[t]["sinr"].T
        found = seen.obs.unflatten(-1, (2, 5))
        torch.testing.assert_close(found, expected(env, gain, slots=seen.slots), rtol=1e-4, atol=1e-3)
        for e, k, n in torch.cartesian_prod(*map(torch.arange, seen.slots.shape)).tolist():
            user = int(seen_gains.slots[e, k, n])
            wanted = gain[e, :, user] if user != SILENT else torch.zeros(3)
            torch.testing.assert_close(seen_gains.gain[e, :, k, n], wanted, rtol=1e-5, atol=1e-6)


def test_the_noise_of_links_has_its_spread():
    network = replace(NETWORK, episode_ttis=60)
    noisy, exact = Recorder(CrossGainView), Recorder(CrossGainView)
    _, truth = shown(noisy, network, noise_db=2.0)
    shown(exact, network)
    errors = []
    for t, seen in enumerate(noisy.views):
        user = seen.slots.clamp(min=0).flatten(1).unsqueeze(1).expand(-1, 3, -1)
        true = truth[t]["gain"].gather(-1, user).unflatten(-1, (3, 2))
        error = 10 * torch.log10(seen.gain / true)  # (E, from I, I, N)
        own = torch.eye(3, dtype=torch.bool)[:, :, None].expand(4, -1, -1, 2)
        errors.append(error[~own & (seen.slots != SILENT).unsqueeze(1).expand_as(own)])
    errors = torch.cat(errors)
    assert errors.std() == pytest.approx(2.0, rel=0.05) and abs(errors.mean()) < 0.1


@pytest.mark.parametrize("delay", [-1, 10_001, 0.5])
def test_an_age_that_is_none(delay):
    with pytest.raises(ValueError, match=f"neighbour_age_ttis = {delay}"):
        ImperfectReports(make_scheduler("full_reuse"), neighbour_age_ttis=delay)
