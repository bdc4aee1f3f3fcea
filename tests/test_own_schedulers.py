"""Schedulers of a user's own: a slip in what they return shows at its first call, by the scheduler's name.

Shapes: E environments, I APs.
"""

import copy
import threading
import time

import numpy as np
import pytest
import torch

from rrmlab import ImperfectReports, NetworkConfig, collect, evaluate, make_scheduler
from rrmlab.game.env import RRMEnv
from rrmlab.game.evaluation import run_episode
from rrmlab.game.schedulers import FullReuse, Mixture, RandomWalk

NETWORK = NetworkConfig(num_aps=2, num_users=6, top_n=2, episode_ttis=500, warmup_ttis=10)


class Own(FullReuse):
    """Full reuse whose answer goes through `change`, and counts its calls."""

    name = "mine"

    def __init__(self, change=lambda users, view: users, log_prob=None, says=None):
        self.change, self.calls, self.says = change, 0, says
        if log_prob is not None:
            self.log_prob = log_prob

    def parameters(self):
        return {} if self.says is None else self.says

    def serve(self, view):
        self.calls += 1
        return self.change(super().serve(view), view)


def first(number):
    def change(users, view):
        users = users.clone()
        users[-1, 0] = number
        return users

    return change


SLIPS = {
    "a list": (lambda users, view: users.tolist(), "must be an int64 tensor .*, got list"),
    "an array": (lambda users, view: users.numpy(), "must be an int64 tensor .*, got ndarray"),
    "nothing": (lambda users, view: None, "must be an int64 tensor .*, got NoneType"),
    "one network": (
        lambda users, view: users[0],
        r"of shape \(E, I\) = .*, got torch.int64 \(2,\)",
    ),
    "APs first": (lambda users, view: users.T, r"must be an int64 tensor of shape \(E, I\)"),
    "slots for users": (lambda users, view: view.slots, r"must be an int64 tensor of shape \(E, I\)"),
    "int32": (lambda users, view: users.int(), r"must be an int64 tensor .*, got torch.int32 \(\d+, 2\)$"),
    "floats": (lambda users, view: users.float(), "must be an int64 tensor .*, got torch.float32"),
    "another device": (
        lambda users, view: users.to("meta"),
        "must be an int64 tensor .*, got torch.int64 .* on meta$",
    ),
    "a user that is not there": (first(6), r"users: must lie in -1 \.\.\. 5, got -1 \.\.\. 6|got \d \.\.\. 6"),
    "below silence": (first(-2), r"users: must lie in -1 \.\.\. 5, got -2"),
    "another AP's user": (lambda users, view: users.flip(1), r"users\[0, 0\] = \d: AP 1 serves that user, not AP 0"),
}


@pytest.mark.parametrize("slip", SLIPS)
@pytest.mark.parametrize("use", [lambda own: evaluate(own, NETWORK, 3), lambda own: collect(own, NETWORK, 1_500)],
                         ids=["evaluate", "collect"])  # fmt: skip
def test_a_slip_of_serve_shows_at_its_first_call(slip, use):
    change, says = SLIPS[slip]
    own = Own(change)
    with pytest.raises(ValueError, match=f"^behaviour = mine, serve: .*({says})"):
        use(own)
    assert own.calls == 1


def test_a_user_outside_of_the_slots_cannot_be_logged():
    def worst(users, view):
        """The last of the AP's users, which only the other view would show; here of one with many users."""
        serving = env.serving
        return torch.stack([torch.where((serving == i).any(1), last(serving == i), -1) for i in range(2)], 1)

    def last(own):
        return own.shape[1] - 1 - own.flip(1).int().argmax(1)

    env = RRMEnv(NETWORK, 3)
    env.reset()
    with pytest.raises(ValueError, match="^behaviour = mine, serve: an AP serves a user outside its top 2"):
        collect(Own(worst), NETWORK, 1_500)


LOG_PROBS = {
    "of each AP": (lambda view, actions: torch.zeros(actions.shape), r"must be a float tensor of shape \(E,\)"),
    "one number": (lambda view, actions: 0.0, r"must be a float tensor of shape \(E,\) = \(3,\), got float"),
    "whole numbers": (lambda view, actions: actions[:, 0] * 0, "must be a float tensor .*, got torch.int64"),
    "probabilities": (lambda view, actions: torch.full((len(actions),), 0.5), "must be finite and at most 0"),
    "never": (lambda view, actions: torch.full((len(actions),), -torch.inf), "must be finite and at most 0"),
    "NaN": (lambda view, actions: torch.full((len(actions),), torch.nan), "must be finite and at most 0"),
}


