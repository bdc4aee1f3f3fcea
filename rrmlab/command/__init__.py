"""The `rrmlab` command beneath `rrmlab.reproduce`: notebooks as sources, runs of them, their pairs, kernels."""
