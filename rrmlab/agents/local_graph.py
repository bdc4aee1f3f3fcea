"""The decision of a whole network by messages, as fast as a TTI asks for."""

from __future__ import annotations

import numpy as np

from ..game.messages import MOST_ROUNDS, OWN
from ..game.observations import other_aps
from .graph import INR_SPREAD, LARGEST_LN_INR
from .local import real_numbers


def decide(
    edge: list[np.ndarray],
    factor: list[np.ndarray],
    mean: np.ndarray,
    std: np.ndarray,
    lam: float | None,
    rounds: int,
    obs: np.ndarray,
) -> np.ndarray:
    """What `game.messages.decide` decides for one network of I APs, any number, with N slots: (I,) int64.

    In NumPy, as `local.decide`. What the first layer of the factor gives for a slot's own numbers is computed once.

    Args:
        edge: weights (in, out) and biases (1, out) of the two layers of phi, alternating.
        factor: those of q.
        mean: (4,) of SINR, ln w, SNR and INR, subtracted from the observation, see `graph.shared_scale`.
        std: (4,), then divides it.
        lam: lambda of the form "rate"; None for the form "free".
        rounds: of best response, as in `game.messages.decide`.
        obs: (I, N F) raw observation; a slot is empty where all its numbers are 0.

    Raises:
        ValueError: an observation of another shape, or with numbers that are not real or not finite.
    """
    obs = real_numbers(obs, "(I, N (I+2))")
    aps = obs.shape[0] if obs.ndim == 2 else 0
    if not aps or not obs.size or obs.shape[1] % (OWN + aps - 1) or not np.isfinite(obs).all():
        raise ValueError(f"obs: must be finite and of shape (I, N (I+2)), got {obs.shape}: {obs}")
    slots = obs.reshape(aps, -1, OWN + aps - 1)
    top_n, depth, ap = slots.shape[1], len(factor), np.arange(aps)
    barrier = np.where((slots != 0).any(-1), 0, -np.inf).astype(np.float32)  # (I, N)
    own = (slots[..., :OWN] - mean[:OWN]) / std[:OWN]
    weight = np.ones(aps * top_n, np.float32) if lam is None else np.exp(np.float32(lam) * own[..., 1]).ravel()
    own = own if lam is None else own[..., ::2]
    of_own, of_sum = factor[0][: own.shape[-1]], factor[0][own.shape[-1] :]
    inr = (slots[..., OWN:, None] - mean[OWN]) / std[OWN]
    phi = np.maximum(inr * edge[0][0] + edge[1][0], 0) @ edge[2] + edge[3][0]
    messages = np.logaddexp(0, phi) * np.exp(np.minimum(INR_SPREAD * inr, LARGEST_LN_INR))  # (I, N, I-1, M)
    from_each = np.zeros((aps, aps, top_n, of_sum.shape[0]), np.float32)  # from, to; 0 at its own slots
    from_each[other_aps(aps).numpy(), ap[:, None]] = messages.swapaxes(1, 2)
    sent = from_each.reshape(aps, aps * top_n, -1)
    sums = np.zeros_like(sent[0])
    inputs, of_sum = (own @ of_own + factor[1][0]).reshape(aps * top_n, -1), of_sum / INR_SPREAD

    def values(sums: np.ndarray, of: np.ndarray | slice) -> np.ndarray:
        """q (R,) of slots under sums of messages (R, M)."""
        x = inputs[of] + np.log1p(np.maximum(sums, 0)) @ of_sum
        for k in range(2, depth, 2):
            x = np.maximum(x, 0) @ factor[k] + factor[k + 1][0]
        return x[:, 0] * weight[of]

    best_alone = values(sums, slice(None)).reshape(aps, top_n) + barrier
    order = np.argsort(-best_alone.max(-1), kind="stable").tolist()
    slots_of = np.arange(aps * top_n).reshape(aps, top_n)
    actions, q, chosen_row = np.zeros(aps, np.int64), np.zeros(aps, np.float32), slots_of[:, 0].copy()
    for _ in range(1 + (rounds if rounds >= 0 else MOST_ROUNDS)):
        before = actions.copy()
        for i in order:
            was_on, actions[i] = actions[i] > 0, 0
            on = np.flatnonzero(actions)
            rows = np.concatenate([slots_of[i], chosen_row[on]])
            # q holds the others' values if it stays as it is. In one pass: its own, and theirs if it turns on or off.
            after = sums[rows] - sent[i, rows] if was_on else sums[rows] + sent[i, rows]
            found = values(after, rows)
            own_q, others_q = found[:top_n], found[top_n:]  # np.split would take a tenth of the decision
            to_others = q[on] - others_q if was_on else others_q - q[on]
            gain = own_q + to_others.sum() + barrier[i]
            slot = int(gain.argmax())
            if is_on := bool(gain[slot] > 0):
                actions[i], chosen_row[i], q[i] = slot + 1, slots_of[i, slot], own_q[slot]
            if is_on != was_on:
                sums = sums + sent[i] if is_on else sums - sent[i]
                q[on] = others_q
        if (actions == before).all():
            break
    return actions
