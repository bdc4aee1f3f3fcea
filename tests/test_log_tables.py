"""Logs in tables: valid ones are read exactly, all others are refused with the file, the line and the column.

Shapes: R stored observations, n transitions, I APs, N top users.
"""

import dataclasses
import re
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import cases

from rrmlab import AgentConfig, Dataset, NetworkConfig, collect, load_dataset, make_scheduler, train_offline
from rrmlab.learning import tables

OPTIONAL = ("log_prob", "terminated", "own_reward")
COLUMNS = [f.name for f in dataclasses.fields(Dataset) if f.name not in ("metadata", "own_rewards")]
many = settings(max_examples=cases(60, 100_000), deadline=None, database=None)


def network_of(aps, n):
    return NetworkConfig(num_aps=aps, num_users=max(aps, n), top_n=n, episode_ttis=3, warmup_ttis=0)


def log(rng, aps, n, ttis, masks=False):
    """A random table and the columns that it stands for; an episode of T transitions has T+1 of the `ttis`."""
    stored = sum(ttis)
    filled = rng.random((stored, aps, n)) < 0.8
    values = rng.normal(0, 10 ** rng.uniform(-3, 6), (stored, aps, n, 2)).astype(np.float32)
    values[values == 0] = 1
    obs = (values * filled[..., None]).reshape(stored, aps, 2 * n)
    if masks:  # a slot may be closed to an AP though somebody is there
        filled &= rng.random(filled.shape) < 0.8
    mask = np.pad(filled, ((0, 0), (0, 0), (1, 0)), constant_values=True)
    actions = (rng.random(mask.shape) * mask).argmax(-1)
    is_last = np.zeros(stored, bool)
    is_last[np.cumsum(ttis) - 1] = True
    own, log_prob = rng.normal(size=(stored, aps)).astype(np.float32), -rng.exponential(size=stored)
    rewards = own.sum(1)
    terminated = np.append(is_last[1:], False) & ~is_last & (rng.random(stored) < 0.5)
    episodes, start = np.cumsum(rng.integers(1, 3, len(ttis))) - 1, rng.integers(-2, 9, len(ttis))
    lines = {
        "episode": np.repeat(episodes, ttis).repeat(aps),
        "tti": np.concatenate([np.arange(t) + s for t, s in zip(ttis, start, strict=True)]).repeat(aps),
        "ap": np.tile(np.arange(aps), stored),
    }
    for slot in range(n):
        lines[f"sinr_db_{slot + 1}"] = obs[..., 2 * slot].ravel()
        lines[f"ln_w_{slot + 1}"] = obs[..., 2 * slot + 1].ravel()
        if masks:
            lines[f"mask_{slot + 1}"] = filled[..., slot].ravel().astype(int)
    lines["action"] = np.where(is_last[:, None], np.nan, actions).ravel()
    lines["reward"] = np.where(is_last, np.nan, rewards).repeat(aps)
    lines["own_reward"] = np.where(is_last[:, None], np.nan, own).ravel()
    lines["log_prob"], lines["terminated"] = log_prob.repeat(aps), terminated.astype(int).repeat(aps)
    rows = np.flatnonzero(~is_last)
    columns = {"obs": obs, "mask": mask, "rows": rows}
    columns |= {"actions": actions[rows], "rewards": rewards[rows], "own_rewards": own[rows]}
    columns |= {"log_prob": log_prob[rows]}
    columns |= {"terminated": terminated[rows], "truncated": is_last[rows + 1] & ~terminated[rows]}
    return pd.DataFrame(lines), columns


def read(frame, network, form, folder, piece):
    """Through a DataFrame or a file, in pieces of so many lines."""
    source = frame
    if form == "csv":
        source = folder / "log.csv"
        frame.to_csv(source, index=False)
    elif form == "parquet":  # a column has one type
        source, frame = folder / "log.parquet", frame.infer_objects()
        for name in frame.select_dtypes("object"):
            frame[name] = [None if pd.isna(value) else str(value) for value in frame[name]]
        frame.to_parquet(source, index=False)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(tables, "PIECE", piece)
        warnings.simplefilter("error")
        return Dataset.from_table(source, network)


ttis = st.lists(st.integers(1, 4), min_size=1, max_size=3).filter(lambda ttis: max(ttis) > 1)
common = {
    "shape": st.tuples(st.integers(1, 3), st.integers(1, 3), ttis),
    "seed": st.integers(0, 2**32),
    "form": st.sampled_from(["frame", "csv", "parquet"]),
    "piece": st.integers(1, 20),
}


