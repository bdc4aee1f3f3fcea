"""A factor on the gains between cells: own links and association stay, what others see of them does too.

Shapes: E environments, I APs, J users, N top users.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rrmlab import Deployment, NetworkConfig, RRMEnv
from rrmlab.game.radio import association, link_snr
from rrmlab.game.views import CrossGainView, ReportView

NETWORK = NetworkConfig(num_aps=3, num_users=9, episode_ttis=4, warmup_ttis=5, observation="neighbours")
DRAWN = Deployment.draw(NETWORK, 4, seed=3)


def started(network, deployment=DRAWN, dtype=torch.float32):
    env = RRMEnv(network, len(deployment), dtype=dtype)
    env.reset(deployment)
    return env


def recorded():
    """The gains of the drawn radio, to be given (E, T, I, J)."""
    return link_snr(NETWORK, DRAWN, 0, 10, torch.float64).transpose(0, 1).contiguous().numpy()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_0_db_is_the_radio_bit_for_bit(dtype):
    env = started(NETWORK, dtype=dtype)
    # In one block, as the game computes it: a block's length shows in the last bit.
    snr = link_snr(NETWORK, DRAWN, 0, 10, dtype)
    assert torch.equal(env.snr, snr[NETWORK.warmup_ttis])
    assert NETWORK.cross_gain_db == 0 and NETWORK.cross_gain == 1


@pytest.mark.parametrize("db", [-20.0, 20.0, 37.0])
@pytest.mark.parametrize("given", [False, True], ids=["drawn", "given gains"])
def test_links_between_cells_have_the_factor_and_own_links_and_association_have_not(db, given):
    deployment = Deployment.from_gains(NETWORK, recorded()) if given else DRAWN
    network = replace(NETWORK, cross_gain_db=db)
    plain, env = (started(config, deployment, torch.float64) for config in (NETWORK, network))
    assert torch.equal(env.serving, plain.serving)
    assert torch.equal(association(network, deployment), association(NETWORK, deployment))
    own = torch.arange(3)[:, None] == env.serving.unsqueeze(1)  # (E, I, J)
    factor = torch.where(own, torch.ones((), dtype=torch.float64), 10 ** (db / 10))
    torch.testing.assert_close(env.snr, plain.snr * factor, rtol=1e-12, atol=0)
    assert torch.equal(env.snr[own], plain.snr[own])
    # The same averages and transmitters: what is reported differs by the interference alone.
    env.set_state(plain.averages, plain.transmitting)
    interference = (plain.snr * factor * ~own * plain.transmitting.unsqueeze(-1)).sum(1)
    signal = (plain.snr * own).sum(1)
    torch.testing.assert_close(env.sinr, signal / (1 + interference), rtol=1e-9, atol=0)


def test_views_and_the_observed_neighbours_have_the_factor():
    env = started(replace(NETWORK, cross_gain_db=10.0), dtype=torch.float64)
    plain = started(NETWORK, dtype=torch.float64)
    view, snr = env.view(CrossGainView), env.snr.numpy()
    inr_db = env.obs.unflatten(-1, (3, -1))[..., 3:].numpy()  # (E, I, N, I-1), after SINR, ln w and SNR
    for e, i, n in np.ndindex(*env.slots.shape):
        if (user := int(env.slots[e, i, n])) >= 0:
            np.testing.assert_array_equal(view.gain[e, :, i, n].numpy(), snr[e, :, user])
            others = np.delete(snr[e, :, user], i)
            np.testing.assert_allclose(inr_db[e, i, n], np.maximum(10 * np.log10(others), -30))
            np.testing.assert_allclose(others, 10 * np.delete(plain.snr[e, :, user].numpy(), i))
    assert torch.equal(env.view(ReportView).gain, env.snr)


def test_alone_on_the_air_the_factor_is_of_no_account():
    rates = []
    for db in (-20.0, 0.0, 20.0):
        env = started(replace(NETWORK, cross_gain_db=db), dtype=torch.float64)
        users = torch.full((4, 3), -1)
        users[:, 0] = torch.stack([torch.nonzero(row == 0)[0, 0] for row in env.serving])
        rates.append(env.step_users(users)[-1]["rates"])
    assert torch.equal(rates[0], rates[1]) and torch.equal(rates[1], rates[2])
