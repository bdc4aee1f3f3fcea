"""Runs are named by the code that computes them: which change of the package renames which runs."""

import re
import shutil
import textwrap

import pytest
import torch

import rrmlab
from rrmlab.agents.config import AgentConfig
from rrmlab.game.evaluation import evaluate
from rrmlab.game.schedulers import TDM, FullReuse, Mixture, RandomWalk, Scheduler
from rrmlab.storage import SUMS
from rrmlab.study import fingerprint, jobs, logs, methods, scoring, tuning
from rrmlab.study.fingerprint import code_fingerprint, digest
from rrmlab.study.notebook import Study


class Asked(Exception):
    """Raised in place of a run; holds the code that would name it."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """By kind of run: the classes and functions by which the study names it, taken from the calls that run it."""
    root = tmp_path_factory.mktemp("root")
    (root / SUMS).write_text("")
    study = Study("02_baselines", "smoke", True, root=root)

    def stored(root, kind, spec, code, build, train=None):
        raise Asked(code)

    def code_of(call):
        with pytest.raises(Asked) as raised:
            call()
        return tuple(raised.value.args[0])

    agent = AgentConfig()
    with pytest.MonkeyPatch.context() as patch:
        for module in (jobs, logs, methods, scoring, tuning):
            patch.setattr(module, "stored", stored)
        calls = {
            name: lambda spec=record.scheduler: scoring.score_scheduler(root, spec, study.scoring)
            for name, record in methods.METHODS.items()
            if record.scheduler
        }
        calls |= {
            "offline": lambda: jobs.OfflineJob(root, agent, (0,), study.scoring).run(root),
            "online": lambda: jobs.OnlineJob(study.network, agent, (0,), study.scoring, 100).run(root),
            "reports": lambda: scoring.ScoreJob(study.scoring, scheduler={"name": "full_reuse"}).run(root),
            "oracles": lambda: methods.observed_oracles(study),
            "surface": lambda: tuning.itlinq_surface(study),
            "threshold surface": lambda: tuning.threshold_surface(study),
            "random log": lambda: logs.collected(study, "random", 100),
            "mixture log": lambda: logs.collected(study, "mixture", 100),
            "joined log": lambda: logs.joined(study, [root], 100),
        }
        return {name: code_of(call) for name, call in calls.items()}


SCHEDULERS = {name for name, record in methods.METHODS.items() if record.scheduler}
TRAINED = {"offline", "online"}
SIMULATED = SCHEDULERS | TRAINED | {"reports", "oracles", "surface", "threshold surface", "random log", "mixture log"}
EVERY = SIMULATED | {"joined log"}
NEW_SCHEDULER = """

    class Odd(TDM):
        name = "Odd"

        def serve(self, view):
            return super().serve(view)


    SCHEDULERS["odd"] = Odd
    """


@pytest.mark.parametrize(
    ("file", "old", "new", "renamed"),
    [
        ("game/schedulers.py", None, NEW_SCHEDULER, set()),
        ("game/schedulers.py", "view.ttis % present", "(view.ttis + 1) % present", {"TDM"}),
        ("game/schedulers.py", "return view.slots[..., 0]", "return view.slots[..., 0] + 0",
         {"Full reuse", "reports", "mixture log"}),
        ("game/link_schedulers.py", "admitted = torch.zeros_like", "admitted = torch.ones_like",
         {"ITLinQ", "ITLinQ (η = 0.5)", "ITLinQ (tuned)", "surface", "mixture log", "Greedy marginal"}),
        ("game/schedulers.py", ">= self.c", "> self.c",
         {"Threshold", "Threshold (one parameter)", "threshold surface"}),
        ("game/path_loss.py", "def path_loss_db(", "def path_loss_db(unused=0, *, ", SIMULATED),
        ("config.py", "SPEED_OF_LIGHT = ", "SPEED_OF_LIGHT = 2 * ", EVERY),
        ("agents/losses.py", "def td_loss(", "def td_loss(unused=0, *, ", TRAINED),
        ("learning/offline.py", "learner.update(", "learner . update(0 or ", {"offline"}),
        ("learning/online.py", "EPSILON = ", "EPSILON = 2 * ", {"online"}),
        ("study/jobs.py", "CURVE_POINTS = 10", "CURVE_POINTS = 11", TRAINED),
        ("study/observed_oracle.py", "HIDDEN = (256, 256)", "HIDDEN = (64, 64)", {"oracles"}),
        ("study/plotting.py", None, "\nx = 1\n", set()),
        ("study/methods.py", None, "\nx = 1\n", set()),
        ("storage.py", None, "\nx = 1\n", set()),
        ("game/env.py", None, "\ntorch.set_default_dtype(torch.float64)\n", SIMULATED),  # acts on all of the module
    ],
)  # fmt: skip
def test_what_a_change_renames(asked, tmp_path, file, old, new, renamed):
    before, package = names(asked, rrmlab.__path__[0]), copied(tmp_path)
    text = (package / file).read_text(encoding="utf-8")
    assert old is None or text.count(old) >= 1, f"{file} has no {old!r}"
    changed = text + textwrap.dedent(new) if old is None else text.replace(old, new)
    (package / file).write_text(changed, encoding="utf-8")
    after = names(asked, package)
    assert {kind for kind in before if before[kind] != after[kind]} == renamed


def test_comments_docstrings_types_of_arguments_and_layout_do_not_count(asked, tmp_path):
    before, package = names(asked, rrmlab.__path__[0]), copied(tmp_path)
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r'"""(?=[A-Z])', '"""Other words. ', text).replace(" -> Tensor:", " -> 'Tensor':")
        path.write_text("# A comment.\n\n\n" + re.sub(r"\n\n+", "\n\n\n\n", text), encoding="utf-8")
    assert names(asked, package) == before


def test_a_scheduler_that_is_added_has_a_name_of_its_own(asked, tmp_path):
    package = copied(tmp_path)
    path = package / "game" / "schedulers.py"
    path.write_text(path.read_text(encoding="utf-8") + textwrap.dedent(NEW_SCHEDULER), encoding="utf-8")
    tdm, odd = (digest(package, [("game.schedulers", name)]) for name in ("TDM", "Odd"))
    assert tdm != odd
    path.write_text(path.read_text(encoding="utf-8").replace("view.ttis % present", "3 % present"), encoding="utf-8")
    fingerprint._modules.cache_clear()
    assert odd != digest(package, [("game.schedulers", "Odd")])  # it follows from TDM, its base


def test_an_entry_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"rrmlab/game/schedulers.py has no Nobody"):
        digest(fingerprint.PACKAGE, [("game.schedulers", "Nobody")])


# ---- code outside of the package ----


class Silent(Scheduler):
    name = "Silent"

    def serve(self, view):
        return torch.full_like(view.slots[..., 0], -1)


def imported(folder, text, monkeypatch):
    """The class Mine of a module `mine` of this text."""
    (folder / "mine.py").write_text(textwrap.dedent(text))
    scope = {"__name__": "mine"}
    fingerprint.linecache.clearcache()
    exec(compile(textwrap.dedent(text), str(folder / "mine.py"), "exec"), scope)
    return scope["Mine"]


MINE = """
    from rrmlab.game.schedulers import FullReuse, Scheduler

    FACTOR = 1

    class Mine(Scheduler):
        name = "Mine"

        def serve(self, view):
            return FACTOR * FullReuse().serve(view)
    """


def test_a_scheduler_outside_of_the_package_counts_with_its_file(tmp_path, monkeypatch):
    name = code_fingerprint(evaluate, imported(tmp_path, MINE, monkeypatch))
    assert name == code_fingerprint(evaluate, imported(tmp_path, MINE + "# a comment\n", monkeypatch))
    assert name != code_fingerprint(evaluate, imported(tmp_path, MINE.replace("= 1", "= 2"), monkeypatch))
    assert len({name, code_fingerprint(evaluate), code_fingerprint(evaluate, Silent)}) == 3


def test_what_a_scheduler_outside_of_the_package_uses_of_it_counts(tmp_path, monkeypatch):
    mine, package = imported(tmp_path, MINE, monkeypatch), copied(tmp_path)
    before = code_fingerprint(mine)
    path = package / "game" / "schedulers.py"
    path.write_text(path.read_text().replace("return view.slots[..., 0]", "return view.slots[..., 1]"))
    monkeypatch.setattr(fingerprint, "PACKAGE", package)
    assert code_fingerprint(mine) != before


def test_a_mixture_counts_with_its_members():
    mixture = Mixture([RandomWalk(), FullReuse()])
    assert logs._classes(mixture) == [Mixture, RandomWalk, FullReuse]
    assert code_fingerprint(Mixture) != code_fingerprint(*logs._classes(mixture)) != code_fingerprint(TDM)


# ---- helpers ----


def copied(folder):
    """A copy of the package, to change."""
    return shutil.copytree(fingerprint.PACKAGE, folder / "rrmlab", ignore=shutil.ignore_patterns("__pycache__"))


def names(asked, package):
    """Digest of each kind of run, from the sources in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint, "PACKAGE", fingerprint.Path(package))
        found = {kind: code_fingerprint(*code) for kind, code in asked.items()}
    return found


def test_values_around_a_class_of_ones_own_count(tmp_path, monkeypatch):
    """Classes of one file are told apart by their names, by constants of their module and by what a factory fixed."""
    (tmp_path / "own_rules.py").write_text(
        "from rrmlab.game.schedulers import FullReuse\n"
        "POWER = 0.5\n"
        "class First(FullReuse):\n    def serve(self, view):\n        return view.slots[..., 0] * (POWER > 0)\n"
        "class Second(FullReuse):\n    def serve(self, view):\n        return view.slots[..., 0] * (POWER > 0)\n"
        "def rule(power):\n"
        "    class Rule(FullReuse):\n"
        "        def serve(self, view):\n            return view.slots[..., 0] * (power > 0)\n"
        "    return Rule\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import own_rules

    before = code_fingerprint(own_rules.First)
    assert code_fingerprint(own_rules.First) == before != code_fingerprint(own_rules.Second)
    monkeypatch.setattr(own_rules, "POWER", 0.1)
    assert code_fingerprint(own_rules.First) != before
    assert (
        code_fingerprint(own_rules.rule(1))
        == code_fingerprint(own_rules.rule(1))
        != code_fingerprint(own_rules.rule(2))
    )
