"""Give every run of this machine a GPU of its own, through CUDA_VISIBLE_DEVICES. Needs no torch."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ablate.trainers.errors import RunFailed

POLL_S = 0.5


def gpu_count() -> int:
    """The number of NVIDIA GPUs that `nvidia-smi` lists; 0 where it is not installed or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, errors="replace", check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines()) if listed.returncode == 0 else 0


@contextmanager
def visible_gpu(device: str, work: Path, wait: Callable[[], None]) -> Iterator[str]:
    """The value of CUDA_VISIBLE_DEVICES for one run.

    "" for the CPU, N for `cuda:N`, and for `cuda` the index of a GPU that no other run below `work` has.

    `wait` is called while every GPU is taken; it may raise. Raises RunFailed where there is no GPU.
    """
    kind, _, index = device.partition(":")
    if kind == "cpu" or index:
        yield index
        return
    count = gpu_count()
    if not count:
        raise RunFailed("there is no GPU: nvidia-smi lists none")
    work.mkdir(parents=True, exist_ok=True)
    locks = [FileLock(work / f"gpu-{number}.lock") for number in range(count)]
    while (taken := next((number for number, lock in enumerate(locks) if _acquired(lock)), None)) is None:
        wait()
        time.sleep(POLL_S)
    try:
        yield str(taken)
    finally:
        locks[taken].release()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
