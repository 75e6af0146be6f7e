"""Which parts of a command's output are searched for scores, however it comes in pieces."""

from __future__ import annotations

import pytest

from ablate.trainers.printed_scores import SEARCHED, PrintedScores

PATTERN = r"(?P<name>\w+)=(?P<value>[\d.]+)"


def found(output: bytes, piece: int) -> dict[str, str]:
    scores = PrintedScores(PATTERN)
    for start in range(0, len(output), piece):
        scores.add(output[start : start + piece])
    scores.end()
    return scores.found


@pytest.mark.parametrize("piece", [1, 7, 1000, 3001, 10**6])
class TestFound:
    def test_the_last_value_of_a_name_in_lines_that_end_in_either_way(self, piece: int) -> None:
        assert found(b"a=1\nb=2\r50%\rb=3\r\na=4", piece) == {"a": "4", "b": "3"}

    def test_both_ends_of_a_long_line(self, piece: int) -> None:
        middle = b" middle=9 ".join([b"-" * 5000] * 3)
        assert found(b"a=1 " + middle + b" b=2\nc=3", piece) == {"a": "1", "b": "2", "c": "3"}

    def test_no_part_of_a_word_or_number_where_a_long_line_is_cut(self, piece: int) -> None:
        number = b"a=0." + b"1" * 3
        begin = b" " * (SEARCHED - len(number)) + number + b"25 "
        end = b"val_loss=7".rjust(20) + b" " * (SEARCHED - 6)  # cut behind "val_"
        assert found(begin + b"-" * 5000 + end, piece) == {}

    def test_a_line_that_is_not_long_is_searched_as_a_whole(self, piece: int) -> None:
        line = b" " * (SEARCHED - 3) + b"a=0.125"
        assert found(line.ljust(2 * SEARCHED), piece) == {"a": "0.125"}

    def test_letters_of_several_bytes(self, piece: int) -> None:
        assert found("größe=1 ".encode() + "ü".encode() * 5000 + " maß=2".encode(), piece) == {"größe": "1", "maß": "2"}
