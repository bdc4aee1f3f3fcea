"""Users who come and leave, change their AP, or meet in one place: against a plain game, and by what must hold.

Shapes: E environments, I access points (APs), J users, T TTIs.
"""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_visits import ReferenceVisits
from scipy import stats
from test_game import EXACT, valid_actions

from rrmlab import (
    AgentConfig,
    Deployment,
    ImperfectReports,
    NetworkConfig,
    RRMEnv,
    collect,
    evaluate,
    make_scheduler,
    train_offline,
)
from rrmlab.game import evaluation
from rrmlab.game.draws import HOTSPOT_M, DeploymentError
from rrmlab.game.evaluation import run_episode
from rrmlab.game.radio import large_scale_db, user_position
from rrmlab.storage import new_folder
from rrmlab.study import statistics, store, tables

BUSY = NetworkConfig(
    num_aps=3, num_users=55, top_n=2, require_users=False, episode_ttis=60, warmup_ttis=20, mean_users=6.0,
    mean_stay_s=0.03,
)  # fmt: skip
few = settings(deadline=None, max_examples=50, derandomize=True)


def with_visits(deployment, arrives, leaves):
    return replace(deployment, arrives=torch.tensor(arrives), leaves=torch.tensor(leaves))


@st.composite
def episodes(draw):
    """A small network with any pattern of visits, some empty, some that begin before the warm-up ends."""
    ttis, warmup = draw(st.integers(1, 14)), draw(st.integers(0, 8))
    users, end = draw(st.integers(2, 8)), warmup + ttis + 2
    config = NetworkConfig(
        num_aps=draw(st.integers(1, 3)), num_users=20, top_n=draw(st.integers(1, 3)), require_users=False,
        episode_ttis=ttis, warmup_ttis=warmup, mean_stay_s=0.02, mean_users=2.0, averaging=0.1,
        speed_mps=draw(st.sampled_from([0.0, 1.0, 900.0])), shadowing_db=draw(st.sampled_from([0.0, 7.0])),
        newcomer_average=draw(st.sampled_from(["share", "cell", "floor"])),
        hysteresis_db=draw(st.sampled_from([0.0, 0.5, 3.0])), num_sinusoids=4,
    )  # fmt: skip
    # One at a time after TTI 0: two newcomers of one cell would have the same PF factor, up to rounding.
    first = draw(
        st.lists(st.integers(0, end + users), min_size=users, max_size=users, unique_by=lambda t: t or object())
    )
    stays = draw(st.lists(st.integers(0, end), min_size=users, max_size=users))
    absent = [0] * (config.num_users - users)
    return config, [[*first, *absent]], [[a + b for a, b in zip(first, stays, strict=True)] + absent]


@few
@given(episodes(), st.integers(0, 1000))
def test_any_visits_equal_the_plain_game(case, seed):
    """State, slots, observations, rates and rewards in every TTI of an episode."""
    config, arrives, leaves = case
    rng = np.random.default_rng(seed)
    env = RRMEnv(config, dtype=torch.float64)
    deployment = with_visits(Deployment.draw(config, 1, seed), arrives, leaves)
    game = ReferenceVisits.of(config, deployment)
    env.reset(deployment)
    game.reset()
    there = np.array([game.is_there(j) for j in range(config.num_users)])
    np.testing.assert_allclose(env.averages[0][there], game.averages[there], **EXACT)
    game.averages = rng.uniform(0.01, 2, config.num_users)  # no ties
    obs, _ = env.set_state(torch.tensor(game.averages[None]), env.transmitting)
    # What is set holds, also for users who arrive in this TTI.
    np.testing.assert_allclose(obs[0], super(ReferenceVisits, game).observe(), **EXACT)
    for _ in range(config.episode_ttis):
        there = np.array([game.is_there(j) for j in range(config.num_users)])
        np.testing.assert_array_equal(env.slots[0], game.slots)
        np.testing.assert_array_equal(env.action_mask[0], game.mask)
        np.testing.assert_array_equal(env.serving[0], np.where(there, game.serving, -1))
        for name in ("sinr", "weights", "averages"):
            np.testing.assert_allclose(getattr(env, name)[0][there], getattr(game, name)[there], **EXACT, err_msg=name)
        actions = valid_actions(env.action_mask, rng)
        obs, reward, _, truncated, info = env.step(actions)
        expected, paid, _, ended, rates = game.step(actions[0].numpy())
        np.testing.assert_allclose(obs[0], expected, **EXACT)
        np.testing.assert_allclose(info["rates"][0], rates, **EXACT)
        np.testing.assert_allclose(reward[0], paid, **EXACT)
        assert bool(truncated[0]) == ended
        assert not info["rates"][0][~there].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", ["share", "cell", "floor"])
