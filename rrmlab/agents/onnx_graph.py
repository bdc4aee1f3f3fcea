"""Decisions by messages as one ONNX file: the turns of `local_graph.decide`, of many networks at once.

Shapes: B batch, I APs, N slots, F numbers of a slot, M numbers of a message.
"""

from __future__ import annotations

import numpy as np

from ..game.messages import MOST_ROUNDS, OWN
from . import losses
from .graph import INR_SPREAD, LARGEST_LN_INR
from .onnx_files import serialised

GRAPH = """<ir_version: 8, opset_import: ["": 18], producer_name: "rrmlab">
graph (float[B, {aps}, {numbers}] obs) => (int64[B, {aps}] action) {{
  slots = Reshape(obs, slots_shape)
  sizes = Abs(slots)
  largest = ReduceMax<keepdims = 0>(sizes, axis3)
  is_empty = Equal(largest, zero)
  empty = Cast<to = 1>(is_empty)
  barrier = Mul(empty, minus_huge)
  centred = Sub(slots, mean)
  scaled = Div(centred, std)
  log_weights = Gather<axis = 3>(scaled, one)
  exponents = Mul(log_weights, lam)
  weights = Exp(exponents)
  weight = Reshape(weights, flat_shape)
  own = Gather<axis = 3>(scaled, known)
  of_own = MatMul(own, own_weight)
  first = Add(of_own, own_bias)
  inputs = Reshape(first, inputs_shape)
  inr = Gather<axis = 3>(scaled, others)
  inr1 = Unsqueeze(inr, axis4)
  edge0 = Mul(inr1, edge_weight)
  edge1 = Add(edge0, edge_bias)
  edge2 = Relu(edge1)
  edge3 = MatMul(edge2, message_weight)
  edge4 = Add(edge3, message_bias)
  softplus = Softplus(edge4)
  log_inr = Mul(inr1, spread)
  bounded_inr = Min(log_inr, bound)
  linear = Exp(bounded_inr)
  message1 = Mul(softplus, linear)
  message2 = Pad(message1, one_more)
  message3 = Transpose<perm = [0, 1, 3, 2, 4]>(message2)
  message4 = Reshape(message3, links_shape)
  message5 = Gather<axis = 1>(message4, from_to)
  sent = Reshape(message5, sent_shape)
  no_sum0 = Gather<axis = 1>(sent, int_zero)
  no_sum = Mul(no_sum0, zero)
  {no_sum_layers}
  alone_slots = Reshape(no_sum_values, slots_of_aps)
  alone_allowed = Add(alone_slots, barrier)
  alone_best = ReduceMax<keepdims = 0>(alone_allowed, axis2)
  sorted, order = TopK(alone_best, num_aps)
  no_float = Mul(alone_best, zero)
  no_action = Cast<to = 7>(no_float)
  first_slots = Add(no_action, starts)
  action, at, q, sums = Loop<body = turn (
    int64 t, bool go_on, int64[B, {aps}] action_in, int64[B, {aps}] at_in, float[B, {aps}] q_in,
    float[B, {slots}, {width}] sums_in
  ) => (
    bool on_and_on, int64[B, {aps}] action_out, int64[B, {aps}] at_out, float[B, {aps}] q_out,
    float[B, {slots}, {width}] sums_out
  ) {{
    on_and_on = Identity(go_on)
    place = Mod(t, num_aps_0)
    index0 = Gather<axis = 1>(order, place)
    index = Unsqueeze(index0, axis1)
    is_it = Equal(index, every_ap)
    its_action = GatherElements<axis = 1>(action_in, index)
    was = Greater(its_action, int_zero)
    transmits = Greater(action_in, int_zero)
    is_other = Not(is_it)
    other_on = And(transmits, is_other)
    on = Cast<to = 1>(other_on)
    sign = Where(was, minus, plus)
    sign3 = Unsqueeze(sign, axis2)
    mine = GatherND<batch_dims = 1>(sent, index)
    signed = Mul(sign3, mine)
    changed = Add(sums_in, signed)
    {changed_layers}
    changed_slots = Reshape(changed_values, slots_of_aps)
    own_values = GatherND<batch_dims = 1>(changed_slots, index)
    own_barrier = GatherND<batch_dims = 1>(barrier, index)
    others_values = GatherElements<axis = 1>(changed_values, at_in)
    difference = Sub(others_values, q_in)
    differences = Mul(difference, on)
    change = ReduceSum<keepdims = 1>(differences, axis1)
    harm = Mul(change, sign)
    allowed = Add(own_values, own_barrier)
    gain = Add(allowed, harm)
    best = ReduceMax<keepdims = 1>(gain, axis1)
    slot = ArgMax<axis = 1, keepdims = 1>(gain)
    go = Greater(best, zero)
    flips = Xor(go, was)
    number = Add(slot, one)
    chosen = Where(go, number, int_zero)
    action_out = Where(is_it, chosen, action_in)
    start = Mul(index, top_n)
    its_slot = Add(start, slot)
    at_out = Where(is_it, its_slot, at_in)
    its_q = GatherElements<axis = 1>(own_values, slot)
    others_q = Where(flips, others_values, q_in)
    q_out = Where(is_it, its_q, others_q)
    flips3 = Unsqueeze(flips, axis2)
    sums_out = Where(flips3, changed, sums_in)
  }}>(turns, yes, no_action, first_slots, no_float, no_sum)
}}"""


