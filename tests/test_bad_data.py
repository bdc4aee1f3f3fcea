"""Data, schedulers and trainings from bad input: refused by name before any work, or finite results.

Shapes: n transitions, J users.
"""

import contextlib
import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from bad_input import AGENT, DATA, NETWORK, arrays, is_number, junk, many, real, told, whole
from hypothesis import given
from hypothesis import strategies as st

from rrmlab import (
    Dataset,
    Policy,
    collect,
    evaluate,
    evaluate_seeds,
    load_dataset,
    make_scheduler,
    mix,
    train_offline,
    train_online,
)
from rrmlab.game.link_schedulers import ITLinQ
from rrmlab.game.schedulers import Mixture
from rrmlab.storage import CorruptFileError, new_folder
from rrmlab.study.store import read_result
from rrmlab.study.tuning import tune_scheduler

POLICY = train_offline(DATA, AGENT, [0], progress=False)[0]

# --- data -------------------------------------------------------------------------------------------------------


COLUMNS = [f.name for f in dataclasses.fields(Dataset)]


@many(120)
@given(st.data())
def test_dataset_check(data):
    """One column replaced; what passes can be trained on."""
    name = data.draw(st.sampled_from(COLUMNS))
    shapes = () if name == "metadata" else (tuple(getattr(DATA, name).shape),)
    value = data.draw(arrays(shapes) | junk)
    wrong = told(lambda: dataclasses.replace(DATA, **{name: value}), name)
    if wrong is None:
        return
    fields = [*COLUMNS, "NetworkConfig"] if name in ("rows", "metadata") else [name, "rows"]
    if told(lambda: wrong.check() or True, *fields) and name != "metadata":
        without = name == "own_rewards" and value is None
        assert without or getattr(wrong, name).dtype == getattr(DATA, name).dtype
        policy = train_offline(wrong, AGENT, [0], progress=False)[0]
        assert all(bool(torch.isfinite(tensor).all()) for tensor in policy.tensors.values())


@many(50)
@given(num=junk, seed=junk, which=st.integers(0, 2))
def test_take(num, seed, which):
    num, seed = (5 if which == 0 else num), (0 if which == 1 else seed)
    taken = told(lambda: DATA.take(num, seed), "num_transitions", "seed")
    if taken is not None:
        assert len(taken) == int(num) and not isinstance(num, bool)
        assert torch.equal(taken.rows, DATA.take(int(num), int(seed)).rows)


@many(60)
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


@many(40)
@given(index=arrays(((3,), (0,))) | junk)
def test_select(index):
    selected = told(lambda: DATA.select(index), "index")
    if selected is not None:
        assert torch.equal(selected.rows, DATA.rows[index])


@pytest.mark.parametrize("name", ["behaviour", "config", "num_transitions", "seed", "device"])
@many(8)
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


# --- running and training ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["behaviour", "config", "num_episodes", "seed", "split", "device"])
@many(8)
@given(data=st.data())
def test_evaluate(name, data):
    value = data.draw(junk)
    if name == "num_episodes" and is_number(value) and abs(value) > 100:
        return
    arguments = {"behaviour": POLICY, "config": NETWORK, "num_episodes": 2, name: value}
    scores = told(lambda: evaluate(**arguments), name)
    if scores is not None:
        asked = arguments["num_episodes"]
        assert math.isfinite(scores.score) and scores.rates.shape == (100 if asked is None else int(asked), 4)


def sensible(name, value):
    """Whether an option that a training took, perhaps without ever using it, is one."""
    if name in ("evaluate_every", "checkpoint_every"):
        return not isinstance(value, bool | str) and int(value) == value >= 0  # or a tensor of one whole number
    return name not in ("evaluation", "progress") or value is None or isinstance(value, bool)


@pytest.mark.parametrize(
    "name", ["evaluate_every", "evaluation", "progress", "data", "config", "seeds", "device", "checkpoint_every"]
)
@many(8)
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
        assert sensible(name, value)
        assert all(bool(torch.isfinite(tensor).all()) for tensor in policies[0].tensors.values())


@pytest.mark.parametrize(
    "name", ["network", "config", "seeds", "num_transitions", "num_envs", "device", "evaluate_every"]
)
@many(8)
@given(data=st.data())
def test_train_online(name, data):
    value = data.draw(junk)
    if name == "num_transitions" and is_number(value) and abs(value) > 100:
        return
    arguments = {
        "network": NETWORK, "config": AGENT, "seeds": [0], "num_transitions": 6, "num_envs": 2, "progress": False,
        name: value,
    }  # fmt: skip
    runs = told(lambda: train_online(**arguments), name)
    assert runs is None or sensible(name, value)
    for run in runs or []:
        run.data.check()
        assert all(bool(torch.isfinite(tensor).all()) for tensor in run.policy.tensors.values())


