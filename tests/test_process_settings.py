"""What a session has set for PyTorch and NumPy changes no number, and the package changes no setting of the session."""

import contextlib
import io
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import session_state
import torch

from rrmlab import (
    AgentConfig,
    Deployment,
    ImperfectReports,
    NetworkConfig,
    Policy,
    RRMEnv,
    collect,
    evaluate,
    evaluate_seeds,
    load_dataset,
    make_scheduler,
    mix,
    train_offline,
    train_online,
)
from rrmlab.game.schedulers import SCHEDULERS, Mixture
from rrmlab.interop import RRMParallelEnv
from rrmlab.study.observed_oracle import observed_oracle

NETWORK = NetworkConfig(num_aps=2, num_users=5, top_n=2, episode_ttis=20, warmup_ttis=5)
KINDS = [("ctde", "sac"), ("centralized", "dqn"), ("independent", "sac")]


def agent(paradigm, backbone, **options):
    return AgentConfig(paradigm, backbone, hidden=(8,), batch_size=8, num_updates=4, **options)


def columns(data):
    return [data.obs, data.mask, data.rows, data.actions, data.rewards, data.terminated, data.truncated, data.log_prob]


def play(env, ttis):
    seen = []
    for _ in range(ttis):
        obs, reward, *_, info = env.step(env.action_mask[..., 1].long())
        seen += [obs, reward, info["rates"], env.snr]
    return seen


# --- the parts of a session: each gives all the numbers that it makes --------------------------------------------


def environments(folder):
    env = RRMEnv(NETWORK, 3)
    seen = [env.reset()[0], *play(env, 5)]
    double = RRMEnv(NETWORK, 4, copies=2, dtype=torch.float64)
    seen += [double.reset(Deployment.draw(NETWORK, 2, seed=3))[0], *play(double, 5)]
    seen += [env.set_state(torch.ones_like(env.averages), env.transmitting)[0]]
    given = RRMEnv(NETWORK, gains=np.linspace(0.5, 300, 26 * 10).reshape(26, 2, 5))
    return seen + [given.reset()[0], *play(given, 5)]


def schedulers(folder):
    network = replace(NETWORK, observation="neighbours")  # which the formula needs
    behaviours = [make_scheduler(name) for name in SCHEDULERS]
    behaviours += [Mixture([make_scheduler("random_walk"), make_scheduler("itlinq")], [1, 2])]
    behaviours += [ImperfectReports(make_scheduler("full_reuse"), 2, 1.5)]
    site = Deployment.from_positions(network, [[100, 100], [400, 400]], np.linspace(60, 440, 10).reshape(5, 2))
    scores = [evaluate(behaviour, network, 2) for behaviour in behaviours]
    scores += [evaluate(behaviour, network, deployments=site) for behaviour in behaviours]
    return [score.rates for score in scores] + [score.rewards for score in scores]


def logs(folder):
    data = collect(Mixture([make_scheduler("random_walk"), make_scheduler("full_reuse")]), NETWORK, 70)
    loaded = load_dataset(data.save(folder / "log-v0"))
    mixed = mix([data, loaded], [1, 2], 30)
    return [*columns(data), *columns(loaded), *columns(mixed), *columns(data.take(9, 1))]


def trainings(folder):
    data = collect(make_scheduler("random_walk"), NETWORK, 70)
    policies = [train_offline(data, agent(*kind), [0, 1], progress=False)[1] for kind in KINDS]
    policies += train_offline(data, agent("ctde", "sac", mixer="qmix"), [3], progress=False)
    cloning = AgentConfig.behaviour_cloning(hidden=(8,), batch_size=8, num_updates=4)
    policies += train_offline(data, cloning, [0], progress=False)
    options = {"progress": False, "checkpoint": folder / "checkpoint", "checkpoint_every": 2}
    resumed = [train_offline(data, agent("ctde", "sac"), [0], **options)[0] for _ in range(2)]
    return [tensor for policy in [*policies, *resumed] for tensor in policy.tensors.values()]


def online_trainings(folder):
    runs = []
    for kind in KINDS:
        options = {"progress": False, "checkpoint": folder / "-".join(kind)}
        for _ in range(2):  # the second time from the checkpoint
            runs += train_online(NETWORK, agent(*kind, alpha=0.0), [0, 1], 200, 4, **options)
    oracle = observed_oracle(NETWORK, "ctde", 3, progress=False)
    data = [column for run in runs for column in columns(run.data)]
    return [t for run in runs for t in run.policy.tensors.values()] + data + [layer for layer in oracle.net.layers]


def policies(folder):
    data = collect(make_scheduler("random_walk"), NETWORK, 70)
    made = [train_offline(data, agent(*kind), [0], progress=False)[0] for kind in KINDS]
    loaded = [Policy.load(policy.save(folder / policy.config.paradigm)) for policy in made]
    seen = [score.rates for policy in loaded for score in evaluate_seeds([policy, policy], NETWORK, 2)]
    seen += [evaluate(made[0].sampled(), NETWORK, 2).rates, evaluate(made[1], NETWORK, 2).rates]
    for policy in loaded:
        obs, mask = data.obs[:9], data.mask[:9]
        for form in (lambda x: x, lambda x: x.numpy(), lambda x: x.tolist()):
            seen += [policy.act(form(obs)), policy.act(form(obs), form(mask)), policy.q_values(form(obs), form(mask))]
        sums = policy.export_onnx(folder / f"{policy.config.paradigm}-onnx") / "SHA256SUMS"
        seen.append(np.frombuffer(sums.read_bytes(), np.uint8).copy())
    return [*seen, np.array([loaded[2].local(1)(row[1]) for row in data.obs[:9].numpy()])]


