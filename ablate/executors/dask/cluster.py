"""The Dask cluster behind `--scheduler`: reached, looked at before anything is created, and used as an engine.

Knows nothing of how a cell gets there and back.
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

from ablate.executors.dask.requirements import Needs, all_faults, needs_of
from ablate.study import InputError, Problem, RunSpec
from ablate.untrusted.addresses import redacted
from ablate.untrusted.wording import shown

CONNECT_SECONDS = 10.0
GPU = "GPU"  # the resource that a worker with an accelerator offers
ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://(\[[^]]+\]|[^/:@\s]+):\d+")
SECURE = ("tls", "wss")


def connect(address: str) -> Client:
    """Raises InputError when `address` is none, or nothing answers there that is a Dask scheduler."""
    if not ADDRESS.fullmatch(address):
        rule = "must be the address of a Dask scheduler"
        raise InputError(Problem("--scheduler", "", rule, shown(redacted(address)), "such as tcp://127.0.0.1:8786"))
    for name in ("distributed.client", "distributed.comm", "distributed.core"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they would print is raised here in one line
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions: `check` compares those that matter
        try:
            return _client(address)
        except Exception as error:  # whatever answered made it raise anything
            reason = next(iter(str(error).splitlines()), type(error).__name__)
        gc.collect()  # of a client that failed, which then closes; as the process ends it would wait for that in vain
    certificate = ", its certificate named in Dask's configuration (docs/clusters)" if address[:3] in SECURE else ""
    hint = f"start one with `dask scheduler`{certificate}; {reason}"
    raise InputError(Problem("--scheduler", "", "no Dask scheduler answers", address, hint))


def _client(address: str) -> Client:
    with suppress(AssertionError):  # news of a worker came together with the greeting, which the client takes amiss
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)


def check(address: str, device: str, specs: Sequence[RunSpec], context: Any, tell: Callable[[str], None]) -> str:
    """Look at every worker there is; returns the device of the cells, which "auto" leaves to what the workers offer.

    Raises InputError when the scheduler does not answer, or a worker would not do one of `specs` as the driver does.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise InputError(Problem("--device", "", "no device", shown(device), "valid: auto, cpu, cuda, cuda:N"))
    with connect(address) as client:
        needs = {needs_of(spec, data_root=context.data_root, study_dir=context.study_dir): None for spec in specs}
        workers, answers = _ask(client, address, list(needs))
    problems = [Problem("--scheduler", name, text) for name, answer in answers.items() for text in _said(answer)]
    if problems:
        raise InputError(*problems)
    for name, worker in workers.items():
        if worker["nthreads"] > 1:
            tell(f"worker {name} has {worker['nthreads']} threads and runs one cell: --nworkers N --nthreads 1 runs N")
    gpus = sum(GPU in worker["resources"] for worker in workers.values())
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    if not (gpus if device.startswith("cuda") else workers):
        tell(f"no worker for {device} is there yet; the cells wait for one")
    return device


def _ask(client: Client, address: str, needs: Sequence[Needs]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The workers there are, and what each says of `needs`, by address."""
    try:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        return workers, client.run(all_faults, needs, on_error="return")
    except Exception as error:  # it ended a moment ago: Dask raises anything then, an AttributeError of its own too
        rule = "the scheduler stopped answering while its workers were asked"
        raise InputError(Problem("--scheduler", "", rule, address, "start it again, and its workers")) from error


def _said(answer: object) -> list[str]:
    """Faults of a worker, also of one that cannot even say them."""
    if isinstance(answer, BaseException):
        reason = str(answer) if type(answer) is Exception else f"{type(answer).__name__}: {answer}"
        return [f"cannot run cells ({reason}); install ablate with its extra 'cluster' there"]
    return answer if isinstance(answer, list) else []
