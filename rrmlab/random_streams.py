"""Every random stream of the package, by its purpose; equal keys give equal numbers in any batch and on any device.

A deployment's own draws have the key (split, seed, index), see `game.deployment`. All other keys are made here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

# First entry of a key, beyond any split: keeps these streams apart from the deployments'.
POLICY, SUBSAMPLE = 1_000_003, 1_000_033
# Purposes of `PolicyStream`, streams of one policy seed.
ACTIONS, MEMBERS, REPORT_NOISE, LINK_NOISE = 0, 1, 7, 8
# Purposes of `seeded_generators`, streams of one training seed.
PARAMETERS, MINIBATCHES, ORACLE_PARAMETERS, ORACLE_MINIBATCHES = 0, 1, 2, 3

BLOCK_TTIS = 512  # drawn at once, or fewer where that would take more than BLOCK_NUMBERS
BLOCK_NUMBERS = 2**24
INDEX_BLOCK = 1000  # updates whose minibatches a seed draws at once, `study`


class PolicyStream:
    """Uniform numbers for E episodes: `next()` gives (E, width) float64 in [0, 1), a row per TTI and deployment.

    Args:
        key: (E, 3) int64, the deployments' keys.
        seed: the policy's seed.
        width: numbers an episode needs per TTI.
        purpose: tells apart the streams of one policy seed.
    """

    def __init__(self, key: Tensor, seed: int, width: int, purpose: int = ACTIONS) -> None:
        keys = [(POLICY, purpose, seed, *row) for row in key.tolist()]
        self._generators = [np.random.default_rng(np.random.SeedSequence(k)) for k in keys]
        self._width, self._device = width, key.device
        self._ttis = self._used = max(1, min(BLOCK_TTIS, BLOCK_NUMBERS // max(1, len(keys) * width)))

    def next(self) -> Tensor:
        """The next TTI's numbers."""
        if self._used == self._ttis:
            block = np.stack([g.random((self._ttis, self._width)) for g in self._generators], 1)
            self._block, self._used = torch.from_numpy(block).to(self._device), 0
        self._used += 1
        return self._block[self._used - 1]


def sample(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Inverse-CDF sample: probabilities (..., A) and uniform (...) to indices (...); zero-probability entries never."""
    cumulative = probabilities.double().cumsum(-1)
    index = (cumulative <= uniform.unsqueeze(-1) * cumulative[..., -1:]).sum(-1)
    # The product may round to the total; step back to the entry that reaches it.
    return torch.minimum(index, (cumulative < cumulative[..., -1:]).sum(-1))


def subsample(num: int, size: int, seed: int) -> np.ndarray:
    """`size` of `num` indices in ascending order; with one seed a smaller set is part of a larger one."""
    order = np.random.default_rng(np.random.SeedSequence((SUBSAMPLE, seed))).permutation(num)
    return np.sort(order[:size])


def seeded_generators(seeds: Sequence[int], purpose: int) -> list[torch.Generator]:
    """One independent CPU generator per training seed and purpose."""
    states = [np.random.SeedSequence((seed, purpose)).generate_state(1, np.uint64)[0] for seed in seeds]
    return [torch.Generator("cpu").manual_seed(int(state >> np.uint64(1))) for state in states]


class MinibatchStream:
    """What each of S seeds draws for its minibatches, a block of updates at a time: `next()` gives (S, B).

    Args:
        seeds: the training seeds.
        draw: gives (INDEX_BLOCK, B) from a seed's generator.
        device: where the numbers are needed.
    """

    def __init__(
        self, seeds: Sequence[int], draw: Callable[[torch.Generator], Tensor], device: str | torch.device
    ) -> None:
        self._generators = seeded_generators(seeds, MINIBATCHES)
        self._draw, self._device, self._used = draw, device, INDEX_BLOCK

    def next(self) -> Tensor:
        """The next update's numbers."""
        if self._used == INDEX_BLOCK:
            self._new_block()
        self._used += 1
        return self._block[self._used - 1]

    def skip(self, num: int) -> None:
        """Leave out those of `num` updates, as if they had been taken."""
        for _ in range(-(-num // INDEX_BLOCK)):
            self._new_block()
        self._used = INDEX_BLOCK - -num % INDEX_BLOCK

    def _new_block(self) -> None:
        self._block = torch.stack([self._draw(g) for g in self._generators], 1).to(self._device)
        self._used = 0
