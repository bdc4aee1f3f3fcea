"""Bad input of every kind: an error that names what is wrong, or the right answer; never an error from the inside.

2,000 cases in all, 100,000 in a soak. Shapes: E environments, I APs, J users, N top users, n transitions.
"""

import contextlib
import dataclasses
import io
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from soak import cases

import rrmlab.reproduce
from rrmlab import (
    AgentConfig,
    Dataset,
    Deployment,
    NetworkConfig,
    RRMEnv,
    collect,
    evaluate,
    make_scheduler,
    mix,
    train_offline,
)
from rrmlab.command import notebooks as source
from rrmlab.command.runs import Result
from rrmlab.interop import RRMParallelEnv
from rrmlab.reproduce import main
from rrmlab.schedulers import Mixture

NETWORK = NetworkConfig(num_aps=2, num_users=4, top_n=3, episode_ttis=2, warmup_ttis=2, require_users=False)
AGENT = AgentConfig(hidden=(4,), batch_size=4, num_updates=1)
HUGE = 10**400  # no float is as large


def many(short):
    """So many examples, fifty times as many in a soak; the same in every short run. They are small as drawn."""
    return settings(
        deadline=None, max_examples=cases(short, 50 * short), derandomize=True,
        phases=set(Phase) - {Phase.shrink, Phase.explain}, report_multiple_bugs=False,
    )  # fmt: skip


