"""What was written by others or typed: random bytes for every target of fuzz_loaders.py, led by coverage in a soak."""

import faulthandler
import importlib.util
import subprocess
import sys
from pathlib import Path

import fuzz_tables
import numpy as np
import pytest
from bad_input import many
from fuzz_loaders import TARGETS
from hypothesis import given
from hypothesis import strategies as st
from soak import cases

RUNS = {"dataset": 4000, "policy": 4000, "result": 4000, "training": 4000, "config": 100_000, "command": 10_000}
RUNS |= dict.fromkeys(fuzz_tables.TARGETS, 10_000)
MUTATED = {"frame": 34_000, "csv": 34_000, "parquet": 34_000, "positions": 10_000, "gains": 10_000}


@pytest.mark.parametrize("target", TARGETS)
@many(10)
@given(data=st.binary(max_size=40))
def test_random_bytes(target, data):
    TARGETS[target](data)


@pytest.mark.parametrize("target", MUTATED)
def test_mutated_tables_positions_and_gains(target):
    """100,000 tables in a soak; none takes a minute."""
    rng = np.random.default_rng(1)
    for number in range(cases(100, MUTATED[target])):
        data = rng.bytes(rng.integers(40))
        faulthandler.dump_traceback_later(60, exit=True)
        try:
            TARGETS[target](data)
        except BaseException as error:
            error.add_note(f"input {number}: fuzz_tables.TARGETS[{target!r}]({data!r})")
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.skipif(not cases(0, 1), reason="only in a soak: RRMLAB_SOAK=1")
@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="needs atheris: pip install 'rrmlab[soak]'")
def test_bytes_led_by_coverage(tmp_path, target):
    program = [sys.executable, Path(__file__).with_name("fuzz_loaders.py"), target]
    limits = [f"-runs={RUNS[target]}", "-seed=1", "-max_len=200", "-len_control=0", "-timeout=60", "-rss_limit_mb=4096"]
    done = subprocess.run([*program, *limits], cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0 and f"Done {RUNS[target]} runs" in done.stderr, done.stderr[-3000:]
