"""The game: E networks at once, one TTI per step.

Shapes: E environments, I APs, J users, N top users, T TTIs. An action is a slot: 0 is silence, n the n-th best of the
AP's users by the PF factor. Schedulers may also name users directly (`step_users`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from .config import NetworkConfig
from .radio import Deployment, association, link_snr

SILENT = -1  # the served "user" of a silent AP, and the user in an empty slot
BLOCK_TTIS = (
    512  # gains of so many TTIs are computed at once; not a function of E: a block's length shows in the last bit
)
BLOCK_LINKS = 2**21  # ... and fewer where one environment's gains would pass this (8 MiB in float32)
CHUNK_LINKS = 2**20  # computed in pieces that stay in a processor's cache


@dataclass(frozen=True)
class ObservationView:
    """What the agents of the paper see.

    Attributes:
        obs: (E, I, 2N) float32; for each slot the reported SINR in dB and ln w, 0 and 0 where the slot is empty.
        action_mask: (E, I, N+1) bool, True where an action may be taken.
        slots: (E, I, N) int64, the user in each slot, -1 where it is empty.
    """

    obs: Tensor
    action_mask: Tensor
    slots: Tensor

    def narrow(self, kind: type[ObservationView]) -> ObservationView:
        """The same as a view that shows no more than `kind`, itself or one that this view extends."""
        return kind(*(getattr(self, field.name) for field in fields(kind)))

    def users(self, actions: Tensor) -> Tensor:
        """Slots (E, I) to users (E, I): -1 for silence."""
        silent = torch.full_like(self.slots[..., :1], SILENT)
        return torch.cat([silent, self.slots], -1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def actions(self, users: Tensor) -> Tensor:
        """Users (E, I) to slots (E, I); ValueError if an AP serves a user outside its slots."""
        match = (self.slots == users.unsqueeze(-1)) & (users != SILENT).unsqueeze(-1)
        if not bool((match.any(-1) | (users == SILENT)).all()):
            raise ValueError(f"an AP serves a user outside its top {self.slots.shape[-1]}: no slot stands for it")
        return torch.where(match.any(-1), match.int().argmax(-1) + 1, 0)


@dataclass(frozen=True)
class CellView(ObservationView):
    """In addition all users of one's own cell: `sinr` and `weight` (E, I, J), linear, 0 for users of other APs."""

    sinr: Tensor
    weight: Tensor


@dataclass(frozen=True)
class CrossGainView(ObservationView):
    """In addition the current gains between cells.

    Attributes:
        gain: (E, I, I, N), SNR (linear) from AP i to the user in slot n of AP k at [:, i, k, n]; 0 for empty slots.
        weight: (E, I, N), weight of the user in each slot, 0 for empty ones.
    """

    gain: Tensor
    weight: Tensor


@dataclass(frozen=True)
class NetworkView(ObservationView):
    """Everything: reported `sinr`, `weight`, `serving` AP of all users (E, J), gains `snr` (E, I, J), TTIs counted."""

    sinr: Tensor
    weight: Tensor
    serving: Tensor
    snr: Tensor
    ttis: int


