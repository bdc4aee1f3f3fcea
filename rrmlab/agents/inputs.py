"""What a policy is given to act on: tensors, arrays or nested lists, checked.

Shapes: I APs, N slots, F features of a slot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..game.observations import Observation


def checked_inputs(
    obs: Any, mask: Any, observation: Observation, size: tuple[int, int] | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    """obs (..., I, N F) and mask (..., I, N+1) bool as tensors; without a mask, slots that hold only zeros are empty.

    Args:
        obs, mask: what was given; no mask, None.
        observation: its kind.
        size: (I, N) that it must have; None for any.
        device: where they shall be.

    Raises:
        ValueError: another shape, or what is no number, not real or not finite.
    """
    obs, mask = _as_tensor("obs", obs, device), None if mask is None else _as_tensor("action_mask", mask, device)
    if obs.dtype == torch.bool or obs.is_complex():
        raise ValueError(f"obs: must be real numbers, got {obs.dtype}")
    if size is None:
        # With as many slots as it has room for.
        aps = max(1, obs.shape[-2]) if obs.ndim >= 2 else 1
        size = aps, max(1, obs.shape[-1] // observation.width(aps)) if obs.ndim else 1
    wanted = size[0], size[1] * observation.width(size[0])
    if obs.ndim < 2 or tuple(obs.shape[-2:]) != wanted:
        raise ValueError(f"obs of shape {tuple(obs.shape)}: must be (..., {wanted[0]}, {wanted[1]})")
    if not bool(torch.isfinite(obs.float()).all()):
        raise ValueError("obs: must be finite in float32, found NaN, infinity or a number that is too large")
    if mask is None:
        mask = torch.nn.functional.pad(observation.filled(obs), (1, 0), value=True)
    elif tuple(mask.shape) != (*obs.shape[:-1], size[1] + 1):
        raise ValueError(f"action_mask of shape {tuple(mask.shape)}: must be (..., I, N+1) as obs is (..., I, N F)")
    elif mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError(f"action_mask: must be True and False, or 1 and 0, found others in {mask.dtype}")
    return obs, mask if mask.dtype == torch.bool else mask == 1


def _as_tensor(name: str, values: Any, device: torch.device) -> Tensor:
    """Tensors, arrays and nested lists of numbers as a tensor on a device; ValueError for anything else."""
    try:
        # By way of NumPy, because PyTorch reads lists of numbers in the session's default type.
        if not isinstance(values, Tensor):
            array = np.asarray(values)  # any order of bytes and of places
            values = array.astype(array.dtype.newbyteorder("="), order="C")
        return torch.as_tensor(values, device=device)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(f"{name}: must be a tensor, an array or nested lists, got {type(values).__name__}") from None
