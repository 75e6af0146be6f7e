"""Progress of work that can be counted, on stderr: a bar on a terminal, a line from time to time elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

PLAIN_EVERY_SECONDS = 20.0


class ProgressCount:
    """Call it with the parts done, all parts and, if known, the name of the part that comes next.

    Use as a context manager around the work. `print_last`: without a terminal the last count is printed in any case.
    """

    def __init__(self, label: str, console: Console | None = None, *, print_last: bool = False) -> None:
        self.label, self.console, self.print_last = label, console or Console(stderr=True), print_last
        self.bar = Progress(console=self.console, transient=True)
        self._task = self.bar.add_task(label, total=None)
        self._printed = time.monotonic()

    def __enter__(self) -> ProgressCount:
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.console.is_terminal:  # elsewhere `stop` would print an empty line
            self.bar.stop()

    def note(self, text: str) -> None:
        """Print a line of text."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __call__(self, done: int, total: int, part: str = "") -> None:
        text = f"{self.label}, now {part}" if part else self.label
        self.bar.update(self._task, description=escape(text), completed=done, total=total)
        if self.console.is_terminal:
            return
        due = time.monotonic() - self._printed > PLAIN_EVERY_SECONDS
        if due or (self.print_last and done == total):
            self._printed = time.monotonic()
            self.note(f"{self.label}: {done} of {total}" + (f", now {part}" if part else ""))
