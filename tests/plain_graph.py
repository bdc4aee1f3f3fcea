"""The paradigm `graph` once more, in plain NumPy and Python, for one network: its values by their definition, and APs
that hold only their own observation and what they received.

Shapes: I APs, N slots, F = 3 + I - 1 numbers of a slot (SINR, ln w, SNR, the other APs' INRs), M numbers of a message.
"""

import numpy as np
import torch

from rrmlab.agents.graph import Factors
from rrmlab.agents.networks import StackedMLP

OWN = 3


class PlainFactors:
    """q of one seed on standardised numbers, and the offset c.

    Args:
        edge, factor: weights (in, out) and biases (1, out), alternating.
        lam: lambda of the form "rate"; None for the form "free".
        mean, std: (4,) of SINR, ln w, SNR and INR, where raw numbers are given.
    """

    def __init__(self, edge, factor, lam, offset=0.0, mean=0.0, std=1.0):
        self.edge, self.factor, self.lam, self.offset = edge, factor, lam, offset
        self.mean, self.std = np.broadcast_to(mean, 4), np.broadcast_to(std, 4)

    @classmethod
    def of(cls, factors, seed=0, **scale):
        edge, factor = (
            [p[seed].detach().double().numpy() for p in net.layers] for net in (factors.edge, factors.factor)
        )
        lam = factors.lam if factors.form == "rate" else None
        return cls(edge, factor, lam, factors.offset[seed, 0].item(), **scale)

    def __call__(self, own, inrs):
        """q of a user that reports `own` (3,), under the other APs' INRs that are given, a list."""
        own = (np.asarray(own) - self.mean[:OWN]) / self.std[:OWN]
        ln_inrs = [4 * (inr - self.mean[OWN]) / self.std[OWN] for inr in inrs]
        messages = [np.exp(x) * np.log(1 + np.exp(network(self.edge, [x / 4]))) for x in ln_inrs]
        total = sum(messages, np.zeros(self.edge[-1].shape[-1]))
        known = own if self.lam is None else own[[0, 2]]
        q = network(self.factor, [*known, *(np.log(1 + total) / 4)])[0]
        return q if self.lam is None else q * np.exp(self.lam * own[1])


def network(layers, x):
    """A ReLU network of one input vector."""
    x = np.asarray(x)
    for k in range(0, len(layers), 2):
        x = x @ layers[k] + layers[k + 1][0]
        x = np.maximum(x, 0) if k + 2 < len(layers) else x
    return x


def shannon(lam):
    """q of the formula, from reports in dB."""
    return lambda own, inrs: (
        np.exp(lam * own[1]) * np.log2(1 + 10 ** (own[2] / 10) / (1 + sum(10 ** (inr / 10) for inr in inrs)))
    )


def slots_of(obs, num_aps):
    """(I, N F) -> (I, N, F) float64."""
    return np.asarray(obs, dtype=float).reshape(num_aps, -1, OWN + num_aps - 1)


def each_value(q, obs, actions):
    """q of each AP (I,) under a joint action, 0 of silent ones; obs (I, N, F)."""
    values = np.zeros(len(obs))
    for i, action in enumerate(actions):
        if action:
            slot = obs[i, action - 1]
            others = [j for j in range(len(obs)) if j != i]
            values[i] = q(slot[:OWN], [slot[OWN + k] for k, j in enumerate(others) if actions[j]])
    return values


def total(q, obs, actions):
    """Q_tot - c of a joint action."""
    return each_value(q, obs, actions).sum()


def penalty(q, obs, mask, actions):
    """sum_i [logsumexp_a Q_tot(s, (a, a_-i)) - Q_tot(s, a_data)] from Q_tot of every alternative."""
    found = 0.0
    for i in range(len(obs)):
        values = [total(q, obs, [*actions[:i], a, *actions[i + 1 :]]) for a in np.flatnonzero(mask[i])]
        found += np.logaddexp.reduce(values) - total(q, obs, actions)
    return found


# ---- APs that know their own observation and what they received ----