def test_users_who_all_stay_are_the_fixed_population_bit_for_bit(dtype, rule):
    fixed = NetworkConfig(num_users=49, require_users=False, episode_ttis=40, warmup_ttis=15, speed_mps=9.0)
    coming = replace(fixed, mean_stay_s=10.0, mean_users=20.0, newcomer_average=rule)
    deployment = Deployment.draw(fixed, 3)
    envs = [RRMEnv(config, 3, dtype=dtype) for config in (fixed, coming)]
    started = [env.reset(deployment)[0] for env in envs]
    assert torch.equal(*started)
    rng = np.random.default_rng(0)
    for _ in range(fixed.episode_ttis):
        actions = valid_actions(envs[0].action_mask, rng)
        (obs, reward, *_, info), (obs_2, reward_2, *_, info_2) = (env.step(actions) for env in envs)
        assert torch.equal(obs, obs_2) and torch.equal(reward, reward_2) and torch.equal(info["rates"], info_2["rates"])
        assert torch.equal(envs[0].averages, envs[1].averages)


def test_one_episode_is_the_same_in_any_batch():
    config = replace(BUSY, hysteresis_db=1.0, speed_mps=300.0, newcomer_average="cell")
    together = Deployment.draw(config, 5)
    alone = RRMEnv(config, 1)
    for copies in (1, 2):
        env = RRMEnv(config, 5 * copies, copies=copies)
        env.reset(together)
        alone.reset(together[3])
        for _ in range(config.episode_ttis):
            actions = env.action_mask[..., 1].long()
            *_, info = env.step(actions)
            *_, one = alone.step(alone.action_mask[..., 1].long())
            assert torch.equal(info["rates"][3], one["rates"][0]) and torch.equal(env.obs[-2], alone.obs[0])


@pytest.mark.parametrize("name", ["random_walk", "tdm", "full_reuse", "max_sinr", "threshold", "itlinq", "exhaustive"])
def test_who_is_not_there_gets_nothing(name):
    """Every scheduler serves those alone who are there; TDM, which serves one in each TTI, none twice in a round."""
    env, rounds = RRMEnv(BUSY, 4), []
    deployment = Deployment.draw(BUSY, 4)
    for tti, (view, users, _, info) in enumerate(run_episode(make_scheduler(name), env, deployment)):
        now = BUSY.warmup_ttis + tti
        there = (deployment.arrives <= now) & (now < deployment.leaves)
        assert not info["rates"][~there].any()
        assert there.gather(1, users.clamp(min=0))[users >= 0].all()
        assert there.gather(1, view.slots.flatten(1).clamp(min=0))[view.slots.flatten(1) >= 0].all()
        rounds.append((users >= 0).sum(1))
    if name == "tdm":
        assert torch.stack(rounds).eq(1).double().mean() > 0.95  # nobody at all may be there


def test_who_is_not_there_cannot_be_served():
    env = RRMEnv(BUSY)
    env.reset()
    user = int((env.serving[0] < 0).nonzero()[0])
    with pytest.raises(ValueError, match=rf"users\[0, 0\] = {user}: that user is not there"):
        env.step_users(torch.tensor([[user, -1, -1]]))