def test_online_training_needs_a_second_step_to_learn_from_the_first():
    with pytest.raises(ValueError, match="num_transitions = 2, num_envs = 2: need at least two steps"):
        train_online(NETWORK, AGENT, [0], 2, 2, progress=False)
    assert len(train_online(NETWORK, AGENT, [0], 3, 2, progress=False)) == 1


@pytest.mark.parametrize("name", ["policies", "m_db", "eta"])
@many(8)
@given(data=st.data())
def test_several_at_once(name, data):
    value = data.draw(junk)
    if name == "policies":
        told(lambda: evaluate_seeds(value, NETWORK, 1), name)
    else:
        told(lambda: tune_scheduler(ITLinQ, {"m_db": [], "eta": [], name: value}, NETWORK, 1), name)


# --- what is stored -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [load_dataset, Policy.load, read_result])
@many(8)
@given(path=junk)
def test_paths_to_load_from(load, path):
    with contextlib.suppress(FileNotFoundError):
        assert told(lambda: load(path), "path = ", "SHA256SUMS") is None


@pytest.mark.parametrize("path", [5, None, "a\0b", []])
def test_paths_to_save_to(path):
    trainings = [lambda: train_offline(DATA, AGENT, [0], progress=False, checkpoint=path)] if path is not None else []
    for write in (lambda: DATA.save(path), lambda: POLICY.save(path), *trainings):
        with pytest.raises(ValueError, match="^path = "):
            write()


def test_a_policy_for_what_is_no_network_or_device(tmp_path):
    path = POLICY.save(tmp_path / "policy")
    for wrong in (5, "paper", AGENT):
        with pytest.raises(ValueError, match="^network: must be a NetworkConfig"):
            POLICY.check_fits(wrong)
    for use in (lambda: Policy.load(path, device="gpu"), lambda: POLICY.to("gpu")):
        with pytest.raises(ValueError, match="^device = 'gpu'"):
            use()


def npz(**arrays):
    np.savez(file := io.BytesIO(), **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("facts.json", b"[]"),
        ("facts.json", b"{"),
        ("state", b""),
        ("state", b"\xff" * 99),
        ("state", npz(done=1)),
        ("state", npz(done=1)[:-6] + b"\xff" * 6),
    ],
    ids=["a list", "half", "empty", "noise", "other tensors", "places outside of the file"],
)
@pytest.mark.parametrize("online", [False, True])
def test_a_training_does_not_go_on_from_what_is_no_checkpoint(tmp_path, online, name, content):
    """Though its checksums are right."""

    def train():
        if online:
            return train_online(NETWORK, AGENT, [0], 6, 2, progress=False, checkpoint=tmp_path / "c")
        more = {"checkpoint": tmp_path / "c", "checkpoint_every": 1}
        return train_offline(DATA, AGENT, [0], progress=False, **more)

    train()
    folder = tmp_path / "c" / "state" if online else tmp_path / "c"
    files = {name: (folder / name).read_bytes() for name in ("facts.json", "state")}
    files[name] = content
    with new_folder(folder, "facts.json") as written:
        for file, what in files.items():
            (written / file).write_bytes(what)
    with pytest.raises(CorruptFileError, match=f"{name} is not what rrmlab writes"):
        train()


# --- schedulers -------------------------------------------------------------------------------------------------


ARGUMENTS = {
    "random_walk": ["seed"], "itlinq": ["m_db", "eta"], "exhaustive": ["lam"], "tdm": [], "full_reuse": [],
    "threshold": ["a", "b", "c"], "greedy_marginal": ["lam"], "best_subset": ["lam"],
}  # fmt: skip


@many(60)
@given(st.data())
def test_make_scheduler(data):
    name = data.draw(st.sampled_from(sorted(ARGUMENTS)))
    arguments = {argument: data.draw(junk) for argument in ARGUMENTS[name]}
    scheduler = told(lambda: make_scheduler(name, **arguments), *ARGUMENTS[name])
    if scheduler is not None:
        evaluate(scheduler, NETWORK, 1)
    told(lambda: make_scheduler(data.draw(junk)), "must be one of")


@many(30)
@given(members=junk | st.lists(junk, max_size=2), shares=junk | st.none(), seed=junk | st.just(0))
def test_mixtures(members, shares, seed):
    given_members = [make_scheduler("full_reuse")] if isinstance(shares, list) else members
    told(lambda: Mixture(given_members, shares, seed), "members", "proportions", "seed")
