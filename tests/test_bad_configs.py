"""Configs from bad input: an error that names the field, or the right numbers; never an error from the inside."""

import dataclasses
import math

import pytest
from bad_input import junk, many, told
from hypothesis import given
from hypothesis import strategies as st

from rrmlab import AgentConfig, NetworkConfig, make_scheduler


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


@many(250)
@given(st.data())
def test_network_config(data):
    field = data.draw(st.sampled_from([f.name for f in dataclasses.fields(NetworkConfig)]))
    # A field that is refused may be refused together with another: J < I, or no room.
    assert_config_or_refusal(NetworkConfig, field, data.draw(junk), {"num_aps": 2, "num_users": 30, "top_n": 1})


@many(150)
@given(st.data())
def test_agent_config(data):
    field = data.draw(st.sampled_from([f.name for f in dataclasses.fields(AgentConfig)]))
    assert_config_or_refusal(AgentConfig, field, data.draw(junk), {})


@pytest.mark.parametrize(
    "cls",
    [NetworkConfig, AgentConfig],
)
@many(25)
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
        ("min_ap_user_m", 0.0, "none"), ("cross_gain_db", 100.0, "a ratio"),
    ],
)  # fmt: skip
def test_slips_of_the_unit_are_recognised(field, value, meant):
    with pytest.raises(ValueError, match=f"^{field} = {value:g}".replace("+", r"\+")):
        NetworkConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value", "meant"),
    [
        ("gamma", 90, "percent"), ("target_rate", 100, "updates"),
        ("learning_rate", -3, "its exponent"), ("learning_rate", 3.0, "its exponent"), ("adam_eps", -8, "its exponent"),
        ("temperature", -1.0, "its logarithm"), ("alpha", -1.0, "its sign"), ("batch_size", 256.0, "a float"),
        ("num_updates", 2e3, "a float"), ("hidden", 64, "one layer"), ("hidden", [64, 64], "a list"),
        ("paradigm", "CTDE", "capitals"), ("mixer", "QMIX", "capitals"),
    ],
)  # fmt: skip
def test_slips_in_an_agent_are_recognised(field, value, meant):
    with pytest.raises(ValueError, match=f"^{field} = "):
        AgentConfig(**{field: value})


@pytest.mark.parametrize(
    ("name", "field", "value", "meant"),
    [("itlinq", "m_db", 316.0, "a ratio"), ("itlinq", "eta", 70.0, "percent"), ("exhaustive", "lam", 80.0, "percent")],
)
def test_slips_in_a_scheduler_are_recognised(name, field, value, meant):
    with pytest.raises(ValueError, match=f"^{field} = {value:g}"):
        make_scheduler(name, **{field: value})
