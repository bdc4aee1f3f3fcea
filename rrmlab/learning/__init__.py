"""Logs in, policies out: collecting, offline and online training."""
