"""The ten public names have an example that runs, and public docstrings say what they must."""

import ast
import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import rrmlab

TEN = ["NetworkConfig", "RRMEnv", "make_scheduler", "collect", "load_dataset", "AgentConfig", "Policy"]
TEN += ["train_offline", "train_online", "evaluate"]
PACKAGE = Path(rrmlab.__file__).parent
MODULES = sorted({getattr(rrmlab, name).__module__ for name in TEN})


@pytest.mark.parametrize("name", TEN)
def test_a_public_name_has_an_example(name):
    assert ">>>" in inspect.getdoc(getattr(rrmlab, name))


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert tried and not failed


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_public_function_and_class_is_documented(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    assert ast.get_docstring(tree), "a module says what it is for"
    assert [node.name for node in public if not ast.get_docstring(node)] == []
