"""The baselines at full physics against the independent simulation of the system that the paper notes record.

That table comes from 64 deployments; its sum rates are good to about 4% and its tail rates to about 12%.
"""

import pytest

from rrmlab.config import NetworkConfig
from rrmlab.rollout import evaluate
from rrmlab.schedulers import TDM, Exhaustive, FullReuse, ITLinQ, RandomWalk

NETWORK = NetworkConfig(episode_ttis=1000)
NUM_DEPLOYMENTS = 400
TABLE = [  # scheduler, sum rate, tail rate, both bit/s/Hz
    (RandomWalk(), 13.3, 0.171),
    (TDM(), 10.3, 0.229),
    (FullReuse(), 15.3, 0.161),
    (ITLinQ(25.0, 0.7), 15.4, 0.163),
    (Exhaustive(), 18.9, 0.309),
]


@pytest.mark.parametrize(("scheduler", "sum_rate", "tail_rate"), TABLE, ids=[row[0].name for row in TABLE])
def test_baseline_scores(scheduler, sum_rate, tail_rate):
    scores = evaluate(scheduler, NETWORK, NUM_DEPLOYMENTS)
    assert scores.sum_rate == pytest.approx(sum_rate, rel=0.04)
    assert scores.tail_rate == pytest.approx(tail_rate, rel=0.12)
