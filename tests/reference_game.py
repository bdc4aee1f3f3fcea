"""The game of one network in plain NumPy, float64: the yardstick of the tests, written from the paper notes.

It shares no code with the package and prefers the obvious to the fast.
Shapes: I access points (APs), J users, N top users per AP, M sinusoids per link.
`constants` is a mapping with the names of NetworkConfig's fields. `deployment` is a mapping of arrays:
ap_xy (I, 2) m, user_xy (J, 2) m, heading (J,) rad, shadowing_db (I, J) dB of loss, arrival (I, J, M) rad and
phase (I, J, M) rad.
"""

import numpy as np

SPEED_OF_LIGHT = 299_792_458.0  # m/s
SILENT = -1  # in place of a user: the AP does not transmit; as a slot's user: nobody is in that slot


def path_loss_db(distance_m):
    """39 + 20 log10(d) dB up to 100 m, 39 + 40 log10(d) - 40 dB beyond."""
    distance_m = np.asarray(distance_m, float)
    near = 39 + 20 * np.log10(distance_m)
    far = 39 + 40 * np.log10(distance_m) - 40
    return np.where(distance_m <= 100, near, far)


def reflect(x, length):
    """Fold a coordinate that ran straight on back into [0, length], as if the borders were mirrors."""
    x = np.mod(x, 2 * length)
    return np.where(x > length, 2 * length - x, x)


