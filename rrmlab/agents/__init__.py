"""Learners: paradigm x backbone x penalty, three independent axes. Agents know only tensors."""
