"""Repeat a call that fails for a while, report the outage, and give up after a stated time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ablate.study import StoreUnavailable

PATIENCE_S = 120.0  # enough to restart a server or to clear a disk
MAX_DELAY_S = 15.0  # between two tries, and between two messages
FIRST_DELAY_S = 0.5
STORE_MESSAGES = ("the store does not answer", "the store answers again")  # for a Retry of calls to the store

T = TypeVar("T")


class RetryTimeout(Exception):
    """It still fails after the time that the person allows for it."""


class Retry:
    """The state of one thing that may fail for a while: whether to wait, for how long, and when to give up.

    `notify` gets the message `failure` when it fails, and `recovery` when it works again. Only the time spent waiting
    counts towards `patience_s`: an hour of normal work between two failures does not.
    """

    def __init__(
        self, failure: str, recovery: str, notify: Callable[[str], None], patience_s: float = PATIENCE_S
    ) -> None:
        self.failure, self.recovery, self.notify, self.patience_s = failure, recovery, notify, patience_s
        self.failing = False
        self._reset()

    def _reset(self) -> None:
        self._waited_s = 0.0
        self._delay_s = FIRST_DELAY_S  # before the next try
        self._next_try = 0.0  # monotonic time
        self._notified_at_s = -MAX_DELAY_S  # the time waited when the last message was sent

    @property
    def until_next_try_s(self) -> float:
        """Seconds until the next try."""
        return max(0.0, self._next_try - time.monotonic())

    @property
    def waiting(self) -> bool:
        """Too early to try again."""
        return self.until_next_try_s > 0

    def succeeded(self) -> None:
        """Note that it works; after a failure, send the message `recovery`."""
        if self.failing:
            self.notify(self.recovery)
        self.failing = False
        self._reset()

    def failed(self, reason: str) -> None:
        """Note that it fails, and set the time of the next try. Raises RetryTimeout after `patience_s` of waiting."""
        self.failing = True
        if self.waiting:  # several calls failed during the same wait
            return
        if self._waited_s >= self.patience_s:
            raise RetryTimeout(f"{self.failure}: {reason} (waited {self._waited_s:.0f} s)")
        if self._waited_s - self._notified_at_s >= MAX_DELAY_S:
            remaining_s = self.patience_s - self._waited_s
            self.notify(f"{self.failure}: {reason}; waiting, for at most {remaining_s:.0f} s more")
            self._notified_at_s = self._waited_s
        delay_s = min(self._delay_s, self.patience_s - self._waited_s)
        self._waited_s += delay_s
        self._delay_s = min(2 * self._delay_s, MAX_DELAY_S)
        self._next_try = time.monotonic() + delay_s

    def call(self, function: Callable[[], T]) -> T:
        """Call `function` until it does not raise StoreUnavailable; returns its result. Raises RetryTimeout."""
        while True:
            try:
                result = function()
            except StoreUnavailable as error:
                self.failed(str(error))
                time.sleep(self.until_next_try_s)
            else:
                self.succeeded()
                return result