def wrapper(folder):
    env, seen = RRMParallelEnv(NETWORK), []
    observations, _ = env.reset(seed=2)
    for _ in range(5):
        actions = {name: env.env.action_mask[0, i, 1].long() for i, name in enumerate(env.agents)}
        seen += [value["observation"] for value in observations.values()] + [env.state()]
        observations, *_ = env.step(actions)
    return seen


PARTS = [environments, schedulers, logs, trainings, online_trainings, policies, wrapper]


# --- the settings -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def grad_disabled():
    torch.set_grad_enabled(False)
    try:
        yield
    finally:
        torch.set_grad_enabled(True)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)  # also fills memory that was not initialised with NaN
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def strict_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


SETTINGS = {
    "default dtype float64": lambda: default_dtype(torch.float64),
    "default dtype float16": lambda: default_dtype(torch.float16),
    "default device": lambda: default_device("meta"),  # where there are no numbers
    "device context": lambda: torch.device("meta"),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "gradients disabled": grad_disabled,
    "deterministic algorithms": deterministic,
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "NumPy's errors raised": lambda: np.errstate(all="raise"),
    "warnings are errors": strict_warnings,
}


def arrays(part, folder):
    folder.mkdir()
    with contextlib.redirect_stderr(io.StringIO()):
        return [np.array(torch.as_tensor(x, device="cpu").detach().numpy()) for x in part(folder)]


def assert_same(got, wanted):
    assert len(got) == len(wanted) > 5
    for number, (ours, theirs) in enumerate(zip(got, wanted, strict=True)):
        assert ours.dtype == theirs.dtype, number
        np.testing.assert_array_equal(ours, theirs, err_msg=str(number))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What each part gives in a session with nothing set."""
    return {part: arrays(part, tmp_path_factory.mktemp("plain") / part.__name__) for part in PARTS}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_of_the_session_changes_no_number(part, setting, plain, tmp_path):
    with SETTINGS[setting]():
        found = arrays(part, tmp_path / "part")
    assert_same(found, plain[part])


# --- what is made in one mode and used in another -----------------------------------------------------------------


def started():
    env = RRMEnv(NETWORK, 3)
    env.reset()
    return [env, *play(env, 2)]


MADE = {
    "an environment": (started, lambda made: play(made[0], 5)),
    "an environment, reset again": (lambda: RRMEnv(NETWORK, 3), lambda env: [env.reset()[0], *play(env, 5)]),
    "a deployment": (
        lambda: Deployment.draw(NETWORK, 3),
        lambda deployment: [evaluate(make_scheduler("itlinq"), NETWORK, deployments=deployment).rates],
    ),
    "positions that ask for gradients": (
        lambda: torch.tensor([[100.0, 100.0], [400.0, 400.0]], dtype=torch.float64, requires_grad=True),
        lambda xy: [evaluate(make_scheduler("tdm"), NETWORK, deployments=Deployment.from_positions(
            NETWORK, xy, np.linspace(60, 440, 10).reshape(5, 2))).rates],
    ),
    "a log": (
        lambda: collect(make_scheduler("random_walk"), NETWORK, 70),
        lambda data: list(train_offline(data, agent("ctde", "sac"), [0], progress=False)[0].tensors.values()),
    ),
    "policies": (
        lambda: train_offline(collect(make_scheduler("random_walk"), NETWORK, 70),
                              agent("ctde", "sac"), [0, 1], progress=False),
        lambda policies: [score.rates for score in evaluate_seeds(policies, NETWORK, 2)]
        + [evaluate(policies[0].sampled(), NETWORK, 2).rates],
    ),
    "a scheduler": (lambda: Mixture([make_scheduler("random_walk")]), lambda own: [evaluate(own, NETWORK, 2).rates]),
}  # fmt: skip


MODES = {
    "made in inference_mode": (torch.inference_mode, torch.enable_grad),
    "used in inference_mode": (torch.enable_grad, torch.inference_mode),
    "both in inference_mode": (torch.inference_mode, torch.inference_mode),
    "made in no_grad": (torch.no_grad, torch.enable_grad),
}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("modes", MODES)
def test_what_is_made_in_one_mode_serves_in_another(name, modes):
    make, use = MADE[name]
    wanted = use(make())
    with MODES[modes][0]():
        made = make()
    with MODES[modes][1]():
        found = use(made)
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(torch.as_tensor(ours).detach().numpy(), torch.as_tensor(theirs).detach().numpy())


def test_the_state_that_is_set_by_hand_holds_no_gradient():
    """The averages of an episode would otherwise keep the whole episode in memory."""
    env = RRMEnv(NETWORK, 2)
    env.reset()
    env.set_state(torch.ones(2, 5, requires_grad=True), env.transmitting)
    assert not any(part.requires_grad for part in play(env, 3))


# --- the session is left as it was --------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_the_session_is_left_as_it_was(part, tmp_path):
    before = session_state.session()
    arrays(part, tmp_path / "part")
    assert session_state.session() == before
    with torch.no_grad():
        arrays(part, tmp_path / "again")
        assert not torch.is_grad_enabled()


def test_importing_the_package_changes_nothing():
    run = subprocess.run([sys.executable, session_state.__file__], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n" and run.stderr == ""