def graph_model(
    edge: list[np.ndarray],
    factor: list[np.ndarray],
    mean: np.ndarray,
    std: np.ndarray,
    lam: float | None,
    rounds: int,
    aps: int,
    top_n: int,
) -> bytes:
    """The model: "obs" (B, I, N F) float32 to "action" (B, I) int64. Arguments as in `local_graph.decide`, and I and N.

    With `rounds` = -1 it takes all turns that there are at most, after the last change for nothing.
    """
    known, which = [0, 1, 2] if lam is None else [0, 2], np.arange(OWN + aps - 1).clip(max=OWN)
    of_own, of_sum = np.split(factor[0], [len(known)])
    width, features, ap = of_sum.shape[0], len(which), np.arange(aps)
    to, source = ap, ap[:, None]
    # Of the I - 1 others of an AP and, last, the 0 that it sends to its own slots.
    from_to = to * aps + np.where(source == to, aps - 1, source - (source > to))
    constants = {
        "slots_shape": np.array([0, aps, top_n, features]),  # 0: as many as there are
        "slots_of_aps": np.array([0, aps, top_n]),
        "flat_shape": np.array([0, aps * top_n]),
        "inputs_shape": np.array([0, aps * top_n, of_sum.shape[1]]),
        "links_shape": np.array([0, aps * aps, top_n, width]),
        "sent_shape": np.array([0, aps, aps * top_n, width]),
        **{f"axis{k}": np.array([k]) for k in (1, 2, 3, 4)},
        "zero": np.float32(0),
        "minus": np.float32(-1),
        "plus": np.float32(1),
        "minus_huge": np.float32(-losses.HUGE),
        "int_zero": np.int64(0),
        "one": np.int64(1),
        "top_n": np.int64(top_n),
        "num_aps": np.array([aps]),
        "num_aps_0": np.int64(aps),
        "every_ap": ap,
        "starts": ap * top_n,
        "turns": np.int64(aps * (1 + (rounds if rounds >= 0 else MOST_ROUNDS))),
        "yes": np.bool_(True),
        "mean": mean[which],
        "std": std[which],
        "lam": np.float32(lam or 0),
        "known": np.array(known),
        "others": OWN + np.arange(aps - 1),
        "own_weight": of_own,
        "own_bias": factor[1][0],
        "edge_weight": edge[0][0],
        "edge_bias": edge[1][0],
        "message_weight": edge[2],
        "message_bias": edge[3][0],
        "spread": np.float32(INR_SPREAD),
        "bound": np.float32(LARGEST_LN_INR),
        "of_sum": of_sum / np.float32(INR_SPREAD),
        "one_more": np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
        "from_to": from_to,
    }
    constants |= {f"weight{k}": factor[k] for k in range(2, len(factor), 2)}
    constants |= {f"bias{k}": factor[k + 1][0] for k in range(2, len(factor), 2)}
    layers = {f"{name}_layers": "\n  ".join(_layers(name, len(factor))) for name in ("no_sum", "changed")}
    sizes = {"aps": aps, "numbers": top_n * features, "slots": aps * top_n, "width": width}
    return serialised(GRAPH.format(**sizes, **layers), constants)


def _layers(name: str, depth: int) -> list[str]:
    """Steps from the sums of the messages at all slots, NAME (B, I N, M), to NAME_values (B, I N)."""
    steps = [f"{name}_positive = Relu({name})", f"{name}_more = Add({name}_positive, plus)"]
    steps += [f"{name}_log = Log({name}_more)", f"{name}_of_sum = MatMul({name}_log, of_sum)"]
    steps.append(f"{name}_first = Add({name}_of_sum, inputs)")
    x = f"{name}_first"
    for k in range(2, depth, 2):
        steps += [f"{name}_r{k} = Relu({x})", f"{name}_m{k} = MatMul({name}_r{k}, weight{k})"]
        steps.append(f"{name}_x{k} = Add({name}_m{k}, bias{k})")
        x = f"{name}_x{k}"
    return [*steps, f"{name}_q = Squeeze({x}, axis2)", f"{name}_values = Mul({name}_q, weight)"]
