"""One AP's decision from its own observation, as fast as a TTI asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..checks import whole_number

if TYPE_CHECKING:
    from .policy import Policy


def local_decision(policy: Policy, ap: int) -> Callable[[np.ndarray], int]:
    """A function of AP `ap`'s raw observation (2N,) that returns the action `Policy.act` takes for it.

    It holds that AP's head alone, in NumPy: on vectors of this size PyTorch's calls cost more than the arithmetic.

    Raises:
        ValueError: a centralized or a sampled policy, or another AP than there is; in the function another shape, or
            numbers that are not finite.
    """
    if policy.paradigm.joint or policy.stochastic:
        kind = "stochastic = True" if policy.stochastic else "paradigm = 'centralized'"
        raise ValueError(f"{kind}: an AP decides alone with a greedy independent or ctde policy")
    ap = whole_number("ap", ap)
    if not 0 <= ap < policy.network.num_aps:
        raise ValueError(f"ap = {ap}: must lie in 0 ... {policy.network.num_aps - 1}")
    name = "actor" if policy.config.backbone == "sac" else "critic"
    depth = 2 * (len(policy.config.hidden) + 1)
    # Heads are the last of the stack's dimensions; of twin critics none acts.
    layers = [policy.tensors[f"{name}.{k}"].cpu().numpy()[..., ap, :, :] for k in range(depth)]
    layers = [layer.reshape(layer.shape[-2:]) for layer in layers]
    mean, std = (policy.tensors[name].cpu().numpy() for name in ("obs_mean", "obs_std"))

    def decide(obs: np.ndarray) -> int:
        try:
            given = np.asarray(obs)
        except (TypeError, ValueError, RuntimeError):
            given = np.array(None)
        if given.dtype.kind not in "fiu":
            raise ValueError(f"obs: must be {len(mean)} real numbers, got {obs!r}")
        obs = given.astype(np.float32, copy=False)
        if obs.shape != mean.shape or not np.isfinite(obs).all():
            raise ValueError(f"obs: must be finite and of shape {mean.shape}, got {obs.shape}: {obs}")
        x = (obs - mean) / std
        for k in range(0, depth, 2):
            x = x @ layers[k] + layers[k + 1][0]
            if k + 2 < depth:
                np.maximum(x, 0, out=x)
        x[1:][(obs.reshape(-1, 2) == 0).all(1)] = -np.inf  # empty slots
        return int(x.argmax())

    return decide
