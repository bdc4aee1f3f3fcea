"""A policy's decisions as ONNX files, for machines without Python or PyTorch. Needs the extra `deploy`.

Shapes: B batch, I APs, N slots of an AP, F features of a slot, A actions of a head.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..storage import check_replaceable, new_folder
from . import losses

try:
    import onnx
except ImportError as error:
    raise ImportError("Policy.export_onnx needs ONNX: pip install 'rrmlab[deploy]'") from error

ABOUT = "interface.json"
# Versions of the format and of its operators that every runtime since 2023 reads.
GRAPH = """<ir_version: 8, opset_import: ["": 18], producer_name: "rrmlab">
policy (float[B{aps}, {numbers}] obs) => (int64[B{aps}] action) {{
  centred = Sub(obs, mean)
  scaled = Div(centred, std)
  x0 = Flatten(scaled)
  {layers}
  slots = Reshape(obs, slots_shape)
  sizes = Abs(slots)
  largest = ReduceMax<keepdims = 0>(sizes, features_axis)
  is_empty = Equal(largest, zero)
  empty = Cast<to = 1>(is_empty)
  values = Gemm(empty, barrier, {outputs})
  best = ArgMax<axis = 1, keepdims = 0>(values)
  action = Gather(actions, best)
}}"""


def write_onnx(
    path: str | Path,
    heads: dict[str, list[np.ndarray]],
    actions: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
    features: tuple[str, ...],
    about: dict[str, Any],
) -> None:
    """Write NAME.onnx of each head, interface.json and SHA256SUMS to the folder `path`, which is replaced as a whole.

    Args:
        heads: weights (in, out) and biases (1, out) of each head, alternating, by NAME.
        actions: what a head's actions stand for, int64: (A,) numbers of slots, (A, I) where it decides for all APs.
        mean: (N F,), subtracted from the observation.
        std: (N F,), then divides it.
        features: names and units of a slot's F numbers; a slot is empty where all are 0.
        about: what else interface.json says.

    Raises:
        FileExistsError: `path` holds something else.
    """
    models = {name: partial(_model, layers, actions, mean, std, len(features)) for name, layers in heads.items()}
    write_models(path, models, actions.shape[1:], len(mean) // len(features), features, about)


def write_models(
    path: str | Path,
    models: Mapping[str, Callable[[], bytes]],
    of_aps: Sequence[int],
    slots: int,
    features: Sequence[str],
    about: dict[str, Any],
) -> None:
    """Write NAME.onnx of each model, interface.json and SHA256SUMS to the folder `path`, which is replaced as a whole.

    Args:
        models: what makes the bytes of each file, by NAME.
        of_aps: (I,) where a file decides for all APs, () for one.
        slots: N.
        features: names and units of a slot's F numbers.
        about: what else interface.json says.

    Raises:
        FileExistsError: `path` holds something else.
    """
    check_replaceable(path, ABOUT)  # before the models are made
    interface = {
        "files": [f"{name}.onnx" for name in models],
        "obs": {
            "shape": ["B", *of_aps, slots * len(features)],
            "dtype": "float32",
            "last axis": [f"slot {slot}: {feature}" for slot in range(1, slots + 1) for feature in features],
            "empty slot": "all its numbers are 0",
        },
        "action": {"shape": ["B", *of_aps], "dtype": "int64", "values": "0: silence, n: serve the user in slot n"},
    }
    with new_folder(path, ABOUT) as beside:
        for name, model in models.items():
            (beside / f"{name}.onnx").write_bytes(model())
        (beside / ABOUT).write_text(json.dumps(about | interface, indent=1), encoding="utf-8")


def _model(layers: list[np.ndarray], actions: np.ndarray, mean: np.ndarray, std: np.ndarray, features: int) -> bytes:
    slots, depth = len(mean) // features, len(layers) // 2
    serves = actions.reshape(len(actions), -1, 1) == 1 + np.arange(slots)  # (A, I or 1, N)
    constants = {
        "mean": mean,
        "std": std,
        "slots_shape": np.array([0, serves[0].size, features]),  # 0: as many as there are
        "features_axis": np.array([2]),
        "zero": np.float32(0),
        "barrier": -losses.HUGE * serves.reshape(len(actions), -1).T.astype(np.float32),
        "actions": actions,
    }
    steps = []
    for k in range(depth):
        constants |= {f"weight{k}": layers[2 * k], f"bias{k}": layers[2 * k + 1]}
        steps.append(f"y{k} = Gemm(x{k}, weight{k}, bias{k})")
        steps += [f"x{k + 1} = Relu(y{k})"] * (k < depth - 1)
    parts = {"aps": "".join(f", {num}" for num in actions.shape[1:]), "numbers": len(mean), "outputs": f"y{depth - 1}"}
    return serialised(GRAPH.format(layers="\n  ".join(steps), **parts), constants)


def serialised(text: str, constants: Mapping[str, Any]) -> bytes:
    """A model from its text and its constants by name."""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    return model.SerializeToString(deterministic=True)
