from __future__ import annotations

import subprocess
import sys


def test_a_report_needs_neither_torch_nor_mlflow_nor_optuna() -> None:
    code = "import sys, ablate.report.build, ablate.report.terminal; sys.exit(bool({'torch','mlflow','optuna','matplotlib.pyplot'} & set(sys.modules)))"  # noqa: E501
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