def told(call, *fields):
    """The result of `call`, or None for a ValueError whose text has one of `fields`; any other error is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except ValueError as error:
            assert not isinstance(error, UnicodeError)
            assert any(field in str(error) for field in fields), f"none of {fields} in: {error}"
            return None


# --- what people pass by mistake ------------------------------------------------------------------------------

whole = st.integers(-3, 40) | st.sampled_from([-(2**63), 2**31, 2**63, HUGE, -HUGE])
real = st.floats() | st.floats(-10, 10) | st.sampled_from([-0.0, 1e-300, 1e300, 2.4, 0.01])
plain = st.one_of(
    st.none(), st.booleans(), whole, real, st.complex_numbers(), st.text(max_size=5), st.binary(max_size=3),
    st.sampled_from(["ctde", "sac", "4", "nan", "cpu", "test"]),
)  # fmt: skip
dtypes = st.sampled_from(["int8", "int32", "int64", "float16", "float32", "float64", "bool", "complex64"])
numbers = st.sampled_from([math.nan, math.inf, -math.inf, 1e38, -1.0, 0.0, 1.0, 2.0, 7.0])


@st.composite
def arrays(draw, shapes=()):
    """An array or tensor, of one of `shapes` or of any, filled with one number or counting up."""
    free = st.lists(st.integers(0, 4), max_size=4).map(tuple)
    shape = draw(st.sampled_from(shapes) | free) if shapes else draw(free)
    fill, dtype = draw(numbers | st.none()), draw(dtypes)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        full = np.arange(math.prod(shape)).reshape(shape) if fill is None else np.full(shape, fill)
        array = np.asarray(full).astype(dtype)
    kind = draw(st.sampled_from(["numpy", "torch", "list"]))
    return {"numpy": array, "torch": torch.from_numpy(array.copy()), "list": array.tolist()}[kind]


junk = st.one_of(
    plain,
    arrays(),
    st.lists(plain, max_size=3),
    st.lists(plain, max_size=2).map(tuple),
    st.dictionaries(st.text(max_size=2) | st.integers(), plain, max_size=2),
    st.sampled_from([object(), NetworkConfig, NETWORK, AGENT, len, {1}, range(3), np.datetime64("2026-01-01")]),
    st.builds(lambda value, kind: kind(value), st.integers(0, 30), st.sampled_from([np.int64, np.float32, np.uint8])),
)


def is_number(value):
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


# --- configs --------------------------------------------------------------------------------------------------


def assert_config_or_refusal(cls, field, value, defaults):
    config = told(lambda: cls(**{**defaults, field: value}), field)
    if config is None:
        return
    kind = type(next(f.default for f in dataclasses.fields(cls) if f.name == field))
    stored = getattr(config, field)
    assert type(stored) is kind and hash(config) == hash(cls.from_dict(config.to_dict()))
    assert stored == (value.item() if hasattr(value, "item") else value)  # nothing is rounded or read out of a text
    if kind is not bool:
        assert not isinstance(value, bool)
    if kind is float:
        assert math.isfinite(stored)


@many(500)
@given(st.data())
def test_network_config(data):
    field = data.draw(st.sampled_from([f.name for f in dataclasses.fields(NetworkConfig)]))
    # A field that is refused may be refused together with another: J < I, or no room.
    assert_config_or_refusal(NetworkConfig, field, data.draw(junk), {"num_aps": 2, "num_users": 30, "top_n": 1})


@many(400)
@given(st.data())
def test_agent_config(data):
    field = data.draw(st.sampled_from([f.name for f in dataclasses.fields(AgentConfig)]))
    assert_config_or_refusal(AgentConfig, field, data.draw(junk), {})


@pytest.mark.parametrize(
    "cls",
    [NetworkConfig, AgentConfig],
)
@many(50)
@given(data=st.data())
def test_configs_from_dicts(cls, data):
    known = [f.name for f in dataclasses.fields(cls)]
    keys = st.sampled_from(known) | st.text(max_size=3) | st.integers() | st.none()
    values = data.draw(st.dictionaries(keys, junk, max_size=2) | junk)
    told(lambda: cls.from_dict(values), *known, cls.__name__)


@pytest.mark.parametrize(
    ("field", "value", "meant"),
    [
        ("carrier_hz", 2.4, "GHz"), ("carrier_hz", 2400.0, "MHz"), ("bandwidth_hz", 10.0, "MHz"),
        ("bandwidth_hz", 0.01, "GHz"), ("noise_psd_dbm_hz", 4e-21, "W/Hz"), ("noise_psd_dbm_hz", 0.01, "a ratio"),
        ("noise_psd_dbm_hz", 174.0, "without its sign"), ("noise_psd_dbm_hz", -204.0, "dBW/Hz"),
        ("tx_power_dbm", 100.0, "mW"), ("tx_power_dbm", 1e4, "mW"), ("tti_s", 1.0, "ms"), ("tti_s", 1000, "us"),
        ("area_m", 0.5, "km"), ("speed_mps", 3600.0, "m/h"), ("shadowing_db", 49.0, "the variance"),
        ("averaging", 100.0, "TTIs"), ("lam", 80, "percent"), ("min_ap_ap_m", 35e3, "mm"),
        ("min_ap_user_m", 0.0, "none"),
    ],
)  # fmt: skip
def test_slips_of_the_unit_are_recognised(field, value, meant):
    with pytest.raises(ValueError, match=f"^{field} = {value:g}".replace("+", r"\+")):
        NetworkConfig(**{field: value})


# --- the game -------------------------------------------------------------------------------------------------

ENV = RRMEnv(NETWORK, 3, seed=1)  # AP 0 or 1 has one user in some of the three, so slots 2 and 3 are empty there


def ready():
    """The environment at the start of an episode, always the same one."""
    ENV.reset(ENV.deployment)
    return ENV


ENV.reset()
SHAPES = ((3, 2), (3, 4), (3, 2, 4), (1, 2), (2, 3))


def is_choice(value, dtype=torch.int64):
    return isinstance(value, torch.Tensor) and value.dtype == dtype and value.shape == (3, 2)


@many(200)
@given(actions=arrays(SHAPES) | junk)
def test_step(actions):
    env = ready()
    mask, averages = env.action_mask.clone(), env.averages.clone()
    if told(lambda: env.step(actions), "actions") is None:
        assert env.ttis == 0 and torch.equal(env.averages, averages)  # a refusal changes nothing
    else:
        assert is_choice(actions) and mask.gather(-1, actions.unsqueeze(-1)).all()


@many(200)
@given(users=arrays(SHAPES) | junk)
def test_step_users(users):
    env = ready()
    if told(lambda: env.step_users(users), "users") is None:
        assert env.ttis == 0
    else:
        assert is_choice(users) and (env.serving.gather(1, users.clamp(min=0)) == torch.arange(2))[users >= 0].all()


@many(100)
@given(rows=st.lists(st.lists(st.integers(-2, 5), min_size=2, max_size=2), min_size=3, max_size=3))
def test_step_knows_masked_actions_from_allowed_ones(rows):
    env, actions = ready(), torch.tensor(rows)
    inside = bool(((actions >= 0) & (actions <= 3)).all())
    allowed = inside and bool(env.action_mask.gather(-1, actions.unsqueeze(-1)).all())
    assert (told(lambda: env.step(actions), "actions") is not None) == allowed


def test_the_environment_of_these_tests_has_empty_slots():
    assert not ready().action_mask.all()


@pytest.mark.parametrize("name", ["averages", "transmitting"])
@many(75)
@given(wrong=arrays(SHAPES) | junk)
def test_set_state(name, wrong):
    env = ready()
    averages, transmitting = env.averages.clone(), env.transmitting.clone()
    if name == "averages":
        averages = wrong
    else:
        transmitting = wrong
    kept = env.averages.clone(), env.transmitting.clone(), env.obs.clone()
    if told(lambda: env.set_state(averages, transmitting), name) is None:
        assert all(map(torch.equal, kept, (env.averages, env.transmitting, env.obs)))
    else:
        assert torch.equal(env.averages, averages.to(env.averages)) and torch.equal(env.transmitting, transmitting)
        assert torch.isfinite(env.obs).all() and is_choice(transmitting, torch.bool)


@many(50)
@given(wrong=junk.filter(lambda value: value is not None))
def test_reset_with_something_else_than_a_deployment(wrong):
    assert told(lambda: RRMEnv(NETWORK, 3).reset(wrong), "deployment") is None


@many(50)
@given(st.data())
def test_reset_with_a_deployment_of_which_one_array_is_wrong(data):
    name = data.draw(st.sampled_from([f.name for f in dataclasses.fields(Deployment)]))
    shapes = [tuple(getattr(ENV.deployment, name).shape)]
    wrong = dataclasses.replace(ENV.deployment, **{name: data.draw(arrays(shapes) | junk)})
    env = RRMEnv(NETWORK, 3)
    if told(lambda: env.reset(wrong), "deployment") is not None:
        assert torch.isfinite(env.obs).all()


@pytest.mark.parametrize("name", ["config", "num_envs", "seed", "split", "device", "dtype", "copies"])
@many(15)
@given(data=st.data())
def test_making_an_environment(name, data):
    value = data.draw(junk)
    if name in ("num_envs", "copies") and is_number(value) and abs(value) > 100:
        return  # memory
    arguments = {"config": NETWORK, "num_envs": 2, name: value}
    env = told(lambda: made_and_reset(arguments), name, "num_envs")
    if env is not None:
        assert torch.isfinite(env.obs).all()


def made_and_reset(arguments):
    env = RRMEnv(**arguments)
    env.reset()
    return env


@pytest.mark.parametrize("use", ["step", "step_users", "set_state"])
def test_before_the_first_reset(use):
    env, choice = RRMEnv(NETWORK, 3), torch.zeros(3, 2, dtype=torch.int64)
    arguments = (torch.ones(3, 4), torch.ones(3, 2, dtype=torch.bool)) if use == "set_state" else (choice,)
    with pytest.raises(RuntimeError, match=r"not started: call reset\(\) first"):
        getattr(env, use)(*arguments)


# --- policies -------------------------------------------------------------------------------------------------


def trained(paradigm="ctde", backbone="sac"):
    agent = dataclasses.replace(AGENT, paradigm=paradigm, backbone=backbone)
    return train_offline(DATA, agent, [0], progress=False)[0]


DATA = collect(make_scheduler("random_walk"), NETWORK, 10)
POLICIES = [trained(), trained("independent", "dqn"), trained("centralized", "dqn")]
OBS_SHAPES = ((2, 6), (5, 2, 6), (1, 5, 2, 6), (0, 2, 6), (2, 7), (6, 2), (12,))
MASK_SHAPES = ((2, 4), (5, 2, 4), (1, 5, 2, 4), (0, 2, 4), (2, 3), (4, 2))


def as_obs(obs):
    """The tensor that one means by it, or None if it cannot be an observation."""
    if isinstance(obs, str | bytes) or obs is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            array = np.asarray(obs)
            if array.dtype.kind not in "iuf" or array.ndim < 2 or array.shape[-2:] != (2, 6):
                return None
            return torch.from_numpy(array.astype(np.float64)) if np.isfinite(array).all() else None
        except (ValueError, TypeError, RuntimeError):
            return None


real_arrays = arrays(OBS_SHAPES).filter(lambda obs: np.asarray(obs).dtype.kind in "iuf" and np.size(obs))


@pytest.mark.parametrize(
    "values",
    [real_arrays, arrays(OBS_SHAPES) | junk],
    ids=["real", "any"],
)
@many(75)
@given(data=st.data(), policy=st.sampled_from(POLICIES))
def test_act(values, data, policy):
    obs = data.draw(values)
    meant = as_obs(obs)
    actions = told(lambda: policy.act(obs), "obs")
    assert (actions is None) == (meant is None)
    if actions is not None:
        assert torch.equal(actions, policy.act(meant.to(torch.as_tensor(obs).dtype)))
        filled = torch.nn.functional.pad((meant.unflatten(-1, (3, 2)) != 0).any(-1), (1, 0), value=True)
        assert actions.shape == meant.shape[:-1] and filled.gather(-1, actions.unsqueeze(-1)).all()


@many(100)
@given(mask=arrays(MASK_SHAPES) | junk, policy=st.sampled_from(POLICIES))
def test_act_with_masks(mask, policy):
    obs = DATA.obs[:5]
    actions = told(lambda: policy.act(obs, mask), "action_mask")
    if actions is not None:
        right = torch.as_tensor(mask) if mask is not None else DATA.mask[:5]
        assert actions.shape == (5, 2) and right.dtype == torch.bool and right.shape == (5, 2, 4)
        some = right.any(-1)
        assert right.gather(-1, actions.unsqueeze(-1)).squeeze(-1)[some.all(-1)].all()


@many(100)
@given(ap=junk, policy=st.sampled_from(POLICIES))
def test_local(ap, policy):
    if told(lambda: policy.local(ap), "ap", "paradigm") is not None:
        assert policy.paradigm.name != "centralized" and int(ap) in (0, 1)


DECIDE = POLICIES[0].local(1)


@many(100)
@given(obs=arrays(((6,), (5,), (1, 6), (2, 6))) | junk)
def test_local_decision(obs):
    action = told(lambda: DECIDE(obs), "obs")
    if action is not None:
        values = np.asarray(obs)
        assert values.dtype.kind in "iuf" and values.shape == (6,) and np.isfinite(values).all()
        assert type(action) is int and 0 <= action <= 3
        assert action == 0 or values[2 * action - 2 : 2 * action].any()


# --- data -----------------------------------------------------------------------------------------------------

COLUMNS = [f.name for f in dataclasses.fields(Dataset)]


@many(200)
@given(st.data())
def test_dataset_check(data):
    """One column replaced; what passes can be trained on."""
    name = data.draw(st.sampled_from(COLUMNS))
    shapes = () if name == "metadata" else (tuple(getattr(DATA, name).shape),)
    wrong = dataclasses.replace(DATA, **{name: data.draw(arrays(shapes) | junk)})
    fields = [*COLUMNS, "NetworkConfig"] if name in ("rows", "metadata") else [name, "rows"]
    if told(lambda: wrong.check() or True, *fields) and name != "metadata":
        assert getattr(wrong, name).dtype == getattr(DATA, name).dtype
        policy = train_offline(wrong, AGENT, [0], progress=False)[0]
        assert all(bool(torch.isfinite(tensor).all()) for tensor in policy.tensors.values())


@many(100)
@given(num=junk, seed=junk, which=st.integers(0, 2))
def test_take(num, seed, which):
    num, seed = (5 if which == 0 else num), (0 if which == 1 else seed)
    taken = told(lambda: DATA.take(num, seed), "num_transitions", "seed")
    if taken is not None:
        assert len(taken) == int(num) and not isinstance(num, bool)
        assert torch.equal(taken.rows, DATA.take(int(num), int(seed)).rows)


@many(100)
@given(st.data())
def test_mix(data):
    arguments = {"datasets": [DATA, DATA], "proportions": [1, 2], "num_transitions": 6, "seed": 0}
    wrong = data.draw(st.sampled_from(sorted(arguments)))
    lists = st.lists(st.sampled_from([DATA, None, "data"]) if wrong == "datasets" else real | whole, max_size=3)
    arguments[wrong] = data.draw(junk | lists) if wrong in ("datasets", "proportions") else data.draw(junk)
    mixed = told(lambda: mix(**arguments), *arguments, "share")
    if mixed is not None:
        mixed.check()
        assert len(mixed) == int(arguments["num_transitions"])


@many(100)
@given(index=arrays(((3,), (0,))) | junk)
def test_select(index):
    selected = told(lambda: DATA.select(index), "index")
    if selected is not None:
        assert torch.equal(selected.rows, DATA.rows[index])


@pytest.mark.parametrize("name", ["behaviour", "config", "num_transitions", "seed", "device"])
@many(12)
@given(data=st.data())
def test_collect(name, data):
    value = data.draw(junk)
    long = is_number(value) and abs(value) > 100 if name == "num_transitions" else str(value) in ("sac", "dqn")
    if long:
        return
    arguments = {"behaviour": make_scheduler("full_reuse"), "config": NETWORK, "num_transitions": 3, name: value}
    logged = told(lambda: collect(**arguments), name)
    if logged is not None:
        logged.check()


# --- running and training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["behaviour", "config", "num_episodes", "seed", "split", "device"])
@many(15)
@given(data=st.data())
def test_evaluate(name, data):
    value = data.draw(junk)
    if name == "num_episodes" and is_number(value) and abs(value) > 100:
        return
    arguments = {"behaviour": POLICIES[0], "config": NETWORK, "num_episodes": 2, name: value}
    scores = told(lambda: evaluate(**arguments), name)
    if scores is not None:
        assert math.isfinite(scores.score) and scores.rates.shape == (int(arguments["num_episodes"]), 4)


@pytest.mark.parametrize("name", ["evaluate_every", "evaluation", "progress", "data", "config", "seeds", "device"])
@many(15)
@given(data=st.data())
def test_train_offline(name, data):
    value = data.draw(junk | st.lists(whole | real, max_size=3) if name == "seeds" else junk)
    if name == "evaluation" and callable(value):
        return  # what a function does is its own
    arguments = {"data": DATA, "config": AGENT, "seeds": [0], "progress": False, name: value}
    with contextlib.redirect_stderr(io.StringIO()):
        policies = told(lambda: train_offline(**arguments), name)
    if policies is not None:
        assert [policy.seed for policy in policies] == [int(seed) for seed in arguments["seeds"]]
        assert all(bool(torch.isfinite(tensor).all()) for tensor in policies[0].tensors.values())


# --- schedulers and the wrapper -------------------------------------------------------------------------------

ARGUMENTS = {"random_walk": ["seed"], "itlinq": ["m_db", "eta"], "exhaustive": ["lam"], "tdm": [], "full_reuse": []}


@many(100)
@given(st.data())
def test_make_scheduler(data):
    name = data.draw(st.sampled_from(sorted(ARGUMENTS)))
    arguments = {argument: data.draw(junk) for argument in ARGUMENTS[name]}
    scheduler = told(lambda: make_scheduler(name, **arguments), *ARGUMENTS[name])
    if scheduler is not None:
        evaluate(scheduler, NETWORK, 1)
    told(lambda: make_scheduler(data.draw(junk)), "must be one of")


@many(50)
@given(members=junk | st.lists(junk, max_size=2), shares=junk | st.none(), seed=junk | st.just(0))
def test_mixtures(members, shares, seed):
    given_members = [make_scheduler("full_reuse")] if isinstance(shares, list) else members
    told(lambda: Mixture(given_members, shares, seed), "members", "proportions", "seed")


WRAPPER = RRMParallelEnv(NETWORK)


@many(100)
@given(st.data())
def test_the_parallel_env(data):
    WRAPPER.reset(seed=0)
    actions = data.draw(junk | st.dictionaries(st.sampled_from(["ap_0", "ap_1", "ap_2", 0]), junk, max_size=3))
    if told(lambda: WRAPPER.step(actions), "actions") is not None:
        assert set(actions) == {"ap_0", "ap_1"}
    name = data.draw(st.sampled_from(["seed", "options"]))
    told(lambda: WRAPPER.reset(**{name: data.draw(junk)}), name, "deployment")


# --- the command line -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Two notebooks that are never run: what would run is only answered for."""
    root = tmp_path_factory.mktemp("clone")
    for folder in ("notebooks", "package"):
        (root / folder).mkdir()
    (root / "pyproject.toml").write_text('[project]\nname = "rrmlab"\n')
    for name, extra in (("01_a", "seed = 0\nrates = [0.5]\nname = 'x'\nanything = None\n"), ("02_b", "")):
        cell = f'# %% tags=["parameters"]\npreset = "paper"\nrecompute = False\n{extra}\n# %%\nx = 1\n'
        (root / "notebooks" / f"{name}.py").write_text(cell)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "PACKAGE", root / "package")
        patch.setattr(rrmlab.reproduce, "schedule", lambda order, *_: {n.name: Result("done") for n in order})
        patch.chdir(root)
        yield root


