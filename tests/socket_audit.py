"""Note every network address that Python processes bind, connect to or look up, whatever library does it."""

from __future__ import annotations

import os
import re
from pathlib import Path

HERE = re.compile(r"(127\.0\.0\.1|b'127\.0\.0\.1'|localhost|::1)$")
SITE = """\
import os, sys

def hook(event, arguments):
    if event in ("socket.bind", "socket.connect", "socket.sendto"):
        address = arguments[1]
    elif event == "socket.getaddrinfo":
        address = arguments[:2]
    else:
        return
    if isinstance(address, tuple):  # not a Unix socket
        with open(os.environ["SOCKET_AUDIT"], "a") as log:
            log.write(f"{event} {address[0]}\\n")

sys.addaudithook(hook)
"""


class SocketAudit:
    """Give `environment` to a process; its children inherit it."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "sockets"
        self._log.touch()
        (folder / "sitecustomize.py").write_text(SITE, encoding="utf-8")
        paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {"PYTHONPATH": os.pathsep.join(paths), "SOCKET_AUDIT": str(self._log)}

    def seen(self) -> set[str]:
        """Event and address of each."""
        return set(self._log.read_text(encoding="utf-8").splitlines())

    def strangers(self) -> set[str]:
        """What is not this machine."""
        return {line for line in self.seen() if not HERE.search(line)}
