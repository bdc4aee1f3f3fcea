"""Settings and random states of a process, to be compared. Run as a program: what `import rrmlab` changes of them."""

import logging
import os
import random
import signal
import sys
import warnings

import numpy as np
import torch


def session():
    """Settings and random states of PyTorch, NumPy and Python."""
    numpy_state = np.random.get_state()  # noqa: NPY002
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "anomalies": torch.is_anomaly_enabled(),
        "NumPy's errors": np.geterr(),
        "print": (np.get_printoptions(), str(torch._tensor_str.PRINT_OPTS)),
        "Python's numbers": random.getstate(),
        "NumPy's numbers": (numpy_state[0], numpy_state[1].tobytes(), *numpy_state[2:]),
        "PyTorch's numbers": torch.get_rng_state().numpy().tobytes(),
        "warnings": list(warnings.filters),
        "logging": (list(logging.root.handlers), logging.root.level),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "hooks": (sys.excepthook, sys.displayhook, sys.getrecursionlimit(), list(sys.path)),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
    }


def held_mib():
    """Memory of this process in MiB (Linux)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4 // 1024


if __name__ == "__main__":
    import gymnasium  # noqa: F401  the packages that rrmlab imports change what they change
    import h5py  # noqa: F401
    import joblib  # noqa: F401
    import minari  # noqa: F401
    import pandas
    import safetensors.torch  # noqa: F401
    import scipy.special  # noqa: F401
    import tqdm.auto  # noqa: F401

    def everything():
        names = ("display.width", "display.max_rows", "display.max_columns", "display.precision")
        return session() | {"tables": [pandas.get_option(name) for name in names]}

    before = everything()
    import rrmlab  # noqa: F401

    after = everything()
    changed = [name for name in before if before[name] != after[name]]
    if os.path.exists("/proc/self/statm"):
        start = held_mib()
        arrays = [np.ones(2_500_000) for _ in range(20)]  # of 19 MiB
        del arrays
        changed += ["freed memory is kept"] * (held_mib() - start > 100)
    changed += [f"imports {name}" for name in ("matplotlib.pyplot", "IPython", "pettingzoo") if name in sys.modules]
    print(changed)
