"""Progress of work that can be counted, on stderr: a bar on a terminal, a line from time to time elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import Progress

PLAIN_EVERY_SECONDS = 20.0


class ProgressCount:
    """Call it with the number of items done and of all items. Use as a context manager around the work."""

    def __init__(self, label: str, console: Console | None = None) -> None:
        self.label, self.console = label, console or Console(stderr=True)
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

    def __call__(self, done: int, total: int) -> None:
        self.bar.update(self._task, completed=done, total=total)
        if not self.console.is_terminal and time.monotonic() - self._printed > PLAIN_EVERY_SECONDS:
            self._printed = time.monotonic()
            self.note(f"{self.label}: {done} of {total}")
