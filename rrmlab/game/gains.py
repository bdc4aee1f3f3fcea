"""Gains of all links in the layout of the game, computed in blocks of TTIs, and the interference that they make.

Shapes: E environments, I APs, J users, T TTIs. Environments are the last dimension. Powers are in units of the noise.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..config import NetworkConfig
from .deployment import Deployment
from .observations import other_aps
from .radio import link_snr

BLOCK_TTIS = 1200  # gains of so many TTIs at most are computed at once
BLOCK_LINKS = 2**21  # ... and fewer where one environment's gains would pass this (8 MiB in float32)
CHUNK_LINKS = {"cpu": 2**20, "cuda": 2**26}  # computed in pieces that stay in a processor's cache, or fill the device
SUM_COLUMNS = 256  # of which every processor's vectors, and their share of a thread, are a divisor


class LinkGains:
    """Gains of one episode.

    Args:
        config: the network.
        deployment: E deployments, the first E / copies of which are computed; the others are copies of them.
        path: (T, E / copies, J) int64, the AP of each user in every TTI; T is 1 where none changes.
        copies: of each deployment.
        dtype: of the gains.
    """

    def __init__(
        self, config: NetworkConfig, deployment: Deployment, path: Tensor, copies: int, dtype: torch.dtype
    ) -> None:
        self._config, self._deployment, self._path, self._copies, self._dtype = config, deployment, path, copies, dtype
        # One TTI more than counted: the observation after the last step needs its gains.
        self._total_ttis = config.warmup_ttis + config.episode_ttis + 1
        links = config.num_aps * config.num_users
        blocks = -(-self._total_ttis // max(1, min(BLOCK_TTIS, BLOCK_LINKS // links)))
        # Not a function of E: a block's length shows in the last bit.
        self._block_len = -(-self._total_ttis // blocks)
        self._memory: tuple[Tensor, ...] = ()
        self._start = -1

    def __getstate__(self) -> dict[str, Any]:
        # The memory is written in place, and one tensor is a view of another: each copy must have its own, also in
        # another process, where PyTorch would share it.
        return {**self.__dict__, "_memory": (), "_start": -1}

    def at(self, t: int) -> tuple[Tensor, Tensor]:
        """SNR at TTI t from the serving AP (J, E), and from the other APs (I, J, E), 0 at the serving one; linear. The
        latter with the factor `cross_gain`."""
        if t // self._block_len * self._block_len != self._start:
            self._compute(t // self._block_len * self._block_len)
        signal, cross, _, _ = self._memory
        k = t - self._start
        if self._copies == 1:
            return signal[k], cross[k]
        return signal[k].repeat(1, self._copies), cross[k].repeat(1, 1, self._copies)

    def interference(self, cross: Tensor, on: Tensor) -> Tensor:
        """What every user receives (J, E) of the `cross` gains (I, J, E) where the APs on (I, E), 1 or 0, transmit."""
        _, _, padded, received = self._memory
        torch.mul(cross, on.unsqueeze(1), out=received)
        _, users, envs = received.shape
        return padded.sum(0)[: users * envs].view(users, envs)

    def _allocate(self) -> tuple[Tensor, ...]:
        """Signal (T, J, E), cross (T, I, J, E), padded (I, columns), and its view of shape (I, J, E)."""
        i, j, e = self._config.num_aps, self._config.num_users, len(self._deployment)
        make: dict[str, Any] = {"dtype": self._dtype, "device": self._path.device}
        # Rows of whole vectors: PyTorch sums a row's end in another order.
        padded = torch.zeros(i, -(-j * e // SUM_COLUMNS) * SUM_COLUMNS, **make)
        cross = torch.empty(self._block_len, i, j, e // self._copies, **make)
        signal = torch.empty(self._block_len, j, e // self._copies, **make)
        return signal, cross, padded, padded[:, : j * e].unflatten(1, (j, e))

    def _compute(self, start: int) -> None:
        """Fill the memory with the block of TTIs from `start` on."""
        if not self._memory:
            with torch.inference_mode(False):  # in its mode, PyTorch's tensors could not be written outside of it
                self._memory = self._allocate()
        signal, cross, _, _ = self._memory
        self._start = start
        num = min(self._block_len, self._total_ttis - start)
        _, i, j, e = cross.shape
        path = self._path[start : start + num] if len(self._path) > 1 else self._path
        ap = torch.arange(i, device=path.device)[:, None, None]
        chunk = max(1, CHUNK_LINKS[cross.device.type] // (i * j * num))
        for first in range(0, e, chunk):
            part = slice(first, min(first + chunk, e))
            # (E, I, J, T), as it lies in memory
            snr = link_snr(self._config, self._deployment[part], start, num, self._dtype).permute(1, 2, 3, 0)
            own = (path[:, part].permute(1, 2, 0).unsqueeze(1) == ap).to(self._dtype)
            # Separate sums, no difference of large ones: the serving signal is up to 10^7 times the interference.
            signal[:num, :, part] = (snr * own).sum(1).permute(2, 1, 0)
            cross[:num, :, :, part] = (snr * ((1 - own) * self._config.cross_gain)).permute(3, 1, 2, 0)


def neighbour_gains(cross: Tensor, users: Tensor, top_n: int) -> Tensor:
    """Gains of the other APs at users: `cross` (I, J, E) at `users` (I N, E), `top_n` = N of each AP, -> (I-1, I N, E),
    in the order of the APs, the users' own AP left out."""
    at_users = cross.gather(1, users.expand(len(cross), -1, -1))
    order = other_aps(len(cross), cross.device).T.repeat_interleave(top_n, 1)  # (I-1, I N)
    return at_users.gather(0, order.unsqueeze(-1).expand(-1, -1, cross.shape[-1]))
