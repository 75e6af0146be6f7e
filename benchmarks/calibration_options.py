"""What the calibration benchmarks have alike: their options, and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def parse(
    about: str | None, *, studies: int, of: str, few: int, quick: str, as_json: bool = False
) -> argparse.Namespace:
    """`studies`, `quick`, `seed` and, where the benchmark has it, `json`.

    `about`: the benchmark's docstring. `studies`: how many are simulated, for each `of`; `few`: how many with --quick,
    which `quick` describes.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=studies, help=f"simulated studies a {of}")
    parser.add_argument("--quick", action="store_true", help=f"{few} studies{quick}: no evidence")
    parser.add_argument("--seed", type=int, default=0)
    if as_json:
        parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.studies < 1:
        parser.error("--studies must be at least 1")
    if options.quick:
        options.studies = few
    return options


def end(failures: Sequence[str], *, quiet: bool = False) -> None:
    """Say which gates do not hold, unless `quiet`; exit code 1 where one does not."""
    if not quiet:
        print("\n".join(failures) or "every gate holds")
    sys.exit(1 if failures else 0)