@many
@given(**common, left_out=st.sets(st.sampled_from(OPTIONAL)), masks=st.booleans())
def test_a_valid_table_is_read_exactly(tmp_path_factory, shape, seed, form, piece, left_out, masks):
    frame, columns = log(np.random.default_rng(seed), *shape, masks)
    if "log_prob" in left_out:
        columns["log_prob"] = np.zeros(len(columns["rows"]))
    if "terminated" in left_out:
        columns["truncated"] = columns["truncated"] | columns["terminated"]
        columns["terminated"] = np.zeros(len(columns["rows"]), bool)
    folder = tmp_path_factory.getbasetemp()
    data = read(frame.drop(columns=list(left_out)), network_of(*shape[:2]), form, folder, piece)
    for name in COLUMNS:
        assert torch.equal(getattr(data, name), torch.from_numpy(columns[name])), name
    if "own_reward" in left_out:
        assert data.own_rewards is None
    else:
        assert torch.equal(data.own_rewards, torch.from_numpy(columns["own_rewards"]))
    assert data.network == network_of(*shape[:2])
    assert data.metadata["behaviour"] == ("table" if form == "frame" else f"log.{form}")


# ---- refusals: what is done to a valid table, and the row and the columns that may be named ----


def feature(frame, rng):
    return rng.choice([c for c in frame if c.startswith(("sinr", "ln_w"))])


def cell(column, value, lines="all"):
    """Put a value somewhere into a column, where there is an action or anywhere."""

    def change(frame, rng, aps):
        name = feature(frame, rng) if column == "feature" else column
        rows = np.arange(len(frame)) if lines == "all" else np.flatnonzero(frame.action.notna())
        row = int(rng.choice(rows))
        frame[name] = frame[name].astype(object)
        frame.loc[row, name] = value(frame, row) if callable(value) else value
        return frame, row, {name}

    return change


def repeated_line(frame, rng, aps):
    row = int(rng.integers(len(frame)))
    return pd.concat([frame[: row + 1], frame[row:]], ignore_index=True), row + 1, {"ap", "tti"}


def lost_line(frame, rng, aps):
    if aps == 1:
        return None
    row = int(rng.integers(len(frame)))
    return frame.drop(index=row).reset_index(drop=True), min(row, len(frame) - 2), {"ap"}


def swapped_lines(frame, rng, aps):
    if aps == 1:
        return None
    row = int(rng.choice(np.flatnonzero(frame.ap < aps - 1)))
    order = np.arange(len(frame))
    order[[row, row + 1]] = row + 1, row
    return frame.iloc[order].reset_index(drop=True), row, {"ap"}


def inner_tti(frame, rng, aps):
    """First row of a TTI that is not the first of its episode, or None."""
    first = frame.groupby("episode").tti.transform("min")
    rows = np.flatnonzero((frame.tti > first) & (frame.ap == 0))
    return int(rng.choice(rows))


def gap(frame, rng, aps):
    row = inner_tti(frame, rng, aps)
    frame.loc[(frame.episode == frame.episode[row]) & (frame.tti >= frame.tti[row]), "tti"] += 2
    return frame, row, {"tti"}


def other_tti_in_one_line(frame, rng, aps):
    if aps == 1:
        return None
    row = int(rng.choice(np.flatnonzero(frame.ap > 0)))
    frame.loc[row, "tti"] += 1
    return frame, row, {"tti"}


def falling_episode(frame, rng, aps):
    row = inner_tti(frame, rng, aps)
    frame.loc[row:, "episode"] = frame.episode[row] - 1
    return frame, row, {"episode"}


def goes_on_after_the_last(frame, rng, aps):
    """The last observation is followed by a TTI of the same episode."""
    more = frame[-aps:].assign(tti=frame.tti.iloc[-1] + 1)
    return pd.concat([frame, more], ignore_index=True), len(frame), {"tti"}


def acts_after_the_end(frame, rng, aps):
    """Another transition follows one that terminated."""
    row = inner_tti(frame, rng, aps)
    frame.loc[row - aps : row - 1, "terminated"] = 1
    frame.loc[row : row + aps - 1, ["action", "reward", "own_reward"]] = 0.0
    return frame, row, {"tti"}


