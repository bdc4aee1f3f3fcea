"""What the benchmarks time: our environments, updates, logging and decisions, and the same of the peers.

Shapes: E environments, I APs, N top users, S seeds, B batch. A peer is (what it is, its work), or None where it is not
installed: `pip install -c constraints.txt -e '.[bench,deploy]'`.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..agents.config import AgentConfig
from ..agents.graph_learner import make_learner, make_scale
from ..agents.learner import Batch, Learner
from ..agents.policy import Policy
from ..config import NetworkConfig
from ..game.env import RRMEnv
from ..game.observations import observation_of
from ..game.schedulers import make_scheduler
from ..learning.collection import collect
from ..learning.dataset import Dataset
from ..learning.minibatches import Minibatches
from ..memory import peak_memory_gib
from ..with_d3rlpy import to_d3rlpy
from .measure import Work


def random_episodes(config: NetworkConfig, envs: int, seed: int = 0, device: str = "cpu") -> Work:
    """Whole episodes of E environments with uniformly random allowed actions: drawing, warm-up and all counted steps.
    Units: counted steps."""
    env = RRMEnv(config, envs, seed, device=device)
    generator = torch.Generator(device).manual_seed(seed)

    def run() -> int:
        _, info = env.reset()
        for _ in range(config.episode_ttis):
            allowed = info["action_mask"].sum(-1)  # silence, and the filled slots, which come first
            uniform = torch.rand(allowed.shape, generator=generator, device=device)
            *_, info = env.step((uniform * allowed).long())
        return envs * config.episode_ttis

    return run


def silent_steps(config: NetworkConfig, envs: int, num: int, seed: int = 0) -> Work:
    """`num` further steps of E environments in which no AP transmits. Units: `num`."""
    env = RRMEnv(config, envs, seed)
    env.reset()
    silent = torch.zeros(envs, config.num_aps, dtype=torch.int64)

    def run() -> int:
        for _ in range(num):
            env.step(silent)
        return num

    return run


def learning(data: Dataset, agent: AgentConfig, stacks: Sequence[Sequence[int]], num: int, device: str = "cpu") -> Work:
    """`num` updates of each stack of seeds, one stack after the other: [(0, 1)] are two seeds as one program,
    [(0,), (1,)] two programs. The sampling of the minibatches is included. Units: `num`."""
    network, scale = data.network, make_scale(agent, data.obs, data.mask, data.rewards)
    learners = [make_learner(agent, network, seeds, device) for seeds in stacks]
    sources = [Minibatches(data, scale, agent.batch_size, seeds, device) for seeds in stacks]

    def run() -> int:
        for learner, source in zip(learners, sources, strict=True):
            for _ in range(num):
                learner.update(source.next())
        return num

    return run


def updates_of_noise(agent: AgentConfig, network: NetworkConfig, num: int, device: str = "cpu") -> Work:
    """`num` updates of one seed for a network of any size, always with the same minibatch. Units: `num`."""
    learner = Learner(agent, network, [0], device)
    batch = Batch(*(tensor.to(device) for tensor in random_batch(1, agent.batch_size, network)))

    def run() -> int:
        for _ in range(num):
            learner.update(batch)
        return num

    return run


def largest_centralized(network: NetworkConfig) -> int:
    """The largest number of APs that a centralized learner accepts, all else as in the network."""
    agent, aps = AgentConfig("centralized", hidden=(1,)), 1
    while True:
        try:
            Learner(agent, replace(network, num_aps=aps + 1), [0])
        except ValueError:
            return aps
        aps += 1


def random_batch(seeds: int, size: int, network: NetworkConfig) -> Batch:
    """A minibatch of noise for a network of any size, no slot empty."""
    num_aps, top_n, numbers = network.num_aps, network.top_n, observation_of(network).size(network)
    g = torch.Generator().manual_seed(0)
    obs, following = torch.randn(2, seeds, size, num_aps, numbers, generator=g)
    mask = torch.ones(seeds, size, num_aps, top_n + 1, dtype=torch.bool)
    actions = torch.randint(top_n + 1, (seeds, size, num_aps), generator=g)
    reward = torch.randn(seeds, size, generator=g)
    return Batch(obs, mask, actions, reward, torch.zeros(seeds, size, dtype=torch.bool), following, mask)


def one_decision(policy: Policy, obs: torch.Tensor, ap: int = 0) -> Callable[[], int]:
    """One AP's decision on an observation (I, N F), from its own head."""
    decide, own = policy.local(ap), obs[ap].numpy()
    return lambda: decide(own)


def one_network_decision(policy: Policy, logged: torch.Tensor) -> Callable[[], Any]:
    """The decision of all APs of a graph on one observation after the other, logged (R, I, N F)."""
    decide, following = policy.local_network(), itertools.cycle(logged.numpy())
    return lambda: decide(next(following))


def decisions_of_noise(policy: Policy, network: NetworkConfig, envs: int) -> Work:
    """Decisions of a graph for E networks of any size at once, on noise. Units: E."""
    obs = random_batch(1, envs, network).obs[0]

    def run() -> int:
        policy.act(obs)
        return envs

    return run


