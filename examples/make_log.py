"""Write a made-up measurement log of a site: what a log of one's own must look like.

    python examples/make_log.py examples/campus.csv log.csv --episodes 40 --ttis 2000 --seed 0

It stands for a network in operation: it knows nothing of `rrmlab`, has a radio of its own, and a rule of its own that
decides. A line of the log is what one AP saw and did in one TTI. Episodes are days, each with other shadowing.
Arrays are (E, I, J): episodes, APs, users.
"""

import argparse
import csv

import numpy as np

TOP_N = 3  # users that an AP chooses from: those of largest PF factor
LAM, AVERAGING, FLOOR = 0.8, 0.01, 0.01  # exponent of the weight in the reward; of the PF averages, and their floor
SNR_AT_1M_DB = 10 - (-174 + 70) - 35  # 10 dBm, noise of 10 MHz, 35 dB lost in the first metre
EXPONENT, SHADOWING_DB = 2.6, 6.0
FADING_MEMORY = 0.98  # of the complex gain, from one TTI of 1 ms to the next
BACK_OFF_DB, EXPLORE = 5.0, 0.15  # of the rule, see `decide`
SETTLING_TTIS = 300  # not logged: the averages settle
COLUMNS = [f"{name}_{slot}" for slot in range(1, TOP_N + 1) for name in ("sinr_db", "ln_w")]


def read_site(path):
    """Positions in m of the APs (I, 2) and of the users (J, 2)."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [np.array([(float(r["x_m"]), float(r["y_m"])) for r in rows if r["kind"] == k]) for k in ("AP", "user")]


def large_scale_snr(ap_xy, user_xy, episodes, rng):
    """Mean SNR (E, I, J) of every link at full power, linear, by distance and shadowing."""
    distance = np.maximum(np.linalg.norm(ap_xy[:, None] - user_xy, axis=-1), 1.0)
    shadowing = SHADOWING_DB * rng.standard_normal((episodes, *distance.shape))
    return 10 ** ((SNR_AT_1M_DB - 10 * EXPONENT * np.log10(distance) - shadowing) / 10)


def complex_normal(shape, rng):
    """Complex numbers of mean power 1."""
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)


def sinr_of(power, serving, on):
    """SINR (E, J) of every user from its own AP when the APs `on` (E, I) transmit, from received powers (E, I, J)."""
    own = np.take_along_axis(power, serving[:, None], 1)[:, 0]
    others = (power * on[..., None]).sum(1) - own * np.take_along_axis(on, serving, 1)
    return own / (1 + np.maximum(others, 0))


def decide(sinr_db, filled, rng):
    """Actions (E, I), 0 for silence: the best user, but where it has less than BACK_OFF_DB, silence every other time;
    with probability EXPLORE silence or any user, each as likely."""
    backs_off = (sinr_db[..., 0] < BACK_OFF_DB) & (rng.random(filled.shape[:2]) < 0.5)
    rule = np.where(backs_off | ~filled[..., 0], 0, 1)
    drawn = rng.integers(0, 1 + filled.sum(-1))
    return np.where(rng.random(rule.shape) < EXPLORE, drawn, rule)


def simulate(ap_xy, user_xy, episodes, ttis, seed):
    """The log, a TTI at a time: features (E, I, 2 TOP_N), actions (E, I), rewards (E,). The last TTI only observes."""
    rng = np.random.default_rng(seed)
    snr = large_scale_snr(ap_xy, user_xy, episodes, rng)
    serving = snr.argmax(1)  # (E, J)
    own = serving[:, None] == np.arange(len(ap_xy))[:, None]  # (E, I, J)
    fading, on = complex_normal(snr.shape, rng), np.ones(snr.shape[:2])
    average = np.log2(1 + sinr_of(snr, serving, on)) * len(ap_xy) / len(user_xy)
    for tti in range(-SETTLING_TTIS, ttis + 1):
        fading = FADING_MEMORY * fading + np.sqrt(1 - FADING_MEMORY**2) * complex_normal(snr.shape, rng)
        power, weight = snr * abs(fading) ** 2, 1 / np.maximum(average, FLOOR)
        sinr = sinr_of(power, serving, on)  # users report it while the last TTI's APs still transmit
        factor = np.where(own, (weight * np.log2(1 + sinr))[:, None], -1.0)
        top = np.argsort(-factor, axis=-1)[..., :TOP_N]  # (E, I, N)
        filled = np.take_along_axis(factor, top, -1) >= 0
        seen = [np.take_along_axis(np.where(own, v[:, None], 1), top, -1) for v in (sinr, weight)]
        features = np.stack([10 * np.log10(seen[0]), np.log(seen[1])], -1) * filled[..., None]
        actions = decide(features[..., 0], filled, rng)
        on = (actions > 0) * 1.0
        chosen = np.take_along_axis(top, np.maximum(actions - 1, 0)[..., None], -1)
        served = (own & (np.arange(len(user_xy)) == chosen) & (on[..., None] > 0)).any(1)  # (E, J)
        rate = served * np.log2(1 + sinr_of(power, serving, on))
        average += AVERAGING * (rate - average)
        if tti >= 0:
            yield features.reshape(*actions.shape, -1), actions, (weight**LAM * rate).sum(-1)


def write(path, log):
    """Write the log (features, actions, rewards of each TTI) as a table, an episode after the other."""
    features, actions, rewards = (np.stack(column, 1) for column in zip(*log, strict=True))
    last = features.shape[1] - 1
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["episode", "tti", "ap", *COLUMNS, "action", "reward"])
        for e, tti, ap in np.ndindex(actions.shape):
            done = ["", ""] if tti == last else [actions[e, tti, ap], f"{rewards[e, tti]:.4f}"]
            table.writerow([e, tti, ap, *(f"{value:.4f}" for value in features[e, tti, ap]), *done])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("site", help="CSV file with the columns kind (AP or user), x_m, y_m")
    parser.add_argument("log", help="CSV file to write")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--ttis", type=int, default=2000, help="transitions of an episode; one more TTI is observed")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for name in ("episodes", "ttis"):
        if getattr(given, name) < 1:
            parser.error(f"{name} = {getattr(given, name)}: must be at least 1")
    ap_xy, user_xy = read_site(given.site)
    if not len(ap_xy) or len(user_xy) < TOP_N:
        parser.error(f"site = {given.site}: must have an AP and {TOP_N} users, has {len(ap_xy)} and {len(user_xy)}")
    write(given.log, simulate(ap_xy, user_xy, given.episodes, given.ttis, given.seed))


if __name__ == "__main__":
    main()
