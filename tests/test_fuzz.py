"""What was written by others or typed: random bytes for every target of fuzz_loaders.py, led by coverage in a soak."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from bad_input import many
from fuzz_loaders import TARGETS
from hypothesis import given
from hypothesis import strategies as st
from soak import cases

RUNS = {"dataset": 4000, "policy": 4000, "result": 4000, "training": 4000, "config": 100_000, "command": 10_000}


@pytest.mark.parametrize("target", TARGETS)
@many(10)
@given(data=st.binary(max_size=40))
def test_random_bytes(target, data):
    TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.skipif(not cases(0, 1), reason="only in a soak: RRMLAB_SOAK=1")
@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="needs atheris: pip install 'rrmlab[soak]'")
def test_bytes_led_by_coverage(tmp_path, target):
    program = [sys.executable, Path(__file__).with_name("fuzz_loaders.py"), target]
    limits = [f"-runs={RUNS[target]}", "-seed=1", "-max_len=200", "-len_control=0", "-timeout=60", "-rss_limit_mb=4096"]
    done = subprocess.run([*program, *limits], cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0 and f"Done {RUNS[target]} runs" in done.stderr, done.stderr[-3000:]
