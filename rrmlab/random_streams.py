"""Random numbers of a policy: one stream per (policy seed, deployment), the same whatever batch it runs in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

BLOCK_TTIS = 512
POLICY_STREAM = 1_000_003  # keeps a policy's key apart from the deployment's own (split, seed, index)


class PolicyStream:
    """Uniform numbers for E episodes: `next()` gives (E, width) float64 in [0, 1), a row per TTI and deployment.

    Args:
        key: (E, 3) int64, the deployments' keys.
        seed: the policy's seed.
        width: numbers an episode needs per TTI.
        purpose: tells apart two streams of one policy seed.
    """

    def __init__(self, key: Tensor, seed: int, width: int, purpose: int = 0) -> None:
        keys = [(POLICY_STREAM, purpose, seed, *row) for row in key.tolist()]
        self._generators = [np.random.default_rng(np.random.SeedSequence(k)) for k in keys]
        self._width, self._used, self._device = width, BLOCK_TTIS, key.device

    def next(self) -> Tensor:
        """The next TTI's numbers."""
        if self._used == BLOCK_TTIS:
            block = np.stack([g.random((BLOCK_TTIS, self._width)) for g in self._generators], 1)
            self._block, self._used = torch.from_numpy(block).to(self._device), 0
        self._used += 1
        return self._block[self._used - 1]


def sample(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Inverse-CDF sample: probabilities (..., A) and uniform (...) to indices (...); zero-probability entries never."""
    cumulative = probabilities.double().cumsum(-1)
    index = (cumulative <= uniform.unsqueeze(-1) * cumulative[..., -1:]).sum(-1)
    # Rounding may leave the total a hair above the last positive entry's sum; step back to that entry.
    last = probabilities.shape[-1] - 1 - (probabilities > 0).flip(-1).int().argmax(-1)
    return torch.minimum(index, last)


def seeded_generators(seeds: Sequence[int], purpose: int) -> list[torch.Generator]:
    """One independent CPU generator per training seed and purpose."""
    states = [np.random.SeedSequence((seed, purpose)).generate_state(1, np.uint64)[0] for seed in seeds]
    return [torch.Generator().manual_seed(int(state >> np.uint64(1))) for state in states]
