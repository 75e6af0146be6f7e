"""A real file system that can run full or turn read-only: a tmpfs of a few kilobytes, where mounting is permitted."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SmallDisk:
    """A mounted tmpfs. `fill` leaves at most `free` bytes; `remount` changes its options, as "size=8m" or "ro"."""

    folder: Path

    def fill(self, *, free: int = 0) -> None:
        try:
            with (self.folder / "filler").open("ab") as file:
                file.write(bytes(max(0, shutil.disk_usage(self.folder).free - free)))
        except OSError as error:
            if error.errno != errno.ENOSPC:  # others fill it at the same time
                raise

    def empty(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.folder)], check=True, capture_output=True)


def mount(folder: Path, *, size: str) -> SmallDisk | None:
    """Mount a fresh tmpfs at `folder`; None where this process may not."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "ablate-tests", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return SmallDisk(folder)


@contextmanager
def mounted(folder: Path, *, size: str) -> Iterator[SmallDisk]:
    """A tmpfs for a while. Skips the test where this process may not mount one."""
    disk = mount(folder, size=size)
    if disk is None:
        pytest.skip("this process may not mount a tmpfs, so no disk can be made to run full")
    try:
        yield disk
    finally:
        unmount(disk)


def unmount(disk: SmallDisk) -> None:
    subprocess.run(["umount", "--lazy", str(disk.folder)], check=True, capture_output=True)
