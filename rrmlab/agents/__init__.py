"""Learners and policies: paradigm x mixer x backbone x penalty."""
