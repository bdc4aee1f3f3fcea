import os


def cases(short: int, full: int) -> int:
    """How many cases a test runs: `full` in a soak (environment variable RRMLAB_SOAK=1), otherwise `short`."""
    return full if os.environ.get("RRMLAB_SOAK") == "1" else short
