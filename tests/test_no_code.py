"""Nothing that is read can run: no pickle, no eval, no shell; planted ones do nothing."""

import ast
import contextlib
import io
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from minari import MinariDataset
from stored_files import (
    LOADERS,
    content_of,
    files,
    sign,
)
from test_reproduce import Repository

import rrmlab
from rrmlab.command import notebooks as source
from rrmlab.command.main import main
from rrmlab.command.runs import Run
from rrmlab.learning.dataset import load_dataset
from rrmlab.storage import SUMS, CorruptFileError
from rrmlab.study.notebook import Study

FORBIDDEN = (
    "pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve",  # modules
    "torch.load", "joblib.load", "joblib.dump", "joblib.Memory", "pd.read_pickle", "pandas.read_pickle",
    "eval", "exec", "compile", "os.system", "os.popen", "__import__", "importlib.import_module",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load",
    "gym.make", "MinariDataset", "minari.load_dataset", "MinariStorage.read",  # make what a file's env_spec names
)  # fmt: skip


def name_of(node):
    """Dotted name of an expression, "" if it is none."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{name_of(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def dangers(text):
    """What in a source could run what a file says."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [n for n in names if n.split(".")[0] in FORBIDDEN or n in FORBIDDEN]
            found += [alias.name for alias in node.names if alias.name in FORBIDDEN]
        elif isinstance(node, ast.Call):
            options = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            if name_of(node.func) in FORBIDDEN:
                found.append(name_of(node.func))
            if options.get("shell", False) is not False or options.get("allow_pickle", False) is not False:
                found.append(name_of(node.func))
    return found


def test_the_package_has_nothing_that_runs_data():
    paths = sorted(Path(rrmlab.__file__).parent.rglob("*.py"))
    assert len(paths) > 30
    assert {str(path): found for path in paths if (found := dangers(path.read_text()))} == {}


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from pickle import loads", "import marshal", "from torch import load", "torch.load(f)",
     "x = joblib.load(f)", "np.load(f, allow_pickle=True)", "eval(s)", "exec(s)", "os.system(s)", "yaml.load(f)",
     "subprocess.run(s, shell=True)", "subprocess.Popen(s, shell=flag)", "MinariDataset(p)", "gym.make(s)"],
)  # fmt: skip
def test_the_scan_would_notice(text):
    assert dangers(text)
    assert not dangers("np.load(f, allow_pickle=False); subprocess.run([s]); ast.literal_eval(s); re.compile(s)")


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def payloads(marker):
    """Pickles in the forms in which loaders meet them."""
    yield from (pickle.dumps(Evil(marker), protocol) for protocol in (0, 2, 4, 5))
    for save in (lambda f: torch.save({"x": Evil(marker)}, f), lambda f: np.save(f, np.array([Evil(marker)], object))):
        buffer = io.BytesIO()
        save(buffer)
        yield buffer.getvalue()
    yield f"!!python/object/apply:os.system ['touch {marker}']\n".encode()
    yield f"__import__('os').system('touch {marker}')\n".encode()


@pytest.fixture
def marker(tmp_path):
    """A file that must not appear."""
    yield tmp_path / "marker"
    assert not (tmp_path / "marker").exists(), "a file's content was run"


def test_the_planted_pickles_do_run(tmp_path):
    for k, load in enumerate([pickle.loads] * 4 + [lambda b: torch.load(io.BytesIO(b), weights_only=False)]):
        load(list(payloads(tmp_path / f"{k}"))[k])
        assert (tmp_path / f"{k}").exists()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", sorted(LOADERS))
def test_a_planted_pickle_is_refused(copies, marker, name, signed):
    folder = copies / name
    for file in files(folder):
        if file.name == SUMS:
            continue
        before = content_of(folder)
        for payload in payloads(marker):
            file.write_bytes(payload)
            if signed:
                sign(folder)
            if signed and file.name == "spec.json":
                LOADERS[name](folder)  # nobody reads it
                continue
            with pytest.raises(CorruptFileError, match=file.name):
                LOADERS[name](folder)
        for path, content in before.items():
            (folder / path).write_bytes(content)
    LOADERS[name](folder)


