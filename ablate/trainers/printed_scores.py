"""Scores that a pattern finds in what a command prints, line by line. Pure."""

from __future__ import annotations

import re

SEARCHED = 1000  # bytes at each end of a long line: what `\w+=` takes grows with the square of the line's length
LINE_END = re.compile(rb"(?<=[\r\n])")  # progress bars end a line with \r


class PrintedScores:
    """The scores found so far. Of a line that has more than two times SEARCHED bytes, both ends are searched."""

    def __init__(self, pattern: str) -> None:
        self.found: dict[str, str] = {}  # the groups `name` and `value`; of a name, the last value
        self._pattern = re.compile(pattern)
        self._begun = b""  # the line that has not ended: all of it, or both ends of a long one, longer than 2 SEARCHED

    def add(self, output: bytes) -> None:
        """Search the lines that end in this next piece of output."""
        *lines, begun = LINE_END.split(self._begun + output)
        for line in lines:
            self._search(line)
        self._begun = begun if len(begun) <= 3 * SEARCHED else begun[:SEARCHED] + begun[-2 * SEARCHED :]

    def end(self) -> None:
        """Search the last line, which has no end."""
        self._search(self._begun)
        self._begun = b""

    def _search(self, line: bytes) -> None:
        """A match that touches where a line is cut does not count: it may be a part of a longer word or number."""
        if len(line) <= 2 * SEARCHED:
            self._take(line)
        else:
            self._take(line[:SEARCHED], cut_at_end=True)
            self._take(line[-SEARCHED:], cut_at_start=True)

    def _take(self, part: bytes, *, cut_at_start: bool = False, cut_at_end: bool = False) -> None:
        text = part.decode("utf-8", "replace")
        for match in self._pattern.finditer(text):
            if not (cut_at_start and match.start() == 0) and not (cut_at_end and match.end() == len(text)):
                self.found[match["name"]] = match["value"]