# --- who comes when -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stay", [0.02, 0.3])
def test_visits_are_a_stationary_poisson_process(stay):
    """The number present is Poisson with its mean in any TTI, arrivals are uniform, stays exponential: chi-square and
    Kolmogorov-Smirnov tests at 0.1%."""
    config = replace(BUSY, num_users=100, mean_users=5.0, mean_stay_s=stay, episode_ttis=180)
    drawn = Deployment.draw(config, 800)
    for tti in (0, 70, 199):
        present = ((drawn.arrives <= tti) & (tti < drawn.leaves)).sum(1).numpy()
        counts = np.bincount(np.minimum(present, 11), minlength=12)
        law = stats.poisson(5.0).pmf(np.arange(12))
        assert stats.chisquare(counts, 800 * np.r_[law[:-1], 1 - law[:-1].sum()]).pvalue > 1e-3
    later, rng = drawn.arrives > 0, np.random.default_rng(0)
    come = drawn.arrives[later].numpy() - rng.random(int(later.sum()))
    assert stats.kstest(come, stats.uniform(0, 200).cdf).pvalue > 1e-3
    stays = (drawn.leaves - drawn.arrives)[later].double() * config.tti_s
    assert stays.mean().item() == pytest.approx(stay, rel=0.05)
    assert stays.std().item() == pytest.approx(stay, rel=0.08)


def test_a_burst_doubles_the_load_in_the_middle():
    config = replace(BUSY, num_users=100, mean_stay_s=1.0, burst=1.0)
    drawn = Deployment.draw(config, 800)
    middle = config.warmup_ttis + config.episode_ttis // 2
    before, after = (((drawn.arrives <= t) & (t < drawn.leaves)).double().sum(1).mean() for t in (middle - 1, middle))
    assert before == pytest.approx(6, rel=0.06) and after == pytest.approx(12, rel=0.06)


def test_other_draws_do_not_depend_on_visits_speed_or_hysteresis():
    plain, moving = Deployment.draw(BUSY, 2), Deployment.draw(replace(BUSY, speed_mps=30.0, hysteresis_db=3.0), 2)
    staying = Deployment.draw(replace(BUSY, mean_stay_s=0.0), 2)
    for field in dataclasses.fields(Deployment):
        for other in (moving, staying):
            values = [getattr(each, field.name) for each in (plain, other)]
            if field.name == "gains" or (other is staying and field.name in ("arrives", "leaves")):
                continue
            assert torch.equal(*values), field.name


def test_hotspot():
    """A share of the users stands in a disc that keeps the distance to every AP; nobody does where the share is 0."""
    config = NetworkConfig(num_users=60, hotspot=0.5, episode_ttis=1)
    for xy, aps in ((each.user_xy[0].numpy(), each.ap_xy[0].numpy()) for each in Deployment.draw(config, 20)):
        distances = np.linalg.norm(xy[:, None] - xy, axis=-1)
        crowd = distances[(distances <= 2 * HOTSPOT_M).sum(1).argmax()] <= 2 * HOTSPOT_M
        assert 20 <= crowd.sum() <= 45
        assert np.linalg.norm(xy[:, None] - aps, axis=-1).min() >= config.min_ap_user_m
        assert (xy >= 0).all() and (xy <= config.area_m).all()


# --- motion and association -----------------------------------------------------------------------------------


def test_a_user_stands_still_until_it_comes():
    config = replace(BUSY, speed_mps=100.0)
    drawn = Deployment.draw(config, 2)
    walked = user_position(config, drawn, 0, 80)
    come = drawn.arrives[..., None, None].expand(-1, -1, 1, 2)
    later = walked.gather(2, come.clamp(max=79))[:, :, 0]
    torch.testing.assert_close(later, drawn.user_xy, rtol=0, atol=1e-9)
    far = (walked[:, :, -1] - drawn.user_xy).norm(dim=-1)
    assert bool((far <= 100.0 * 1e-3 * (79 - drawn.arrives).clamp(min=0).double() + 1e-9).all())


