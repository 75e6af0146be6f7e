"""Wait for what does not work just now, say so, and give up after a stated time. Knows not what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ablate.study import StoreUnavailable

PATIENCE_S = 120.0  # a server that is started again, a disk that someone clears
LONGEST_DELAY_S = 15.0  # between two tries, and between two notes
FIRST_DELAY_S = 0.5
STORE = ("the store does not answer", "the store answers again")  # what an Retry of it says

T = TypeVar("T")


class RetryTimeout(Exception):
    """It did not come back in time."""


class Retry:
    """One thing that may fail for a while. `tell` hears `what` when it does, and `again` when it is over.

    Only time spent waiting counts: a run that works for an hour between two failures has not been waited for.
    """

    def __init__(self, what: str, again: str, tell: Callable[[str], None], patience_s: float = PATIENCE_S) -> None:
        self.what, self.again, self.tell, self.patience_s = what, again, tell, patience_s
        self.over()

    @property
    def left_s(self) -> float:
        """Seconds until the next try."""
        return max(0.0, self._next - time.monotonic())

    @property
    def waiting(self) -> bool:
        """Too early to try again."""
        return self.left_s > 0

    def over(self) -> None:
        """It works."""
        if getattr(self, "failing", False):
            self.tell(self.again)
        self.failing = False
        self._waited, self._delay, self._next, self._told = 0.0, FIRST_DELAY_S, 0.0, -LONGEST_DELAY_S

    def failed(self, reason: str) -> None:
        """It does not: wait before the next try. Raises RetryTimeout when that was done long enough."""
        self.failing = True
        if self.waiting:  # others have met with it at the same time
            return
        if self._waited >= self.patience_s:
            raise RetryTimeout(f"{self.what}: {reason} (waited {self._waited:.0f} s)")
        if self._waited - self._told >= LONGEST_DELAY_S:
            self.tell(f"{self.what}: {reason}; waiting, for at most {self.patience_s - self._waited:.0f} s more")
            self._told = self._waited
        delay = min(self._delay, self.patience_s - self._waited)
        self._waited, self._delay = self._waited + delay, min(2 * self._delay, LONGEST_DELAY_S)
        self._next = time.monotonic() + delay

    def insist(self, call: Callable[[], T]) -> T:
        """What `call` gives, once the store lets it. Raises RetryTimeout."""
        while True:
            try:
                result = call()
            except StoreUnavailable as error:
                self.failed(str(error))
                time.sleep(self.left_s)
            else:
                self.over()
                return result