def of_one_ap(column):
    """A number of the team that differs for one AP."""

    def change(frame, rng, aps):
        if aps == 1:
            return None
        row = int(rng.choice(np.flatnonzero(frame.action.notna() & (frame.ap > 0))))
        frame.loc[row, column] = 1 - frame[column][row] if column == "terminated" else frame[column][row] - 1
        return frame, row, {column}

    return change


def empty_slot(frame, rng, aps):
    row = int(rng.choice(np.flatnonzero(frame.action.notna())))
    frame.loc[row, ["sinr_db_1", "ln_w_1"]] = 0.0
    frame.loc[row, "action"] = 1
    return frame, row, {"action"}


CHANGES = {
    "empty feature": cell("feature", np.nan),
    "infinite feature": cell("feature", np.inf),
    "too large a feature": cell("feature", 1e39),
    "text for a feature": cell("feature", "strong"),
    "text for a key": cell("tti", "t7"),
    "half an episode": cell("episode", lambda f, row: f.episode[row] + 0.5),
    "empty key": cell("ap", np.nan),
    "AP out of range": cell("ap", lambda f, row: f.ap[row] + 9),
    "action out of range": cell("action", 9, "actions"),
    "negative action": cell("action", -1, "actions"),
    "half an action": cell("action", 0.5, "actions"),
    "text for an action": cell("action", "on", "actions"),
    "no action": cell("action", np.nan, "actions"),
    "no reward": cell("reward", np.nan, "actions"),
    "infinite reward": cell("reward", np.inf, "actions"),
    "no own reward": cell("own_reward", np.nan, "actions"),
    "infinite own reward": cell("own_reward", np.inf, "actions"),
    "text for an own reward": cell("own_reward", "much", "actions"),
    "another own reward": cell("own_reward", lambda f, row: f.own_reward[row] + 0.01, "actions"),
    "positive log_prob": cell("log_prob", 0.25, "actions"),
    "empty log_prob": cell("log_prob", np.nan, "actions"),
    "terminated twice": cell("terminated", 2, "actions"),
    "an empty slot is served": empty_slot,
    "another reward of one AP": of_one_ap("reward"),
    "another log_prob of one AP": of_one_ap("log_prob"),
    "terminated for one AP": of_one_ap("terminated"),
    "repeated line": repeated_line,
    "lost line": lost_line,
    "swapped lines": swapped_lines,
    "gap in the TTIs": gap,
    "another TTI in one line": other_tti_in_one_line,
    "falling episode": falling_episode,
    "after the last observation": goes_on_after_the_last,
    "after the end": acts_after_the_end,
}


@many
@given(**common, kind=st.sampled_from(sorted(CHANGES)))
def test_a_wrong_table_is_refused_with_line_and_column(tmp_path_factory, shape, seed, form, piece, kind):
    rng = np.random.default_rng(seed)
    changed = CHANGES[kind](log(rng, *shape)[0], rng, shape[0])
    if changed is None:  # no such mistake with one AP
        return
    frame, row, columns = changed
    folder = tmp_path_factory.getbasetemp()
    with pytest.raises(ValueError) as error:
        read(frame, network_of(*shape[:2]), form, folder, piece)
    rows = [row]
    if columns & {"action", "reward", *OPTIONAL}:
        # What is one for all APs, or empty for all, may be seen in another line of the TTI.
        rows = range(row - row % shape[0], row - row % shape[0] + shape[0])
    name = "table" if form == "frame" else folder / f"log.{form}"
    where = [f"{name}, line {k + 2}" if form == "csv" else f"{name}, row {k}" for k in rows]
    if columns & {"action", "reward"}:
        columns = {"action", "reward"}
    named = [f"{line}, column {column} = " for line in where for column in columns]
    assert str(error.value).startswith(tuple(named)), (named, error.value)


@pytest.mark.parametrize("form", ["frame", "csv"])
@pytest.mark.parametrize("column", ["episode", "tti", "ap", "sinr_db_2", "ln_w_1", "mask_2", "action", "reward"])
@pytest.mark.parametrize("change", ["dropped", "renamed", "repeated"])
def test_a_wrong_header_is_refused(tmp_path, form, column, change):
    frame, _ = log(np.random.default_rng(0), 2, 2, [3, 2], masks=True)
    if change == "dropped":
        frame = frame.drop(columns=column)
    elif change == "renamed":
        frame = frame.rename(columns={column: column.upper()})
    else:
        frame = pd.concat([frame, frame[[column]]], axis=1)
    words = f"column {column} stands there more than once" if change == "repeated" else f"column {column} is missing"
    with pytest.raises(ValueError, match=words) as error:
        read(frame, network_of(2, 2), form, tmp_path, 100)
    assert str(error.value).startswith(str(tmp_path / "log.csv") if form == "csv" else "table")