def test_planted_tables_and_provenance(tmp_path, marker):
    study = Study("01_x", "smoke", recompute=True, root=tmp_path)
    study.table("", lambda: pd.DataFrame({"x": [1]}))
    study.finish()
    reader = Study("01_x", "smoke", root=tmp_path)
    tables = tmp_path / "figures/tables"
    provenance = (tables / "01_x.json").read_bytes()
    for payload in payloads(marker):
        (tables / "01_x.csv").write_bytes(payload)
        try:
            table = reader.table("", None)
        except CorruptFileError as error:
            assert "01_x.csv is not what rrmlab writes" in str(error)
        else:  # plain text is a table of one strange column
            payload.decode()
            assert "x" not in table
        (tables / "01_x.json").write_bytes(payload)
        with pytest.raises(CorruptFileError, match="01_x.json is not what rrmlab writes"):
            Study("01_x", "smoke", root=tmp_path)
        (tables / "01_x.json").write_bytes(provenance)
    for wrong in (b"", b"[1]", b"{}", b'{"parameters": 3, "date": 1, "commit": 2}', b"[" * 100_000):
        (tables / "01_x.json").write_bytes(wrong)
        with pytest.raises(CorruptFileError, match="01_x.json is not what rrmlab writes"):
            Study("01_x", "smoke", root=tmp_path)
    (tables / "01_x.csv").write_bytes(b"")
    with pytest.raises(CorruptFileError, match=r"01_x\.csv is not what rrmlab writes \(EmptyDataError"):
        reader.table("", None)


def test_planted_stamps_count_as_never_done(tmp_path, marker, monkeypatch):
    repository = Repository(tmp_path / "clone")
    repository.write("01_a", "")
    run = Run(repository.root, tmp_path / "out", "smoke", None)
    notebook = source.read_all(repository.root)[0]
    stamp = tmp_path / "out/data/executed/01_a.json"
    stamp.parent.mkdir(parents=True)
    good = {"key": run.key(notebook), "outputs": {}}
    stamp.write_text(json.dumps(good))
    assert run.is_here(notebook) and run.is_current(notebook)
    texts = [json.dumps(wrong) for wrong in ([], 1, "x", None, {}, {"key": 1, "outputs": {}}, {"key": "x"},
             good | {"outputs": ["x"]}, good | {"outputs": {"x": 1}}, good | {"outputs": {"figures": []}})]  # fmt: skip
    for content in (*payloads(marker), *(text.encode() for text in texts), b"", b"[" * 100_000, b"\xff"):
        stamp.write_bytes(content)
        assert not run.is_current(notebook)


def test_a_planted_environment_is_not_made(copies, marker, tmp_path):
    """Minari's own loader makes the environment that `env_spec` names, and so calls any function with any arguments."""
    folder = copies / "dataset-v0"
    about = folder / "data" / "metadata.json"
    metadata = json.loads(about.read_text())
    shown = tmp_path / "shown"

    def plant(marker):
        spec = {"id": "x-v0", "entry_point": "os:system", "kwargs": {"command": f"touch {marker}"}}
        spec |= {"additional_wrappers": [], "disable_env_checker": True, "order_enforce": False}
        spec = json.dumps(spec)
        planted = {**metadata, "env_spec": spec, "eval_env_spec": spec}
        del planted["observation_space"], planted["action_space"]
        about.write_text(json.dumps(planted))
        sign(folder)

    before = load_dataset(folder)
    plant(shown)
    with contextlib.suppress(Exception):
        MinariDataset(folder / "data")
    assert shown.exists(), "the danger is real"
    plant(marker)
    assert torch.equal(load_dataset(folder).obs, before.obs)  # what it does not need it does not look at


SHELL = ["$(touch {})", "`touch {}`", "1; touch {}", "1 && touch {}", "1 | touch {}", "1\ntouch {}", "!touch {}",
         "__import__('os').system('touch {}')", "{{[]: 1}}", "(" * 5_000, "9" * 5_000, "-" * 100_000 + "1"]  # fmt: skip


@pytest.mark.parametrize("text", SHELL, ids=range(len(SHELL)))
def test_parameters_never_reach_a_shell(tmp_path, monkeypatch, capsys, marker, text):
    repository = Repository(tmp_path / "clone")
    repository.write("01_a", parameters="seed = 0\n")
    monkeypatch.chdir(repository.root)
    for arguments in (["seed", text.format(marker)], [text.format(marker), "1"]):
        assert main(["reproduce", "--preset", "smoke", "-p", *arguments]) == 2
        assert capsys.readouterr().err.startswith("rrmlab: error: ")
    assert main(["reproduce", "--preset", "smoke", text.format(marker)[:100]]) == 2
    assert not (repository.root / "data").exists()


def test_a_parameter_of_text_arrives_as_it_is(tmp_path, monkeypatch, marker):
    repository = Repository(tmp_path / "clone")
    monkeypatch.setattr(source, "PACKAGE", repository.root / "package")
    repository.write("01_a", 'Path("../figures/tables/01_a.csv").write_text(name)', parameters='name = ""\n')
    monkeypatch.chdir(repository.root)
    text = f"""'; import os; os.system("touch {marker}") # $(touch {marker}) `touch {marker}` \\ \n!touch {marker}"""
    assert main(["reproduce", "--preset", "smoke", "-p", "name", text]) == 0
    assert repository.text("data/runs/smoke/figures/tables/01_a.csv") == text
