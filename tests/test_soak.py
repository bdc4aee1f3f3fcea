"""The counts that are promised: 2,000 bad inputs in every run of the tests, 100,000 in a soak."""

import importlib

from soak import cases

MODULES = ("test_bad_configs", "test_bad_arrays", "test_bad_data", "test_bad_command_line")


def variants(test):
    """How often a test is parametrised."""
    total = 1
    for mark in getattr(test, "pytestmark", ()):
        total *= len(mark.args[1]) if mark.name == "parametrize" else 1
    return total


def test_bad_inputs_are_as_many_as_promised():
    """Those of test_fuzz.py come on top."""
    tests = [
        test for name in MODULES for test in vars(importlib.import_module(name)).values() if hasattr(test, "cases")
    ]
    total = sum(test.cases * variants(test) for test in tests)
    print(f"{total} bad inputs")
    assert cases(2_000, 100_000) <= total <= cases(2_200, 110_000)
