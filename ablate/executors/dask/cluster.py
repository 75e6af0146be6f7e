"""Connect to the Dask cluster of `--scheduler`, and check its workers before anything is created.

Knows nothing of how cells are sent.
"""

from __future__ import annotations

import gc
import logging
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from distributed import Client

from ablate.executors.dask.requirements import AnyNeeds, all_faults, needs_of
from ablate.study import InputError, Problem, RunSpec
from ablate.untrusted.addresses import redacted
from ablate.untrusted.wording import shown

CONNECT_SECONDS = 10.0
GPU = "GPU"  # the resource that a worker with an accelerator offers
ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://(\[[^]]+\]|[^/:@\s]+):\d+")
SECURE = ("tls", "wss")


def connect(address: str) -> Client:
    """Raises InputError when `address` is malformed, or no Dask scheduler answers there."""
    if not ADDRESS.fullmatch(address):
        rule = "must be the address of a Dask scheduler"
        raise InputError(Problem("--scheduler", "", rule, shown(redacted(address)), "such as tcp://127.0.0.1:8786"))
    for name in ("distributed.client", "distributed.comm", "distributed.core"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the same error is raised below, in one line
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about versions: `check` compares those that matter
        try:
            return _client(address)
        except Exception as error:  # depends on what answered
            reason = next(iter(str(error).splitlines()), type(error).__name__)
        gc.collect()  # closes the client that failed: otherwise the process hangs on it when it exits
    certificate = ", its certificate named in Dask's configuration (docs/clusters)" if address[:3] in SECURE else ""
    hint = f"start one with `dask scheduler`{certificate}; {reason}"
    raise InputError(Problem("--scheduler", "", "no Dask scheduler answers", address, hint))


def _client(address: str) -> Client:
    with suppress(AssertionError):  # a bug of the client, when a worker connects just before it does
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)


def check(address: str, device: str, specs: Sequence[RunSpec], context: Any, notify: Callable[[str], None]) -> str:
    """Check every connected worker; returns the device of the cells: "auto" is cuda where a worker offers a GPU.

    Raises InputError when the scheduler does not answer, or a worker would run one of `specs` otherwise than the driver
    would: with other versions, code or data.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise InputError(Problem("--device", "", "no device", shown(device), "valid: auto, cpu, cuda, cuda:N"))
    with connect(address) as client:
        needs = {needs_of(spec, context): None for spec in specs}
        workers, answers = _worker_faults(client, address, list(needs))
    problems = [Problem("--scheduler", name, fault) for name, answer in answers.items() for fault in _faults(answer)]
    if problems:
        raise InputError(*problems)
    for name, worker in workers.items():
        threads = worker["nthreads"]
        if threads > 1:
            notify(f"worker {name} has {threads} threads and runs one cell: --nworkers N --nthreads 1 runs N")
    gpus = sum(GPU in worker["resources"] for worker in workers.values())
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    if not (gpus if device.startswith("cuda") else workers):
        notify(f"no worker for {device} is there yet; the cells wait for one")
    return device


def _worker_faults(client: Client, address: str, needs: Sequence[AnyNeeds]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The connected workers and their answers to `all_faults`, both by address."""
    try:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        return workers, client.run(all_faults, needs, on_error="return")
    except Exception as error:  # the scheduler has just ended: Dask raises various errors then, AttributeError too
        rule = "the scheduler stopped answering while its workers were asked"
        raise InputError(Problem("--scheduler", "", rule, address, "start it again, and its workers")) from error


def _faults(answer: object) -> list[str]:
    """The faults in one worker's answer, which is an exception where the worker could not even look for them."""
    if isinstance(answer, BaseException):
        reason = str(answer) if type(answer) is Exception else f"{type(answer).__name__}: {answer}"
        return [f"cannot run cells ({reason}); install ablate with its extra 'cluster' there"]
    return answer if isinstance(answer, list) else []