class ReferenceGame:
    """One network, one episode.

    The state of the coming decision has the package's names, without its leading E: `serving`, `sinr`,
    `weights`, `averages` (J,), `slots` (I, N), `mask` (I, N+1), `transmitting` (I,), `ttis`. After a TTI
    `own_rewards` (I,) is what it gave to each AP.
    """

    def __init__(self, constants, deployment):
        self.c, self.d = dict(constants), {name: np.asarray(array) for name, array in deployment.items()}
        self.num_aps, self.num_users = self.d["shadowing_db"].shape
        noise_dbm = self.c["noise_psd_dbm_hz"] + 10 * np.log10(self.c["bandwidth_hz"])
        self.snr_scale = 10 ** ((self.c["tx_power_dbm"] - noise_dbm) / 10)
        self.doppler_hz = self.c["speed_mps"] * self.c["carrier_hz"] / SPEED_OF_LIGHT

    @classmethod
    def of(cls, config, deployment, e=0):
        """The game of the e-th network of a batched deployment (anything whose tensors NumPy can read)."""
        names = ("ap_xy", "user_xy", "heading", "shadowing_db", "arrival", "phase")
        return cls(config.to_dict(), {name: np.asarray(getattr(deployment, name)[e]) for name in names})

    # --- radio ----------------------------------------------------------------------------------------------

    def positions(self, t):
        """Users' positions (J, 2) in m at TTI t, counted from the first warm-up TTI."""
        direction = np.stack([np.cos(self.d["heading"]), np.sin(self.d["heading"])], axis=-1)
        straight = self.d["user_xy"] + self.c["speed_mps"] * self.c["tti_s"] * t * direction
        return reflect(straight, self.c["area_m"])

    def large_scale_db(self, t):
        """Path loss plus shadowing (I, J) in dB; the minimum AP-user distance is a floor of the distance."""
        distance = np.linalg.norm(self.d["ap_xy"][:, None] - self.positions(t)[None], axis=-1)
        return path_loss_db(np.maximum(distance, self.c["min_ap_user_m"])) + self.d["shadowing_db"]

    def fading(self, t):
        """Complex fading (I, J): M sinusoids of equal strength, unit mean power."""
        turn = 2 * np.pi * self.doppler_hz * self.c["tti_s"] * t  # rad, of a wave from straight ahead
        waves = np.exp(1j * (turn * np.cos(self.d["arrival"]) + self.d["phase"]))
        return waves.sum(axis=-1) / np.sqrt(waves.shape[-1])

    def link_snr(self, t):
        """Linear SNR (I, J) of every link at full power, without interference."""
        return self.snr_scale * 10 ** (-self.large_scale_db(t) / 10) * np.abs(self.fading(t)) ** 2

    def sinr_of(self, snr, j, transmitting):
        """Linear SINR of user j as if its own AP transmitted, beside the other APs in `transmitting`."""
        own = self.serving[j]
        interference = sum(snr[i, j] for i in range(self.num_aps) if transmitting[i] and i != own)
        return snr[own, j] / (1 + 10 ** (self.c["cross_gain_db"] / 10) * interference)

    # --- game -----------------------------------------------------------------------------------------------

    def users_of(self, i):
        return [j for j in range(self.num_users) if self.serving[j] == i]

    def reset(self):
        """Start at TTI 0, play the warm-up, and return the observation (I, 2N) of the first counted TTI."""
        self.serving = np.argmin(self.large_scale_db(0), axis=0)  # fixed for the episode; the first of equals
        self.t = 0
        self.ttis = 0

        everyone = np.isin(np.arange(self.num_aps), self.serving)  # an AP without users has nobody to send to
        snr = self.link_snr(0)
        first_rates = [np.log2(1 + self.sinr_of(snr, j, everyone)) for j in range(self.num_users)]
        self.averages = np.array(first_rates) / (self.num_users / self.num_aps)
        self.transmitting = everyone

        for t in range(self.c["warmup_ttis"]):
            served = []
            for i in range(self.num_aps):
                own = self.users_of(i)
                served.append(own[t % len(own)] if own else SILENT)
            self.play(served)
        return self.observe()

    def play(self, served):
        """One TTI in which AP i serves user served[i]; returns the reward and the rates (J,)."""
        snr = self.link_snr(self.t)
        transmitting = np.array([j != SILENT for j in served])
        rates = np.zeros(self.num_users)
        for j in served:
            if j != SILENT:
                rates[j] = np.log2(1 + self.sinr_of(snr, j, transmitting))

        weights = 1 / np.maximum(self.averages, self.c["average_floor"])  # from before this TTI
        reward = sum(weights[j] ** self.c["lam"] * rates[j] for j in range(self.num_users))
        self.own_rewards = [0.0 if j == SILENT else weights[j] ** self.c["lam"] * rates[j] for j in served]

        a = self.c["averaging"]
        self.averages = (1 - a) * self.averages + a * rates
        self.transmitting = transmitting
        self.t += 1
        return reward, rates

    def observe(self):
        """What the coming decision knows: reports, weights, ranking, mask; returns the observation."""
        n = self.c["top_n"]
        snr = self.link_snr(self.t)
        self.sinr = np.array([self.sinr_of(snr, j, self.transmitting) for j in range(self.num_users)])
        self.weights = 1 / np.maximum(self.averages, self.c["average_floor"])
        self.slots = np.full((self.num_aps, n), SILENT)
        self.mask = np.zeros((self.num_aps, n + 1), bool)
        self.mask[:, 0] = True  # silence is always allowed
        observation = np.zeros((self.num_aps, 2 * n))
        for i in range(self.num_aps):
            ranked = sorted(self.users_of(i), key=lambda j: (-self.weights[j] * np.log2(1 + self.sinr[j]), j))
            for slot, j in enumerate(ranked[:n]):
                self.slots[i, slot] = j
                self.mask[i, slot + 1] = True
                observation[i, 2 * slot] = 10 * np.log10(self.sinr[j])
                observation[i, 2 * slot + 1] = np.log(self.weights[j])
        return observation

    def step_users(self, served):
        """A counted TTI: (observation, reward, terminated, truncated, rates)."""
        reward, rates = self.play(served)
        self.ttis += 1
        return self.observe(), reward, False, self.ttis == self.c["episode_ttis"], rates

    def step(self, actions):
        """The same by slots: actions (I,), 0 silent, n the n-th top user."""
        return self.step_users([self.slots[i, a - 1] if a > 0 else SILENT for i, a in enumerate(actions)])
