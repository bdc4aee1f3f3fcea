"""Speed and memory against peers: how it is measured, and what is timed."""
