"""How long commands take that have nothing to compute, against importing what they need.

    python benchmarks/startup.py            # half a minute on a quiet machine; --json for machines

The linear study of `tests/toy` is run once in a temporary folder; then each command and the bare import run in turns,
in processes of their own. The ratio is of medians. A command that computes nothing
should take at most twice the time of its imports; `report` draws its figures, and is shown beside them.
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
from pathlib import Path

TABLE = "arm,seed,score\n" + "".join(f"A,{seed},{seed}\nB,{seed},{seed + 1 + seed / 100}\n" for seed in range(1, 8))
TOY = Path(__file__).resolve().parent.parent / "tests" / "toy"
MOST = 2.0
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "toy"
        shutil.copytree(TOY, folder)
        (folder / "t.csv").write_text(TABLE)
        ablate = [sys.executable, "-m", "ablate"]
        subprocess.run([*ablate, "run", "linear.toml", "--workers", "1"], cwd=folder, check=True, capture_output=True)
        for command, (imports, arguments) in COMMANDS.items():
            pairs = [
                (seconds([*ablate, *arguments], folder), seconds([sys.executable, "-c", imports], folder))
                for _ in range(options.repeats)
            ]
            ours, theirs = (statistics.median(each) for each in zip(*pairs, strict=True))
            torch = "torch" in imported([*ablate, *arguments], folder)
            rows.append(
                {"command": command, "seconds": ours, "imports_s": theirs, "ratio": ours / theirs, "torch": torch}
            )
    if options.json:
        print(json.dumps(rows))
    else:
        print("| Command | Takes | Its imports | Ratio | torch |\n|---|---|---|---|---|")
        for row in rows:
            print("| `{command}` | {seconds:.2f} s | {imports_s:.2f} s | {ratio:.2f} | {torch} |".format(**row))
    sys.exit(any(row["ratio"] > MOST for row in rows if row["command"] != "report"))


if __name__ == "__main__":
    main()
