"""Checkpoints of a policy on disk: what they hold, and whether they fit the agent."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load
from safetensors.torch import save as to_safetensors
from torch import Tensor

from ..checks import check_registered, exact_tensor, seed_number
from ..config import NetworkConfig
from ..game.observations import OBSERVATIONS, observation_of
from ..storage import CorruptFileError, new_folder, read_json, reading, verify
from .config import AgentConfig, network_shapes
from .losses import PENALTIES
from .mixers import MIXERS

FORMAT = 2  # of the checkpoint: 2 names mixer and penalty
DESCRIPTION = {"format", "agent", "network", "seed"}  # names in policy.json


def write_checkpoint(
    path: str | Path,
    config: AgentConfig,
    network: NetworkConfig,
    tensors: dict[str, Tensor],
    seed: int,
    history: dict[str, np.ndarray],
) -> None:
    """Write policy.safetensors, policy.json and SHA256SUMS to the folder `path`, which is replaced as a whole.

    Raises:
        ValueError: what `read_checkpoint` would refuse: parameters such as NaN after a training that diverged, or that
            float32 cannot hold exactly; a seed or a history that is none.
        FileExistsError, OSError: see `storage.new_folder`.
    """
    tensors = {name: exact_tensor(f"tensor {name}", values, torch.float32) for name, values in tensors.items()}
    check_tensors(tensors, config, network)
    seed = seed_number(seed)
    for name, values in history.items():
        exact_tensor(f"history[{name!r}]", values, torch.float64)
    columns = {f"history.{name}": torch.from_numpy(np.ascontiguousarray(v)) for name, v in history.items()}
    everything = {name: t.cpu().contiguous() for name, t in {**tensors, **columns}.items()}
    description = {"format": FORMAT, "agent": config.to_dict(), "network": network.to_dict(), "seed": seed}
    with new_folder(path, "policy.json") as folder:
        (folder / "policy.safetensors").write_bytes(to_safetensors(everything))
        (folder / "policy.json").write_text(json.dumps(description, indent=1))


def read_checkpoint(
    path: str | Path,
) -> tuple[AgentConfig, NetworkConfig, dict[str, Tensor], int, dict[str, np.ndarray]]:
    """What `write_checkpoint` wrote: the agent, its network, its tensors, its seed, its training history.

    Raises:
        FileNotFoundError: no such folder.
        CorruptFileError: a file is missing or was changed, or does not hold what a checkpoint holds.
        ValueError: a mixer, penalty or observation of the user's own that is not registered in this process.
    """
    folder = verify(path, "policy.json", "policy.safetensors")
    about, weights = folder / "policy.json", folder / "policy.safetensors"
    description = read_json(about)
    if description.get("format") != FORMAT:
        raise CorruptFileError(f"{about}: checkpoint format {description.get('format')!r}, this version reads {FORMAT}")
    parts = [part for part in (description.get("agent"), description.get("network")) if isinstance(part, dict)]
    named = {"mixer": MIXERS, "penalty": (*PENALTIES, "none"), "observation": OBSERVATIONS}
    for field, name in ((field, part[field]) for part in parts for field in named if field in part):
        check_registered(about, field, name, named[field])
    with reading(about):
        if description.keys() != DESCRIPTION:
            raise ValueError(f"it has {', '.join(description)} where {', '.join(sorted(DESCRIPTION))} are wanted")
        config, network = AgentConfig.from_dict(description["agent"]), NetworkConfig.from_dict(description["network"])
        network_shapes(config, network)
        seed = description["seed"]
        if type(seed) is not int or seed < 0:
            raise ValueError(f"seed = {seed!r}: must be a whole number from 0 on")
    with reading(weights):
        stored = load(weights.read_bytes())
        history = {n.removeprefix("history."): t.numpy() for n, t in stored.items() if n.startswith("history.")}
        tensors = {n: t for n, t in stored.items() if not n.startswith("history.")}
        check_tensors(tensors, config, network)
    return config, network, tensors, seed, history


def check_tensors(tensors: dict[str, Tensor], config: AgentConfig, network: NetworkConfig) -> None:
    """Raise ValueError unless the tensors are those of the agent on that network, float32, finite, with scales > 0."""
    size = observation_of(network).size(network)
    wanted: dict[str, tuple[int, ...]] = {"obs_mean": (size,), "obs_std": (size,), "reward_mean": (), "reward_std": ()}
    for name, (stack, sizes) in network_shapes(config, network).items():
        for k, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            wanted |= {f"{name}.{2 * k}": (*stack, fan_in, fan_out), f"{name}.{2 * k + 1}": (*stack, 1, fan_out)}
    for name in sorted(wanted.keys() ^ tensors.keys()):
        raise ValueError(f"tensor {name} is {'missing' if name in wanted else 'not one of this agent'}")
    for name, shape in wanted.items():
        found = tensors[name]
        if tuple(found.shape) != shape or found.dtype != torch.float32:
            raise ValueError(f"tensor {name} is {found.dtype} {tuple(found.shape)}, must be torch.float32 {shape}")
        if not bool(torch.isfinite(found).all()):
            raise ValueError(f"tensor {name} holds NaN or infinity, as after a training that diverged")
        if name.endswith("_std") and not bool((found > 0).all()):
            raise ValueError(f"tensor {name} must be above 0")
