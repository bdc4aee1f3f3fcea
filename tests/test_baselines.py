"""The baselines at full physics against the independent simulation of the system that the paper notes record.

That table comes from 64 deployments; its sum rates are good to about 4% and its tail rates to about 12%.
"""

import pytest

from rrmlab.config import NetworkConfig
from rrmlab.game import gains
from rrmlab.game.evaluation import evaluate
from rrmlab.game.schedulers import TDM, Exhaustive, FullReuse, ITLinQ, RandomWalk

NETWORK = NetworkConfig(episode_ttis=1000)
NUM_DEPLOYMENTS = 400
TABLE = {  # scheduler -> sum rate and tail rate, bit/s/Hz
    RandomWalk(): (13.3, 0.171),
    TDM(): (10.3, 0.229),
    FullReuse(): (15.3, 0.161),
    ITLinQ(25.0, 0.7): (15.4, 0.163),
    Exhaustive(): (18.9, 0.309),
}


@pytest.fixture(scope="module", autouse=True)
def _channels_once():
    """The channels do not depend on who is scheduled, and cost most of the time: keep them (200 MB)."""
    known, compute = {}, gains.link_snr

    def link_snr(config, deployment, t0, num, dtype):
        which = (deployment.key.numpy().tobytes(), t0, num)
        if which not in known:
            known[which] = compute(config, deployment, t0, num, dtype)
        return known[which]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gains, "link_snr", link_snr)
        yield


@pytest.mark.parametrize("scheduler", TABLE, ids=lambda scheduler: scheduler.name)
def test_baseline_scores(scheduler):
    scores = evaluate(scheduler, NETWORK, NUM_DEPLOYMENTS)
    sum_rate, tail_rate = TABLE[scheduler]
    assert scores.sum_rate == pytest.approx(sum_rate, rel=0.04)
    assert scores.tail_rate == pytest.approx(tail_rate, rel=0.12)