def test_association_follows_the_stronger_ap_with_hysteresis_alone():
    config = NetworkConfig(speed_mps=1000.0, episode_ttis=300, warmup_ttis=0, shadowing_db=0.0)
    drawn = Deployment.draw(config, 6)
    kept, followed = RRMEnv(config, 6), RRMEnv(replace(config, hysteresis_db=3.0), 6)
    for env in (kept, followed):
        env.reset(drawn)
    first, changes = kept.serving.clone(), 0
    for tti in range(1, config.episode_ttis):
        before = followed.serving
        for env in (kept, followed):
            env.step(torch.zeros(6, 4, dtype=torch.int64))
        loss = large_scale_db(config, drawn, tti)
        lacks = loss.gather(1, followed.serving.unsqueeze(1)).squeeze(1) - loss.min(1).values
        assert float(lacks.max()) <= 3.0
        changes += int((followed.serving != before).sum())
        assert torch.equal(kept.serving, first)
    assert changes > 20


# --- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"require_users": True}, "require_users = True: must be False with mean_stay_s = 0.03"),
        ({"num_users": 50}, "num_users = 50: must be at least 51, .*mean_users = 6 and mean_stay_s = 0.03"),
        ({"newcomer_average": "mean"}, "newcomer_average = 'mean': must be one of share, cell, floor"),
        ({"mean_users": 0.0}, "mean_users = 0"), ({"mean_stay_s": -1.0}, "mean_stay_s = -1"),
        ({"burst": -1.0}, "burst = -1"), ({"hotspot": 2.0}, "hotspot = 2"), ({"hysteresis_db": -3.0}, "hysteresis_db"),
    ],
)  # fmt: skip
def test_networks_that_cannot_be(fields, says):
    with pytest.raises(ValueError, match=says):
        replace(BUSY, **fields)


def test_what_does_not_go_with_visits_is_refused_by_name():
    gains = np.full((81, 3, 55), 5.0)
    with pytest.raises(ValueError, match="mean_stay_s = 0.03: must be 0 with given gains"):
        RRMEnv(BUSY, gains=gains)
    with pytest.raises(ValueError, match="hysteresis_db = 3: must be 0 with given gains"):
        Deployment.from_gains(replace(BUSY, mean_stay_s=0.0, hysteresis_db=3.0), gains)
    with pytest.raises(ValueError, match="mean_stay_s = 0.03: must be 0, users at given positions stay"):
        Deployment.from_positions(BUSY, np.full((3, 2), 9.0), np.full((55, 2), 99.0))
    with pytest.raises(ValueError, match="mean_stay_s = 0.03: must be 0 with late reports"):
        evaluate(ImperfectReports(make_scheduler("full_reuse"), delay_ttis=2), BUSY, 2)
    with pytest.raises(ValueError, match=r"deployment.arrives\[.*users come and leave|deployment.arrives\["):
        RRMEnv(replace(BUSY, mean_stay_s=0.0), 2).reset(Deployment.draw(BUSY, 2))


def test_more_users_than_places_is_an_error(monkeypatch):
    monkeypatch.setattr(NetworkConfig, "enough_users", 1)
    with pytest.raises(DeploymentError, match="num_users = 3: .* users come in one episode"):
        Deployment.draw(replace(BUSY, num_users=3), 5)


def test_a_policy_learns_from_visits_and_acts_among_others():
    """What an agent sees and does has the same shapes: a log with visits trains, and the policy runs without them."""
    data = collect(make_scheduler("random_walk"), BUSY, 300)
    assert bool(torch.isfinite(data.obs).all()) and bool(torch.isfinite(data.rewards).all())
    (policy,) = train_offline(data, AgentConfig(hidden=(8,), num_updates=5, batch_size=16), [0], progress=False)
    with pytest.warns(UserWarning, match="mean_stay_s"):
        evaluate(policy, NetworkConfig(num_aps=3, num_users=9, top_n=2, episode_ttis=5), 2)