class RRMEnv:
    """A batch of networks (Gymnasium's five-tuple, with a batch dimension in front of everything).

    After `reset` and after every step these describe the decision that comes next: `sinr`, `weights`, `averages`
    (E, J), `slots` (E, I, N), `action_mask` (E, I, N+1), `transmitting` (E, I) (the last TTI's transmitters),
    `serving` (E, J), `ttis` (counted TTIs so far), `deployment`.

    Args:
        config: the network and the rules.
        num_envs: E.
        seed: names the deployments together with `split`; `reset` takes the next E of them each time.
        split: "train", "validation" or "test".
        device: where the game is computed; draws are made on the CPU whatever it is.
        dtype: torch.float32 or torch.float64 for the state; observations and rewards follow it.

    Raises:
        ValueError: `num_envs` below 1 or another dtype.
    """

    def __init__(
        self,
        config: NetworkConfig,
        num_envs: int = 1,
        seed: int = 0,
        split: str = "train",
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs = {num_envs}: must be at least 1")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype = {dtype}: must be torch.float32 or torch.float64")
        self.config, self.num_envs, self.seed, self.split = config, num_envs, seed, split
        self.device, self.dtype = torch.device(device), dtype
        self.deployment: Deployment | None = None
        self._next_index = 0
        self._ap = torch.arange(config.num_aps, device=self.device)[:, None]
        self._total_ttis = config.warmup_ttis + config.episode_ttis
        # One TTI more than counted: the observation after the last step needs its gains.
        links = config.num_aps * config.num_users
        self._block_len = max(1, min(self._total_ttis + 1, BLOCK_TTIS, BLOCK_LINKS // links))

    def reset(self, deployment: Deployment | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Start an episode on the given deployments or on the next E of the stream.

        Returns:
            obs (E, I, 2N) and info with "action_mask".

        Raises:
            ValueError: `deployment` has another number of environments, APs or users.
        """
        config = self.config
        if deployment is None:
            deployment = Deployment.draw(config, self.num_envs, self.seed, self.split, self._next_index)
            self._next_index += self.num_envs
        wanted = (self.num_envs, config.num_aps, config.num_users, config.num_sinusoids)
        if tuple(deployment.arrival.shape) != wanted:
            raise ValueError(f"deployment of shape (E, I, J, M) = {tuple(deployment.arrival.shape)}: must be {wanted}")
        self.deployment = deployment.to(self.device)
        self.serving = association(config, self.deployment)
        self._own = self.serving.unsqueeze(1) == self._ap  # (E, I, J)
        self._block_start = -self._block_len
        self.ttis = 0
        self._warm_up()
        return self._observe()

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Serve slots: actions (E, I) int64, 0 for silence, n for the n-th top user.

        Returns:
            obs (E, I, 2N), reward (E,), terminated (E,) bool (never), truncated (E,) bool, and info with "rates" (E, J)
            in bit/s/Hz and "action_mask" (E, I, N+1) bool.

        Raises:
            ValueError: a wrong shape or dtype, an action out of range or masked.
            RuntimeError: before `reset` or after truncation.
        """
        self._check_running()
        self._check_choice("actions", actions, 0, self.config.top_n)
        allowed = self.action_mask.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        if not bool(allowed.all()):
            e, i = (~allowed).nonzero()[0].tolist()
            raise ValueError(f"actions[{e}, {i}] = {actions[e, i]}: that slot is empty; see action_mask")
        return self._advance(self.view().users(actions))

    def step_users(self, users: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Like `step`, with the served user of each AP (E, I) int64, -1 for silence; each serves its own users only."""
        self._check_running()
        self._check_choice("users", users, SILENT, self.config.num_users - 1)
        foreign = (self.serving.gather(1, users.clamp(min=0)) != self._ap[:, 0]) & (users != SILENT)
        if bool(foreign.any()):
            e, i = foreign.nonzero()[0].tolist()
            raise ValueError(
                f"users[{e}, {i}] = {users[e, i]}: AP {self.serving[e, users[e, i]]} serves that user, not AP {i}"
            )
        return self._advance(users)

    def set_state(self, averages: Tensor, transmitting: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Replace the averaged rates (E, J) and the last transmitters (E, I) bool, and observe anew."""
        self._check_running()
        self.averages, self.transmitting = averages.to(self.averages).clone(), transmitting.clone()
        return self._observe()

    def view(self, kind: type[ObservationView] = ObservationView) -> Any:
        """What a scheduler of that knowledge may look at, and nothing else."""
        base = (self.obs, self.action_mask, self.slots)
        if kind is ObservationView:
            return ObservationView(*base)
        if kind is CellView:
            return CellView(*base, self._own * self.sinr.unsqueeze(1), self._own * self.weights.unsqueeze(1))
        if kind is CrossGainView:
            e, i, n = self.slots.shape
            users, filled = self.slots.clamp(min=0).view(e, 1, i * n), (self.slots != SILENT).view(e, i * n)
            gain = self.snr.gather(2, users.expand(e, i, i * n)) * filled.unsqueeze(1)
            weight = self.weights.gather(1, users.squeeze(1)) * filled
            return CrossGainView(*base, gain.view(e, i, i, n), weight.view(e, i, n))
        if kind is NetworkView:
            return NetworkView(*base, self.sinr, self.weights, self.serving, self.snr, self.ttis)
        raise ValueError(f"kind = {kind!r}: must be ObservationView, CellView, CrossGainView or NetworkView")

    @property
    def snr(self) -> Tensor:
        """Current SNR of every link (E, I, J), linear."""
        signal, cross = self._gains()
        return torch.where(self._own, signal.unsqueeze(1), cross)

    def _check_running(self) -> None:
        if self.deployment is None:
            raise RuntimeError("the environment was not started: call reset() first")
        if self.ttis >= self.config.episode_ttis:
            raise RuntimeError(f"the episode was truncated after {self.ttis} TTIs: call reset() before another step")

    def _check_choice(self, name: str, choice: Tensor, low: int, high: int) -> None:
        shape = (self.num_envs, self.config.num_aps)
        if not isinstance(choice, Tensor) or tuple(choice.shape) != shape or choice.dtype != torch.int64:
            got = f"{choice.dtype} {tuple(choice.shape)}" if isinstance(choice, Tensor) else type(choice).__name__
            raise ValueError(f"{name}: must be an int64 tensor of shape (E, I) = {shape}, got {got}")
        smallest, largest = choice.aminmax()
        if smallest < low or largest > high:
            raise ValueError(f"{name}: must lie in {low} ... {high}, got {int(smallest)} ... {int(largest)}")

    def _gains(self) -> tuple[Tensor, Tensor]:
        """SNR from the serving AP (E, J), and from the other APs (E, I, J), 0 at the serving one."""
        k = self._time - self._block_start
        if not 0 <= k < self._block_len:
            self._compute_block(self._time)
            k = 0
        return self._signal[k], self._cross[k]

    def _compute_block(self, start: int) -> None:
        config, e = self.config, self.num_envs
        num = min(self._block_len, self._total_ttis + 1 - start)
        self._block_start = start
        links = config.num_aps * config.num_users
        if start == 0 or not hasattr(self, "_cross"):
            self._cross = torch.empty(
                self._block_len, e, config.num_aps, config.num_users, dtype=self.dtype, device=self.device
            )
            self._signal = torch.empty(self._block_len, e, config.num_users, dtype=self.dtype, device=self.device)
        chunk = max(1, CHUNK_LINKS // (links * num)) if self.device.type == "cpu" else e
        for first in range(0, e, chunk):
            part = slice(first, first + chunk)
            snr = link_snr(config, self.deployment[part], start, num, self.dtype)
            own = self._own[part]
            # Separate sums, no difference of large ones: the serving signal is up to 10^7 times the interference.
            self._signal[:num, part] = (snr * own).sum(2)
            self._cross[:num, part] = snr.masked_fill(own, 0)

    def _warm_up(self) -> None:
        """Averages after the warm-up: every AP that has a user transmits, round robin over its users."""
        config, own = self.config, self._own
        count = own.sum(2)  # (E, I)
        self.transmitting = count > 0
        everyone = self.transmitting.to(self.dtype).unsqueeze(-1)
        turn = ((own.cumsum(2) - 1) * own).sum(1)  # (E, J): the user's place in its AP's round
        length = count.gather(1, self.serving)
        for t in range(config.warmup_ttis + 1):
            self._time = t
            signal, cross = self._gains()
            rates = torch.log2(1 + signal / (1 + (cross * everyone).sum(1)))
            if t == 0:
                self.averages = rates * (config.num_aps / config.num_users)
            if t < config.warmup_ttis:
                self._average(rates * (t % length == turn))

    def _average(self, rates: Tensor) -> None:
        self.averages = torch.lerp(self.averages, rates, self.config.averaging)

    def _advance(self, users: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        config = self.config
        signal, cross = self._gains()
        self.transmitting = users != SILENT
        on = self.transmitting.to(self.dtype)
        served = users.clamp(min=0)
        interference = (cross * on.unsqueeze(-1)).sum(1).gather(1, served)
        rate = on * torch.log2(1 + signal.gather(1, served) / (1 + interference))  # (E, I)
        # w^lambda by exp and log: the CPU's pow rounds differently at the end of a tensor, so with the batch.
        reward = ((config.lam * self.weights.gather(1, served).log()).exp() * rate).sum(1)
        rates = torch.zeros_like(self.averages).scatter_add_(1, served, rate)
        self._average(rates)
        self.ttis += 1
        self._time += 1
        obs, info = self._observe()
        info["rates"] = rates
        ended = torch.full((self.num_envs,), self.ttis == config.episode_ttis, device=self.device)
        return obs, reward, torch.zeros_like(ended), ended, info

    def _observe(self) -> tuple[Tensor, dict[str, Any]]:
        """Report SINRs under the last TTI's transmitters, rank the users and fill the slots."""
        n = self.config.top_n
        signal, cross = self._gains()
        self.sinr = signal / (1 + (cross * self.transmitting.to(self.dtype).unsqueeze(-1)).sum(1))
        self.weights = 1 / self.averages.clamp(min=self.config.average_floor)
        factor = (self.weights * torch.log2(1 + self.sinr)).unsqueeze(1).masked_fill(~self._own, -1)
        best, user = [], []
        for k in range(n):  # repeated maximum: unlike topk it gives ties to the lower index
            value, index = factor.max(-1, keepdim=True)
            best.append(value)
            user.append(index)
            if k < n - 1:
                factor.scatter_(-1, index, -1)
        users, filled = torch.cat(user, -1), torch.cat(best, -1) >= 0
        flat = users.flatten(1)
        sinr_db = 10 * torch.log10(self.sinr.gather(1, flat)).view_as(users)
        log_weight = torch.log(self.weights.gather(1, flat)).view_as(users)
        self.obs = torch.stack([sinr_db, log_weight], -1).masked_fill(~filled.unsqueeze(-1), 0).flatten(2)
        self.slots = users.masked_fill(~filled, SILENT)
        self.action_mask = torch.nn.functional.pad(filled, (1, 0), value=True)
        # Copies: what a caller writes into them must not change what the next step checks.
        return self.obs.clone(), {"action_mask": self.action_mask.clone()}
