"""Signs on a terminal or in a log that cannot show them."""

from __future__ import annotations

import io

import pytest

from ablate.cli.encoding import use_plain_signs


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "Δ −0.3 ± 0.1° [−0.4, +0.1] “a” × ■ 猫"),
        ("latin-1", 'd -0.3 ± 0.1° [-0.4, +0.1] "a" × # ?'),
        ("cp1252", "d -0.3 ± 0.1° [-0.4, +0.1] “a” × # ?"),
        ("ascii", 'd -0.3 +- 0.1 deg [-0.4, +0.1] "a" x # ?'),
    ],
)
def test_a_minus_stays_a_minus(encoding: str, shown: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    use_plain_signs(stream, io.StringIO())  # a stream without an encoding stays as it is
    stream.write("Δ −0.3 ± 0.1° [−0.4, +0.1] “a” × ■ 猫")
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    assert stream.buffer.getvalue().decode(encoding) == shown
