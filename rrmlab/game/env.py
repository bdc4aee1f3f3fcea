"""The game: E networks at once, one TTI per step.

Shapes: E environments, I APs, J users, N top users, F features of each in an observation, T TTIs. An action is a slot:
0 is silence, n the n-th best of the AP's users by the PF factor. Schedulers may also name users (`step_users`).
Inside, the environments are the last dimension, so that every operation runs along them; outside, the first.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..checks import check_kind, check_tensor, known_device, seed_number, whole_number
from ..config import NetworkConfig
from .deployment import Deployment, known_split
from .gains import LinkGains, neighbour_gains
from .observations import Slots, observation_of
from .population import Population
from .views import SILENT, CellView, CrossGainView, NetworkView, ObservationView, ReportView


class RRMEnv:
    """A batch of networks (Gymnasium's five-tuple, with a batch dimension in front of everything).

    After `reset` and after every step these describe the decision that comes next: `sinr`, `weights`, `averages`
    (E, J), `slots` (E, I, N), `action_mask` (E, I, N+1), `transmitting` (E, I) (the last TTI's transmitters),
    `serving` (E, J), `ttis` (counted TTIs so far), `deployment`. A user who is not there is in no slot, has the serving
    AP -1, and its other numbers mean nothing.

    Args:
        config: the network and the rules.
        num_envs: E; left out, 1, or as many as `gains` has episodes.
        seed: names the deployments together with `split`; `reset` takes the next E of them each time.
        split: "train", "validation" or "test".
        device: where the game is computed; draws are made on the CPU whatever it is.
        copies: the E environments are so many copies of E / copies deployments, one copy after the other; what does not
            depend on actions is computed once for all of them.
        dtype: torch.float32 or torch.float64 for the state; observations and rewards follow it.
        gains: linear SNRs (T, I, J), (E / copies, T, I, J) or (I, J) in place of drawn deployments and their radio, the
            same in every episode, see `Deployment.from_gains`.

    Raises:
        ValueError: no NetworkConfig, `num_envs` below 1 or no multiple of `copies`, no seed, another split or dtype, a
            device that is not there, or gains that do not fit.

    >>> env = RRMEnv(NetworkConfig(episode_ttis=2), num_envs=64)
    >>> obs, info = env.reset()
    >>> obs, reward, terminated, truncated, info = env.step(info["action_mask"][..., 1].long())  # each its first slot
    >>> tuple(obs.shape), tuple(reward.shape), tuple(info["rates"].shape), bool(truncated.any())
    ((64, 4, 6), (64,), (64, 24), False)
    """

    def __init__(
        self,
        config: NetworkConfig,
        num_envs: int | None = None,
        seed: int = 0,
        split: str = "train",
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        copies: int = 1,
        gains: Any = None,
    ) -> None:
        check_kind("config", config, NetworkConfig)
        copies = whole_number("copies", copies)
        self._given = None if gains is None else Deployment.from_gains(config, gains)
        known = 1 if self._given is None else len(self._given) * copies
        num_envs = known if num_envs is None else whole_number("num_envs", num_envs)
        if num_envs < 1:
            raise ValueError(f"num_envs = {num_envs}: must be at least 1")
        if copies < 1 or num_envs % copies:
            raise ValueError(f"copies = {copies}: must be at least 1 and divide num_envs = {num_envs}")
        if self._given is not None and num_envs != known:
            raise ValueError(f"num_envs = {num_envs}: must be {known} for gains of {len(self._given)} episodes")
        if not isinstance(dtype, torch.dtype) or dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype = {dtype!r}: must be torch.float32 or torch.float64")
        self.config, self.num_envs, self.seed, self.split = config, num_envs, seed_number(seed), known_split(split)
        self.observation = observation_of(config)
        self.device, self.dtype, self.copies = known_device(device), dtype, copies
        self.deployment: Deployment  # from the first `reset` on
        self._averages: Tensor  # (J, E) as all that follows, from the first `reset` on
        self._on: Tensor
        self._next_index = 0
        self._ap = torch.arange(config.num_aps, device=self.device)

    def reset(self, deployment: Deployment | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Start an episode on the given deployments or on the next ones of the stream, E / copies in number.

        Returns:
            obs (E, I, N F) and info with "action_mask"; ValueError for what `Deployment.check` refuses.
        """
        config, num = self.config, self.num_envs // self.copies
        deployment = self._given if deployment is None else deployment
        if deployment is not None:
            check_kind("deployment", deployment, Deployment)
        else:
            deployment = Deployment.draw(config, num, self.seed, self.split, self._next_index)
            self._next_index += num
        deployment.check(config, num)
        self.deployment = deployment.to(self.device).repeat(self.copies)
        self._users = Population(config, self.deployment, self.copies)
        self._gains = LinkGains(config, self.deployment, self._users.path, self.copies, self.dtype)
        self.ttis = 0
        self._warm_up()
        return self._observe()

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Serve slots: actions (E, I) int64, 0 for silence, n for the n-th top user.

        Returns:
            obs (E, I, N F), reward (E,), terminated (E,) bool (never), truncated (E,) bool, and info with "rates"
            (E, J) in bit/s/Hz, "own_rewards" (E, I), each AP's part of the reward, that of the user whom it serves, and
            "action_mask" (E, I, N+1) bool.

        Raises:
            ValueError: a wrong shape or dtype, an action out of range or masked.
            RuntimeError: before `reset` or after truncation.
        """
        self._check_running()
        self._check_choice("actions", actions, 0, self.config.top_n)
        users = self.view().users(actions)
        empty = (users == SILENT) & (actions > 0)
        if bool(empty.any()):
            e, i = empty.nonzero()[0].tolist()
            raise ValueError(f"actions[{e}, {i}] = {actions[e, i]}: that slot is empty; see action_mask")
        return self._advance(users)

    def step_users(self, users: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Like `step`, with the served user of each AP (E, I) int64, -1 for silence; each serves its own users only."""
        self._check_running()
        self._check_choice("users", users, SILENT, self.config.num_users - 1)
        foreign = (self.serving.gather(1, users.clamp(min=0)) != self._ap) & (users != SILENT)
        if bool(foreign.any()):
            e, i = foreign.nonzero()[0].tolist()
            ap = int(self.serving[e, users[e, i]])
            reason = f"AP {ap} serves that user, not AP {i}" if ap >= 0 else "that user is not there"
            raise ValueError(f"users[{e}, {i}] = {users[e, i]}: {reason}")
        return self._advance(users)

    def set_state(self, averages: Tensor, transmitting: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Replace the averaged rates (E, J) and the last transmitters (E, I) bool, and observe anew.

        Raises:
            ValueError: a wrong shape or dtype, or rates that are negative or not finite.
            RuntimeError: before `reset` or after truncation.
        """
        self._check_running()
        check_tensor("averages", averages, "float", "(E, J)", self.averages)
        check_tensor("transmitting", transmitting, "bool", "(E, I)", self.transmitting)
        # NaN fails too.
        if not bool(((averages >= 0) & (averages <= torch.finfo(self.dtype).max)).all()):
            raise ValueError("averages: must be finite and not negative")
        self._averages = averages.detach().to(self._averages).T.clone(memory_format=torch.contiguous_format)
        self._on = transmitting.to(self._on).T.clone(memory_format=torch.contiguous_format)
        return self._observe(arrived=True)

    def view(self, kind: type[ObservationView] = ObservationView) -> Any:
        """What a scheduler of that knowledge may look at, and nothing else; RuntimeError before `reset`."""
        self._check_started()
        base = (self.obs, self.action_mask, self.slots)
        if kind is ObservationView:
            return ObservationView(*base)
        if kind in (CellView, ReportView):
            sinr, weight = ((self._users.own * values).permute(2, 0, 1) for values in (self._sinr, self._weights))
            if kind is ReportView:
                return ReportView(*base, sinr, weight, self.snr, self.observation)
            return CellView(*base, sinr, weight)
        if kind is CrossGainView:
            i, n = self.config.num_aps, self.config.top_n
            gain = self._link_snr().gather(1, self._top.expand(i, -1, -1)) * self._filled
            sinr, weight = (
                (self._of_top(values) * self._filled).T.unflatten(1, (i, n)) for values in (self._sinr, self._weights)
            )
            return CrossGainView(*base, gain.permute(2, 0, 1).unflatten(2, (i, n)), sinr, weight)
        if kind is NetworkView:
            return NetworkView(*base, self.sinr, self.weights, self.serving, self.snr, self.ttis)
        raise ValueError(f"kind = {kind!r}: must be ObservationView, CellView, CrossGainView or NetworkView")

    @property
    def snr(self) -> Tensor:
        """Current SNR of every link (E, I, J), linear, between cells with the factor `cross_gain`."""
        self._check_started()
        return self._link_snr().permute(2, 0, 1)

    @property
    def sinr(self) -> Tensor:
        """Reported SINR of every user (E, J), linear."""
        return self._sinr.T

    @property
    def averages(self) -> Tensor:
        """Averaged rate of every user (E, J), bit/s/Hz."""
        return self._averages.T

    @property
    def weights(self) -> Tensor:
        """PF weight of every user (E, J)."""
        return self._weights.T

    @property
    def transmitting(self) -> Tensor:
        """Which APs transmitted in the last TTI (E, I), bool."""
        return self._on.T > 0

    def _check_started(self) -> None:
        if not hasattr(self, "deployment"):
            raise RuntimeError("the environment was not started: call reset() first")

    def _check_running(self) -> None:
        self._check_started()
        if self.ttis >= self.config.episode_ttis:
            raise RuntimeError(f"the episode was truncated after {self.ttis} TTIs: call reset() before another step")

    def _check_choice(self, name: str, choice: Tensor, low: int, high: int) -> None:
        fits = isinstance(choice, Tensor) and choice.dtype == torch.int64 and choice.device == self.device
        if not fits or choice.shape != (self.num_envs, self.config.num_aps):
            check_tensor(name, choice, "int64", "(E, I)", self.slots[..., 0])
        smallest, largest = choice.aminmax()
        if smallest < low or largest > high:
            raise ValueError(f"{name}: must lie in {low} ... {high}, got {int(smallest)} ... {int(largest)}")

    def _link_snr(self) -> Tensor:
        return torch.where(self._users.own, *self._gains.at(self._time))

    def _warm_up(self) -> None:
        """Averages after the warm-up: every AP that has a user transmits, round robin over its users."""
        config, users = self.config, self._users
        for t in range(max(1, config.warmup_ttis)):
            signal, cross = self._gains.at(t)
            if users.go_to(t):
                if t:
                    sinr = signal / (1 + self._gains.interference(cross, self._on))
                    self._averages = users.with_newcomers(t, self._averages, sinr)
                count = users.own.sum(1)  # (I, E)
                # (J, E): the user's place in its AP's round, and the round's length
                turn, length = ((users.own.cumsum(1) - 1) * users.own).sum(0), count.gather(0, users.serving)
                length = length.clamp_(min=1)
                self._on = (count > 0).to(self.dtype)
            rates = torch.log2(1 + signal / (1 + self._gains.interference(cross, self._on)))
            if t == 0:
                self._averages = users.first_averages(rates)
            if t < config.warmup_ttis:
                served = (t % length == turn) & users.present
                self._averages = torch.lerp(self._averages, rates * served, config.averaging)
        self._time, self.serving = config.warmup_ttis, users.shown()

    def _advance(self, users: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        signal, cross = self._gains.at(self._time)
        users = users.T.contiguous()
        self._on = (users != SILENT).to(self.dtype)
        user = users.clamp(min=0)
        served = torch.zeros_like(self._averages).scatter_add_(0, user, self._on)
        rates = served * torch.log2(1 + signal / (1 + self._gains.interference(cross, self._on)))  # (J, E)
        # w^lambda by exp and log: the CPU's pow rounds differently at the end of a tensor, so with the batch.
        earned = (self.config.lam * self._log_weights).exp_().mul_(rates)
        self._averages = torch.lerp(self._averages, rates, self.config.averaging)
        self.ttis += 1
        self._time += 1
        obs, info = self._observe()
        info |= {"rates": rates.T, "own_rewards": (earned.gather(0, user) * self._on).T}
        ended = torch.full((self.num_envs,), self.ttis == self.config.episode_ttis, device=self.device)
        # Summed along contiguous users: the order of a sum across rows would depend on E.
        return obs, earned.T.contiguous().sum(1), torch.zeros_like(ended), ended, info

    def _observe(self, arrived: bool = False) -> tuple[Tensor, dict[str, Any]]:
        """Report SINRs under the last TTI's transmitters, rank the users and fill the slots; `arrived` if the users of
        this TTI have come before."""
        i, n = self.config.num_aps, self.config.top_n
        signal, cross = self._gains.at(self._time)
        self._sinr = signal / (1 + self._gains.interference(cross, self._on))
        if self._time and not arrived and self._users.go_to(self._time):
            self._averages = self._users.with_newcomers(self._time, self._averages, self._sinr)
            self.serving = self._users.shown()
        self._weights = 1 / self._averages.clamp(min=self.config.average_floor)
        self._log_weights = self._weights.log()
        best = self._users.best(self._weights * torch.log2(1 + self._sinr))  # (I, N, E)
        self._top, self._filled = (x.flatten(0, 1) for x in best)  # (I N, E)
        inr = partial(neighbour_gains, cross, self._top, n)
        slots = Slots(self._of_top, inr, sinr=self._sinr, log_weight=self._log_weights, snr=signal)
        values = torch.stack(list(self.observation.measure(slots)), 1)  # (I N, F, E)
        values.masked_fill_(~self._filled.unsqueeze(1), 0)
        self.obs = values.flatten(0, 1).T.contiguous().view(-1, i, self.observation.size(self.config))
        self.slots = self._top.masked_fill(~self._filled, SILENT).T.contiguous().view(-1, i, n)
        self.action_mask = torch.nn.functional.pad(self._filled.T.reshape(-1, i, n), (1, 0), value=True)
        # Copies: what a caller writes into them must not change what the next step checks.
        return self.obs.clone(), {"action_mask": self.action_mask.clone()}

    def _of_top(self, values: Tensor) -> Tensor:
        """Values of the users in the slots: (J, E) -> (I N, E), any where a slot is empty."""
        return values.gather(0, self._top)
