"""How long commands take that have nothing to compute, against importing what they need.

    python benchmarks/startup.py            # half a minute on a quiet machine; --json for machines

The linear study of `tests/toy` is run once in a temporary folder; then each command and the bare import run in turns,
in processes of their own. The ratio is of medians. A command that computes nothing should take at most twice the time
of its imports; `report` draws its figures, and is shown beside them. Of a study of 100 comparison runs (10 arms,
10 seeds, beside 20 of tuning; see scale_toy.py) to look at it with `compare`, `status` or `report` should take at most
three times the imports, and the page with all figures should have less than 3 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import scale

TABLE = "arm,seed,score\n" + "".join(f"A,{seed},{seed}\nB,{seed},{seed + 1 + seed / 100}\n" for seed in range(1, 8))
TOY = Path(__file__).resolve().parent.parent / "tests" / "toy"
MOST, MOST_OF_100, MOST_BYTES = 2.0, 3.0, 3_000_000
# What each command cannot do without, as one would import it in a script of one's own.
CHECKS = "from pydantic import BaseModel; import typer, filelock, sqlite3, psutil, importlib.metadata"
JUDGE = "from pydantic import BaseModel; import typer, csv, numpy, scipy.special, importlib.metadata"
NUMBERS = f"{CHECKS}; import pandas, scipy.stats, rich.table"
COMMANDS = {
    "--help": ("import typer", ["--help"]),
    "status": (CHECKS, ["status", "linear.toml"]),
    "plan": (f"{CHECKS}; import scipy.stats", ["plan", "linear.toml"]),
    "judge": (JUDGE, ["judge", "t.csv", "--arm", "B", "--against", "A", "--metric", "score", "--direction", "higher"]),
    "compare": (NUMBERS, ["compare", "linear", "garden", "plain"]),
    "run": (NUMBERS, ["run", "linear.toml", "--workers", "1"]),
    "report": (f"{NUMBERS}; import pyarrow.parquet, matplotlib.backends.backend_agg", ["report", "linear"]),
}
OF_100 = {
    "status": (CHECKS, ["status", "scale.toml"]),
    "compare": (NUMBERS, ["compare", "scale", "arm0", "arm1"]),
    "report": (f"{NUMBERS}; import pyarrow.parquet, matplotlib.backends.backend_agg", ["report", "scale"]),
}


def seconds(command: list[str], folder: Path) -> float:
    """Wall time of one process."""
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - started


def imported(command: list[str], folder: Path) -> set[str]:
    """The modules that a command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command[1:]], cwd=folder, check=True, capture_output=True, text=True
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def timed(commands: Mapping[str, tuple[str, list[str]]], folder: Path, repeats: int) -> list[dict[str, Any]]:
    """A row for each command: seconds, those of its imports, their ratio, and whether it imports torch."""
    ablate, rows = [sys.executable, "-m", "ablate"], []
    for command, (imports, arguments) in commands.items():
        pairs = [
            (seconds([*ablate, *arguments], folder), seconds([sys.executable, "-c", imports], folder))
            for _ in range(repeats)
        ]
        ours, theirs = (statistics.median(each) for each in zip(*pairs, strict=True))
        torch = "torch" in imported([*ablate, *arguments], folder)
        rows.append({"command": command, "seconds": ours, "imports_s": theirs, "ratio": ours / theirs, "torch": torch})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "toy"
        shutil.copytree(TOY, folder)
        (folder / "t.csv").write_text(TABLE)
        ablate = [sys.executable, "-m", "ablate"]
        subprocess.run([*ablate, "run", "linear.toml", "--workers", "1"], cwd=folder, check=True, capture_output=True)
        rows = timed(COMMANDS, folder, options.repeats)
        large = Path(name) / "scale"
        scale.fill(large, 120, None)
        of_100 = timed(OF_100, large, options.repeats)
        subprocess.run([*ablate, "report", "scale", "--format", "html"], cwd=large, check=True, capture_output=True)
        page = (large / "reports" / "scale" / "report.html").stat().st_size
    if options.json:
        print(json.dumps({"finished": rows, "of 100 runs": of_100, "html_bytes": page}))
    else:
        for title, table in {"A finished toy study": rows, "A study of 100 runs": of_100}.items():
            print(f"{title}\n\n| Command | Takes | Its imports | Ratio | torch |\n|---|---|---|---|---|")
            for row in table:
                print("| `{command}` | {seconds:.2f} s | {imports_s:.2f} s | {ratio:.2f} | {torch} |".format(**row))
            print()
        print(f"Its HTML report: {page / 1e6:.2f} MB")
    slow = [row for row in rows if row["ratio"] > MOST and row["command"] != "report"]
    slow += [row for row in of_100 if row["ratio"] > MOST_OF_100]
    sys.exit(bool(slow) or page > MOST_BYTES)


if __name__ == "__main__":
    main()