def one_onnx_decision(policy: Policy, obs: torch.Tensor, ap: int = 0) -> tuple[str, Callable[[], int]] | None:
    """The same decision from the AP's ONNX file, in ONNX Runtime on one thread; None where that is not installed."""
    try:
        import onnxruntime

        with tempfile.TemporaryDirectory() as folder:
            model = (policy.export_onnx(Path(folder) / "policy") / f"ap_{ap}.onnx").read_bytes()
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    inputs = {"obs": obs[ap : ap + 1].numpy()}
    return f"ONNX Runtime {version('onnxruntime')}", lambda: int(session.run(None, inputs)[0][0])


def collect_and_save(num_transitions: int, seed: int = 0, device: str = "cpu") -> dict[str, float]:
    """Log a random walk and save it to a temporary folder: "seconds"; "disk_gib"; "peak_gib" of the process, and
    "imported_gib" of that before it began."""
    imported, start = peak_memory_gib(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        data = collect(make_scheduler("random_walk"), NetworkConfig(), num_transitions, seed, device)
        path = data.save(Path(folder) / "random-v0")
        seconds = time.perf_counter() - start
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 2**30
    return {"seconds": seconds, "disk_gib": size, "peak_gib": peak_memory_gib(), "imported_gib": imported}


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function of this module in a new Python process, where memory starts from nothing."""
    code = "import json, sys; from rrmlab.bench import workloads; name, arguments = json.loads(sys.argv[1]); "
    code += "from rrmlab.memory import keep_freed_memory; keep_freed_memory(); "  # as in the study's own processes
    code += "print(json.dumps(getattr(workloads, name)(*arguments)))"
    command = [sys.executable, "-c", code, json.dumps([function.__name__, arguments])]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()[-1])


def device_differences(
    config: NetworkConfig, agent: AgentConfig, device: str, num_updates: int = 100
) -> dict[str, float]:
    """Largest absolute difference of a device to the CPU: of the users' rates, bit/s/Hz, in one episode of a random
    walk ("episode"), and of the critics' parameters after some updates with the same minibatches ("updates")."""
    envs = [RRMEnv(config, 8, device=where) for where in ("cpu", device)]
    walk, largest = make_scheduler("random_walk"), 0.0
    for env in envs:
        env.reset()
    walk.begin(envs[0].deployment.key)
    for _ in range(config.episode_ttis):
        users = walk.serve(envs[0].view(walk.knowledge))
        ours, theirs = (env.step_users(users.to(env.device))[-1]["rates"].cpu() for env in envs)
        largest = max(largest, (ours - theirs).abs().max().item())
    learners = [Learner(agent, config, [0], where) for where in ("cpu", device)]
    batch = random_batch(1, agent.batch_size, config)
    for learner, where in zip(learners, ("cpu", device), strict=True):
        moved = Batch(*(tensor.to(where) for tensor in batch))
        for _ in range(num_updates):
            learner.update(moved)
    ours, theirs = (torch.nn.utils.parameters_to_vector(learner.critic.parameters()).cpu() for learner in learners)
    return {"episode": largest, "updates": (ours - theirs).abs().max().item()}


# ---- the peers ----


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Greetings, warnings about third packages and log lines of the peers are not ours to show."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def mobile_env_episode(name: str = "mobile-medium-central-v0", most: int = 100) -> tuple[str, Work] | None:
    """An episode of mobile-env with random actions, its reset included, broken off after `most` steps. Units: steps."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        with _quiet():
            import gymnasium
            import mobile_env  # noqa: F401  registers its environments
    except ImportError:
        return None
    env = gymnasium.make(name, disable_env_checker=True)  # without Gymnasium's checks it is faster
    env.action_space.seed(0)
    base: Any = env.unwrapped

    def run() -> int:
        env.reset()
        steps, done = 0, False
        while not done and steps < most:
            *_, terminated, truncated, _ = env.step(env.action_space.sample())
            steps, done = steps + 1, terminated or truncated
        return steps

    return f"mobile-env {version('mobile-env')}, {base.NUM_STATIONS} BSs, {base.NUM_USERS} UEs", run


def d3rlpy_updates(data: Dataset, agent: AgentConfig, num: int, device: str = "cpu") -> tuple[str, Work] | None:
    """Updates of d3rlpy's DiscreteCQL on the same data with the same layers, batch and discount, sampling included."""
    try:
        with _quiet():
            import d3rlpy
    except ImportError:
        return None
    with _quiet():
        buffer = to_d3rlpy(data)
        encoder = d3rlpy.models.VectorEncoderFactory(hidden_units=list(agent.hidden), activation="relu")
        algo = d3rlpy.algos.DiscreteCQLConfig(
            learning_rate=agent.learning_rate,
            encoder_factory=encoder,
            batch_size=agent.batch_size,
            gamma=agent.gamma,
            alpha=agent.alpha,
        ).create(device=f"{torch.device(device).type}:0")
        algo.build_with_dataset(buffer)

    def run() -> int:
        for _ in range(num):
            algo.update(buffer.sample_transition_batch(agent.batch_size))
        return num

    return f"d3rlpy {version('d3rlpy')} DiscreteCQL", run
