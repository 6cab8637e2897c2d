"""A broker that waits for acknowledgements is recognised, and one that does not wait is left to the commit interval."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from edgerouter.sources.mqtt.window import SenderWindow

INTERVAL = 0.02
COMMIT = 0.002
KNOWN = 2000
MOST = 10_000


@dataclass
class Model:
    """The router with a broker: one commit takes what came in, at once if the broker waits, else when the interval is over."""

    window: SenderWindow = field(init=False)
    now: float = 0.0
    outstanding: int = 0
    commits: int = 0
    _commit_began: float = -1.0
    _committing: int = 0
    _flush_now: bool = False

    def __post_init__(self) -> None:
        self.window = SenderWindow(KNOWN, MOST, lambda: self.now)

    def arrive(self, messages: int) -> None:
        self.outstanding += messages
        self._flush_now |= self.window.arrived(self.outstanding)

    def step(self, seconds: float = 0.0005) -> int:
        """Let time pass. Returns how many messages were acknowledged."""
        self.now += seconds
        if self._committing:
            if self.now - self._commit_began < COMMIT:
                return 0
            done, self._committing = self._committing, 0
            self.outstanding -= done
            self.window.acknowledged(self.outstanding)
            return done
        if self.outstanding and (self._flush_now or self.now - self._commit_began >= INTERVAL):
            self._flush_now = False
            self._committing, self._commit_began = self.outstanding, self.now
            self.commits += 1
        return 0


def learned(size: int) -> Model:
    """A model that has found out the window of its broker."""
    model = Model()
    may_send = size
    while model.window.size == KNOWN:
        model.arrive(may_send)
        may_send = 0
        while not may_send:
            may_send = model.step()
    return model


@pytest.mark.parametrize("size", [1, 2, 10, 20, 100])
@pytest.mark.parametrize("way", [0.0, 0.001, 0.004])
def test_a_broker_with_a_small_window_does_not_wait_for_the_interval(size: int, way: float) -> None:
    model = Model()
    may_send, at, sent = size, 0.0, 0
    while model.now < 2:
        if may_send and model.now >= at:
            model.arrive(may_send)
            sent += may_send
            may_send = 0
        if done := model.step():
            may_send, at = may_send + done, model.now + way
    at_once = 2 / (COMMIT + way + 0.001) * size
    assert sent > at_once / 2
    assert model.window.size == size


def test_a_window_that_comes_in_pieces_is_a_window_too() -> None:
    chance = random.Random(1)
    model = Model()
    may_send, sent = 10, 0
    while model.now < 2:
        if may_send:
            piece = chance.randint(1, may_send)
            model.arrive(piece)
            may_send -= piece
            sent += piece
        may_send += model.step()
    assert model.window.size == 10
    assert sent > 10 * 2 / INTERVAL * 2


def commits_at(rate: float, arrivals: random.Random | None, seconds: float = 20, burst: int = 1, *, learning: bool = True) -> int:
    """Commits under a steady load of a broker with a large window."""
    model = Model()
    if not learning:
        model.window.acknowledged = lambda _: None  # type: ignore[method-assign, assignment]  # the fixed interval
    due = 0.0
    while model.now < seconds:
        if model.now >= due:
            model.arrive(burst)
            due += arrivals.expovariate(rate / burst) if arrivals else burst / rate
        model.step()
    return model.commits


@pytest.mark.parametrize("rate", [30, 100, 300, 1000])
@pytest.mark.parametrize("arrivals", [None, 1])
@pytest.mark.parametrize("burst", [1, 10, 20])
def test_a_steady_load_makes_no_more_commits_where_the_window_is_large(rate: int, arrivals: int | None, burst: int) -> None:
    chance = [None if arrivals is None else random.Random(arrivals) for _ in range(2)]
    fixed = commits_at(rate, chance[0], burst=burst, learning=False)
    assert commits_at(rate, chance[1], burst=burst) <= fixed * 1.05 + 5


def test_more_than_the_window_that_was_learned_means_that_it_is_not_the_window() -> None:
    model = learned(10)
    model.arrive(11)
    assert model.window.size == KNOWN


def test_a_broker_that_sends_late_after_acknowledgements_did_not_wait_for_them() -> None:
    """As a device does that publishes in the time of the commit interval."""
    model = learned(10)
    before = model.commits
    while model.window.size != KNOWN:
        until = model.now + INTERVAL
        while model.now < until:
            model.step()
        model.arrive(10)
    assert model.commits - before <= 5


def test_a_broker_that_sends_more_than_its_assumed_window_does_not_wait_there() -> None:
    window = SenderWindow(20, MOST)
    assert window.arrived(20)
    window.acknowledged(0)
    assert not window.arrived(21)
    window.acknowledged(0)
    assert not window.arrived(20)
    assert window.arrived(MOST)


def test_a_small_window_is_learned_although_the_broker_once_sent_a_backlog_beyond_it() -> None:
    """As mosquitto before 2.0.13 does on a resumed session."""
    model = Model()
    model.arrive(KNOWN + 1)
    while not model.step():
        pass
    may_send = 20
    for _ in range(1000):
        if may_send:
            model.arrive(may_send)
        may_send = model.step()
    assert model.window.size == 20
