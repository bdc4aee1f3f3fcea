"""What the tests of bad input share: how many cases, what counts as a clear answer, and what people pass by mistake."""

import math
import warnings

import numpy as np
import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st
from soak import cases

from rrmlab import AgentConfig, NetworkConfig, collect, make_scheduler

NETWORK = NetworkConfig(num_aps=2, num_users=4, top_n=3, episode_ttis=2, warmup_ttis=2, require_users=False)
AGENT = AgentConfig(hidden=(4,), batch_size=4, num_updates=1)
DATA = collect(make_scheduler("random_walk"), NETWORK, 10)
HUGE = 10**400  # no float is as large


def many(short):
    """So many examples, fifty times as many in a soak; the same in every short run. They are small as drawn."""
    number = cases(short, 50 * short)
    limited = settings(
        deadline=None, max_examples=number, derandomize=True,
        phases=set(Phase) - {Phase.shrink, Phase.explain}, report_multiple_bugs=False,
    )  # fmt: skip

    def decorated(test):
        test = limited(test)
        test.cases = number
        return test

    return decorated


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
