"""What the tests of stored files share: one of each kind, damaging, signing, and work in a forked process."""

import contextlib
import hashlib
import json
import os
import shutil
import traceback
import warnings

import numpy as np
import pytest

from rrmlab.agents.config import AgentConfig
from rrmlab.agents.policy import Policy
from rrmlab.config import NetworkConfig
from rrmlab.game.evaluation import Scores
from rrmlab.game.schedulers import RandomWalk
from rrmlab.learning.collection import collect
from rrmlab.learning.dataset import load_dataset
from rrmlab.learning.offline import train_offline
from rrmlab.storage import SUMS, new_folder
from rrmlab.study.store import read_result, score_result

NETWORK = NetworkConfig(num_aps=2, num_users=5, top_n=2, episode_ttis=12, warmup_ttis=2)
LOADERS = {"dataset-v0": load_dataset, "checkpoint": Policy.load, "result": read_result}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork, no locks")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One of each: a dataset of two episodes, a checkpoint, a result of two seeds with its policies."""
    root = tmp_path_factory.mktemp("made")
    data = collect(RandomWalk(), NETWORK, 20, seed=1)
    config = AgentConfig(hidden=(6,), num_updates=1, batch_size=4)
    policies = train_offline(data, config, [0, 1], progress=False)
    rng = np.random.default_rng(0)
    scores = [Scores.of(rng.random((3, 5)), rng.random(3), NETWORK.tail_weight) for _ in policies]
    data.save(root / "dataset-v0")
    policies[0].save(root / "checkpoint")
    with new_folder(root / "result") as folder:
        score_result(folder, scores, 1.5, policies)
        (folder / "spec.json").write_text("{}")
    return root


@pytest.fixture
def copies(made, tmp_path):
    """The same, to damage."""
    shutil.copytree(made, tmp_path / "copies")
    return tmp_path / "copies"


def files(folder):
    return sorted(f for f in folder.rglob("*") if f.is_file())


def content_of(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in files(folder)}


def sign(folder):
    """Make SHA256SUMS right for what the folder now holds, inside first: somebody rewrote both."""
    for sums in sorted(folder.rglob(SUMS), key=lambda p: -len(p.parts)):
        listed = [f for f in files(sums.parent) if f != sums]
        digests = [hashlib.sha256(f.read_bytes()).hexdigest() for f in listed]
        lines = [f"{d}  {f.relative_to(sums.parent).as_posix()}\n" for d, f in zip(digests, listed, strict=True)]
        sums.write_text("".join(lines))


def hidden(folder):
    return sorted(f.name for f in folder.rglob(".*"))


def in_child(work, said=os.devnull):
    """Start `work` in a forked process, so that neither its limits nor its death are ours; what it says goes to `said`.

    Returns its id and where `answer_of` reads what it returned.
    """
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads; ours do nothing
        child = os.fork()
    if child == 0:
        status = 1
        try:
            with open(said, "w") as file, contextlib.redirect_stdout(file):
                answer = work()
            os.write(write, json.dumps(answer).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write)
    return child, read


def answer_of(child):
    pid, read = child
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"the child ended with {status}"
    return json.loads(text)


class FakeKernels:
    """Runs no notebook, but leaves what one would."""

    def run(self, node, cwd, log, parameters=None):
        (cwd / "../figures/tables/01_a.csv").write_text("x\n1\n")
        (cwd / "../figures/01_a.png").write_text("drawn")
        log.write_text("")
        return node, ""
