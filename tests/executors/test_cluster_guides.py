"""The guides to clusters: their files parse, what they call exists, and the scripts do run a study."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.config
import kubernetes_validate
import pytest
import typer
import yaml
from distributed.cli import dask_scheduler, dask_worker
from toy_project import Project, clean_environment

from ablate.cli.app import app

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "clusters"
SCRIPTS = sorted(GUIDES.glob("*.sh"))
PROGRAMS = {
    "dask scheduler": dask_scheduler.main,
    "dask worker": dask_worker.main,
    "ablate run": typer.main.get_command(app).commands["run"],  # type: ignore[attr-defined]
}


def options(program: str) -> set[str]:
    return {name for parameter in PROGRAMS[program].params for name in (*parameter.opts, *parameter.secondary_opts)}


def commands(path: Path) -> Iterator[str]:
    """Every line of a file that calls one of the programs, lines that go on joined."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    if path.suffix == ".yaml":
        text = "\n".join(" ".join(command) for command in _yaml_commands(path))
    for line in text.splitlines():
        found = re.search(rf"\b({'|'.join(PROGRAMS)})\b.*", line.replace("dask' worker", "dask worker"))
        if found and not line.lstrip().startswith("#"):
            yield found[0]


def _yaml_commands(path: Path) -> Iterator[list[str]]:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        for container in document["spec"].get("template", {}).get("spec", {}).get("containers", []):
            yield container["command"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash_and_may_be_executed(path: Path) -> None:
    assert subprocess.run(["bash", "-n", path], capture_output=True, text=True).stderr == ""
    assert os.access(path, os.X_OK)


def test_every_option_of_dask_and_ablate_exists() -> None:
    seen = set()
    for path in sorted(GUIDES.iterdir()):
        for line in commands(path):
            program = " ".join(line.replace("`", " ").split()[:2])
            used = {word.partition("=")[0] for word in re.findall(r"(?<!\S)--[a-z][a-z-]*", line.partition("`")[0])}
            assert used <= options(program), (path.name, line)
            seen.add((path.name, program))
    for name in ("slurm.sh", "ssh.sh", "kubernetes.yaml", "README.md"):
        assert {program for file, program in seen if file == name} == set(PROGRAMS), name


def test_every_dask_variable_is_a_setting() -> None:
    names = {n for path in GUIDES.iterdir() for n in re.findall(r"\bDASK_(\w+)", path.read_text(encoding="utf-8"))}
    assert len(names) == 1
    for name in names:
        assert dask.config.get(name.lower().replace("__", ".").replace("_", "-"), "absent") != "absent"


def test_the_kubernetes_file_is_whole() -> None:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all((GUIDES / "kubernetes.yaml").read_text(encoding="utf-8")))
    assert [d["kind"] for d in documents] == [
        "Service", "NetworkPolicy", "Deployment", "Deployment", "PersistentVolumeClaim", "Job"
    ]  # fmt: skip
    for document in documents:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
        pod = document["spec"].get("template", {}).get("spec")
        if pod:
            volumes = {volume["name"] for volume in pod.get("volumes", [])}
            labels = document["spec"]["template"]["metadata"]["labels"]
            assert labels["study"] == "mine"
            for container in pod["containers"]:
                assert {mount["name"] for mount in container.get("volumeMounts", [])} == volumes
    (service,) = [d for d in documents if d["kind"] == "Service"]
    assert service["spec"]["ports"][0]["port"] == 8786


def test_links_lead_somewhere() -> None:
    for path in GUIDES.glob("*.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (GUIDES / target).is_file(), (path.name, target)


# The scripts themselves, with a program on the path that does what the batch system does with its last argument or file


def _stand_in(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/usr/bin/env bash\nset -euo pipefail\n{script}\n")
    (folder / name).chmod(0o755)


def _guided(project: Project, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{project.folder.parent / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [str(word) for word in command],
        cwd=project.folder,
        env={**clean_environment(), "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.fixture
def fresh(tmp_path: Path, initialised_store: Path) -> Project:
    project = Project.create(tmp_path / "project")
    project.store(initialised_store)
    return project


@pytest.mark.long
def test_the_slurm_script_runs_a_study(fresh: Project, finished: Project) -> None:
    """`srun` starts its tasks here."""
    bin_folder = fresh.folder.parent / "bin"
    _stand_in(
        bin_folder,
        "srun",
        'n=${1#*=}; while [[ $1 == --* ]]; do shift; done; for _ in $(seq "$n"); do "$@" & done; wait',
    )
    _stand_in(bin_folder, "hostname", "echo 127.0.0.1")
    done = _guided(fresh, str(GUIDES / "slurm.sh"), "linear.toml", SLURM_NTASKS="3", SLURM_CPUS_PER_TASK="1")
    assert done.returncode == 0, done.stderr
    assert fresh.results == finished.results
    assert list(fresh.folder.glob(".dask-*")) == []


@pytest.mark.long
def test_the_ssh_script_runs_a_study(fresh: Project, finished: Project) -> None:
    """`ssh` runs the command here."""
    _stand_in(fresh.folder.parent / "bin", "ssh", 'exec bash -c "${@: -1}"')
    here = {"HOSTS": "one two", "ADDRESS": "127.0.0.1", "PROGRAMS": str(Path(sys.executable).parent)}
    done = _guided(fresh, str(GUIDES / "ssh.sh"), "linear.toml", **here)
    assert done.returncode == 0, done.stderr
    assert fresh.results == finished.results


@pytest.mark.long
def test_the_jobqueue_script_runs_a_study(fresh: Project, finished: Project) -> None:
    """`sbatch` copies the script, starts the job here and tells its number; `scancel` ends it."""
    bin_folder = fresh.folder.parent / "bin"
    job = 'job=$(cat "${@: -1}"); setsid bash -c "$job" >/dev/null 2>&1 & echo "Submitted batch job $!"'
    _stand_in(bin_folder, "sbatch", job)
    _stand_in(bin_folder, "scancel", 'for job in "$@"; do kill -- "-$job" || true; done')
    script = [sys.executable, str(GUIDES / "slurm_jobqueue.py"), "linear.toml", "--jobs", "2", "--host", "127.0.0.1"]
    done = _guided(fresh, *script)
    assert done.returncode == 0, done.stderr
    assert fresh.results == finished.results


def test_shell_words_of_the_guides_are_quoted_right() -> None:
    for path in GUIDES.glob("*.md"):
        for block in re.findall(r"```console\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.splitlines():
                assert line.startswith("$ "), (path.name, line)
                assert shlex.split(line[2:])


def test_nothing_in_the_guides_serves_pages_to_the_network() -> None:
    for path in sorted(GUIDES.iterdir()):
        for line in commands(path):
            if line.startswith("dask ") and "--no-dashboard" in line and "--host 127.0.0.1" not in line:
                assert "--dashboard-address 127.0.0.1:0" in line, (path.name, line)
