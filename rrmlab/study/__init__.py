"""What the notebooks share: stored runs, tuning, tables, statistics, figures."""
