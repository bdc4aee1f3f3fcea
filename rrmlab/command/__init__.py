"""The `rrmlab` command: notebooks as sources, runs of them, their pairs, kernels, the README's numbers."""