words = st.sampled_from(
    ["reproduce", "figures", "check", "01", "02_b", "1", "3", "--preset", "smoke", "huge", "--jobs", "0", "2", "-2",
     "-p", "seed", "rates", "anything", "7", "[1", "[1, 2]", "{[]: 0}", "(" * 300, "1e999", "--out", "out", "--force",
     "pyproject.toml", "pyproject.toml/x", "", " ", "\0", "a\nb", "--version", "-h", "--", "-", "--pre", "\udcff"]
)  # fmt: skip
lines = st.lists(words | st.text(max_size=6), max_size=5)


@many(200)
@given(start=st.sampled_from([[], ["reproduce"], ["reproduce", "-p", "seed"], ["figures"], ["check"]]), rest=lines)
def test_the_command_line(repository, start, rest):
    """Exit status 2 and one clear line for a mistake; 0 or 1, and nothing on standard error, for what can be done."""
    assert_clear(repository, [*start, *rest])


def assert_clear(repository, arguments):
    assert source.find_root() == repository  # nothing of the real one may be run here
    # What a terminal's streams do with half characters, pytest's own do not.
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as end:  # --help and --version
            assert end.code == 0 and out.tell() and not err.tell(), arguments
            return
    err.flush()
    text = err.buffer.getvalue().decode()
    assert status in (0, 1, 2)
    if status == 2:
        assert text.startswith("rrmlab: error: ") and text.count("\n") == 1 and len(text) > 30, text
    else:
        assert not text