class Channel:
    """Hands a message to all other APs, and counts its numbers."""

    def __init__(self):
        self.aps, self.sent = [], 0

    def broadcast(self, sender, kind, numbers):
        numbers = tuple(map(float, numbers))
        self.sent += len(numbers)
        for ap in self.aps:
            if ap is not sender:
                ap.received[kind, sender.index] = numbers


class AP:
    """One AP: `slots` (N, F) are its own users' reports, None where a slot is empty."""

    def __init__(self, index, num_aps, slots, q, channel):
        self.index, self.num_aps, self.slots, self.q, self.channel = index, num_aps, slots, q, channel
        self.received, self.action = {}, 0
        channel.aps.append(self)

    def announce(self):
        self.alone = max((self.q(s[:OWN], []) for s in self.slots if s is not None), default=-np.inf)
        self.channel.broadcast(self, "alone", [self.alone])

    def order(self):
        """All APs, the one of the best value alone first; of equals the lower index."""
        alone = {j: self.received["alone", j][0] for j in range(self.num_aps) if j != self.index}
        alone[self.index] = self.alone
        return sorted(alone, key=lambda j: (-alone[j], j))

    def turn(self):
        users = {j: numbers for (kind, j), numbers in self.received.items() if kind == "user" and any(numbers)}

        def others(with_me):
            on = {*users, self.index} if with_me else {*users}
            return sum(
                self.q(user[:OWN], [user[OWN + k - (k > j)] for k in sorted(on) if k != j]) for j, user in users.items()
            )

        values = [others(with_me=False)]
        for slot in self.slots:
            if slot is None:
                values.append(-np.inf)
                continue
            inrs = [slot[OWN + k - (k > self.index)] for k in sorted(users)]
            values.append(self.q(slot[:OWN], inrs) + others(with_me=True))
        self.action = int(np.argmax(values))
        user = self.slots[self.action - 1] if self.action else [0.0] * (OWN + self.num_aps - 1)
        self.channel.broadcast(self, "user", user)


def decide_by_objects(q, obs, mask, rounds):
    """Joint action of a network and the numbers that were sent; obs (I, N, F) raw, mask (I, N+1)."""
    channel = Channel()
    rows = [[slot if on else None for slot, on in zip(o, m[1:], strict=True)] for o, m in zip(obs, mask, strict=True)]
    aps = [AP(i, len(obs), row, q, channel) for i, row in enumerate(rows)]
    for ap in aps:
        ap.announce()
    for _ in range(1 + rounds):
        for i in aps[0].order():
            aps[i].turn()
    assert all(ap.order() == aps[0].order() for ap in aps)
    return [ap.action for ap in aps], channel.sent


# ---- made at random ----


def random_factors(form, seeds=(0,), hidden=(16, 16), lam=0.7, spread=1.5):
    """Factors in float64 whose decisions differ from state to state. Layers of few units give ties: where none of the
    last ones is active, q is the same for all users."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    nets = {
        "edge": StackedMLP(generators, (), (1, 16, 16)),
        "factor": StackedMLP(generators, (), ((2 if form == "rate" else 3) + 16, *hidden, 1)),
    }
    factors = Factors(nets, form, lam).double()
    with torch.no_grad():
        for p in factors.parameters():
            p.mul_(spread)
        factors.offset.copy_(torch.arange(1.0, len(seeds) + 1).unsqueeze(1))
    return factors


def random_network(seed, num_aps, top_n, batch, empty=0.3):
    """Standardised obs (batch, I, N F) float64 with empty slots, masks, and allowed actions with silent APs."""
    g = torch.Generator().manual_seed(seed)
    filled = torch.rand(batch, num_aps, top_n, generator=g) > empty
    obs = torch.randn(batch, num_aps, top_n, OWN + num_aps - 1, generator=g, dtype=torch.float64)
    mask = torch.nn.functional.pad(filled, (1, 0), value=True)
    actions = torch.multinomial(mask.flatten(0, 1).double(), 1, generator=g).view(batch, num_aps)
    return (obs * filled.unsqueeze(-1)).flatten(-2), mask, actions