@pytest.mark.parametrize("slip", LOG_PROBS)
def test_a_slip_of_log_prob_shows_at_its_first_call(slip):
    log_prob, says = LOG_PROBS[slip]
    own = Own(log_prob=log_prob)
    with pytest.raises(ValueError, match=f"^behaviour = mine, log_prob: .*{says}"):
        collect(own, NETWORK, 1_500)
    assert own.calls == 1


@pytest.mark.parametrize("says", [{"net": torch.zeros(2)}, {"rng": np.random.default_rng(0)}, {1j: 2}, lambda: 0])
def test_parameters_that_no_file_can_hold_show_before_anything_is_logged(says):
    own = Own(says=says)
    with pytest.raises(ValueError, match="^behaviour = mine, parameters: must be plain values"):
        collect(own, NETWORK, 1_500)
    assert own.calls == 0


def without(part):
    own = {"name": "mine", "knowledge": FullReuse.knowledge, "begin": lambda self, key: None, "serve": FullReuse.serve}
    return type("Mine", (), {name: value for name, value in own.items() if name != part})()


@pytest.mark.parametrize("use", [evaluate, collect, lambda own, config, num: Mixture([own])])
def test_what_a_scheduler_must_have(use):
    for part in ("name", "knowledge", "begin", "serve"):
        with pytest.raises(ValueError, match=f"is no scheduler and no policy, it has no {part}$"):
            use(without(part), NETWORK, 2)
    with pytest.raises(ValueError, match="it is a class, not an object of it"):
        use(FullReuse, NETWORK, 2)
    wrong = without("none")
    for knowledge in (None, "everything", dict, FullReuse()):
        wrong.knowledge = knowledge
        with pytest.raises(ValueError, match="has knowledge = .*, which must be a view of `game.views`"):
            use(wrong, NETWORK, 2)
    if use is not evaluate:
        return
    assert evaluate(without("none"), NETWORK, 2).score == evaluate(FullReuse(), NETWORK, 2).score


# --- threads --------------------------------------------------------------------------------------------------


class Slow(RandomWalk):
    """A random walk during whose first episode another thread gets its turn."""

    name = "slow walk"

    def serve(self, view):
        started.set()
        time.sleep(2e-4)
        return super().serve(view)


started = threading.Event()


def in_two_threads(behaviour, other):
    """Scores of a behaviour while another thread scores `other`; and what the other thread got."""
    found = []

    def work():
        try:
            found.append(evaluate(other, NETWORK, 2).score)
        except ValueError as error:
            found.append(str(error))

    started.clear()
    scores = []
    running = threading.Thread(target=lambda: scores.append(evaluate(behaviour, NETWORK, 2).score))
    running.start()
    started.wait(60)
    late = threading.Thread(target=work)
    late.start()
    late.join()
    running.join()
    return scores[0], found[0]


@pytest.mark.parametrize("wrap", [lambda walk: walk, lambda walk: ImperfectReports(walk, 1)], ids=["walk", "reports"])
def test_a_behaviour_with_a_state_runs_in_one_thread(wrap):
    shared = wrap(Slow(seed=3))
    wanted = evaluate(wrap(RandomWalk(seed=3)), NETWORK, 2).score
    score, other = in_two_threads(shared, shared)
    assert other.startswith("behaviour = slow walk: is running in another thread, Thread-")
    assert other.endswith("give each thread its own, copy.deepcopy(behaviour)") and score == wanted
    assert in_two_threads(shared, copy.deepcopy(shared)) == (wanted, wanted)
    assert evaluate(shared, NETWORK, 2).score == wanted  # free again


def test_what_keeps_no_state_may_run_in_many_threads():
    class SlowReuse(FullReuse):
        def serve(self, view):
            started.set()
            time.sleep(2e-4)
            return super().serve(view)

    shared, wanted = SlowReuse(), evaluate(FullReuse(), NETWORK, 2).score
    assert in_two_threads(shared, shared) == (wanted, wanted)


def test_an_episode_that_was_left_does_not_hold_its_behaviour():
    walk = make_scheduler("random_walk")
    left = run_episode(walk, RRMEnv(NETWORK))
    next(left)
    wanted = evaluate(RandomWalk(), NETWORK, 2).score
    assert evaluate(walk, NETWORK, 2).score == wanted  # in the same thread
    del left
    scores = []
    thread = threading.Thread(target=lambda: scores.append(evaluate(walk, NETWORK, 2).score))
    thread.start()
    thread.join()
    assert scores == [wanted]
