"""The plain game with users who come, leave and change their AP: what differs from `reference_game`, user by user."""

import numpy as np
from reference_game import SILENT, ReferenceGame, reflect


class ReferenceVisits(ReferenceGame):
    """One network, one episode; `deployment` has also `arrives` and `leaves` (J,), TTIs."""

    @classmethod
    def of(cls, config, deployment, e=0):
        game = super().of(config, deployment, e)
        game.arrives, game.leaves = (np.asarray(getattr(deployment, name)[e]) for name in ("arrives", "leaves"))
        return game

    def positions(self, t):
        xy = self.d["user_xy"].copy()
        for j in range(self.num_users):
            walked = self.c["speed_mps"] * self.c["tti_s"] * max(0, t - self.arrives[j])
            heading = self.d["heading"][j]
            xy[j] = reflect(xy[j] + walked * np.array([np.cos(heading), np.sin(heading)]), self.c["area_m"])
        return xy

    def is_there(self, j):
        return self.arrives[j] <= self.t < self.leaves[j]

    def users_of(self, i):
        return [j for j in range(self.num_users) if self.serving[j] == i and self.is_there(j)]

    def reset(self):
        self.t = self.ttis = 0
        self.serving = np.argmin(self.large_scale_db(0), axis=0)
        there = [j for j in range(self.num_users) if self.is_there(j)]
        on = np.array([bool(self.users_of(i)) for i in range(self.num_aps)])
        snr = self.link_snr(0)
        self.averages = np.zeros(self.num_users)
        for j in there:
            self.averages[j] = np.log2(1 + self.sinr_of(snr, j, on)) / (len(there) / self.num_aps)
        self.transmitting = on
        for t in range(self.c["warmup_ttis"]):
            self.begin_tti()
            served = []
            for i in range(self.num_aps):
                own = self.users_of(i)
                served.append(own[t % len(own)] if own else SILENT)
            self.play(served)
        return self.observe()

    def begin_tti(self):
        """Associations of this TTI, and the averages with which its newcomers start."""
        if self.t == 0:
            return
        if self.c["hysteresis_db"] > 0:
            loss = self.large_scale_db(self.t)
            for j in range(self.num_users):
                if loss[self.serving[j], j] - loss[:, j].min() > self.c["hysteresis_db"]:
                    self.serving[j] = np.argmin(loss[:, j])
        snr = self.link_snr(self.t)
        for j in range(self.num_users):
            if self.arrives[j] == self.t and self.is_there(j):
                cell = self.users_of(self.serving[j])
                others = [self.averages[k] for k in cell if self.arrives[k] != self.t]
                rule = self.c["newcomer_average"]
                if rule == "floor":
                    self.averages[j] = self.c["average_floor"]
                elif rule == "cell" and others:
                    self.averages[j] = np.mean(others)
                else:
                    self.averages[j] = np.log2(1 + self.sinr_of(snr, j, self.transmitting)) / len(cell)

    def observe(self):
        self.begin_tti()
        return super().observe()
