"""Late and noisy reports against what the environment itself shows, and against their own definition."""

import pytest
import torch

from rrmlab import ImperfectReports, NetworkConfig, RRMEnv, evaluate, evaluate_seeds, make_scheduler, train_offline
from rrmlab.agents.config import AgentConfig
from rrmlab.game.views import SILENT, ObservationView, ReportView
from rrmlab.learning.collection import collect
from rrmlab.study.jobs import run_jobs
from rrmlab.study.scoring import ScoreJob, Scoring
from rrmlab.study.store import read_result, score_result, stored

NETWORK = NetworkConfig(episode_ttis=12)


class Recorder:
    """Serves the first slot, and keeps what it was shown."""

    name, knowledge = "recorder", ObservationView

    def __init__(self):
        self.views = []

    def begin(self, key):
        self.views = []

    def serve(self, view):
        self.views.append(view)
        return view.slots[..., 0]


def run(reports, envs=6, network=NETWORK):
    """The views that the environment shows, TTI by TTI, while the behaviour acts."""
    env = RRMEnv(network, envs, seed=3)
    env.reset()
    reports.begin(env.deployment.key)
    shown = []
    for _ in range(network.episode_ttis):
        shown.append(env.view(ReportView))
        env.step_users(reports.serve(shown[-1]))
    return shown


@pytest.mark.parametrize("network", [NETWORK, NetworkConfig(num_users=6, require_users=False, episode_ttis=12)])
def test_with_exact_reports_all_is_as_the_environment_shows_it(network):
    behaviour = Recorder()
    for own, heard in zip(run(ImperfectReports(behaviour), network=network), behaviour.views, strict=True):
        assert torch.equal(own.slots, heard.slots)
        assert torch.equal(own.action_mask, heard.action_mask)
        torch.testing.assert_close(own.obs, heard.obs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("delay", [1, 3, 50])
def test_a_late_report_is_the_sinr_of_then_with_the_weight_of_now(delay):
    behaviour = Recorder()
    shown = run(ImperfectReports(behaviour, delay_ttis=delay))
    for t, heard in enumerate(behaviour.views):
        then = shown[max(0, t - delay)].sinr.sum(1)  # (E, J): a user is one AP's own
        weight = shown[t].weight.sum(1)
        for e, i, n in torch.cartesian_prod(*map(torch.arange, heard.slots.shape)).tolist():
            user = int(heard.slots[e, i, n])
            if user == SILENT:
                continue
            sinr_db, log_weight = heard.obs[e, i, 2 * n : 2 * n + 2].tolist()
            assert sinr_db == pytest.approx(10 * torch.log10(then[e, user]).item(), abs=1e-4)
            assert log_weight == pytest.approx(weight[e, user].log().item(), abs=1e-4)
        # The slots hold the best by the PF factor of what was reported.
        factor = torch.where(shown[t].weight > 0, shown[t].weight * torch.log2(1 + then.unsqueeze(1)), -1.0)
        best = factor.argmax(-1)
        assert torch.equal(heard.slots[..., 0], best)


def test_noise_is_gaussian_in_db_and_the_same_for_whoever_is_scored():
    network = NetworkConfig(episode_ttis=200)
    first, second = Recorder(), Recorder()
    shown = run(ImperfectReports(first, noise_db=2.0), 8, network)
    run(ImperfectReports(second, noise_db=2.0), 8, network)
    assert all(torch.equal(a.obs, b.obs) for a, b in zip(first.views, second.views, strict=True))
    errors = []
    for own, heard in zip(shown, first.views, strict=True):
        true = 10 * torch.log10(own.sinr.sum(1)).unsqueeze(1).expand(-1, heard.slots.shape[1], -1)
        # Where an AP has more users than slots, ranking prefers those whose error is large.
        few = (own.weight > 0).sum(-1) <= heard.slots.shape[-1]
        filled = (heard.slots != SILENT) & few.unsqueeze(-1)
        errors.append((heard.obs[..., ::2] - true.gather(-1, heard.slots.clamp(min=0)))[filled])
    errors = torch.cat(errors)
    assert len(errors) > 500
    assert abs(errors.mean()) < 6 * 2.0 / len(errors) ** 0.5
    assert errors.std() == pytest.approx(2.0, rel=0.1)


def test_seeds_side_by_side_score_as_one_by_one():
    data = collect(make_scheduler("random_walk"), NETWORK, 200, seed=0)
    policies = train_offline(data, AgentConfig(num_updates=5), seeds=range(2), progress=False)
    together = evaluate_seeds(policies, NETWORK, 4, delay_ttis=2, noise_db=1.0)
    for policy, scores in zip(policies, together, strict=True):
        alone = evaluate(ImperfectReports(policy, delay_ttis=2, noise_db=1.0), NETWORK, 4)
        assert alone.rates == pytest.approx(scores.rates, abs=1e-5)
    assert together[0].score != evaluate(policies[0], NETWORK, 4).score


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay_ttis": -1}, "delay_ttis = -1"),
        ({"delay_ttis": 10_001}, "delay_ttis = 10001"),
        ({"delay_ttis": 1.5}, "delay_ttis = 1.5"),
        ({"noise_db": -0.1}, "noise_db = -0.1"),
        ({"noise_db": float("nan")}, "noise_db = nan"),
    ],
)
def test_bad_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        ImperfectReports(make_scheduler("full_reuse"), **options)


def test_what_looks_at_more_than_observations_is_refused():
    with pytest.raises(ValueError, match="more than observations"):
        ImperfectReports(make_scheduler("tdm"), 1)
    with pytest.raises(ValueError, match="no scheduler and no policy"):
        ImperfectReports("full_reuse", 1)


def test_a_stored_runs_policies_are_scored_as_one_would(tmp_path):
    data = collect(make_scheduler("random_walk"), NETWORK, 60)
    policies = train_offline(data, AgentConfig(num_updates=3, batch_size=8), [0, 1], progress=False)
    scoring = Scoring(NETWORK, 3)
    exact = evaluate_seeds(policies, NETWORK, 3)
    trained = stored(tmp_path, "offline", {}, [], lambda folder: score_result(folder, exact, 0.0, policies))
    jobs = {(delay, trained): ScoreJob(scoring, trained, reports={"delay_ttis": delay}) for delay in (0, 5)}
    rule = {"name": "full_reuse"}
    jobs |= {(delay, None): ScoreJob(scoring, None, rule, {"delay_ttis": delay}) for delay in (0, 5)}
    done = run_jobs(tmp_path, jobs, workers=1)
    assert (read_result(trained).rates == [scores.rates for scores in exact]).all()
    assert done[0, trained].rates == pytest.approx(read_result(trained).rates), "exact reports change nothing"
    for delay in (0, 5):
        plain = evaluate(ImperfectReports(make_scheduler("full_reuse"), delay), NETWORK, 3)
        assert (done[delay, None].rates[0] == plain.rates).all()
        for rates, policy in zip(done[delay, trained].rates, policies, strict=True):
            assert rates == pytest.approx(evaluate(ImperfectReports(policy, delay), NETWORK, 3).rates)
    assert len({result.folder for result in done.values()}) == 4