HEADER = "episode,tti,ap,sinr_db_1,ln_w_1,action,reward\n"
FILES = {
    "nothing": (b"", "is no table"),
    "a header alone": (HEADER.encode(), "there are no lines below the header"),
    "one TTI": (f"{HEADER}0,0,0,1,1,,\n".encode(), "there are no transitions, every episode has one TTI"),
    "noise": (bytes(range(256)) * 9, "log.csv"),
    "semicolons": (HEADER.replace(",", ";").encode(), "column episode, tti, .* is missing"),
    "too many fields": (f"{HEADER}0,0,0,1,1,0,1,5\n0,1,0,1,1,,\n".encode(), "line 2: it has more fields"),
    "too many fields later": (f"{HEADER}0,0,0,1,1,0,1\n0,1,0,1,1,,,5\n".encode(), "line 3"),
    "too few fields": (f"{HEADER}0,0,0,1,1,0,1\n0,1,0,1\n".encode(), "line 3, column ln_w_1 = nan"),
    "a blank line": (f"{HEADER}0,0,0,1,1,0,1\n\n0,1,0,1,1,,\n".encode(), "line 3, column ap = nan"),
    "an open quote": (f'{HEADER}0,0,0,1,1,0,"1\n0,1,0,1,1,,\n'.encode(), "is no table"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_log_is_refused(tmp_path, kind):
    content, words = FILES[kind]
    (tmp_path / "log.csv").write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        Dataset.from_table(tmp_path / "log.csv", network_of(1, 1))
    assert str(tmp_path / "log.csv") in str(error.value)


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", ",\n"])
def test_a_csv_of_other_systems(tmp_path, start, line_end):
    frame, columns = log(np.random.default_rng(1), 2, 2, [3])
    (tmp_path / "log.csv").write_bytes((start + frame.to_csv(index=False, lineterminator=line_end)).encode())
    data = Dataset.from_table(tmp_path / "log.csv", network_of(2, 2))
    assert torch.equal(data.obs, torch.from_numpy(columns["obs"]))


def test_a_column_of_float16_is_refused_where_it_is_infinite():
    frame, _ = log(np.random.default_rng(2), 2, 2, [3, 4])
    frame = frame.assign(sinr_db_1=np.float16(1)).astype({"sinr_db_1": "float16"})
    Dataset.from_table(frame, network_of(2, 2))
    frame.loc[2, "sinr_db_1"] = np.inf
    assert frame.sinr_db_1.dtype == np.float16
    with pytest.raises(ValueError, match="^table, row 2, column sinr_db_1 = inf: must be a finite number"):
        Dataset.from_table(frame, network_of(2, 2))


@pytest.mark.parametrize("change", [None, "float", "Int64", "bool", "category"])
def test_a_frame_of_other_types(change):
    frame, columns = log(np.random.default_rng(2), 2, 2, [3, 4])
    for name in ("episode", "ap", "tti", "action") if change != "bool" else ("terminated",):
        if change:
            frame[name] = frame[name].astype({"float": float}.get(change, change))
    data = Dataset.from_table(frame.set_index(np.full(len(frame), 7)), network_of(2, 2))
    for name in COLUMNS:
        assert torch.equal(getattr(data, name), torch.from_numpy(columns[name])), name


def test_one_observation_per_transition_loses_the_last_one():
    frame, columns = log(np.random.default_rng(3), 2, 2, [3, 4, 2])
    usual = frame[frame.action.notna()]
    with pytest.warns(UserWarning, match="3 of 3 episodes end with an action.* its transition is left out"):
        data = Dataset.from_table(usual, network_of(2, 2))
    assert len(data) == len(columns["rows"]) - 3 and len(data.obs) == len(columns["rows"])
    kept = torch.tensor([0, 2, 3])  # the last episode had one transition, and now has none
    assert torch.equal(data.rewards, torch.from_numpy(columns["rewards"])[kept])
    assert data.truncated.tolist() == [True, False, True] and not data.terminated.any()


def test_columns_that_are_not_known_are_named():
    frame, _ = log(np.random.default_rng(3), 2, 2, [3])
    with pytest.warns(UserWarning, match="table: column log_probs, site is ignored"):
        Dataset.from_table(frame.rename(columns={"log_prob": "log_probs"}).assign(site="north"), network_of(2, 2))
    for label in ("\ud800", None, 3, ("a", "b")):
        with pytest.warns(UserWarning, match=f"table: column {re.escape(str(label))} is ignored"):
            labels = pd.Index([*frame, label], dtype=object)
            Dataset.from_table(frame.assign(x=1).set_axis(labels, axis=1), network_of(2, 2))


@pytest.mark.parametrize("wrong", [5, None, [], "a\0b"])
def test_what_is_no_table_or_network(wrong):
    with pytest.raises(ValueError, match="^path = "):
        Dataset.from_table(wrong, network_of(1, 1))
    with pytest.raises(ValueError, match="^network: must be a NetworkConfig"):
        Dataset.from_table(pd.DataFrame(), wrong)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        Dataset.from_table("nowhere.csv", network_of(1, 1))


def test_parquet(tmp_path, monkeypatch):
    frame, columns = log(np.random.default_rng(4), 2, 2, [3, 4])
    monkeypatch.setattr(tables, "PIECE", 5)
    frame.to_parquet(tmp_path / "log.parquet")
    data = Dataset.from_table(tmp_path / "log.parquet", network_of(2, 2))
    for name in COLUMNS:
        assert torch.equal(getattr(data, name), torch.from_numpy(columns[name])), name
    frame.set_index(["episode", "ap"]).to_parquet(tmp_path / "log.parquet")  # they are columns of the file all the same
    again = Dataset.from_table(tmp_path / "log.parquet", network_of(2, 2))
    assert torch.equal(again.obs, data.obs) and len(again) == len(data)
    frame.assign(reward=np.inf).to_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"log\.parquet, row 0, column reward = inf: must be a finite number"):
        Dataset.from_table(tmp_path / "log.parquet", network_of(2, 2))
    content = (tmp_path / "log.parquet").read_bytes()
    for damaged in (b"PAR1", b"", content[:-9], content[:4] + b"\xff" * 99 + content[103:]):  # the last one in a page
        (tmp_path / "log.parquet").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"log\.parquet: is no table"):
            Dataset.from_table(tmp_path / "log.parquet", network_of(2, 2))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.parquet"):
        Dataset.from_table(tmp_path / "nowhere.parquet", network_of(2, 2))


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"log\.parquet: .* needs pyarrow \(pip install 'rrmlab\[parquet\]'\)"):
        Dataset.from_table(tmp_path / "log.parquet", network_of(2, 2))


