"""`ablate ui`: the MLflow UI of a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from ablate.scheduler.workspace import Workspace
from ablate.study import InputError, Problem


def serve_ui(workspace: Workspace, port: int, notify: Callable[[str], None]) -> NoReturn:
    """Replace this process by the MLflow UI on 127.0.0.1. Raises InputError when the port is taken."""
    import os
    import socket
    import sys

    from ablate.untrusted.addresses import redacted, sqlite_address, with_driver

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(Problem("--port", "", f"cannot be used ({error.strerror})", str(port))) from None
    if workspace.tracking_uri and workspace.tracking_uri.startswith("http"):
        rule, hint = "is a server, which has a page of its own", "open it in a browser"
        raise InputError(Problem("--tracking-uri", "", rule, redacted(workspace.tracking_uri), hint))
    workspace.tracker()  # initialises an empty or older database before the server's processes open it
    # Not as an argument: everyone on the machine can read those, and the address of a database may hold a password.
    uri = workspace.tracking_uri or sqlite_address(workspace.database)
    os.environ["MLFLOW_BACKEND_STORE_URI"] = with_driver(uri)
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # saves the workers for jobs: there are none
    notify(f"MLflow UI on http://127.0.0.1:{port}, in a few seconds (Ctrl-C ends it)")
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    os.execv(sys.executable, command)  # in this process, so that signals reach the server