# --- scores ---------------------------------------------------------------------------------------------------


def test_scores_count_what_was_got_while_users_were_there():
    """Rates and presence added up TTI by TTI, the percentile of a plain list."""
    env, deployment = RRMEnv(BUSY, 3), Deployment.draw(BUSY, 3, split="test")
    got, there = np.zeros((3, 55)), np.zeros((3, 55))
    for tti, (_, _, _, info) in enumerate(run_episode(make_scheduler("full_reuse"), env, deployment)):
        now = BUSY.warmup_ttis + tti
        there += ((deployment.arrives <= now) & (now < deployment.leaves)).numpy()
        got += info["rates"].double().numpy()
    scores = evaluate(make_scheduler("full_reuse"), BUSY, 3)
    np.testing.assert_allclose(scores.presence, there / 60, rtol=1e-12)
    np.testing.assert_allclose(scores.rates, got / np.maximum(there, 1), rtol=1e-12)
    tail = np.percentile([r for r, n in zip((got / np.maximum(there, 1)).flat, there.flat, strict=True) if n >= 6], 5)
    assert scores.sum_rate == pytest.approx(got.sum() / 3 / 60) and scores.tail_rate == pytest.approx(tail)
    assert scores.score == pytest.approx(got.sum() / there.sum() + 3 * tail)


def test_scores_of_users_who_are_always_there_are_those_of_a_fixed_population():
    rates = np.random.default_rng(0).gamma(2.0, 0.4, (3, 7, 11))
    always = np.ones((7, 11))
    for statistic in (evaluation.sum_rate, evaluation.tail_rate, evaluation.score):
        np.testing.assert_allclose(statistic(rates, presence=always), statistic(rates), rtol=1e-14)
    with_presence = statistics.contributions(rates, always)
    np.testing.assert_allclose(with_presence, statistics.contributions(rates), rtol=1e-14)


def test_contributions_of_users_who_come_and_leave_average_to_the_scores():
    rng = np.random.default_rng(1)
    rates, there = rng.gamma(2.0, 0.4, (3, 40, 11)), rng.uniform(0, 1, (40, 11)) * (rng.uniform(size=(40, 1)) > 0.1)
    means = statistics.contributions(rates, there).mean(1)
    for k, statistic in enumerate((evaluation.sum_rate, evaluation.tail_rate, evaluation.score)):
        np.testing.assert_allclose(means[:, k], statistic(rates, presence=there), rtol=1e-12)
    # A deployment twice as often moves the mean rate of users as the derivative says, to second order.
    more = np.r_[np.arange(40), 7]
    moved = (rates * there)[:, more].sum((1, 2)) / there[more].sum() - (rates * there).sum((1, 2)) / there.sum()
    per_user = statistics.contributions(rates, there)[..., 2] - 3 * statistics.contributions(rates, there)[..., 1]
    np.testing.assert_allclose(moved, (per_user[:, 7] - per_user.mean(1)) / 41, rtol=0.1)


def test_a_stored_result_keeps_the_presence(tmp_path):
    scores = evaluate(make_scheduler("full_reuse"), BUSY, 3)
    folder = tmp_path / "run"
    with new_folder(folder) as beside:
        store.score_result(beside, [scores], 1.0)
        (beside / "spec.json").write_text("{}")
    result = store.read_result(folder)
    np.testing.assert_array_equal(result.presence, scores.presence)
    assert tables.scores(result.rates[0], result.presence) == pytest.approx(
        {"sum_rate": scores.sum_rate, "tail_rate": scores.tail_rate, "score": scores.score}
    )