def test_a_table_of_a_log_is_saved_and_trained_on_like_the_log(tmp_path):
    network = NetworkConfig(num_aps=2, num_users=5, top_n=2, episode_ttis=12, warmup_ttis=2)
    data = collect(make_scheduler("random_walk"), network, 36, seed=1)
    ends = np.arange(39) % 13 == 12
    lines = {"episode": np.arange(39) // 13, "tti": np.arange(39) % 13}
    frame = pd.DataFrame(lines).loc[np.arange(39).repeat(2)].assign(ap=np.tile([0, 1], 39))
    for k, column in enumerate(["sinr_db_1", "ln_w_1", "sinr_db_2", "ln_w_2"]):
        frame[column] = data.obs[..., k].flatten().numpy()
    given = {"action": data.actions, "reward": data.rewards, "log_prob": data.log_prob, "own_reward": data.own_rewards}
    for column, values in given.items():
        whole = np.full((39, 2), np.nan)
        whole[~ends] = values.numpy().reshape(36, -1)
        frame[column] = whole.ravel()
    again = load_dataset(Dataset.from_table(frame, network).save(tmp_path / "log-v0"))
    for name in (*COLUMNS, "own_rewards"):
        assert torch.equal(getattr(again, name), getattr(data, name)), name
    agent = AgentConfig(hidden=(4,), num_updates=2, batch_size=4)
    ours, theirs = (train_offline(log, agent, [0], progress=False)[0] for log in (data, again))
    assert all(torch.equal(ours.tensors[name], theirs.tensors[name]) for name in ours.tensors)
