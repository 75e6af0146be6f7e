"""`ablate ui`: the MLflow UI of a store, opened at the comparison of a study."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.commands.report import results, write_report
from ablate.commands.summary import publish, state
from ablate.scheduler import study_lock
from ablate.scheduler.workspace import Workspace, shown_path
from ablate.study import InputError, Problem
from ablate.untrusted.addresses import redacted, sqlite_address, with_driver
from ablate.untrusted.wording import nearest, shown

if TYPE_CHECKING:
    from ablate.tracking.mlflow.tracker import MlflowTracker

HOST = "127.0.0.1"
# Waits for the server (at most two minutes, and no longer than the server lives), then opens the page.
OPENER = """
import os, socket, sys, time, webbrowser
parent = os.getppid()
for _ in range(240):
    if os.getppid() != parent:
        break
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()
    except OSError:
        time.sleep(0.5)
    else:
        webbrowser.open(sys.argv[3])
        break
"""


def serve_ui(
    workspace: Workspace, port: int, notify: Callable[[str], None], *, study: str | None = None, browser: bool = True
) -> None:
    """Replace this process by the MLflow UI on 127.0.0.1; of an MLflow server only tell the address of its page.

    `study`: whose comparison is shown; default: that of the study that was worked on last. `browser`: open the page,
    where this machine has a screen. Raises InputError when the port is taken or the store lacks the study.
    """
    if workspace.tracking_uri and workspace.tracking_uri.startswith("http"):
        url = redacted(workspace.tracking_uri).rstrip("/") + _page(workspace, study, notify)
        notify(f"MLflow UI: {url}")
        if browser and has_screen():
            import webbrowser

            webbrowser.open(url)
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(Problem("--port", "", f"cannot be used ({error.strerror})", str(port))) from None
    url = f"http://{HOST}:{port}{_page(workspace, study, notify)}"
    # Not as an argument: everyone on the machine can read those, and the address of a database may hold a password.
    uri = workspace.tracking_uri or sqlite_address(workspace.database)
    os.environ["MLFLOW_BACKEND_STORE_URI"] = with_driver(uri)
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # saves the workers for jobs: there are none
    notify(f"MLflow UI: {url}\nready in a few seconds; Ctrl-C ends it")
    if browser and has_screen():
        subprocess.Popen([sys.executable, "-c", OPENER, HOST, str(port), url], stdin=subprocess.DEVNULL)
    command = [sys.executable, "-m", "mlflow", "ui", "--host", HOST, "--port", str(port), "--workers", "1"]
    os.execv(sys.executable, command)  # in this process, so that signals reach the server


def has_screen() -> bool:
    """Whether a browser can show a page here; BROWSER names one, else a browser in the terminal might be started."""
    if os.environ.get("BROWSER"):
        return True
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return not os.environ.get("SSH_CONNECTION")


def _page(workspace: Workspace, study: str | None, notify: Callable[[str], None]) -> str:
    """The address, below the server's, of the comparison that the store shows; it is written first where it is not of
    the present records."""
    from ablate.scheduler.loaded_study import study_name
    from ablate.tracking.mlflow import views

    tracker = workspace.tracker()  # initialises an empty or older database before the server's processes open it
    name = tracker.last_study() if study is None else study_name(study)
    if name is None:
        return "/#/experiments"
    if study is not None and name not in (studies := tracker.studies()):
        place = redacted(workspace.tracking_uri or shown_path(workspace.mlruns))
        raise InputError(Problem(place, "study", "not in the store", shown(name), nearest(name, studies)))
    _update(name, workspace, tracker, notify)
    experiment_id, summarised = tracker.summarised(name)
    return views.page(experiment_id, view=bool(summarised))


def _update(study: str, workspace: Workspace, tracker: MlflowTracker, notify: Callable[[str], None]) -> None:
    """Write the summary of the study, unless the store has that of its present records."""
    records = tracker.records(study)
    if tracker.summarised(study)[1] == state(records) or not any(record.status == "FINISHED" for record in records):
        return
    notify(f"preparing the comparison of {study}")
    try:
        with (
            study_lock.hold(
                workspace.lock_file(study), study, command=f"ablate ui {study}", store=workspace.tracking_uri
            ),
            tempfile.TemporaryDirectory(prefix="ablate-ui-") as scratch,
        ):
            found = results(study, workspace, records)
            report = write_report(found, replace(workspace, reports=Path(scratch)))
            publish(found, report, tracker, records)
    except Exception as error:  # for example while an `ablate run` of it is at work: the runs are shown all the same
        notify(f"the comparison of {study} is not up to date: {error}")
