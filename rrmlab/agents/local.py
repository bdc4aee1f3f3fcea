"""One AP's decision from its own observation, as fast as a TTI asks for."""

from __future__ import annotations

from typing import Any

import numpy as np


def decide(layers: list[np.ndarray], mean: np.ndarray, std: np.ndarray, features: int, obs: np.ndarray) -> int:
    """The greedy action of one AP.

    In NumPy: on vectors of this size PyTorch's calls cost more than the arithmetic.

    Args:
        layers: weights (in, out) and biases (1, out) of that AP's head, alternating.
        mean: (N F,), subtracted from the observation.
        std: (N F,), then divides it.
        features: F, numbers of a slot; a slot is empty where all are 0.
        obs: (N F,) raw observation.

    Raises:
        ValueError: an observation of another shape, or with numbers that are not real or not finite.
    """
    obs = real_numbers(obs, str(len(mean)))
    if obs.shape != mean.shape or not np.isfinite(obs).all():
        raise ValueError(f"obs: must be finite and of shape {mean.shape}, got {obs.shape}: {obs}")
    depth = len(layers)
    x = (obs - mean) / std
    for k in range(0, depth, 2):
        x = x @ layers[k] + layers[k + 1][0]
        if k + 2 < depth:
            np.maximum(x, 0, out=x)
    x[1:][(obs.reshape(-1, features) == 0).all(1)] = -np.inf  # empty slots
    return int(x.argmax())


def real_numbers(obs: Any, number: str) -> np.ndarray:
    """An observation as float32; ValueError unless it is so many real numbers, however many that are."""
    try:
        given = np.asarray(obs)
    except (TypeError, ValueError, RuntimeError):
        given = np.array(None)
    if given.dtype.kind not in "fiu":
        raise ValueError(f"obs: must be {number} real numbers, got {obs!r}")
    return given.astype(np.float32, copy=False)
