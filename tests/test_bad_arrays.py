"""Arrays that the environment, policies and the wrapper are given: refused by name, or served as they should be.

Shapes: E environments, I APs, J users, N top users.
"""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from bad_input import AGENT, DATA, NETWORK, arrays, is_number, junk, many, told
from hypothesis import given
from hypothesis import strategies as st

from rrmlab import Deployment, RRMEnv, train_offline
from rrmlab.interop import RRMParallelEnv

# --- the game ---------------------------------------------------------------------------------------------------


ENV = RRMEnv(NETWORK, 3, seed=1)  # AP 0 or 1 has one user in some of the three, so slots 2 and 3 are empty there


def ready():
    """The environment at the start of an episode, always the same one."""
    ENV.reset(ENV.deployment)
    return ENV


ENV.reset()
SHAPES = ((3, 2), (3, 4), (3, 2, 4), (1, 2), (2, 3))


def is_choice(value, dtype=torch.int64):
    return isinstance(value, torch.Tensor) and value.dtype == dtype and value.shape == (3, 2)


@many(110)
@given(actions=arrays(SHAPES) | junk)
def test_step(actions):
    env = ready()
    mask, averages = env.action_mask.clone(), env.averages.clone()
    if told(lambda: env.step(actions), "actions") is None:
        assert env.ttis == 0 and torch.equal(env.averages, averages)  # a refusal changes nothing
    else:
        assert is_choice(actions) and mask.gather(-1, actions.unsqueeze(-1)).all()


@many(110)
@given(users=arrays(SHAPES) | junk)
def test_step_users(users):
    env = ready()
    if told(lambda: env.step_users(users), "users") is None:
        assert env.ttis == 0
    else:
        assert is_choice(users) and (env.serving.gather(1, users.clamp(min=0)) == torch.arange(2))[users >= 0].all()


@many(60)
@given(rows=st.lists(st.lists(st.integers(-2, 5), min_size=2, max_size=2), min_size=3, max_size=3))
def test_step_knows_masked_actions_from_allowed_ones(rows):
    env, actions = ready(), torch.tensor(rows)
    inside = bool(((actions >= 0) & (actions <= 3)).all())
    allowed = inside and bool(env.action_mask.gather(-1, actions.unsqueeze(-1)).all())
    assert (told(lambda: env.step(actions), "actions") is not None) == allowed


def test_the_environment_of_these_tests_has_empty_slots():
    assert not ready().action_mask.all()


@pytest.mark.parametrize("name", ["averages", "transmitting"])
@many(40)
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


@many(30)
@given(wrong=junk.filter(lambda value: value is not None))
def test_reset_with_something_else_than_a_deployment(wrong):
    assert told(lambda: RRMEnv(NETWORK, 3).reset(wrong), "deployment") is None


@many(40)
@given(st.data())
def test_reset_with_a_deployment_of_which_one_array_is_wrong(data):
    name = data.draw(st.sampled_from([f.name for f in dataclasses.fields(Deployment)]))
    shapes = [np.shape(getattr(ENV.deployment, name))]
    wrong = dataclasses.replace(ENV.deployment, **{name: data.draw(arrays(shapes) | junk)})
    env = RRMEnv(NETWORK, 3)
    if told(lambda: env.reset(wrong), "deployment") is not None:
        assert torch.isfinite(env.obs).all()


@pytest.mark.parametrize("name", ["config", "num_envs", "seed", "split", "device", "dtype", "copies"])
@many(10)
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


# --- policies ---------------------------------------------------------------------------------------------------


def trained(paradigm="ctde", backbone="sac"):
    agent = dataclasses.replace(AGENT, paradigm=paradigm, backbone=backbone)
    return train_offline(DATA, agent, [0], progress=False)[0]


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
@many(40)
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


@many(60)
@given(mask=arrays(MASK_SHAPES) | junk, policy=st.sampled_from(POLICIES))
def test_act_with_masks(mask, policy):
    obs = DATA.obs[:5]
    actions = told(lambda: policy.act(obs, mask), "action_mask")
    if actions is not None:
        right = torch.as_tensor(mask) if mask is not None else DATA.mask[:5]
        assert actions.shape == (5, 2) and right.shape == (5, 2, 4) and ((right == 0) | (right == 1)).all()
        right = right == 1
        some = right.any(-1)
        assert right.gather(-1, actions.unsqueeze(-1)).squeeze(-1)[some.all(-1)].all()


@many(40)
@given(ap=junk, policy=st.sampled_from(POLICIES))
def test_local(ap, policy):
    if told(lambda: policy.local(ap), "ap", "paradigm") is not None:
        assert policy.config.paradigm != "centralized" and int(ap) in (0, 1)


DECIDE = POLICIES[0].local(1)


@many(60)
@given(obs=arrays(((6,), (5,), (1, 6), (2, 6))) | junk)
def test_local_decision(obs):
    action = told(lambda: DECIDE(obs), "obs")
    if action is not None:
        values = np.asarray(obs)
        assert values.dtype.kind in "iuf" and values.shape == (6,) and np.isfinite(values).all()
        assert type(action) is int and 0 <= action <= 3
        assert action == 0 or values[2 * action - 2 : 2 * action].any()


# --- the wrapper ------------------------------------------------------------------------------------------------


WRAPPER = RRMParallelEnv(NETWORK)


@many(60)
@given(st.data())
def test_the_parallel_env(data):
    WRAPPER.reset(seed=0)
    actions = data.draw(junk | st.dictionaries(st.sampled_from(["ap_0", "ap_1", "ap_2", 0]), junk, max_size=3))
    if told(lambda: WRAPPER.step(actions), "actions") is not None:
        assert set(actions) == {"ap_0", "ap_1"}
    name = data.draw(st.sampled_from(["seed", "options"]))
    told(lambda: WRAPPER.reset(**{name: data.draw(junk)}), name, "deployment")
