"""Give every run of this machine a GPU of its own, through CUDA_VISIBLE_DEVICES. Needs no torch."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ablate.trainers.errors import RunFailed

POLL_S = 0.5
VARIABLE = "CUDA_VISIBLE_DEVICES"


def gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them: those that `nvidia-smi` lists, of
    them those in the variable where it is set, as CUDA reads it: up to the first that is not there."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, errors="replace", check=False)
    count = sum(line.startswith("GPU ") for line in listed.stdout.splitlines()) if listed.returncode == 0 else 0
    given = os.environ.get(VARIABLE)
    if given is None or not count:
        return [str(index) for index in range(count)]
    names: list[str] = []
    for name in map(str.strip, given.split(",")):
        if not (int(name) < count if name.isdecimal() else name.startswith(("GPU-", "MIG-"))):
            break
        names.append(name)
    return names


def of_those_named() -> str:
    """To follow "nvidia-smi lists none", or a number of GPUs."""
    return f" that {VARIABLE} names" if VARIABLE in os.environ else ""


@contextmanager
def visible_gpu(device: str, work: Path, wait: Callable[[], None]) -> Iterator[str]:
    """The value of CUDA_VISIBLE_DEVICES for one run.

    "" for the CPU, the N-th of this process's GPUs for `cuda:N`, and for `cuda` one that no other run of this machine
    below `work` has.

    `wait` is called while every GPU is taken; it may raise. Raises RunFailed where there is no GPU.
    """
    kind, _, index = device.partition(":")
    if kind == "cpu":
        yield ""
        return
    names = gpus()
    if index:
        yield names[int(index)] if int(index) < len(names) else index
        return
    if not names:
        raise RunFailed(f"there is no GPU: nvidia-smi lists none{of_those_named()}")
    work.mkdir(parents=True, exist_ok=True)  # a cluster's machines may share it
    host = re.sub(r"[^\w.-]", "_", socket.gethostname())
    locks = [FileLock(work / f"gpu-{host}-{re.sub(r'[^A-Za-z0-9-]', '_', name)}.lock") for name in names]
    while (taken := next((number for number, lock in enumerate(locks) if _acquired(lock)), None)) is None:
        wait()
        time.sleep(POLL_S)
    try:
        yield names[taken]
    finally:
        locks[taken].release()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
