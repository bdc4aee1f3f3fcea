"""The pictures of the notebooks: `figures/<slug>.py` draws those of NN_<slug>; those of 00 are in `study/explore.py`.

One function draws one picture from its table and returns the figure. None of them computes a result.
"""
